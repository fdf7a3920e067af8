//! Topic properties to a compiled policy. Confluent's and Redpanda's names are taken as they are; two
//! names that say different things are an error that names both (Redpanda silently prefers its own).

use std::collections::BTreeMap;

use serde_formats::{LogicalTypes, UnknownFields};

use super::{Framing, Level, Mode, NameStrategy, Part, PartPolicy, PinnedSchema, Policy, qualify};
use crate::enforcement::keys::{
    CONFIG_KEYS, CONTEXT_NAME, INCLUDE_VALUES, KEY_KEYS, LOGICAL_TYPES, SOFT_DELETED,
    UNKNOWN_FIELDS, VALUE_KEYS,
};

impl Policy {
    /// Compiles the properties of `topic`.
    ///
    /// # Errors
    /// A text that names the offending keys: a value out of its set, two names that contradict
    /// each other, or a setting that has no effect where it stands.
    pub fn compile(topic: &str, properties: &BTreeMap<String, String>) -> Result<Self, String> {
        refuse_unknown_keys(properties)?;
        let context = match properties.get(CONTEXT_NAME) {
            Some(name) => context_name(name)?,
            None => ".".to_owned(),
        };
        let key = compile_part(Part::Key, topic, &context, properties)?;
        let value = compile_part(Part::Value, topic, &context, properties)?;
        Ok(Self {
            topic: topic.to_owned(),
            context,
            key,
            value,
            soft_deleted_accepted: choice(
                properties,
                SOFT_DELETED,
                &[("accept", true), ("reject", false)],
            )?
            .unwrap_or(true),
            unknown_fields: choice(
                properties,
                UNKNOWN_FIELDS,
                &[
                    ("reject", UnknownFields::Reject),
                    ("allow", UnknownFields::Allow),
                ],
            )?
            .unwrap_or(UnknownFields::Reject),
            logical_types: choice(
                properties,
                LOGICAL_TYPES,
                &[
                    ("ignore", LogicalTypes::Ignore),
                    ("check", LogicalTypes::Check),
                ],
            )?
            .unwrap_or(LogicalTypes::Ignore),
            include_values: choice(properties, INCLUDE_VALUES, BOOLEAN)?.unwrap_or(false),
        })
    }
}

/// What counts for a topic: its own `properties`, and of the broker-wide `defaults` those about
/// which it says nothing. Names for the same thing are one: a topic that sets one of them is not
/// contradicted by a default under another.
pub(in crate::enforcement) fn in_force(
    defaults: &BTreeMap<String, String>,
    properties: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = defaults.clone();
    for keys in [&KEY_KEYS, &VALUE_KEYS] {
        for same in [
            [
                keys.mode,
                keys.confluent_validation,
                keys.redpanda_validation,
            ],
            [
                keys.strategy,
                keys.confluent_strategy,
                keys.redpanda_strategy,
            ],
        ] {
            if same.iter().any(|name| properties.contains_key(*name)) {
                all.retain(|name, _| !same.contains(&name.as_str()));
            }
        }
        // A pinned schema belongs to the framing that it was written for.
        if properties.contains_key(keys.framing) {
            all.remove(keys.schema);
        }
    }
    all.extend(properties.clone());
    all
}

fn compile_part(
    part: Part,
    topic: &str,
    context: &str,
    properties: &BTreeMap<String, String>,
) -> Result<PartPolicy, String> {
    let keys = part.keys();
    let mode = agreed(
        properties,
        &[
            (keys.mode, MODES),
            (keys.confluent_validation, SWITCH),
            (keys.redpanda_validation, SWITCH),
        ],
    )?
    .unwrap_or(Mode::Auto);
    let strategy = agreed(
        properties,
        &[
            (keys.strategy, STRATEGIES),
            (keys.confluent_strategy, STRATEGIES),
            (keys.redpanda_strategy, STRATEGIES),
        ],
    )?
    .unwrap_or(NameStrategy::Associated);
    let framing = choice(properties, keys.framing, FRAMINGS)?.unwrap_or(Framing::Auto);
    let schema = properties
        .get(keys.schema)
        .map(|text| pinned(keys.schema, text))
        .transpose()?;
    if schema.is_some() && framing != Framing::None {
        return Err(format!("{} needs {}=none", keys.schema, keys.framing));
    }
    let schema = schema.unwrap_or(PinnedSchema::Latest);
    if framing == Framing::None && !strategy.is_by_topic() && !matches!(schema, PinnedSchema::Id(_))
    {
        return Err(format!(
            "{}=none with a record name strategy ({}) needs {}=id:N",
            keys.framing, keys.strategy, keys.schema
        ));
    }
    let mut topic_subject = String::new();
    qualify(
        context,
        &format!("{topic}-{}", part.name()),
        &mut topic_subject,
    );
    Ok(PartPolicy {
        part,
        mode,
        level: choice(properties, keys.level, LEVELS)?.unwrap_or(Level::Full),
        framing,
        schema,
        null_allowed: choice(properties, keys.null, &[("allow", true), ("reject", false)])?
            .unwrap_or(true),
        strategy,
        topic_subject,
    })
}

/// The one value that all names that are set agree on.
fn agreed<T: Copy + PartialEq>(
    properties: &BTreeMap<String, String>,
    names: &[(&str, &[(&str, T)])],
) -> Result<Option<T>, String> {
    let mut first: Option<(&str, T)> = None;
    for (name, choices) in names {
        let Some(value) = choice(properties, name, choices)? else {
            continue;
        };
        match first {
            None => first = Some((name, value)),
            Some((earlier, other)) if other != value => {
                return Err(format!(
                    "{earlier}={} contradicts {name}={}",
                    properties.get(earlier).map_or("", String::as_str),
                    properties.get(*name).map_or("", String::as_str),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(first.map(|(_, value)| value))
}

/// The value of one key out of a closed set, in any letter case.
fn choice<T: Copy>(
    properties: &BTreeMap<String, String>,
    name: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(text) = properties.get(name) else {
        return Ok(None);
    };
    let wanted = text.trim();
    let wanted = wanted.strip_prefix(STRATEGY_PACKAGE).unwrap_or(wanted);
    choices
        .iter()
        .find(|(spelling, _)| spelling.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| Some(*value))
        .ok_or_else(|| {
            let known: Vec<&str> = choices.iter().map(|(spelling, _)| *spelling).collect();
            format!("{name} must be one of {}, not {text}", known.join(", "))
        })
}

fn pinned(name: &str, text: &str) -> Result<PinnedSchema, String> {
    let wanted = text.trim();
    let number = |digits: &str| digits.parse::<i32>().ok().filter(|number| *number > 0);
    let parsed = if wanted.eq_ignore_ascii_case("latest") {
        Some(PinnedSchema::Latest)
    } else if let Some(digits) = wanted.strip_prefix("version:") {
        number(digits).map(PinnedSchema::Version)
    } else if let Some(digits) = wanted.strip_prefix("id:") {
        number(digits).map(PinnedSchema::Id)
    } else {
        None
    };
    parsed.ok_or_else(|| format!("{name} must be latest, version:N or id:N, not {text}"))
}

/// `default`, `.` and nothing are the default context; others may come with or without their dot
/// and colons.
fn context_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let name = name
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .unwrap_or(name);
    if name.contains(':') {
        return Err(format!("{CONTEXT_NAME} must name one context, not {text}"));
    }
    Ok(match name {
        "" | "." | "default" => ".".to_owned(),
        dotted if dotted.starts_with('.') => dotted.to_owned(),
        bare => format!(".{bare}"),
    })
}

/// A misspelt key would silently leave a topic unguarded.
fn refuse_unknown_keys(properties: &BTreeMap<String, String>) -> Result<(), String> {
    let ours = [
        "assay.key.",
        "assay.value.",
        "assay.soft.",
        "assay.protobuf.",
        "assay.errors.",
    ];
    for name in properties.keys() {
        if ours.iter().any(|prefix| name.starts_with(prefix))
            && !CONFIG_KEYS.iter().any(|key| key.name == name)
        {
            return Err(format!("{name} is not a known topic config"));
        }
    }
    Ok(())
}

const STRATEGY_PACKAGE: &str = "io.confluent.kafka.serializers.subject.";

const BOOLEAN: &[(&str, bool)] = &[("true", true), ("false", false)];
const SWITCH: &[(&str, Mode)] = &[("true", Mode::Enforce), ("false", Mode::Off)];
const MODES: &[(&str, Mode)] = &[
    ("off", Mode::Off),
    ("observe", Mode::Observe),
    ("enforce", Mode::Enforce),
    ("auto", Mode::Auto),
    ("true", Mode::Enforce),
    ("false", Mode::Off),
];
const LEVELS: &[(&str, Level)] = &[
    ("id", Level::Id),
    ("decode", Level::Decode),
    ("full", Level::Full),
];
const FRAMINGS: &[(&str, Framing)] = &[
    ("auto", Framing::Auto),
    ("prefix", Framing::Prefix),
    ("header", Framing::Header),
    ("none", Framing::None),
];
const STRATEGIES: &[(&str, NameStrategy)] = &[
    ("TopicNameStrategy", NameStrategy::TopicName),
    ("RecordNameStrategy", NameStrategy::RecordName),
    ("TopicRecordNameStrategy", NameStrategy::TopicRecordName),
    ("AssociatedNameStrategy", NameStrategy::Associated),
];

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    fn properties(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|pair| {
                let (name, value) = pair.split_once('=').expect("name=value");
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    fn compile(text: &str) -> Result<Policy, String> {
        Policy::compile("orders", &properties(text))
    }

    #[test]
    fn modes() {
        for (properties, key, value) in [
            ("", Mode::Auto, Mode::Auto),
            (
                "confluent.value.schema.validation=true",
                Mode::Auto,
                Mode::Enforce,
            ),
            (
                "confluent.value.schema.validation=FALSE",
                Mode::Auto,
                Mode::Off,
            ),
            (
                "redpanda.key.schema.id.validation=true",
                Mode::Enforce,
                Mode::Auto,
            ),
            (
                "assay.value.validation.mode=observe",
                Mode::Auto,
                Mode::Observe,
            ),
            (
                "assay.value.validation.mode=true",
                Mode::Auto,
                Mode::Enforce,
            ),
            ("assay.key.validation.mode=false", Mode::Off, Mode::Auto),
            (
                "assay.value.validation.mode=enforce confluent.value.schema.validation=true redpanda.value.schema.id.validation=true",
                Mode::Auto,
                Mode::Enforce,
            ),
            (
                "confluent.key.schema.validation=true confluent.value.schema.validation=false",
                Mode::Enforce,
                Mode::Off,
            ),
        ] {
            let policy = compile(properties).expect(properties);
            assert_eq!(
                (policy.key.mode, policy.value.mode),
                (key, value),
                "{properties}"
            );
            assert_eq!(policy.value.level, Level::Full, "{properties}");
        }
    }

    #[test]
    fn strategies_in_every_spelling() {
        for (properties, expected) in [
            (
                "confluent.value.subject.name.strategy=io.confluent.kafka.serializers.subject.TopicNameStrategy",
                NameStrategy::TopicName,
            ),
            (
                "confluent.value.subject.name.strategy=io.confluent.kafka.serializers.subject.RecordNameStrategy",
                NameStrategy::RecordName,
            ),
            (
                "redpanda.value.subject.name.strategy=TopicRecordNameStrategy",
                NameStrategy::TopicRecordName,
            ),
            (
                "redpanda.value.subject.name.strategy=io.confluent.kafka.serializers.subject.TopicRecordNameStrategy",
                NameStrategy::TopicRecordName,
            ),
            (
                "assay.value.subject.name.strategy=RecordNameStrategy",
                NameStrategy::RecordName,
            ),
            (
                "assay.value.subject.name.strategy=AssociatedNameStrategy",
                NameStrategy::Associated,
            ),
            (
                "assay.value.subject.name.strategy=RecordNameStrategy redpanda.value.subject.name.strategy=io.confluent.kafka.serializers.subject.RecordNameStrategy",
                NameStrategy::RecordName,
            ),
        ] {
            assert_eq!(
                compile(properties).expect(properties).value.strategy,
                expected,
                "{properties}"
            );
        }
    }

    #[test]
    fn everything_else() {
        let policy = compile(
            "assay.value.validation.level=id assay.value.framing=none assay.value.schema=version:3 \
             assay.key.null=reject assay.soft.deleted=reject assay.protobuf.unknown.fields=allow \
             assay.avro.logical.types=check assay.errors.include.values=true \
             confluent.schema.validation.context.name=staging",
        )
        .expect("compiles");
        assert_eq!(policy.context, ".staging");
        assert_eq!(policy.value.topic_subject, ":.staging:orders-value");
        assert_eq!(policy.value.level, Level::Id);
        assert_eq!(policy.options(Part::Value), None);
        assert_eq!(policy.value.framing, Framing::None);
        assert_eq!(policy.value.schema, PinnedSchema::Version(3));
        assert!(!policy.key.null_allowed && policy.value.null_allowed);
        assert!(!policy.soft_deleted_accepted && policy.include_values);
        assert_eq!(policy.unknown_fields, UnknownFields::Allow);
        assert_eq!(policy.logical_types, LogicalTypes::Check);
        for (name, context) in [("default", "."), (".", "."), (":.x:", ".x"), (".x", ".x")] {
            let policy = compile(&format!("confluent.schema.validation.context.name={name}"));
            assert_eq!(policy.expect(name).context, context);
        }
    }

    #[test]
    fn errors_name_the_keys() {
        for (properties, text) in [
            (
                "assay.value.validation.mode=off confluent.value.schema.validation=true",
                "assay.value.validation.mode=off contradicts confluent.value.schema.validation=true",
            ),
            (
                "confluent.key.schema.validation=true redpanda.key.schema.id.validation=false",
                "confluent.key.schema.validation=true contradicts redpanda.key.schema.id.validation=false",
            ),
            (
                "confluent.value.subject.name.strategy=RecordNameStrategy redpanda.value.subject.name.strategy=TopicNameStrategy",
                "confluent.value.subject.name.strategy=RecordNameStrategy contradicts redpanda.value.subject.name.strategy=TopicNameStrategy",
            ),
            (
                "confluent.value.schema.validation=maybe",
                "confluent.value.schema.validation must be one of true, false, not maybe",
            ),
            (
                "assay.value.validation.level=rules",
                "assay.value.validation.level must be one of id, decode, full, not rules",
            ),
            (
                "assay.value.subject.name.strategy=com.example.Mine",
                "assay.value.subject.name.strategy must be one of TopicNameStrategy, RecordNameStrategy, TopicRecordNameStrategy, AssociatedNameStrategy, not com.example.Mine",
            ),
            (
                "assay.avro.logical.types=yes",
                "assay.avro.logical.types must be one of ignore, check, not yes",
            ),
            (
                "assay.value.schema=latest",
                "assay.value.schema needs assay.value.framing=none",
            ),
            (
                "assay.key.framing=none assay.key.schema=version:0",
                "assay.key.schema must be latest, version:N or id:N, not version:0",
            ),
            (
                "assay.value.framing=none assay.value.subject.name.strategy=RecordNameStrategy",
                "assay.value.framing=none with a record name strategy (assay.value.subject.name.strategy) needs assay.value.schema=id:N",
            ),
            (
                "assay.value.validation.mod=off",
                "assay.value.validation.mod is not a known topic config",
            ),
            (
                "confluent.schema.validation.context.name=:.a:b",
                "confluent.schema.validation.context.name must name one context, not :.a:b",
            ),
        ] {
            assert_eq!(compile(properties), Err(text.to_owned()), "{properties}");
        }
        assert!(compile("retention.ms=1 confluent.placement.constraints=x").is_ok());
    }

    #[test]
    fn a_topic_goes_before_the_defaults_whatever_name_it_uses() {
        for (defaults, own, expected) in [
            ("assay.value.null=reject", "", "assay.value.null=reject"),
            ("assay.value.null=reject", "assay.value.null=allow", ""),
            (
                "assay.value.validation.mode=enforce",
                "confluent.value.schema.validation=false",
                "assay.value.validation.mode=off",
            ),
            (
                "confluent.value.schema.validation=true confluent.key.schema.validation=true",
                "assay.value.validation.mode=observe",
                "assay.value.validation.mode=observe assay.key.validation.mode=enforce",
            ),
            (
                "redpanda.value.subject.name.strategy=RecordNameStrategy",
                "assay.value.subject.name.strategy=TopicNameStrategy",
                "assay.value.subject.name.strategy=TopicNameStrategy",
            ),
            (
                "assay.value.framing=none assay.value.schema=id:7",
                "assay.value.framing=header",
                "assay.value.framing=header",
            ),
            (
                "assay.value.framing=none assay.value.schema=id:7",
                "assay.value.schema=id:8",
                "assay.value.framing=none assay.value.schema=id:8",
            ),
        ] {
            let merged = in_force(&properties(defaults), &properties(own));
            let policy = Policy::compile("orders", &merged);
            assert_eq!(policy, compile(expected), "{defaults} / {own}");
        }
    }

    #[test]
    fn auto_follows_the_topic_subject() {
        let policy = compile("").expect("compiles");
        assert_eq!(policy.value.topic_subject, "orders-value");
        assert_eq!(policy.value.rule(|| true), Rule::Enforce);
        assert_eq!(policy.key.rule(|| false), Rule::Open);
        let off = compile("confluent.value.schema.validation=false").expect("compiles");
        assert_eq!(off.value.rule(|| true), Rule::Open);
    }

    #[test]
    fn every_default_in_the_table_is_the_default_in_force() {
        let unset = compile("").expect("compiles");
        for key in CONFIG_KEYS {
            // Defaults under other products' names are theirs; unset, ours count. `.schema` needs
            // framing=none.
            if !key.name.starts_with("assay.") || key.name.ends_with(".schema") {
                continue;
            }
            let set = compile(&format!("{}={}", key.name, key.default));
            assert_eq!(set.as_ref(), Ok(&unset), "{}", key.name);
        }
    }
}
