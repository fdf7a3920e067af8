//! Transactions over a socket, as clients of version 1 and of version 2 (KIP-890) drive them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_wire::describe_producers_request::TopicRequest;
use kafka_wire::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_wire::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_wire::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, ListOffsetsRequest,
    ListTransactionsRequest, OffsetFetchRequest, TxnOffsetCommitRequest,
};

use super::client::Client;
use super::harness::{NOW_MS, Server, fetch_from, is_closed, produce_to};
use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, Sequence};
use crate::records::{BatchBuilder, BatchView, Compression, DecompressionScratch};
use crate::validation::{
    BoxFuture, Receipt, RecordError, RecordValidator, Rejection, RequestOrigin, TopicConfigKey,
    TopicSettings, Unavailable, Verdict, Wanted,
};
use crate::wire;

const ID: &str = "tx";

/// A producer as a client keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

async fn init(client: &mut Client, version: i16) -> Result<Identity, ErrorCode> {
    let request = wire!(InitProducerIdRequest {
        transactional_id: Some(ID.into()),
        transaction_timeout_ms: 60_000,
    });
    let answer = client.request(version, &request).await.unwrap();
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Ok(Identity {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        }),
        error => Err(error),
    }
}

async fn add(client: &mut Client, version: i16, who: Identity, partitions: &[i32]) -> Vec<i16> {
    let request = wire!(AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: who.id,
        v3_and_below_producer_epoch: who.epoch,
        v3_and_below_topics: vec![wire!(AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: partitions.to_vec(),
        })],
    });
    let answer = client.request(version, &request).await.unwrap();
    answer.results_by_topic_v3_and_below[0]
        .results_by_partition
        .iter()
        .map(|partition| partition.partition_error_code)
        .collect()
}

async fn send(
    client: &mut Client,
    version: i16,
    who: Identity,
    partition: i32,
    (sequence, value): (i32, &str),
) -> ErrorCode {
    let mut batch = BatchBuilder::new(Compression::None, NOW_MS)
        .producer(
            ProducerId(who.id),
            ProducerEpoch(who.epoch),
            Sequence(sequence),
        )
        .transactional();
    batch.append(NOW_MS, None, Some(value.as_bytes()), &[]);
    let mut request = produce_to("t", vec![(partition, batch.build())], -1);
    request.transactional_id = Some(ID.to_owned());
    let response = client.produce(version, &request).await.unwrap().unwrap();
    response.topics[0].partitions[0].error
}

async fn end(
    client: &mut Client,
    version: i16,
    who: Identity,
    committed: bool,
) -> Result<Identity, ErrorCode> {
    let request = wire!(EndTxnRequest {
        transactional_id: ID.into(),
        producer_id: who.id,
        producer_epoch: who.epoch,
        committed,
    });
    let answer = client.request(version, &request).await.unwrap();
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE if version < 5 => Ok(who),
        ErrorCode::NONE => Ok(Identity {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        }),
        error => Err(error),
    }
}

async fn commit_offset(client: &mut Client, version: i16, who: Identity, offset: i64) -> i16 {
    let request = wire!(TxnOffsetCommitRequest {
        transactional_id: ID.into(),
        group_id: "g".into(),
        producer_id: who.id,
        producer_epoch: who.epoch,
        topics: vec![wire!(TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![wire!(TxnOffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
            })],
        })],
    });
    let answer = client.request(version, &request).await.unwrap();
    answer.topics[0].partitions[0].error_code
}

async fn committed(client: &mut Client, require_stable: bool) -> (i64, ErrorCode) {
    let request = wire!(OffsetFetchRequest {
        groups: vec![wire!(OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![wire!(OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
            })]),
        })],
        require_stable,
    });
    let answer = client.request(8, &request).await.unwrap();
    let found = &answer.groups[0].topics[0].partitions[0];
    (found.committed_offset, ErrorCode(found.error_code))
}

/// What a read-committed consumer gets of partition 0, and the last stable offset.
async fn read_committed(client: &mut Client) -> (Vec<String>, i64) {
    let mut request = fetch_from("t", 0, 0);
    request.isolation_level = 1;
    let response = client.fetch(12, &request).await.unwrap();
    let answer = &response.topics[0].partitions[0];
    let mut aborted = answer.aborted.clone().unwrap();
    let mut dropping = Vec::new();
    let mut seen = Vec::new();
    let bytes = answer.records.concat();
    let mut rest = &bytes[..];
    let mut scratch = DecompressionScratch::default();
    while !rest.is_empty() {
        let (batch, after) = BatchView::parse(rest).unwrap();
        rest = after;
        let header = batch.header;
        while aborted
            .first()
            .is_some_and(|(_, first)| *first <= header.last_offset().0)
        {
            dropping.push(aborted.remove(0).0);
        }
        if header.is_control() {
            dropping.retain(|id| *id != header.producer_id.0);
        } else if !dropping.contains(&header.producer_id.0) {
            for record in batch.records(&mut scratch).unwrap() {
                let value = record.unwrap().value.unwrap().to_vec();
                seen.push(String::from_utf8(value).unwrap());
            }
        }
    }
    (seen, answer.last_stable_offset)
}

fn values(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_version_1_commits_and_aborts() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 2).await;
    let client = &mut client;
    let who = init(client, 4).await.unwrap();
    // Not added: neither a retry nor a record may start a transaction.
    assert_eq!(
        send(client, 9, who, 0, (0, "stray")).await,
        ErrorCode::INVALID_TXN_STATE
    );
    assert_eq!(
        send(client, 11, who, 0, (0, "stray")).await,
        ErrorCode::TRANSACTION_ABORTABLE
    );
    assert_eq!(add(client, 0, who, &[0, 1]).await, [0, 0]);
    let unknown = [
        ErrorCode::OPERATION_NOT_ATTEMPTED.0,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
    ];
    assert_eq!(add(client, 3, who, &[0, 7]).await, unknown);
    assert_eq!(send(client, 9, who, 0, (0, "one")).await, ErrorCode::NONE);
    assert_eq!(send(client, 9, who, 1, (0, "two")).await, ErrorCode::NONE);
    assert_eq!(read_committed(client).await, (Vec::new(), 0));

    let request = wire!(AddOffsetsToTxnRequest {
        transactional_id: ID.into(),
        producer_id: who.id,
        producer_epoch: who.epoch,
        group_id: "g".into(),
    });
    let not_added = commit_offset(client, 3, who, 5).await;
    assert_eq!(not_added, ErrorCode::INVALID_TXN_STATE.0);
    let added = client.request(0, &request).await.unwrap();
    assert_eq!(added.error_code, 0);
    assert_eq!(commit_offset(client, 3, who, 5).await, 0);
    assert_eq!(committed(client, false).await, (-1, ErrorCode::NONE));
    let unstable = ErrorCode::UNSTABLE_OFFSET_COMMIT;
    assert_eq!(committed(client, true).await, (-1, unstable));

    assert_eq!(end(client, 1, who, true).await, Ok(who));
    assert_eq!(read_committed(client).await, (values(&["one"]), 2));
    assert_eq!(committed(client, true).await, (5, ErrorCode::NONE));
    assert_eq!(end(client, 1, who, true).await, Ok(who), "a retry");

    // The next one goes on with the sequence, and is aborted.
    assert_eq!(add(client, 3, who, &[0]).await, [0]);
    assert_eq!(
        send(client, 9, who, 0, (1, "dropped")).await,
        ErrorCode::NONE
    );
    client.request(3, &request).await.unwrap();
    assert_eq!(commit_offset(client, 3, who, 9).await, 0);
    assert_eq!(end(client, 1, who, false).await, Ok(who));
    assert_eq!(read_committed(client).await, (values(&["one"]), 4));
    assert_eq!(committed(client, true).await, (5, ErrorCode::NONE));

    // A new incarnation fences this one: by the old name for old requests.
    let next = init(client, 4).await.unwrap();
    assert_eq!((next.id, next.epoch), (who.id, who.epoch + 1));
    let fenced = [
        (0, ErrorCode::INVALID_PRODUCER_EPOCH),
        (2, ErrorCode::PRODUCER_FENCED),
    ];
    for (version, expected) in fenced {
        assert_eq!(add(client, version, who, &[0]).await, [expected.0]);
        assert_eq!(end(client, version, who, true).await, Err(expected));
        let answer = client.request(version, &request).await.unwrap();
        assert_eq!(answer.error_code, expected.0);
    }
    assert_eq!(
        send(client, 9, who, 0, (2, "late")).await,
        ErrorCode::INVALID_PRODUCER_EPOCH
    );
    assert_eq!(
        commit_offset(client, 3, who, 10).await,
        ErrorCode::INVALID_PRODUCER_EPOCH.0
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_version_2_adds_by_producing() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 2).await;
    let client = &mut client;
    let first = init(client, 5).await.unwrap();
    assert_eq!(
        send(client, 12, first, 0, (0, "one")).await,
        ErrorCode::NONE
    );
    assert_eq!(commit_offset(client, 5, first, 5).await, 0);
    let described = wire!(DescribeTransactionsRequest {
        transactional_ids: vec![ID.into(), "other".into()],
    });
    let answer = client.request(0, &described).await.unwrap();
    let state = &answer.transaction_states[0];
    assert_eq!(state.transaction_state.as_str(), "Ongoing");
    assert_eq!(
        (state.producer_id, state.producer_epoch),
        (first.id, first.epoch)
    );
    let topics: Vec<_> = state
        .topics
        .iter()
        .map(|topic| (topic.topic.to_string(), topic.partitions.clone()))
        .collect();
    assert_eq!(
        topics,
        [
            ("__consumer_offsets".to_owned(), vec![0]),
            ("t".to_owned(), vec![0])
        ]
    );
    assert_eq!(
        answer.transaction_states[1].error_code,
        ErrorCode::TRANSACTIONAL_ID_NOT_FOUND.0
    );
    let listed = wire!(ListTransactionsRequest {
        state_filters: vec!["Ongoing".into(), "Odd".into()],
    });
    let answer = client.request(1, &listed).await.unwrap();
    assert_eq!(answer.transaction_states.len(), 1);
    assert_eq!(answer.unknown_state_filters[0].as_str(), "Odd");
    let producers = wire!(DescribeProducersRequest {
        topics: vec![wire!(TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0, 9],
        })],
    });
    let answer = client.request(0, &producers).await.unwrap();
    let found = &answer.topics[0].partitions;
    assert_eq!(found[0].active_producers[0].current_txn_start_offset, 0);
    assert_eq!(found[0].active_producers[0].producer_id, first.id);
    assert_eq!(found[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);

    let second = end(client, 5, first, true).await.unwrap();
    assert_eq!((second.id, second.epoch), (first.id, first.epoch + 1));
    assert_eq!(end(client, 5, first, true).await, Ok(second), "a retry");
    assert_eq!(read_committed(client).await, (values(&["one"]), 2));
    assert_eq!(committed(client, true).await, (5, ErrorCode::NONE));
    assert_eq!(
        send(client, 12, first, 0, (1, "late")).await,
        ErrorCode::INVALID_PRODUCER_EPOCH
    );
    assert_eq!(
        send(client, 12, second, 0, (0, "dropped")).await,
        ErrorCode::NONE
    );
    let third = end(client, 5, second, false).await.unwrap();
    assert_eq!(read_committed(client).await, (values(&["one"]), 4));
    assert_eq!(
        send(client, 12, third, 1, (0, "open")).await,
        ErrorCode::NONE
    );

    // Somebody else starts under the same id: what is open is aborted first.
    assert_eq!(
        init(client, 5).await,
        Err(ErrorCode::CONCURRENT_TRANSACTIONS)
    );
    let other = init(client, 5).await.unwrap();
    assert!(other.epoch > third.epoch);
    assert_eq!(
        end(client, 5, third, true).await,
        Err(ErrorCode::PRODUCER_FENCED)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_committed_offsets_are_listed_up_to_the_last_stable() {
    use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let client = &mut client;
    let who = init(client, 5).await.unwrap();
    send(client, 12, who, 0, (0, "one")).await;
    let ask = |isolation_level, timestamp| {
        wire!(ListOffsetsRequest {
            isolation_level,
            topics: vec![wire!(ListOffsetsTopic {
                name: "t".into(),
                partitions: vec![wire!(ListOffsetsPartition {
                    partition_index: 0,
                    timestamp,
                    current_leader_epoch: -1,
                })],
            })],
        })
    };
    for (isolation, timestamp, expected) in [
        (0, -1, 1),
        (1, -1, 0),
        (0, -3, 0),
        (1, -3, -1),
        (0, NOW_MS, 0),
        (1, NOW_MS, -1),
        (1, -2, 0),
    ] {
        let answer = client.request(8, &ask(isolation, timestamp)).await.unwrap();
        let found = answer.topics[0].partitions[0].offset;
        assert_eq!(found, expected, "isolation {isolation} at {timestamp}");
    }
    server.stop().await;
}

/// A long poll of a read-committed consumer is woken by the marker, not by the record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_wakes_a_read_committed_consumer() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let who = init(&mut client, 5).await.unwrap();
    let mut consumer = server.client().await;
    let polling = tokio::spawn(async move {
        let mut request = fetch_from("t", 0, 30_000);
        request.isolation_level = 1;
        let response = consumer.fetch(12, &request).await.unwrap();
        response.topics[0].partitions[0].last_stable_offset
    });
    send(&mut client, 12, who, 0, (0, "one")).await;
    end(&mut client, 5, who, true).await.unwrap();
    assert_eq!(polling.await.unwrap(), 2);
    server.stop().await;
}

/// Refuses records that say `bad`.
#[derive(Debug)]
struct RefuseBad;

impl RecordValidator for RefuseBad {
    fn validate(
        &self,
        _topic: &TopicSettings,
        batch: &BatchView<'_>,
        _origin: &RequestOrigin<'_>,
    ) -> Verdict {
        let mut scratch = DecompressionScratch::default();
        let mut records = batch.records(&mut scratch).unwrap();
        if records.any(|record| record.unwrap().value == Some(b"bad")) {
            return Verdict::Rejected(Rejection {
                errors: vec![RecordError {
                    batch_index: 0,
                    message: None,
                }],
                message: "bad".to_owned(),
            });
        }
        Verdict::Accepted(Receipt {
            epoch: 0,
            facts: None,
        })
    }

    fn still_holds(&self, _topic: &TopicSettings, _receipt: &Receipt) -> bool {
        true
    }

    fn resolve(&self, _wanted: Wanted) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async { Ok(()) })
    }

    fn config_keys(&self) -> &'static [TopicConfigKey] {
        &[]
    }

    fn check_properties(&self, _properties: &BTreeMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_leaves_the_transaction_to_the_client() {
    let server = Server::start_with(Arc::new(RefuseBad)).await;
    let mut client = server.with_topic("t", 1).await;
    let client = &mut client;
    let first = init(client, 5).await.unwrap();
    assert_eq!(
        send(client, 12, first, 0, (0, "good")).await,
        ErrorCode::NONE
    );
    assert_eq!(
        send(client, 12, first, 0, (1, "bad")).await,
        ErrorCode::INVALID_RECORD
    );
    assert_eq!(read_committed(client).await, (Vec::new(), 0));
    let second = end(client, 5, first, false).await.unwrap();
    assert_eq!(read_committed(client).await, (Vec::new(), 2));
    assert_eq!(
        send(client, 12, second, 0, (0, "again")).await,
        ErrorCode::NONE
    );
    end(client, 5, second, true).await.unwrap();
    assert_eq!(read_committed(client).await, (values(&["again"]), 4));
    server.stop().await;
}

/// A transactional batch without a transactional id, and without answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_a_transaction_needs_its_id() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let mut batch = BatchBuilder::new(Compression::None, NOW_MS)
        .producer(ProducerId(1), ProducerEpoch(0), Sequence(0))
        .transactional();
    batch.append(NOW_MS, None, Some(b"v"), &[]);
    let batch = batch.build();
    let request = produce_to("t", vec![(0, batch.clone())], -1);
    let response = client.produce(9, &request).await.unwrap().unwrap();
    assert_eq!(
        response.topics[0].partitions[0].error,
        ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    );
    let mut unknown = produce_to("t", vec![(0, batch)], 0);
    unknown.transactional_id = Some("nobody".to_owned());
    client.produce(12, &unknown).await.unwrap();
    assert!(is_closed(&mut client).await);
    server.stop().await;
}
