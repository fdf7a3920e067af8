//! What keeps a partition in shape: the log start, house-keeping, the orderly stop, the end.

use std::io;

use super::{Partition, ReadError, State};
use crate::ids::Offset;

impl Partition {
    /// Moves the log start to `before`; -1 means the high watermark. Answers the new log start,
    /// which is durable. Blocks on disk.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] above the high watermark or below -1.
    pub fn delete_records(&self, before: Offset) -> Result<Offset, ReadError> {
        self.check_online().map_err(ReadError::Offline)?;
        let offsets = self.offsets();
        let target = if before.0 == -1 {
            offsets.high_watermark
        } else {
            before
        };
        if target > offsets.high_watermark || target.0 < 0 {
            return Err(ReadError::OutOfRange {
                requested: before,
                offsets,
            });
        }
        self.move_start(target)
            .map_err(|error| ReadError::Offline(format!("log start not moved: {error}")))?;
        Ok(self.offsets().log_start)
    }

    /// Drops what lies before `before`. The new start is durable before it counts, and the lock is
    /// held for neither the sync nor the removal of files.
    fn move_start(&self, before: Offset) -> io::Result<()> {
        let _files_are_ours = self.rearranging.lock();
        let storage = self.context.storage.as_ref();
        let planned = self
            .state
            .lock()
            .log
            .as_ref()
            .map(|log| log.plan_start(before));
        let Some(planned) = planned.flatten() else {
            return Ok(());
        };
        planned.save(storage)?;
        let gone = match self.state.lock().log.as_mut() {
            Some(log) => log.advance_start(&planned),
            None => Vec::new(),
        };
        for segment in gone {
            if let Err(error) = segment.remove(storage) {
                tracing::warn!(partition = %self.shown(), segment = %segment.base, %error,
                    "old segment not removed: the next start does it");
            }
        }
        Ok(())
    }

    /// Retention, rolling by time, producer expiry, checkpoint; lets go of what an idle partition
    /// does not need. Blocks on disk.
    pub(crate) fn keep_house(&self, now_ms: i64) {
        if self.offline.get().is_some() {
            return;
        }
        let config = self.topic.config.load_full();
        let mut state = self.state.lock();
        let active = std::mem::take(&mut state.appended_since_tick);
        let State {
            log: Some(log),
            tail,
            ..
        } = &mut *state
        else {
            return;
        };
        let planned = log
            .roll_by_time(&config, now_ms)
            .and_then(|_| log.plan_retention(&config, now_ms));
        log.expire_producers(now_ms);
        if !active {
            tail.shrink(IDLE_TAIL_BYTES);
            self.close_if_synced(&mut state);
        }
        drop(state);
        let retained = planned.and_then(|planned| {
            let Some((keep_from, segments)) = planned else {
                return Ok(());
            };
            self.move_start(keep_from)?;
            tracing::info!(partition = %self.shown(), segments, "old segments removed");
            Ok(())
        });
        if let Err(error) = retained {
            tracing::error!(partition = %self.shown(), %error, "retention failed");
        }
        self.sync_now();
        if let Some(log) = self.state.lock().log.as_mut() {
            log.save_checkpoint();
        }
    }

    /// Whether anything was written that is not synced: then what
    /// [`Self::synced_with_file_system`] wants to be told.
    pub(super) fn unsynced_names(&self) -> Option<u64> {
        let state = self.state.lock();
        let log = state.log.as_ref().filter(|log| log.has_unsynced())?;
        Some(log.names_changed())
    }

    /// Notes that the file system was synced after [`Self::unsynced_names`] was asked.
    pub(super) fn synced_with_file_system(&self, names: u64) {
        if let Some(log) = self.state.lock().log.as_mut() {
            log.synced_with_file_system(names);
        }
    }

    /// Syncs the log, for an orderly stop, writes what makes the next start short, and takes the
    /// partition out of use. Answers whether what was written is still to be synced. Blocks on disk.
    ///
    /// # Errors
    /// The partition, and why it was offline before.
    pub(super) fn finish(&self) -> Result<bool, String> {
        let written = loop {
            self.sync_now();
            self.check_online()
                .map_err(|reason| format!("{}: {reason}", self.shown()))?;
            let mut state = self.state.lock();
            let Some(log) = state.log.as_mut() else {
                return Ok(false);
            };
            // Nothing may be appended behind the mark of the orderly stop.
            if *self.durable.borrow() >= log.log_end().0 {
                let written = log.write_checkpoint();
                self.offline
                    .get_or_init(|| "the broker is shutting down".to_owned());
                break written;
            }
        };
        self.notify_all();
        Ok(written)
    }

    /// Makes durable what [`Self::finish`] wrote. Blocks on disk.
    pub(super) fn save_durably(&self) {
        if let Some(log) = self.state.lock().log.as_mut() {
            log.save_durably();
        }
    }

    /// Takes the partition out of use because its topic is deleted.
    pub(crate) fn retire(&self) {
        self.offline
            .get_or_init(|| "the topic is deleted".to_owned());
        // Whoever holds the lock finishes; whoever comes later finds it offline.
        let mut state = self.state.lock();
        state.log = None;
        state.tail.shrink(0);
        drop(state);
        self.context.files.closed(&self.ticket);
        self.notify_all();
    }
}

/// Tail kept of a partition that nothing was appended to between two rounds of house-keeping.
const IDLE_TAIL_BYTES: usize = 64 << 10;
