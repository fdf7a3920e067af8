//! The transaction coordinator: locks a transactional id's state machine for a moment, writes what
//! it asks to be written, and completes transactions.
//!
//! A decision (`Prepare*`) is durable before the first marker, and every marker is before the
//! transaction is said to be complete; so a crash at any point leaves a transaction that is either
//! undecided, and times out, or is completed at the next start. EndTxn is answered when the
//! transaction is complete: its records can be read, and the next one can begin.
//!
//! A partition is asked to store a record of a transaction only while that is open, and asks
//! ([`TransactionCoordinator::check_partition`]) under its own lock. The decision comes before the
//! marker, which needs that lock: nothing can slip in behind the marker.
//!
//! Lock order: a partition or group, then a transactional id, then its log. No lock of a
//! transactional id is held while a marker is appended. Next: `completion.rs`.

mod completion;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use super::coordinator::{
    ClientVersion, Effects, Producer, TopicPartition, Transaction, TransactionMetadata,
};
use super::{ProducerIds, TRANSACTIONS_TOPIC, TransactionConfig, record};
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::groups::record::STRING_BYTES_MAX;
use crate::groups::{GroupCoordinator, OFFSETS_TOPIC};
use crate::ids::{Offset, ProducerId};
use crate::internal_log::{InternalLog, Replayed};
use crate::partition::AppendError;
use crate::records::TransactionResult;
use crate::timers::Timers;
use crate::topics::Topics;

/// How often ids are looked at that nobody uses any more.
const EXPIRY_INTERVAL: Duration = Duration::from_hours(1);
/// How often the growth of `__transaction_state` is looked at.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(30);
/// After a partition did not take its marker, or the log not a decision or the completion.
const RETRY_MS: i64 = 1_000;
/// Transactional ids at once: some hundred bytes each, until they expire.
const TRANSACTIONAL_IDS_MAX: usize = 1_000_000;

/// All transactional ids of the broker.
#[derive(Debug)]
pub struct TransactionCoordinator {
    config: TransactionConfig,
    clock: Clock,
    topics: Arc<Topics>,
    groups: Arc<GroupCoordinator>,
    producer_ids: Arc<ProducerIds>,
    log: InternalLog,
    slots: RwLock<HashMap<Arc<str>, Arc<Slot>>>,
    timers: Timers,
}

#[derive(Debug)]
struct Slot {
    id: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    transaction: Transaction,
    /// Offset of the id's last record written by this process.
    written: Option<Offset>,
    /// Somebody writes the markers.
    completing: bool,
    /// The time the heap has for this id.
    scheduled_ms: Option<i64>,
    /// No longer in the map: look the id up again.
    removed: bool,
}

/// A reply, and what it depends on.
struct Settled<R> {
    reply: Result<R, ErrorCode>,
    written: Option<Offset>,
    /// The decision on a transaction was made: its markers are to be written.
    decided: bool,
}

impl TransactionCoordinator {
    /// Creates the internal topic `__transaction_state` if missing, replays it and completes the
    /// transactions that were decided. Aborts what partitions have open that it knows nothing of.
    /// Blocks on disk.
    ///
    /// # Errors
    /// When the topic can be neither found nor created, or not be read.
    pub fn open(
        topics: Arc<Topics>,
        groups: Arc<GroupCoordinator>,
        producer_ids: Arc<ProducerIds>,
        config: TransactionConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, String> {
        let log = InternalLog::open(&topics, TRANSACTIONS_TOPIC)?;
        let mut found: HashMap<String, TransactionMetadata> = HashMap::new();
        log.replay(&mut |replayed| {
            let Replayed::Record { key, value, .. } = replayed else {
                return false;
            };
            let Ok(id) = record::decode_key(key) else {
                return false;
            };
            match value.map(record::decode_value) {
                None => {
                    found.remove(id);
                    true
                }
                Some(Ok(metadata)) => {
                    found.insert(id.to_owned(), metadata);
                    true
                }
                Some(Err(_)) => false,
            }
        })?;
        let coordinator = Arc::new(Self {
            config,
            clock,
            topics,
            groups,
            producer_ids,
            log,
            slots: RwLock::new(HashMap::with_capacity(found.len())),
            timers: Timers::default(),
        });
        for (id, metadata) in found {
            let id: Arc<str> = Arc::from(id);
            let mut inner = Inner::default();
            inner.transaction.apply(metadata);
            coordinator.schedule(&id, &mut inner);
            let slot = Slot {
                id: Arc::clone(&id),
                inner: Mutex::new(inner),
            };
            coordinator.slots.write().insert(id, Arc::new(slot));
        }
        coordinator.complete_after_start();
        coordinator.abort_orphans();
        Ok(coordinator)
    }

    /// Runs the timers until shutdown (spawned by the broker).
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
        let mut snapshot = tokio::time::interval(SNAPSHOT_INTERVAL);
        loop {
            let now_ms = self.clock.now_ms();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.timers.wait(now_ms, EXPIRY_INTERVAL) => {}
                _ = expiry.tick() => self.expire(),
                _ = snapshot.tick() => self.bound_log().await,
            }
            self.tick().await;
        }
    }

    /// Aborts what took too long by now and tries again what could not be completed;
    /// [`Self::run`] calls it.
    pub async fn tick(self: &Arc<Self>) {
        let now_ms = self.clock.now_ms();
        while let Some((at_ms, id)) = self.timers.pop_due(now_ms) {
            let decided = self.with_slot(&id, |slot, inner| {
                if inner.scheduled_ms != Some(at_ms) {
                    return false;
                }
                inner.scheduled_ms = None;
                if let Some(record) = inner.transaction.handle_timeout(now_ms) {
                    tracing::info!(transactional_id = %slot.id, timeout_ms = record.timeout_ms,
                        "transaction took too long and is aborted");
                    let reply = Ok(());
                    let record = Some(record);
                    self.settle(slot, inner, Effects { record, reply }, now_ms);
                }
                if let Some(due_ms) = inner.transaction.deadline_ms() {
                    // Due and still open: the log did not take the decision.
                    let retry_ms = now_ms.saturating_add(RETRY_MS);
                    let due_ms = if due_ms <= now_ms { retry_ms } else { due_ms };
                    self.schedule_at(&slot.id, inner, due_ms);
                }
                inner.transaction.markers().is_some()
            });
            if decided == Some(true) {
                self.complete(&id).await;
            }
        }
    }

    /// InitProducerId with a transactional id: returns when the new incarnation is durable.
    ///
    /// # Errors
    /// INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
    /// COORDINATOR_NOT_AVAILABLE when the log does not take it.
    pub async fn init(
        self: &Arc<Self>,
        transactional_id: &str,
        timeout_ms: i32,
        expected: Option<Producer>,
    ) -> Result<Producer, ErrorCode> {
        check_id(transactional_id)?;
        if timeout_ms <= 0 || timeout_ms > self.config.timeout_max_ms {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        let fresh = self.fresh_producer_id(transactional_id).await?;
        let now_ms = self.clock.now_ms();
        let settled = self.with_new_slot(transactional_id, |slot, inner| {
            let effects = inner
                .transaction
                .handle_init(now_ms, timeout_ms, expected, fresh);
            let settled = self.settle(slot, inner, effects, now_ms);
            self.forget_if_vacant(slot, inner);
            settled
        })?;
        self.finish(transactional_id, settled).await
    }

    /// AddPartitionsToTxn, also for what a client of version 2 adds by producing to it: returns
    /// when the partitions are durably part of the transaction.
    ///
    /// # Errors
    /// INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS,
    /// COORDINATOR_NOT_AVAILABLE when the log does not take it.
    pub async fn add_partitions(
        self: &Arc<Self>,
        transactional_id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        version: ClientVersion,
    ) -> Result<(), ErrorCode> {
        check_id(transactional_id)?;
        let now_ms = self.clock.now_ms();
        let settled = self
            .with_slot(transactional_id, |slot, inner| {
                let effects = inner
                    .transaction
                    .handle_add(now_ms, producer, partitions, version);
                self.settle(slot, inner, effects, now_ms)
            })
            .ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        self.finish(transactional_id, settled).await
    }

    /// AddOffsetsToTxn: adds the partition of `__consumer_offsets` that holds the group.
    ///
    /// # Errors
    /// As [`Self::add_partitions`].
    pub async fn add_offsets(
        self: &Arc<Self>,
        transactional_id: &str,
        producer: Producer,
        group_id: &str,
        version: ClientVersion,
    ) -> Result<(), ErrorCode> {
        let partition = self.offsets_partition(group_id);
        self.add_partitions(transactional_id, producer, &[partition], version)
            .await
    }

    /// The partition that a group's offsets are in, as part of a transaction.
    #[must_use]
    pub fn offsets_partition(&self, group_id: &str) -> TopicPartition {
        let index = self.groups.offsets_partition(group_id);
        (OFFSETS_TOPIC.to_owned(), index)
    }

    /// Whether the producer may write to the partition as part of its open transaction. Short lock;
    /// to be asked under the lock of the partition.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE.
    pub fn check_partition(
        &self,
        transactional_id: &str,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<(), ErrorCode> {
        self.with_slot(transactional_id, |_, inner| {
            inner.transaction.check_partition(producer, partition)
        })
        .unwrap_or(Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING))
    }

    /// EndTxn: returns when the transaction is complete, with who the producer is from now on.
    ///
    /// # Errors
    /// INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, INVALID_TXN_STATE,
    /// CONCURRENT_TRANSACTIONS, COORDINATOR_NOT_AVAILABLE when the log does not take the decision.
    pub async fn end(
        self: &Arc<Self>,
        transactional_id: &str,
        producer: Producer,
        result: TransactionResult,
        version: ClientVersion,
    ) -> Result<Producer, ErrorCode> {
        check_id(transactional_id)?;
        let fresh = match version {
            ClientVersion::One => None,
            ClientVersion::Two => self.fresh_producer_id(transactional_id).await?,
        };
        let now_ms = self.clock.now_ms();
        let settled = self
            .with_slot(transactional_id, |slot, inner| {
                let effects = inner
                    .transaction
                    .handle_end(now_ms, producer, result, version, fresh);
                self.settle(slot, inner, effects, now_ms)
            })
            .ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        self.finish(transactional_id, settled).await
    }

    /// One transactional id; `None` when there is none of that name.
    #[must_use]
    pub fn describe(&self, transactional_id: &str) -> Option<TransactionMetadata> {
        self.with_slot(transactional_id, |_, inner| {
            inner.transaction.metadata().cloned()
        })
        .flatten()
    }

    /// All transactional ids, sorted.
    #[must_use]
    pub fn list(&self) -> Vec<(String, TransactionMetadata)> {
        let slots = self.slots();
        let mut listed: Vec<(String, TransactionMetadata)> = slots
            .iter()
            .filter_map(|slot| {
                let inner = slot.inner.lock();
                let metadata = inner.transaction.metadata().cloned();
                metadata
                    .filter(|_| !inner.removed)
                    .map(|metadata| (slot.id.to_string(), metadata))
            })
            .collect();
        listed.sort_by(|left, right| left.0.cmp(&right.0));
        listed
    }

    /// Forgets ids that nobody has used for `transactional.id.expiration.ms`.
    pub fn expire(&self) {
        let now_ms = self.clock.now_ms();
        for slot in self.slots() {
            let mut inner = slot.inner.lock();
            let expired = inner
                .transaction
                .is_expired(now_ms, self.config.id_expiration_ms);
            if inner.removed || inner.completing || !expired {
                continue;
            }
            let tombstone = vec![(record::encode_key(&slot.id), None)];
            let index = self.log.index_of(&slot.id);
            match self.log.append(index, tombstone, None, now_ms) {
                Ok(_) => self.take_out(&slot, &mut inner),
                Err(error) => {
                    tracing::warn!(transactional_id = %slot.id, %error, "expiry could not be written");
                }
            }
        }
    }

    /// Rewrites the partitions of `__transaction_state` that grew too far.
    async fn bound_log(&self) {
        for index in 0..self.log.partitions_count() {
            if self.log.needs_rewrite(index)
                && let Err(text) = self.rewrite(index).await
            {
                tracing::warn!(
                    partition = index,
                    "{TRANSACTIONS_TOPIC} could not be rewritten: {text}"
                );
            }
        }
    }

    async fn rewrite(&self, index: usize) -> Result<(), String> {
        let now_ms = self.clock.now_ms();
        let write = || {
            let mut last = None;
            for slot in self.slots() {
                if self.log.index_of(&slot.id) != index {
                    continue;
                }
                // Under its lock no change of the id comes between reading and writing it.
                let mut inner = slot.inner.lock();
                if let Some(metadata) = inner.transaction.metadata()
                    && !inner.removed
                {
                    let written = self.write(&slot.id, metadata, now_ms)?;
                    inner.written = written;
                    last = written;
                }
            }
            Ok(last)
        };
        self.log.rewrite(index, write).await
    }

    /// A producer id for a transactional id that may need one.
    async fn fresh_producer_id(&self, id: &str) -> Result<Option<ProducerId>, ErrorCode> {
        let needed = self
            .with_slot(id, |_, inner| inner.transaction.may_need_producer_id())
            .unwrap_or(true);
        if !needed {
            return Ok(None);
        }
        let producer_ids = Arc::clone(&self.producer_ids);
        let allotted = tokio::task::spawn_blocking(move || producer_ids.allot()).await;
        let reason = match allotted {
            Ok(Ok(fresh)) => return Ok(Some(fresh)),
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        tracing::error!(reason, "no producer id could be allotted");
        Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }

    /// Writes and applies what a step of the state machine asks for.
    fn settle<R>(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        effects: Effects<R>,
        now_ms: i64,
    ) -> Settled<R> {
        let mut reply = effects.reply;
        let mut decided = false;
        if let Some(record) = effects.record {
            match self.write(&slot.id, &record, now_ms) {
                Ok(written) => {
                    inner.written = written;
                    decided = record.state.is_prepared();
                    inner.transaction.apply(record);
                    self.schedule(&slot.id, inner);
                }
                Err(error) => {
                    tracing::warn!(transactional_id = %slot.id, %error,
                        "transaction state could not be written");
                    reply = Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
                }
            }
        }
        Settled {
            reply,
            written: inner.written,
            decided,
        }
    }

    /// Completes what was decided, and waits until the reply is true for good.
    async fn finish<R>(
        self: &Arc<Self>,
        transactional_id: &str,
        settled: Settled<R>,
    ) -> Result<R, ErrorCode> {
        if settled.decided {
            self.complete(transactional_id).await;
        }
        let index = self.log.index_of(transactional_id);
        self.log
            .durable(index, settled.written)
            .await
            .map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        settled.reply
    }

    fn write(
        &self,
        id: &str,
        metadata: &TransactionMetadata,
        now_ms: i64,
    ) -> Result<Option<Offset>, AppendError> {
        let record = (record::encode_key(id), Some(record::encode_value(metadata)));
        let index = self.log.index_of(id);
        self.log.append(index, vec![record], None, now_ms)
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.read().values().cloned().collect()
    }

    /// Calls `f` with the id locked; `None` when there is no such id.
    fn with_slot<T>(&self, id: &str, f: impl FnOnce(&Slot, &mut Inner) -> T) -> Option<T> {
        loop {
            let slot = self.slots.read().get(id).cloned()?;
            let mut inner = slot.inner.lock();
            if !inner.removed {
                return Some(f(&slot, &mut inner));
            }
        }
    }

    /// As [`Self::with_slot`], with a new id when there is none.
    fn with_new_slot<T>(
        &self,
        id: &str,
        f: impl FnOnce(&Slot, &mut Inner) -> T,
    ) -> Result<T, ErrorCode> {
        loop {
            let existing = self.slots.read().get(id).cloned();
            let slot = match existing {
                Some(slot) => slot,
                None => {
                    let id: Arc<str> = Arc::from(id);
                    let mut slots = self.slots.write();
                    if slots.len() >= TRANSACTIONAL_IDS_MAX && !slots.contains_key(&id) {
                        tracing::warn!(max = TRANSACTIONAL_IDS_MAX, "too many transactional ids");
                        return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
                    }
                    let slot = slots.entry(Arc::clone(&id)).or_insert_with(|| {
                        let inner = Mutex::default();
                        Arc::new(Slot { id, inner })
                    });
                    Arc::clone(slot)
                }
            };
            let mut inner = slot.inner.lock();
            if !inner.removed {
                return Ok(f(&slot, &mut inner));
            }
        }
    }

    fn forget_if_vacant(&self, slot: &Slot, inner: &mut Inner) {
        if inner.transaction.metadata().is_none() {
            self.take_out(slot, inner);
        }
    }

    fn take_out(&self, slot: &Slot, inner: &mut Inner) {
        inner.removed = true;
        self.slots.write().remove(&slot.id);
    }

    fn schedule(&self, id: &Arc<str>, inner: &mut Inner) {
        if let Some(due_ms) = inner.transaction.deadline_ms() {
            self.schedule_at(id, inner, due_ms);
        }
    }

    fn schedule_at(&self, id: &Arc<str>, inner: &mut Inner, due_ms: i64) {
        self.timers.schedule(id, &mut inner.scheduled_ms, due_ms);
    }
}

/// Whether there may be such an id at all.
fn check_id(transactional_id: &str) -> Result<(), ErrorCode> {
    if transactional_id.is_empty() || transactional_id.len() > STRING_BYTES_MAX {
        Err(ErrorCode::INVALID_REQUEST)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
