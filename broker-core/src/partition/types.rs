//! What goes into and comes out of a partition.

use bytes::{Bytes, BytesMut};

use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Offsets of a partition at one moment.
///
/// Invariant: `log_start <= last_stable <= high_watermark <= log_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// First readable offset.
    pub log_start: Offset,
    /// Consumers may read below it.
    pub high_watermark: Offset,
    /// Read-committed consumers may read below it.
    pub last_stable: Offset,
    /// Offset of the next record.
    pub log_end: Offset,
    /// Current leader epoch.
    pub leader_epoch: LeaderEpoch,
}

/// Where an appended batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The time stamped on it in ms, or -1 unless `message.timestamp.type=LogAppendTime`.
    pub log_append_time: i64,
    /// The partition's log start.
    pub log_start: Offset,
}

/// Why an append did not happen; [`AppendError::code`] gives the Kafka code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The validator's verdict must be reached again, on the batch that is given back.
    #[error("the verdict on the batch no longer holds")]
    StaleVerdict(BytesMut),
    /// Stored already, by a request that overtook this one.
    #[error("the batch is stored already at offset {base_offset}")]
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record: answer once this is durable.
        last_offset: Offset,
        /// Append time, or -1.
        timestamp: i64,
    },
    /// Refused; the partition is well.
    #[error("{text}")]
    Refused {
        /// The Kafka code.
        code: ErrorCode,
        /// One line for the client.
        text: String,
    },
    /// The partition cannot be used.
    #[error("partition is offline: {0}")]
    Offline(String),
}

impl AppendError {
    /// The Kafka code; a duplicate is no error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            // Reaches a client only after the caller validated again and again.
            Self::StaleVerdict(_) => ErrorCode::REQUEST_TIMED_OUT,
            Self::Duplicate { .. } => ErrorCode::NONE,
            Self::Refused { code, .. } => *code,
            Self::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

/// `isolation.level` of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// First offset wanted.
    pub from: Offset,
    /// Most bytes to return.
    pub max_bytes: usize,
    /// Return at least one batch even if larger.
    pub at_least_one: bool,
    /// How far.
    pub isolation: Isolation,
}

/// What was read.
#[derive(Debug, Clone)]
pub struct ReadBatches {
    /// Whole batches, in order, contiguous; the first one holds the offset asked for.
    pub batches: Vec<Bytes>,
    /// Their size together.
    pub bytes: usize,
    /// The partition's offsets when it was read.
    pub offsets: PartitionOffsets,
    /// Aborted transactions among them, ascending by first offset.
    pub aborted: Vec<AbortedTransaction>,
}

/// A transaction whose records a read-committed consumer drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The transaction's producer.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE.
    #[error("offset {requested} is outside [{log_start}, {log_end}]", log_start = offsets.log_start, log_end = offsets.log_end)]
    OutOfRange {
        /// The offset asked for.
        requested: Offset,
        /// What there is.
        offsets: PartitionOffsets,
    },
    /// KAFKA_STORAGE_ERROR.
    #[error("partition is offline: {0}")]
    Offline(String),
}

impl ReadError {
    /// The Kafka code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            Self::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

/// Which offset ListOffsets asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The log start.
    Earliest,
    /// The end, as far as that consumer may read.
    Latest(Isolation),
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record at or after a time, in ms since the epoch.
    Timestamp(i64),
}

/// An answer to [`OffsetQuery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAtTime {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp; -1 for [`OffsetQuery::Earliest`] and [`OffsetQuery::Latest`].
    pub timestamp: i64,
    /// Leader epoch of that offset.
    pub leader_epoch: LeaderEpoch,
}
