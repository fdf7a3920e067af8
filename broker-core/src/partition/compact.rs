//! Compaction of a partition: see [`crate::log`] for what it does to the segments.

use std::io;

use super::Partition;
use crate::log::{Compaction, Log};

impl Partition {
    /// Compacts what is worth it. The lock is held while segments are chosen and exchanged, not
    /// while they are read and written. Blocks on disk, for long; `stop` ends it early.
    pub(crate) fn compact(&self, now_ms: i64, stop: &dyn Fn() -> bool) {
        if self.offline.get().is_some() {
            return;
        }
        let config = self.topic.config.load_full();
        let planned = {
            let state = self.state.lock();
            let stable_end = state.offsets().last_stable;
            state
                .log
                .as_ref()
                .and_then(|log| log.compaction(&config, stable_end, now_ms))
        };
        let Some(planned) = planned else { return };
        match self.exchange(&planned, stop) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                tracing::error!(partition = %self.shown(), %error, "compaction failed");
            }
            _ => {}
        }
    }

    fn exchange(&self, planned: &Compaction, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let storage = self.context.storage.as_ref();
        let open = &self.context.open_segments;
        let compacted = planned.run(storage, open, stop)?;
        let (bytes_before, bytes_after) = compacted.bytes();
        let _files_are_ours = self.rearranging.lock();
        let recovery_point = self.state.lock().log.as_ref().map(Log::recovery_point);
        let Some(recovery_point) = recovery_point else {
            return Ok(());
        };
        compacted.publish(storage, recovery_point)?;
        let clean_until = compacted.clean_until();
        let exchanged = {
            let mut state = self.state.lock();
            let exchanged = match state.log.as_mut() {
                Some(log) => log.replace(compacted, open)?,
                None => None,
            };
            if exchanged.is_some() {
                state.tail.forget_below(clean_until);
            }
            exchanged
        };
        if let Some(exchanged) = exchanged {
            exchanged.settle(storage)?;
            tracing::info!(partition = %self.shown(), bytes_before, bytes_after, "compacted");
        }
        Ok(())
    }
}
