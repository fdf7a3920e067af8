//! Bytes of the Kafka protocol: frames, headers and messages. Pure: no socket, no clock, no topic.
//!
//! | file | what |
//! |---|---|
//! | [`apis`] | which APIs and versions are served and advertised |
//! | [`frame`] | the length prefix |
//! | [`header`] | request and response headers |
//! | [`reader`], [`writer`] | bounded primitives |
//! | [`topic_partitions`] | the list of topics and partitions that Produce and Fetch share |
//! | [`produce`], [`fetch`], [`api_versions`] | the hot messages, decoded and encoded without copying records |
//! | [`cold`] | every other message, behind one facade over a generated codec |
//! | [`client`] | the other direction: requests out, responses in |
//!
//! A peer's count or length never reserves memory: it is compared with the bytes that are there
//! before anything is allocated, and vectors grow with what was really decoded.

pub mod api_versions;
pub mod apis;
pub mod client;
pub mod cold;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod produce;
pub mod reader;
pub mod topic_partitions;
pub mod writer;

#[cfg(test)]
mod oracle_tests;

/// The generated messages, for the command line and tests.
pub use kafka_wire as messages;
pub use kafka_wire_core::{KafkaDecode, KafkaEncode};

pub use apis::{API_VERSIONS, APIS, Api, FETCH, PRODUCE};
pub use reader::Malformed;

use crate::ids::TopicId;

/// The generated codec's form of a topic id.
#[must_use]
pub fn wire_uuid(id: TopicId) -> kafka_wire_core::Uuid {
    kafka_wire_core::Uuid::from_bytes(*id.0.as_bytes())
}

/// A topic id from the generated codec's form.
#[must_use]
pub fn topic_id(id: kafka_wire_core::Uuid) -> TopicId {
    TopicId(uuid::Uuid::from_bytes(id.to_bytes()))
}
