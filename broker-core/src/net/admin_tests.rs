//! The APIs that administer topics, against a whole broker.

use std::collections::BTreeMap;

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire::delete_topics_request::DeleteTopicState;
use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_topic_partitions_request::TopicRequest;
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_wire::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, alter_configs_request,
    describe_topic_partitions_request, incremental_alter_configs_request,
};

use super::client::Client;
use super::harness::{Server, batch, fetch, fetch_from, produce};
use crate::error::ErrorCode;
use crate::wire;

async fn create(client: &mut Client, topic: CreatableTopic) -> (i16, i32) {
    let request = wire!(CreateTopicsRequest {
        topics: vec![topic]
    });
    let answer = client.request(7, &request).await.unwrap();
    let topic = &answer.topics[0];
    assert_eq!(topic.error_message.is_some(), topic.error_code != 0);
    (topic.error_code, topic.num_partitions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_or_refused_one_by_one() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let plain = |name: &str, partitions, factor| {
        wire!(CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: factor,
        })
    };
    let configured = |name: &str, key: &str, value: Option<&str>| {
        wire!(CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![wire!(CreatableTopicConfig {
                name: key.into(),
                value: value.map(Into::into)
            })],
        })
    };
    let assigned = |name: &str, broker: i32| {
        wire!(CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: (0..2)
                .map(|partition_index| wire!(CreatableReplicaAssignment {
                    partition_index,
                    broker_ids: vec![broker]
                }))
                .collect(),
        })
    };
    let failed = |code: ErrorCode| (code.0, -1);
    let cases = [
        (plain("a", 3, 1), (0, 3)),
        (plain("b", -1, -1), (0, 1)),
        (plain("a", 1, 1), failed(ErrorCode::TOPIC_ALREADY_EXISTS)),
        (
            plain("c", 1, 2),
            failed(ErrorCode::INVALID_REPLICATION_FACTOR),
        ),
        (plain("d", 0, 1), failed(ErrorCode::INVALID_PARTITIONS)),
        (
            plain("no/slash", 1, 1),
            failed(ErrorCode::INVALID_TOPIC_EXCEPTION),
        ),
        (configured("e", "retention.ms", Some("1000")), (0, 1)),
        (
            configured("f", "retention.ms", Some("soon")),
            failed(ErrorCode::INVALID_CONFIG),
        ),
        (
            configured("g", "retention.ms", None),
            failed(ErrorCode::INVALID_REQUEST),
        ),
        (assigned("h", 1), (0, 2)),
        (
            assigned("i", 2),
            failed(ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        ),
    ];
    for (topic, expected) in cases {
        let name = topic.name.clone();
        assert_eq!(create(&mut client, topic).await, expected, "{name}");
    }
    let only_validated = wire!(CreateTopicsRequest {
        topics: vec![plain("v", 1, 1)],
        validate_only: true,
    });
    let answer = client.request(7, &only_validated).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(server.broker.topics.get("v").is_none());
    let twice = wire!(CreateTopicsRequest {
        topics: vec![plain("w", 1, 1), plain("w", 2, 1)]
    });
    let answer = client.request(7, &twice).await.unwrap();
    let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST.0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_deleted_by_name_and_by_id() {
    let server = Server::start().await;
    let mut client = server.with_topic("one", 1).await;
    server.with_topic("two", 1).await;
    let by_name = wire!(DeleteTopicsRequest {
        topic_names: vec!["one".into(), "absent".into()]
    });
    let answer = client.request(5, &by_name).await.unwrap();
    let codes: Vec<i16> = answer
        .responses
        .iter()
        .map(|topic| topic.error_code)
        .collect();
    assert_eq!(codes, [0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0]);
    let id = crate::protocol::wire_uuid(server.broker.topics.get("two").unwrap().id);
    let by_id = wire!(DeleteTopicsRequest {
        topics: vec![wire!(DeleteTopicState {
            name: None,
            topic_id: id
        })]
    });
    let answer = client.request(6, &by_id).await.unwrap();
    let deleted = &answer.responses[0];
    assert_eq!(
        (deleted.error_code, deleted.name.as_deref()),
        (0, Some("two"))
    );
    let answer = client.request(6, &by_id).await.unwrap();
    assert_eq!(
        answer.responses[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_ID.0
    );
    let internal = wire!(DeleteTopicsRequest {
        topic_names: vec!["__consumer_offsets".into()]
    });
    let answer = client.request(5, &internal).await.unwrap();
    assert_eq!(answer.responses[0].error_code, ErrorCode::INVALID_REQUEST.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_ends_its_long_polls() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let mut consumer = server.client().await;
    let polling =
        tokio::spawn(async move { fetch(&mut consumer, &fetch_from("t", 0, 30_000)).await });
    tokio::task::yield_now().await;
    let request = wire!(DeleteTopicsRequest {
        topic_names: vec!["t".into()]
    });
    client.request(5, &request).await.unwrap();
    let answer = tokio::time::timeout(std::time::Duration::from_secs(15), polling)
        .await
        .expect("the long poll outlived its topic")
        .unwrap();
    assert_eq!(answer.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_added_never_removed() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 2).await;
    for (name, count, validate_only, expected, left) in [
        ("t", 4, true, ErrorCode::NONE, 2),
        ("t", 4, false, ErrorCode::NONE, 4),
        ("t", 3, false, ErrorCode::INVALID_PARTITIONS, 4),
        ("absent", 3, false, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 4),
    ] {
        let request = wire!(CreatePartitionsRequest {
            topics: vec![wire!(CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            })],
            validate_only,
        });
        let answer = client.request(3, &request).await.unwrap();
        assert_eq!(answer.results[0].error_code, expected.0, "{name} {count}");
        let partitions = server.broker.topics.get("t").unwrap().partitions().len();
        assert_eq!(partitions, left, "{name} {count}");
    }
    server.stop().await;
}

/// Value and source of each config of topic `t`.
async fn configs(client: &mut Client) -> BTreeMap<String, (String, i8)> {
    let request = wire!(DescribeConfigsRequest {
        resources: vec![wire!(DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configuration_keys: None,
        })],
        include_synonyms: true,
        include_documentation: true,
    });
    let answer = client.request(4, &request).await.unwrap();
    let result = &answer.results[0];
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result
        .configs
        .iter()
        .map(|config| {
            assert!(config.documentation.is_some(), "{}", config.name);
            assert!(!config.synonyms.is_empty(), "{}", config.name);
            assert_ne!(config.config_type, 0, "{}", config.name);
            let value = config.value.as_ref().unwrap().to_string();
            (config.name.to_string(), (value, config.config_source))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_of_topics_are_described_and_altered() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let before = configs(&mut client).await;
    assert_eq!(before["cleanup.policy"], ("delete".to_owned(), 5));
    assert_eq!(before["max.message.bytes"], ("1048588".to_owned(), 5));

    let alter = |operations: &[(&str, i8, Option<&str>)], validate_only| {
        wire!(IncrementalAlterConfigsRequest {
            resources: vec![wire!(
                incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: 2,
                    resource_name: "t".into(),
                    configs: operations
                        .iter()
                        .map(|&(name, config_operation, value)| wire!(
                            incremental_alter_configs_request::AlterableConfig {
                                name: name.into(),
                                config_operation,
                                value: value.map(Into::into),
                            }
                        ))
                        .collect(),
                }
            )],
            validate_only,
        })
    };
    type Operation = (&'static str, i8, Option<&'static str>);
    let cases: &[(&[Operation], ErrorCode)] = &[
        (&[("retention.ms", 0, Some("60000"))], ErrorCode::NONE),
        (&[("cleanup.policy", 2, Some("compact"))], ErrorCode::NONE),
        (&[("cleanup.policy", 3, Some("delete"))], ErrorCode::NONE),
        (
            &[("retention.ms", 0, Some("soon"))],
            ErrorCode::INVALID_CONFIG,
        ),
        (&[("retention.ms", 0, None)], ErrorCode::INVALID_REQUEST),
        (
            &[("retention.ms", 9, Some("1"))],
            ErrorCode::INVALID_REQUEST,
        ),
        (
            &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)],
            ErrorCode::INVALID_REQUEST,
        ),
    ];
    for (operations, expected) in cases {
        let answer = client.request(1, &alter(operations, false)).await.unwrap();
        assert_eq!(answer.responses[0].error_code, expected.0, "{operations:?}");
    }
    let only_validated = alter(&[("retention.ms", 0, Some("7"))], true);
    client.request(1, &only_validated).await.unwrap();
    let after = configs(&mut client).await;
    assert_eq!(after["retention.ms"], ("60000".to_owned(), 1));
    assert_eq!(after["cleanup.policy"], ("compact".to_owned(), 1));

    let replace = wire!(AlterConfigsRequest {
        resources: vec![wire!(alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![wire!(alter_configs_request::AlterableConfig {
                name: "segment.bytes".into(),
                value: Some("1048576".into()),
            })],
        })],
    });
    let answer = client.request(2, &replace).await.unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
    let after = configs(&mut client).await;
    assert_eq!(after["segment.bytes"], ("1048576".to_owned(), 1));
    assert_eq!(after["cleanup.policy"], before["cleanup.policy"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_deleted_up_to_an_offset() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    for _ in 0..3 {
        produce(&mut client, "t", batch(&["a", "b"])).await;
    }
    for (offset, code, low_watermark) in [
        (2, ErrorCode::NONE, 2),
        (100, ErrorCode::OFFSET_OUT_OF_RANGE, -1),
        (-2, ErrorCode::OFFSET_OUT_OF_RANGE, -1),
        (-1, ErrorCode::NONE, 6),
    ] {
        let request = wire!(DeleteRecordsRequest {
            topics: vec![wire!(DeleteRecordsTopic {
                name: "t".into(),
                partitions: vec![wire!(DeleteRecordsPartition {
                    partition_index: 0,
                    offset
                })],
            })],
        });
        let answer = client.request(2, &request).await.unwrap();
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(
            (partition.error_code, partition.low_watermark),
            (code.0, low_watermark),
            "{offset}"
        );
    }
    let answer = fetch(&mut client, &fetch_from("t", 0, 0)).await;
    assert_eq!(answer.error, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!((answer.log_start_offset, answer.high_watermark), (6, 6));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_end_where_the_log_ends() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    produce(&mut client, "t", batch(&["a", "b"])).await;
    let epoch = server.broker.topics.get("t").unwrap().partitions()[0]
        .offsets()
        .leader_epoch
        .0;
    for (current, asked, expected) in [
        (epoch, epoch, (0, epoch, 2)),
        (-1, epoch, (0, epoch, 2)),
        (
            epoch + 1,
            epoch,
            (ErrorCode::UNKNOWN_LEADER_EPOCH.0, -1, -1),
        ),
        (-1, epoch + 1, (0, -1, -1)),
    ] {
        let request = wire!(OffsetForLeaderEpochRequest {
            topics: vec![wire!(OffsetForLeaderTopic {
                topic: "t".into(),
                partitions: vec![wire!(OffsetForLeaderPartition {
                    partition: 0,
                    current_leader_epoch: current,
                    leader_epoch: asked,
                })],
            })],
        });
        let answer = client.request(4, &request).await.unwrap();
        let end = &answer.topics[0].partitions[0];
        assert_eq!(
            (end.error_code, end.leader_epoch, end.end_offset),
            expected,
            "{current} {asked}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_partitions_come_in_pages() {
    let server = Server::start().await;
    let mut client = server.with_topic("a", 3).await;
    server.with_topic("b", 2).await;
    let mut cursor = None;
    let mut pages = Vec::new();
    loop {
        let request = wire!(DescribeTopicPartitionsRequest {
            topics: ["b", "a", "absent"]
                .map(|name| wire!(TopicRequest { name: name.into() }))
                .to_vec(),
            response_partition_limit: 2,
            cursor,
        });
        let answer = client.request(0, &request).await.unwrap();
        let page: Vec<(String, i16, Vec<i32>)> = answer
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter();
                (
                    topic.name.as_deref().unwrap_or_default().to_owned(),
                    topic.error_code,
                    partitions
                        .map(|partition| partition.partition_index)
                        .collect(),
                )
            })
            .collect();
        pages.push(page);
        let Some(next) = answer.next_cursor else {
            break;
        };
        cursor = Some(wire!(describe_topic_partitions_request::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
        }));
    }
    let entry =
        |name: &str, code: i16, partitions: &[i32]| (name.to_owned(), code, partitions.to_vec());
    assert_eq!(
        pages,
        [
            vec![entry("a", 0, &[0, 1])],
            vec![
                entry("a", 0, &[2]),
                entry("absent", 3, &[]),
                entry("b", 0, &[0])
            ],
            vec![entry("b", 0, &[1])],
        ]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_one_broker() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let request = wire!(DescribeClusterRequest {
        include_cluster_authorized_operations: true
    });
    let answer = client.request(2, &request).await.unwrap();
    assert_eq!(answer.cluster_id.as_str(), server.broker.cluster_id);
    assert_eq!((answer.controller_id, answer.brokers.len()), (1, 1));
    assert_eq!(answer.brokers[0].port, i32::from(server.address.port()));
    let controllers = wire!(DescribeClusterRequest { endpoint_type: 2 });
    let answer = client.request(1, &controllers).await.unwrap();
    assert_ne!(answer.error_code, 0);
    server.stop().await;
}

/// Every version that carries the fields in question gets an answer with something in it.
#[expect(clippy::too_many_lines, reason = "a table of APIs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_content_fit_every_version() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 2).await;
    produce(&mut client, "t", batch(&["a", "b"])).await;

    for version in 0..=13 {
        let topics = (version > 0)
            .then_some(())
            .map_or(Some(Vec::new()), |()| None);
        let mut request = wire!(MetadataRequest { topics });
        request.include_topic_authorized_operations = version >= 8;
        request.include_cluster_authorized_operations = (8..=10).contains(&version);
        let answer = client.request(version, &request).await.unwrap();
        let topic = answer
            .topics
            .iter()
            .find(|topic| topic.name.as_deref() == Some("t"));
        assert_eq!(
            topic.map(|topic| topic.partitions.len()),
            Some(2),
            "v{version}"
        );
        let request = wire!(MetadataRequest {
            topics: Some(vec![wire!(MetadataRequestTopic {
                name: Some("no/slash".into())
            })])
        });
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.topics[0].error_code, 17, "v{version}");
    }
    for version in 1..=10 {
        let request = wire!(ListOffsetsRequest {
            topics: vec![wire!(ListOffsetsTopic {
                name: "t".into(),
                partitions: [0, 9]
                    .map(|partition_index| wire!(ListOffsetsPartition {
                        partition_index,
                        timestamp: -1
                    }))
                    .to_vec(),
            })],
        });
        let answer = client.request(version, &request).await.unwrap();
        let partitions = &answer.topics[0].partitions;
        assert_eq!(
            (partitions[0].offset, partitions[1].error_code),
            (2, 3),
            "v{version}"
        );
    }
    for version in 2..=7 {
        let names = [format!("made-{version}"), "t".to_owned()];
        let request = wire!(CreateTopicsRequest {
            topics: names
                .iter()
                .map(|name| wire!(CreatableTopic {
                    name: name.as_str().into(),
                    num_partitions: 1,
                    replication_factor: 1,
                }))
                .collect(),
        });
        let answer = client.request(version, &request).await.unwrap();
        let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, ErrorCode::TOPIC_ALREADY_EXISTS.0], "v{version}");
        let configs = answer.topics[0].configs.as_ref().map_or(0, Vec::len);
        assert_eq!(configs > 0, version >= 5, "v{version}");
    }
    for version in 1..=6 {
        let names = [format!("made-{}", version + 1), "absent".to_owned()];
        let request = if version >= 6 {
            wire!(DeleteTopicsRequest {
                topics: names
                    .iter()
                    .map(|name| wire!(DeleteTopicState {
                        name: Some(name.as_str().into())
                    }))
                    .collect()
            })
        } else {
            wire!(DeleteTopicsRequest {
                topic_names: names.iter().map(|name| name.as_str().into()).collect()
            })
        };
        let answer = client.request(version, &request).await.unwrap();
        let codes: Vec<i16> = answer
            .responses
            .iter()
            .map(|topic| topic.error_code)
            .collect();
        assert_eq!(codes, [0, 3], "v{version}");
    }
    for version in 0..=2 {
        let request = wire!(DeleteRecordsRequest {
            topics: vec![wire!(DeleteRecordsTopic {
                name: "t".into(),
                partitions: vec![wire!(DeleteRecordsPartition {
                    partition_index: 0,
                    offset: 0
                })],
            })],
        });
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "v{version}");
    }
    for version in 0..=5 {
        let request = wire!(InitProducerIdRequest {
            transactional_id: None
        });
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.error_code, 0, "v{version}");
    }
    for version in 2..=4 {
        let request = wire!(OffsetForLeaderEpochRequest {
            topics: vec![wire!(OffsetForLeaderTopic {
                topic: "t".into(),
                partitions: vec![wire!(OffsetForLeaderPartition {
                    partition: 0,
                    current_leader_epoch: -1,
                    leader_epoch: 0,
                })],
            })],
        });
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "v{version}");
    }
    for version in 1..=4 {
        let resource = |resource_type, name: &str| {
            wire!(DescribeConfigsResource {
                resource_type,
                resource_name: name.into(),
                configuration_keys: None,
            })
        };
        let request = wire!(DescribeConfigsRequest {
            resources: vec![resource(2, "t"), resource(4, "1"), resource(2, "absent")],
            include_synonyms: true,
            include_documentation: version >= 3,
        });
        let answer = client.request(version, &request).await.unwrap();
        let codes: Vec<i16> = answer
            .results
            .iter()
            .map(|result| result.error_code)
            .collect();
        assert_eq!(codes, [0, 0, 3], "v{version}");
    }
    for version in 0..=2 {
        let request = wire!(DescribeClusterRequest {});
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.brokers.len(), 1, "v{version}");
    }
    for version in 0..=3 {
        let request = wire!(CreatePartitionsRequest {
            topics: vec![wire!(CreatePartitionsTopic {
                name: "t".into(),
                count: 3 + i32::from(version),
                assignments: None,
            })],
        });
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.results[0].error_code, 0, "v{version}");
    }
    server.stop().await;
}
