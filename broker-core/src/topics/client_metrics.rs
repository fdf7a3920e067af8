//! Client metrics resources in the metadata log: who is asked for which metrics (KIP-714).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::{Catalog, MetadataRecord};
use super::config::{Properties, value_after};
use super::{ConfigChange, ConfigEntry, ConfigSource, ConfigSynonym, TopicError, Topics};
use crate::client_metrics::ClientMetrics;
use crate::client_metrics::subscription::{
    INTERVAL_DEFAULT_MS, INTERVAL_MS, MATCH, METRICS, Subscription,
};
use crate::error::ErrorCode;
use crate::validation::ConfigType;

/// Resources at once.
const RESOURCES_MAX: usize = 100;

/// Longest name of one, in bytes.
const NAME_BYTES_MAX: usize = 249;

/// Longest value of a config, in bytes.
const VALUE_BYTES_MAX: usize = 16 * 1024;

const ROWS: [(&str, ConfigType, &str); 3] = [
    (
        INTERVAL_MS,
        ConfigType::Int,
        "How often the metrics are pushed, in ms.",
    ),
    (
        MATCH,
        ConfigType::List,
        "Which clients are asked: selector=regular expression; all must fit.",
    ),
    (
        METRICS,
        ConfigType::List,
        "Prefixes of the metrics asked for; * is all.",
    ),
];

impl Topics {
    /// Metrics of clients.
    #[must_use]
    pub fn client_metrics(&self) -> Arc<ClientMetrics> {
        Arc::clone(&self.client_metrics)
    }

    /// Names of all client metrics resources.
    #[must_use]
    pub fn list_client_metrics(&self) -> Vec<String> {
        let changing = self.changing.lock();
        changing.catalog.client_metrics.keys().cloned().collect()
    }

    /// Every config of a client metrics resource, sorted by name.
    #[must_use]
    pub fn describe_client_metrics(&self, name: &str) -> Vec<ConfigEntry> {
        let changing = self.changing.lock();
        let set = changing.catalog.client_metrics.get(name);
        let entries = ROWS.iter().map(|(name, kind, documentation)| {
            let own = set.and_then(|set| set.get(*name));
            let synonym = |value: &str, source| ConfigSynonym {
                name,
                value: value.to_owned(),
                source,
            };
            let mut synonyms = Vec::new();
            if let Some(value) = own {
                synonyms.push(synonym(value, ConfigSource::ClientMetrics));
            }
            synonyms.push(synonym(&default(name), ConfigSource::Default));
            let (value, source) = (synonyms[0].value.clone(), synonyms[0].source);
            ConfigEntry {
                name,
                value,
                source,
                kind: *kind,
                documentation,
                synonyms,
            }
        });
        entries.collect()
    }

    /// Changes configs of a client metrics resource, which is made with its first config and gone
    /// with its last.
    ///
    /// # Errors
    /// INVALID_REQUEST, INVALID_CONFIG, KAFKA_STORAGE_ERROR.
    pub fn change_client_metrics(
        &self,
        name: &str,
        change: &ConfigChange,
        validate_only: bool,
    ) -> Result<(), TopicError> {
        let mut changing = self.changing.lock();
        let known = &changing.catalog.client_metrics;
        let before = known.get(name).cloned().unwrap_or_default();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(TopicError::new(
                ErrorCode::INVALID_REQUEST,
                format!("a name has 1 to {NAME_BYTES_MAX} bytes, not {}", name.len()),
            ));
        }
        let configs = match change {
            ConfigChange::Replace(configs) => Ok(configs.clone()),
            ConfigChange::Alter(ops) => alter(&before, ops),
        };
        let configs = configs
            .and_then(|configs| check(&configs).map(|()| configs))
            .map_err(|why| TopicError::new(ErrorCode::INVALID_CONFIG, why))?;
        if before.is_empty() && !configs.is_empty() && known.len() >= RESOURCES_MAX {
            return Err(TopicError::new(
                ErrorCode::INVALID_REQUEST,
                format!("there are {RESOURCES_MAX} client metrics resources already"),
            ));
        }
        if validate_only || configs == before {
            return Ok(());
        }
        let record = MetadataRecord::ClientMetricsChanged {
            name: name.to_owned(),
            configs,
        };
        self.record(&mut changing, record)?;
        self.client_metrics
            .replace(subscriptions(&changing.catalog));
        tracing::info!(name, "client metrics changed");
        Ok(())
    }

    /// Puts what the metadata log says in force.
    pub(super) fn restore_client_metrics(&self) {
        let changing = self.changing.lock();
        self.client_metrics
            .replace(subscriptions(&changing.catalog));
    }
}

fn subscriptions(catalog: &Catalog) -> Vec<Subscription> {
    let resources = catalog.client_metrics.values();
    // They were checked when they were set.
    resources
        .filter_map(|configs| Subscription::parse(configs).ok())
        .collect()
}

fn default(name: &str) -> String {
    if name == INTERVAL_MS {
        INTERVAL_DEFAULT_MS.to_string()
    } else {
        String::new()
    }
}

fn check(configs: &Properties) -> Result<(), String> {
    for (name, value) in configs {
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("{name} is longer than {VALUE_BYTES_MAX} bytes"));
        }
    }
    Subscription::parse(configs).map(drop)
}

fn alter(before: &Properties, ops: &[(String, super::ConfigOp)]) -> Result<Properties, String> {
    let mut configs: BTreeMap<_, _> = before.clone();
    for (name, op) in ops {
        let row = ROWS.iter().find(|(known, ..)| known == name);
        let (_, kind, _) =
            row.ok_or_else(|| format!("unknown client metrics config name: {name}"))?;
        let value = configs.get(name).cloned().unwrap_or_else(|| default(name));
        match value_after(*kind, name, &value, op)? {
            Some(value) => configs.insert(name.clone(), value),
            None => configs.remove(name),
        };
    }
    Ok(configs)
}
