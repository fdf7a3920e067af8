//! A few threads that share a list of work: for what waits for the disk, which takes several requests
//! at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

/// Threads that wait for the disk together.
const THREADS: usize = 16;

/// Does `work` with every item; answers what came of each, in no order.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(item);
                    done.lock().push(result);
                }
            });
        }
    });
    done.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for count in [0, 1, 5, 1_000] {
            let items: Vec<i32> = (0..count).collect();
            let mut done = each(&items, |item| item * 2);
            done.sort_unstable();
            let expected: Vec<i32> = (0..count).map(|item| item * 2).collect();
            assert_eq!(done, expected);
        }
    }
}
