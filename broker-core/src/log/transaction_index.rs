//! Aborted transactions of a segment, in Kafka's `.txnindex` format: those whose marker is in it.
//!
//! ```text
//! 34-byte entries: version i16 = 0 | producer id i64 | first offset i64 | last offset i64 |
//!                  last stable offset i64
//! ```
//! The last offset is the marker's; the last stable offset is the partition's once the marker was
//! there, and tells a reader how far it must look. A segment without aborted transactions has no
//! file; how many entries each file must have is in the producer snapshot.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::segment_path;
use crate::ids::{Offset, ProducerId};
use crate::storage::{Storage, StorageFile, read_file, write_all_at};

/// One aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedEntry {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) last_stable: Offset,
}

impl AbortedEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for number in [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable.0,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8)?;
            bytes.try_into().ok().map(i64::from_be_bytes)
        };
        let entry = Self {
            producer_id: ProducerId(number(2)?),
            first_offset: Offset(number(10)?),
            last_offset: Offset(number(18)?),
            last_stable: Offset(number(26)?),
        };
        (bytes.starts_with(&VERSION.to_be_bytes()) && entry.first_offset <= entry.last_offset)
            .then_some(entry)
    }
}

/// The aborted transactions that a reader of `[from, until)` must know, from entries in the order
/// of their markers; answers whether later entries can matter no more.
pub(crate) fn collect(
    entries: &[AbortedEntry],
    from: Offset,
    until: Offset,
    found: &mut Vec<AbortedEntry>,
) -> bool {
    let begin = entries.partition_point(|entry| entry.last_offset < from);
    for entry in entries.iter().skip(begin) {
        if entry.first_offset < until {
            found.push(*entry);
        }
        if entry.last_stable >= until {
            return true;
        }
    }
    false
}

/// Writes the entries from the given one on; what precedes them is in the file. `None` when there
/// is nothing to write. The file is not synced.
pub(crate) fn save_from(
    entries: &[AbortedEntry],
    saved: usize,
    storage: &dyn Storage,
    directory: &Path,
    base: Offset,
) -> io::Result<Option<Arc<dyn StorageFile>>> {
    let mut bytes = Vec::new();
    for entry in entries.iter().skip(saved) {
        entry.encode(&mut bytes);
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let path = transaction_index_path(directory, base);
    let file = if saved == 0 {
        storage.create(&path)?
    } else {
        storage.open(&path)?
    };
    let position = u64::try_from(saved * ENTRY_BYTES).unwrap_or(0);
    write_all_at(file.as_ref(), &bytes, position)?;
    Ok(Some(file))
}

/// The first `count` entries of a segment's file; `None` when they are not all there, or cannot
/// belong to a segment from `base` to `end`.
pub(crate) fn load(
    count: usize,
    storage: &dyn Storage,
    directory: &Path,
    base: Offset,
    end: Offset,
) -> io::Result<Option<Vec<AbortedEntry>>> {
    let path = transaction_index_path(directory, base);
    let bytes = match read_file(storage, &path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(error) => return Err(error),
    };
    let chunks = bytes.as_chunks::<ENTRY_BYTES>().0.iter().take(count);
    let entries: Option<Vec<AbortedEntry>> = chunks.map(AbortedEntry::decode).collect();
    Ok(entries.filter(|entries| {
        entries.len() == count
            && entries.is_sorted_by(|a, b| a.last_offset < b.last_offset)
            && entries
                .first()
                .is_none_or(|first| first.last_offset >= base)
            && entries.last().is_none_or(|last| last.last_offset < end)
    }))
}

pub(crate) fn transaction_index_path(directory: &Path, base: Offset) -> PathBuf {
    segment_path(directory, base, "txnindex")
}

pub(crate) const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;
const _: () = assert!(ENTRY_BYTES == 2 + 4 * 8);

/// An aborted transaction takes at least a batch and a marker, 139 bytes of log.
const FILE_BYTES_MAX: u64 = 1 << 29;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::simulated::SimulatedStorage;

    fn entry(producer: i64, first: i64, last: i64, last_stable: i64) -> AbortedEntry {
        AbortedEntry {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable: Offset(last_stable),
        }
    }

    #[test]
    fn a_reader_is_told_what_overlaps() {
        // 2 begins before 1 ends, and ends long after.
        let entries = [
            entry(1, 0, 10, 5),
            entry(2, 5, 30, 31),
            entry(3, 32, 40, 41),
        ];
        for (from, until, expected, done) in [
            (0, 5, vec![1], true),
            (0, 6, vec![1, 2], true),
            (11, 20, vec![2], true),
            (0, 31, vec![1, 2], true),
            (0, 33, vec![1, 2, 3], true),
            (31, 32, vec![], true),
            (41, 50, vec![], false),
            (0, 50, vec![1, 2, 3], false),
        ] {
            let mut found = Vec::new();
            let finished = collect(&entries, Offset(from), Offset(until), &mut found);
            let found: Vec<i64> = found.iter().map(|entry| entry.producer_id.0).collect();
            assert_eq!((found, finished), (expected, done), "[{from}, {until})");
        }
    }

    #[test]
    fn files_are_read_back_with_suspicion() {
        let disk = SimulatedStorage::default();
        let directory = Path::new("/d");
        disk.create_dir(directory).unwrap();
        let entries = [entry(1, 0, 10, 5), entry(2, 5, 30, 31)];
        let load = |count, end| load(count, &disk, directory, Offset(0), Offset(end)).unwrap();
        assert_eq!(load(0, 31), Some(Vec::new()));
        assert_eq!(load(1, 31), None);
        save_from(&entries[..1], 0, &disk, directory, Offset(0)).unwrap();
        save_from(&entries, 1, &disk, directory, Offset(0)).unwrap();
        assert_eq!(load(2, 31), Some(entries.to_vec()));
        assert_eq!(load(1, 31), Some(entries[..1].to_vec()));
        assert_eq!(load(3, 31), None, "fewer than said");
        assert_eq!(load(2, 30), None, "beyond the segment");
        let path = transaction_index_path(directory, Offset(0));
        let bytes = disk.contents(&path).unwrap();
        assert_eq!(bytes.len(), 2 * ENTRY_BYTES);
        assert_eq!(bytes[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        disk.open(&path).unwrap().write_at(&[0, 7], 0).unwrap();
        assert_eq!(load(2, 31), None, "another version");
    }
}
