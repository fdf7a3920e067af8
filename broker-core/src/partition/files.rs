//! Bounds how many partitions have the file of their active segment open.
//!
//! A file with unsynced writes is closed only after a sync: an error of the disk is reported to those
//! who had the file open when it happened. So whoever is about to open one more than there may be
//! first waits ([`OpenFiles::room`]) until another partition was synced and let go of its own. Readers do
//! not wait: while unsynced files are on their way out, they may open as many again.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Partition;
use crate::storage::disk::open_files_max;

/// The partitions that have their file open, in the order in which they opened it.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    max: usize,
    open: Mutex<BTreeMap<u64, Weak<Partition>>>,
    next: AtomicU64,
    closed: Notify,
}

/// A partition's place among [`OpenFiles`]; 0 when its file is closed.
#[derive(Debug, Default)]
pub(crate) struct Ticket(AtomicU64);

impl OpenFiles {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
            next: AtomicU64::new(1),
            closed: Notify::new(),
        }
    }

    /// Notes that a partition has its file open; has others close theirs when there are too many.
    pub(super) fn opened(&self, partition: &Partition) {
        if partition.ticket.is_set() {
            return;
        }
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        partition.ticket.0.store(ticket, Ordering::Release);
        self.open.lock().insert(ticket, partition.this());
        // The oldest may have to be synced first; those after them need not.
        let mut tries_left = self.max.saturating_mul(2);
        while self.open.lock().len() > self.max && tries_left > 0 {
            self.close_oldest();
            tries_left -= 1;
        }
    }

    /// Notes that a partition has its file closed.
    pub(super) fn closed(&self, ticket: &Ticket) {
        let ticket = ticket.0.swap(0, Ordering::AcqRel);
        if ticket != 0 {
            self.open.lock().remove(&ticket);
            self.closed.notify_waiters();
        }
    }

    /// Waits until one more may be opened; not for ever: then the system's limit decides.
    pub(super) async fn room(&self) {
        for _ in 0..WAITS_MAX {
            let closed = self.closed.notified();
            if self.open.lock().len() < self.max {
                return;
            }
            self.close_oldest();
            if self.open.lock().len() < self.max {
                return;
            }
            // Whether somebody was notified or not, it looks again.
            let _elapsed = tokio::time::timeout(WAIT, closed).await;
        }
    }

    /// Has the oldest close its file, at once or after a sync, and puts it at the end of the line.
    fn close_oldest(&self) {
        let oldest = {
            let mut open = self.open.lock();
            let Some((ticket, oldest)) = open.pop_first() else {
                return;
            };
            let Some(partition) = oldest.upgrade() else {
                return;
            };
            let later = self.next.fetch_add(1, Ordering::Relaxed);
            let moved = partition.ticket.0.compare_exchange(
                ticket,
                later,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if moved.is_ok() {
                open.insert(later, oldest);
            }
            partition
        };
        oldest.let_go_of_file();
    }
}

impl Ticket {
    /// Whether the file is open.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }
}

/// How many active segments, and how many sealed ones (of three files each), may be open: half of what
/// the process may have at most, the rest is for connections.
pub(super) fn shares() -> (usize, usize) {
    let max = open_files_max();
    ((max / 4).clamp(16, 8_192), (max / 16).clamp(8, 128))
}

const WAIT: Duration = Duration::from_millis(100);
const WAITS_MAX: usize = 50;
