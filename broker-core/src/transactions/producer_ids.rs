//! The one allocator of producer ids: none is given twice, whatever crashes.
//!
//! Ids are reserved in blocks that are durable in the metadata log before the first of them is
//! given away; what is left of a block at a crash is lost.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::ids::ProducerId;
use crate::topics::Topics;

/// Ids reserved at a time.
const BLOCK: i64 = 1000;

/// The allocator.
#[derive(Debug)]
pub struct ProducerIds {
    topics: Arc<Topics>,
    reserved: Mutex<Reserved>,
}

/// Ids that are reserved and not given away.
#[derive(Debug, Default)]
struct Reserved {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// An allocator over the metadata log of `topics`, which has no other.
    #[must_use]
    pub fn new(topics: Arc<Topics>) -> Self {
        Self {
            topics,
            reserved: Mutex::default(),
        }
    }

    /// An id that nobody has had. Now and then this blocks on disk.
    ///
    /// # Errors
    /// A text when the metadata log cannot be written.
    pub fn allot(&self) -> Result<ProducerId, String> {
        let mut reserved = self.reserved.lock();
        if reserved.next == reserved.end {
            let first = self.topics.reserve_producer_ids(BLOCK)?;
            *reserved = Reserved {
                next: first,
                end: first.saturating_add(BLOCK),
            };
        }
        let id = ProducerId(reserved.next);
        reserved.next += 1;
        Ok(id)
    }
}
