//! A small Kafka client for the command line: one connection, one request at a time.
//!
//! Speaks versions that Kafka 2.4 and later have. It asks the broker it was given for everything:
//! Assay is one node.

use std::time::Duration;

use broker_core::error::ErrorCode;
use broker_core::protocol::client as codec;
use broker_core::protocol::fetch::{FetchPartition, FetchRequest, FetchTopic};
use broker_core::protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig,
};
use broker_core::protocol::messages::describe_configs_request::DescribeConfigsResource;
use broker_core::protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use broker_core::protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use broker_core::protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsTopic,
};
use broker_core::protocol::messages::metadata_request::MetadataRequestTopic;
use broker_core::protocol::messages::metadata_response::MetadataResponseTopic;
use broker_core::protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse,
};
use broker_core::protocol::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceTopic,
};
use broker_core::protocol::{FETCH, KafkaDecode, KafkaEncode, PRODUCE};
use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

const CLIENT_ID: &str = "assay-cli";
const CONNECT_MAX: Duration = Duration::from_secs(10);
const RESPONSE_MAX: Duration = Duration::from_secs(60);
/// Larger answers than this are not a broker's.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
const TIMEOUT_MS: i32 = 30_000;
/// The broker caps one answer at about this many bytes.
const FETCH_BYTES_MAX: i32 = 8 * 1024 * 1024;

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS: (i16, i16) = (2, 7);
const METADATA: (i16, i16) = (3, 9);
const CREATE_TOPICS: (i16, i16) = (19, 5);
const DELETE_TOPICS: (i16, i16) = (20, 5);
const DESCRIBE_CONFIGS: (i16, i16) = (32, 4);
const INCREMENTAL_ALTER_CONFIGS: (i16, i16) = (44, 1);
const TOPIC_RESOURCE: i8 = 2;

/// Why a call came to nothing.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answered, or the connection broke.
    #[error("cannot reach the broker at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// What came back is not a Kafka answer.
    #[error("the broker's answer makes no sense: {0}")]
    Codec(#[from] codec::ClientError),
    /// The broker refused.
    #[error("{what}: {} ({}){}", code.name(), code.0, message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// What was asked, for example `topic orders`.
        what: String,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's text.
        message: Option<String>,
    },
}

/// A generated message with some fields set; the generated structs cannot be written literally.
macro_rules! message {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let mut message = $type::default();
        $(message.$field = $value;)*
        message
    }};
}

/// A connection to a broker.
#[derive(Debug)]
pub struct KafkaClient {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
}

/// What to change of a topic config.
#[derive(Debug, Clone)]
pub struct ConfigChange {
    /// The config's name.
    pub name: String,
    /// The new value; `None` goes back to the default.
    pub value: Option<String>,
}

impl KafkaClient {
    /// Connects to the first of a comma-separated list of addresses that answers.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with the last reason.
    pub async fn connect(bootstrap: &str) -> Result<Self, ClientError> {
        let mut failed = None;
        for address in bootstrap.split(',').map(str::trim) {
            let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await;
            let reason = match connected {
                Ok(Ok(stream)) => {
                    // Small requests must not wait for each other's acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        error.to_string()
                    } else {
                        return Ok(Self {
                            address: address.to_owned(),
                            stream,
                            correlation_id: 0,
                        });
                    }
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in 10 s".to_owned(),
            };
            failed = Some(ClientError::Unreachable {
                address: address.to_owned(),
                reason,
            });
        }
        Err(failed.unwrap_or_else(|| ClientError::Unreachable {
            address: bootstrap.to_owned(),
            reason: "no address".to_owned(),
        }))
    }

    /// Topics by name; `None` for all.
    ///
    /// # Errors
    /// When the broker cannot be asked. A topic's own error stays in its entry.
    pub async fn metadata(
        &mut self,
        topics: Option<&[&str]>,
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let request = message!(MetadataRequest {
            topics: topics.map(|topics| {
                topics
                    .iter()
                    .map(|&name| {
                        message!(MetadataRequestTopic {
                            name: Some(name.into())
                        })
                    })
                    .collect()
            }),
            allow_auto_topic_creation: false
        });
        let response: MetadataResponse = self.call(METADATA, &request).await?;
        Ok(response.topics)
    }

    /// Goes on with the broker that leads a partition: this one, where it does.
    ///
    /// # Errors
    /// When the topic has no such partition, or its leader cannot be reached.
    pub async fn connect_to_leader(
        mut self,
        topic: &str,
        partition: i32,
    ) -> Result<Self, ClientError> {
        let request = message!(MetadataRequest {
            topics: Some(vec![message!(MetadataRequestTopic {
                name: Some(topic.into())
            })]),
            allow_auto_topic_creation: false
        });
        let response: MetadataResponse = self.call(METADATA, &request).await?;
        if response.brokers.len() < 2 {
            return Ok(self);
        }
        let leader = response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .find(|found| found.partition_index == partition)
            .map(|found| found.leader_id);
        let broker = response
            .brokers
            .iter()
            .find(|broker| Some(broker.node_id) == leader);
        let Some(broker) = broker else {
            return Err(ClientError::Refused {
                what: format!("{topic}-{partition}"),
                code: ErrorCode::LEADER_NOT_AVAILABLE,
                message: None,
            });
        };
        Self::connect(&format!("{}:{}", broker.host, broker.port)).await
    }

    /// Partition indexes of an existing topic, ascending.
    ///
    /// # Errors
    /// Refused when the topic does not exist.
    pub async fn partitions(&mut self, topic: &str) -> Result<Vec<i32>, ClientError> {
        let topics = self.metadata(Some(&[topic])).await?;
        let found = topics.into_iter().next().unwrap_or_default();
        refused(&format!("topic {topic}"), found.error_code, None)?;
        let mut partitions: Vec<i32> = found
            .partitions
            .iter()
            .map(|partition| partition.partition_index)
            .collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Creates a topic; -1 partitions is the broker's default.
    ///
    /// # Errors
    /// Refused with the broker's text.
    pub async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let request = message!(CreateTopicsRequest {
            topics: vec![message!(CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: -1,
                configs: configs
                    .iter()
                    .map(|config| message!(CreatableTopicConfig {
                        name: config.name.as_str().into(),
                        value: config.value.as_deref().map(Into::into)
                    }))
                    .collect()
            })],
            timeout_ms: TIMEOUT_MS
        });
        let response: CreateTopicsResponse = self.call(CREATE_TOPICS, &request).await?;
        for topic in response.topics {
            refused(
                &format!("topic {name}"),
                topic.error_code,
                topic.error_message.map(|text| text.into_string()),
            )?;
        }
        Ok(())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// Refused with the broker's text.
    pub async fn delete_topic(&mut self, name: &str) -> Result<(), ClientError> {
        let request = message!(DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: TIMEOUT_MS
        });
        let response: DeleteTopicsResponse = self.call(DELETE_TOPICS, &request).await?;
        for topic in response.responses {
            refused(
                &format!("topic {name}"),
                topic.error_code,
                topic.error_message.map(|text| text.into_string()),
            )?;
        }
        Ok(())
    }

    /// Every config of a topic.
    ///
    /// # Errors
    /// Refused with the broker's text.
    pub async fn topic_configs(
        &mut self,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let request = message!(DescribeConfigsRequest {
            resources: vec![message!(DescribeConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: name.into(),
                configuration_keys: None
            })]
        });
        let response: DescribeConfigsResponse = self.call(DESCRIBE_CONFIGS, &request).await?;
        let mut configs = Vec::new();
        for result in response.results {
            refused(
                &format!("topic {name}"),
                result.error_code,
                result.error_message.map(|text| text.into_string()),
            )?;
            configs.extend(result.configs);
        }
        Ok(configs)
    }

    /// Sets or resets configs of a topic, leaving the others.
    ///
    /// # Errors
    /// Refused with the broker's text.
    pub async fn alter_topic_configs(
        &mut self,
        name: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let request = message!(IncrementalAlterConfigsRequest {
            resources: vec![message!(AlterConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: name.into(),
                configs: changes
                    .iter()
                    .map(|change| message!(AlterableConfig {
                        name: change.name.as_str().into(),
                        config_operation: i8::from(change.value.is_none()),
                        value: change.value.as_deref().map(Into::into)
                    }))
                    .collect()
            })]
        });
        let response: IncrementalAlterConfigsResponse =
            self.call(INCREMENTAL_ALTER_CONFIGS, &request).await?;
        for result in response.responses {
            refused(
                &format!("topic {name}"),
                result.error_code,
                result.error_message.map(|text| text.into_string()),
            )?;
        }
        Ok(())
    }

    /// The offset at a time: -1 latest, -2 earliest, else the first record at or after that many
    /// milliseconds since the epoch (-1 when there is none).
    ///
    /// # Errors
    /// Refused with the broker's code.
    pub async fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<i64, ClientError> {
        let request = message!(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![message!(ListOffsetsTopic {
                name: topic.into(),
                partitions: vec![message!(ListOffsetsPartition {
                    partition_index: partition,
                    current_leader_epoch: -1,
                    timestamp: timestamp
                })]
            })]
        });
        let response: ListOffsetsResponse = self.call(LIST_OFFSETS, &request).await?;
        let mut offset = -1;
        for answer in response
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            refused(&format!("{topic}-{partition}"), answer.error_code, None)?;
            offset = answer.offset;
        }
        Ok(offset)
    }

    /// Produces one batch; the answer may hold an error.
    ///
    /// # Errors
    /// When the broker cannot be asked or answers nothing for the partition.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        acks: i16,
    ) -> Result<ProducePartitionResponse, ClientError> {
        let frame = self.produce_frame(topic, partition, batch, acks)?;
        let answer = self.exchange(&frame).await?;
        let (_, response) = codec::decode_produce(PRODUCE_VERSION, &answer)?;
        response
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .next()
            .ok_or_else(|| ClientError::Refused {
                what: format!("{topic}-{partition}"),
                code: ErrorCode::UNKNOWN_SERVER_ERROR,
                message: Some("the answer names no partition".to_owned()),
            })
    }

    /// A Produce request as bytes, for sending again and again.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn produce_frame(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        acks: i16,
    ) -> Result<Vec<u8>, ClientError> {
        let request = ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: TIMEOUT_MS,
            topics: vec![ProduceTopic {
                name: topic.to_owned(),
                id: Uuid::nil(),
                partitions: vec![ProducePartition {
                    index: partition,
                    records: Some(BytesMut::from(batch)),
                }],
            }],
        };
        self.correlation_id = self.correlation_id.wrapping_add(1);
        Ok(codec::encode_produce(
            PRODUCE_VERSION,
            self.correlation_id,
            CLIENT_ID,
            &request,
        )?)
    }

    /// Fetches whole batches from `offset`; answers them with the high watermark.
    ///
    /// # Errors
    /// Refused with the broker's code.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> Result<(Bytes, i64), ClientError> {
        let request = FetchRequest {
            max_wait_ms,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            topics: vec![FetchTopic {
                name: topic.to_owned(),
                id: Uuid::nil(),
                partitions: vec![FetchPartition {
                    index: partition,
                    current_leader_epoch: -1,
                    fetch_offset: offset,
                    last_fetched_epoch: -1,
                    log_start_offset: -1,
                    max_bytes: FETCH_BYTES_MAX,
                }],
            }],
            ..Default::default()
        };
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = codec::encode_fetch(FETCH_VERSION, self.correlation_id, CLIENT_ID, &request)?;
        let answer = self.exchange(&frame).await?;
        let (_, response) = codec::decode_fetch(FETCH_VERSION, &answer)?;
        let what = format!("{topic}-{partition}");
        refused(&what, response.error.0, None)?;
        let mut batches = Bytes::new();
        let mut high_watermark = 0;
        for answer in response
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            refused(&what, answer.error.0, None)?;
            high_watermark = answer.high_watermark;
            batches = match <[Bytes; 1]>::try_from(answer.records) {
                Ok([whole]) => whole,
                Err(parts) => Bytes::from(parts.concat()),
            };
        }
        Ok((batches, high_watermark))
    }

    async fn call<T: KafkaDecode>(
        &mut self,
        (api_key, version): (i16, i16),
        request: &impl KafkaEncode,
    ) -> Result<T, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame =
            codec::encode_request(api_key, version, self.correlation_id, CLIENT_ID, request)?;
        let answer = self.exchange(&frame).await?;
        let (_, response) = codec::decode_response(api_key, version, &answer)?;
        Ok(response)
    }

    /// Sends a frame and answers the next response frame, without its length prefix.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub async fn exchange(&mut self, frame: &[u8]) -> Result<Bytes, ClientError> {
        let exchanged = tokio::time::timeout(RESPONSE_MAX, async {
            self.stream.write_all(frame).await?;
            let length = usize::try_from(self.stream.read_u32().await?).unwrap_or(usize::MAX);
            if length > RESPONSE_BYTES_MAX {
                return Err(std::io::Error::other(format!(
                    "a response of {length} bytes"
                )));
            }
            let mut answer = BytesMut::new();
            let mut body = (&mut self.stream).take(length as u64);
            while answer.len() < length {
                if body.read_buf(&mut answer).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(answer.freeze())
        })
        .await;
        let reason = match exchanged {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in 60 s".to_owned(),
        };
        Err(ClientError::Unreachable {
            address: self.address.clone(),
            reason,
        })
    }
}

fn refused(what: &str, code: i16, message: Option<String>) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    Err(ClientError::Refused {
        what: what.to_owned(),
        code: ErrorCode(code),
        message,
    })
}

// The numbers are Kafka's; the table of the protocol module must agree.
const _: () = assert!(PRODUCE == 0 && FETCH == 1);
