//! Changes of features, and moves between syntaxes and editions, with the differences they make.

use super::super::{ProtobufSchema, caveats, compare};
use crate::schema::{ParseMode, ResolvedReference};

fn parsed(text: &str, references: &[ResolvedReference]) -> ProtobufSchema {
    ProtobufSchema::parse(text, references, ParseMode::New)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Kinds and paths: what the verdict rests on, then in brackets what it misses.
fn differences(old: &ProtobufSchema, new: &ProtobufSchema) -> Vec<String> {
    let found = compare(new, old);
    let missed = caveats(new, old);
    let found = found.iter().map(|it| format!("{} {}", it.kind, it.path));
    let missed = missed.iter().map(|it| format!("({} {})", it.kind, it.path));
    found.chain(missed).collect()
}

#[track_caller]
fn check(old: &str, new: &str, wanted: &[&str]) {
    let (old_schema, new_schema) = (parsed(old, &[]), parsed(new, &[]));
    assert_eq!(
        differences(&old_schema, &new_schema),
        wanted,
        "{old} -> {new}"
    );
}

fn edition(options: &str, body: &str) -> String {
    format!(
        "edition = \"2023\"; {options} message A {{ int32 x = 1; }} message M {{ {body} }} \
         enum E {{ ZERO = 0; ONE = 1; }} enum C {{ option features.enum_type = CLOSED; NONE = 0; }}"
    )
}

#[test]
fn features_of_one_field() {
    let explicit = "[features.field_presence = EXPLICIT]";
    let implicit = "[features.field_presence = IMPLICIT]";
    let required = "[features.field_presence = LEGACY_REQUIRED]";
    let delimited = "[features.message_encoding = DELIMITED]";
    let expanded = "[features.repeated_field_encoding = EXPANDED]";
    let unchecked = "[features.utf8_validation = NONE]";
    let cases: &[(&str, &str, &[&str])] = &[
        // Presence: said by a label in the other syntaxes, of which one that is absent says nothing.
        ("int32 f = 1;", &format!("int32 f = 1 {explicit};"), &[]),
        ("int32 f = 1;", &format!("int32 f = 1 {implicit};"), &[]),
        (&format!("int32 f = 1 {implicit};"), "int32 f = 1;", &[]),
        (
            "int32 f = 1;",
            &format!("int32 f = 1 {required};"),
            &["FIELD_NUMERIC_LABEL_CHANGED #/M/1"],
        ),
        (
            &format!("int32 f = 1 {required};"),
            "int32 f = 1;",
            &["FIELD_NUMERIC_LABEL_CHANGED #/M/1"],
        ),
        (
            &format!("int32 f = 1 {implicit};"),
            &format!("int32 f = 1 {required};"),
            &["(LABEL_NOT_COMPARED #/M/1)"],
        ),
        (
            "string f = 1;",
            &format!("string f = 1 {required};"),
            &["(LABEL_NOT_COMPARED #/M/1)"],
        ),
        (
            "A f = 1;",
            &format!("A f = 1 {required};"),
            &["(LABEL_NOT_COMPARED #/M/1)"],
        ),
        (
            "int32 f = 1;",
            &format!("int32 f = 1; int32 g = 2 {required};"),
            &["REQUIRED_FIELD_ADDED #/M/2"],
        ),
        (
            &format!("int32 f = 1; A g = 2 {required};"),
            "int32 f = 1;",
            &["REQUIRED_FIELD_REMOVED #/M/2"],
        ),
        (
            "int32 f = 1;",
            "repeated int32 f = 1;",
            &["FIELD_NUMERIC_LABEL_CHANGED #/M/1"],
        ),
        (
            &format!("int32 f = 1 {implicit};"),
            "repeated int32 f = 1;",
            &[],
        ),
        (
            "repeated int32 f = 1;",
            &format!("int32 f = 1 {implicit};"),
            &["(LABEL_NOT_COMPARED #/M/1)"],
        ),
        ("int32 f = 1;", "oneof o { int32 f = 1; }", &[]),
        // How messages are written.
        (
            "A f = 1;",
            &format!("A f = 1 {delimited};"),
            &["FIELD_KIND_CHANGED #/M/1"],
        ),
        (
            &format!("repeated A f = 1 {delimited};"),
            "repeated A f = 1;",
            &["FIELD_KIND_CHANGED #/M/1"],
        ),
        (
            &format!("oneof o {{ A f = 1 {delimited}; }}"),
            "oneof o { A f = 1; }",
            &["FIELD_KIND_CHANGED #/M/o/1"],
        ),
        (
            &format!("A f = 1 {delimited};"),
            &format!("A g = 1 {delimited};"),
            &[],
        ),
        // Readers take runs of numbers and single ones alike.
        (
            "repeated int32 f = 1;",
            &format!("repeated int32 f = 1 {expanded};"),
            &[],
        ),
        (
            &format!("repeated int32 f = 1 {expanded};"),
            "repeated int32 f = 1;",
            &[],
        ),
        (
            &format!("string f = 1 {unchecked};"),
            "string f = 1;",
            &["(TEXT_NOT_COMPARED #/M/1)"],
        ),
        ("string f = 1;", &format!("string f = 1 {unchecked};"), &[]),
        ("E f = 1;", "C f = 1;", &["(ENUM_NOT_COMPARED #/M/1)"]),
        ("C f = 1;", "E f = 1;", &[]),
    ];
    for (old, new, wanted) in cases {
        check(&edition("", old), &edition("", new), wanted);
    }
}

#[test]
fn features_of_a_file_or_message_reach_its_fields() {
    let implicit = "option features.field_presence = IMPLICIT;";
    let delimited = "option features.message_encoding = DELIMITED;";
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (implicit, "int32 f = 1;", "repeated int32 f = 1;", &[]),
        (
            "",
            "int32 f = 1;",
            "repeated int32 f = 1;",
            &["FIELD_NUMERIC_LABEL_CHANGED #/M/1"],
        ),
        (
            delimited,
            "A f = 1;",
            "A f = 1 [features.message_encoding = LENGTH_PREFIXED];",
            &["FIELD_KIND_CHANGED #/M/1"],
        ),
        // The value of a map always has its length before it.
        (
            delimited,
            "map<int32, A> f = 1;",
            "map<int32, A> f = 1;",
            &[],
        ),
        (
            "option features.utf8_validation = NONE;",
            "string f = 1;",
            "string f = 1 [features.utf8_validation = VERIFY];",
            &["(TEXT_NOT_COMPARED #/M/1)"],
        ),
    ];
    for (options, old, new, wanted) in cases {
        check(&edition(options, old), &edition(options, new), wanted);
    }
    check(
        &edition(delimited, "A f = 1; map<int32, A> g = 2;"),
        &edition("", "A f = 1; map<int32, A> g = 2;"),
        &["FIELD_KIND_CHANGED #/M/1"],
    );
    check(
        &edition("option features.enum_type = CLOSED;", "E f = 1;"),
        &edition("", "E f = 1;"),
        &[],
    );
    check(
        &edition("", "E f = 1;"),
        &edition("option features.enum_type = CLOSED;", "E f = 1;"),
        &["(ENUM_NOT_COMPARED #/M/1)"],
    );
}

#[test]
fn a_move_to_an_edition_that_keeps_the_bytes_is_compatible_both_ways() {
    let cases = [
        (
            "syntax = \"proto3\"; message M { int32 a = 1; optional string b = 2; repeated int64 c = 3; \
             E d = 4; map<string, M> e = 5; oneof o { bool f = 6; M g = 7; } } enum E { Z = 0; }",
            "edition = \"2023\"; option features.field_presence = IMPLICIT; message M { int32 a = 1; \
             string b = 2 [features.field_presence = EXPLICIT]; repeated int64 c = 3; E d = 4; \
             map<string, M> e = 5; oneof o { bool f = 6; M g = 7; } } enum E { Z = 0; }",
        ),
        (
            "syntax = \"proto2\"; message M { required int32 a = 1; optional string b = 2; \
             repeated int64 c = 3; optional E d = 4; required M e = 5; } enum E { Z = 0; }",
            "edition = \"2023\"; option features = { enum_type: CLOSED utf8_validation: NONE \
             repeated_field_encoding: EXPANDED }; message M { \
             int32 a = 1 [features.field_presence = LEGACY_REQUIRED]; string b = 2; \
             repeated int64 c = 3; E d = 4; M e = 5 [features.field_presence = LEGACY_REQUIRED]; } \
             enum E { Z = 0; }",
        ),
        (
            "edition = \"2023\"; message M { int32 a = 1; }",
            "edition = \"2024\"; message M { int32 a = 1; }",
        ),
    ];
    for (old, new) in cases {
        check(old, new, &[]);
        check(new, old, &[]);
    }
}

#[test]
fn a_group_that_becomes_a_delimited_field_is_compatible() {
    let old = "syntax = \"proto2\"; message M { optional group G = 1 { optional int32 x = 1; } }";
    let field = "message M { message G { int32 x = 1; } G g = 1";
    let delimited =
        format!("edition = \"2023\"; {field} [features.message_encoding = DELIMITED]; }}");
    check(old, &delimited, &[]);
    let prefixed = format!("edition = \"2023\"; {field}; }}");
    check(old, &prefixed, &["(GROUP_NOT_COMPARED #/M/1)"]);
}

#[test]
fn features_hold_in_referenced_files() {
    let reference = |option: &str| ResolvedReference {
        name: "a.proto".to_owned(),
        subject: "a".to_owned(),
        version: 1,
        schema: format!(
            "edition = \"2023\"; package a; message A {{ A x = 1 {option}; int32 n = 2; }}"
        ),
    };
    let text = "edition = \"2023\"; import \"a.proto\"; message M { a.A f = 1; }";
    let old = parsed(text, &[reference("")]);
    let new = parsed(
        text,
        &[reference("[features.message_encoding = DELIMITED]")],
    );
    assert_eq!(
        differences(&old, &new),
        ["FIELD_KIND_CHANGED #/A/1", "FIELD_NAMED_TYPE_CHANGED #/M/1"]
    );
    assert_eq!(differences(&old, &old), [""; 0]);
}
