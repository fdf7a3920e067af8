//! Fetch sessions over a socket, in every version that has them.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::client::Client;
use super::harness::{Server, batch, fetch_from, produce_to};
use crate::error::ErrorCode;
use crate::protocol::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
};
use crate::validation::NoValidation;

struct Consumer {
    client: Client,
    version: i16,
    name: String,
    id: Uuid,
    session: (i32, i32),
}

impl Consumer {
    async fn new(server: &Server, version: i16) -> Self {
        let id = server.broker.topics.get("t").unwrap().id.0;
        let by_id = version >= 13;
        Self {
            client: server.client().await,
            version,
            name: if by_id { String::new() } else { "t".to_owned() },
            id: if by_id { id } else { Uuid::nil() },
            session: (0, 0),
        }
    }

    fn request(&self, partitions: &[(i32, i64)], forgotten: &[i32]) -> FetchRequest {
        let asked = partitions.iter().map(|(index, offset)| FetchPartition {
            index: *index,
            current_leader_epoch: -1,
            fetch_offset: *offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1 << 20,
        });
        let topics = FetchTopic {
            name: self.name.clone(),
            id: self.id,
            partitions: asked.collect(),
        };
        let dropped = ForgottenTopic {
            name: self.name.clone(),
            id: self.id,
            partitions: forgotten.to_vec(),
        };
        FetchRequest {
            session_id: self.session.0,
            session_epoch: self.session.1,
            min_bytes: 1,
            topics: [topics]
                .into_iter()
                .filter(|one| !one.partitions.is_empty())
                .collect(),
            forgotten: [dropped]
                .into_iter()
                .filter(|one| !one.partitions.is_empty())
                .collect(),
            ..FetchRequest::default()
        }
    }

    /// Fetches without waiting; which partitions are answered, and how much of each.
    async fn fetch(&mut self, partitions: &[(i32, i64)], forgotten: &[i32]) -> Vec<(i32, usize)> {
        let request = self.request(partitions, forgotten);
        let response = self.client.fetch(self.version, &request).await.unwrap();
        assert_eq!(response.error, ErrorCode::NONE, "v{}", self.version);
        self.session = (response.session_id, self.session.1 + 1);
        answered(&response)
    }
}

fn answered(response: &FetchResponse) -> Vec<(i32, usize)> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|one| {
            assert_eq!(one.error, ErrorCode::NONE);
            (one.index, one.records.concat().len())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_answers_what_changed_in_every_version() {
    let server = Server::start().await;
    let mut producer = server.with_topic("t", 3).await;
    let size = batch(&["a"]).len();
    let mut end = 0;
    for version in 7..=18 {
        let mut consumer = Consumer::new(&server, version).await;
        let first = consumer.fetch(&[(0, end), (1, 0), (2, 0)], &[]).await;
        assert_eq!(first, [(0, 0), (1, 0), (2, 0)], "v{version}");
        assert_ne!(consumer.session.0, 0, "v{version}");
        assert_eq!(consumer.fetch(&[], &[]).await, [], "v{version}");
        let request = produce_to("t", vec![(0, batch(&["a"]))], -1);
        producer.produce(9, &request).await.unwrap();
        assert_eq!(consumer.fetch(&[], &[]).await, [(0, size)], "v{version}");
        end += 1;
        assert_eq!(consumer.fetch(&[(0, end)], &[1]).await, [], "v{version}");
        // One that comes back is told anew.
        assert_eq!(consumer.fetch(&[(1, 0)], &[]).await, [(1, 0)], "v{version}");

        let id = consumer.session.0;
        for ((session_id, session_epoch), expected) in [
            ((id, 1), ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            ((id ^ 1, 1), ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
        ] {
            let request = FetchRequest {
                session_id,
                session_epoch,
                ..consumer.request(&[], &[])
            };
            let refused = consumer.client.fetch(version, &request).await.unwrap();
            assert_eq!(
                (refused.error, refused.session_id),
                (expected, 0),
                "v{version}"
            );
        }
        // A client that changes between names and ids.
        let other = if version >= 13 { 12 } else { 17 };
        let request = consumer.request(&[], &[]);
        let refused = consumer.client.fetch(other, &request).await.unwrap();
        assert_eq!(refused.error, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        // Nothing of this ended it; asking in full does.
        assert_eq!(consumer.fetch(&[], &[]).await, [], "v{version}");
        consumer.session.1 = -1;
        assert_eq!(consumer.fetch(&[(1, 0)], &[]).await, [(1, 0)], "v{version}");
        assert_eq!(consumer.session.0, 0, "v{version}");
    }
    assert_eq!(server.broker.fetch_sessions.len(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_of_a_session_is_woken_by_any_of_its_partitions() {
    let server = Server::start().await;
    let mut producer = server.with_topic("t", 3).await;
    let mut consumer = Consumer::new(&server, 17).await;
    consumer.fetch(&[(0, 0), (1, 0), (2, 0)], &[]).await;
    let waiting = FetchRequest {
        max_wait_ms: 60_000,
        ..consumer.request(&[], &[])
    };
    let waiting = tokio::spawn(async move { consumer.client.fetch(17, &waiting).await.unwrap() });
    let request = produce_to("t", vec![(2, batch(&["a"]))], -1);
    producer.produce(9, &request).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    let woken = woken.expect("the poll is woken").unwrap();
    assert_eq!(answered(&woken), [(2, batch(&["a"]).len())]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_take_turns_when_an_answer_is_full() {
    let server = Server::start().await;
    let mut producer = server.with_topic("t", 4).await;
    for _ in 0..10 {
        let batches = (0..4).map(|index| (index, batch(&["a"]))).collect();
        let request = produce_to("t", batches, -1);
        producer.produce(9, &request).await.unwrap();
    }
    let mut consumer = Consumer::new(&server, 17).await;
    let mut offsets = [0_i64; 4];
    // Room for one batch at a time; the consumer never says anything but where it is.
    let size = i32::try_from(batch(&["a"]).len()).unwrap();
    let mut known: Option<[i64; 4]> = None;
    for round in 1..=40 {
        let changed: Vec<(i32, i64)> = (0..4)
            .filter(|place| known.is_none_or(|known| known[*place] != offsets[*place]))
            .map(|place| (i32::try_from(place).unwrap(), offsets[place]))
            .collect();
        known = Some(offsets);
        let request = FetchRequest {
            max_bytes: size,
            ..consumer.request(&changed, &[])
        };
        let response = consumer.client.fetch(17, &request).await.unwrap();
        consumer.session = (response.session_id, consumer.session.1 + 1);
        for (index, bytes) in answered(&response) {
            if bytes > 0 {
                offsets[usize::try_from(index).unwrap()] += 1;
            }
        }
        let (least, most) = (offsets.iter().min().unwrap(), offsets.iter().max().unwrap());
        assert!(most - least <= 1, "round {round}: {offsets:?}");
    }
    assert_eq!(offsets, [10; 4]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_sessions_clients_ask_in_full() {
    let server = Server::start_configured(Arc::new(NoValidation), |config| {
        config.fetch_sessions_max = 1;
    })
    .await;
    server.with_topic("t", 1).await;
    let mut first = Consumer::new(&server, 12).await;
    let mut second = Consumer::new(&server, 12).await;
    first.fetch(&[(0, 0)], &[]).await;
    assert_ne!(first.session.0, 0);
    assert_eq!(second.fetch(&[(0, 0)], &[]).await, [(0, 0)]);
    assert_eq!(second.session.0, 0);
    // Older versions know no sessions and get none.
    let mut old = server.client().await;
    let response = old.fetch(6, &fetch_from("t", 0, 0)).await.unwrap();
    assert_eq!(answered(&response), [(0, 0)]);
    server.stop().await;
}
