//! A member's next step from what it has to what it is to have (KIP-848, "Reconciliation").
//!
//! Never does a member get a partition that another one holds: what is to go is given up first, and
//! said to be so by the heartbeat that no longer names it.

use std::collections::BTreeSet;

use super::{Assignment, CurrentAssignment, MemberState};
use crate::ids::TopicId;

/// What a step depends on.
pub(super) struct Step<'a> {
    /// Epoch of the target.
    pub(super) assignment_epoch: i32,
    /// What the member is to have.
    pub(super) target: &'a Assignment,
    /// Topics it subscribes to now; the target may be older than that.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// What the member says it has.
    pub(super) owned: Option<&'a Assignment>,
    /// Whether another member holds a partition.
    pub(super) is_held: &'a dyn Fn(TopicId, i32) -> bool,
}

impl CurrentAssignment {
    /// The next step; the same again when nothing can be done yet.
    pub(super) fn next(&self, step: &Step<'_>) -> Self {
        match self.state {
            MemberState::Stable if self.epoch == step.assignment_epoch => self.clone(),
            MemberState::Revoking if step.has_any(&self.revoking) => self.clone(),
            MemberState::Stable | MemberState::Revoking | MemberState::Waiting => {
                self.toward_target(step)
            }
            MemberState::Unknown => Self {
                epoch: step.assignment_epoch,
                ..self.clone()
            }
            .toward_target(step),
        }
    }

    fn toward_target(&self, step: &Step<'_>) -> Self {
        let mut assigned = Assignment::new();
        let mut revoking = Assignment::new();
        let mut gained = Assignment::new();
        let mut waits = false;
        for (topic, indexes) in &self.assigned {
            for index in indexes {
                let kept = if step.is_target(*topic, *index) {
                    &mut assigned
                } else {
                    &mut revoking
                };
                kept.entry(*topic).or_default().insert(*index);
            }
        }
        for (topic, indexes) in step.target {
            for index in indexes {
                if holds(&assigned, *topic, *index) || !step.subscribed.contains(topic) {
                    continue;
                }
                if (step.is_held)(*topic, *index) {
                    waits = true;
                } else {
                    gained.entry(*topic).or_default().insert(*index);
                }
            }
        }
        if !revoking.is_empty() && step.has_any(&revoking) {
            return Self {
                epoch: self.epoch,
                previous_epoch: self.epoch,
                state: MemberState::Revoking,
                assigned,
                revoking,
            };
        }
        for (topic, indexes) in gained {
            assigned.entry(topic).or_default().extend(indexes);
        }
        Self {
            epoch: step.assignment_epoch,
            previous_epoch: self.epoch,
            state: if waits {
                MemberState::Waiting
            } else {
                MemberState::Stable
            },
            assigned,
            revoking: Assignment::new(),
        }
    }
}

impl Step<'_> {
    fn is_target(&self, topic: TopicId, index: i32) -> bool {
        self.subscribed.contains(&topic) && holds(self.target, topic, index)
    }

    /// Whether the member has any of these; as long as it does not say, it may.
    fn has_any(&self, partitions: &Assignment) -> bool {
        self.owned.is_none_or(|owned| {
            owned.iter().any(|(topic, indexes)| {
                indexes
                    .iter()
                    .any(|index| holds(partitions, *topic, *index))
            })
        })
    }
}

fn holds(assignment: &Assignment, topic: TopicId, index: i32) -> bool {
    assignment
        .get(&topic)
        .is_some_and(|indexes| indexes.contains(&index))
}
