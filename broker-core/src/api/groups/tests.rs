//! The group APIs in every version they are offered in: what is answered, and that it can be encoded.

use std::sync::Arc;

use kafka_wire::{
    join_group_request, leave_group_request, offset_commit_request, offset_delete_request,
    offset_fetch_request, sync_group_request,
};
use kafka_wire_core::{ApiVersion, KafkaEncode};
use tempfile::TempDir;

use super::*;
use crate::BrokerConfig;
use crate::topics::NewTopic;
use crate::validation::NoValidation;
use crate::wire;

/// A broker with topic `t` of two partitions.
pub(super) struct Fixture {
    _data: TempDir,
    pub(super) broker: Arc<Broker>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let data = TempDir::new().unwrap();
        let config = BrokerConfig::new(data.path().to_owned());
        let broker = Broker::open(config, Arc::new(NoValidation)).unwrap();
        let topic = NewTopic {
            name: "t".to_owned(),
            partitions: 2,
            replication_factor: -1,
            configs: std::collections::BTreeMap::new(),
            internal: false,
        };
        broker.topics.create(&topic, false).unwrap();
        Self {
            _data: data,
            broker,
        }
    }

    pub(super) fn topic_id(&self) -> kafka_wire_core::Uuid {
        crate::protocol::wire_uuid(self.broker.topics.get("t").unwrap().id)
    }
}

pub(super) fn context(version: i16) -> RequestContext {
    RequestContext {
        client_id: "c".into(),
        client_software: "".into(),
        principal: crate::authorization::Principal::anonymous(),
        address: "127.0.0.1:1000".parse().unwrap(),
        correlation_id: 1,
        version,
        meter: None,
    }
}

#[track_caller]
pub(super) fn encodes(response: &impl KafkaEncode, version: i16) {
    let encoded = response.encoded_len(ApiVersion::new(version));
    assert!(encoded.is_ok(), "v{version}: {encoded:?}");
}

fn join(group: &str, member_id: &str) -> kafka_wire::JoinGroupRequest {
    wire!(kafka_wire::JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![wire!(join_group_request::JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't']),
        })],
    })
}

#[tokio::test]
async fn a_member_lives_in_every_version() {
    let fixture = Fixture::new();
    let broker = &fixture.broker;
    for version in 0..=9 {
        let context = context(version);
        let group = format!("g{version}");
        let mut joined = join_group(broker, &context, version, join(&group, "")).await;
        encodes(&joined, version);
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
            let id = joined.member_id.clone();
            joined = join_group(broker, &context, version, join(&group, &id)).await;
            encodes(&joined, version);
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        assert!(joined.member_id.starts_with("c-"), "{}", joined.member_id);
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        let id = joined.member_id.clone();

        let sync = wire!(kafka_wire::SyncGroupRequest {
            group_id: group.as_str().into(),
            generation_id: 1,
            member_id: id.clone(),
            assignments: vec![wire!(sync_group_request::SyncGroupRequestAssignment {
                member_id: id.clone(),
                assignment: Bytes::from_static(b"share"),
            })],
        });
        let synced = sync_group(broker, &context, version.min(5), sync).await;
        encodes(&synced, version.min(5));
        assert_eq!(
            (synced.error_code, &synced.assignment[..]),
            (0, &b"share"[..])
        );

        let beat = wire!(kafka_wire::HeartbeatRequest {
            group_id: group.as_str().into(),
            generation_id: 1,
            member_id: id.clone(),
        });
        let beaten = heartbeat(broker, &context, version.min(4), beat).await;
        encodes(&beaten, version.min(4));
        assert_eq!(beaten.error_code, 0);

        let describe = wire!(kafka_wire::DescribeGroupsRequest {
            groups: vec![group.as_str().into(), "absent".into()],
        });
        let described = describe_groups(broker, &context, version.min(6), describe).await;
        encodes(&described, version.min(6));
        assert_eq!(described.groups[0].group_state.as_str(), "Stable");
        assert_eq!(
            described.groups[0].members[0].client_host.as_str(),
            "/127.0.0.1"
        );
        assert_eq!(described.groups[1].group_state.as_str(), "Dead");
        let absent = if version < 6 {
            0
        } else {
            ErrorCode::GROUP_ID_NOT_FOUND.0
        };
        assert_eq!(described.groups[1].error_code, absent, "v{version}");

        let leave_version = version.min(5);
        let leave = if leave_version < 3 {
            wire!(kafka_wire::LeaveGroupRequest {
                group_id: group.as_str().into(),
                member_id: id,
            })
        } else {
            wire!(kafka_wire::LeaveGroupRequest {
                group_id: group.as_str().into(),
                members: vec![
                    wire!(leave_group_request::MemberIdentity { member_id: id }),
                    wire!(leave_group_request::MemberIdentity {
                        member_id: "x".into()
                    }),
                ],
            })
        };
        let left = leave_group(broker, &context, leave_version, leave).await;
        encodes(&left, leave_version);
        assert_eq!(left.error_code, 0);
        if leave_version >= 3 {
            let errors: Vec<i16> = left
                .members
                .iter()
                .map(|member| member.error_code)
                .collect();
            assert_eq!(errors, [0, ErrorCode::UNKNOWN_MEMBER_ID.0]);
        }
        let delete = wire!(kafka_wire::DeleteGroupsRequest {
            groups_names: vec![group.as_str().into(), "absent".into()],
        });
        let deleted = delete_groups(broker, &context, version.min(2), delete).await;
        encodes(&deleted, version.min(2));
        let errors: Vec<i16> = deleted
            .results
            .iter()
            .map(|result| result.error_code)
            .collect();
        assert_eq!(errors, [0, ErrorCode::GROUP_ID_NOT_FOUND.0]);
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one round trip after the other")]
async fn offsets_go_round_in_every_version() {
    let fixture = Fixture::new();
    let broker = &fixture.broker;
    for version in 2..=10 {
        let context = context(version);
        let by_id = version >= 10;
        let partition = |index: i32, metadata: &str| {
            wire!(offset_commit_request::OffsetCommitRequestPartition {
                partition_index: index,
                committed_offset: 40 + i64::from(version),
                committed_metadata: Some(metadata.into()),
            })
        };
        let topic = |name: &str, id, partitions| {
            wire!(offset_commit_request::OffsetCommitRequestTopic {
                name: if by_id { "".into() } else { name.into() },
                topic_id: if by_id {
                    id
                } else {
                    kafka_wire_core::Uuid::default()
                },
                partitions: partitions,
            })
        };
        let unknown_id = kafka_wire_core::Uuid::from_bytes([9; 16]);
        let commit = wire!(kafka_wire::OffsetCommitRequest {
            group_id: "g".into(),
            topics: vec![
                topic(
                    "t",
                    fixture.topic_id(),
                    vec![
                        partition(0, "note"),
                        partition(1, &"x".repeat(4097)),
                        partition(2, ""),
                    ]
                ),
                topic("absent", unknown_id, vec![partition(0, "")]),
            ],
        });
        let committed = offset_commit(broker, &context, version, commit).await;
        encodes(&committed, version);
        let errors: Vec<i16> = committed
            .topics
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|partition| partition.error_code)
            })
            .collect();
        let absent = if by_id {
            ErrorCode::UNKNOWN_TOPIC_ID
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        };
        assert_eq!(errors, [0, 12, 3, absent.0], "v{version}");
    }
    for version in 1..=10 {
        let context = context(version);
        if version < 8 {
            let fetch = wire!(kafka_wire::OffsetFetchRequest {
                group_id: "g".into(),
                topics: Some(vec![wire!(offset_fetch_request::OffsetFetchRequestTopic {
                    name: "t".into(),
                    partition_indexes: vec![0, 1],
                })]),
            });
            let fetched = offset_fetch(broker, &context, version, fetch).await;
            encodes(&fetched, version);
            let found: Vec<(i64, &str)> = fetched.topics[0]
                .partitions
                .iter()
                .map(|row| (row.committed_offset, row.metadata.as_deref().unwrap()))
                .collect();
            assert_eq!(found, [(50, "note"), (-1, "")], "v{version}");
            continue;
        }
        let by_id = version >= 10;
        let wanted = wire!(offset_fetch_request::OffsetFetchRequestTopics {
            name: if by_id { "".into() } else { "t".into() },
            topic_id: if by_id {
                fixture.topic_id()
            } else {
                kafka_wire_core::Uuid::default()
            },
            partition_indexes: vec![0],
        });
        let group = |name: &str, topics| {
            wire!(offset_fetch_request::OffsetFetchRequestGroup {
                group_id: name.into(),
                topics: topics,
            })
        };
        let fetch = wire!(kafka_wire::OffsetFetchRequest {
            groups: vec![
                group("g", Some(vec![wanted.clone()])),
                group("g", None),
                group("absent", Some(vec![wanted])),
                group("absent", None),
            ],
            require_stable: true,
        });
        let fetched = offset_fetch(broker, &context, version, fetch).await;
        encodes(&fetched, version);
        let found: Vec<Vec<i64>> = fetched
            .groups
            .iter()
            .map(|group| {
                let rows = group.topics.iter().flat_map(|topic| &topic.partitions);
                rows.map(|row| row.committed_offset).collect()
            })
            .collect();
        assert_eq!(found, [vec![50], vec![50], vec![-1], vec![]], "v{version}");
    }
    let delete = wire!(kafka_wire::OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![wire!(offset_delete_request::OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: [0, 7]
                .into_iter()
                .map(
                    |index| wire!(offset_delete_request::OffsetDeleteRequestPartition {
                        partition_index: index,
                    })
                )
                .collect(),
        })],
    });
    let deleted = offset_delete(broker, &context(0), 0, delete).await;
    encodes(&deleted, 0);
    let errors: Vec<i16> = deleted.topics[0]
        .partitions
        .iter()
        .map(|row| row.error_code)
        .collect();
    assert_eq!(errors, [0, 3]);
}

#[tokio::test]
async fn the_coordinator_is_this_broker() {
    let fixture = Fixture::new();
    for version in 0..=6 {
        for (key_type, error) in [(0, 0), (1, 0), (2, ErrorCode::INVALID_REQUEST.0)] {
            if version == 0 && key_type != 0 {
                continue;
            }
            let request = wire!(kafka_wire::FindCoordinatorRequest {
                key: "g".into(),
                key_type: key_type,
                coordinator_keys: vec!["g".into(), "h".into()],
            });
            let found =
                find_coordinator(&fixture.broker, &context(version), version, request).await;
            encodes(&found, version);
            let (found_error, port) = if version < 4 {
                (found.error_code, found.port)
            } else {
                assert_eq!(found.coordinators.len(), 2);
                assert_eq!(found.coordinators[1].key.as_str(), "h");
                (found.coordinators[1].error_code, found.coordinators[1].port)
            };
            assert_eq!(found_error, error);
            assert_eq!(port, if error == 0 { 9092 } else { -1 });
        }
    }
}

#[tokio::test]
async fn list_groups_filters_by_state_and_type() {
    let fixture = Fixture::new();
    let joined = join_group(&fixture.broker, &context(3), 3, join("g", "")).await;
    assert_eq!(joined.error_code, 0);
    for (states, types, expected) in [
        (vec![], vec![], 1),
        (vec!["completingrebalance"], vec![], 1),
        (vec!["Stable", "Empty"], vec![], 0),
        (vec![], vec!["Classic"], 1),
        (vec![], vec!["consumer"], 0),
    ] {
        for version in 0..=5 {
            let request = wire!(kafka_wire::ListGroupsRequest {
                states_filter: states.iter().map(|one| StrBytes::from(*one)).collect(),
                types_filter: types.iter().map(|one| StrBytes::from(*one)).collect(),
            });
            let listed = list_groups(&fixture.broker, &context(version), version, request).await;
            encodes(&listed, version);
            assert_eq!(listed.groups.len(), expected, "{states:?} {types:?}");
        }
    }
}

#[tokio::test]
async fn the_empty_group_id_is_for_offsets_alone() {
    let fixture = Fixture::new();
    let broker = &fixture.broker;
    let invalid = ErrorCode::INVALID_GROUP_ID.0;
    let context = context(5);
    let joined = join_group(broker, &context, 5, join("", "")).await;
    encodes(&joined, 5);
    let synced = sync_group(broker, &context, 5, kafka_wire::SyncGroupRequest::default()).await;
    let beaten = heartbeat(broker, &context, 4, kafka_wire::HeartbeatRequest::default()).await;
    let left = leave_group(
        broker,
        &context,
        5,
        kafka_wire::LeaveGroupRequest::default(),
    )
    .await;
    for found in [
        joined.error_code,
        synced.error_code,
        beaten.error_code,
        left.error_code,
    ] {
        assert_eq!(found, invalid);
    }
    let short = wire!(kafka_wire::JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 5_999,
    });
    let joined = join_group(broker, &context, 5, short).await;
    assert_eq!(joined.error_code, ErrorCode::INVALID_SESSION_TIMEOUT.0);
}
