//! Subjects, versions, schema ids and compatibility levels: SQL behind, Confluent's HTTP API in
//! front. Knows no broker and no Kafka.
//!
//! Truth is SQL; reads never touch it: [`Snapshot`] is an immutable image, swapped after each
//! committed change. Read [`service`] first: each operation is one function there.

pub mod model;
pub mod service;
pub mod snapshot;

pub use model::{Context, SchemaId, Subject, Version};
pub use service::{OpenError, Registry, RegistryConfig};
pub use snapshot::{Binding, RegisteredSchema, Snapshot, Unavailable};
