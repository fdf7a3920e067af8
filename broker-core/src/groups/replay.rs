//! From the records of `__consumer_offsets` back to groups. Pure.

use std::collections::{BTreeSet, HashMap};

use super::classic::{ClassicConfig, ClassicGroup};
use super::consumer::{Change, ConsumerConfig, ConsumerGroup, TopicView};
use super::group::Group;
use super::offsets::GroupOffsets;
use super::record::{self, GroupMetadata, RecordError, RecordKey};
use crate::ids::{ProducerEpoch, ProducerId};
use crate::records::TransactionResult;

/// What the records said of one group.
#[derive(Debug, Default)]
pub struct ReplayedGroup {
    /// The last metadata; `None` for a simple group or a deleted one.
    pub metadata: Option<GroupMetadata>,
    /// The group, if it speaks the consumer protocol.
    pub consumer: ConsumerGroup,
    /// The last commits.
    pub offsets: GroupOffsets,
}

impl ReplayedGroup {
    /// The group to go on with.
    #[must_use]
    pub fn restore(
        self,
        now_ms: i64,
        topics: &dyn TopicView,
        classic_config: ClassicConfig,
        consumer_config: &ConsumerConfig,
    ) -> (Group, GroupOffsets) {
        let mut consumer = self.consumer;
        let group = if consumer.exists() {
            consumer.restore(now_ms, topics, consumer_config);
            Group::Consumer(consumer)
        } else {
            Group::Classic(match &self.metadata {
                Some(metadata) => ClassicGroup::restore(classic_config, metadata, now_ms),
                None => ClassicGroup::new(classic_config, now_ms),
            })
        };
        (group, self.offsets)
    }

    fn is_nothing(&self) -> bool {
        self.metadata.is_none() && !self.consumer.exists() && self.offsets.is_empty()
    }
}

/// Collects records in the order of the log; later ones win.
#[derive(Debug, Default)]
pub struct Replay {
    /// By group id; groups all of whose records are deleted are absent.
    pub groups: HashMap<String, ReplayedGroup>,
    /// Groups with commits of a producer's open transaction.
    pub pending: HashMap<ProducerId, BTreeSet<String>>,
}

impl Replay {
    /// Takes in one record, of a producer's transaction if one is given; no value is a tombstone.
    ///
    /// # Errors
    /// When the bytes are no such record; nothing changed then.
    pub fn apply(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        producer: Option<(ProducerId, ProducerEpoch)>,
    ) -> Result<(), RecordError> {
        match RecordKey::decode(key)? {
            RecordKey::Offset {
                group,
                topic,
                partition,
            } => {
                let offset = value.map(record::decode_offset).transpose()?;
                if let Some(offset) = offset {
                    if let Some((id, _)) = producer {
                        self.pending.entry(id).or_default().insert(group.clone());
                    }
                    let offsets = &mut self.groups.entry(group).or_default().offsets;
                    match producer {
                        Some(producer) => {
                            offsets.set_pending(producer, (topic, partition), offset);
                        }
                        None => offsets.set(&topic, partition, offset),
                    }
                } else if let Some(found) = self.groups.get_mut(&group) {
                    found.offsets.remove(&topic, partition);
                    self.forget_if_nothing_is_left(&group);
                }
            }
            RecordKey::Group { group } => {
                let metadata = value.map(record::decode_group).transpose()?;
                if metadata.is_some() {
                    self.groups.entry(group).or_default().metadata = metadata;
                } else if let Some(found) = self.groups.get_mut(&group) {
                    found.metadata = None;
                    self.forget_if_nothing_is_left(&group);
                }
            }
            RecordKey::Unknown { .. } => {
                if let Some((group, change)) = Change::decode(key, value)? {
                    let consumer = &mut self.groups.entry(group.clone()).or_default().consumer;
                    let _before = consumer.apply(change);
                    self.forget_if_nothing_is_left(&group);
                }
            }
        }
        Ok(())
    }

    /// Takes in the end of a producer's transaction, for the groups that `belongs` names: those of
    /// the partition with the marker.
    pub fn end_transaction(
        &mut self,
        producer: ProducerId,
        result: TransactionResult,
        belongs: &dyn Fn(&str) -> bool,
    ) {
        let Some(groups) = self.pending.remove(&producer) else {
            return;
        };
        let (ended, others): (BTreeSet<String>, BTreeSet<String>) =
            groups.into_iter().partition(|group| belongs(group));
        for id in ended {
            if let Some(group) = self.groups.get_mut(&id) {
                group.offsets.end_transaction(producer, result);
                self.forget_if_nothing_is_left(&id);
            }
        }
        if !others.is_empty() {
            self.pending.insert(producer, others);
        }
    }

    fn forget_if_nothing_is_left(&mut self, group: &str) {
        if self
            .groups
            .get(group)
            .is_some_and(ReplayedGroup::is_nothing)
        {
            self.groups.remove(group);
        }
    }
}
