//! Witnesses: each difference with the record that shows it.

use serde_json::Value;

use super::conformance_tests::cases;
use super::{AvroSchema, compare, decode_json, evidence};
use crate::schema::ParseMode;
use crate::validator::ValidationOptions;
use crate::witness::{Evidence, Outcome};

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], ParseMode::Existing).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// One line for each difference: kind, label, record, and what becomes of it.
fn shown(reader: &str, writer: &str) -> Vec<String> {
    let (reader, writer) = (schema(reader), schema(writer));
    let differences = compare(&reader, &writer);
    let lines = differences.iter().map(|difference| {
        let shown = match evidence(&reader, &writer, difference) {
            Evidence::Breaks(witness) => {
                assert_eq!(
                    decode_json(&writer, &witness.payload).unwrap(),
                    witness.json
                );
                let end = match witness.outcome {
                    Outcome::Refused { path, reason } => format!("{path} {reason}"),
                    Outcome::Misread {
                        path,
                        written,
                        read,
                    } => format!("{path} {written} misread as {read}"),
                };
                format!("{} -> {end}", witness.json)
            }
            other => other.label().to_owned(),
        };
        format!("{}: {shown}", difference.kind)
    });
    lines.collect()
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

#[test]
fn every_kind_of_difference_has_its_record() {
    let node = |value: &str| {
        record(&format!(
            r#"{{"name":"v","type":{value}}},{{"name":"next","type":["null","R"]}}"#
        ))
    };
    // reader, writer, what is shown
    let cases = [
        (
            record(r#"{"name":"a","type":"int"}"#),
            record(r#"{"name":"b","type":"string"},{"name":"a","type":"long"}"#),
            vec![
                r#"TYPE_MISMATCH: {"b":"","a":0} -> $.a long cannot be read as int"#,
            ],
        ),
        (
            record(r#"{"name":"a","type":{"type":"array","items":{"type":"map","values":"int"}}}"#),
            record(r#"{"name":"a","type":{"type":"array","items":{"type":"map","values":"long"}}}"#),
            vec![
                r#"TYPE_MISMATCH: {"a":[{"k":0}]} -> $.a[0]["k"] long cannot be read as int"#,
            ],
        ),
        (
            record(r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["A","C"]}}"#),
            record(r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["A","B"]}}"#),
            vec![
                r#"MISSING_ENUM_SYMBOLS: {"a":"B"} -> $.a enum E has no symbol B and no default"#,
            ],
        ),
        (
            record(r#"{"name":"a","type":"int"},{"name":"n","type":"int"}"#),
            record(r#"{"name":"a","type":"int"}"#),
            vec![
                r#"READER_FIELD_MISSING_DEFAULT_VALUE: {"a":0} -> $.n field n was not written and has no default"#,
            ],
        ),
        (
            r#"{"type":"fixed","name":"F","size":1}"#.to_owned(),
            r#"{"type":"fixed","name":"G","size":2}"#.to_owned(),
            vec![
                r#"NAME_MISMATCH: "\u0000\u0000" -> $ fixed G is read as fixed F: the names differ"#,
                // The name is what the reader looks at first.
                r#"FIXED_SIZE_MISMATCH: "\u0000\u0000" -> $ fixed G is read as fixed F: the names differ"#,
            ],
        ),
        (
            r#"{"type":"fixed","name":"F","size":1}"#.to_owned(),
            r#"{"type":"fixed","name":"F","size":2}"#.to_owned(),
            vec![
                r#"FIXED_SIZE_MISMATCH: "\u0000\u0000" -> $ fixed of 2 bytes is read as fixed of 1 bytes"#,
            ],
        ),
        // A record's name alone breaks nothing.
        (
            r#"{"type":"record","name":"New","fields":[]}"#.to_owned(),
            r#"{"type":"record","name":"Old","fields":[]}"#.to_owned(),
            vec!["NAME_MISMATCH: convention"],
        ),
        // Unless a field is known by its alias, which counts under the name only.
        (
            r#"{"type":"record","name":"New","fields":[{"name":"b","type":"int","aliases":["a"]}]}"#.to_owned(),
            r#"{"type":"record","name":"Old","fields":[{"name":"a","type":"int"}]}"#.to_owned(),
            vec![r#"NAME_MISMATCH: {"a":0} -> $.b field b was not written and has no default"#],
        ),
        // The branch is chosen so that the place is reached.
        (
            record(r#"{"name":"u","type":["null","int"]}"#),
            record(r#"{"name":"u","type":["null","int","string"]}"#),
            vec![
                r#"MISSING_UNION_BRANCH: {"u":{"string":""}} -> $.u no branch of the union [null, int] reads string"#,
            ],
        ),
        (
            r#""int""#.to_owned(),
            r#"["null","int"]"#.to_owned(),
            vec!["TYPE_MISMATCH: null -> $ null cannot be read as int"],
        ),
        // A union hides where inside its branch the difference is; the record shows it.
        (
            format!(r#"["null",{}]"#, record(r#"{"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}}"#)),
            format!(r#"["null",{}]"#, record(r#"{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}}"#)),
            vec![
                r#"MISSING_UNION_BRANCH: {"R":{"e":"B"}} -> $.e enum E has no symbol B and no default"#,
            ],
        ),
        // One record taken for another of its fields.
        (
            r#"["null",{"type":"record","name":"B","fields":[{"name":"x","type":"int"}]}]"#.to_owned(),
            r#"["null",{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]}]"#.to_owned(),
            vec![
                r#"MISSING_UNION_BRANCH: {"A":{"x":0}} -> $ {"A":{"x":0}} misread as {"B":{"x":0}}"#,
            ],
        ),
        // Recursion ends.
        (
            node(r#""int""#),
            node(r#""string""#),
            vec![
                r#"TYPE_MISMATCH: {"v":"","next":null} -> $.v string cannot be read as int"#,
            ],
        ),
        // Other values obey their logical types.
        (
            record(r#"{"name":"a","type":"int"}"#),
            record(
                r#"{"name":"u","type":{"type":"string","logicalType":"uuid"}},
                   {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":4}},
                   {"name":"a","type":"boolean"}"#,
            ),
            vec![
                r#"TYPE_MISMATCH: {"u":"00000000-0000-0000-0000-000000000000","d":"\u0000","a":false} -> $.a boolean cannot be read as int"#,
            ],
        ),
        // A field that matches twice: the reader renames one onto the other.
        (
            record(r#"{"name":"a","type":"int","aliases":["b"]}"#),
            record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#),
            vec![
                r#"UNEXPECTED_EXCEPTION: {"a":0,"b":0} -> $ aliases give two fields of record R the name a"#,
            ],
        ),
        // Between schemas that differ in aliases only, none is applied.
        (
            record(r#"{"name":"a","type":"int","aliases":["b"]},{"name":"b","type":"int"}"#),
            record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#),
            vec!["UNEXPECTED_EXCEPTION: convention"],
        ),
    ];
    for (reader, writer, expected) in cases {
        assert_eq!(shown(&reader, &writer), expected, "{reader}\n{writer}");
    }
}

#[test]
fn differences_behind_an_alias_that_is_not_applied() {
    let cases = [
        // Nothing behind such a field is reached, and every record with it breaks before,
        (
            r#"{"type":"record","name":"b.R","fields":[{"name":"b","aliases":["a"],"type":{"type":"record","name":"New","fields":[{"name":"x","type":"int"}]}}]}"#.to_owned(),
            r#"{"type":"record","name":"a.R","fields":[{"name":"a","type":{"type":"record","name":"Old","fields":[{"name":"x","type":"string"}]}}]}"#.to_owned(),
            vec![
                r#"NAME_MISMATCH: {"a":{"x":""}} -> $.b field b was not written and has no default"#,
                r#"TYPE_MISMATCH: {"a":{"x":""}} -> $.b field b was not written and has no default"#,
            ],
        ),
        // or none does, where a default fills in.
        (
            r#"{"type":"record","name":"b.R","fields":[{"name":"b","aliases":["a"],"type":"int","default":1}]}"#.to_owned(),
            r#"{"type":"record","name":"a.R","fields":[{"name":"a","type":"string"}]}"#.to_owned(),
            vec!["TYPE_MISMATCH: convention"],
        ),
    ];
    for (reader, writer, expected) in cases {
        assert_eq!(shown(&reader, &writer), expected, "{reader}\n{writer}");
    }
}

#[test]
fn no_record_without_end_and_none_without_measure() {
    let endless = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"},{"name":"a","type":"int"}]}"#;
    let reader = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#;
    assert_eq!(shown(reader, endless), ["TYPE_MISMATCH: convention"]);

    // Each record holds the one before twice: 2^40 bytes at least.
    let mut doubling =
        r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"int"}]}"#.to_owned();
    for i in 1..=40 {
        let before = i - 1;
        doubling = format!(
            r#"{{"type":"record","name":"R{i}","fields":[{{"name":"a","type":{doubling}}},{{"name":"b","type":"R{before}"}}]}}"#
        );
    }
    let reader = doubling.replace(r#""type":"int""#, r#""type":"string""#);
    let shown = shown(&reader, &doubling);
    assert_eq!(
        shown.first().map(String::as_str),
        Some("TYPE_MISMATCH: not-found")
    );
}

/// Every recorded incompatible pair: no difference is without evidence, and every witness is valid
/// under the writer.
#[test]
fn witnesses_of_recorded_pairs() {
    let files = [
        "own-compat-matrix/avro-field.jsonl",
        "own-compat-matrix/avro-top.jsonl",
        "own-avro-java/pairs.jsonl",
        "avro-compat/apache-avro.jsonl",
    ];
    for file in files {
        let mut labels = [0, 0];
        for case in cases(file) {
            let text = |key: &str| {
                case[key]
                    .as_str()
                    .unwrap_or_else(|| panic!("{key}: {case}"))
            };
            let (old, new) = (schema(text("old")), schema(text("new")));
            for (reader, writer) in [(&new, &old), (&old, &new)] {
                for difference in compare(reader, writer) {
                    match evidence(reader, writer, &difference) {
                        Evidence::Breaks(witness) => {
                            let validator = writer.compile().unwrap();
                            let options = ValidationOptions::default();
                            validator.validate(&witness.payload, options).unwrap();
                            assert!(!matches!(
                                witness.outcome,
                                Outcome::Misread {
                                    written: Value::Null,
                                    read: Value::Null,
                                    ..
                                }
                            ));
                            labels[0] += 1;
                        }
                        Evidence::Convention { .. } => labels[1] += 1,
                        Evidence::NotFound { reason } => {
                            panic!("{difference:?}: {reason}\n{case}")
                        }
                    }
                }
            }
        }
        eprintln!(
            "{file}: {} differences break a record, {} are convention",
            labels[0], labels[1]
        );
    }
}
