//! Spans of a produce request, for a tracing backend. They cost an atomic load where no subscriber
//! takes [`TARGET`].
//!
//! Records carry the context of the trace that made them in a header `traceparent` (W3C Trace
//! Context): a batch's span is linked to those of its records.

use std::fmt::Display;

use tracing::field::Empty;
use tracing::{Level, Span};

use super::RequestContext;
use crate::ids::TopicName;
use crate::records::InflatedBatch;

/// Target of the spans that are meant for a tracing backend.
pub const TARGET: &str = "otel";

/// Traces that a batch is linked to.
const LINKS_MAX: usize = 32;

/// One produce request.
pub(super) fn request(context: &RequestContext) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "Produce",
        otel.kind = "server",
        messaging.system = "kafka",
        messaging.client.id = &*context.client_id,
        client.address = %context.address,
        kafka.correlation_id = context.correlation_id,
        kafka.api_version = context.version,
    )
}

/// One partition's batch in it.
pub(super) fn batch(topic: &TopicName, partition: i32, bytes: usize) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "batch",
        messaging.destination.name = %topic,
        messaging.destination.partition.id = partition,
        messaging.message.body.size = bytes,
        messaging.batch.message_count = Empty,
        messaging.kafka.offset = Empty,
        error.type = Empty,
        otel.links = Empty,
        otel.failed = Empty,
    )
}

/// Judging the records of a batch.
pub(super) fn validate() -> Span {
    tracing::trace_span!(target: TARGET, "validate")
}

/// Waiting for the disk.
pub(super) fn durable() -> Span {
    tracing::trace_span!(target: TARGET, "durable")
}

/// The batch of `span` was stored.
pub(super) fn stored(span: &Span, base_offset: i64) {
    span.record("messaging.kafka.offset", base_offset);
}

/// The batch of `span` was refused.
pub(super) fn refused(span: &Span, code: impl Display) {
    if !span.is_disabled() {
        span.record("error.type", code.to_string());
        span.record("otel.failed", true);
    }
}

/// Links the span of the batch that is judged now to the traces of its records.
pub(super) fn link(batch: &InflatedBatch<'_>) {
    if !tracing::enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    let span = Span::current();
    span.record(
        "messaging.batch.message_count",
        batch.view().header.record_count,
    );
    let mut links: Vec<&str> = Vec::new();
    for record in batch.records().filter_map(Result::ok) {
        let context = record.headers.last(b"traceparent");
        if let Some(context) = context.and_then(|context| std::str::from_utf8(context).ok())
            && !links.contains(&context)
        {
            links.push(context);
        }
        if links.len() == LINKS_MAX {
            break;
        }
    }
    if !links.is_empty() {
        span.record("otel.links", links.join(" "));
    }
}
