//! What a cluster of one answers truthfully where other clusters move replicas about.

use kafka_wire::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_wire::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_wire::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_wire::describe_quorum_request::{PartitionData, TopicData};
use kafka_wire::elect_leaders_request::TopicPartitions;
use kafka_wire::update_features_request::FeatureUpdateKey;
use kafka_wire::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, DescribeLogDirsRequest,
    DescribeQuorumRequest, ElectLeadersRequest, ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest, UpdateFeaturesRequest,
};

use super::harness::{Server, batch, produce};
use crate::error::ErrorCode;
use crate::wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_directory_is_described_with_sizes() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 2).await;
    server.with_topic("u", 1).await;
    let records = batch(&["a", "b"]);
    let stored = i64::try_from(records.len()).unwrap();
    produce(&mut client, "t", records).await;
    let directory = server.broker.config.data_dir.display().to_string();
    let all = [("t", 0, stored), ("t", 1, 0), ("u", 0, 0)];
    let cases = [
        (None, &all[..]),
        (
            Some(vec![("t", vec![1, 9]), ("absent", vec![0])]),
            &all[1..2],
        ),
        (Some(vec![]), &[]),
    ];
    for (asked, expected) in cases {
        let topics = asked.map(|topics| {
            let topics = topics.into_iter();
            topics
                .map(|(topic, partitions)| {
                    wire!(DescribableLogDirTopic {
                        topic: topic.into(),
                        partitions,
                    })
                })
                .collect()
        });
        for version in 1..=4 {
            let request = wire!(DescribeLogDirsRequest {
                topics: topics.clone(),
            });
            let answer = client.request(version, &request).await.unwrap();
            assert_eq!((answer.error_code, answer.results.len()), (0, 1));
            let result = &answer.results[0];
            assert_eq!(result.log_dir.as_str(), directory);
            let topics = result.topics.iter();
            let found: Vec<(&str, i32, i64)> = topics
                .filter(|topic| !topic.name.starts_with("__"))
                .flat_map(|topic| {
                    let name = topic.name.as_str();
                    let partitions = topic.partitions.iter();
                    partitions.map(move |one| (name, one.partition_index, one.partition_size))
                })
                .collect();
            assert_eq!(found, expected, "v{version}");
            let sized = 0 < result.usable_bytes && result.usable_bytes <= result.total_bytes;
            assert_eq!(sized, version >= 4, "v{version}: {result:?}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_in_the_one_directory_and_no_other() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let here = server.broker.config.data_dir.display().to_string();
    for (path, topic, partition, expected) in [
        (here.as_str(), "t", 0, ErrorCode::NONE),
        (here.as_str(), "t", 1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (here.as_str(), "u", 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("/elsewhere", "t", 0, ErrorCode::LOG_DIR_NOT_FOUND),
    ] {
        let request = wire!(AlterReplicaLogDirsRequest {
            dirs: vec![wire!(AlterReplicaLogDir {
                path: path.into(),
                topics: vec![wire!(AlterReplicaLogDirTopic {
                    name: topic.into(),
                    partitions: vec![partition],
                })],
            })],
        });
        for version in 1..=2 {
            let answer = client.request(version, &request).await.unwrap();
            let result = &answer.results[0].partitions[0];
            assert_eq!(result.error_code, expected.0, "{path} {topic}-{partition}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_election_is_needed() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let ask = |election_type, topic_partitions| {
        wire!(ElectLeadersRequest {
            election_type,
            topic_partitions,
        })
    };
    let named = Some(vec![wire!(TopicPartitions {
        topic: "t".into(),
        partitions: vec![0, 1],
    })]);
    for version in 0..=2 {
        let answer = client
            .request(version, &ask(0, named.clone()))
            .await
            .unwrap();
        let results = &answer.replica_election_results[0].partition_result;
        let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
        assert_eq!((answer.error_code, codes), (0, vec![84, 3]), "v{version}");
        let answer = client.request(version, &ask(0, None)).await.unwrap();
        assert_eq!(answer.replica_election_results.len(), 0, "v{version}");
    }
    let unclean = client.request(2, &ask(1, named.clone())).await.unwrap();
    let results = &unclean.replica_election_results[0].partition_result;
    assert_eq!(results[0].error_code, ErrorCode::ELECTION_NOT_NEEDED.0);
    let unknown = client.request(2, &ask(2, named)).await.unwrap();
    assert_eq!(unknown.error_code, ErrorCode::INVALID_REQUEST.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_assigned_to_the_one_broker() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    for (partition, replicas, expected) in [
        (0, Some(vec![1]), ErrorCode::NONE),
        (0, Some(vec![2]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (0, Some(vec![1, 2]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (0, Some(vec![]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (0, None, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
        (1, Some(vec![1]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let request = wire!(AlterPartitionReassignmentsRequest {
            topics: vec![wire!(ReassignableTopic {
                name: "t".into(),
                partitions: vec![wire!(ReassignablePartition {
                    partition_index: partition,
                    replicas: replicas.clone(),
                })],
            })],
        });
        for version in 0..=1 {
            let answer = client.request(version, &request).await.unwrap();
            let result = &answer.responses[0].partitions[0];
            let failed = result.error_code != 0;
            assert_eq!(result.error_code, expected.0, "{partition} to {replicas:?}");
            assert_eq!(result.error_message.is_some(), failed);
        }
    }
    let request = wire!(ListPartitionReassignmentsRequest { topics: None });
    let answer = client.request(0, &request).await.unwrap();
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quorum_is_this_broker() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let ask = |topic: &str| {
        wire!(DescribeQuorumRequest {
            topics: vec![wire!(TopicData {
                topic_name: topic.into(),
                partitions: vec![wire!(PartitionData { partition_index: 0 })],
            })],
        })
    };
    let end = server.broker.topics.metadata_log_end();
    assert!(end > 0);
    for version in 0..=2 {
        let answer = client
            .request(version, &ask("__cluster_metadata"))
            .await
            .unwrap();
        let partition = &answer.topics[0].partitions[0];
        let voters = &partition.current_voters;
        assert_eq!((partition.error_code, partition.leader_id), (0, 1));
        assert_eq!((voters.len(), voters[0].replica_id), (1, 1));
        assert_eq!(
            (partition.high_watermark, voters[0].log_end_offset),
            (end, end)
        );
        assert_eq!(voters[0].last_caught_up_timestamp > 0, version >= 1);
        let ports: Vec<u16> = answer
            .nodes
            .iter()
            .map(|node| node.listeners[0].port)
            .collect();
        let expected = (version >= 2).then(|| server.address.port());
        assert_eq!(ports, Vec::from_iter(expected), "v{version}");
        let other = client.request(version, &ask("t")).await.unwrap();
        assert_eq!(other.topics[0].partitions[0].error_code, 3, "v{version}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_keep_their_levels() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let refused = ErrorCode::INVALID_UPDATE_VERSION.0;
    for (feature, level, expected) in [
        ("transaction.version", 2, 0),
        ("transaction.version", 1, refused),
        ("metadata.version", 1, refused),
    ] {
        let request = wire!(UpdateFeaturesRequest {
            feature_updates: vec![wire!(FeatureUpdateKey {
                feature: feature.into(),
                max_version_level: level,
            })],
        });
        for version in 0..=2 {
            let answer = client.request(version, &request).await.unwrap();
            let each: Vec<i16> = answer.results.iter().map(|one| one.error_code).collect();
            if version < 2 {
                assert_eq!((answer.error_code, each), (0, vec![expected]), "v{version}");
            } else {
                assert_eq!((answer.error_code, each), (expected, vec![]), "v{version}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_configs_is_listed() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    for (version, types, code, expected) in [
        (0, vec![], 0, vec![]),
        (1, vec![], 0, vec![(2, "t"), (4, "1")]),
        (1, vec![4], 0, vec![(4, "1")]),
        (1, vec![16], 0, vec![]),
        (1, vec![3], ErrorCode::UNSUPPORTED_VERSION.0, vec![]),
    ] {
        let request = wire!(ListConfigResourcesRequest {
            resource_types: types.clone(),
        });
        let answer = client.request(version, &request).await.unwrap();
        let resources = answer.config_resources.iter();
        let found: Vec<(i8, &str)> = resources
            .map(|one| (one.resource_type, one.resource_name.as_str()))
            .filter(|(_, name)| !name.starts_with("__"))
            .collect();
        assert_eq!(
            (answer.error_code, found),
            (code, expected),
            "v{version} {types:?}"
        );
    }
    server.stop().await;
}
