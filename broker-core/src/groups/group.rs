//! A group of either protocol, as far as offsets and administration care. Pure.

use super::classic::{ClassicGroup, GroupState};
use super::consumer::{ConsumerGroup, ConsumerGroupState};

/// A group.
#[derive(Debug)]
pub enum Group {
    /// Members assign among themselves, or there are none and there never were.
    Classic(ClassicGroup),
    /// The broker assigns (KIP-848).
    Consumer(ConsumerGroup),
}

/// Which protocol a group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupType {
    /// JoinGroup and SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat.
    Consumer,
}

impl GroupType {
    /// Kafka's name of it, as in ListGroups.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// From when on the commits for a topic grow old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aging {
    /// Somebody reads the topic, or may soon.
    Never,
    /// Each from its commit on.
    FromCommit,
    /// From this time on, or from the commit on when that was later.
    From(i64),
}

impl Group {
    /// Which protocol it speaks.
    #[must_use]
    pub const fn group_type(&self) -> GroupType {
        match self {
            Self::Classic(_) => GroupType::Classic,
            Self::Consumer(_) => GroupType::Consumer,
        }
    }

    /// `None` for a group that only ever committed offsets (a simple group).
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        match self {
            Self::Classic(group) => group.protocol_type(),
            Self::Consumer(_) => Some("consumer"),
        }
    }

    /// Kafka's name of where it is in its life.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state().name(),
            Self::Consumer(group) => group.state().name(),
        }
    }

    /// Whether anybody is or may soon be a member.
    #[must_use]
    pub fn has_members(&self) -> bool {
        match self {
            Self::Classic(group) => group.has_members(),
            Self::Consumer(group) => group.has_members(),
        }
    }

    /// Whether it has no members and none are coming.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let settled = match self {
            Self::Classic(group) => group.state() == GroupState::Empty,
            Self::Consumer(group) => group.state() == ConsumerGroupState::Empty,
        };
        settled && !self.has_members()
    }

    /// Whether its members' subscriptions can be known.
    #[must_use]
    pub fn is_consumer_group(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_consumer_group(),
            Self::Consumer(_) => true,
        }
    }

    /// Whether members subscribe to the topic; `None` when that cannot be known.
    #[must_use]
    pub fn subscribes_to(&self, topic: &str) -> Option<bool> {
        match self {
            Self::Classic(group) => group.subscribes_to(topic),
            Self::Consumer(group) => Some(group.subscribes_to(topic)),
        }
    }

    /// From when on its commits for a topic grow old (KIP-211): those of a group without members
    /// since it has none, those of a simple group and of topics nobody subscribes to since the commit.
    #[must_use]
    pub fn aging(&self, topic: &str) -> Aging {
        let group = match self {
            Self::Classic(group) => group,
            Self::Consumer(group) if group.subscribes_to(topic) => return Aging::Never,
            Self::Consumer(_) => return Aging::FromCommit,
        };
        match group.state() {
            GroupState::Empty if group.protocol_type().is_none() => Aging::FromCommit,
            GroupState::Empty => Aging::From(group.state_since_ms()),
            GroupState::Stable if group.subscribes_to(topic) == Some(false) => Aging::FromCommit,
            GroupState::Stable
            | GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Dead => Aging::Never,
        }
    }

    /// When its timers are due next.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<i64> {
        match self {
            Self::Classic(group) => group.next_deadline_ms(),
            Self::Consumer(group) => group.next_deadline_ms(),
        }
    }
}
