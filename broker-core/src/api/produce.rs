//! Produce, key 0, versions 3 to 13: the heart.
//!
//! v3 transactional id, v8 record errors (KIP-467), v12 partitions join the transaction by being
//! produced to (KIP-890), v13 topic ids (KIP-516). Per partition, in the order of the request and
//! without side effect until the append: batch frame and CRC, producer state (a retry of a stored
//! batch succeeds even if its schema was deleted meanwhile), records, admission by the validator,
//! transaction, append. A refused batch moves no state and consumes no offset; a transaction that
//! it was meant for stays open, for the client to abort.

mod errors;
mod membership;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use self::errors::{ERROR_BYTES_MAX, take_errors, take_text};
use super::wait::join_all;
use super::{RequestContext, find_partition, find_topic, spans};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::Offset;
use crate::partition::{AppendError, Partition, SequenceVerdict};
use crate::protocol::produce::{
    BatchIndexError, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopic,
    ProduceTopicResponse,
};
use crate::records::check::only_batch;
use crate::records::{
    BatchError, BatchHeader, BatchView, DecompressionScratch, ProduceLimits, check_produced,
    check_records, set_create_time,
};
use crate::topics::Topic;
use crate::validation::{Receipt, RecordError, Rejection, RequestOrigin, TopicSettings, Verdict};

use membership::Membership;

/// acks=all.
const ACKS_ALL: i16 = -1;

/// Batches larger than this are judged where the runtime may move other tasks away, in bytes.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// Rounds of fetching what the validator lacks, or of judging again what changed meanwhile.
const JUDGEMENTS_MAX: usize = 5;

/// Times that a batch is judged anew because the registry changed between verdict and append.
const APPENDS_MAX: u32 = 3;

thread_local! {
    static SCRATCH: RefCell<DecompressionScratch> = RefCell::default();
}

/// Where a batch was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    base_offset: Offset,
    last_offset: Offset,
    log_append_time_ms: i64,
}

impl Stored {
    /// What was stored by an earlier request; `stamped` is its append time, if the topic stamps it.
    fn before(base_offset: Offset, last_offset: Offset, stamped: Option<i64>) -> Self {
        Self {
            base_offset,
            last_offset,
            log_append_time_ms: stamped.unwrap_or(-1),
        }
    }
}

/// Why a batch was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    code: ErrorCode,
    message: String,
    record_errors: Vec<BatchIndexError>,
}

impl Refused {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            record_errors: Vec::new(),
        }
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        let message = error.to_string();
        let record_errors = error
            .record_indexes()
            .iter()
            .map(|&batch_index| BatchIndexError {
                batch_index,
                message: Some(message.clone()),
            })
            .collect();
        Self {
            code: error.code(),
            record_errors,
            message,
        }
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        let mut errors = rejection.errors;
        // librdkafka reads them in one forward pass: out of order or twice means lost.
        errors.sort_by_key(|error| error.batch_index);
        errors.dedup_by_key(|error| error.batch_index);
        Self {
            code: ErrorCode::INVALID_RECORD,
            message: rejection.message,
            record_errors: errors
                .into_iter()
                .map(
                    |RecordError {
                         batch_index,
                         message,
                     }| BatchIndexError {
                        batch_index,
                        message,
                    },
                )
                .collect(),
        }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        let code = match error {
            AppendError::Refused { code, .. } => code,
            AppendError::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            // Retriable: the next attempt is judged against the registry as it is then.
            AppendError::StaleVerdict(_) => ErrorCode::REQUEST_TIMED_OUT,
            AppendError::Duplicate { .. } => ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
        };
        Self::new(code, message)
    }
}

/// A partition whose answer must wait for the disk.
struct Waiting {
    topic: usize,
    entry: usize,
    partition: Arc<Partition>,
    last_offset: Offset,
}

/// Stores the batches and answers one entry per partition, in the order of the request.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ProduceRequest,
) -> ProduceResponse {
    let deadline = Instant::now()
        + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default().max(1));
    let acks_are_known = matches!(request.acks, ACKS_ALL..=1);
    let may_transact = request.transactional_id.as_deref().map_or(Ok(()), |id| {
        context.authorize(broker, Operation::Write, Resource::TransactionalId(id))
    });
    let mut response = ProduceResponse::default();
    let mut waiting = Vec::new();
    let mut error_bytes = ERROR_BYTES_MAX;
    for (topic_place, asked) in request.topics.into_iter().enumerate() {
        let ProduceTopic {
            name,
            id,
            partitions,
        } = asked;
        let topic = match may_transact {
            _ if !acks_are_known => Err(Refused::new(
                ErrorCode::INVALID_REQUIRED_ACKS,
                format!("acks {} is not one of -1, 0 and 1", request.acks),
            )),
            Err(denied) => Err(Refused::new(
                denied,
                "the transactional id may not be used by this client",
            )),
            Ok(()) => writable_topic(broker, context, &name, id),
        };
        let mut answers = Vec::with_capacity(partitions.len());
        for asked in partitions {
            let mut log_start_offset = -1;
            let outcome = match &topic {
                Err(refused) => Err(refused.clone()),
                Ok(topic) => match find_partition(topic, asked.index) {
                    Err(code) => Err(Refused::new(
                        code,
                        format!("topic {} has no partition {}", topic.name, asked.index),
                    )),
                    Ok(partition) => {
                        let batch = asked.records.unwrap_or_default();
                        let id = request.transactional_id.as_deref();
                        let place = (topic.as_ref(), &*partition);
                        let span = spans::batch(&topic.name, asked.index, batch.len());
                        let outcome = store(broker, context, place, id, batch, deadline)
                            .instrument(span.clone())
                            .await;
                        match &outcome {
                            Ok(stored) => spans::stored(&span, stored.base_offset.0),
                            Err(refused) => spans::refused(&span, refused.code),
                        }
                        log_start_offset = partition.offsets().log_start.0;
                        if let Ok(stored) = &outcome
                            && request.acks == ACKS_ALL
                        {
                            waiting.push(Waiting {
                                topic: topic_place,
                                entry: answers.len(),
                                partition,
                                last_offset: stored.last_offset,
                            });
                        }
                        outcome
                    }
                },
            };
            answers.push(entry(
                asked.index,
                log_start_offset,
                outcome,
                &mut error_bytes,
            ));
        }
        response.topics.push(ProduceTopicResponse {
            name,
            id,
            partitions: answers,
        });
    }
    if !waiting.is_empty() {
        wait_for_disk(waiting, deadline, &mut response)
            .instrument(spans::durable())
            .await;
    }
    response
}

/// The first entry that is an error.
pub(super) fn first_error(response: &ProduceResponse) -> Option<&ProducePartitionResponse> {
    response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .find(|partition| partition.error.is_error())
}

/// A topic that clients may write to.
fn writable_topic(
    broker: &Broker,
    context: &RequestContext,
    name: &str,
    id: uuid::Uuid,
) -> Result<Arc<Topic>, Refused> {
    let topic = find_topic(broker, context, Operation::Write, name, id).map_err(|code| {
        let topic = if id.is_nil() {
            name.to_owned()
        } else {
            id.to_string()
        };
        let text = if code == ErrorCode::TOPIC_AUTHORIZATION_FAILED {
            format!("topic {topic} may not be written by this client")
        } else {
            format!("topic {topic} does not exist")
        };
        Refused::new(code, text)
    })?;
    if topic.internal {
        return Err(Refused::new(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!(
                "topic {} is internal: only the broker writes it",
                topic.name
            ),
        ));
    }
    Ok(topic)
}

/// Checks, judges and appends one partition's batch.
async fn store(
    broker: &Arc<Broker>,
    context: &RequestContext,
    (topic, partition): (&Topic, &Partition),
    transactional_id: Option<&str>,
    mut batch: BytesMut,
    deadline: Instant,
) -> Result<Stored, Refused> {
    let now_ms = broker.config.clock.now_ms();
    let config = topic.config();
    let limits = ProduceLimits {
        max_message_bytes: config.max_message_bytes,
        compacted: config.compacted,
        produce_version: context.version,
        log_append_time: config.log_append_time,
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
        now_ms,
    };
    let view = check_frame(&batch, &limits, config.segment_bytes)?;
    let mut header = view.header;
    match partition.sequence_verdict(&header, now_ms) {
        SequenceVerdict::Append => {}
        SequenceVerdict::Duplicate {
            base_offset,
            last_offset,
            timestamp,
        } => {
            let stamped = config.log_append_time.then_some(timestamp);
            return Ok(Stored::before(base_offset, last_offset, stamped));
        }
        SequenceVerdict::OutOfOrder { expected, found } => {
            return Err(Refused::new(
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                format!(
                    "sequence {found} of producer {} is not the expected {expected}",
                    header.producer_id
                ),
            ));
        }
        SequenceVerdict::InTransaction { first_offset } => {
            return Err(Refused::new(
                ErrorCode::INVALID_TXN_STATE,
                format!(
                    "producer {} has a transaction open since offset {first_offset}, which the \
                     batch is not part of",
                    header.producer_id
                ),
            ));
        }
        SequenceVerdict::Fenced { current, found } => {
            return Err(Refused::new(
                ErrorCode::INVALID_PRODUCER_EPOCH,
                format!(
                    "epoch {found} of producer {} is older than {current}",
                    header.producer_id
                ),
            ));
        }
    }

    let transaction = Membership::of(&header, transactional_id, topic, partition)?;
    let origin = RequestOrigin {
        client_id: &context.client_id,
        client_software: &context.client_software,
        address: context.address,
        partition: partition.index(),
    };
    // Under the partition's lock: what ends the transaction needs that lock afterwards.
    let is_member = || {
        transaction.as_ref().map_or(Ok(()), |transaction| {
            transaction.check(broker, context.version)
        })
    };
    let mut appends_left = APPENDS_MAX;
    loop {
        // Anew each time, as is the verdict: the topic's configs may be what changed.
        let settings = topic.settings();
        let view = only_batch(&batch)?;
        let (receipt, max_timestamp) =
            judge(broker, &settings, &view, &limits, &origin, deadline).await?;
        if !config.log_append_time && set_create_time(&mut batch, max_timestamp) {
            header = BatchHeader::parse(&batch)?;
        }
        if let Some(transaction) = &transaction {
            transaction.enter(broker, context.version).await?;
        }
        partition.make_room().await;
        let still_holds =
            || broker.validator.still_holds(&settings, &receipt) && is_member().is_ok();
        match partition.append(batch, &header, now_ms, &still_holds) {
            Ok(appended) => {
                return Ok(Stored {
                    base_offset: appended.base_offset,
                    last_offset: appended.last_offset,
                    log_append_time_ms: appended.log_append_time,
                });
            }
            // A retry on another connection won the race between our look-up and the append.
            Err(AppendError::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            }) => {
                let stamped = config.log_append_time.then_some(timestamp);
                return Ok(Stored::before(base_offset, last_offset, stamped));
            }
            Err(AppendError::StaleVerdict(given_back)) => {
                // Its transaction ended meanwhile?
                is_member()?;
                appends_left -= 1;
                if appends_left == 0 {
                    return Err(AppendError::StaleVerdict(given_back).into());
                }
                batch = given_back;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What can be said of a batch without reading its records.
fn check_frame<'a>(
    batch: &'a [u8],
    limits: &ProduceLimits,
    segment_bytes: i32,
) -> Result<BatchView<'a>, Refused> {
    let view = only_batch(batch)?;
    check_produced(&view, limits)?;
    let size = view.header.size();
    if usize::try_from(segment_bytes).is_ok_and(|segment_bytes| size > segment_bytes) {
        return Err(Refused::new(
            ErrorCode::RECORD_LIST_TOO_LARGE,
            format!("batch of {size} bytes is larger than segment.bytes {segment_bytes}"),
        ));
    }
    view.verify_crc()?;
    Ok(view)
}

/// Checks the records by Kafka's rules and asks the validator until it has a verdict that holds
/// now; answers the records' greatest timestamp too. Both walk the records: a compressed batch is
/// decompressed once for the two.
async fn judge(
    broker: &Broker,
    settings: &TopicSettings,
    view: &BatchView<'_>,
    limits: &ProduceLimits,
    origin: &RequestOrigin<'_>,
    deadline: Instant,
) -> Result<(Receipt, i64), Refused> {
    let validator = &broker.validator;
    for _ in 0..JUDGEMENTS_MAX {
        let (verdict, max_timestamp) = may_take_long(view.bytes.len(), || {
            SCRATCH.with_borrow_mut(|scratch| {
                let batch = view.inflated(scratch)?;
                let max_timestamp = check_records(&batch, limits)?;
                spans::link(&batch);
                let verdict = spans::validate()
                    .in_scope(|| validator.validate(settings, batch.view(), origin));
                Ok::<_, BatchError>((verdict, max_timestamp))
            })
        })?;
        match verdict {
            // Asked again under the partition lock; here it saves the answer from being a retry.
            Verdict::Accepted(receipt) if validator.still_holds(settings, &receipt) => {
                return Ok((receipt, max_timestamp));
            }
            Verdict::Accepted(_) => {}
            Verdict::Rejected(rejection) => return Err(rejection.into()),
            Verdict::Unresolved(wanted) => {
                match timeout_at(deadline, validator.resolve(wanted)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(unavailable)) => {
                        return Err(Refused::new(ErrorCode::REQUEST_TIMED_OUT, unavailable.0));
                    }
                    Err(_) => break,
                }
            }
        }
    }
    Err(Refused::new(
        ErrorCode::REQUEST_TIMED_OUT,
        format!(
            "the schemas of topic {} could not be resolved in time",
            settings.name
        ),
    ))
}

/// Runs `work`; for large batches the runtime first hands the thread's other tasks to another one.
fn may_take_long<T>(batch_bytes: usize, work: impl FnOnce() -> T) -> T {
    if batch_bytes > INLINE_BYTES_MAX
        && Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Waits until everything that acks=all acknowledges is durable, all partitions at once.
async fn wait_for_disk(
    mut waiting: Vec<Waiting>,
    deadline: Instant,
    response: &mut ProduceResponse,
) {
    let outcomes = match waiting.len() {
        0 => return,
        1 => {
            let Waiting {
                partition,
                last_offset,
                ..
            } = &waiting[0];
            vec![timeout_at(deadline, partition.durable(*last_offset)).await]
        }
        _ => {
            join_all(
                waiting
                    .iter()
                    .map(|one| timeout_at(deadline, one.partition.durable(one.last_offset)))
                    .collect(),
            )
            .await
        }
    };
    for (one, outcome) in waiting.drain(..).zip(outcomes) {
        let refused = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => Refused::from(error),
            Err(_) => Refused::new(
                ErrorCode::REQUEST_TIMED_OUT,
                "the batch was not durable before the request timed out",
            ),
        };
        if let Some(entry) = response
            .topics
            .get_mut(one.topic)
            .and_then(|topic| topic.partitions.get_mut(one.entry))
        {
            entry.error = refused.code;
            entry.base_offset = -1;
            entry.log_append_time_ms = -1;
            entry.error_message = Some(refused.message);
        }
    }
}

fn entry(
    index: i32,
    log_start_offset: i64,
    outcome: Result<Stored, Refused>,
    error_bytes: &mut usize,
) -> ProducePartitionResponse {
    let mut answer = ProducePartitionResponse {
        index,
        error: ErrorCode::NONE,
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset,
        record_errors: Vec::new(),
        error_message: None,
    };
    match outcome {
        Ok(stored) => {
            answer.base_offset = stored.base_offset.0;
            answer.log_append_time_ms = stored.log_append_time_ms;
        }
        Err(refused) => {
            answer.error = refused.code;
            answer.error_message = take_text(Some(refused.message), error_bytes);
            answer.record_errors = take_errors(refused.record_errors, error_bytes);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_errors_ascend_without_duplicates() {
        let error = |batch_index| RecordError {
            batch_index,
            message: None,
        };
        let refused = Refused::from(Rejection {
            errors: vec![error(3), error(1), error(3)],
            message: "m".to_owned(),
        });
        let indexes: Vec<i32> = refused
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect();
        assert_eq!(indexes, [1, 3]);
        assert_eq!(refused.code, ErrorCode::INVALID_RECORD);
    }
}
