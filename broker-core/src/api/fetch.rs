//! Fetch, key 1, versions 4 to 17.
//!
//! Long polls are woken by appends (KIP-41 limits; KIP-74 the first batch is always whole), topic
//! ids from v13 (KIP-516), leader epochs (KIP-320). Sessions (KIP-227) are refused by answering
//! session id 0, which clients take as "ask in full every time".

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::wait::Watches;
use super::{RequestContext, check_leader_epoch, find_partition, find_topic};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::{Isolation, Partition, PartitionOffsets, ReadError, ReadRequest};
use crate::protocol::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use crate::records::{BatchHeader, Compression};

/// Most bytes of records in one answer, whatever the client asks.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One partition asked for, and what is there for it so far.
struct Slot<'a> {
    name: &'a str,
    id: Uuid,
    asked: FetchPartition,
    answer: FetchPartitionResponse,
    bytes: usize,
}

/// What holds for every partition of the request.
struct Limits {
    version: i16,
    isolation: Isolation,
    max_bytes: usize,
    min_bytes: usize,
}

/// Reads, waiting for `min_bytes` as long as the client allows.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FetchRequest,
    shutdown: &CancellationToken,
) -> FetchResponse {
    if request.session_id != 0 && request.session_epoch > 0 {
        return FetchResponse {
            error: ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ..FetchResponse::default()
        };
    }
    let max_bytes = to_usize(request.max_bytes).min(RESPONSE_BYTES_MAX);
    let limits = Limits {
        version: context.version,
        isolation: if request.isolation_level == 1 {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        max_bytes,
        min_bytes: to_usize(request.min_bytes).min(max_bytes),
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let deadline = Instant::now() + wait;

    let mut slots = Vec::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            slots.push(Slot {
                name: &topic.name,
                id: topic.id,
                asked: *asked,
                answer: FetchPartitionResponse::failed(asked.index, ErrorCode::NONE),
                bytes: 0,
            });
        }
    }
    read_all(broker, &limits, &mut slots);
    if !wait.is_zero() && !is_enough(&limits, &slots) {
        // Watch first, then look again: what was appended in between is not missed.
        let mut watches = Watches::default();
        for (place, slot) in slots.iter().enumerate() {
            if let Ok(partition) = resolve(broker, slot) {
                watches.add(place, partition.readable());
            }
        }
        read_all(broker, &limits, &mut slots);
        while !is_enough(&limits, &slots) {
            tokio::select! {
                changed = watches.changed() => {
                    for place in changed {
                        read_again(broker, &limits, &mut slots, place);
                    }
                }
                () = sleep_until(deadline) => break,
                () = shutdown.cancelled() => break,
            }
        }
    }
    respond(&request, slots)
}

/// The error of the request, or the first of a partition.
pub(super) fn first_error(response: &FetchResponse) -> ErrorCode {
    if response.error.is_error() {
        return response.error;
    }
    response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.error)
        .find(|error| error.is_error())
        .unwrap_or_default()
}

fn to_usize(value: i32) -> usize {
    usize::try_from(value).unwrap_or_default()
}

fn resolve(broker: &Broker, slot: &Slot<'_>) -> Result<Arc<Partition>, ErrorCode> {
    let topic = find_topic(broker, slot.name, slot.id)?;
    find_partition(&topic, slot.asked.index)
}

/// Whether the answer can go out: enough bytes, an error, or nothing to wait for.
fn is_enough(limits: &Limits, slots: &[Slot<'_>]) -> bool {
    let bytes: usize = slots.iter().map(|slot| slot.bytes).sum();
    slots.is_empty()
        || bytes >= limits.min_bytes
        || slots
            .iter()
            .any(|slot| slot.answer.error.is_error() || slot.answer.diverging_epoch.is_some())
}

fn read_all(broker: &Broker, limits: &Limits, slots: &mut [Slot<'_>]) {
    let mut bytes = 0;
    for slot in slots {
        read(broker, limits, slot, bytes);
        bytes += slot.bytes;
    }
}

fn read_again(broker: &Broker, limits: &Limits, slots: &mut [Slot<'_>], place: usize) {
    let bytes: usize = slots.iter().map(|slot| slot.bytes).sum();
    if let Some(slot) = slots.get_mut(place) {
        let others = bytes - slot.bytes;
        read(broker, limits, slot, others);
    }
}

/// Reads one partition; `others` is what the other partitions already take of the answer.
fn read(broker: &Broker, limits: &Limits, slot: &mut Slot<'_>, others: usize) {
    slot.bytes = 0;
    slot.answer = match resolve(broker, slot) {
        Ok(partition) => read_partition(limits, &slot.asked, &partition, others),
        Err(code) => FetchPartitionResponse::failed(slot.asked.index, code),
    };
    slot.bytes = slot.answer.records.iter().map(bytes::Bytes::len).sum();
}

fn read_partition(
    limits: &Limits,
    asked: &FetchPartition,
    partition: &Partition,
    others: usize,
) -> FetchPartitionResponse {
    let failed = |code| FetchPartitionResponse::failed(asked.index, code);
    let current = partition.offsets();
    if let Err(code) = check_leader_epoch(current.leader_epoch, asked.current_leader_epoch) {
        return failed(code);
    }
    if asked.last_fetched_epoch >= 0
        && let Some((epoch, end_offset)) =
            partition.end_offset_for_epoch(LeaderEpoch(asked.last_fetched_epoch))
        && (epoch.0 < asked.last_fetched_epoch || end_offset.0 < asked.fetch_offset)
    {
        let mut answer = failed(ErrorCode::NONE);
        fill_offsets(&mut answer, &current);
        answer.diverging_epoch = Some((epoch.0, end_offset.0));
        return answer;
    }
    let read = partition.read(&ReadRequest {
        from: Offset(asked.fetch_offset),
        max_bytes: to_usize(asked.max_bytes).min(limits.max_bytes.saturating_sub(others)),
        at_least_one: others == 0,
        isolation: limits.isolation,
    });
    match read {
        Ok(read) => {
            if limits.version < 10 && read.batches.iter().any(|chunk| has_zstd(chunk)) {
                // KIP-110: the client would not know the codec.
                return failed(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
            }
            let mut answer = failed(ErrorCode::NONE);
            fill_offsets(&mut answer, &read.offsets);
            if limits.isolation == Isolation::ReadCommitted {
                let mut aborted: Vec<(i64, i64)> = read
                    .aborted
                    .iter()
                    .map(|aborted| (aborted.producer_id.0, aborted.first_offset.0))
                    .collect();
                aborted.sort_unstable_by_key(|(_, first_offset)| *first_offset);
                answer.aborted = Some(aborted);
            }
            answer.records = read.batches;
            answer
        }
        Err(ReadError::OutOfRange { offsets, .. }) => {
            let mut answer = failed(ErrorCode::OFFSET_OUT_OF_RANGE);
            fill_offsets(&mut answer, &offsets);
            answer
        }
        Err(ReadError::Offline(_)) => failed(ErrorCode::KAFKA_STORAGE_ERROR),
    }
}

fn fill_offsets(answer: &mut FetchPartitionResponse, offsets: &PartitionOffsets) {
    answer.high_watermark = offsets.high_watermark.0;
    answer.last_stable_offset = offsets.last_stable.0;
    answer.log_start_offset = offsets.log_start.0;
}

/// Whether a run of whole batches holds a zstd one.
fn has_zstd(mut batches: &[u8]) -> bool {
    while let Ok(header) = BatchHeader::parse(batches) {
        if header.compression() == Ok(Compression::Zstd) {
            return true;
        }
        match batches.get(header.size()..) {
            Some(rest) => batches = rest,
            None => return false,
        }
    }
    false
}

/// Puts the answers back into the order of the request.
fn respond(request: &FetchRequest, slots: Vec<Slot<'_>>) -> FetchResponse {
    let mut answers = slots.into_iter().map(|slot| slot.answer);
    FetchResponse {
        topics: request
            .topics
            .iter()
            .map(|topic| FetchTopicResponse {
                name: topic.name.clone(),
                id: topic.id,
                partitions: answers.by_ref().take(topic.partitions.len()).collect(),
            })
            .collect(),
        ..FetchResponse::default()
    }
}
