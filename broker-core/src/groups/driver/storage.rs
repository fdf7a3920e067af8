//! `__consumer_offsets`: where groups and offsets are kept.
//!
//! The topic is compacted by rewriting: when a partition has grown well past what its groups need,
//! all of them are written again at its end and everything before is deleted. In that order, with a
//! wait for durability in between, a crash at any point leaves at least one whole copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;

use super::{GroupCoordinator, Inner};
use crate::error::ErrorCode;
use crate::groups::OFFSETS_TOPIC;
use crate::groups::offsets::CommittedOffset;
use crate::groups::record::{self, GroupMetadata, RecordError, RecordKey};
use crate::groups::replay::Replay;
use crate::ids::Offset;
use crate::partition::{AppendError, Isolation, Partition, ReadRequest};
use crate::records::{BatchBuilder, BatchHeader, BatchView, Compression, DecompressionScratch};
use crate::topics::{NewTopic, Topics};

/// Partitions of a new `__consumer_offsets`. One log shares its syncs among all groups.
const PARTITIONS: i32 = 1;
/// `segment.bytes` of the topic: small, since only whole segments give space back.
const SEGMENT_BYTES: &str = "16777216";
/// Records are put together into batches of about this size.
const BATCH_BYTES: usize = 256 * 1024;
/// Bytes read at a time while replaying.
const READ_BYTES: usize = 1024 * 1024;
/// Growth below this is never worth a rewrite.
const GROWTH_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// A rewrite is due when the records since the last one are this many times what it wrote.
const GROWTH_FACTOR: u64 = 4;

/// The partitions of `__consumer_offsets`, and how much they grew.
#[derive(Debug)]
pub(super) struct OffsetsLog {
    partitions: Vec<LogPartition>,
}

#[derive(Debug)]
struct LogPartition {
    partition: Arc<Partition>,
    /// Bytes of records written since the last rewrite.
    grown_bytes: AtomicU64,
    /// Bytes the last rewrite wrote.
    live_bytes: AtomicU64,
}

/// Records of one group, to be written together.
#[derive(Debug)]
pub(super) struct Records {
    group: String,
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Records {
    pub(super) fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            records: Vec::new(),
        }
    }

    /// A commit, or its tombstone.
    pub(super) fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        offset: Option<&CommittedOffset>,
    ) -> Result<(), ErrorCode> {
        let key = RecordKey::Offset {
            group: self.group.clone(),
            topic: topic.to_owned(),
            partition,
        };
        self.put(&key, offset.map(record::encode_offset))
    }

    /// The group's metadata, or its tombstone.
    pub(super) fn metadata(&mut self, metadata: Option<&GroupMetadata>) -> Result<(), ErrorCode> {
        let key = RecordKey::Group {
            group: self.group.clone(),
        };
        self.put(&key, metadata.map(record::encode_group))
    }

    fn put(
        &mut self,
        key: &RecordKey,
        value: Option<Result<Vec<u8>, RecordError>>,
    ) -> Result<(), ErrorCode> {
        let unstorable = |_| ErrorCode::UNKNOWN_SERVER_ERROR;
        let key = key.encode().map_err(unstorable)?;
        let value = value.transpose().map_err(unstorable)?;
        self.records.push((key, value));
        Ok(())
    }
}

impl OffsetsLog {
    pub(super) fn open(topics: &Topics) -> Result<Self, String> {
        let topic = match topics.get(OFFSETS_TOPIC) {
            Some(topic) => topic,
            None => topics
                .create(
                    &NewTopic {
                        name: OFFSETS_TOPIC.to_owned(),
                        partitions: PARTITIONS,
                        replication_factor: 1,
                        configs: [
                            ("cleanup.policy".to_owned(), "compact".to_owned()),
                            ("segment.bytes".to_owned(), SEGMENT_BYTES.to_owned()),
                        ]
                        .into(),
                        internal: true,
                    },
                    false,
                )
                .map_err(|error| {
                    format!("topic {OFFSETS_TOPIC} cannot be created: {}", error.message)
                })?,
        };
        let partitions: Vec<LogPartition> = topic
            .partitions()
            .iter()
            .map(|partition| LogPartition {
                partition: Arc::clone(partition),
                grown_bytes: AtomicU64::new(0),
                live_bytes: AtomicU64::new(0),
            })
            .collect();
        if partitions.is_empty() {
            return Err(format!("topic {OFFSETS_TOPIC} has no partitions"));
        }
        Ok(Self { partitions })
    }

    /// Reads everything; records that make no sense are skipped and counted in the log.
    pub(super) fn replay(&self) -> Result<Replay, String> {
        let mut replay = Replay::default();
        let mut scratch = DecompressionScratch::default();
        let mut skipped_count = 0_u64;
        for log in &self.partitions {
            let mut from = log.partition.offsets().log_start;
            while from < log.partition.offsets().high_watermark {
                let read = log
                    .partition
                    .read(&ReadRequest {
                        from,
                        max_bytes: READ_BYTES,
                        at_least_one: true,
                        isolation: Isolation::ReadUncommitted,
                    })
                    .map_err(|error| format!("{OFFSETS_TOPIC} cannot be read: {error}"))?;
                let before = from;
                for bytes in &read.batches {
                    log.grown_bytes
                        .fetch_add(size(bytes.len()), Ordering::Relaxed);
                    // One element may hold several batches.
                    let mut rest = bytes.as_ref();
                    while !rest.is_empty() {
                        let (batch, after) = BatchView::parse(rest).map_err(|error| {
                            format!("{OFFSETS_TOPIC} at offset {from}: {error}")
                        })?;
                        rest = after;
                        from = Offset(batch.header.last_offset().0.saturating_add(1));
                        if batch.header.is_control() {
                            continue;
                        }
                        let records = batch.records(&mut scratch).map_err(|error| {
                            format!("{OFFSETS_TOPIC} at offset {from}: {error}")
                        })?;
                        for record in records {
                            let applied = record.ok().and_then(|record| {
                                replay
                                    .apply(record.key.unwrap_or_default(), record.value)
                                    .ok()
                            });
                            skipped_count += u64::from(applied.is_none());
                        }
                    }
                }
                if from <= before {
                    return Err(format!("{OFFSETS_TOPIC} gives nothing at offset {from}"));
                }
            }
        }
        if skipped_count > 0 {
            tracing::warn!(
                skipped_count,
                "records of {OFFSETS_TOPIC} were not understood"
            );
        }
        Ok(replay)
    }

    /// Appends the records of one group; the offset of the last, or `None` when there are none.
    pub(super) fn append(
        &self,
        records: Records,
        now_ms: i64,
    ) -> Result<Option<Offset>, ErrorCode> {
        let Some(log) = self.partition_of(&records.group) else {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        };
        let mut last = None;
        let mut records = records.records.into_iter().peekable();
        while records.peek().is_some() {
            let mut batch = BatchBuilder::new(Compression::None, now_ms);
            let mut batch_bytes = 0_usize;
            while batch_bytes < BATCH_BYTES
                && let Some((key, value)) = records.next()
            {
                batch_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                batch.append(now_ms, Some(&key), value.as_deref(), &[]);
            }
            last = Some(log.append(&batch.build(), now_ms)?);
        }
        Ok(last)
    }

    /// Waits until the record at `offset` is durable.
    pub(super) async fn durable(
        &self,
        group_id: &str,
        offset: Option<Offset>,
    ) -> Result<(), ErrorCode> {
        let Some(offset) = offset else {
            return Ok(());
        };
        match self.partition_of(group_id) {
            Some(log) => log.durable(offset).await,
            None => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        }
    }

    fn index_of(&self, group_id: &str) -> usize {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        usize::try_from(partition_for(group_id, count)).unwrap_or(0)
    }

    fn partition_of(&self, group_id: &str) -> Option<&LogPartition> {
        self.partitions.get(self.index_of(group_id))
    }
}

impl LogPartition {
    fn append(&self, batch: &[u8], now_ms: i64) -> Result<Offset, ErrorCode> {
        let header = BatchHeader::parse(batch).map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
        let appended = self
            .partition
            .append(BytesMut::from(batch), &header, now_ms, &|| true)
            .map_err(|error| code(&error))?;
        self.grown_bytes
            .fetch_add(size(batch.len()), Ordering::Relaxed);
        Ok(appended.last_offset)
    }

    async fn durable(&self, offset: Offset) -> Result<(), ErrorCode> {
        self.partition
            .durable(offset)
            .await
            .map_err(|error| code(&error))
    }

    fn needs_rewrite(&self) -> bool {
        let live_bytes = self.live_bytes.load(Ordering::Relaxed);
        let limit_bytes = GROWTH_BYTES_MIN.max(live_bytes.saturating_mul(GROWTH_FACTOR));
        self.grown_bytes.load(Ordering::Relaxed) > limit_bytes
    }
}

impl GroupCoordinator {
    /// Rewrites the partitions of `__consumer_offsets` that grew too far.
    pub(super) async fn bound_log(&self) {
        for index in 0..self.log.partitions.len() {
            if self
                .log
                .partitions
                .get(index)
                .is_some_and(LogPartition::needs_rewrite)
                && let Err(text) = self.rewrite(index).await
            {
                tracing::warn!(
                    partition = index,
                    "{OFFSETS_TOPIC} could not be rewritten: {text}"
                );
            }
        }
    }

    /// Writes every group of a partition again, waits for durability, deletes what was before.
    pub(super) async fn rewrite(&self, index: usize) -> Result<(), String> {
        let Some(log) = self.log.partitions.get(index) else {
            return Ok(());
        };
        let now_ms = self.clock.now_ms();
        // Groups that come into being from here on have all their records behind `start`.
        let start = log.partition.offsets().log_end;
        let grown_bytes = log.grown_bytes.swap(0, Ordering::Relaxed);
        let result = self.write_groups(index, now_ms);
        log.live_bytes
            .store(log.grown_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        let last = match result {
            Ok(last) => last,
            Err(error) => {
                log.grown_bytes.fetch_add(grown_bytes, Ordering::Relaxed);
                return Err(error.name().to_owned());
            }
        };
        if let Some(last) = last {
            log.durable(last)
                .await
                .map_err(|error| error.name().to_owned())?;
        }
        log.grown_bytes.store(0, Ordering::Relaxed);
        let partition = Arc::clone(&log.partition);
        tokio::task::spawn_blocking(move || partition.delete_records(start))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        tracing::info!(
            partition = index,
            start = start.0,
            "rewrote {OFFSETS_TOPIC}"
        );
        Ok(())
    }

    fn write_groups(&self, index: usize, now_ms: i64) -> Result<Option<Offset>, ErrorCode> {
        let mut last = None;
        for slot in self.slots() {
            if self.log.index_of(&slot.id) != index {
                continue;
            }
            // Under its lock no change of the group comes between reading and writing it.
            let mut inner = slot.inner.lock();
            if inner.removed {
                continue;
            }
            let records = everything(&slot.id, &inner)?;
            if let Some(written) = self.log.append(records, now_ms)? {
                inner.written = Some(written);
                last = Some(written);
            }
        }
        Ok(last)
    }
}

fn everything(group_id: &str, inner: &Inner) -> Result<Records, ErrorCode> {
    let mut records = Records::new(group_id);
    // What was stored last, not a rebalance half done.
    if inner.stored.is_some() {
        records.metadata(inner.stored.as_ref())?;
    }
    for (topic, partitions) in inner.offsets.topics() {
        for (partition, offset) in partitions {
            records.offset(topic, *partition, Some(offset))?;
        }
    }
    Ok(records)
}

/// Kafka's choice: `abs(String.hashCode) % partitions`, over UTF-16 units.
fn partition_for(group_id: &str, partitions: u32) -> u32 {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // The one number without a positive twin becomes 0.
    let positive = if hash == i32::MIN {
        0
    } else {
        hash.unsigned_abs()
    };
    positive % partitions.max(1)
}

fn code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Refused { code, .. }
            if [
                ErrorCode::MESSAGE_TOO_LARGE,
                ErrorCode::RECORD_LIST_TOO_LARGE,
            ]
            .contains(code) =>
        {
            ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        }
        AppendError::StaleVerdict
        | AppendError::Duplicate { .. }
        | AppendError::Refused { .. }
        | AppendError::Offline(_) => ErrorCode::COORDINATOR_NOT_AVAILABLE,
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    #[test]
    fn groups_hash_to_partitions_as_in_kafka() {
        // Expected values from `Math.abs("...".hashCode()) % 50`.
        for (group, partitions, expected) in [
            ("", 50, 0),
            ("a", 50, 97 % 50),
            ("ab", 50, (97 * 31 + 98) % 50),
            // hashCode is i32::MIN.
            ("polygenelubricants", 50, 0),
            ("anything", 1, 0),
        ] {
            assert_eq!(partition_for(group, partitions), expected, "{group}");
        }
    }
}
