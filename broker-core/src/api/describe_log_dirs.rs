//! DescribeLogDirs, key 35, versions 1 to 4 (KIP-113).
//!
//! v2 flexible; v3 error of the whole answer; v4 size of the volume (KIP-827). There is one data
//! directory, and nothing moves between directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use super::{RequestContext, blocking, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::storage::disk::volume;
use crate::wire;

/// First version that can say that the whole request is refused.
const ERROR_FROM: i16 = 3;

/// Sizes of the partitions asked for; what does not exist is left out, as Kafka does.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let allowed = context.authorize(broker, Operation::Describe, Resource::Cluster);
    if let Err(denied) = allowed {
        let mut response = DescribeLogDirsResponse::default();
        if context.version >= ERROR_FROM {
            response.error_code = denied.0;
        }
        return response;
    }
    let asked: Option<BTreeMap<String, BTreeSet<i32>>> = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| {
                (
                    topic.topic.into_string(),
                    topic.partitions.into_iter().collect(),
                )
            })
            .collect()
    });
    let path = broker.config.data_dir.clone();
    // A volume that does not answer blocks whoever asks for its size.
    let volume = blocking(move || Ok(volume(&path)))
        .await
        .unwrap_or_default();
    wire!(DescribeLogDirsResponse {
        results: vec![wire!(DescribeLogDirsResult {
            error_code: ErrorCode::NONE.0,
            log_dir: text(&broker.config.data_dir.display().to_string()),
            topics: describe(broker, asked.as_ref()),
            total_bytes: volume.map_or(-1, |volume| volume.total_bytes),
            usable_bytes: volume.map_or(-1, |volume| volume.usable_bytes),
        })],
    })
}

fn describe(
    broker: &Broker,
    asked: Option<&BTreeMap<String, BTreeSet<i32>>>,
) -> Vec<DescribeLogDirsTopic> {
    let mut topics = Vec::new();
    for topic in broker.topics.list() {
        let wanted = match asked {
            None => None,
            Some(asked) => match asked.get(topic.name.as_str()) {
                None => continue,
                wanted => wanted,
            },
        };
        let partitions = topic.partitions();
        let partitions = partitions.iter().filter(|partition| {
            wanted.is_none_or(|indexes| indexes.contains(&partition.index().0))
        });
        let partitions: Vec<_> = partitions
            .map(|partition| {
                wire!(DescribeLogDirsPartition {
                    partition_index: partition.index().0,
                    partition_size: i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX),
                })
            })
            .collect();
        if !partitions.is_empty() {
            topics.push(wire!(DescribeLogDirsTopic {
                name: text(topic.name.as_str()),
                partitions,
            }));
        }
    }
    topics
}
