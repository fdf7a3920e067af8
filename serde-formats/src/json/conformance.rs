//! Runs the recorded conformance cases. Skipped, with a line saying so, when they are not there.
//!
//! Minimums are what was measured; exceptions are listed with their reason. The hard rule is that
//! nothing the reference calls incompatible is called compatible here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::compatibility::differences;
use super::{JsonSchema, JsonScratch, compare, evidence};
use crate::compatibility::CompatibilityPolicy::{self, Lenient, Strict};
use crate::schema::{ParseMode, ResolvedReference, TextForm};
use crate::validator::ValidationOptions;
use crate::witness::Evidence;

/// The lines of one suite file, or `None` when there is no such suite here.
fn cases(file: &str) -> Option<Vec<Value>> {
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
        println!("SKIPPED {file}: no recorded cases");
        return None;
    };
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).expect("case"))
            .collect(),
    )
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn references(case: &Value) -> Vec<ResolvedReference> {
    let list = case.get("references").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|reference| ResolvedReference {
            name: text(reference, "name").to_owned(),
            subject: text(reference, "subject").to_owned(),
            version: 1,
            schema: text(reference, "schema").to_owned(),
        })
        .collect()
}

fn parse(schema: &str) -> JsonSchema {
    JsonSchema::parse(schema, &[], ParseMode::New).unwrap_or_else(|e| panic!("{schema}: {e}"))
}

/// What is reported of a suite, and held against its minimum.
#[derive(Default)]
struct Tally {
    total: usize,
    failed: Vec<String>,
}

impl Tally {
    fn check(&mut self, passed: bool, note: impl FnOnce() -> String) {
        self.total += 1;
        if !passed {
            self.failed.push(note());
        }
    }

    fn finish(self, suite: &str, failures_max: usize) {
        let passed = self.total - self.failed.len();
        println!("{suite}: {passed}/{}", self.total);
        for note in self.failed.iter().take(40) {
            println!("  {note}");
        }
        assert!(
            self.failed.len() <= failures_max,
            "{suite}: {} failures, at most {failures_max} allowed",
            self.failed.len()
        );
    }
}

fn differing(new: &JsonSchema, old: &JsonSchema, policy: CompatibilityPolicy) -> Vec<String> {
    let mut list: Vec<String> = differences(new, old, policy)
        .iter()
        .map(|difference| format!("{} {}", difference.kind.name, difference.path))
        .collect();
    list.sort();
    list
}

fn compatibility_suite(file: &str, failures_max: usize) {
    let Some(cases) = cases(file) else { return };
    let mut verdicts = Tally::default();
    let mut details = Tally::default();
    for case in &cases {
        let id = text(case, "id");
        let (old, new) = (parse(text(case, "old")), parse(text(case, "new")));
        let expected = case.get("expected").expect("expected");
        let verdict = |key: &str| expected.get(key).and_then(Value::as_bool);
        let pair = || format!("{} => {}", text(case, "old"), text(case, "new"));
        for (key, found) in [
            ("backward", compare(&new, &old, Strict).is_empty()),
            ("forward", compare(&old, &new, Strict).is_empty()),
            ("backward_lenient", compare(&new, &old, Lenient).is_empty()),
        ] {
            if let Some(expected) = verdict(key) {
                verdicts.check(found == expected, || {
                    format!("{id} {key} {found}: {}", pair())
                });
                assert!(
                    expected || !found,
                    "{id}: {key} is incompatible: {}",
                    pair()
                );
            }
        }
        if let Some(list) = expected.get("differences").and_then(Value::as_array) {
            let mut expected: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            expected.sort_unstable();
            let found = differing(&new, &old, Strict);
            details.check(found == expected, || {
                format!("{id} {}: expected {expected:?}, found {found:?}", pair())
            });
        }
    }
    verdicts.finish(&format!("{file} verdicts"), 0);
    details.finish(&format!("{file} differences"), failures_max);
}

#[test]
fn reference_examples_of_differences() {
    for file in [
        "csr-json-diff/csr-json-combined-draft07.jsonl",
        "csr-json-diff/csr-json-combined-2020-12.jsonl",
        "csr-json-diff/csr-json-diff-draft07.jsonl",
        "csr-json-diff/csr-json-diff-2020-12.jsonl",
    ] {
        compatibility_suite(file, 0);
    }
}

#[test]
fn matrix_draft_07() {
    compatibility_suite("own-compat-matrix/json-draft07.jsonl", 0);
}

#[test]
fn matrix_2020_12() {
    compatibility_suite("own-compat-matrix/json-2020-12.jsonl", 0);
}

/// Distance between the pairs looked at, which is a matter of time only.
const EVIDENCE_STEP: usize = 25;

/// Some pairs of the matrix that does not read: how many come with a record that breaks.
/// A pair for which it is proven that no record breaks has nothing to show and does not count.
fn evidence_suite(file: &str, unexplained_pairs_max: usize) {
    let Some(cases) = cases(file) else { return };
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pairs = Tally::default();
    let mut conventions = 0;
    for case in cases.iter().step_by(EVIDENCE_STEP) {
        let (old, new) = (parse(text(case, "old")), parse(text(case, "new")));
        let differences = compare(&new, &old, Strict);
        if differences.is_empty() {
            continue;
        }
        let found: Vec<Evidence> = differences
            .iter()
            .map(|difference| evidence(&new, &old, difference))
            .collect();
        for evidence in &found {
            *labels.entry(evidence.label()).or_default() += 1;
        }
        let is_convention = |evidence: &Evidence| matches!(evidence, Evidence::Convention { .. });
        if found.iter().all(is_convention) {
            conventions += 1;
            continue;
        }
        let is_shown = found
            .iter()
            .any(|evidence| matches!(evidence, Evidence::Breaks(_)));
        pairs.check(is_shown, || {
            let kinds: Vec<&str> = differences
                .iter()
                .map(|difference| difference.kind)
                .collect();
            format!(
                "{kinds:?} {} => {} {found:?}",
                text(case, "old"),
                text(case, "new")
            )
        });
    }
    println!("{file} evidence: {labels:?}, {conventions} pairs proven harmless");
    pairs.finish(
        &format!("{file} pairs shown to break"),
        unexplained_pairs_max,
    );
}

#[test]
fn evidence_of_the_matrix() {
    for file in [
        "own-compat-matrix/json-draft07.jsonl",
        "own-compat-matrix/json-2020-12.jsonl",
    ] {
        evidence_suite(file, 5);
    }
}

#[test]
fn texts() {
    for file in ["own-canonical/json.jsonl", "csr-parse-canonical/json.jsonl"] {
        let Some(cases) = cases(file) else { return };
        let mut tally = Tally::default();
        for case in &cases {
            let (id, schema) = (text(case, "id"), text(case, "schema"));
            let expected = case.get("expected").expect("expected");
            let is_valid = expected.get("valid").and_then(Value::as_bool) == Some(true);
            let parsed = JsonSchema::parse(schema, &references(case), ParseMode::New);
            tally.check(parsed.is_ok() == is_valid, || {
                let error = parsed.as_ref().err().map(ToString::to_string);
                format!("{id} valid {is_valid}: {schema:.200}: {error:?}")
            });
            let as_existing = expected.get("valid_as_existing").and_then(Value::as_bool);
            if as_existing.unwrap_or(is_valid) {
                let existing = JsonSchema::parse(schema, &references(case), ParseMode::Existing);
                tally.check(existing.is_ok(), || {
                    format!("{id} as existing: {existing:?}")
                });
            }
            let Ok(parsed) = parsed else { continue };
            for (key, form) in [
                ("canonical", TextForm::Canonical),
                ("normalized", TextForm::Normalized),
            ] {
                if let Some(expected) = expected.get(key).and_then(Value::as_str) {
                    let found = parsed.text(form);
                    tally.check(found == expected, || format!("{id} {key}: {found}"));
                }
            }
            if let Some(expected) = expected.get("record_name").and_then(Value::as_str) {
                tally.check(parsed.record_name().as_deref() == Some(expected), || {
                    format!("{id} record name")
                });
            }
        }
        tally.finish(file, 0);
    }
}

/// Every case over the tape, and those of schemas with a faster form also in the one pass.
///
/// Since 2019-09 `format` is an annotation, which is why most format cases fail there.
fn suite(draft: &str, formats_failures_max: usize) {
    let (Some(cases), Some(remotes)) = (
        cases(&format!("json-schema-test-suite/{draft}.jsonl")),
        cases("json-schema-test-suite/remotes.jsonl"),
    ) else {
        return;
    };
    let remotes: Vec<ResolvedReference> = remotes
        .iter()
        .map(|remote| ResolvedReference {
            name: text(remote, "url").to_owned(),
            subject: "remote".to_owned(),
            version: 1,
            schema: text(remote, "schema").to_owned(),
        })
        .collect();
    let mut compiled = BTreeMap::new();
    let mut scratch = JsonScratch::default();
    let (mut required, mut optional) = (Tally::default(), Tally::default());
    let (mut formats, mut one_pass) = (Tally::default(), Tally::default());
    for case in &cases {
        let flag = |key: &str| case.get(key).and_then(Value::as_bool) == Some(true);
        let schema = text(case, "schema");
        let references: &[ResolvedReference] = if flag("needs_remotes") { &remotes } else { &[] };
        let validator = compiled.entry(schema.to_owned()).or_insert_with(|| {
            JsonSchema::parse(schema, references, ParseMode::New)
                .map_err(|error| error.to_string())
                .and_then(|schema| {
                    let compile = || schema.compile().map_err(|error| error.to_string());
                    Ok((compile()?, compile()?.over_the_tape()))
                })
        });
        let expected = case.pointer("/expected/valid").and_then(Value::as_bool);
        let data = text(case, "data").as_bytes();
        let outcome = validator.as_ref().map(|(fast, slow)| {
            let options = ValidationOptions::default();
            let outcome = slow.validate(data, options, &mut scratch);
            if fast.is_fast() && !flag("optional") {
                let settled = fast.is_accepted_fast(data, &mut scratch);
                let whole = fast.validate(data, options, &mut scratch);
                one_pass.check(settled == outcome.is_ok() && whole == outcome, || {
                    format!(
                        "{schema:.300} {}: {settled} {outcome:?}",
                        text(case, "data")
                    )
                });
            }
            outcome
        });
        let found = outcome.as_ref().ok().map(Result::is_ok);
        let tally = match (
            flag("optional"),
            text(case, "id").contains("optional/format"),
        ) {
            (false, _) => &mut required,
            (true, false) => &mut optional,
            (true, true) => &mut formats,
        };
        tally.check(found == expected, || {
            format!(
                "{}: {schema:.300} {}: {outcome:?}",
                text(case, "id"),
                text(case, "data")
            )
        });
    }
    required.finish(&format!("{draft} required"), 0);
    one_pass.finish(&format!("{draft} required, in one pass"), 0);
    optional.finish(&format!("{draft} optional"), 0);
    formats.finish(&format!("{draft} formats"), formats_failures_max);
}

#[test]
fn official_suite_draft_04() {
    suite("draft4", 0);
}

#[test]
fn official_suite_draft_06() {
    suite("draft6", 0);
}

#[test]
fn official_suite_draft_07() {
    suite("draft7", 0);
}

#[test]
fn official_suite_2019_09() {
    suite("draft2019-09", 386);
}

#[test]
fn official_suite_2020_12() {
    suite("draft2020-12", 388);
}

#[test]
fn http_verdicts() {
    let Some(cases) = cases("http-scenarios/verdicts.jsonl") else {
        return;
    };
    let mut tally = Tally::default();
    for case in cases.iter().filter(|case| text(case, "format") == "JSON") {
        let new = text(case, "new");
        let expected = case.get("expect").and_then(Value::as_bool).expect("expect");
        let note = || format!("{} [{}] {new}", text(case, "scenario"), text(case, "name"));
        let parsed = JsonSchema::parse(new, &references(case), ParseMode::New);
        let level = text(case, "level");
        if level == "PARSE" {
            tally.check(parsed.is_ok() == expected, || {
                format!("{:?} {}", parsed.err(), note())
            });
            continue;
        }
        let Ok(new) = parsed else {
            tally.check(!expected, || format!("does not parse: {}", note()));
            continue;
        };
        let olds: Vec<JsonSchema> = case
            .get("olds")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(|old| JsonSchema::parse(old, &[], ParseMode::New).ok())
            .collect();
        let compared = if level.ends_with("TRANSITIVE") {
            olds.len()
        } else {
            1
        };
        let found = olds.iter().rev().take(compared).all(|old| {
            let backward = || compare(&new, old, Strict).is_empty();
            let forward = || compare(old, &new, Strict).is_empty();
            match level.trim_end_matches("_TRANSITIVE") {
                "BACKWARD" => backward(),
                "FORWARD" => forward(),
                "FULL" => backward() && forward(),
                _ => true,
            }
        });
        tally.check(found == expected, || format!("{level} {found} {}", note()));
    }
    tally.finish("http-scenarios verdicts", 0);
}
