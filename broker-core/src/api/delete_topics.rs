//! DeleteTopics, key 20, versions 1 to 6.
//!
//! v4 flexible; v5 error message, and a quota may refuse (KIP-599); v6 by name or id (KIP-516).

use std::sync::Arc;

use kafka_wire::delete_topics_request::DeleteTopicState;
use kafka_wire::delete_topics_response::DeletableTopicResult;
use kafka_wire::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::mutations::Mutations;
use super::{RequestContext, blocking, code_and_message, refuse, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::protocol::{topic_id, wire_uuid};
use crate::topics::{Topic, TopicError};
use crate::wire;

/// Deletes topics one after the other; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked = if context.version >= 6 {
        request.topics
    } else {
        request
            .topic_names
            .into_iter()
            .map(|name| wire!(DeleteTopicState { name: Some(name) }))
            .collect()
    };
    let mut mutations = Mutations::new(broker, context, QUOTA_REFUSES_FROM);
    let mut responses = Vec::new();
    for asked in asked {
        let found = find(broker, context, &asked);
        let mut answer = wire!(DeletableTopicResult {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
        });
        if let Ok(topic) = &found {
            answer.name = Some(text(topic.name.as_str()));
            answer.topic_id = wire_uuid(topic.id);
        }
        let outcome = match found {
            Ok(topic) => delete(broker, &topic, &mut mutations).await,
            Err(error) => Err(error),
        };
        (answer.error_code, answer.error_message) = code_and_message(&outcome);
        responses.push(answer);
    }
    wire!(DeleteTopicsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        responses,
    })
}

fn find(
    broker: &Broker,
    context: &RequestContext,
    asked: &DeleteTopicState,
) -> Result<Arc<Topic>, TopicError> {
    if let Some(name) = &asked.name {
        context.authorize_change(broker, Operation::Delete, Resource::Topic(name))?;
    }
    let topic = match &asked.name {
        Some(_) if !asked.topic_id.is_zero() => refuse(
            ErrorCode::INVALID_REQUEST,
            "a topic is named by name or by id, not by both",
        ),
        Some(name) => match broker.topics.get(name) {
            Some(topic) => Ok(topic),
            None => refuse(
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                format!("topic {name} does not exist"),
            ),
        },
        None => match broker.topics.get_by_id(topic_id(asked.topic_id)) {
            Some(topic) => Ok(topic),
            None => refuse(
                ErrorCode::UNKNOWN_TOPIC_ID,
                format!("no topic has the id {}", topic_id(asked.topic_id).0),
            ),
        },
    }?;
    let resource = Resource::Topic(topic.name.as_str());
    context.authorize_change(broker, Operation::Delete, resource)?;
    Ok(topic)
}

async fn delete(
    broker: &Arc<Broker>,
    topic: &Topic,
    mutations: &mut Mutations<'_>,
) -> Result<(), TopicError> {
    if topic.internal {
        return refuse(
            ErrorCode::INVALID_REQUEST,
            format!("topic {} is internal and cannot be deleted", topic.name),
        );
    }
    if mutations.are_limited() {
        mutations.charge(topic.partitions().len())?;
    }
    let topics = Arc::clone(&broker.topics);
    let groups = Arc::clone(&broker.groups);
    let name = topic.name.clone();
    blocking(move || {
        topics.delete(name.as_str())?;
        // A topic of the same name made later must not inherit committed offsets.
        groups.topic_deleted(name.as_str());
        Ok(())
    })
    .await?;
    tracing::info!(topic = %topic.name, "topic deleted");
    Ok(())
}

/// Version whose clients know THROTTLING_QUOTA_EXCEEDED.
const QUOTA_REFUSES_FROM: i16 = 5;
