//! The group coordinator: locks a group's state machine for a moment, writes what it asks to be
//! written, and delivers the answers that became due.
//!
//! Every answer carries the offset of the group's last record in `__consumer_offsets`; who waits for
//! the answer also waits until that record is durable. So nothing is told to a client that a crash
//! could take back, and a delivery needs no task of its own. Timers are worked off by
//! [`GroupCoordinator::run`].
//!
//! Lock order: a group, then the map of groups or the timers. Next: `classic.rs` and `consumer.rs`
//! (members), `offsets.rs` (commits), `configs.rs`, `admin.rs`, `storage.rs` (the log).

mod admin;
mod classic;
mod configs;
mod consumer;
mod offsets;
mod storage;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::admin::{GroupDescription, GroupSummary};
pub use self::consumer::ConsumerGroupDescription;
pub use self::offsets::{Committer, OffsetReader, TopicOffsets};
use self::storage::{OffsetsLog, Records};
use super::GroupConfig;
use super::classic::{ClassicConfig, ClassicGroup, Effects, Reply, RequestToken};
use super::consumer::{Changes, ConsumerGroup};
use super::group::Group;
use super::offsets::GroupOffsets;
use super::overrides::GroupOverrides;
use super::record::GroupMetadata;
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::ids::{Offset, ProducerId};
use crate::timers::Timers;
use crate::topics::Topics;

/// `offsets.retention.check.interval.ms`.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(10);
/// How often the growth of `__consumer_offsets` is looked at.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(30);

/// All groups of the broker.
#[derive(Debug)]
pub struct GroupCoordinator {
    config: GroupConfig,
    clock: Clock,
    log: OffsetsLog,
    topics: Arc<Topics>,
    groups: RwLock<HashMap<Arc<str>, Arc<Slot>>>,
    timers: Timers,
    /// Groups with settings of their own.
    overrides: ArcSwap<BTreeMap<String, GroupOverrides>>,
    /// Held while these change.
    changing_configs: Mutex<()>,
    /// Set at shutdown: nobody waits any more.
    closed: AtomicBool,
    /// Held while a transaction ends: from its marker in the log to its commits in the groups.
    ending: Mutex<()>,
    /// Groups with commits of a producer's open transaction.
    pending: Mutex<HashMap<ProducerId, BTreeSet<String>>>,
}

#[derive(Debug)]
struct Slot {
    id: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    group: Group,
    offsets: GroupOffsets,
    /// What the log says of a classic group; differs from `group` during a rebalance.
    stored: Option<GroupMetadata>,
    waiting: HashMap<RequestToken, oneshot::Sender<Answer>>,
    next_token: u64,
    /// Offset of the group's last record written by this process.
    written: Option<Offset>,
    /// The time the heap has for this group.
    scheduled_ms: Option<i64>,
    /// No longer in the map: look the group up again.
    removed: bool,
}

#[derive(Debug)]
struct Answer {
    reply: Reply,
    /// The answer may be sent once this is durable.
    depends_on: Option<Offset>,
}

impl GroupCoordinator {
    /// Creates the internal topic `__consumer_offsets` if missing and replays it. Blocks on disk.
    ///
    /// # Errors
    /// When the topic can be neither found nor created, or not be read.
    pub fn open(
        topics: Arc<Topics>,
        config: GroupConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, String> {
        let log = OffsetsLog::open(&topics)?;
        let replay = log.replay()?;
        let now_ms = clock.now_ms();
        let coordinator = Self {
            config,
            clock,
            log,
            topics,
            groups: RwLock::new(HashMap::with_capacity(replay.groups.len())),
            timers: Timers::default(),
            overrides: ArcSwap::default(),
            changing_configs: Mutex::new(()),
            closed: AtomicBool::new(false),
            ending: Mutex::new(()),
            pending: Mutex::new(replay.pending),
        };
        coordinator.load_configs();
        for (id, replayed) in replay.groups {
            let id: Arc<str> = Arc::from(id);
            let stored = replayed.metadata.clone();
            let (group, offsets) = replayed.restore(
                now_ms,
                coordinator.topics.as_ref(),
                coordinator.classic_config(),
                &coordinator.consumer_config(&id),
            );
            let mut inner = Inner::new(group, offsets, stored);
            coordinator.schedule(&id, &mut inner);
            let slot = Slot {
                id: Arc::clone(&id),
                inner: Mutex::new(inner),
            };
            coordinator.groups.write().insert(id, Arc::new(slot));
        }
        Ok(Arc::new(coordinator))
    }

    /// Runs the timers until shutdown (spawned by the broker), then answers all who still wait.
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
            self.tick();
        }
        self.close();
    }

    /// Does everything due by now; [`Self::run`] calls it.
    pub fn tick(&self) {
        let now_ms = self.clock.now_ms();
        while let Some((at_ms, id)) = self.timers.pop_due(now_ms) {
            self.with_group(&id, |slot, inner| {
                if inner.scheduled_ms != Some(at_ms) {
                    return;
                }
                inner.scheduled_ms = None;
                match &mut inner.group {
                    Group::Classic(group) => {
                        let effects = group.handle_timeout(now_ms);
                        self.settle(slot, inner, effects, now_ms);
                    }
                    Group::Consumer(_) => self.consumer_timeout(slot, inner, now_ms),
                }
            });
        }
    }

    const fn classic_config(&self) -> ClassicConfig {
        ClassicConfig {
            initial_rebalance_delay_ms: self.config.initial_rebalance_delay_ms,
            size_max: self.config.group_size_max,
        }
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.groups.read().values().cloned().collect()
    }

    /// Calls `f` with the group locked; `None` when there is no such group.
    fn with_group<T>(&self, group_id: &str, f: impl FnOnce(&Slot, &mut Inner) -> T) -> Option<T> {
        loop {
            let slot = self.groups.read().get(group_id).cloned()?;
            let mut inner = slot.inner.lock();
            if !inner.removed {
                return Some(f(&slot, &mut inner));
            }
        }
    }

    /// As [`Self::with_group`], with a new group when there is none.
    fn with_new_group<T>(&self, group_id: &str, f: impl FnOnce(&Slot, &mut Inner) -> T) -> T {
        loop {
            let existing = self.groups.read().get(group_id).cloned();
            let slot = existing.unwrap_or_else(|| {
                let id: Arc<str> = Arc::from(group_id);
                let mut groups = self.groups.write();
                let slot = groups.entry(Arc::clone(&id)).or_insert_with(|| {
                    let group = ClassicGroup::new(self.classic_config(), self.clock.now_ms());
                    let group = Group::Classic(group);
                    let inner = Inner::new(group, GroupOffsets::default(), None);
                    Arc::new(Slot {
                        id,
                        inner: Mutex::new(inner),
                    })
                });
                Arc::clone(slot)
            });
            let mut inner = slot.inner.lock();
            if !inner.removed {
                return f(&slot, &mut inner);
            }
        }
    }

    /// Writes, delivers and schedules what a step of the state machine asks for.
    fn settle(&self, slot: &Slot, inner: &mut Inner, mut effects: Effects, now_ms: i64) {
        if let Some(metadata) = effects.record.take() {
            let mut records = Records::new(&slot.id);
            let written = records
                .metadata(Some(&metadata))
                .and_then(|()| self.append(inner, records, now_ms));
            match written {
                Ok(()) => inner.stored = Some(metadata),
                Err(error) => {
                    tracing::warn!(group = %slot.id, error = error.name(),
                        "group metadata could not be written");
                    if let Group::Classic(group) = &mut inner.group {
                        group.handle_write_failure(now_ms, &mut effects);
                    }
                }
            }
        }
        for (token, reply) in effects.replies {
            if let Some(sender) = inner.waiting.remove(&token) {
                let answer = Answer {
                    reply,
                    depends_on: inner.written,
                };
                // Nobody there: the client hung up, and its session will end.
                drop(sender.send(answer));
            }
        }
        self.schedule(&slot.id, inner);
        self.forget_if_vacant(slot, inner);
    }

    fn append(&self, inner: &mut Inner, records: Records, now_ms: i64) -> Result<(), ErrorCode> {
        if let Some(last) = self.log.append(records, None, now_ms)? {
            inner.written = Some(last);
        }
        Ok(())
    }

    /// A group that stored nothing and has nobody leaves no trace.
    fn forget_if_vacant(&self, slot: &Slot, inner: &mut Inner) {
        let stored = match &inner.group {
            Group::Classic(_) => inner.stored.is_some(),
            Group::Consumer(group) => group.exists(),
        };
        let vacant = !stored && inner.offsets.is_empty() && inner.group.is_empty();
        if vacant && !inner.removed {
            self.take_out(slot, inner);
        }
    }

    fn take_out(&self, slot: &Slot, inner: &mut Inner) {
        inner.removed = true;
        self.groups.write().remove(&slot.id);
    }

    fn schedule(&self, id: &Arc<str>, inner: &mut Inner) {
        let Some(due_ms) = inner.group.next_deadline_ms() else {
            return;
        };
        self.timers.schedule(id, &mut inner.scheduled_ms, due_ms);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for slot in self.slots() {
            slot.inner.lock().waiting.clear();
        }
    }
}

impl Inner {
    fn new(group: Group, offsets: GroupOffsets, stored: Option<GroupMetadata>) -> Self {
        Self {
            group,
            offsets,
            stored,
            waiting: HashMap::new(),
            next_token: 0,
            written: None,
            scheduled_ms: None,
            removed: false,
        }
    }
}
