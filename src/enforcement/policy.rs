//! What a topic's properties come to: what is validated, how deep, and under which subject.
//!
//! Pure: knows nothing of the registry's content; that comes in as an argument of
//! [`PartPolicy::rule`]. Next: [`compile`], where properties become a policy.

mod compile;

use std::fmt;

use serde_formats::{LogicalTypes, UnknownFields, ValidationLevel, ValidationOptions};

pub(super) use compile::in_force;

use super::keys::{KEY_KEYS, PartKeys, VALUE_KEYS};

/// Key or value of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The record's key.
    Key,
    /// The record's value.
    Value,
}

impl Part {
    /// `key` or `value`, as in config names, subjects and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }

    /// The header that names the schema of this part (Confluent's `HeaderSchemaIdSerializer`).
    #[must_use]
    pub const fn header_name(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn sibling(self) -> Self {
        match self {
            Self::Key => Self::Value,
            Self::Value => Self::Key,
        }
    }

    const fn keys(self) -> &'static PartKeys {
        match self {
            Self::Key => &KEY_KEYS,
            Self::Value => &VALUE_KEYS,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `assay.{key,value}.validation.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is looked at.
    Off,
    /// Looked at, counted, accepted.
    Observe,
    /// Refused when it breaks its schema.
    Enforce,
    /// [`Mode::Enforce`] while the topic's subject has a live version, else [`Mode::Off`].
    Auto,
}

impl Mode {
    /// As in the config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
            Self::Auto => "auto",
        }
    }
}

/// `assay.{key,value}.validation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The id is registered and bound to the subject: what Confluent Server checks.
    Id,
    /// Also: the payload decodes.
    Decode,
    /// Also: to its last byte, with nothing that the schema does not declare.
    Full,
}

/// `assay.{key,value}.framing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The header if there is one, else the prefix: as Confluent's default deserializer reads.
    Auto,
    /// The prefix only.
    Prefix,
    /// The header only.
    Header,
    /// The topic names the schema.
    None,
}

/// `assay.{key,value}.schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinnedSchema {
    /// The newest live version of the subject.
    Latest,
    /// That live version of the subject.
    Version(i32),
    /// That id of the context.
    Id(i32),
}

impl fmt::Display for PinnedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Version(version) => write!(f, "version:{version}"),
            Self::Id(id) => write!(f, "id:{id}"),
        }
    }
}

/// How the subject is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameStrategy {
    /// The subject that the topic is associated with, else as [`NameStrategy::TopicName`].
    Associated,
    /// `<topic>-key` or `<topic>-value`.
    TopicName,
    /// The record name.
    RecordName,
    /// `<topic>-<record name>`.
    TopicRecordName,
}

impl NameStrategy {
    /// Whether the topic alone tells the subject.
    #[must_use]
    pub const fn is_by_topic(self) -> bool {
        matches!(self, Self::Associated | Self::TopicName)
    }
}

/// What happens to a part of the records of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Not looked at.
    Open,
    /// Looked at and accepted.
    Observe,
    /// Looked at and refused when bad.
    Enforce,
}

/// The policy for keys or for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPolicy {
    /// Which part.
    pub part: Part,
    /// Whether it is validated.
    pub mode: Mode,
    /// How deep.
    pub level: Level,
    /// Where the schema is named.
    pub framing: Framing,
    /// The schema when it is named nowhere.
    pub schema: PinnedSchema,
    /// Whether null passes.
    pub null_allowed: bool,
    /// How the subject is found.
    pub strategy: NameStrategy,
    /// The TopicName subject, context included.
    pub topic_subject: String,
}

impl PartPolicy {
    /// What happens now; `subject_exists` tells whether the topic's subject has a live version: its
    /// associated one, else the TopicName subject.
    ///
    /// In mode `auto` that subject decides, whatever the strategy: it is the only one known before
    /// a record is seen.
    pub fn rule(&self, subject_exists: impl FnOnce() -> bool) -> Rule {
        match self.mode {
            Mode::Off => Rule::Open,
            Mode::Observe => Rule::Observe,
            Mode::Enforce => Rule::Enforce,
            Mode::Auto if subject_exists() => Rule::Enforce,
            Mode::Auto => Rule::Open,
        }
    }
}

/// Everything that a topic's properties say about validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Topic name.
    pub topic: String,
    /// Registry context; `.` is the default one.
    pub context: String,
    /// For keys.
    pub key: PartPolicy,
    /// For values.
    pub value: PartPolicy,
    /// Whether soft-deleted versions pass.
    pub soft_deleted_accepted: bool,
    /// Protobuf fields that the schema does not declare.
    pub unknown_fields: UnknownFields,
    /// Avro's logical types.
    pub logical_types: LogicalTypes,
    /// Whether texts may show payload bytes.
    pub include_values: bool,
}

impl Policy {
    /// Whether a registry may make records of the topic be refused.
    #[must_use]
    pub fn may_enforce(&self) -> bool {
        [&self.key, &self.value]
            .iter()
            .any(|part| matches!(part.mode, Mode::Enforce | Mode::Auto))
    }

    /// The policy for a part.
    #[must_use]
    pub const fn part(&self, part: Part) -> &PartPolicy {
        match part {
            Part::Key => &self.key,
            Part::Value => &self.value,
        }
    }

    /// How payloads of a part are judged; `None` at level `id`.
    #[must_use]
    pub const fn options(&self, part: Part) -> Option<ValidationOptions> {
        let level = match self.part(part).level {
            Level::Id => return None,
            Level::Decode => ValidationLevel::Decode,
            Level::Full => ValidationLevel::Full,
        };
        Some(ValidationOptions {
            level,
            unknown_fields: self.unknown_fields,
            logical_types: self.logical_types,
        })
    }
}

/// The subject as the registry stores it: `:.context:subject` outside the default context.
pub(super) fn qualify(context: &str, subject: &str, out: &mut String) {
    out.clear();
    if context != "." {
        out.push(':');
        out.push_str(context);
        out.push(':');
    }
    out.push_str(subject);
}
