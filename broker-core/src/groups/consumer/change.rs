//! The only way in which a consumer group changes: one record at a time.

use super::{Assignment, ConsumerGroup, CurrentAssignment, Subscription};

/// What one record says; `None` is its tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The group and its epoch.
    Epoch(Option<GroupEpoch>),
    /// A member and its subscription.
    Member(String, Option<Box<Subscription>>),
    /// The group epoch that the targets are of.
    AssignmentEpoch(Option<i32>),
    /// A member's target.
    Target(String, Option<Assignment>),
    /// What a member has.
    Current(String, Option<Box<CurrentAssignment>>),
}

/// A group's epoch and what it was raised for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpoch {
    /// From 1.
    pub epoch: i32,
    /// Of the topics subscribed to.
    pub metadata_hash: i64,
}

/// Changes that were applied, to be written before anybody is told.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Changes {
    /// In the order in which they are to be written.
    pub applied: Vec<Change>,
    /// What takes each of them back.
    inverse: Vec<Change>,
}

impl ConsumerGroup {
    /// Applies a change, from the log or from [`Self::undo`], and answers what takes it back.
    pub fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Epoch(epoch) => {
                let before = (self.epoch > 0).then_some(GroupEpoch {
                    epoch: self.epoch,
                    metadata_hash: self.metadata_hash,
                });
                self.epoch = epoch.map_or(0, |epoch| epoch.epoch);
                self.metadata_hash = epoch.map_or(0, |epoch| epoch.metadata_hash);
                Change::Epoch(before)
            }
            Change::Member(id, subscription) => {
                let before = self.members.get(&id).map(|member| &member.subscription);
                let before = before.cloned().map(Box::new);
                if let Some(instance_id) = before.as_ref().and_then(|b| b.instance_id.as_ref())
                    && self.static_members.get(instance_id) == Some(&id)
                {
                    self.static_members.remove(instance_id);
                }
                match subscription {
                    Some(subscription) => {
                        if let Some(instance_id) = &subscription.instance_id {
                            self.static_members.insert(instance_id.clone(), id.clone());
                        }
                        let member = self.members.entry(id.clone()).or_default();
                        member.subscription = *subscription;
                    }
                    None => {
                        if let Some(member) = self.members.remove(&id) {
                            self.disown(&id, &member.current);
                        }
                    }
                }
                Change::Member(id, before)
            }
            Change::AssignmentEpoch(epoch) => {
                let before = (self.assignment_epoch > 0).then_some(self.assignment_epoch);
                self.assignment_epoch = epoch.unwrap_or_default();
                Change::AssignmentEpoch(before)
            }
            Change::Target(id, target) => {
                // A tombstone may follow that of the member itself.
                if target.is_none() && !self.members.contains_key(&id) {
                    return Change::Target(id, None);
                }
                let member = self.members.entry(id.clone()).or_default();
                let before = std::mem::replace(&mut member.target, target.unwrap_or_default());
                Change::Target(id, Some(before))
            }
            Change::Current(id, current) => {
                if current.is_none() && !self.members.contains_key(&id) {
                    return Change::Current(id, None);
                }
                let current = current.map(|current| *current).unwrap_or_default();
                let member = self.members.entry(id.clone()).or_default();
                let before = std::mem::replace(&mut member.current, current.clone());
                self.disown(&id, &before);
                for partition in partitions(&current.assigned).chain(partitions(&current.revoking))
                {
                    self.owners.insert(partition, id.clone());
                }
                Change::Current(id, Some(Box::new(before)))
            }
        }
    }

    /// Takes back what could not be written.
    pub fn undo(&mut self, changes: Changes) {
        for change in changes.inverse.into_iter().rev() {
            let _redo = self.apply(change);
        }
        // What was seen of the topics led to nothing.
        self.topics_version = None;
    }

    /// The whole group, as it is written anew when the log is rewritten.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Change> {
        let mut all = Vec::new();
        for (id, member) in &self.members {
            let subscription = Box::new(member.subscription.clone());
            all.push(Change::Member(id.clone(), Some(subscription)));
        }
        all.push(Change::Epoch(Some(GroupEpoch {
            epoch: self.epoch,
            metadata_hash: self.metadata_hash,
        })));
        for (id, member) in &self.members {
            all.push(Change::Target(id.clone(), Some(member.target.clone())));
        }
        all.push(Change::AssignmentEpoch(Some(self.assignment_epoch)));
        for (id, member) in &self.members {
            let current = Box::new(member.current.clone());
            all.push(Change::Current(id.clone(), Some(current)));
        }
        all
    }

    /// What removes the whole group from the log.
    #[must_use]
    pub fn tombstones(&self) -> Vec<Change> {
        let mut all: Vec<Change> = self.snapshot();
        all.reverse();
        for change in &mut all {
            match change {
                Change::Epoch(epoch) => *epoch = None,
                Change::Member(_, subscription) => *subscription = None,
                Change::AssignmentEpoch(epoch) => *epoch = None,
                Change::Target(_, target) => *target = None,
                Change::Current(_, current) => *current = None,
            }
        }
        all
    }

    pub(super) fn change(&mut self, change: Change, changes: &mut Changes) {
        let inverse = self.apply(change.clone());
        changes.applied.push(change);
        changes.inverse.push(inverse);
    }

    fn disown(&mut self, id: &str, current: &CurrentAssignment) {
        for partition in partitions(&current.assigned).chain(partitions(&current.revoking)) {
            if self.owners.get(&partition).is_some_and(|owner| owner == id) {
                self.owners.remove(&partition);
            }
        }
    }
}

/// Every partition of an assignment.
pub(super) fn partitions(
    assignment: &Assignment,
) -> impl Iterator<Item = (crate::ids::TopicId, i32)> {
    assignment
        .iter()
        .flat_map(|(topic, indexes)| indexes.iter().map(move |index| (*topic, *index)))
}
