//! As deep as data and schemas come: what recursion there is has a limit, on the stack of a thread.

use serde_json::Value;

use super::{AvroSchema, caveats, compare, decode_json, decode_with_spans, encode_json, evidence};
use crate::json_value::EncodeError;
use crate::outline::Outline;
use crate::schema::{ParseMode, ParsedSchema, TextForm};
use crate::validator::{ValidationLevel, ValidationOptions, ViolationReason};

/// Far beyond every limit.
const DEEP: usize = 100_000;

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], ParseMode::New).unwrap_or_else(|e| panic!("{e}: {text:.200}"))
}

/// A record that holds itself, its payload and JSON `depth` levels deep.
fn nested(inner: &str, level: &[u8]) -> (AvroSchema, Vec<u8>) {
    let text =
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"r","type":{inner}}}]}}"#);
    (schema(&text), level.repeat(DEEP))
}

#[test]
fn data_of_any_depth_is_refused_at_a_limit() {
    for (inner, level) in [
        (r#"["null","R"]"#, &[2][..]),
        (r#"{"type":"array","items":"R"}"#, &[2]),
        // A block that tells its size, and a key.
        (r#"{"type":"map","values":"R"}"#, &[2, 0]),
        (
            r#"[{"type":"map","values":"R"},{"type":"array","items":"R"}]"#,
            &[2, 2],
        ),
        // Without an end, and without bytes.
        (r#""R""#, &[]),
    ] {
        let (schema, payload) = nested(inner, level);
        let validator = schema.compile().unwrap();
        for level in [ValidationLevel::Full, ValidationLevel::Decode] {
            let options = ValidationOptions {
                level,
                ..ValidationOptions::default()
            };
            let violation = validator.validate(&payload, options).unwrap_err();
            assert_eq!(violation.reason, ViolationReason::LimitExceeded, "{inner}");
        }
        let violation = decode_json(&schema, &payload).unwrap_err();
        assert_eq!(violation.reason, ViolationReason::LimitExceeded, "{inner}");
        let violation = decode_with_spans(&schema, &payload).unwrap_err();
        assert_eq!(violation.reason, ViolationReason::LimitExceeded, "{inner}");
    }
}

#[test]
fn json_of_any_depth_is_refused_at_a_limit() {
    type Wrap = fn(Value) -> Value;
    // `json!` would look through what it is given.
    fn object(key: &str, inner: Value) -> Value {
        Value::Object(std::iter::once((key.to_owned(), inner)).collect())
    }
    let wraps: [(&str, Wrap); 3] = [
        (r#"["null","R"]"#, |inner| object("R", inner)),
        (r#"{"type":"array","items":"R"}"#, |inner| {
            Value::Array(vec![inner])
        }),
        (r#"{"type":"map","values":"R"}"#, |inner| object("k", inner)),
    ];
    for (inner, wrap) in wraps {
        let (schema, _) = nested(inner, &[]);
        let value = (0..DEEP).fold(Value::Null, |value, _| object("r", wrap(value)));
        let encoded = encode_json(&schema, &value);
        // To drop it would take a stack of its depth.
        std::mem::forget(value);
        let EncodeError { message, .. } = encoded.unwrap_err();
        assert_eq!(message, "values nest deeper than 256 levels", "{inner}");
    }
}

/// As deep as types may nest.
fn deepest(leaf: &str) -> AvroSchema {
    let arrays = r#"{"type":"array","items":"#;
    let text = format!("{}{leaf}{}", arrays.repeat(256), "}".repeat(256));
    assert!(AvroSchema::parse(&format!("{arrays}{text}}}"), &[], ParseMode::New).is_err());
    schema(&text)
}

/// Defined from the inside out, a chain of records is flat in the text and deep from its last one.
fn chain(records: usize, first: &str, leaf: &str) -> AvroSchema {
    let record = |i: usize| {
        let inner = match i == records {
            true => leaf.to_owned(),
            false => format!("\"R{}\"", i + 1),
        };
        format!(r#"{{"type":"record","name":"R{i}","fields":[{{"name":"n","type":{inner}}}]}}"#)
    };
    let all: Vec<String> = (1..=records).rev().map(record).collect();
    schema(&format!(
        r#"{{"type":"record","name":"Top","fields":[
            {{"name":"all","type":[{}]}},
            {{"name":"first","type":{{"type":"record","name":"R0","fields":[{first}]}}}}]}}"#,
        all.join(",")
    ))
}

#[test]
fn schemas_of_any_depth_are_handled() {
    let first = r#"{"name":"n","type":"R1"}"#;
    let pairs = [
        (deepest("\"int\""), deepest("\"string\"")),
        (
            chain(2_000, first, "\"int\""),
            chain(2_000, first, "\"string\""),
        ),
    ];
    for (reader, writer) in pairs {
        for schema in [&reader, &writer] {
            schema.compile().unwrap();
            let parsed = ParsedSchema::Avro(schema.clone());
            for form in [
                TextForm::Canonical,
                TextForm::Normalized,
                TextForm::Resolved,
            ] {
                let text = parsed.text(form);
                AvroSchema::parse(&text, &[], ParseMode::New).unwrap();
            }
            let _outline = Outline::of(&parsed);
            assert!(schema.is_equivalent(&schema.clone()));
            assert!(!schema.parsing_canonical_form().is_empty());
        }
        let differences = compare(&reader, &writer);
        assert!(!differences.is_empty());
        for difference in &differences {
            let _evidence = evidence(&reader, &writer, difference);
        }
        let _caveats = caveats(&reader, &writer);
    }
}

/// The reference tells such a record in full, from wherever it is met.
#[test]
fn a_message_goes_no_deeper_than_types_do() {
    let reader = schema(
        r#"{"type":"record","name":"Top","fields":[{"name":"first","type":{"type":"record",
            "name":"R0","fields":[{"name":"n","type":"int","aliases":["m"]}]}}]}"#,
    );
    let twice = r#"{"name":"n","type":"R1"},{"name":"m","type":"R1"}"#;
    let writer = chain(20_000, twice, "\"int\"");
    let differences = compare(&reader, &writer);
    let [difference] = differences.as_slice() else {
        panic!("{differences:?}");
    };
    let message = &difference.message;
    assert!(
        message.contains("matches multiple fields"),
        "{message:.200}"
    );
    assert!(message.contains(r#""name":"R256""#));
    assert!(!message.contains(r#""name":"R257""#));
    let _evidence = evidence(&reader, &writer, difference);
    let _caveats = caveats(&reader, &writer);
}
