//! Committed offsets of one group, those of open transactions, and when they expire. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{Aging, Group};
use crate::ids::{ProducerEpoch, ProducerId};
use crate::records::TransactionResult;

/// What a consumer committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 when the client did not say.
    pub leader_epoch: i32,
    /// The client's own note, returned as it was sent.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// Set by OffsetCommit v2-4 with an explicit retention.
    pub expire_timestamp_ms: Option<i64>,
}

/// Topic and partition.
pub type TopicPartition = (String, i32);

/// All committed offsets of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupOffsets {
    topics: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
    /// Commits of open transactions, by producer.
    pending: BTreeMap<ProducerId, Pending>,
}

/// The commits of one producer's open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    epoch: ProducerEpoch,
    /// `None` where a commit came later than the transaction's, and counts.
    offsets: PendingOffsets,
}

/// Commits of an open transaction; `None` where a later commit counts instead.
pub type PendingOffsets = BTreeMap<TopicPartition, Option<CommittedOffset>>;

impl GroupOffsets {
    /// The last commit for a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Replaces the commit for a partition.
    pub fn set(&mut self, topic: &str, partition: i32, offset: CommittedOffset) {
        self.outdo_pending(topic, partition);
        self.put(topic, partition, offset);
    }

    /// Notes the commit of an open transaction, which counts once that is committed.
    pub fn set_pending(
        &mut self,
        (id, epoch): (ProducerId, ProducerEpoch),
        partition: TopicPartition,
        offset: CommittedOffset,
    ) {
        let pending = self.pending.entry(id).or_insert_with(|| Pending {
            epoch,
            offsets: BTreeMap::new(),
        });
        pending.epoch = epoch;
        pending.offsets.insert(partition, Some(offset));
    }

    /// The producer's transaction is over: its commits count, or are gone.
    pub fn end_transaction(&mut self, id: ProducerId, result: TransactionResult) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        if result == TransactionResult::Commit {
            for ((topic, partition), offset) in pending.offsets {
                if let Some(offset) = offset {
                    self.set(&topic, partition, offset);
                }
            }
        }
    }

    /// Whether an open transaction has a commit for the partition.
    #[must_use]
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        // Almost always there is no transaction at all.
        !self.pending.is_empty() && {
            let wanted = (topic.to_owned(), partition);
            let mut pending = self.pending.values();
            pending.any(|pending| pending.offsets.contains_key(&wanted))
        }
    }

    /// Commits of open transactions, by producer and its epoch.
    pub fn pending(&self) -> impl Iterator<Item = ((ProducerId, ProducerEpoch), &PendingOffsets)> {
        self.pending
            .iter()
            .map(|(id, pending)| ((*id, pending.epoch), &pending.offsets))
    }

    fn outdo_pending(&mut self, topic: &str, partition: i32) {
        if self.pending.is_empty() {
            return;
        }
        let wanted = (topic.to_owned(), partition);
        for pending in self.pending.values_mut() {
            if let Some(offset) = pending.offsets.get_mut(&wanted) {
                *offset = None;
            }
        }
    }

    fn put(&mut self, topic: &str, partition: i32, offset: CommittedOffset) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, offset);
        } else {
            self.topics
                .insert(topic.to_owned(), BTreeMap::from([(partition, offset)]));
        }
    }

    /// Forgets the commit for a partition. Whether there was one.
    pub fn remove(&mut self, topic: &str, partition: i32) -> bool {
        self.outdo_pending(topic, partition);
        let Some(partitions) = self.topics.get_mut(topic) else {
            return false;
        };
        let found = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        found
    }

    /// Whether nothing is committed, in a transaction or out of one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.pending.is_empty()
    }

    /// Topics with their partitions, sorted.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, CommittedOffset>)> {
        self.topics
            .iter()
            .map(|(topic, partitions)| (topic.as_str(), partitions))
    }

    /// Partitions of one topic that have a commit, in a transaction or out of one.
    #[must_use]
    pub fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        let all = self.all().into_iter();
        all.filter(|(name, _)| name == topic).collect()
    }

    /// Everything that has a commit, in a transaction or out of one.
    #[must_use]
    pub fn all(&self) -> Vec<TopicPartition> {
        let committed = self.topics.iter().flat_map(|(topic, partitions)| {
            let partitions = partitions.keys();
            partitions.map(move |partition| (topic.clone(), *partition))
        });
        let pending = self.pending.values();
        let pending = pending.flat_map(|pending| pending.offsets.keys().cloned());
        let all: BTreeSet<TopicPartition> = committed.chain(pending).collect();
        all.into_iter().collect()
    }

    /// The commits whose time is over: `retention_ms` after they began to grow old
    /// ([`Group::aging`]), or at the time that the client gave (OffsetCommit v2-4) if they do.
    #[must_use]
    pub fn expired(&self, group: &Group, retention_ms: i64, now_ms: i64) -> Vec<TopicPartition> {
        let mut expired = Vec::new();
        for (topic, partitions) in &self.topics {
            let aging = group.aging(topic);
            for (partition, offset) in partitions {
                let base_ms = match aging {
                    Aging::Never => break,
                    Aging::FromCommit => offset.commit_timestamp_ms,
                    Aging::From(since_ms) => since_ms.max(offset.commit_timestamp_ms),
                };
                let due_ms = offset
                    .expire_timestamp_ms
                    .unwrap_or_else(|| base_ms.saturating_add(retention_ms));
                if now_ms >= due_ms && !self.is_unstable(topic, *partition) {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }
}
