//! The group coordinator: locks a group's state machine for a moment, writes what it asks to be
//! written, and delivers the answers that became due.
//!
//! Every answer carries the offset of the group's last record in `__consumer_offsets`; who waits for
//! the answer also waits until that record is durable. So nothing is told to a client that a crash
//! could take back, and a delivery needs no task of its own. Timers are a heap of (time, group)
//! worked off by [`GroupCoordinator::run`].
//!
//! Lock order: a group, then the map of groups or the heap. Next: `storage.rs`.

mod storage;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use self::storage::{OffsetsLog, Records};
use super::GroupConfig;
use super::classic::{
    ClassicConfig, ClassicGroup, Effects, GroupState, JoinReply, JoinRequest, MemberDescription,
    Reply, RequestToken, SyncReply, SyncRequest,
};
use super::offsets::{CommittedOffset, GroupOffsets, TopicPartition};
use super::record::{GroupMetadata, STRING_BYTES_MAX};
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::partition::AppendError;
use crate::records::TransactionResult;
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
    groups: RwLock<HashMap<Arc<str>, Arc<Slot>>>,
    timers: Mutex<BinaryHeap<Reverse<Timer>>>,
    timers_changed: Notify,
    /// Set at shutdown: nobody waits any more.
    closed: AtomicBool,
    /// Held while a transaction ends: from its marker in the log to its commits in the groups.
    ending: Mutex<()>,
    /// Groups with commits of a producer's open transaction.
    pending: Mutex<HashMap<ProducerId, BTreeSet<String>>>,
}

/// One group as ListGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// Group id.
    pub id: String,
    /// Empty for a simple group.
    pub protocol_type: String,
    /// Where it is in its life.
    pub state: GroupState,
}

/// One group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Where it is in its life.
    pub state: GroupState,
    /// Empty for a simple group.
    pub protocol_type: String,
    /// The chosen strategy; empty unless the group is stable.
    pub protocol_name: String,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// Who commits offsets.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    /// Empty for a simple consumer.
    pub member_id: &'a str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// -1 for a simple consumer.
    pub generation: i32,
}

/// Commits of a topic's partitions as found; `None` where nothing is committed, and
/// UNSTABLE_OFFSET_COMMIT where an open transaction has a commit and the client would not have what
/// was committed before it.
pub type TopicOffsets = (
    String,
    Vec<(i32, Result<Option<CommittedOffset>, ErrorCode>)>,
);

/// When which group wants to be called.
type Timer = (i64, Arc<str>);

#[derive(Debug)]
struct Slot {
    id: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    group: ClassicGroup,
    offsets: GroupOffsets,
    /// What the log says of the group; differs from `group` during a rebalance.
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
            groups: RwLock::new(HashMap::with_capacity(replay.groups.len())),
            timers: Mutex::new(BinaryHeap::new()),
            timers_changed: Notify::new(),
            closed: AtomicBool::new(false),
            ending: Mutex::new(()),
            pending: Mutex::new(replay.pending),
        };
        for (id, replayed) in replay.groups {
            let id: Arc<str> = Arc::from(id);
            let stored = replayed.metadata.clone();
            let (group, offsets) = replayed.restore(coordinator.classic_config(), now_ms);
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

    /// Removes commits of topics that are gone: the process may have died between the deletion of
    /// a topic and that of its offsets.
    pub fn forget_orphaned_offsets(&self, topics: &Topics) {
        let mut orphaned = BTreeSet::new();
        for slot in self.slots() {
            let inner = slot.inner.lock();
            let committed = inner.offsets.topics().map(|(topic, _)| topic);
            orphaned.extend(
                committed
                    .filter(|topic| topics.get(topic).is_none())
                    .map(ToOwned::to_owned),
            );
        }
        for topic in &orphaned {
            tracing::info!(
                topic = topic.as_str(),
                "forgetting the offsets of a deleted topic"
            );
            self.topic_deleted(topic);
        }
    }

    /// Runs the timers until shutdown (spawned by the broker), then answers all who still wait.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
        let mut snapshot = tokio::time::interval(SNAPSHOT_INTERVAL);
        loop {
            let sleep = self.until_next_timer();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.timers_changed.notified() => {}
                () = tokio::time::sleep(sleep) => {}
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
        loop {
            let due = {
                let mut timers = self.timers.lock();
                match timers.peek() {
                    Some(Reverse((at_ms, _))) if *at_ms <= now_ms => timers.pop(),
                    Some(_) | None => None,
                }
            };
            let Some(Reverse((at_ms, id))) = due else {
                return;
            };
            self.with_group(&id, |slot, inner| {
                if inner.scheduled_ms != Some(at_ms) {
                    return;
                }
                inner.scheduled_ms = None;
                let effects = inner.group.handle_timeout(now_ms);
                self.settle(slot, inner, effects, now_ms);
            });
        }
    }

    /// JoinGroup: returns when the rebalance is complete.
    pub async fn join(&self, group_id: &str, request: JoinRequest) -> JoinReply {
        let member_id = request.member_id.clone();
        if let Err(error) = self.check_join(&request) {
            return JoinReply::error(error, &member_id);
        }
        let now_ms = self.clock.now_ms();
        let join = |slot: &Slot, inner: &mut Inner| {
            let (token, receiver) = self.wait(inner);
            let effects = inner.group.handle_join(now_ms, token, request);
            self.settle(slot, inner, effects, now_ms);
            receiver
        };
        // A member that has an id has it from a group that is no longer there.
        let receiver = if member_id.is_empty() {
            Some(self.with_new_group(group_id, join))
        } else {
            self.with_group(group_id, join)
        };
        let Some(receiver) = receiver else {
            return JoinReply::error(ErrorCode::UNKNOWN_MEMBER_ID, &member_id);
        };
        match self.answer(group_id, receiver).await {
            Ok(Reply::Join(reply)) => reply,
            Ok(Reply::Sync(_)) => JoinReply::error(ErrorCode::UNKNOWN_SERVER_ERROR, &member_id),
            Err(error) => JoinReply::error(error, &member_id),
        }
    }

    /// SyncGroup: returns when the leader's assignment is there and durable.
    pub async fn sync(&self, group_id: &str, request: SyncRequest) -> SyncReply {
        let now_ms = self.clock.now_ms();
        let receiver = self.with_group(group_id, |slot, inner| {
            let (token, receiver) = self.wait(inner);
            let effects = inner.group.handle_sync(now_ms, token, request);
            self.settle(slot, inner, effects, now_ms);
            receiver
        });
        let Some(receiver) = receiver else {
            return SyncReply::error(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        match self.answer(group_id, receiver).await {
            Ok(Reply::Sync(reply)) => reply,
            Ok(Reply::Join(_)) => SyncReply::error(ErrorCode::UNKNOWN_SERVER_ERROR),
            Err(error) => SyncReply::error(error),
        }
    }

    /// Heartbeat.
    #[must_use]
    pub fn heartbeat(
        &self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        let now_ms = self.clock.now_ms();
        // Only moves deadlines back: the heap's time stays good.
        self.with_group(group_id, |_, inner| {
            inner
                .group
                .handle_heartbeat(now_ms, member_id, instance_id, generation)
        })
        .unwrap_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// LeaveGroup of (member id, instance id) pairs: one error each.
    pub async fn leave(&self, group_id: &str, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let now_ms = self.clock.now_ms();
        let left = self.with_group(group_id, |slot, inner| {
            let mut effects = Effects::default();
            let errors: Vec<ErrorCode> = members
                .iter()
                .map(|(member_id, instance_id)| {
                    inner
                        .group
                        .handle_leave(now_ms, member_id, *instance_id, &mut effects)
                })
                .collect();
            self.settle(slot, inner, effects, now_ms);
            (errors, inner.written)
        });
        match left {
            None => vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()],
            Some((errors, written)) => match self.log.durable(group_id, written).await {
                Ok(()) => errors,
                Err(error) => vec![error; members.len()],
            },
        }
    }

    /// OffsetCommit: returns when the commits are durable.
    ///
    /// # Errors
    /// A fence (UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS),
    /// INVALID_COMMIT_OFFSET_SIZE or COORDINATOR_NOT_AVAILABLE when the log does not take them.
    pub async fn commit(
        &self,
        group_id: &str,
        committer: Committer<'_>,
        commits: Vec<(TopicPartition, CommittedOffset)>,
    ) -> Result<(), ErrorCode> {
        let now_ms = self.clock.now_ms();
        let commit = |_: &Slot, inner: &mut Inner| {
            inner.group.check_commit(
                now_ms,
                committer.member_id,
                committer.instance_id,
                committer.generation,
            )?;
            let mut records = Records::new(group_id);
            for ((topic, partition), offset) in &commits {
                records.offset(topic, *partition, Some(offset))?;
            }
            self.append(inner, records, now_ms)?;
            for ((topic, partition), offset) in commits {
                inner.offsets.set(&topic, partition, offset);
            }
            Ok(inner.written)
        };
        let written = if committer.generation < 0 {
            self.with_new_group(group_id, |slot, inner| {
                let result = commit(slot, inner);
                self.forget_if_vacant(slot, inner);
                result
            })
        } else {
            self.with_group(group_id, commit)
                .unwrap_or(Err(ErrorCode::ILLEGAL_GENERATION))
        }?;
        self.log.durable(group_id, written).await
    }

    /// TxnOffsetCommit: returns when the commits are durable; they count once the producer's
    /// transaction is committed. `in_transaction` is asked under the group's lock whether that is
    /// still open.
    ///
    /// # Errors
    /// What `in_transaction` says; a fence of the group (UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
    /// ILLEGAL_GENERATION) or of the producer (INVALID_PRODUCER_EPOCH); INVALID_COMMIT_OFFSET_SIZE or
    /// COORDINATOR_NOT_AVAILABLE when the log does not take them.
    pub async fn commit_in_transaction(
        &self,
        group_id: &str,
        committer: Committer<'_>,
        producer: (ProducerId, ProducerEpoch),
        commits: Vec<(TopicPartition, CommittedOffset)>,
        in_transaction: &(dyn Fn() -> Result<(), ErrorCode> + Send + Sync),
    ) -> Result<(), ErrorCode> {
        let now_ms = self.clock.now_ms();
        let commit = |_: &Slot, inner: &mut Inner| {
            inner.group.check_transactional_commit(
                now_ms,
                committer.member_id,
                committer.instance_id,
                committer.generation,
            )?;
            in_transaction()?;
            let mut records = Records::new(group_id);
            for ((topic, partition), offset) in &commits {
                records.offset(topic, *partition, Some(offset))?;
            }
            if let Some(last) = self.log.append(records, Some(producer), now_ms)? {
                inner.written = Some(last);
            }
            for (partition, offset) in commits {
                inner.offsets.set_pending(producer, partition, offset);
            }
            let mut pending = self.pending.lock();
            let groups = pending.entry(producer.0).or_default();
            groups.insert(group_id.to_owned());
            Ok(inner.written)
        };
        let written = if committer.generation < 0 {
            self.with_new_group(group_id, |slot, inner| {
                let result = commit(slot, inner);
                self.forget_if_vacant(slot, inner);
                result
            })
        } else {
            self.with_group(group_id, commit)
                .unwrap_or(Err(ErrorCode::ILLEGAL_GENERATION))
        }?;
        self.log.durable(group_id, written).await
    }

    /// The partition of `__consumer_offsets` that holds the group.
    #[must_use]
    pub fn offsets_partition(&self, group_id: &str) -> i32 {
        i32::try_from(self.log.index_of(group_id)).unwrap_or(0)
    }

    /// Ends a producer's transaction in a partition of `__consumer_offsets`: its commits there
    /// count from now on, or are gone. Answers the offset of the marker.
    ///
    /// # Errors
    /// Those of the log.
    pub fn end_transaction(
        &self,
        partition: i32,
        producer: (ProducerId, ProducerEpoch),
        result: TransactionResult,
    ) -> Result<Offset, AppendError> {
        let _no_rewrite_between = self.ending.lock();
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let now_ms = self.clock.now_ms();
        let marker = self.log.append_marker(index, producer, result, now_ms)?;
        let groups = self.pending.lock().remove(&producer.0).unwrap_or_default();
        let mut others = BTreeSet::new();
        for group_id in groups {
            if self.log.index_of(&group_id) != index {
                others.insert(group_id);
                continue;
            }
            self.with_group(&group_id, |slot, inner| {
                inner.offsets.end_transaction(producer.0, result);
                self.forget_if_vacant(slot, inner);
            });
        }
        if !others.is_empty() {
            self.pending.lock().insert(producer.0, others);
        }
        Ok(marker)
    }

    /// The commits of the partitions asked for, or of all that have one. Nothing is invented for a
    /// group that does not exist: all its partitions are without a commit. With `require_stable` a
    /// partition that an open transaction commits for is UNSTABLE_OFFSET_COMMIT (KIP-447).
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when the last commit cannot become durable.
    pub async fn fetch_offsets(
        &self,
        group_id: &str,
        wanted: Option<&[(String, Vec<i32>)]>,
        require_stable: bool,
    ) -> Result<Vec<TopicOffsets>, ErrorCode> {
        let found = self.with_group(group_id, |_, inner| {
            let all = || {
                let topics = inner.offsets.topics();
                let topics = topics.map(|(topic, partitions)| {
                    (topic.to_owned(), partitions.keys().copied().collect())
                });
                topics.collect::<Vec<(String, Vec<i32>)>>()
            };
            let offsets = match wanted {
                Some(wanted) => pick(&inner.offsets, wanted, require_stable),
                None => pick(&inner.offsets, &all(), require_stable),
            };
            (offsets, inner.written)
        });
        match found {
            None => {
                let wanted = wanted.unwrap_or_default();
                Ok(pick(&GroupOffsets::default(), wanted, require_stable))
            }
            Some((offsets, written)) => {
                self.log.durable(group_id, written).await?;
                Ok(offsets)
            }
        }
    }

    /// All groups, sorted by id.
    #[must_use]
    pub fn list(&self) -> Vec<GroupSummary> {
        let mut groups: Vec<GroupSummary> = self
            .slots()
            .iter()
            .filter_map(|slot| {
                let inner = slot.inner.lock();
                (!inner.removed).then(|| GroupSummary {
                    id: slot.id.to_string(),
                    protocol_type: inner.group.protocol_type().unwrap_or_default().to_owned(),
                    state: inner.group.state(),
                })
            })
            .collect();
        groups.sort_by(|left, right| left.id.cmp(&right.id));
        groups
    }

    /// One group; `None` when there is none of that id.
    #[must_use]
    pub fn describe(&self, group_id: &str) -> Option<GroupDescription> {
        self.with_group(group_id, |_, inner| {
            let group = &inner.group;
            let protocol_name = match group.state() {
                GroupState::Stable => group.protocol_name().unwrap_or_default(),
                GroupState::Empty
                | GroupState::PreparingRebalance
                | GroupState::CompletingRebalance
                | GroupState::Dead => "",
            };
            GroupDescription {
                state: group.state(),
                protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
                protocol_name: protocol_name.to_owned(),
                members: group.describe_members(),
            }
        })
    }

    /// DeleteGroups of one group: NONE, GROUP_ID_NOT_FOUND or NON_EMPTY_GROUP.
    pub async fn delete(&self, group_id: &str) -> ErrorCode {
        let now_ms = self.clock.now_ms();
        let deleted = self.with_group(group_id, |slot, inner| {
            if inner.group.has_members() || inner.group.state() != GroupState::Empty {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            self.remove_group(slot, inner, now_ms)
        });
        let result = match deleted {
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(Err(error)) => Err(error),
            Some(Ok(written)) => self.log.durable(group_id, written).await,
        };
        result.err().unwrap_or(ErrorCode::NONE)
    }

    /// OffsetDelete (KIP-496): one error per partition.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND; NON_EMPTY_GROUP for a group in use whose subscriptions are unknown.
    pub async fn delete_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let now_ms = self.clock.now_ms();
        let deleted = self.with_group(group_id, |slot, inner| {
            let used = inner.group.state() != GroupState::Empty;
            if used && !inner.group.is_consumer_group() {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            let (errors, free): (Vec<ErrorCode>, Vec<Option<&TopicPartition>>) = partitions
                .iter()
                .map(|partition| {
                    // An unreadable subscription may name any topic.
                    if used && inner.group.subscribes_to(&partition.0) != Some(false) {
                        (ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, None)
                    } else {
                        (ErrorCode::NONE, Some(partition))
                    }
                })
                .unzip();
            let free: Vec<TopicPartition> = free.into_iter().flatten().cloned().collect();
            self.remove_offsets(slot, inner, &free, now_ms)?;
            Ok((errors, inner.written))
        });
        let (errors, written) = deleted.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)??;
        self.log.durable(group_id, written).await?;
        Ok(errors)
    }

    /// Forgets all commits for a topic that was deleted, so that a new one of that name starts fresh.
    pub fn topic_deleted(&self, topic: &str) {
        let now_ms = self.clock.now_ms();
        for slot in self.slots() {
            let mut inner = slot.inner.lock();
            let partitions = inner.offsets.partitions_of(topic);
            if inner.removed || partitions.is_empty() {
                continue;
            }
            if let Err(error) = self.remove_offsets(&slot, &mut inner, &partitions, now_ms) {
                tracing::warn!(group = %slot.id, topic, error = error.name(),
                    "offsets of a deleted topic stay");
            }
        }
    }

    /// Deletes offsets whose retention is over, and groups with nothing left.
    pub fn expire(&self) {
        let now_ms = self.clock.now_ms();
        let retention_ms = i64::from(self.config.offsets_retention_minutes).saturating_mul(60_000);
        for slot in self.slots() {
            let mut inner = slot.inner.lock();
            if inner.removed {
                continue;
            }
            let expired = inner.offsets.expired(&inner.group, retention_ms, now_ms);
            let result = self.remove_offsets(&slot, &mut inner, &expired, now_ms);
            let result = result.and_then(|()| {
                let over = inner.group.state() == GroupState::Empty
                    && !inner.group.has_members()
                    && inner.offsets.is_empty()
                    && !inner.removed;
                if over {
                    self.remove_group(&slot, &mut inner, now_ms)?;
                }
                Ok(())
            });
            if let Err(error) = result {
                tracing::warn!(group = %slot.id, error = error.name(), "expiry could not be written");
            }
        }
    }

    const fn classic_config(&self) -> ClassicConfig {
        ClassicConfig {
            initial_rebalance_delay_ms: self.config.initial_rebalance_delay_ms,
            size_max: self.config.group_size_max,
        }
    }

    fn check_join(&self, request: &JoinRequest) -> Result<(), ErrorCode> {
        let timeouts = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        if !timeouts.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        let names = request.protocols.iter().map(|protocol| &protocol.name);
        let storable = names
            .chain([&request.protocol_type, &request.client_id])
            .chain(&request.instance_id)
            .all(|text| text.len() <= STRING_BYTES_MAX)
            && request.fresh_member_id.len() <= STRING_BYTES_MAX;
        if storable {
            Ok(())
        } else {
            Err(ErrorCode::INVALID_REQUEST)
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

    fn wait(&self, inner: &mut Inner) -> (RequestToken, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let token = RequestToken(inner.next_token);
        inner.next_token += 1;
        // After the shutdown the sender is dropped at once, which the receiver understands.
        if !self.closed.load(Ordering::Acquire) {
            inner.waiting.insert(token, sender);
        }
        (token, receiver)
    }

    async fn answer(
        &self,
        group_id: &str,
        receiver: oneshot::Receiver<Answer>,
    ) -> Result<Reply, ErrorCode> {
        let answer = receiver
            .await
            .map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        self.log.durable(group_id, answer.depends_on).await?;
        Ok(answer.reply)
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
                    inner.group.handle_write_failure(now_ms, &mut effects);
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

    fn remove_offsets(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        partitions: &[TopicPartition],
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let mut records = Records::new(&slot.id);
        for (topic, partition) in partitions {
            let offsets = &inner.offsets;
            if offsets.get(topic, *partition).is_some() || offsets.is_unstable(topic, *partition) {
                records.offset(topic, *partition, None)?;
            }
        }
        self.append(inner, records, now_ms)?;
        for (topic, partition) in partitions {
            inner.offsets.remove(topic, *partition);
        }
        self.forget_if_vacant(slot, inner);
        Ok(())
    }

    /// Writes tombstones for everything and takes the group out of the map.
    fn remove_group(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        now_ms: i64,
    ) -> Result<Option<Offset>, ErrorCode> {
        let mut records = Records::new(&slot.id);
        for (topic, partition) in inner.offsets.all() {
            records.offset(&topic, partition, None)?;
        }
        if inner.stored.is_some() {
            records.metadata(None)?;
        }
        self.append(inner, records, now_ms)?;
        inner.group.mark_dead(now_ms);
        self.take_out(slot, inner);
        Ok(inner.written)
    }

    /// A group that stored nothing and has nobody leaves no trace.
    fn forget_if_vacant(&self, slot: &Slot, inner: &mut Inner) {
        let vacant = inner.stored.is_none()
            && inner.offsets.is_empty()
            && inner.group.state() == GroupState::Empty
            && !inner.group.has_members();
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
        if inner.scheduled_ms.is_none_or(|at_ms| due_ms < at_ms) {
            inner.scheduled_ms = Some(due_ms);
            self.timers.lock().push(Reverse((due_ms, Arc::clone(id))));
            self.timers_changed.notify_one();
        }
    }

    fn until_next_timer(&self) -> Duration {
        let next_ms = self.timers.lock().peek().map(|Reverse((at_ms, _))| *at_ms);
        next_ms.map_or(EXPIRY_INTERVAL, |at_ms| {
            let wait_ms = at_ms.saturating_sub(self.clock.now_ms());
            Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
        })
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for slot in self.slots() {
            slot.inner.lock().waiting.clear();
        }
    }
}

impl Inner {
    fn new(group: ClassicGroup, offsets: GroupOffsets, stored: Option<GroupMetadata>) -> Self {
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

fn pick(
    offsets: &GroupOffsets,
    wanted: &[(String, Vec<i32>)],
    require_stable: bool,
) -> Vec<TopicOffsets> {
    wanted
        .iter()
        .map(|(topic, partitions)| {
            let found = partitions.iter().map(|partition| {
                let found = if require_stable && offsets.is_unstable(topic, *partition) {
                    Err(ErrorCode::UNSTABLE_OFFSET_COMMIT)
                } else {
                    Ok(offsets.get(topic, *partition).cloned())
                };
                (*partition, found)
            });
            (topic.clone(), found.collect())
        })
        .collect()
}
