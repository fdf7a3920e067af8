//! What is missed, and the record that shows it.

use super::super::{ProtobufSchema, caveats, compare};
use crate::compatibility::{CompatibilityPolicy, caveats as all_caveats};
use crate::schema::{ParseMode, ParsedSchema};
use crate::witness::{Evidence, Outcome, caveat_evidence};

fn schema(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(text, &[], ParseMode::New)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Each caveat with the record that breaks, one line each.
fn shown(old: &ProtobufSchema, new: &ProtobufSchema) -> Vec<String> {
    let (old, new) = (
        ParsedSchema::Protobuf(old.clone()),
        ParsedSchema::Protobuf(new.clone()),
    );
    let lines = all_caveats(&new, &old, CompatibilityPolicy::Strict)
        .into_iter()
        .map(|caveat| {
            let how = match caveat_evidence(&new, &old, &caveat) {
                Evidence::Breaks(witness) => match witness.outcome {
                    Outcome::Refused { path, .. } => format!("refused {path}"),
                    Outcome::Misread {
                        path,
                        written,
                        read,
                    } => format!("misread {path}: {written} as {read}"),
                },
                other => other.label().to_owned(),
            };
            format!("{} {} {how}", caveat.kind, caveat.path)
        });
    lines.collect()
}

#[track_caller]
fn check(old: &str, new: &str, wanted: &[&str]) {
    let (old_schema, new_schema) = (schema(old), schema(new));
    assert_eq!(shown(&old_schema, &new_schema), wanted, "{old} -> {new}");
    let reported: Vec<String> = compare(&new_schema, &old_schema)
        .into_iter()
        .map(|difference| difference.path)
        .collect();
    for caveat in caveats(&new_schema, &old_schema) {
        assert!(!reported.contains(&caveat.path), "{caveat:?} {reported:?}");
    }
}

#[test]
fn what_is_the_same_has_none() {
    let bodies = [
        "int32 a = 1; repeated string b = 2; map<string, M> c = 3; oneof o { bool d = 4; M e = 5; }",
        "message N { enum E { Z = 0; } E e = 1; optional M m = 2; } N n = 9; bytes b = 10;",
    ];
    for body in bodies {
        let text = format!("syntax = \"proto3\"; message M {{ {body} }}");
        check(&text, &text, &[]);
    }
    let text = "syntax = \"proto2\"; enum E { A = 1; } message M { required group G = 1 { optional E e = 1; } \
                oneof o { E x = 2; group H = 3 { repeated int32 i = 1 [packed = true]; } } }";
    check(text, text, &[]);
}

#[test]
fn what_proto3_changes_hide() {
    let message = |body: &str| {
        format!(
            "syntax = \"proto3\"; enum E {{ ZERO = 0; ONE = 1; }} message A {{ int32 x = 1; }} message M {{ {body} }}"
        )
    };
    let cases: &[(&str, &str, &[&str])] = &[
        // Widening is sound, and so is any label's change to repeated.
        ("int32 f = 1;", "int64 f = 1;", &[]),
        ("uint32 f = 1;", "int64 f = 1;", &[]),
        ("bool f = 1;", "int32 f = 1;", &[]),
        ("E f = 1;", "int32 f = 1;", &[]),
        ("int32 f = 1;", "E f = 1;", &[]),
        ("string f = 1;", "bytes f = 1;", &[]),
        ("int32 f = 1;", "repeated int32 f = 1;", &[]),
        ("A f = 1;", "repeated A f = 1;", &[]),
        ("int32 f = 1;", "optional int32 f = 1;", &[]),
        ("int32 f = 1; string g = 2;", "int32 f = 1;", &[]),
        (
            "int64 f = 1;",
            "int32 f = 1;",
            &["NUMBER_RANGE_NOT_COMPARED #/M/1 misread $.f: \"-9223372036854775808\" as 0"],
        ),
        (
            "int32 f = 1;",
            "uint32 f = 1;",
            &["NUMBER_RANGE_NOT_COMPARED #/M/1 misread $.f: -1 as 4294967295"],
        ),
        (
            "int32 f = 1;",
            "bool f = 1;",
            &["NUMBER_RANGE_NOT_COMPARED #/M/1 misread $.f: -1 as true"],
        ),
        (
            "sfixed32 f = 1;",
            "fixed32 f = 1;",
            &["NUMBER_RANGE_NOT_COMPARED #/M/1 misread $.f: -1 as 4294967295"],
        ),
        (
            "map<string, int64> f = 1;",
            "map<string, int32> f = 1;",
            &[
                "NUMBER_RANGE_NOT_COMPARED #/M/1 misread $.f: {\"a\":\"-9223372036854775808\"} as {\"a\":0}",
            ],
        ),
        (
            "bytes f = 1;",
            "string f = 1;",
            &["TEXT_NOT_COMPARED #/M/1 refused $.f"],
        ),
        (
            "oneof o { bytes f = 1; A a = 2; }",
            "oneof o { string f = 1; A a = 2; }",
            &["TEXT_NOT_COMPARED #/M/o/1 refused $.f"],
        ),
        // A label that is not written is no label to the reference.
        (
            "repeated int32 f = 1;",
            "int32 f = 1;",
            &["LABEL_NOT_COMPARED #/M/1 misread $.f: [1] as 0"],
        ),
        (
            "repeated string f = 1;",
            "string f = 1;",
            &["LABEL_NOT_COMPARED #/M/1 misread $.f: [\"a\",\"ab\"] as \"ab\""],
        ),
        // A label that is written is reported, and not told again.
        ("repeated int32 f = 1;", "optional int32 f = 1;", &[]),
    ];
    for (old, new, wanted) in cases {
        check(&message(old), &message(new), wanted);
    }
}

#[test]
fn what_proto2_changes_hide() {
    let message = |body: &str| {
        format!(
            "syntax = \"proto2\"; enum E {{ ONE = 1; TWO = 2; }} enum F {{ UN = 1; }} message A {{ optional int32 x = 1; }} message M {{ {body} }}"
        )
    };
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "optional E f = 1;",
            "optional F f = 1;",
            &["ENUM_NOT_COMPARED #/M/1 misread $.f: \"TWO\" as null"],
        ),
        ("optional F f = 1;", "optional E f = 1;", &[]),
        (
            "optional string f = 1;",
            "required string f = 1;",
            &["LABEL_NOT_COMPARED #/M/1 refused $.f"],
        ),
        (
            "optional A f = 1;",
            "required A f = 1;",
            &["LABEL_NOT_COMPARED #/M/1 refused $.f"],
        ),
        ("required A f = 1;", "optional A f = 1;", &[]),
        // Text of proto2 is not checked.
        ("optional bytes f = 1;", "optional string f = 1;", &[]),
        (
            "optional group G = 1 { optional int32 x = 1; }",
            "optional A g = 1;",
            &["GROUP_NOT_COMPARED #/M/1 misread $.g: {\"x\":1} as null"],
        ),
        (
            "optional group G = 1 { optional int32 x = 1; }",
            "optional group G = 1 { optional string x = 1; }",
            &["GROUP_NOT_COMPARED #/M/G/1 misread $.g.x: 1 as null"],
        ),
        (
            "optional group G = 1 { optional int32 x = 1; }",
            "optional group G = 1 { required int32 x = 1; }",
            &["LABEL_NOT_COMPARED #/M/G/1 refused $.g.x"],
        ),
        (
            "optional int32 a = 1;",
            "optional int32 a = 1; required group G = 2 { optional int32 x = 1; }",
            &["GROUP_NOT_COMPARED #/M/2 refused $.g"],
        ),
        (
            "optional int32 a = 1; optional group G = 2 { optional int32 x = 1; }",
            "oneof o { int32 a = 1; group G = 2 { optional int32 x = 1; } }",
            &["GROUP_NOT_COMPARED #/M/o misread $.a: 1 as null"],
        ),
    ];
    for (old, new, wanted) in cases {
        check(&message(old), &message(new), wanted);
    }
}
