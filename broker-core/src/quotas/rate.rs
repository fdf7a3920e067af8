//! A rate over the last ten seconds, as Kafka samples it. Pure: time is an argument.

/// Length of a sample (`quota.window.size.seconds`).
const SAMPLE_MS: i64 = 1000;

/// Samples that make the window, the current one among them (`quota.window.num`).
const SAMPLES: usize = 11;

/// Those that are over.
const FULL_SAMPLES: i64 = 10;

/// The window without the current sample, in seconds: what a quota allows at once.
pub(super) const BURST_SECONDS: f64 = 10.0;

/// After so long without use nothing is left to count.
pub(super) const MEMORY_MS: i64 = (FULL_SAMPLES + 1) * SAMPLE_MS;

#[derive(Debug, Clone, Copy)]
struct Sample {
    start_ms: i64,
    amount: f64,
}

/// What was used lately.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Oldest first; never more than [`SAMPLES`].
    samples: Vec<Sample>,
}

impl Rate {
    /// Counts `amount`, which may be negative to take back what was counted.
    pub(super) fn record(&mut self, amount: f64, now_ms: i64) {
        self.forget(now_ms);
        match self.samples.last_mut() {
            // Also when the clock went back.
            Some(last) if now_ms - last.start_ms < SAMPLE_MS => last.amount += amount,
            _ => {
                if self.samples.len() == SAMPLES {
                    self.samples.remove(0);
                }
                self.samples.push(Sample {
                    start_ms: now_ms,
                    amount,
                });
            }
        }
    }

    /// How long whoever used it must wait, in ms, for the rate to be `limit` a second again: the
    /// excess over the limit, as a share of it, times the window.
    pub(super) fn throttle_ms(&mut self, limit: f64, now_ms: i64) -> i64 {
        self.forget(now_ms);
        let Some(first) = self.samples.first() else {
            return 0;
        };
        // Kafka takes windows that were not used yet for full ones, and the current one as far as
        // it got: else the first request after a pause would count as an endless rate.
        let elapsed_ms = now_ms.saturating_sub(first.start_ms).max(0);
        let full = elapsed_ms / SAMPLE_MS;
        let window_ms = elapsed_ms + (FULL_SAMPLES - full).max(0) * SAMPLE_MS;
        #[expect(
            clippy::cast_precision_loss,
            reason = "the window is eleven seconds at most, in ms"
        )]
        let window_seconds = window_ms as f64 / 1000.0;
        let used: f64 = self.samples.iter().map(|sample| sample.amount).sum();
        let rate = used / window_seconds;
        if rate <= limit {
            return 0;
        }
        let wait_ms = (rate - limit) / limit * window_seconds * 1000.0;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "clamped to what an answer can carry"
        )]
        let wait_ms = wait_ms.round().clamp(0.0, f64::from(i32::MAX)) as i64;
        wait_ms
    }

    /// Whether nothing was used for so long that it need not be kept.
    pub(super) fn is_idle(&self, now_ms: i64) -> bool {
        self.samples
            .last()
            .is_none_or(|last| now_ms - last.start_ms >= MEMORY_MS)
    }

    fn forget(&mut self, now_ms: i64) {
        self.samples
            .retain(|sample| now_ms - sample.start_ms < MEMORY_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values worked out by hand from the definition: (used / window - limit) / limit *
    /// window, with a window of ten seconds and what passed of the current sample.
    #[test]
    fn waits_are_the_excess_over_the_window() {
        struct Case {
            name: &'static str,
            used: &'static [(i64, f64)],
            limit: f64,
            at_ms: i64,
            expected_ms: i64,
        }
        let cases = [
            Case {
                name: "a burst of ten seconds' worth is free",
                used: &[(0, 10_000.0)],
                limit: 1000.0,
                at_ms: 0,
                expected_ms: 0,
            },
            Case {
                name: "what is beyond costs its own time",
                used: &[(0, 10_500.0)],
                limit: 1000.0,
                at_ms: 0,
                expected_ms: 500,
            },
            Case {
                name: "time that passed pays",
                used: &[(0, 10_500.0)],
                limit: 1000.0,
                at_ms: 400,
                expected_ms: 100,
            },
            Case {
                name: "several samples add up",
                used: &[(0, 8000.0), (2000, 4000.0)],
                limit: 1000.0,
                at_ms: 2000,
                expected_ms: 2000,
            },
            Case {
                name: "old samples are forgotten",
                used: &[(0, 1_000_000.0), (11_000, 1.0)],
                limit: 1000.0,
                at_ms: 11_000,
                expected_ms: 0,
            },
            Case {
                name: "what is taken back does not count",
                used: &[(0, 20_000.0), (10, -20_000.0)],
                limit: 1000.0,
                at_ms: 10,
                expected_ms: 0,
            },
            Case {
                name: "a clock that goes back harms nobody",
                used: &[(50_000, 10_500.0), (49_000, 0.0)],
                limit: 1000.0,
                at_ms: 49_000,
                expected_ms: 500,
            },
        ];
        for case in cases {
            let mut rate = Rate::default();
            for (at_ms, amount) in case.used {
                rate.record(*amount, *at_ms);
            }
            let found = rate.throttle_ms(case.limit, case.at_ms);
            assert_eq!(found, case.expected_ms, "{}", case.name);
        }
    }

    #[test]
    fn memory_is_bounded_and_idle_rates_are_known() {
        let mut rate = Rate::default();
        assert!(rate.is_idle(0));
        for second in 0..1000 {
            rate.record(1.0, second * 700);
        }
        assert!(rate.samples.len() <= SAMPLES);
        let last_ms = 999 * 700;
        assert!(!rate.is_idle(last_ms));
        assert!(rate.is_idle(last_ms + MEMORY_MS));
    }

    /// Whoever waits as told stays at the limit.
    #[test]
    fn a_client_that_waits_is_held_to_its_limit() {
        let mut rate = Rate::default();
        let (mut now_ms, mut sent) = (0, 0.0);
        while now_ms < 120_000 {
            rate.record(700.0, now_ms);
            sent += 700.0;
            now_ms += 1 + rate.throttle_ms(1000.0, now_ms);
        }
        #[expect(clippy::cast_precision_loss, reason = "two minutes in ms")]
        let a_second = sent / (now_ms as f64 / 1000.0);
        assert!((900.0..1200.0).contains(&a_second), "{a_second} a second");
    }
}
