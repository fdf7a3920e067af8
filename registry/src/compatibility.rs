//! Which earlier versions a new schema is compared with, and the words for what was found.
//!
//! Pure. Which differences matter is decided by `serde_formats::compatibility`; levels, transitivity
//! and groups are decided here. Texts are Confluent's, because tools read them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_formats::compatibility::{Incompatibility, compare};
use serde_formats::{ParsedSchema, SchemaFormat, TextForm};

use crate::breach::Breach;
use crate::model::{CompatibilityLevel, Metadata, Policy, SubjectConfig, Version};
use crate::snapshot::VersionImage;
use crate::verdicts::Direction;

/// What a check found: nothing when the new schema may follow.
///
/// Shown as `[message, message]`, the reference's list, and the record that breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The reference's messages, in its order.
    pub messages: Vec<String>,
    /// The schemas in which a record that breaks can be looked for.
    pub breach: Option<Breach>,
    /// What [`Breach::told`] told, once it was asked.
    pub witness: Option<String>,
}

impl Findings {
    /// Whether the new schema may follow.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The reference's messages, then the record that breaks.
    #[must_use]
    pub fn into_messages(self) -> Vec<String> {
        let mut messages = self.messages;
        messages.extend(self.witness);
        messages
    }

    const fn of(messages: Vec<String>) -> Self {
        Self {
            messages,
            breach: None,
            witness: None,
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.messages.join(", "))?;
        match &self.witness {
            Some(witness) => write!(f, "; {witness}"),
            None => Ok(()),
        }
    }
}

/// What a check needs to know of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Level in force.
    pub level: CompatibilityLevel,
    /// Policy in force.
    pub policy: Policy,
    /// Metadata property that partitions the versions, if any.
    pub group: Option<&'a str>,
    /// Also check reserved field names.
    pub validate_fields: bool,
}

impl<'a> Rules<'a> {
    /// The rules of a subject's settings in scope.
    #[must_use]
    pub fn of(config: &'a SubjectConfig, default: CompatibilityLevel) -> Self {
        Self {
            level: config.compatibility.unwrap_or(default),
            policy: config.compatibility_policy.unwrap_or(Policy::Strict),
            group: config.compatibility_group.as_deref(),
            validate_fields: config.validate_fields.unwrap_or(false),
        }
    }

    fn closing_message(&self) -> String {
        format!(
            "{{validateFields: '{}', compatibility: '{}'}}",
            self.validate_fields,
            self.level.name()
        )
    }
}

/// Why `new` may not follow `earlier` (oldest first).
///
/// A level that is not transitive looks at the newest earlier version only; a transitive one goes
/// from the newest to the oldest and stops at the first that does not fit.
#[must_use]
pub fn check<'v>(
    rules: Rules<'_>,
    new: &Arc<ParsedSchema>,
    metadata: Option<&Metadata>,
    earlier: impl DoubleEndedIterator<Item = (Version, &'v VersionImage)>,
) -> Findings {
    let mut earlier = earlier.rev().peekable();
    if rules.validate_fields {
        let latest = earlier
            .peek()
            .and_then(|(_, image)| image.schema.metadata.as_ref());
        let mut messages = reserved_fields(new, metadata, latest);
        if !messages.is_empty() {
            messages.push(rules.closing_message());
            return Findings::of(messages);
        }
    }
    if rules.level == CompatibilityLevel::None {
        return Findings::default();
    }
    let group_of = |metadata: Option<&'_ Metadata>| {
        let property = rules.group?;
        metadata?.properties.get(property).cloned()
    };
    let group = group_of(metadata);
    let mut candidates = earlier.filter(|(_, image)| {
        rules.group.is_none() || group_of(image.schema.metadata.as_ref()) == group
    });
    let compared: Vec<_> = if rules.level.is_transitive() {
        candidates.collect()
    } else {
        candidates.next().into_iter().collect()
    };
    for (version, image) in compared {
        let found = differences(rules, new, version, image);
        if found.messages.is_empty() {
            continue;
        }
        let mut messages = found.messages;
        if found.names_old_schema {
            messages.push(format!("{{oldSchemaVersion: {}}}", version.0));
            messages.push(old_schema(&image.schema.text));
        }
        messages.push(rules.closing_message());
        return Findings {
            messages,
            breach: found.breach,
            witness: None,
        };
    }
    Findings::default()
}

struct Differences {
    messages: Vec<String>,
    /// Whether version and text of the earlier schema follow the messages.
    names_old_schema: bool,
    breach: Option<Breach>,
}

fn differences(
    rules: Rules<'_>,
    new: &Arc<ParsedSchema>,
    version: Version,
    earlier: &VersionImage,
) -> Differences {
    let of_two_formats = earlier.schema.format != new.format();
    let old = match earlier.schema.parsed() {
        Ok(old) => old,
        Err(_) if of_two_formats => return other_format(None),
        Err(error) => {
            return Differences {
                messages: vec![format!(
                    "Unexpected exception during compatibility check: {error}"
                )],
                names_old_schema: true,
                breach: None,
            };
        }
    };
    let policy = rules.policy.comparison();
    let mut all: Vec<(Direction, Incompatibility)> = Vec::new();
    if rules.level.is_forward() {
        let found = compare(old, new, policy).into_iter();
        all.extend(found.map(|found| (Direction::Forward, found)));
    }
    let mut names_old_schema = !rules.level.is_backward();
    if rules.level.is_backward() {
        let found = compare(new, old, policy);
        // At the full levels the reference names the earlier schema for the backward half only.
        names_old_schema = !found.is_empty();
        all.extend(found.into_iter().map(|found| (Direction::Backward, found)));
    }
    let messages = all.iter().map(|(direction, found)| match direction {
        Direction::Forward => worded(found, "old", "new"),
        Direction::Backward => worded(found, "new", "old"),
    });
    let messages = messages.collect();
    let breach = Breach::new(version, Arc::clone(new), Arc::clone(old), all);
    if of_two_formats {
        return other_format(Some(breach));
    }
    Differences {
        messages,
        names_old_schema,
        breach: Some(breach),
    }
}

fn other_format(breach: Option<Breach>) -> Differences {
    Differences {
        messages: vec!["Incompatible because of different schema type".to_owned()],
        names_old_schema: false,
        breach,
    }
}

/// Metadata property that lists field names which schemas of the subject must not use.
const RESERVED_PROPERTY: &str = "confluent:reserved";

/// A reserved name stays reserved, and no top-level field may have one.
fn reserved_fields(
    new: &ParsedSchema,
    metadata: Option<&Metadata>,
    latest: Option<&Metadata>,
) -> Vec<String> {
    let reserved = |metadata: Option<&Metadata>| -> BTreeSet<String> {
        metadata
            .and_then(|metadata| metadata.properties.get(RESERVED_PROPERTY))
            .into_iter()
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    };
    let now = reserved(metadata);
    let before = reserved(latest);
    let removed = before.difference(&now).map(|name| {
        format!(
            "The new schema has reserved field {name} removed from its metadata which is present in the old schema's metadata."
        )
    });
    let fields = top_level_fields(new);
    let conflicts = now.intersection(&fields).map(|name| {
        format!("The new schema has field that conflicts with the reserved field {name}.")
    });
    removed.chain(conflicts).collect()
}

/// Avro record fields and JSON Schema properties. Protobuf names no field here: its fields are
/// known by number.
fn top_level_fields(schema: &ParsedSchema) -> BTreeSet<String> {
    let text = schema.text(TextForm::Canonical);
    let Ok(tree) = serde_json::from_str::<serde_json::Value>(&text) else {
        return BTreeSet::new();
    };
    match schema.format() {
        SchemaFormat::Avro => tree
            .get("fields")
            .and_then(|fields| fields.as_array())
            .into_iter()
            .flatten()
            .filter_map(|field| field.get("name")?.as_str())
            .map(str::to_owned)
            .collect(),
        SchemaFormat::Json => tree
            .get("properties")
            .and_then(|properties| properties.as_object())
            .into_iter()
            .flat_map(|properties| properties.keys().cloned())
            .collect(),
        SchemaFormat::Protobuf => BTreeSet::new(),
    }
}

/// The two `%s` of a message stand for reader and writer, in this order.
pub(crate) fn worded(found: &Incompatibility, reader: &str, writer: &str) -> String {
    found
        .message
        .replacen("%s", reader, 1)
        .replacen("%s", writer, 1)
}

/// Longest piece of an earlier schema repeated in a message, in characters; Confluent's limit.
const OLD_SCHEMA_CHARS_MAX: usize = 10_240;

fn old_schema(text: &str) -> String {
    match text.char_indices().nth(OLD_SCHEMA_CHARS_MAX) {
        None => format!("{{oldSchema: '{text}'}}"),
        Some((end, _)) => {
            let start = text.get(..end).unwrap_or(text);
            format!("{{oldSchema: <truncated> '{start}...'}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_in_order() {
        let found = Incompatibility {
            kind: "K",
            path: "/".into(),
            description: String::new(),
            additional_info: String::new(),
            message: "the %s schema lacks what the %s schema has".into(),
        };
        assert_eq!(
            worded(&found, "old", "new"),
            "the old schema lacks what the new schema has"
        );
    }

    #[test]
    fn long_schemas_are_cut_at_a_character() {
        let text = "é".repeat(OLD_SCHEMA_CHARS_MAX + 1);
        let message = old_schema(&text);
        assert_eq!(
            message,
            format!(
                "{{oldSchema: <truncated> '{}...'}}",
                "é".repeat(OLD_SCHEMA_CHARS_MAX)
            )
        );
        assert_eq!(old_schema("\"int\""), "{oldSchema: '\"int\"'}");
    }
}
