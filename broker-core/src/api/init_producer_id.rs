//! InitProducerId, key 22, versions 0 to 5 (KIP-98). v2 flexible; v3 epoch bump (KIP-360); v4
//! PRODUCER_FENCED (KIP-588); v5 TRANSACTION_ABORTABLE (KIP-890).
//!
//! A null transactional id gets a fresh producer id with epoch 0, whatever id and epoch the client
//! brings; the others are for the transaction coordinator.

use std::sync::Arc;

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};

use super::{RequestContext, blocking};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::topics::TopicError;
use crate::transactions::coordinator::Producer;
use crate::wire;

/// First version that tells a fenced producer that it is.
const PRODUCER_FENCED_FROM: i16 = 4;

/// Allots a producer id.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let allotted = match &request.transactional_id {
        None => match may_produce(broker, context) {
            Ok(()) => allot(broker).await,
            Err(denied) => Err(denied),
        },
        Some(id) => match context
            .authorize(broker, Operation::Write, Resource::TransactionalId(id))
            .and_then(|()| expected(&request))
        {
            Ok(expected) => {
                let timeout_ms = request.transaction_timeout_ms;
                broker.transactions.init(id, timeout_ms, expected).await
            }
            Err(error) => Err(error),
        },
    };
    match allotted {
        Ok(producer) => wire!(InitProducerIdResponse {
            producer_id: producer.id.0,
            producer_epoch: producer.epoch.0,
        }),
        Err(error) => {
            let error = if context.version < PRODUCER_FENCED_FROM {
                super::transactions::for_writes(error)
            } else {
                error
            };
            wire!(InitProducerIdResponse {
                error_code: error.0,
                producer_id: -1,
                producer_epoch: -1,
            })
        }
    }
}

/// A producer without transactions needs no more than one topic to write to (KIP-679).
fn may_produce(broker: &Broker, context: &RequestContext) -> Result<(), ErrorCode> {
    context
        .authorize(broker, Operation::IdempotentWrite, Resource::Cluster)
        .or_else(|denied| {
            let topics = broker.topics.list();
            let may_write = |name: &str| {
                let resource = Resource::Topic(name);
                context
                    .authorize(broker, Operation::Write, resource)
                    .is_ok()
            };
            if topics.iter().any(|topic| may_write(topic.name.as_str())) {
                Ok(())
            } else {
                Err(denied)
            }
        })
}

async fn allot(broker: &Arc<Broker>) -> Result<Producer, ErrorCode> {
    let owner = Arc::clone(broker);
    let allotted = blocking(move || {
        owner.new_producer_id().map_err(|error| TopicError {
            code: ErrorCode::KAFKA_STORAGE_ERROR,
            message: error.to_string(),
        })
    })
    .await;
    match allotted {
        Ok(id) => Ok(Producer {
            id,
            epoch: ProducerEpoch(0),
        }),
        Err(error) => {
            tracing::error!(reason = error.message, "no producer id could be allotted");
            Err(error.code)
        }
    }
}

/// Who the client says it is, if it wants to go on with a new epoch (v3+).
fn expected(request: &InitProducerIdRequest) -> Result<Option<Producer>, ErrorCode> {
    match (request.producer_id, request.producer_epoch) {
        (-1, -1) => Ok(None),
        (-1, _) | (_, -1) => Err(ErrorCode::INVALID_REQUEST),
        (id, epoch) => Ok(Some(Producer {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
        })),
    }
}
