//! Every option of `assay serve`, once: name, unit, default, meaning.
//!
//! Precedence: flag, then `ASSAY_*` environment variable, then TOML file, then default. The TOML
//! keys are the flags' names; `[topic-defaults]` is a table of topic configs.

mod groups;
mod limits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use broker_core::{BrokerConfig, Durability};
use clap::{Args, ValueEnum};
use registry::{RegistryConfig, StoreLocation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use groups::GroupSettings;
pub use limits::HttpLimits;

/// When acks=all is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityOption {
    /// After an fdatasync that covers the records; one sync serves all that wait.
    GroupFsync,
    /// After the write to the page cache, as a default Kafka broker does.
    Os,
}

/// How log lines are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The options as given on the command line, in the environment or in the file; unset ones are
/// `None`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServeOptions {
    /// Address of the Kafka listener; port 0 picks a free one [default: 127.0.0.1:9092]
    #[arg(long, env = "ASSAY_KAFKA", value_name = "ADDR:PORT")]
    pub kafka: Option<String>,
    /// Address of the HTTP listener; port 0 picks a free one [default: 127.0.0.1:8081]
    #[arg(long, env = "ASSAY_HTTP", value_name = "ADDR:PORT")]
    pub http: Option<String>,
    /// Data directory [default: ./assay-data]
    #[arg(long, env = "ASSAY_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Host or host:port that Kafka clients are told to connect to [default: the Kafka listener]
    #[arg(long, env = "ASSAY_ADVERTISE", value_name = "HOST[:PORT]")]
    pub advertise: Option<String>,
    /// Create a topic on first use [default: true]
    #[arg(long, env = "ASSAY_AUTO_CREATE_TOPICS", value_name = "BOOL")]
    pub auto_create_topics: Option<bool>,
    /// Partitions of a topic that does not say how many [default: 1]
    #[arg(long, env = "ASSAY_DEFAULT_PARTITIONS", value_name = "N")]
    pub default_partitions: Option<i32>,
    /// When acks=all is answered [default: group-fsync]
    #[arg(long, env = "ASSAY_DURABILITY", value_name = "WHEN")]
    pub durability: Option<DurabilityOption>,
    /// Largest Kafka request taken, in bytes [default: 104857600]
    #[arg(long, env = "ASSAY_SOCKET_REQUEST_MAX_BYTES", value_name = "BYTES")]
    pub socket_request_max_bytes: Option<usize>,
    /// Memory for Kafka requests of all connections together, in bytes; past it connections are
    /// not read [default: 536870912]
    #[arg(long, env = "ASSAY_REQUEST_MEMORY_MAX_BYTES", value_name = "BYTES")]
    pub request_memory_max_bytes: Option<usize>,
    /// Kafka connections served at once [default: 10000]
    #[arg(long, env = "ASSAY_CONNECTIONS_MAX", value_name = "N")]
    pub connections_max: Option<usize>,
    /// How long a new consumer group waits for more members, in ms [default: 0]
    #[arg(
        long,
        env = "ASSAY_GROUP_INITIAL_REBALANCE_DELAY_MS",
        value_name = "MS"
    )]
    pub group_initial_rebalance_delay_ms: Option<i32>,
    /// How long a member of the consumer protocol may stay silent, in ms [default: 45000]
    #[arg(
        long,
        env = "ASSAY_GROUP_CONSUMER_SESSION_TIMEOUT_MS",
        value_name = "MS"
    )]
    pub group_consumer_session_timeout_ms: Option<i32>,
    /// How often members of the consumer protocol are to report, in ms [default: 5000]
    #[arg(
        long,
        env = "ASSAY_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS",
        value_name = "MS"
    )]
    pub group_consumer_heartbeat_interval_ms: Option<i32>,
    /// Members that a group of the consumer protocol may have [default: 10000]
    #[arg(long, env = "ASSAY_GROUP_CONSUMER_MAX_SIZE", value_name = "N")]
    pub group_consumer_max_size: Option<usize>,
    /// Assignors that consumers may ask for, the default first [default: uniform,range]
    #[arg(long, env = "ASSAY_GROUP_CONSUMER_ASSIGNORS", value_name = "NAMES")]
    pub group_consumer_assignors: Option<String>,
    /// Which groups change the protocol while they have members: disabled, upgrade, downgrade or
    /// bidirectional [default: bidirectional]
    #[arg(
        long,
        env = "ASSAY_GROUP_CONSUMER_MIGRATION_POLICY",
        value_name = "POLICY"
    )]
    pub group_consumer_migration_policy: Option<String>,
    /// PostgreSQL database of the registry, `postgres://USER:PASSWORD@HOST/DATABASE`; any number of
    /// processes may share it [default: registry.db in the data directory]
    #[arg(
        long,
        env = "ASSAY_REGISTRY_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub registry_url: Option<String>,
    /// Serve the registry alone, without a Kafka listener and a log [default: false]
    #[arg(
        long,
        env = "ASSAY_REGISTRY_ONLY",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub registry_only: Option<bool>,
    /// Compatibility level where nothing is configured [default: BACKWARD]
    #[arg(long, env = "ASSAY_COMPATIBILITY_LEVEL", value_name = "LEVEL")]
    pub compatibility_level: Option<String>,
    /// Whether PUT /mode is allowed [default: true]
    #[arg(long, env = "ASSAY_MODE_MUTABILITY", value_name = "BOOL")]
    pub mode_mutability: Option<bool>,
    /// Refuse to register under the empty subject and under `*` [default: false]
    #[arg(long, env = "ASSAY_SCHEMA_REJECT_EMPTY_SUBJECT", value_name = "BOOL")]
    pub schema_reject_empty_subject: Option<bool>,
    /// Refuse a schema whose references bind one name to two versions [default: false]
    #[arg(
        long,
        env = "ASSAY_SCHEMA_PROVIDERS_REFERENCE_VERSIONS_STRICT",
        value_name = "BOOL"
    )]
    pub schema_providers_reference_versions_strict: Option<bool>,
    /// Largest HTTP body taken, in bytes [default: 16777216]
    #[arg(long, env = "ASSAY_HTTP_BODY_MAX_BYTES", value_name = "BYTES")]
    pub http_body_max_bytes: Option<usize>,
    /// A whole HTTP body must have arrived after this long, in ms [default: 30000]
    #[arg(long, env = "ASSAY_HTTP_BODY_MAX_MS", value_name = "MS")]
    pub http_body_max_ms: Option<usize>,
    /// The head of an HTTP request must have arrived after this long, in ms; also the longest
    /// silence of a connection [default: 30000]
    #[arg(long, env = "ASSAY_HTTP_HEADER_MAX_MS", value_name = "MS")]
    pub http_header_max_ms: Option<usize>,
    /// HTTP connections served at once; more are answered 503 [default: 10000]
    #[arg(long, env = "ASSAY_HTTP_CONNECTIONS_MAX", value_name = "N")]
    pub http_connections_max: Option<usize>,
    /// Deepest nesting of a JSON body [default: 100]
    #[arg(long, env = "ASSAY_JSON_DEPTH_MAX", value_name = "LEVELS")]
    pub json_depth_max: Option<usize>,
    /// Longest schema registered, in bytes [default: 8388608]
    #[arg(long, env = "ASSAY_SCHEMA_MAX_BYTES", value_name = "BYTES")]
    pub schema_max_bytes: Option<usize>,
    /// Requests that parse schemas at once; 1,024 times as many wait, more are answered 429
    /// [default: one a processor]
    #[arg(long, env = "ASSAY_SCHEMA_PARSES_MAX", value_name = "N")]
    pub schema_parses_max: Option<usize>,
    /// Listen where other machines can connect although nothing authenticates them
    #[arg(
        long,
        env = "ASSAY_INSECURE",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true
    )]
    pub insecure: Option<bool>,
    /// Rejected records kept for `GET /v1/topics/{topic}/rejections` [default: 1000]
    #[arg(long, env = "ASSAY_REJECTIONS_KEPT", value_name = "N")]
    pub rejections_kept: Option<usize>,
    /// Log filter: error, warn, info, debug, trace, or per module [default: info]
    #[arg(long, env = "ASSAY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log format [default: text]
    #[arg(long, env = "ASSAY_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Broker-wide values of topic configs; in the file only, as the table `[topic-defaults]`
    #[arg(skip)]
    pub topic_defaults: BTreeMap<String, toml::Value>,
}

/// Why the options do not make a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("the configuration file {path} is not valid: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
    /// An option's value makes no sense.
    #[error("{option}: {reason}")]
    Value {
        /// The flag.
        option: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
}

/// The configuration in force.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServeConfig {
    /// Kafka listener.
    pub kafka: SocketAddr,
    /// HTTP listener.
    pub http: SocketAddr,
    /// Data directory.
    pub data: PathBuf,
    /// What clients are told to connect to; empty means the listener itself.
    pub advertise: String,
    /// Create a topic on first use.
    pub auto_create_topics: bool,
    /// Partitions of a topic that does not say how many.
    pub default_partitions: i32,
    /// When acks=all is answered.
    pub durability: DurabilityOption,
    /// Bytes.
    pub socket_request_max_bytes: usize,
    /// Bytes.
    pub request_memory_max_bytes: usize,
    /// Connections.
    pub connections_max: usize,
    /// Consumer groups.
    #[serde(flatten)]
    pub groups: GroupSettings,
    /// PostgreSQL URL; empty means the SQLite file in the data directory.
    pub registry_url: String,
    /// No Kafka listener, no log.
    pub registry_only: bool,
    /// Compatibility level where nothing is configured.
    pub compatibility_level: String,
    /// Whether PUT /mode is allowed.
    pub mode_mutability: bool,
    /// Whether the empty subject and `*` are refused.
    pub schema_reject_empty_subject: bool,
    /// Whether references may bind one name to one version only.
    pub schema_providers_reference_versions_strict: bool,
    /// Listen where other machines can connect although nothing authenticates them.
    pub insecure: bool,
    /// Limits of the HTTP listener.
    #[serde(flatten)]
    pub http_limits: HttpLimits,
    /// Records.
    pub rejections_kept: usize,
    /// Log filter.
    pub log: String,
    /// Log format.
    pub log_format: LogFormat,
    /// Broker-wide values of topic configs.
    pub topic_defaults: BTreeMap<String, String>,
}

impl ServeOptions {
    /// Reads the options of a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML or has an unknown key.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })
    }

    /// Fills what is unset from `file`, then from the defaults.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the option that makes no sense.
    pub fn resolve(self, file: Self) -> Result<ServeConfig, ConfigError> {
        let http_limits = HttpLimits::resolve(&self, &file);
        let groups = GroupSettings::resolve(&self, &file);
        let kafka = self
            .kafka
            .or(file.kafka)
            .unwrap_or_else(|| "127.0.0.1:9092".to_owned());
        let http = self
            .http
            .or(file.http)
            .unwrap_or_else(|| "127.0.0.1:8081".to_owned());
        let level = self
            .compatibility_level
            .or(file.compatibility_level)
            .unwrap_or_else(|| "BACKWARD".to_owned());
        let config = ServeConfig {
            kafka: address("--kafka", &kafka)?,
            http: address("--http", &http)?,
            data: self
                .data
                .or(file.data)
                .unwrap_or_else(|| PathBuf::from("./assay-data")),
            advertise: self.advertise.or(file.advertise).unwrap_or_default(),
            auto_create_topics: self
                .auto_create_topics
                .or(file.auto_create_topics)
                .unwrap_or(true),
            default_partitions: self
                .default_partitions
                .or(file.default_partitions)
                .unwrap_or(1),
            durability: self
                .durability
                .or(file.durability)
                .unwrap_or(DurabilityOption::GroupFsync),
            socket_request_max_bytes: self
                .socket_request_max_bytes
                .or(file.socket_request_max_bytes)
                .unwrap_or(100 * 1024 * 1024),
            request_memory_max_bytes: self
                .request_memory_max_bytes
                .or(file.request_memory_max_bytes)
                .unwrap_or(512 * 1024 * 1024),
            connections_max: self
                .connections_max
                .or(file.connections_max)
                .unwrap_or(10_000),
            groups,
            registry_url: self.registry_url.or(file.registry_url).unwrap_or_default(),
            registry_only: self.registry_only.or(file.registry_only).unwrap_or(false),
            compatibility_level: level.to_ascii_uppercase(),
            mode_mutability: self
                .mode_mutability
                .or(file.mode_mutability)
                .unwrap_or(true),
            schema_reject_empty_subject: self
                .schema_reject_empty_subject
                .or(file.schema_reject_empty_subject)
                .unwrap_or(false),
            schema_providers_reference_versions_strict: self
                .schema_providers_reference_versions_strict
                .or(file.schema_providers_reference_versions_strict)
                .unwrap_or(false),
            insecure: self.insecure.or(file.insecure).unwrap_or(false),
            http_limits,
            rejections_kept: self
                .rejections_kept
                .or(file.rejections_kept)
                .unwrap_or(1000),
            log: self.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: self
                .log_format
                .or(file.log_format)
                .unwrap_or(LogFormat::Text),
            topic_defaults: file
                .topic_defaults
                .into_iter()
                .map(|(name, value)| {
                    let text = match value {
                        toml::Value::String(text) => text,
                        other => other.to_string(),
                    };
                    (name, text)
                })
                .collect(),
        };
        config.check()?;
        Ok(config)
    }
}

impl ServeConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.default_partitions < 1 {
            return Err(ConfigError::Value {
                option: "--default-partitions",
                reason: format!("{} is not at least 1", self.default_partitions),
            });
        }
        if self.connections_max == 0 {
            return Err(ConfigError::Value {
                option: "--connections-max",
                reason: "0 would serve nobody".to_owned(),
            });
        }
        self.groups.check()?;
        self.http_limits.check()?;
        self.check_exposure()?;
        if self.socket_request_max_bytes < 1024 || self.socket_request_max_bytes > 1 << 30 {
            return Err(ConfigError::Value {
                option: "--socket-request-max-bytes",
                reason: format!(
                    "{} is not between 1024 and 1073741824",
                    self.socket_request_max_bytes
                ),
            });
        }
        if self.request_memory_max_bytes < self.socket_request_max_bytes {
            return Err(ConfigError::Value {
                option: "--request-memory-max-bytes",
                reason: format!(
                    "{} is less than one request may take (--socket-request-max-bytes {})",
                    self.request_memory_max_bytes, self.socket_request_max_bytes
                ),
            });
        }
        let is_postgres = |url: &str| {
            ["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
        };
        if !self.registry_url.is_empty() && !is_postgres(&self.registry_url) {
            return Err(ConfigError::Value {
                option: "--registry-url",
                // The value may hold a password.
                reason: "the URL does not start with postgres://".to_owned(),
            });
        }
        const LEVELS: [&str; 7] = [
            "NONE",
            "BACKWARD",
            "BACKWARD_TRANSITIVE",
            "FORWARD",
            "FORWARD_TRANSITIVE",
            "FULL",
            "FULL_TRANSITIVE",
        ];
        if !LEVELS.contains(&self.compatibility_level.as_str()) {
            return Err(ConfigError::Value {
                option: "--compatibility-level",
                reason: format!(
                    "`{}` is not one of {}",
                    self.compatibility_level,
                    LEVELS.join(", ")
                ),
            });
        }
        self.advertised(self.kafka).map(|_| ())
    }

    /// Host and port for Metadata and FindCoordinator, given where the listener really is.
    ///
    /// # Errors
    /// When `--advertise` is not `HOST` or `HOST:PORT`.
    pub fn advertised(&self, listener: SocketAddr) -> Result<(String, u16), ConfigError> {
        let port = listener.port();
        if self.advertise.is_empty() {
            let host = if listener.ip().is_unspecified() {
                "127.0.0.1".to_owned()
            } else {
                listener.ip().to_string()
            };
            return Ok((host, port));
        }
        if let Ok(address) = self.advertise.parse::<SocketAddr>() {
            return Ok((address.ip().to_string(), address.port()));
        }
        match self.advertise.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !host.contains(':') => {
                let port = port.parse().map_err(|_| ConfigError::Value {
                    option: "--advertise",
                    reason: format!("`{port}` is not a port"),
                })?;
                Ok((host.to_owned(), port))
            }
            _ => Ok((self.advertise.clone(), port)),
        }
    }

    /// The broker's part, given where its listener really is.
    ///
    /// # Errors
    /// As [`Self::advertised`].
    pub fn broker(&self, listener: SocketAddr) -> Result<BrokerConfig, ConfigError> {
        let (host, port) = self.advertised(listener)?;
        Ok(BrokerConfig {
            advertised_host: host,
            advertised_port: i32::from(port),
            auto_create_topics: self.auto_create_topics,
            default_partitions: self.default_partitions,
            durability: match self.durability {
                DurabilityOption::GroupFsync => Durability::GroupFsync,
                DurabilityOption::Os => Durability::Os,
            },
            socket_request_bytes_max: self.socket_request_max_bytes,
            request_memory_bytes_max: self.request_memory_max_bytes,
            connections_max: self.connections_max,
            groups: self.groups.broker()?,
            topic_defaults: self.topic_defaults.clone(),
            ..BrokerConfig::new(self.data.clone())
        })
    }

    /// The registry's part.
    #[must_use]
    pub fn registry(&self) -> RegistryConfig {
        RegistryConfig {
            store: if self.registry_url.is_empty() {
                StoreLocation::Sqlite(self.data.join("registry.db"))
            } else {
                StoreLocation::Postgres(self.registry_url.clone())
            },
            default_compatibility: self.compatibility_level.clone(),
            mode_mutability: self.mode_mutability,
            reject_empty_subject: self.schema_reject_empty_subject,
            strict_reference_versions: self.schema_providers_reference_versions_strict,
            body_bytes_max: self.http_limits.http_body_max_bytes,
        }
    }
}

fn address(option: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    use std::net::ToSocketAddrs;
    let reason = |reason: String| ConfigError::Value { option, reason };
    // IPv4 first: librdkafka and others resolve `localhost` to either.
    let mut addresses: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| reason(format!("`{text}` is not ADDR:PORT: {error}")))?
        .collect();
    addresses.sort_by_key(|address| !address.is_ipv4());
    addresses
        .into_iter()
        .next()
        .ok_or_else(|| reason(format!("`{text}` resolves to no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_wins_over_file_and_file_over_default() {
        let flags = ServeOptions {
            kafka: Some("127.0.0.1:1".into()),
            ..Default::default()
        };
        let file: ServeOptions =
            toml::from_str("kafka = '127.0.0.1:2'\nhttp = '127.0.0.1:3'").unwrap();
        let config = flags.resolve(file).unwrap();
        assert_eq!(config.kafka.port(), 1);
        assert_eq!(config.http.port(), 3);
        assert_eq!(config.data, PathBuf::from("./assay-data"));
    }

    #[test]
    fn printed_configuration_reads_back_as_itself() {
        let file: ServeOptions =
            toml::from_str("[topic-defaults]\n\"retention.ms\" = 5\n").unwrap();
        let config = ServeOptions::default().resolve(file).unwrap();
        assert_eq!(config.topic_defaults["retention.ms"], "5");
        let printed = toml::to_string(&config).unwrap();
        let again: ServeOptions = toml::from_str(&printed).unwrap();
        let again = ServeOptions::default().resolve(again).unwrap();
        assert_eq!(toml::to_string(&again).unwrap(), printed);
    }

    #[test]
    fn advertised_address_takes_what_is_given_and_the_listener_for_the_rest() {
        let listener: SocketAddr = "127.0.0.1:9092".parse().unwrap();
        let any: SocketAddr = "0.0.0.0:9092".parse().unwrap();
        let with = |advertise: &str| {
            ServeOptions {
                advertise: Some(advertise.into()),
                ..Default::default()
            }
            .resolve(ServeOptions::default())
            .unwrap()
        };
        let cases = [
            ("", listener, ("127.0.0.1", 9092)),
            ("", any, ("127.0.0.1", 9092)),
            ("kafka.lan", any, ("kafka.lan", 9092)),
            ("kafka.lan:29092", any, ("kafka.lan", 29092)),
            ("[::1]:7", any, ("::1", 7)),
        ];
        for (advertise, listener, (host, port)) in cases {
            assert_eq!(
                with(advertise).advertised(listener).unwrap(),
                (host.to_owned(), port),
                "{advertise:?}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let cases = [
            ("kafka = 'nowhere'", "--kafka"),
            ("default-partitions = 0", "--default-partitions"),
            ("connections-max = 0", "--connections-max"),
            ("http-body-max-bytes = 0", "--http-body-max-bytes"),
            ("compatibility-level = 'SIDEWAYS'", "--compatibility-level"),
            ("advertise = 'host:notaport'", "--advertise"),
            ("request-memory-max-bytes = 1", "--request-memory-max-bytes"),
            ("registry-url = 'mysql://u:secret@h/d'", "--registry-url"),
        ];
        for (text, option) in cases {
            let file: ServeOptions = toml::from_str(text).unwrap();
            let error = ServeOptions::default()
                .resolve(file)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(option), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let unknown = toml::from_str::<ServeOptions>("kafak = 'x'")
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("kafak"), "{unknown}");
    }
}
