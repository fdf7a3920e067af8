//! The table of topic configs: name, type, default, legal values, one sentence.
//!
//! Names, defaults and ranges are Kafka's (`TopicConfig`, `LogConfig`). Those that ask of a
//! single node what only replicas or tiers can give are accepted, shown, and without effect.

use std::collections::BTreeMap;

use super::broker_configs::{broker_name, topic_name};
use super::{BrokerScope, ConfigEntry, ConfigOp, ConfigSource, ConfigSynonym};
use crate::log::TopicConfig;
use crate::validation::{ConfigType, TopicConfigKey};

/// Legal values of a config.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Legal {
    /// Whatever its type admits.
    Any,
    /// An integer in this range, both ends included.
    Range(i64, i64),
    /// A number in this range.
    Fraction(f64, f64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Some of these, separated by commas; at least one.
    SomeOf(&'static [&'static str]),
}

/// One topic config.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    legal: Legal,
    documentation: &'static str,
}

const LONG_MAX: i64 = i64::MAX;
const INT_MAX: i64 = 0x7fff_ffff;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("cleanup.policy", ConfigType::List, "delete", Legal::SomeOf(&["delete", "compact"]), "What happens to old segments: delete them, or compact them to the last record of each key."),
    row("compression.type", ConfigType::String, "producer", Legal::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "Codec of stored batches; batches are always kept as their producer compressed them."),
    row("compression.gzip.level", ConfigType::Int, "-1", Legal::Range(-1, 9), "Level for gzip, when the broker compresses."),
    row("compression.lz4.level", ConfigType::Int, "9", Legal::Range(1, 17), "Level for lz4, when the broker compresses."),
    row("compression.zstd.level", ConfigType::Int, "3", Legal::Range(-131_072, 22), "Level for zstd, when the broker compresses."),
    row("delete.retention.ms", ConfigType::Long, "86400000", Legal::Range(0, LONG_MAX), "How long a tombstone of a compacted topic is kept, in ms."),
    row("file.delete.delay.ms", ConfigType::Long, "60000", Legal::Range(0, LONG_MAX), "Delay before a removed file leaves the disk, in ms; files leave at once, and readers that have them open finish."),
    row("flush.messages", ConfigType::Long, "9223372036854775807", Legal::Range(1, LONG_MAX), "Records after which the log is synced whether or not a producer waits for it."),
    row("flush.ms", ConfigType::Long, "9223372036854775807", Legal::Range(0, LONG_MAX), "Time after which the log is synced, in ms; the log is synced at least every 30 s."),
    row("follower.replication.throttled.replicas", ConfigType::List, "", Legal::Any, "Without effect on a single node."),
    row("index.interval.bytes", ConfigType::Int, "4096", Legal::Range(0, INT_MAX), "Bytes of log between two index entries."),
    row("leader.replication.throttled.replicas", ConfigType::List, "", Legal::Any, "Without effect on a single node."),
    row("local.retention.bytes", ConfigType::Long, "-2", Legal::Range(-2, LONG_MAX), "Without effect: there is no remote storage."),
    row("local.retention.ms", ConfigType::Long, "-2", Legal::Range(-2, LONG_MAX), "Without effect: there is no remote storage."),
    row("max.compaction.lag.ms", ConfigType::Long, "9223372036854775807", Legal::Range(1, LONG_MAX), "Longest time a record stays uncompacted, in ms."),
    row("max.message.bytes", ConfigType::Int, "1048588", Legal::Range(0, INT_MAX), "Largest record batch, in bytes, compressed as it is sent."),
    row("message.downconversion.enable", ConfigType::Boolean, "true", Legal::Any, "Without effect: only format v2 is stored and served."),
    row("message.format.version", ConfigType::String, "3.0-IV1", Legal::Any, "Without effect: only format v2 is stored."),
    row("message.timestamp.after.max.ms", ConfigType::Long, "9223372036854775807", Legal::Range(0, LONG_MAX), "How far a record's timestamp may be ahead of the broker's clock, in ms."),
    row("message.timestamp.before.max.ms", ConfigType::Long, "9223372036854775807", Legal::Range(0, LONG_MAX), "How far a record's timestamp may be behind the broker's clock, in ms."),
    row("message.timestamp.difference.max.ms", ConfigType::Long, "9223372036854775807", Legal::Range(0, LONG_MAX), "How far a record's timestamp may be from the broker's clock, in ms; the two newer configs go before it."),
    row("message.timestamp.type", ConfigType::String, "CreateTime", Legal::OneOf(&["CreateTime", "LogAppendTime"]), "Whether records carry their producer's time or that of the append."),
    row("min.cleanable.dirty.ratio", ConfigType::Double, "0.5", Legal::Fraction(0.0, 1.0), "Share of uncompacted bytes from which compaction is worth while."),
    row("min.compaction.lag.ms", ConfigType::Long, "0", Legal::Range(0, LONG_MAX), "Shortest time a record stays uncompacted, in ms."),
    row("min.insync.replicas", ConfigType::Int, "1", Legal::Range(1, INT_MAX), "Replicas that must have a record before acks=all is answered; a single node is one."),
    row("preallocate", ConfigType::Boolean, "false", Legal::Any, "Without effect: segments grow as they are written."),
    row("remote.storage.enable", ConfigType::Boolean, "false", Legal::OneOf(&["false"]), "There is no remote storage."),
    row("retention.bytes", ConfigType::Long, "-1", Legal::Range(-1, LONG_MAX), "Size of a partition from which old segments are removed; -1 is no limit."),
    row("retention.ms", ConfigType::Long, "604800000", Legal::Range(-1, LONG_MAX), "Age from which segments are removed, in ms; -1 keeps them for ever."),
    row("segment.bytes", ConfigType::Int, "1073741824", Legal::Range(14, INT_MAX), "Size at which a new segment begins, in bytes."),
    row("segment.index.bytes", ConfigType::Int, "10485760", Legal::Range(4, INT_MAX), "Without effect: indexes are as large as their segments need."),
    row("segment.jitter.ms", ConfigType::Long, "0", Legal::Range(0, LONG_MAX), "Without effect: segments roll when their time has come."),
    row("segment.ms", ConfigType::Long, "604800000", Legal::Range(1, LONG_MAX), "Age at which a new segment begins, in ms."),
    row("unclean.leader.election.enable", ConfigType::Boolean, "false", Legal::Any, "Without effect on a single node."),
];

const fn row(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    legal: Legal,
    documentation: &'static str,
) -> Row {
    Row {
        name,
        kind,
        default,
        legal,
        documentation,
    }
}

/// All topic configs: ours, the validator's, and the broker-wide values.
#[derive(Debug, Clone)]
pub(crate) struct ConfigTable {
    rows: BTreeMap<&'static str, Row>,
    /// By the topics' names of them; the first that has a value counts.
    layers: [(ConfigSource, Properties); 3],
}

/// Explicitly set configs of a topic.
pub(crate) type Properties = BTreeMap<String, String>;

impl ConfigTable {
    /// With the validator's keys, and broker-wide defaults, which are checked.
    pub(crate) fn new(
        validator_keys: &[TopicConfigKey],
        defaults: &Properties,
    ) -> Result<Self, String> {
        let mut rows: BTreeMap<_, _> = ROWS.iter().map(|row| (row.name, *row)).collect();
        for key in validator_keys {
            rows.entry(key.name).or_insert_with(|| {
                row(
                    key.name,
                    key.kind,
                    key.default,
                    Legal::Any,
                    key.documentation,
                )
            });
        }
        let table = Self {
            rows,
            layers: [
                (ConfigSource::Node, Properties::new()),
                (ConfigSource::Cluster, Properties::new()),
                (ConfigSource::Start, defaults.clone()),
            ],
        };
        table.check(defaults)?;
        Ok(table)
    }

    /// The same with what was set on the broker while it ran, by the broker's names, checked.
    pub(crate) fn with_broker(
        &self,
        scope: BrokerScope,
        configs: &Properties,
    ) -> Result<Self, String> {
        let mut translated = Properties::new();
        for (name, value) in configs {
            let row = self.broker_row(name)?;
            row.check(value)
                .map_err(|why| format!("invalid value {value} for configuration {name}: {why}"))?;
            translated.insert(row.name.to_owned(), value.clone());
        }
        let mut table = self.clone();
        let layers = table.layers.iter_mut();
        for (_, layer) in layers.filter(|(source, _)| *source == scope.source()) {
            layer.clone_from(&translated);
        }
        Ok(table)
    }

    /// What can be set on the broker while it runs.
    fn broker_row(&self, name: &str) -> Result<&Row, String> {
        topic_name(name)
            .and_then(|name| self.rows.get(name))
            .ok_or_else(|| format!("config {name} of the broker cannot be altered while it runs"))
    }

    /// Whether every name is known and every value legal.
    pub(crate) fn check(&self, properties: &Properties) -> Result<(), String> {
        for (name, value) in properties {
            let row = self.row(name)?;
            row.check(value)
                .map_err(|why| format!("invalid value {value} for configuration {name}: {why}"))?;
        }
        Ok(())
    }

    fn row(&self, name: &str) -> Result<&Row, String> {
        self.rows
            .get(name)
            .ok_or_else(|| format!("unknown topic config name: {name}"))
    }

    fn value<'a>(&'a self, name: &str, properties: &'a Properties) -> &'a str {
        properties
            .get(name)
            .map_or_else(|| self.default(name), String::as_str)
    }

    fn default(&self, name: &str) -> &str {
        self.broker_wide(name)
            .unwrap_or_else(|| self.rows.get(name).map_or("", |row| row.default))
    }

    fn broker_wide(&self, name: &str) -> Option<&str> {
        let mut values = self.layers.iter().map(|(_, layer)| layer.get(name));
        values.find_map(|value| value.map(String::as_str))
    }

    /// The configs in force; `properties` was checked.
    pub(crate) fn parse(&self, properties: &Properties) -> TopicConfig {
        let text = |name| self.value(name, properties);
        let long = |name| text(name).trim().parse().unwrap_or(i64::MAX);
        let int = |name| i32::try_from(long(name)).unwrap_or(i32::MAX);
        let policy = text("cleanup.policy");
        let has = |wanted: &str| policy.split(',').any(|policy| policy.trim() == wanted);
        // The older name counts where the newer one is set neither here nor for the broker.
        let distance = |newer: &str| {
            let set = properties.contains_key(newer) || self.broker_wide(newer).is_some();
            self.value(
                if set {
                    newer
                } else {
                    "message.timestamp.difference.max.ms"
                },
                properties,
            )
            .trim()
            .parse()
            .unwrap_or(i64::MAX)
        };
        TopicConfig {
            max_message_bytes: int("max.message.bytes"),
            compacted: has("compact"),
            delete_old: has("delete"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: distance("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: distance("message.timestamp.after.max.ms"),
            segment_bytes: int("segment.bytes"),
            // As Kafka: a compacted topic rolls early enough for the longest lag.
            segment_ms: if has("compact") {
                long("segment.ms").min(long("max.compaction.lag.ms"))
            } else {
                long("segment.ms")
            },
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            index_interval_bytes: int("index.interval.bytes"),
            flush_messages: long("flush.messages"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio")
                .trim()
                .parse()
                .unwrap_or(0.5),
            delete_retention_ms: long("delete.retention.ms"),
            compression_type: text("compression.type").to_owned(),
        }
    }

    /// Every config with its value in force, by name.
    pub(crate) fn describe(&self, properties: &Properties) -> Vec<ConfigEntry> {
        let rows = self.rows.values();
        rows.map(|row| {
            let mut synonyms = Vec::new();
            if let Some(value) = properties.get(row.name) {
                synonyms.push(ConfigSynonym {
                    name: row.name,
                    value: value.clone(),
                    source: ConfigSource::Topic,
                });
            }
            synonyms.extend(self.synonyms(row));
            row.entry(row.name, synonyms)
        })
        .collect()
    }

    /// What can be set on the broker while it runs, with its value in force, by the broker's name.
    pub(crate) fn describe_broker(&self) -> Vec<ConfigEntry> {
        let rows = self.rows.values();
        let mut entries: Vec<_> = rows
            .filter_map(|row| Some(row.entry(broker_name(row.name)?, self.synonyms(row))))
            .collect();
        entries.sort_unstable_by_key(|entry| entry.name);
        entries
    }

    /// The broker-wide values of a config, the one in force first, the default last.
    fn synonyms(&self, row: &Row) -> Vec<ConfigSynonym> {
        let name = broker_name(row.name).unwrap_or(row.name);
        let set = self.layers.iter().filter_map(|(source, layer)| {
            Some(ConfigSynonym {
                name,
                value: layer.get(row.name)?.clone(),
                source: *source,
            })
        });
        let default = ConfigSynonym {
            name,
            value: row.default.to_owned(),
            source: ConfigSource::Default,
        };
        set.chain([default]).collect()
    }

    /// What is set on the broker in `scope`, after incremental changes, checked.
    pub(crate) fn alter_broker(
        &self,
        scope: BrokerScope,
        configs: &Properties,
        ops: &[(String, ConfigOp)],
    ) -> Result<Properties, String> {
        let mut altered = configs.clone();
        for (name, op) in ops {
            let row = self.broker_row(name)?;
            let value = altered
                .get(name)
                .map_or_else(|| self.default(row.name), String::as_str);
            match value_after(row.kind, name, value, op)? {
                Some(value) => altered.insert(name.clone(), value),
                None => altered.remove(name),
            };
        }
        self.with_broker(scope, &altered)?;
        Ok(altered)
    }

    /// `properties` after incremental changes, checked.
    pub(crate) fn alter(
        &self,
        properties: &Properties,
        ops: &[(String, ConfigOp)],
    ) -> Result<Properties, String> {
        let mut altered = properties.clone();
        for (name, op) in ops {
            let row = self.row(name)?;
            match value_after(row.kind, name, self.value(name, &altered), op)? {
                Some(value) => altered.insert(name.clone(), value),
                None => altered.remove(name),
            };
        }
        self.check(&altered)?;
        Ok(altered)
    }
}

/// The value of a config after a change; `None` when it goes back to the default.
pub(super) fn value_after(
    kind: ConfigType,
    name: &str,
    value: &str,
    op: &ConfigOp,
) -> Result<Option<String>, String> {
    let (ConfigOp::Append(change) | ConfigOp::Subtract(change)) = op else {
        return Ok(match op {
            ConfigOp::Set(value) => Some(value.clone()),
            _ => None,
        });
    };
    if kind != ConfigType::List {
        return Err(format!(
            "{name} is not a list: nothing can be added or taken"
        ));
    }
    let mut items = list(value);
    for item in list(change) {
        items.retain(|known| *known != item);
        if matches!(op, ConfigOp::Append(_)) {
            items.push(item);
        }
    }
    Ok(Some(items.join(",")))
}

fn list(value: &str) -> Vec<&str> {
    let items = value.split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

impl Row {
    /// A row of DescribeConfigs; the first of the synonyms is in force.
    fn entry(&self, name: &'static str, synonyms: Vec<ConfigSynonym>) -> ConfigEntry {
        let (value, source) = synonyms.first().map_or_else(
            || (self.default.to_owned(), ConfigSource::Default),
            |first| (first.value.clone(), first.source),
        );
        ConfigEntry {
            name,
            value,
            source,
            kind: self.kind,
            documentation: self.documentation,
            synonyms,
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let trimmed = value.trim();
        match self.kind {
            ConfigType::Boolean => {
                if !(trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false"))
                {
                    return Err("expected true or false".to_owned());
                }
            }
            ConfigType::Int => {
                trimmed.parse::<i32>().map_err(|_| "not a 32-bit integer")?;
            }
            ConfigType::Long => {
                trimmed.parse::<i64>().map_err(|_| "not a 64-bit integer")?;
            }
            ConfigType::Double => {
                trimmed.parse::<f64>().map_err(|_| "not a number")?;
            }
            ConfigType::String | ConfigType::List => {}
        }
        match self.legal {
            Legal::Any => Ok(()),
            Legal::Range(least, most) => {
                let number: i64 = trimmed.parse().map_err(|_| "not an integer")?;
                if number < least {
                    return Err(format!("value must be at least {least}"));
                }
                if number > most {
                    return Err(format!("value must be no more than {most}"));
                }
                Ok(())
            }
            Legal::Fraction(least, most) => {
                let number: f64 = trimmed.parse().map_err(|_| "not a number")?;
                if (least..=most).contains(&number) {
                    Ok(())
                } else {
                    Err(format!("value must be from {least} to {most}"))
                }
            }
            Legal::OneOf(choices) => {
                if choices.contains(&trimmed) {
                    Ok(())
                } else {
                    Err(format!("value must be one of {}", choices.join(", ")))
                }
            }
            Legal::SomeOf(choices) => {
                let items = list(value);
                if !items.is_empty() && items.iter().all(|item| choices.contains(item)) {
                    Ok(())
                } else {
                    Err(format!("values must be of {}", choices.join(", ")))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn the_table_itself_is_legal_and_parses_to_the_defaults() {
        let table = ConfigTable::new(&[], &Properties::new()).unwrap();
        for row in ROWS {
            assert_eq!(row.check(row.default), Ok(()), "{}", row.name);
        }
        assert_eq!(table.parse(&Properties::new()), TopicConfig::default());
    }

    #[test]
    fn values_are_checked() {
        let table = ConfigTable::new(&[], &Properties::new()).unwrap();
        for (name, value, expected) in [
            ("nonsense", "1", Err("unknown topic config name: nonsense")),
            ("retention.ms", "-1", Ok(())),
            (
                "retention.ms",
                "-2",
                Err("invalid value -2 for configuration retention.ms: value must be at least -1"),
            ),
            (
                "segment.bytes",
                "x",
                Err("invalid value x for configuration segment.bytes: not a 32-bit integer"),
            ),
            ("cleanup.policy", "compact, delete", Ok(())),
            (
                "cleanup.policy",
                "",
                Err(
                    "invalid value  for configuration cleanup.policy: values must be of delete, compact",
                ),
            ),
            (
                "preallocate",
                "maybe",
                Err("invalid value maybe for configuration preallocate: expected true or false"),
            ),
        ] {
            let checked = table.check(&properties(&[(name, value)]));
            assert_eq!(checked, expected.map_err(str::to_owned), "{name}={value}");
        }
    }

    #[test]
    fn newer_timestamp_configs_win_where_they_are_set() {
        const OLDER: &str = "message.timestamp.difference.max.ms";
        const BEFORE: &str = "message.timestamp.before.max.ms";
        const AFTER: &str = "message.timestamp.after.max.ms";
        let max = i64::MAX;
        for (defaults, topic, expected) in [
            (&[][..], &[][..], (max, max)),
            (&[], &[(OLDER, "10")], (10, 10)),
            (&[], &[(OLDER, "10"), (BEFORE, "50")], (50, 10)),
            (&[], &[(OLDER, "10"), (AFTER, "5")], (10, 5)),
            (
                &[(OLDER, "10")],
                &[(AFTER, "9223372036854775807")],
                (10, max),
            ),
            (&[(BEFORE, "50")], &[(OLDER, "10")], (50, 10)),
        ] {
            let table = ConfigTable::new(&[], &properties(defaults)).unwrap();
            let parsed = table.parse(&properties(topic));
            assert_eq!(
                (
                    parsed.timestamp_before_max_ms,
                    parsed.timestamp_after_max_ms
                ),
                expected,
                "{defaults:?} {topic:?}"
            );
        }
    }

    #[test]
    fn incremental_changes() {
        let defaults = properties(&[("retention.ms", "5")]);
        let table = ConfigTable::new(&[], &defaults).unwrap();
        let alter = |before: &[(&str, &str)], name: &str, op| {
            table.alter(&properties(before), &[(name.to_owned(), op)])
        };
        let append = ConfigOp::Append("compact".to_owned());
        assert_eq!(
            alter(&[], "cleanup.policy", append.clone()),
            Ok(properties(&[("cleanup.policy", "delete,compact")]))
        );
        assert_eq!(
            alter(
                &[("cleanup.policy", "delete,compact")],
                "cleanup.policy",
                ConfigOp::Subtract("delete".to_owned())
            ),
            Ok(properties(&[("cleanup.policy", "compact")]))
        );
        assert!(alter(&[], "retention.ms", append).is_err());
        assert_eq!(
            alter(&[("retention.ms", "1")], "retention.ms", ConfigOp::Delete),
            Ok(Properties::new())
        );
        let described = table.describe(&properties(&[("segment.ms", "9")]));
        let entry = |name| described.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(
            (
                entry("segment.ms").value.as_str(),
                entry("segment.ms").source
            ),
            ("9", ConfigSource::Topic)
        );
        assert_eq!(
            (
                entry("retention.ms").value.as_str(),
                entry("retention.ms").source
            ),
            ("5", ConfigSource::Start)
        );
    }
}
