//! The seam for security: every API asks for every resource that it names. An authorizer that
//! refuses all, or all but a little, stands in for one that is still to come.

use std::sync::Arc;

use kafka_wire::*;
use parking_lot::Mutex;

use super::client::Client;
use super::harness::{Server, batch, fetch_from, produce_to};
use crate::authorization::{Asker, Authorizer, Operation, Resource};
use crate::error::ErrorCode;
use crate::validation::NoValidation;
use crate::wire;

/// Allows what is listed as `operation resource`, and everything when nothing is.
#[derive(Debug, Default)]
struct Table(Mutex<Option<Vec<String>>>);

impl Table {
    fn allow_only(&self, allowed: &[&str]) {
        let allowed = allowed.iter().map(|&line| line.to_owned());
        *self.0.lock() = Some(allowed.collect());
    }
}

impl Authorizer for Table {
    fn allows(&self, asker: Asker<'_>, operation: Operation, resource: Resource<'_>) -> bool {
        assert_eq!(asker.principal.to_string(), "User:ANONYMOUS");
        assert!(asker.host.is_loopback());
        let line = format!("{operation:?} {resource:?}");
        self.0
            .lock()
            .as_ref()
            .is_none_or(|allowed| allowed.contains(&line))
    }
}

async fn start() -> (Server, Client, Arc<Table>) {
    let table = Arc::new(Table::default());
    let authorizer = Arc::clone(&table);
    let server = Server::start_configured(Arc::new(NoValidation), |config| {
        config.authorizer = authorizer;
    })
    .await;
    let client = server.with_topic("t", 1).await;
    (server, client, table)
}

const TOPIC: i16 = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
const CLUSTER: i16 = ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0;
const GROUP: i16 = ErrorCode::GROUP_AUTHORIZATION_FAILED.0;
const TRANSACTIONAL_ID: i16 = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.0;

/// Asks and compares one code of the answer.
macro_rules! refused {
    ($client:ident, $version:literal, $request:expr, |$answer:ident| $code:expr, $expected:expr) => {{
        let request = $request;
        let $answer = $client.request($version, &request).await.unwrap();
        assert_eq!($code, $expected, "{request:?}: {:?}", $answer);
    }};
}

#[expect(clippy::too_many_lines, reason = "a table of APIs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_nothing_is_told_so_by_every_api() {
    let (server, mut client, table) = start().await;
    table.allow_only(&[]);
    let client = &mut client;
    let id = || "tx".into();

    for name in ["t", "absent"] {
        let mut request = produce_to(name, vec![(0, batch(&["a"]))], -1);
        let answer = client.produce(9, &request).await.unwrap().unwrap();
        assert_eq!(answer.topics[0].partitions[0].error.0, TOPIC, "{name}");
        request.transactional_id = Some("tx".to_owned());
        let answer = client.produce(9, &request).await.unwrap().unwrap();
        let found = answer.topics[0].partitions[0].error.0;
        assert_eq!(found, TRANSACTIONAL_ID, "{name}");
        let answer = client.fetch(12, &fetch_from(name, 0, 0)).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].error.0, TOPIC, "{name}");
        let topic = || name.into();
        refused!(
            client,
            10,
            wire!(ListOffsetsRequest {
                topics: vec![wire!(list_offsets_request::ListOffsetsTopic {
                    name: topic(),
                    partitions: vec![Default::default()],
                })],
            }),
            |answer| answer.topics[0].partitions[0].error_code,
            TOPIC
        );
        refused!(
            client,
            12,
            wire!(MetadataRequest {
                topics: Some(vec![wire!(metadata_request::MetadataRequestTopic {
                    name: Some(topic()),
                })]),
                allow_auto_topic_creation: true,
            }),
            |answer| answer.topics[0].error_code,
            TOPIC
        );
        refused!(
            client,
            7,
            wire!(CreateTopicsRequest {
                topics: vec![wire!(create_topics_request::CreatableTopic {
                    name: topic(),
                    num_partitions: 1,
                    replication_factor: 1,
                })],
            }),
            |answer| answer.topics[0].error_code,
            TOPIC
        );
        refused!(
            client,
            5,
            wire!(DeleteTopicsRequest {
                topic_names: vec![topic()],
            }),
            |answer| answer.responses[0].error_code,
            TOPIC
        );
        refused!(
            client,
            2,
            wire!(DeleteRecordsRequest {
                topics: vec![wire!(delete_records_request::DeleteRecordsTopic {
                    name: topic(),
                    partitions: vec![Default::default()],
                })],
            }),
            |answer| answer.topics[0].partitions[0].error_code,
            TOPIC
        );
        refused!(
            client,
            4,
            wire!(OffsetForLeaderEpochRequest {
                topics: vec![wire!(
                    offset_for_leader_epoch_request::OffsetForLeaderTopic {
                        topic: topic(),
                        partitions: vec![Default::default()],
                    }
                )],
            }),
            |answer| answer.topics[0].partitions[0].error_code,
            TOPIC
        );
        refused!(
            client,
            3,
            wire!(CreatePartitionsRequest {
                topics: vec![wire!(create_partitions_request::CreatePartitionsTopic {
                    name: topic(),
                    count: 2,
                })],
            }),
            |answer| answer.results[0].error_code,
            TOPIC
        );
        refused!(
            client,
            0,
            wire!(DescribeProducersRequest {
                topics: vec![wire!(describe_producers_request::TopicRequest {
                    name: topic(),
                    partition_indexes: vec![0],
                })],
            }),
            |answer| answer.topics[0].partitions[0].error_code,
            TOPIC
        );
        refused!(
            client,
            0,
            wire!(DescribeTopicPartitionsRequest {
                topics: vec![wire!(describe_topic_partitions_request::TopicRequest {
                    name: topic(),
                })],
                response_partition_limit: 10,
            }),
            |answer| answer.topics[0].error_code,
            TOPIC
        );
        for (kind, expected) in [(2, TOPIC), (4, CLUSTER), (16, CLUSTER), (32, GROUP)] {
            refused!(
                client,
                4,
                wire!(DescribeConfigsRequest {
                    resources: vec![wire!(describe_configs_request::DescribeConfigsResource {
                        resource_type: kind,
                        resource_name: topic(),
                    })],
                }),
                |answer| answer.results[0].error_code,
                expected
            );
            refused!(
                client,
                2,
                wire!(AlterConfigsRequest {
                    resources: vec![wire!(alter_configs_request::AlterConfigsResource {
                        resource_type: kind,
                        resource_name: topic(),
                    })],
                }),
                |answer| answer.responses[0].error_code,
                expected
            );
            refused!(
                client,
                1,
                wire!(IncrementalAlterConfigsRequest {
                    resources: vec![wire!(
                        incremental_alter_configs_request::AlterConfigsResource {
                            resource_type: kind,
                            resource_name: topic(),
                        }
                    )],
                }),
                |answer| answer.responses[0].error_code,
                expected
            );
        }
    }

    refused!(
        client,
        5,
        wire!(InitProducerIdRequest {
            transactional_id: None
        }),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        5,
        wire!(InitProducerIdRequest {
            transactional_id: Some(id())
        }),
        |answer| answer.error_code,
        TRANSACTIONAL_ID
    );
    refused!(
        client,
        3,
        wire!(AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id(),
            v3_and_below_topics: vec![wire!(
                add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                    name: "t".into(),
                    partitions: vec![0],
                }
            )],
        }),
        |answer| answer.results_by_topic_v3_and_below[0].results_by_partition[0]
            .partition_error_code,
        TRANSACTIONAL_ID
    );
    refused!(
        client,
        4,
        wire!(AddOffsetsToTxnRequest {
            transactional_id: id(),
            group_id: "g".into()
        }),
        |answer| answer.error_code,
        TRANSACTIONAL_ID
    );
    refused!(
        client,
        5,
        wire!(EndTxnRequest {
            transactional_id: id()
        }),
        |answer| answer.error_code,
        TRANSACTIONAL_ID
    );
    refused!(
        client,
        5,
        wire!(TxnOffsetCommitRequest {
            transactional_id: id(),
            group_id: "g".into(),
            topics: vec![wire!(
                txn_offset_commit_request::TxnOffsetCommitRequestTopic {
                    name: "t".into(),
                    partitions: vec![Default::default()],
                }
            )],
        }),
        |answer| answer.topics[0].partitions[0].error_code,
        TRANSACTIONAL_ID
    );
    refused!(
        client,
        0,
        wire!(DescribeTransactionsRequest {
            transactional_ids: vec![id()]
        }),
        |answer| answer.transaction_states[0].error_code,
        TRANSACTIONAL_ID
    );

    refused!(
        client,
        4,
        DescribeLogDirsRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        2,
        ElectLeadersRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        2,
        wire!(AlterReplicaLogDirsRequest {
            dirs: vec![wire!(alter_replica_log_dirs_request::AlterReplicaLogDir {
                path: "/".into(),
                topics: vec![wire!(
                    alter_replica_log_dirs_request::AlterReplicaLogDirTopic {
                        name: "t".into(),
                        partitions: vec![0],
                    }
                )],
            })],
        }),
        |answer| answer.results[0].partitions[0].error_code,
        CLUSTER
    );
    refused!(
        client,
        1,
        AlterPartitionReassignmentsRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        0,
        ListPartitionReassignmentsRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        1,
        DescribeClientQuotasRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        1,
        wire!(AlterClientQuotasRequest {
            entries: vec![Default::default()]
        }),
        |answer| answer.entries[0].error_code,
        CLUSTER
    );
    refused!(
        client,
        2,
        DescribeQuorumRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        2,
        UpdateFeaturesRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );
    refused!(
        client,
        1,
        ListConfigResourcesRequest::default(),
        |answer| answer.error_code,
        CLUSTER
    );

    let group = || "g".into();
    for version in [3, 6] {
        let key_type_and_code = [(0, GROUP), (1, TRANSACTIONAL_ID)];
        for (key_type, expected) in key_type_and_code {
            let mut request = wire!(FindCoordinatorRequest { key_type });
            if version >= 4 {
                request.coordinator_keys = vec!["g".into()];
            } else {
                request.key = "g".into();
            }
            let answer = client.request(version, &request).await.unwrap();
            let each = answer.coordinators.iter().map(|one| one.error_code);
            let code = each.last().unwrap_or(answer.error_code);
            assert_eq!(code, expected, "v{version} of type {key_type}");
        }
    }
    refused!(
        client,
        9,
        wire!(JoinGroupRequest { group_id: group() }),
        |answer| answer.error_code,
        GROUP
    );
    refused!(
        client,
        5,
        wire!(SyncGroupRequest { group_id: group() }),
        |answer| answer.error_code,
        GROUP
    );
    refused!(
        client,
        4,
        wire!(HeartbeatRequest { group_id: group() }),
        |answer| answer.error_code,
        GROUP
    );
    refused!(
        client,
        1,
        wire!(ConsumerGroupHeartbeatRequest { group_id: group() }),
        |answer| answer.error_code,
        GROUP
    );
    refused!(
        client,
        1,
        wire!(ConsumerGroupDescribeRequest {
            group_ids: vec![group()],
        }),
        |answer| answer.groups[0].error_code,
        GROUP
    );
    refused!(
        client,
        5,
        wire!(LeaveGroupRequest { group_id: group() }),
        |answer| answer.error_code,
        GROUP
    );
    refused!(
        client,
        0,
        wire!(OffsetDeleteRequest { group_id: group() }),
        |answer| answer.error_code,
        GROUP
    );
    refused!(
        client,
        6,
        wire!(DescribeGroupsRequest {
            groups: vec![group()]
        }),
        |answer| answer.groups[0].error_code,
        GROUP
    );
    refused!(
        client,
        2,
        wire!(DeleteGroupsRequest {
            groups_names: vec![group()]
        }),
        |answer| answer.results[0].error_code,
        GROUP
    );
    refused!(
        client,
        8,
        commit_one(),
        |answer| answer.topics[0].partitions[0].error_code,
        GROUP
    );
    refused!(
        client,
        1,
        fetch_one(1),
        |answer| answer.topics[0].partitions[0].error_code,
        GROUP
    );
    refused!(client, 2, fetch_one(2), |answer| answer.error_code, GROUP);
    refused!(
        client,
        9,
        fetch_one(9),
        |answer| answer.groups[0].error_code,
        GROUP
    );

    // What can only be listed is left out.
    let request = wire!(MetadataRequest { topics: None });
    let answer = client.request(12, &request).await.unwrap();
    assert_eq!((answer.topics.len(), answer.brokers.len()), (0, 1));
    let answer = client
        .request(0, &DescribeTopicPartitionsRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.topics.len(), 0);
    let request = wire!(DescribeClusterRequest {
        include_cluster_authorized_operations: true
    });
    let answer = client.request(2, &request).await.unwrap();
    assert_eq!(
        (answer.error_code, answer.cluster_authorized_operations),
        (0, 0)
    );
    server.stop().await;
}

fn commit_one() -> OffsetCommitRequest {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    wire!(OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![wire!(OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![wire!(OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 5,
            })],
        })],
    })
}

fn fetch_one(version: i16) -> OffsetFetchRequest {
    use offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    if version < 8 {
        return wire!(OffsetFetchRequest {
            group_id: "g".into(),
            topics: Some(vec![wire!(OffsetFetchRequestTopic {
                name: "t".into(),
                partition_indexes: vec![0],
            })]),
        });
    }
    wire!(OffsetFetchRequest {
        groups: vec![wire!(OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_epoch: -1,
            topics: Some(vec![wire!(OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
            })]),
        })],
    })
}

/// A group may be read while one of its topics may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_those_of_topics_that_may_be_seen() {
    let (server, mut client, table) = start().await;
    let client = &mut client;
    let committed = client.request(8, &commit_one()).await.unwrap();
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    table.allow_only(&[
        "Read Group(\"g\")",
        "Describe Group(\"g\")",
        "Delete Group(\"g\")",
    ]);
    refused!(
        client,
        8,
        commit_one(),
        |answer| answer.topics[0].partitions[0].error_code,
        TOPIC
    );
    for version in [1, 7, 9] {
        let answer = client.request(version, &fetch_one(version)).await.unwrap();
        let (code, offset) = if version < 8 {
            let one = &answer.topics[0].partitions[0];
            (one.error_code, one.committed_offset)
        } else {
            let one = &answer.groups[0].topics[0].partitions[0];
            (one.error_code, one.committed_offset)
        };
        assert_eq!((code, offset), (TOPIC, -1), "v{version}");
        let mut all = fetch_one(version);
        if version < 8 {
            all.topics = None;
        }
        for group in &mut all.groups {
            group.topics = None;
        }
        if version >= 2 {
            let answer = client.request(version, &all).await.unwrap();
            let listed = answer.groups.iter().map(|group| group.topics.len());
            assert_eq!(answer.topics.len() + listed.sum::<usize>(), 0, "v{version}");
        }
    }
    refused!(
        client,
        0,
        wire!(OffsetDeleteRequest {
            group_id: "g".into(),
            topics: vec![wire!(offset_delete_request::OffsetDeleteRequestTopic {
                name: "t".into(),
                partitions: vec![Default::default()],
            })],
        }),
        |answer| answer.topics[0].partitions[0].error_code,
        TOPIC
    );
    let request = wire!(DescribeGroupsRequest {
        groups: vec!["g".into()],
        include_authorized_operations: true,
    });
    let answer = client.request(5, &request).await.unwrap();
    assert_eq!(
        answer.groups[0].authorized_operations,
        1 << 3 | 1 << 6 | 1 << 8
    );
    let answer = client
        .request(5, &ListGroupsRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.groups.len(), 1);
    table.allow_only(&[]);
    let answer = client
        .request(5, &ListGroupsRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.groups.len(), 0);
    server.stop().await;
}

/// Those that are found by id are known by name to the authorizer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_one_thing_may_do_that() {
    let (server, mut client, table) = start().await;
    let id = server.broker.topics.get("t").unwrap().id;
    table.allow_only(&[
        "Read Topic(\"t\")",
        "Write Topic(\"t\")",
        "Describe Topic(\"t\")",
    ]);
    let request = produce_to("t", vec![(0, batch(&["a"]))], -1);
    let answer = client.produce(9, &request).await.unwrap().unwrap();
    assert_eq!(answer.topics[0].partitions[0].error, ErrorCode::NONE);
    let mut by_id = fetch_from("", 0, 0);
    by_id.topics[0].id = id.0;
    let answer = client.fetch(13, &by_id).await.unwrap();
    assert_eq!(answer.topics[0].partitions[0].error, ErrorCode::NONE);
    // Whoever may write a topic may be an idempotent producer (KIP-679).
    let request = wire!(InitProducerIdRequest {
        transactional_id: None
    });
    assert_eq!(client.request(5, &request).await.unwrap().error_code, 0);
    let request = wire!(MetadataRequest {
        topics: None,
        include_topic_authorized_operations: true,
    });
    let answer = client.request(12, &request).await.unwrap();
    let operations = answer.topics[0].topic_authorized_operations;
    assert_eq!(operations, 1 << 3 | 1 << 4 | 1 << 8);

    table.allow_only(&[]);
    let answer = client.fetch(13, &by_id).await.unwrap();
    let found = answer.topics[0].partitions[0].error;
    assert_eq!(found, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    // Metadata does not even say that the id is one.
    let request = wire!(MetadataRequest {
        topics: Some(vec![wire!(metadata_request::MetadataRequestTopic {
            name: None,
            topic_id: crate::protocol::wire_uuid(id),
        })]),
    });
    let answer = client.request(12, &request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
    server.stop().await;
}
