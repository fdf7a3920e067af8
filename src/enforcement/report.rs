//! What the world learns of verdicts: metrics, and one bounded stream of log lines.
//!
//! Handles of per-record counters are looked up once per compiled policy, not per record.

use std::collections::{HashMap, HashSet};

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use parking_lot::Mutex;
use serde_formats::SchemaFormat;

use super::codes::Code;
use super::judge::{Judgement, format_slot};
use super::policy::Part;

/// Counter of parts that obeyed their schema.
pub const RECORDS_VALIDATED: &str = "assay_records_validated_total";
/// Counter of refused parts.
pub const RECORDS_REJECTED: &str = "assay_records_rejected_total";
/// Counter of parts that would be refused if the topic enforced instead of observing.
pub const RECORDS_WOULD_REJECT: &str = "assay_records_would_reject_total";
/// Counter of accepted parts under a soft-deleted version.
pub const RECORDS_SOFT_DELETED: &str = "assay_records_soft_deleted_total";
/// Histogram of the time that one batch takes.
pub const VALIDATION_DURATION: &str = "assay_validation_duration_seconds";

/// Tells the metrics recorder what the metrics mean; called once, after it is installed.
pub fn describe_metrics() {
    describe_counter!(
        RECORDS_VALIDATED,
        "Keys and values of records that obeyed their schema, by topic, part and format"
    );
    describe_counter!(
        RECORDS_REJECTED,
        "Keys and values of records that were refused, by topic, part and code"
    );
    describe_counter!(
        RECORDS_WOULD_REJECT,
        "Keys and values accepted in observe mode that enforcing would refuse, by topic, part and code"
    );
    describe_counter!(
        RECORDS_SOFT_DELETED,
        "Keys and values accepted under a soft-deleted schema version, by topic and part"
    );
    describe_histogram!(
        VALIDATION_DURATION,
        Unit::Seconds,
        "Time to judge one record batch"
    );
}

const PARTS: [Part; 2] = [Part::Key, Part::Value];
const FORMATS: [SchemaFormat; 3] = [
    SchemaFormat::Avro,
    SchemaFormat::Json,
    SchemaFormat::Protobuf,
];

/// Counter handles of one topic.
pub(super) struct TopicMetrics {
    label: String,
    validated: [[Counter; 3]; 2],
    soft_deleted: [Counter; 2],
    duration: Histogram,
}

impl TopicMetrics {
    pub(super) fn new(label: String) -> Self {
        let validated = PARTS.map(|part| {
            FORMATS.map(|format| {
                counter!(RECORDS_VALIDATED, "topic" => label.clone(), "part" => part.name(), "format" => format.name())
            })
        });
        let soft_deleted = PARTS.map(
            |part| counter!(RECORDS_SOFT_DELETED, "topic" => label.clone(), "part" => part.name()),
        );
        Self {
            label,
            validated,
            soft_deleted,
            duration: histogram!(VALIDATION_DURATION),
        }
    }

    /// Adds up one batch.
    pub(super) fn record(&self, judgement: &Judgement, seconds: f64) {
        self.duration.record(seconds);
        for (slot, _) in PARTS.iter().enumerate() {
            for format in FORMATS {
                let valid = judgement.valid[slot][format_slot(format)];
                if valid > 0 {
                    self.validated[slot][format_slot(format)].increment(valid);
                }
            }
            if judgement.soft_deleted[slot] > 0 {
                self.soft_deleted[slot].increment(judgement.soft_deleted[slot]);
            }
        }
        for fault in &judgement.faults.counts {
            self.refused(fault.part, fault.code, fault.observed, fault.count);
        }
    }

    /// Adds refused parts; not on the path of good records, so the handle is looked up.
    pub(super) fn refused(&self, part: Part, code: Code, observed: bool, count: u64) {
        let name = if observed {
            RECORDS_WOULD_REJECT
        } else {
            RECORDS_REJECTED
        };
        counter!(
            name,
            "topic" => self.label.clone(),
            "part" => part.name(),
            "code" => code.label(),
            "reason" => code.name(),
        )
        .increment(count);
    }
}

/// Topic names used as labels so far; past the limit all others are `other`.
#[derive(Debug, Default)]
pub(super) struct TopicLabels(Mutex<HashSet<String>>);

impl TopicLabels {
    pub(super) fn label(&self, topic: &str) -> String {
        let mut known = self.0.lock();
        if !known.contains(topic) {
            if known.len() >= TOPIC_LABELS_MAX {
                return "other".to_owned();
            }
            known.insert(topic.to_owned());
        }
        topic.to_owned()
    }
}

/// Lets one line per (topic, client id, code) through in each interval.
#[derive(Debug, Default)]
pub(super) struct LogLimiter(Mutex<HashMap<LogKey, LogState>>);

/// What a log line is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LogKey {
    pub(super) topic: String,
    pub(super) client_id: String,
    pub(super) code: Code,
    pub(super) observed: bool,
}

#[derive(Debug)]
struct LogState {
    last_ms: i64,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether to log now: `Some` with the number of lines held back since the last one.
    pub(super) fn admit(&self, key: LogKey, now_ms: i64) -> Option<u64> {
        let mut states = self.0.lock();
        if let Some(state) = states.get_mut(&key) {
            if now_ms.saturating_sub(state.last_ms) < LOG_INTERVAL_MS {
                state.suppressed += 1;
                return None;
            }
            state.last_ms = now_ms;
            return Some(std::mem::take(&mut state.suppressed));
        }
        if states.len() >= LOG_KEYS_MAX {
            states.retain(|_, state| now_ms.saturating_sub(state.last_ms) < LOG_INTERVAL_MS);
            if states.len() >= LOG_KEYS_MAX {
                return None;
            }
        }
        states.insert(
            key,
            LogState {
                last_ms: now_ms,
                suppressed: 0,
            },
        );
        Some(0)
    }
}

/// Topics with a label of their own: bounds the series that a scrape returns.
const TOPIC_LABELS_MAX: usize = 1_000;
/// At most one line per key in this time.
const LOG_INTERVAL_MS: i64 = 10_000;
/// Keys remembered; a producer that changes its client id per request cannot grow this.
const LOG_KEYS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: &str) -> LogKey {
        LogKey {
            topic: "orders".to_owned(),
            client_id: client.to_owned(),
            code: Code::Empty,
            observed: false,
        }
    }

    #[test]
    fn one_line_per_interval_and_key() {
        let limiter = LogLimiter::default();
        for (client, now_ms, expected) in [
            ("a", 0, Some(0)),
            ("a", 1, None),
            ("b", 1, Some(0)),
            ("a", 9_999, None),
            ("a", 10_000, Some(2)),
            ("a", 10_001, None),
        ] {
            assert_eq!(
                limiter.admit(key(client), now_ms),
                expected,
                "{client} {now_ms}"
            );
        }
    }

    #[test]
    fn many_client_ids_do_not_grow_the_limiter() {
        let limiter = LogLimiter::default();
        for client in 0..LOG_KEYS_MAX {
            assert_eq!(limiter.admit(key(&client.to_string()), 0), Some(0));
        }
        assert_eq!(limiter.admit(key("one more"), 1), None);
        assert_eq!(limiter.admit(key("one more"), LOG_INTERVAL_MS), Some(0));
        assert_eq!(limiter.0.lock().len(), 1);
    }

    #[test]
    fn labels_are_capped() {
        let labels = TopicLabels::default();
        for topic in 0..TOPIC_LABELS_MAX {
            assert_eq!(labels.label(&topic.to_string()), topic.to_string());
        }
        assert_eq!(labels.label("one more"), "other");
        assert_eq!(labels.label("0"), "0");
    }
}
