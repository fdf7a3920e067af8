//! The catalogue of topics and their configs, kept in a metadata log.
//!
//! Reads are lock-free snapshots. A change is checked, made durable, then published; one that
//! was under way at a crash is undone or finished at the next start. Knows nothing of requests.
//! Read [`Topics`] first, then [`catalog`](self) (`catalog.rs`: what the metadata log says).

mod broker_configs;
mod catalog;
mod changes;
mod client_metrics;
mod config;
mod groups;
mod open;
mod quotas;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use crate::log::TopicConfig;
pub use broker_configs::BrokerScope;
pub use open::TopicsOptions;

pub(crate) use catalog::TopicEntry;
pub(crate) use changes::DELETED_SUFFIX;
pub(crate) use store::MetadataStore;

use crate::client_metrics::ClientMetrics;
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::ids::{PartitionIndex, TopicId, TopicName};
use crate::partition::{Partition, PartitionContext, TopicState};
use crate::quotas::Quotas;
use crate::validation::{ConfigType, RecordValidator, TopicSettings};
use catalog::Catalog;
use config::ConfigTable;

/// Partitions of all topics together: what one node is measured with.
pub const PARTITIONS_MAX: i64 = 10_000;

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its id: a topic created again under the same name has another.
    pub id: TopicId,
    /// Kept by the broker for itself.
    pub internal: bool,
    state: Arc<TopicState>,
    partitions: ArcSwap<Vec<Arc<Partition>>>,
}

impl Topic {
    /// All partitions, by index.
    #[must_use]
    pub fn partitions(&self) -> Arc<Vec<Arc<Partition>>> {
        self.partitions.load_full()
    }

    /// One partition; `None` when there is none of that index.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<Arc<Partition>> {
        let index = usize::try_from(index.0).ok()?;
        self.partitions.load().get(index).cloned()
    }

    /// What the validator may know of it.
    #[must_use]
    pub fn settings(&self) -> Arc<TopicSettings> {
        self.state.settings.load_full()
    }

    /// `max.message.bytes` and the like in force.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.state.config.load_full()
    }
}

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TopicError {
    /// The Kafka code.
    pub code: ErrorCode,
    /// One line for the client.
    pub message: String,
}

impl TopicError {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// A topic to create.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// -1 is the broker's default.
    pub partitions: i32,
    /// -1 is the default, 1; more is INVALID_REPLICATION_FACTOR.
    pub replication_factor: i16,
    /// Configs to set.
    pub configs: BTreeMap<String, String>,
    /// Kept by the broker for itself.
    pub internal: bool,
}

/// One row of DescribeConfigs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The config's name.
    pub name: &'static str,
    /// The value in force.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Its type.
    pub kind: ConfigType,
    /// One sentence.
    pub documentation: &'static str,
    /// All values that there are, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// A value of a config, whether or not it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// What the config is called there.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// Where a config's value comes from. The numbers are those of KIP-226.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set on the broker while it ran.
    Node = 2,
    /// Set for all brokers while they ran.
    Cluster = 3,
    /// Set when the broker was started.
    Start = 4,
    /// Not set anywhere.
    Default = 5,
    /// Set on the client metrics resource.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

/// A change of configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// What is not named goes back to its default (AlterConfigs).
    Replace(BTreeMap<String, String>),
    /// Only what is named changes (IncrementalAlterConfigs).
    Alter(Vec<(String, ConfigOp)>),
}

/// An incremental change of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOp {
    /// To this value.
    Set(String),
    /// Back to the default.
    Delete,
    /// Adds items to a list.
    Append(String),
    /// Takes items from a list.
    Subtract(String),
}

/// All topics. Reads are lock-free snapshots; changes block on disk (call from a blocking thread)
/// and are durable when they return.
#[derive(Debug)]
pub struct Topics {
    published: ArcSwap<Published>,
    /// Raised after every change of topics or partitions.
    version: AtomicU64,
    changing: Mutex<Changing>,
    context: Arc<PartitionContext>,
    table: ArcSwap<ConfigTable>,
    quotas: Arc<Quotas>,
    client_metrics: Arc<ClientMetrics>,
    validator: Arc<dyn RecordValidator>,
    default_partitions: i32,
    clock: Clock,
    /// `topics/` in the data directory.
    directory: PathBuf,
}

/// What readers see.
#[derive(Debug, Clone, Default)]
struct Published {
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
}

/// What changers hold.
#[derive(Debug)]
struct Changing {
    store: MetadataStore,
    catalog: Catalog,
}

impl Drop for Topics {
    fn drop(&mut self) {
        self.context.syncer.stop();
    }
}

impl Topics {
    /// By name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.published.load().by_name.get(name).cloned()
    }

    /// By id.
    #[must_use]
    pub fn get_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.published.load().by_id.get(&id).cloned()
    }

    /// All, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Topic>> {
        self.published.load().by_name.values().cloned().collect()
    }

    /// Another number whenever a topic came, went or grew. Read it before what it is the version of.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Every config with its value in force, sorted by name.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub fn describe_configs(&self, name: &str) -> Result<Vec<ConfigEntry>, TopicError> {
        let topic = self.known(name)?;
        Ok(self.table.load().describe(&topic.settings().properties))
    }

    /// Where the next record of the metadata log goes. Waits for a change that is being written.
    #[must_use]
    pub fn metadata_log_end(&self) -> i64 {
        self.changing.lock().store.end().0
    }

    fn known(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        self.get(name).ok_or_else(|| {
            TopicError::new(
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                format!("topic {name} does not exist"),
            )
        })
    }

    /// Retention, rolling, expiry and checkpoints of every partition, until `stop` says so. Blocks on
    /// disk.
    pub(crate) fn keep_house(&self, stop: &dyn Fn() -> bool) {
        let (partitions, now_ms) = (self.partitions(), self.clock.now_ms());
        self.context
            .keep_house(&partitions, &self.directory, now_ms, stop);
    }

    /// Compacts the partitions of compacted topics, one after the other, until `stop` says so.
    /// Blocks on disk.
    pub(crate) fn compact(&self, stop: &dyn Fn() -> bool) {
        for topic in self.list() {
            for partition in topic.partitions().iter() {
                if stop() {
                    return;
                }
                partition.compact(self.clock.now_ms(), stop);
            }
        }
    }

    /// Syncs and saves everything and takes every partition out of use. Blocks on disk.
    ///
    /// # Errors
    /// The partitions that could not be saved.
    pub fn close(&self) -> Result<(), String> {
        self.context.close(&self.partitions(), &self.directory)
    }

    /// Those of all topics.
    fn partitions(&self) -> Vec<Arc<Partition>> {
        let topics = self.list().into_iter();
        topics
            .flat_map(|topic| Vec::clone(&topic.partitions()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
