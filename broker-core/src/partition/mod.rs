//! One partition. Stub, replaced by its owner: the signatures are fixed.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::error::ErrorCode;
use crate::ids::*;
use crate::records::BatchHeader;
use crate::validation::TopicSettings;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

#[derive(Debug)]
pub struct Partition;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub log_end: Offset,
    pub leader_epoch: LeaderEpoch,
}

/// What the producer state says of a batch, before anything is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceVerdict {
    Append,
    /// Already stored: answer this base offset (once `last_offset` is durable when acks=all).
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: i64,
    },
    OutOfOrder {
        expected: Sequence,
        found: Sequence,
    },
    Fenced {
        current: ProducerEpoch,
        found: ProducerEpoch,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /** -1 unless LogAppendTime */
    pub log_append_time: i64,
    pub log_start: Offset,
}

/// Why an append did not happen; `code()` gives the Kafka code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the verdict on the batch no longer holds")]
    StaleVerdict,
    #[error("duplicate")]
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: i64,
    },
    #[error("{text}")]
    Refused { code: ErrorCode, text: String },
    #[error("partition is offline: {0}")]
    Offline(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    pub from: Offset,
    pub max_bytes: usize,
    /** return at least one batch even if larger */
    pub at_least_one: bool,
    pub isolation: Isolation,
}

#[derive(Debug, Clone)]
pub struct ReadBatches {
    /** whole batches, in order, contiguous */
    pub batches: Vec<Bytes>,
    pub bytes: usize,
    pub offsets: PartitionOffsets,
    pub aborted: Vec<AbortedTransaction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("offset {requested} is outside [{log_start}, {log_end}]", log_start = offsets.log_start, log_end = offsets.log_end)]
    OutOfRange {
        requested: Offset,
        offsets: PartitionOffsets,
    },
    #[error("partition is offline: {0}")]
    Offline(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    Earliest,
    Latest(Isolation),
    MaxTimestamp,
    Timestamp(i64),
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAtTime {
    pub offset: Offset,
    pub timestamp: i64,
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    pub fn index(&self) -> PartitionIndex {
        todo!()
    }
    pub fn settings(&self) -> Arc<TopicSettings> {
        todo!()
    }
    pub fn offsets(&self) -> PartitionOffsets {
        todo!()
    }
    /// Short lock; changes nothing.
    pub fn sequence_verdict(&self, _header: &BatchHeader, _now_ms: i64) -> SequenceVerdict {
        todo!()
    }
    /// Under the partition lock: sequence re-check, `still_holds`, assign offset and epoch in place, write to the page cache, update producer state and indexes, wake fetchers as far as readable. Never fsyncs.
    pub fn append(
        &self,
        _batch: BytesMut,
        _header: &BatchHeader,
        _now_ms: i64,
        _still_holds: &dyn Fn() -> bool,
    ) -> Result<Appended, AppendError> {
        todo!()
    }
    /// Waits until everything up to and including `last` is durable (group commit; at once when durability is `os`).
    pub async fn durable(&self, _last: Offset) -> Result<(), AppendError> {
        todo!()
    }
    /// Whole batches from the one containing `from`. May read the disk (inline pread).
    pub fn read(&self, _request: &ReadRequest) -> Result<ReadBatches, ReadError> {
        todo!()
    }
    /// Changes value (the high watermark) whenever more becomes readable; also on truncation, deletion and going offline.
    pub fn readable(&self) -> tokio::sync::watch::Receiver<i64> {
        todo!()
    }
    pub fn offset_for(&self, _query: OffsetQuery) -> Result<Option<OffsetAtTime>, ReadError> {
        todo!()
    }
    /// KIP-101/320: the end offset of `epoch` (or of the largest epoch below it).
    pub fn end_offset_for_epoch(&self, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        todo!()
    }
    /// Moves the log start; -1 means the high watermark. Answers the new log start. Blocks on disk.
    pub fn delete_records(&self, _before: Offset) -> Result<Offset, ReadError> {
        todo!()
    }
    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }
}
