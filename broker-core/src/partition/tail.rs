//! The newest batches of a partition, kept in memory so that a consumer at the end of the log
//! reads no file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use crate::ids::Offset;

/// Bytes of tail kept per partition.
const TAIL_BYTES_MAX: usize = 4 << 20;

/// Bytes of tail kept by all partitions together; past it each keeps [`TAIL_BYTES_CROWDED`].
const ALL_TAILS_BYTES_MAX: usize = 256 << 20;
const TAIL_BYTES_CROWDED: usize = 64 << 10;

/// A batch up to this size is copied out of the request it came in, which would else stay in
/// memory as long as the batch; copying costs about 2 us.
const COPIED_BYTES_MAX: usize = 32 << 10;

/// A ring of contiguous batches that ends at the log end.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
    bytes: usize,
    all_tails_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct TailBatch {
    base: Offset,
    last: Offset,
    bytes: Bytes,
}

impl Tail {
    pub(crate) fn new(all_tails_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            all_tails_bytes,
        }
    }

    /// Adds the newest batch, lets the oldest go.
    pub(crate) fn push(&mut self, base: Offset, last: Offset, batch: BytesMut) {
        let bytes = if batch.len() <= COPIED_BYTES_MAX {
            Bytes::copy_from_slice(&batch)
        } else {
            batch.freeze()
        };
        self.bytes += bytes.len();
        let all = self
            .all_tails_bytes
            .fetch_add(bytes.len(), Ordering::Relaxed)
            + bytes.len();
        self.batches.push_back(TailBatch { base, last, bytes });
        self.shrink(if all > ALL_TAILS_BYTES_MAX {
            TAIL_BYTES_CROWDED
        } else {
            TAIL_BYTES_MAX
        });
    }

    /// Lets the oldest batches go until at most `bytes_max` remain.
    pub(crate) fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && !self.batches.is_empty() {
            self.drop_oldest();
        }
        if self.batches.is_empty() {
            self.batches.shrink_to_fit();
        }
    }

    /// Lets the batches below `end` go: what the disk has there is something else by now.
    pub(crate) fn forget_below(&mut self, end: Offset) {
        while let Some(oldest) = self.batches.front()
            && oldest.base < end
        {
            self.drop_oldest();
        }
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.batches.pop_front() {
            self.bytes -= oldest.bytes.len();
            self.all_tails_bytes
                .fetch_sub(oldest.bytes.len(), Ordering::Relaxed);
        }
    }

    /// The batches from the one that holds `from` on; `None` when that is not in memory.
    pub(crate) fn read(&self, from: Offset, limit: &mut ReadLimit) -> Option<Vec<Bytes>> {
        if self.batches.front()?.base > from {
            return None;
        }
        let at = self.batches.partition_point(|batch| batch.last < from);
        let fitting = self
            .batches
            .range(at..)
            .take_while(|batch| limit.admits(batch.base, batch.bytes.len()));
        Some(fitting.map(|batch| batch.bytes.clone()).collect())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// How much more a read may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    /// No batch that begins here or later is returned.
    pub(crate) until: Offset,
    pub(crate) left: usize,
    /// The next batch is returned whatever its size.
    pub(crate) at_least_one: bool,
    pub(crate) taken: usize,
}

impl ReadLimit {
    /// Whether a batch of that size is still to be returned; counts it if so.
    pub(crate) fn admits(&mut self, base: Offset, bytes: usize) -> bool {
        let admitted = base < self.until && (bytes <= self.left || self.at_least_one);
        if admitted {
            self.left = self.left.saturating_sub(bytes);
            self.at_least_one = false;
            self.taken += bytes;
        } else {
            self.left = 0;
        }
        admitted
    }
}
