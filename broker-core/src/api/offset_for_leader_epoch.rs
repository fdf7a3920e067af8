//! OffsetForLeaderEpoch, key 23, versions 2 to 4 (KIP-101, KIP-320). v4 flexible.

use std::sync::Arc;

use kafka_wire::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_wire::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_wire::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use uuid::Uuid;

use super::{RequestContext, check_leader_epoch, find_partition, find_topic};
use crate::authorization::Operation;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, Offset};
use crate::topics::Topic;
use crate::wire;

/// Answers where each epoch ended.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|asked| {
            let topic = find_topic(
                broker,
                context,
                Operation::Describe,
                &asked.topic,
                Uuid::nil(),
            );
            let partitions = asked
                .partitions
                .iter()
                .map(|partition| {
                    let outcome = topic
                        .as_ref()
                        .map_err(|code| *code)
                        .and_then(|topic| look_up(topic, partition));
                    let (code, end) = match outcome {
                        Ok(end) => (ErrorCode::NONE, end),
                        Err(code) => (code, None),
                    };
                    wire!(EpochEndOffset {
                        error_code: code.0,
                        partition: partition.partition,
                        leader_epoch: end.map_or(-1, |(epoch, _)| epoch.0),
                        end_offset: end.map_or(-1, |(_, offset)| offset.0),
                    })
                })
                .collect();
            wire!(OffsetForLeaderTopicResult {
                topic: asked.topic,
                partitions,
            })
        })
        .collect();
    wire!(OffsetForLeaderEpochResponse { topics })
}

fn look_up(
    topic: &Topic,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let partition = find_partition(topic, asked.partition)?;
    check_leader_epoch(partition.offsets().leader_epoch, asked.current_leader_epoch)?;
    Ok(partition.end_offset_for_epoch(LeaderEpoch(asked.leader_epoch)))
}
