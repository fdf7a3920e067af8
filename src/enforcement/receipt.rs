//! What an accepted verdict rests on, so that it can be checked again under the partition lock.
//!
//! Small: the distinct (subject, id) pairs of a batch, never its records.

use registry::{SchemaId, Snapshot};
use uuid::Uuid;

use super::lookup::{pinned_id, target};
use super::policy::{Framing, Part, Policy, Rule};

/// One (subject, id) that records of the batch used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) part: Part,
    /// `None`: the topic's own subject.
    pub(super) subject: Option<Box<str>>,
    pub(super) id: SchemaId,
    /// The content: in import mode a deleted id may come back as another schema.
    pub(super) guid: Uuid,
}

/// The facts of a receipt. A batch of which nothing was enforced has none.
#[derive(Debug)]
pub(super) struct Facts {
    /// Which compiled policy judged; a config change makes another.
    pub(super) policy: u64,
    /// Whether keys were enforced.
    pub(super) key: bool,
    /// Whether values were enforced.
    pub(super) value: bool,
    /// The distinct pairs.
    pub(super) pairs: Vec<Pair>,
    /// False when there were more than [`PAIRS_MAX`]: the batch is then judged again.
    pub(super) complete: bool,
}

impl Facts {
    /// Whether every record of the batch would be accepted under `snapshot` as well.
    pub(super) fn hold(&self, policy: &Policy, snapshot: &Snapshot) -> bool {
        if !self.complete {
            return false;
        }
        [(Part::Key, self.key), (Part::Value, self.value)]
            .into_iter()
            .all(|(part, was_enforced)| {
                let rule = policy
                    .part(part)
                    .rule(|| snapshot.has_subject(target(policy, part, snapshot).subject));
                match (was_enforced, rule == Rule::Enforce) {
                    (true, true) => self.pairs_hold(part, policy, snapshot),
                    (false, true) => false,
                    (_, false) => true,
                }
            })
    }

    fn pairs_hold(&self, part: Part, policy: &Policy, snapshot: &Snapshot) -> bool {
        let part_policy = policy.part(part);
        let target = target(policy, part, snapshot);
        self.pairs
            .iter()
            .filter(|pair| pair.part == part)
            .all(|pair| {
                let same_content = snapshot
                    .schema(target.context, pair.id)
                    .is_some_and(|schema| schema.guid == pair.guid);
                if part_policy.framing == Framing::None {
                    return same_content
                        && pinned_id(policy, part, snapshot).map(|(id, _)| id) == Some(pair.id);
                }
                let subject = pair.subject.as_deref().unwrap_or(target.subject);
                same_content
                    && snapshot.binding(subject, pair.id).is_some_and(|binding| {
                        policy.soft_deleted_accepted || !binding.soft_deleted
                    })
            })
    }
}

/// Pairs collected while a batch is judged.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) pairs: Vec<Pair>,
    pub(super) overflowed: bool,
}

impl Pairs {
    /// Adds a pair unless it is there; `subject` is `None` for the topic's own.
    pub(super) fn add(&mut self, part: Part, subject: Option<&str>, id: SchemaId, guid: Uuid) {
        let known = self
            .pairs
            .iter()
            .any(|pair| pair.part == part && pair.id == id && pair.subject.as_deref() == subject);
        if known {
            return;
        }
        if self.pairs.len() >= PAIRS_MAX {
            self.overflowed = true;
            return;
        }
        self.pairs.push(Pair {
            part,
            subject: subject.map(Box::from),
            id,
            guid,
        });
    }
}

/// More distinct pairs than a sane batch has; bounds the re-check under the lock.
const PAIRS_MAX: usize = 64;
