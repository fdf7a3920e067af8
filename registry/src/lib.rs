//! Subjects, versions, schema ids and compatibility levels: SQL behind, Confluent's HTTP API in
//! front. Knows no broker and no Kafka.
//!
//! Truth is SQL; reads never touch it: [`Snapshot`] is an immutable image, swapped after each
//! committed change. Read [`service`] first: each operation is one function there or beside it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`model`], [`subject_name`] | the nouns; how subject and context names are read |
//! | [`association`] | which subject a topic's keys or values belong to |
//! | [`snapshot`], [`change`] | the image, and the facts that turn one image into the next |
//! | [`compatibility`] | which versions are compared at a level, and the messages |
//! | [`breach`] | a record that shows why a schema was refused, in words |
//! | [`service`] | register, look up, delete, configure: decide on the image, commit, publish |
//! | [`verdicts`], [`timeline`] | a schema against earlier ones at all seven levels; a subject's history |
//! | [`search`], [`lint`], [`impact`] | finding things, rules of style, what a delete would do |
//! | [`openapi`] | the description of every route |
//! | [`transfer`] | the registry as facts, for export and import; Confluent's `_schemas` topic |
//! | [`limits`] | what one request may cost |
//! | [`error`] | every error with its HTTP status and code, in one table |
//! | `store` | the only place that speaks SQL |
//! | `http` | the only place that speaks HTTP |
//! | `json` | the JSON shapes shared by bodies and stored rows |

pub mod association;
pub mod breach;
pub mod change;
pub mod compatibility;
pub mod error;
mod http;
pub mod impact;
mod json;
pub mod limits;
pub mod lint;
pub mod model;
pub mod openapi;
pub mod search;
pub mod service;
pub mod snapshot;
mod store;
pub mod subject_name;
pub mod timeline;
pub mod transfer;
pub mod verdicts;

pub use association::{Association, AssociationType, Lifecycle};
pub use error::RegistryError;
pub use http::{Actor, MatchedRoute};
pub use impact::{BoundTopic, SubjectUsage};
pub use limits::{LimitValues, Limits};
pub use model::{Context, SchemaId, Subject, Version};
pub use service::{OpenError, Registry, RegistryConfig};
pub use snapshot::{Binding, RegisteredSchema, Snapshot, Unavailable};
pub use store::StoreLocation;
pub use subject_name::{QualifiedSubject, SubjectNameStrategy};

/// Writes one consistent moment of a SQLite registry, which a server may be using, as a new file.
///
/// # Errors
/// When it cannot be read, or the new file exists.
pub async fn copy_sqlite(from: &std::path::Path, to: &std::path::Path) -> Result<(), OpenError> {
    let copied = store::copy_sqlite(from, to).await;
    copied.map_err(|error| OpenError(error.to_string()))
}

/// Has SQLite check the file of a registry, which a server may be using: what it complains of, a line
/// each; nothing when it is sound.
///
/// # Errors
/// When it cannot be read, or is no database.
pub async fn check_sqlite(path: &std::path::Path) -> Result<Vec<String>, OpenError> {
    let checked = store::check_sqlite(path).await;
    checked.map_err(|error| OpenError(error.to_string()))
}

/// Writes one consistent moment of a PostgreSQL registry, which servers may be using, as a new SQLite
/// file.
///
/// # Errors
/// When the database cannot be read, or was made by another release.
pub async fn copy_postgres(url: &str, to: &std::path::Path) -> Result<(), OpenError> {
    let copied = store::copy_postgres(url, to).await;
    copied.map_err(|error| {
        OpenError(format!(
            "{}: {error}",
            StoreLocation::Postgres(url.to_owned())
        ))
    })
}

/// Fills an empty PostgreSQL database with the registry of a SQLite file; all of it or nothing.
///
/// # Errors
/// When either cannot be used, or the database holds a registry already.
pub async fn fill_postgres(from: &std::path::Path, url: &str) -> Result<(), OpenError> {
    let filled = store::fill_postgres(from, url).await;
    filled.map_err(|error| {
        OpenError(format!(
            "{}: {error}",
            StoreLocation::Postgres(url.to_owned())
        ))
    })
}
