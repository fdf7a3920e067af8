//! What a partition remembers of idempotent producers: pure, `now` is an argument.
//!
//! Per producer id its epoch and last five batches (KIP-98, KIP-360). Saved as an advisory
//! snapshot beside the segments and rebuilt by scanning when that is missing.

use std::collections::{HashMap, VecDeque};

use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use crate::records::BatchHeader;

/// What the producer state says of a batch, before anything is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceVerdict {
    /// New: append it.
    Append,
    /// Already stored: answer this base offset (once `last_offset` is durable when acks=all).
    Duplicate {
        /// Offset its first record has.
        base_offset: Offset,
        /// Offset its last record has.
        last_offset: Offset,
        /// Append time, or -1 unless the topic stamps it.
        timestamp: i64,
    },
    /// Not the next sequence: OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrder {
        /// The sequence that would be next.
        expected: Sequence,
        /// The batch's.
        found: Sequence,
    },
    /// A newer incarnation of the producer has written: INVALID_PRODUCER_EPOCH.
    Fenced {
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The batch's.
        found: ProducerEpoch,
    },
}

/// Batches remembered per producer: as many as a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// `producer.id.expiration.ms`: 24 hours.
pub const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// Producers remembered per partition; the least recently seen are forgotten past it, which
/// costs them only the detection of a duplicate.
pub const PRODUCERS_MAX: usize = 100_000;

/// Producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: HashMap<i64, Producer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    seen_ms: i64,
    /// Newest last.
    batches: VecDeque<BatchFacts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BatchFacts {
    first: Sequence,
    last: Sequence,
    base_offset: Offset,
    last_offset: Offset,
    append_time_ms: i64,
}

impl ProducerState {
    /// Judges a batch; changes nothing.
    #[must_use]
    pub fn verdict(&self, header: &BatchHeader, now_ms: i64) -> SequenceVerdict {
        if header.producer_id.0 < 0 {
            return SequenceVerdict::Append;
        }
        // Any first sequence of an unknown producer is accepted: its state may have expired.
        let Some(producer) = self
            .producers
            .get(&header.producer_id.0)
            .filter(|producer| !producer.expired(now_ms))
        else {
            return SequenceVerdict::Append;
        };
        let (found, first) = (header.producer_epoch, header.base_sequence);
        if found < producer.epoch {
            return SequenceVerdict::Fenced {
                current: producer.epoch,
                found,
            };
        }
        if found > producer.epoch {
            // Clients bump their epoch on their own after a final error, and start from 0.
            return expect_sequence(Sequence(0), first);
        }
        let last = last_sequence(header);
        let twin = producer
            .batches
            .iter()
            .find(|batch| batch.first == first && batch.last == last);
        if let Some(twin) = twin {
            return SequenceVerdict::Duplicate {
                base_offset: twin.base_offset,
                last_offset: twin.last_offset,
                timestamp: twin.append_time_ms,
            };
        }
        match producer.batches.back() {
            None => SequenceVerdict::Append,
            Some(newest) => expect_sequence(advance(newest.last, 1), first),
        }
    }

    /// Remembers an appended batch, whose header has its final offsets.
    pub fn apply(&mut self, header: &BatchHeader, now_ms: i64) {
        if header.producer_id == ProducerId::NONE || header.producer_id.0 < 0 || header.is_control()
        {
            return;
        }
        let producer = self
            .producers
            .entry(header.producer_id.0)
            .or_insert_with(|| Producer {
                epoch: header.producer_epoch,
                seen_ms: now_ms,
                batches: VecDeque::new(),
            });
        if producer.epoch != header.producer_epoch || producer.expired(now_ms) {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.seen_ms = now_ms;
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(BatchFacts {
            first: header.base_sequence,
            last: last_sequence(header),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            append_time_ms: if header.is_log_append_time() {
                header.max_timestamp
            } else {
                -1
            },
        });
        if self.producers.len() > PRODUCERS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets producers not seen for [`PRODUCER_EXPIRATION_MS`].
    pub fn expire(&mut self, now_ms: i64) {
        self.producers
            .retain(|_, producer| !producer.expired(now_ms));
        if self.producers.is_empty() {
            self.producers.shrink_to_fit();
        }
    }

    /// Base offset of the newest batch of every producer, by id.
    pub(crate) fn newest_batches(&self) -> HashMap<i64, Offset> {
        let newest = |(id, producer): (&i64, &Producer)| {
            producer
                .batches
                .back()
                .map(|batch| (*id, batch.base_offset))
        };
        self.producers.iter().filter_map(newest).collect()
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    fn forget_oldest(&mut self) {
        let mut seen: Vec<i64> = self.producers.values().map(|p| p.seen_ms).collect();
        let (_, &mut tenth, _) = seen.select_nth_unstable(PRODUCERS_MAX / 10);
        let mut left = PRODUCERS_MAX / 10;
        self.producers.retain(|_, producer| {
            let forget = producer.seen_ms <= tenth && left > 0;
            left -= usize::from(forget);
            !forget
        });
    }

    /// The snapshot's bytes; `log_end` is the offset it stands for.
    ///
    /// ```text
    /// magic "APSN" | version u16 = 1 | log end i64 | producers u32
    ///   each: id i64 | epoch i16 | seen_ms i64 | batches u8
    ///     each: first i32 | last i32 | base offset i64 | last offset i64 | append time i64
    /// crc-32c u32 of all before it
    /// ```
    #[must_use]
    pub fn encode(&self, log_end: Offset) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.producers.len() * 64);
        out.extend_from_slice(SNAPSHOT_MAGIC);
        out.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&log_end.0.to_be_bytes());
        let count = u32::try_from(self.producers.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for (id, producer) in &self.producers {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&producer.epoch.0.to_be_bytes());
            out.extend_from_slice(&producer.seen_ms.to_be_bytes());
            out.push(u8::try_from(producer.batches.len()).unwrap_or(u8::MAX));
            for batch in &producer.batches {
                out.extend_from_slice(&batch.first.0.to_be_bytes());
                out.extend_from_slice(&batch.last.0.to_be_bytes());
                out.extend_from_slice(&batch.base_offset.0.to_be_bytes());
                out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
                out.extend_from_slice(&batch.append_time_ms.to_be_bytes());
            }
        }
        let crc = crc_fast::crc32_iscsi(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a snapshot; `None` when it is damaged, of another version, or for another offset.
    #[must_use]
    pub fn decode(bytes: &[u8], log_end: Offset) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*crc) != crc_fast::crc32_iscsi(body) {
            return None;
        }
        let mut left = body.strip_prefix(SNAPSHOT_MAGIC)?;
        if u16::from_be_bytes(take(&mut left)?) != SNAPSHOT_VERSION
            || i64::from_be_bytes(take(&mut left)?) != log_end.0
        {
            return None;
        }
        let count = u32::from_be_bytes(take(&mut left)?);
        let mut producers = HashMap::new();
        for _ in 0..count {
            let id = i64::from_be_bytes(take(&mut left)?);
            let mut producer = Producer {
                epoch: ProducerEpoch(i16::from_be_bytes(take(&mut left)?)),
                seen_ms: i64::from_be_bytes(take(&mut left)?),
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
            producers.insert(id, producer);
        }
        left.is_empty().then_some(Self { producers })
    }
}

impl Producer {
    fn expired(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.seen_ms) > PRODUCER_EXPIRATION_MS
    }
}

const SNAPSHOT_MAGIC: &[u8] = b"APSN";
const SNAPSHOT_VERSION: u16 = 1;

fn expect_sequence(expected: Sequence, found: Sequence) -> SequenceVerdict {
    if expected == found {
        SequenceVerdict::Append
    } else {
        SequenceVerdict::OutOfOrder { expected, found }
    }
}

fn last_sequence(header: &BatchHeader) -> Sequence {
    advance(header.base_sequence, header.last_offset_delta)
}

/// Sequences wrap from `i32::MAX` to 0.
fn advance(from: Sequence, by: i32) -> Sequence {
    let next = (i64::from(from.0) + i64::from(by)) & i64::from(i32::MAX);
    Sequence(i32::try_from(next).unwrap_or(0))
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (found, rest) = left.split_first_chunk::<N>()?;
    *left = rest;
    Some(*found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, Compression};

    /// `p<id> e<epoch> <first>+<count>`, appended at the next offset.
    fn header(id: i64, epoch: i16, first: i32, count: i32, offset: i64) -> BatchHeader {
        let mut batch = BatchBuilder::new(Compression::None, 0).producer(
            ProducerId(id),
            ProducerEpoch(epoch),
            Sequence(first),
        );
        for _ in 0..count {
            batch.append(0, None, Some(b"v"), &[]);
        }
        let mut header = BatchHeader::parse(&batch.build()).unwrap();
        header.base_offset = Offset(offset);
        header
    }

    #[test]
    fn verdicts() {
        let mut state = ProducerState::default();
        let mut offset = 0;
        for (first, count) in [(0, 3), (3, 1), (4, 1), (5, 1), (6, 1), (7, 2)] {
            let batch = header(1, 4, first, count, offset);
            assert_eq!(state.verdict(&batch, 0), SequenceVerdict::Append);
            state.apply(&batch, 0);
            offset += i64::from(count);
        }
        let duplicate = |base, last| SequenceVerdict::Duplicate {
            base_offset: Offset(base),
            last_offset: Offset(last),
            timestamp: -1,
        };
        let out_of_order = |expected, found| SequenceVerdict::OutOfOrder {
            expected: Sequence(expected),
            found: Sequence(found),
        };
        let fenced = SequenceVerdict::Fenced {
            current: ProducerEpoch(4),
            found: ProducerEpoch(3),
        };
        for (case, (id, epoch, first, count), expected) in [
            ("next", (1, 4, 9, 1), SequenceVerdict::Append),
            ("newest again", (1, 4, 7, 2), duplicate(7, 8)),
            ("fifth newest again", (1, 4, 3, 1), duplicate(3, 3)),
            (
                "sixth newest is out of the window",
                (1, 4, 0, 3),
                out_of_order(9, 0),
            ),
            ("same first, other count", (1, 4, 7, 1), out_of_order(9, 7)),
            ("gap", (1, 4, 10, 1), out_of_order(9, 10)),
            ("older epoch", (1, 3, 9, 1), fenced),
            ("newer epoch from 0", (1, 5, 0, 1), SequenceVerdict::Append),
            ("newer epoch not from 0", (1, 5, 9, 1), out_of_order(0, 9)),
            (
                "unknown producer, any sequence",
                (2, 0, 77, 1),
                SequenceVerdict::Append,
            ),
            ("no producer", (-1, -1, -1, 1), SequenceVerdict::Append),
        ] {
            let batch = header(id, epoch, first, count, 0);
            assert_eq!(state.verdict(&batch, 0), expected, "{case}");
        }
        let late = PRODUCER_EXPIRATION_MS + 1;
        let gap = header(1, 4, 100, 1, 0);
        assert_eq!(
            state.verdict(&gap, late),
            SequenceVerdict::Append,
            "expired"
        );
        let restored = ProducerState::decode(&state.encode(Offset(9)), Offset(9));
        assert_eq!(restored, Some(state.clone()));
        assert_eq!(
            ProducerState::decode(&state.encode(Offset(9)), Offset(8)),
            None
        );
        state.expire(late);
        assert!(state.is_empty());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut state = ProducerState::default();
        state.apply(&header(1, 0, i32::MAX - 1, 2, 0), 0);
        assert_eq!(
            state.verdict(&header(1, 0, 0, 1, 2), 0),
            SequenceVerdict::Append
        );
        let mut state = ProducerState::default();
        // A batch that itself wraps: MAX, 0, 1.
        state.apply(&header(1, 0, i32::MAX, 3, 0), 0);
        assert_eq!(
            state.verdict(&header(1, 0, 2, 1, 3), 0),
            SequenceVerdict::Append
        );
    }

    #[test]
    fn damaged_snapshots_are_refused() {
        let mut state = ProducerState::default();
        state.apply(&header(1, 0, 0, 2, 0), 0);
        let good = state.encode(Offset(2));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(ProducerState::decode(&bad, Offset(2)), None, "byte {at}");
            assert_eq!(ProducerState::decode(&good[..at], Offset(2)), None);
        }
    }
}
