//! CreateTopics, key 19, versions 2 to 7.
//!
//! v4 partitions and replication factor -1 mean the defaults (KIP-464); v5 flexible, answers the
//! configs (KIP-525); v6 a quota may refuse (KIP-599); v7 answers the topic id (KIP-516).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_wire::{CreateTopicsRequest, CreateTopicsResponse};

use super::mutations::Mutations;
use super::{RequestContext, blocking, refuse, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::protocol::wire_uuid;
use crate::topics::{NewTopic, Topic, TopicError, Topics};
use crate::wire;

/// Creates topics one after the other; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<_> = request
        .topics
        .iter()
        .filter(|topic| !seen.insert(topic.name.clone()))
        .map(|topic| topic.name.clone())
        .collect();
    let mut mutations = Mutations::new(broker, context, QUOTA_REFUSES_FROM);
    let mut topics = Vec::new();
    let mut answered = BTreeSet::new();
    for asked in request.topics {
        let name = asked.name.clone();
        if !answered.insert(name.clone()) {
            continue;
        }
        let created = if twice.contains(&name) {
            refuse(
                ErrorCode::INVALID_REQUEST,
                format!("topic {name} is named more than once in the request"),
            )
        } else {
            match may_create(broker, context, &name) {
                Ok(()) => create(broker, asked, request.validate_only, &mut mutations).await,
                Err(denied) => Err(denied),
            }
        };
        topics.push(match created {
            Ok(topic) => result(broker, &topic, request.validate_only, context.version),
            Err(error) => wire!(CreatableTopicResult {
                name,
                error_code: error.code.0,
                error_message: Some(text(&error.message)),
            }),
        });
    }
    wire!(CreateTopicsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        topics,
    })
}

/// The first error of a topic.
pub(super) fn first_error(response: &CreateTopicsResponse) -> i16 {
    response
        .topics
        .iter()
        .map(|topic| topic.error_code)
        .find(|code| *code != 0)
        .unwrap_or_default()
}

/// Who may create topics of the cluster may create any; others those that they are named for.
pub(super) fn may_create(
    broker: &Broker,
    context: &RequestContext,
    name: &str,
) -> Result<(), TopicError> {
    context
        .authorize(broker, Operation::Create, Resource::Cluster)
        .or_else(|_| context.authorize_change(broker, Operation::Create, Resource::Topic(name)))
}

async fn create(
    broker: &Arc<Broker>,
    asked: CreatableTopic,
    validate_only: bool,
    mutations: &mut Mutations<'_>,
) -> Result<Arc<Topic>, TopicError> {
    let mut partitions = asked.num_partitions;
    if !asked.assignments.is_empty() {
        if asked.num_partitions != -1 || asked.replication_factor != -1 {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                "partition count and replication factor must be -1 beside an assignment",
            );
        }
        let mut indexes: Vec<i32> = Vec::new();
        for assignment in &asked.assignments {
            if assignment.broker_ids != [broker.config.node_id] {
                return refuse(
                    ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "replicas {:?} of partition {}: the only broker is {}",
                        assignment.broker_ids, assignment.partition_index, broker.config.node_id
                    ),
                );
            }
            indexes.push(assignment.partition_index);
        }
        indexes.sort_unstable();
        if !indexes.iter().copied().eq((0..).take(indexes.len())) {
            return refuse(
                ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                "partition indexes of an assignment must be 0, 1, 2 and so on",
            );
        }
        partitions = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    }
    let mut configs = BTreeMap::new();
    for config in asked.configs {
        let Some(value) = config.value else {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("config {} has no value", config.name),
            );
        };
        configs.insert(config.name.into_string(), value.into_string());
    }
    let wanted = NewTopic {
        name: asked.name.into_string(),
        partitions,
        replication_factor: asked.replication_factor,
        configs,
        internal: false,
    };
    let topics = Arc::clone(&broker.topics);
    let topic = if mutations.are_limited() && !validate_only {
        create_limited(topics, wanted, mutations).await?
    } else {
        blocking(move || topics.create(&wanted, validate_only)).await?
    };
    if !validate_only {
        tracing::info!(topic = %topic.name, partitions = topic.partitions().len(), "topic created");
    }
    Ok(topic)
}

/// What cannot be created costs nothing: it is looked at first.
pub(super) async fn create_limited(
    topics: Arc<Topics>,
    wanted: NewTopic,
    mutations: &mut Mutations<'_>,
) -> Result<Arc<Topic>, TopicError> {
    let (planner, plan) = (Arc::clone(&topics), wanted.clone());
    let planned = blocking(move || planner.create(&plan, true)).await?;
    mutations.charge(planned.partitions().len())?;
    blocking(move || topics.create(&wanted, false)).await
}

fn result(
    broker: &Broker,
    topic: &Topic,
    validate_only: bool,
    version: i16,
) -> CreatableTopicResult {
    let mut result = wire!(CreatableTopicResult {
        name: text(topic.name.as_str()),
        error_message: None,
        num_partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        replication_factor: 1,
    });
    if !validate_only {
        result.topic_id = wire_uuid(topic.id);
    }
    if version >= 5 {
        let entries = broker
            .topics
            .describe_configs(topic.name.as_str())
            .unwrap_or_default();
        let configs = entries.into_iter().map(|entry| {
            wire!(CreatableTopicConfigs {
                config_source: entry.source as i8,
                name: text(entry.name),
                value: Some(text(&entry.value)),
            })
        });
        result.configs = Some(configs.collect());
    }
    result
}

/// Version whose clients know THROTTLING_QUOTA_EXCEEDED.
const QUOTA_REFUSES_FROM: i16 = 6;
