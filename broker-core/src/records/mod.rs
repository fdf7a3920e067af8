//! Record batches, format v2 (magic 2). Pure. Stub, replaced by its owner: the signatures are fixed.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::ids::*;

/// Size of the batch header in bytes.
pub const BATCH_HEADER_BYTES: usize = 61;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The 61-byte header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Length of what follows this field, in bytes.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: Sequence,
    pub record_count: i32,
}
impl BatchHeader {
    pub fn parse(_bytes: &[u8]) -> Result<Self, BatchError> {
        todo!()
    }
    pub fn last_offset(&self) -> Offset {
        todo!()
    }
    pub fn compression(&self) -> Result<Compression, BatchError> {
        todo!()
    }
    pub fn is_control(&self) -> bool {
        todo!()
    }
    pub fn is_transactional(&self) -> bool {
        todo!()
    }
    pub fn is_log_append_time(&self) -> bool {
        todo!()
    }
    /// Total size on disk and on the wire.
    pub fn size(&self) -> usize {
        todo!()
    }
}

/// Why bytes are not an acceptable batch (enum with facts; maps to a Kafka code by `code()`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stub")]
pub struct BatchError;
impl BatchError {
    pub fn code(&self) -> crate::error::ErrorCode {
        todo!()
    }
}

/// A whole batch, header checked against the slice's length.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    pub header: BatchHeader,
    pub bytes: &'a [u8],
}
impl<'a> BatchView<'a> {
    /// The first batch of `bytes` and what follows it. Checks magic and length, not the CRC.
    pub fn parse(_bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        todo!()
    }
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        todo!()
    }
    /// Walks the records, decompressing into `scratch` (bounded: at most max(64 MiB, 32 x compressed)). No allocation per record.
    pub fn records<'s>(
        &self,
        _scratch: &'s mut DecompressionScratch,
    ) -> Result<RecordIter<'s>, BatchError>
    where
        'a: 's,
    {
        todo!()
    }
}
/// Buffers and codec contexts reused from batch to batch.
#[derive(Debug, Default)]
pub struct DecompressionScratch;
/// Iterator over records; yields Result so that a malformed record ends it.
#[derive(Debug)]
pub struct RecordIter<'s>(std::marker::PhantomData<&'s ()>);
impl<'s> Iterator for RecordIter<'s> {
    type Item = Result<Record<'s>, BatchError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
#[derive(Debug, Clone, Copy)]
pub struct Record<'s> {
    pub offset_delta: i32,
    pub timestamp_delta: i64,
    pub key: Option<&'s [u8]>,
    pub value: Option<&'s [u8]>,
    pub headers: RecordHeaders<'s>,
}
/// Undecoded headers; iterate to read them.
#[derive(Debug, Clone, Copy)]
pub struct RecordHeaders<'s> {
    bytes: &'s [u8],
    count: usize,
}
impl<'s> RecordHeaders<'s> {
    pub fn len(&self) -> usize {
        self.count
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.bytes.is_empty()
    }
    /// (name, value) pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'s [u8], Option<&'s [u8]>)> + use<'s> {
        std::iter::empty()
    }
    /// The last header of that name with a non-null value.
    pub fn last(&self, _name: &[u8]) -> Option<&'s [u8]> {
        todo!()
    }
}
/// Writes base offset and leader epoch in place (bytes 0-7 and 12-15, outside the CRC).
pub fn assign_offsets(_batch: &mut [u8], _base_offset: Offset, _leader_epoch: LeaderEpoch) {
    todo!()
}

/// Builds a batch from records (internal topics, CLI, benches, tests).
#[derive(Debug)]
pub struct BatchBuilder;
impl BatchBuilder {
    pub fn new(_compression: Compression, _base_timestamp: i64) -> Self {
        todo!()
    }
    #[must_use]
    pub fn producer(self, _id: ProducerId, _epoch: ProducerEpoch, _first: Sequence) -> Self {
        todo!()
    }
    pub fn append(
        &mut self,
        _timestamp: i64,
        _key: Option<&[u8]>,
        _value: Option<&[u8]>,
        _headers: &[(&str, Option<&[u8]>)],
    ) {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// The finished batch, base offset 0, CRC set.
    pub fn build(self) -> Vec<u8> {
        todo!()
    }
}
