//! A token bucket that starts full, as Kafka counts changes of topics (KIP-599). Pure: time is an
//! argument.

/// What fits into the bucket, in seconds of the limit (`controller.quota.window.num` samples of
/// `controller.quota.window.size.seconds`).
pub(super) const BURST_SECONDS: f64 = 11.0;

/// Tokens of a client, kept as the time at which they are all there again.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at_ms: f64,
    /// When it was last asked: a clock that goes back takes `full_at_ms` along.
    seen_ms: i64,
}

impl Bucket {
    /// Takes `amount` tokens, whether or not they are there.
    pub(super) fn record(&mut self, amount: f64, limit: f64, now_ms: i64) {
        let now = self.see(now_ms);
        self.full_at_ms = self.full_at_ms.max(now) + amount / limit * 1000.0;
    }

    /// How long it takes until no tokens are owed, in ms.
    pub(super) fn throttle_ms(&mut self, now_ms: i64) -> i64 {
        let now = self.see(now_ms);
        let owed_ms = self.full_at_ms - now - BURST_SECONDS * 1000.0;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "clamped to what an answer can carry"
        )]
        let owed_ms = owed_ms.round().clamp(0.0, f64::from(i32::MAX)) as i64;
        owed_ms
    }

    /// Whether it is full, so that it need not be kept.
    pub(super) fn is_idle(&self, now_ms: i64) -> bool {
        self.full_at_ms <= as_float(now_ms)
    }

    fn see(&mut self, now_ms: i64) -> f64 {
        if now_ms < self.seen_ms {
            self.full_at_ms -= as_float(self.seen_ms) - as_float(now_ms);
        }
        self.seen_ms = now_ms;
        as_float(now_ms)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 are exact for 285,000 years"
)]
const fn as_float(ms: i64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_700_000_000_000;

    /// Expected values by hand, for two tokens a second: 22 fit, each owed one takes half a second.
    #[test]
    fn what_is_owed_is_waited_for() {
        for (name, taken, at_ms, expected_ms) in [
            ("nothing taken", &[][..], 0, 0),
            ("all that fit", &[(0, 22.0)], 0, 0),
            ("three more", &[(0, 25.0)], 0, 1500),
            ("time that passed pays", &[(0, 25.0)], 1000, 500),
            ("all is paid", &[(0, 25.0)], 1500, 0),
            ("several add up", &[(0, 20.0), (500, 4.0)], 500, 500),
            (
                "a pause is worth what fits",
                &[(0, 1.0), (60_000, 23.0)],
                60_000,
                500,
            ),
            (
                "a clock that goes back harms nobody",
                &[(50_000, 23.0)],
                10_000,
                500,
            ),
            ("a huge change", &[(0, 1e30)], 0, i64::from(i32::MAX)),
        ] {
            let mut bucket = Bucket::default();
            assert!(bucket.is_idle(START_MS));
            for (at_ms, amount) in taken {
                bucket.record(*amount, 2.0, START_MS + at_ms);
            }
            let found = bucket.throttle_ms(START_MS + at_ms);
            assert_eq!(found, expected_ms, "{name}");
        }
        let mut bucket = Bucket::default();
        bucket.record(4.0, 2.0, START_MS);
        assert!(!bucket.is_idle(START_MS + 1999) && bucket.is_idle(START_MS + 2000));
    }
}
