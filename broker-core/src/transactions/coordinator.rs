//! One transactional id: who may write under it, and where its transaction is. Pure.
//!
//! `handle_*` take the time and a request and answer [`Effects`]: the record to be written and what
//! to reply. State changes by [`Transaction::apply`] of a written record alone, so that a restart
//! and normal work are one path. The driver writes, applies, replies, appends markers.
//!
//! ```text
//!   Empty ──add──► Ongoing ──end──► PrepareCommit ──markers──► CompleteCommit ──add──► Ongoing
//!                     └─end, fence, timeout─► PrepareAbort ──markers──► CompleteAbort ──┘
//! ```
//! `Prepare*` is the decision: from then on the transaction can only be completed. A client of
//! version 2 (KIP-890) gets a new epoch with every end, so that nothing late of one transaction can
//! become part of the next; a client of version 1 keeps its epoch. Source: KIP-98, KIP-360, KIP-890
//! and `TransactionCoordinator` of Apache Kafka 4.1. Next: `tests.rs`, [`super::driver`].

use std::collections::BTreeSet;

use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::records::TransactionResult;

/// Topic and partition.
pub type TopicPartition = (String, i32);

/// A producer id and its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Producer {
    /// The id.
    pub id: ProducerId,
    /// The incarnation.
    pub epoch: ProducerEpoch,
}

/// Where a transactional id is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// No transaction yet.
    Empty,
    /// Partitions are part of a transaction.
    Ongoing,
    /// To be committed: markers are under way.
    PrepareCommit,
    /// To be aborted: markers are under way.
    PrepareAbort,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
}

impl TransactionState {
    /// Kafka's name, as DescribeTransactions and ListTransactions have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether the decision is made and the markers are not all written.
    #[must_use]
    pub const fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether `next` may follow.
    const fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Empty => matches!(next, Self::Empty | Self::Ongoing | Self::PrepareAbort),
            Self::Ongoing => {
                matches!(
                    next,
                    Self::Ongoing | Self::PrepareCommit | Self::PrepareAbort
                )
            }
            Self::PrepareCommit => matches!(next, Self::CompleteCommit),
            Self::PrepareAbort => matches!(next, Self::CompleteAbort),
            Self::CompleteCommit | Self::CompleteAbort => {
                matches!(next, Self::Empty | Self::Ongoing | Self::PrepareAbort)
            }
        }
    }
}

/// How a client takes part (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientVersion {
    /// AddPartitionsToTxn before the first record; the epoch stays from one transaction to the next.
    One,
    /// Partitions are added by producing; every end bumps the epoch.
    Two,
}

/// What is stored of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionMetadata {
    /// The producer id in use.
    pub producer_id: ProducerId,
    /// Its epoch; in a prepared transaction the epoch of the markers.
    pub epoch: ProducerEpoch,
    /// The epoch before, when its owner may ask again for the answer that made the present one.
    pub last_epoch: ProducerEpoch,
    /// The producer id before, when its epochs ran out.
    pub previous_producer_id: ProducerId,
    /// The producer id after this transaction, when its epochs run out.
    pub next_producer_id: ProducerId,
    /// How long a transaction may take, in ms.
    pub timeout_ms: i32,
    /// Where it is.
    pub state: TransactionState,
    /// Partitions of the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, in ms since the epoch; -1 before the first.
    pub started_ms: i64,
    /// When the last change was.
    pub updated_ms: i64,
    /// How the client takes part.
    pub version: ClientVersion,
}

/// What a request asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Effects<R> {
    /// To be written and applied before the reply is sent.
    pub record: Option<TransactionMetadata>,
    /// What to answer.
    pub reply: Result<R, ErrorCode>,
}

impl<R> Effects<R> {
    const fn refuse(error: ErrorCode) -> Self {
        Self {
            record: None,
            reply: Err(error),
        }
    }

    const fn reply(reply: R) -> Self {
        Self {
            record: None,
            reply: Ok(reply),
        }
    }

    const fn write(record: TransactionMetadata, reply: R) -> Self {
        Self {
            record: Some(record),
            reply: Ok(reply),
        }
    }
}

/// The markers that complete a prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// In whose name.
    pub producer: Producer,
    /// Commit or abort.
    pub result: TransactionResult,
    /// Where.
    pub partitions: BTreeSet<TopicPartition>,
}

/// The state machine of one transactional id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    metadata: Option<TransactionMetadata>,
}

impl Transaction {
    /// What is stored of it; `None` before the first InitProducerId.
    #[must_use]
    pub const fn metadata(&self) -> Option<&TransactionMetadata> {
        self.metadata.as_ref()
    }

    /// Takes in a written record.
    ///
    /// # Panics
    /// When the record cannot follow: a defect of this file.
    pub fn apply(&mut self, record: TransactionMetadata) {
        if let Some(current) = &self.metadata {
            assert!(
                current.state.leads_to(record.state),
                "{} after {}",
                record.state.name(),
                current.state.name()
            );
        }
        self.metadata = Some(record);
    }

    /// Whether InitProducerId or EndTxn may need a producer id that nobody has had.
    #[must_use]
    pub fn may_need_producer_id(&self) -> bool {
        self.metadata.as_ref().is_none_or(|now| now.is_exhausted())
    }

    /// InitProducerId: a new incarnation, which fences the ones before. `expected` is what a
    /// producer says it is that wants a new epoch after an error (KIP-360); `fresh` is a producer id
    /// that nobody has had, when [`Self::may_need_producer_id`].
    ///
    /// Refuses with CONCURRENT_TRANSACTIONS while a transaction is being completed; one that is
    /// open is aborted for that.
    pub fn handle_init(
        &self,
        now_ms: i64,
        timeout_ms: i32,
        expected: Option<Producer>,
        fresh: Option<ProducerId>,
    ) -> Effects<Producer> {
        let Some(now) = &self.metadata else {
            let Some(producer_id) = fresh else {
                return Effects::refuse(ErrorCode::CONCURRENT_TRANSACTIONS);
            };
            return TransactionMetadata::first(producer_id, timeout_ms, now_ms).begin();
        };
        if let Some(expected) = expected
            && !now.knows(expected)
        {
            return Effects::refuse(ErrorCode::PRODUCER_FENCED);
        }
        match now.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                Effects::refuse(ErrorCode::CONCURRENT_TRANSACTIONS)
            }
            TransactionState::Ongoing => Effects {
                record: Some(now.fence(now_ms)),
                reply: Err(ErrorCode::CONCURRENT_TRANSACTIONS),
            },
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => {
                let is_retry = expected.is_some_and(|expected| expected.epoch != now.epoch);
                if is_retry {
                    return Effects::reply(now.producer());
                }
                let mut next = now.next(TransactionState::Empty, now_ms);
                next.timeout_ms = timeout_ms;
                next.started_ms = -1;
                next.last_epoch = expected.map_or(NO_EPOCH, |expected| expected.epoch);
                if now.is_exhausted() {
                    let Some(producer_id) = fresh else {
                        return Effects::refuse(ErrorCode::CONCURRENT_TRANSACTIONS);
                    };
                    next.previous_producer_id = now.producer_id;
                    next.producer_id = producer_id;
                    next.epoch = ProducerEpoch(0);
                } else {
                    next.epoch = now.epoch_after();
                }
                next.begin()
            }
        }
    }

    /// AddPartitionsToTxn, and its implicit form when a client of version 2 produces.
    pub fn handle_add(
        &self,
        now_ms: i64,
        producer: Producer,
        partitions: &[TopicPartition],
        version: ClientVersion,
    ) -> Effects<()> {
        let now = match self.owned_by(producer) {
            Ok(now) => now,
            Err(error) => return Effects::refuse(error),
        };
        let is_ongoing = now.state == TransactionState::Ongoing;
        let mut new = partitions.iter();
        if is_ongoing && new.all(|partition| now.partitions.contains(partition)) {
            return Effects::reply(());
        }
        let mut next = now.next(TransactionState::Ongoing, now_ms);
        if !is_ongoing {
            next.partitions.clear();
            next.started_ms = now_ms;
        }
        next.partitions.extend(partitions.iter().cloned());
        next.version = version;
        Effects::write(next, ())
    }

    /// Whether the producer may write to the partition as part of its open transaction.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED; CONCURRENT_TRANSACTIONS when the transaction is
    /// being completed; INVALID_TXN_STATE when the partition is not part of one.
    pub fn check_partition(
        &self,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<(), ErrorCode> {
        let now = self.owned_by(producer)?;
        if now.state == TransactionState::Ongoing && now.partitions.contains(partition) {
            Ok(())
        } else {
            Err(ErrorCode::INVALID_TXN_STATE)
        }
    }

    /// EndTxn: the decision. The reply is who the producer is from now on, to be sent when the
    /// transaction is complete.
    pub fn handle_end(
        &self,
        now_ms: i64,
        producer: Producer,
        result: TransactionResult,
        version: ClientVersion,
        fresh: Option<ProducerId>,
    ) -> Effects<Producer> {
        let Some(now) = &self.metadata else {
            return Effects::refuse(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        };
        let is_retry = match version {
            ClientVersion::One => false,
            ClientVersion::Two => now.follows(producer),
        };
        if now.producer_id != producer.id && !is_retry {
            return Effects::refuse(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if producer.epoch != now.epoch && !is_retry {
            return Effects::refuse(ErrorCode::PRODUCER_FENCED);
        }
        use TransactionState as State;
        match (now.state, result) {
            // With a new epoch for every transaction, one of an older epoch is not the open one.
            (State::Empty | State::Ongoing, _) if is_retry => {
                Effects::refuse(ErrorCode::PRODUCER_FENCED)
            }
            (State::PrepareCommit | State::PrepareAbort, _)
                if version == ClientVersion::Two && !is_retry =>
            {
                Effects::refuse(ErrorCode::PRODUCER_FENCED)
            }
            (State::Ongoing, _) => now.prepare(now_ms, result, version, fresh),
            (State::PrepareCommit, TransactionResult::Commit)
            | (State::PrepareAbort, TransactionResult::Abort) => {
                Effects::refuse(ErrorCode::CONCURRENT_TRANSACTIONS)
            }
            (State::CompleteCommit, TransactionResult::Commit)
            | (State::CompleteAbort, TransactionResult::Abort)
                if is_retry || version == ClientVersion::One =>
            {
                Effects::reply(now.producer())
            }
            // Nothing was produced. The epoch is bumped all the same: something may be under way.
            (
                State::Empty | State::CompleteCommit | State::CompleteAbort,
                TransactionResult::Abort,
            ) if version == ClientVersion::Two && !is_retry => {
                let mut unstarted = now.clone();
                unstarted.partitions.clear();
                unstarted.started_ms = now_ms;
                unstarted.prepare(now_ms, result, version, fresh)
            }
            _ => Effects::refuse(ErrorCode::INVALID_TXN_STATE),
        }
    }

    /// Aborts a transaction that took too long, and fences its producer.
    #[must_use]
    pub fn handle_timeout(&self, now_ms: i64) -> Option<TransactionMetadata> {
        let now = self.metadata.as_ref()?;
        let due = self.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms);
        due.then(|| now.fence(now_ms))
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<i64> {
        let now = self.metadata.as_ref()?;
        let ongoing = now.state == TransactionState::Ongoing;
        ongoing.then(|| now.started_ms.saturating_add(i64::from(now.timeout_ms)))
    }

    /// The markers to be written, when the decision is made.
    #[must_use]
    pub fn markers(&self) -> Option<Markers> {
        let now = self.metadata.as_ref()?;
        let result = match now.state {
            TransactionState::PrepareCommit => TransactionResult::Commit,
            TransactionState::PrepareAbort => TransactionResult::Abort,
            TransactionState::Empty
            | TransactionState::Ongoing
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => return None,
        };
        Some(Markers {
            producer: now.producer(),
            result,
            partitions: now.partitions.clone(),
        })
    }

    /// All markers are on disk: the transaction is complete.
    #[must_use]
    pub fn handle_markers_written(&self, now_ms: i64) -> Option<TransactionMetadata> {
        let now = self.metadata.as_ref()?;
        let state = match now.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            TransactionState::PrepareAbort => TransactionState::CompleteAbort,
            TransactionState::Empty
            | TransactionState::Ongoing
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => return None,
        };
        let mut next = now.next(state, now_ms);
        next.partitions.clear();
        let after = now.producer_after();
        if after.id != now.producer_id {
            next.previous_producer_id = now.producer_id;
            next.producer_id = after.id;
            next.epoch = after.epoch;
            next.next_producer_id = ProducerId::NONE;
        }
        Some(next)
    }

    /// Whether nobody has used the id for `expiration_ms` and it may be forgotten.
    #[must_use]
    pub fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.metadata.as_ref().is_none_or(|now| {
            !now.state.is_prepared()
                && now.state != TransactionState::Ongoing
                && now_ms.saturating_sub(now.updated_ms) >= expiration_ms
        })
    }

    /// The metadata, when the producer owns it and nothing is being completed.
    fn owned_by(&self, producer: Producer) -> Result<&TransactionMetadata, ErrorCode> {
        let now = self.metadata.as_ref();
        let now = now.ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        if now.producer_id != producer.id {
            Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
        } else if now.epoch != producer.epoch {
            Err(ErrorCode::PRODUCER_FENCED)
        } else if now.state.is_prepared() {
            Err(ErrorCode::CONCURRENT_TRANSACTIONS)
        } else {
            Ok(now)
        }
    }
}

impl TransactionMetadata {
    fn first(producer_id: ProducerId, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            epoch: ProducerEpoch(0),
            last_epoch: NO_EPOCH,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            version: ClientVersion::One,
        }
    }

    /// The effects of a new incarnation.
    const fn begin(self) -> Effects<Producer> {
        let producer = self.producer();
        Effects::write(self, producer)
    }

    /// Who may write now.
    #[must_use]
    pub const fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.epoch,
        }
    }

    /// Who may write once the prepared transaction is complete.
    const fn producer_after(&self) -> Producer {
        if self.next_producer_id.0 == ProducerId::NONE.0 {
            self.producer()
        } else {
            Producer {
                id: self.next_producer_id,
                epoch: ProducerEpoch(0),
            }
        }
    }

    /// Whether the epochs of the producer id are used up: the last one is for a fence.
    const fn is_exhausted(&self) -> bool {
        self.epoch.0 >= LAST_EPOCH.0
    }

    fn epoch_after(&self) -> ProducerEpoch {
        ProducerEpoch(self.epoch.0.saturating_add(1))
    }

    /// Whether a producer that wants a new epoch is the present one, or the one before it that did
    /// not hear the answer.
    fn knows(&self, expected: Producer) -> bool {
        if expected.id == self.producer_id {
            expected.epoch == self.epoch
                || (expected.epoch == self.last_epoch && self.last_epoch != NO_EPOCH)
        } else {
            expected.id == self.previous_producer_id
                && expected.epoch.0 >= LAST_EPOCH.0
                && expected.epoch == self.last_epoch
        }
    }

    /// Whether the present producer is what `before` became by ending a transaction.
    fn follows(&self, before: Producer) -> bool {
        let by_epoch =
            self.producer_id == before.id && before.epoch.0.checked_add(1) == Some(self.epoch.0);
        let by_id = self.previous_producer_id == before.id
            && self.producer_id != before.id
            && before.epoch == LAST_EPOCH
            && self.epoch.0 == 0;
        by_epoch || by_id
    }

    fn next(&self, state: TransactionState, now_ms: i64) -> Self {
        Self {
            state,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// The decision to abort, made by the broker: the producer is fenced by a new epoch.
    fn fence(&self, now_ms: i64) -> Self {
        let mut next = self.next(TransactionState::PrepareAbort, now_ms);
        next.epoch = self.epoch_after();
        next.last_epoch = NO_EPOCH;
        next
    }

    fn prepare(
        &self,
        now_ms: i64,
        result: TransactionResult,
        version: ClientVersion,
        fresh: Option<ProducerId>,
    ) -> Effects<Producer> {
        let state = match result {
            TransactionResult::Commit => TransactionState::PrepareCommit,
            TransactionResult::Abort => TransactionState::PrepareAbort,
        };
        let mut next = self.next(state, now_ms);
        next.version = version;
        if version == ClientVersion::Two {
            if self.is_exhausted() {
                let Some(fresh) = fresh else {
                    return Effects::refuse(ErrorCode::CONCURRENT_TRANSACTIONS);
                };
                next.next_producer_id = fresh;
            }
            next.last_epoch = self.epoch;
            next.epoch = self.epoch_after();
        }
        let after = next.producer_after();
        Effects::write(next, after)
    }
}

/// No epoch.
pub(super) const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// The last epoch that a client gets to see; one more is kept to fence it.
const LAST_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

#[cfg(test)]
mod tests;
