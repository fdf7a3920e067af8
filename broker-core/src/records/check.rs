//! Kafka's own checks of a produced batch, before anyone asks what the records mean.
//!
//! [`check_produced`] needs the header alone; [`check_records`] walks the records once. Source:
//! `ProduceRequest.validateRecords`, `LogValidator.validateBatch` and `validateRecord` of Apache
//! Kafka 4. Unlike Kafka, which rewrites a compressed batch whose inner offsets are not 0, 1, 2
//! ... (clients before 0.10 made such), this refuses it: stored bytes are the producer's bytes.

use super::batch::{BatchView, InflatedBatch};
use super::compression::Compression;
use super::error::BatchError;

/// What a topic and a request allow.
#[derive(Debug, Clone, Copy)]
pub struct ProduceLimits {
    /// `max.message.bytes`: size of the whole batch, in bytes.
    pub max_message_bytes: i32,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// Version of the Produce request.
    pub produce_version: i16,
    /// `message.timestamp.type=LogAppendTime`: the producer's timestamps do not count.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Now, in ms since the epoch.
    pub now_ms: i64,
}

impl ProduceLimits {
    /// The acceptable record timestamps, both ends included.
    fn timestamps(&self) -> (i64, i64) {
        (
            self.now_ms.saturating_sub(self.timestamp_before_max_ms),
            self.now_ms.saturating_add(self.timestamp_after_max_ms),
        )
    }
}

/// The one batch of a partition's records in a Produce request.
///
/// # Errors
/// [`BatchError::BatchCount`] when there is none or more than one; those of
/// [`BatchView::parse`].
pub fn only_batch(records: &[u8]) -> Result<BatchView<'_>, BatchError> {
    if records.is_empty() {
        return Err(BatchError::BatchCount { found: 0 });
    }
    let (batch, rest) = BatchView::parse(records)?;
    if !rest.is_empty() {
        return Err(BatchError::BatchCount { found: 2 });
    }
    Ok(batch)
}

/// Checks what the header says. The CRC is the caller's to verify ([`BatchView::verify_crc`]).
///
/// # Errors
/// The first check that fails.
pub fn check_produced(batch: &BatchView<'_>, limits: &ProduceLimits) -> Result<(), BatchError> {
    let header = &batch.header;
    if header.compression()? == Compression::Zstd && limits.produce_version < 7 {
        return Err(BatchError::ZstdTooOld {
            produce_version: limits.produce_version,
        });
    }
    if i64::try_from(header.size()).map_or(true, |size| size > i64::from(limits.max_message_bytes))
    {
        return Err(BatchError::TooLarge {
            size_bytes: header.size(),
            max_bytes: limits.max_message_bytes,
        });
    }
    if header.base_offset.0 != 0 {
        return Err(BatchError::BaseOffset {
            found: header.base_offset.0,
        });
    }
    if header.record_count <= 0
        || header.last_offset_delta.checked_add(1) != Some(header.record_count)
    {
        return Err(BatchError::Count {
            count: header.record_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    if header.is_control() {
        return Err(BatchError::ControlBatch);
    }
    if header.producer_id.0 >= 0 && header.base_sequence.0 < 0 {
        return Err(BatchError::BaseSequence {
            found: header.base_sequence.0,
            producer_id: header.producer_id.0,
        });
    }
    Ok(())
}

/// Walks the records: offset deltas 0, 1, 2 ..., as many as the header says, keys where the
/// topic is compacted, timestamps in range. Answers the greatest timestamp of the records, which the
/// header may have wrong: Kafka corrects it ([`super::set_create_time`]). A producer that sets the
/// append time bit says that all records have the header's timestamp; a topic that stamps its own
/// refuses that.
///
/// # Errors
/// The first malformed record; else all records without key; else all out of time.
pub fn check_records(batch: &InflatedBatch<'_>, limits: &ProduceLimits) -> Result<i64, BatchError> {
    let header = batch.view().header;
    let base_timestamp = header.base_timestamp;
    let (earliest_ms, latest_ms) = limits.timestamps();
    let mut max_timestamp = -1;
    let mut null_keys = Vec::new();
    let mut out_of_time = Vec::new();
    let mut appended = Vec::new();
    for (record, index) in batch.records().zip(0_i32..) {
        let record = record?;
        if record.offset_delta != index {
            return Err(BatchError::OffsetDelta {
                index,
                found: record.offset_delta,
            });
        }
        if limits.compacted && record.key.is_none() {
            null_keys.push(index);
        }
        let timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            base_timestamp.saturating_add(record.timestamp_delta)
        };
        max_timestamp = max_timestamp.max(timestamp);
        // -1 is "no timestamp"; Kafka lets it pass.
        if limits.log_append_time || timestamp == -1 {
            if header.is_log_append_time() {
                appended.push(index);
            }
        } else if !(earliest_ms..=latest_ms).contains(&timestamp) {
            out_of_time.push(index);
        }
    }
    if !null_keys.is_empty() {
        return Err(BatchError::NullKeys { indexes: null_keys });
    }
    if !appended.is_empty() {
        return Err(BatchError::TimestampType { indexes: appended });
    }
    if !out_of_time.is_empty() {
        return Err(BatchError::Timestamps {
            indexes: out_of_time,
            earliest_ms,
            latest_ms,
        });
    }
    Ok(max_timestamp)
}
