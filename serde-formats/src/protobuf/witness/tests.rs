//! What breaks and how, by kind of difference; and how many recorded pairs are shown to break.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::{ProtobufSchema, compare, decode_json};
use crate::schema::{ParseMode, ResolvedReference};
use crate::witness::{Evidence, Outcome};

fn schema(text: &str, references: &[(&str, &str)]) -> ProtobufSchema {
    let references: Vec<ResolvedReference> = references
        .iter()
        .map(|(name, text)| ResolvedReference {
            name: (*name).to_owned(),
            subject: (*name).to_owned(),
            version: 1,
            schema: (*text).to_owned(),
        })
        .collect();
    ProtobufSchema::parse(text, &references, ParseMode::New).unwrap()
}

/// Each difference with what shows it, one line each.
fn shown(old: &ProtobufSchema, new: &ProtobufSchema) -> Vec<String> {
    let differences = compare(new, old);
    let lines = differences.iter().map(|difference| {
        let evidence = super::evidence(new, old, difference);
        let how = match &evidence {
            Evidence::Breaks(witness) => {
                let again = decode_json(old, &witness.indexes, &witness.payload);
                assert_eq!(again.as_ref(), Ok(&witness.json));
                let bytes: String = witness
                    .payload
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                match &witness.outcome {
                    Outcome::Refused { path, reason } => {
                        format!("{bytes} refused {path}: {reason}")
                    }
                    Outcome::Misread {
                        path,
                        written,
                        read,
                    } => {
                        format!("{bytes} misread {path}: {written} as {read}")
                    }
                }
            }
            Evidence::Convention { reason } | Evidence::NotFound { reason } => {
                format!("{}: {reason}", evidence.label())
            }
        };
        format!("{} {} {how}", difference.kind, difference.path)
    });
    lines.collect()
}

#[track_caller]
fn check(old: &str, new: &str, wanted: &[&str]) {
    let (old, new) = (schema(old, &[]), schema(new, &[]));
    assert_eq!(shown(&old, &new), wanted);
}

fn proto3(body: &str) -> String {
    format!("syntax = \"proto3\"; package p; {body}")
}

#[test]
fn every_kind_of_difference_is_shown() {
    let message = |body: &str| {
        proto3(&format!(
            "message M {{ {body} }} message A {{ int32 x = 1; }} message B {{ string x = 1; }} message C {{ int32 y = 1; }} message D {{}}"
        ))
    };
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "int32 f = 1;",
            "sint32 f = 1;",
            &["FIELD_SCALAR_KIND_CHANGED #/M/1 0801 misread $.f: 1 as -1"],
        ),
        (
            "int32 f = 1;",
            "string f = 1;",
            &["FIELD_SCALAR_KIND_CHANGED #/M/1 0801 misread $.f: 1 as \"\""],
        ),
        (
            "int32 f = 1;",
            "fixed32 g = 1;",
            &["FIELD_SCALAR_KIND_CHANGED #/M/1 0801 misread $.f: 1 as 0"],
        ),
        (
            "fixed64 f = 1;",
            "double f = 1;",
            &["FIELD_SCALAR_KIND_CHANGED #/M/1 090100000000000000 misread $.f: \"1\" as 5e-324"],
        ),
        (
            "A f = 1;",
            "int32 f = 1;",
            &["FIELD_KIND_CHANGED #/M/1 0a020801 misread $.f: {\"x\":1} as 0"],
        ),
        (
            "string f = 1;",
            "A f = 1;",
            &["FIELD_KIND_CHANGED #/M/1 0a0161 refused $.f: expected 8 bytes, found 0"],
        ),
        (
            "A f = 1;",
            "string f = 1;",
            &["FIELD_KIND_CHANGED #/M/1 0a020801 misread $.f: {\"x\":1} as \"\\b\\u0001\""],
        ),
        (
            "A f = 1;",
            "B f = 1;",
            &["FIELD_NAMED_TYPE_CHANGED #/M/1 0a020801 misread $.f: {\"x\":1} as {\"x\":\"\"}"],
        ),
        (
            "A f = 1;",
            "D f = 1;",
            &["FIELD_NAMED_TYPE_CHANGED #/M/1 0a020801 misread $.f: {\"x\":1} as {}"],
        ),
        (
            "A f = 1;",
            "C f = 1;",
            &[
                "FIELD_NAMED_TYPE_CHANGED #/M/1 convention: the two messages read each other's bytes; only the name differs",
            ],
        ),
        (
            "map<string, int32> f = 1;",
            "map<int32, int32> f = 1;",
            &["FIELD_SCALAR_KIND_CHANGED #/M/1 0a050a01611001 misread $.f: {\"a\":1} as {\"0\":1}"],
        ),
        (
            "map<string, A> f = 1;",
            "map<string, B> f = 1;",
            &[
                "FIELD_NAMED_TYPE_CHANGED #/M/1 0a070a016112020801 misread $.f: {\"a\":{\"x\":1}} as {\"a\":{\"x\":\"\"}}",
            ],
        ),
        (
            "map<string, int32> f = 1;",
            "repeated E f = 1; message E { string key = 1; int32 value = 2; }",
            &[
                "FIELD_KIND_CHANGED #/M/1 convention: both kinds are the same bytes; it protects the code that reads them",
            ],
        ),
        (
            "oneof o { int32 a = 1; int32 b = 2; }",
            "oneof o { int32 a = 1; }",
            &["ONEOF_FIELD_REMOVED #/M/o/2 1001 misread $.b: 1 as null"],
        ),
        (
            "int32 a = 1; int32 b = 2;",
            "oneof o { int32 a = 1; int32 b = 2; }",
            &["MULTIPLE_FIELDS_MOVED_TO_ONEOF #/M/o 08011001 misread $.a: 1 as null"],
        ),
        (
            "int32 a = 1; oneof o { int32 b = 2; }",
            "oneof o { int32 a = 1; int32 b = 2; }",
            &["FIELD_MOVED_TO_EXISTING_ONEOF #/M/o 08011001 misread $.a: 1 as null"],
        ),
    ];
    for (old, new, wanted) in cases {
        check(&message(old), &message(new), wanted);
    }
}

#[test]
fn labels_break_where_values_are_lost() {
    let message = |field: &str| format!("message M {{ {field} }}");
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "repeated int32 f = 1;",
            "optional int32 f = 1;",
            &[
                "FIELD_NUMERIC_LABEL_CHANGED #/M/1 080108ffffffffffffffffff01 misread $.f: [1,-1] as -1",
            ],
        ),
        (
            "repeated int32 f = 1 [packed = true];",
            "optional int32 f = 1;",
            &["FIELD_NUMERIC_LABEL_CHANGED #/M/1 0a0101 misread $.f: [1] as null"],
        ),
        (
            "optional int32 f = 1;",
            "repeated int32 f = 1 [packed = true];",
            &[
                "FIELD_NUMERIC_LABEL_CHANGED #/M/1 convention: a record of the writer holds one value there, which either label reads",
            ],
        ),
        (
            "optional int32 f = 1;",
            "required int32 f = 1;",
            &["FIELD_NUMERIC_LABEL_CHANGED #/M/1  refused $.f: required field \"f\" is missing"],
        ),
        (
            "required int32 f = 1;",
            "optional int32 f = 1;",
            &[
                "FIELD_NUMERIC_LABEL_CHANGED #/M/1 convention: a record of the writer holds one value there, which either label reads",
            ],
        ),
        (
            "",
            "required int32 f = 1;",
            &["REQUIRED_FIELD_ADDED #/M/1  refused $.f: required field \"f\" is missing"],
        ),
        (
            "required int32 f = 1;",
            "",
            &[
                "REQUIRED_FIELD_REMOVED #/M/1 convention: a reader without the field skips it; it protects readers that still require it from records written without it",
            ],
        ),
        (
            "repeated int32 f = 1 [packed = true];",
            "required M f = 1; required int32 g = 2;",
            &[
                "FIELD_KIND_CHANGED #/M/1 0a0101 refused $.f: field number 0",
                "REQUIRED_FIELD_ADDED #/M/2  refused $.g: required field \"g\" is missing",
            ],
        ),
        // One difference does not hide another.
        (
            "optional int32 f = 1;",
            "optional sint32 f = 1; required int32 g = 2;",
            &[
                "FIELD_SCALAR_KIND_CHANGED #/M/1 0801 misread $.f: 1 as -1",
                "REQUIRED_FIELD_ADDED #/M/2  refused $.g: required field \"g\" is missing",
            ],
        ),
    ];
    for (old, new, wanted) in cases {
        check(&message(old), &message(new), wanted);
    }
}

/// Runtimes look for required fields at the end, when only the last member of the oneof is left.
#[test]
fn what_another_member_puts_out_lacks_nothing() {
    check(
        "message M { optional N n = 1; oneof o { int32 b = 2; } } message N { required bytes r = 1; }",
        "message M { oneof o { N n = 1; int32 b = 2; } } message N { required sint64 r = 1; }",
        &[
            "FIELD_MOVED_TO_EXISTING_ONEOF #/M/o 0a030a01611001 misread $.n: {\"r\":\"YQ==\"} as null",
            "FIELD_SCALAR_KIND_CHANGED #/N/1 0a0161 refused $.r: required field \"r\" is missing",
        ],
    );
}

#[test]
fn messages_and_packages_that_go_are_told_apart() {
    let old =
        proto3("message M { int32 f = 1; message N { string s = 1; } } message Z { bool b = 1; }");
    check(
        &old,
        &proto3("message M { int32 f = 1; }"),
        &[
            "MESSAGE_REMOVED #/M/N 0a0161 refused $: the reader's schema has no message for p.M.N",
            "MESSAGE_REMOVED #/Z 0801 refused $: the reader's schema has no message for p.Z",
        ],
    );
    let other = "syntax = \"proto3\"; package q; message M { string f = 1; }";
    check(
        &proto3("message M { int32 f = 1; }"),
        other,
        &[
            "PACKAGE_CHANGED #/ convention: no package is in the bytes; it protects generated names, record-name subjects and the type URLs of google.protobuf.Any",
            "FIELD_SCALAR_KIND_CHANGED #/M/1 0801 misread $.f: 1 as \"\"",
        ],
    );
}

#[test]
fn a_difference_in_a_referenced_file_is_shown_through_the_schema() {
    let text =
        "syntax = \"proto3\"; import \"far.proto\"; message R { map<int32, far.Outer> m = 1; }";
    let far = |field: &str| {
        format!(
            "syntax = \"proto3\"; package far; message Outer {{ repeated Inner inners = 2; message Inner {{ {field} }} }}"
        )
    };
    let side = |field: &str| schema(text, &[("far.proto", &far(field))]);
    let lines = shown(&side("int32 x = 1;"), &side("string x = 1;"));
    let record = "0a0808011204120208 01".replace(' ', "");
    assert_eq!(
        lines,
        [
            format!(
                "FIELD_SCALAR_KIND_CHANGED #/Outer/Inner/1 {record} misread $.m[\"1\"].inners[0].x: 1 as \"\""
            ),
            format!(
                "FIELD_NAMED_TYPE_CHANGED #/Outer/2 {record} misread $.m[\"1\"].inners: [{{\"x\":1}}] as [{{\"x\":\"\"}}]"
            ),
            format!(
                "FIELD_NAMED_TYPE_CHANGED #/R/1 {record} misread $.m: {{\"1\":{{\"inners\":[{{\"x\":1}}]}}}} as {{\"1\":{{\"inners\":[{{\"x\":\"\"}}]}}}}"
            ),
        ]
    );
}

#[test]
fn required_cycles_and_long_chains_have_no_record() {
    let text = |kind: &str| format!("message M {{ required M again = 1; optional {kind} x = 2; }}");
    check(
        &text("int32"),
        &text("string"),
        &["FIELD_SCALAR_KIND_CHANGED #/M/2 not-found: no payload of the writer holds the place"],
    );
}

#[test]
fn conformance_pairs_are_shown_to_break() {
    let root = std::env::var_os("ASSAY_CONFORMANCE").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").into(),
        std::path::PathBuf::from,
    );
    let path = root.join("own-compat-matrix/protobuf.jsonl");
    let Ok(lines) = std::fs::read_to_string(path) else {
        println!("own-compat-matrix/protobuf.jsonl: skipped, no recorded cases");
        return;
    };
    let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let (mut pairs, mut broken) = (0, 0);
    for line in lines.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let parse = |text: &Json| {
            ProtobufSchema::parse(text.as_str().unwrap(), &[], ParseMode::Existing).unwrap()
        };
        let (old, new) = (parse(&case["old"]), parse(&case["new"]));
        let differences = compare(&new, &old);
        if differences.is_empty() {
            continue;
        }
        pairs += 1;
        let mut breaks = false;
        for difference in &differences {
            let evidence = super::evidence(&new, &old, difference);
            breaks |= matches!(evidence, Evidence::Breaks(_));
            *kinds
                .entry((difference.kind, evidence.label()))
                .or_default() += 1;
            if let Evidence::NotFound { reason } = evidence {
                println!(
                    "{} {} {}: {reason}",
                    case["id"], difference.kind, difference.path
                );
            }
        }
        broken += usize::from(breaks);
    }
    println!("own-compat-matrix/protobuf.jsonl witnesses: {broken} of {pairs} pairs break");
    for ((kind, label), count) in &kinds {
        println!("  {kind} {label}: {count}");
    }
    assert!(!kinds.keys().any(|(_, label)| *label == "not-found"));
}
