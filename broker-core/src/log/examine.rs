//! Looks through a partition's directory and changes nothing: every batch of every segment, and all
//! that is derived from them. [`repair`] is for whoever was told to change something.
//!
//! A start trusts what was synced and is quick; this reads everything. Next: [`crate::doctor`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint;
use super::compaction::{CLEANED, SWAP};
use super::index::{self, Indexes, TimeEntry};
use super::producer_snapshot;
use super::recovery::{SNAPSHOT, parse_offset};
use super::scan::{self, Depth, Range};
use super::transaction_index;
use crate::ids::{Offset, TopicId};
use crate::records::BatchHeader;
use crate::storage::{Storage, TEMPORARY_EXTENSION, read_file, read_full_at, write_all_at};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What that means, and what helps.
    pub then: &'static str,
    /// How it can be repaired, if it can.
    pub repair: Option<Repair>,
}

/// A change that repairs. Nothing is lost by one that is kept a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Cut the log file at a position.
    Cut {
        /// One past the last good batch.
        position: u64,
    },
    /// Make the indexes of the segment again from its log.
    Rebuild {
        /// Base offset of the segment.
        base: Offset,
    },
    /// Remove the file: it is made again, or nothing misses it.
    Remove,
}

/// What was found in a partition's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Good batches.
    pub batches: u64,
    /// Bytes of all log files.
    pub bytes: u64,
    /// First offset, and the one after the last good batch.
    pub offsets: Option<(Offset, Offset)>,
    /// The topic id that the directory says it belongs to.
    pub topic_id: Option<TopicId>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Examines the directory of a partition. Reads every byte of every log file.
///
/// # Errors
/// Those of the disk, for the directory itself; what a file refuses is a finding.
pub fn examine(storage: &dyn Storage, directory: &Path) -> io::Result<Examined> {
    let mut names = storage.list(directory)?;
    names.sort_unstable();
    let mut look = Look {
        storage,
        directory,
        examined: Examined::default(),
    };
    let mut bases: Vec<Offset> = names
        .iter()
        .filter_map(|name| parse_offset(name.strip_suffix(".log")?))
        .collect();
    bases.sort_unstable();
    look.checkpoints();
    let first_dirty = checkpoint::load_first_dirty(storage, directory).unwrap_or_default();
    let recovery_point = checkpoint::load_recovery_point(storage, directory).unwrap_or_default();
    let synced = recovery_point.unwrap_or_default();
    let compacted_below = first_dirty.map_or(Offset(0), |dirty| dirty.max(synced));
    let mut end = None;
    for (at, &base) in bases.iter().enumerate() {
        let next = bases.get(at + 1).copied();
        end = Some(look.segment((base, next), compacted_below, synced));
    }
    let (first, end) = (bases.first().copied().unwrap_or_default(), end);
    look.offsets(first, end, recovery_point);
    look.snapshots(&names, end.unwrap_or_default());
    look.strangers(&names, &bases);
    Ok(look.examined)
}

/// Carries out a repair; what it takes away is first copied into the directory `keep`. Blocks on
/// disk.
///
/// # Errors
/// Those of the disk.
pub fn repair(storage: &dyn Storage, finding: &Finding, keep: &Path) -> io::Result<()> {
    let Some(repair) = &finding.repair else {
        return Ok(());
    };
    let path = &finding.path;
    let directory = path.parent().unwrap_or(path);
    match repair {
        Repair::Cut { position } => {
            copy(storage, path, *position, keep)?;
            let file = storage.open(path)?;
            file.truncate(*position)?;
            file.sync_data()
        }
        Repair::Rebuild { base } => {
            for path in [
                index::index_path(directory, *base),
                index::time_index_path(directory, *base),
            ] {
                copy(storage, &path, 0, keep)?;
            }
            rebuild(storage, directory, *base)?;
            storage.sync_dir(directory)
        }
        Repair::Remove => {
            copy(storage, path, 0, keep)?;
            storage.remove(path)?;
            storage.sync_dir(directory)
        }
    }
}

/// Copies a file from `position` on; the copy's name says where it is from. Nothing when there is no
/// such file.
fn copy(storage: &dyn Storage, path: &Path, position: u64, keep: &Path) -> io::Result<()> {
    let file = match storage.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let part = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name);
        name.map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let folder = keep.join(part(path.parent()));
    storage.create_dir(&folder)?;
    let kept = folder.join(format!("{}.from-{position}", part(Some(path))));
    let out = storage.create(&kept)?;
    let mut buffer = vec![0; COPY_BYTES];
    let (mut from, mut to) = (position, 0);
    loop {
        let read = read_full_at(file.as_ref(), &mut buffer, from)?;
        if read == 0 {
            break;
        }
        write_all_at(out.as_ref(), buffer.get(..read).unwrap_or_default(), to)?;
        let read = u64::try_from(read).unwrap_or(0);
        (from, to) = (from + read, to + read);
    }
    out.sync_data()?;
    storage.sync_dir(&folder)
}

fn rebuild(storage: &dyn Storage, directory: &Path, base: Offset) -> io::Result<()> {
    let file = storage.open(&index::log_path(directory, base))?;
    let mut indexes = Indexes::new(base);
    let range = Range {
        position: 0,
        end: file.len()?,
        next_offset: Some(base.0),
        compacted_below: base,
    };
    scan::scan(
        file.as_ref(),
        range,
        Depth::Headers,
        &mut |header, position| {
            indexes.note(header, position, INDEX_INTERVAL_BYTES);
        },
    )?;
    indexes.note_time();
    indexes.save(storage, directory)
}

struct Look<'a> {
    storage: &'a dyn Storage,
    directory: &'a Path,
    examined: Examined,
}

/// What the batches of a segment say its indexes must be like.
#[derive(Default)]
struct Batches {
    /// Position to last offset.
    last_offsets: BTreeMap<u64, Offset>,
    max_timestamp: i64,
}

impl Look<'_> {
    fn find(&mut self, path: PathBuf, what: String, then: &'static str, repair: Option<Repair>) {
        self.examined.findings.push(Finding {
            path,
            what,
            then,
            repair,
        });
    }

    /// Reads a segment; answers the offset after its last good batch.
    fn segment(
        &mut self,
        (base, next): (Offset, Option<Offset>),
        compacted_below: Offset,
        synced: Offset,
    ) -> Offset {
        let path = index::log_path(self.directory, base);
        let mut batches = Batches {
            max_timestamp: -1,
            ..Batches::default()
        };
        let mut count = 0;
        let scanned = self.storage.open(&path).and_then(|file| {
            let size = file.len()?;
            let range = Range {
                position: 0,
                end: size,
                next_offset: Some(base.0),
                compacted_below,
            };
            let mut visit = |header: &BatchHeader, position: u64| {
                count += 1;
                batches.last_offsets.insert(position, header.last_offset());
                batches.max_timestamp = batches.max_timestamp.max(header.max_timestamp);
            };
            let scanned = scan::scan(file.as_ref(), range, Depth::Checksums, &mut visit)?;
            Ok((scanned, size))
        });
        let (scanned, size) = match scanned {
            Ok(found) => found,
            Err(error) => {
                let what = format!("cannot be read: {error}");
                self.find(path, what, UNREADABLE, None);
                return next.unwrap_or(base);
            }
        };
        self.examined.batches += count;
        self.examined.bytes += size;
        let end = Offset(scanned.next_offset.unwrap_or(base.0));
        let whole = scanned.fault.is_none();
        if let Some(fault) = scanned.fault {
            let left = size - scanned.position;
            let what = format!("{fault}, at byte {}; {left} bytes follow", scanned.position);
            let position = scanned.position;
            let cut = Some(Repair::Cut { position });
            match next {
                Some(next) if next == end => self.find(path, what, REFUSED_WRITE, cut),
                _ if end < synced => self.find(path, what, DAMAGED, None),
                Some(_) => self.find(path, what, TORN_EARLY, None),
                None => self.find(path, what, TORN, cut),
            }
        } else if let Some(next) = next
            && end != next
            && next > compacted_below
        {
            let what = format!("ends at offset {end}, and the next segment begins at {next}");
            self.find(path, what, GAP, None);
        }
        if whole {
            self.indexes(base, next.is_some(), size, &batches);
        }
        self.transactions(base, next.unwrap_or(end));
        end
    }

    fn indexes(&mut self, base: Offset, sealed: bool, size: u64, batches: &Batches) {
        let (path, time_path) = (
            index::index_path(self.directory, base),
            index::time_index_path(self.directory, base),
        );
        let there = [&path, &time_path].map(|path| self.storage.open(path).is_ok());
        if there == [false, false] && !sealed {
            // Not saved yet: the next start makes them.
            return;
        }
        let repair = Some(Repair::Rebuild { base });
        let loaded = match Indexes::load(self.storage, self.directory, base, size) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
                let what = "is missing, does not ascend, or points past its log".to_owned();
                return self.find(path, what, INDEX, repair);
            }
            Err(error) => {
                return self.find(path, format!("cannot be read: {error}"), INDEX, repair);
            }
        };
        let relative = |relative: u32| Offset(base.0 + i64::from(relative));
        let astray = loaded.offsets.iter().find(|entry| {
            let found = batches.last_offsets.get(&u64::from(entry.position));
            found != Some(&relative(entry.relative_offset))
        });
        if let Some(astray) = astray {
            let offset = relative(astray.relative_offset);
            let what = format!(
                "has offset {offset} at byte {}, where no such batch is",
                astray.position
            );
            return self.find(path, what, INDEX, repair);
        }
        let last = loaded
            .times
            .last()
            .map(|TimeEntry { timestamp, .. }| *timestamp);
        if last.is_some_and(|last| last > batches.max_timestamp)
            || (sealed && last.unwrap_or(-1) != batches.max_timestamp)
        {
            let what = format!(
                "ends at timestamp {}, and the segment's greatest is {}",
                last.unwrap_or(-1),
                batches.max_timestamp
            );
            self.find(time_path, what, INDEX, repair);
        }
    }

    fn transactions(&mut self, base: Offset, end: Offset) {
        let path = transaction_index::transaction_index_path(self.directory, base);
        let Ok(Some(bytes)) = read_file(self.storage, &path, SMALL_FILE_BYTES_MAX) else {
            return;
        };
        let count = bytes.len() / transaction_index::ENTRY_BYTES;
        let loaded = transaction_index::load(count, self.storage, self.directory, base, end);
        let whole = bytes.len().is_multiple_of(transaction_index::ENTRY_BYTES);
        if !whole || !matches!(loaded, Ok(Some(_))) {
            let what = "does not fit its segment".to_owned();
            self.find(path, what, INDEX, Some(Repair::Remove));
        }
    }

    fn checkpoints(&mut self) {
        type Load = fn(&dyn Storage, &Path) -> io::Result<bool>;
        let forms: [(&str, Load); 5] = [
            (checkpoint::LOG_START, |storage, directory| {
                Ok(checkpoint::load_log_start(storage, directory)?.is_some())
            }),
            (checkpoint::RECOVERY_POINT, |storage, directory| {
                Ok(checkpoint::load_recovery_point(storage, directory)?.is_some())
            }),
            (checkpoint::FIRST_DIRTY, |storage, directory| {
                Ok(checkpoint::load_first_dirty(storage, directory)?.is_some())
            }),
            (checkpoint::EPOCHS, |storage, directory| {
                Ok(checkpoint::load_epochs(storage, directory)?.is_some())
            }),
            (checkpoint::PARTITION_METADATA, |storage, directory| {
                Ok(checkpoint::load_topic_id(storage, directory)?.is_some())
            }),
        ];
        for (name, load) in forms {
            let path = self.directory.join(name);
            if self.storage.open(&path).is_err() {
                continue;
            }
            if !load(self.storage, self.directory).unwrap_or(false) {
                let what = "is not of its form".to_owned();
                let then = if name == checkpoint::LOG_START {
                    LOST_START
                } else {
                    HINT
                };
                self.find(path, what, then, Some(Repair::Remove));
            }
        }
        if checkpoint::load_sync_failure(self.storage, self.directory).unwrap_or(false) {
            let path = self.directory.join(checkpoint::SYNC_FAILED);
            let what = "a sync failed: the disk may be going".to_owned();
            self.find(path, what, SYNC_FAILED, None);
        }
        let id = checkpoint::load_topic_id(self.storage, self.directory);
        self.examined.topic_id = id.ok().flatten();
    }

    /// Compares the offsets that checkpoints promise with those that are there.
    fn offsets(&mut self, first: Offset, end: Option<Offset>, recovery_point: Option<Offset>) {
        let Some(end) = end else {
            return;
        };
        let saved = checkpoint::load_log_start(self.storage, self.directory);
        let saved = saved.ok().flatten().unwrap_or_default();
        self.examined.offsets = Some((saved.max(first), end));
        if let Some(point) = recovery_point.filter(|point| *point > end) {
            let path = self.directory.join(checkpoint::RECOVERY_POINT);
            let what = format!("offsets below {point} were synced, and the log ends at {end}");
            self.find(path, what, LOST, None);
        }
        if saved > end {
            let path = self.directory.join(checkpoint::LOG_START);
            let what = format!("the log starts at {saved}, and ends at {end}");
            self.find(path, what, STARTS_BEYOND, None);
        }
    }

    fn snapshots(&mut self, names: &[String], end: Offset) {
        for name in names {
            let Some(offset) = name
                .strip_suffix(SNAPSHOT)
                .and_then(|name| parse_offset(name.strip_suffix('.')?))
            else {
                continue;
            };
            let path = self.directory.join(name);
            let bytes = read_file(self.storage, &path, SMALL_FILE_BYTES_MAX);
            let decoded = bytes.ok().flatten();
            let decoded = decoded.and_then(|bytes| producer_snapshot::decode(&bytes, offset));
            if decoded.is_none() {
                let what = "is not a whole producer snapshot of that offset".to_owned();
                self.find(path, what, HINT, Some(Repair::Remove));
            } else if offset > end {
                let what = format!("is of an offset past the log's end {end}");
                self.find(path, what, HINT, Some(Repair::Remove));
            }
        }
    }

    fn strangers(&mut self, names: &[String], bases: &[Offset]) {
        for name in names {
            let path = self.directory.join(name);
            let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
            let offset = parse_offset(stem);
            let known = match extension {
                "log" | SNAPSHOT => offset.is_some(),
                "index" | "timeindex" | "txnindex" => {
                    offset.is_some_and(|base| bases.binary_search(&base).is_ok())
                }
                CLEANED | SWAP => true,
                // Small files that were being replaced.
                TEMPORARY_EXTENSION => true,
                _ => checkpoint::NAMES.contains(&name.as_str()),
            };
            if !known {
                let what = "belongs to nothing here".to_owned();
                self.find(path, what, STRANGER, Some(Repair::Remove));
            }
        }
    }
}

/// `index.interval.bytes` unless a topic has another; a start that wants more entries makes them.
const INDEX_INTERVAL_BYTES: i32 = 4096;
const COPY_BYTES: usize = 1 << 20;
const SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

const TORN: &str = "nothing after it was ever synced: a write that a kill or a power loss cut short; \
                    the next start cuts it there, as --repair does";
const TORN_EARLY: &str = "nothing after it was ever synced; the next start cuts the log there and \
                          removes the segments after it";
const REFUSED_WRITE: &str = "left by a write that was refused; nothing after it is missing; --repair \
                             cuts it";
const DAMAGED: &str = "records in the middle of the log are damaged: the disk returned other bytes \
                       than it was given; consumers cannot read past there; restore a backup, or \
                       delete the records up to the next good batch with DeleteRecords";
const GAP: &str = "segments between are missing: were files removed by hand? restore a backup";
const UNREADABLE: &str = "the partition will be offline; look at the disk, restore a backup";
const INDEX: &str = "derived from the log: made again at the next start, or by --repair";
const HINT: &str = "made again at the next start; --repair removes it";
const LOST_START: &str = "deleted records may be readable again; --repair removes it";
const LOST: &str = "acknowledged records are missing: cut by hand, or lost by the disk; restore a \
                    backup";
const STARTS_BEYOND: &str = "records below the start were deleted for good; the next start begins an \
                             empty segment there";
const SYNC_FAILED: &str = "the next start writes again what was not synced; replace the disk if this \
                           comes back";
const STRANGER: &str = "no start reads it; --repair moves it away";

#[cfg(test)]
mod tests;
