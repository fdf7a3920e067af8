//! Nobody starves behind others, and nobody makes the broker keep much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kafka_wire::{ApiVersionsRequest, HeartbeatRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::{Server, batch, fetch_from, produce_to, values};
use crate::protocol::client::{decode_fetch, encode_fetch, encode_request};
use crate::protocol::fetch::{FetchPartition, FetchRequest, FetchResponse};
use crate::validation::NoValidation;

/// Records of a batch that is nearly as large as may be.
const BATCH_BYTES: usize = 1_000_000;

const PARTITIONS: i32 = 4;

/// As much as there is of every partition.
fn greedy() -> FetchRequest {
    let mut request = fetch_from("t", 0, 0);
    request.max_bytes = i32::MAX;
    let partition = request.topics[0].partitions[0];
    let partitions = (0..PARTITIONS).map(|index| FetchPartition {
        index,
        max_bytes: i32::MAX,
        ..partition
    });
    request.topics[0].partitions = partitions.collect();
    request
}

fn batches(response: &FetchResponse) -> usize {
    let partitions = &response.topics[0].partitions;
    let found = partitions.iter().map(|answer| {
        let values = values(answer);
        assert!(values.iter().all(|value| value.len() == BATCH_BYTES));
        values.len()
    });
    found.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_no_more_than_its_share() {
    const MEMORY_BYTES: usize = 32 << 20;
    let server = Server::start_configured(Arc::new(NoValidation), |config| {
        config.fetch_memory_bytes_max = MEMORY_BYTES;
    })
    .await;
    let mut client = server.with_topic("t", PARTITIONS).await;
    let value = "x".repeat(BATCH_BYTES);
    for _ in 0..9 {
        for index in 0..PARTITIONS {
            let request = produce_to("t", vec![(index, batch(&[&value]))], 1);
            client.produce(9, &request).await.unwrap();
        }
    }
    let memory = &server.broker.fetch_memory;
    let held = || MEMORY_BYTES - memory.available_permits();

    // More than sockets take: the answer stays here.
    let mut slow = server.client().await;
    let frame = encode_fetch(12, 1, "slow", &greedy()).unwrap();
    slow.send(&frame).await.unwrap();
    while held() < MEMORY_BYTES - 2 * BATCH_BYTES {
        tokio::task::yield_now().await;
    }
    // Others go on meanwhile, with little at a time.
    for _ in 0..5 {
        let answer = client.fetch(12, &greedy()).await.unwrap();
        assert_eq!(batches(&answer), 1);
        assert!(held() <= MEMORY_BYTES);
    }
    // Late is not lost.
    let frame = slow.receive().await.unwrap();
    let (_, answer) = decode_fetch(12, &frame).unwrap();
    assert!(batches(&answer) > 20, "{} batches", batches(&answer));
    while memory.available_permits() < MEMORY_BYTES {
        tokio::task::yield_now().await;
    }
    let answer = client.fetch(12, &greedy()).await.unwrap();
    assert!(batches(&answer) > 20, "{} batches", batches(&answer));
    server.stop().await;
}

/// On one thread, a connection that has always more to ask does not keep another from its turn.
#[tokio::test]
async fn a_flood_of_requests_does_not_keep_others_waiting() {
    const REQUESTS: usize = 20_000;
    let server = Server::start().await;
    let mut other = server.client().await;
    let request = ApiVersionsRequest::default();
    let frame = encode_request(18, 0, 7, "flood", &request).unwrap();
    let (mut read, mut write) = TcpStream::connect(server.address)
        .await
        .unwrap()
        .into_split();
    let flood = tokio::spawn(async move {
        write.write_all(&frame.repeat(REQUESTS)).await.unwrap();
        write
    });
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    let reading = tokio::spawn(async move {
        let mut answer = Vec::new();
        for _ in 0..REQUESTS {
            let length = read.read_i32().await.unwrap();
            answer.resize(usize::try_from(length).unwrap(), 0);
            read.read_exact(&mut answer).await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    while answered.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    other
        .request(4, &HeartbeatRequest::default())
        .await
        .unwrap();
    let before = answered.load(Ordering::Relaxed);
    assert!(before < REQUESTS / 2, "{before} of the flood came first");
    reading.await.unwrap();
    drop(flood.await.unwrap());
    server.stop().await;
}
