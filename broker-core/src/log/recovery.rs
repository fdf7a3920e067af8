//! Opening a partition's directory: after an orderly stop, or after anything else.
//!
//! After an orderly stop the last segment's tail is hopped over by headers and the rest is
//! trusted. After anything else every batch from the recovery point on is read and its checksum
//! compared; the log is cut at the first bad byte, and the leader epoch is bumped so that
//! clients notice that offsets may have been given twice. Segments below the recovery point are
//! not read, unless their indexes must be rebuilt.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint;
use super::compaction;
use super::index::{self, Indexes};
use super::producer_snapshot::{self, ProducerSnapshot};
use super::producer_state::ProducerState;
use super::scan::{self, Depth, Range};
use super::segment::{ActiveSegment, SealedSegment, remove_segment};
use super::snapshots::snapshots;
use super::transaction_index::{self, AbortedEntry};
use super::{Log, Shutdown, Start, TopicConfig, apply_marker, read_marker};
use crate::ids::{LeaderEpoch, Offset};
use crate::records::BatchHeader;
use crate::storage::{Persistence, Storage, StorageFile, TEMPORARY_EXTENSION, read_full_at};

/// Extension of producer snapshots.
pub(super) const SNAPSHOT: &str = "snapshot";

impl Log {
    /// Opens or creates the log in `directory`, which exists.
    ///
    /// # Errors
    /// Those of the disk. What the log files hold is never an error here: it is cut.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        directory: PathBuf,
        config: &TopicConfig,
        start: Start,
    ) -> io::Result<Self> {
        let now_ms = start.now_ms;
        let opening = Opening {
            storage: storage.as_ref(),
            directory: &directory,
            config,
            removed: Cell::new(false),
        };
        let names = opening.names()?;
        let mut segments = opening.segments(&names)?;
        let snapshots = snapshots(&names);
        let saved_start = checkpoint::load_log_start(opening.storage, &directory)?;
        let saved_start = saved_start.unwrap_or_default();
        let first_dirty = checkpoint::load_first_dirty(opening.storage, &directory)?;
        let saved = checkpoint::load_recovery_point(opening.storage, &directory)?;
        let recovery_point = saved.unwrap_or_default();
        let epochs = checkpoint::load_epochs(opening.storage, &directory)?.unwrap_or_default();
        let mut created = false;
        // Their removal was not synced: they may have come back, and not all of them.
        while segments
            .get(1)
            .is_some_and(|next| next.indexes.base <= saved_start)
        {
            let gone = segments.remove(0);
            opening.remove(gone.indexes.base)?;
        }
        if segments.is_empty() {
            segments.push(opening.create_segment(saved_start)?);
            created = true;
        }
        let sync_failed = checkpoint::load_sync_failure(opening.storage, &directory)?;
        // A log that nothing was ever written to has no checkpoint, and needs none.
        let untouched = matches!(segments.as_slice(), [only]
            if only.size == 0 && only.indexes.base == Offset(0) && saved_start == Offset(0));
        let clean = start.shutdown == Shutdown::Clean
            && (saved.is_some() || created || untouched)
            && !sync_failed;
        let mut newest_epoch = epochs.latest();
        // The gaps that compaction made are no faults, even where the recovery point is lost.
        let compacted_below = recovery_point.max(first_dirty.unwrap_or_default());
        let mut log_end = opening.recover(
            &mut segments,
            recovery_point,
            compacted_below,
            if clean {
                Depth::Headers
            } else {
                Depth::Checksums
            },
            &mut newest_epoch,
        )?;
        for beyond in snapshots.iter().filter(|offset| **offset > log_end) {
            let path = index::segment_path(&directory, *beyond, SNAPSHOT);
            opening.storage.remove(&path)?;
        }
        if log_end < saved_start {
            // Records that DeleteRecords had removed for good were lost before they were synced:
            // no offset below the promised start may come back.
            for segment in segments.drain(..) {
                opening.remove(segment.indexes.base)?;
            }
            segments.push(opening.create_segment(saved_start)?);
            log_end = saved_start;
        }
        if opening.removed.get() {
            // Or they come back one day, behind newer ones.
            opening.storage.sync_dir(&directory)?;
        }
        let first = segments.first().map_or(log_end, |first| first.indexes.base);
        let log_start = saved_start.max(first).min(log_end);
        let snapshot = opening.snapshot(&snapshots, log_end);
        let producers = opening.producers(&mut segments, log_start, snapshot, now_ms)?;
        let before = epochs;
        let ended = if clean {
            Shutdown::Clean
        } else {
            Shutdown::Unclean
        };
        let epochs = before.clone();
        let epochs = epochs.reopened((log_start, log_end), ended, newest_epoch, start.epoch_floor);
        let epochs_changed = epochs != before;
        // The epoch of a log without records needs no record either: it is made again from the count
        // of unclean starts. A topic of many partitions would wait long for it.
        let untouched = untouched && log_end == Offset(0) && before.is_empty();
        let Some(last) = segments.pop() else {
            return Err(io::Error::other("log without segment"));
        };
        let sealed = segments.into_iter();
        let sealed = sealed.map(|segment| segment.seal(&directory)).collect();
        let mut active = ActiveSegment::new(last.indexes, last.size);
        active.aborted = last.aborted;
        active.began_ms = (last.size > 0).then_some(now_ms);
        let log = Self {
            sealed,
            active,
            log_start,
            log_end,
            producers,
            epochs,
            recovery_point: if clean {
                log_end
            } else {
                recovery_point.min(log_end)
            },
            first_dirty: first_dirty.unwrap_or_default().min(log_end),
            unsynced: Vec::new(),
            names_changed: u64::from(created && !untouched),
            names_synced: 0,
            // What an orderly stop saved need not be saved again.
            checkpointed: (clean && saved == Some(log_end)).then_some((
                log_end,
                log_end,
                Persistence::Durable,
            )),
            epochs_saved: !epochs_changed,
            storage,
            directory,
        };
        let mut log = log.after_recovery(clean, saved);
        if epochs_changed && log.leader_epoch() > start.epoch_floor.max(LeaderEpoch(0)) {
            // The next start would not know of it.
            log.begin_epoch()?;
        }
        if sync_failed {
            log.write_again()?;
        }
        Ok(log)
    }
}

/// A segment as found.
#[derive(Debug)]
struct Loaded {
    indexes: Indexes,
    size: u64,
    /// Offset after its last record; for a segment not scanned, the next one's base.
    end: Offset,
    /// Transactions whose abort marker is in it; known once the producers are.
    aborted: Vec<AbortedEntry>,
}

impl Loaded {
    fn seal(self, directory: &Path) -> Arc<SealedSegment> {
        let aborted = self.aborted.len();
        let directory = directory.to_owned();
        Arc::new(SealedSegment::new(
            &self.indexes,
            self.end,
            self.size,
            aborted,
            directory,
        ))
    }
}

struct Opening<'a> {
    storage: &'a dyn Storage,
    directory: &'a Path,
    config: &'a TopicConfig,
    /// Whether segments were removed, and that not synced.
    removed: Cell<bool>,
}

impl Opening<'_> {
    fn remove(&self, base: Offset) -> io::Result<()> {
        self.removed.set(true);
        remove_segment(self.storage, self.directory, base)
    }

    /// The files that are there, once what a compaction had begun is ended.
    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.storage.list(self.directory)?;
        if self.finish_compaction(&names)? {
            return self.storage.list(self.directory);
        }
        Ok(names)
    }

    /// Removes what a compaction had not finished writing, and ends the exchange of segments that it
    /// had begun: those that the new one covers go, whatever of them is still there. Answers whether
    /// there was one.
    fn finish_compaction(&self, names: &[String]) -> io::Result<bool> {
        let (mut bases, mut swaps) = (Vec::new(), Vec::new());
        for name in names {
            match name.rsplit_once('.') {
                Some((stem, "log")) => bases.extend(parse_offset(stem)),
                Some((stem, compaction::SWAP)) => swaps.extend(parse_offset(stem)),
                Some((_, compaction::CLEANED)) => {
                    self.storage.remove(&self.directory.join(name))?;
                }
                _ => {}
            }
        }
        let exchanging = !swaps.is_empty();
        for base in swaps {
            let path = index::segment_path(self.directory, base, compaction::SWAP);
            let file = self.storage.open(&path)?;
            let range = Range {
                position: 0,
                end: file.len()?,
                next_offset: Some(base.0),
                compacted_below: base,
            };
            let scanned = scan::scan(file.as_ref(), range, Depth::Headers, &mut |_, _| {})?;
            let end = scanned.next_offset.unwrap_or(base.0);
            let old = bases.iter().copied();
            let old = old.filter(|old| *old == base || (*old > base && old.0 < end));
            compaction::complete_swap(self.storage, self.directory, base, old)?;
            self.storage.sync_dir(self.directory)?;
            tracing::info!(
                directory = %self.directory.display(), segment = %base,
                "compaction that was cut short is complete"
            );
        }
        Ok(exchanging)
    }

    /// The segments that are there, ascending, with whatever indexes they have.
    fn segments(&self, names: &[String]) -> io::Result<Vec<Loaded>> {
        let mut bases = Vec::new();
        for name in names {
            match name.rsplit_once('.') {
                Some((stem, "log")) => bases.extend(parse_offset(stem)),
                Some((_, extension)) if extension == TEMPORARY_EXTENSION => {
                    self.storage.remove(&self.directory.join(name))?;
                }
                _ => {}
            }
        }
        bases.sort_unstable();
        let mut segments = Vec::with_capacity(bases.len());
        let mut covered = Offset(0);
        for (at, &base) in bases.iter().enumerate() {
            if base < covered {
                // Compaction put a segment in its place, and its removal was not durable.
                self.remove(base)?;
                continue;
            }
            let log = self.open_log(base)?;
            let size = log.len()?;
            let sealed = at + 1 < bases.len();
            let interval = self.config.index_interval_bytes;
            let loaded = Indexes::load(self.storage, self.directory, base, size)?;
            let seen = match &loaded {
                Some(loaded) => loaded.cover(log.as_ref(), size, sealed, interval)?,
                None => None,
            };
            let (indexes, seen) = match (loaded, seen) {
                (Some(loaded), Some(seen)) => (loaded, seen),
                _ => self.rebuild(base, size, sealed)?,
            };
            covered = covered.max(seen);
            let next = bases.iter().skip(at + 1).find(|next| **next >= covered);
            let end = next.copied().unwrap_or(base);
            segments.push(Loaded {
                indexes,
                size,
                end,
                aborted: Vec::new(),
            });
        }
        Ok(segments)
    }

    /// Rebuilds the indexes of a segment from its headers; answers the offset after its last batch.
    fn rebuild(&self, base: Offset, size: u64, sealed: bool) -> io::Result<(Indexes, Offset)> {
        let mut indexes = Indexes::new(base);
        if size == 0 || !sealed {
            // The active segment is scanned in a moment, from its start.
            return Ok((indexes, base));
        }
        let file = self.open_log(base)?;
        let range = Range {
            position: 0,
            end: size,
            next_offset: Some(base.0),
            compacted_below: base,
        };
        let scanned = scan::scan(
            file.as_ref(),
            range,
            Depth::Headers,
            &mut |header, position| {
                indexes.note(header, position, self.config.index_interval_bytes);
            },
        )?;
        indexes.note_time();
        indexes.save(self.storage, self.directory)?;
        tracing::info!(directory = %self.directory.display(), segment = %base, "index rebuilt");
        let end = scanned.next_offset.map_or(base, Offset);
        Ok((indexes, end))
    }

    fn open_log(&self, base: Offset) -> io::Result<Arc<dyn StorageFile>> {
        self.storage.open(&index::log_path(self.directory, base))
    }

    fn create_segment(&self, base: Offset) -> io::Result<Loaded> {
        self.storage
            .create(&index::log_path(self.directory, base))?;
        Ok(Loaded {
            indexes: Indexes::new(base),
            size: 0,
            end: base,
            aborted: Vec::new(),
        })
    }

    /// Scans from the recovery point on, cuts at the first fault, answers the log end.
    fn recover(
        &self,
        segments: &mut Vec<Loaded>,
        recovery_point: Offset,
        compacted_below: Offset,
        depth: Depth,
        newest_epoch: &mut LeaderEpoch,
    ) -> io::Result<Offset> {
        let last = segments.len().saturating_sub(1);
        let first_dirty = match depth {
            Depth::Headers => last,
            Depth::Checksums => segments
                .partition_point(|segment| segment.indexes.base <= recovery_point)
                .saturating_sub(1),
        };
        let mut kept = segments.len();
        for at in first_dirty..segments.len() {
            let from = if at == first_dirty {
                recovery_point
            } else {
                Offset(0)
            };
            let next_base = segments.get(at + 1).map(|next| next.indexes.base);
            let Some(segment) = segments.get_mut(at) else {
                break;
            };
            let mut cut = self.rescan(segment, from, compacted_below, depth, newest_epoch)?;
            if cut && depth == Depth::Headers {
                // Not as orderly as it was said to be: look closely.
                let (all, depth) = (Offset(0), Depth::Checksums);
                self.rescan(segment, all, compacted_below, depth, newest_epoch)?;
            }
            if let Some(next) = next_base {
                // What was cut is of no account when the next segment goes on where the good part
                // ends: it was a refused write.
                let compacted = segment.end < next && next <= compacted_below;
                cut = next != segment.end && !compacted;
                if compacted {
                    segment.end = next;
                }
                if cut {
                    tracing::warn!(
                        directory = %self.directory.display(),
                        segment = %segment.indexes.base, end = %segment.end, %next,
                        "segment does not reach the next one"
                    );
                }
            }
            if cut {
                kept = at + 1;
                break;
            }
            if next_base.is_some() {
                // The active segment's are saved at its checkpoints.
                segment.indexes.save(self.storage, self.directory)?;
            }
        }
        for gone in segments.drain(kept..) {
            tracing::warn!(
                directory = %self.directory.display(),
                segment = %gone.indexes.base, bytes = gone.size,
                "segment after a cut removed"
            );
            self.remove(gone.indexes.base)?;
        }
        let end = segments.last().map_or(Offset(0), |segment| segment.end);
        if end < recovery_point {
            tracing::warn!(
                directory = %self.directory.display(), log_end = %end, %recovery_point,
                "the last synced records are not there: compacted away, or lost"
            );
        }
        // An offset that was given for good is not given again.
        Ok(end.max(recovery_point))
    }

    /// Scans one segment from the batch before `from` on; answers whether it was cut.
    fn rescan(
        &self,
        segment: &mut Loaded,
        from: Offset,
        compacted_below: Offset,
        depth: Depth,
        newest_epoch: &mut LeaderEpoch,
    ) -> io::Result<bool> {
        let base = segment.indexes.base;
        let file = self.open_log(base)?;
        let mut start = match depth {
            // The index ends where the last checkpoint was: what follows is short.
            Depth::Headers => segment.indexes.position_of(Offset(i64::MAX)),
            Depth::Checksums => segment
                .indexes
                .position_of(Offset(from.0.saturating_sub(1))),
        };
        if start > 0 && !begins_batch(file.as_ref(), start, segment.size, &segment.indexes)? {
            start = 0;
        }
        let indexes = &mut segment.indexes;
        let start_offset = if start == 0 { base } else { from.max(base) };
        indexes.truncate(start, start_offset);
        if start == 0 {
            *indexes = Indexes::new(base);
        }
        let interval = self.config.index_interval_bytes;
        let range = Range {
            position: start,
            end: segment.size,
            next_offset: (start == 0).then_some(base.0),
            compacted_below,
        };
        let scanned = scan::scan(file.as_ref(), range, depth, &mut |header, position| {
            indexes.note(header, position, interval);
            *newest_epoch = header.leader_epoch.max(*newest_epoch);
        })?;
        segment.end = Offset(scanned.next_offset.unwrap_or(base.0));
        let cut = scanned.fault.is_some();
        if let Some(fault) = scanned.fault
            && depth == Depth::Checksums
        {
            tracing::warn!(
                directory = %self.directory.display(), segment = %base,
                position = scanned.position, lost_bytes = segment.size - scanned.position,
                log_end = %segment.end, %fault,
                "log cut at the first bad byte"
            );
            file.truncate(scanned.position)?;
            // Durable at once: bytes beyond must never come back behind newer ones.
            file.sync_data()?;
            segment.size = scanned.position;
        }
        indexes.note_time();
        Ok(cut)
    }

    /// Producer state at the log end: that of `snapshot`, and the headers that follow it. Finds the
    /// aborted transactions of every segment on the way.
    fn producers(
        &self,
        segments: &mut [Loaded],
        log_start: Offset,
        snapshot: Option<(ProducerSnapshot, Offset)>,
        now_ms: i64,
    ) -> io::Result<ProducerState> {
        let (mut state, from) = match snapshot {
            Some((snapshot, from)) if self.load_aborted(segments, &snapshot)? => {
                (snapshot.producers, from)
            }
            _ => (ProducerState::default(), log_start),
        };
        let last = segments.len().saturating_sub(1);
        for (at, segment) in segments.iter_mut().enumerate() {
            if segment.end <= from {
                continue;
            }
            let base = segment.indexes.base;
            let file = self.open_log(base)?;
            let range = Range {
                position: segment
                    .indexes
                    .position_of(Offset(from.0.saturating_sub(1))),
                end: segment.size,
                next_offset: None,
                compacted_below: from,
            };
            let known = segment.aborted.len();
            let mut unread = Ok(());
            scan::scan(file.as_ref(), range, Depth::Headers, &mut |header, at| {
                if header.base_offset < from {
                    return;
                }
                // Seen when it was written, as far as its timestamp can be believed.
                let seen_ms = header.max_timestamp.min(now_ms);
                if !header.is_control() {
                    state.apply(header, seen_ms);
                    return;
                }
                match read_marker(file.as_ref(), at, header) {
                    Ok(result) => {
                        let aborted = apply_marker(&mut state, header, result, seen_ms);
                        segment.aborted.extend(aborted);
                    }
                    Err(error) => unread = Err(error),
                }
            })?;
            unread?;
            if at < last && segment.aborted.len() > known {
                let aborted = &segment.aborted;
                let saved =
                    transaction_index::save_from(aborted, 0, self.storage, self.directory, base)?;
                saved.map_or(Ok(()), |file| file.sync_data())?;
            }
        }
        state.expire(now_ms);
        Ok(state)
    }

    /// The newest of the producer snapshots at or before `log_end` that can be read, and its offset.
    fn snapshot(
        &self,
        snapshots: &[Offset],
        log_end: Offset,
    ) -> Option<(ProducerSnapshot, Offset)> {
        let usable = snapshots.iter().rev().filter(|offset| **offset <= log_end);
        usable.copied().find_map(|offset| {
            let path = index::segment_path(self.directory, offset, SNAPSHOT);
            let bytes = crate::storage::read_file(self.storage, &path, SNAPSHOT_BYTES_MAX)
                .ok()
                .flatten()?;
            Some((producer_snapshot::decode(&bytes, offset)?, offset))
        })
    }

    /// Loads the transaction indexes that `snapshot` counts on; answers whether they are whole.
    fn load_aborted(
        &self,
        segments: &mut [Loaded],
        snapshot: &ProducerSnapshot,
    ) -> io::Result<bool> {
        let first = segments.first().map(|first| first.indexes.base);
        let known = |base: &Offset| {
            let found = segments.binary_search_by_key(base, |segment| segment.indexes.base);
            found.is_ok() || first.is_none_or(|first| *base < first)
        };
        if !snapshot.aborted_counts.keys().all(known) {
            // Compaction has put segments together since.
            return Ok(false);
        }
        for at in 0..segments.len() {
            let Some(segment) = segments.get_mut(at) else {
                break;
            };
            let base = segment.indexes.base;
            let Some(&count) = snapshot.aborted_counts.get(&base) else {
                continue;
            };
            let (storage, directory) = (self.storage, self.directory);
            match transaction_index::load(count, storage, directory, base, segment.end)? {
                Some(entries) => segment.aborted = entries,
                None => {
                    tracing::info!(
                        directory = %directory.display(), segment = %base,
                        "transaction index is not whole: rebuilding from the log"
                    );
                    for segment in segments.iter_mut() {
                        segment.aborted.clear();
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Whether a batch begins at `position` whose last offset is what the index says.
fn begins_batch(
    file: &dyn StorageFile,
    position: u64,
    size: u64,
    indexes: &Indexes,
) -> io::Result<bool> {
    let mut bytes = [0; crate::records::BATCH_HEADER_BYTES];
    if position >= size {
        return Ok(false);
    }
    read_full_at(file, &mut bytes, position)?;
    let Ok(header) = BatchHeader::parse(&bytes) else {
        return Ok(false);
    };
    let relative = header.last_offset().0 - indexes.base.0;
    Ok(indexes.offsets.iter().any(|entry| {
        u64::from(entry.position) == position && i64::from(entry.relative_offset) == relative
    }))
}

pub(super) fn parse_offset(stem: &str) -> Option<Offset> {
    let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| stem.parse().ok().map(Offset)).flatten()
}

/// [`super::producer_state::PRODUCERS_MAX`] producers of five batches each are 18 MB.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;
