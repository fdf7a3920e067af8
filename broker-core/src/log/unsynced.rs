//! What a log hands out because it must be done without its lock: syncs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoint;
use super::segment::SealedSegment;
use crate::ids::Offset;
use crate::storage::{Storage, StorageFile};

/// What must be synced, in this order, to make everything below `end` durable.
#[derive(Debug)]
pub(crate) struct Unsynced {
    pub(crate) files: Vec<UnsyncedFile>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) end: Offset,
}

/// A file that must be synced.
#[derive(Debug)]
pub(crate) enum UnsyncedFile {
    /// Written by this process, which has kept it open since: an error of the disk is reported to
    /// those who had the file open when it happened.
    Open(Arc<dyn StorageFile>),
    /// Written by the process before: ten thousand partitions must not have all theirs open.
    Named(PathBuf),
}

impl UnsyncedFile {
    /// Syncs it. Blocks on disk.
    pub(crate) fn sync(&self, storage: &dyn Storage) -> io::Result<()> {
        match self.open(storage)? {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    /// `None` when retention or compaction removed it.
    pub(super) fn open(&self, storage: &dyn Storage) -> io::Result<Option<Arc<dyn StorageFile>>> {
        match self {
            Self::Open(file) => Ok(Some(Arc::clone(file))),
            Self::Named(path) => match storage.open(path) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

/// A log start to be.
#[derive(Debug)]
pub(crate) struct StartMove {
    pub(super) log_start: Offset,
    /// Segments wholly below it.
    pub(super) gone: Vec<Arc<SealedSegment>>,
    pub(super) directory: PathBuf,
}

impl StartMove {
    /// Makes it durable: from then on no record before it may be read. Blocks on disk.
    pub(crate) fn save(&self, storage: &dyn Storage) -> io::Result<()> {
        let save = || checkpoint::save_log_start(self.log_start, storage, &self.directory);
        match save() {
            // Retention must be able to make room on a full disk: the indexes of what goes can be
            // had again, should it not go after all.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && !self.gone.is_empty() => {
                self.gone
                    .iter()
                    .try_for_each(|segment| segment.remove_indexes(storage))?;
                save()
            }
            other => other,
        }
    }
}
