//! How a subject came to be what it is: its versions with what each changed, and whether it fits
//! those before it at every level.
//!
//! Pure: works on one snapshot. Who registered a version comes from the change log and is the
//! caller's to add.

use std::sync::Arc;

use serde_formats::compatibility::CompatibilityPolicy;
use serde_formats::outline::{Outline, OutlineField};
use serde_formats::{CompileError, ParsedSchema};

use crate::model::Version;
use crate::snapshot::{SubjectImage, VersionImage};
use crate::verdicts::Verdicts;

/// Earlier versions one version is compared with. Where there are more, nothing is said of the
/// transitive levels.
pub const COMPARED_MAX: usize = 32;

/// What happened to a field between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// The field's path.
    pub path: String,
    /// `added`, `removed`, `type`, `default`, `doc` or `required`.
    pub what: &'static str,
    /// Before, as text.
    pub before: Option<String>,
    /// After, as text.
    pub after: Option<String>,
}

/// One version of the timeline.
#[derive(Debug)]
pub struct Entry<'s> {
    /// The version.
    pub version: Version,
    /// What is stored of it.
    pub image: &'s VersionImage,
    /// The version before it, deleted or not; none for the first.
    pub previous: Option<Version>,
    /// What changed from `previous`.
    pub changes: Vec<FieldChange>,
    /// Against all earlier versions, newest first; none when this one does not parse.
    pub verdicts: Option<Verdicts>,
    /// Whether every earlier version was compared.
    pub all_compared: bool,
}

/// The newest `limit` versions, newest first.
#[must_use]
pub fn timeline(image: &SubjectImage, policy: CompatibilityPolicy, limit: usize) -> Vec<Entry<'_>> {
    let versions: Vec<(Version, &VersionImage)> = image.versions().collect();
    (0..versions.len())
        .rev()
        .take(limit)
        .filter_map(|at| entry(&versions, at, policy))
        .collect()
}

fn entry<'s>(
    versions: &[(Version, &'s VersionImage)],
    at: usize,
    policy: CompatibilityPolicy,
) -> Option<Entry<'s>> {
    let (version, image) = *versions.get(at)?;
    let earlier = versions.get(..at)?;
    let parsed = image.schema.parsed().ok();
    let compared: Result<Vec<(Version, Arc<ParsedSchema>)>, &CompileError> = earlier
        .iter()
        .rev()
        .take(COMPARED_MAX)
        .map(|(version, image)| Ok((*version, Arc::clone(image.schema.parsed()?))))
        .collect();
    let compared = compared.ok();
    let verdicts = parsed
        .zip(compared.as_ref())
        .map(|(new, earlier)| Verdicts::of(new, earlier, policy));
    let before = compared
        .as_ref()
        .and_then(|compared| compared.first())
        .map(|(_, before)| before);
    let changes = match (before, parsed) {
        (Some(before), Some(after)) => field_changes(&Outline::of(before), &Outline::of(after)),
        _ => Vec::new(),
    };
    Some(Entry {
        version,
        image,
        previous: earlier.last().map(|(version, _)| *version),
        changes,
        verdicts,
        all_compared: earlier.len() <= COMPARED_MAX,
    })
}

/// Fields by path: gone, come, and changed.
#[must_use]
pub fn field_changes(before: &Outline, after: &Outline) -> Vec<FieldChange> {
    let by_path = |outline: &Outline| {
        outline
            .fields
            .iter()
            .map(|field| (field.path.clone(), field.clone()))
            .collect::<std::collections::BTreeMap<String, OutlineField>>()
    };
    let (old, new) = (by_path(before), by_path(after));
    let mut changes = Vec::new();
    for (path, field) in &old {
        if !new.contains_key(path) {
            let change = change(path, "removed", Some(field.type_name.clone()), None);
            changes.push(change);
        }
    }
    for (path, field) in &new {
        let Some(was) = old.get(path) else {
            changes.push(change(path, "added", None, Some(field.type_name.clone())));
            continue;
        };
        let text = |name: &str| Some(name.to_owned());
        let required = |field: &OutlineField| Some(field.is_required.to_string());
        for (what, before, after) in [
            ("type", text(&was.type_name), text(&field.type_name)),
            ("default", was.default.clone(), field.default.clone()),
            ("doc", was.doc.clone(), field.doc.clone()),
            ("required", required(was), required(field)),
        ] {
            if before != after {
                changes.push(change(path, what, before, after));
            }
        }
    }
    changes
}

fn change(
    path: &str,
    what: &'static str,
    before: Option<String>,
    after: Option<String>,
) -> FieldChange {
    FieldChange {
        path: path.to_owned(),
        what,
        before,
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_formats::{ParseMode, SchemaFormat};

    fn outline(fields: &str) -> Outline {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        let parsed = ParsedSchema::parse(SchemaFormat::Avro, &text, &[], ParseMode::New).unwrap();
        Outline::of(&parsed)
    }

    #[test]
    fn changes_name_the_field_and_what_changed() {
        for (before, after, expected) in [
            (
                "",
                r#"{"name":"a","type":"int"}"#,
                vec!["a added None Some(\"int\")"],
            ),
            (
                r#"{"name":"a","type":"int"}"#,
                "",
                vec!["a removed Some(\"int\") None"],
            ),
            (
                r#"{"name":"a","type":"int"}"#,
                r#"{"name":"a","type":"long","default":0,"doc":"d"}"#,
                vec![
                    "a type Some(\"int\") Some(\"long\")",
                    "a default None Some(\"0\")",
                    "a doc None Some(\"d\")",
                ],
            ),
            (
                r#"{"name":"a","type":"int"}"#,
                r#"{"name":"a","type":"int"}"#,
                vec![],
            ),
        ] {
            let shown: Vec<String> = field_changes(&outline(before), &outline(after))
                .iter()
                .map(|c| format!("{} {} {:?} {:?}", c.path, c.what, c.before, c.after))
                .collect();
            assert_eq!(shown, expected, "{before} -> {after}");
        }
    }
}
