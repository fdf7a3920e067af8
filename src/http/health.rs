//! Whether the process lives, has started, and can serve.
//!
//! Liveness asks nothing of anybody: a database that is down is no reason to be killed. Readiness
//! does ask.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use registry::Registry;

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening the data.
    Starting,
    /// Serving.
    Ready,
    /// Finishing what is in flight.
    Stopping,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}

/// What the health endpoints look at; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    phase: AtomicU8,
    registry: OnceLock<Registry>,
}

/// A check that takes longer has failed.
const CHECK_MAX: Duration = Duration::from_secs(2);

impl Health {
    /// The process serves from now on.
    pub fn ready(&self, registry: Registry) {
        // A second call keeps the first registry; there is one a process.
        drop(self.inner.registry.set(registry));
        self.inner.phase.store(1, Ordering::Release);
    }

    /// The process takes nothing new from now on.
    pub fn stopping(&self) {
        self.inner.phase.store(2, Ordering::Release);
    }

    /// Where the process is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.inner.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }

    /// Each check by name, with why it failed.
    async fn checks(&self) -> [(&'static str, Result<(), String>); 2] {
        let phase = match self.phase() {
            Phase::Ready => Ok(()),
            phase => Err(format!("the server is {}", phase.name())),
        };
        let registry = match self.inner.registry.get() {
            None => Err("not open yet".to_owned()),
            Some(registry) if registry.ready().is_err() => {
                registry.ready().map_err(|error| error.to_string())
            }
            Some(registry) => match tokio::time::timeout(CHECK_MAX, registry.refresh()).await {
                Ok(asked) => asked.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer in {CHECK_MAX:?}")),
            },
        };
        [("phase", phase), ("registry", registry)]
    }
}

/// `/livez`, `/readyz`, `/startupz`.
pub fn routes(health: Health) -> Router {
    Router::new()
        .route(
            "/livez",
            get(|| async { text(StatusCode::OK, "ok\n".to_owned()) }),
        )
        .route("/startupz", get(startup))
        .route("/readyz", get(readiness))
        .with_state(health)
}

async fn startup(State(health): State<Health>) -> Response {
    match health.phase() {
        Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        Phase::Ready | Phase::Stopping => text(StatusCode::OK, "ok\n".to_owned()),
    }
}

/// `?verbose` shows every check; a failed one shows anyway.
async fn readiness(State(health): State<Health>, RawQuery(query): RawQuery) -> Response {
    let checks = health.checks().await;
    let is_ready = checks.iter().all(|(_, result)| result.is_ok());
    let is_verbose = query.is_some_and(|query| query.split('&').any(|q| q.starts_with("verbose")));
    if is_ready && !is_verbose {
        return text(StatusCode::OK, "ok\n".to_owned());
    }
    let mut lines = String::new();
    for (name, result) in checks {
        lines.push_str(&match result {
            Ok(()) => format!("[+] {name} ok\n"),
            Err(reason) => format!("[-] {name}: {reason}\n"),
        });
    }
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    text(status, lines)
}

fn text(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    async fn ask(health: &Health, path: &str) -> (u16, String) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let router = TowerToHyperService::new(routes(health.clone()));
        let response = router.call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn readiness_follows_the_database_and_liveness_does_not() {
        let health = Health::default();
        assert_eq!(ask(&health, "/livez").await.0, 200);
        assert_eq!(ask(&health, "/startupz").await.0, 503);
        assert_eq!(ask(&health, "/readyz").await.0, 503);

        let folder = tempfile::TempDir::new().unwrap();
        let mut config = crate::config::ServeOptions::default()
            .resolve(crate::config::ServeOptions::default())
            .unwrap();
        config.data = folder.path().to_owned();
        let registry = Registry::open(config.registry()).await.unwrap();
        health.ready(registry.clone());
        for path in ["/livez", "/startupz", "/readyz"] {
            assert_eq!(ask(&health, path).await, (200, "ok\n".to_owned()), "{path}");
        }

        registry.close().await;
        let (status, text) = ask(&health, "/readyz").await;
        assert_eq!(status, 503);
        assert!(text.starts_with("[+] phase ok\n[-] registry: "), "{text}");
        assert_eq!(ask(&health, "/livez").await.0, 200);

        health.stopping();
        assert!(ask(&health, "/readyz").await.1.contains("stopping"));
        assert_eq!(ask(&health, "/livez").await.0, 200);
        assert_eq!(ask(&health, "/startupz").await.0, 200);
    }
}
