//! ConsumerGroupHeartbeat and ConsumerGroupDescribe in their versions: what is checked and answered.

use std::sync::Arc;

use kafka_wire::{consumer_group_heartbeat_request, offset_commit_request, offset_fetch_request};

use super::tests::{Fixture, context, encodes};
use super::*;
use crate::wire;

fn joining(group: &str, member: &str) -> kafka_wire::ConsumerGroupHeartbeatRequest {
    wire!(kafka_wire::ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: 0,
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
    })
}

#[tokio::test]
async fn a_member_lives_in_every_version() {
    let fixture = Fixture::new();
    let broker = Arc::clone(&fixture.broker);
    let topic_id = fixture.topic_id();
    for version in 0..=1 {
        let context = context(version);
        let group = format!("g{version}");
        let id = if version == 0 { "" } else { "m" };
        let joined = consumer_group_heartbeat(&broker, &context, joining(&group, id)).await;
        encodes(&joined, version);
        assert_eq!((joined.error_code, joined.member_epoch), (0, 1));
        assert_eq!(joined.heartbeat_interval_ms, 5_000);
        let member_id = joined.member_id.clone().unwrap();
        assert_eq!(
            member_id.as_str() == "m",
            version >= 1,
            "chosen by the member"
        );
        let assigned = &joined.assignment.unwrap().topic_partitions[0];
        assert_eq!(
            (assigned.topic_id, &assigned.partitions[..]),
            (topic_id, &[0, 1][..])
        );

        let beat = wire!(kafka_wire::ConsumerGroupHeartbeatRequest {
            group_id: group.as_str().into(),
            member_id: member_id.clone(),
            member_epoch: 1,
            rebalance_timeout_ms: -1,
            topic_partitions: Some(vec![wire!(
                consumer_group_heartbeat_request::TopicPartitions {
                    topic_id,
                    partitions: vec![0, 1],
                }
            )]),
        });
        let beaten = consumer_group_heartbeat(&broker, &context, beat.clone()).await;
        encodes(&beaten, version);
        assert_eq!((beaten.error_code, beaten.assignment), (0, None));

        let describe = wire!(kafka_wire::ConsumerGroupDescribeRequest {
            group_ids: vec![group.as_str().into(), "absent".into()],
        });
        let described = consumer_group_describe(&broker, &context, describe).await;
        encodes(&described, version);
        let found = &described.groups[0];
        assert_eq!(
            (found.group_state.as_str(), found.assignor_name.as_str()),
            ("Stable", "uniform")
        );
        assert_eq!((found.group_epoch, found.assignment_epoch), (1, 1));
        let member = &found.members[0];
        assert_eq!(member.client_host.as_str(), "/127.0.0.1");
        assert_eq!(member.assignment, member.target_assignment);
        assert_eq!(
            member.assignment.topic_partitions[0].topic_name.as_str(),
            "t"
        );
        assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
        let absent = described.groups[1].error_code;
        assert_eq!(absent, ErrorCode::GROUP_ID_NOT_FOUND.0);
        // The older API does not know it.
        let classic = describe_group(&broker, 6, group.as_str().into());
        assert_eq!(classic.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);

        let mut leave = beat;
        leave.member_epoch = -1;
        let left = consumer_group_heartbeat(&broker, &context, leave.clone()).await;
        encodes(&left, version);
        assert_eq!((left.error_code, left.member_epoch), (0, -1));
        let again = consumer_group_heartbeat(&broker, &context, leave).await;
        encodes(&again, version);
        assert_eq!(again.error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
        assert!(again.error_message.unwrap().contains("not a member"));
    }
}

#[tokio::test]
async fn requests_that_say_too_little_are_refused() {
    type Change = fn(&mut kafka_wire::ConsumerGroupHeartbeatRequest);
    let fixture = Fixture::new();
    let broker = Arc::clone(&fixture.broker);
    let cases: &[(Change, ErrorCode, &str)] = &[
        (
            |r| r.group_id = "".into(),
            ErrorCode::INVALID_REQUEST,
            "group id",
        ),
        (
            |r| r.member_id = "".into(),
            ErrorCode::INVALID_REQUEST,
            "member id",
        ),
        (
            |r| r.instance_id = Some("".into()),
            ErrorCode::INVALID_REQUEST,
            "instance id",
        ),
        (
            |r| r.member_epoch = -2,
            ErrorCode::INVALID_REQUEST,
            "static",
        ),
        (
            |r| r.member_epoch = -3,
            ErrorCode::INVALID_REQUEST,
            "below -2",
        ),
        (
            |r| r.rebalance_timeout_ms = -1,
            ErrorCode::INVALID_REQUEST,
            "rebalance timeout",
        ),
        (
            |r| r.topic_partitions = None,
            ErrorCode::INVALID_REQUEST,
            "no partitions",
        ),
        (
            |r| r.subscribed_topic_names = None,
            ErrorCode::INVALID_REQUEST,
            "subscribe",
        ),
        (
            |r| r.server_assignor = Some("".into()),
            ErrorCode::INVALID_REQUEST,
            "assignor",
        ),
        (
            |r| r.server_assignor = Some("x".into()),
            ErrorCode::UNSUPPORTED_ASSIGNOR,
            "uniform, range",
        ),
        (
            |r| r.subscribed_topic_regex = Some("(".into()),
            ErrorCode::INVALID_REGULAR_EXPRESSION,
            "unclosed group",
        ),
        (
            |r| r.subscribed_topic_names = Some(vec!["x".repeat(200).as_str().into(); 2_000]),
            ErrorCode::NONE,
            "",
        ),
        (
            |r| r.member_epoch = 4,
            ErrorCode::FENCED_MEMBER_EPOCH,
            "join again",
        ),
    ];
    for (change, code, text) in cases {
        let mut request = joining("g", "m");
        change(&mut request);
        let answer = consumer_group_heartbeat(&broker, &context(1), request).await;
        encodes(&answer, 1);
        let message = answer.error_message.as_deref().unwrap_or_default();
        assert_eq!(ErrorCode(answer.error_code), *code, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn commits_and_reads_know_epochs() {
    let fixture = Fixture::new();
    let broker = Arc::clone(&fixture.broker);
    consumer_group_heartbeat(&broker, &context(1), joining("g", "m")).await;
    let stale = ErrorCode::STALE_MEMBER_EPOCH;
    for (version, epoch, expected) in [
        (9, 1, ErrorCode::NONE),
        (9, 2, stale),
        (8, 2, ErrorCode::UNSUPPORTED_VERSION),
        (9, -1, stale),
    ] {
        let commit = wire!(kafka_wire::OffsetCommitRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            generation_id_or_member_epoch: epoch,
            topics: vec![wire!(offset_commit_request::OffsetCommitRequestTopic {
                name: "t".into(),
                partitions: vec![wire!(offset_commit_request::OffsetCommitRequestPartition {
                    committed_offset: 7,
                })],
            })],
        });
        let committed = offset_commit(&broker, &context(version), version, commit).await;
        let found = committed.topics[0].partitions[0].error_code;
        assert_eq!(ErrorCode(found), expected, "v{version} epoch {epoch}");
    }
    for (member, epoch, expected) in [
        (Some("m"), 1, ErrorCode::NONE),
        (None, -1, ErrorCode::NONE),
        (Some("m"), 3, stale),
        (Some("x"), 1, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        let fetch = wire!(kafka_wire::OffsetFetchRequest {
            groups: vec![wire!(offset_fetch_request::OffsetFetchRequestGroup {
                group_id: "g".into(),
                member_id: member.map(StrBytes::from),
                member_epoch: epoch,
                topics: None,
            })],
        });
        let fetched = offset_fetch(&broker, &context(9), 9, fetch).await;
        encodes(&fetched, 9);
        let group = &fetched.groups[0];
        assert_eq!(ErrorCode(group.error_code), expected, "{member:?} {epoch}");
        let topics_count = usize::from(expected == ErrorCode::NONE);
        assert_eq!(group.topics.len(), topics_count, "{member:?} {epoch}");
    }
}
