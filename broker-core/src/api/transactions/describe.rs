//! DescribeProducers (61, v0; KIP-664), DescribeTransactions (65, v0), ListTransactions (66, v0-1:
//! v1 filters by duration, KIP-994).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::{
    describe_producers_response, describe_transactions_response, list_transactions_response,
};
use kafka_wire_core::StrBytes;

use crate::api::{RequestContext, find_partition, find_topic};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::transactions::coordinator::{TransactionMetadata, TransactionState};
use crate::wire;

/// No transaction is open.
const NO_OFFSET: i64 = -1;

/// Producers that a partition remembers, and where their open transactions begin.
pub(in crate::api) async fn describe_producers(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::DescribeProducersRequest,
) -> kafka_wire::DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let found = find_topic(
            broker,
            context,
            Operation::Read,
            &topic.name,
            uuid::Uuid::nil(),
        );
        let partitions = topic.partition_indexes.iter().map(|index| {
            let partition = found.as_ref().map_err(|error| *error);
            let partition = partition.and_then(|topic| find_partition(topic, *index));
            let error = partition.as_ref().err().copied().unwrap_or_default();
            let producers = partition.map_or_else(|_| Vec::new(), |found| found.producers());
            let producers = producers.into_iter().map(|producer| {
                wire!(describe_producers_response::ProducerState {
                    producer_id: producer.producer_id.0,
                    producer_epoch: i32::from(producer.epoch.0),
                    last_sequence: producer.last_sequence.0,
                    last_timestamp: producer.seen_ms,
                    coordinator_epoch: if producer.open_since.is_some() { 0 } else { -1 },
                    current_txn_start_offset: producer
                        .open_since
                        .map_or(NO_OFFSET, |first| first.0),
                })
            });
            wire!(describe_producers_response::PartitionResponse {
                partition_index: *index,
                error_code: error.0,
                active_producers: producers.collect(),
            })
        });
        wire!(describe_producers_response::TopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
        })
    });
    wire!(kafka_wire::DescribeProducersResponse {
        topics: topics.collect(),
    })
}

/// State, owner and partitions of transactional ids.
pub(in crate::api) async fn describe_transactions(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::DescribeTransactionsRequest,
) -> kafka_wire::DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let allowed =
            context.authorize(broker, Operation::Describe, Resource::TransactionalId(&id));
        let found = match allowed {
            Ok(()) => broker.transactions.describe(&id),
            Err(_) => None,
        };
        let error = match (&found, allowed) {
            _ if id.is_empty() => ErrorCode::INVALID_REQUEST,
            (_, Err(denied)) => denied,
            (None, Ok(())) => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
            (Some(_), Ok(())) => ErrorCode::NONE,
        };
        let mut state = found.map_or_else(Default::default, |found| described(&found));
        state.error_code = error.0;
        state.transactional_id = id;
        state
    });
    wire!(kafka_wire::DescribeTransactionsResponse {
        transaction_states: states.collect(),
    })
}

fn described(metadata: &TransactionMetadata) -> describe_transactions_response::TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &metadata.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        wire!(describe_transactions_response::TopicData {
            topic: StrBytes::from(topic),
            partitions,
        })
    });
    wire!(describe_transactions_response::TransactionState {
        transaction_state: StrBytes::from(metadata.state.name()),
        transaction_timeout_ms: metadata.timeout_ms,
        transaction_start_time_ms: metadata.started_ms,
        producer_id: metadata.producer_id.0,
        producer_epoch: metadata.epoch.0,
        topics: topics.collect(),
    })
}

/// Transactional ids. An empty filter lets everything through.
pub(in crate::api) async fn list_transactions(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: kafka_wire::ListTransactionsRequest,
) -> kafka_wire::ListTransactionsResponse {
    const STATES: [TransactionState; 6] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];
    let now_ms = broker.config.clock.now_ms();
    let passes = |metadata: &TransactionMetadata| {
        let states = &request.state_filters;
        let producers = &request.producer_id_filters;
        let running_ms = now_ms.saturating_sub(metadata.started_ms);
        let by_state = states
            .iter()
            .any(|state| state.as_str() == metadata.state.name());
        (states.is_empty() || by_state)
            && (producers.is_empty() || producers.contains(&metadata.producer_id.0))
            && (request.duration_filter < 0 || running_ms > request.duration_filter)
    };
    let listed = broker.transactions.list().into_iter();
    let visible = |id: &str| {
        let resource = Resource::TransactionalId(id);
        context
            .authorize(broker, Operation::Describe, resource)
            .is_ok()
    };
    let listed = listed.filter(|(id, metadata)| passes(metadata) && visible(id));
    let listed = listed.map(|(id, metadata)| {
        wire!(list_transactions_response::TransactionState {
            transactional_id: StrBytes::from(id),
            producer_id: metadata.producer_id.0,
            transaction_state: StrBytes::from(metadata.state.name()),
        })
    });
    let listed = listed.collect();
    let filters = request.state_filters.iter();
    let unknown =
        filters.filter(|filter| !STATES.iter().any(|state| filter.as_str() == state.name()));
    wire!(kafka_wire::ListTransactionsResponse {
        unknown_state_filters: unknown.cloned().collect(),
        transaction_states: listed,
    })
}
