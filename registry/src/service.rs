//! The registry: each operation is decided on one snapshot, committed in one transaction, published
//! by a pointer swap, and only then answered.
//!
//! Knows no HTTP word and no SQL word. Next: [`register`] for the heart, [`candidate`] for parsing
//! and look-up, [`delete`], [`settings`], [`associations`], [`tags`], [`read`]; [`writing`] for how
//! changes are committed, [`replica`] for several processes on one database.

pub(crate) mod associations;
pub(crate) mod candidate;
pub(crate) mod delete;
pub(crate) mod evidence;
pub(crate) mod parses;
pub(crate) mod read;
pub(crate) mod register;
mod replica;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod tags;
mod writing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::change::{ChangeRow, ChangeSet};
use crate::error::RegistryError;
use crate::http;
use crate::impact::SubjectUsage;
use crate::limits::{LimitValues, Limits};
use crate::model::CompatibilityLevel;
use crate::snapshot::{Snapshot, Unavailable};
use crate::store::{Store, StoreError, StoreLocation};
use replica::{Flights, Replica};
use writing::WriteQueue;

/// What a registry needs to know to open.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Where the truth is.
    pub store: StoreLocation,
    /// Compatibility level where nothing is configured; Confluent's names, case aside.
    pub default_compatibility: String,
    /// Whether modes may be changed.
    pub mode_mutability: bool,
    /// Refuse to register under the empty subject and under `*`; Confluent's
    /// `schema.reject.empty.subject`.
    pub reject_empty_subject: bool,
    /// Refuse a schema whose references, and theirs, bind one name to two versions; Confluent's
    /// `schema.providers.reference.versions.strict`.
    pub strict_reference_versions: bool,
    /// Longest request body, in bytes; a longer one is answered 413.
    pub body_bytes_max: usize,
}

/// Why a registry did not open.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// A running registry; clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    store: Store,
    queue: WriteQueue,
    /// Held while a transaction of this process writes.
    writing: Mutex<()>,
    /// Held while the image follows other processes.
    catching: Mutex<()>,
    flights: Flights,
    view: ArcSwap<Snapshot>,
    /// None when this process is the store's only one.
    replica: Option<Replica>,
    closed: AtomicBool,
    pub(crate) defaults: Defaults,
    pub(crate) limits: Limits,
    usage: OnceLock<Arc<dyn SubjectUsage>>,
}

/// Process-wide settings that decisions need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) level: CompatibilityLevel,
    pub(crate) mode_mutability: bool,
    pub(crate) reject_empty_subject: bool,
    pub(crate) strict_reference_versions: bool,
}

/// What an operation wants done.
#[derive(Debug)]
pub(crate) enum Decision<T> {
    /// Nothing to write.
    Unchanged(T),
    /// Write this, then answer.
    Change(Box<ChangeSet>, T),
}

impl Registry {
    /// Opens the store, runs migrations, loads the snapshot.
    ///
    /// # Errors
    /// When the level is unknown, the file cannot be opened or migrated, or a stored row cannot be
    /// read.
    pub async fn open(config: RegistryConfig) -> Result<Self, OpenError> {
        let level =
            CompatibilityLevel::from_name(&config.default_compatibility).ok_or_else(|| {
                OpenError(format!(
                    "unknown compatibility level {:?}",
                    config.default_compatibility
                ))
            })?;
        let location = config.store.to_string();
        let failed = |error: StoreError| OpenError(format!("registry store {location}: {error}"));
        let store = Store::open(&config.store).await.map_err(failed)?;
        let replica = store.shared().map(|_| Replica::new());
        let inner = Arc::new(Inner {
            store,
            queue: WriteQueue::default(),
            writing: Mutex::new(()),
            catching: Mutex::new(()),
            flights: Flights::default(),
            view: ArcSwap::default(),
            replica,
            closed: AtomicBool::new(false),
            defaults: Defaults {
                level,
                mode_mutability: config.mode_mutability,
                reject_empty_subject: config.reject_empty_subject,
                strict_reference_versions: config.strict_reference_versions,
            },
            limits: Limits::new(LimitValues {
                body_bytes_max: config.body_bytes_max,
                ..LimitValues::default()
            }),
            usage: OnceLock::new(),
        });
        inner.announce().await.map_err(failed)?;
        inner.publish(inner.load().await.map_err(failed)?);
        inner.renew().await.map_err(failed)?;
        replica::start(&inner);
        Ok(Self { inner })
    }

    /// The current image: a pointer read.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.inner.view.load()
    }

    /// What one request may cost; may be changed at any time.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Whoever knows the topics of subjects tells from now on; the first one stays.
    pub fn set_usage(&self, usage: Arc<dyn SubjectUsage>) {
        if self.inner.usage.set(usage).is_err() {
            tracing::debug!("the usage of subjects is told already");
        }
    }

    pub(crate) fn usage(&self) -> Option<&Arc<dyn SubjectUsage>> {
        self.inner.usage.get()
    }

    /// Re-reads the truth if this process may be behind it: one small query when it is not. Callers
    /// at the same time share one.
    ///
    /// # Errors
    /// When the store cannot be read; the image stays what it was.
    pub async fn refresh(&self) -> Result<(), Unavailable> {
        self.inner.read_through().await
    }

    /// Whether other processes change the same store, so that what is unknown here may exist.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.replica.is_some()
    }

    /// Whether the image may be taken for the truth: a replica that has lost its database may not,
    /// once its lease has ended. Reads may still be answered from it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.inner.is_current()
    }

    /// Whether this process should be given work.
    ///
    /// # Errors
    /// What is wrong with the store.
    pub fn ready(&self) -> Result<(), Unavailable> {
        self.inner.fault().map_or(Ok(()), Err)
    }

    /// The change log after an epoch, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn changes(
        &self,
        after_epoch: u64,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, Unavailable> {
        let rows = self.inner.store.changes(after_epoch, limit).await;
        rows.map_err(|error| Unavailable(error.to_string()))
    }

    /// The newest changes of one subject, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn changes_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, Unavailable> {
        let rows = self.inner.store.changes_of(subject, limit).await;
        rows.map_err(|error| Unavailable(error.to_string()))
    }

    /// Confluent's HTTP API without a fallback; merge other routes into it, then add
    /// [`Self::fallback_not_found`].
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Answers unknown paths with Confluent's 404 body.
    pub fn fallback_not_found(router: axum::Router) -> axum::Router {
        http::fallback_not_found(router)
    }

    /// Syncs and closes the store; later writes fail, reads of the image go on.
    pub async fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        if let Some(replica) = &self.inner.replica {
            replica.stop();
        }
        let _writing = self.inner.writing.lock().await;
        self.inner.leave().await;
        self.inner.store.close().await;
    }

    /// Runs a read that parses or compares, off the async threads when it is `heavy`.
    pub(crate) async fn compute<T, F>(&self, heavy: bool, read: F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, RegistryError> + Send + 'static,
    {
        if !heavy {
            return read(self);
        }
        let registry = self.clone();
        tokio::task::spawn_blocking(move || read(&registry))
            .await
            .unwrap_or(Err(RegistryError::Internal))
    }

    /// Decides on the newest image, commits, publishes, answers.
    ///
    /// A client that goes away loses its answer, never the change. `heavy` moves the decision
    /// (parsing, comparing) off the async threads.
    pub(crate) async fn change<T, F>(&self, heavy: bool, decide: F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: Fn(&Snapshot) -> Result<Decision<T>, RegistryError> + Send + 'static,
    {
        let answer = self.inner.queue(heavy, decide).await;
        if let Some(epoch) = answer.removal_epoch {
            // What is gone for good must be gone everywhere when the answer says so.
            let everywhere = self.inner.acknowledged_everywhere(epoch).await;
            everywhere.map_err(|error| {
                tracing::error!(%error, "a delete is stored, and may still be served elsewhere");
                RegistryError::Store
            })?;
        }
        evidence::shown(self, answer.result).await
    }
}

impl Inner {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Everything, from the store.
    async fn load(&self) -> Result<Snapshot, StoreError> {
        let loaded = self.store.load().await?;
        let mut snapshot = Snapshot::default();
        snapshot.advance(&loaded.changes, loaded.epoch);
        Ok(snapshot)
    }

    /// Makes an image the one that reads see, unless a newer one is already.
    fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        self.view.rcu(|current| {
            if current.epoch() < snapshot.epoch() {
                Arc::clone(&snapshot)
            } else {
                Arc::clone(current)
            }
        });
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
