//! Group APIs: FindCoordinator (10, v0-6), JoinGroup (11, v0-9), SyncGroup (14, v0-5), Heartbeat
//! (12, v0-4), LeaveGroup (13, v0-5), ListGroups (16, v0-5), DescribeGroups (15, v0-6),
//! DeleteGroups (42, v0-2). In `groups/offsets.rs`: OffsetCommit (8, v2-10),
//! OffsetFetch (9, v1-10), OffsetDelete (47, v0). In `groups/consumer.rs`: ConsumerGroupHeartbeat
//! (68, v0-1), ConsumerGroupDescribe (69, v0-1).
//!
//! | version | what it added |
//! |---|---|
//! | JoinGroup 1 / 4 / 5 / 9 | rebalance timeout / MEMBER_ID_REQUIRED (KIP-394) / static members (KIP-345) / skip_assignment (KIP-814) |
//! | SyncGroup 5 | protocol type and name (KIP-559) |
//! | LeaveGroup 3 | several members at once |
//! | FindCoordinator 1 / 4 | key type / several keys |
//! | OffsetCommit 5 / 9 / 10 | no retention time / member epochs (KIP-848) / topic ids |
//! | OffsetFetch 2 / 8 / 9 / 10 | all topics / several groups / member epochs (KIP-848) / topic ids |
//! | ListGroups 4 / 5 | filter by state (KIP-518) / by type (KIP-848) |
//! | DescribeGroups 6 | GROUP_ID_NOT_FOUND |
//! | ConsumerGroupHeartbeat 1 | the member chooses its id; regular expressions |
//! | ConsumerGroupDescribe 1 | which protocol a member speaks |
//!
//! Translates between messages and [`crate::groups`], where the rules are.

mod consumer;
mod offsets;

use bytes::Bytes;
use kafka_wire::{
    delete_groups_response, describe_groups_response, find_coordinator_response,
    join_group_response, leave_group_response, list_groups_response,
};
use kafka_wire_core::StrBytes;
use uuid::Uuid;

pub(crate) use self::consumer::{consumer_group_describe, consumer_group_heartbeat};
pub(crate) use self::offsets::{offset_commit, offset_delete, offset_fetch};
use super::RequestContext;
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::groups::classic::{JoinReply, JoinRequest, Protocol, SyncReply, SyncRequest};
use crate::groups::record::STRING_BYTES_MAX;

/// FindCoordinator's `key_type` of a group.
const KEY_TYPE_GROUP: i8 = 0;
/// FindCoordinator's `key_type` of a transactional id.
const KEY_TYPE_TRANSACTION: i8 = 1;

/// FindCoordinator: this broker coordinates everything there is.
pub(crate) async fn find_coordinator(
    broker: &Broker,
    context: &RequestContext,
    version: i16,
    request: kafka_wire::FindCoordinatorRequest,
) -> kafka_wire::FindCoordinatorResponse {
    let known = [KEY_TYPE_GROUP, KEY_TYPE_TRANSACTION].contains(&request.key_type);
    let host = StrBytes::from(broker.config.advertised_host.as_str());
    let refusal = (!known).then(|| {
        StrBytes::from(format!(
            "coordinators of key type {} are not supported",
            request.key_type
        ))
    });
    let error = if known {
        ErrorCode::NONE
    } else {
        ErrorCode::INVALID_REQUEST
    };
    let (node_id, host, port) = if known {
        (broker.config.node_id, host, broker.config.advertised_port)
    } else {
        (-1, StrBytes::default(), -1)
    };
    let allowed = |key: &str| {
        let resource = if request.key_type == KEY_TYPE_TRANSACTION {
            Resource::TransactionalId(key)
        } else {
            Resource::Group(key)
        };
        context.authorize(broker, Operation::Describe, resource)
    };
    let mut response = kafka_wire::FindCoordinatorResponse::default();
    if version < 4 {
        if let Err(denied) = allowed(&request.key) {
            response.error_code = denied.0;
            response.node_id = -1;
            response.port = -1;
            return response;
        }
        response.error_code = error.0;
        response.error_message = refusal;
        response.node_id = node_id;
        response.host = host;
        response.port = port;
        return response;
    }
    response.error_message = None;
    response.coordinators = request
        .coordinator_keys
        .into_iter()
        .map(|key| {
            let mut coordinator = find_coordinator_response::Coordinator::default();
            if let Err(denied) = allowed(&key) {
                coordinator.key = key;
                coordinator.error_code = denied.0;
                coordinator.node_id = -1;
                coordinator.port = -1;
                return coordinator;
            }
            coordinator.key = key;
            coordinator.node_id = node_id;
            coordinator.host = host.clone();
            coordinator.port = port;
            coordinator.error_code = error.0;
            coordinator.error_message.clone_from(&refusal);
            coordinator
        })
        .collect();
    response
}

/// JoinGroup.
pub(crate) async fn join_group(
    broker: &Broker,
    context: &RequestContext,
    version: i16,
    request: kafka_wire::JoinGroupRequest,
) -> kafka_wire::JoinGroupResponse {
    if let Err(denied) = may(broker, context, Operation::Read, &request.group_id) {
        return join_response(version, JoinReply::error(denied, &request.member_id));
    }
    if !is_group_id(&request.group_id) {
        let reply = JoinReply::error(ErrorCode::INVALID_GROUP_ID, &request.member_id);
        return join_response(version, reply);
    }
    let instance_id = request.group_instance_id.as_ref().map(StrBytes::to_string);
    let name = instance_id.as_deref().unwrap_or(&context.client_id);
    // v0 has no rebalance timeout of its own.
    let rebalance_timeout_ms = if version == 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let join = JoinRequest {
        member_id: request.member_id.to_string(),
        fresh_member_id: format!("{name}-{}", Uuid::new_v4()),
        client_id: context.client_id.to_string(),
        client_host: format!("/{}", context.address.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: protocol.name.to_string(),
                metadata: own(&protocol.metadata),
            })
            .collect(),
        needs_known_member_id: version >= 4 && instance_id.is_none(),
        knows_skip_assignment: version >= 9,
        instance_id,
    };
    let reply = broker.groups.join(&request.group_id, join).await;
    join_response(version, reply)
}

/// SyncGroup.
pub(crate) async fn sync_group(
    broker: &Broker,
    context: &RequestContext,
    _version: i16,
    request: kafka_wire::SyncGroupRequest,
) -> kafka_wire::SyncGroupResponse {
    let allowed = may(broker, context, Operation::Read, &request.group_id);
    let reply = if let Err(denied) = allowed {
        SyncReply::error(denied)
    } else if is_group_id(&request.group_id) {
        let sync = SyncRequest {
            member_id: request.member_id.to_string(),
            instance_id: request.group_instance_id.as_ref().map(StrBytes::to_string),
            generation: request.generation_id,
            protocol_type: request.protocol_type.as_ref().map(StrBytes::to_string),
            protocol_name: request.protocol_name.as_ref().map(StrBytes::to_string),
            assignments: request
                .assignments
                .iter()
                .map(|share| (share.member_id.to_string(), own(&share.assignment)))
                .collect(),
        };
        broker.groups.sync(&request.group_id, sync).await
    } else {
        SyncReply::error(ErrorCode::INVALID_GROUP_ID)
    };
    let mut response = kafka_wire::SyncGroupResponse::default();
    response.error_code = reply.error.0;
    response.protocol_type = reply.protocol_type.map(StrBytes::from);
    response.protocol_name = reply.protocol_name.map(StrBytes::from);
    response.assignment = reply.assignment;
    response
}

/// Heartbeat.
pub(crate) async fn heartbeat(
    broker: &Broker,
    context: &RequestContext,
    _version: i16,
    request: kafka_wire::HeartbeatRequest,
) -> kafka_wire::HeartbeatResponse {
    let allowed = may(broker, context, Operation::Read, &request.group_id);
    let error = if let Err(denied) = allowed {
        denied
    } else if is_group_id(&request.group_id) {
        broker.groups.heartbeat(
            &request.group_id,
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        )
    } else {
        ErrorCode::INVALID_GROUP_ID
    };
    let mut response = kafka_wire::HeartbeatResponse::default();
    response.error_code = error.0;
    response
}

/// LeaveGroup.
pub(crate) async fn leave_group(
    broker: &Broker,
    context: &RequestContext,
    version: i16,
    request: kafka_wire::LeaveGroupRequest,
) -> kafka_wire::LeaveGroupResponse {
    let mut response = kafka_wire::LeaveGroupResponse::default();
    if let Err(denied) = may(broker, context, Operation::Read, &request.group_id) {
        response.error_code = denied.0;
        return response;
    }
    if !is_group_id(&request.group_id) {
        response.error_code = ErrorCode::INVALID_GROUP_ID.0;
        return response;
    }
    if version < 3 {
        let members = [(request.member_id.as_str(), None)];
        let errors = broker.groups.leave(&request.group_id, &members).await;
        response.error_code = errors.first().map_or(0, |error| error.0);
        return response;
    }
    let members: Vec<(&str, Option<&str>)> = request
        .members
        .iter()
        .map(|member| {
            (
                member.member_id.as_str(),
                member.group_instance_id.as_deref(),
            )
        })
        .collect();
    let errors = broker.groups.leave(&request.group_id, &members).await;
    response.members = request
        .members
        .iter()
        .zip(errors)
        .map(|(member, error)| {
            let mut left = leave_group_response::MemberResponse::default();
            left.member_id = member.member_id.clone();
            left.group_instance_id.clone_from(&member.group_instance_id);
            left.error_code = error.0;
            left
        })
        .collect();
    response
}

/// ListGroups. Filters ignore case; an empty filter lets everything through.
pub(crate) async fn list_groups(
    broker: &Broker,
    context: &RequestContext,
    _version: i16,
    request: kafka_wire::ListGroupsRequest,
) -> kafka_wire::ListGroupsResponse {
    let passes = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    let mut response = kafka_wire::ListGroupsResponse::default();
    response.groups = broker
        .groups
        .list()
        .into_iter()
        .filter(|group| passes(&request.states_filter, group.state))
        .filter(|group| passes(&request.types_filter, group.group_type.name()))
        .map(|group| {
            let mut listed = list_groups_response::ListedGroup::default();
            listed.group_id = group.id.into();
            listed.protocol_type = group.protocol_type.into();
            listed.group_state = group.state.into();
            listed.group_type = group.group_type.name().into();
            listed
        })
        .collect();
    // Who may see the cluster sees all of them.
    let all = context.authorize(broker, Operation::Describe, Resource::Cluster);
    response.groups.retain(|group| {
        let one = || may(broker, context, Operation::Describe, &group.group_id);
        all.or_else(|_| one()).is_ok()
    });
    response
}

/// DescribeGroups. A group that does not exist, or speaks the consumer protocol, is `Dead`, from v6 with GROUP_ID_NOT_FOUND (KIP-1043).
pub(crate) async fn describe_groups(
    broker: &Broker,
    context: &RequestContext,
    version: i16,
    request: kafka_wire::DescribeGroupsRequest,
) -> kafka_wire::DescribeGroupsResponse {
    let mut response = kafka_wire::DescribeGroupsResponse::default();
    response.groups = request
        .groups
        .into_iter()
        .map(|group_id| {
            if let Err(denied) = may(broker, context, Operation::Describe, &group_id) {
                let mut refused = describe_groups_response::DescribedGroup::default();
                refused.error_code = denied.0;
                refused.group_id = group_id;
                return refused;
            }
            let mut described = describe_group(broker, version, group_id);
            if request.include_authorized_operations {
                let resource = Resource::Group(&described.group_id);
                described.authorized_operations = context.allowed_operations(broker, resource);
            }
            described
        })
        .collect();
    response
}

/// DeleteGroups.
pub(crate) async fn delete_groups(
    broker: &Broker,
    context: &RequestContext,
    _version: i16,
    request: kafka_wire::DeleteGroupsRequest,
) -> kafka_wire::DeleteGroupsResponse {
    let mut response = kafka_wire::DeleteGroupsResponse::default();
    for group_id in request.groups_names {
        let mut result = delete_groups_response::DeletableGroupResult::default();
        result.error_code = match may(broker, context, Operation::Delete, &group_id) {
            Ok(()) => broker.groups.delete(&group_id).await.0,
            Err(denied) => denied.0,
        };
        result.group_id = group_id;
        response.results.push(result);
    }
    response
}

fn describe_group(
    broker: &Broker,
    version: i16,
    group_id: StrBytes,
) -> describe_groups_response::DescribedGroup {
    let mut described = describe_groups_response::DescribedGroup::default();
    match broker.groups.describe(&group_id) {
        Some(group) => {
            described.group_state = group.state.name().into();
            described.protocol_type = group.protocol_type.into();
            described.protocol_data = group.protocol_name.into();
            described.members = group
                .members
                .into_iter()
                .map(|member| {
                    let mut row = describe_groups_response::DescribedGroupMember::default();
                    row.member_id = member.id.into();
                    row.group_instance_id = member.instance_id.map(StrBytes::from);
                    row.client_id = member.client_id.into();
                    row.client_host = member.client_host.into();
                    row.member_metadata = member.metadata;
                    row.member_assignment = member.assignment;
                    row
                })
                .collect();
        }
        None => {
            described.group_state = "Dead".into();
            if version >= 6 {
                described.error_code = ErrorCode::GROUP_ID_NOT_FOUND.0;
                described.error_message =
                    Some(format!("classic group {group_id} is not found").into());
            }
        }
    }
    described.group_id = group_id;
    described
}

fn join_response(version: i16, reply: JoinReply) -> kafka_wire::JoinGroupResponse {
    let mut response = kafka_wire::JoinGroupResponse::default();
    response.error_code = reply.error.0;
    response.generation_id = reply.generation;
    response.protocol_type = reply.protocol_type.map(StrBytes::from);
    response.protocol_name = reply.protocol_name.map(StrBytes::from);
    // Not nullable before v7.
    if version < 7 {
        response.protocol_name = Some(response.protocol_name.unwrap_or_default());
    }
    response.leader = reply.leader.into();
    response.skip_assignment = reply.skip_assignment && version >= 9;
    response.member_id = reply.member_id.into();
    response.members = reply
        .members
        .into_iter()
        .map(|member| {
            let mut row = join_group_response::JoinGroupResponseMember::default();
            row.member_id = member.id.into();
            row.group_instance_id = member.instance_id.map(StrBytes::from);
            row.metadata = member.metadata;
            row
        })
        .collect();
    response
}

/// Whether the principal may do `operation` on the group.
fn may(
    broker: &Broker,
    context: &RequestContext,
    operation: Operation,
    group_id: &str,
) -> Result<(), ErrorCode> {
    context.authorize(broker, operation, Resource::Group(group_id))
}

/// Whether a group with members may have this id. Commits and fetches accept the empty id too.
pub(super) fn is_group_id(id: &str) -> bool {
    !id.is_empty() && is_storable_group_id(id)
}

fn is_storable_group_id(id: &str) -> bool {
    id.len() <= STRING_BYTES_MAX
}

/// Copies what is kept for long, so that it does not keep the whole request in memory.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
mod consumer_tests;
#[cfg(test)]
mod tests;
