//! Metadata, key 3, versions 0 to 13.
//!
//! v0 an empty list asks for all topics, from v1 null does and empty asks for none; v4 whether to
//! create missing topics; v7 leader epoch; v8 to 10 authorized operations (KIP-430); v9 flexible;
//! v10 topic ids, v12 look-up by id (KIP-516); v13 error of the whole answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::{MetadataRequest, MetadataResponse};
use kafka_wire_core::StrBytes;

use super::create_topics::{create_limited, may_create};
use super::mutations::Mutations;
use super::{RequestContext, blocking, find_topic, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::TopicName;
use crate::protocol::{topic_id, wire_uuid};
use crate::topics::{NewTopic, Topic};
use crate::wire;

/// Describes the cluster of one and the topics asked for, creating missing ones when both client
/// and broker allow it.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let config = &broker.config;
    let show = Show {
        broker,
        context,
        operations: request.include_topic_authorized_operations,
    };
    let asked = match request.topics {
        None => None,
        Some(topics) if topics.is_empty() && context.version == 0 => None,
        Some(topics) => Some(topics),
    };
    let mut topics = Vec::new();
    match asked {
        None => {
            for topic in broker.topics.list() {
                let resource = Resource::Topic(topic.name.as_str());
                let visible = context.authorize(broker, Operation::Describe, resource);
                if visible.is_ok() {
                    topics.push(show.topic(&topic));
                }
            }
        }
        Some(asked) => {
            let create = config.auto_create_topics && request.allow_auto_topic_creation;
            for asked in asked {
                topics.push(show.answer(asked, create).await);
            }
        }
    }
    let mut response = wire!(MetadataResponse {
        brokers: vec![wire!(MetadataResponseBroker {
            node_id: config.node_id,
            host: text(&config.advertised_host),
            port: config.advertised_port,
        })],
        cluster_id: Some(text(&broker.cluster_id)),
        controller_id: config.node_id,
        topics,
    });
    if request.include_cluster_authorized_operations && (8..=10).contains(&context.version) {
        response.cluster_authorized_operations =
            context.allowed_operations(broker, Resource::Cluster);
    }
    response
}

/// The first error of a topic.
pub(super) fn first_error(response: &MetadataResponse) -> i16 {
    response
        .topics
        .iter()
        .map(|topic| topic.error_code)
        .find(|code| *code != 0)
        .unwrap_or_default()
}

/// What is shown of topics, and to whom.
struct Show<'a> {
    broker: &'a Arc<Broker>,
    context: &'a RequestContext,
    /// With the operations allowed.
    operations: bool,
}

impl Show<'_> {
    async fn answer(&self, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
        let Self {
            broker, context, ..
        } = self;
        // The Java consumer leaves the name empty, not null, when it asks by id.
        let named = asked.name.filter(|_| asked.topic_id.is_zero());
        let Some(name) = named else {
            let id = topic_id(asked.topic_id).0;
            return match find_topic(broker, context, Operation::Describe, "", id) {
                Ok(topic) if !id.is_nil() => self.topic(&topic),
                // Who may not see it is not told that it is there.
                _ => wire!(MetadataResponseTopic {
                    error_code: ErrorCode::UNKNOWN_TOPIC_ID.0,
                    // The name is nullable only from v12, where look-up by id begins.
                    name: (context.version < 12).then(StrBytes::default),
                    topic_id: asked.topic_id,
                }),
            };
        };
        let resource = Resource::Topic(&name);
        let visible = context.authorize(broker, Operation::Describe, resource);
        let code = match (visible, broker.topics.get(&name)) {
            (Err(denied), _) => denied,
            (Ok(()), Some(topic)) => return self.topic(&topic),
            (Ok(()), None) if TopicName::new(&name).is_none() => ErrorCode::INVALID_TOPIC_EXCEPTION,
            (Ok(()), None) if create => match may_create(broker, context, &name) {
                Ok(()) => match auto_create(broker, context, name.as_str().to_owned()).await {
                    Ok(topic) => return self.topic(&topic),
                    Err(code) => code,
                },
                Err(denied) => denied.code,
            },
            (Ok(()), None) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        };
        wire!(MetadataResponseTopic {
            error_code: code.0,
            name: Some(name),
        })
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let node_id = self.broker.config.node_id;
        let partitions = topic
            .partitions()
            .iter()
            .map(|partition| {
                wire!(MetadataResponsePartition {
                    partition_index: partition.index().0,
                    leader_id: node_id,
                    leader_epoch: partition.offsets().leader_epoch.0,
                    replica_nodes: vec![node_id],
                    isr_nodes: vec![node_id],
                })
            })
            .collect();
        let resource = Resource::Topic(topic.name.as_str());
        wire!(MetadataResponseTopic {
            name: Some(text(topic.name.as_str())),
            topic_id: wire_uuid(topic.id),
            is_internal: topic.internal,
            partitions,
            topic_authorized_operations: if self.operations {
                self.context.allowed_operations(self.broker, resource)
            } else {
                i32::MIN
            },
        })
    }
}

/// Creates a topic with the broker's defaults; a topic that someone else created meanwhile will do.
async fn auto_create(
    broker: &Arc<Broker>,
    context: &RequestContext,
    name: String,
) -> Result<Arc<Topic>, ErrorCode> {
    let topics = Arc::clone(&broker.topics);
    let wanted = NewTopic {
        name: name.clone(),
        partitions: -1,
        replication_factor: -1,
        configs: BTreeMap::new(),
        internal: false,
    };
    let mut mutations = Mutations::new(broker, context, 0);
    let created = if mutations.are_limited() {
        create_limited(topics, wanted, &mut mutations).await
    } else {
        blocking(move || topics.create(&wanted, false)).await
    };
    match created {
        Ok(topic) => {
            tracing::info!(topic = name, "created on first use");
            Ok(topic)
        }
        Err(error) if error.code == ErrorCode::TOPIC_ALREADY_EXISTS => broker
            .topics
            .get(&name)
            .ok_or(ErrorCode::LEADER_NOT_AVAILABLE),
        // The client asks again until it is there, as in Kafka; it must not wait for it, as it may
        // produce to other topics meanwhile.
        Err(error) if error.code == ErrorCode::THROTTLING_QUOTA_EXCEEDED => {
            Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        }
        Err(error) => {
            tracing::warn!(
                topic = name,
                code = error.code.name(),
                reason = error.message,
                "a topic could not be created on first use"
            );
            Err(error.code)
        }
    }
}
