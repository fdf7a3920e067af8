//! Confluent's HTTP API: the only place of this crate that speaks HTTP.
//!
//! One handler takes every path of the API, because paths are rewritten before they are routed:
//! percent-escapes, trailing slashes, `/contexts/{ctx}/…` and aliases. [`route`] is the route table;
//! [`extract`] the rewriting; [`dto`] the bodies. Answers are JSON or nothing. Only [`hot`] answers
//! beside that handler.

mod associations;
mod compatibility;
mod config;
mod contexts;
mod dto;
mod error;
mod extract;
mod hot;
mod mode;
mod route;
mod schemas;
mod subjects;
mod v1;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};

use crate::error::RegistryError;
use crate::limits::{Limits, Overloaded, ParsePermit};
use crate::service::Registry;
use crate::subject_name::normalize;
use extract::{Call, Target};
use hot::HotRead;
use route::Route;

/// Who sends a request. An authenticating layer in front puts it into the request's extensions;
/// without one the change log says `anonymous`.
#[derive(Debug, Clone)]
pub struct Actor(pub String);

/// The pattern of the path that a request matched, in the extensions of its answer: for whoever
/// observes requests.
#[derive(Debug, Clone, Copy)]
pub struct MatchedRoute(pub &'static str);

const V1_JSON: &str = "application/vnd.schemaregistry.v1+json";
const REGISTRY_JSON: &str = "application/vnd.schemaregistry+json";
const PLAIN_JSON: &str = "application/json";
/// Read as JSON, as the reference does.
const OCTET_STREAM: &str = "application/octet-stream";

/// What `/v1/metadata/version` says before the crate's own version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First segments of the API's paths.
const ROOTS: [&str; 9] = [
    "/subjects",
    "/schemas",
    "/compatibility",
    "/config",
    "/mode",
    "/contexts",
    "/associations",
    "/associations:batchGet",
    "/associations:batchMutate",
];

pub(crate) fn router(registry: Registry) -> Router {
    let mut router = Router::new().route("/", any(serve));
    for root in ROOTS {
        router = router
            .route(root, any(serve))
            .route(&format!("{root}/"), any(serve))
            .route(&format!("{root}/{{*rest}}"), any(serve));
    }
    for name in ["id", "version", "deployment"] {
        router = router
            .route(&format!("/v1/metadata/{name}"), any(serve))
            .route(&format!("/v1/metadata/{name}/"), any(serve));
    }
    let hot = Arc::new(HotRead::new(registry.clone()));
    let by_id = move |state: State<Registry>, request: Request| {
        let answered = hot.answer(&request);
        async move {
            match answered {
                Some(response) => response,
                None => serve(state, request).await,
            }
        }
    };
    router
        .route("/schemas/ids/{id}", any(by_id))
        .merge(v1::router())
        .with_state(registry)
}

pub(crate) fn fallback_not_found(router: Router) -> Router {
    router.fallback(|| async { error::response(&RegistryError::NotFound, V1_JSON) })
}

/// The one handler: target, route, method, body, operation, answer.
async fn serve(State(registry): State<Registry>, request: Request) -> Response {
    let method = request.method().clone();
    let content_type = answer_type(request.headers().get(ACCEPT)).unwrap_or(V1_JSON);
    let started = Instant::now();
    let mut label = "unmatched";
    let result = answer(&registry, request, &mut label).await;
    let mut response = match result {
        Ok(answer) => answer.into_response(content_type),
        Err(error) => error::response(&error, content_type),
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

async fn answer(
    registry: &Registry,
    request: Request,
    label: &mut &'static str,
) -> Result<Answer, RegistryError> {
    let asked = Target::parse(request.uri().path(), request.uri().query().unwrap_or(""))?;
    let seen = registry.snapshot().epoch();
    let target = asked.clone().through_aliases(&registry.snapshot());
    let route = Route::find(&target.segments).ok_or(RegistryError::NotFound)?;
    *label = route.label();
    let method = match *request.method() {
        Method::HEAD => Method::GET,
        ref other => other.clone(),
    };
    if !route.allows(&method) {
        return Err(route.wrong_method());
    }
    let has_body = matches!(method, Method::POST | Method::PUT) && !matches!(route, Route::Root);
    if has_body {
        require_json(request.headers().get(CONTENT_TYPE))?;
    }
    if answer_type(request.headers().get(ACCEPT)).is_none() {
        return Err(RegistryError::NotAcceptable);
    }
    let actor = actor_of(&request);
    let body = if has_body {
        read_body(request, registry.limits()).await?
    } else {
        Bytes::new()
    };
    let _permit = if route.parses(&method) {
        Some(parse_permit(registry.limits()).await?)
    } else {
        None
    };
    let operation = Operation {
        registry,
        asked: &asked,
        method: &method,
        body: &body,
        actor: &actor,
    };
    match operation.run().await {
        Err(error) if registry.is_shared() && error.may_be_ignorance() => {
            // Another replica may know better. When nobody can be asked, the answer is not "no".
            registry.refresh().await.map_err(|_| RegistryError::Store)?;
            if registry.snapshot().epoch() == seen {
                return Err(error);
            }
            operation.run().await
        }
        answer => answer,
    }
}

/// What a request asks for, to be done on whatever the image is by then.
#[derive(Debug)]
struct Operation<'a> {
    registry: &'a Registry,
    asked: &'a Target,
    method: &'a Method,
    body: &'a Bytes,
    actor: &'a str,
}

impl Operation<'_> {
    async fn run(&self) -> Result<Answer, RegistryError> {
        let registry = self.registry;
        let target = self.asked.clone().through_aliases(&registry.snapshot());
        let route = Route::find(&target.segments).ok_or(RegistryError::NotFound)?;
        if let Route::Compatibility(subject) | Route::CompatibilityWith(subject, _) = route
            && registry.is_shared()
            && registry.snapshot().subject(&normalize(subject)).is_none()
        {
            // Everything is compatible with a subject that nobody has heard of.
            registry.refresh().await.map_err(|_| RegistryError::Store)?;
        }
        let call = Call {
            registry,
            query: &target.query,
            body: self.body,
            actor: self.actor.to_owned(),
        };
        dispatch(&call, &route, self.method).await
    }
}

/// Who sends the request, for the change log.
fn actor_of(request: &Request) -> String {
    let actor = request.extensions().get::<Actor>();
    actor.map_or_else(|| "anonymous".to_owned(), |actor| actor.0.clone())
}

async fn dispatch(
    call: &Call<'_>,
    route: &Route<'_>,
    method: &Method,
) -> Result<Answer, RegistryError> {
    match *route {
        Route::Root => Ok(Answer::Value(json!({}))),
        Route::MetadataId => Ok(Answer::Value(json!({
            "scope": {
                "path": [],
                "clusters": { "schema-registry-cluster": "schema-registry" },
            }
        }))),
        Route::MetadataVersion => Ok(Answer::Value(json!({
            "version": format!("assay-{VERSION}"),
            "commitId": VERSION,
        }))),
        Route::MetadataDeployment => Ok(Answer::Value(json!({ "attributes": [] }))),
        Route::Schemas => schemas::list(call),
        Route::SchemaTypes => Ok(Answer::Value(json!(["JSON", "PROTOBUF", "AVRO"]))),
        Route::SchemaById(id) => schemas::by_id(call, id),
        Route::SchemaTextById(id) => schemas::text_by_id(call, id),
        Route::SubjectsById(id) => schemas::subjects_by_id(call, id),
        Route::VersionsById(id) => schemas::versions_by_id(call, id),
        Route::SchemaByGuid(guid) => schemas::by_guid(call, guid),
        Route::IdsByGuid(guid) => schemas::ids_by_guid(call, guid),
        Route::Subjects => subjects::list(call),
        Route::Subject(subject) if *method == Method::POST => {
            subjects::look_up(call, subject).await
        }
        Route::Subject(subject) => subjects::delete(call, subject).await,
        Route::SubjectMetadata(subject) => subjects::by_metadata(call, subject),
        Route::Versions(subject) if *method == Method::POST => {
            subjects::register(call, subject).await
        }
        Route::Versions(subject) => subjects::versions(call, subject),
        Route::Version(subject, version) if *method == Method::DELETE => {
            subjects::delete_version(call, subject, version).await
        }
        Route::Version(subject, version) => subjects::version(call, subject, version),
        Route::VersionText(subject, version) => subjects::version_text(call, subject, version),
        Route::ReferencedBy(subject, version) => subjects::referenced_by(call, subject, version),
        Route::VersionTags(subject, version) => subjects::tags(call, subject, version).await,
        Route::Associations => associations::put(call, None).await,
        Route::AssociationsOfSubject(subject) => associations::of_subject(call, subject),
        Route::AssociationsOfName(namespace, name) => associations::of_name(call, namespace, name),
        Route::AssociationsOfResource(id) => associations::resource(call, id, method).await,
        Route::AssociationsBatchGet => associations::batch_get(call),
        Route::AssociationsBatchMutate => associations::batch_mutate(call).await,
        Route::Compatibility(subject) => compatibility::check(call, subject, None).await,
        Route::CompatibilityWith(subject, version) => {
            compatibility::check(call, subject, Some(version)).await
        }
        Route::Config(subject) => config::serve(call, subject, method).await,
        Route::Mode(subject) => mode::serve(call, subject, method).await,
        Route::Contexts => contexts::list(call),
        Route::Context(context) => contexts::delete(call, context).await,
    }
}

/// Refuses bodies that say they are not JSON; those that say nothing are taken.
fn require_json(sent: Option<&HeaderValue>) -> Result<(), RegistryError> {
    let sent = sent.and_then(|value| value.to_str().ok()).unwrap_or("");
    let sent = sent.split(';').next().unwrap_or("").trim();
    let known = [V1_JSON, REGISTRY_JSON, PLAIN_JSON, OCTET_STREAM];
    if sent.is_empty() || known.iter().any(|k| sent.eq_ignore_ascii_case(k)) {
        Ok(())
    } else {
        Err(RegistryError::UnsupportedMediaType)
    }
}

/// Waits for a turn to parse schemas.
async fn parse_permit(limits: &Limits) -> Result<ParsePermit<'_>, RegistryError> {
    let permit = limits.parse_permit().await;
    permit.map_err(|Overloaded| RegistryError::TooManyRequests)
}

/// Reads a body of bounded length, in bounded time.
async fn read_body(request: Request, limits: &Limits) -> Result<Bytes, RegistryError> {
    let bytes_max = limits.values().body_bytes_max;
    let read = Limited::new(request.into_body(), bytes_max).collect();
    let Ok(read) = tokio::time::timeout(limits.body_time_max(), read).await else {
        return Err(RegistryError::RequestTimeout);
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(RegistryError::BodyTooLarge),
        Err(error) => Err(RegistryError::BadRequest(format!(
            "the request body could not be read: {error}"
        ))),
    }
}

/// The media type to answer with: the best of the three that the client names, Confluent's where it
/// takes any or says nothing; none when it takes no JSON.
fn answer_type(accept: Option<&HeaderValue>) -> Option<&'static str> {
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.trim().is_empty() {
        return Some(V1_JSON);
    }
    let mut best: (Option<&'static str>, f32) = (None, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or("").trim();
        let quality = parts
            .find_map(|part| part.trim().strip_prefix("q=")?.parse().ok())
            .unwrap_or(1.0_f32);
        let known = [V1_JSON, REGISTRY_JSON, PLAIN_JSON]
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name));
        let known = match name {
            "*/*" | "application/*" => Some(V1_JSON),
            _ => known,
        };
        if let Some(known) = known
            && quality > 0.0
            && (quality > best.1 || (known == V1_JSON && quality >= best.1))
        {
            best = (Some(known), quality);
        }
    }
    best.0
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// JSON.
    Value(Value),
    /// JSON made earlier.
    Bytes(Bytes),
    /// 207: a list of results, each with its own error or success.
    Results(Value),
    /// 204.
    Empty,
}

impl Answer {
    fn into_response(self, content_type: &'static str) -> Response {
        let (status, body) = match self {
            Self::Value(value) => (StatusCode::OK, Body::from(value.to_string())),
            Self::Bytes(bytes) => (StatusCode::OK, Body::from(bytes)),
            Self::Results(value) => (StatusCode::MULTI_STATUS, Body::from(value.to_string())),
            Self::Empty => (StatusCode::NO_CONTENT, Body::empty()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if status != StatusCode::NO_CONTENT {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The label of a path, if it is routed.
    fn label_of(path: &str) -> Option<(&'static str, Vec<String>)> {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect();
        let label = Route::find(&segments)?.label();
        Some((label, segments))
    }

    #[test]
    fn the_openapi_document_is_the_route_table() {
        // The labels of the table, read from its text: a new route cannot be forgotten here.
        let labels: BTreeSet<&str> = include_str!("route.rs")
            .lines()
            .filter_map(|line| line.split_once("=> \"/").map(|(_, rest)| rest))
            .filter_map(|rest| rest.split_once('"').map(|(label, _)| label))
            .collect();
        assert!(labels.len() > 20, "{labels:?}");
        let mut routed = BTreeSet::new();
        for label in labels {
            let path = format!("/{label}");
            let (_, segments) = label_of(&path).unwrap();
            let route = Route::find(&segments).unwrap();
            assert_eq!(route.label(), path, "the label of a route leads back to it");
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                if route.allows(&method) {
                    routed.insert((method.to_string(), path.clone()));
                }
            }
        }
        for endpoint in v1::ENDPOINTS {
            routed.insert((endpoint.method.to_owned(), endpoint.path.to_owned()));
        }
        let documented: BTreeSet<(String, String)> = crate::openapi::OPERATIONS
            .iter()
            .map(|operation| {
                let label = label_of(operation.path).map_or(operation.path, |(label, _)| label);
                (operation.method.to_owned(), label.to_owned())
            })
            .collect();
        let missing: Vec<_> = routed.difference(&documented).collect();
        let invented: Vec<_> = documented.difference(&routed).collect();
        assert!(missing.is_empty(), "not in the document: {missing:?}");
        assert!(invented.is_empty(), "only in the document: {invented:?}");
    }

    #[test]
    fn the_best_media_type_asked_for_is_answered() {
        for (accept, expected) in [
            (None, Some(V1_JSON)),
            (Some(""), Some(V1_JSON)),
            (Some("*/*"), Some(V1_JSON)),
            (Some("application/*"), Some(V1_JSON)),
            (Some("text/html"), None),
            (Some("text/html, application/json;q=0"), None),
            (
                Some("text/html, image/gif, image/jpeg, */*; q=0.2"),
                Some(V1_JSON),
            ),
            (Some("application/json"), Some(PLAIN_JSON)),
            (
                Some("application/vnd.schemaregistry+json"),
                Some(REGISTRY_JSON),
            ),
            (
                Some("application/vnd.schemaregistry.v1+json, application/json"),
                Some(V1_JSON),
            ),
            (
                Some("application/json, application/vnd.schemaregistry.v1+json"),
                Some(V1_JSON),
            ),
            (
                Some("application/json;q=0.9, application/vnd.schemaregistry.v1+json;q=0.1"),
                Some(PLAIN_JSON),
            ),
        ] {
            let value = accept.map(HeaderValue::from_static);
            assert_eq!(answer_type(value.as_ref()), expected, "{accept:?}");
        }
    }
}
