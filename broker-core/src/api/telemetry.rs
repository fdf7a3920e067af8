//! GetTelemetrySubscriptions (71, v0) and PushTelemetry (72, v0): metrics of clients (KIP-714).
//!
//! Offered to clients as long as someone subscribed to their metrics; answered always, for those
//! that were told before.

use std::sync::Arc;

use kafka_wire::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
    PushTelemetryResponse,
};
use uuid::Uuid;

use super::{RequestContext, text};
use crate::broker::Broker;
use crate::client_metrics::{ClientIdentity, PUSH_BYTES_MAX, Pushed};
use crate::error::ErrorCode;
use crate::wire;

/// Codecs of a push, the ones to be preferred first: zstd, lz4, gzip, snappy.
const COMPRESSIONS: [i8; 4] = [4, 3, 1, 2];

/// What the client is to push.
pub(super) async fn subscriptions(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let instance_id = Uuid::from_bytes(request.client_instance_id.to_bytes());
    let now_ms = broker.config.clock.now_ms();
    let metrics = broker.topics.client_metrics();
    match metrics.ask(instance_id, identity(context), now_ms) {
        Ok(asked) => wire!(GetTelemetrySubscriptionsResponse {
            client_instance_id: kafka_wire_core::Uuid::from_bytes(*asked.instance_id.as_bytes()),
            subscription_id: asked.subscription_id,
            accepted_compression_types: COMPRESSIONS.to_vec(),
            push_interval_ms: asked.interval_ms,
            telemetry_max_bytes: i32::try_from(PUSH_BYTES_MAX).unwrap_or(i32::MAX),
            delta_temporality: true,
            requested_metrics: asked.metrics.iter().map(|metric| text(metric)).collect(),
        }),
        Err(error) => wire!(GetTelemetrySubscriptionsResponse {
            error_code: error.0,
        }),
    }
}

/// Takes in what the client pushes.
pub(super) async fn push(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: PushTelemetryRequest,
) -> PushTelemetryResponse {
    let pushed = Pushed {
        instance_id: Uuid::from_bytes(request.client_instance_id.to_bytes()),
        subscription_id: request.subscription_id,
        terminating: request.terminating,
        compression: request.compression_type,
        metrics: &request.metrics,
    };
    let now_ms = broker.config.clock.now_ms();
    let metrics = broker.topics.client_metrics();
    let outcome = metrics.push(pushed, identity(context), now_ms);
    let error = outcome.err().unwrap_or(ErrorCode::NONE);
    if error.is_error() {
        tracing::debug!(
            client_id = %context.client_id,
            code = error.name(),
            "pushed metrics refused"
        );
    }
    wire!(PushTelemetryResponse {
        error_code: error.0,
    })
}

fn identity(context: &RequestContext) -> ClientIdentity<'_> {
    ClientIdentity {
        client_id: &context.client_id,
        software: &context.client_software,
        address: context.address,
    }
}
