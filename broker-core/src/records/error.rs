//! Why bytes are not an acceptable batch, and which Kafka code says so.

use crate::error::ErrorCode;

/// Why bytes are not an acceptable batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header or the declared length.
    #[error("batch is cut short: {available} bytes of {needed}")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// The declared length cannot hold a header.
    #[error("batch length {found} is smaller than a batch header")]
    Length {
        /// The declared length.
        found: i32,
    },
    /// Not format v2.
    #[error("magic {found} is not supported: only record batches of magic 2 are")]
    Magic {
        /// The magic byte.
        found: i8,
    },
    /// The stored checksum is not that of the bytes.
    #[error("crc {stored:#010x} in the header is not the computed {computed:#010x}")]
    Crc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Attribute bits 0-2 name no codec.
    #[error("compression type {id} is unknown")]
    UnknownCompression {
        /// The id found.
        id: i16,
    },
    /// The compressed bytes are not what their codec says.
    #[error("{codec} data does not decompress: {reason}")]
    Decompress {
        /// The codec's name.
        codec: &'static str,
        /// The decompressor's word.
        reason: String,
    },
    /// Decompression would pass the bound.
    #[error("decompressed records are larger than {limit_bytes} bytes")]
    DecompressedTooLarge {
        /// The bound.
        limit_bytes: usize,
    },
    /// A record's own bytes are malformed.
    #[error("record {index} is malformed: {reason}")]
    Record {
        /// Index of the record in the batch.
        index: i32,
        /// What is wrong.
        reason: &'static str,
    },
    /// Bytes remain after the last record.
    #[error("{bytes} bytes remain after the last of {record_count} records")]
    TrailingBytes {
        /// How many.
        bytes: usize,
        /// The header's record count.
        record_count: i32,
    },
    /// A produced batch must leave offsets to the broker.
    #[error("base offset of a produced batch is {found}, not 0")]
    BaseOffset {
        /// The offset found.
        found: i64,
    },
    /// Count and last offset delta disagree, or there is no record.
    #[error("record count {count} does not fit last offset delta {last_offset_delta}")]
    Count {
        /// The header's record count.
        count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// Clients may not write control batches.
    #[error("clients may not write control batches")]
    ControlBatch,
    /// A producer id needs a sequence.
    #[error("base sequence {found} with producer id {producer_id}")]
    BaseSequence {
        /// The sequence found.
        found: i32,
        /// The producer id.
        producer_id: i64,
    },
    /// Offset deltas of a produced batch are 0, 1, 2, ...
    #[error("record {index} has offset delta {found}")]
    OffsetDelta {
        /// Index of the record in the batch.
        index: i32,
        /// Its delta.
        found: i32,
    },
    /// Compacted topics need keys.
    #[error("compacted topic cannot accept a record without key")]
    NullKeys {
        /// Indexes of the records without key.
        indexes: Vec<i32>,
    },
    /// Timestamps outside `message.timestamp.{before,after}.max.ms`.
    #[error("timestamp is outside [{earliest_ms}, {latest_ms}]")]
    Timestamps {
        /// Indexes of the records.
        indexes: Vec<i32>,
        /// Earliest acceptable time, in ms since the epoch.
        earliest_ms: i64,
        /// Latest acceptable time, in ms since the epoch.
        latest_ms: i64,
    },
    /// Only the broker stamps an append time.
    #[error("producers must not set the timestamp type to LogAppendTime")]
    TimestampType {
        /// Indexes of the records.
        indexes: Vec<i32>,
    },
    /// Larger than `max.message.bytes`.
    #[error("batch of {size_bytes} bytes is larger than max.message.bytes {max_bytes}")]
    TooLarge {
        /// Size of the batch.
        size_bytes: usize,
        /// The limit.
        max_bytes: i32,
    },
    /// Zstd needs Produce v7 (KIP-110).
    #[error("zstd needs produce version 7 or newer, not {produce_version}")]
    ZstdTooOld {
        /// The request's version.
        produce_version: i16,
    },
    /// A produce request carries exactly one batch per partition.
    #[error("{found} record batches where exactly one is allowed")]
    BatchCount {
        /// How many.
        found: usize,
    },
}

impl BatchError {
    /// The Kafka code. Only damage in transit is CORRUPT_MESSAGE, which clients retry; whatever
    /// the same bytes would earn again is final.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::Length { .. } | Self::Crc { .. } => {
                ErrorCode::CORRUPT_MESSAGE
            }
            Self::UnknownCompression { .. } | Self::ZstdTooOld { .. } => {
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            }
            Self::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            Self::Timestamps { .. } | Self::TimestampType { .. } => ErrorCode::INVALID_TIMESTAMP,
            Self::Magic { .. }
            | Self::Decompress { .. }
            | Self::DecompressedTooLarge { .. }
            | Self::Record { .. }
            | Self::TrailingBytes { .. }
            | Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::ControlBatch
            | Self::BaseSequence { .. }
            | Self::OffsetDelta { .. }
            | Self::NullKeys { .. }
            | Self::BatchCount { .. } => ErrorCode::INVALID_RECORD,
        }
    }

    /// Indexes of the records at fault, ascending, for `record_errors`; empty when the whole
    /// batch is.
    #[must_use]
    pub fn record_indexes(&self) -> &[i32] {
        match self {
            Self::NullKeys { indexes }
            | Self::Timestamps { indexes, .. }
            | Self::TimestampType { indexes } => indexes,
            Self::Record { index, .. } | Self::OffsetDelta { index, .. } => {
                std::slice::from_ref(index)
            }
            Self::Truncated { .. }
            | Self::Length { .. }
            | Self::Magic { .. }
            | Self::Crc { .. }
            | Self::UnknownCompression { .. }
            | Self::Decompress { .. }
            | Self::DecompressedTooLarge { .. }
            | Self::TrailingBytes { .. }
            | Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::ControlBatch
            | Self::BaseSequence { .. }
            | Self::TooLarge { .. }
            | Self::ZstdTooOld { .. }
            | Self::BatchCount { .. } => &[],
        }
    }
}
