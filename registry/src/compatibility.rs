//! Which earlier versions a new schema is compared with, and the words for what was found.
//!
//! Pure. Which differences matter is decided by `serde_formats::compatibility`; levels, transitivity
//! and groups are decided here. Texts are Confluent's, because tools read them.

use serde_formats::ParsedSchema;
use serde_formats::compatibility::{Incompatibility, compare};

use crate::model::{CompatibilityLevel, Metadata, Policy, SubjectConfig, Version};
use crate::snapshot::VersionImage;

/// What a check needs to know of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Level in force.
    pub level: CompatibilityLevel,
    /// Policy in force.
    pub policy: Policy,
    /// Metadata property that partitions the versions, if any.
    pub group: Option<&'a str>,
    /// Only named in the messages.
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
}

/// Why `new` may not follow `earlier` (oldest first); empty when it may.
///
/// A level that is not transitive looks at the newest earlier version only; a transitive one goes
/// from the newest to the oldest and stops at the first that does not fit.
#[must_use]
pub fn check<'v>(
    rules: Rules<'_>,
    new: &ParsedSchema,
    metadata: Option<&Metadata>,
    earlier: impl DoubleEndedIterator<Item = (Version, &'v VersionImage)>,
) -> Vec<String> {
    if rules.level == CompatibilityLevel::None {
        return Vec::new();
    }
    let group_of = |metadata: Option<&'_ Metadata>| {
        let property = rules.group?;
        metadata?.properties.get(property).cloned()
    };
    let group = group_of(metadata);
    let mut candidates = earlier
        .rev()
        .filter(|(_, image)| rules.group.is_none() || group_of(image.schema.metadata.as_ref()) == group);
    let compared: Vec<_> = if rules.level.is_transitive() {
        candidates.collect()
    } else {
        candidates.next().into_iter().collect()
    };
    for (version, image) in compared {
        let mut messages = differences(rules, new, image);
        if messages.is_empty() {
            continue;
        }
        if image.schema.format == new.format() {
            messages.push(format!("{{oldSchemaVersion: {}}}", version.0));
            messages.push(old_schema(&image.schema.text));
        }
        messages.push(format!(
            "{{validateFields: '{}', compatibility: '{}'}}",
            rules.validate_fields,
            rules.level.name()
        ));
        return messages;
    }
    Vec::new()
}

fn differences(rules: Rules<'_>, new: &ParsedSchema, earlier: &VersionImage) -> Vec<String> {
    if earlier.schema.format != new.format() {
        return vec!["Incompatible because of different schema type".to_owned()];
    }
    let old = match earlier.schema.parsed() {
        Ok(old) => old,
        Err(error) => return vec![format!("Unexpected exception during compatibility check: {error}")],
    };
    let policy = rules.policy.comparison();
    let mut messages = Vec::new();
    if rules.level.is_forward() {
        let found = compare(old, new, policy);
        messages.extend(found.iter().map(|found| worded(found, "old", "new")));
    }
    if rules.level.is_backward() {
        let found = compare(new, old, policy);
        messages.extend(found.iter().map(|found| worded(found, "new", "old")));
    }
    messages
}

/// The two `%s` of a message stand for reader and writer, in this order.
fn worded(found: &Incompatibility, reader: &str, writer: &str) -> String {
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
