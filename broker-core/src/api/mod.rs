//! One file per Kafka API: what each answers. Sockets are [`crate::net`]'s, bytes
//! [`crate::protocol`]'s.
//!
//! [`dispatch`] decodes a frame, calls the handler, encodes the answer. A handler never fails: what
//! goes wrong is a code in its response. Only malformed or unsupported requests, and an acks=0
//! produce that was refused, end the connection ([`Close`]).

pub mod groups;

mod alter_configs;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_topic_partitions;
mod dispatch;
mod fetch;
mod incremental_alter_configs;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod spans;
mod transactions;
mod wait;

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_wire_core::StrBytes;
use uuid::Uuid;

pub use dispatch::{Close, Reply, Session, dispatch};
pub use spans::TARGET as SPAN_TARGET;

use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, PartitionIndex, TopicId};
use crate::partition::Partition;
use crate::topics::{Topic, TopicError};

/// Who asks, and how: what a handler may know of a request besides its body.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// `client.id` of the request header; empty when the client sent none.
    pub client_id: Arc<str>,
    /// Software name and version of ApiVersions (KIP-511) as `name/version`; empty when not sent.
    pub client_software: Arc<str>,
    /// The peer.
    pub address: SocketAddr,
    /// Echoed in the response header.
    pub correlation_id: i32,
    /// Version of the request and of its answer.
    pub version: i16,
}

/// Operations that a client may do on a topic, as KIP-430 bits: read, write, create, delete,
/// alter, describe, describe configs, alter configs. All of them: there is no authorizer.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// Operations on the cluster, as KIP-430 bits: create, alter, describe, cluster action, describe
/// configs, alter configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Resource type of a topic in the config APIs.
const RESOURCE_TOPIC: i8 = 2;

/// Resource type of a broker in the config APIs.
const RESOURCE_BROKER: i8 = 4;

/// The topic that a request names by name or, from the versions of KIP-516, by id.
fn find_topic(broker: &Broker, name: &str, id: Uuid) -> Result<Arc<Topic>, ErrorCode> {
    if id.is_nil() {
        broker
            .topics
            .get(name)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    } else {
        broker
            .topics
            .get_by_id(TopicId(id))
            .ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
    }
}

/// The partition of that index.
fn find_partition(topic: &Topic, index: i32) -> Result<Arc<Partition>, ErrorCode> {
    topic
        .partition(PartitionIndex(index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// KIP-320: compares the leader epoch that a client knows (-1 unknown) with ours.
fn check_leader_epoch(current: LeaderEpoch, claimed: i32) -> Result<(), ErrorCode> {
    match claimed {
        claimed if claimed < 0 || claimed == current.0 => Ok(()),
        claimed if claimed < current.0 => Err(ErrorCode::FENCED_LEADER_EPOCH),
        _ => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
    }
}

/// Runs what blocks on disk on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a task of the broker failed");
            Err(TopicError {
                code: ErrorCode::UNKNOWN_SERVER_ERROR,
                message: "the broker could not finish the request".to_owned(),
            })
        }
    }
}

/// Error code and message fields of an outcome.
fn code_and_message<T>(outcome: &Result<T, TopicError>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(_) => (ErrorCode::NONE.0, None),
        Err(error) => (error.code.0, Some(text(&error.message))),
    }
}

/// A string for the generated codec, cut at what a 16-bit length can carry.
fn text(text: &str) -> StrBytes {
    StrBytes::from(crate::protocol::writer::clip(text, i16::MAX as usize))
}

/// An error about a topic.
fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, TopicError> {
    Err(TopicError {
        code,
        message: message.into(),
    })
}
