//! How long a thread was at work: what else the machine does meanwhile does not count.

use std::time::{Duration, Instant};

/// Time that this thread has been on a processor, to a few milliseconds. Linux tells; elsewhere it is the
/// time that went by.
pub(crate) fn of_this_thread() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(since_the_first_call, Duration::from_nanos)
}

#[expect(clippy::disallowed_methods, reason = "a test of what time is taken")]
fn since_the_first_call() -> Duration {
    thread_local! {
        static FIRST: Instant = Instant::now();
    }
    FIRST.with(Instant::elapsed)
}
