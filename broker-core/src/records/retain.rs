//! A stored batch without some of its records: what compaction writes.
//!
//! Base offset, last offset delta, producer, sequence, leader epoch and codec stay, so that offsets
//! and producer state mean what they did. Source: `MemoryRecords.filterTo` of Apache Kafka 4, and
//! KIP-534 for the delete horizon.

use super::batch::{InflatedBatch, Record};
use super::build::write_record;
use super::compression::compress;
use super::error::BatchError;
use super::header::{
    ATTRIBUTE_COMPRESSION, ATTRIBUTE_DELETE_HORIZON, BATCH_HEADER_BYTES, BatchHeader,
    LENGTH_PREFIX_BYTES, crc_of,
};

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Retained {
    /// All of it, as it was stored.
    Whole,
    /// These bytes; perhaps a header without records.
    Rewritten(Vec<u8>),
}

/// Keeps the records that `keep` wants. `horizon_ms` is the time from which tombstones of the batch
/// may go; once set it stays, in the place of the base timestamp.
///
/// # Errors
/// When a record is malformed, or the batch cannot be written.
pub(crate) fn retain(
    batch: &InflatedBatch<'_>,
    horizon_ms: Option<i64>,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Retained, BatchError> {
    let header = &batch.view().header;
    let horizon_ms = horizon_ms.filter(|_| header.delete_horizon_ms().is_none());
    let base_timestamp = horizon_ms.unwrap_or(header.base_timestamp);
    let mut records = Vec::new();
    let mut record_bytes = Vec::new();
    let (mut count, mut max_timestamp) = (0_i32, -1_i64);
    for record in batch.records() {
        let record = record?;
        if !keep(&record) {
            continue;
        }
        let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        count += 1;
        let delta = timestamp.wrapping_sub(base_timestamp);
        write_record(&record, delta, &mut record_bytes, &mut records);
    }
    if count == header.record_count && horizon_ms.is_none() {
        return Ok(Retained::Whole);
    }
    let mut out = batch
        .view()
        .bytes
        .get(..BATCH_HEADER_BYTES)
        .unwrap_or_default()
        .to_vec();
    let mut attributes = header.attributes;
    if count == 0 {
        // No codec writes nothing as nothing.
        attributes &= !ATTRIBUTE_COMPRESSION;
    } else {
        let codec = header.compression()?;
        compress(codec, &records, &mut out).map_err(|error| BatchError::Decompress {
            codec: codec.name(),
            reason: error.to_string(),
        })?;
    }
    let too_large = |_| BatchError::DecompressedTooLarge {
        limit_bytes: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
    };
    let batch_length = i32::try_from(out.len() - LENGTH_PREFIX_BYTES).map_err(too_large)?;
    if horizon_ms.is_some() {
        attributes |= ATTRIBUTE_DELETE_HORIZON;
    }
    if header.is_log_append_time() {
        max_timestamp = header.max_timestamp;
    }
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(8, &batch_length.to_be_bytes());
    put(21, &attributes.to_be_bytes());
    put(27, &base_timestamp.to_be_bytes());
    put(35, &max_timestamp.to_be_bytes());
    put(57, &count.to_be_bytes());
    let crc = crc_of(&out);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(Retained::Rewritten(out))
}

impl BatchHeader {
    /// The time from which tombstones of the batch may be removed, once compaction set it; the
    /// base timestamp's field holds it.
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & ATTRIBUTE_DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
    use crate::records::{
        BatchBuilder, BatchView, Compression, DecompressionScratch, assign_offsets,
    };

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder =
            BatchBuilder::new(codec, 1_000).producer(ProducerId(7), ProducerEpoch(1), Sequence(40));
        for (at, key) in [(1_000, "a"), (3_000, "b"), (2_000, "c")] {
            let value = (key != "b").then_some(&b"v"[..]);
            builder.append(at, Some(key.as_bytes()), value, &[("h", Some(b"x"))]);
        }
        let mut bytes = builder.build();
        assign_offsets(&mut bytes, Offset(50), LeaderEpoch(3));
        bytes
    }

    #[test]
    fn what_is_kept_keeps_its_offset_and_time() {
        for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let bytes = batch(codec);
            let (view, _) = BatchView::parse(&bytes).unwrap();
            let mut scratch = DecompressionScratch::default();
            let inflated = view.inflated(&mut scratch).unwrap();
            assert_eq!(retain(&inflated, None, |_| true), Ok(Retained::Whole));
            let kept = retain(&inflated, Some(9_000), |record| record.key != Some(b"a"));
            let Ok(Retained::Rewritten(kept)) = kept else {
                panic!("{codec:?}: {kept:?}")
            };
            let (view, rest) = BatchView::parse(&kept).unwrap();
            assert!(rest.is_empty());
            view.verify_crc().unwrap();
            let header = view.header;
            assert_eq!(header.base_offset, Offset(50));
            assert_eq!(header.last_offset(), Offset(52));
            assert_eq!(header.leader_epoch, LeaderEpoch(3));
            assert_eq!(header.base_sequence, Sequence(40));
            assert_eq!(header.max_timestamp, 3_000);
            assert_eq!(header.compression(), Ok(codec));
            assert_eq!(header.delete_horizon_ms(), Some(9_000));
            let mut scratch = DecompressionScratch::default();
            let records: Vec<_> = view
                .records(&mut scratch)
                .unwrap()
                .map(|record| {
                    let record = record.unwrap();
                    let time = header.base_timestamp + record.timestamp_delta;
                    let key = record.key.unwrap()[0];
                    (record.offset_delta, time, key, record.headers.len())
                })
                .collect();
            assert_eq!(records, [(1, 3_000, b'b', 1), (2, 2_000, b'c', 1)]);
            // A horizon once set is not moved.
            let mut scratch = DecompressionScratch::default();
            let inflated = view.inflated(&mut scratch).unwrap();
            assert_eq!(
                retain(&inflated, Some(20_000), |_| true),
                Ok(Retained::Whole)
            );
        }
    }

    #[test]
    fn an_emptied_batch_keeps_its_offsets_and_sequence() {
        let bytes = batch(Compression::Gzip);
        let (view, _) = BatchView::parse(&bytes).unwrap();
        let mut scratch = DecompressionScratch::default();
        let inflated = view.inflated(&mut scratch).unwrap();
        let Ok(Retained::Rewritten(kept)) = retain(&inflated, None, |_| false) else {
            panic!("not rewritten")
        };
        assert_eq!(kept.len(), BATCH_HEADER_BYTES);
        let (view, _) = BatchView::parse(&kept).unwrap();
        view.verify_crc().unwrap();
        assert_eq!(view.header.record_count, 0);
        assert_eq!(view.header.last_offset(), Offset(52));
        assert_eq!(view.header.base_sequence, Sequence(40));
    }
}
