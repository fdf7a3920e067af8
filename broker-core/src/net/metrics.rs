//! What the connections count. Handles are made once; no label is built per request unless it
//! failed.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::api::Reply;
use crate::protocol::APIS;

/// Handles of the connection metrics.
pub(super) struct Metrics {
    /// In the order of [`APIS`].
    apis: Vec<ApiMetrics>,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) connections: Gauge,
    throttled: Histogram,
}

struct ApiMetrics {
    key: i16,
    succeeded: Counter,
    duration: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let apis = APIS.iter().map(|api| ApiMetrics {
            key: api.key,
            succeeded: counter!("assay_kafka_requests_total", "api" => api.name, "error" => "NONE"),
            duration: histogram!("assay_kafka_request_duration_seconds", "api" => api.name),
        });
        Self {
            apis: apis.collect(),
            bytes_in: counter!("assay_kafka_bytes_total", "dir" => "in"),
            bytes_out: counter!("assay_kafka_bytes_total", "dir" => "out"),
            connections: gauge!("assay_connections"),
            throttled: histogram!("assay_throttle_duration_seconds"),
        }
    }

    /// Counts the time that a client must wait.
    pub(super) fn throttled(&self, wait: Duration) {
        self.throttled.record(wait.as_secs_f64());
    }

    /// Counts one answered request.
    pub(super) fn request(&self, reply: &Reply, duration: Duration) {
        let Some(api) = self.apis.iter().find(|api| api.key == reply.api.key) else {
            return;
        };
        api.duration.record(duration.as_secs_f64());
        if reply.error.is_error() {
            counter!(
                "assay_kafka_requests_total",
                "api" => reply.api.name,
                "error" => reply.error.name(),
            )
            .increment(1);
        } else {
            api.succeeded.increment(1);
        }
    }
}
