//! The metadata log in `meta/`: one record batch per change, synced before the change counts.
//!
//! Format v2 batches in one `.log` file named by its first offset. A start that finds much more
//! log than catalog writes the catalog as the beginning of a new file and removes the old.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::{Catalog, MetadataRecord};
use crate::ids::{LeaderEpoch, Offset};
use crate::records::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchView, Compression, DecompressionScratch, assign_offsets,
};
use crate::storage::{Storage, StorageFile, TEMPORARY_EXTENSION, read_file, write_all_at};

/// The open metadata log.
#[derive(Debug)]
pub(crate) struct MetadataStore {
    file: Arc<dyn StorageFile>,
    size: u64,
    next: Offset,
    /// Why no more can be written, if so.
    broken: Option<String>,
}

impl MetadataStore {
    /// Whether there is a metadata log in `directory`.
    pub(crate) fn exists(storage: &dyn Storage, directory: &Path) -> bool {
        newest(storage, directory).is_ok_and(|found| found.is_some())
    }

    /// Opens or creates the log and replays it.
    pub(crate) fn open(
        storage: &dyn Storage,
        directory: &Path,
        now_ms: i64,
    ) -> Result<(Self, Catalog), String> {
        let shown = directory.display();
        let fail = |error: io::Error| format!("metadata log in {shown}: {error}");
        storage.create_dir(directory).map_err(fail)?;
        let mut catalog = Catalog::default();
        let Some(base) = newest(storage, directory).map_err(fail)? else {
            let created = Self::create(storage, directory, Offset(0), &catalog, now_ms);
            return Ok((created.map_err(fail)?, catalog));
        };
        let path = log_path(directory, base);
        let bytes = read_file(storage, &path, LOG_BYTES_MAX)
            .map_err(fail)?
            .unwrap_or_default();
        let replayed = replay(&bytes, base, &mut catalog)
            .map_err(|error| format!("metadata log {} is damaged: {error}", path.display()))?;
        if replayed.records > COMPACT_RECORDS_MIN && replayed.records / 4 > catalog.records().len()
        {
            let store = Self::create(storage, directory, replayed.next, &catalog, now_ms);
            let store = store.map_err(fail)?;
            storage.remove(&path).map_err(fail)?;
            return Ok((store, catalog));
        }
        let file = storage.open(&path).map_err(fail)?;
        let size = u64::try_from(replayed.size).unwrap_or(0);
        if replayed.size < bytes.len() {
            tracing::warn!(
                path = %path.display(), lost_bytes = bytes.len() - replayed.size,
                "last change of the metadata log was not whole"
            );
            file.truncate(size).map_err(fail)?;
            file.sync_data().map_err(fail)?;
        }
        // A sync that failed in the process before may have left some of it in the page cache alone,
        // where the next sync would not look for it.
        write_all_at(
            file.as_ref(),
            bytes.get(..replayed.size).unwrap_or_default(),
            0,
        )
        .map_err(fail)?;
        let store = Self {
            file,
            size,
            next: replayed.next,
            broken: None,
        };
        Ok((store, catalog))
    }

    /// Replays the log and changes nothing; answers how many bytes of a torn last change follow it.
    /// `None` when there is no log.
    ///
    /// # Errors
    /// A text naming the file.
    pub(crate) fn look(
        storage: &dyn Storage,
        directory: &Path,
    ) -> Result<Option<(Catalog, usize)>, String> {
        let fail = |error: io::Error| format!("metadata log in {}: {error}", directory.display());
        let Some(base) = newest_of(&names(storage, directory).map_err(fail)?) else {
            return Ok(None);
        };
        let path = log_path(directory, Offset(base));
        let bytes = read_file(storage, &path, LOG_BYTES_MAX).map_err(fail)?;
        let bytes = bytes.unwrap_or_default();
        let mut catalog = Catalog::default();
        let replayed = replay(&bytes, Offset(base), &mut catalog)
            .map_err(|error| format!("metadata log {} is damaged: {error}", path.display()))?;
        Ok(Some((catalog, bytes.len().saturating_sub(replayed.size))))
    }

    /// A new file that begins with the whole catalog, in place when it is durable.
    fn create(
        storage: &dyn Storage,
        directory: &Path,
        base: Offset,
        catalog: &Catalog,
        now_ms: i64,
    ) -> io::Result<Self> {
        let path = log_path(directory, base);
        let beside = path.with_added_extension(TEMPORARY_EXTENSION);
        let mut store = Self {
            file: storage.create(&beside)?,
            size: 0,
            next: base,
            broken: None,
        };
        store
            .append(&catalog.records(), now_ms)
            .map_err(io::Error::other)?;
        storage.rename(&beside, &path)?;
        storage.sync_dir(directory)?;
        Ok(store)
    }

    /// Where the next record goes.
    pub(crate) const fn end(&self) -> Offset {
        self.next
    }

    /// Appends records as one batch; durable when it returns.
    pub(crate) fn append(&mut self, records: &[MetadataRecord], now_ms: i64) -> Result<(), String> {
        if let Some(reason) = &self.broken {
            return Err(format!("the metadata log is offline: {reason}"));
        }
        let mut batch = BatchBuilder::new(Compression::None, now_ms);
        for record in records {
            batch.append(now_ms, None, Some(&record.encode()), &[]);
        }
        let mut bytes = batch.build();
        assign_offsets(&mut bytes, self.next, LeaderEpoch(0));
        if let Err(error) = write_all_at(self.file.as_ref(), &bytes, self.size) {
            if self.file.truncate(self.size).is_err() {
                self.broken = Some(error.to_string());
            }
            return Err(format!("the change could not be written: {error}"));
        }
        if let Err(error) = self.file.sync_data() {
            tracing::error!(%error, "metadata log is offline");
            self.broken = Some(format!("sync failed: {error}"));
            return Err(format!("the change could not be made durable: {error}"));
        }
        self.size += u64::try_from(bytes.len()).unwrap_or(0);
        self.next.0 += i64::try_from(records.len()).unwrap_or(0);
        Ok(())
    }
}

struct Replayed {
    next: Offset,
    /// Bytes of whole batches.
    size: usize,
    records: usize,
}

/// Applies every whole batch. A torn end is the change that was being written; anything else
/// that is wrong is damage, and topics must not vanish by it.
fn replay(bytes: &[u8], base: Offset, catalog: &mut Catalog) -> Result<Replayed, String> {
    let mut scratch = DecompressionScratch::default();
    let mut replayed = Replayed {
        next: base,
        size: 0,
        records: 0,
    };
    let mut left = bytes;
    while !left.is_empty() {
        let Some((batch, rest)) = whole_batch(left) else {
            let later = (1..left.len()).any(|at| left.get(at..).and_then(whole_batch).is_some());
            if later {
                return Err(format!("byte {} begins no batch", replayed.size));
            }
            break;
        };
        for record in batch
            .records(&mut scratch)
            .map_err(|error| error.to_string())?
        {
            let record = record.map_err(|error| error.to_string())?;
            let value = record.value.unwrap_or_default();
            let change = MetadataRecord::decode(value).ok_or_else(|| {
                format!(
                    "unknown record in the batch at offset {}",
                    batch.header.base_offset
                )
            })?;
            catalog.apply(&change);
            replayed.records += 1;
        }
        replayed.next = Offset(batch.header.last_offset().0 + 1);
        replayed.size += batch.bytes.len();
        left = rest;
    }
    Ok(replayed)
}

fn whole_batch(bytes: &[u8]) -> Option<(BatchView<'_>, &[u8])> {
    if bytes.len() < BATCH_HEADER_BYTES {
        return None;
    }
    let (batch, rest) = BatchView::parse(bytes).ok()?;
    batch.verify_crc().ok().map(|()| (batch, rest))
}

/// The first offset of the newest log file; older ones and unfinished ones are removed.
fn newest(storage: &dyn Storage, directory: &Path) -> io::Result<Option<Offset>> {
    let names = names(storage, directory)?;
    let newest = newest_of(&names);
    for old in bases(&names).filter(|base| Some(*base) != newest) {
        storage.remove(&log_path(directory, Offset(old)))?;
    }
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        storage.remove(&directory.join(name))?;
    }
    Ok(newest.map(Offset))
}

fn names(storage: &dyn Storage, directory: &Path) -> io::Result<Vec<String>> {
    match storage.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn bases(names: &[String]) -> impl Iterator<Item = i64> {
    names
        .iter()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
}

fn newest_of(names: &[String]) -> Option<i64> {
    bases(names).max()
}

fn log_path(directory: &Path, base: Offset) -> PathBuf {
    directory.join(format!("{:020}.log", base.0))
}

const COMPACT_RECORDS_MIN: usize = 1000;
const LOG_BYTES_MAX: u64 = 1 << 30;
