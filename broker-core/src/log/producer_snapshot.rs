//! The producer snapshot: producer state at an offset, and how many aborted transactions each
//! segment had by then.
//!
//! ```text
//! magic "APSN" | version u16 = 2 | log end i64 | producers u32
//!   each: id i64 | epoch i16 | seen_ms i64 | first offset of the open transaction i64, or -1 |
//!         batches u8
//!     each: first i32 | last i32 | base offset i64 | last offset i64 | append time i64
//! segments with aborted transactions u32
//!   each: base offset i64 | aborted transactions u32
//! crc-32c u32 of all before it
//! ```
//! Version 1 knew no transactions; it is not read, and made again from the log.

use std::collections::{BTreeMap, VecDeque};

use super::producer_state::{BatchFacts, Producer, ProducerState};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};

/// What a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProducerSnapshot {
    /// Producers of the partition.
    pub(crate) producers: ProducerState,
    /// Base offset of a segment to the number of transactions whose abort marker it holds; none
    /// is 0.
    pub(crate) aborted_counts: BTreeMap<Offset, usize>,
}

/// The snapshot's bytes; `log_end` is the offset it stands for.
pub(crate) fn encode(
    producers: &ProducerState,
    aborted_counts: &BTreeMap<Offset, usize>,
    log_end: Offset,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + producers.producers.len() * 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&log_end.0.to_be_bytes());
    put_count(&mut out, producers.producers.len());
    for (id, producer) in &producers.producers {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&producer.epoch.0.to_be_bytes());
        out.extend_from_slice(&producer.seen_ms.to_be_bytes());
        out.extend_from_slice(&producer.open.map_or(-1, |first| first.0).to_be_bytes());
        out.push(u8::try_from(producer.batches.len()).unwrap_or(u8::MAX));
        for batch in &producer.batches {
            out.extend_from_slice(&batch.first.0.to_be_bytes());
            out.extend_from_slice(&batch.last.0.to_be_bytes());
            out.extend_from_slice(&batch.base_offset.0.to_be_bytes());
            out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
            out.extend_from_slice(&batch.append_time_ms.to_be_bytes());
        }
    }
    put_count(&mut out, aborted_counts.len());
    for (base, count) in aborted_counts {
        out.extend_from_slice(&base.0.to_be_bytes());
        put_count(&mut out, *count);
    }
    let crc = crc_fast::crc32_iscsi(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Reads a snapshot; `None` when it is damaged, of another version, or for another offset.
pub(crate) fn decode(bytes: &[u8], log_end: Offset) -> Option<ProducerSnapshot> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if u32::from_be_bytes(*crc) != crc_fast::crc32_iscsi(body) {
        return None;
    }
    let mut left = body.strip_prefix(MAGIC)?;
    if u16::from_be_bytes(take(&mut left)?) != VERSION
        || i64::from_be_bytes(take(&mut left)?) != log_end.0
    {
        return None;
    }
    let mut snapshot = ProducerSnapshot::default();
    for _ in 0..u32::from_be_bytes(take(&mut left)?) {
        let id = i64::from_be_bytes(take(&mut left)?);
        let mut producer = Producer {
            epoch: ProducerEpoch(i16::from_be_bytes(take(&mut left)?)),
            seen_ms: i64::from_be_bytes(take(&mut left)?),
            open: Some(Offset(i64::from_be_bytes(take(&mut left)?))).filter(|first| first.0 >= 0),
            batches: VecDeque::new(),
        };
        for _ in 0..u8::from_be_bytes(take(&mut left)?) {
            producer.batches.push_back(BatchFacts {
                first: Sequence(i32::from_be_bytes(take(&mut left)?)),
                last: Sequence(i32::from_be_bytes(take(&mut left)?)),
                base_offset: Offset(i64::from_be_bytes(take(&mut left)?)),
                last_offset: Offset(i64::from_be_bytes(take(&mut left)?)),
                append_time_ms: i64::from_be_bytes(take(&mut left)?),
            });
        }
        if let Some(first) = producer.open {
            snapshot.producers.open.insert(first, ProducerId(id));
        }
        snapshot.producers.producers.insert(id, producer);
    }
    for _ in 0..u32::from_be_bytes(take(&mut left)?) {
        let base = Offset(i64::from_be_bytes(take(&mut left)?));
        let count = usize::try_from(u32::from_be_bytes(take(&mut left)?)).ok()?;
        snapshot.aborted_counts.insert(base, count);
    }
    left.is_empty().then_some(snapshot)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (found, rest) = left.split_first_chunk::<N>()?;
    *left = rest;
    Some(*found)
}

const MAGIC: &[u8] = b"APSN";
const VERSION: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, BatchHeader, Compression};

    fn state() -> ProducerState {
        let mut state = ProducerState::default();
        for (id, offset, transactional) in [(1, 0, false), (2, 2, true), (3, 4, true)] {
            let mut batch = BatchBuilder::new(Compression::None, 0).producer(
                ProducerId(id),
                ProducerEpoch(4),
                Sequence(0),
            );
            if transactional {
                batch = batch.transactional();
            }
            batch.append(0, None, Some(b"v"), &[]);
            let mut header = BatchHeader::parse(&batch.build()).unwrap();
            header.base_offset = Offset(offset);
            state.apply(&header, 7);
        }
        state
    }

    #[test]
    fn what_is_saved_is_read() {
        let counts = BTreeMap::from([(Offset(0), 3), (Offset(900), 1)]);
        let bytes = encode(&state(), &counts, Offset(9));
        let read = decode(&bytes, Offset(9)).unwrap();
        assert_eq!((&read.producers, &read.aborted_counts), (&state(), &counts));
        assert_eq!(read.producers.first_unstable(), Some(Offset(2)));
        assert_eq!(decode(&bytes, Offset(8)), None);
    }

    #[test]
    fn damaged_snapshots_are_refused() {
        let good = encode(&state(), &BTreeMap::from([(Offset(0), 1)]), Offset(2));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad, Offset(2)), None, "byte {at}");
            assert_eq!(decode(&good[..at], Offset(2)), None);
        }
    }
}
