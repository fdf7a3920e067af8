//! A Kafka client for the command line: finds a broker, agrees on versions, talks to partition
//! leaders, and turns error codes into sentences.
//!
//! One request at a time over one connection per broker; no background work and no retries: a
//! command that fails says why and ends. Knows nothing of schemas. The connection itself is
//! [`broker_core::net::client`].

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use broker_core::error::ErrorCode;
use broker_core::net::client::Client as Connection;
use broker_core::protocol::fetch::{FetchPartition, FetchRequest, FetchTopic};
use broker_core::protocol::produce::{
    BatchIndexError, ProducePartition, ProduceRequest, ProduceTopic,
};
use broker_core::wire;
use bytes::{Bytes, BytesMut};
use kafka_wire::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest, RequestResponsePair,
    create_topics_request, describe_configs_request, incremental_alter_configs_request,
    list_offsets_request, metadata_request,
};
use uuid::Uuid;

/// How long a broker may take to answer, besides the time a fetch is told to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// `resource_type` of a topic in the config APIs.
const RESOURCE_TOPIC: i8 = 2;
/// `config_source` of a value set on the topic itself.
const SOURCE_TOPIC: i8 = 1;

/// Versions this client speaks of an API: those that name topics by name.
#[derive(Debug, Clone, Copy)]
struct Spoken {
    api: &'static str,
    key: i16,
    min: i16,
    max: i16,
}

impl Spoken {
    const fn new(api: &'static str, key: i16, min: i16, max: i16) -> Self {
        Self { api, key, min, max }
    }
}

const PRODUCE: Spoken = Spoken::new("Produce", 0, 3, 12);
const FETCH: Spoken = Spoken::new("Fetch", 1, 4, 12);
const LIST_OFFSETS: Spoken = Spoken::new("ListOffsets", 2, 1, 7);
const METADATA: Spoken = Spoken::new("Metadata", 3, 1, 12);
const CREATE_TOPICS: Spoken = Spoken::new("CreateTopics", 19, 2, 7);
const DELETE_TOPICS: Spoken = Spoken::new("DeleteTopics", 20, 1, 5);
const DESCRIBE_CONFIGS: Spoken = Spoken::new("DescribeConfigs", 32, 1, 4);
const INCREMENTAL_ALTER_CONFIGS: Spoken = Spoken::new("IncrementalAlterConfigs", 44, 0, 1);

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No address accepted a connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address tried last.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection failed, or what came over it made no sense.
    #[error("{api} request to {address} failed: {source}")]
    Connection {
        /// Name of the API.
        api: &'static str,
        /// Which broker.
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// The broker took too long.
    #[error("{address} did not answer {api} within {} seconds", after.as_secs())]
    Timeout {
        /// Name of the API.
        api: &'static str,
        /// Which broker.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The broker and this client have no version in common.
    #[error("{address} does not speak a version of {api} this client knows")]
    Unsupported {
        /// Name or key of the API.
        api: String,
        /// Which broker.
        address: String,
    },
    /// The broker refused.
    #[error("{what}: {}{}", code.name(), detail(message.as_deref()))]
    Refused {
        /// What was asked for, for example `topic orders`.
        what: String,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
    /// The partition does not exist or nobody leads it.
    #[error("partition {partition} of topic {topic} has no leader")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition index.
        partition: i32,
    },
    /// The answer leaves out what was asked for.
    #[error("the answer to {api} does not mention {what}")]
    Missing {
        /// Name of the API.
        api: &'static str,
        /// What was asked for.
        what: String,
    },
}

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// `node.id`.
    pub id: i32,
    /// `host:port` it advertises.
    pub address: String,
}

/// A topic as Metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id; nil when the broker is too old to say.
    pub id: Uuid,
    /// Kept by the broker for itself.
    pub internal: bool,
    /// NONE, or why the rest is missing.
    pub error: ErrorCode,
    /// Sorted by index.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition as Metadata shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Index within the topic.
    pub index: i32,
    /// Node id of the leader; -1 for none.
    pub leader: i32,
    /// NONE, or why it cannot be used.
    pub error: ErrorCode,
}

/// Brokers and topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The cluster's id, when it has one.
    pub cluster_id: Option<String>,
    /// All brokers.
    pub brokers: Vec<BrokerInfo>,
    /// The topics asked for, sorted by name.
    pub topics: Vec<TopicInfo>,
}

/// A topic to create.
#[derive(Debug, Clone, Default)]
pub struct TopicToCreate<'a> {
    /// Its name.
    pub name: &'a str,
    /// `None` for the broker's default.
    pub partitions: Option<i32>,
    /// `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Configs to set.
    pub configs: &'a [(String, String)],
    /// Only check.
    pub validate_only: bool,
}

/// A config of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigInfo {
    /// Its name.
    pub name: String,
    /// `None` when it is secret.
    pub value: Option<String>,
    /// Set on the topic itself.
    pub is_set: bool,
    /// Cannot be changed.
    pub read_only: bool,
    /// What it does, when the broker says.
    pub documentation: Option<String>,
}

/// A change of one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// To this value.
    Set(String),
    /// Back to the default.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes out of a list.
    Subtract(String),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    /// NONE when it is stored.
    pub error: ErrorCode,
    /// Offset of the first record; -1 on error and with acks 0.
    pub base_offset: i64,
    /// -1 unless the topic uses LogAppendTime.
    pub log_append_time_ms: i64,
    /// The refused records.
    pub record_errors: Vec<BatchIndexError>,
    /// The broker's words on the whole batch.
    pub message: Option<String>,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOptions {
    /// First offset wanted.
    pub offset: i64,
    /// How long to wait for `bytes_min`.
    pub wait_ms_max: i32,
    /// Answer as soon as this much is there.
    pub bytes_min: i32,
    /// Soft limit of the answer.
    pub bytes_max: i32,
}

/// Batches read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Whole batches in order; the first may begin before the offset asked for.
    pub batches: Vec<Bytes>,
    /// Records below are readable.
    pub high_watermark: i64,
    /// First offset there is; -1 when not said.
    pub log_start_offset: i64,
}

/// Which offset to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The next to be written.
    Latest,
    /// The first there is.
    Earliest,
    /// The first at or after this time, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// A client of one cluster.
#[derive(Debug)]
pub struct KafkaClient {
    client_id: String,
    bootstrap: Peer,
    /// Connections to leaders, by node id.
    leaders: HashMap<i32, Peer>,
    /// Topic and partition to leader.
    leader_ids: HashMap<(String, i32), i32>,
}

/// A connection and what the broker at its end speaks.
#[derive(Debug)]
struct Peer {
    address: String,
    connection: Connection,
    /// API key to (lowest, highest) version.
    versions: HashMap<i16, (i16, i16)>,
}

impl KafkaClient {
    /// Connects to the first of `bootstrap` (`host:port`, separated by commas) that answers.
    ///
    /// # Errors
    /// [`KafkaError::Connect`] of the last one when none does.
    pub async fn connect(bootstrap: &str, client_id: &str) -> Result<Self, KafkaError> {
        let mut failure = KafkaError::Connect {
            address: bootstrap.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "no address is given"),
        };
        let addresses = bootstrap.split(',').map(str::trim);
        for address in addresses.filter(|address| !address.is_empty()) {
            match Peer::connect(address, client_id).await {
                Ok(peer) => {
                    return Ok(Self {
                        client_id: client_id.to_owned(),
                        bootstrap: peer,
                        leaders: HashMap::new(),
                        leader_ids: HashMap::new(),
                    });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends any request to the bootstrap broker, in a version of the caller's choice.
    ///
    /// # Errors
    /// When the connection fails or the version does not fit; error codes inside the answer are the
    /// caller's.
    pub async fn request<R: RequestResponsePair>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, KafkaError> {
        self.bootstrap.request(R::NAME, version, request).await
    }

    /// Brokers and topics: all, or those named. Creates none.
    ///
    /// # Errors
    /// As [`Self::request`]; a topic that does not exist says so in [`TopicInfo::error`].
    pub async fn metadata(&mut self, topics: Option<&[&str]>) -> Result<ClusterInfo, KafkaError> {
        let version = self.bootstrap.version(METADATA)?;
        let topics = topics.map(|names| {
            let topic = |name: &&str| {
                wire!(metadata_request::MetadataRequestTopic {
                    name: Some((*name).into()),
                })
            };
            names.iter().map(topic).collect()
        });
        let request = wire!(MetadataRequest {
            topics: topics,
            // Older versions always create.
            allow_auto_topic_creation: version < 4,
        });
        let answer = self
            .bootstrap
            .request(METADATA.api, version, &request)
            .await?;
        let mut topics: Vec<TopicInfo> = answer.topics.iter().map(topic_info).collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        for topic in &topics {
            for partition in &topic.partitions {
                self.leader_ids
                    .insert((topic.name.clone(), partition.index), partition.leader);
            }
        }
        let brokers = answer.brokers.iter().map(|broker| BrokerInfo {
            id: broker.node_id,
            address: format!("{}:{}", broker.host, broker.port),
        });
        Ok(ClusterInfo {
            cluster_id: answer.cluster_id.as_ref().map(ToString::to_string),
            brokers: brokers.collect(),
            topics,
        })
    }

    /// All topics, sorted by name.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn list_topics(&mut self) -> Result<Vec<TopicInfo>, KafkaError> {
        Ok(self.metadata(None).await?.topics)
    }

    /// One topic.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] when it does not exist.
    pub async fn describe_topic(&mut self, name: &str) -> Result<TopicInfo, KafkaError> {
        let cluster = self.metadata(Some(&[name])).await?;
        let topic = cluster.topics.into_iter().find(|topic| topic.name == name);
        let topic = topic.ok_or_else(|| missing(METADATA, name))?;
        accepted(&format!("topic {name}"), topic.error.0, None)?;
        Ok(topic)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] with the broker's reason.
    pub async fn create_topic(&mut self, topic: &TopicToCreate<'_>) -> Result<(), KafkaError> {
        let version = self.bootstrap.version(CREATE_TOPICS)?;
        let configs = topic.configs.iter().map(|(name, value)| {
            wire!(create_topics_request::CreatableTopicConfig {
                name: name.as_str().into(),
                value: Some(value.as_str().into()),
            })
        });
        // Before v4 a broker has no defaults to ask for.
        let default = if version < 4 { 1 } else { -1 };
        let request = wire!(CreateTopicsRequest {
            topics: vec![wire!(create_topics_request::CreatableTopic {
                name: topic.name.into(),
                num_partitions: topic.partitions.unwrap_or_else(|| i32::from(default)),
                replication_factor: topic.replication_factor.unwrap_or(default),
                configs: configs.collect(),
            })],
            timeout_ms: timeout_ms(),
            validate_only: topic.validate_only,
        });
        let answer = self
            .bootstrap
            .request(CREATE_TOPICS.api, version, &request)
            .await?;
        let row = answer.topics.first();
        let row = row.ok_or_else(|| missing(CREATE_TOPICS, topic.name))?;
        let what = format!("topic {}", topic.name);
        accepted(&what, row.error_code, row.error_message.as_deref())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] with the broker's reason.
    pub async fn delete_topic(&mut self, name: &str) -> Result<(), KafkaError> {
        let version = self.bootstrap.version(DELETE_TOPICS)?;
        let request = wire!(DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: timeout_ms(),
        });
        let answer = self
            .bootstrap
            .request(DELETE_TOPICS.api, version, &request)
            .await?;
        let row = answer.responses.first();
        let row = row.ok_or_else(|| missing(DELETE_TOPICS, name))?;
        let what = format!("topic {name}");
        accepted(&what, row.error_code, row.error_message.as_deref())
    }

    /// All configs of a topic, sorted by name.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] with the broker's reason.
    pub async fn describe_configs(&mut self, topic: &str) -> Result<Vec<ConfigInfo>, KafkaError> {
        let version = self.bootstrap.version(DESCRIBE_CONFIGS)?;
        let request = wire!(DescribeConfigsRequest {
            resources: vec![wire!(describe_configs_request::DescribeConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: topic.into(),
                configuration_keys: None,
            })],
            include_documentation: version >= 3,
        });
        let answer = self
            .bootstrap
            .request(DESCRIBE_CONFIGS.api, version, &request)
            .await?;
        let row = answer.results.into_iter().next();
        let row = row.ok_or_else(|| missing(DESCRIBE_CONFIGS, topic))?;
        let what = format!("configs of topic {topic}");
        accepted(&what, row.error_code, row.error_message.as_deref())?;
        let mut configs: Vec<ConfigInfo> = row
            .configs
            .into_iter()
            .map(|config| ConfigInfo {
                name: config.name.to_string(),
                value: config.value.as_ref().map(ToString::to_string),
                is_set: config.config_source == SOURCE_TOPIC,
                read_only: config.read_only,
                documentation: config.documentation.as_ref().map(ToString::to_string),
            })
            .collect();
        configs.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(configs)
    }

    /// Changes configs of a topic, all or none.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] with the broker's reason.
    pub async fn alter_configs(
        &mut self,
        topic: &str,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<(), KafkaError> {
        let version = self.bootstrap.version(INCREMENTAL_ALTER_CONFIGS)?;
        let configs = changes.iter().map(|(name, change)| {
            let (operation, value) = match change {
                ConfigChange::Set(value) => (0, Some(value)),
                ConfigChange::Delete => (1, None),
                ConfigChange::Append(value) => (2, Some(value)),
                ConfigChange::Subtract(value) => (3, Some(value)),
            };
            wire!(incremental_alter_configs_request::AlterableConfig {
                name: name.as_str().into(),
                config_operation: operation,
                value: value.map(|value| value.as_str().into()),
            })
        });
        let request = wire!(IncrementalAlterConfigsRequest {
            resources: vec![wire!(
                incremental_alter_configs_request::AlterConfigsResource {
                    resource_type: RESOURCE_TOPIC,
                    resource_name: topic.into(),
                    configs: configs.collect(),
                }
            )],
            validate_only: validate_only,
        });
        let answer = self
            .bootstrap
            .request(INCREMENTAL_ALTER_CONFIGS.api, version, &request)
            .await?;
        let row = answer.responses.first();
        let row = row.ok_or_else(|| missing(INCREMENTAL_ALTER_CONFIGS, topic))?;
        let what = format!("configs of topic {topic}");
        accepted(&what, row.error_code, row.error_message.as_deref())
    }

    /// Sends one batch (format v2) to a partition. `acks` is 0, 1 or -1 for all.
    ///
    /// # Errors
    /// When the leader cannot be reached. A refusal of the batch is an answer: see
    /// [`Produced::error`].
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        acks: i16,
    ) -> Result<Produced, KafkaError> {
        let request = ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: timeout_ms(),
            topics: vec![ProduceTopic {
                name: topic.to_owned(),
                id: Uuid::nil(),
                partitions: vec![ProducePartition {
                    index: partition,
                    records: Some(BytesMut::from(batch)),
                }],
            }],
        };
        let leader = self.leader(topic, partition).await?;
        let version = leader.version(PRODUCE)?;
        let call = leader.connection.produce(version, &request);
        let answer = within(PRODUCE.api, &leader.address, REQUEST_TIMEOUT, call).await?;
        let Some(answer) = answer else {
            return Ok(Produced {
                error: ErrorCode::NONE,
                base_offset: -1,
                log_append_time_ms: -1,
                record_errors: Vec::new(),
                message: None,
            });
        };
        let rows = answer.topics.into_iter().flat_map(|row| row.partitions);
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| missing(PRODUCE, topic))?;
        self.forget_stale_leader(topic, partition, row.error);
        Ok(Produced {
            error: row.error,
            base_offset: row.base_offset,
            log_append_time_ms: row.log_append_time_ms,
            record_errors: row.record_errors,
            message: row.error_message,
        })
    }

    /// Reads batches of a partition.
    ///
    /// # Errors
    /// [`KafkaError::Refused`], for example with OFFSET_OUT_OF_RANGE.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        options: FetchOptions,
    ) -> Result<Fetched, KafkaError> {
        let request = FetchRequest {
            max_wait_ms: options.wait_ms_max,
            min_bytes: options.bytes_min,
            max_bytes: options.bytes_max,
            topics: vec![FetchTopic {
                name: topic.to_owned(),
                id: Uuid::nil(),
                partitions: vec![FetchPartition {
                    index: partition,
                    current_leader_epoch: -1,
                    fetch_offset: options.offset,
                    last_fetched_epoch: -1,
                    log_start_offset: -1,
                    max_bytes: options.bytes_max,
                }],
            }],
            ..FetchRequest::default()
        };
        let wait = Duration::from_millis(u64::try_from(options.wait_ms_max).unwrap_or(0));
        let leader = self.leader(topic, partition).await?;
        let version = leader.version(FETCH)?;
        let call = leader.connection.fetch(version, &request);
        let answer = within(FETCH.api, &leader.address, REQUEST_TIMEOUT + wait, call).await?;
        let what = format!("partition {partition} of topic {topic}");
        accepted(&what, answer.error.0, None)?;
        let rows = answer.topics.into_iter().flat_map(|row| row.partitions);
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| missing(FETCH, topic))?;
        self.forget_stale_leader(topic, partition, row.error);
        accepted(&what, row.error.0, None)?;
        Ok(Fetched {
            batches: row.records,
            high_watermark: row.high_watermark,
            log_start_offset: row.log_start_offset,
        })
    }

    /// Looks an offset up; `None` when no record is that young.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] with the broker's reason.
    pub async fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        spec: OffsetSpec,
    ) -> Result<Option<i64>, KafkaError> {
        let timestamp = match spec {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::Timestamp(timestamp) => timestamp,
        };
        let request = wire!(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![wire!(list_offsets_request::ListOffsetsTopic {
                name: topic.into(),
                partitions: vec![wire!(list_offsets_request::ListOffsetsPartition {
                    partition_index: partition,
                    current_leader_epoch: -1,
                    timestamp: timestamp,
                })],
            })],
        });
        let leader = self.leader(topic, partition).await?;
        let version = leader.version(LIST_OFFSETS)?;
        let answer = leader.request(LIST_OFFSETS.api, version, &request).await?;
        let mut rows = answer.topics.iter().flat_map(|row| &row.partitions);
        let row = rows.next();
        let row = row.ok_or_else(|| missing(LIST_OFFSETS, topic))?;
        self.forget_stale_leader(topic, partition, ErrorCode(row.error_code));
        let what = format!("partition {partition} of topic {topic}");
        accepted(&what, row.error_code, None)?;
        Ok(Some(row.offset).filter(|offset| *offset >= 0))
    }

    /// The connection to a partition's leader.
    async fn leader(&mut self, topic: &str, partition: i32) -> Result<&mut Peer, KafkaError> {
        let key = (topic.to_owned(), partition);
        let mut brokers = Vec::new();
        let known = self.leader_ids.get(&key).copied();
        let connected = known.is_some_and(|id| self.leaders.contains_key(&id));
        if !connected {
            let cluster = self.metadata(Some(&[topic])).await?;
            if let Some(found) = cluster.topics.first() {
                accepted(&format!("topic {topic}"), found.error.0, None)?;
            }
            brokers = cluster.brokers;
        }
        let no_leader = || KafkaError::NoLeader {
            topic: topic.to_owned(),
            partition,
        };
        let id = self.leader_ids.get(&key).copied().ok_or_else(no_leader)?;
        if !self.leaders.contains_key(&id) {
            let broker = brokers.iter().find(|broker| broker.id == id);
            let address = &broker.ok_or_else(no_leader)?.address;
            let peer = Peer::connect(address, &self.client_id).await?;
            self.leaders.insert(id, peer);
        }
        self.leaders.get_mut(&id).ok_or_else(no_leader)
    }

    /// Looks the leader up again next time, when the one asked says it is another.
    fn forget_stale_leader(&mut self, topic: &str, partition: i32, error: ErrorCode) {
        if error == ErrorCode::NOT_LEADER_OR_FOLLOWER {
            self.leader_ids.remove(&(topic.to_owned(), partition));
        }
    }
}

impl Peer {
    async fn connect(address: &str, client_id: &str) -> Result<Self, KafkaError> {
        let refused = |source| KafkaError::Connect {
            address: address.to_owned(),
            source,
        };
        let connecting = Connection::connect(address, client_id);
        let connection = tokio::time::timeout(REQUEST_TIMEOUT, connecting)
            .await
            .map_err(|_| refused(io::ErrorKind::TimedOut.into()))?
            .map_err(refused)?;
        let mut peer = Self {
            address: address.to_owned(),
            connection,
            versions: HashMap::new(),
        };
        // Version 0 is understood by every broker.
        let answer = peer
            .request("ApiVersions", 0, &ApiVersionsRequest::default())
            .await?;
        accepted(address, answer.error_code, None)?;
        peer.versions = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(peer)
    }

    /// The highest version both sides speak.
    fn version(&self, spoken: Spoken) -> Result<i16, KafkaError> {
        let (min, max) = self.versions.get(&spoken.key).copied().unwrap_or((0, -1));
        let version = max.min(spoken.max);
        if version >= min.max(spoken.min) {
            Ok(version)
        } else {
            Err(KafkaError::Unsupported {
                api: spoken.api.to_owned(),
                address: self.address.clone(),
            })
        }
    }

    async fn request<R: RequestResponsePair>(
        &mut self,
        api: &'static str,
        version: i16,
        request: &R,
    ) -> Result<R::Response, KafkaError> {
        let call = self.connection.request(version, request);
        within(api, &self.address, REQUEST_TIMEOUT, call).await
    }
}

impl fmt::Display for BrokerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.address)
    }
}

async fn within<T>(
    api: &'static str,
    address: &str,
    limit: Duration,
    call: impl Future<Output = io::Result<T>>,
) -> Result<T, KafkaError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(KafkaError::Connection {
            api,
            address: address.to_owned(),
            source,
        }),
        Err(_) => Err(KafkaError::Timeout {
            api,
            address: address.to_owned(),
            after: limit,
        }),
    }
}

fn topic_info(topic: &kafka_wire::metadata_response::MetadataResponseTopic) -> TopicInfo {
    let mut partitions: Vec<PartitionInfo> = topic
        .partitions
        .iter()
        .map(|partition| PartitionInfo {
            index: partition.partition_index,
            leader: partition.leader_id,
            error: ErrorCode(partition.error_code),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicInfo {
        name: topic
            .name
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        id: broker_core::protocol::topic_id(topic.topic_id).0,
        internal: topic.is_internal,
        error: ErrorCode(topic.error_code),
        partitions,
    }
}

fn accepted(what: &str, code: i16, message: Option<&str>) -> Result<(), KafkaError> {
    if code == ErrorCode::NONE.0 {
        return Ok(());
    }
    Err(KafkaError::Refused {
        what: what.to_owned(),
        code: ErrorCode(code),
        message: message.map(str::to_owned),
    })
}

fn missing(spoken: Spoken, what: &str) -> KafkaError {
    KafkaError::Missing {
        api: spoken.api,
        what: what.to_owned(),
    }
}

fn detail(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}

fn timeout_ms() -> i32 {
    i32::try_from(REQUEST_TIMEOUT.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_core::records::{BatchBuilder, BatchHeader, Compression};
    use broker_core::validation::NoValidation;
    use broker_core::{Broker, BrokerConfig};
    use tempfile::TempDir;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn serve() -> (TempDir, String, CancellationToken) {
        let data = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = BrokerConfig {
            advertised_host: "127.0.0.1".to_owned(),
            advertised_port: i32::from(address.port()),
            ..BrokerConfig::new(data.path().to_owned())
        };
        let broker = Broker::open(config, Arc::new(NoValidation)).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(broker_core::net::serve(broker, listener, shutdown.clone()));
        (data, address.to_string(), shutdown)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_from_creation_to_deletion() {
        let (_data, address, shutdown) = serve().await;
        let bootstrap = format!(" 127.0.0.1:1, {address}");
        let mut client = KafkaClient::connect(&bootstrap, "test").await.unwrap();
        let topic = TopicToCreate {
            name: "orders",
            partitions: Some(2),
            configs: &[("max.message.bytes".to_owned(), "2000".to_owned())],
            ..TopicToCreate::default()
        };
        client.create_topic(&topic).await.unwrap();
        let again = client.create_topic(&topic).await.unwrap_err().to_string();
        assert!(
            again.starts_with("topic orders: TOPIC_ALREADY_EXISTS"),
            "{again}"
        );
        let names: Vec<String> = client
            .list_topics()
            .await
            .unwrap()
            .into_iter()
            .filter(|topic| !topic.internal)
            .map(|topic| topic.name)
            .collect();
        assert_eq!(names, ["orders"]);
        assert_eq!(
            client
                .describe_topic("orders")
                .await
                .unwrap()
                .partitions
                .len(),
            2
        );

        let change = [(
            "retention.ms".to_owned(),
            ConfigChange::Set("1000".to_owned()),
        )];
        client
            .alter_configs("orders", &change, false)
            .await
            .unwrap();
        let configs = client.describe_configs("orders").await.unwrap();
        let set: Vec<(&str, Option<&str>)> = configs
            .iter()
            .filter(|config| config.is_set)
            .map(|config| (config.name.as_str(), config.value.as_deref()))
            .collect();
        assert_eq!(
            set,
            [
                ("max.message.bytes", Some("2000")),
                ("retention.ms", Some("1000"))
            ]
        );

        let now_ms = 1_700_000_000_000;
        let mut batch = BatchBuilder::new(Compression::None, now_ms);
        batch.append(now_ms, Some(b"key"), Some(b"value"), &[]);
        batch.append(now_ms + 5, None, Some(b"other"), &[]);
        let batch = batch.build();
        for base_offset in [0, 2] {
            let produced = client.produce("orders", 1, &batch, -1).await.unwrap();
            assert_eq!(produced.error, ErrorCode::NONE, "{produced:?}");
            assert_eq!(produced.base_offset, base_offset);
        }
        let mut large = BatchBuilder::new(Compression::None, now_ms);
        large.append(now_ms, None, Some(&[0; 3000]), &[]);
        let refused = client
            .produce("orders", 1, &large.build(), -1)
            .await
            .unwrap();
        assert_eq!(refused.error, ErrorCode::MESSAGE_TOO_LARGE);

        for (spec, expected) in [
            (OffsetSpec::Earliest, Some(0)),
            (OffsetSpec::Latest, Some(4)),
            (OffsetSpec::Timestamp(now_ms + 1), Some(1)),
            (OffsetSpec::Timestamp(now_ms + 6), None),
        ] {
            let found = client.list_offset("orders", 1, spec).await.unwrap();
            assert_eq!(found, expected, "{spec:?}");
        }
        let options = FetchOptions {
            offset: 2,
            wait_ms_max: 100,
            bytes_min: 1,
            bytes_max: 1 << 20,
        };
        let fetched = client.fetch("orders", 1, options).await.unwrap();
        assert_eq!((fetched.high_watermark, fetched.log_start_offset), (4, 0));
        let header = BatchHeader::parse(&fetched.batches[0]).unwrap();
        assert_eq!((header.base_offset.0, header.record_count), (2, 2));
        let beyond = FetchOptions {
            offset: 9,
            ..options
        };
        let error = client.fetch("orders", 1, beyond).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "partition 1 of topic orders: OFFSET_OUT_OF_RANGE"
        );
        let error = client.fetch("orders", 7, options).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "partition 7 of topic orders has no leader"
        );

        client.delete_topic("orders").await.unwrap();
        let error = client.describe_topic("orders").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic orders: UNKNOWN_TOPIC_OR_PARTITION"
        );
        shutdown.cancel();
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_address() {
        let error = KafkaClient::connect("127.0.0.1:1", "test")
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot connect to 127.0.0.1:1: "),
            "{error}"
        );
        let error = KafkaClient::connect(" ,", "test").await.unwrap_err();
        assert!(
            error.to_string().ends_with("no address is given"),
            "{error}"
        );
    }
}
