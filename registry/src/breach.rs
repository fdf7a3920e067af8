//! A refused schema shown by a record: the sentence that follows the reference's messages.
//!
//! Pure. Looking for a record costs more than comparing, so the comparison keeps what it needs and
//! [`crate::service`] asks for it where somebody reads the answer. Under `/v1/` the same is structured:
//! [`crate::verdicts`].

use std::sync::Arc;

use serde_formats::ParsedSchema;
use serde_formats::compatibility::{CaveatEffect, CompatibilityPolicy, Incompatibility, caveats};
use serde_formats::witness::{Evidence, Outcome, Witness, caveat_evidence, evidence};

use crate::model::Version;
use crate::verdicts::Direction;

/// Two schemas that were compared, with every difference that counts; clones share it.
#[derive(Debug, Clone)]
pub struct Breach(Arc<Compared>);

#[derive(Debug)]
struct Compared {
    version: Version,
    new: Arc<ParsedSchema>,
    old: Arc<ParsedSchema>,
    differences: Vec<(Direction, Incompatibility)>,
}

/// The same comparison, not an equal one.
impl PartialEq for Breach {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Breach {}

/// Differences on whose behalf a record is looked for.
const SEARCHES_MAX: usize = 8;

/// Longest record shown, in characters.
const RECORD_CHARS_MAX: usize = 512;

/// Longest path, value or reason shown, in characters.
const DETAIL_CHARS_MAX: usize = 256;

impl Breach {
    /// Of `new` against `old`, which is `version`.
    #[must_use]
    pub fn new(
        version: Version,
        new: Arc<ParsedSchema>,
        old: Arc<ParsedSchema>,
        differences: Vec<(Direction, Incompatibility)>,
    ) -> Self {
        Self(Arc::new(Compared {
            version,
            new,
            old,
            differences,
        }))
    }

    /// `breaks: …` with the first record found to break, or `convention: …` where no record can;
    /// nothing where neither was found before `is_late` says so.
    #[must_use]
    pub fn told(&self, is_late: impl Fn() -> bool) -> Option<String> {
        let mut convention = None;
        let mut all_are_conventions = self.0.differences.len() <= SEARCHES_MAX;
        for (direction, found) in self.0.differences.iter().take(SEARCHES_MAX) {
            if is_late() {
                return None;
            }
            let (reader, writer) = self.sides(*direction);
            match evidence(reader, writer, found) {
                Evidence::Breaks(witness) => return Some(self.breaks(*direction, &witness)),
                Evidence::Convention { reason } => {
                    convention.get_or_insert(reason);
                }
                Evidence::NotFound { .. } => all_are_conventions = false,
            }
        }
        let reason = convention.filter(|_| all_are_conventions)?;
        if let Some((direction, found)) = self.missed() {
            return match found {
                Evidence::Breaks(witness) => Some(self.breaks(direction, &witness)),
                Evidence::Convention { .. } | Evidence::NotFound { .. } => None,
            };
        }
        let reason = cut(&reason, DETAIL_CHARS_MAX);
        Some(format!("convention: no record breaks; {reason}"))
    }

    /// Reader and writer.
    fn sides(&self, direction: Direction) -> (&ParsedSchema, &ParsedSchema) {
        match direction {
            Direction::Backward => (&self.0.new, &self.0.old),
            Direction::Forward => (&self.0.old, &self.0.new),
        }
    }

    /// What breaks although no difference says so, in a direction that has differences.
    fn missed(&self) -> Option<(Direction, Evidence)> {
        let directions = [Direction::Backward, Direction::Forward].into_iter();
        let mut compared =
            directions.filter(|one| self.0.differences.iter().any(|(other, _)| one == other));
        compared.find_map(|direction| {
            let (reader, writer) = self.sides(direction);
            let found = caveats(reader, writer, CompatibilityPolicy::Strict);
            let missed = found
                .iter()
                .find(|found| found.effect == CaveatEffect::Missed)?;
            Some((direction, caveat_evidence(reader, writer, missed)))
        })
    }

    fn breaks(&self, direction: Direction, witness: &Witness) -> String {
        let version = format!("version {}", self.0.version.0);
        let new = "the new schema".to_owned();
        let (reader, writer) = match direction {
            Direction::Backward => (new, version),
            Direction::Forward => (version, new),
        };
        let record = cut(&witness.json.to_string(), RECORD_CHARS_MAX);
        let short = |text: &str| cut(text, DETAIL_CHARS_MAX);
        match &witness.outcome {
            Outcome::Refused { path, reason } => format!(
                "breaks: {record} is valid under {writer}, but {reader} refuses it at {}: {}",
                short(path),
                short(reason)
            ),
            Outcome::Misread {
                path,
                written,
                read,
            } => format!(
                "breaks: {record} is valid under {writer}, but {reader} reads {} where {} was \
                 written, at {}",
                short(&read.to_string()),
                short(&written.to_string()),
                short(path)
            ),
        }
    }
}

/// At most so many characters, and whether there were more.
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_formats::compatibility::{CompatibilityPolicy, compare};
    use serde_formats::{ParseMode, SchemaFormat};

    fn breach(format: SchemaFormat, old: &str, new: &str, direction: Direction) -> Breach {
        let parse = |text| {
            let parsed = ParsedSchema::parse(format, text, &[], ParseMode::Existing);
            Arc::new(parsed.unwrap_or_else(|error| panic!("{text}: {}", error.message)))
        };
        let (old, new) = (parse(old), parse(new));
        let found = match direction {
            Direction::Backward => compare(&new, &old, CompatibilityPolicy::Strict),
            Direction::Forward => compare(&old, &new, CompatibilityPolicy::Strict),
        };
        let found = found.into_iter().map(|found| (direction, found)).collect();
        Breach::new(Version(3), new, old, found)
    }

    #[test]
    fn each_format_shows_a_record_and_who_refuses_it() {
        let record =
            |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        let a = r#"{"name":"a","type":"int"}"#;
        let b = r#"{"name":"b","type":"string"}"#;
        let proto = |field: &str| format!("syntax = \"proto3\"; message M {{ {field} }}");
        for (format, old, new, direction, begins, holds) in [
            (
                SchemaFormat::Avro,
                record(a),
                record(&format!("{a},{b}")),
                Direction::Backward,
                r#"breaks: {"a":0} is valid under version 3, but the new schema refuses it at $.b: "#,
                "default",
            ),
            (
                SchemaFormat::Avro,
                record(&format!("{a},{b}")),
                record(a),
                Direction::Forward,
                r#"breaks: {"a":0} is valid under the new schema, but version 3 refuses it at $.b: "#,
                "default",
            ),
            (
                SchemaFormat::Json,
                r#"{"type":"object","properties":{"q":{"type":"string"}}}"#.to_owned(),
                r#"{"type":"object","properties":{"q":{"type":"integer"}}}"#.to_owned(),
                Direction::Backward,
                "breaks: {\"q\":",
                "at $.q: ",
            ),
            (
                SchemaFormat::Protobuf,
                proto("string a = 1;"),
                proto("int32 a = 1;"),
                Direction::Backward,
                "breaks: ",
                " is valid under version 3, but the new schema reads ",
            ),
            (
                SchemaFormat::Avro,
                record(a),
                record(a).replace("\"R\"", "\"S\""),
                Direction::Backward,
                "convention: no record breaks; readers match records by their fields",
                "",
            ),
        ] {
            let told = breach(format, &old, &new, direction).told(|| false);
            let told = told.unwrap_or_else(|| panic!("nothing is told of {old} and {new}"));
            assert!(told.starts_with(begins), "{told}");
            assert!(told.contains(holds), "{told}");
        }
    }

    /// The differences are conventions, but a default that no reader can read is missed beside them.
    #[test]
    fn a_convention_is_not_told_where_a_record_breaks_all_the_same() {
        let record = |name: &str, field: &str| {
            format!(r#"{{"type":"record","name":"{name}","fields":[{field}]}}"#)
        };
        let unread =
            r#"{"name":"e","type":{"type":"enum","name":"E","symbols":["A"]},"default":"B"}"#;
        let (old, new) = (record("R", ""), record("S", unread));
        let told = breach(SchemaFormat::Avro, &old, &new, Direction::Backward).told(|| false);
        let told = told.unwrap();
        assert!(
            told.starts_with("breaks: {} is valid under version 3"),
            "{told}"
        );
    }

    #[test]
    fn nothing_is_told_when_it_is_late() {
        let late = breach(
            SchemaFormat::Avro,
            "\"int\"",
            "\"string\"",
            Direction::Backward,
        );
        assert_eq!(late.told(|| true), None);
        assert!(late.told(|| false).is_some());
    }

    #[test]
    fn long_records_are_cut_at_a_character() {
        assert_eq!(cut("éé", 2), "éé");
        assert_eq!(cut("ééé", 2), "éé…");
        let name = "n".repeat(5_000);
        let old = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"{name}","type":"int"}}]}}"#
        );
        let told = breach(SchemaFormat::Avro, &old, "\"string\"", Direction::Backward)
            .told(|| false)
            .unwrap();
        assert!(told.chars().count() < 1_500, "{told}");
    }
}
