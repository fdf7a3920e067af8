//! Broker-wide values of topic configs: what they are called on the broker, and changing them while
//! it runs.
//!
//! Kafka's dynamic broker configs (KIP-226), as far as they have an effect here. Each can be set
//! for the whole cluster or for the one broker; the latter counts, then the former, then what the
//! broker was started with, then the default.

use std::sync::Arc;

use super::catalog::MetadataRecord;
use super::config::Properties;
use super::{ConfigChange, ConfigEntry, ConfigSource, TopicError, Topics};
use crate::error::ErrorCode;

/// For which brokers a config is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerScope {
    /// All: the empty broker name.
    Cluster,
    /// This one.
    Node,
}

impl BrokerScope {
    /// In the metadata log.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Cluster => 0,
            Self::Node => 1,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Cluster),
            1 => Some(Self::Node),
            _ => None,
        }
    }

    pub(super) const fn source(self) -> ConfigSource {
        match self {
            Self::Cluster => ConfigSource::Cluster,
            Self::Node => ConfigSource::Node,
        }
    }
}

/// A config's name on topics, and on the broker. As `ServerTopicConfigSynonyms` of Kafka; those
/// without effect here cannot be set on the broker.
const NAMES: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    (
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
    ),
    (
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
    ),
    ("message.timestamp.type", "log.message.timestamp.type"),
    (
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
    ),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.ms", "log.roll.ms"),
];

/// The broker's name of a topic config, if it can be set there.
pub(super) fn broker_name(topic_name: &str) -> Option<&'static str> {
    let found = NAMES.iter().find(|(topic, _)| *topic == topic_name);
    found.map(|(_, broker)| *broker)
}

/// The topics' name of a broker config.
pub(super) fn topic_name(broker_name: &str) -> Option<&'static str> {
    let found = NAMES.iter().find(|(_, broker)| *broker == broker_name);
    found.map(|(topic, _)| *topic)
}

impl Topics {
    /// Every config that can be set on the broker while it runs, sorted by name.
    #[must_use]
    pub fn describe_broker_configs(&self) -> Vec<ConfigEntry> {
        self.table.load().describe_broker()
    }

    /// Changes broker-wide values of topic configs: all or none. Topics that do not set them
    /// themselves follow at once.
    ///
    /// # Errors
    /// INVALID_CONFIG, KAFKA_STORAGE_ERROR.
    pub fn change_broker_configs(
        &self,
        scope: BrokerScope,
        change: &ConfigChange,
        validate_only: bool,
    ) -> Result<(), TopicError> {
        let mut changing = self.changing.lock();
        let table = self.table.load();
        let before = changing.catalog.broker_configs.get(&scope);
        let before = before.cloned().unwrap_or_default();
        let altered = match change {
            ConfigChange::Replace(configs) => Ok(configs.clone()),
            ConfigChange::Alter(ops) => table.alter_broker(scope, &before, ops),
        };
        let (configs, changed) = altered
            .and_then(|configs| Ok((table.with_broker(scope, &configs)?, configs)))
            .map(|(table, configs)| (configs, table))
            .map_err(|why| TopicError::new(ErrorCode::INVALID_CONFIG, why))?;
        if validate_only || configs == before {
            return Ok(());
        }
        let record = MetadataRecord::BrokerConfigsChanged { scope, configs };
        self.record(&mut changing, record)?;
        self.table.store(Arc::new(changed));
        self.apply_table();
        tracing::info!(?scope, "broker configs changed");
        Ok(())
    }

    /// Puts what the metadata log says in force. A value that is not legal any more is left out.
    pub(super) fn restore_broker_configs(&self) {
        let changing = self.changing.lock();
        for (scope, configs) in &changing.catalog.broker_configs {
            let table = self.table.load();
            let mut legal = Properties::new();
            for (name, value) in configs {
                let one = Properties::from([(name.clone(), value.clone())]);
                match table.with_broker(*scope, &one) {
                    Ok(_) => legal.extend(one),
                    Err(reason) => tracing::warn!(name, reason, "broker config left out"),
                }
            }
            if let Ok(changed) = table.with_broker(*scope, &legal) {
                self.table.store(Arc::new(changed));
            }
        }
    }

    fn apply_table(&self) {
        let table = self.table.load();
        for topic in self.list() {
            let properties = &topic.settings().properties;
            let config = table.parse(properties);
            topic.state.config.store(Arc::new(config));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (topic, broker) in NAMES {
            assert_eq!(broker_name(topic), Some(*broker));
            assert_eq!(topic_name(broker), Some(*topic));
        }
        assert_eq!(broker_name("preallocate"), None);
        for scope in [BrokerScope::Cluster, BrokerScope::Node] {
            assert_eq!(BrokerScope::from_number(scope.number()), Some(scope));
        }
    }
}
