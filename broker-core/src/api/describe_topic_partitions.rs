//! DescribeTopicPartitions, key 75, version 0 (KIP-966): topics by name, page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_wire::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use uuid::Uuid;

use super::{RequestContext, find_topic, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::TopicName;
use crate::protocol::wire_uuid;
use crate::topics::Topic;
use crate::wire;

/// Most partitions in one answer (`max.request.partition.size.limit`).
const PARTITIONS_MAX: usize = 2000;

/// Describes topics in the order of their names, from the cursor on.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let names: BTreeSet<String> = if request.topics.is_empty() {
        let all = broker.topics.list();
        let visible = |name: &str| {
            let resource = Resource::Topic(name);
            context
                .authorize(broker, Operation::Describe, resource)
                .is_ok()
        };
        let names = all.iter().map(|topic| topic.name.as_str());
        let names = names.filter(|name| visible(name));
        names.map(ToOwned::to_owned).collect()
    } else {
        let asked = request.topics.into_iter();
        asked.map(|topic| topic.name.into_string()).collect()
    };
    let (start, first_partition) = match &request.cursor {
        Some(cursor) => (
            cursor.topic_name.as_str(),
            usize::try_from(cursor.partition_index).unwrap_or_default(),
        ),
        None => ("", 0),
    };
    let mut left = usize::try_from(request.response_partition_limit)
        .unwrap_or_default()
        .clamp(1, PARTITIONS_MAX);
    let mut response = wire!(DescribeTopicPartitionsResponse { next_cursor: None });
    for name in names.iter().filter(|name| name.as_str() >= start) {
        let skipped = if name == start { first_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let found = find_topic(broker, context, Operation::Describe, name, Uuid::nil());
        let topic = match found {
            Ok(topic) => topic,
            Err(code) => {
                let code = if TopicName::new(name).is_some() {
                    code
                } else {
                    ErrorCode::INVALID_TOPIC_EXCEPTION
                };
                response
                    .topics
                    .push(wire!(DescribeTopicPartitionsResponseTopic {
                        error_code: code.0,
                        name: Some(text(name)),
                    }));
                continue;
            }
        };
        let (mut described, total) = describe(&topic, broker.config.node_id, skipped, left);
        let resource = Resource::Topic(name);
        described.topic_authorized_operations = context.allowed_operations(broker, resource);
        let next = skipped + described.partitions.len();
        left -= described.partitions.len();
        response.topics.push(described);
        if next < total {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

fn cursor(name: &str, partition: usize) -> Cursor {
    wire!(Cursor {
        topic_name: text(name),
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
    })
}

/// At most `limit` partitions from `skipped` on, and how many the topic has.
fn describe(
    topic: &Topic,
    node_id: i32,
    skipped: usize,
    limit: usize,
) -> (DescribeTopicPartitionsResponseTopic, usize) {
    let all = topic.partitions();
    let partitions = all
        .iter()
        .skip(skipped)
        .take(limit)
        .map(|partition| {
            wire!(DescribeTopicPartitionsResponsePartition {
                partition_index: partition.index().0,
                leader_id: node_id,
                leader_epoch: partition.offsets().leader_epoch.0,
                replica_nodes: vec![node_id],
                isr_nodes: vec![node_id],
                // Nullable in the protocol, but Java's admin client reads them without asking.
                eligible_leader_replicas: Some(Vec::new()),
                last_known_elr: Some(Vec::new()),
            })
        })
        .collect();
    let described = wire!(DescribeTopicPartitionsResponseTopic {
        name: Some(text(topic.name.as_str())),
        topic_id: wire_uuid(topic.id),
        is_internal: topic.internal,
        partitions,
    });
    (described, all.len())
}
