//! ListOffsets, key 2, versions 1 to 10.
//!
//! v2 isolation level; v4 leader epoch (KIP-320); v6 flexible; v7 max timestamp -3 (KIP-734); v8
//! earliest local -4 and v9 latest tiered -5 (KIP-405): nothing is tiered here.

use std::sync::Arc;

use kafka_wire::list_offsets_request::ListOffsetsPartition;
use kafka_wire::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::{ListOffsetsRequest, ListOffsetsResponse};
use uuid::Uuid;

use super::{RequestContext, check_leader_epoch, find_partition, find_topic};
use crate::authorization::Operation;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::partition::{Isolation, OffsetAtTime, OffsetQuery, ReadError};
use crate::topics::Topic;
use crate::wire;

/// What a timestamp of the request asks for.
enum Wanted {
    Query(OffsetQuery),
    /// Nothing is tiered: offset -1.
    Nothing,
}

/// Looks up one offset per partition.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    };
    let topics = request
        .topics
        .into_iter()
        .map(|asked| {
            let topic = find_topic(
                broker,
                context,
                Operation::Describe,
                &asked.name,
                Uuid::nil(),
            );
            let partitions = asked
                .partitions
                .iter()
                .map(|partition| {
                    let outcome = topic
                        .as_ref()
                        .map_err(|code| *code)
                        .and_then(|topic| look_up(topic, partition, isolation, context.version));
                    let (error_code, found) = match outcome {
                        Ok(found) => (ErrorCode::NONE.0, found),
                        Err(code) => (code.0, None),
                    };
                    wire!(ListOffsetsPartitionResponse {
                        partition_index: partition.partition_index,
                        error_code,
                        timestamp: found.map_or(-1, |found| found.timestamp),
                        offset: found.map_or(-1, |found| found.offset.0),
                        leader_epoch: match found {
                            Some(found) if context.version >= 4 => found.leader_epoch.0,
                            _ => -1,
                        },
                    })
                })
                .collect();
            wire!(ListOffsetsTopicResponse {
                name: asked.name,
                partitions,
            })
        })
        .collect();
    wire!(ListOffsetsResponse { topics })
}

/// The first error of a partition.
pub(super) fn first_error(response: &ListOffsetsResponse) -> i16 {
    response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.error_code)
        .find(|code| *code != 0)
        .unwrap_or_default()
}

fn look_up(
    topic: &Topic,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<Option<OffsetAtTime>, ErrorCode> {
    let partition = find_partition(topic, asked.partition_index)?;
    check_leader_epoch(partition.offsets().leader_epoch, asked.current_leader_epoch)?;
    match wanted(asked.timestamp, isolation, version)? {
        Wanted::Nothing => Ok(None),
        Wanted::Query(query) => {
            // Before the look-up: what it finds below this may be read.
            let stable = partition.offsets().last_stable;
            let found = partition.offset_for(query).map_err(|error| match error {
                ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
                ReadError::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            })?;
            let by_time = matches!(query, OffsetQuery::Timestamp(_) | OffsetQuery::MaxTimestamp);
            let hidden = by_time && isolation == Isolation::ReadCommitted;
            Ok(found.filter(|found| !hidden || found.offset < stable))
        }
    }
}

fn wanted(timestamp: i64, isolation: Isolation, version: i16) -> Result<Wanted, ErrorCode> {
    Ok(match timestamp {
        -1 => Wanted::Query(OffsetQuery::Latest(isolation)),
        -2 => Wanted::Query(OffsetQuery::Earliest),
        -3 if version >= 7 => Wanted::Query(OffsetQuery::MaxTimestamp),
        -4 if version >= 8 => Wanted::Query(OffsetQuery::Earliest),
        -5 if version >= 9 => Wanted::Nothing,
        timestamp if timestamp >= 0 => Wanted::Query(OffsetQuery::Timestamp(timestamp)),
        _ => return Err(ErrorCode::UNSUPPORTED_VERSION),
    })
}
