//! One consumer group of KIP-848 as a state machine without I/O.
//!
//! The broker assigns, and there is no barrier: each member goes from its partitions to its target
//! on its own, giving up first what somebody else is to have.
//!
//! ```text
//!   subscription or topic changed   target computed      every member told
//!   group epoch + 1  ------------>  assignment epoch  --------------------> member epochs
//!   (Assigning)                     (Reconciling)                           (Stable)
//! ```
//!
//! State changes only by [`Change`]s, which are the group's records: `heartbeat`, `leave` and
//! `handle_timeout` apply them and hand them over to be written. What cannot be written is taken
//! back with [`ConsumerGroup::undo`]; a restart applies them from the log. Deadlines are not
//! written: after a restart every member has a whole session.
//!
//! Knows nothing of offsets, other groups, tasks or the protocol's encodings. Next: `heartbeat.rs`
//! (who gets in, what a heartbeat does), `reconcile.rs` (a member's way to its target),
//! `assignor.rs` (what the target is), `record.rs` (the changes as bytes), `classic.rs` (members of
//! the classic protocol among them).

pub mod assignor;
pub mod record;
pub mod topics;

mod change;
mod classic;
mod embedded;
mod heartbeat;
mod reconcile;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::assignor::Assignor;
pub use self::change::{Change, Changes};
pub use self::classic::ClassicMember;
pub use self::topics::{TopicFacts, TopicView};
use crate::error::ErrorCode;
use crate::ids::TopicId;

/// Epoch with which a member joins, or joins again after it was fenced.
pub const JOIN_EPOCH: i32 = 0;
/// Epoch with which a member leaves for good.
pub const LEAVE_EPOCH: i32 = -1;
/// Epoch with which a static member says that it will be back.
pub const STATIC_LEAVE_EPOCH: i32 = -2;

/// Partitions by topic.
pub type Assignment = BTreeMap<TopicId, BTreeSet<i32>>;

/// Settings of the state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// How long a member may stay silent.
    pub session_timeout_ms: i32,
    /// How often members are told to report.
    pub heartbeat_interval_ms: i32,
    /// Members a group may have.
    pub size_max: usize,
    /// What members may ask for; the first is used when they do not ask.
    pub assignors: Vec<Assignor>,
}

/// What a member said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.rack`; kept for DescribeGroups, there is one broker.
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Peer address.
    pub client_host: String,
    /// Topics by name.
    pub topics: BTreeSet<String>,
    /// Topics by a regular expression that must match the whole name.
    pub regex: Option<String>,
    /// How long the member may take to give up partitions.
    pub rebalance_timeout_ms: i32,
    /// The assignor it asks for.
    pub assignor: Option<String>,
    /// Set for a member of the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// Where a member is on its way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    /// It has the partitions of its epoch.
    #[default]
    Stable,
    /// It must give up partitions first.
    Revoking,
    /// It waits for partitions that other members hold.
    Waiting,
    /// A state of a newer release: the member is made to join again.
    Unknown,
}

/// What a member has, as it was last told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentAssignment {
    /// Epoch that its heartbeats must have.
    pub epoch: i32,
    /// The one before: the answer that raised it may have been lost.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// Partitions it may read.
    pub assigned: Assignment,
    /// Partitions it was told to give up and has not yet.
    pub revoking: Assignment,
}

/// One member; its id is the key it is stored under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Member {
    subscription: Subscription,
    current: CurrentAssignment,
    target: Assignment,
}

/// A ConsumerGroupHeartbeat of a member that is there or joins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Chosen by the member.
    pub member_id: String,
    /// [`JOIN_EPOCH`], or the epoch of the last answer.
    pub member_epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `None`: as before.
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// The peer's address.
    pub client_host: String,
    /// `None`: as before.
    pub rebalance_timeout_ms: Option<i32>,
    /// `None`: as before.
    pub topics: Option<BTreeSet<String>>,
    /// `None`: as before; empty: none any more.
    pub regex: Option<String>,
    /// `None`: as before.
    pub assignor: Option<String>,
    /// What the member has; `None`: as before.
    pub owned: Option<Assignment>,
}

/// Answer to a heartbeat, or to leaving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The member's epoch from now on.
    pub member_epoch: i32,
    /// What it may have, when that changed or the member told all of itself.
    pub assignment: Option<Assignment>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The Kafka code.
    pub code: ErrorCode,
    /// One line for the client.
    pub message: String,
}

impl Refusal {
    /// A refusal of that code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerGroupState {
    /// No members; offsets may be kept.
    Empty,
    /// The next target is not computed yet.
    Assigning,
    /// Some members are on their way to their target.
    Reconciling,
    /// Every member has its target.
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name of the state, as in ListGroups and ConsumerGroupDescribe.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// One member as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Member id.
    pub id: String,
    /// What it said of itself.
    pub subscription: Subscription,
    /// Its epoch.
    pub epoch: i32,
    /// What it has.
    pub assigned: Assignment,
    /// What it is to have.
    pub target: Assignment,
}

/// When a member that stays silent, or does not do what it was told, counts as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Deadlines {
    session_ms: i64,
    /// While it has something to do: to give up partitions, or, in the classic protocol, to join
    /// again or to sync.
    act_ms: Option<i64>,
}

/// A consumer group.
#[derive(Debug, Default)]
pub struct ConsumerGroup {
    epoch: i32,
    /// Of the topics subscribed to, as they were when the epoch began.
    metadata_hash: i64,
    assignment_epoch: i32,
    members: BTreeMap<String, Member>,
    /// Topics that each regular expression in use matches. Derived, and not written: it may be long.
    regexes: BTreeMap<String, BTreeSet<String>>,
    /// Instance id to member id. Derived.
    static_members: BTreeMap<String, String>,
    /// Who holds a partition, which it may still have to give up. Derived.
    owners: BTreeMap<(TopicId, i32), String>,
    /// By member id; those of members that are gone are dropped with time.
    deadlines: BTreeMap<String, Deadlines>,
    /// [`TopicView::version`] that the group was last compared with.
    topics_version: Option<u64>,
}

impl ConsumerGroup {
    /// Begins the sessions of a group whose changes were applied from the log.
    pub fn restore(&mut self, now_ms: i64, topics: &dyn TopicView, config: &ConsumerConfig) {
        self.resolve_regexes(true, topics);
        self.deadlines = self
            .members
            .iter()
            .map(|(id, member)| {
                let classic = member.subscription.classic.as_ref();
                let session_timeout_ms =
                    classic.map_or(config.session_timeout_ms, |c| c.session_timeout_ms);
                let deadlines = Deadlines {
                    session_ms: now_ms.saturating_add(i64::from(session_timeout_ms)),
                    act_ms: member.revocation_deadline_ms(now_ms),
                };
                (id.clone(), deadlines)
            })
            .collect();
    }

    /// Whether anything of it is stored: a group without an epoch is none.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.epoch > 0 || !self.members.is_empty()
    }

    /// Raised whenever the target has to be computed anew; 0 before the first member.
    #[must_use]
    pub const fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Group epoch that the members' targets are of.
    #[must_use]
    pub const fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }

    /// Where the group is in its life.
    #[must_use]
    pub fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if self
            .members
            .values()
            .all(|member| member.current.is_reconciled_to(self.assignment_epoch))
        {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// Whether it has members.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether a member subscribes to the topic.
    #[must_use]
    pub fn subscribes_to(&self, topic: &str) -> bool {
        self.members
            .values()
            .any(|member| self.is_subscribed(&member.subscription, topic))
    }

    /// The assignor that most members ask for, else the first configured.
    #[must_use]
    pub fn assignor(&self, config: &ConsumerConfig) -> Assignor {
        let votes = |assignor: Assignor| {
            let members = self.members.values();
            let asked = members.filter_map(|member| member.subscription.assignor.as_deref());
            asked.filter(|name| *name == assignor.name()).count()
        };
        let first = config.assignors.first().copied().unwrap_or_default();
        // The earlier one on a tie.
        let asked = config.assignors.iter().copied();
        asked.fold(first, |best, next| {
            if votes(next) > votes(best) {
                next
            } else {
                best
            }
        })
    }

    /// Members sorted by id.
    #[must_use]
    pub fn describe_members(&self) -> Vec<MemberDescription> {
        self.members
            .iter()
            .map(|(id, member)| MemberDescription {
                id: id.clone(),
                subscription: member.subscription.clone(),
                epoch: member.current.epoch,
                assigned: member.current.assigned.clone(),
                target: member.target.clone(),
            })
            .collect()
    }

    /// When [`Self::handle_timeout`] is due; calling it earlier does no harm.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines
            .values()
            .map(|deadlines| deadlines.due_ms())
            .min()
    }

    /// Whether offsets may be committed by this member, or by nobody (an epoch below 0).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; STALE_MEMBER_EPOCH: the member knows its epoch from its next heartbeat on,
    /// and commits again; ILLEGAL_GENERATION for a member of the classic protocol.
    pub fn check_commit(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        // A consumer that assigns partitions by itself, or an administrator resetting offsets.
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_member_epoch(member_id, epoch)
    }

    /// Whether offsets may be committed as part of a transaction. A producer from before KIP-447
    /// does not say which member it is: it is fenced by its own epoch.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; ILLEGAL_GENERATION, which transactional clients know.
    pub fn check_transactional_commit(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < 0 && member_id.is_empty() {
            return Ok(());
        }
        self.check_commit(member_id, epoch)
            .map_err(|error| match error {
                ErrorCode::STALE_MEMBER_EPOCH => ErrorCode::ILLEGAL_GENERATION,
                error => error,
            })
    }

    /// Whether offsets may be read by this member, or by nobody (no id, an epoch below 0).
    ///
    /// # Errors
    /// As [`Self::check_commit`].
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match member_id {
            None if epoch < 0 => Ok(()),
            member_id => self.check_member_epoch(member_id.unwrap_or_default(), epoch),
        }
    }

    fn check_member_epoch(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        match self.members.get(member_id) {
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(member) if member.current.epoch == epoch => Ok(()),
            Some(member) if member.subscription.classic.is_some() => {
                Err(ErrorCode::ILLEGAL_GENERATION)
            }
            Some(_) => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    fn is_subscribed(&self, subscription: &Subscription, topic: &str) -> bool {
        subscription.topics.contains(topic)
            || subscription
                .regex
                .as_ref()
                .and_then(|regex| self.regexes.get(regex))
                .is_some_and(|topics| topics.contains(topic))
    }

    /// Names of all topics that a member subscribes to, existing or not.
    fn topics_of<'a>(&'a self, subscription: &'a Subscription) -> BTreeSet<&'a str> {
        let matched = subscription
            .regex
            .as_ref()
            .and_then(|regex| self.regexes.get(regex));
        let names = subscription.topics.iter();
        names
            .chain(matched.into_iter().flatten())
            .map(String::as_str)
            .collect()
    }
}

impl Member {
    fn revocation_deadline_ms(&self, now_ms: i64) -> Option<i64> {
        let timeout_ms = i64::from(self.subscription.rebalance_timeout_ms.max(0));
        // A member of the classic protocol learns of it by its next heartbeat.
        let told =
            self.current.state == MemberState::Revoking && self.subscription.classic.is_none();
        told.then(|| now_ms.saturating_add(timeout_ms))
    }
}

impl CurrentAssignment {
    fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }
}

impl Deadlines {
    fn due_ms(&self) -> i64 {
        self.act_ms
            .map_or(self.session_ms, |due_ms| due_ms.min(self.session_ms))
    }
}
