//! Consumer groups. Stub, replaced by its owner.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::clock::Clock;
use crate::topics::Topics;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct GroupConfig {
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    pub initial_rebalance_delay_ms: i32,
    pub offsets_retention_minutes: i32,
    pub offset_metadata_bytes_max: usize,
    pub group_size_max: usize,
}
impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 0,
            offsets_retention_minutes: 10_080,
            offset_metadata_bytes_max: 4096,
            group_size_max: 10_000,
        }
    }
}

#[derive(Debug)]
pub struct GroupCoordinator;
impl GroupCoordinator {
    /// Creates the internal topic `__consumer_offsets` if missing and replays it. Blocks on disk.
    pub fn open(
        _topics: Arc<Topics>,
        _config: GroupConfig,
        _clock: Clock,
    ) -> Result<Arc<Self>, String> {
        todo!()
    }
    /// Runs the timers until shutdown (spawned by the broker).
    pub async fn run(self: Arc<Self>, _shutdown: tokio_util::sync::CancellationToken) {
        todo!()
    }
}
