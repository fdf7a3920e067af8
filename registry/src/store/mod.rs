//! The only place that speaks SQL.
//!
//! The store knows facts ([`crate::change::Change`]), not operations: it writes change sets in one
//! transaction and reads everything back as facts. Two engines, one text of each statement: [`sql`]
//! has the statements, [`rows`] what is bound and read (written once, expanded for each engine),
//! [`sqlite`] and [`postgres`] how a database is opened and its transactions begin.

mod backup;
pub(crate) mod facts;
mod migrations;
mod net;
mod postgres;
mod rows;
mod sql;
mod sqlite;

use std::path::PathBuf;

use postgres::{PostgresStore, PostgresWriting};
use sqlite::{SqliteStore, SqliteWriting};

pub(crate) use backup::{check_sqlite, copy_postgres, copy_sqlite, fill_postgres};
pub(crate) use postgres::LEASE;

use crate::change::{Change, ChangeRow, ChangeSet};

/// Where a registry keeps its truth.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A SQLite file, for this process alone; created when missing.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, `postgres://user:password@host/database`; any number of processes.
    Postgres(String),
}

impl std::fmt::Debug for StoreLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreLocation({self})")
    }
}

/// Without a password: for messages and logs.
impl std::fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&postgres::shown(url)),
        }
    }
}

/// A registry database.
#[derive(Debug)]
pub(crate) enum Store {
    Sqlite(SqliteStore),
    Postgres(Box<PostgresStore>),
}

/// Everything stored, as the facts that rebuild the image.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) epoch: u64,
    pub(crate) changes: Vec<Change>,
}

/// What one epoch changed.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) epoch: u64,
    /// None where they cannot be applied: written by an older release, or by a newer one.
    pub(crate) changes: Option<Vec<Change>>,
}

/// The database cannot be asked, or answered nonsense.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct StoreError {
    text: String,
    /// The database answered and refused: other change sets may fare better.
    pub(crate) refused: bool,
}

impl StoreError {
    /// What is stored cannot be read.
    pub(crate) fn nonsense(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            refused: false,
        }
    }

    /// The database does not answer in time.
    fn silent() -> Self {
        Self::nonsense("the database does not answer")
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self {
            text: error.to_string(),
            refused: matches!(error, sqlx::Error::Database(_)),
        }
    }
}

/// Calls the same function of either engine.
macro_rules! either {
    ($store:expr, $kind:ident, $inner:ident => $call:expr) => {
        match $store {
            $kind::Sqlite($inner) => $call,
            $kind::Postgres($inner) => $call,
        }
    };
}

impl Store {
    /// Opens or creates the database and brings it to this release's tables.
    pub(crate) async fn open(location: &StoreLocation) -> Result<Self, StoreError> {
        Ok(match location {
            StoreLocation::Sqlite(path) => Self::Sqlite(SqliteStore::open(path).await?),
            StoreLocation::Postgres(url) => {
                Self::Postgres(Box::new(PostgresStore::open(url).await?))
            }
        })
    }

    /// The store as replicas share it; None when this process is its only one.
    pub(crate) fn shared(&self) -> Option<&PostgresStore> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(store) => Some(store),
        }
    }

    /// The stored epoch.
    pub(crate) async fn epoch(&self) -> Result<u64, StoreError> {
        either!(self, Self, store => store.epoch().await)
    }

    /// Everything, from one consistent read.
    pub(crate) async fn load(&self) -> Result<Loaded, StoreError> {
        either!(self, Self, store => store.load().await)
    }

    /// What changed after an epoch, oldest first.
    pub(crate) async fn facts(&self, after: u64, limit: u32) -> Result<Vec<Facts>, StoreError> {
        either!(self, Self, store => store.facts(after, limit).await)
    }

    /// Change rows after an epoch, oldest first.
    pub(crate) async fn changes(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        either!(self, Self, store => store.changes(after, limit).await)
    }

    /// Change rows of one subject, newest first.
    pub(crate) async fn changes_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        either!(self, Self, store => store.changes_of(subject, limit).await)
    }

    /// Waits for the one transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Writing, StoreError> {
        Ok(match self {
            Self::Sqlite(store) => Writing::Sqlite(store.begin().await?),
            Self::Postgres(store) => Writing::Postgres(store.begin().await?),
        })
    }

    /// Waits for what runs and closes; a SQLite file is folded into one.
    pub(crate) async fn close(&self) {
        either!(self, Self, store => store.close().await);
    }
}

/// The only transaction, of any process, that may write; dropping it writes nothing.
#[derive(Debug)]
pub(crate) enum Writing {
    Sqlite(SqliteWriting),
    Postgres(PostgresWriting),
}

impl Writing {
    /// The stored epoch: nobody moves it while this lives.
    pub(crate) fn epoch(&self) -> u64 {
        either!(self, Self, writing => writing.epoch)
    }

    /// As [`Store::facts`].
    pub(crate) async fn facts(&mut self, after: u64, limit: u32) -> Result<Vec<Facts>, StoreError> {
        either!(self, Self, writing => writing.facts(after, limit).await)
    }

    /// Writes the sets, each with its change row and an epoch of its own, and commits.
    pub(crate) async fn commit(self, sets: &[ChangeSet]) -> Result<(), StoreError> {
        either!(self, Self, writing => writing.commit(sets).await)
    }

    /// Ends it without a change.
    pub(crate) async fn abandon(self) -> Result<(), StoreError> {
        either!(self, Self, writing => writing.abandon().await)
    }
}

/// An epoch as the databases store it.
fn stored_epoch(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

fn read_epoch(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored)
        .map_err(|_| StoreError::nonsense(format!("stored epoch {stored} is negative")))
}
