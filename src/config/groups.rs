//! Consumer groups: Kafka's `group.initial.rebalance.delay.ms` and `group.consumer.*`.

use broker_core::groups::{Assignor, ConsumerConfig, GroupConfig, MigrationPolicy};
use serde::Serialize;

use super::{ConfigError, ServeOptions};

/// Settings of consumer groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupSettings {
    /// Milliseconds.
    pub group_initial_rebalance_delay_ms: i32,
    /// Milliseconds.
    pub group_consumer_session_timeout_ms: i32,
    /// Milliseconds.
    pub group_consumer_heartbeat_interval_ms: i32,
    /// Members.
    pub group_consumer_max_size: usize,
    /// Names, the default first, with commas between.
    pub group_consumer_assignors: String,
    /// Kafka's name of it.
    pub group_consumer_migration_policy: String,
}

impl GroupSettings {
    /// Flags before file before defaults.
    pub(super) fn resolve(flags: &ServeOptions, file: &ServeOptions) -> Self {
        let usual = GroupConfig::default();
        let ms = |flag: Option<i32>, file: Option<i32>, usual: i32| flag.or(file).unwrap_or(usual);
        let assignors = flags.group_consumer_assignors.as_ref();
        let assignors = assignors.or(file.group_consumer_assignors.as_ref());
        let policy = flags.group_consumer_migration_policy.as_ref();
        let policy = policy.or(file.group_consumer_migration_policy.as_ref());
        Self {
            group_initial_rebalance_delay_ms: ms(
                flags.group_initial_rebalance_delay_ms,
                file.group_initial_rebalance_delay_ms,
                usual.initial_rebalance_delay_ms,
            ),
            group_consumer_session_timeout_ms: ms(
                flags.group_consumer_session_timeout_ms,
                file.group_consumer_session_timeout_ms,
                usual.consumer.session_timeout_ms,
            ),
            group_consumer_heartbeat_interval_ms: ms(
                flags.group_consumer_heartbeat_interval_ms,
                file.group_consumer_heartbeat_interval_ms,
                usual.consumer.heartbeat_interval_ms,
            ),
            group_consumer_max_size: flags
                .group_consumer_max_size
                .or(file.group_consumer_max_size)
                .unwrap_or(usual.consumer.size_max),
            group_consumer_assignors: assignors
                .cloned()
                .unwrap_or_else(|| names(&usual.consumer.assignors)),
            group_consumer_migration_policy: policy
                .cloned()
                .unwrap_or_else(|| usual.migration.name().to_owned()),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse =
            |option: &'static str, reason: String| Err(ConfigError::Value { option, reason });
        if self.group_initial_rebalance_delay_ms < 0 {
            let reason = format!("{} is negative", self.group_initial_rebalance_delay_ms);
            return refuse("--group-initial-rebalance-delay-ms", reason);
        }
        let heartbeat_ms = self.group_consumer_heartbeat_interval_ms;
        if heartbeat_ms < 1 {
            let reason = format!("{heartbeat_ms} is less than 1");
            return refuse("--group-consumer-heartbeat-interval-ms", reason);
        }
        let session_ms = self.group_consumer_session_timeout_ms;
        if session_ms <= heartbeat_ms {
            let reason =
                format!("{session_ms} is not more than the heartbeat interval, {heartbeat_ms}");
            return refuse("--group-consumer-session-timeout-ms", reason);
        }
        if self.group_consumer_max_size == 0 {
            return refuse("--group-consumer-max-size", "0 is less than 1".to_owned());
        }
        self.assignors()?;
        self.migration().map(drop)
    }

    /// The broker's part.
    ///
    /// # Errors
    /// As when the options were resolved.
    pub(super) fn broker(&self) -> Result<GroupConfig, ConfigError> {
        Ok(GroupConfig {
            initial_rebalance_delay_ms: self.group_initial_rebalance_delay_ms,
            consumer: ConsumerConfig {
                session_timeout_ms: self.group_consumer_session_timeout_ms,
                heartbeat_interval_ms: self.group_consumer_heartbeat_interval_ms,
                size_max: self.group_consumer_max_size,
                assignors: self.assignors()?,
            },
            migration: self.migration()?,
            ..GroupConfig::default()
        })
    }

    fn assignors(&self) -> Result<Vec<Assignor>, ConfigError> {
        let asked = self.group_consumer_assignors.split(',').map(str::trim);
        let known = |name: &str| {
            let mut all = Assignor::ALL.into_iter();
            all.find(|known| known.name() == name)
                .ok_or_else(|| ConfigError::Value {
                    option: "--group-consumer-assignors",
                    reason: format!("{name:?} is none of {}", names(&Assignor::ALL)),
                })
        };
        asked.map(known).collect()
    }

    fn migration(&self) -> Result<MigrationPolicy, ConfigError> {
        let asked = &self.group_consumer_migration_policy;
        let mut all = MigrationPolicy::ALL.into_iter();
        all.find(|known| known.name().eq_ignore_ascii_case(asked))
            .ok_or_else(|| ConfigError::Value {
                option: "--group-consumer-migration-policy",
                reason: format!(
                    "{asked:?} is none of {}",
                    MigrationPolicy::ALL.map(MigrationPolicy::name).join(", ")
                ),
            })
    }
}

fn names(assignors: &[Assignor]) -> String {
    let names: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_serve_nobody_are_refused() {
        for (text, option) in [
            (
                "group-initial-rebalance-delay-ms = -1",
                "--group-initial-rebalance-delay-ms",
            ),
            (
                "group-consumer-heartbeat-interval-ms = 0",
                "--group-consumer-heartbeat-interval-ms",
            ),
            (
                "group-consumer-session-timeout-ms = 5000",
                "--group-consumer-session-timeout-ms",
            ),
            ("group-consumer-max-size = 0", "--group-consumer-max-size"),
            (
                "group-consumer-assignors = 'uniform,mine'",
                "--group-consumer-assignors",
            ),
            (
                "group-consumer-assignors = ''",
                "--group-consumer-assignors",
            ),
            (
                "group-consumer-migration-policy = 'sideways'",
                "--group-consumer-migration-policy",
            ),
        ] {
            let file: ServeOptions = toml::from_str(text).unwrap();
            let refused = ServeOptions::default().resolve(file).unwrap_err();
            assert!(refused.to_string().starts_with(option), "{text}: {refused}");
        }
    }

    #[test]
    fn the_first_assignor_is_the_default() {
        let file: ServeOptions =
            toml::from_str("group-consumer-assignors = 'range, uniform'").unwrap();
        let config = ServeOptions::default().resolve(file).unwrap();
        let broker = config.groups.broker().unwrap();
        assert_eq!(
            broker.consumer.assignors,
            [Assignor::Range, Assignor::Uniform]
        );
    }
}
