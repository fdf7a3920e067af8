//! Transaction APIs: AddPartitionsToTxn (24, v0-3), AddOffsetsToTxn (25, v0-4), EndTxn (26, v0-5),
//! TxnOffsetCommit (28, v0-5). In `transactions/describe.rs`: DescribeProducers (61, v0),
//! DescribeTransactions (65, v0), ListTransactions (66, v0-1). InitProducerId is in
//! `init_producer_id.rs`, FindCoordinator in `groups.rs`.
//!
//! | version | what it added |
//! |---|---|
//! | AddPartitionsToTxn 2, AddOffsetsToTxn 2, EndTxn 2 | PRODUCER_FENCED beside INVALID_PRODUCER_EPOCH (KIP-588) |
//! | AddPartitionsToTxn 4, 5 | from broker to broker: not offered |
//! | EndTxn 5 | answers the next producer id and epoch (KIP-890) |
//! | TxnOffsetCommit 2 / 3 / 5 | leader epoch / member and generation (KIP-447) / adds the group by itself (KIP-890) |
//!
//! Translates between messages and [`crate::transactions`], where the rules are.

mod describe;

use std::sync::Arc;

use kafka_wire::{add_partitions_to_txn_response, txn_offset_commit_response};

pub(super) use self::describe::{describe_producers, describe_transactions, list_transactions};
use super::groups::is_group_id;
use super::{RequestContext, find_partition, find_topic};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::groups::driver::Committer;
use crate::groups::offsets::CommittedOffset;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::records::TransactionResult;
use crate::transactions::coordinator::{ClientVersion, Producer, TopicPartition};
use crate::wire;

/// First version of the three older requests that tells a fenced producer that it is.
const PRODUCER_FENCED_FROM: i16 = 2;
/// First version of EndTxn and TxnOffsetCommit of a client of transaction version 2.
const VERSION_TWO_FROM: i16 = 5;

/// AddPartitionsToTxn. All partitions or none.
pub(super) async fn add_partitions(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::AddPartitionsToTxnRequest,
) -> kafka_wire::AddPartitionsToTxnResponse {
    let mut partitions: Vec<TopicPartition> = Vec::new();
    let mut errors: Vec<ErrorCode> = Vec::new();
    let allowed = may_write(broker, context, &request.v3_and_below_transactional_id);
    for topic in &request.v3_and_below_topics {
        for index in &topic.partitions {
            partitions.push((topic.name.to_string(), *index));
            errors.push(match allowed {
                Ok(()) => check_writable(broker, context, &topic.name, *index),
                Err(denied) => denied,
            });
        }
    }
    if errors.iter().any(|error| error.is_error()) {
        for error in errors.iter_mut().filter(|error| !error.is_error()) {
            *error = ErrorCode::OPERATION_NOT_ATTEMPTED;
        }
    } else {
        let producer = producer_of(
            request.v3_and_below_producer_id,
            request.v3_and_below_producer_epoch,
        );
        let id = &request.v3_and_below_transactional_id;
        let version = ClientVersion::One;
        let added = broker
            .transactions
            .add_partitions(id, producer, &partitions, version)
            .await;
        if let Err(error) = added {
            errors.fill(for_version(error, context.version));
        }
    }
    let mut errors = errors.into_iter();
    let results = request.v3_and_below_topics.into_iter().map(|topic| {
        let rows = topic.partitions.iter().zip(errors.by_ref());
        let rows = rows.map(|(index, error)| {
            wire!(
                add_partitions_to_txn_response::AddPartitionsToTxnPartitionResult {
                    partition_index: *index,
                    partition_error_code: error.0,
                }
            )
        });
        wire!(
            add_partitions_to_txn_response::AddPartitionsToTxnTopicResult {
                results_by_partition: rows.collect(),
                name: topic.name,
            }
        )
    });
    wire!(kafka_wire::AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: results.collect(),
    })
}

/// AddOffsetsToTxn.
pub(super) async fn add_offsets(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::AddOffsetsToTxnRequest,
) -> kafka_wire::AddOffsetsToTxnResponse {
    let producer = producer_of(request.producer_id, request.producer_epoch);
    let added = if let Err(denied) = may_write(broker, context, &request.transactional_id)
        .and_then(|()| may_commit_for(broker, context, &request.group_id))
    {
        Err(denied)
    } else if is_group_id(&request.group_id) {
        let (id, group) = (&request.transactional_id, &request.group_id);
        let version = ClientVersion::One;
        broker
            .transactions
            .add_offsets(id, producer, group, version)
            .await
    } else {
        Err(ErrorCode::INVALID_GROUP_ID)
    };
    let error = added.err().unwrap_or_default();
    wire!(kafka_wire::AddOffsetsToTxnResponse {
        error_code: for_version(error, context.version).0,
    })
}

/// EndTxn.
pub(super) async fn end(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::EndTxnRequest,
) -> kafka_wire::EndTxnResponse {
    let producer = producer_of(request.producer_id, request.producer_epoch);
    let result = if request.committed {
        TransactionResult::Commit
    } else {
        TransactionResult::Abort
    };
    let version = client_version(context.version);
    let id = &request.transactional_id;
    let ended = match may_write(broker, context, id) {
        Ok(()) => broker.transactions.end(id, producer, result, version).await,
        Err(denied) => Err(denied),
    };
    match ended {
        Ok(next) if version == ClientVersion::Two => wire!(kafka_wire::EndTxnResponse {
            producer_id: next.id.0,
            producer_epoch: next.epoch.0,
        }),
        Ok(_) => kafka_wire::EndTxnResponse::default(),
        Err(error) => wire!(kafka_wire::EndTxnResponse {
            error_code: for_version(error, context.version).0,
        }),
    }
}

/// TxnOffsetCommit. Partitions that do not exist and notes that are too long are refused one by
/// one; the rest counts once the transaction is committed.
pub(super) async fn offset_commit(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::TxnOffsetCommitRequest,
) -> kafka_wire::TxnOffsetCommitResponse {
    let now_ms = broker.config.clock.now_ms();
    let allowed = may_write(broker, context, &request.transactional_id)
        .and_then(|()| may_commit_for(broker, context, &request.group_id));
    let mut commits: Vec<(TopicPartition, CommittedOffset)> = Vec::new();
    let mut rows = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
            let found = find_topic(
                broker,
                context,
                Operation::Read,
                &topic.name,
                uuid::Uuid::nil(),
            )
            .and_then(|topic| find_partition(&topic, asked.partition_index));
            let error = match allowed.and(found) {
                _ if !is_group_id(&request.group_id) => ErrorCode::INVALID_GROUP_ID,
                Err(error) => error,
                Ok(_) if metadata.len() > broker.config.groups.offset_metadata_bytes_max => {
                    ErrorCode::OFFSET_METADATA_TOO_LARGE
                }
                Ok(_) => {
                    let offset = CommittedOffset {
                        offset: asked.committed_offset,
                        leader_epoch: asked.committed_leader_epoch,
                        metadata: metadata.to_owned(),
                        commit_timestamp_ms: now_ms,
                        expire_timestamp_ms: None,
                    };
                    commits.push(((topic.name.to_string(), asked.partition_index), offset));
                    ErrorCode::NONE
                }
            };
            answers.push(wire!(
                txn_offset_commit_response::TxnOffsetCommitResponsePartition {
                    partition_index: asked.partition_index,
                    error_code: error.0,
                }
            ));
        }
        rows.push(wire!(
            txn_offset_commit_response::TxnOffsetCommitResponseTopic {
                name: topic.name.clone(),
                partitions: answers,
            }
        ));
    }
    if !commits.is_empty()
        && let Err(error) = commit_offsets(broker, context.version, &request, commits).await
    {
        let answers = rows.iter_mut().flat_map(|row| &mut row.partitions);
        for answer in answers.filter(|answer| answer.error_code == ErrorCode::NONE.0) {
            answer.error_code = error.0;
        }
    }
    wire!(kafka_wire::TxnOffsetCommitResponse { topics: rows })
}

async fn commit_offsets(
    broker: &Arc<Broker>,
    version: i16,
    request: &kafka_wire::TxnOffsetCommitRequest,
    commits: Vec<(TopicPartition, CommittedOffset)>,
) -> Result<(), ErrorCode> {
    let transactions = &broker.transactions;
    let producer = producer_of(request.producer_id, request.producer_epoch);
    let (id, group) = (&request.transactional_id, &request.group_id);
    if client_version(version) == ClientVersion::Two {
        transactions
            .add_offsets(id, producer, group, ClientVersion::Two)
            .await
            .map_err(for_writes)?;
    }
    let partition = transactions.offsets_partition(group);
    let in_transaction = || {
        transactions
            .check_partition(id, producer, &partition)
            .map_err(for_writes)
    };
    let committer = Committer {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    broker
        .groups
        .commit_in_transaction(
            group,
            committer,
            (producer.id, producer.epoch),
            commits,
            &in_transaction,
        )
        .await
}

/// Whether the principal may act for the transactional id.
fn may_write(broker: &Broker, context: &RequestContext, id: &str) -> Result<(), ErrorCode> {
    context.authorize(broker, Operation::Write, Resource::TransactionalId(id))
}

/// Whether the principal may commit offsets for the group.
fn may_commit_for(broker: &Broker, context: &RequestContext, group: &str) -> Result<(), ErrorCode> {
    context.authorize(broker, Operation::Read, Resource::Group(group))
}

/// Whether a client may make the partition part of a transaction.
fn check_writable(broker: &Broker, context: &RequestContext, topic: &str, index: i32) -> ErrorCode {
    match find_topic(broker, context, Operation::Write, topic, uuid::Uuid::nil()) {
        Err(error) => error,
        Ok(topic) if topic.internal => ErrorCode::INVALID_TOPIC_EXCEPTION,
        Ok(topic) => find_partition(&topic, index)
            .err()
            .unwrap_or(ErrorCode::NONE),
    }
}

fn producer_of(id: i64, epoch: i16) -> Producer {
    Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
    }
}

const fn client_version(version: i16) -> ClientVersion {
    if version >= VERSION_TWO_FROM {
        ClientVersion::Two
    } else {
        ClientVersion::One
    }
}

/// What the older versions of a request have for a fenced producer.
fn for_version(error: ErrorCode, version: i16) -> ErrorCode {
    if version < PRODUCER_FENCED_FROM {
        for_writes(error)
    } else {
        error
    }
}

/// What a write in a transaction says to a fenced producer: whatever the version, the old name.
pub(super) fn for_writes(error: ErrorCode) -> ErrorCode {
    if error == ErrorCode::PRODUCER_FENCED {
        ErrorCode::INVALID_PRODUCER_EPOCH
    } else {
        error
    }
}
