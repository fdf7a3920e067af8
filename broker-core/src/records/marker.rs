//! Transaction markers: the control records that end a transaction in a partition.
//!
//! ```text
//! key    version i16 = 0 | type i16: 0 abort, 1 commit
//! value  version i16 = 0 | coordinator epoch i32
//! ```
//! A marker is alone in its batch, which is transactional, uncompressed and without sequence.
//! Source: Kafka's `ControlRecordType` and `EndTxnMarker`.

use super::batch::BatchView;
use super::build::BatchBuilder;
use super::compression::{Compression, DecompressionScratch};
use crate::ids::{ProducerEpoch, ProducerId, Sequence};

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionResult {
    /// Nothing of it counts.
    Abort,
    /// All of it counts.
    Commit,
}

/// The batch that ends the transaction of a producer; offsets are assigned by the log.
#[must_use]
pub fn marker_batch(
    id: ProducerId,
    epoch: ProducerEpoch,
    result: TransactionResult,
    now_ms: i64,
) -> Vec<u8> {
    let kind = match result {
        TransactionResult::Abort => ABORT,
        TransactionResult::Commit => COMMIT,
    };
    let mut key = [0; 4];
    key[2..].copy_from_slice(&kind.to_be_bytes());
    let mut value = [0; 6];
    value[2..].copy_from_slice(&COORDINATOR_EPOCH.to_be_bytes());
    let mut batch = BatchBuilder::new(Compression::None, now_ms)
        .producer(id, epoch, Sequence(-1))
        .transactional()
        .control();
    batch.append(now_ms, Some(&key), Some(&value), &[]);
    batch.build()
}

/// What a control batch says of a transaction; `None` for control records of other kinds.
#[must_use]
pub fn marker_of(batch: &BatchView<'_>) -> Option<TransactionResult> {
    let mut scratch = DecompressionScratch::default();
    let record = batch.records(&mut scratch).ok()?.next()?.ok()?;
    let kind = record.key?.get(2..4)?;
    match i16::from_be_bytes(kind.try_into().ok()?) {
        ABORT => Some(TransactionResult::Abort),
        COMMIT => Some(TransactionResult::Commit),
        _ => None,
    }
}

/// Largest batch that is taken for a marker's.
pub const MARKER_BATCH_BYTES_MAX: usize = 4096;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// One node coordinates from the first day to the last: nobody takes over.
const COORDINATOR_EPOCH: i32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_kafkas() {
        for (result, kind) in [
            (TransactionResult::Abort, 0),
            (TransactionResult::Commit, 1),
        ] {
            let bytes = marker_batch(ProducerId(9), ProducerEpoch(3), result, 1_000);
            let (batch, rest) = BatchView::parse(&bytes).unwrap();
            assert_eq!((rest.len(), bytes.len()), (0, 78));
            batch.verify_crc().unwrap();
            assert!(batch.header.is_control() && batch.header.is_transactional());
            assert_eq!(
                (batch.header.producer_id.0, batch.header.producer_epoch.0),
                (9, 3)
            );
            assert_eq!(batch.header.base_sequence.0, -1);
            assert_eq!(marker_of(&batch), Some(result));
            // Length, attributes, two deltas, key of 4 bytes, value of 6, no headers.
            assert_eq!(
                bytes[61..],
                [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0]
            );
        }
    }
}
