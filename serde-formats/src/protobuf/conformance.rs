//! The recorded cases of the reference: texts, verdicts, payloads.
//!
//! The cases live outside the project; without them these tests say so and pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::{ProtobufSchema, ProtobufScratch, compare};
use crate::schema::{ParseMode, ResolvedReference, TextForm};
use crate::validator::{
    UnknownFields, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

fn cases(path: &str) -> Option<Vec<Value>> {
    let root = std::env::var_os("ASSAY_CONFORMANCE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/conformance"
            ))
        },
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(root.join(path)) else {
        say(&format!("{path}: skipped, no recorded cases"));
        return None;
    };
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn say(line: &str) {
    println!("{line}");
}

/// Counts of passed and failed checks by aspect, with the ids of those that failed.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, (usize, Vec<String>)>);

impl Tally {
    fn check(&mut self, aspect: &'static str, id: &str, passed: bool) {
        let entry = self.0.entry(aspect).or_default();
        if passed {
            entry.0 += 1;
        } else {
            entry.1.push(id.to_owned());
        }
    }

    /// Prints the counts; fails on a failed check without an exception, and on an exception that
    /// is not needed.
    fn settle(self, suite: &str, exceptions: &[(&str, &str, &str)]) {
        let mut unexpected = Vec::new();
        let mut met = 0;
        for (aspect, (passed, failed)) in &self.0 {
            say(&format!(
                "{suite} {aspect}: {passed} of {}",
                passed + failed.len()
            ));
            for id in failed {
                let excused = exceptions
                    .iter()
                    .any(|(known, what, _)| id.ends_with(known) && what == aspect);
                if excused {
                    met += 1;
                } else {
                    unexpected.push(format!("{aspect} {id}"));
                }
            }
        }
        assert_eq!(unexpected, Vec::<String>::new(), "{suite}");
        assert_eq!(
            met,
            exceptions.len(),
            "{suite}: an exception is not needed any more"
        );
    }
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or("")
}

fn references(case: &Value, key: &str) -> Vec<ResolvedReference> {
    case[key]
        .as_array()
        .into_iter()
        .flatten()
        .map(|reference| ResolvedReference {
            name: text(reference, "name").to_owned(),
            subject: text(reference, "subject").to_owned(),
            version: 1,
            schema: text(reference, "schema").to_owned(),
        })
        .collect()
}

/// Why a text is taken though the reference refuses it, by what the text is.
fn deliberate(source: &str) -> Option<&'static str> {
    let statement = source.trim_start();
    if statement.starts_with("edition") {
        return Some("an edition, which the reference cannot read");
    }
    // Its parser stumbles over a block comment right before a closing brace.
    let comment = source.lines().any(|line| {
        let (_, rest) = line.rsplit_once("*/").unwrap_or_default();
        rest.trim() == "}"
    });
    comment.then_some("a comment before a closing brace")
}

fn check_texts(tally: &mut Tally, case: &Value) {
    let id = text(case, "id");
    let expected = &case["expected"];
    let source = text(case, "schema");
    let references = references(case, "references");
    let accepted = ProtobufSchema::parse(source, &references, ParseMode::Existing);
    let valid = expected["valid"].as_bool().unwrap();
    if let Err(error) = &accepted
        && valid
    {
        say(&format!("{id}: {error}"));
    }
    if !valid && let Some(why) = deliberate(source) {
        say(&format!("{id} is taken, the reference refuses it: {why}"));
        tally.check("taken beyond the reference", id, accepted.is_ok());
        return;
    }
    tally.check("accepted", id, accepted.is_ok() == valid);
    if !valid {
        return;
    }
    let Ok(schema) = ProtobufSchema::parse(source, &references, ParseMode::Existing) else {
        tally.check("parses", id, false);
        return;
    };
    let show = std::env::var_os("ASSAY_SHOW").is_some_and(|wanted| *id == *wanted);
    let mut same = |aspect, form: TextForm, wanted: &Value| {
        if let Some(wanted) = wanted.as_str()
            && !wanted.starts_with("ERROR")
        {
            let printed = schema.text(form);
            if show && printed != wanted {
                say(&format!("{aspect} is\n{printed}\nnot\n{wanted}"));
            }
            tally.check(aspect, id, printed == wanted);
        }
    };
    same("canonical", TextForm::Canonical, &expected["canonical"]);
    same("normalized", TextForm::Normalized, &expected["normalized"]);
    let formats = &expected["formats"];
    same(
        "ignore_extensions",
        TextForm::IgnoreExtensions,
        &formats["ignore_extensions"],
    );
    same("serialized", TextForm::Serialized, &formats["serialized"]);
    if let Some(name) = expected["record_name"].as_str() {
        tally.check(
            "record name",
            id,
            schema.record_name().as_deref() == Some(name),
        );
    }
    // What is stored must read back as itself.
    let canonical = schema.text(TextForm::Canonical);
    let again = ProtobufSchema::parse(&canonical, &references, ParseMode::Existing);
    let stable = again.is_ok_and(|again| again.text(TextForm::Canonical) == canonical);
    tally.check("canonical is stable", id, stable);
}

#[test]
fn texts_are_those_of_the_reference() {
    for path in [
        "own-canonical/protobuf.jsonl",
        "csr-parse-canonical/protobuf.jsonl",
    ] {
        let Some(cases) = cases(path) else { continue };
        let mut tally = Tally::default();
        for case in &cases {
            check_texts(&mut tally, case);
        }
        tally.settle(path, &[]);
    }
}

#[test]
fn files_are_accepted_as_protoc_accepts_them() {
    let path = "own-protoc/files.jsonl";
    let Some(cases) = cases(path) else { return };
    let mut tally = Tally::default();
    for case in &cases {
        let root = text(case, "root");
        let files = case["files"].as_object().unwrap();
        let references: Vec<ResolvedReference> = files
            .iter()
            .filter(|(name, _)| *name != root)
            .map(|(name, text)| ResolvedReference {
                name: name.clone(),
                subject: name.clone(),
                version: 1,
                schema: text.as_str().unwrap().to_owned(),
            })
            .collect();
        let source = files[root].as_str().unwrap();
        let accepted = ProtobufSchema::parse(source, &references, ParseMode::New)
            .and_then(|schema| schema.check_fields());
        let valid = case["expected"]["valid"].as_bool().unwrap();
        if let Err(error) = &accepted
            && valid
        {
            say(&format!("{}: {error}", text(case, "id")));
        }
        tally.check("accepted", text(case, "id"), accepted.is_ok() == valid);
    }
    tally.settle(path, &[]);
}

/// The kinds of difference that make two schemas incompatible.
const INCOMPATIBLE: [&str; 11] = [
    "PACKAGE_CHANGED",
    "MESSAGE_REMOVED",
    "FIELD_KIND_CHANGED",
    "FIELD_SCALAR_KIND_CHANGED",
    "FIELD_NAMED_TYPE_CHANGED",
    "FIELD_NUMERIC_LABEL_CHANGED",
    "REQUIRED_FIELD_ADDED",
    "REQUIRED_FIELD_REMOVED",
    "ONEOF_FIELD_REMOVED",
    "MULTIPLE_FIELDS_MOVED_TO_ONEOF",
    "FIELD_MOVED_TO_EXISTING_ONEOF",
];

#[test]
fn differences_are_those_of_the_reference() {
    for path in [
        "csr-proto-diff/csr-proto-diff.jsonl",
        "own-compat-matrix/protobuf.jsonl",
    ] {
        let Some(cases) = cases(path) else { continue };
        let mut tally = Tally::default();
        for case in &cases {
            let id = text(case, "id");
            let parse = |key: &str, references_key: &str| {
                let references = references(case, references_key);
                ProtobufSchema::parse(text(case, key), &references, ParseMode::Existing).unwrap()
            };
            let old = parse("old", "old_references");
            let new = parse("new", "new_references");
            let found = compare(&new, &old);
            let expected = &case["expected"];
            let mut wanted: Vec<String> = expected["differences"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .filter(|line| INCOMPATIBLE.iter().any(|kind| line.starts_with(kind)))
                .map(str::to_owned)
                .collect();
            let mut printed: Vec<String> = found
                .iter()
                .map(|one| format!("{} {}", one.kind, one.path))
                .collect();
            wanted.sort();
            printed.sort();
            tally.check("differences", id, printed == wanted);
            if let Some(backward) = expected["backward"].as_bool() {
                tally.check("backward", id, found.is_empty() == backward);
            }
            if let Some(forward) = expected["forward"].as_bool() {
                tally.check("forward", id, compare(&old, &new).is_empty() == forward);
            }
        }
        tally.settle(path, &[]);
    }
}

/// A second opinion: what another compiler links, ours links too, to the same fields.
#[test]
fn another_compiler_links_to_the_same_fields() {
    let mut tally = Tally::default();
    for path in [
        "own-canonical/protobuf.jsonl",
        "csr-parse-canonical/protobuf.jsonl",
    ] {
        for case in cases(path).unwrap_or_default() {
            let source = text(&case, "schema");
            let references = references(&case, "references");
            let Some(theirs) = other_fields(source, &references) else {
                continue;
            };
            let id = text(&case, "id");
            let parsed = ProtobufSchema::parse(source, &references, ParseMode::New);
            let ours = parsed.ok().and_then(|schema| {
                let linked = schema.linked().ok()?;
                Some(fields_of(linked.files.last()?))
            });
            // It takes numbers of extensions twice, and closed enums in proto3.
            if ours.is_none() && !case["expected"]["valid"].as_bool().unwrap_or(false) {
                continue;
            }
            if ours.as_ref() != Some(&theirs) {
                say(&format!("{id}: {ours:?} instead of {theirs:?}"));
            }
            tally.check("same fields", id, ours == Some(theirs));
        }
    }
    tally.settle("second opinion", &[]);
}

/// Name, number, label, type and type name of every field of the schema, by another compiler.
fn other_fields(source: &str, references: &[ResolvedReference]) -> Option<Vec<String>> {
    struct Files(Vec<(String, String)>);
    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            let google = protox::file::GoogleFileResolver::new().open_file(name);
            let own = self.0.iter().find(|(path, _)| path == name);
            match (google, own) {
                (Ok(file), _) => Ok(file),
                (Err(_), Some((path, text))) => protox::file::File::from_source(path, text),
                (Err(error), None) => Err(error),
            }
        }
    }
    let mut files: Vec<(String, String)> = references
        .iter()
        .map(|one| (one.name.clone(), one.schema.clone()))
        .collect();
    files.push(("root.proto".to_owned(), source.to_owned()));
    let mut compiler = protox::Compiler::with_file_resolver(Files(files));
    compiler.open_file("root.proto").ok()?;
    Some(fields_of(compiler.file_descriptor_set().file.last()?))
}

fn fields_of(file: &prost_types::FileDescriptorProto) -> Vec<String> {
    fn add(message: &prost_types::DescriptorProto, found: &mut Vec<String>) {
        for field in message.field.iter().chain(&message.extension) {
            found.push(format!(
                "{} {} {} {:?} {:?} {} {} {:?}",
                message.name(),
                field.name(),
                field.number(),
                field.label(),
                field.r#type(),
                field.type_name(),
                field.extendee(),
                field.json_name
            ));
        }
        for nested in &message.nested_type {
            add(nested, found);
        }
    }
    let mut found = Vec::new();
    for message in &file.message_type {
        add(message, &mut found);
    }
    found.sort();
    found
}

/// Files of buf's own tests; the verdicts are the reference's, which has fewer rules than buf.
#[test]
fn verdicts_on_files_of_buf_are_those_of_the_reference() {
    let path = "buf-breaking/cases.jsonl";
    let Some(cases) = cases(path) else { return };
    let mut tally = Tally::default();
    let (mut compatible, mut parts) = (0, 0);
    for case in &cases {
        let id = text(case, "id");
        let parse = |key| ProtobufSchema::parse(text(case, key), &[], ParseMode::Existing);
        let (old, new) = (parse("old"), parse("new"));
        let expected = &case["expected"];
        // Parts of a module: types of the other files are not there.
        let errors = [old.as_ref().err(), new.as_ref().err()];
        let is_part =
            |error: &&crate::schema::ParseError| error.message.contains("is not declared");
        if errors.into_iter().flatten().any(|error| is_part(&error)) {
            parts += 1;
            continue;
        }
        let Some(backward) = expected["backward"].as_bool() else {
            let edition = |key| text(case, key).contains("edition = ");
            if edition("old") || edition("new") {
                tally.check("editions read", id, old.is_ok() && new.is_ok());
            } else {
                tally.check("refused", id, old.is_err() || new.is_err());
            }
            continue;
        };
        let (Ok(old), Ok(new)) = (old, new) else {
            tally.check("parses", id, false);
            continue;
        };
        let found = compare(&new, &old).is_empty();
        compatible += usize::from(found);
        tally.check("backward", id, found == backward);
        if let Some(forward) = expected["forward"].as_bool() {
            tally.check("forward", id, compare(&old, &new).is_empty() == forward);
        }
    }
    say(&format!(
        "{path}: {compatible} of {} changes that buf calls breaking are compatible here; {parts} \
         lean on files that are not there",
        cases.len() - parts
    ));
    tally.settle(path, &[]);
}

#[test]
fn scenario_verdicts_hold() {
    let path = "http-scenarios/verdicts.jsonl";
    let Some(cases) = cases(path) else { return };
    let mut tally = Tally::default();
    for case in cases.iter().filter(|case| case["format"] == "PROTOBUF") {
        let level = text(case, "level");
        let parse = |source: &str, mode| ProtobufSchema::parse(source, &[], mode);
        let expected = case["expect"].as_bool().unwrap();
        let id = format!("{level} {}", text(case, "scenario"));
        let Ok(new) = parse(text(case, "new"), ParseMode::New) else {
            tally.check("verdict", &id, !expected);
            continue;
        };
        let mut olds: Vec<ProtobufSchema> = case["olds"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|old| parse(old.as_str()?, ParseMode::Existing).ok())
            .collect();
        if !level.ends_with("TRANSITIVE") {
            olds = olds.pop().into_iter().collect();
        }
        let backward = || olds.iter().all(|old| compare(&new, old).is_empty());
        let forward = || olds.iter().all(|old| compare(old, &new).is_empty());
        let verdict = match level.trim_end_matches("_TRANSITIVE") {
            "BACKWARD" => backward(),
            "FORWARD" => forward(),
            "FULL" => backward() && forward(),
            _ => true,
        };
        tally.check("verdict", &id, verdict == expected);
    }
    tally.settle(path, SCENARIOS);
}

const SCENARIOS: &[(&str, &str, &str)] = &[(
    "modeling_protobuf_compatibility.feature:525",
    "verdict",
    "from 8.4 on the reference lets a field leave its oneof",
)];

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
        .collect()
}

#[test]
fn payload_verdicts_hold() {
    let path = "own-payload/protobuf.jsonl";
    let Some(cases) = cases(path) else { return };
    let mut tally = Tally::default();
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut scratch = ProtobufScratch::default();
    for case in &cases {
        let schema = ProtobufSchema::parse(text(case, "schema"), &[], ParseMode::New).unwrap();
        let validator = schema.compile().unwrap();
        let message = (0..i32::try_from(validator.messages.len()).unwrap())
            .filter_map(|index| validator.message(&[index]))
            .find(|message| validator.record_name(*message) == Some(text(case, "message")))
            .unwrap();
        let data = unhex(text(case, "data"));
        let expected = &case["expected"];
        let accepted = expected["reference_ok"].as_bool().unwrap();
        let unknown = expected["unknown_fields"].as_bool().unwrap_or(false);
        let id = format!("{} ({})", text(case, "id"), text(case, "note"));
        for (aspect, level, unknown_fields, wanted) in [
            (
                "decode",
                ValidationLevel::Decode,
                UnknownFields::Allow,
                accepted,
            ),
            (
                "full",
                ValidationLevel::Full,
                UnknownFields::Reject,
                accepted && !unknown,
            ),
        ] {
            let options = ValidationOptions {
                level,
                unknown_fields,
                ..ValidationOptions::default()
            };
            let verdict = validator.validate(message, &data, options, &mut scratch);
            if verdict.is_ok() == wanted {
                tally.check(aspect, &id, true);
                continue;
            }
            match difference(case, &verdict) {
                Some(class) if level == ValidationLevel::Full => {
                    *classes.entry(class).or_default() += 1;
                }
                _ => {
                    say(&format!("{aspect} {id}: {verdict:?}"));
                    tally.check(aspect, &id, false);
                }
            }
        }
    }
    for (class, count) in &classes {
        say(&format!(
            "{path} full, differs on purpose: {count} where {class}"
        ));
    }
    tally.settle(path, &[]);
}

/// Why a verdict at the full level is not the reference's, by what the payload holds.
fn difference(case: &Value, verdict: &Result<(), Violation>) -> Option<&'static str> {
    match verdict {
        Err(violation) => match violation.reason {
            ViolationReason::InvalidBoolean => Some("a boolean is neither 0 nor 1"),
            ViolationReason::WireType => Some("every reader loses a field of another wire type"),
            ViolationReason::Malformed if violation.detail.contains("does not fit 64 bits") => {
                Some("a varint has more than 64 bits")
            }
            _ => None,
        },
        Ok(()) => {
            let extensible = text(case, "schema").contains("extensions ");
            extensible.then_some("the number is of a declared extension range")
        }
    }
}
