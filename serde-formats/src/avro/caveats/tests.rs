//! Each caveat with what it says, and the record that shows what was missed.

use crate::compatibility::{CaveatEffect, CompatibilityPolicy, caveats};
use crate::witness::{Evidence, Outcome, caveat_evidence};
use crate::{ParseMode, ParsedSchema, SchemaFormat};

fn schema(text: &str) -> ParsedSchema {
    ParsedSchema::parse(SchemaFormat::Avro, text, &[], ParseMode::New)
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// One line a caveat; behind what was missed, the record and what the reader does with it.
fn check(reader: &str, writer: &str, expected: &[&str]) {
    let (reader, writer) = (schema(reader), schema(writer));
    let found = caveats(&reader, &writer, CompatibilityPolicy::Strict);
    let lines: Vec<String> = found
        .iter()
        .map(|caveat| {
            let line = format!("{} {} {}", caveat.effect.name(), caveat.kind, caveat.path);
            match (caveat.effect, caveat_evidence(&reader, &writer, caveat)) {
                (CaveatEffect::Missed, Evidence::Breaks(witness)) => match witness.outcome {
                    Outcome::Refused { path, reason } => {
                        format!("{line}: {} -> {path} {reason}", witness.json)
                    }
                    outcome @ Outcome::Misread { .. } => panic!("{outcome:?}"),
                },
                (CaveatEffect::Missed, other) => panic!("{line}: {other:?}"),
                (CaveatEffect::Overstated, _) => format!("{line}: {}", caveat.reason),
            }
        })
        .collect();
    assert_eq!(lines, expected, "{found:?}");
}

fn record(name: &str, fields: &str) -> String {
    format!(r#"{{"type":"record","name":"{name}","fields":[{fields}]}}"#)
}

fn field(name: &str, ty: &str) -> String {
    format!(r#"{{"name":"{name}","type":{ty}}}"#)
}

#[test]
fn what_the_comparison_misses() {
    let color = |space: &str| {
        format!(r#"{{"type":"enum","name":"Color","namespace":"{space}","symbols":["RED"]}}"#)
    };
    let renamed = r#"{"name":"total","aliases":["sum"],"type":"int"}"#;
    check(
        &record("R", &field("c", &format!(r#"["null",{}]"#, color("b")))),
        &record("R", &field("c", &color("a"))),
        &[
            r#"missed NAMESPACE_NOT_COMPARED /fields/0/type: {"c":"RED"} -> $.c no branch of the union [null, b.Color] reads a.Color"#,
        ],
    );
    check(
        &record("b.R", renamed),
        &record("a.R", &field("sum", r#""int""#)),
        &[
            r#"missed FIELD_ALIAS_NOT_APPLIED /: {"sum":0} -> $.total field total was not written and has no default"#,
        ],
    );
    // Another difference inside the field does not tell of it.
    let held = |name: &str| record(name, "");
    let renamed_holder = format!(
        r#"{{"name":"total","aliases":["sum"],"type":{}}}"#,
        held("New")
    );
    check(
        &record("b.R", &renamed_holder),
        &record("a.R", &field("sum", &held("Old"))),
        &[
            r#"missed FIELD_ALIAS_NOT_APPLIED /: {"sum":{}} -> $.total field total was not written and has no default"#,
        ],
    );
    let either = format!("[{},{}]", record("A", ""), record("B", ""));
    let both = r#"[{"type":"record","name":"A","aliases":["B"],"fields":[]}]"#;
    check(
        both,
        &either,
        &[
            r#"missed ALIASES_COLLIDE /: {"A":{}} -> $ aliases give two branches of a union the name A"#,
        ],
    );
    let level =
        r#"{"name":"level","type":{"type":"enum","name":"E","symbols":["A"]},"default":"B"}"#;
    let inner = format!(
        r#"{{"name":"r","type":{},"default":{{}}}}"#,
        record("In", level)
    );
    let by_union =
        r#"{"name":"u","type":[{"type":"map","values":"E"},"null"],"default":{"k":"C"}}"#;
    check(
        &record("R", &format!("{},{inner}", field("x", "\"int\""))),
        &record("R", &field("x", "\"int\"")),
        &[
            r#"missed DEFAULT_NOT_READ /fields/1: {"x":0} -> $.r the default does not fit: "B" is taken for enum E"#,
        ],
    );
    check(
        &record(
            "R",
            &format!(
                "{},{by_union}",
                field("e", r#"{"type":"enum","name":"E","symbols":["A"]}"#)
            ),
        ),
        &record(
            "R",
            &field("e", r#"{"type":"enum","name":"E","symbols":["A"]}"#),
        ),
        &[
            r#"missed DEFAULT_NOT_READ /fields/1: {"e":"A"} -> $.u the default does not fit: "C" is taken for enum E"#,
        ],
    );
    // Any record, and any enum, is the branch for a reader that needs the default.
    let optional =
        |first: &str| format!(r#"{{"name":"o","type":[{first},"null"],"default":null}}"#);
    for (first, told) in [
        (
            record("In", &field("a", "\"int\"")),
            "null is taken for a record In, and field a has no default",
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#.to_owned(),
            "null is taken for enum E",
        ),
    ] {
        let line = format!(
            "missed DEFAULT_NOT_READ /fields/0: {{}} -> $.o the default does not fit: {told}"
        );
        check(&record("R", &optional(&first)), &record("R", ""), &[&line]);
    }
    for first in ["\"string\"", "\"int\"", r#"{"type":"map","values":"int"}"#] {
        check(&record("R", &optional(first)), &record("R", ""), &[]);
    }
    // A field that was written needs no default.
    check(&record("R", level), &record("R", level), &[]);
    // The same names, the same record: nothing is missed.
    check(
        &record("a.R", renamed),
        &record("a.R", &field("sum", r#""int""#)),
        &[],
    );
    check(
        &record("R", &field("c", &color("b"))),
        &record("R", &field("c", &color("a"))),
        &[],
    );
}

#[test]
fn what_the_comparison_overstates() {
    let level = r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#;
    check(
        &record("R", &field("level", level)),
        &record("R", ""),
        &[
            "overstated TYPE_MISMATCH /fields/0/type: no type has changed: field level was not \
             written and has no default; the default of its enum stands for symbols that the \
             reader does not know",
        ],
    );
    let twice = |ty: &str| {
        let inner = record("S", &field("x", ty));
        let fields = [field("a", &inner), field("b", r#""S""#)];
        record("R", &fields.join(","))
    };
    check(
        &twice(r#""int""#),
        &twice(r#""string""#),
        &[
            "overstated TYPE_MISMATCH /fields/0/type/fields/0/type: the difference stands at \
             /fields/1/type/fields/0/type; the same types are compared at the path told, or were \
             when the branches of a union were tried",
        ],
    );
    check(
        &record("b.R", r#"{"name":"x","aliases":["y"],"type":"int"}"#),
        &record(
            "a.R",
            &[field("x", r#""int""#), field("y", r#""int""#)].join(","),
        ),
        &[
            "overstated UNEXPECTED_EXCEPTION /: only the comparison fails; a reader of the same \
             schema, or under another name, does not look at the alias",
        ],
    );
    check(&twice(r#""int""#), &twice(r#""int""#), &[]);
    check(&record("R", ""), &record("R", &field("a", r#""int""#)), &[]);
}
