//! Schemas made to hurt: each ends in an error, or is handled, in little time and memory.

use std::time::Duration;

use serde_formats::compatibility::{CompatibilityPolicy, compare};
use serde_formats::witness::evidence;
use serde_formats::{ParseError, ParseMode, ParsedSchema, SchemaFormat, TextForm};

use crate::{counting, cpu};

/// Loose: the machine may be slow and the code unoptimised. What is printed in release counts: a
/// tenth of a second.
const TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

const MEMORY_MAX: usize = 64 * 1024 * 1024;

/// Work that does not depend on the machine.
const ALLOCATIONS_MAX: u64 = 2_000_000;

fn record(name: &str, fields: &[String]) -> String {
    format!(
        r#"{{"type":"record","name":"{name}","fields":[{}]}}"#,
        fields.join(",")
    )
}

fn field(name: &str, ty: &str) -> String {
    format!(r#"{{"name":"{name}","type":{ty}}}"#)
}

/// Records each of which holds the one before twice.
fn doubling(levels: usize, default: &str) -> String {
    (1..=levels).fold(record("R0", &[field("x", "\"int\"")]), |inner, level| {
        let before = level - 1;
        let fields = [
            format!(r#"{{"name":"a","type":{inner}{default}}}"#),
            format!(r#"{{"name":"b","type":"R{before}"{default}}}"#),
        ];
        record(&format!("R{level}"), &fields)
    })
}

fn union(prefix: &str, branches: usize, fields: usize) -> String {
    let branches: Vec<String> = (0..branches)
        .map(|branch| {
            let fields: Vec<String> = (0..fields)
                .map(|i| field(&format!("{prefix}{i}"), "\"int\""))
                .collect();
            record(&format!("{prefix}{branch}"), &fields)
        })
        .collect();
    format!("[{}]", branches.join(","))
}

/// Runs within the limits, and says how far.
#[expect(clippy::print_stderr, reason = "figures for whoever runs the test")]
fn bounded<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let started = cpu::of_this_thread();
    let (answer, most, allocations) = counting::during(run);
    let took = cpu::of_this_thread().saturating_sub(started);
    let (ms, kib) = (took.as_secs_f64() * 1e3, most / 1024);
    eprintln!("{ms:>9.1} ms {kib:>7} KiB {allocations:>9} allocations  {what}");
    assert!(took < TIME_MAX, "{what} took {took:?}");
    assert!(most < MEMORY_MAX, "{what} held {most} bytes");
    assert!(allocations < ALLOCATIONS_MAX, "{what}: {allocations}");
    answer
}

fn parse_as(text: &str, mode: ParseMode) -> Result<ParsedSchema, ParseError> {
    ParsedSchema::parse(SchemaFormat::Avro, text, &[], mode)
}

fn parse(text: &str) -> Result<ParsedSchema, ParseError> {
    parse_as(text, ParseMode::New)
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("\"{prefix}{i:x}\"")).collect()
}

fn int_fields(count: usize) -> Vec<String> {
    let names = numbered("f", count);
    let fields = names
        .iter()
        .map(|name| format!(r#"{{"name":{name},"type":"int"}}"#));
    fields.collect()
}

#[test]
fn avro_schemas_made_to_hurt() {
    // One after another: what they hold is measured for the whole process.
    refused();
    handled();
    defaults();
    compared();
    shared_differences();
}

fn refused() {
    let nested = |levels: usize| {
        let open = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"#;
        format!("{}\"int\"{}", open.repeat(levels), "}]}".repeat(levels))
    };
    let symbols = numbered("S", 900_000).join(",");
    let attributes: Vec<String> = (0..600_000).map(|i| format!(r#""a{i:x}":0"#)).collect();
    // Each is the first use of the next, so reading in order goes as deep as there are records.
    let chain: Vec<String> = (0..20_000)
        .map(|i| record(&format!("R{i}"), &[field("n", &format!("\"R{}\"", i + 1))]))
        .chain([record("R20000", &[])])
        .collect();
    let fixed: Vec<String> = (0..40_000)
        .map(|i| format!(r#"{{"name":"f{i}","type":{{"type":"fixed","name":"F{i}","size":1}}}}"#))
        .collect();
    let long = "n".repeat(2_000_000);
    let cases = [
        (
            "arrays in one another",
            r#"{"type":"array","items":"#.repeat(400_000),
            "nests deeper",
        ),
        (
            "a million records in one another",
            nested(1_000_000),
            "is longer than",
        ),
        ("records in one another", nested(100_000), "nests deeper"),
        (
            "unions in one another",
            "[".repeat(1_000_000),
            "nests deeper",
        ),
        (
            "an enum of 900,000 symbols",
            format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#),
            "values",
        ),
        (
            "a record of 300,000 fields",
            record("R", &int_fields(300_000)),
            "values",
        ),
        (
            "600,000 attributes",
            format!(r#"{{"type":"int",{}}}"#, attributes.join(",")),
            "values",
        ),
        (
            "a union of 100,000 records",
            union("A", 100_000, 0),
            "values",
        ),
        (
            "a chain of names",
            format!("[{}]", chain.join(",")),
            "nest deeper",
        ),
        (
            "a namespace of 2 MB for 40,000 names",
            record(&format!("{long}.R"), &fixed),
            "names of the schema",
        ),
        (
            "a default of 200,000 items",
            record(
                "R",
                &[format!(
                    r#"{{"name":"a","type":"int","default":[{}]}}"#,
                    vec!["[]"; 200_000].join(",")
                )],
            ),
            "invalid default",
        ),
        (
            "defaults that fill in for one another",
            doubling(60, r#","default":{}"#),
            "invalid default",
        ),
    ];
    for (what, text, expected) in cases {
        let error = bounded(what, || parse(&text)).expect_err(what);
        let message = &error.message;
        assert!(message.contains(expected), "{what}: {message:.200}");
    }
}

/// Legal, and in no form much bigger than their text.
fn handled() {
    for (what, text) in [
        ("120 records in one another, twice", doubling(120, "")),
        ("300 records of 100 fields in a union", union("A", 300, 100)),
        (
            "a record of 40,000 fields",
            record("R", &int_fields(40_000)),
        ),
        (
            "an enum of 200,000 symbols",
            format!(
                r#"{{"type":"enum","name":"E","symbols":[{}]}}"#,
                numbered("S", 200_000).join(",")
            ),
        ),
    ] {
        let schema = bounded(what, || parse(&text)).expect(what);
        let forms = [
            TextForm::Canonical,
            TextForm::Normalized,
            TextForm::Resolved,
        ];
        for form in forms {
            let printed = bounded("  its text", || schema.text(form));
            assert!(printed.len() <= text.len() * 2, "{what}: {}", printed.len());
        }
        bounded("  its validator", || schema.compile()).expect(what);
        let found = bounded("  itself compared", || {
            compare(&schema, &schema, CompatibilityPolicy::Strict)
        });
        assert_eq!(found.len(), 0, "{what}");
    }
}

/// Defaults with as many entries as their record has fields.
fn defaults() {
    let names = numbered("f", 20_000);
    let entries: Vec<String> = names.iter().map(|name| format!("{name}:1")).collect();
    let wide = record("W", &int_fields(20_000));
    let wide = format!(
        r#"{{"name":"a","type":{wide},"default":{{{}}}}}"#,
        entries.join(",")
    );
    let text = record("R", &[wide]);
    let schema = bounded("a default of 20,000 entries", || parse(&text)).expect("it parses");
    bounded("  normalised", || schema.text(TextForm::Normalized));

    // Stored schemas may have defaults that new ones may not.
    let narrow = record("W", &int_fields(20_000));
    let items = vec![r#"{"f1":1}"#; 50_000].join(",");
    let many =
        format!(r#"{{"name":"a","type":{{"type":"array","items":{narrow}}},"default":[{items}]}}"#);
    let text = record("R", &[many]);
    let schema = bounded("50,000 defaults of a record of 20,000 fields", || {
        parse_as(&text, ParseMode::Existing)
    })
    .expect("it parses");
    bounded("  normalised", || schema.text(TextForm::Normalized));
}

/// Every branch is compared with every branch, and every field of it.
fn compared() {
    let enums = |prefix: &str| {
        let enums: Vec<String> = (0..300)
            .map(|i| {
                let symbols = numbered(&format!("{prefix}{i}_"), 300).join(",");
                format!(r#"{{"type":"enum","name":"{prefix}{i}","symbols":[{symbols}]}}"#)
            })
            .collect();
        format!("[{}]", enums.join(","))
    };
    let aliased = |prefix: &str| {
        let records: Vec<String> = (0..300)
            .map(|i| {
                let aliases = numbered(&format!("{prefix}{i}_"), 300).join(",");
                format!(
                    r#"{{"type":"record","name":"{prefix}{i}","aliases":[{aliases}],"fields":[]}}"#
                )
            })
            .collect();
        format!("[{}]", records.join(","))
    };
    // Reads each record through a union; from the last, no record is met before the one it holds.
    let chained = |prefix: &str, is_optional: bool| {
        let inner = |i: usize| match is_optional {
            true => format!(r#"["null","{prefix}{i}"]"#),
            false => format!(r#""{prefix}{i}""#),
        };
        let ty = if is_optional { "\"int\"" } else { "\"string\"" };
        let end = record(&format!("{prefix}25000"), &[field("e", ty)]);
        let records: Vec<String> = (0..25_000)
            .rev()
            .map(|i| record(&format!("{prefix}{i}"), &[field("n", &inner(i + 1))]))
            .collect();
        let top = field("top", &inner(0));
        let all = field("all", &format!("[{end},{}]", records.join(",")));
        record(&format!("{prefix}Top"), &[all, top])
    };
    for (what, reader, writer) in [
        (
            "unions of 2,000 records",
            union("A", 2_000, 1),
            union("B", 2_000, 1),
        ),
        (
            "unions of 440 records",
            union("A", 440, 1),
            union("B", 440, 1),
        ),
        (
            "unions of 300 records of 200 fields",
            union("A", 300, 200),
            union("B", 300, 200),
        ),
        (
            "unions of 40 records of 1,000 fields",
            union("A", 40, 1_000),
            union("B", 40, 1_000),
        ),
        ("unions of 300 enums of 300 symbols", enums("A"), enums("B")),
        (
            "unions of 300 records of 300 aliases",
            aliased("A"),
            aliased("B"),
        ),
        (
            "chains of 25,000 records",
            chained("A", true),
            chained("B", false),
        ),
        (
            "wide records",
            record("R", &int_fields(40_000)),
            record("R", &[]),
        ),
    ] {
        let (reader, writer) = (parse(&reader).expect(what), parse(&writer).expect(what));
        let found = bounded(what, || {
            compare(&reader, &writer, CompatibilityPolicy::Strict)
        });
        assert!(!found.is_empty(), "{what}");
        for difference in [found.first(), found.last()].into_iter().flatten() {
            bounded("  its witness", || evidence(&reader, &writer, difference));
        }
    }
}

/// A thousand differences, or one with a long text, met again at a thousand places.
fn shared_differences() {
    let places = |name: &str, definition: &str, middle: &dyn Fn(usize) -> String| {
        let fields = (0..2_000).map(|i| field(&format!("m{i}"), &middle(i)));
        let first = field("first", definition);
        record(
            name,
            &std::iter::once(first).chain(fields).collect::<Vec<_>>(),
        )
    };
    let many = |ty: &str| {
        let bottom: Vec<String> = (0..1_000).map(|i| field(&format!("f{i}"), ty)).collect();
        places("Top", &record("S", &bottom), &|i| {
            record(&format!("M{i}"), &[field("a", "\"S\"")])
        })
    };
    let inner = |name: &str| record("M", &[field("a", &record(name, &[]))]);
    let others = places("Top", "\"int\"", &|i| {
        record(
            &format!("M{i}"),
            &[field("a", &record(&format!("X{i}"), &[]))],
        )
    });
    let long = places("Top", &inner(&"L".repeat(1_500_000)), &|_| {
        "\"M\"".to_owned()
    });
    for (what, reader, writer) in [
        (
            "a thousand differences at 2,000 places",
            many("\"int\""),
            many("\"string\""),
        ),
        ("a name of 1.5 MB at 2,000 places", others, long),
    ] {
        let (reader, writer) = (parse(&reader).expect(what), parse(&writer).expect(what));
        let found = bounded(what, || {
            compare(&reader, &writer, CompatibilityPolicy::Strict)
        });
        assert!(!found.is_empty(), "{what}");
    }
}
