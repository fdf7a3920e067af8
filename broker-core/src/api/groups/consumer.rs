//! ConsumerGroupHeartbeat (68, v0-1), ConsumerGroupDescribe (69, v0-1): KIP-848.

use std::collections::BTreeSet;

use kafka_wire::{
    consumer_group_describe_response, consumer_group_heartbeat_request,
    consumer_group_heartbeat_response,
};
use kafka_wire_core::StrBytes;
use uuid::Uuid;

use super::{is_group_id, may};
use crate::api::{RequestContext, text};
use crate::authorization::Operation;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::groups::consumer::{
    Assignment, Heartbeat, HeartbeatReply, JOIN_EPOCH, LEAVE_EPOCH, MemberDescription, Refusal,
    STATIC_LEAVE_EPOCH,
};
use crate::protocol::{topic_id, wire_uuid};
use crate::wire;

/// First version in which members choose their ids, and may subscribe by a regular expression.
const MEMBER_CHOOSES_ID_FROM: i16 = 1;
/// ConsumerGroupDescribe's type of a member of the classic protocol.
const MEMBER_TYPE_CLASSIC: i8 = 0;
/// ConsumerGroupDescribe's type of a member of the consumer protocol.
const MEMBER_TYPE_CONSUMER: i8 = 1;

/// ConsumerGroupHeartbeat.
pub(crate) async fn consumer_group_heartbeat(
    broker: &Broker,
    context: &RequestContext,
    request: kafka_wire::ConsumerGroupHeartbeatRequest,
) -> kafka_wire::ConsumerGroupHeartbeatResponse {
    let group_id = request.group_id.clone();
    if let Err(denied) = may(broker, context, Operation::Read, &group_id) {
        return wire!(kafka_wire::ConsumerGroupHeartbeatResponse {
            error_code: denied.0,
        });
    }
    let answered = match read(context, request) {
        Ok(heartbeat) => {
            let member_id = heartbeat.member_id.clone();
            let answered = broker.groups.consumer_heartbeat(&group_id, heartbeat).await;
            answered.map(|reply| (member_id, reply))
        }
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok((member_id, reply)) => response(broker, &group_id, &member_id, reply),
        Err(refusal) => wire!(kafka_wire::ConsumerGroupHeartbeatResponse {
            error_code: refusal.code.0,
            error_message: Some(text(&refusal.message)),
        }),
    }
}

/// ConsumerGroupDescribe. A group of the classic protocol is not found, so that clients ask
/// DescribeGroups.
pub(crate) async fn consumer_group_describe(
    broker: &Broker,
    context: &RequestContext,
    request: kafka_wire::ConsumerGroupDescribeRequest,
) -> kafka_wire::ConsumerGroupDescribeResponse {
    let groups = request.group_ids.into_iter();
    wire!(kafka_wire::ConsumerGroupDescribeResponse {
        groups: groups
            .map(|group_id| {
                match may(broker, context, Operation::Describe, &group_id) {
                    Ok(()) => describe(broker, context.version, group_id),
                    Err(denied) => wire!(consumer_group_describe_response::DescribedGroup {
                        error_code: denied.0,
                        group_id,
                    }),
                }
            })
            .collect(),
    })
}

/// Checks what a request must say at its epoch, and takes it over.
fn read(
    context: &RequestContext,
    request: kafka_wire::ConsumerGroupHeartbeatRequest,
) -> Result<Heartbeat, Refusal> {
    let invalid = |why: &str| Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
    let joins = request.member_epoch == JOIN_EPOCH;
    if !is_group_id(&request.group_id) {
        return invalid("the group id is empty or too long");
    }
    if request.member_id.is_empty() && (!joins || context.version >= MEMBER_CHOOSES_ID_FROM) {
        return invalid("the member id is empty");
    }
    let is_empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    if is_empty(&request.instance_id) || is_empty(&request.rack_id) {
        return invalid("an instance id or rack id that is given must not be empty");
    }
    match request.member_epoch {
        STATIC_LEAVE_EPOCH if request.instance_id.is_none() => {
            return invalid("only a static member can leave for a while, with its instance id");
        }
        epoch if epoch < STATIC_LEAVE_EPOCH => return invalid("the member epoch is below -2"),
        _ => {}
    }
    if joins {
        if request.rebalance_timeout_ms < 0 {
            return invalid("a member that joins must give its rebalance timeout");
        }
        if request
            .topic_partitions
            .as_ref()
            .is_none_or(|owned| !owned.is_empty())
        {
            return invalid("a member that joins must have no partitions, and say so");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid("a member that joins must subscribe to topics or a regular expression");
        }
    }
    let leaves = request.member_epoch <= LEAVE_EPOCH;
    if !leaves && is_empty(&request.server_assignor) {
        return invalid("an assignor that is given must not be empty");
    }
    let owned = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let mut member_id = request.member_id.to_string();
    if member_id.is_empty() {
        member_id = Uuid::new_v4().to_string();
    }
    let topics = request.subscribed_topic_names.map(|names| {
        let names = names.iter();
        names.map(StrBytes::to_string).collect::<BTreeSet<String>>()
    });
    Ok(Heartbeat {
        member_id,
        member_epoch: request.member_epoch,
        instance_id: owned(request.instance_id),
        rack_id: owned(request.rack_id),
        client_id: context.client_id.to_string(),
        client_host: format!("/{}", context.address.ip()),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout| *timeout >= 0),
        topics,
        regex: owned(request.subscribed_topic_regex),
        assignor: owned(request.server_assignor),
        owned: request.topic_partitions.map(owned_partitions),
    })
}

fn owned_partitions(topics: Vec<consumer_group_heartbeat_request::TopicPartitions>) -> Assignment {
    let mut assignment = Assignment::new();
    for topic in topics {
        let indexes = assignment.entry(topic_id(topic.topic_id)).or_default();
        indexes.extend(topic.partitions);
    }
    assignment
}

fn response(
    broker: &Broker,
    group_id: &str,
    member_id: &str,
    reply: HeartbeatReply,
) -> kafka_wire::ConsumerGroupHeartbeatResponse {
    let assignment = reply.assignment.map(|assignment| {
        let topics = assignment.into_iter().map(|(topic, indexes)| {
            wire!(consumer_group_heartbeat_response::TopicPartitions {
                topic_id: wire_uuid(topic),
                partitions: indexes.into_iter().collect(),
            })
        });
        wire!(consumer_group_heartbeat_response::Assignment {
            topic_partitions: topics.collect(),
        })
    });
    wire!(kafka_wire::ConsumerGroupHeartbeatResponse {
        member_id: Some(text(member_id)),
        member_epoch: reply.member_epoch,
        heartbeat_interval_ms: broker.groups.heartbeat_interval_ms(group_id),
        assignment,
    })
}

fn describe(
    broker: &Broker,
    version: i16,
    group_id: StrBytes,
) -> consumer_group_describe_response::DescribedGroup {
    let Some(group) = broker.groups.describe_consumer(&group_id) else {
        return wire!(consumer_group_describe_response::DescribedGroup {
            error_code: ErrorCode::GROUP_ID_NOT_FOUND.0,
            error_message: Some(text(&format!("no consumer group {group_id} is found"))),
            group_id,
        });
    };
    let members = group.members.into_iter();
    wire!(consumer_group_describe_response::DescribedGroup {
        error_message: None,
        group_id,
        group_state: group.state.name().into(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor.into(),
        members: members
            .map(|member| described_member(broker, version, member))
            .collect(),
    })
}

fn described_member(
    broker: &Broker,
    version: i16,
    member: MemberDescription,
) -> consumer_group_describe_response::Member {
    let subscription = member.subscription;
    let member_type = match subscription.classic {
        Some(_) => MEMBER_TYPE_CLASSIC,
        None => MEMBER_TYPE_CONSUMER,
    };
    let mut row = wire!(consumer_group_describe_response::Member {
        member_id: member.id.into(),
        instance_id: subscription.instance_id.map(StrBytes::from),
        rack_id: subscription.rack_id.map(StrBytes::from),
        member_epoch: member.epoch,
        client_id: subscription.client_id.into(),
        client_host: subscription.client_host.into(),
        subscribed_topic_names: subscription
            .topics
            .into_iter()
            .map(StrBytes::from)
            .collect(),
        subscribed_topic_regex: subscription.regex.map(StrBytes::from),
        assignment: described_assignment(broker, member.assigned),
        target_assignment: described_assignment(broker, member.target),
    });
    if version >= 1 {
        row.member_type = member_type;
    }
    row
}

/// Topics that were deleted meanwhile have no name to be shown by.
fn described_assignment(
    broker: &Broker,
    assignment: Assignment,
) -> consumer_group_describe_response::Assignment {
    let topics = assignment.into_iter().filter_map(|(id, indexes)| {
        let topic = broker.topics.get_by_id(id)?;
        Some(wire!(consumer_group_describe_response::TopicPartitions {
            topic_id: wire_uuid(id),
            topic_name: text(topic.name.as_str()),
            partitions: indexes.into_iter().collect(),
        }))
    });
    wire!(consumer_group_describe_response::Assignment {
        topic_partitions: topics.collect(),
    })
}
