//! One file per Kafka API: what each answers. Sockets are [`crate::net`]'s, bytes
//! [`crate::protocol`]'s.
//!
//! [`dispatch`] decodes a frame, calls the handler, encodes the answer. A handler never fails: what
//! goes wrong is a code in its response. Only malformed or unsupported requests, and an acks=0
//! produce that was refused, end the connection ([`Close`]).

pub mod groups;

mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod config_resource;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_quorum;
mod describe_topic_partitions;
mod dispatch;
mod elect_leaders;
mod fetch;
mod incremental_alter_configs;
mod init_producer_id;
mod list_config_resources;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod mutations;
mod offset_for_leader_epoch;
mod produce;
mod spans;
mod telemetry;
mod throttle;
mod transactions;
mod update_features;
mod wait;

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_wire_core::StrBytes;
use uuid::Uuid;

pub use dispatch::{Close, Reply, Session, dispatch};
pub(crate) use fetch::session::SessionCache;
pub use spans::TARGET as SPAN_TARGET;

use crate::authorization::{Asker, Operation, Principal, Resource, allowed_operations};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, PartitionIndex, TopicId};
use crate::partition::Partition;
use crate::quotas::Client;
use crate::topics::{Topic, TopicError};
use throttle::Meter;

/// Who asks, and how: what a handler may know of a request besides its body.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// `client.id` of the request header; empty when the client sent none.
    pub client_id: Arc<str>,
    /// Software name and version of ApiVersions (KIP-511) as `name/version`; empty when not sent.
    pub client_software: Arc<str>,
    /// Who the connection belongs to.
    pub principal: Principal,
    /// The peer.
    pub address: SocketAddr,
    /// Echoed in the response header.
    pub correlation_id: i32,
    /// Version of the request and of its answer.
    pub version: i16,
    /// Time of threads that it took so far, when someone has a quota of it.
    meter: Option<Arc<Meter>>,
}

impl RequestContext {
    /// For the quotas.
    fn client(&self) -> Client<'_> {
        Client {
            user: &self.principal.name,
            client_id: &self.client_id,
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            principal: &self.principal,
            host: self.address.ip(),
        }
    }

    /// Whether the principal may do `operation` on `resource`; the code that says that it may not.
    fn authorize(
        &self,
        broker: &Broker,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), ErrorCode> {
        let authorizer = &broker.config.authorizer;
        if authorizer.allows(self.asker(), operation, resource) {
            Ok(())
        } else {
            Err(resource.denied())
        }
    }

    /// The same for a change, whose answer has a text too.
    fn authorize_change(
        &self,
        broker: &Broker,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), TopicError> {
        self.authorize(broker, operation, resource).or_else(|code| {
            let principal = &self.principal;
            refuse(
                code,
                format!("{principal} may not {operation:?} {resource:?}"),
            )
        })
    }

    /// What the principal may do on `resource`, as KIP-430 bits.
    fn allowed_operations(&self, broker: &Broker, resource: Resource<'_>) -> i32 {
        allowed_operations(broker.config.authorizer.as_ref(), self.asker(), resource)
    }
}

/// Resource type of a topic in the config APIs.
const RESOURCE_TOPIC: i8 = 2;

/// Resource type of a broker in the config APIs.
const RESOURCE_BROKER: i8 = 4;

/// Resource type of a subscription to metrics of clients in the config APIs.
const RESOURCE_CLIENT_METRICS: i8 = 16;

/// Resource type of a group in the config APIs.
const RESOURCE_GROUP: i8 = 32;

/// The topic that a request names by name or, from the versions of KIP-516, by id, if the principal
/// may do `operation` on it. Who may not is not told whether a name exists.
fn find_topic(
    broker: &Broker,
    context: &RequestContext,
    operation: Operation,
    name: &str,
    id: Uuid,
) -> Result<Arc<Topic>, ErrorCode> {
    if id.is_nil() {
        context.authorize(broker, operation, Resource::Topic(name))?;
        return broker
            .topics
            .get(name)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let topic = broker
        .topics
        .get_by_id(TopicId(id))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
    context.authorize(broker, operation, Resource::Topic(topic.name.as_str()))?;
    Ok(topic)
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
