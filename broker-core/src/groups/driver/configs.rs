//! Configs of single groups: changed, shown and in force. They are kept in the metadata log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::GroupCoordinator;
use crate::groups::ConsumerConfig;
use crate::groups::overrides::{GroupOverrides, HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS};
use crate::topics::{ConfigChange, ConfigEntry, ConfigSource, ConfigSynonym, TopicError};
use crate::validation::ConfigType;

/// A config of a group: its name, the broker's setting for all groups, the broker's name of that,
/// and what it is for.
type Row = (
    &'static str,
    fn(&ConsumerConfig) -> i32,
    &'static str,
    &'static str,
);

const ROWS: [Row; 2] = [
    (
        HEARTBEAT_INTERVAL_MS,
        |config| config.heartbeat_interval_ms,
        "group.consumer.heartbeat.interval.ms",
        "How often members are to report, in ms.",
    ),
    (
        SESSION_TIMEOUT_MS,
        |config| config.session_timeout_ms,
        "group.consumer.session.timeout.ms",
        "How long a member may stay silent, in ms.",
    ),
];

impl GroupCoordinator {
    /// Every config of a group of the consumer protocol, whether or not there is such a group,
    /// sorted by name. Waits for a change that is being written.
    #[must_use]
    pub fn describe_configs(&self, group_id: &str) -> Vec<ConfigEntry> {
        let set = self.topics.group_configs(group_id);
        let usual = crate::groups::GroupConfig::default().consumer;
        let entries = ROWS
            .iter()
            .map(|(name, broker, broker_name, documentation)| {
                let synonym = |name: &'static str, value: String, source| ConfigSynonym {
                    name,
                    value,
                    source,
                };
                let mut synonyms = Vec::new();
                if let Some(value) = set.get(*name) {
                    synonyms.push(synonym(name, value.clone(), ConfigSource::Group));
                }
                let (started, default) = (broker(&self.config.consumer), broker(&usual));
                if started != default {
                    synonyms.push(synonym(
                        broker_name,
                        started.to_string(),
                        ConfigSource::Start,
                    ));
                }
                synonyms.push(synonym(
                    broker_name,
                    default.to_string(),
                    ConfigSource::Default,
                ));
                let (value, source) = (synonyms[0].value.clone(), synonyms[0].source);
                ConfigEntry {
                    name,
                    value,
                    source,
                    kind: ConfigType::Int,
                    documentation,
                    synonyms,
                }
            });
        entries.collect()
    }

    /// Changes configs of a group, which need not be there yet: all or none. Members hear of them
    /// with their next heartbeats. Blocks on disk.
    ///
    /// # Errors
    /// INVALID_REQUEST, INVALID_CONFIG, KAFKA_STORAGE_ERROR.
    pub fn change_configs(
        &self,
        group_id: &str,
        change: &ConfigChange,
        validate_only: bool,
    ) -> Result<(), TopicError> {
        // Held until they are in force: a change that was made before must not replace a later one.
        let _changing = self.changing_configs.lock();
        let usual = |name: &str| {
            let row = ROWS.iter().find(|(known, ..)| *known == name);
            row.map(|(_, broker, ..)| (ConfigType::Int, broker(&self.config.consumer).to_string()))
        };
        let check = |configs: &BTreeMap<String, String>| {
            GroupOverrides::parse(configs, &self.config).map(drop)
        };
        self.topics
            .change_group_configs(group_id, change, validate_only, &usual, &check)?;
        if !validate_only {
            self.load_configs();
        }
        Ok(())
    }

    /// Puts what the metadata log says in force. What is not legal any more is left out.
    pub(super) fn load_configs(&self) {
        let mut overrides = BTreeMap::new();
        for (group_id, configs) in self.topics.all_group_configs() {
            match GroupOverrides::parse(&configs, &self.config) {
                Ok(parsed) => {
                    overrides.insert(group_id, parsed);
                }
                Err(reason) => tracing::warn!(group = group_id, reason, "group configs left out"),
            }
        }
        self.overrides.store(Arc::new(overrides));
    }

    /// The settings of a group.
    pub(super) fn consumer_config(&self, group_id: &str) -> Cow<'_, ConsumerConfig> {
        match self.overrides.load().get(group_id) {
            Some(overrides) => Cow::Owned(overrides.apply(&self.config.consumer)),
            None => Cow::Borrowed(&self.config.consumer),
        }
    }

    /// How often members of a group are to report.
    #[must_use]
    pub fn heartbeat_interval_ms(&self, group_id: &str) -> i32 {
        let overrides = self.overrides.load();
        let overrides = overrides.get(group_id).copied().unwrap_or_default();
        overrides.heartbeat_interval_ms(&self.config.consumer)
    }
}
