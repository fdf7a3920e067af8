//! Clients that push metrics, and whether they may now. Pure: time is an argument.

use std::collections::HashMap;

use uuid::Uuid;

use super::subscription::Wanted;
use crate::error::ErrorCode;

/// Instances remembered at once; beyond it the one unheard of for longest is forgotten.
const INSTANCES_MAX: usize = 16_384;

#[derive(Debug)]
struct Instance {
    /// Of the subscriptions that `wanted` was made of.
    version: u64,
    wanted: Wanted,
    subscription_id: i32,
    asked_ms: Option<i64>,
    pushed_ms: Option<i64>,
    /// It was told that what it knows is outdated: it may ask again at once.
    may_ask: bool,
    terminating: bool,
    seen_ms: i64,
}

/// All instances.
#[derive(Debug, Default)]
pub(super) struct Instances(HashMap<Uuid, Instance>);

/// A push, but for what was pushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Push {
    pub(super) subscription_id: i32,
    pub(super) terminating: bool,
    /// Whether its compression is known.
    pub(super) is_readable: bool,
    pub(super) is_too_large: bool,
}

impl Instances {
    /// What an instance is asked for, and the id of that.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED before its next time.
    pub(super) fn ask(
        &mut self,
        id: Uuid,
        version: u64,
        wanted: impl FnOnce() -> Wanted,
        now_ms: i64,
    ) -> Result<(Wanted, i32), ErrorCode> {
        let instance = self.instance(id, version, wanted, now_ms);
        let last_ms = instance.asked_ms.max(instance.pushed_ms);
        let interval_ms = i64::from(instance.wanted.interval_ms);
        if !instance.may_ask && last_ms.is_some_and(|last| now_ms - last < interval_ms) {
            return Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
        }
        instance.may_ask = false;
        instance.asked_ms = Some(now_ms);
        Ok((instance.wanted.clone(), instance.subscription_id))
    }

    /// Whether an instance may push, and what of it was asked for.
    ///
    /// # Errors
    /// INVALID_REQUEST after its last push, THROTTLING_QUOTA_EXCEEDED before its next time,
    /// UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE.
    pub(super) fn push(
        &mut self,
        id: Uuid,
        version: u64,
        wanted: impl FnOnce() -> Wanted,
        push: Push,
        now_ms: i64,
    ) -> Result<Wanted, ErrorCode> {
        let instance = self.instance(id, version, wanted, now_ms);
        if instance.terminating {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        instance.terminating = push.terminating;
        let interval_ms = i64::from(instance.wanted.interval_ms);
        // The first push after asking is at a random time within the interval.
        let is_due = instance.asked_ms > instance.pushed_ms
            || instance
                .pushed_ms
                .is_none_or(|pushed| now_ms - pushed >= interval_ms);
        if is_due {
            instance.pushed_ms = Some(now_ms);
        } else if !push.terminating {
            return Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
        }
        if push.subscription_id != instance.subscription_id {
            instance.may_ask = true;
            return Err(ErrorCode::UNKNOWN_SUBSCRIPTION_ID);
        }
        if !push.is_readable {
            instance.may_ask = true;
            return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
        }
        if push.is_too_large {
            return Err(ErrorCode::TELEMETRY_TOO_LARGE);
        }
        Ok(instance.wanted.clone())
    }

    fn instance(
        &mut self,
        id: Uuid,
        version: u64,
        wanted: impl FnOnce() -> Wanted,
        now_ms: i64,
    ) -> &mut Instance {
        if self.0.len() >= INSTANCES_MAX && !self.0.contains_key(&id) {
            let oldest = self.0.iter().min_by_key(|(_, instance)| instance.seen_ms);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.0.remove(&oldest);
            }
        }
        let new = || Instance {
            version: u64::MAX,
            wanted: Wanted {
                metrics: Vec::new(),
                interval_ms: 0,
            },
            subscription_id: 0,
            asked_ms: None,
            pushed_ms: None,
            may_ask: false,
            terminating: false,
            seen_ms: now_ms,
        };
        let instance = self.0.entry(id).or_insert_with(new);
        instance.seen_ms = now_ms;
        if instance.version != version {
            instance.version = version;
            instance.wanted = wanted();
            instance.subscription_id = instance.wanted.id(id);
            instance.may_ask = true;
        }
        instance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn wanted(metric: &str) -> Wanted {
        Wanted {
            metrics: vec![metric.to_owned()],
            interval_ms: 1000,
        }
    }

    /// A client that keeps to the protocol, then ones that do not; times in ms.
    #[test]
    fn instances_are_held_to_their_times_and_subscriptions() {
        let mut instances = Instances::default();
        let ask = |instances: &mut Instances, version: u64, now_ms| {
            let wanted = || wanted(&version.to_string());
            instances.ask(ID, version, wanted, now_ms).map(|(_, id)| id)
        };
        let id = ask(&mut instances, 1, 0).unwrap();
        let right = Push {
            subscription_id: id,
            terminating: false,
            is_readable: true,
            is_too_large: false,
        };
        let other = Push {
            subscription_id: id ^ 1,
            ..right
        };
        let unreadable = Push {
            is_readable: false,
            ..right
        };
        let large = Push {
            is_too_large: true,
            ..right
        };
        let last = Push {
            terminating: true,
            ..right
        };
        let throttled = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
        assert_eq!(ask(&mut instances, 1, 999), Err(throttled));
        for (name, push, now_ms, expected) in [
            ("the first at any time", right, 500, None),
            ("too early", right, 1499, Some(throttled)),
            ("in time", right, 1500, None),
            (
                "of another subscription",
                other,
                2500,
                Some(ErrorCode::UNKNOWN_SUBSCRIPTION_ID),
            ),
            (
                "in a strange codec",
                unreadable,
                3500,
                Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
            ),
            (
                "too much",
                large,
                4500,
                Some(ErrorCode::TELEMETRY_TOO_LARGE),
            ),
            ("the last at any time", last, 4600, None),
            (
                "after the last",
                right,
                9000,
                Some(ErrorCode::INVALID_REQUEST),
            ),
        ] {
            let pushed = instances.push(ID, 1, || wanted("1"), push, now_ms);
            assert_eq!(pushed.err(), expected, "{name}");
        }
    }

    #[test]
    fn another_subscription_is_told_at_once() {
        let mut instances = Instances::default();
        let first = instances.ask(ID, 1, || wanted("a"), 0).unwrap();
        let push = Push {
            subscription_id: first.1,
            terminating: false,
            is_readable: true,
            is_too_large: false,
        };
        let outdated = instances.push(ID, 2, || wanted("b"), push, 10);
        assert_eq!(outdated.err(), Some(ErrorCode::UNKNOWN_SUBSCRIPTION_ID));
        let second = instances.ask(ID, 2, || wanted("b"), 11).unwrap();
        assert_eq!(second.0, wanted("b"));
        assert_ne!(second.1, first.1);
        let again = instances.ask(ID, 2, || wanted("b"), 12);
        assert_eq!(again.err(), Some(ErrorCode::THROTTLING_QUOTA_EXCEEDED));
    }

    #[test]
    fn memory_is_bounded() {
        let mut instances = Instances::default();
        for number in 0..INSTANCES_MAX + 10 {
            let id = Uuid::from_u128(u128::try_from(number).unwrap());
            let now_ms = i64::try_from(number).unwrap();
            instances.ask(id, 1, || wanted("a"), now_ms).unwrap();
        }
        assert_eq!(instances.0.len(), INSTANCES_MAX);
        assert!(!instances.0.contains_key(&Uuid::from_u128(9)));
    }
}
