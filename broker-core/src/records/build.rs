//! Building batches: internal topics, the command line, benches, tests.

use super::batch::Record;
use super::compression::{Compression, compress};
use super::header::{
    ATTRIBUTE_CONTROL, ATTRIBUTE_TRANSACTIONAL, BATCH_HEADER_BYTES, LENGTH_PREFIX_BYTES, crc_of,
};
use super::varint;
use crate::ids::{ProducerEpoch, ProducerId, Sequence};

/// Builds a batch from records.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    record_count: i32,
    records: Vec<u8>,
    /// Reused for each record, whose length precedes it.
    record: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch without producer; `base_timestamp` in ms since the epoch.
    #[must_use]
    pub fn new(compression: Compression, base_timestamp: i64) -> Self {
        Self {
            compression,
            attributes: 0,
            base_timestamp,
            max_timestamp: i64::MIN,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            record_count: 0,
            records: Vec::new(),
            record: Vec::new(),
        }
    }

    /// Sets the idempotent producer and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, first: Sequence) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = first;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= ATTRIBUTE_TRANSACTIONAL;
        self
    }

    /// Marks the batch as a control batch.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= ATTRIBUTE_CONTROL;
        self
    }

    /// Adds a record; `timestamp` in ms since the epoch.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.record.clear();
        self.record.push(0);
        varint::write(
            &mut self.record,
            timestamp.wrapping_sub(self.base_timestamp),
        );
        varint::write(&mut self.record, i64::from(self.record_count));
        write_bytes(&mut self.record, key);
        write_bytes(&mut self.record, value);
        varint::write(&mut self.record, length_i64(headers.len()));
        for (name, value) in headers {
            write_bytes(&mut self.record, Some(name.as_bytes()));
            write_bytes(&mut self.record, *value);
        }
        varint::write(&mut self.records, length_i64(self.record.len()));
        self.records.extend_from_slice(&self.record);
        self.record_count = self.record_count.saturating_add(1);
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Whether no record was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the records added so far, before compression.
    #[must_use]
    pub fn size_uncompressed(&self) -> usize {
        self.records.len() + BATCH_HEADER_BYTES
    }

    /// The finished batch, base offset 0, CRC set.
    ///
    /// # Panics
    /// When the batch is larger than the format can say (2 GiB): the caller adds too much.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BATCH_HEADER_BYTES + self.records.len());
        out.resize(BATCH_HEADER_BYTES, 0);
        let mut compression = self.compression;
        if compress(compression, &self.records, &mut out).is_err() {
            // Compressing into memory cannot fail; were it to, the plain records are as good.
            out.truncate(BATCH_HEADER_BYTES);
            out.extend_from_slice(&self.records);
            compression = Compression::None;
        }
        let batch_length = i32::try_from(out.len() - LENGTH_PREFIX_BYTES);
        assert!(batch_length.is_ok(), "batch of {} bytes", out.len());
        let max_timestamp = if self.record_count == 0 {
            -1
        } else {
            self.max_timestamp
        };
        let attributes = self.attributes | compression.id();
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &batch_length.unwrap_or(0).to_be_bytes());
        put(12, &(-1_i32).to_be_bytes());
        put(16, &[2]);
        put(21, &attributes.to_be_bytes());
        put(23, &(self.record_count - 1).to_be_bytes());
        put(27, &self.base_timestamp.to_be_bytes());
        put(35, &max_timestamp.to_be_bytes());
        put(43, &self.producer_id.0.to_be_bytes());
        put(51, &self.producer_epoch.0.to_be_bytes());
        put(53, &self.base_sequence.0.to_be_bytes());
        put(57, &self.record_count.to_be_bytes());
        let crc = crc_of(&out);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

/// Writes a record that was read, `timestamp_delta` in the place of its own. `body` is reused.
pub(super) fn write_record(
    record: &Record<'_>,
    timestamp_delta: i64,
    body: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    body.clear();
    body.push(0);
    varint::write(body, timestamp_delta);
    varint::write(body, i64::from(record.offset_delta));
    write_bytes(body, record.key);
    write_bytes(body, record.value);
    varint::write(body, length_i64(record.headers.len()));
    for (name, value) in record.headers.iter() {
        write_bytes(body, Some(name));
        write_bytes(body, value);
    }
    varint::write(out, length_i64(body.len()));
    out.extend_from_slice(body);
}

fn write_bytes(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => varint::write(out, -1),
        Some(value) => {
            varint::write(out, length_i64(value.len()));
            out.extend_from_slice(value);
        }
    }
}

fn length_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
