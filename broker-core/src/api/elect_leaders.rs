//! ElectLeaders, key 43, versions 0 to 2 (KIP-183, KIP-460).
//!
//! v1 election type; v2 flexible. The one broker leads every partition: no election is needed.

use std::sync::Arc;

use kafka_wire::elect_leaders_request::TopicPartitions;
use kafka_wire::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_wire::{ElectLeadersRequest, ElectLeadersResponse};

use super::{RequestContext, find_partition, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::wire;

/// Elect the preferred replica, or any when there is no leader.
const ELECTION_TYPES: [i8; 2] = [0, 1];

/// Answers the partitions named; when all are meant, none needs an election and none is listed.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let allowed = context.authorize(broker, Operation::Alter, Resource::Cluster);
    let refused = match allowed {
        Err(denied) => Some(denied),
        Ok(()) if !ELECTION_TYPES.contains(&request.election_type) => {
            Some(ErrorCode::INVALID_REQUEST)
        }
        Ok(()) => None,
    };
    if let Some(code) = refused {
        return wire!(ElectLeadersResponse { error_code: code.0 });
    }
    let asked = request.topic_partitions.unwrap_or_default().into_iter();
    wire!(ElectLeadersResponse {
        replica_election_results: asked.map(|topic| elect(broker, topic)).collect(),
    })
}

fn elect(broker: &Broker, asked: TopicPartitions) -> ReplicaElectionResult {
    let found = broker.topics.get(&asked.topic);
    let results = asked.partitions.iter().map(|index| {
        let exists = found
            .as_ref()
            .is_some_and(|topic| find_partition(topic, *index).is_ok());
        let (code, message) = if exists {
            (
                ErrorCode::ELECTION_NOT_NEEDED,
                "the only replica is the leader",
            )
        } else {
            (
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                "the partition does not exist",
            )
        };
        wire!(PartitionResult {
            partition_id: *index,
            error_code: code.0,
            error_message: Some(text(message)),
        })
    });
    wire!(ReplicaElectionResult {
        partition_result: results.collect(),
        topic: asked.topic,
    })
}
