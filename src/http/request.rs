//! Every request has an id: the client's `X-Request-ID` or one of ours, in the answer and in every
//! log line of the request. Where traces are sent, a request is a span of its caller's trace.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use registry::MatchedRoute;
use tracing::field::Empty;
use tracing::{Instrument, Level, Span};

use crate::telemetry::traces::TARGET;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken from a client, in bytes; a longer or unprintable one is replaced.
const ID_BYTES_MAX: usize = 128;

/// The middleware.
pub async fn identify(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|id| is_usable(id))
        .cloned()
        .unwrap_or_else(new_id);
    let method = request.method().clone();
    let trace = trace_of(&request, &id);
    let answered = answered(request, next, &id).instrument(trace.clone());
    let mut response = answered.await;
    end_trace(&trace, &method, &response);
    response.headers_mut().insert(&REQUEST_ID, id);
    response
}

async fn answered(request: Request, next: Next, id: &HeaderValue) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // Reads log nothing of their own, and a span is not free.
    let spanned = method != Method::GET || tracing::enabled!(Level::DEBUG);
    let response = if spanned {
        let path = request.uri().path().to_owned();
        let text = id.to_str().unwrap_or_default();
        let span = tracing::info_span!("http", request_id = text, %method, path);
        let response = next.run(request).instrument(span.clone()).await;
        let _entered = span.enter();
        tracing::debug!(
            status = response.status().as_u16(),
            duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            "http request answered"
        );
        response
    } else {
        next.run(request).await
    };
    if response.status().as_u16() == 500 {
        let request_id = id.to_str().unwrap_or_default();
        tracing::warn!(request_id, %method, "http request failed");
    }
    response
}

/// The request as a span of its caller's trace; nothing where no traces are sent.
fn trace_of(request: &Request, id: &HeaderValue) -> Span {
    if !tracing::enabled!(target: TARGET, Level::TRACE) {
        return Span::none();
    }
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    tracing::trace_span!(
        target: TARGET,
        "http",
        otel.kind = "server",
        otel.name = Empty,
        otel.failed = Empty,
        otel.parent = header("traceparent"),
        otel.tracestate = header("tracestate"),
        http.request.method = %request.method(),
        http.route = Empty,
        http.response.status_code = Empty,
        url.path = request.uri().path(),
        user_agent.original = header("user-agent"),
        request_id = id.to_str().unwrap_or_default(),
    )
}

fn end_trace(trace: &Span, method: &Method, response: &Response) {
    if trace.is_disabled() {
        return;
    }
    let route = response.extensions().get::<MatchedRoute>();
    match route {
        Some(MatchedRoute(route)) => {
            trace.record("http.route", route);
            trace.record("otel.name", format!("{method} {route}"));
        }
        None => {
            trace.record("otel.name", method.as_str());
        }
    }
    let status = response.status();
    trace.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        trace.record("otel.failed", true);
    }
}

fn is_usable(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    !bytes.is_empty() && bytes.len() <= ID_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
}

/// Unique in the process and, by the random part, between processes; sorts by time.
fn new_id() -> HeaderValue {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let process = PROCESS.get_or_init(|| uuid::Uuid::new_v4().as_fields().0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::from_str(&format!("{process:08x}-{number:08x}"))
        .unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_when_they_print() {
        for (id, usable) in [
            ("abc-1", true),
            ("", false),
            ("a b", false),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            assert_eq!(
                is_usable(&HeaderValue::from_str(id).unwrap()),
                usable,
                "{id:?}"
            );
        }
        assert_ne!(new_id(), new_id());
    }
}
