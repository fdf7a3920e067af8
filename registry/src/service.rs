//! Register, look up, check, delete, configure. Stub, replaced by its owner: the signatures are fixed.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::snapshot::*;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /** SQLite file */
    pub sqlite_path: PathBuf,
    /** level where nothing is configured */
    pub default_compatibility: String,
    pub mode_mutability: bool,
    pub body_bytes_max: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

#[derive(Debug, Clone)]
pub struct Registry;
impl Registry {
    /// Opens the store, runs migrations, loads the snapshot.
    pub async fn open(_config: RegistryConfig) -> Result<Self, OpenError> {
        todo!()
    }
    /// The current image: a pointer read.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        todo!()
    }
    /// Re-reads the truth if this process may be behind it (a no-op where it is the only writer).
    pub async fn refresh(&self) -> Result<(), Unavailable> {
        todo!()
    }
    /// Confluent's HTTP API without a fallback; merge other routes into it, then add `fallback_not_found`.
    pub fn router(&self) -> axum::Router {
        todo!()
    }
    /// The 404 body for unknown paths, Confluent's shape.
    pub fn fallback_not_found(router: axum::Router) -> axum::Router {
        let _ = router;
        todo!()
    }
    /// Syncs and closes the store.
    pub async fn close(&self) {
        todo!()
    }
}
