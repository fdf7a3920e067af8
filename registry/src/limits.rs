//! What one request may cost, each with a named setting that can change while the server runs.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, futures::Notified};

/// The settings; see `docs/configuration.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitValues {
    /// Longest request body, in bytes: 413.
    pub body_bytes_max: usize,
    /// Deepest nesting of a JSON body: 422.
    pub json_depth_max: usize,
    /// Longest schema text that is registered, in bytes: 422 with 42209.
    pub schema_bytes_max: usize,
    /// Requests that parse or compare schemas at once; [`PARSES_WAITING_FACTOR`] times as many wait,
    /// more are answered 429.
    pub parses_max: usize,
    /// A body must have arrived after this long: 408.
    pub body_ms_max: usize,
}

/// The parser's own recursion limit is 128.
pub const JSON_DEPTH_MAX: usize = 127;

/// What the parsers take.
pub const SCHEMA_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Requests that wait for each one that parses.
pub const PARSES_WAITING_FACTOR: usize = 1_024;

impl Default for LimitValues {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 * 1024 * 1024,
            json_depth_max: 100,
            schema_bytes_max: SCHEMA_BYTES_MAX,
            parses_max: std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            body_ms_max: 30_000,
        }
    }
}

/// The limits in force, shared by all requests.
#[derive(Debug)]
pub struct Limits {
    body_bytes_max: AtomicUsize,
    json_depth_max: AtomicUsize,
    schema_bytes_max: AtomicUsize,
    parses_max: AtomicUsize,
    body_ms_max: AtomicUsize,
    parsing: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// The right to parse; given back on drop.
#[derive(Debug)]
pub(crate) struct ParsePermit<'l>(&'l Limits);

/// Too many wait already.
#[derive(Debug)]
pub(crate) struct Overloaded;

impl Limits {
    pub(crate) fn new(values: LimitValues) -> Self {
        Self {
            body_bytes_max: AtomicUsize::new(values.body_bytes_max),
            json_depth_max: AtomicUsize::new(values.json_depth_max),
            schema_bytes_max: AtomicUsize::new(values.schema_bytes_max),
            parses_max: AtomicUsize::new(values.parses_max),
            body_ms_max: AtomicUsize::new(values.body_ms_max),
            parsing: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Changes all of them; requests under way keep what they read.
    pub fn set(&self, values: LimitValues) {
        for (slot, value) in [
            (&self.body_bytes_max, values.body_bytes_max),
            (&self.json_depth_max, values.json_depth_max),
            (&self.schema_bytes_max, values.schema_bytes_max),
            (&self.parses_max, values.parses_max),
            (&self.body_ms_max, values.body_ms_max),
        ] {
            slot.store(value, Ordering::Relaxed);
        }
        self.freed.notify_waiters();
    }

    /// What is in force.
    #[must_use]
    pub fn values(&self) -> LimitValues {
        let read = |slot: &AtomicUsize| slot.load(Ordering::Relaxed);
        LimitValues {
            body_bytes_max: read(&self.body_bytes_max),
            json_depth_max: read(&self.json_depth_max),
            schema_bytes_max: read(&self.schema_bytes_max),
            parses_max: read(&self.parses_max),
            body_ms_max: read(&self.body_ms_max),
        }
    }

    pub(crate) fn body_time_max(&self) -> Duration {
        let ms = self.body_ms_max.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// Waits for a turn to parse, unless too many wait.
    pub(crate) async fn parse_permit(&self) -> Result<ParsePermit<'_>, Overloaded> {
        if let Some(permit) = self.try_parse() {
            return Ok(permit);
        }
        let waiting = Waiting::join(self)?;
        loop {
            // Registered before the look, so that a permit freed in between is not missed.
            let mut freed: std::pin::Pin<Box<Notified<'_>>> = Box::pin(self.freed.notified());
            freed.as_mut().enable();
            if let Some(permit) = self.try_parse() {
                drop(waiting);
                return Ok(permit);
            }
            freed.await;
        }
    }

    fn try_parse(&self) -> Option<ParsePermit<'_>> {
        let max = self.parses_max.load(Ordering::Relaxed);
        self.parsing
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < max).then_some(count + 1)
            })
            .ok()
            .map(|_| ParsePermit(self))
    }
}

impl Drop for ParsePermit<'_> {
    fn drop(&mut self) {
        self.0.parsing.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// A place in the queue; given up when the request goes away.
struct Waiting<'l>(&'l Limits);

impl<'l> Waiting<'l> {
    fn join(limits: &'l Limits) -> Result<Self, Overloaded> {
        let max = limits
            .parses_max
            .load(Ordering::Relaxed)
            .saturating_mul(PARSES_WAITING_FACTOR);
        limits
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < max).then_some(count + 1)
            })
            .map(|_| Self(limits))
            .map_err(|_| Overloaded)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How deep a JSON text nests, without building it; garbage has some depth too.
#[must_use]
pub(crate) fn json_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match (in_string, *byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (text, depth) in [
            ("", 0),
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[1,{"b":2}]}"#, 3),
            (r#"{"a":"[[[\"[["}"#, 1),
            ("]]][", 1),
        ] {
            assert_eq!(json_depth(text.as_bytes()), depth, "{text}");
        }
    }

    #[tokio::test]
    async fn permits_are_given_in_turn_and_refused_past_the_queue() {
        let values = LimitValues {
            parses_max: 1,
            ..LimitValues::default()
        };
        let limits = std::sync::Arc::new(Limits::new(values));
        let first = limits.parse_permit().await.unwrap();
        let waiters: Vec<_> = (0..PARSES_WAITING_FACTOR)
            .map(|_| {
                let limits = std::sync::Arc::clone(&limits);
                tokio::spawn(async move { limits.parse_permit().await.map(drop).is_ok() })
            })
            .collect();
        while limits.waiting.load(Ordering::Acquire) < PARSES_WAITING_FACTOR {
            tokio::task::yield_now().await;
        }
        assert!(limits.parse_permit().await.is_err());
        drop(first);
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
        assert!(limits.parse_permit().await.is_ok());
    }
}
