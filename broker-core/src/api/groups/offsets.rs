//! OffsetCommit (8, v2-10), OffsetFetch (9, v1-10), OffsetDelete (47, v0).

use kafka_wire::{
    offset_commit_response, offset_delete_response, offset_fetch_request, offset_fetch_response,
};
use kafka_wire_core::StrBytes;

use super::{is_storable_group_id, may};
use crate::api::RequestContext;
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::groups::driver::{Committer, OffsetReader, TopicOffsets};
use crate::groups::offsets::{CommittedOffset, TopicPartition};
use crate::ids::{PartitionIndex, TopicId};
use crate::protocol::topic_id;

/// First version of OffsetCommit and OffsetFetch that names topics by id.
const TOPIC_ID_VERSION: i16 = 10;

/// First version of OffsetCommit and OffsetFetch that knows member epochs.
const MEMBER_EPOCH_VERSION: i16 = 9;
/// Takes what was committed out of the answers about topics that the principal may not see; when
/// all topics were asked for, it is not told of them.
macro_rules! hide {
    ($broker:expr, $context:expr, $rows:expr, $is_all:expr) => {
        let hidden = |name: &str, id: kafka_wire_core::Uuid| {
            let found = $broker.topics.get_by_id(topic_id(id));
            let name = found.as_ref().map_or(name, |topic| topic.name.as_str());
            let resource = Resource::Topic(name);
            $context
                .authorize($broker, Operation::Describe, resource)
                .is_err()
        };
        if $is_all {
            $rows.retain(|row| !hidden(&row.name, row.id()));
        }
        for row in &mut $rows {
            if hidden(&row.name, row.id()) {
                for answer in &mut row.partitions {
                    answer.committed_offset = -1;
                    answer.committed_leader_epoch = -1;
                    answer.metadata = Some(StrBytes::default());
                    answer.error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
                }
            }
        }
    };
}

/// How an answer names its topic besides the name.
trait Row {
    fn id(&self) -> kafka_wire_core::Uuid;
}

impl Row for offset_fetch_response::OffsetFetchResponseTopic {
    fn id(&self) -> kafka_wire_core::Uuid {
        kafka_wire_core::Uuid::ZERO
    }
}

impl Row for offset_fetch_response::OffsetFetchResponseTopics {
    fn id(&self) -> kafka_wire_core::Uuid {
        self.topic_id
    }
}

/// Whether the principal may read the topic.
fn may_read(broker: &Broker, context: &RequestContext, topic: &str) -> bool {
    context
        .authorize(broker, Operation::Read, Resource::Topic(topic))
        .is_ok()
}

/// OffsetCommit. Partitions that do not exist and notes that are too long are refused one by one;
/// the rest is committed.
pub(crate) async fn offset_commit(
    broker: &Broker,
    context: &RequestContext,
    version: i16,
    request: kafka_wire::OffsetCommitRequest,
) -> kafka_wire::OffsetCommitResponse {
    let now_ms = broker.config.clock.now_ms();
    let valid_group = is_storable_group_id(&request.group_id);
    let allowed = may(broker, context, Operation::Read, &request.group_id);
    let expire_timestamp_ms =
        (request.retention_time_ms >= 0).then(|| now_ms.saturating_add(request.retention_time_ms));
    let mut response = kafka_wire::OffsetCommitResponse::default();
    let mut commits: Vec<(TopicPartition, CommittedOffset)> = Vec::new();
    for topic in &request.topics {
        let name = topic_name(broker, version, &topic.name, topic.topic_id);
        let mut row = offset_commit_response::OffsetCommitResponseTopic::default();
        row.name = topic.name.clone();
        row.topic_id = topic.topic_id;
        for partition in &topic.partitions {
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            let index = partition.partition_index;
            let error = match &name {
                _ if !valid_group => ErrorCode::INVALID_GROUP_ID,
                _ if allowed.is_err() => ErrorCode::GROUP_AUTHORIZATION_FAILED,
                None => ErrorCode::UNKNOWN_TOPIC_ID,
                Some(name) if !may_read(broker, context, name) => {
                    ErrorCode::TOPIC_AUTHORIZATION_FAILED
                }
                Some(name) if !partition_exists(broker, name, index) => {
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                }
                Some(_) if metadata.len() > broker.config.groups.offset_metadata_bytes_max => {
                    ErrorCode::OFFSET_METADATA_TOO_LARGE
                }
                Some(name) => {
                    let offset = CommittedOffset {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: metadata.to_owned(),
                        commit_timestamp_ms: now_ms,
                        expire_timestamp_ms,
                    };
                    commits.push(((name.clone(), index), offset));
                    ErrorCode::NONE
                }
            };
            let mut answer = offset_commit_response::OffsetCommitResponsePartition::default();
            answer.partition_index = index;
            answer.error_code = error.0;
            row.partitions.push(answer);
        }
        response.topics.push(row);
    }
    // Every partition was refused: nothing to ask the group about.
    if commits.is_empty() {
        return response;
    }
    let committer = Committer {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let result = broker
        .groups
        .commit(&request.group_id, committer, commits)
        .await;
    if let Err(error) = result {
        // Older versions do not know that generations may be member epochs.
        let error = match error {
            ErrorCode::STALE_MEMBER_EPOCH if version < MEMBER_EPOCH_VERSION => {
                ErrorCode::UNSUPPORTED_VERSION
            }
            error => error,
        };
        let rows = response
            .topics
            .iter_mut()
            .flat_map(|row| &mut row.partitions);
        for answer in rows.filter(|answer| answer.error_code == ErrorCode::NONE.0) {
            answer.error_code = error.0;
        }
    }
    response
}

/// OffsetFetch: offset -1 where nothing is committed; UNSTABLE_OFFSET_COMMIT where an open
/// transaction has a commit, if the client asks for stable offsets (v7+).
pub(crate) async fn offset_fetch(
    broker: &Broker,
    context: &RequestContext,
    version: i16,
    request: kafka_wire::OffsetFetchRequest,
) -> kafka_wire::OffsetFetchResponse {
    let mut response = kafka_wire::OffsetFetchResponse::default();
    if version >= 8 {
        for group in request.groups {
            if let Err(denied) = may(broker, context, Operation::Describe, &group.group_id) {
                let mut refused = offset_fetch_response::OffsetFetchResponseGroup::default();
                refused.group_id = group.group_id;
                refused.error_code = denied.0;
                response.groups.push(refused);
                continue;
            }
            let is_all = group.topics.is_none();
            let mut fetched = fetch_group(broker, version, group, request.require_stable).await;
            hide!(broker, context, fetched.topics, is_all);
            response.groups.push(fetched);
        }
        return response;
    }
    let is_all = request.topics.is_none();
    let allowed = may(broker, context, Operation::Describe, &request.group_id);
    if let Err(denied) = allowed
        && version >= 2
    {
        response.error_code = denied.0;
        return response;
    }
    let wanted: Option<Vec<(String, Vec<i32>)>> = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| (topic.name.to_string(), topic.partition_indexes))
            .collect()
    });
    let stable = request.require_stable;
    let reader = OffsetReader::ANYBODY;
    let result = fetch(broker, &request.group_id, reader, wanted.as_deref(), stable).await;
    // Errors have a field of their own from v2; before they are said for each partition.
    let (error, found) = match result {
        Ok(found) => (ErrorCode::NONE, found),
        Err(error) if version >= 2 => (error, Vec::new()),
        Err(error) => (error, nothing(wanted.unwrap_or_default())),
    };
    if version >= 2 {
        response.error_code = error.0;
    }
    response.topics = found
        .into_iter()
        .map(|(name, partitions)| {
            let mut row = offset_fetch_response::OffsetFetchResponseTopic::default();
            row.name = name.into();
            row.partitions = partitions
                .into_iter()
                .map(|(index, offset)| {
                    let mut answer = offset_fetch_response::OffsetFetchResponsePartition::default();
                    answer.partition_index = index;
                    let (found, unstable) = answer_of(offset);
                    answer.error_code = if error.is_error() {
                        error.0
                    } else {
                        unstable.0
                    };
                    (
                        answer.committed_offset,
                        answer.committed_leader_epoch,
                        answer.metadata,
                    ) = found;
                    answer
                })
                .collect();
            row
        })
        .collect();
    hide!(broker, context, response.topics, is_all);
    if let Err(denied) = allowed {
        // Version 1 says so for each partition.
        let rows = response.topics.iter_mut();
        for answer in rows.flat_map(|row| &mut row.partitions) {
            answer.committed_offset = -1;
            answer.error_code = denied.0;
        }
    }
    response
}

/// OffsetDelete (KIP-496).
pub(crate) async fn offset_delete(
    broker: &Broker,
    context: &RequestContext,
    _version: i16,
    request: kafka_wire::OffsetDeleteRequest,
) -> kafka_wire::OffsetDeleteResponse {
    let mut response = kafka_wire::OffsetDeleteResponse::default();
    if let Err(denied) = may(broker, context, Operation::Delete, &request.group_id) {
        response.error_code = denied.0;
        return response;
    }
    let existing: Vec<TopicPartition> = request
        .topics
        .iter()
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.name.to_string(), partition.partition_index))
        })
        .filter(|(name, index)| partition_exists(broker, name, *index))
        .filter(|(name, _)| may_read(broker, context, name))
        .collect();
    let result = broker
        .groups
        .delete_offsets(&request.group_id, &existing)
        .await;
    let errors = match result {
        Ok(errors) => errors,
        Err(error) => {
            response.error_code = error.0;
            return response;
        }
    };
    let errors: std::collections::HashMap<&TopicPartition, ErrorCode> =
        existing.iter().zip(errors).collect();
    for topic in &request.topics {
        let mut row = offset_delete_response::OffsetDeleteResponseTopic::default();
        row.name = topic.name.clone();
        let unknown = if may_read(broker, context, &topic.name) {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
        };
        for partition in &topic.partitions {
            let key = (topic.name.to_string(), partition.partition_index);
            let mut answer = offset_delete_response::OffsetDeleteResponsePartition::default();
            answer.partition_index = partition.partition_index;
            answer.error_code = errors.get(&key).map_or(unknown, |error| *error).0;
            row.partitions.push(answer);
        }
        response.topics.push(row);
    }
    response
}

async fn fetch_group(
    broker: &Broker,
    version: i16,
    group: offset_fetch_request::OffsetFetchRequestGroup,
    require_stable: bool,
) -> offset_fetch_response::OffsetFetchResponseGroup {
    let mut response = offset_fetch_response::OffsetFetchResponseGroup::default();
    let mut wanted: Option<Vec<(String, Vec<i32>)>> = group.topics.as_ref().map(|_| Vec::new());
    for topic in group.topics.into_iter().flatten() {
        if let Some(name) = topic_name(broker, version, &topic.name, topic.topic_id) {
            wanted
                .get_or_insert_default()
                .push((name, topic.partition_indexes));
            continue;
        }
        let mut row = offset_fetch_response::OffsetFetchResponseTopics::default();
        row.topic_id = topic.topic_id;
        for index in topic.partition_indexes {
            let mut answer = offset_fetch_response::OffsetFetchResponsePartitions::default();
            answer.partition_index = index;
            answer.committed_offset = -1;
            answer.error_code = ErrorCode::UNKNOWN_TOPIC_ID.0;
            row.partitions.push(answer);
        }
        response.topics.push(row);
    }
    let reader = OffsetReader {
        member_id: group.member_id.as_deref(),
        member_epoch: group.member_epoch,
    };
    let wanted = wanted.as_deref();
    match fetch(broker, &group.group_id, reader, wanted, require_stable).await {
        Ok(found) => response.topics.extend(
            found
                .into_iter()
                .filter_map(|topic| fetched_topic(broker, version, topic)),
        ),
        Err(error) => {
            response.topics.clear();
            response.error_code = error.0;
        }
    }
    response.group_id = group.group_id;
    response
}

/// `None` for a topic that has no id to be named by any more.
fn fetched_topic(
    broker: &Broker,
    version: i16,
    (name, partitions): TopicOffsets,
) -> Option<offset_fetch_response::OffsetFetchResponseTopics> {
    let mut row = offset_fetch_response::OffsetFetchResponseTopics::default();
    if version >= TOPIC_ID_VERSION {
        let id = broker.topics.get(&name)?.id;
        row.topic_id = kafka_wire_core::Uuid::from_bytes(*id.0.as_bytes());
    }
    row.name = name.into();
    row.partitions = partitions
        .into_iter()
        .map(|(index, offset)| {
            let mut answer = offset_fetch_response::OffsetFetchResponsePartitions::default();
            answer.partition_index = index;
            let (found, unstable) = answer_of(offset);
            answer.error_code = unstable.0;
            (
                answer.committed_offset,
                answer.committed_leader_epoch,
                answer.metadata,
            ) = found;
            answer
        })
        .collect();
    Some(row)
}

async fn fetch(
    broker: &Broker,
    group_id: &str,
    reader: OffsetReader<'_>,
    wanted: Option<&[(String, Vec<i32>)]>,
    require_stable: bool,
) -> Result<Vec<TopicOffsets>, ErrorCode> {
    if !is_storable_group_id(group_id) {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    broker
        .groups
        .fetch_offsets(group_id, reader, wanted, require_stable)
        .await
}

fn nothing(wanted: Vec<(String, Vec<i32>)>) -> Vec<TopicOffsets> {
    wanted
        .into_iter()
        .map(|(topic, partitions)| {
            let partitions = partitions.into_iter();
            (topic, partitions.map(|index| (index, Ok(None))).collect())
        })
        .collect()
}

/// Offset, leader epoch and note of a partition's answer, and its error.
type Answer = ((i64, i32, Option<StrBytes>), ErrorCode);

fn answer_of(offset: Result<Option<CommittedOffset>, ErrorCode>) -> Answer {
    let nothing = (-1, -1, Some(StrBytes::default()));
    match offset {
        Ok(Some(offset)) => (
            (
                offset.offset,
                offset.leader_epoch,
                Some(offset.metadata.into()),
            ),
            ErrorCode::NONE,
        ),
        Ok(None) => (nothing, ErrorCode::NONE),
        Err(error) => (nothing, error),
    }
}

/// The topic's name; `None` for an id that names no topic.
fn topic_name(
    broker: &Broker,
    version: i16,
    name: &StrBytes,
    id: kafka_wire_core::Uuid,
) -> Option<String> {
    if version < TOPIC_ID_VERSION {
        return Some(name.to_string());
    }
    let id = TopicId(uuid::Uuid::from_bytes(*id.as_bytes()));
    let topic = broker.topics.get_by_id(id)?;
    Some(topic.name.to_string())
}

fn partition_exists(broker: &Broker, topic: &str, index: i32) -> bool {
    broker
        .topics
        .get(topic)
        .is_some_and(|topic| topic.partition(PartitionIndex(index)).is_some())
}
