//! CreatePartitions, key 37, versions 0 to 3.
//!
//! v2 flexible; v3 a quota may refuse (KIP-599). The answer names every topic asked for.

use std::sync::Arc;

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_partitions_response::CreatePartitionsTopicResult;
use kafka_wire::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::mutations::Mutations;
use super::{RequestContext, blocking, code_and_message, refuse};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::TopicError;
use crate::wire;

/// Raises partition counts; each topic succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut mutations = Mutations::new(broker, context, QUOTA_REFUSES_FROM);
    let mut results = Vec::new();
    for asked in request.topics {
        let name = asked.name.clone();
        let resource = Resource::Topic(&name);
        let outcome = match context.authorize_change(broker, Operation::Alter, resource) {
            Ok(()) => add(broker, asked, request.validate_only, &mut mutations).await,
            Err(denied) => Err(denied),
        };
        let (error_code, error_message) = code_and_message(&outcome);
        results.push(wire!(CreatePartitionsTopicResult {
            name,
            error_code,
            error_message,
        }));
    }
    wire!(CreatePartitionsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        results,
    })
}

async fn add(
    broker: &Arc<Broker>,
    asked: CreatePartitionsTopic,
    validate_only: bool,
    mutations: &mut Mutations<'_>,
) -> Result<(), TopicError> {
    let node_id = broker.config.node_id;
    if let Some(assignments) = &asked.assignments {
        for assignment in assignments {
            if assignment.broker_ids != [node_id] {
                return refuse(
                    ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "replicas {:?}: the only broker is {node_id}",
                        assignment.broker_ids
                    ),
                );
            }
        }
        if let Some(topic) = broker.topics.get(&asked.name) {
            let added = i64::from(asked.count)
                - i64::try_from(topic.partitions().len()).unwrap_or(i64::MAX);
            if i64::try_from(assignments.len()) != Ok(added) {
                return refuse(
                    ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "{} assignments for {added} new partitions",
                        assignments.len()
                    ),
                );
            }
        }
    }
    let topics = Arc::clone(&broker.topics);
    let name = asked.name.into_string();
    let count = asked.count;
    if mutations.are_limited() && !validate_only {
        // What cannot be added costs nothing: it is looked at first.
        let (planner, name) = (Arc::clone(&topics), name.clone());
        let existing = broker.topics.get(&name);
        blocking(move || planner.add_partitions(&name, count, true)).await?;
        let existing = existing.map_or(0, |topic| topic.partitions().len());
        let total = usize::try_from(count).unwrap_or_default();
        mutations.charge(total.saturating_sub(existing))?;
    }
    blocking(move || topics.add_partitions(&name, count, validate_only)).await
}

/// Version whose clients know THROTTLING_QUOTA_EXCEEDED.
const QUOTA_REFUSES_FROM: i16 = 3;
