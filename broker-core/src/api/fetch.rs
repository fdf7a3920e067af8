//! Fetch, key 1, versions 4 to 18.
//!
//! Long polls are woken by appends (KIP-41 limits; KIP-74 the first batch is always whole), topic
//! ids from v13 (KIP-516), leader epochs (KIP-320), sessions from v7 (KIP-227, in
//! `fetch/session.rs`). A client beyond its quota is answered at once, with nothing (KIP-219).

mod budget;
pub(crate) mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::budget::Budget;
use self::session::{Asked, SessionCache, TopicKey};
use super::throttle::request_throttle_ms;
use super::wait::Watches;
use super::{RequestContext, check_leader_epoch, find_partition, find_topic};
use crate::authorization::Operation;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::{Isolation, Partition, PartitionOffsets, ReadError, ReadRequest};
use crate::protocol::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use crate::quotas::QuotaKind;
use crate::records::{BatchHeader, Compression};

/// Most bytes of records in one answer, whatever the client asks (`fetch.max.bytes` of Kafka).
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// First version with topic ids.
const TOPIC_IDS_FROM: i16 = 13;

/// One partition asked for, and what is there for it so far.
struct Slot<'a> {
    asked: &'a Asked,
    answer: FetchPartitionResponse,
    bytes: usize,
}

/// What holds for every partition of the request.
struct Limits<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    isolation: Isolation,
    max_bytes: usize,
    min_bytes: usize,
}

/// An answer, and its share of the memory, to be held until it is written.
pub(super) type Answer = (FetchResponse, Option<OwnedSemaphorePermit>);

/// Reads, waiting for `min_bytes` as long as the client allows.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FetchRequest,
    shutdown: &CancellationToken,
) -> Answer {
    let clock = &broker.config.clock;
    let topic_ids = context.version >= TOPIC_IDS_FROM;
    let begun = broker
        .fetch_sessions
        .begin(&request, topic_ids, clock.now_ms());
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => return refused(error),
    };
    let quotas = broker.topics.quotas();
    // An answer that no quota could ever allow would be put off for ever.
    let quota_bytes = quotas
        .burst(QuotaKind::ConsumerByteRate, context.client())
        .map_or(usize::MAX, whole_bytes);
    let max_bytes = to_usize(request.max_bytes)
        .min(RESPONSE_BYTES_MAX)
        .min(quota_bytes);
    let limits = Limits {
        broker,
        context,
        isolation: if request.isolation_level == 1 {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        max_bytes,
        min_bytes: to_usize(request.min_bytes).min(max_bytes),
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let mut budget = Budget::new(&broker.fetch_memory);
    let answers = read_in_time(&limits, &mut budget, &begun.partitions, wait, shutdown).await;

    let bytes: usize = answers.iter().map(records_bytes).sum();
    let now_ms = clock.now_ms();
    let counted = exact(bytes);
    let kind = QuotaKind::ConsumerByteRate;
    let fetched_ms = quotas.record(kind, context.client(), counted, now_ms);
    let throttle_ms = fetched_ms.max(request_throttle_ms(broker, context));
    let throttle_time_ms = i32::try_from(throttle_ms).unwrap_or(i32::MAX);
    // One batch alone that the quota could never allow goes out all the same, and is waited for
    // afterwards: else the consumer would stay before it for ever.
    if throttle_ms > 0 && bytes <= quota_bytes {
        // What does not go out does not count.
        quotas.record(kind, context.client(), -counted, now_ms);
        let response = FetchResponse {
            throttle_time_ms,
            session_id: SessionCache::throttled(&begun),
            ..FetchResponse::default()
        };
        return (response, None);
    }
    let sessions = &broker.fetch_sessions;
    let mut fresh_id = || rand::random_range(1..=i32::MAX);
    let finished = sessions.finish(begun, answers, now_ms, &mut fresh_id);
    sessions.report(|count| metrics::gauge!("assay_fetch_sessions").set(exact(count)));
    match finished {
        Ok(finished) => {
            let response = FetchResponse {
                throttle_time_ms,
                session_id: finished.session_id,
                topics: by_topic(finished.answers),
                ..FetchResponse::default()
            };
            (response, budget.into_permit())
        }
        Err(error) => refused(error),
    }
}

fn refused(error: ErrorCode) -> Answer {
    let response = FetchResponse {
        error,
        ..FetchResponse::default()
    };
    (response, None)
}

/// Reads every partition, again as long as there is not enough, until the time is over.
async fn read_in_time(
    limits: &Limits<'_>,
    budget: &mut Budget,
    asked: &[Asked],
    wait: Duration,
    shutdown: &CancellationToken,
) -> Vec<FetchPartitionResponse> {
    let deadline = Instant::now() + wait;
    let mut slots: Vec<Slot<'_>> = asked
        .iter()
        .map(|asked| Slot {
            asked,
            answer: FetchPartitionResponse::failed(asked.partition.index, ErrorCode::NONE),
            bytes: 0,
        })
        .collect();
    read_all(limits, budget, &mut slots);
    if !wait.is_zero() && !is_enough(limits, &slots) {
        // Watch first, then look again: what was appended in between is not missed.
        let mut watches = Watches::default();
        for (place, slot) in slots.iter().enumerate() {
            if let Ok(partition) = resolve(limits, slot) {
                watches.add(place, partition.readable());
            }
        }
        read_all(limits, budget, &mut slots);
        while !is_enough(limits, &slots) {
            tokio::select! {
                changed = watches.changed() => {
                    for place in changed {
                        read_again(limits, budget, &mut slots, place);
                    }
                }
                () = sleep_until(deadline) => break,
                () = shutdown.cancelled() => break,
            }
        }
    }
    slots.into_iter().map(|slot| slot.answer).collect()
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

fn resolve(limits: &Limits<'_>, slot: &Slot<'_>) -> Result<Arc<Partition>, ErrorCode> {
    let TopicKey { name, id } = &slot.asked.topic;
    let topic = find_topic(limits.broker, limits.context, Operation::Read, name, *id)?;
    find_partition(&topic, slot.asked.partition.index)
}

fn records_bytes(answer: &FetchPartitionResponse) -> usize {
    answer.records.iter().map(bytes::Bytes::len).sum()
}

/// Bytes or sessions, as far from 2^53 as they are, for a meter.
#[expect(
    clippy::cast_precision_loss,
    reason = "an answer has 64 MiB of records at most"
)]
fn exact(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer that there is"
)]
fn whole_bytes(bytes: f64) -> usize {
    bytes as usize
}

/// Whether the answer can go out: enough bytes, an error, or nothing to wait for.
fn is_enough(limits: &Limits<'_>, slots: &[Slot<'_>]) -> bool {
    let bytes: usize = slots.iter().map(|slot| slot.bytes).sum();
    slots.is_empty()
        || bytes >= limits.min_bytes
        || slots
            .iter()
            .any(|slot| slot.answer.error.is_error() || slot.answer.diverging_epoch.is_some())
}

fn read_all(limits: &Limits<'_>, budget: &mut Budget, slots: &mut [Slot<'_>]) {
    let max_bytes = budget.allow(limits.max_bytes);
    let mut bytes = 0;
    for slot in slots {
        read(limits, slot, max_bytes, bytes);
        bytes += slot.bytes;
    }
    budget.keep(bytes);
}

fn read_again(limits: &Limits<'_>, budget: &mut Budget, slots: &mut [Slot<'_>], place: usize) {
    let bytes: usize = slots.iter().map(|slot| slot.bytes).sum();
    if let Some(slot) = slots.get_mut(place) {
        let max_bytes = budget.allow(limits.max_bytes);
        let others = bytes - slot.bytes;
        read(limits, slot, max_bytes, others);
        budget.keep(others + slot.bytes);
    }
}

/// Reads one partition; `others` is what the other partitions already take of `max_bytes`.
fn read(limits: &Limits<'_>, slot: &mut Slot<'_>, max_bytes: usize, others: usize) {
    slot.bytes = 0;
    let asked = &slot.asked.partition;
    let room = max_bytes.saturating_sub(others);
    slot.answer = match resolve(limits, slot) {
        Ok(partition) => read_partition(limits, asked, &partition, room, others == 0),
        Err(code) => FetchPartitionResponse::failed(asked.index, code),
    };
    slot.bytes = records_bytes(&slot.answer);
}

/// Reads at most `room` bytes, but for one batch when the answer has none yet.
fn read_partition(
    limits: &Limits<'_>,
    asked: &FetchPartition,
    partition: &Partition,
    room: usize,
    at_least_one: bool,
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
        max_bytes: to_usize(asked.max_bytes).min(room),
        at_least_one,
        isolation: limits.isolation,
    });
    match read {
        Ok(read) => {
            if limits.context.version < 10 && read.batches.iter().any(|chunk| has_zstd(chunk)) {
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

/// Puts the answers of a topic together where they follow each other, in their order.
fn by_topic(answers: Vec<(TopicKey, FetchPartitionResponse)>) -> Vec<FetchTopicResponse> {
    let mut topics: Vec<(TopicKey, FetchTopicResponse)> = Vec::new();
    for (key, answer) in answers {
        match topics.last_mut() {
            Some((last, topic)) if *last == key => topic.partitions.push(answer),
            _ => {
                let topic = FetchTopicResponse {
                    name: key.name.to_string(),
                    id: key.id,
                    partitions: vec![answer],
                };
                topics.push((key, topic));
            }
        }
    }
    topics.into_iter().map(|(_, topic)| topic).collect()
}
