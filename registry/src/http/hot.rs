//! `GET /schemas/ids/{id}` without parameters, what every consumer asks: answered from the bytes that
//! the general handler made the first time, with nothing decoded, rewritten or allocated.
//!
//! Decides nothing by itself: where the bytes are not there, or the request is any other, the general
//! handler answers.

use std::time::Instant;

use axum::extract::Request;
use axum::http::Method;
use axum::http::header::ACCEPT;
use axum::response::Response;
use metrics::{Counter, Histogram};

use super::route::Route;
use super::{Answer, answer_type};
use crate::model::SchemaId;
use crate::service::Registry;

/// The read, with its metrics looked up once.
#[derive(Debug)]
pub(super) struct HotRead {
    registry: Registry,
    answered: Counter,
    durations: Histogram,
}

impl HotRead {
    pub(super) fn new(registry: Registry) -> Self {
        let route = Route::SchemaById("").label();
        Self {
            registry,
            answered: metrics::counter!(
                "assay_registry_requests_total",
                "route" => route, "method" => "GET", "code" => "200"
            ),
            durations: metrics::histogram!(
                "assay_registry_request_duration_seconds",
                "route" => route
            ),
        }
    }

    /// The answer, if it is made already.
    pub(super) fn answer(&self, request: &Request) -> Option<Response> {
        let started = Instant::now();
        if *request.method() != Method::GET || request.uri().query().is_some() {
            return None;
        }
        let content_type = answer_type(request.headers().get(ACCEPT))?;
        let id = request.uri().path().strip_prefix("/schemas/ids/")?;
        let id = SchemaId(id.parse().ok()?);
        let snapshot = self.registry.snapshot();
        let body = snapshot.schema_image(".", id)?.answer.get()?.clone();
        let response = Answer::Bytes(body).into_response(content_type);
        self.answered.increment(1);
        self.durations.record(started.elapsed().as_secs_f64());
        Some(response)
    }
}
