//! The sparse indexes of a segment, in Kafka's formats. Advisory: a look-up is checked against
//! the log itself, and a missing or odd file is rebuilt from it.
//!
//! ```text
//! .index      8-byte entries: last offset of a batch, relative to the segment's base u32 |
//!             position of that batch u32
//! .timeindex 12-byte entries: largest timestamp so far i64 | offset of its batch, relative u32
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::Offset;
use crate::records::{BATCH_HEADER_BYTES, BatchHeader};
use crate::storage::{Storage, StorageFile, read_file, read_full_at, write_all_at};

use super::scan::{Depth, Window};

pub(crate) const OFFSET_ENTRY_BYTES: usize = 8;
pub(crate) const TIME_ENTRY_BYTES: usize = 12;

/// An entry of `.index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

/// An entry of `.timeindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative_offset: u32,
}

/// Both indexes of a segment, in memory, and what they grow from.
#[derive(Debug, Clone)]
pub(crate) struct Indexes {
    pub(crate) base: Offset,
    pub(crate) offsets: Vec<OffsetEntry>,
    pub(crate) times: Vec<TimeEntry>,
    /// -1 when the segment holds no timestamp.
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_offset: Offset,
    bytes_since_entry: usize,
}

impl Indexes {
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            base,
            offsets: Vec::new(),
            times: Vec::new(),
            max_timestamp: -1,
            max_timestamp_offset: base,
            bytes_since_entry: 0,
        }
    }

    /// Takes note of the batch at `position`; an entry every `interval_bytes` of log.
    pub(crate) fn note(&mut self, header: &BatchHeader, position: u64, interval_bytes: i32) {
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_offset = header.last_offset();
        }
        let interval = usize::try_from(interval_bytes).unwrap_or(0);
        if self.bytes_since_entry > interval
            && let (Some(relative_offset), Ok(position)) = (
                relative(self.base, header.last_offset()),
                u32::try_from(position),
            )
        {
            self.offsets.push(OffsetEntry {
                relative_offset,
                position,
            });
            self.note_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(header.size());
    }

    /// Adds the newest maximum to the time index, unless it is there: at intervals and when the
    /// segment is sealed, so that the last entry is the segment's maximum.
    pub(crate) fn note_time(&mut self) {
        let newer = self
            .times
            .last()
            .is_none_or(|last| last.timestamp < self.max_timestamp);
        if newer
            && self.max_timestamp >= 0
            && let Some(relative_offset) = relative(self.base, self.max_timestamp_offset)
        {
            self.times.push(TimeEntry {
                timestamp: self.max_timestamp,
                relative_offset,
            });
        }
    }

    /// Where to start looking for `offset`: at or before the batch that holds it.
    pub(crate) fn position_of(&self, offset: Offset) -> u64 {
        let after = self
            .offsets
            .partition_point(|entry| self.base.0 + i64::from(entry.relative_offset) <= offset.0);
        after
            .checked_sub(1)
            .and_then(|index| self.offsets.get(index))
            .map_or(0, |entry| u64::from(entry.position))
    }

    /// The offset before which every timestamp is below `timestamp`.
    pub(crate) fn offset_before(&self, timestamp: i64) -> Offset {
        let after = self
            .times
            .partition_point(|entry| entry.timestamp < timestamp);
        after
            .checked_sub(1)
            .and_then(|index| self.times.get(index))
            .map_or(self.base, |entry| {
                Offset(self.base.0 + i64::from(entry.relative_offset))
            })
    }

    /// Drops entries of batches at or after `position`, before a rescan from there.
    pub(crate) fn truncate(&mut self, position: u64, offset: Offset) {
        self.offsets
            .retain(|entry| u64::from(entry.position) < position);
        let base = self.base.0;
        self.times
            .retain(|entry| base + i64::from(entry.relative_offset) < offset.0);
        (self.max_timestamp, self.max_timestamp_offset) =
            self.times.last().map_or((-1, self.base), |last| {
                (
                    last.timestamp,
                    Offset(base + i64::from(last.relative_offset)),
                )
            });
        // The entry of the batch at `position` went too: it gets it back at once.
        self.bytes_since_entry = usize::MAX;
    }

    /// Writes both files anew, and syncs them: for a segment that changes no more.
    pub(crate) fn save(&self, storage: &dyn Storage, directory: &Path) -> io::Result<()> {
        let files = self.save_from(storage, directory, 0, 0)?;
        files.iter().try_for_each(|file| file.sync_data())
    }

    /// Writes the entries from the given ones on; what precedes them is in the files. Answers the
    /// two files, which are not synced.
    pub(crate) fn save_from(
        &self,
        storage: &dyn Storage,
        directory: &Path,
        offsets_saved: usize,
        times_saved: usize,
    ) -> io::Result<[Arc<dyn StorageFile>; 2]> {
        let mut bytes = Vec::new();
        for entry in self.offsets.iter().skip(offsets_saved) {
            bytes.extend_from_slice(&entry.relative_offset.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
        }
        let path = index_path(directory, self.base);
        let offsets = write_entries(storage, &path, &bytes, offsets_saved * OFFSET_ENTRY_BYTES)?;
        bytes.clear();
        for entry in self.times.iter().skip(times_saved) {
            bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
            bytes.extend_from_slice(&entry.relative_offset.to_be_bytes());
        }
        let path = time_index_path(directory, self.base);
        let times = write_entries(storage, &path, &bytes, times_saved * TIME_ENTRY_BYTES)?;
        Ok([offsets, times])
    }

    /// Reads both files; `None` when one is missing or cannot belong to a log of `log_bytes`.
    /// That they are whole is for [`Indexes::cover`] to say.
    pub(crate) fn load(
        storage: &dyn Storage,
        directory: &Path,
        base: Offset,
        log_bytes: u64,
    ) -> io::Result<Option<Self>> {
        let offsets = read_file(storage, &index_path(directory, base), INDEX_FILE_BYTES_MAX);
        let times = read_file(
            storage,
            &time_index_path(directory, base),
            INDEX_FILE_BYTES_MAX,
        );
        let (Some(offsets), Some(times)) = (tolerate(offsets)?, tolerate(times)?) else {
            return Ok(None);
        };
        let mut indexes = Self::new(base);
        indexes.offsets = offsets
            .as_chunks::<OFFSET_ENTRY_BYTES>()
            .0
            .iter()
            .map(decode_offset_entry)
            .collect();
        indexes.times = times
            .as_chunks::<TIME_ENTRY_BYTES>()
            .0
            .iter()
            .map(decode_time_entry)
            .collect();
        let offsets_rise = indexes
            .offsets
            .is_sorted_by(|a, b| a.relative_offset < b.relative_offset && a.position < b.position);
        let times_rise = indexes.times.is_sorted_by(|a, b| {
            a.timestamp < b.timestamp && a.relative_offset <= b.relative_offset
        });
        let inside = indexes
            .offsets
            .last()
            .is_none_or(|last| u64::from(last.position) < log_bytes);
        if !(offsets_rise && times_rise && inside) {
            return Ok(None);
        }
        if let Some(last) = indexes.times.last() {
            indexes.max_timestamp = last.timestamp;
            indexes.max_timestamp_offset = Offset(base.0 + i64::from(last.relative_offset));
        }
        Ok(Some(indexes))
    }

    /// Whether the indexes, as loaded, reach as far as `log` does: a power loss can leave a file
    /// short or empty whose entries are all right.
    ///
    /// Looks at the batches from the last entry on. They must carry no timestamp above the last
    /// one indexed and, in a sealed segment, end where the log ends without going further than
    /// `interval_bytes` without an entry. Answers the offset after the last batch seen, or `None`.
    pub(crate) fn cover(
        &self,
        log: &dyn StorageFile,
        log_bytes: u64,
        sealed: bool,
        interval_bytes: i32,
    ) -> io::Result<Option<Offset>> {
        let last = self.offsets.last();
        let from = last.map_or(0, |last| u64::from(last.position));
        if !sealed && last.is_none() {
            // The active segment is scanned from there, the start, in any case.
            return Ok(self.times.is_empty().then_some(self.base));
        }
        let interval = u64::try_from(interval_bytes).unwrap_or(0);
        let mut window = Window::new(log, log_bytes, Depth::Headers);
        let mut position = from;
        let mut end = self.base;
        while position < log_bytes {
            let Ok(header) = BatchHeader::parse(window.at(position, BATCH_HEADER_BYTES)?) else {
                return Ok(None);
            };
            let entry_is_true = position > from
                || last.is_none_or(|last| {
                    relative(self.base, header.last_offset()) == Some(last.relative_offset)
                });
            if !entry_is_true
                || header.max_timestamp > self.max_timestamp
                || position - from > interval
            {
                return Ok(None);
            }
            if !sealed {
                // What follows is scanned, and noted, in a moment.
                return Ok(Some(self.base));
            }
            end = Offset(header.last_offset().0.saturating_add(1));
            position = position.saturating_add(u64::try_from(header.size()).unwrap_or(u64::MAX));
        }
        let times_inside = self.times.is_empty() || self.max_timestamp_offset < end;
        Ok((position == log_bytes && times_inside).then_some(end))
    }
}

/// Binary search in an `.index` file: the position to start looking for `offset`.
pub(crate) fn search_offsets(
    file: &dyn StorageFile,
    base: Offset,
    offset: Offset,
) -> io::Result<u64> {
    let found = search(file, OFFSET_ENTRY_BYTES, &mut |bytes| {
        let entry = bytes.first_chunk().map(decode_offset_entry)?;
        (base.0 + i64::from(entry.relative_offset) <= offset.0).then_some(u64::from(entry.position))
    })?;
    Ok(found.unwrap_or(0))
}

/// Binary search in a `.timeindex` file: the offset before which all timestamps are below.
pub(crate) fn search_times(
    file: &dyn StorageFile,
    base: Offset,
    timestamp: i64,
) -> io::Result<Offset> {
    let found = search(file, TIME_ENTRY_BYTES, &mut |bytes| {
        let entry = bytes.first_chunk().map(decode_time_entry)?;
        (entry.timestamp < timestamp).then_some(u64::from(entry.relative_offset))
    })?;
    let relative = found
        .and_then(|found| i64::try_from(found).ok())
        .unwrap_or(0);
    Ok(Offset(base.0 + relative))
}

/// The answer of the last entry that has one, in a file where those come first.
fn search(
    file: &dyn StorageFile,
    entry_bytes: usize,
    answer: &mut dyn FnMut(&[u8]) -> Option<u64>,
) -> io::Result<Option<u64>> {
    let entry_size = u64::try_from(entry_bytes).unwrap_or(1);
    let (mut low, mut high) = (0, file.len()? / entry_size);
    let mut found = None;
    let mut buffer = [0; TIME_ENTRY_BYTES];
    while low < high {
        let middle = low + (high - low) / 2;
        let target = buffer.get_mut(..entry_bytes).unwrap_or_default();
        if read_full_at(file, target, middle * entry_size)? < entry_bytes {
            high = middle;
            continue;
        }
        match answer(target) {
            Some(value) => {
                found = Some(value);
                low = middle + 1;
            }
            None => high = middle,
        }
    }
    Ok(found)
}

fn decode_offset_entry(bytes: &[u8; OFFSET_ENTRY_BYTES]) -> OffsetEntry {
    let [a, b, c, d, e, f, g, h] = *bytes;
    OffsetEntry {
        relative_offset: u32::from_be_bytes([a, b, c, d]),
        position: u32::from_be_bytes([e, f, g, h]),
    }
}

fn decode_time_entry(bytes: &[u8; TIME_ENTRY_BYTES]) -> TimeEntry {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    TimeEntry {
        timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        relative_offset: u32::from_be_bytes([i, j, k, l]),
    }
}

fn write_entries(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
    position: usize,
) -> io::Result<Arc<dyn StorageFile>> {
    let file = if position == 0 {
        storage.create(path)?
    } else {
        storage.open(path)?
    };
    write_all_at(file.as_ref(), bytes, u64::try_from(position).unwrap_or(0))?;
    Ok(file)
}

/// An oversized index is a wrong one, not a failure.
fn tolerate(read: io::Result<Option<Vec<u8>>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        other => other,
    }
}

fn relative(base: Offset, offset: Offset) -> Option<u32> {
    u32::try_from(offset.0.checked_sub(base.0)?).ok()
}

/// `00000000000000000042.<extension>`
pub(crate) fn segment_path(directory: &Path, base: Offset, extension: &str) -> PathBuf {
    directory.join(format!("{:020}.{extension}", base.0))
}

pub(crate) fn log_path(directory: &Path, base: Offset) -> PathBuf {
    segment_path(directory, base, "log")
}

pub(crate) fn index_path(directory: &Path, base: Offset) -> PathBuf {
    segment_path(directory, base, "index")
}

pub(crate) fn time_index_path(directory: &Path, base: Offset) -> PathBuf {
    segment_path(directory, base, "timeindex")
}

/// Entries for a 2 GiB segment of 12-byte entries every byte would be more; every 4 KiB, 6 MiB.
const INDEX_FILE_BYTES_MAX: u64 = 512 << 20;
