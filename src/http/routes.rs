//! Routes about the process itself, and the description of all routes.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use registry::Registry;
use registry::openapi::{Answer, OPERATIONS, Operation, document};

use super::health::{self, Health};
use super::request;
use crate::enforcement::{self, Rejections};

const fn about(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    answer: Answer,
    errors: &'static [u32],
) -> Operation {
    Operation {
        method: "GET",
        path,
        id,
        tag: "process",
        summary,
        parameters: &[],
        body: None,
        answer,
        errors,
    }
}

/// The operations of this package, beside the registry's.
pub const PROCESS_OPERATIONS: &[Operation] = &[
    about(
        "/livez",
        "live",
        "Whether the process answers",
        Answer::PlainText,
        &[],
    ),
    about(
        "/startupz",
        "started",
        "Whether the data is open",
        Answer::PlainText,
        &[],
    ),
    about(
        "/readyz",
        "ready",
        "Whether requests can be served",
        Answer::PlainText,
        &[],
    ),
    about(
        "/metrics",
        "metrics",
        "Prometheus metrics",
        Answer::PlainText,
        &[404],
    ),
    about(
        "/openapi.json",
        "openapi",
        "This document",
        Answer::PlainJson("Empty"),
        &[],
    ),
    Operation {
        parameters: &["limit"],
        ..about(
            "/v1/rejections",
            "rejections",
            "The last refused records",
            Answer::PlainJson("Rejections"),
            &[400],
        )
    },
    Operation {
        parameters: &["limit"],
        ..about(
            "/v1/topics/{topic}/rejections",
            "rejectionsOfTopic",
            "The last refused records of a topic",
            Answer::PlainJson("Rejections"),
            &[400],
        )
    },
];

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| {
    let operations = OPERATIONS.iter().chain(PROCESS_OPERATIONS);
    let text = document(operations, env!("CARGO_PKG_VERSION")).to_string();
    Bytes::from(text)
});

/// What is served before the data is open: that it is not.
pub fn starting(health: &Health, metrics: Option<PrometheusHandle>) -> Router {
    process(health, metrics).fallback(|| async {
        let body = r#"{"error_code":503,"message":"the server is starting"}"#;
        let mut response = (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    })
}

/// Everything.
pub fn serving(
    registry: &Registry,
    rejections: Arc<Rejections>,
    health: &Health,
    metrics: Option<PrometheusHandle>,
) -> Router {
    let router = registry
        .router()
        .merge(enforcement::routes(rejections))
        .merge(process(health, metrics));
    Registry::fallback_not_found(router).layer(axum::middleware::from_fn(request::identify))
}

fn process(health: &Health, metrics: Option<PrometheusHandle>) -> Router {
    Router::new()
        .merge(health::routes(health.clone()))
        .route(
            "/metrics",
            get(move || async move { render(metrics.as_ref()) }),
        )
        .route("/openapi.json", get(|| async { json(OPENAPI.clone()) }))
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn render(metrics: Option<&PrometheusHandle>) -> Response {
    let Some(handle) = metrics else {
        return (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], "").into_response();
    };
    handle.run_upkeep();
    let text = handle.render() + &crate::telemetry::process_metrics();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
