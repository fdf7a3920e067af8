//! An internal topic that holds the state of a coordinator: `__consumer_offsets` and
//! `__transaction_state`.
//!
//! The topic is compacted by rewriting: when a partition has grown well past what its state needs,
//! all of that is written again at its end and everything before is deleted. In that order, with a
//! wait for durability in between, a crash at any point leaves at least one whole copy.
//!
//! Knows nothing of what the records say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;

use crate::error::ErrorCode;
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use crate::partition::{AppendError, Isolation, Partition, ReadRequest};
use crate::records::{
    BatchBuilder, BatchHeader, BatchView, Compression, DecompressionScratch, TransactionResult,
    marker_of,
};
use crate::topics::{NewTopic, Topics};

/// Partitions of a new internal topic. One log shares its syncs among all.
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

/// A key and its value; no value is a tombstone.
pub(crate) type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// The partitions of an internal topic, and how much they grew.
#[derive(Debug)]
pub(crate) struct InternalLog {
    topic: &'static str,
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

/// One thing found while replaying.
#[derive(Debug)]
pub(crate) enum Replayed<'a> {
    /// A record.
    Record {
        /// Its batch's header.
        header: &'a BatchHeader,
        /// Empty when there is none.
        key: &'a [u8],
        /// `None` is a tombstone.
        value: Option<&'a [u8]>,
    },
    /// The end of a transaction in this partition.
    Marker {
        /// Index of the partition.
        partition: usize,
        /// Its producer.
        producer_id: ProducerId,
        /// Commit or abort.
        result: TransactionResult,
    },
}

impl InternalLog {
    /// Finds the topic, or creates it.
    pub(crate) fn open(topics: &Topics, topic: &'static str) -> Result<Self, String> {
        let found = match topics.get(topic) {
            Some(found) => found,
            None => topics
                .create(
                    &NewTopic {
                        name: topic.to_owned(),
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
                .map_err(|error| format!("topic {topic} cannot be created: {}", error.message))?,
        };
        let partitions: Vec<LogPartition> = found
            .partitions()
            .iter()
            .map(|partition| LogPartition {
                partition: Arc::clone(partition),
                grown_bytes: AtomicU64::new(0),
                live_bytes: AtomicU64::new(0),
            })
            .collect();
        if partitions.is_empty() {
            return Err(format!("topic {topic} has no partitions"));
        }
        Ok(Self { topic, partitions })
    }

    /// How many partitions there are.
    pub(crate) fn partitions_count(&self) -> usize {
        self.partitions.len()
    }

    /// Which partition holds what is known under `key`, a group or transactional id.
    pub(crate) fn index_of(&self, key: &str) -> usize {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        usize::try_from(partition_for(key, count)).unwrap_or(0)
    }

    /// Reads everything. `visit` answers whether it understood; what it did not is counted in the
    /// log, as are records that cannot be read.
    pub(crate) fn replay(&self, visit: &mut dyn FnMut(Replayed<'_>) -> bool) -> Result<(), String> {
        let topic = self.topic;
        let mut scratch = DecompressionScratch::default();
        let mut skipped_count = 0_u64;
        for (index, log) in self.partitions.iter().enumerate() {
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
                    .map_err(|error| format!("{topic} cannot be read: {error}"))?;
                let before = from;
                for bytes in &read.batches {
                    log.grown_bytes
                        .fetch_add(size(bytes.len()), Ordering::Relaxed);
                    let (batch, _) = BatchView::parse(bytes)
                        .map_err(|error| format!("{topic} at offset {from}: {error}"))?;
                    let header = batch.header;
                    from = Offset(header.last_offset().0.saturating_add(1));
                    if header.is_control() {
                        if let Some(result) = marker_of(&batch) {
                            let producer_id = header.producer_id;
                            let understood = visit(Replayed::Marker {
                                partition: index,
                                producer_id,
                                result,
                            });
                            skipped_count += u64::from(!understood);
                        }
                        continue;
                    }
                    let records = batch
                        .records(&mut scratch)
                        .map_err(|error| format!("{topic} at offset {from}: {error}"))?;
                    for record in records {
                        let understood = record.is_ok_and(|record| {
                            visit(Replayed::Record {
                                header: &header,
                                key: record.key.unwrap_or_default(),
                                value: record.value,
                            })
                        });
                        skipped_count += u64::from(!understood);
                    }
                }
                if from <= before {
                    return Err(format!("{topic} gives nothing at offset {from}"));
                }
            }
        }
        if skipped_count > 0 {
            tracing::warn!(skipped_count, "records of {topic} were not understood");
        }
        Ok(())
    }

    /// Appends records, as part of a producer's transaction if one is given; the offset of the
    /// last, or `None` when there are none.
    pub(crate) fn append(
        &self,
        index: usize,
        records: Vec<KeyValue>,
        producer: Option<(ProducerId, ProducerEpoch)>,
        now_ms: i64,
    ) -> Result<Option<Offset>, AppendError> {
        let log = self.partition(index)?;
        let mut last = None;
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let mut batch = BatchBuilder::new(Compression::None, now_ms);
            if let Some((id, epoch)) = producer {
                batch = batch.producer(id, epoch, Sequence(-1)).transactional();
            }
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

    /// Ends a producer's transaction in one partition.
    pub(crate) fn append_marker(
        &self,
        index: usize,
        (id, epoch): (ProducerId, ProducerEpoch),
        result: TransactionResult,
        now_ms: i64,
    ) -> Result<Offset, AppendError> {
        let log = self.partition(index)?;
        let appended = log.partition.append_marker(id, epoch, result, now_ms)?;
        Ok(appended.last_offset)
    }

    /// Waits until the record at `offset` is durable; at once when there is none.
    pub(crate) async fn durable(
        &self,
        index: usize,
        offset: Option<Offset>,
    ) -> Result<(), AppendError> {
        match offset {
            Some(offset) => self.partition(index)?.partition.durable(offset).await,
            None => Ok(()),
        }
    }

    /// Makes everything durable. Blocks on disk.
    pub(crate) fn sync(&self) {
        for log in &self.partitions {
            log.partition.sync_now();
        }
    }

    /// Whether a partition has grown far past its state.
    pub(crate) fn needs_rewrite(&self, index: usize) -> bool {
        self.partitions.get(index).is_some_and(|log| {
            let live_bytes = log.live_bytes.load(Ordering::Relaxed);
            let limit_bytes = GROWTH_BYTES_MIN.max(live_bytes.saturating_mul(GROWTH_FACTOR));
            log.grown_bytes.load(Ordering::Relaxed) > limit_bytes
        })
    }

    /// Has all state of a partition written again by `write`, which answers the last offset it
    /// wrote; waits for durability, deletes what was before. State that comes into being
    /// meanwhile has all its records behind.
    pub(crate) async fn rewrite(
        &self,
        index: usize,
        write: impl FnOnce() -> Result<Option<Offset>, AppendError>,
    ) -> Result<(), String> {
        let log = self.partition(index).map_err(|error| error.to_string())?;
        let start = log.partition.offsets().log_end;
        let grown_bytes = log.grown_bytes.swap(0, Ordering::Relaxed);
        let result = write();
        log.live_bytes
            .store(log.grown_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        let last = match result {
            Ok(last) => last,
            Err(error) => {
                log.grown_bytes.fetch_add(grown_bytes, Ordering::Relaxed);
                return Err(error.to_string());
            }
        };
        self.durable(index, last)
            .await
            .map_err(|error| error.to_string())?;
        log.grown_bytes.store(0, Ordering::Relaxed);
        let partition = Arc::clone(&log.partition);
        tokio::task::spawn_blocking(move || partition.delete_records(start))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        tracing::info!(partition = index, start = start.0, "rewrote {}", self.topic);
        Ok(())
    }

    fn partition(&self, index: usize) -> Result<&LogPartition, AppendError> {
        self.partitions
            .get(index)
            .ok_or_else(|| AppendError::Refused {
                code: ErrorCode::COORDINATOR_NOT_AVAILABLE,
                text: format!("{} has no partition {index}", self.topic),
            })
    }
}

impl LogPartition {
    fn append(&self, batch: &[u8], now_ms: i64) -> Result<Offset, AppendError> {
        let header = BatchHeader::parse(batch).map_err(|error| AppendError::Refused {
            code: ErrorCode::UNKNOWN_SERVER_ERROR,
            text: error.to_string(),
        })?;
        let appended = self
            .partition
            .append(BytesMut::from(batch), &header, now_ms, &|| true)?;
        self.grown_bytes
            .fetch_add(size(batch.len()), Ordering::Relaxed);
        Ok(appended.last_offset)
    }
}

/// Kafka's choice: `abs(String.hashCode) % partitions`, over UTF-16 units.
fn partition_for(key: &str, partitions: u32) -> u32 {
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| {
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

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    #[test]
    fn ids_hash_to_partitions_as_in_kafka() {
        // Expected values from `Math.abs("...".hashCode()) % 50`.
        for (key, partitions, expected) in [
            ("", 50, 0),
            ("a", 50, 97 % 50),
            ("ab", 50, (97 * 31 + 98) % 50),
            // hashCode is i32::MIN.
            ("polygenelubricants", 50, 0),
            ("anything", 1, 0),
        ] {
            assert_eq!(partition_for(key, partitions), expected, "{key}");
        }
    }
}
