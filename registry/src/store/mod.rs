//! The only place that speaks SQL.
//!
//! The store knows facts ([`crate::change::Change`]), not operations: it writes one change set in
//! one transaction and reads everything back as facts. Next: [`sql`] for the statements.

mod sql;
mod sqlite;

pub(crate) use sqlite::SqliteStore;

use crate::change::Change;

/// Everything stored, as the facts that rebuild the image.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) epoch: u64,
    pub(crate) changes: Vec<Change>,
}

/// Why a change set was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Another writer moved the epoch: decide again on a newer image.
    #[error("the registry's epoch is not {expected} any more")]
    Conflict { expected: u64 },
    #[error("registry store: {0}")]
    Failed(#[from] StoreError),
}

/// The database cannot be asked, or answered nonsense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(pub(crate) String);

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}
