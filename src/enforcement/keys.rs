//! The topic configs that steer validation: one row a key, shown by DescribeConfigs.
//!
//! What they mean together is [`super::policy`].

use broker_core::validation::{ConfigType, TopicConfigKey};

/// The key of Confluent's context setting.
pub(super) const CONTEXT_NAME: &str = "confluent.schema.validation.context.name";
/// Whether soft-deleted versions may be produced with.
pub(super) const SOFT_DELETED: &str = "assay.soft.deleted";
/// Whether Protobuf fields unknown to the schema pass.
pub(super) const UNKNOWN_FIELDS: &str = "assay.protobuf.unknown.fields";
/// Whether Avro's logical types are looked at.
pub(super) const LOGICAL_TYPES: &str = "assay.avro.logical.types";
/// Whether texts may show payload bytes.
pub(super) const INCLUDE_VALUES: &str = "assay.errors.include.values";

/// The names that exist once for keys and once for values.
#[derive(Debug)]
pub(super) struct PartKeys {
    pub(super) confluent_validation: &'static str,
    pub(super) redpanda_validation: &'static str,
    pub(super) mode: &'static str,
    pub(super) confluent_strategy: &'static str,
    pub(super) redpanda_strategy: &'static str,
    pub(super) strategy: &'static str,
    pub(super) level: &'static str,
    pub(super) framing: &'static str,
    pub(super) schema: &'static str,
    pub(super) null: &'static str,
}

macro_rules! part_keys {
    ($part:literal) => {
        PartKeys {
            confluent_validation: concat!("confluent.", $part, ".schema.validation"),
            redpanda_validation: concat!("redpanda.", $part, ".schema.id.validation"),
            mode: concat!("assay.", $part, ".validation.mode"),
            confluent_strategy: concat!("confluent.", $part, ".subject.name.strategy"),
            redpanda_strategy: concat!("redpanda.", $part, ".subject.name.strategy"),
            strategy: concat!("assay.", $part, ".subject.name.strategy"),
            level: concat!("assay.", $part, ".validation.level"),
            framing: concat!("assay.", $part, ".framing"),
            schema: concat!("assay.", $part, ".schema"),
            null: concat!("assay.", $part, ".null"),
        }
    };
}

pub(super) static KEY_KEYS: PartKeys = part_keys!("key");
pub(super) static VALUE_KEYS: PartKeys = part_keys!("value");

macro_rules! rows {
    ($($part:literal),+; $($shared:expr),+ $(,)?) => {
        &[
            $(
                TopicConfigKey {
                    name: concat!("confluent.", $part, ".schema.validation"),
                    kind: ConfigType::Boolean,
                    default: "false",
                    documentation: concat!("Confluent's name: true enforces schemas on record ", $part, "s, false turns validation off; not set, assay.", $part, ".validation.mode decides."),
                },
                TopicConfigKey {
                    name: concat!("confluent.", $part, ".subject.name.strategy"),
                    kind: ConfigType::String,
                    default: "io.confluent.kafka.serializers.subject.TopicNameStrategy",
                    documentation: concat!("Confluent's name: how the subject of a record ", $part, " is found; class names and short names are taken."),
                },
                TopicConfigKey {
                    name: concat!("redpanda.", $part, ".schema.id.validation"),
                    kind: ConfigType::Boolean,
                    default: "false",
                    documentation: concat!("Redpanda's name: true enforces schemas on record ", $part, "s, false turns validation off; not set, assay.", $part, ".validation.mode decides."),
                },
                TopicConfigKey {
                    name: concat!("redpanda.", $part, ".subject.name.strategy"),
                    kind: ConfigType::String,
                    default: "TopicNameStrategy",
                    documentation: concat!("Redpanda's name: how the subject of a record ", $part, " is found; class names and short names are taken."),
                },
                TopicConfigKey {
                    name: concat!("assay.", $part, ".validation.mode"),
                    kind: ConfigType::String,
                    default: "auto",
                    documentation: concat!("off, observe (count what would be refused and accept it), enforce, or auto: enforce while the topic's associated subject, or else <topic>-", $part, ", has a live version."),
                },
                TopicConfigKey {
                    name: concat!("assay.", $part, ".validation.level"),
                    kind: ConfigType::String,
                    default: "full",
                    documentation: concat!("How deep a ", $part, " is looked at: id (registered and bound to the subject), decode (also decodes), full (also to its last byte, no unknown fields)."),
                },
                TopicConfigKey {
                    name: concat!("assay.", $part, ".framing"),
                    kind: ConfigType::String,
                    default: "auto",
                    documentation: concat!("Where a ", $part, " names its schema: prefix, header (__", $part, "_schema_id), auto (the header if there is one, else the prefix), or none (assay.", $part, ".schema names it)."),
                },
                TopicConfigKey {
                    name: concat!("assay.", $part, ".schema"),
                    kind: ConfigType::String,
                    default: "latest",
                    documentation: concat!("With assay.", $part, ".framing=none: the schema of every ", $part, ": latest, version:N or id:N."),
                },
                TopicConfigKey {
                    name: concat!("assay.", $part, ".null"),
                    kind: ConfigType::String,
                    default: "allow",
                    documentation: concat!("Whether a null ", $part, " passes: allow or reject."),
                },
                TopicConfigKey {
                    name: concat!("assay.", $part, ".subject.name.strategy"),
                    kind: ConfigType::String,
                    default: "AssociatedNameStrategy",
                    documentation: concat!("How the subject of a record ", $part, " is found: AssociatedNameStrategy (the topic's association, else as TopicNameStrategy), TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy."),
                },
            )+
            $($shared,)+
        ]
    };
}

/// Every topic config of this validator.
pub(super) static CONFIG_KEYS: &[TopicConfigKey] = rows!("key", "value";
    TopicConfigKey {
        name: CONTEXT_NAME,
        kind: ConfigType::String,
        default: "default",
        documentation: "Registry context in which schema ids and subjects of this topic are looked up.",
    },
    TopicConfigKey {
        name: SOFT_DELETED,
        kind: ConfigType::String,
        default: "accept",
        documentation: "Whether records may use a soft-deleted version: accept (and count) or reject; permanently deleted versions never pass.",
    },
    TopicConfigKey {
        name: UNKNOWN_FIELDS,
        kind: ConfigType::String,
        default: "reject",
        documentation: "Protobuf fields that the claimed schema does not declare: reject, or allow for relays that carry them through.",
    },
    TopicConfigKey {
        name: LOGICAL_TYPES,
        kind: ConfigType::String,
        default: "ignore",
        documentation: "Avro's logical types at level full: ignore (the base type decides), or check: uuids, digits of decimals, times of day, dates and timestamps of the years 1 to 9999.",
    },
    TopicConfigKey {
        name: INCLUDE_VALUES,
        kind: ConfigType::Boolean,
        default: "false",
        documentation: "Whether texts about refused records may show the first payload bytes.",
    },
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_guide() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/enforcement.md");
        let guide = std::fs::read_to_string(path).expect("the guide exists");
        for key in CONFIG_KEYS {
            let name = key
                .name
                .replace(".key.", ".{key,value}.")
                .replace(".value.", ".{key,value}.");
            assert!(guide.contains(&format!("`{name}`")), "{name}");
        }
    }
}
