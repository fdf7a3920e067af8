//! What a partition remembers of idempotent and transactional producers: pure, `now` is an
//! argument.
//!
//! Per producer id its epoch, last five batches (KIP-98, KIP-360) and where its open transaction
//! begins. Saved as an advisory snapshot beside the segments (`producer_snapshot.rs`) and rebuilt
//! by scanning when that is missing.

use std::collections::{BTreeMap, HashMap, VecDeque};

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
    /// Not part of the transaction that the producer has open here: INVALID_TXN_STATE.
    InTransaction {
        /// Where that begins.
        first_offset: Offset,
    },
}

/// A transaction that a marker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
}

/// One producer as DescribeProducers shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record; -1 when not known.
    pub last_sequence: Sequence,
    /// When it was last seen, in ms since the epoch.
    pub seen_ms: i64,
    /// Where its open transaction begins.
    pub open_since: Option<Offset>,
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
    pub(super) producers: HashMap<i64, Producer>,
    /// Open transactions by first offset.
    pub(super) open: BTreeMap<Offset, ProducerId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: ProducerEpoch,
    pub(super) seen_ms: i64,
    /// Newest last.
    pub(super) batches: VecDeque<BatchFacts>,
    /// First offset of the open transaction.
    pub(super) open: Option<Offset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchFacts {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) append_time_ms: i64,
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
        if let Some(first_offset) = producer.open
            && !header.is_transactional()
        {
            return SequenceVerdict::InTransaction { first_offset };
        }
        if first.0 < 0 {
            // The broker's own: offsets of a transaction. Clients' are refused before.
            return SequenceVerdict::Append;
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

    /// Remembers an appended batch, whose header has its final offsets. Control batches are for
    /// [`ProducerState::end_transaction`].
    pub fn apply(&mut self, header: &BatchHeader, now_ms: i64) {
        if header.producer_id == ProducerId::NONE || header.producer_id.0 < 0 || header.is_control()
        {
            return;
        }
        let producer = self
            .producers
            .entry(header.producer_id.0)
            .or_insert_with(|| Producer::new(header.producer_epoch, now_ms));
        if producer.epoch != header.producer_epoch || producer.expired(now_ms) {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.seen_ms = now_ms;
        if header.is_transactional() && producer.open.is_none() {
            producer.open = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
        if header.base_sequence.0 < 0 {
            return;
        }
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

    /// Takes in the marker of a transaction, whose header has its final offset: the transaction is
    /// over, and older epochs of its producer are fenced. Answers the transaction if there was one.
    pub fn end_transaction(
        &mut self,
        header: &BatchHeader,
        now_ms: i64,
    ) -> Option<EndedTransaction> {
        let producer = self
            .producers
            .entry(header.producer_id.0)
            .or_insert_with(|| Producer::new(header.producer_epoch, now_ms));
        if header.producer_epoch > producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.seen_ms = now_ms;
        let first_offset = producer.open.take()?;
        self.open.remove(&first_offset);
        Some(EndedTransaction {
            producer_id: header.producer_id,
            first_offset,
        })
    }

    /// Where the oldest open transaction begins: no read-committed consumer may read further.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// Producers with an open transaction and their epochs.
    #[must_use]
    pub fn open_transactions(&self) -> Vec<(ProducerId, ProducerEpoch)> {
        self.open
            .values()
            .filter_map(|id| Some((*id, self.producers.get(&id.0)?.epoch)))
            .collect()
    }

    /// All producers, by id.
    #[must_use]
    pub fn describe(&self) -> Vec<ProducerDescription> {
        let mut described: Vec<ProducerDescription> = self
            .producers
            .iter()
            .map(|(id, producer)| ProducerDescription {
                producer_id: ProducerId(*id),
                epoch: producer.epoch,
                last_sequence: producer
                    .batches
                    .back()
                    .map_or(Sequence(-1), |batch| batch.last),
                seen_ms: producer.seen_ms,
                open_since: producer.open,
            })
            .collect();
        described.sort_unstable_by_key(|producer| producer.producer_id);
        described
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
            let forget = producer.seen_ms <= tenth && left > 0 && producer.open.is_none();
            left -= usize::from(forget);
            !forget
        });
    }
}

impl Producer {
    fn new(epoch: ProducerEpoch, now_ms: i64) -> Self {
        Self {
            epoch,
            seen_ms: now_ms,
            batches: VecDeque::new(),
            open: None,
        }
    }

    /// A producer with an open transaction never is: nobody may read past it.
    fn expired(&self, now_ms: i64) -> bool {
        self.open.is_none() && now_ms.saturating_sub(self.seen_ms) > PRODUCER_EXPIRATION_MS
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, Compression, TransactionResult, marker_batch};

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

    /// As [`header`], part of a transaction.
    fn transactional(id: i64, epoch: i16, first: i32, offset: i64) -> BatchHeader {
        let mut header = header(id, epoch, first, 1, offset);
        header.attributes |= crate::records::ATTRIBUTE_TRANSACTIONAL;
        header
    }

    fn marker(id: i64, epoch: i16, offset: i64) -> BatchHeader {
        let (id, epoch) = (ProducerId(id), ProducerEpoch(epoch));
        let bytes = marker_batch(id, epoch, TransactionResult::Abort, 0);
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.base_offset = Offset(offset);
        header
    }

    #[test]
    fn transactions_open_and_end() {
        let mut state = ProducerState::default();
        state.apply(&transactional(1, 0, 0, 10), 0);
        state.apply(&transactional(2, 0, 0, 11), 0);
        state.apply(&transactional(1, 0, 1, 12), 0);
        assert_eq!(state.first_unstable(), Some(Offset(10)));
        let plain = header(1, 0, 2, 1, 13);
        let first_offset = Offset(10);
        assert_eq!(
            state.verdict(&plain, 0),
            SequenceVerdict::InTransaction { first_offset }
        );
        let late = PRODUCER_EXPIRATION_MS + 1;
        state.expire(late);
        assert_eq!(state.len(), 2, "an open transaction keeps its producer");

        // Version 1: the marker has the transaction's epoch and sequences go on.
        let ended = state.end_transaction(&marker(1, 0, 13), 0);
        let producer_id = ProducerId(1);
        assert_eq!(
            ended,
            Some(EndedTransaction {
                producer_id,
                first_offset
            })
        );
        assert_eq!(state.first_unstable(), Some(Offset(11)));
        assert_eq!(state.end_transaction(&marker(1, 0, 14), 0), None);
        assert_eq!(
            state.verdict(&transactional(1, 0, 2, 15), 0),
            SequenceVerdict::Append
        );
        assert!(matches!(
            state.verdict(&transactional(1, 0, 9, 15), 0),
            SequenceVerdict::OutOfOrder { .. }
        ));

        // Version 2: the marker's epoch is one higher, and fences what comes late.
        assert!(state.end_transaction(&marker(2, 1, 16), 0).is_some());
        assert_eq!(state.first_unstable(), None);
        assert!(matches!(
            state.verdict(&transactional(2, 0, 1, 17), 0),
            SequenceVerdict::Fenced { .. }
        ));
        assert_eq!(
            state.verdict(&transactional(2, 1, 0, 17), 0),
            SequenceVerdict::Append
        );

        // A marker of a producer that wrote nothing here fences too.
        assert_eq!(state.end_transaction(&marker(3, 5, 18), 0), None);
        assert!(matches!(
            state.verdict(&transactional(3, 4, 0, 19), 0),
            SequenceVerdict::Fenced { .. }
        ));
        state.expire(late);
        assert!(state.is_empty());
    }

    #[test]
    fn offsets_of_a_transaction_have_no_sequence() {
        let mut state = ProducerState::default();
        for offset in 0..3 {
            let batch = transactional(1, 2, -1, offset);
            assert_eq!(state.verdict(&batch, 0), SequenceVerdict::Append);
            state.apply(&batch, 0);
        }
        assert_eq!(state.first_unstable(), Some(Offset(0)));
        assert!(matches!(
            state.verdict(&transactional(1, 1, -1, 3), 0),
            SequenceVerdict::Fenced { .. }
        ));
    }
}
