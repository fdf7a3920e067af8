//! DescribeConfigs, key 32, versions 1 to 4.
//!
//! v1 sources and synonyms (KIP-226); v3 types and documentation (KIP-569); v4 flexible. Topics and
//! the one broker; a broker's settings come from its start, so they are read-only here.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{RESOURCE_BROKER, RESOURCE_TOPIC, refuse, text};
use crate::broker::{Broker, BrokerConfig};
use crate::error::ErrorCode;
use crate::topics::{ConfigEntry, TopicError};
use crate::validation::ConfigType;
use crate::wire;

/// Set on the topic itself.
const SOURCE_TOPIC: i8 = 1;
/// Set when the broker was started.
const SOURCE_STATIC_BROKER: i8 = 4;
/// Not set anywhere.
const SOURCE_DEFAULT: i8 = 5;

/// Where a topic config's value comes from, as KIP-226 numbers it.
pub(super) fn config_source(broker: &Broker, entry: &ConfigEntry) -> i8 {
    if entry.is_dynamic {
        SOURCE_TOPIC
    } else {
        inherited_source(broker, &entry.name)
    }
}

fn inherited_source(broker: &Broker, name: &str) -> i8 {
    if broker.config.topic_defaults.contains_key(name) {
        SOURCE_STATIC_BROKER
    } else {
        SOURCE_DEFAULT
    }
}

/// Describes each resource; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request
        .resources
        .into_iter()
        .map(|asked| {
            let outcome = describe(broker, &asked, request.include_synonyms);
            let mut result = wire!(DescribeConfigsResult {
                resource_type: asked.resource_type,
                resource_name: asked.resource_name,
                error_message: None,
            });
            match outcome {
                Ok(mut configs) => {
                    if let Some(keys) = asked.configuration_keys {
                        let keys: BTreeSet<&str> = keys.iter().map(|key| key.as_str()).collect();
                        configs.retain(|config| keys.contains(config.name.as_str()));
                    }
                    if !request.include_documentation {
                        for config in &mut configs {
                            config.documentation = None;
                        }
                    }
                    result.configs = configs;
                }
                Err(error) => {
                    result.error_code = error.code.0;
                    result.error_message = Some(text(&error.message));
                }
            }
            result
        })
        .collect();
    wire!(DescribeConfigsResponse { results })
}

fn describe(
    broker: &Broker,
    asked: &DescribeConfigsResource,
    include_synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, TopicError> {
    match asked.resource_type {
        RESOURCE_TOPIC => Ok(broker
            .topics
            .describe_configs(&asked.resource_name)?
            .iter()
            .map(|entry| describe_topic_entry(broker, entry, include_synonyms))
            .collect()),
        RESOURCE_BROKER => {
            let name = asked.resource_name.as_str();
            // The empty name is the cluster-wide default, of which none is set.
            if name.is_empty() {
                return Ok(Vec::new());
            }
            if name != broker.config.node_id.to_string() {
                return refuse(
                    ErrorCode::INVALID_REQUEST,
                    format!(
                        "broker {name} is unknown: this is {}",
                        broker.config.node_id
                    ),
                );
            }
            Ok(broker_entries(&broker.config))
        }
        other => refuse(
            ErrorCode::INVALID_REQUEST,
            format!("configs of resource type {other} are not supported"),
        ),
    }
}

fn describe_topic_entry(
    broker: &Broker,
    entry: &ConfigEntry,
    include_synonyms: bool,
) -> DescribeConfigsResourceResult {
    let mut synonyms = Vec::new();
    if include_synonyms {
        if entry.is_dynamic {
            synonyms.push(wire!(DescribeConfigsSynonym {
                name: text(&entry.name),
                value: Some(text(&entry.value)),
                source: SOURCE_TOPIC,
            }));
        }
        synonyms.push(wire!(DescribeConfigsSynonym {
            name: text(&entry.name),
            value: Some(text(&entry.default)),
            source: inherited_source(broker, &entry.name),
        }));
    }
    wire!(DescribeConfigsResourceResult {
        name: text(&entry.name),
        value: Some(text(&entry.value)),
        config_source: config_source(broker, entry),
        synonyms,
        config_type: config_type(entry.kind),
        documentation: Some(text(entry.documentation)),
    })
}

/// The number of a type in KIP-569.
const fn config_type(kind: ConfigType) -> i8 {
    match kind {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
    }
}

fn broker_entries(config: &BrokerConfig) -> Vec<DescribeConfigsResourceResult> {
    use ConfigType::{Boolean, Int, Long, String};
    let listener = format!(
        "PLAINTEXT://{}:{}",
        config.advertised_host, config.advertised_port
    );
    let groups = &config.groups;
    let rows = [
        (
            "advertised.listeners",
            String,
            listener,
            "Where clients reach the broker.",
        ),
        (
            "auto.create.topics.enable",
            Boolean,
            config.auto_create_topics.to_string(),
            "Whether a topic is created when a client first asks for it.",
        ),
        (
            "broker.id",
            Int,
            config.node_id.to_string(),
            "Id of the broker.",
        ),
        (
            "node.id",
            Int,
            config.node_id.to_string(),
            "Id of the broker.",
        ),
        (
            "default.replication.factor",
            Int,
            "1".to_owned(),
            "There is one broker, so there is one replica.",
        ),
        (
            "group.initial.rebalance.delay.ms",
            Int,
            groups.initial_rebalance_delay_ms.to_string(),
            "How long a new group waits for more members, in milliseconds.",
        ),
        (
            "group.max.session.timeout.ms",
            Int,
            groups.session_timeout_max_ms.to_string(),
            "Longest session timeout a member may ask for, in milliseconds.",
        ),
        (
            "group.max.size",
            Int,
            groups.group_size_max.to_string(),
            "Most members of a group.",
        ),
        (
            "group.min.session.timeout.ms",
            Int,
            groups.session_timeout_min_ms.to_string(),
            "Shortest session timeout a member may ask for, in milliseconds.",
        ),
        (
            "log.dirs",
            String,
            config.data_dir.display().to_string(),
            "Directory of the data.",
        ),
        (
            "max.connections",
            Int,
            config.connections_max.to_string(),
            "Most connections at the same time.",
        ),
        (
            "num.partitions",
            Int,
            config.default_partitions.to_string(),
            "Partitions of a topic that is created without a count.",
        ),
        (
            "offset.metadata.max.bytes",
            Int,
            groups.offset_metadata_bytes_max.to_string(),
            "Longest metadata of an offset commit, in bytes.",
        ),
        (
            "offsets.retention.minutes",
            Int,
            groups.offsets_retention_minutes.to_string(),
            "How long the offsets of an empty group are kept, in minutes.",
        ),
        (
            "queued.max.request.bytes",
            Long,
            config.request_memory_bytes_max.to_string(),
            "Bytes of requests held in memory by all connections together.",
        ),
        (
            "socket.request.max.bytes",
            Int,
            config.socket_request_bytes_max.to_string(),
            "Longest request, in bytes.",
        ),
    ];
    rows.into_iter()
        .map(|(name, kind, value, documentation)| {
            wire!(DescribeConfigsResourceResult {
                name: text(name),
                value: Some(text(&value)),
                read_only: true,
                config_source: SOURCE_STATIC_BROKER,
                config_type: config_type(kind),
                documentation: Some(text(documentation)),
            })
        })
        .collect()
}
