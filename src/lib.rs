//! Assay: a Kafka-API log and a Confluent-compatible schema registry in one process, where no
//! record that breaks its schema can be stored.
//!
//! This package wires three libraries together and knows each of them; they do not know each
//! other: `broker_core` (the log and the Kafka protocol), `registry` (subjects, versions, ids over
//! SQL and HTTP) and `serde_formats` (what a schema says about bytes). The one place where a
//! record meets a schema is [`enforcement`].

pub mod backup;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod enforcement;
pub mod http;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod transfer;
pub mod usage;
