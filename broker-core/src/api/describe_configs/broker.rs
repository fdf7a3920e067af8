//! What the broker was started with, by Kafka's names.

use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};

use super::config_type;
use crate::api::text;
use crate::broker::BrokerConfig;
use crate::groups::ConsumerConfig;
use crate::topics::ConfigSource;
use crate::validation::ConfigType::{self, Boolean, Int, List, Long, String as Text};
use crate::wire;

/// A setting of the broker. It is read-only: another value needs another start.
struct Row {
    name: &'static str,
    kind: ConfigType,
    value: fn(&BrokerConfig) -> String,
    documentation: &'static str,
}

/// Every setting, with its value and that of a broker for which nothing is set.
pub(super) fn entries(config: &BrokerConfig) -> Vec<DescribeConfigsResourceResult> {
    let defaults = BrokerConfig::new(std::path::PathBuf::new());
    let rows = ROWS.iter();
    rows.map(|row| {
        let (value, default) = ((row.value)(config), (row.value)(&defaults));
        let synonym = |value: &str, source: ConfigSource| {
            wire!(DescribeConfigsSynonym {
                name: text(row.name),
                value: Some(text(value)),
                source: source as i8,
            })
        };
        let mut synonyms = Vec::new();
        let source = if value == default {
            ConfigSource::Default
        } else {
            synonyms.push(synonym(&value, ConfigSource::Start));
            ConfigSource::Start
        };
        synonyms.push(synonym(&default, ConfigSource::Default));
        wire!(DescribeConfigsResourceResult {
            name: text(row.name),
            value: Some(text(&value)),
            read_only: true,
            config_source: source as i8,
            synonyms,
            config_type: config_type(row.kind),
            documentation: Some(text(row.documentation)),
        })
    })
    .collect()
}

fn assignors(config: &ConsumerConfig) -> String {
    let names: Vec<&str> = config.assignors.iter().map(|one| one.name()).collect();
    names.join(",")
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "advertised.listeners", kind: List, value: |config| format!("PLAINTEXT://{}:{}", config.advertised_host, config.advertised_port), documentation: "Where clients reach the broker." },
    Row { name: "auto.create.topics.enable", kind: Boolean, value: |config| config.auto_create_topics.to_string(), documentation: "Whether a topic is created when a client first asks for it." },
    Row { name: "broker.id", kind: Int, value: |config| config.node_id.to_string(), documentation: "Id of the broker." },
    Row { name: "default.replication.factor", kind: Int, value: |_| "1".to_owned(), documentation: "There is one broker, so there is one replica." },
    Row { name: "delete.topic.enable", kind: Boolean, value: |_| "true".to_owned(), documentation: "Topics can be deleted." },
    Row { name: "group.consumer.assignors", kind: List, value: |config| assignors(&config.groups.consumer), documentation: "Assignors that members of the consumer protocol may ask for, the default first." },
    Row { name: "group.consumer.heartbeat.interval.ms", kind: Int, value: |config| config.groups.consumer.heartbeat_interval_ms.to_string(), documentation: "How often members of the consumer protocol are to report, in milliseconds." },
    Row { name: "group.consumer.max.size", kind: Int, value: |config| config.groups.consumer.size_max.to_string(), documentation: "Most members of a group of the consumer protocol." },
    Row { name: "group.consumer.migration.policy", kind: Text, value: |config| config.groups.migration.name().to_owned(), documentation: "Which groups change the protocol while they have members." },
    Row { name: "group.consumer.session.timeout.ms", kind: Int, value: |config| config.groups.consumer.session_timeout_ms.to_string(), documentation: "How long a member of the consumer protocol may stay silent, in milliseconds." },
    Row { name: "group.initial.rebalance.delay.ms", kind: Int, value: |config| config.groups.initial_rebalance_delay_ms.to_string(), documentation: "How long a new group waits for more members, in milliseconds." },
    Row { name: "group.max.session.timeout.ms", kind: Int, value: |config| config.groups.session_timeout_max_ms.to_string(), documentation: "Longest session timeout a member may ask for, in milliseconds." },
    Row { name: "group.max.size", kind: Int, value: |config| config.groups.group_size_max.to_string(), documentation: "Most members of a group." },
    Row { name: "group.min.session.timeout.ms", kind: Int, value: |config| config.groups.session_timeout_min_ms.to_string(), documentation: "Shortest session timeout a member may ask for, in milliseconds." },
    Row { name: "log.dirs", kind: List, value: |config| config.data_dir.display().to_string(), documentation: "Directory of the data." },
    Row { name: "max.connections", kind: Int, value: |config| config.connections_max.to_string(), documentation: "Most connections at the same time." },
    Row { name: "max.incremental.fetch.session.cache.slots", kind: Int, value: |config| config.fetch_sessions_max.to_string(), documentation: "Fetch sessions kept at once; clients without one ask in full every time." },
    Row { name: "node.id", kind: Int, value: |config| config.node_id.to_string(), documentation: "Id of the broker." },
    Row { name: "num.partitions", kind: Int, value: |config| config.default_partitions.to_string(), documentation: "Partitions of a topic that is created without a count." },
    Row { name: "offset.metadata.max.bytes", kind: Int, value: |config| config.groups.offset_metadata_bytes_max.to_string(), documentation: "Longest metadata of an offset commit, in bytes." },
    Row { name: "offsets.retention.minutes", kind: Int, value: |config| config.groups.offsets_retention_minutes.to_string(), documentation: "How long the offsets of an empty group are kept, in minutes." },
    Row { name: "queued.max.request.bytes", kind: Long, value: |config| config.request_memory_bytes_max.to_string(), documentation: "Bytes of requests held in memory by all connections together." },
    Row { name: "socket.request.max.bytes", kind: Int, value: |config| config.socket_request_bytes_max.to_string(), documentation: "Longest request, in bytes." },
];
