//! A produced batch's part in a transaction.

use std::sync::Arc;

use super::Refused;
use crate::api::transactions::for_writes;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::partition::Partition;
use crate::records::BatchHeader;
use crate::topics::Topic;
use crate::transactions::coordinator::{ClientVersion, Producer, TopicPartition};

/// A batch's part in a transaction.
pub(super) struct Membership<'a> {
    transactional_id: &'a str,
    producer: Producer,
    partition: TopicPartition,
}

impl<'a> Membership<'a> {
    /// `None` for a batch outside of transactions.
    pub(super) fn of(
        header: &BatchHeader,
        transactional_id: Option<&'a str>,
        topic: &Topic,
        partition: &Partition,
    ) -> Result<Option<Self>, Refused> {
        if !header.is_transactional() {
            return Ok(None);
        }
        let Some(transactional_id) = transactional_id else {
            return Err(Refused::new(
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                "a batch of a transaction needs the transactional id in its request",
            ));
        };
        Ok(Some(Self {
            transactional_id,
            producer: Producer {
                id: header.producer_id,
                epoch: header.producer_epoch,
            },
            partition: (topic.name.to_string(), partition.index().0),
        }))
    }

    /// Makes the partition part of the transaction, durably, for a client that does not do so
    /// itself; else makes sure that it is.
    pub(super) async fn enter(&self, broker: &Arc<Broker>, version: i16) -> Result<(), Refused> {
        if version < IMPLICIT_ADD_FROM {
            return self.check(broker, version);
        }
        let partitions = std::slice::from_ref(&self.partition);
        broker
            .transactions
            .add_partitions(
                self.transactional_id,
                self.producer,
                partitions,
                ClientVersion::Two,
            )
            .await
            .map_err(|code| self.refused(code, version))
    }

    pub(super) fn check(&self, broker: &Broker, version: i16) -> Result<(), Refused> {
        broker
            .transactions
            .check_partition(self.transactional_id, self.producer, &self.partition)
            .map_err(|code| self.refused(code, version))
    }

    fn refused(&self, code: ErrorCode, version: i16) -> Refused {
        let code = match for_writes(code) {
            // Clients of then must retry, and know these codes from other APIs only.
            ErrorCode::CONCURRENT_TRANSACTIONS if version < IMPLICIT_ADD_FROM => {
                ErrorCode::NOT_ENOUGH_REPLICAS
            }
            ErrorCode::COORDINATOR_NOT_AVAILABLE => ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::INVALID_TXN_STATE if version >= ABORTABLE_FROM => {
                ErrorCode::TRANSACTION_ABORTABLE
            }
            code => code,
        };
        let (topic, index) = &self.partition;
        Refused::new(
            code,
            format!(
                "partition {topic}-{index} is not part of an open transaction of {} with producer \
                 id {} and epoch {}",
                self.transactional_id, self.producer.id, self.producer.epoch
            ),
        )
    }
}

/// First version of a client that adds partitions to its transaction by producing to them.
const IMPLICIT_ADD_FROM: i16 = 12;

/// First version of a client that knows TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;
