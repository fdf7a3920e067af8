//! Client quotas over a socket: set, shown, kept, and held to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_topics_request::CreatableTopic;
use kafka_wire::describe_client_quotas_request::ComponentData;
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{
    AlterClientQuotasRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClientQuotasRequest, HeartbeatRequest, MetadataRequest,
    alter_client_quotas_request as alter,
};

use super::client::Client;
use super::harness::{NOW_MS, Server, batch, fetch_from, produce_to};
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::validation::NoValidation;
use crate::wire;

/// A server whose clock stands still: what clients use adds up, and waits can be worked out.
async fn start() -> Server {
    start_at(&Arc::new(AtomicI64::new(NOW_MS))).await
}

async fn start_at(now: &Arc<AtomicI64>) -> Server {
    Server::start_configured(Arc::new(NoValidation), |config| {
        config.clock = Clock::Manual(Arc::clone(now));
    })
    .await
}

type Half<'a> = (&'a str, Option<&'a str>);

async fn set(
    client: &mut Client,
    version: i16,
    entity: &[Half<'_>],
    limits: &[(&str, Option<f64>)],
) -> i16 {
    let entity = entity.iter().map(|(kind, name)| {
        wire!(alter::EntityData {
            entity_type: (*kind).into(),
            entity_name: name.map(Into::into),
        })
    });
    let ops = limits.iter().map(|(key, value)| {
        wire!(alter::OpData {
            key: (*key).into(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        })
    });
    let request = wire!(AlterClientQuotasRequest {
        entries: vec![wire!(alter::EntryData {
            entity: entity.collect(),
            ops: ops.collect(),
        })],
    });
    let answer = client.request(version, &request).await.unwrap();
    let entry = &answer.entries[0];
    assert_eq!(
        entry.error_message.is_some(),
        entry.error_code != 0,
        "{entry:?}"
    );
    entry.error_code
}

/// `entity: quota=value` lines of everything that fits.
async fn shown(client: &mut Client, components: Vec<ComponentData>) -> Vec<String> {
    let request = wire!(DescribeClientQuotasRequest { components });
    let answer = client.request(1, &request).await.unwrap();
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let entries = answer.entries.unwrap().into_iter();
    entries
        .map(|entry| {
            let entity = entry.entity.iter().map(|half| {
                let name = half.entity_name.as_ref();
                let name = name.map_or("<default>", |name| name.as_str());
                format!("{}={name}", half.entity_type)
            });
            let values = entry.values.iter();
            let values = values.map(|value| format!("{}={}", value.key, value.value));
            format!(
                "{}: {}",
                entity.collect::<Vec<_>>().join(" "),
                values.collect::<Vec<_>>().join(" ")
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_are_set_shown_and_removed() {
    let server = start().await;
    let mut client = server.client().await;
    let produce = |limit| [("producer_byte_rate", limit)];
    let of = |name| [("client-id", name)];
    for version in 0..=1 {
        let own = [
            ("consumer_byte_rate", Some(2048.0)),
            ("request_percentage", Some(12.5)),
        ];
        assert_eq!(set(&mut client, version, &of(Some("c")), &own).await, 0);
        let default = set(&mut client, version, &of(None), &produce(Some(1024.0))).await;
        assert_eq!(default, 0);
        let both = [("user", Some("u")), ("client-id", Some("c"))];
        assert_eq!(
            set(&mut client, version, &both, &produce(Some(1.0))).await,
            0
        );
        assert_eq!(
            shown(&mut client, vec![]).await,
            [
                "client-id=<default>: producer_byte_rate=1024",
                "client-id=c: consumer_byte_rate=2048 request_percentage=12.5",
                "user=u client-id=c: producer_byte_rate=1",
            ],
            "v{version}"
        );
        let by_user = wire!(ComponentData {
            entity_type: "user".into(),
            match_type: 2,
            match_: None,
        });
        let of_address = [("ip", Some("::ffff:10.0.0.1"))];
        let rate = [("connection_creation_rate", Some(3.0))];
        assert_eq!(set(&mut client, version, &of_address, &rate).await, 0);
        let by_address = wire!(ComponentData {
            entity_type: "ip".into(),
            match_type: 0,
            match_: Some("10.0.0.1".into()),
        });
        assert_eq!(
            shown(&mut client, vec![by_address]).await,
            ["ip=10.0.0.1: connection_creation_rate=3"]
        );
        let rate = rate.map(|(key, _)| (key, None));
        assert_eq!(set(&mut client, version, &of_address, &rate).await, 0);
        let found = shown(&mut client, vec![by_user]).await;
        assert_eq!(found, ["user=u client-id=c: producer_byte_rate=1"]);
        assert_eq!(set(&mut client, version, &both, &produce(None)).await, 0);
        assert_eq!(
            set(&mut client, version, &of(None), &produce(None)).await,
            0
        );
        let own = own.map(|(key, _)| (key, None));
        assert_eq!(set(&mut client, version, &of(Some("c")), &own).await, 0);
        assert_eq!(shown(&mut client, vec![]).await, Vec::<String>::new());
    }
    let invalid = ErrorCode::INVALID_REQUEST.0;
    for (entity, limits) in [
        (&[("ip", Some("10.0.0.1"))][..], produce(Some(1.0))),
        (&[], produce(Some(1.0))),
        (&[("user", Some(""))], produce(Some(1.0))),
        (
            &[("user", Some("a")), ("user", Some("b"))],
            produce(Some(1.0)),
        ),
        (&[("user", None)], produce(Some(0.0))),
        (&[("user", None)], produce(Some(f64::NAN))),
        (&[("user", None)], produce(Some(1.5))),
        (&[("user", None)], [("connection_creation_rate", Some(1.0))]),
        (&[("user", None)], [("nonsense", Some(1.0))]),
        (&[("ip", None)], [("controller_mutation_rate", Some(1.0))]),
        (&[("ip", None)], [("connection_creation_rate", Some(1.5))]),
        (
            &[("ip", Some("localhost"))],
            [("connection_creation_rate", Some(1.0))],
        ),
        (
            &[("ip", None), ("user", None)],
            [("connection_creation_rate", Some(1.0))],
        ),
    ] {
        let code = set(&mut client, 1, entity, &limits).await;
        assert_eq!(code, invalid, "{entity:?} {limits:?}");
    }
    assert!(server.broker.topics.quotas().table().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_beyond_its_quota_is_told_and_held() {
    let server = start().await;
    let mut client = server.with_topic("t", 1).await;
    let request = produce_to("t", vec![(0, batch(&[&"x".repeat(20_000)]))], -1);
    // Ten seconds' worth are free: the second request is what is too much, by about 0.2 s.
    let code = set(
        &mut client,
        1,
        &[("client-id", Some("test"))],
        &[("producer_byte_rate", Some(4000.0))],
    )
    .await;
    assert_eq!(code, 0);
    let first = client.produce(9, &request).await.unwrap().unwrap();
    assert_eq!(first.throttle_time_ms, 0);
    let started = Instant::now();
    let second = client.produce(9, &request).await.unwrap().unwrap();
    let wait_ms = second.throttle_time_ms;
    assert!((10..1000).contains(&wait_ms), "{wait_ms} ms");
    assert_eq!(
        second.topics[0].partitions[0].error,
        ErrorCode::NONE,
        "it is stored"
    );

    // Others are not held.
    let mut other = Client::connect(server.address, "other").await.unwrap();
    let free = other.produce(9, &request).await.unwrap().unwrap();
    assert_eq!(free.throttle_time_ms, 0);
    // Whoever does not wait is not read from.
    client
        .request(4, &HeartbeatRequest::default())
        .await
        .unwrap();
    let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap());
    assert!(started.elapsed() >= wait);
    // acks=0 is not answered, but held all the same.
    let unanswered = produce_to("t", vec![(0, batch(&[&"x".repeat(1000)]))], 0);
    let started = Instant::now();
    client.produce(9, &unanswered).await.unwrap();
    client
        .request(4, &HeartbeatRequest::default())
        .await
        .unwrap();
    assert!(started.elapsed() >= wait);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_beyond_its_quota_gets_nothing_for_a_while() {
    let server = start().await;
    let mut client = server.with_topic("t", 1).await;
    let size = 20_000;
    let request = produce_to("t", vec![(0, batch(&[&"x".repeat(size)]))], -1);
    for _ in 0..3 {
        client.produce(9, &request).await.unwrap();
    }
    let quota = [("consumer_byte_rate", Some(4000.0))];
    assert_eq!(set(&mut client, 1, &[("client-id", None)], &quota).await, 0);
    for version in [6, 7, 12] {
        // A client id of its own has a quota of its own.
        let name = format!("consumer-{version}");
        let mut consumer = Client::connect(server.address, &name).await.unwrap();
        let request = fetch_from("t", 0, 0);
        let first = consumer.fetch(version, &request).await.unwrap();
        let records = |response: &crate::protocol::fetch::FetchResponse| -> usize {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|one| one.records.concat().len()).sum()
        };
        // No answer is larger than what the quota could ever allow.
        assert!(
            (size..=40_000).contains(&records(&first)),
            "{}",
            records(&first)
        );
        assert_eq!(first.throttle_time_ms, 0);
        let mut throttled = consumer.fetch(version, &request).await.unwrap();
        for _ in 0..3 {
            if throttled.throttle_time_ms > 0 {
                break;
            }
            throttled = consumer.fetch(version, &request).await.unwrap();
        }
        assert!(throttled.throttle_time_ms > 0, "v{version}");
        assert_eq!(throttled.topics, [], "v{version}");
        assert_eq!(throttled.error, ErrorCode::NONE, "v{version}");
    }
    server.stop().await;
}

/// Else the consumer would stay before it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_larger_than_any_quota_goes_out_and_is_waited_for() {
    let server = start().await;
    let mut client = server.with_topic("t", 1).await;
    let request = produce_to("t", vec![(0, batch(&[&"x".repeat(20_000)]))], -1);
    for _ in 0..2 {
        client.produce(9, &request).await.unwrap();
    }
    // Ten seconds' worth are half a batch.
    let quota = [("consumer_byte_rate", Some(1000.0))];
    assert_eq!(
        set(&mut client, 1, &[("client-id", Some("small"))], &quota).await,
        0
    );
    let mut consumer = Client::connect(server.address, "small").await.unwrap();
    let answer = consumer.fetch(12, &fetch_from("t", 0, 0)).await.unwrap();
    let found = answer.topics[0].partitions[0].records.concat().len();
    assert!((20_000..21_000).contains(&found), "{found} bytes");
    let wait_ms = answer.throttle_time_ms;
    assert!((10_000..11_000).contains(&wait_ms), "{wait_ms} ms");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_their_share_of_the_threads_wait() {
    let server = start().await;
    let mut client = server.client().await;
    // So little that any request is beyond it.
    let quota = [("request_percentage", Some(0.000_001))];
    let code = set(&mut client, 1, &[("client-id", Some("busy"))], &quota).await;
    assert_eq!(code, 0);
    let mut busy = Client::connect(server.address, "busy").await.unwrap();
    let started = Instant::now();
    let answer = busy.request(4, &HeartbeatRequest::default()).await.unwrap();
    assert_eq!(answer.throttle_time_ms, 1000, "a second at most");
    let answer = busy.request(0, &HeartbeatRequest::default()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(1000));
    assert_eq!(answer.throttle_time_ms, 0, "version 0 has no field for it");
    let free = client
        .request(4, &HeartbeatRequest::default())
        .await
        .unwrap();
    assert_eq!(free.throttle_time_ms, 0);
    server.stop().await;
}

/// Creates topics of so many partitions: the code of each, and the wait in ms.
async fn create(
    client: &mut Client,
    version: i16,
    topics: &[(&str, i32)],
    validate_only: bool,
) -> (Vec<i16>, i32) {
    let topics = topics.iter().map(|(name, partitions)| {
        wire!(CreatableTopic {
            name: (*name).into(),
            num_partitions: *partitions,
            replication_factor: -1,
        })
    });
    let request = wire!(CreateTopicsRequest {
        topics: topics.collect(),
        validate_only,
    });
    let answer = client.request(version, &request).await.unwrap();
    let codes = answer.topics.iter().map(|topic| topic.error_code);
    (codes.collect(), answer.throttle_time_ms)
}

async fn delete(client: &mut Client, version: i16, topic: &str) -> (i16, i32) {
    let request = wire!(DeleteTopicsRequest {
        topic_names: vec![topic.into()]
    });
    let answer = client.request(version, &request).await.unwrap();
    (answer.responses[0].error_code, answer.throttle_time_ms)
}

async fn grow(client: &mut Client, version: i16, topic: &str, count: i32) -> (i16, i32) {
    let request = wire!(CreatePartitionsRequest {
        topics: vec![wire!(CreatePartitionsTopic {
            name: topic.into(),
            count,
            assignments: None,
        })],
    });
    let answer = client.request(version, &request).await.unwrap();
    (answer.results[0].error_code, answer.throttle_time_ms)
}

/// Limits changes to `rate` partitions a second; 11 seconds' worth are free. Connects.
async fn limited(server: &Server, name: &str, rate: f64) -> Client {
    let mut client = server.client().await;
    let quota = [("controller_mutation_rate", Some(rate))];
    let code = set(&mut client, 1, &[("client-id", Some(name))], &quota).await;
    assert_eq!(code, 0);
    Client::connect(server.address, name).await.unwrap()
}

const REFUSED: i16 = ErrorCode::THROTTLING_QUOTA_EXCEEDED.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_topics_beyond_a_quota_are_refused() {
    let now = Arc::new(AtomicI64::new(NOW_MS));
    let server = start_at(&now).await;
    // 110 partitions are free; each further one takes 100 ms.
    let mut client = limited(&server, "admin", 10.0).await;
    assert_eq!(
        create(&mut client, 7, &[("a", 100)], false).await,
        (vec![0], 0)
    );
    // What is not done costs nothing.
    let invalid = ErrorCode::TOPIC_ALREADY_EXISTS.0;
    assert_eq!(
        create(&mut client, 7, &[("a", 100)], false).await,
        (vec![invalid], 0)
    );
    assert_eq!(
        create(&mut client, 7, &[("b", 100)], true).await,
        (vec![0], 0)
    );
    let code = ErrorCode::INVALID_PARTITIONS.0;
    assert_eq!(grow(&mut client, 3, "a", 50).await, (code, 0));
    // The one that goes beyond is made still, those after it are not.
    assert_eq!(
        create(&mut client, 7, &[("b", 12), ("c", 1)], false).await,
        (vec![0, REFUSED], 200)
    );
    assert!(server.broker.topics.get("b").is_some() && server.broker.topics.get("c").is_none());
    // Whoever is told to wait is not read from.
    let started = Instant::now();
    assert_eq!(grow(&mut client, 3, "a", 101).await, (REFUSED, 200));
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(delete(&mut client, 5, "a").await, (REFUSED, 200));
    assert_eq!(
        server.broker.topics.get("a").unwrap().partitions().len(),
        100
    );
    // A topic that is not there yet is what a client expects that waits for its creation.
    let metadata = wire!(MetadataRequest {
        topics: Some(vec![wire!(MetadataRequestTopic {
            name: Some("first-use".into())
        })]),
        allow_auto_topic_creation: true,
    });
    let answer = client.request(12, &metadata).await.unwrap();
    assert_eq!(
        answer.topics[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0
    );
    assert_eq!(answer.throttle_time_ms, 0);
    // Others have quotas of their own, or none.
    let mut other = server.client().await;
    assert_eq!(create(&mut other, 7, &[("d", 500)], false).await.1, 0);

    now.store(NOW_MS + 200, Ordering::Relaxed);
    let answer = client.request(12, &metadata).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0);
    now.store(NOW_MS + 300, Ordering::Relaxed);
    // A hundred partitions go at once, and are paid for afterwards.
    assert_eq!(delete(&mut client, 5, "a").await, (0, 0));
    assert_eq!(grow(&mut client, 3, "b", 13).await, (REFUSED, 10_000));
    server.stop().await;
}

/// Older clients do not know the code: what they want is done, and they are made to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_clients_wait_for_what_they_changed() {
    let server = start().await;
    let mut client = limited(&server, "old", 10.0).await;
    let topics = [("a", 110), ("b", 1)];
    assert_eq!(
        create(&mut client, 5, &topics, false).await,
        (vec![0, 0], 100)
    );
    assert_eq!(grow(&mut client, 2, "b", 2).await, (0, 200));
    assert_eq!(delete(&mut client, 4, "b").await, (0, 400));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_connects_too_often_is_turned_away() {
    let now = Arc::new(AtomicI64::new(NOW_MS));
    let server = start_at(&now).await;
    let mut client = server.client().await;
    let quota = [("connection_creation_rate", Some(2.0))];
    let other = [("ip", Some("10.0.0.1"))];
    assert_eq!(set(&mut client, 1, &other, &quota).await, 0);
    let any = [("ip", None)];
    assert_eq!(set(&mut client, 1, &any, &quota).await, 0);
    let heartbeat = HeartbeatRequest::default();
    // Ten seconds' worth are free.
    for _ in 0..20 {
        let mut one = server.client().await;
        one.request(4, &heartbeat).await.unwrap();
    }
    let started = Instant::now();
    let mut one = server.client().await;
    assert!(one.request(4, &heartbeat).await.is_err());
    assert!(started.elapsed() >= Duration::from_millis(500));
    // Those that are there already are served, and time makes room.
    client.request(4, &heartbeat).await.unwrap();
    now.store(NOW_MS + 11_000, Ordering::Relaxed);
    server.client().await.request(4, &heartbeat).await.unwrap();
    server.stop().await;
}
