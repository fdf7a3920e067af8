//! What a log saves so that the next start is short: none of it is the truth.

use std::io;

use super::recovery::SNAPSHOT;
use super::unsynced::epochs_file;
use super::{Log, checkpoint, index, producer_snapshot, snapshots};
use crate::ids::Offset;
use crate::storage::{Persistence, replace_file};

impl Log {
    /// Saves what makes the next start short, and syncs none of it. Does nothing when nothing changed.
    /// Failures are logged: all of it is advisory.
    pub(crate) fn save_checkpoint(&mut self) {
        let at = |persistence| Some((self.log_end, self.recovery_point, persistence));
        let saved = [at(Persistence::Advisory), at(Persistence::Durable)];
        if !self.is_untouched() && !saved.contains(&self.checkpointed) {
            self.save(Persistence::Advisory);
        }
    }

    /// The same, for an orderly stop; answers whether it is still to be made durable: by
    /// [`Log::save_durably`], or by a sync of the file system.
    pub(crate) fn write_checkpoint(&mut self) -> bool {
        self.save_checkpoint();
        let durable = Some((self.log_end, self.recovery_point, Persistence::Durable));
        !self.is_untouched() && self.checkpointed != durable
    }

    /// Saves what makes the next start short, and syncs it.
    pub(crate) fn save_durably(&mut self) {
        self.save(Persistence::Durable);
    }

    /// Saves indexes, producer state, recovery point: a few small writes.
    fn save(&mut self, persistence: Persistence) {
        let is_short = self.is_short();
        if !is_short {
            self.save_snapshot();
        }
        let storage = self.storage.as_ref();
        let indexes = if is_short {
            Ok(Vec::new())
        } else {
            self.active.save_indexes(storage, &self.directory)
        };
        let saved = indexes.and_then(|indexes| {
            if persistence == Persistence::Durable {
                indexes.iter().try_for_each(|file| file.sync_data())?;
            }
            let point = self.recovery_point;
            checkpoint::save_recovery_point(point, storage, &self.directory, persistence)
        });
        match saved {
            Ok(()) => {
                self.checkpointed = Some((self.log_end, self.recovery_point, persistence));
            }
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "checkpoint not saved");
            }
        }
    }

    /// Saves the leader epochs, before the first records of the newest: should they be lost with
    /// those, the next start begins one that is newer still.
    pub(super) fn begin_epoch(&mut self) -> io::Result<()> {
        let (storage, advisory) = (self.storage.as_ref(), Persistence::Advisory);
        checkpoint::save_epochs(&self.epochs, storage, &self.directory, advisory)?;
        // In line before the records, so that the epoch is durable before what is written in it is.
        self.unsynced.push(epochs_file(&self.directory));
        self.names_changed += 1;
        self.epochs_saved = true;
        Ok(())
    }

    pub(super) fn save_snapshot(&self) {
        let path = index::segment_path(&self.directory, self.log_end, SNAPSHOT);
        let sealed = self.sealed.iter();
        let counts = sealed.map(|segment| (segment.base, segment.aborted_count));
        let counts = counts
            .chain([(self.active.base(), self.active.aborted.len())])
            .filter(|(_, count)| *count > 0)
            .collect();
        let bytes = producer_snapshot::encode(&self.producers, &counts, self.log_end);
        let storage = self.storage.as_ref();
        let saved = replace_file(storage, &path, &bytes, Persistence::Advisory)
            .and_then(|()| snapshots::remove_old_snapshots(storage, &self.directory, self.log_end));
        if let Err(error) = saved {
            tracing::warn!(directory = %self.directory.display(), %error, "producer snapshot not saved");
        }
    }

    /// Whether nothing was ever written: then there is nothing to save, and no file that must be
    /// found again.
    pub(super) fn is_untouched(&self) -> bool {
        self.sealed.is_empty() && self.active.size == 0 && self.log_end == Offset(0)
    }

    /// Whether the next start learns the indexes and the producers from the few batches there are as
    /// fast as from files, so that none are written: of ten thousand partitions most are so.
    pub(super) fn is_short(&self) -> bool {
        let untouched = self.sealed.is_empty() && self.log_start == Offset(0);
        let unindexed = self.active.indexes.offsets.is_empty() && self.active.saved == (0, 0);
        untouched && unindexed && self.producers.is_empty() && self.active.aborted.is_empty()
    }
}
