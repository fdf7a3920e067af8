//! Compaction: of sealed segments, to the last record of each key.
//!
//! In steps, so that no lock is held while the disk works: [`Log::compaction`] chooses segments under
//! the partition's lock, [`Compaction::run`] writes their successors beside them,
//! [`Compacted::publish`] makes those count, [`Log::replace`] exchanges them under the lock, and
//! [`Exchanged::settle`] makes that durable. A crash in between leaves the old segments or the new
//! ones; the next start completes the exchange. Source: `LogCleaner` and
//! `Cleaner` of Apache Kafka 4; KIP-280, KIP-354, KIP-534.
//!
//! What stays: a record without successor of the same key among the compacted ones, unless its
//! transaction was aborted; a tombstone until its batch's delete horizon (`delete.retention.ms` after it was first compacted); control
//! batches; the newest batch of every producer, if need be without records, because its sequence
//! numbers are producer state. Offsets never change.
//!
//! Memory is bounded by [`KEYS_MAX`]: when there are more keys than that the round ends at the
//! offset where the map was full, and the next one goes on from there.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint;
use super::index::{self, Indexes};
use super::segment::{OpenSegments, SealedSegment};
use super::transaction_index::{self, AbortedEntry};
use super::{Log, TopicConfig};
use crate::ids::Offset;
use crate::records::{
    BATCH_HEADER_BYTES, BatchHeader, BatchView, DecompressionScratch, Record, Retained, retain,
};
use crate::storage::{Persistence, Storage, StorageFile, read_full_at, write_all_at};

/// Extension of a segment that is being written; removed when a directory is opened.
pub(super) const CLEANED: &str = "cleaned";
/// Extension of a segment that is whole and takes the place of others; completed when a directory
/// is opened.
pub(super) const SWAP: &str = "swap";

/// Keys of one round: about 48 bytes each.
const KEYS_MAX: usize = 1 << 20;

/// What one round of compaction works on.
#[derive(Debug)]
pub(crate) struct Compaction {
    directory: PathBuf,
    /// From the log's first segment to the last that may be compacted.
    segments: Vec<Arc<SealedSegment>>,
    /// Below it all was compacted before.
    first_dirty: Offset,
    segment_bytes: u64,
    index_interval_bytes: i32,
    delete_retention_ms: i64,
    /// Base offset of the newest batch of every producer that the log remembers.
    newest: HashMap<i64, Offset>,
    /// Where the aborted transactions of the segments are.
    aborted: (Vec<Arc<SealedSegment>>, Vec<AbortedEntry>),
    now_ms: i64,
}

/// What a round made: successors that are on disk under the [`CLEANED`] extension.
#[derive(Debug)]
pub(crate) struct Compacted {
    directory: PathBuf,
    groups: Vec<Group>,
    /// Everything below it is compacted now.
    clean_until: Offset,
    bytes_before: u64,
    bytes_after: u64,
}

/// Segments and the one that follows them.
#[derive(Debug)]
struct Group {
    old: Vec<Arc<SealedSegment>>,
    indexes: Indexes,
    /// The transaction indexes of the old segments, one after the other.
    aborted: Vec<AbortedEntry>,
    size: u64,
    end: Offset,
}

impl Log {
    /// What there is to compact; `None` when it is not worth while. `stable_end` is where open
    /// transactions begin: what follows it is not known to be committed.
    pub(crate) fn compaction(
        &self,
        config: &TopicConfig,
        stable_end: Offset,
        now_ms: i64,
    ) -> Option<Compaction> {
        if !config.compacted {
            return None;
        }
        let lag_over = |segment: &SealedSegment| {
            config.min_compaction_lag_ms == 0
                || segment.max_timestamp < now_ms.saturating_sub(config.min_compaction_lag_ms)
        };
        let segments: Vec<_> = self
            .sealed
            .iter()
            .take_while(|segment| {
                segment.end <= self.recovery_point && segment.end <= stable_end && lag_over(segment)
            })
            .cloned()
            .collect();
        let first_dirty = self.first_dirty.max(self.log_start);
        let (mut dirty, mut all) = (0_u64, 0_u64);
        let mut overdue = false;
        for segment in &segments {
            all += segment.size;
            if segment.end > first_dirty {
                dirty += segment.size;
                overdue |= segment.max_timestamp >= 0
                    && now_ms.saturating_sub(segment.max_timestamp) > config.max_compaction_lag_ms;
            }
        }
        // Shares of at most 2^53 bytes: the rounding of doubles does not matter.
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = dirty as f64 / all.max(1) as f64;
        let due = dirty > 0 && (overdue || share >= config.min_cleanable_dirty_ratio);
        due.then(|| Compaction {
            directory: self.directory.clone(),
            segments,
            first_dirty,
            segment_bytes: u64::try_from(config.segment_bytes).unwrap_or(1 << 30),
            index_interval_bytes: config.index_interval_bytes,
            delete_retention_ms: config.delete_retention_ms,
            newest: self.producers.newest_batches(),
            aborted: self.aborted_from(Offset(0)),
            now_ms,
        })
    }

    /// Puts what a round made in the place of its segments, without syncing. `None` when retention
    /// removed one of them meanwhile: the next round starts anew. The answer is for
    /// [`Exchanged::settle`].
    pub(crate) fn replace(
        &mut self,
        compacted: Compacted,
        open: &OpenSegments,
    ) -> io::Result<Option<Exchanged>> {
        let storage = Arc::clone(&self.storage);
        let storage = storage.as_ref();
        let there = |segment: &Arc<SealedSegment>| {
            self.sealed.iter().any(|known| Arc::ptr_eq(known, segment))
        };
        if !compacted.groups.iter().flat_map(|g| &g.old).all(there) {
            for group in &compacted.groups {
                storage.remove(&group.path(&self.directory, SWAP))?;
            }
            return Ok(None);
        }
        let mut exchanged = Exchanged {
            directory: self.directory.clone(),
            files: Vec::new(),
            clean_until: compacted.clean_until,
        };
        for group in compacted.groups {
            // Readers that found the old segments go on reading them.
            for old in &group.old {
                old.pin(storage, open)?;
            }
            let bases = group.old.iter().map(|old| old.base);
            complete_swap(storage, &self.directory, group.indexes.base, bases)?;
            let files = group.indexes.save_from(storage, &self.directory, 0, 0)?;
            exchanged.files.extend(files);
            let (aborted, base) = (&group.aborted, group.indexes.base);
            let aborted = transaction_index::save_from(aborted, 0, storage, &self.directory, base)?;
            exchanged.files.extend(aborted);
            let first = group.old.first();
            let at = self
                .sealed
                .iter()
                .position(|known| first.is_some_and(|first| Arc::ptr_eq(known, first)));
            if let Some(at) = at {
                let directory = self.directory.clone();
                let aborted = group.aborted.len();
                let (end, size) = (group.end, group.size);
                let new = SealedSegment::new(&group.indexes, end, size, aborted, directory);
                let old = at..at + group.old.len();
                self.sealed.splice(old, [Arc::new(new)]);
            }
        }
        self.first_dirty = compacted.clean_until;
        Ok(Some(exchanged))
    }
}

impl Compacted {
    /// Bytes of the segments before and after.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_before, self.bytes_after)
    }

    /// Everything below it is compacted now.
    pub(crate) const fn clean_until(&self) -> Offset {
        self.clean_until
    }

    /// Makes the new segments those that a start after a crash takes. `recovery_point` is the log's:
    /// batches with gaps must never be taken for torn ones, and nothing below it is looked at that
    /// closely. Blocks on disk.
    pub(crate) fn publish(&self, storage: &dyn Storage, recovery_point: Offset) -> io::Result<()> {
        let directory = &self.directory;
        let durable = Persistence::Durable;
        checkpoint::save_recovery_point(recovery_point, storage, directory, durable)?;
        for group in &self.groups {
            storage.rename(
                &group.path(directory, CLEANED),
                &group.path(directory, SWAP),
            )?;
        }
        storage.sync_dir(directory)
    }
}

/// Segments that took the place of others, and are not durable under their names yet.
#[derive(Debug)]
pub(crate) struct Exchanged {
    directory: PathBuf,
    files: Vec<Arc<dyn StorageFile>>,
    clean_until: Offset,
}

impl Exchanged {
    /// Makes the exchange durable. Blocks on disk.
    pub(crate) fn settle(&self, storage: &dyn Storage) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync_data())?;
        storage.sync_dir(&self.directory)?;
        checkpoint::save_first_dirty(self.clean_until, storage, &self.directory)
    }
}

/// Removes the files of the old segments and gives the swap file its name. From the moment the swap
/// file has its extension durably this can be done again after a crash.
pub(super) fn complete_swap(
    storage: &dyn Storage,
    directory: &Path,
    base: Offset,
    old: impl Iterator<Item = Offset>,
) -> io::Result<()> {
    for old in old {
        storage.remove(&index::index_path(directory, old))?;
        storage.remove(&index::time_index_path(directory, old))?;
        storage.remove(&transaction_index::transaction_index_path(directory, old))?;
        if old != base {
            storage.remove(&index::log_path(directory, old))?;
        }
    }
    let swap = index::segment_path(directory, base, SWAP);
    storage.rename(&swap, &index::log_path(directory, base))
}

impl Compaction {
    /// Reads the dirty segments, then writes what stays of all of them. Blocks on disk, for long.
    ///
    /// # Errors
    /// Those of the disk, unreadable batches, and `Interrupted` once `stop` says so; the log is then
    /// as before.
    pub(crate) fn run(
        &self,
        storage: &dyn Storage,
        open: &OpenSegments,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Compacted> {
        let aborted = self.aborted(storage)?;
        let map = self.map_keys(&aborted, storage, open, stop)?;
        let mut compacted = Compacted {
            directory: self.directory.clone(),
            groups: Vec::new(),
            clean_until: map.end,
            bytes_before: 0,
            bytes_after: 0,
        };
        let touched: Vec<_> = self
            .segments
            .iter()
            .take_while(|segment| segment.base < map.end)
            .collect();
        let mut rest = touched.as_slice();
        while let Some(first) = rest.first() {
            let count = self.group_size(rest, first.base);
            let (old, after) = rest.split_at(count);
            let group = self.write_group(old, (&map, &aborted), storage, open, stop)?;
            compacted.bytes_before += old.iter().map(|segment| segment.size).sum::<u64>();
            compacted.bytes_after += group.size;
            compacted.groups.push(group);
            rest = after;
        }
        Ok(compacted)
    }

    /// How many of `segments` fit into one, going by their present sizes.
    fn group_size(&self, segments: &[&Arc<SealedSegment>], base: Offset) -> usize {
        let mut size = 0;
        let fitting = segments
            .iter()
            .take_while(|segment| {
                size += segment.size;
                let near = segment.end.0.saturating_sub(base.0) <= i64::from(i32::MAX);
                size <= self.segment_bytes && near
            })
            .count();
        fitting.max(1)
    }

    /// The aborted transactions of the segments.
    fn aborted(&self, storage: &dyn Storage) -> io::Result<AbortedTransactions> {
        let (sealed, active) = &self.aborted;
        let mut aborted = AbortedTransactions::default();
        for segment in sealed {
            aborted.extend(&segment.aborted(storage)?);
        }
        aborted.extend(active);
        Ok(aborted)
    }

    /// The last offset of every key in the dirty segments.
    fn map_keys(
        &self,
        aborted: &AbortedTransactions,
        storage: &dyn Storage,
        open: &OpenSegments,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<KeyMap> {
        let mut map = KeyMap::new(self.first_dirty);
        let mut scratch = DecompressionScratch::default();
        for segment in &self.segments {
            if segment.end <= self.first_dirty {
                continue;
            }
            let file = segment.files(storage, open)?.log;
            let mut batches = Batches::new(file.as_ref(), segment.size);
            while let Some(batch) = batches.next()? {
                check_stop(stop)?;
                let header = batch.header;
                let passed = header.last_offset() < self.first_dirty;
                if passed || header.is_control() || aborted.contain(&header) {
                    map.end = map.end.max(after(&header));
                    continue;
                }
                for record in batch.records(&mut scratch).map_err(unreadable)? {
                    let record = record.map_err(unreadable)?;
                    let offset = offset_of(&header, &record);
                    let Some(key) = record.key else { continue };
                    if offset >= self.first_dirty && !map.note(key, offset) {
                        return Ok(map);
                    }
                }
                map.end = map.end.max(after(&header));
            }
            map.end = map.end.max(segment.end);
        }
        Ok(map)
    }

    fn write_group(
        &self,
        old: &[&Arc<SealedSegment>],
        (map, aborted): (&KeyMap, &AbortedTransactions),
        storage: &dyn Storage,
        open: &OpenSegments,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Group> {
        let (first, last) = match old {
            [first, .., last] => (first, last),
            [only] => (only, only),
            [] => return Err(io::Error::other("a group of no segments")),
        };
        let mut group = Group {
            old: old.iter().map(|segment| Arc::clone(segment)).collect(),
            indexes: Indexes::new(first.base),
            aborted: Vec::new(),
            size: 0,
            end: last.end,
        };
        let file = storage.create(&group.path(&self.directory, CLEANED))?;
        let mut scratch = DecompressionScratch::default();
        for segment in old {
            group.aborted.extend(segment.aborted(storage)?);
            let source = segment.files(storage, open)?.log;
            let mut batches = Batches::new(source.as_ref(), segment.size);
            while let Some(batch) = batches.next()? {
                check_stop(stop)?;
                let Some(bytes) = self.survivors(&batch, (map, aborted), &mut scratch)? else {
                    continue;
                };
                let bytes = bytes.as_deref().unwrap_or(batch.bytes);
                let header = BatchHeader::parse(bytes).map_err(unreadable)?;
                write_all_at(file.as_ref(), bytes, group.size)?;
                group
                    .indexes
                    .note(&header, group.size, self.index_interval_bytes);
                group.size += u64::try_from(bytes.len()).unwrap_or(0);
            }
        }
        group.indexes.note_time();
        file.sync_data()?;
        Ok(group)
    }

    /// What is left of a batch: nothing, the batch as it is (`Some(None)`), or other bytes.
    fn survivors(
        &self,
        batch: &BatchView<'_>,
        (map, aborted): (&KeyMap, &AbortedTransactions),
        scratch: &mut DecompressionScratch,
    ) -> io::Result<Option<Option<Vec<u8>>>> {
        let header = batch.header;
        if header.is_control() || header.last_offset() >= map.end {
            return Ok(Some(None));
        }
        let inflated = batch.inflated(scratch).map_err(unreadable)?;
        let horizon = header.delete_horizon_ms();
        let expired = horizon.is_some_and(|horizon| horizon <= self.now_ms);
        let mut tombstones = false;
        let aborted = aborted.contain(&header);
        let kept = |record: &Record<'_>| {
            // Kafka refuses records without key in compacted topics; older ones of a topic that was
            // not compacted then go.
            let Some(key) = record.key else { return false };
            let superseded = map.newer(key, offset_of(&header, record));
            !aborted && !superseded && (record.value.is_some() || !expired)
        };
        for record in inflated.records() {
            let record = record.map_err(unreadable)?;
            tombstones |= record.value.is_none() && kept(&record);
        }
        let new_horizon = (tombstones && horizon.is_none())
            .then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        match retain(&inflated, new_horizon, kept).map_err(unreadable)? {
            Retained::Whole if header.record_count > 0 => Ok(Some(None)),
            Retained::Rewritten(bytes) if bytes.len() > BATCH_HEADER_BYTES => Ok(Some(Some(bytes))),
            emptied => {
                let last_of_producer = header.producer_id.0 >= 0
                    && self.newest.get(&header.producer_id.0) == Some(&header.base_offset);
                Ok(last_of_producer.then_some(match emptied {
                    Retained::Whole => None,
                    Retained::Rewritten(bytes) => Some(bytes),
                }))
            }
        }
    }
}

impl Group {
    fn path(&self, directory: &Path, extension: &str) -> PathBuf {
        index::segment_path(directory, self.indexes.base, extension)
    }
}

/// Aborted transactions by producer: first offset to the marker's, ascending.
#[derive(Debug, Default)]
struct AbortedTransactions(HashMap<i64, Vec<(Offset, Offset)>>);

impl AbortedTransactions {
    /// Adds entries, which follow those before.
    fn extend(&mut self, entries: &[AbortedEntry]) {
        for entry in entries {
            let of_producer = self.0.entry(entry.producer_id.0).or_default();
            of_producer.push((entry.first_offset, entry.last_offset));
        }
    }

    /// Whether a batch is part of one.
    fn contain(&self, header: &BatchHeader) -> bool {
        if !header.is_transactional() {
            return false;
        }
        let Some(of_producer) = self.0.get(&header.producer_id.0) else {
            return false;
        };
        let at = of_producer.partition_point(|(_, last)| *last < header.base_offset);
        let found = of_producer.get(at);
        found.is_some_and(|(first, _)| *first <= header.base_offset)
    }
}

/// Keys as 128-bit hashes under a seed of this round, with the last offset of each.
#[derive(Debug)]
struct KeyMap {
    hashers: [RandomState; 2],
    last: HashMap<(u64, u64), Offset>,
    /// Every key of a record below it is in the map, from the first dirty offset on.
    end: Offset,
}

impl KeyMap {
    fn new(first_dirty: Offset) -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            last: HashMap::new(),
            end: first_dirty,
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let [first, second] = &self.hashers;
        (first.hash_one(key), second.hash_one(key))
    }

    /// Answers false when there is no room for another key.
    fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        if self.last.len() >= KEYS_MAX && !self.last.contains_key(&hash) {
            return false;
        }
        self.last.insert(hash, offset);
        true
    }

    /// Whether a record of the same key follows the one at `offset`.
    fn newer(&self, key: &[u8], offset: Offset) -> bool {
        self.last
            .get(&self.hash(key))
            .is_some_and(|last| *last > offset)
    }
}

/// The batches of a file, one after the other, through a buffer that is reused.
struct Batches<'f> {
    file: &'f dyn StorageFile,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'f> Batches<'f> {
    fn new(file: &'f dyn StorageFile, end: u64) -> Self {
        Self {
            file,
            position: 0,
            end,
            buffer: Vec::new(),
            at: 0,
        }
    }

    fn next(&mut self) -> io::Result<Option<BatchView<'_>>> {
        let whole = |bytes: &[u8]| {
            BatchHeader::parse(bytes).is_ok_and(|header| header.size() <= bytes.len())
        };
        if !whole(self.buffer.get(self.at..).unwrap_or_default()) {
            self.position += u64::try_from(self.at).unwrap_or(0);
            self.at = 0;
            if self.position >= self.end {
                return Ok(None);
            }
            self.fill(READ_BYTES)?;
            let size = BatchHeader::parse(&self.buffer).map_err(unreadable)?.size();
            if size > self.buffer.len() {
                // Not more than the file has: a wrong length is an error, not an allocation.
                self.fill(size)?;
            }
        }
        let bytes = self.buffer.get(self.at..).unwrap_or_default();
        let (batch, _) = BatchView::parse(bytes).map_err(unreadable)?;
        self.at += batch.bytes.len();
        Ok(Some(batch))
    }

    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.buffer.resize(bytes.min(left), 0);
        let read = read_full_at(self.file, &mut self.buffer, self.position)?;
        self.buffer.truncate(read);
        Ok(())
    }
}

fn check_stop(stop: &dyn Fn() -> bool) -> io::Result<()> {
    if stop() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(())
}

fn offset_of(header: &BatchHeader, record: &Record<'_>) -> Offset {
    Offset(
        header
            .base_offset
            .0
            .saturating_add(i64::from(record.offset_delta)),
    )
}

fn after(header: &BatchHeader) -> Offset {
    Offset(header.last_offset().0.saturating_add(1))
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

const READ_BYTES: usize = 1 << 20;
