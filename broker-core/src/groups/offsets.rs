//! Committed offsets of one group, and when they expire. Pure.

use std::collections::BTreeMap;

use super::classic::{ClassicGroup, GroupState};

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
}

impl GroupOffsets {
    /// The last commit for a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Replaces the commit for a partition.
    pub fn set(&mut self, topic: &str, partition: i32, offset: CommittedOffset) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, offset);
        } else {
            self.topics
                .insert(topic.to_owned(), BTreeMap::from([(partition, offset)]));
        }
    }

    /// Forgets the commit for a partition. Whether there was one.
    pub fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.topics.get_mut(topic) else {
            return false;
        };
        let found = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        found
    }

    /// Whether nothing is committed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Topics with their partitions, sorted.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, CommittedOffset>)> {
        self.topics
            .iter()
            .map(|(topic, partitions)| (topic.as_str(), partitions))
    }

    /// Partitions of one topic that have a commit.
    #[must_use]
    pub fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        self.topics.get(topic).map_or_else(Vec::new, |partitions| {
            partitions
                .keys()
                .map(|partition| (topic.to_owned(), *partition))
                .collect()
        })
    }

    /// Everything that has a commit.
    #[must_use]
    pub fn all(&self) -> Vec<TopicPartition> {
        self.topics
            .keys()
            .flat_map(|topic| self.partitions_of(topic))
            .collect()
    }

    /// The commits whose time is over (KIP-211):
    ///
    /// - simple group: `retention_ms` after the commit;
    /// - empty group: `retention_ms` after the last member went;
    /// - stable consumer group: topics nobody subscribes to any more, after the commit;
    /// - explicit expiry (OffsetCommit v2-4): at that time, while one of the above applies.
    #[must_use]
    pub fn expired(
        &self,
        group: &ClassicGroup,
        retention_ms: i64,
        now_ms: i64,
    ) -> Vec<TopicPartition> {
        let simple = group.protocol_type().is_none();
        let mut expired = Vec::new();
        for (topic, partitions) in &self.topics {
            let since_empty = match group.state() {
                GroupState::Empty if simple => None,
                GroupState::Empty => Some(group.state_since_ms()),
                GroupState::Stable if group.subscribes_to(topic) == Some(false) => None,
                // Somebody reads the topic, or may after the rebalance.
                GroupState::Stable
                | GroupState::PreparingRebalance
                | GroupState::CompletingRebalance
                | GroupState::Dead => continue,
            };
            for (partition, offset) in partitions {
                let base_ms = since_empty.map_or(offset.commit_timestamp_ms, |since_ms| {
                    since_ms.max(offset.commit_timestamp_ms)
                });
                let due_ms = offset
                    .expire_timestamp_ms
                    .unwrap_or_else(|| base_ms.saturating_add(retention_ms));
                if now_ms >= due_ms {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }
}
