//! What a log has not synced, and hands out because it must be done without its lock.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::segment::SealedSegment;
use super::{Log, checkpoint, index};
use crate::ids::Offset;
use crate::storage::{
    Persistence, Storage, StorageFile, WRITE_BYTES_MAX, read_full_at, write_all_at,
};

impl Log {
    /// What must be synced to make all that is appended now durable.
    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        Unsynced {
            files: self.unsynced.drain(..).map(|(_, file)| file).collect(),
            directory: self.has_unsynced_names().then(|| {
                self.names_synced = self.names_changed;
                self.directory.clone()
            }),
            end: self.log_end,
        }
    }

    /// How often names changed, for [`Log::synced_with_file_system`].
    pub(crate) fn names_changed(&self) -> u64 {
        self.names_changed
    }

    /// Notes that the file system was synced after `names_changed` was asked for: if no name came
    /// since, all names and what the process before wrote are on disk. Whether what this process wrote
    /// is there, its own files must tell.
    pub(crate) fn synced_with_file_system(&mut self, names_changed: u64) {
        if self.names_changed == names_changed {
            self.names_synced = names_changed;
            self.unsynced
                .retain(|(_, file)| matches!(file, UnsyncedFile::Open(_)));
        }
    }

    fn has_unsynced_names(&self) -> bool {
        self.names_synced < self.names_changed
    }

    /// Notes that everything below `end` is on disk.
    pub(crate) fn synced(&mut self, end: Offset) {
        self.recovery_point = self.recovery_point.max(end);
    }

    /// Whether anything was written that is not synced.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.has_unsynced_names() || !self.unsynced.is_empty()
    }

    /// Writes what a failed sync may have left in the page cache alone, where a second sync would
    /// not look for it, and syncs that.
    pub(super) fn write_again(&self) -> io::Result<()> {
        let storage = self.storage.as_ref();
        let mut piece = vec![0; WRITE_BYTES_MAX];
        for (base, unsynced) in &self.unsynced {
            let Some(file) = unsynced.open(storage)? else {
                continue;
            };
            let mut position = 0;
            loop {
                let read = read_full_at(file.as_ref(), &mut piece, position)?;
                if read == 0 {
                    break;
                }
                write_all_at(
                    file.as_ref(),
                    piece.get(..read).unwrap_or_default(),
                    position,
                )?;
                position += u64::try_from(read).unwrap_or(0);
            }
            file.sync_data()?;
            tracing::warn!(
                directory = %self.directory.display(), segment = %base, bytes = position,
                "written again: a sync of it failed before"
            );
        }
        storage.sync_dir(&self.directory)?;
        checkpoint::remove_sync_failure(storage, &self.directory)
    }

    /// After an unclean start what lies beyond the recovery point counts as unsynced: the page cache
    /// may hold what the disk does not. Of ten thousand partitions few have anything there.
    pub(super) fn after_recovery(mut self, clean: bool, saved: Option<Offset>) -> Self {
        if clean || self.is_untouched() {
            return self;
        }
        if saved == Some(self.log_end) && self.is_short() {
            // Nothing came since it was saved, so there is nothing to save again.
            let advisory = Persistence::Advisory;
            self.checkpointed = Some((self.log_end, self.recovery_point, advisory));
        }
        let dirty = self
            .sealed
            .iter()
            .filter(|segment| segment.end > self.recovery_point)
            .map(|segment| segment.base)
            .chain((self.active.size > 0).then(|| self.active.base()))
            .filter(|_| self.log_end > self.recovery_point);
        let named = |base| UnsyncedFile::Named(index::log_path(&self.directory, base));
        let dirty: Vec<_> = dirty.map(|base| (base, named(base))).collect();
        if !dirty.is_empty() {
            self.unsynced = vec![epochs_file(&self.directory)];
            self.unsynced.extend(dirty);
            self.names_changed += 1;
        }
        self
    }
}

/// In the place of a segment's base: a file of the whole partition.
const NO_SEGMENT: Offset = Offset(-1);

/// The leader epochs, as a file that is to be synced before what is written in the newest: should
/// they be lost before that, the next start begins one that is newer still.
pub(super) fn epochs_file(directory: &Path) -> (Offset, UnsyncedFile) {
    let path = directory.join(checkpoint::EPOCHS);
    (NO_SEGMENT, UnsyncedFile::Named(path))
}

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
