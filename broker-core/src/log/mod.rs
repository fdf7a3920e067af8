//! One partition's log on disk: segments, indexes, recovery, retention, producer state.
//!
//! Kafka's layout, in `<topic>-<partition>/`:
//!
//! | file | what |
//! |---|---|
//! | `<base offset, 20 digits>.log` | record batches, byte for byte as fetched |
//! | `<base offset>.index`, `.timeindex` | sparse indexes (`index.rs`) |
//! | `<base offset>.txnindex` | aborted transactions, if any (`transaction_index.rs`) |
//! | `<log end offset>.snapshot` | producer state at that offset ([`producer_state`]) |
//! | `leader-epoch-checkpoint` | where leader epochs began ([`epochs`]) |
//! | `partition.metadata` | the topic's id |
//! | `log-start-offset-checkpoint` | first readable offset |
//! | `recovery-point-offset-checkpoint` | below it all is on disk |
//! | `cleaner-offset-checkpoint` | below it all is compacted (`compaction.rs`) |
//! | `sync-failed` | there after a failed sync: the unsynced part is written again |
//!
//! Everything but the `.log` files is advisory and rebuilt when missing or odd. `Log` is driven
//! under its partition's lock and never syncs: it hands out what must be synced
//! (`Log::take_unsynced`) and is told when that is done. Knows no tokio and no clock.

mod checkpoint;
mod compaction;
mod config;
pub mod epochs;
pub mod examine;
mod index;
mod producer_snapshot;
pub mod producer_state;
mod recovery;
mod saving;
mod scan;
mod segment;
mod snapshots;
mod transaction_index;
mod unsynced;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use config::TopicConfig;

pub(crate) use checkpoint::{encode_id, load_topic_id, save_sync_failure, save_topic_id};
pub(crate) use compaction::Compaction;
pub(crate) use segment::OpenSegments;

use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::records::{
    BATCH_HEADER_BYTES, BatchHeader, BatchView, MARKER_BATCH_BYTES_MAX, TransactionResult,
    marker_of,
};
use crate::storage::{Persistence, Storage, StorageFile, write_all_at};
use epochs::LeaderEpochs;
use index::Indexes;
use producer_state::ProducerState;
use scan::{Depth, Window};
use segment::{ActiveSegment, SealedSegment};
use transaction_index::AbortedEntry;
use unsynced::{StartMove, UnsyncedFile};

/// How the process ended that had the directory before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It synced everything and said so.
    Clean,
    /// It may have been killed at any instruction.
    Unclean,
}

/// How a partition is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// How the process ended that had it before.
    pub(crate) shutdown: Shutdown,
    /// After an unclean end, the least leader epoch to go on with: larger than any that a client
    /// may have seen, even if the partition's own record of it was lost.
    pub(crate) epoch_floor: LeaderEpoch,
    /// Now, in ms since the epoch.
    pub(crate) now_ms: i64,
}

/// A partition's log.
///
/// Invariant: `log_start <= log_end`; batches are contiguous on disk and ascend in offset.
#[derive(Debug)]
pub(crate) struct Log {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    /// Ascending by base offset.
    sealed: Vec<Arc<SealedSegment>>,
    active: ActiveSegment,
    log_start: Offset,
    log_end: Offset,
    producers: ProducerState,
    epochs: LeaderEpochs,
    /// Everything below is synced.
    recovery_point: Offset,
    /// Everything below was compacted.
    first_dirty: Offset,
    /// Log files written since they were synced, and index files of segments sealed since, by the
    /// base of their segment, oldest first.
    unsynced: Vec<(Offset, UnsyncedFile)>,
    /// Counts changes of names in the directory, and those that are synced.
    names_changed: u64,
    names_synced: u64,
    /// Log end and recovery point at the last checkpoint, and whether it was synced.
    checkpointed: Option<(Offset, Offset, Persistence)>,
    /// Whether the leader epochs are saved, or among what is synced before the first records of the
    /// newest. One without records is made again from the count of unclean starts.
    epochs_saved: bool,
}

/// Why a write failed.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// Nothing of it is in the log.
    Refused(io::Error),
    /// The end of the file is in doubt: the log must not be used.
    Broken(io::Error),
}

/// Where to find batches.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In the active segment: file, position to look from, end.
    Active(Arc<dyn StorageFile>, u64, u64),
    /// In a sealed segment.
    Sealed(Arc<SealedSegment>),
}

impl Log {
    pub(crate) fn log_start(&self) -> Offset {
        self.log_start
    }

    pub(crate) fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything below it is synced.
    pub(crate) fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.epochs.latest()
    }

    pub(crate) fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    pub(crate) fn producers(&self) -> &ProducerState {
        &self.producers
    }

    pub(crate) fn expire_producers(&mut self, now_ms: i64) {
        self.producers.expire(now_ms);
    }

    /// Bytes of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.size).sum::<u64>() + self.active.size
    }

    /// Appends a batch that carries its final offsets (`header` is decoded from it).
    ///
    /// The caller has checked the sequence, and that the base offset is the log end.
    pub(crate) fn append(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), WriteFailure> {
        assert!(
            header.base_offset == self.log_end,
            "base offset {} appended at log end {}",
            header.base_offset,
            self.log_end
        );
        self.roll_if_due(header, config, now_ms)
            .map_err(WriteFailure::Refused)?;
        let file = self
            .active
            .file(self.storage.as_ref(), &self.directory)
            .map_err(WriteFailure::Refused)?;
        let position = self.active.size;
        // A lost epoch 0 is what a log without epochs has.
        if !self.epochs_saved && self.epochs.latest() > LeaderEpoch(0) {
            self.begin_epoch().map_err(WriteFailure::Refused)?;
        }
        // Before the write: were it to fail, the cut that undoes it must be synced as well.
        let base = self.active.base();
        let is_noted = |(last, file): &(Offset, UnsyncedFile)| {
            *last == base && matches!(file, UnsyncedFile::Open(_))
        };
        if !self.unsynced.last().is_some_and(is_noted) {
            let written = UnsyncedFile::Open(Arc::clone(&file));
            self.unsynced.push((base, written));
            // Its name may not be durable yet.
            self.names_changed += u64::from(position == 0);
        }
        if let Err(error) = write_all_at(file.as_ref(), batch, position) {
            // Cut what was written of it: the next append starts at the same place.
            return Err(match file.truncate(position) {
                Ok(()) => WriteFailure::Refused(error),
                Err(_) => WriteFailure::Broken(error),
            });
        }
        self.active
            .indexes
            .note(header, position, config.index_interval_bytes);
        self.active.size += u64::try_from(batch.len()).unwrap_or(0);
        self.active.began_ms.get_or_insert(now_ms);
        self.log_end = Offset(header.last_offset().0.saturating_add(1));
        if header.is_control() {
            let marker = BatchView::parse(batch).ok();
            let result = marker.and_then(|(view, _)| marker_of(&view));
            self.active
                .aborted
                .extend(apply_marker(&mut self.producers, header, result, now_ms));
        } else {
            self.producers.apply(header, now_ms);
        }
        Ok(())
    }

    /// No read-committed consumer may read at or beyond it.
    pub(crate) fn last_stable(&self) -> Offset {
        let unstable = self.producers.first_unstable();
        unstable.map_or(self.log_end, |first| {
            first.max(self.log_start).min(self.log_end)
        })
    }

    /// Where the aborted transactions are that a reader from `from` on must know: sealed segments
    /// to look through, then what the active one has.
    pub(crate) fn aborted_from(
        &self,
        from: Offset,
    ) -> (Vec<Arc<SealedSegment>>, Vec<AbortedEntry>) {
        let at = self.sealed.partition_point(|segment| segment.end <= from);
        let sealed = self.sealed.iter().skip(at);
        let sealed = sealed.filter(|segment| segment.aborted_count > 0);
        let active = &self.active.aborted;
        let begin = active.partition_point(|entry| entry.last_offset < from);
        (
            sealed.cloned().collect(),
            active.iter().skip(begin).copied().collect(),
        )
    }

    fn roll_if_due(
        &mut self,
        header: &BatchHeader,
        config: &TopicConfig,
        now_ms: i64,
    ) -> io::Result<()> {
        if self.active.size == 0 {
            return Ok(());
        }
        let size = self.active.size + u64::try_from(header.size()).unwrap_or(0);
        let full = size > u64::try_from(config.segment_bytes).unwrap_or(0);
        // Offsets in the indexes are relative to the base.
        let far = header.last_offset().0 - self.active.base().0 > i64::from(i32::MAX);
        if full || far || self.is_old(config, now_ms) {
            self.roll()?;
        }
        Ok(())
    }

    fn is_old(&self, config: &TopicConfig, now_ms: i64) -> bool {
        self.active
            .began_ms
            .is_some_and(|began| now_ms.saturating_sub(began) >= config.segment_ms)
    }

    /// Rolls the active segment when its time has come; answers whether it did.
    pub(crate) fn roll_by_time(&mut self, config: &TopicConfig, now_ms: i64) -> io::Result<bool> {
        let due = self.active.size > 0 && self.is_old(config, now_ms);
        if due {
            self.roll()?;
        }
        Ok(due)
    }

    /// Seals the active segment and begins another at the log end. The sealed one is synced with
    /// the next sync; until then the recovery point stays below it.
    fn roll(&mut self) -> io::Result<()> {
        let storage = self.storage.as_ref();
        storage.create(&index::log_path(&self.directory, self.log_end))?;
        self.names_changed += 1;
        self.active.indexes.note_time();
        match self.active.save_indexes(storage, &self.directory) {
            Ok(files) => {
                let base = self.active.base();
                let files = files.into_iter().map(UnsyncedFile::Open);
                let files = files.map(|file| (base, file));
                self.unsynced.extend(files);
            }
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "index not saved");
            }
        }
        self.save_snapshot();
        let fresh = ActiveSegment::new(Indexes::new(self.log_end), 0);
        let full = std::mem::replace(&mut self.active, fresh);
        self.sealed.push(Arc::new(SealedSegment::new(
            &full.indexes,
            self.log_end,
            full.size,
            full.aborted.len(),
            self.directory.clone(),
        )));
        Ok(())
    }

    /// Closes the active file when everything is synced; answers whether it was.
    pub(crate) fn close_idle_file(&mut self) -> bool {
        let synced = self.unsynced.is_empty();
        if synced {
            self.active.close_file();
        }
        synced
    }

    /// Whether the active segment's file is open.
    pub(crate) fn has_open_file(&self) -> bool {
        self.active.is_open()
    }

    /// Where the log start would go to drop everything before `before`; `None` when it is there
    /// already. Never back. The answer is for [`StartMove::save`], without the lock, and then for
    /// [`Log::advance_start`].
    pub(crate) fn plan_start(&self, before: Offset) -> Option<StartMove> {
        let log_start = before.min(self.log_end);
        let gone = self
            .sealed
            .partition_point(|segment| segment.end <= log_start);
        (log_start > self.log_start).then(|| StartMove {
            log_start,
            gone: self.sealed.iter().take(gone).cloned().collect(),
            directory: self.directory.clone(),
        })
    }

    /// Moves the log start to where it was saved to be; the answer are the segments that are
    /// wholly below it, whose files are the caller's to remove.
    pub(crate) fn advance_start(&mut self, saved: &StartMove) -> Vec<Arc<SealedSegment>> {
        self.log_start = self.log_start.max(saved.log_start);
        let gone = self
            .sealed
            .partition_point(|segment| segment.end <= self.log_start);
        let gone: Vec<_> = self.sealed.drain(..gone).collect();
        self.unsynced
            .retain(|(base, _)| gone.iter().all(|segment| segment.base != *base));
        gone
    }

    /// Where `retention.ms` and `retention.bytes` want the log start to be, and how many segments
    /// they let go; `None` when they let nothing go.
    pub(crate) fn plan_retention(
        &mut self,
        config: &TopicConfig,
        now_ms: i64,
    ) -> io::Result<Option<(Offset, usize)>> {
        if !config.delete_old {
            return Ok(None);
        }
        let expired = |max_timestamp: i64| {
            config.retention_ms >= 0
                && max_timestamp >= 0
                && now_ms.saturating_sub(max_timestamp) > config.retention_ms
        };
        // As Kafka: an active segment that is old through and through is rolled, then goes too.
        if self.active.size > 0 && expired(self.active.indexes.max_timestamp) {
            self.roll()?;
        }
        let mut size = self.size_bytes();
        let mut keep_from = self.log_start;
        let mut count = 0;
        for segment in &self.sealed {
            let too_much = u64::try_from(config.retention_bytes)
                .is_ok_and(|limit| size.saturating_sub(segment.size) >= limit);
            if !(expired(segment.max_timestamp) || too_much) {
                break;
            }
            size -= segment.size;
            keep_from = segment.end;
            count += 1;
        }
        Ok((count > 0).then_some((keep_from, count)))
    }

    /// Where the batch that holds `offset` is, when it is in the log.
    pub(crate) fn place(&mut self, offset: Offset) -> io::Result<Place> {
        let at = self.sealed.partition_point(|segment| segment.end <= offset);
        if let Some(segment) = self.sealed.get(at) {
            return Ok(Place::Sealed(Arc::clone(segment)));
        }
        let file = self.active.file(self.storage.as_ref(), &self.directory)?;
        let from = self.active.indexes.position_of(offset);
        Ok(Place::Active(file, from, self.active.size))
    }

    /// The first segment with a timestamp at or after `timestamp`, and an offset before which it
    /// has none.
    pub(crate) fn place_of_time(&mut self, timestamp: i64) -> io::Result<Option<(Place, Offset)>> {
        let sealed = self
            .sealed
            .iter()
            .find(|segment| segment.max_timestamp >= timestamp && segment.end > self.log_start);
        if let Some(segment) = sealed {
            return Ok(Some((Place::Sealed(Arc::clone(segment)), segment.base)));
        }
        if self.active.indexes.max_timestamp < timestamp || self.active.size == 0 {
            return Ok(None);
        }
        let from = self.active.indexes.offset_before(timestamp);
        Ok(Some((self.place(from.max(self.active.base()))?, from)))
    }

    /// The largest timestamp in the log, if there is one.
    pub(crate) fn max_timestamp(&self) -> Option<i64> {
        self.sealed
            .iter()
            .map(|segment| segment.max_timestamp)
            .chain([self.active.indexes.max_timestamp])
            .max()
            .filter(|timestamp| *timestamp >= 0)
    }
}

/// Takes a control batch, whose header has its final offset, into the producers' state; answers
/// the transaction that it aborted.
fn apply_marker(
    producers: &mut ProducerState,
    header: &BatchHeader,
    result: Option<TransactionResult>,
    now_ms: i64,
) -> Option<AbortedEntry> {
    let result = result?;
    let ended = producers.end_transaction(header, now_ms)?;
    let last_offset = header.last_offset();
    (result == TransactionResult::Abort).then(|| AbortedEntry {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset,
        last_stable: producers
            .first_unstable()
            .unwrap_or_else(|| Offset(last_offset.0.saturating_add(1))),
    })
}

/// What the control batch at `position` says of a transaction.
fn read_marker(
    file: &dyn StorageFile,
    position: u64,
    header: &BatchHeader,
) -> io::Result<Option<TransactionResult>> {
    if header.size() > MARKER_BATCH_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; header.size()];
    let read = crate::storage::read_full_at(file, &mut bytes, position)?;
    bytes.truncate(read);
    let view = BatchView::parse(&bytes).ok();
    Ok(view.and_then(|(view, _)| marker_of(&view)))
}

/// The aborted transactions of `[from, until)`, from where [`Log::aborted_from`] says they are.
pub(crate) fn collect_aborted(
    (sealed, active): (Vec<Arc<SealedSegment>>, Vec<AbortedEntry>),
    from: Offset,
    until: Offset,
    storage: &dyn Storage,
) -> io::Result<Vec<(ProducerId, Offset)>> {
    let mut found = Vec::new();
    let mut done = false;
    for segment in sealed {
        if !done {
            let entries = segment.aborted(storage)?;
            done = transaction_index::collect(&entries, from, until, &mut found);
        }
    }
    if !done {
        transaction_index::collect(&active, from, until, &mut found);
    }
    // Entries are in the order of the markers; clients need them by first offset.
    found.sort_unstable_by_key(|entry| entry.first_offset);
    Ok(found
        .iter()
        .map(|entry| (entry.producer_id, entry.first_offset))
        .collect())
}

/// The position and header of the batch that holds `offset`, or of the first one after it.
///
/// The index's word is checked: when no batch begins where it points, the search starts over
/// from the front. `None` at the end of the segment.
pub(crate) fn find_batch(
    file: &dyn StorageFile,
    from: u64,
    end: u64,
    offset: Offset,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let mut window = Window::new(file, end, Depth::Headers);
    let mut position = from;
    let mut first = true;
    while position < end {
        let parsed = BatchHeader::parse(window.at(position, BATCH_HEADER_BYTES)?);
        let header = match parsed {
            Ok(header) if !first || position == 0 || header.base_offset <= offset => header,
            _ if first && position > 0 => {
                (position, first) = (0, false);
                continue;
            }
            Ok(header) => header,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        first = false;
        if header.last_offset() >= offset {
            return Ok(Some((position, header)));
        }
        position += u64::try_from(header.size()).unwrap_or(u64::MAX);
    }
    Ok(None)
}

impl Place {
    /// The file to read, the position to look from for `offset`, and the end.
    pub(crate) fn resolve(
        &self,
        offset: Offset,
        storage: &dyn Storage,
        open: &OpenSegments,
    ) -> io::Result<(Arc<dyn StorageFile>, u64, u64)> {
        match self {
            Self::Active(file, from, end) => Ok((Arc::clone(file), *from, *end)),
            Self::Sealed(segment) => {
                let files = segment.files(storage, open)?;
                let from = match &files.offsets {
                    Some(offsets) => index::search_offsets(offsets.as_ref(), segment.base, offset)?,
                    None => 0,
                };
                Ok((files.log, from, segment.size))
            }
        }
    }

    /// An offset before which a sealed segment has no timestamp at or after `timestamp`.
    pub(crate) fn offset_before(
        &self,
        timestamp: i64,
        storage: &dyn Storage,
        open: &OpenSegments,
    ) -> io::Result<Option<Offset>> {
        let Self::Sealed(segment) = self else {
            return Ok(None);
        };
        let files = segment.files(storage, open)?;
        match &files.times {
            Some(times) => index::search_times(times.as_ref(), segment.base, timestamp).map(Some),
            None => Ok(None),
        }
    }

    /// Offset after the last record, of a sealed segment.
    pub(crate) fn sealed_end(&self) -> Option<Offset> {
        match self {
            Self::Active(..) => None,
            Self::Sealed(segment) => Some(segment.end),
        }
    }
}

/// Whether a directory's name is one of ours: `<topic>-<partition>`.
pub(crate) fn parse_partition_directory(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition: i32 = partition.parse().ok()?;
    (partition >= 0).then_some((topic, partition))
}

/// The directory of a partition.
pub(crate) fn partition_directory(topics: &Path, topic: &str, partition: i32) -> PathBuf {
    topics.join(format!("{topic}-{partition}"))
}
