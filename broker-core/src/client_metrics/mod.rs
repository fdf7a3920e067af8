//! Metrics that clients push (KIP-714), as far as someone subscribed to them: into this process's
//! own metrics.
//!
//! Subscriptions are Kafka's client metrics resources, kept in the metadata log. As long as there
//! is none, clients are not even told that they could push. Time is an argument. Which clients are
//! asked for what is in `subscription.rs`, when they may push in `instances.rs`, what they push in
//! `otlp.rs`.

mod instances;
pub(crate) mod otlp;
pub(crate) mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::error::ErrorCode;
use crate::records::{BatchError, Compression, DecompressionScratch};
use instances::{Instances, Push};
use otlp::Value;
use subscription::{Subscription, Wanted};

pub use subscription::ClientIdentity;

/// Longest push, as it arrives and decompressed, in bytes (`telemetry.max.bytes`). A byte of it can
/// become thirty in memory.
pub const PUSH_BYTES_MAX: usize = 1024 * 1024;

/// Names of metrics that are kept apart; later ones are left out.
const NAMES_MAX: usize = 500;

/// Longest name of a metric, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Client ids that are kept apart; later ones are `other`.
const CLIENT_IDS_MAX: usize = 100;

/// What a client is to push, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The instance; made here when the client had none.
    pub instance_id: Uuid,
    /// To be said with every push.
    pub subscription_id: i32,
    /// How often, in ms.
    pub interval_ms: i32,
    /// Prefixes of names; `*` is all; none when nothing is asked for.
    pub metrics: Vec<String>,
}

/// A push.
#[derive(Debug, Clone, Copy)]
pub struct Pushed<'a> {
    /// Which instance.
    pub instance_id: Uuid,
    /// What it was asked for.
    pub subscription_id: i32,
    /// Whether it is its last.
    pub terminating: bool,
    /// How `metrics` is compressed, as in a record batch.
    pub compression: i8,
    /// OpenTelemetry's `MetricsData`.
    pub metrics: &'a [u8],
}

/// Subscriptions, and who pushes.
#[derive(Debug, Default)]
pub struct ClientMetrics {
    current: ArcSwap<Current>,
    instances: Mutex<Instances>,
    labels: Mutex<Labels>,
    /// Held while a push is in memory as values: one at a time.
    scratch: Mutex<DecompressionScratch>,
}

#[derive(Debug, Default)]
struct Current {
    /// Raised by every change.
    version: u64,
    subscriptions: Vec<Subscription>,
}

/// What series there are already.
#[derive(Debug, Default)]
struct Labels {
    names: BTreeSet<String>,
    client_ids: BTreeSet<String>,
}

impl ClientMetrics {
    /// Puts other subscriptions in force.
    pub(crate) fn replace(&self, subscriptions: Vec<Subscription>) {
        let version = self.current.load().version + 1;
        self.current.store(Arc::new(Current {
            version,
            subscriptions,
        }));
    }

    /// Whether anyone wants metrics of clients.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.current.load().subscriptions.is_empty()
    }

    /// What an instance (nil for a new one) is to push.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED before its next time.
    pub fn ask(
        &self,
        instance_id: Uuid,
        client: ClientIdentity<'_>,
        now_ms: i64,
    ) -> Result<Asked, ErrorCode> {
        let instance_id = if instance_id.is_nil() {
            Uuid::new_v4()
        } else {
            instance_id
        };
        let current = self.current.load();
        let wanted = || Wanted::of(&current.subscriptions, instance_id, client);
        let mut instances = self.instances.lock();
        let (wanted, subscription_id) =
            instances.ask(instance_id, current.version, wanted, now_ms)?;
        Ok(Asked {
            instance_id,
            subscription_id,
            interval_ms: wanted.interval_ms,
            metrics: wanted.metrics,
        })
    }

    /// Takes a push in.
    ///
    /// # Errors
    /// INVALID_REQUEST, THROTTLING_QUOTA_EXCEEDED, UNKNOWN_SUBSCRIPTION_ID,
    /// UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE, INVALID_RECORD.
    pub fn push(
        &self,
        pushed: Pushed<'_>,
        client: ClientIdentity<'_>,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let id = pushed.instance_id;
        if id.is_nil() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let codec = Compression::from_id(i16::from(pushed.compression));
        let current = self.current.load();
        let wanted = || Wanted::of(&current.subscriptions, id, client);
        let push = Push {
            subscription_id: pushed.subscription_id,
            terminating: pushed.terminating,
            is_readable: codec.is_ok(),
            is_too_large: pushed.metrics.len() > PUSH_BYTES_MAX,
        };
        let wanted = self
            .instances
            .lock()
            .push(id, current.version, wanted, push, now_ms)?;
        let codec = codec.map_err(|_| ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)?;
        if !pushed.metrics.is_empty() {
            let values = self.decode(codec, pushed.metrics, &wanted)?;
            self.publish(client.client_id, values);
        }
        Ok(())
    }

    fn decode(
        &self,
        codec: Compression,
        bytes: &[u8],
        wanted: &Wanted,
    ) -> Result<BTreeMap<String, Value>, ErrorCode> {
        let mut scratch = self.scratch.lock();
        let decompressed = scratch.decompress_at_most(codec, bytes, PUSH_BYTES_MAX);
        let decompressed = decompressed.map_err(|error| match error {
            BatchError::DecompressedTooLarge { .. } => ErrorCode::TELEMETRY_TOO_LARGE,
            _ => ErrorCode::INVALID_RECORD,
        })?;
        otlp::decode(decompressed, |name| wanted.includes(name))
            .map_err(|_| ErrorCode::INVALID_RECORD)
    }

    fn publish(&self, client_id: &str, values: BTreeMap<String, Value>) {
        let mut labels = self.labels.lock();
        let Labels { names, client_ids } = &mut *labels;
        let is_known = is_kept(client_ids, client_id, CLIENT_IDS_MAX);
        let client_id = if is_known { client_id } else { "other" };
        for (name, value) in values {
            if name.len() > NAME_BYTES_MAX || !is_kept(names, &name, NAMES_MAX) {
                continue;
            }
            let labels = [("metric", name), ("client_id", client_id.to_owned())];
            match value {
                // Of many clients under one name the last value says nothing.
                Value::Gauge(value) if is_known => {
                    gauge!("assay_client_metric", &labels).set(value);
                }
                Value::Gauge(_) => {}
                Value::Delta(value) => {
                    counter!("assay_client_metric_total", &labels).increment(whole(value));
                }
            }
        }
    }
}

/// Whether `name` is one of the first `count_max`.
fn is_kept(kept: &mut BTreeSet<String>, name: &str, count_max: usize) -> bool {
    if kept.contains(name) {
        return true;
    }
    kept.len() < count_max && kept.insert(name.to_owned())
}

/// What a counter can take: sums of clients are counts, bytes and milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer that there is, 0 if negative"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientIdentity<'static> {
        ClientIdentity {
            client_id: "c",
            software: "test/1",
            address: "127.0.0.1:1".parse().unwrap(),
        }
    }

    fn subscribed(metrics: &str) -> ClientMetrics {
        let configs = BTreeMap::from([
            ("metrics".to_owned(), metrics.to_owned()),
            ("interval.ms".to_owned(), "100".to_owned()),
        ]);
        let receiver = ClientMetrics::default();
        assert!(!receiver.is_wanted());
        receiver.replace(vec![Subscription::parse(&configs).unwrap()]);
        assert!(receiver.is_wanted());
        receiver
    }

    #[test]
    fn pushes_are_read_in_every_codec_and_within_limits() {
        let receiver = subscribed("a.");
        let asked = receiver.ask(Uuid::nil(), client(), 0).unwrap();
        assert!(!asked.instance_id.is_nil());
        assert_eq!(
            (asked.interval_ms, asked.metrics),
            (100, vec!["a.".to_owned()])
        );
        let plain = otlp::encode(&[("a.gauge", true, &[1.0])]);
        let mut now_ms = 0;
        let mut push = |compression: i8, metrics: &[u8]| {
            now_ms += 100;
            let pushed = Pushed {
                instance_id: asked.instance_id,
                subscription_id: asked.subscription_id,
                terminating: false,
                compression,
                metrics,
            };
            receiver.push(pushed, client(), now_ms)
        };
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let compressed = |plain: &[u8]| {
                let mut out = Vec::new();
                if codec == Compression::None {
                    out.extend_from_slice(plain);
                } else {
                    crate::records::compression::compress(codec, plain, &mut out).unwrap();
                }
                out
            };
            let id = i8::try_from(codec.id()).unwrap();
            assert_eq!(push(id, &compressed(&plain)), Ok(()), "{codec:?}");
            let bomb = compressed(&vec![0; PUSH_BYTES_MAX + 1]);
            assert_eq!(
                push(id, &bomb),
                Err(ErrorCode::TELEMETRY_TOO_LARGE),
                "{codec:?}"
            );
            let garbage = compressed(&[0xff; 9]);
            assert_eq!(
                push(id, &garbage),
                Err(ErrorCode::INVALID_RECORD),
                "{codec:?}"
            );
        }
        assert_eq!(push(0, &[]), Ok(()), "nothing to say");
        assert_eq!(
            push(9, &plain),
            Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)
        );
        assert_eq!(push(1, &plain), Err(ErrorCode::INVALID_RECORD), "not gzip");
    }

    #[test]
    fn labels_are_bounded() {
        let receiver = subscribed("*");
        for number in 0..NAMES_MAX + 5 {
            let values = BTreeMap::from([(format!("m{number}"), Value::Delta(1.0))]);
            receiver.publish(&format!("c{number}"), values);
        }
        let labels = receiver.labels.lock();
        assert_eq!(labels.names.len(), NAMES_MAX);
        assert_eq!(labels.client_ids.len(), CLIENT_IDS_MAX);
        for (value, expected) in [(2.4, 2), (2.5, 3), (-1.0, 0), (f64::NAN, 0)] {
            assert_eq!(whole(value), expected, "{value}");
        }
    }
}
