//! Commits: made, read, deleted, and those of transactions.

use std::collections::BTreeSet;

use super::storage::Records;
use super::{GroupCoordinator, Inner, Slot};
use crate::error::ErrorCode;
use crate::groups::group::Group;
use crate::groups::offsets::{CommittedOffset, GroupOffsets, TopicPartition};
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::partition::AppendError;
use crate::records::TransactionResult;
use crate::topics::Topics;

/// Who commits offsets.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    /// Empty for a simple consumer.
    pub member_id: &'a str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// Or the member epoch; -1 for a simple consumer.
    pub generation: i32,
}

/// Who reads committed offsets, as far as it says (OffsetFetch v9).
#[derive(Debug, Clone, Copy)]
pub struct OffsetReader<'a> {
    /// `None` when the client does not say.
    pub member_id: Option<&'a str>,
    /// -1 when the client does not say.
    pub member_epoch: i32,
}

impl OffsetReader<'_> {
    /// A client that does not say who it is.
    pub const ANYBODY: Self = Self {
        member_id: None,
        member_epoch: -1,
    };
}

/// Commits of a topic's partitions as found; `None` where nothing is committed, and
/// UNSTABLE_OFFSET_COMMIT where an open transaction has a commit and the client would not have what
/// was committed before it.
pub type TopicOffsets = (
    String,
    Vec<(i32, Result<Option<CommittedOffset>, ErrorCode>)>,
);

impl GroupCoordinator {
    /// OffsetCommit: returns when the commits are durable.
    ///
    /// # Errors
    /// A fence (UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS,
    /// STALE_MEMBER_EPOCH),
    /// INVALID_COMMIT_OFFSET_SIZE or COORDINATOR_NOT_AVAILABLE when the log does not take them.
    pub async fn commit(
        &self,
        group_id: &str,
        committer: Committer<'_>,
        commits: Vec<(TopicPartition, CommittedOffset)>,
    ) -> Result<(), ErrorCode> {
        let now_ms = self.clock.now_ms();
        let commit = |_: &Slot, inner: &mut Inner| {
            match &mut inner.group {
                Group::Classic(group) => group.check_commit(
                    now_ms,
                    committer.member_id,
                    committer.instance_id,
                    committer.generation,
                )?,
                Group::Consumer(group) => {
                    group.check_commit(committer.member_id, committer.generation)?;
                }
            }
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
        let written = self.commit_to(group_id, committer, commit)?;
        self.log.durable(group_id, written).await
    }

    /// Commits under the group's lock. One who is in no generation may commit to a group that does not
    /// exist yet.
    fn commit_to<T>(
        &self,
        group_id: &str,
        committer: Committer<'_>,
        commit: impl FnOnce(&Slot, &mut Inner) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        if committer.generation < 0 {
            self.with_new_group(group_id, |slot, inner| {
                let result = commit(slot, inner);
                self.forget_if_vacant(slot, inner);
                result
            })
        } else {
            self.with_group(group_id, commit)
                .unwrap_or(Err(ErrorCode::ILLEGAL_GENERATION))
        }
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
            match &mut inner.group {
                Group::Classic(group) => group.check_transactional_commit(
                    now_ms,
                    committer.member_id,
                    committer.instance_id,
                    committer.generation,
                )?,
                Group::Consumer(group) => {
                    group.check_transactional_commit(committer.member_id, committer.generation)?
                }
            }
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
        let written = self.commit_to(group_id, committer, commit)?;
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
    /// COORDINATOR_NOT_AVAILABLE when the last commit cannot become durable; UNKNOWN_MEMBER_ID and
    /// STALE_MEMBER_EPOCH for a reader that is no member of a consumer group, or was.
    pub async fn fetch_offsets(
        &self,
        group_id: &str,
        reader: OffsetReader<'_>,
        wanted: Option<&[(String, Vec<i32>)]>,
        require_stable: bool,
    ) -> Result<Vec<TopicOffsets>, ErrorCode> {
        let found = self.with_group(group_id, |_, inner| {
            if let Group::Consumer(group) = &inner.group {
                group.check_fetch(reader.member_id, reader.member_epoch)?;
            }
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
            Ok((offsets, inner.written))
        });
        match found.transpose()? {
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
            let used = !inner.group.is_empty();
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

    pub(super) fn remove_offsets(
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
