//! Settings of single groups of the consumer protocol, in place of the broker's (KIP-848). Pure.

use std::collections::BTreeMap;

use super::{ConsumerConfig, GroupConfig};

/// How often members of the group are to report, in ms.
pub const HEARTBEAT_INTERVAL_MS: &str = "consumer.heartbeat.interval.ms";
/// How long a member of the group may stay silent, in ms.
pub const SESSION_TIMEOUT_MS: &str = "consumer.session.timeout.ms";

/// What is set for one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    heartbeat_interval_ms: Option<i32>,
    session_timeout_ms: Option<i32>,
}

impl GroupOverrides {
    /// Reads and checks what is set for a group, beside what the broker has for all.
    ///
    /// # Errors
    /// A text naming the config, its value and what is wrong.
    pub fn parse(configs: &BTreeMap<String, String>, broker: &GroupConfig) -> Result<Self, String> {
        let mut overrides = Self::default();
        for (name, value) in configs {
            let place = match name.as_str() {
                HEARTBEAT_INTERVAL_MS => &mut overrides.heartbeat_interval_ms,
                SESSION_TIMEOUT_MS => &mut overrides.session_timeout_ms,
                _ => return Err(format!("unknown group config name: {name}")),
            };
            let invalid =
                |why: &str| format!("invalid value {value} for configuration {name}: {why}");
            let parsed: i32 = value
                .trim()
                .parse()
                .map_err(|_| invalid("not a 32-bit integer"))?;
            if parsed < 1 {
                return Err(invalid("value must be at least 1"));
            }
            let max = broker.session_timeout_max_ms;
            if parsed > max {
                return Err(invalid(&format!("value must be no more than {max}")));
            }
            *place = Some(parsed);
        }
        let (heartbeat_ms, session_ms) = overrides.in_force(&broker.consumer);
        if session_ms <= heartbeat_ms {
            return Err(format!(
                "{SESSION_TIMEOUT_MS} must be more than {HEARTBEAT_INTERVAL_MS}, but the group would have \
                 {session_ms} and {heartbeat_ms}"
            ));
        }
        Ok(overrides)
    }

    /// The settings of the group.
    #[must_use]
    pub fn apply(&self, broker: &ConsumerConfig) -> ConsumerConfig {
        let (heartbeat_interval_ms, session_timeout_ms) = self.in_force(broker);
        ConsumerConfig {
            session_timeout_ms,
            heartbeat_interval_ms,
            ..broker.clone()
        }
    }

    /// How often members of the group are to report.
    #[must_use]
    pub fn heartbeat_interval_ms(&self, broker: &ConsumerConfig) -> i32 {
        self.in_force(broker).0
    }

    fn in_force(&self, broker: &ConsumerConfig) -> (i32, i32) {
        (
            self.heartbeat_interval_ms
                .unwrap_or(broker.heartbeat_interval_ms),
            self.session_timeout_ms.unwrap_or(broker.session_timeout_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_together_with_the_brokers() {
        let broker = GroupConfig::default();
        for (configs, expected) in [
            (&[][..], Ok((5_000, 45_000))),
            (&[(SESSION_TIMEOUT_MS, " 60000")], Ok((5_000, 60_000))),
            (
                &[(HEARTBEAT_INTERVAL_MS, "100"), (SESSION_TIMEOUT_MS, "500")],
                Ok((100, 500)),
            ),
            (
                &[(SESSION_TIMEOUT_MS, "5000")],
                Err(
                    "consumer.session.timeout.ms must be more than consumer.heartbeat.interval.ms, but the \
                     group would have 5000 and 5000",
                ),
            ),
            (
                &[(HEARTBEAT_INTERVAL_MS, "0")],
                Err(
                    "invalid value 0 for configuration consumer.heartbeat.interval.ms: value must be at \
                     least 1",
                ),
            ),
            (
                &[(SESSION_TIMEOUT_MS, "1800001")],
                Err(
                    "invalid value 1800001 for configuration consumer.session.timeout.ms: value must be no \
                     more than 1800000",
                ),
            ),
            (
                &[(SESSION_TIMEOUT_MS, "soon")],
                Err(
                    "invalid value soon for configuration consumer.session.timeout.ms: not a 32-bit integer",
                ),
            ),
            (
                &[("share.session.timeout.ms", "1")],
                Err("unknown group config name: share.session.timeout.ms"),
            ),
        ] {
            let owned = configs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let parsed = GroupOverrides::parse(&owned.collect(), &broker);
            let found = parsed.map(|overrides| overrides.in_force(&broker.consumer));
            assert_eq!(found, expected.map_err(str::to_owned), "{configs:?}");
        }
    }
}
