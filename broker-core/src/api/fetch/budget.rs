//! Memory for the records of fetch answers, of all connections together.
//!
//! A reader that does not read holds its answer in memory until it does or is cut off. Nobody waits
//! for it: when the memory is used up, answers become small, and never smaller than one batch.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every answer may have, however little memory is left, in bytes.
const LEAST_BYTES: usize = 64 * 1024;

/// One answer's share of the memory.
#[derive(Debug)]
pub(super) struct Budget {
    /// A permit per byte.
    memory: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(memory: &Arc<Semaphore>) -> Self {
        Self {
            memory: Arc::clone(memory),
            held: None,
        }
    }

    /// How many bytes may be read, of `wanted`; to be followed by [`Self::keep`].
    pub(super) fn allow(&mut self, wanted: usize) -> usize {
        let missing = wanted.saturating_sub(self.held());
        let share = missing.min(self.memory.available_permits());
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        // Another answer may have been faster: then this one has what it had.
        if let Ok(taken) = Arc::clone(&self.memory).try_acquire_many_owned(share) {
            match &mut self.held {
                Some(held) => held.merge(taken),
                None => self.held = Some(taken),
            }
        }
        self.held().max(LEAST_BYTES).min(wanted)
    }

    /// Gives back what was not read.
    pub(super) fn keep(&mut self, bytes: usize) {
        let surplus = self.held().saturating_sub(bytes);
        if let Some(held) = &mut self.held {
            drop(held.split(surplus));
        }
    }

    /// What is to be held until the answer is written.
    pub(super) fn into_permit(self) -> Option<OwnedSemaphorePermit> {
        self.held
    }

    fn held(&self) -> usize {
        let held = self.held.as_ref();
        held.map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_share_the_memory_and_give_it_back() {
        let memory = Arc::new(Semaphore::new(10 * LEAST_BYTES));
        let mut first = Budget::new(&memory);
        assert_eq!(first.allow(8 * LEAST_BYTES), 8 * LEAST_BYTES);
        let mut second = Budget::new(&memory);
        assert_eq!(second.allow(8 * LEAST_BYTES), 2 * LEAST_BYTES);
        let mut third = Budget::new(&memory);
        assert_eq!(third.allow(8 * LEAST_BYTES), LEAST_BYTES, "the least");
        assert_eq!(third.allow(10), 10, "no more than wanted");
        // What was not needed is for others, and can be had again.
        first.keep(LEAST_BYTES);
        assert_eq!(second.allow(8 * LEAST_BYTES), 8 * LEAST_BYTES);
        first.keep(0);
        second.keep(3 * LEAST_BYTES);
        assert_eq!(memory.available_permits(), 7 * LEAST_BYTES);
        let written = second.into_permit();
        drop((first, third));
        assert_eq!(memory.available_permits(), 7 * LEAST_BYTES);
        drop(written);
        assert_eq!(memory.available_permits(), 10 * LEAST_BYTES);
    }
}
