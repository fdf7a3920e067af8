//! A whole broker on a loopback port, and what the tests say to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kafka_wire::CreateTopicsRequest;
use kafka_wire::create_topics_request::CreatableTopic;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::Client;
use crate::broker::{Broker, BrokerConfig};
use crate::ids::{ProducerEpoch, ProducerId, Sequence};
use crate::protocol::fetch::{FetchPartition, FetchPartitionResponse, FetchRequest, FetchTopic};
use crate::protocol::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceTopic,
};
use crate::records::{BatchBuilder, BatchView, Compression, DecompressionScratch};
use crate::validation::{NoValidation, RecordValidator};
use crate::wire;

pub(super) const NOW_MS: i64 = 1_700_000_000_000;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) broker: Arc<Broker>,
    pub(super) shutdown: CancellationToken,
    serving: JoinHandle<()>,
    _data: TempDir,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(Arc::new(NoValidation)).await
    }

    pub(super) async fn start_with(validator: Arc<dyn RecordValidator>) -> Self {
        Self::start_limited(validator, 100).await
    }

    pub(super) async fn start_limited(
        validator: Arc<dyn RecordValidator>,
        connections_max: usize,
    ) -> Self {
        Self::start_configured(validator, |config| config.connections_max = connections_max).await
    }

    pub(super) async fn start_configured(
        validator: Arc<dyn RecordValidator>,
        configure: impl FnOnce(&mut BrokerConfig),
    ) -> Self {
        let data = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = BrokerConfig {
            advertised_host: "127.0.0.1".to_owned(),
            advertised_port: i32::from(address.port()),
            socket_request_bytes_max: 4 << 20,
            request_memory_bytes_max: 8 << 20,
            connections_max: 100,
            ..BrokerConfig::new(data.path().to_owned())
        };
        configure(&mut config);
        let broker = Broker::open(config, validator).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(Arc::clone(&broker.groups).run(shutdown.clone()));
        tokio::spawn(Arc::clone(&broker.transactions).run(shutdown.clone()));
        let serving = tokio::spawn(super::serve(
            Arc::clone(&broker),
            listener,
            shutdown.clone(),
        ));
        Self {
            address,
            broker,
            shutdown,
            serving,
            _data: data,
        }
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.address, "test").await.unwrap()
    }

    pub(super) async fn with_topic(&self, name: &str, partitions: i32) -> Client {
        let mut client = self.client().await;
        let request = wire!(CreateTopicsRequest {
            topics: vec![wire!(CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: -1,
            })],
        });
        let created = client.request(7, &request).await.unwrap();
        assert_eq!(created.topics[0].error_code, 0, "{created:?}");
        client
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        let broker = self.broker;
        tokio::task::spawn_blocking(move || broker.close().unwrap())
            .await
            .unwrap();
    }
}

pub(super) fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None, NOW_MS);
    for value in values {
        builder.append(NOW_MS, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(super) fn sequenced(producer_id: i64, epoch: i16, first: i32, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None, NOW_MS).producer(
        ProducerId(producer_id),
        ProducerEpoch(epoch),
        Sequence(first),
    );
    for value in values {
        builder.append(NOW_MS, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(super) fn produce_to(
    topic: &str,
    partitions: Vec<(i32, Vec<u8>)>,
    acks: i16,
) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 10_000,
        topics: vec![ProduceTopic {
            name: topic.to_owned(),
            id: Uuid::nil(),
            partitions: partitions
                .into_iter()
                .map(|(index, records)| ProducePartition {
                    index,
                    records: Some(BytesMut::from(&records[..])),
                })
                .collect(),
        }],
    }
}

pub(super) async fn produce(
    client: &mut Client,
    topic: &str,
    records: Vec<u8>,
) -> ProducePartitionResponse {
    let request = produce_to(topic, vec![(0, records)], -1);
    let mut response = client.produce(9, &request).await.unwrap().unwrap();
    response.topics.remove(0).partitions.remove(0)
}

pub(super) fn fetch_from(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            name: topic.to_owned(),
            id: Uuid::nil(),
            partitions: vec![FetchPartition {
                index: 0,
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                max_bytes: 1 << 20,
            }],
        }],
        ..FetchRequest::default()
    }
}

pub(super) async fn fetch(client: &mut Client, request: &FetchRequest) -> FetchPartitionResponse {
    let mut response = client.fetch(12, request).await.unwrap();
    response.topics.remove(0).partitions.remove(0)
}

pub(super) fn values(answer: &FetchPartitionResponse) -> Vec<String> {
    let records = answer.records.concat();
    let mut rest = &records[..];
    let mut values = Vec::new();
    let mut scratch = DecompressionScratch::default();
    while !rest.is_empty() {
        let (view, after) = BatchView::parse(rest).unwrap();
        view.verify_crc().unwrap();
        for record in view.records(&mut scratch).unwrap() {
            let value = record.unwrap().value.unwrap().to_vec();
            values.push(String::from_utf8(value).unwrap());
        }
        rest = after;
    }
    values
}

pub(super) async fn is_closed(client: &mut Client) -> bool {
    tokio::time::timeout(Duration::from_secs(10), client.receive())
        .await
        .expect("neither answered nor closed")
        .is_err()
}
