//! Segments: one that is written, and those that are sealed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::index::{self, Indexes};
use super::transaction_index::{self, AbortedEntry};
use crate::ids::Offset;
use crate::storage::{Storage, StorageFile};

/// The segment that appends go to.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) indexes: Indexes,
    pub(crate) size: u64,
    /// When its first batch came, in ms since the epoch.
    pub(crate) began_ms: Option<i64>,
    /// Entries of the indexes that are in the files already: offsets, times.
    pub(crate) saved: (usize, usize),
    /// Transactions whose abort marker is in it, in the order of the markers.
    pub(crate) aborted: Vec<AbortedEntry>,
    /// How many of them are in the file already.
    pub(crate) aborted_saved: usize,
    file: Option<Arc<dyn StorageFile>>,
}

impl ActiveSegment {
    /// Over a log file of `size` bytes with these indexes, of which none is saved.
    pub(crate) fn new(indexes: Indexes, size: u64) -> Self {
        Self {
            indexes,
            size,
            began_ms: None,
            saved: (0, 0),
            aborted: Vec::new(),
            aborted_saved: 0,
            file: None,
        }
    }

    pub(crate) fn base(&self) -> Offset {
        self.indexes.base
    }

    /// The open file, opened when need be.
    pub(crate) fn file(
        &mut self,
        storage: &dyn Storage,
        directory: &Path,
    ) -> io::Result<Arc<dyn StorageFile>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = storage.open(&index::log_path(directory, self.base()))?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Lets go of the file, which is opened again when needed. Only when all is synced: an error
    /// of the disk is reported to files that were open when it happened.
    pub(crate) fn close_file(&mut self) {
        self.file = None;
    }

    /// Whether it has its file open.
    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Writes what the index files lack; answers those files, which are not synced.
    pub(crate) fn save_indexes(
        &mut self,
        storage: &dyn Storage,
        directory: &Path,
    ) -> io::Result<Vec<Arc<dyn StorageFile>>> {
        let (offsets, times) = self.saved;
        let files = self.indexes.save_from(storage, directory, offsets, times)?;
        self.saved = (self.indexes.offsets.len(), self.indexes.times.len());
        let base = self.base();
        let (aborted, saved) = (&self.aborted, self.aborted_saved);
        let transactions = transaction_index::save_from(aborted, saved, storage, directory, base)?;
        self.aborted_saved = self.aborted.len();
        Ok(files.into_iter().chain(transactions).collect())
    }
}

/// A segment that changes no more. Its files are opened when read and closed again when too
/// many are open.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub(crate) base: Offset,
    /// Offset after its last record.
    pub(crate) end: Offset,
    pub(crate) size: u64,
    /// -1 when it holds no timestamp.
    pub(crate) max_timestamp: i64,
    /// Entries of its transaction index.
    pub(crate) aborted_count: usize,
    directory: PathBuf,
    files: Mutex<Option<SegmentFiles>>,
    /// Set when another segment takes its name: readers go on with these.
    pinned: OnceLock<(SegmentFiles, Vec<AbortedEntry>)>,
}

/// The open files of a sealed segment.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFiles {
    pub(crate) log: Arc<dyn StorageFile>,
    /// `None` when the file is not there: the look-up then starts at the front.
    pub(crate) offsets: Option<Arc<dyn StorageFile>>,
    pub(crate) times: Option<Arc<dyn StorageFile>>,
}

impl SealedSegment {
    pub(crate) fn new(
        indexes: &Indexes,
        end: Offset,
        size: u64,
        aborted_count: usize,
        directory: PathBuf,
    ) -> Self {
        Self {
            base: indexes.base,
            end,
            size,
            max_timestamp: indexes.max_timestamp,
            aborted_count,
            directory,
            files: Mutex::new(None),
            pinned: OnceLock::new(),
        }
    }

    pub(crate) fn files(
        self: &Arc<Self>,
        storage: &dyn Storage,
        open: &OpenSegments,
    ) -> io::Result<SegmentFiles> {
        if let Some((files, _)) = self.pinned.get() {
            return Ok(files.clone());
        }
        if let Some(files) = self.files.lock().as_ref() {
            return Ok(files.clone());
        }
        let files = SegmentFiles {
            log: storage.open(&index::log_path(&self.directory, self.base))?,
            offsets: storage
                .open(&index::index_path(&self.directory, self.base))
                .ok(),
            times: storage
                .open(&index::time_index_path(&self.directory, self.base))
                .ok(),
        };
        *self.files.lock() = Some(files.clone());
        open.opened(self);
        Ok(files)
    }

    /// Transactions whose abort marker is in it, in the order of the markers.
    pub(crate) fn aborted(&self, storage: &dyn Storage) -> io::Result<Vec<AbortedEntry>> {
        if self.aborted_count == 0 {
            return Ok(Vec::new());
        }
        let (count, base) = (self.aborted_count, self.base);
        let loaded = transaction_index::load(count, storage, &self.directory, base, self.end)?;
        // After the file was looked at: it may have gone just then.
        if let Some((_, aborted)) = self.pinned.get() {
            return Ok(aborted.clone());
        }
        loaded.ok_or_else(|| {
            let path = transaction_index::transaction_index_path(&self.directory, base);
            let text = format!("{} does not hold its {count} entries", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Keeps its files open as long as anyone holds it, because their names are about to be those
    /// of another segment.
    pub(crate) fn pin(
        self: &Arc<Self>,
        storage: &dyn Storage,
        open: &OpenSegments,
    ) -> io::Result<()> {
        let files = self.files(storage, open)?;
        let aborted = self.aborted(storage)?;
        self.pinned.get_or_init(|| (files, aborted));
        Ok(())
    }

    /// Removes the two indexes that look-ups can do without.
    pub(crate) fn remove_indexes(&self, storage: &dyn Storage) -> io::Result<()> {
        storage.remove(&index::index_path(&self.directory, self.base))?;
        storage.remove(&index::time_index_path(&self.directory, self.base))
    }

    /// Removes its files. Readers that have them open finish in peace.
    pub(crate) fn remove(&self, storage: &dyn Storage) -> io::Result<()> {
        remove_segment(storage, &self.directory, self.base)
    }
}

/// Removes the files of a segment, the log last: a crash leaves no index without its log.
pub(crate) fn remove_segment(
    storage: &dyn Storage,
    directory: &Path,
    base: Offset,
) -> io::Result<()> {
    storage.remove(&index::index_path(directory, base))?;
    storage.remove(&index::time_index_path(directory, base))?;
    storage.remove(&transaction_index::transaction_index_path(directory, base))?;
    storage.remove(&index::log_path(directory, base))
}

/// Bounds how many sealed segments have open files, over all partitions.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    max: usize,
    open: Mutex<VecDeque<Weak<SealedSegment>>>,
}

impl OpenSegments {
    /// At most `max`, of three files each.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
        }
    }

    fn opened(&self, segment: &Arc<SealedSegment>) {
        let mut open = self.open.lock();
        open.push_back(Arc::downgrade(segment));
        let oldest = (open.len() > self.max).then(|| open.pop_front()).flatten();
        drop(open);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            *oldest.files.lock() = None;
        }
    }
}
