//! Consumer groups and their offsets.
//!
//! The rules live in pure state machines ([`classic`], [`consumer`], [`offsets`]) that take the time as an
//! argument and answer what is to be written and to whom; [`driver`] locks, writes to the internal
//! topic `__consumer_offsets` and delivers. The records are Kafka's own ([`record`]), so tools that
//! read that topic read ours.
//!
//! Knows nothing of sockets and request encodings (see `api/groups.rs`). Next: [`classic`], where
//! members assign among themselves, and [`consumer`], where the broker does.

pub mod classic;
pub mod consumer;
pub mod driver;
pub mod group;
pub mod offsets;
pub mod overrides;
pub mod record;
pub mod replay;

#[cfg(test)]
mod simulation;

pub use consumer::{Assignor, ConsumerConfig};
pub use driver::GroupCoordinator;

/// Name of the internal topic that holds groups and offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Settings of the coordinator; names and defaults are Kafka's unless said otherwise.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members. Kafka's
    /// default is 3 000; a single node starts faster with 0.
    pub initial_rebalance_delay_ms: i32,
    /// `offsets.retention.minutes`.
    pub offsets_retention_minutes: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `group.max.size`; Kafka's default has no limit.
    pub group_size_max: usize,
    /// Groups of the consumer protocol: `group.consumer.*`.
    pub consumer: ConsumerConfig,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
}

/// Which groups change the protocol while they have members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None: members of the other protocol come when all have gone.
    Disabled,
    /// Those of the classic protocol, when a member of the consumer protocol joins.
    Upgrade,
    /// Those of the consumer protocol, when only members of the classic protocol are left.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl MigrationPolicy {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::Disabled,
        Self::Upgrade,
        Self::Downgrade,
        Self::Bidirectional,
    ];

    /// Kafka's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Bidirectional => "bidirectional",
        }
    }

    const fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    const fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 0,
            offsets_retention_minutes: 10_080,
            offset_metadata_bytes_max: 4096,
            group_size_max: 10_000,
            consumer: ConsumerConfig {
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5_000,
                size_max: 10_000,
                assignors: Assignor::ALL.to_vec(),
            },
            migration: MigrationPolicy::Bidirectional,
        }
    }
}
