//! Where the registries of this suite keep their truth: a SQLite file in a directory of its own.

use registry::StoreLocation;
use tempfile::TempDir;

/// A store for one case.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) async fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn location(&self) -> StoreLocation {
        StoreLocation::Sqlite(self.0.path().join("registry.db"))
    }
}
