//! A fresh registry per case, and requests to its router.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use registry::{Registry, RegistryConfig};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const V1_JSON: &str = "application/vnd.schemaregistry.v1+json";

/// A registry on a directory of its own.
pub(crate) struct Fixture {
    pub(crate) registry: Registry,
    router: axum::Router,
    directory: TempDir,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<String>,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON, or as a JSON string when it is none.
    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::String(self.text.clone()))
    }
}

/// What a case may set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) level: String,
    pub(crate) reject_empty_subject: bool,
    pub(crate) strict_reference_versions: bool,
}

impl Settings {
    pub(crate) fn of_level(level: &str) -> Self {
        Self {
            level: level.to_owned(),
            reject_empty_subject: false,
            strict_reference_versions: false,
        }
    }
}

pub(crate) fn config(directory: &Path, settings: &Settings) -> RegistryConfig {
    RegistryConfig {
        sqlite_path: directory.join("registry.db"),
        default_compatibility: settings.level.clone(),
        mode_mutability: true,
        reject_empty_subject: settings.reject_empty_subject,
        strict_reference_versions: settings.strict_reference_versions,
        body_bytes_max: 8 * 1024 * 1024,
    }
}

impl Fixture {
    pub(crate) async fn new(level: &str) -> Self {
        Self::with(Settings::of_level(level)).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::on(tempfile::tempdir().unwrap(), &settings).await
    }

    pub(crate) async fn with_body_bytes_max(body_bytes_max: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = RegistryConfig {
            body_bytes_max,
            ..config(directory.path(), &Settings::of_level("BACKWARD"))
        };
        Self::open(directory, config).await
    }

    /// Where PUT and DELETE of modes are forbidden.
    pub(crate) async fn with_fixed_modes() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = RegistryConfig {
            mode_mutability: false,
            ..config(directory.path(), &Settings::of_level("BACKWARD"))
        };
        Self::open(directory, config).await
    }

    async fn on(directory: TempDir, settings: &Settings) -> Self {
        let config = config(directory.path(), settings);
        Self::open(directory, config).await
    }

    async fn open(directory: TempDir, config: RegistryConfig) -> Self {
        let registry = Registry::open(config).await.unwrap();
        let router = Registry::fallback_not_found(registry.router());
        Self {
            registry,
            router,
            directory,
        }
    }

    /// Closes and opens again on the same file.
    pub(crate) async fn restart(self) -> Self {
        self.registry.close().await;
        Self::on(self.directory, &Settings::of_level("BACKWARD")).await
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            content_type: parts
                .headers
                .get("content-type")
                .map(|value| value.to_str().unwrap().to_owned()),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", V1_JSON);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_owned()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None).await
    }

    /// Registers an Avro schema text; panics with the answer when it is refused.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Value {
        let body = serde_json::json!({ "schema": schema }).to_string();
        let path = format!("/subjects/{subject}/versions");
        let reply = self.call("POST", &path, Some(&body)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }
}

/// Lines of a recorded suite; empty, with a printed line, where the suite is not checked out.
pub(crate) fn cases(file: &str) -> Vec<Value> {
    let root = std::env::var_os("ASSAY_CONFORMANCE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/conformance"
            ))
        },
        PathBuf::from,
    );
    let path = root.join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no recorded cases at {}", path.display());
        return Vec::new();
    };
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
