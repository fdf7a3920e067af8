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
//! | [`service`] | register, look up, delete, configure: decide on the image, commit, publish |
//! | [`error`] | every error with its HTTP status and code, in one table |
//! | `store` | the only place that speaks SQL |
//! | `http` | the only place that speaks HTTP |
//! | `json` | the JSON shapes shared by bodies and stored rows |

pub mod association;
pub mod change;
pub mod compatibility;
pub mod error;
mod http;
mod json;
pub mod model;
pub mod service;
pub mod snapshot;
mod store;
pub mod subject_name;

pub use association::{Association, AssociationType, Lifecycle};
pub use error::RegistryError;
pub use http::Actor;
pub use model::{Context, SchemaId, Subject, Version};
pub use service::{OpenError, Registry, RegistryConfig};
pub use snapshot::{Binding, RegisteredSchema, Snapshot, Unavailable};
pub use subject_name::{QualifiedSubject, SubjectNameStrategy};
