//! AlterPartitionReassignments, key 45, versions 0 and 1 (KIP-455).
//!
//! v1 whether the number of replicas may change. Every partition has one replica, on the one
//! broker: that assignment is in force already, no other is possible, and none is under way.

use std::sync::Arc;

use kafka_wire::alter_partition_reassignments_request::ReassignablePartition;
use kafka_wire::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_wire::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{RequestContext, code_and_message, find_partition, refuse};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::{Topic, TopicError};
use crate::wire;

/// Says of each partition whether its replicas are where they shall be.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allowed = context.authorize_change(broker, Operation::Alter, Resource::Cluster);
    if allowed.is_err() {
        let (error_code, error_message) = code_and_message(&allowed);
        return wire!(AlterPartitionReassignmentsResponse {
            error_code,
            error_message,
        });
    }
    let node_id = broker.config.node_id;
    let responses = request.topics.into_iter().map(|topic| {
        let found = broker.topics.get(&topic.name);
        let partitions = topic.partitions.iter().map(|asked| {
            let outcome = reassign(found.as_deref(), node_id, asked);
            let (error_code, error_message) = code_and_message(&outcome);
            wire!(ReassignablePartitionResponse {
                partition_index: asked.partition_index,
                error_code,
                error_message,
            })
        });
        wire!(ReassignableTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
        })
    });
    wire!(AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_message: None,
        responses: responses.collect(),
    })
}

fn reassign(
    topic: Option<&Topic>,
    node_id: i32,
    asked: &ReassignablePartition,
) -> Result<(), TopicError> {
    let index = asked.partition_index;
    if topic.is_none_or(|topic| find_partition(topic, index).is_err()) {
        return refuse(
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            format!("partition {index} does not exist"),
        );
    }
    match &asked.replicas {
        None => refuse(
            ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
            format!("partition {index} is not being reassigned"),
        ),
        Some(replicas) if *replicas == [node_id] => Ok(()),
        Some(replicas) => refuse(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!("replicas {replicas:?} of partition {index}: the only broker is {node_id}"),
        ),
    }
}
