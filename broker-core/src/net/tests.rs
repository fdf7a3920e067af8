//! Requests and answers over a socket, byte for byte where it matters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{
    ApiVersionsRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    RequestResponsePair,
};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::client::Client;
use super::connection::{Connection, Shared};
use super::harness::{
    NOW_MS, Server, batch, fetch, fetch_from, is_closed, produce, produce_to, sequenced, values,
};
use super::metrics::Metrics;
use crate::error::ErrorCode;
use crate::protocol::apis::{self, APIS};
use crate::protocol::client::{encode_request, split_response};
use crate::records::{BatchHeader, BatchView, DecompressionScratch};
use crate::validation::{
    BoxFuture, NoValidation, Receipt, RecordError, RecordValidator, Rejection, RequestOrigin,
    TopicConfigKey, TopicSettings, Unavailable, Verdict, Wanted,
};
use crate::wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_produced_is_fetched() {
    let server = Server::start().await;
    let mut client = server.with_topic("orders", 1).await;
    let id = server.broker.topics.get("orders").unwrap().id.0;
    for version in 3..=13 {
        let mut request = produce_to("orders", vec![(0, batch(&["a", "b"]))], -1);
        if version >= 13 {
            request.topics[0].name.clear();
            request.topics[0].id = id;
        }
        let response = client.produce(version, &request).await.unwrap().unwrap();
        let answer = &response.topics[0].partitions[0];
        assert_eq!(answer.error, ErrorCode::NONE, "version {version}");
        assert_eq!(answer.base_offset, i64::from(version - 3) * 2);
        assert_eq!(answer.log_append_time_ms, -1);
    }
    for version in 4..=18 {
        let mut request = fetch_from("orders", 20, 1000);
        if version >= 13 {
            request.topics[0].name.clear();
            request.topics[0].id = id;
        }
        let response = client.fetch(version, &request).await.unwrap();
        let answer = &response.topics[0].partitions[0];
        assert_eq!(answer.error, ErrorCode::NONE, "version {version}");
        assert_eq!(values(answer), ["a", "b"]);
        assert_eq!((answer.high_watermark, answer.last_stable_offset), (22, 22));
        let header = BatchHeader::parse(&answer.records.concat()).unwrap();
        assert_eq!(header.base_offset.0, 20);
    }
    // From the middle of a batch: the whole batch comes.
    let answer = fetch(&mut client, &fetch_from("orders", 21, 0)).await;
    assert_eq!(values(&answer), ["a", "b"]);
    let answer = fetch(&mut client, &fetch_from("orders", 23, 1000)).await;
    assert_eq!(answer.error, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!((answer.high_watermark, answer.log_start_offset), (22, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_answer_per_partition_in_the_order_of_the_request() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 3).await;
    let mut damaged = batch(&["x"]);
    *damaged.last_mut().unwrap() ^= 1;
    let mut two = batch(&["x"]);
    two.extend(batch(&["y"]));
    let partitions = vec![
        (2, batch(&["x"])),
        (0, damaged),
        (7, batch(&["x"])),
        (1, two),
        (1, Vec::new()),
        (0, batch(&["x"])),
    ];
    let request = produce_to("t", partitions, -1);
    let response = client.produce(9, &request).await.unwrap().unwrap();
    let answers: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|answer| (answer.index, answer.error, answer.base_offset))
        .collect();
    assert_eq!(
        answers,
        [
            (2, ErrorCode::NONE, 0),
            (0, ErrorCode::CORRUPT_MESSAGE, -1),
            (7, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
            (1, ErrorCode::INVALID_RECORD, -1),
            (1, ErrorCode::INVALID_RECORD, -1),
            (0, ErrorCode::NONE, 0),
        ]
    );
    let large = "x".repeat(1_100_000);
    let answer = produce(&mut client, "t", batch(&[&large])).await;
    assert_eq!(answer.error, ErrorCode::MESSAGE_TOO_LARGE);
    let answer = produce(&mut client, "absent", batch(&["x"])).await;
    assert_eq!(answer.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let request = produce_to("t", vec![(0, batch(&["x"]))], 2);
    let response = client.produce(9, &request).await.unwrap().unwrap();
    assert_eq!(
        response.topics[0].partitions[0].error,
        ErrorCode::INVALID_REQUIRED_ACKS
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retried_batch_gets_its_first_offset_and_a_gap_is_refused() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let allotted = client
        .request(4, &InitProducerIdRequest::default())
        .await
        .unwrap();
    // The default of the field is the empty id, not null.
    assert_eq!(allotted.error_code, ErrorCode::INVALID_REQUEST.0);
    let request = wire!(InitProducerIdRequest {
        transactional_id: None
    });
    let allotted = client.request(4, &request).await.unwrap();
    assert_eq!((allotted.error_code, allotted.producer_epoch), (0, 0));
    let id = allotted.producer_id;
    let next = client.request(4, &request).await.unwrap();
    assert_ne!(next.producer_id, id);

    let first = produce(&mut client, "t", sequenced(id, 0, 0, &["a", "b"])).await;
    let retried = produce(&mut client, "t", sequenced(id, 0, 0, &["a", "b"])).await;
    assert_eq!((first.error, first.base_offset), (ErrorCode::NONE, 0));
    assert_eq!((retried.error, retried.base_offset), (ErrorCode::NONE, 0));
    let gap = produce(&mut client, "t", sequenced(id, 0, 5, &["f"])).await;
    assert_eq!(gap.error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert!(gap.error_message.is_some());
    let bumped = produce(&mut client, "t", sequenced(id, 1, 0, &["c"])).await;
    assert_eq!((bumped.error, bumped.base_offset), (ErrorCode::NONE, 2));
    let fenced = produce(&mut client, "t", sequenced(id, 0, 2, &["d"])).await;
    assert_eq!(fenced.error, ErrorCode::INVALID_PRODUCER_EPOCH);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_0_answers_nothing_and_closes_on_a_refusal() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let request = produce_to("t", vec![(0, batch(&["a"]))], 0);
    assert_eq!(client.produce(9, &request).await.unwrap(), None);
    // The next answer is that of the next request.
    let answer = produce(&mut client, "t", batch(&["b"])).await;
    assert_eq!(answer.base_offset, 1);
    let request = produce_to("absent", vec![(0, batch(&["a"]))], 0);
    client.produce(9, &request).await.unwrap();
    assert!(is_closed(&mut client).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_woken_by_an_append() {
    let server = Server::start().await;
    let mut producer = server.with_topic("t", 1).await;
    let mut consumer = server.client().await;
    let polling = tokio::spawn(async move {
        let started = Instant::now();
        let answer = fetch(&mut consumer, &fetch_from("t", 0, 30_000)).await;
        (answer, started.elapsed())
    });
    tokio::task::yield_now().await;
    produce(&mut producer, "t", batch(&["late"])).await;
    let (answer, elapsed) = polling.await.unwrap();
    assert_eq!(values(&answer), ["late"]);
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_ends_at_its_time_and_at_shutdown() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let started = Instant::now();
    let answer = fetch(&mut client, &fetch_from("t", 0, 50)).await;
    assert_eq!(answer.error, ErrorCode::NONE);
    assert!(answer.records.is_empty());
    assert!(started.elapsed() >= Duration::from_millis(50));

    let polling = tokio::spawn(async move { client.fetch(12, &fetch_from("t", 0, 60_000)).await });
    tokio::time::timeout(Duration::from_secs(20), server.stop())
        .await
        .unwrap();
    // Answered empty, or closed before it was read: either way it does not hang.
    if let Ok(response) = polling.await.unwrap() {
        assert!(response.topics[0].partitions[0].records.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_creates_what_is_missing_and_finds_by_id() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let ask = |name: &str, create| {
        wire!(MetadataRequest {
            topics: Some(vec![wire!(MetadataRequestTopic {
                name: Some(name.into())
            })]),
            allow_auto_topic_creation: create,
        })
    };
    let answer = client.request(12, &ask("made", false)).await.unwrap();
    assert_eq!(
        answer.topics[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0
    );
    let answer = client.request(12, &ask("made", true)).await.unwrap();
    let topic = &answer.topics[0];
    assert_eq!((topic.error_code, topic.partitions.len()), (0, 1));
    assert_eq!(topic.partitions[0].leader_id, 1);
    // The Java consumer leaves the name empty, others leave it null.
    for name in [None, Some("".into())] {
        let by_id = wire!(MetadataRequest {
            topics: Some(vec![wire!(MetadataRequestTopic {
                name,
                topic_id: topic.topic_id
            })]),
        });
        let answer = client.request(12, &by_id).await.unwrap();
        assert_eq!(answer.topics[0].name.as_deref(), Some("made"));
    }
    let answer = client.request(12, &ask("no/slash", true)).await.unwrap();
    assert_eq!(
        answer.topics[0].error_code,
        ErrorCode::INVALID_TOPIC_EXCEPTION.0
    );
    let none = wire!(MetadataRequest {
        topics: Some(Vec::new())
    });
    let all = wire!(MetadataRequest { topics: None });
    assert_eq!(client.request(1, &none).await.unwrap().topics.len(), 0);
    let named = |topics: &[kafka_wire::metadata_response::MetadataResponseTopic]| {
        topics
            .iter()
            .any(|topic| topic.name.as_deref() == Some("made"))
    };
    assert!(named(&client.request(0, &none).await.unwrap().topics));
    assert!(named(&client.request(1, &all).await.unwrap().topics));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_listed_by_time() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    produce(&mut client, "t", batch(&["a", "b", "c"])).await;
    for (timestamp, offset) in [
        (-1, 3),
        (-2, 0),
        (-4, 0),
        (-5, -1),
        (0, 0),
        (NOW_MS, 0),
        (NOW_MS + 1, -1),
    ] {
        let request = wire!(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![wire!(ListOffsetsTopic {
                name: "t".into(),
                partitions: vec![wire!(ListOffsetsPartition {
                    partition_index: 0,
                    current_leader_epoch: -1,
                    timestamp,
                })],
            })],
        });
        let answer = client.request(9, &request).await.unwrap();
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(
            (partition.error_code, partition.offset),
            (0, offset),
            "timestamp {timestamp}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_versions_answer_whatever_is_asked() {
    let server = Server::start().await;
    let mut client = server.client().await;
    // Version 99, correlation id 7.
    client
        .send(&[0, 0, 0, 8, 0, 18, 0, 99, 0, 0, 0, 7])
        .await
        .unwrap();
    let frame = client.receive().await.unwrap();
    let (id, response) =
        crate::protocol::client::decode_response::<kafka_wire::ApiVersionsResponse>(18, 0, &frame)
            .unwrap();
    assert_eq!((id, response.error_code), (7, 35));
    assert!(response.api_keys.iter().any(|api| api.api_key == 18));
    // The connection goes on; a name that is none gets 42.
    let unnamed = ApiVersionsRequest::default();
    let response = client.request(3, &unnamed).await.unwrap();
    assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST.0);
    let named = wire!(ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
    });
    for version in 0..=4 {
        let request = if version < 3 { &unnamed } else { &named };
        let response = client.request(version, request).await.unwrap();
        assert_eq!(response.error_code, 0);
        assert_eq!(response.api_keys.len(), APIS.len() - 2, "all but telemetry");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_close_the_connection_and_nothing_else() {
    let server = Server::start().await;
    let cases: &[(&str, &[u8])] = &[
        ("one byte", &[0, 0, 0, 1, 0]),
        ("no length", &[0, 0, 0, 0]),
        ("negative length", &[0xff, 0xff, 0xff, 0xff]),
        ("length beyond the limit", &[0x7f, 0xff, 0xff, 0xff]),
        (
            "metadata v9 with 2^32 - 2 topics",
            &[
                0, 0, 0, 16, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f,
            ],
        ),
        (
            "produce v3 with 2^31 - 1 topics",
            &[
                0, 0, 0, 22, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 0,
                0x7f, 0xff, 0xff, 0xff,
            ],
        ),
        (
            "produce v2",
            &[0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "unknown API",
            &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "client id beyond the frame",
            &[0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff],
        ),
        (
            "GET / HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
    ];
    for (name, bytes) in cases {
        let mut client = server.client().await;
        client.send(bytes).await.unwrap();
        assert!(is_closed(&mut client).await, "{name}");
    }
    let mut client = server.client().await;
    client
        .request(0, &ApiVersionsRequest::default())
        .await
        .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let mut bytes = Vec::new();
    for id in 100..150 {
        bytes.extend(encode_request(18, 0, id, "test", &ApiVersionsRequest::default()).unwrap());
    }
    // Split at an odd place.
    let (head, tail) = bytes.split_at(333);
    client.send(head).await.unwrap();
    tokio::task::yield_now().await;
    client.send(tail).await.unwrap();
    for id in 100..150 {
        let frame = client.receive().await.unwrap();
        assert_eq!(split_response(18, 0, &frame).unwrap().0, id);
    }
    server.stop().await;
}

async fn answers<R: RequestResponsePair + Default>(client: &mut Client, seen: &mut Vec<i16>) {
    let key = R::API_KEY.value();
    let api = apis::find(key).unwrap();
    for version in api.min..=api.max {
        client
            .request(version, &R::default())
            .await
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", api.name));
    }
    seen.push(key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_of_every_api_is_answered() {
    use kafka_wire::*;
    let server = Server::start().await;
    let mut client = server.with_topic("t", 2).await;
    let client = &mut client;
    let mut seen = vec![0, 1, 11, 14, 18];
    answers::<ListOffsetsRequest>(client, &mut seen).await;
    answers::<MetadataRequest>(client, &mut seen).await;
    answers::<OffsetCommitRequest>(client, &mut seen).await;
    answers::<OffsetFetchRequest>(client, &mut seen).await;
    answers::<FindCoordinatorRequest>(client, &mut seen).await;
    answers::<HeartbeatRequest>(client, &mut seen).await;
    answers::<LeaveGroupRequest>(client, &mut seen).await;
    answers::<DescribeGroupsRequest>(client, &mut seen).await;
    answers::<ListGroupsRequest>(client, &mut seen).await;
    answers::<CreateTopicsRequest>(client, &mut seen).await;
    answers::<DeleteTopicsRequest>(client, &mut seen).await;
    answers::<DeleteRecordsRequest>(client, &mut seen).await;
    answers::<InitProducerIdRequest>(client, &mut seen).await;
    answers::<OffsetForLeaderEpochRequest>(client, &mut seen).await;
    answers::<DescribeConfigsRequest>(client, &mut seen).await;
    answers::<AlterConfigsRequest>(client, &mut seen).await;
    answers::<CreatePartitionsRequest>(client, &mut seen).await;
    answers::<DeleteGroupsRequest>(client, &mut seen).await;
    answers::<IncrementalAlterConfigsRequest>(client, &mut seen).await;
    answers::<OffsetDeleteRequest>(client, &mut seen).await;
    answers::<DescribeClusterRequest>(client, &mut seen).await;
    answers::<AddPartitionsToTxnRequest>(client, &mut seen).await;
    answers::<AddOffsetsToTxnRequest>(client, &mut seen).await;
    answers::<EndTxnRequest>(client, &mut seen).await;
    answers::<TxnOffsetCommitRequest>(client, &mut seen).await;
    answers::<DescribeProducersRequest>(client, &mut seen).await;
    answers::<DescribeTransactionsRequest>(client, &mut seen).await;
    answers::<ListTransactionsRequest>(client, &mut seen).await;
    answers::<AlterReplicaLogDirsRequest>(client, &mut seen).await;
    answers::<DescribeLogDirsRequest>(client, &mut seen).await;
    answers::<ElectLeadersRequest>(client, &mut seen).await;
    answers::<AlterPartitionReassignmentsRequest>(client, &mut seen).await;
    answers::<ListPartitionReassignmentsRequest>(client, &mut seen).await;
    answers::<DescribeClientQuotasRequest>(client, &mut seen).await;
    answers::<AlterClientQuotasRequest>(client, &mut seen).await;
    answers::<DescribeQuorumRequest>(client, &mut seen).await;
    answers::<UpdateFeaturesRequest>(client, &mut seen).await;
    answers::<ListConfigResourcesRequest>(client, &mut seen).await;
    answers::<GetTelemetrySubscriptionsRequest>(client, &mut seen).await;
    answers::<PushTelemetryRequest>(client, &mut seen).await;
    answers::<ConsumerGroupHeartbeatRequest>(client, &mut seen).await;
    answers::<ConsumerGroupDescribeRequest>(client, &mut seen).await;
    answers::<DescribeTopicPartitionsRequest>(client, &mut seen).await;
    seen.sort_unstable();
    let keys: Vec<i16> = APIS.iter().map(|api| api.key).collect();
    assert_eq!(seen, keys);
    server.stop().await;
}

/// Refuses records whose value starts with `bad`; asks to be resolved once before the first verdict.
#[derive(Debug, Default)]
struct Picky {
    resolved: AtomicUsize,
}

impl RecordValidator for Picky {
    fn validate(
        &self,
        _topic: &TopicSettings,
        batch: &BatchView<'_>,
        origin: &RequestOrigin<'_>,
    ) -> Verdict {
        assert_eq!(origin.client_id, "test");
        if self.resolved.load(Ordering::SeqCst) == 0 {
            return Verdict::Unresolved(Wanted(Box::new(())));
        }
        let mut scratch = DecompressionScratch::default();
        let mut errors = Vec::new();
        for (record, batch_index) in batch.records(&mut scratch).unwrap().zip(0..) {
            let value = record.unwrap().value.unwrap_or_default().to_vec();
            if value.starts_with(b"never") {
                return Verdict::Unresolved(Wanted(Box::new(1_u8)));
            }
            if value.starts_with(b"bad") {
                errors.push(RecordError {
                    batch_index,
                    message: Some(format!("record {batch_index} is bad")),
                });
            }
        }
        if errors.is_empty() {
            Verdict::Accepted(Receipt {
                epoch: 0,
                facts: None,
            })
        } else {
            let message = format!("{} bad records", errors.len());
            Verdict::Rejected(Rejection { errors, message })
        }
    }

    fn still_holds(&self, _topic: &TopicSettings, _receipt: &Receipt) -> bool {
        true
    }

    fn resolve(&self, wanted: Wanted) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            if wanted.0.is::<u8>() {
                return Err(Unavailable("the registry is gone".to_owned()));
            }
            self.resolved.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    fn config_keys(&self) -> &'static [TopicConfigKey] {
        &[]
    }

    fn check_properties(&self, _properties: &BTreeMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_moves_nothing() {
    let picky = Arc::new(Picky::default());
    let validator: Arc<dyn RecordValidator> = Arc::clone(&picky) as _;
    let server = Server::start_with(validator).await;
    let mut client = server.with_topic("t", 1).await;
    let stored = produce(&mut client, "t", sequenced(9, 0, 0, &["a"])).await;
    assert_eq!((stored.error, stored.base_offset), (ErrorCode::NONE, 0));
    assert_eq!(picky.resolved.load(Ordering::SeqCst), 1);

    let refused = produce(&mut client, "t", sequenced(9, 0, 1, &["bad", "b", "bad"])).await;
    assert_eq!(refused.error, ErrorCode::INVALID_RECORD);
    assert_eq!(refused.error_message.as_deref(), Some("2 bad records"));
    let indexes: Vec<i32> = refused
        .record_errors
        .iter()
        .map(|error| error.batch_index)
        .collect();
    assert_eq!(indexes, [0, 2]);
    assert_eq!(
        refused.record_errors[1].message.as_deref(),
        Some("record 2 is bad")
    );

    // A fault that is not the record's is retriable, never 87.
    let unavailable = produce(&mut client, "t", sequenced(9, 0, 1, &["never"])).await;
    assert_eq!(unavailable.error, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(
        unavailable.error_message.as_deref(),
        Some("the registry is gone")
    );

    // Neither offset nor sequence was used up.
    let stored = produce(&mut client, "t", sequenced(9, 0, 1, &["b"])).await;
    assert_eq!((stored.error, stored.base_offset), (ErrorCode::NONE, 1));
    let request = produce_to("t", vec![(0, batch(&["bad"]))], 0);
    client.produce(9, &request).await.unwrap();
    assert!(is_closed(&mut client).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batches_pass_in_many_pieces() {
    let server = Server::start().await;
    let mut client = server.with_topic("t", 1).await;
    let text = "x".repeat(300_000);
    for _ in 0..3 {
        let answer = produce(&mut client, "t", batch(&[&text, &text, &text])).await;
        assert_eq!(answer.error, ErrorCode::NONE);
    }
    let mut request = fetch_from("t", 0, 0);
    request.max_bytes = 4 << 20;
    request.topics[0].partitions[0].max_bytes = 4 << 20;
    let answer = fetch(&mut client, &request).await;
    assert_eq!(values(&answer).len(), 9);
    // The first batch comes whole although it is larger than asked.
    request.max_bytes = 10;
    let answer = fetch(&mut client, &request).await;
    assert_eq!(values(&answer).len(), 3);
    let total: usize = answer.records.iter().map(Bytes::len).sum();
    assert!(total > 900_000);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_memory_wait_for_it() {
    let server = Server::start().await;
    drop(server.with_topic("t", 1).await);
    let memory = Arc::new(Semaphore::new(100_000));
    let shared = Arc::new(Shared {
        broker: Arc::clone(&server.broker),
        memory: Arc::clone(&memory),
        memory_bytes: 100_000,
        metrics: Metrics::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = async || {
        let address = listener.local_addr().unwrap();
        let client = Client::connect(address, "test").await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let connection =
            Connection::new(Arc::clone(&shared), stream, peer, server.shutdown.clone());
        tokio::spawn(connection.run());
        client
    };
    // Announces 150 000 bytes, sends 70 000 and stops: it holds what lies beyond the free part.
    let mut stalled = connect().await;
    stalled.send(&150_000_i32.to_be_bytes()).await.unwrap();
    stalled.send(&[0; 70_000]).await.unwrap();
    let held = 150_000 - 64 * 1024;
    tokio::time::timeout(Duration::from_secs(20), async {
        while memory.available_permits() != 100_000 - held {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // A small request does not wait.
    let mut small = connect().await;
    let answer = produce(&mut small, "t", batch(&["y"])).await;
    assert_eq!(answer.error, ErrorCode::NONE);
    let mut client = connect().await;
    let waiting =
        tokio::spawn(
            async move { produce(&mut client, "t", batch(&[&"x".repeat(120_000)])).await },
        );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    drop(stalled);
    let answer = tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.error, ErrorCode::NONE);
    while memory.available_permits() != 100_000 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed() {
    let server = Server::start_limited(Arc::new(NoValidation), 1).await;
    let mut first = server.client().await;
    let request = ApiVersionsRequest::default();
    first.request(0, &request).await.unwrap();
    let mut second = server.client().await;
    assert!(is_closed(&mut second).await);
    drop(first);
    // The place is free once the broker has noticed.
    let mut served = false;
    for _ in 0..1000 {
        let mut third = server.client().await;
        if third.request(0, &request).await.is_ok() {
            served = true;
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(served);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_small() {
    let server = Server::start().await;
    let shared = Arc::new(Shared {
        broker: Arc::clone(&server.broker),
        memory: Arc::new(Semaphore::new(1)),
        memory_bytes: 1,
        metrics: Metrics::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_client, accepted) = tokio::join!(Client::connect(address, ""), listener.accept());
    let (stream, peer) = accepted.unwrap();
    let connection = Connection::new(shared, stream, peer, server.shutdown.clone());
    let bytes = size_of_val(&connection.run());
    assert!(bytes <= 2048, "{bytes} bytes");
    server.stop().await;
}
