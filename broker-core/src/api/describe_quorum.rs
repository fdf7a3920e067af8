//! DescribeQuorum, key 55, versions 0 to 2 (KIP-595): the quorum of one.
//!
//! v1 times of fetching (KIP-836); v2 directories, listeners and messages (KIP-853). The metadata
//! log is this broker's own: it leads, it votes, and nobody observes.

use std::sync::Arc;

use kafka_wire::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_wire::{DescribeQuorumRequest, DescribeQuorumResponse};

use super::{RequestContext, blocking, code_and_message, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::wire;

/// The topic whose one partition is the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Describes the metadata log; other partitions have no quorum.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let topics = Arc::clone(&broker.topics);
    let end = match context.authorize_change(broker, Operation::Describe, Resource::Cluster) {
        // A change that is being made durable holds the log meanwhile.
        Ok(()) => blocking(move || Ok(topics.metadata_log_end())).await,
        Err(denied) => Err(denied),
    };
    let Ok(end) = end else {
        let (error_code, error_message) = code_and_message(&end);
        let mut response = wire!(DescribeQuorumResponse { error_code });
        if context.version >= 2 {
            response.error_message = error_message;
        }
        return response;
    };
    let asked = request.topics.into_iter();
    let described = asked.map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            if topic.topic_name.as_str() == METADATA_TOPIC && partition.partition_index == 0 {
                describe(broker, context.version, end)
            } else {
                wire!(PartitionData {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
                    error_message: None,
                })
            }
        });
        wire!(TopicData {
            partitions: partitions.collect(),
            topic_name: topic.topic_name,
        })
    });
    let mut response = wire!(DescribeQuorumResponse {
        error_message: None,
        topics: described.collect(),
    });
    if context.version >= 2 {
        response.nodes = vec![wire!(Node {
            node_id: broker.config.node_id,
            listeners: vec![wire!(Listener {
                name: text("PLAINTEXT"),
                host: text(&broker.config.advertised_host),
                port: u16::try_from(broker.config.advertised_port).unwrap_or_default(),
            })],
        })];
    }
    response
}

fn describe(broker: &Broker, version: i16, end: i64) -> PartitionData {
    let mut voter = wire!(ReplicaState {
        replica_id: broker.config.node_id,
        log_end_offset: end,
    });
    if version >= 1 {
        let now_ms = broker.config.clock.now_ms();
        voter.last_fetch_timestamp = now_ms;
        voter.last_caught_up_timestamp = now_ms;
    }
    wire!(PartitionData {
        partition_index: 0,
        error_message: None,
        leader_id: broker.config.node_id,
        leader_epoch: 0,
        high_watermark: end,
        current_voters: vec![voter],
    })
}
