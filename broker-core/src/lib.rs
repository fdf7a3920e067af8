//! The log and the Kafka protocol.
//!
//! Knows no schema format, no registry, no SQL and no HTTP: all it knows of schemas is the trait
//! [`validation::RecordValidator`].
//!
//! | module | what |
//! |---|---|
//! | [`ids`], [`error`] | the field's names as types; operation errors to Kafka error codes |
//! | [`protocol`] | frames, headers, hot messages, facade over the generated codec (pure) |
//! | [`records`] | record batches v2: header, records, compression, checks, building (pure) |
//! | [`storage`] | the disk as a small synchronous trait, with a simulated twin |
//! | [`log`] | segments, indexes, recovery, retention, producer state |
//! | [`partition`] | one partition: append, group commit, fetch, waiting |
//! | [`authorization`] | the seam for security: principals, operations, the authorizer |
//! | [`quotas`] | client quotas: what each client used, how long it must wait (pure) |
//! | [`client_metrics`] | metrics that clients push, as far as someone subscribed to them |
//! | [`topics`] | catalogue of topics and their configs, kept in a metadata log |
//! | [`groups`] | consumer groups and their offsets |
//! | [`transactions`] | exactly-once: the transaction coordinator and the producer ids |
//! | `threads` | a few threads that share a list of work on the disk |
//! | `internal_log`, `timers` | the internal topics that both keep their state in; when it wants to be called |
//! | [`api`] | one file per Kafka API |
//! | [`net`] | listener and connections |
//! | [`broker`] | everything above behind one handle |
//! | [`doctor`] | examines a data directory that no broker has open |
//!
//! Direction inside: `ids, error <- protocol, records <- log <- partition <- topics <-
//! internal_log <- groups <- transactions <- broker <- api <- net`; `validation` uses only `ids` and `records`, `authorization` and `quotas` nothing.

pub mod api;
pub mod authorization;
pub mod broker;
pub mod client_metrics;
pub mod clock;
pub mod doctor;
pub mod error;
pub mod groups;
pub mod ids;
mod internal_log;
pub mod log;
pub mod net;
pub mod partition;
pub mod protocol;
pub mod quotas;
pub mod records;
pub mod storage;
mod threads;
mod timers;
pub mod topics;
pub mod transactions;
pub mod validation;

pub use api::SPAN_TARGET;
pub use broker::{Broker, BrokerConfig, Durability, OpenError};
