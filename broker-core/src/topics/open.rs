//! Opening the catalogue: replay, clear away what a crash left half done, open every partition.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::catalog::{Catalog, MetadataRecord};
use super::changes::DELETED_SUFFIX;
use super::config::ConfigTable;
use super::store::MetadataStore;
use super::{Changing, Published, Topic, Topics};
use crate::broker::Durability;
use crate::clock::Clock;
use crate::ids::{LeaderEpoch, PartitionIndex, TopicId, TopicName};
use crate::log::{
    Shutdown, Start, encode_id, load_topic_id, parse_partition_directory, partition_directory,
    save_topic_id,
};
use crate::partition::{Partition, PartitionContext, Syncer};
use crate::storage::Storage;
use crate::threads;
use crate::validation::RecordValidator;

/// What the catalogue needs to open.
#[derive(Debug, Clone)]
pub struct TopicsOptions {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// Holds `meta/` and `topics/`.
    pub data_dir: PathBuf,
    /// How the process before ended.
    pub shutdown: Shutdown,
    /// When acks=all is answered.
    pub durability: Durability,
    /// Partitions of a topic that asks for -1.
    pub default_partitions: i32,
    /// Broker-wide defaults of topic configs.
    pub topic_defaults: BTreeMap<String, String>,
    /// Where the time comes from.
    pub clock: Clock,
    /// Knows further topic configs.
    pub validator: Arc<dyn RecordValidator>,
}

impl Topics {
    /// Replays the metadata log and opens every partition. Blocks on disk. A partition that
    /// cannot be opened is offline; the others work.
    ///
    /// # Errors
    /// A text naming the file or config that prevents it.
    pub fn open(options: TopicsOptions) -> Result<Arc<Self>, String> {
        let syncer = Syncer::start().map_err(|error| format!("sync threads: {error}"))?;
        Self::open_with(options, syncer)
    }

    pub(crate) fn open_with(
        options: TopicsOptions,
        syncer: Arc<Syncer>,
    ) -> Result<Arc<Self>, String> {
        let TopicsOptions {
            storage,
            data_dir,
            shutdown,
            durability,
            default_partitions,
            topic_defaults,
            clock,
            validator,
        } = options;
        let table = Self::config_table(validator.as_ref(), &topic_defaults)?;
        let directory = data_dir.join("topics");
        let meta = data_dir.join("meta");
        let fail = |error: io::Error| format!("{}: {error}", directory.display());
        storage.create_dir(&directory).map_err(fail)?;
        let found = Found::scan(storage.as_ref(), &directory).map_err(fail)?;
        if !MetadataStore::exists(storage.as_ref(), &meta) && !found.partitions.is_empty() {
            return Err(format!(
                "{} holds {} partitions, but the metadata log in {} is missing: restore it, or \
                 move the partitions away",
                directory.display(),
                found.partitions.len(),
                meta.display()
            ));
        }
        let (store, catalog) = MetadataStore::open(storage.as_ref(), &meta, clock.now_ms())?;
        storage.sync_dir(&data_dir).map_err(fail)?;
        found
            .clear(storage.as_ref(), &directory, &catalog)
            .map_err(fail)?;
        let topics = Self {
            published: ArcSwap::default(),
            version: AtomicU64::new(0),
            changing: Mutex::new(Changing { store, catalog }),
            context: Arc::new(PartitionContext::new(storage, syncer, durability)),
            table: ArcSwap::from_pointee(table),
            quotas: Arc::default(),
            client_metrics: Arc::default(),
            validator,
            default_partitions,
            clock,
            directory,
        };
        topics.restore_broker_configs();
        topics.restore_quotas();
        topics.restore_client_metrics();
        let start = topics.start(shutdown)?;
        topics.open_partitions(start)?;
        Ok(Arc::new(topics))
    }

    /// The configs with their broker-wide defaults, if those are known and make sense together.
    pub(crate) fn config_table(
        validator: &dyn RecordValidator,
        defaults: &BTreeMap<String, String>,
    ) -> Result<ConfigTable, String> {
        ConfigTable::new(validator.config_keys(), defaults)
            .and_then(|table| validator.check_properties(defaults).map(|()| table))
            .map_err(|why| format!("broker-wide topic defaults: {why}"))
    }

    /// Counts unclean starts: the count is a leader epoch that no partition has had.
    fn start(&self, shutdown: Shutdown) -> Result<Start, String> {
        let mut changing = self.changing.lock();
        if shutdown == Shutdown::Unclean && !changing.catalog.topics.is_empty() {
            let count = changing.catalog.unclean_starts.saturating_add(1);
            self.record(&mut changing, MetadataRecord::UncleanStart { count })
                .map_err(|error| error.message)?;
        }
        Ok(Start {
            shutdown,
            epoch_floor: LeaderEpoch(changing.catalog.unclean_starts),
            now_ms: self.clock.now_ms(),
        })
    }

    fn open_partitions(&self, start: Start) -> Result<(), String> {
        let mut published = Published::default();
        let mut jobs = Vec::new();
        for entry in self.changing.lock().catalog.topics.values() {
            let name = TopicName::new(&entry.name)
                .ok_or_else(|| format!("metadata log: illegal topic name {:?}", entry.name))?;
            let topic = Arc::new(self.topic(entry, name));
            jobs.extend((0..entry.partitions).map(|index| (Arc::clone(&topic), index)));
            published.insert(&topic);
        }
        let mut opened: HashMap<TopicId, Vec<Arc<Partition>>> = HashMap::new();
        for (topic, partition) in self.run_jobs(&jobs, start)? {
            opened.entry(topic.id).or_default().push(partition);
        }
        for topic in published.by_id.values() {
            let mut partitions = opened.remove(&topic.id).unwrap_or_default();
            partitions.sort_unstable_by_key(|partition| partition.index());
            topic.partitions.store(Arc::new(partitions));
        }
        self.published.store(Arc::new(published));
        Ok(())
    }

    /// Opens partitions on a few threads: a start after a crash waits for the disk.
    fn run_jobs(&self, jobs: &[(Arc<Topic>, i32)], start: Start) -> Result<Vec<Opened>, String> {
        let opened = threads::each(jobs, |(topic, index)| {
            let partition = self.open_partition(topic, *index, start);
            partition.map(|partition| (Arc::clone(topic), partition))
        });
        opened.into_iter().collect()
    }

    fn open_partition(
        &self,
        topic: &Topic,
        index: i32,
        start: Start,
    ) -> Result<Arc<Partition>, String> {
        let storage = self.context.storage.as_ref();
        let directory = partition_directory(&self.directory, topic.name.as_str(), index);
        // Another error is the partition's own: it opens offline, and says why.
        let missing = storage
            .list(&directory)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if missing {
            tracing::warn!(directory = %directory.display(), "partition's directory is missing");
            storage
                .create_dir(&directory)
                .and_then(|()| save_topic_id(topic.id, storage, &directory))
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        Ok(Partition::open(
            &self.context,
            &topic.state,
            PartitionIndex(index),
            directory,
            start,
        ))
    }
}

/// A partition and its topic.
type Opened = (Arc<Topic>, Arc<Partition>);

/// What is in `topics/`.
struct Found {
    /// Directory name, topic, partition, and the topic id it says.
    partitions: Vec<(String, String, i32, Option<TopicId>)>,
    /// Directories of deleted topics.
    deleted: Vec<String>,
}

impl Found {
    fn scan(storage: &dyn Storage, directory: &Path) -> io::Result<Self> {
        let mut found = Self {
            partitions: Vec::new(),
            deleted: Vec::new(),
        };
        let mut names = Vec::new();
        for name in storage.list(directory)? {
            if name.ends_with(DELETED_SUFFIX) {
                found.deleted.push(name);
            } else if parse_partition_directory(&name).is_some() {
                names.push(name);
            } else {
                tracing::warn!(directory = %directory.display(), name, "left alone: not a partition");
            }
        }
        let partitions = threads::each(&names, |name| {
            let (topic, partition) = parse_partition_directory(name)?;
            let id = load_topic_id(storage, &directory.join(name)).unwrap_or(None);
            Some((name.clone(), topic.to_owned(), partition, id))
        });
        found.partitions = partitions.into_iter().flatten().collect();
        Ok(found)
    }

    /// Removes what belongs to topics that were never or are no longer in the catalog.
    fn clear(self, storage: &dyn Storage, directory: &Path, catalog: &Catalog) -> io::Result<()> {
        for name in &self.deleted {
            storage.remove(&directory.join(name))?;
        }
        let topics = catalog.topics.values();
        let by_name: HashMap<_, _> = topics.map(|topic| (topic.name.as_str(), topic)).collect();
        for (name, topic, partition, id) in &self.partitions {
            let belongs = by_name.get(topic.as_str()).is_some_and(|topic| {
                *partition < topic.partitions && id.is_none_or(|id| id == topic.id)
            });
            if !belongs {
                let id = id.map_or_else(|| "unknown".to_owned(), encode_id);
                tracing::warn!(
                    name,
                    topic_id = id,
                    "removing files of a topic that is not there"
                );
                storage.remove(&directory.join(name))?;
            }
        }
        storage.sync_dir(directory)
    }
}
