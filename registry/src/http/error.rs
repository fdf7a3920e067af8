//! Errors as HTTP answers: `{"error_code": …, "message": …}`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;

use crate::error::RegistryError;

pub(super) fn response(error: &RegistryError, content_type: &'static str) -> Response {
    let (status, code) = error.codes();
    let body = json!({ "error_code": code, "message": error.to_string() });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if matches!(status, 429 | 503) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    }
    response
}

/// When to come back after a 429 or 503.
const RETRY_SECONDS: &str = "1";
