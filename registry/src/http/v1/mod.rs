//! Our own endpoints under `/v1/`: what Confluent's API cannot say without a new field.
//!
//! [`ENDPOINTS`] is the route table, and the OpenAPI document is held against it. Answers are
//! `application/json`; errors have the shape and codes of the rest.

mod check;
mod explore;
mod transfer;

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;

use super::extract::{Call, Target};
use super::{
    Answer, MatchedRoute, PLAIN_JSON, error, method_label, parse_permit, read_body, require_json,
};
use crate::error::RegistryError;
use crate::service::Registry;

/// One of our endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    /// `{name}` stands for one segment.
    pub(crate) path: &'static str,
    operation: Operation,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Check,
    Lint,
    LintVersion,
    LintRules,
    Search,
    Timeline,
    DeleteImpact,
    Export,
    Import,
}

const fn endpoint(method: &'static str, path: &'static str, operation: Operation) -> Endpoint {
    Endpoint {
        method,
        path,
        operation,
    }
}

/// The route table.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    endpoint("POST", "/v1/schemas/check", Operation::Check),
    endpoint("POST", "/v1/schemas/lint", Operation::Lint),
    endpoint("GET", "/v1/lint/rules", Operation::LintRules),
    endpoint("GET", "/v1/search", Operation::Search),
    endpoint(
        "GET",
        "/v1/subjects/{subject}/timeline",
        Operation::Timeline,
    ),
    endpoint(
        "GET",
        "/v1/subjects/{subject}/delete-impact",
        Operation::DeleteImpact,
    ),
    endpoint("GET", "/v1/export", Operation::Export),
    endpoint("POST", "/v1/import", Operation::Import),
    endpoint(
        "GET",
        "/v1/subjects/{subject}/versions/{version}/lint",
        Operation::LintVersion,
    ),
];

impl Operation {
    /// Whether answering means parsing or comparing schemas.
    const fn parses(self) -> bool {
        match self {
            Self::Check | Self::Lint | Self::LintVersion | Self::Search | Self::Timeline => true,
            Self::LintRules | Self::DeleteImpact | Self::Export | Self::Import => false,
        }
    }
}

pub(super) fn router() -> Router<Registry> {
    let mut router = Router::new();
    let mut paths: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        router = router
            .route(path, any(serve))
            .route(&format!("{path}/"), any(serve));
    }
    router
}

async fn serve(State(registry): State<Registry>, request: Request) -> Response {
    let method = request.method().clone();
    let started = Instant::now();
    let mut label = "unmatched";
    let mut response = match answer(&registry, request, &mut label).await {
        Ok(answer) => answer.into_response(PLAIN_JSON),
        Err(error) => error::response(&error, PLAIN_JSON),
    };
    response.extensions_mut().insert(MatchedRoute(label));
    metrics::counter!(
        "assay_registry_requests_total",
        "route" => label,
        "method" => method_label(&method),
        "code" => response.status().as_str().to_owned(),
    )
    .increment(1);
    metrics::histogram!("assay_registry_request_duration_seconds", "route" => label)
        .record(started.elapsed().as_secs_f64());
    response
}

/// The endpoint of a path and method, and the segments that its `{…}` stand for.
fn find<'a>(
    method: &Method,
    segments: &'a [String],
) -> Result<(&'static Endpoint, Vec<&'a str>), RegistryError> {
    let matches = |endpoint: &&Endpoint| {
        let mut wanted = endpoint.path.split('/').skip(1);
        let fits = segments.iter().all(|segment| {
            wanted
                .next()
                .is_some_and(|w| w == segment || w.starts_with('{'))
        });
        fits && wanted.next().is_none()
    };
    let found: Vec<&Endpoint> = ENDPOINTS.iter().filter(matches).collect();
    let method = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let endpoint = found
        .iter()
        .find(|endpoint| endpoint.method == method)
        .ok_or(if found.is_empty() {
            RegistryError::NotFound
        } else {
            RegistryError::MethodNotAllowed
        })?;
    let parts = endpoint
        .path
        .split('/')
        .skip(1)
        .zip(segments)
        .filter(|(wanted, _)| wanted.starts_with('{'))
        .map(|(_, segment)| segment.as_str())
        .collect();
    Ok((endpoint, parts))
}

async fn answer(
    registry: &Registry,
    request: Request,
    label: &mut &'static str,
) -> Result<Answer, RegistryError> {
    let target = Target::parse(request.uri().path(), request.uri().query().unwrap_or(""))?
        .through_aliases(&registry.snapshot());
    let (endpoint, parts) = find(request.method(), &target.segments)?;
    *label = endpoint.path;
    let actor = super::actor_of(&request);
    let body = if endpoint.method == "POST" {
        require_json(request.headers().get(CONTENT_TYPE))?;
        read_body(request, registry.limits()).await?
    } else {
        Bytes::new()
    };
    let _permit = if endpoint.operation.parses() {
        Some(parse_permit(registry.limits()).await?)
    } else {
        None
    };
    let call = Call {
        registry,
        query: &target.query,
        body: &body,
        actor,
    };
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    match endpoint.operation {
        Operation::Check => check::check(&call).await,
        Operation::Lint => check::lint(&call).await,
        Operation::LintVersion => explore::lint_version(&call, part(0), part(1)),
        Operation::LintRules => Ok(explore::lint_rules()),
        Operation::Search => explore::search(&call).await,
        Operation::Timeline => explore::timeline(&call, part(0)).await,
        Operation::Export => transfer::export(&call).await,
        Operation::Import => transfer::import(&call).await,
        Operation::DeleteImpact => explore::delete_impact(&call, part(0)),
    }
}
