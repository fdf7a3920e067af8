//! Recorded answers of the reference implementations, read from the folder named by
//! `ASSAY_CONFORMANCE` and skipped with a line when it is absent.
//!
//! Each suite asserts every case except those listed with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::json_value::decode_datum;
use super::parse::{Rules, parse_under};
use super::program::Program;
use super::{AvroSchema, compare, validate};
use crate::schema::{ParseMode, TextForm};
use crate::validator::{ValidationLevel, ValidationOptions, ViolationReason};

/// The cases of one file; empty when there are none recorded.
pub(crate) fn cases(file: &str) -> Vec<Value> {
    let root = std::env::var_os("ASSAY_CONFORMANCE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/conformance"
            ))
        },
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(root.join(file)) else {
        eprintln!("{file}: skipped, no recorded cases at {}", root.display());
        return Vec::new();
    };
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'a>(case: &'a Value, pointer: &str) -> &'a str {
    case.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} of {case}"))
}

fn flag(case: &Value, pointer: &str) -> bool {
    case.pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or_else(|| panic!("{pointer} of {case}"))
}

fn existing(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], ParseMode::Existing).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Collects what differs and asserts that only cases of a known kind do.
struct Suite {
    name: &'static str,
    count: usize,
    failures: Vec<(String, String)>,
    known: BTreeMap<&'static str, usize>,
}

impl Suite {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            count: 0,
            failures: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    fn case(&mut self, case: &Value, difference: Option<String>) {
        self.case_of(case, difference, None);
    }

    /// `known` is why a case like this may differ, told from what the case holds.
    fn case_of(&mut self, case: &Value, difference: Option<String>, known: Option<&'static str>) {
        self.count += 1;
        match (difference, known) {
            (None, _) => {}
            (Some(_), Some(reason)) => *self.known.entry(reason).or_default() += 1,
            (Some(difference), None) => {
                let id = case["id"]
                    .as_str()
                    .or_else(|| case["name"].as_str())
                    .unwrap_or_default();
                self.failures.push((id.to_owned(), difference));
            }
        }
    }

    fn end(self) {
        let known: usize = self.known.values().sum();
        eprintln!(
            "{}: {} of {} cases agree",
            self.name,
            self.count - self.failures.len() - known,
            self.count
        );
        for (reason, count) in &self.known {
            eprintln!("  {count} differ: {reason}");
        }
        let shown: Vec<_> = self.failures.iter().take(12).collect();
        assert!(shown.is_empty(), "{}: {shown:#?}", self.name);
    }
}

fn differ(what: &str, ours: impl AsRef<str>, expected: impl AsRef<str>) -> Option<String> {
    let (ours, expected) = (ours.as_ref(), expected.as_ref());
    (ours != expected).then(|| format!("{what}\n  ours     {ours}\n  expected {expected}"))
}

fn bool_differs(what: &str, ours: bool, expected: bool) -> Option<String> {
    (ours != expected).then(|| format!("{what}: ours {ours}, expected {expected}"))
}

/// `TYPE@location: message` lines in a stable order.
fn differences(reader: &str, writer: &str) -> BTreeSet<String> {
    compare(&existing(reader), &existing(writer))
        .into_iter()
        .map(|d| format!("{}@{}: {}", d.kind, d.path, d.additional_info))
        .collect()
}

fn recorded(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|d| {
            format!(
                "{}@{}: {}",
                text(d, "/type"),
                text(d, "/location"),
                text(d, "/message")
            )
        })
        .collect()
}

#[test]
fn apache_compatibility_pairs() {
    let mut suite = Suite::new("avro-compat/apache-avro");
    for case in cases("avro-compat/apache-avro.jsonl") {
        let (old, new) = (text(&case, "/old"), text(&case, "/new"));
        let backward = differences(new, old);
        let expected = recorded(&case["expected"]["incompatibilities"]);
        let forward = differences(old, new).is_empty();
        let difference = (backward != expected)
            .then(|| format!("ours {backward:?}, expected {expected:?}"))
            .or_else(|| bool_differs("forward", forward, flag(&case, "/expected/forward")));
        suite.case(&case, difference);
    }
    suite.end();
}

#[test]
fn compatibility_matrix() {
    for file in ["avro-field", "avro-top"] {
        let mut suite = Suite::new(if file == "avro-top" {
            "own-compat-matrix/avro-top"
        } else {
            "own-compat-matrix/avro-field"
        });
        for case in cases(&format!("own-compat-matrix/{file}.jsonl")) {
            let (old, new) = (text(&case, "/old"), text(&case, "/new"));
            let backward = compare(&existing(new), &existing(old));
            let threw = case["expected"].get("reference_exception").is_some();
            let listed = differences(new, old);
            let expected = recorded(&case["expected"]["differences"]);
            let forward = differences(old, new).is_empty();
            let difference = if threw {
                bool_differs(
                    "exception",
                    backward[0].kind == "UNEXPECTED_EXCEPTION",
                    true,
                )
            } else {
                (listed != expected).then(|| format!("ours {listed:?}, expected {expected:?}"))
            };
            suite.case(
                &case,
                difference
                    .or_else(|| bool_differs("forward", forward, flag(&case, "/expected/forward"))),
            );
        }
        suite.end();
    }
}

#[test]
fn java_pairs() {
    let mut suite = Suite::new("own-avro-java/pairs");
    for case in cases("own-avro-java/pairs.jsonl") {
        let found = compare(
            &existing(text(&case, "/new")),
            &existing(text(&case, "/old")),
        );
        let result = text(&case, "/expected/result");
        let difference = if let Some(exception) = result.strip_prefix("ERR ") {
            let (_class, message) = exception.split_once(": ").unwrap();
            differ(
                "exception",
                &found[0].message,
                format!("Unexpected exception during compatibility check: {message}"),
            )
        } else {
            let ours: Vec<String> = found
                .iter()
                .map(|d| format!("{}@{}", d.kind, d.path))
                .collect();
            let expected: Vec<&str> = case["expected"]["incompatibilities"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_str().unwrap())
                .collect();
            differ("incompatibilities", ours.join(" "), expected.join(" "))
        };
        suite.case(&case, difference);
    }
    suite.end();
}

#[test]
fn java_schemas() {
    let mut suite = Suite::new("own-avro-java/schemas");
    for case in cases("own-avro-java/schemas.jsonl") {
        let schema = text(&case, "/schema");
        let strict = AvroSchema::parse(schema, &[], ParseMode::New);
        // Recorded without any check of names, which Confluent never does without: the rule for
        // stored schemas is that of the recorded cases of `parse_and_canonical`.
        let rules = Rules {
            names: None,
            are_defaults_checked: false,
        };
        let lenient = parse_under(rules, schema, &[]).map(|model| AvroSchema {
            model: Arc::new(model),
        });
        let mut difference = bool_differs(
            "strict",
            strict.is_ok(),
            flag(&case, "/expected/valid_strict"),
        )
        .or_else(|| {
            bool_differs(
                "lenient",
                lenient.is_ok(),
                flag(&case, "/expected/valid_lenient"),
            )
        });
        if let (Ok(ours), true) = (&lenient, flag(&case, "/expected/valid_lenient")) {
            difference = difference
                .or_else(|| {
                    differ(
                        "toString",
                        ours.text(TextForm::Canonical),
                        text(&case, "/expected/to_string"),
                    )
                })
                .or_else(|| {
                    differ(
                        "parsing form",
                        ours.parsing_canonical_form(),
                        text(&case, "/expected/parsing_canonical_form"),
                    )
                })
                .or_else(|| {
                    differ(
                        "crc64",
                        format!("{:x}", ours.crc64_fingerprint()),
                        text(&case, "/expected/crc64_avro_hex"),
                    )
                })
                .or_else(|| {
                    differ(
                        "logical type",
                        ours.logical_type().unwrap_or_default(),
                        text(&case, "/expected/logical_type"),
                    )
                });
        }
        suite.case(&case, difference);
    }
    suite.end();
}

#[test]
fn parse_and_canonical() {
    for file in ["csr-parse-canonical/avro.jsonl", "own-canonical/avro.jsonl"] {
        let mut suite = Suite::new(if file.starts_with("csr") {
            "csr-parse-canonical/avro"
        } else {
            "own-canonical/avro"
        });
        for case in cases(file) {
            let schema = text(&case, "/schema");
            let new = AvroSchema::parse(schema, &[], ParseMode::New);
            let stored = AvroSchema::parse(schema, &[], ParseMode::Existing);
            let expected = &case["expected"];
            let mut difference = bool_differs("new", new.is_ok(), flag(expected, "/valid"));
            if let Some(valid) = expected.get("valid_as_existing").and_then(Value::as_bool) {
                difference = difference.or_else(|| bool_differs("existing", stored.is_ok(), valid));
            }
            let forms: [(&str, TextForm); 4] = [
                ("/canonical", TextForm::Canonical),
                ("/normalized", TextForm::Normalized),
                ("/formats/resolved", TextForm::Resolved),
                ("/canonical_as_existing", TextForm::Canonical),
            ];
            for (pointer, form) in forms {
                let ours = if pointer.ends_with("existing") {
                    &stored
                } else {
                    &new
                };
                if let (Ok(ours), Some(expected)) =
                    (ours, expected.pointer(pointer).and_then(Value::as_str))
                {
                    difference = difference.or_else(|| differ(pointer, ours.text(form), expected));
                }
            }
            if let (Ok(ours), Some(name)) = (&new, expected["record_name"].as_str()) {
                difference = difference
                    .or_else(|| differ("name", ours.record_name().unwrap_or_default(), name));
            }
            suite.case(&case, difference);
        }
        suite.end();
    }
}

#[test]
fn parsing_forms_and_fingerprints() {
    let mut suite = Suite::new("apache-avro-canonical");
    for case in cases("apache-avro-canonical/schema-tests.jsonl") {
        let expected = &case["expected"];
        if !expected["error"].is_null() {
            let parsed = AvroSchema::parse(text(&case, "/schema"), &[], ParseMode::New);
            suite.case(&case, bool_differs("valid", parsed.is_ok(), false));
            continue;
        }
        let ours = existing(text(&case, "/schema"));
        let md5: String = ours
            .md5_fingerprint()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let difference = differ(
            "parsing form",
            ours.parsing_canonical_form(),
            text(expected, "/parsing_canonical_form"),
        )
        .or_else(|| {
            differ(
                "crc64",
                ours.crc64_fingerprint().cast_signed().to_string(),
                expected["crc64_avro"].to_string(),
            )
        })
        .or_else(|| differ("md5", md5, text(expected, "/md5")))
        .or_else(|| {
            differ(
                "canonical",
                ours.text(TextForm::Canonical),
                text(expected, "/confluent_canonical"),
            )
        })
        .or_else(|| {
            differ(
                "normalized",
                ours.text(TextForm::Normalized),
                text(expected, "/confluent_normalized"),
            )
        });
        suite.case(&case, difference);
    }
    suite.end();
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn payloads() {
    let mut suite = Suite::new("own-payload/avro");
    for case in cases("own-payload/avro.jsonl") {
        let schema = existing(text(&case, "/schema"));
        // Recorded from the bare decoder, where a root of bytes has its length in front.
        let program = Program::compile(&schema.model);
        let data = unhex(text(&case, "/data"));
        let decode = ValidationOptions {
            level: ValidationLevel::Decode,
            ..ValidationOptions::default()
        };
        let full = validate::validate(&program, &data, ValidationOptions::default());
        let decode = validate::validate(&program, &data, decode);
        let reference = flag(&case, "/expected/reference_ok");
        let difference = match case["expected"]["spec_valid"].as_bool() {
            Some(valid) => bool_differs("full", full.is_ok(), valid),
            // Bit flips carry the reference's verdict only; ours may be stricter on UTF-8.
            None if reference => full
                .as_ref()
                .err()
                .filter(|v| v.reason != ViolationReason::InvalidUtf8)
                .map(|v| format!("full refuses: {v}")),
            None => bool_differs("full", full.is_ok(), false),
        };
        let difference = difference.or_else(|| bool_differs("decode", decode.is_ok(), reference));
        let json = decode_datum(&schema.model, &data);
        let json_fails_alike = match (&full, &json) {
            // Only the decoder stops at 256 levels.
            (_, Err(v)) if v.reason == ViolationReason::LimitExceeded => true,
            (ours, json) => ours.as_ref().err() == json.as_ref().err(),
        };
        let is_amplified = matches!(&full, Err(v) if v.reason == ViolationReason::LimitExceeded);
        suite.case_of(
            &case,
            difference.or_else(|| {
                (!json_fails_alike).then(|| format!("validator {full:?}, decoder {json:?}"))
            }),
            is_amplified.then_some("items of zero bytes and nesting are limited"),
        );
    }
    suite.end();
}

#[test]
fn http_verdicts() {
    let mut suite = Suite::new("http-scenarios/verdicts, Avro");
    for case in cases("http-scenarios/verdicts.jsonl") {
        if text(&case, "/format") != "AVRO" {
            continue;
        }
        let expected = flag(&case, "/expect");
        let new = text(&case, "/new");
        let level = text(&case, "/level");
        if level == "PARSE" || level == "NONE" {
            let ours = AvroSchema::parse(new, &[], ParseMode::New).is_ok();
            let is_empty = serde_json::from_str(new).is_ok_and(|new| has_empty_type(&new));
            let known = (is_empty && !flag(&case, "/confluent"))
                .then_some("enums without symbols and fixed of no bytes, as Avro Java has them");
            suite.case_of(&case, bool_differs("parse", ours, expected), known);
            continue;
        }
        let mut olds: Vec<AvroSchema> = case["olds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|old| existing(old.as_str().unwrap()))
            .collect();
        if !level.ends_with("TRANSITIVE") && olds.len() > 1 {
            olds.drain(..olds.len() - 1);
        }
        let Ok(new) = AvroSchema::parse(new, &[], ParseMode::New) else {
            suite.case(&case, bool_differs("parse", false, expected));
            continue;
        };
        let ours = olds.iter().all(|old| {
            (level.starts_with("FORWARD") || compare(&new, old).is_empty())
                && (level.starts_with("BACKWARD") || compare(old, &new).is_empty())
        });
        suite.case(&case, bool_differs(level, ours, expected));
    }
    suite.end();
}

/// Whether a schema holds an enum without symbols or a fixed of no bytes.
fn has_empty_type(schema: &Value) -> bool {
    match schema {
        Value::Array(items) => items.iter().any(has_empty_type),
        Value::Object(entries) => {
            let is_empty = match entries.get("type").and_then(Value::as_str) {
                Some("enum") => entries
                    .get("symbols")
                    .is_some_and(|s| s == &Value::Array(vec![])),
                Some("fixed") => entries.get("size").is_some_and(|size| size == 0),
                _ => false,
            };
            is_empty || entries.values().any(has_empty_type)
        }
        _ => false,
    }
}

#[test]
fn compatibility_levels() {
    let mut suite = Suite::new("avro-compat/csr-levels");
    for case in cases("avro-compat/csr-levels.jsonl") {
        let level = text(&case, "/level");
        let new = existing(text(&case, "/new"));
        let mut olds: Vec<AvroSchema> = case["previous"]
            .as_array()
            .unwrap()
            .iter()
            .map(|old| existing(old.as_str().unwrap()))
            .collect();
        if !level.ends_with("TRANSITIVE") && olds.len() > 1 {
            olds.drain(..olds.len() - 1);
        }
        let ours = level == "NONE"
            || olds.iter().all(|old| {
                (level.starts_with("FORWARD") || compare(&new, old).is_empty())
                    && (level.starts_with("BACKWARD") || compare(old, &new).is_empty())
            });
        suite.case(
            &case,
            bool_differs(level, ours, flag(&case, "/expected/compatible")),
        );
    }
    suite.end();
}
