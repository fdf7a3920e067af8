//! The broker behind one handle: configuration, data directory, threads.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::api::SessionCache;
use crate::authorization::{AllowAll, Authorizer};
use crate::clock::Clock;
use crate::groups::{GroupConfig, GroupCoordinator};
use crate::ids::{ProducerId, TopicId};
use crate::log::{Shutdown, encode_id};
use crate::partition::Syncer;
use crate::storage::disk::Disk;
use crate::storage::{Persistence, Storage, read_file, replace_file};
use crate::topics::{Topics, TopicsOptions};
use crate::transactions::{ProducerIds, TransactionConfig, TransactionCoordinator};
use crate::validation::RecordValidator;

/// When acks=all is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After an fdatasync that covers it: survives power loss.
    GroupFsync,
    /// After the page-cache write, as Kafka's default: survives the process, not the machine.
    Os,
}

/// Everything configurable about the broker; defaults as Kafka's where Kafka has them.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where everything is kept; created when missing.
    pub data_dir: PathBuf,
    /// `node.id`.
    pub node_id: i32,
    /// Host in Metadata and FindCoordinator.
    pub advertised_host: String,
    /// Port in Metadata and FindCoordinator.
    pub advertised_port: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `num.partitions`.
    pub default_partitions: i32,
    /// When acks=all is answered.
    pub durability: Durability,
    /// `socket.request.max.bytes`.
    pub socket_request_bytes_max: usize,
    /// Bytes of requests held in memory by all connections together; past it connections stop
    /// reading.
    pub request_memory_bytes_max: usize,
    /// Connections served at once.
    pub connections_max: usize,
    /// Consumer groups.
    pub groups: GroupConfig,
    /// Transactions.
    pub transactions: TransactionConfig,
    /// Broker-wide defaults of topic configs (`log.retention.ms` and the like under their topic
    /// names).
    pub topic_defaults: std::collections::BTreeMap<String, String>,
    /// Bytes of records in answers to fetches that are not written yet, of all connections
    /// together; past it answers are small.
    pub fetch_memory_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl BrokerConfig {
    /// The defaults, on `data_dir`.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            node_id: 1,
            advertised_host: "localhost".to_owned(),
            advertised_port: 9092,
            auto_create_topics: true,
            default_partitions: 1,
            durability: Durability::GroupFsync,
            socket_request_bytes_max: 100 << 20,
            request_memory_bytes_max: 512 << 20,
            connections_max: 10_000,
            groups: GroupConfig::default(),
            transactions: TransactionConfig::default(),
            topic_defaults: std::collections::BTreeMap::new(),
            fetch_memory_bytes_max: 512 << 20,
            fetch_sessions_max: 1000,
            authorizer: Arc::new(AllowAll),
            clock: Clock::System,
        }
    }
}

/// The broker.
#[derive(Debug)]
pub struct Broker {
    /// As it was opened with.
    pub config: BrokerConfig,
    /// Random, made with the data directory, in the form Kafka gives it.
    pub cluster_id: String,
    /// All topics.
    pub topics: Arc<Topics>,
    /// All consumer groups. Its [`GroupCoordinator::run`] is for the caller to spawn.
    pub groups: Arc<GroupCoordinator>,
    /// All transactional ids. Its [`TransactionCoordinator::run`] is for the caller to spawn.
    pub transactions: Arc<TransactionCoordinator>,
    /// Judges records.
    pub validator: Arc<dyn RecordValidator>,
    pub(crate) fetch_sessions: SessionCache,
    /// A permit per byte.
    pub(crate) fetch_memory: Arc<Semaphore>,
    producer_ids: Arc<ProducerIds>,
    syncer: Arc<Syncer>,
    /// House-keeping and compaction.
    background: Mutex<Vec<Periodic>>,
    /// Held as long as the broker is open.
    lock: Mutex<Option<File>>,
}

/// Why the broker did not open, or could not do what only a disk can.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

impl Broker {
    /// Locks the data directory, checks its format number, recovers every partition, starts the
    /// sync and house-keeping threads. Blocks on disk.
    ///
    /// # Errors
    /// A text naming the directory, file or config that prevents it.
    pub fn open(
        config: BrokerConfig,
        validator: Arc<dyn RecordValidator>,
    ) -> Result<Arc<Self>, OpenError> {
        // Before the shutdown mark is taken: a misspelt option must not cost a recovery.
        Topics::config_table(validator.as_ref(), &config.topic_defaults).map_err(OpenError)?;
        let data_dir = &config.data_dir;
        let lock = lock_directory(data_dir).map_err(OpenError)?;
        let storage: Arc<dyn Storage> = Arc::new(Disk);
        let fail = |error: io::Error| OpenError(format!("{}: {error}", data_dir.display()));
        check_format(storage.as_ref(), data_dir).map_err(OpenError)?;
        let cluster_id =
            cluster_id(storage.as_ref(), data_dir, config.node_id).map_err(OpenError)?;
        let shutdown = shutdown_before(storage.as_ref(), data_dir).map_err(fail)?;
        let syncer = Syncer::start().map_err(fail)?;
        let opened = Topics::open_with(
            TopicsOptions {
                storage: Arc::clone(&storage),
                data_dir: data_dir.clone(),
                shutdown,
                durability: config.durability,
                default_partitions: config.default_partitions,
                topic_defaults: config.topic_defaults.clone(),
                clock: config.clock.clone(),
                validator: Arc::clone(&validator),
            },
            Arc::clone(&syncer),
        )
        .and_then(|topics| {
            // Nothing was appended so far: had this start failed, the mark would still be true.
            remove_shutdown_mark(storage.as_ref(), data_dir)
                .map_err(|error| format!("{}: {error}", data_dir.display()))?;
            let served = GroupCoordinator::open(
                Arc::clone(&topics),
                config.groups.clone(),
                config.clock.clone(),
            )
            .and_then(|groups| {
                groups.forget_orphaned_offsets(&topics);
                let producer_ids = Arc::new(ProducerIds::new(Arc::clone(&topics)));
                let transactions = TransactionCoordinator::open(
                    Arc::clone(&topics),
                    Arc::clone(&groups),
                    Arc::clone(&producer_ids),
                    config.transactions.clone(),
                    config.clock.clone(),
                )?;
                let period = HOUSEKEEPING_PERIOD;
                // Soon after the start: a broker that is killed again and again must not check
                // more and more each time.
                let periods = (HOUSEKEEPING_FIRST, period);
                let housekeeper =
                    Periodic::start("housekeeping", periods, &topics, Topics::keep_house)?;
                let periods = (CLEANER_PERIOD, CLEANER_PERIOD);
                let cleaner = Periodic::start("log cleaner", periods, &topics, Topics::compact)?;
                Ok((
                    groups,
                    transactions,
                    producer_ids,
                    vec![housekeeper, cleaner],
                ))
            });
            match served {
                Ok(served) => Ok((topics, served)),
                Err(why) => {
                    // All is open: it can be ended in order, so that the next start is short.
                    if let Err(unsaved) = close_topics(&topics, storage.as_ref(), data_dir) {
                        tracing::warn!(why = unsaved, "the next start checks all");
                    }
                    Err(why)
                }
            }
        });
        let (topics, (groups, transactions, producer_ids, background)) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                syncer.stop();
                return Err(OpenError(why));
            }
        };
        let fetch_sessions_max = config.fetch_sessions_max;
        let fetch_memory = config
            .fetch_memory_bytes_max
            .clamp(1, Semaphore::MAX_PERMITS);
        Ok(Arc::new(Self {
            config,
            cluster_id,
            topics,
            groups,
            transactions,
            validator,
            fetch_sessions: SessionCache::new(fetch_sessions_max),
            fetch_memory: Arc::new(Semaphore::new(fetch_memory)),
            producer_ids,
            syncer,
            background: Mutex::new(background),
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// A fresh producer id, whose epoch is 0. Ids are durable before they are answered: now and
    /// then this blocks on disk.
    ///
    /// # Errors
    /// When the metadata log cannot be written.
    pub fn new_producer_id(&self) -> Result<ProducerId, OpenError> {
        self.producer_ids.allot().map_err(OpenError)
    }

    /// Syncs everything, writes the clean-shutdown mark, releases the lock. Partitions are offline
    /// afterwards. Blocks on disk; a second call does nothing.
    ///
    /// # Errors
    /// The partitions that could not be saved; the next start then checks all.
    pub fn close(&self) -> Result<(), OpenError> {
        let mut lock = self.lock.lock();
        if lock.is_none() {
            return Ok(());
        }
        for thread in std::mem::take(&mut *self.background.lock()) {
            thread.stop();
        }
        let marked = close_topics(&self.topics, &Disk, &self.config.data_dir);
        self.syncer.stop();
        drop(lock.take());
        marked.map_err(OpenError)
    }
}

/// A thread that does something to the topics now and then.
#[derive(Debug)]
struct Periodic {
    stopping: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Periodic {
    /// The thread ends with the topics, if nobody stops it before. `work` is told how to ask
    /// whether it should end early.
    fn start(
        name: &str,
        (first, period): (Duration, Duration),
        topics: &Arc<Topics>,
        work: fn(&Topics, &dyn Fn() -> bool),
    ) -> Result<Self, String> {
        let topics = Arc::downgrade(topics);
        let stopping = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&stopping);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let (stopping, wake) = &*seen;
                let mut stop = stopping.lock();
                let mut wait = first;
                while !*stop {
                    if !wake.wait_for(&mut stop, wait).timed_out() {
                        continue;
                    }
                    wait = period;
                    let Some(topics) = topics.upgrade() else {
                        return;
                    };
                    MutexGuard::unlocked(&mut stop, || work(&topics, &|| *stopping.lock()));
                }
            })
            .map_err(|error| format!("{name} thread: {error}"))?;
        Ok(Self { stopping, thread })
    }

    fn stop(self) {
        *self.stopping.0.lock() = true;
        self.stopping.1.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("a background thread panicked");
        }
    }
}

pub(crate) fn lock_directory(data_dir: &Path) -> Result<File, String> {
    let shown = data_dir.display();
    fs::create_dir_all(data_dir)
        .map_err(|error| format!("data directory {shown} cannot be created: {error}"))?;
    let lock = File::create(data_dir.join(".lock"))
        .map_err(|error| format!("data directory {shown} is not writable: {error}"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(format!(
            "data directory {shown} is in use by another process"
        )),
        Err(TryLockError::Error(error)) => {
            Err(format!("data directory {shown} cannot be locked: {error}"))
        }
    }
}

/// Whether a process has the directory open. Makes no file.
pub(crate) fn is_locked(data_dir: &Path) -> io::Result<bool> {
    match File::open(data_dir.join(".lock")) {
        Ok(lock) => match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The format number of the directory, if it is one that is known here; `None` without the file.
pub(crate) fn read_format(storage: &dyn Storage, data_dir: &Path) -> Result<Option<u32>, String> {
    let path = data_dir.join("format");
    let found = read_file(storage, &path, SMALL_FILE_BYTES_MAX)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(found) = found else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&found);
    match text.trim().parse::<u32>() {
        Ok(FORMAT) => Ok(Some(FORMAT)),
        Ok(newer) if newer > FORMAT => Err(format!(
            "data directory {} has format {newer}, newer than the {FORMAT} known here",
            data_dir.display()
        )),
        _ => Err(format!(
            "{} says format {:?}, which is none",
            path.display(),
            text.trim()
        )),
    }
}

fn check_format(storage: &dyn Storage, data_dir: &Path) -> Result<(), String> {
    if read_format(storage, data_dir)?.is_some() {
        return Ok(());
    }
    let path = data_dir.join("format");
    let text = format!("{FORMAT}\n");
    replace_file(storage, &path, text.as_bytes(), Persistence::Durable)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The cluster id in `meta.properties`, Kafka's file; made when there is none.
fn cluster_id(storage: &dyn Storage, data_dir: &Path, node_id: i32) -> Result<String, String> {
    if let Some(found) = read_cluster_id(storage, data_dir)? {
        return Ok(found);
    }
    let path = data_dir.join("meta.properties");
    let fail = |error: io::Error| format!("{}: {error}", path.display());
    let id = encode_id(TopicId(Uuid::new_v4()));
    let text = format!("version=1\nnode.id={node_id}\ncluster.id={id}\n");
    replace_file(storage, &path, text.as_bytes(), Persistence::Durable).map_err(fail)?;
    Ok(id)
}

/// The cluster id in `meta.properties`; `None` without the file.
pub(crate) fn read_cluster_id(
    storage: &dyn Storage,
    data_dir: &Path,
) -> Result<Option<String>, String> {
    let path = data_dir.join("meta.properties");
    let found = read_file(storage, &path, SMALL_FILE_BYTES_MAX)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(found) = found else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&found);
    text.lines()
        .find_map(|line| line.strip_prefix("cluster.id="))
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .map(Some)
        .ok_or_else(|| format!("{} has no cluster.id", path.display()))
}

/// Whether the process that had the directory before stopped in order.
pub(crate) fn stopped_in_order(storage: &dyn Storage, data_dir: &Path) -> io::Result<bool> {
    Ok(shutdown_before(storage, data_dir)? == Shutdown::Clean)
}

/// Whether the mark of an orderly stop is there.
fn shutdown_before(storage: &dyn Storage, data_dir: &Path) -> io::Result<Shutdown> {
    let mark = read_file(
        storage,
        &data_dir.join(CLEAN_SHUTDOWN),
        SMALL_FILE_BYTES_MAX,
    )?;
    Ok(mark.map_or(Shutdown::Unclean, |_| Shutdown::Clean))
}

/// Takes the mark away, durably, before anything is appended: the next start must not find it
/// unless this one ends well.
fn remove_shutdown_mark(storage: &dyn Storage, data_dir: &Path) -> io::Result<()> {
    storage.remove(&data_dir.join(CLEAN_SHUTDOWN))?;
    storage.sync_dir(data_dir)
}

/// Syncs all topics and marks the stop as orderly.
fn close_topics(topics: &Topics, storage: &dyn Storage, data_dir: &Path) -> Result<(), String> {
    topics.close()?;
    let path = data_dir.join(CLEAN_SHUTDOWN);
    replace_file(storage, &path, b"", Persistence::Durable)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Format of the data directory. Raise it when an older broker could not read what is written.
const FORMAT: u32 = 1;
const CLEAN_SHUTDOWN: &str = "clean-shutdown";
const SMALL_FILE_BYTES_MAX: u64 = 1 << 16;
const HOUSEKEEPING_PERIOD: Duration = Duration::from_secs(30);
const HOUSEKEEPING_FIRST: Duration = Duration::from_secs(5);
/// `log.cleaner.backoff.ms`.
const CLEANER_PERIOD: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaderEpoch;
    use crate::topics::NewTopic;
    use crate::validation::NoValidation;

    #[test]
    fn a_data_directory_has_one_broker() {
        let data = tempfile::tempdir().unwrap();
        let held = lock_directory(data.path()).unwrap();
        let refused = lock_directory(data.path()).unwrap_err();
        assert!(refused.contains("in use by another process"), "{refused}");
        drop(held);
        lock_directory(data.path()).unwrap();
        let file = data.path().join("file");
        fs::write(&file, b"").unwrap();
        let refused = lock_directory(&file.join("below")).unwrap_err();
        assert!(refused.contains("cannot be created"), "{refused}");
    }

    #[test]
    fn newer_formats_are_refused() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(check_format(&Disk, data.path()), Ok(()));
        assert_eq!(check_format(&Disk, data.path()), Ok(()));
        for (text, expected) in [
            ("2", "has format 2, newer than the 1"),
            ("x", "which is none"),
        ] {
            fs::write(data.path().join("format"), text).unwrap();
            let refused = check_format(&Disk, data.path()).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn the_cluster_id_stays() {
        let data = tempfile::tempdir().unwrap();
        let id = cluster_id(&Disk, data.path(), 1).unwrap();
        assert_eq!(id.len(), 22);
        assert_eq!(cluster_id(&Disk, data.path(), 1), Ok(id));
    }

    #[test]
    fn the_mark_of_an_orderly_stop_serves_one_start_that_succeeds() {
        let data = tempfile::tempdir().unwrap();
        let open = || {
            let config = BrokerConfig::new(data.path().to_owned());
            Broker::open(config, Arc::new(NoValidation))
        };
        let before = || shutdown_before(&Disk, data.path()).unwrap();
        assert_eq!(before(), Shutdown::Unclean);
        let broker = open().unwrap();
        let topic = NewTopic {
            name: "orders".to_owned(),
            partitions: 1,
            replication_factor: -1,
            configs: std::collections::BTreeMap::new(),
            internal: false,
        };
        broker.topics.create(&topic, false).unwrap();
        assert_eq!(before(), Shutdown::Unclean, "while it runs");
        broker.close().unwrap();
        drop(broker);
        assert_eq!(before(), Shutdown::Clean);
        let (meta, away) = (data.path().join("meta"), data.path().join("away"));
        fs::rename(&meta, &away).unwrap();
        let refused = open().unwrap_err();
        assert!(refused.0.contains("metadata log"), "{refused}");
        assert_eq!(before(), Shutdown::Clean, "after a start that failed");
        fs::rename(&away, &meta).unwrap();
        let broker = open().unwrap();
        assert_eq!(before(), Shutdown::Unclean);
        let topic = broker.topics.get("orders").unwrap();
        let partitions = topic.partitions();
        let epoch = partitions.first().unwrap().offsets().leader_epoch;
        assert_eq!(epoch, LeaderEpoch(0), "no unclean start was counted");
        broker.close().unwrap();
    }
}
