//! When which of many state machines wants to be called: what the coordinators of groups and of
//! transactions share.
//!
//! An id may be in the heap more than once; who keeps the state machine knows the time that counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::TimestampMs;

/// When which id wants to be called.
type Timer = (TimestampMs, Arc<str>);

/// Times and ids, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Mutex<BinaryHeap<Reverse<Timer>>>,
    changed: Notify,
}

impl Timers {
    /// Has `id` called at that time, unless it is `scheduled` for an earlier one.
    pub(crate) fn schedule(
        &self,
        id: &Arc<str>,
        scheduled: &mut Option<TimestampMs>,
        due_ms: TimestampMs,
    ) {
        if scheduled.is_none_or(|at_ms| due_ms < at_ms) {
            *scheduled = Some(due_ms);
            self.heap.lock().push(Reverse((due_ms, Arc::clone(id))));
            self.changed.notify_one();
        }
    }

    /// The next that is due.
    pub(crate) fn pop_due(&self, now_ms: TimestampMs) -> Option<Timer> {
        let mut heap = self.heap.lock();
        heap.peek()
            .is_some_and(|Reverse((at_ms, _))| *at_ms <= now_ms)
            .then(|| heap.pop())?
            .map(|Reverse(due)| due)
    }

    /// Returns when something is due, or the earliest time has changed, or after `longest`.
    pub(crate) async fn wait(&self, now_ms: TimestampMs, longest: Duration) {
        let next_ms = self.heap.lock().peek().map(|Reverse((at_ms, _))| *at_ms);
        let sleep = next_ms.map_or(longest, |at_ms| {
            let wait_ms = at_ms.saturating_sub(now_ms);
            Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
        });
        tokio::select! {
            () = self.changed.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_only_when_due() {
        let timers = Timers::default();
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let (mut a_ms, mut b_ms) = (None, None);
        timers.schedule(&a, &mut a_ms, 20);
        timers.schedule(&b, &mut b_ms, 10);
        timers.schedule(&a, &mut a_ms, 30);
        assert_eq!(a_ms, Some(20), "later than what is there");
        timers.schedule(&a, &mut a_ms, 5);
        assert_eq!(a_ms, Some(5));
        assert_eq!(timers.pop_due(4), None);
        assert_eq!(timers.pop_due(15), Some((5, Arc::clone(&a))));
        assert_eq!(timers.pop_due(15), Some((10, b)));
        assert_eq!(timers.pop_due(15), None);
        assert_eq!(timers.pop_due(20), Some((20, a)), "its owner knows better");
    }

    #[tokio::test]
    async fn a_new_earliest_time_ends_the_wait() {
        let timers = Timers::default();
        let hour = Duration::from_hours(1);
        let ((), ()) = tokio::join!(biased; timers.wait(0, hour), async {
            timers.schedule(&Arc::from("a"), &mut None, 1);
        });
        // What is due already does not wait at all.
        timers.wait(1, hour).await;
    }
}
