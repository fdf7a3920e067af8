//! Where the registries of this suite keep their truth: databases of one PostgreSQL server, emptied
//! and lent again, because creating one takes longer than most cases.

use std::sync::{LazyLock, Mutex};

use registry::StoreLocation;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::postgres::Postgres;

static SERVER: LazyLock<Option<Postgres>> = LazyLock::new(Postgres::start);
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

const EMPTY: &str = "DELETE FROM contexts; DELETE FROM schemas; DELETE FROM schema_references; \
     DELETE FROM subject_versions; DELETE FROM configs; DELETE FROM modes; DELETE FROM associations; \
     DELETE FROM changes; \
     DELETE FROM replicas; UPDATE registry_state SET epoch = 0";

/// A store for one case.
pub(crate) enum Place {
    /// The URL of an empty database.
    Postgres(String),
    /// No server is installed.
    Sqlite(TempDir),
}

/// The server of this process, where one is installed.
pub(crate) fn server() -> Option<&'static Postgres> {
    SERVER.as_ref()
}

impl Place {
    pub(crate) async fn new() -> Self {
        let Some(server) = server() else {
            return Self::Sqlite(tempfile::tempdir().unwrap());
        };
        let lent = FREE.lock().unwrap().pop();
        let Some(url) = lent else {
            return Self::Postgres(server.database());
        };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(EMPTY).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self::Postgres(url)
    }

    pub(crate) fn location(&self) -> StoreLocation {
        match self {
            Self::Postgres(url) => StoreLocation::Postgres(url.clone()),
            Self::Sqlite(directory) => StoreLocation::Sqlite(directory.path().join("registry.db")),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Postgres(url) = self
            && !std::thread::panicking()
        {
            FREE.lock().unwrap().push(std::mem::take(url));
        }
    }
}
