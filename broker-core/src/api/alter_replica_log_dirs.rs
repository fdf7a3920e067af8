//! AlterReplicaLogDirs, key 34, versions 1 and 2 (KIP-113). v2 flexible.
//!
//! There is one data directory: a partition is there already, and no other directory is known.

use std::path::Path;
use std::sync::Arc;

use kafka_wire::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_wire::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use super::{RequestContext, find_partition};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::wire;

/// Says of each partition whether it is where it shall be.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let allowed = context.authorize(broker, Operation::Alter, Resource::Cluster);
    let mut results = Vec::new();
    for asked in request.dirs {
        let known = Path::new(asked.path.as_str()) == broker.config.data_dir;
        for topic in asked.topics {
            let found = broker.topics.get(&topic.name);
            let partitions = topic.partitions.iter().map(|index| {
                let exists = found
                    .as_ref()
                    .is_some_and(|topic| find_partition(topic, *index).is_ok());
                let code = match allowed {
                    Err(denied) => denied,
                    Ok(()) if !known => ErrorCode::LOG_DIR_NOT_FOUND,
                    Ok(()) if !exists => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    Ok(()) => ErrorCode::NONE,
                };
                wire!(AlterReplicaLogDirPartitionResult {
                    partition_index: *index,
                    error_code: code.0,
                })
            });
            results.push(wire!(AlterReplicaLogDirTopicResult {
                partitions: partitions.collect(),
                topic_name: topic.name,
            }));
        }
    }
    wire!(AlterReplicaLogDirsResponse { results })
}
