//! Copying a data directory while a server uses it, and checking the copy.
//!
//! What a copy holds: of each partition a beginning of its log, as of some moment after the backup
//! began, and the registry as of its end, so that every schema id in the log is in the registry. The
//! order makes it so: topics, then committed offsets and transactions, then records, then schemas.
//! The first start on a copy recovers it, as after a crash.
//!
//! | module | what |
//! |---|---|
//! | [`copy`] | which files, in which order |
//! | [`manifest`] | names, sizes and checksums of what was copied |
//! | [`check`] | whether a directory reads: batches, schemas |

pub mod check;
pub mod copy;
pub mod manifest;

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a backup or a restore came to nothing.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file or folder cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The registry cannot be copied or read.
    #[error("the registry: {0}")]
    Registry(String),
}

pub(crate) fn file_error(path: &Path, reason: impl ToString) -> BackupError {
    BackupError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
