//! The registry: each operation is decided on one snapshot, committed in one transaction, published
//! by a pointer swap, and only then answered.
//!
//! Knows no HTTP word and no SQL word. Next: [`register`] for the heart, [`candidate`] for parsing
//! and look-up, [`delete`], [`settings`], [`associations`], [`tags`], [`read`].

pub(crate) mod associations;
pub(crate) mod candidate;
pub(crate) mod delete;
pub(crate) mod read;
pub(crate) mod register;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod tags;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::change::{ChangeRow, ChangeSet};
use crate::error::RegistryError;
use crate::http;
use crate::model::CompatibilityLevel;
use crate::snapshot::{Snapshot, Unavailable};
use crate::store::{CommitError, SqliteStore};

/// What a registry needs to know to open.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The SQLite file; created with its directory's permissions when missing.
    pub sqlite_path: PathBuf,
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
    store: SqliteStore,
    /// Serialises writers of this process; the epoch check guards against others.
    writing: Mutex<()>,
    view: ArcSwap<Snapshot>,
    pub(crate) defaults: Defaults,
}

/// Process-wide settings that decisions need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) level: CompatibilityLevel,
    pub(crate) mode_mutability: bool,
    pub(crate) reject_empty_subject: bool,
    pub(crate) strict_reference_versions: bool,
    pub(crate) body_bytes_max: usize,
}

/// What an operation wants done.
#[derive(Debug)]
pub(crate) enum Decision<T> {
    /// Nothing to write.
    Unchanged(T),
    /// Write this, then answer.
    Change(Box<ChangeSet>, T),
}

/// How often a decision is made again when another writer was faster.
const CONFLICT_RETRIES_MAX: usize = 5;

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
        let failed = |error: &dyn std::fmt::Display| {
            OpenError(format!(
                "registry store {}: {error}",
                config.sqlite_path.display()
            ))
        };
        let store = SqliteStore::open(&config.sqlite_path)
            .await
            .map_err(|error| failed(&error))?;
        let loaded = store.load().await.map_err(|error| failed(&error))?;
        let snapshot = Snapshot::default().with(&loaded.changes, loaded.epoch);
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                writing: Mutex::new(()),
                view: ArcSwap::from_pointee(snapshot),
                defaults: Defaults {
                    level,
                    mode_mutability: config.mode_mutability,
                    reject_empty_subject: config.reject_empty_subject,
                    strict_reference_versions: config.strict_reference_versions,
                    body_bytes_max: config.body_bytes_max,
                },
            }),
        })
    }

    /// The current image: a pointer read.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.inner.view.load()
    }

    /// Re-reads the truth if this process may be behind it: one small query when it is not.
    ///
    /// # Errors
    /// When the store cannot be read; the image stays what it was.
    pub async fn refresh(&self) -> Result<(), Unavailable> {
        let unavailable = |error: crate::store::StoreError| Unavailable(error.to_string());
        if self.inner.store.epoch().await.map_err(unavailable)? == self.snapshot().epoch() {
            return Ok(());
        }
        let _writing = self.inner.writing.lock().await;
        self.inner.reload().await.map_err(unavailable)
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
        let _writing = self.inner.writing.lock().await;
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

    /// Decides on the current image, commits, publishes, answers.
    ///
    /// Runs in a task of its own: a client that goes away must not leave a committed change
    /// unpublished.
    ///
    /// `heavy` moves the decision (parsing, comparing) off the async threads.
    pub(crate) async fn change<T, F>(&self, heavy: bool, decide: F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: Fn(&Snapshot) -> Result<Decision<T>, RegistryError> + Send + Sync + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move { inner.change(heavy, Arc::new(decide)).await });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a registry operation ended abnormally");
            Err(RegistryError::Internal)
        })
    }
}

impl Inner {
    async fn change<T, F>(&self, heavy: bool, decide: Arc<F>) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: Fn(&Snapshot) -> Result<Decision<T>, RegistryError> + Send + Sync + 'static,
    {
        let _writing = self.writing.lock().await;
        for _ in 0..CONFLICT_RETRIES_MAX {
            let snapshot = self.view.load_full();
            let decision = if heavy {
                let (snapshot, decide) = (Arc::clone(&snapshot), Arc::clone(&decide));
                tokio::task::spawn_blocking(move || decide(&snapshot))
                    .await
                    .unwrap_or(Err(RegistryError::Internal))?
            } else {
                decide(&snapshot)?
            };
            let (set, answer) = match decision {
                Decision::Unchanged(answer) => return Ok(answer),
                Decision::Change(set, answer) => (set, answer),
            };
            match self.store.commit(snapshot.epoch(), &set).await {
                Ok(epoch) => {
                    self.view
                        .store(Arc::new(snapshot.with(&set.changes, epoch)));
                    return Ok(answer);
                }
                Err(CommitError::Conflict { .. }) => {
                    self.reload().await.map_err(|error| {
                        tracing::error!(%error, "the registry store cannot be read");
                        RegistryError::Store
                    })?;
                }
                Err(error) => {
                    tracing::error!(%error, operation = set.audit.operation, "a change was not stored");
                    return Err(RegistryError::Store);
                }
            }
        }
        tracing::error!("other writers moved the registry {CONFLICT_RETRIES_MAX} times in a row");
        Err(RegistryError::Store)
    }

    async fn reload(&self) -> Result<(), crate::store::StoreError> {
        let loaded = self.store.load().await?;
        let snapshot = Snapshot::default().with(&loaded.changes, loaded.epoch);
        self.view.store(Arc::new(snapshot));
        Ok(())
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
