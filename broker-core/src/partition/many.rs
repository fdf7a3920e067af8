//! Many partitions at once: house-keeping and the orderly stop.
//!
//! Where many partitions have something that is not on disk, one sync of the file system brings all of
//! it there: ten thousand files synced one by one take a minute. Every partition still syncs the files
//! that it has written to itself, which then costs little: only that tells whose write failed.

use std::path::Path;
use std::sync::Arc;

use super::{Partition, PartitionContext};
use crate::threads;

/// From so many partitions on the file system is synced as a whole: for fewer, waiting for what other
/// programs wrote to it may take longer.
pub(super) const TOGETHER_FROM: usize = 64;

impl PartitionContext {
    /// Keeps house in every partition, until `stop` says so. `directory` is on their file system.
    /// Blocks on disk.
    pub(crate) fn keep_house(
        &self,
        partitions: &[Arc<Partition>],
        directory: &Path,
        now_ms: i64,
        stop: &dyn Fn() -> bool,
    ) {
        self.sync_together(partitions, directory);
        for partition in partitions {
            if stop() {
                return;
            }
            partition.keep_house(now_ms);
        }
    }

    /// Syncs and saves everything, for an orderly stop, and takes the partitions out of use.
    /// `directory` is on their file system. Blocks on disk.
    ///
    /// # Errors
    /// The partitions that could not be saved.
    pub(crate) fn close(
        &self,
        partitions: &[Arc<Partition>],
        directory: &Path,
    ) -> Result<(), String> {
        self.sync_together(partitions, directory);
        let closed = threads::each(partitions, |partition| {
            let written = partition.finish();
            written.map(|written| written.then(|| Arc::clone(partition)))
        });
        let (written, failed): (Vec<_>, Vec<_>) = closed.into_iter().partition(Result::is_ok);
        let written: Vec<_> = written.into_iter().flatten().flatten().collect();
        if !self.is_synced_together(written.len(), directory) {
            threads::each(&written, |partition| partition.save_durably());
        }
        let failed: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("; "))
        }
    }

    /// Brings what many partitions have not synced to the disk, so that their own syncs are short.
    fn sync_together(&self, partitions: &[Arc<Partition>], directory: &Path) {
        let unsynced = partitions
            .iter()
            .filter_map(|one| Some((one, one.unsynced_names()?)));
        let unsynced: Vec<_> = unsynced.collect();
        if self.is_synced_together(unsynced.len(), directory) {
            for (partition, names) in unsynced {
                partition.synced_with_file_system(names);
            }
        }
    }

    /// Syncs the file system if `count` partitions are worth it; answers whether all is on disk.
    fn is_synced_together(&self, count: usize, directory: &Path) -> bool {
        if count < self.together_from {
            return false;
        }
        let synced = self.storage.sync_file_system(directory);
        if let Err(error) = &synced {
            tracing::warn!(directory = %directory.display(), %error,
                "the file system could not be synced as a whole: going on file by file");
        }
        synced.is_ok()
    }
}
