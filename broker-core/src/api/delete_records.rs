//! DeleteRecords, key 21, versions 0 to 2 (KIP-107): moves the log start. v2 flexible.

use std::sync::Arc;

use kafka_wire::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_wire::{DeleteRecordsRequest, DeleteRecordsResponse};
use uuid::Uuid;

use super::{RequestContext, blocking, find_partition, find_topic};
use crate::authorization::Operation;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::ids::Offset;
use crate::partition::ReadError;
use crate::topics::{Topic, TopicError};
use crate::wire;

/// Deletes what lies before each offset; each partition succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::new();
    for asked in request.topics {
        let topic = find_topic(broker, context, Operation::Delete, &asked.name, Uuid::nil());
        let mut partitions = Vec::new();
        for partition in asked.partitions {
            let outcome = match &topic {
                Ok(topic) => delete(topic, partition.partition_index, partition.offset).await,
                Err(code) => Err(*code),
            };
            let (code, low_watermark) = match outcome {
                Ok(log_start) => (ErrorCode::NONE, log_start.0),
                Err(code) => (code, -1),
            };
            partitions.push(wire!(DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark,
                error_code: code.0,
            }));
        }
        topics.push(wire!(DeleteRecordsTopicResult {
            name: asked.name,
            partitions,
        }));
    }
    wire!(DeleteRecordsResponse { topics })
}

async fn delete(topic: &Topic, index: i32, before: i64) -> Result<Offset, ErrorCode> {
    if topic.internal {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let partition = find_partition(topic, index)?;
    if before < -1 {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    blocking(move || {
        partition
            .delete_records(Offset(before))
            .map_err(|error| TopicError {
                code: match error {
                    ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
                    ReadError::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
                },
                message: error.to_string(),
            })
    })
    .await
    .map_err(|error| error.code)
}
