//! Group commit: a few threads that make appended batches durable for all who wait.
//!
//! A partition is queued once however many wait for it; what is appended while its sync runs is
//! covered by the next. So one `fdatasync` serves every append of the last one's duration, and an
//! idle disk is asked at once. No partition's lock is held while the disk works.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use super::Partition;

/// Threads that wait for the disk: the journal of a file system commits concurrent syncs
/// together, and partitions should not wait in line behind a slow one.
const SYNC_THREADS: usize = 4;

/// The queue of partitions to sync.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    queue: Mutex<Queue>,
    wake: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Whoever asks waits for the disk: for simulations, which must run the same way again.
    inline: bool,
}

#[derive(Debug, Default)]
struct Queue {
    partitions: VecDeque<Weak<Partition>>,
    stopping: bool,
}

/// Whether a partition is queued.
#[derive(Debug, Default)]
pub(crate) struct SyncRequest(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_AND_ASKED: u8 = 3;

impl SyncRequest {
    /// Notes a request; answers whether the partition must be queued now.
    fn ask(&self) -> bool {
        let previous =
            self.0
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
                    IDLE => Some(QUEUED),
                    RUNNING => Some(RUNNING_AND_ASKED),
                    _ => None,
                });
        previous == Ok(IDLE)
    }

    fn begin(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// Answers whether there was a request meanwhile, which is queued now.
    fn finish(&self) -> bool {
        let previous = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                Some(if state == RUNNING_AND_ASKED {
                    QUEUED
                } else {
                    IDLE
                })
            });
        previous == Ok(RUNNING_AND_ASKED)
    }
}

impl Syncer {
    /// Starts the threads.
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let syncer = Arc::new(Self::default());
        for number in 0..SYNC_THREADS {
            let running = Arc::clone(&syncer);
            let thread = thread::Builder::new()
                .name(format!("sync-{number}"))
                .spawn(move || running.run())?;
            syncer.threads.lock().push(thread);
        }
        Ok(syncer)
    }

    /// Without threads: syncs where it is asked to.
    #[cfg(test)]
    pub(crate) fn inline() -> Arc<Self> {
        Arc::new(Self {
            inline: true,
            ..Self::default()
        })
    }

    /// Asks for a sync of everything appended to `partition` so far.
    pub(crate) fn request(&self, partition: &Partition) {
        if self.inline {
            partition.sync_now();
        } else if partition.sync_request.ask() {
            self.enqueue(partition.this());
        }
    }

    /// Ends the threads once the queue is empty.
    pub(crate) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("sync thread panicked");
            }
        }
    }

    fn enqueue(&self, partition: Weak<Partition>) {
        self.queue.lock().partitions.push_back(partition);
        self.wake.notify_one();
    }

    fn run(&self) {
        while let Some(partition) = self.next() {
            let Some(partition) = partition.upgrade() else {
                continue;
            };
            partition.sync_request.begin();
            partition.sync_now();
            if partition.sync_request.finish() {
                self.enqueue(Arc::downgrade(&partition));
            }
        }
    }

    fn next(&self) -> Option<Weak<Partition>> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(partition) = queue.partitions.pop_front() {
                return Some(partition);
            }
            if queue.stopping {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }
}
