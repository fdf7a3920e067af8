//! Schemas made to hurt: each ends in an error, or is handled, in little time and memory.

use std::fmt::Write as _;
use std::time::Duration;

use serde_formats::compatibility::CompatibilityPolicy;
use serde_formats::json::{JsonSchema, JsonScratch, caveats, compare};
use serde_formats::{ParseMode, ValidationOptions, Violation, ViolationReason};

use crate::{counting, cpu};

/// Loose where the code is not optimised, and the machine may be busy.
const TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });
const MEMORY_MAX: usize = 64 << 20;
/// Work that does not depend on the machine.
const ALLOCATIONS_MAX: u64 = 4_000_000;

/// Runs within the limits on a stack as small as a worker's, and says how far.
fn bounded<T: Send>(what: &str, run: impl FnOnce() -> T + Send) -> T {
    let on_small_stack = |run| {
        let started = cpu::of_this_thread();
        let (answer, most, allocations) = counting::during(run);
        let took = cpu::of_this_thread().saturating_sub(started);
        (answer, most, allocations, took)
    };
    let (answer, most, allocations, took) = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn_scoped(scope, || on_small_stack(run))
            .expect("a thread")
            .join()
            .expect("no panic")
    });
    println!(
        "{what}: {:.1} ms, {:.1} MiB, {allocations} allocations",
        took.as_secs_f64() * 1e3,
        mebibytes(most)
    );
    assert!(most <= MEMORY_MAX, "{what}: {most} bytes");
    assert!(took <= TIME_MAX, "{what}: {took:?}");
    assert!(
        allocations <= ALLOCATIONS_MAX,
        "{what}: {allocations} allocations"
    );
    answer
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn nested(depth: usize, open: &str, core: &str, close: &str) -> String {
    format!("{}{core}{}", open.repeat(depth), close.repeat(depth))
}

/// `count` texts made of their number, joined by commas.
fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        let comma = if number > 0 { "," } else { "" };
        write!(text, "{comma}{}", item(number)).expect("memory");
    }
    text
}

/// Definitions `d0` and on, the first of which the schema refers to.
fn defined(count: usize, definition: impl Fn(usize) -> String) -> String {
    let definitions = list(count, |number| {
        format!(r#""d{number}":{}"#, definition(number))
    });
    format!(r##"{{"$ref":"#/definitions/d0","definitions":{{{definitions}}}}}"##)
}

fn reference(number: usize) -> String {
    format!(r##"{{"$ref":"#/definitions/d{number}"}}"##)
}

/// Definitions each of which holds the next twice, down to `leaf`.
fn doubling(layers: usize, leaf: &str, both: impl Fn(&str, &str) -> String) -> String {
    defined(layers + 1, |number| {
        if number == layers {
            return leaf.to_owned();
        }
        let next = reference(number + 1);
        both(&next, &next)
    })
}

fn properties(x: &str, y: &str) -> String {
    format!(r#"{{"type":"object","properties":{{"x":{x},"y":{y}}}}}"#)
}

fn parse(text: &str, mode: ParseMode) -> Result<JsonSchema, String> {
    JsonSchema::parse(text, &[], mode).map_err(|error| error.to_string())
}

#[test]
fn parsing_ends() {
    let refused: &[(&str, String, &str)] = &[
        (
            "depth",
            nested(100_000, r#"{"not":"#, "{}", "}"),
            "nesting deeper",
        ),
        (
            "size",
            format!(r#"{{"title":"{}"}}"#, "a".repeat(8 << 20)),
            "larger than",
        ),
        (
            "huge enumeration",
            format!(r#"{{"enum":[{}]}}"#, "1,".repeat(3_000_000) + "2"),
            "values in a schema",
        ),
        (
            "chain of references",
            defined(15_000, |number| reference(number + 1)),
            "unresolved",
        ),
        (
            "endless chain of references",
            defined(15_000, |number| reference((number + 1) % 15_000)),
            "for one value",
        ),
        (
            "web of references for one value",
            defined(150, |_| {
                format!(r#"{{"allOf":[{}]}}"#, list(150, reference))
            }),
            "for one value",
        ),
        (
            "alternatives that double",
            doubling(60, "{}", |a, b| {
                format!(r#"{{"anyOf":[{a},{{"allOf":[{b}]}}]}}"#)
            }),
            "for one value",
        ),
        (
            "one large pattern",
            r#"{"pattern":"((a{900}){900}){900}"}"#.to_owned(),
            "regular expression",
        ),
        (
            "pattern of many places at once",
            r#"{"properties":{"a":{"pattern":"^(a{1,200}){1,200}$"}}}"#.to_owned(),
            r#"#/properties/a/pattern: regular expression "^(a{1,200}){1,200}$" can be at 40000 of its places at once, at most 8192"#,
        ),
        (
            "many large patterns",
            format!(
                r#"{{"properties":{{{}}}}}"#,
                list(3000, |number| format!(
                    r#""p{number}":{{"pattern":"^[\\p{{L}} ]{{1,50}}$"}}"#
                ))
            ),
            "regular expressions",
        ),
        (
            "many patterns of names",
            format!(
                r#"{{"patternProperties":{{{}}}}}"#,
                list(3000, |number| format!(
                    r#""^p{number}[\\p{{L}}]{{50}}":{{}}"#
                ))
            ),
            "regular expressions",
        ),
    ];
    for (what, text, message) in refused {
        let error =
            bounded(&format!("parse, {what}"), || parse(text, ParseMode::New)).expect_err("a bomb");
        assert!(error.contains(message), "{what}: {:.300}", error);
    }
    let taken: &[(&str, String)] = &[
        (
            "large enumeration",
            format!(
                r#"{{"enum":[{}]}}"#,
                list(60_000, |number| number.to_string())
            ),
        ),
        (
            "properties that double",
            doubling(60, r#"{"type":"string"}"#, properties),
        ),
        (
            "web of references",
            defined(100, |_| {
                let members = list(100, |other| format!(r#""p{other}":{}"#, reference(other)));
                format!(r#"{{"properties":{{{members}}}}}"#)
            }),
        ),
        (
            "long text",
            format!(r#"{{"description":"{}"}}"#, "a".repeat(4 << 20)),
        ),
    ];
    for (what, text) in taken {
        bounded(&format!("parse, {what}"), || parse(text, ParseMode::New)).expect(what);
    }
}

/// Existing schemas are not refused for what they cost to execute, and compared all the same.
#[test]
fn comparing_ends() {
    let alternatives = |word: &str| {
        let members = list(3000, |number| format!(r#"{{"const":"{word}{number}"}}"#));
        format!(r#"{{"anyOf":[{members}]}}"#)
    };
    let long_name = |leaf: &str| {
        let members = list(10_000, |number| {
            format!(r#""p{number}":{{"type":"{leaf}"}}"#)
        });
        let name = "n".repeat(1 << 20);
        format!(r#"{{"properties":{{"{name}":{{"properties":{{{members}}}}}}}}}"#)
    };
    let enumeration = |of: &dyn Fn(usize) -> usize| {
        let values = list(60_000, |number| format!(r#""value {}""#, of(number)));
        format!(r#"{{"enum":[{values}]}}"#)
    };
    let required = |of: &dyn Fn(usize) -> usize| {
        let names = list(20_000, |number| format!(r#""r{}""#, of(number)));
        let members = list(20_000, |number| format!(r#""r{number}":{{}}"#));
        format!(r#"{{"required":[{names}],"properties":{{{members}}}}}"#)
    };
    let patterns = |members: usize| {
        let patterns = list(1500, |number| format!(r#""^p{number}$":{{}}"#));
        let members = list(members, |number| format!(r#""q{number}":{{}}"#));
        format!(r#"{{"patternProperties":{{{patterns}}},"properties":{{{members}}}}}"#)
    };
    let web = |leaf: &str| {
        defined(60, |number| {
            let members = list(60, |other| {
                format!(
                    r#""p{other}":{{"oneOf":[{{"type":"{leaf}"}},{}]}}"#,
                    reference(other)
                )
            });
            format!(r#"{{"title":"{leaf}{number}","properties":{{{members}}}}}"#)
        })
    };
    let pairs: &[(&str, String, String)] = &[
        (
            "thousands of alternatives",
            alternatives("a"),
            alternatives("b"),
        ),
        (
            "properties that double",
            doubling(60, r#"{"type":"string"}"#, properties),
            doubling(60, r#"{"type":"integer"}"#, properties),
        ),
        (
            "long name around many differences",
            long_name("string"),
            long_name("integer"),
        ),
        (
            "large enumerations",
            enumeration(&|n| n),
            enumeration(&|n| 70_000 - n),
        ),
        (
            "many required names",
            required(&|n| n),
            required(&|n| 19_999 - n),
        ),
        ("patterns against names", patterns(20_000), patterns(0)),
        ("web of references", web("string"), web("integer")),
        (
            "alternatives that double",
            doubling(60, r#"{"type":"string"}"#, |a, b| {
                format!(r#"{{"anyOf":[{a},{{"allOf":[{b}]}}]}}"#)
            }),
            doubling(60, r#"{"type":"integer"}"#, |a, b| {
                format!(r#"{{"anyOf":[{a},{{"allOf":[{b}]}}]}}"#)
            }),
        ),
    ];
    for (what, old, new) in pairs {
        let old = parse(old, ParseMode::Existing).expect(what);
        let new = parse(new, ParseMode::Existing).expect(what);
        bounded(&format!("compare, {what}"), || {
            compare(&new, &old, CompatibilityPolicy::Strict).len()
        });
        bounded(&format!("caveats, {what}"), || {
            caveats(&new, &old, CompatibilityPolicy::Strict).len()
        });
    }
}

#[test]
fn judging_ends() {
    let deep = nested(100, r#"{"x":"#, "1", "}");
    let texts = format!("[{}]", list(300, |_| format!(r#""{}!""#, "a".repeat(40))));
    let numbers = format!("[{}]", list(20_000, |number| number.to_string()));
    let names = format!("{{{}}}", list(20_000, |number| format!(r#""n{number}":0"#)));
    let cases: &[(&str, &str, &str)] = &[
        (
            "alternatives inside each other",
            r##"{"anyOf":[{"properties":{"x":{"$ref":"#"}},"required":["y"]},{"properties":{"x":{"$ref":"#"}},"required":["z"]}]}"##,
            &deep,
        ),
        (
            "every schema twice",
            r##"{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"},"y":false}}]}"##,
            &deep,
        ),
        (
            "backtracking",
            r#"{"items":{"anyOf":[{"pattern":"^(?=(a+)+$)(a+)+\\1$"},{"type":"string"}]}}"#,
            &texts,
        ),
        (
            "ambiguous repetition",
            r#"{"items":{"not":{"pattern":"^(a|a?)+b$"}}}"#,
            &texts,
        ),
        (
            "unique items",
            r#"{"uniqueItems":true,"contains":{"const":-1}}"#,
            &numbers,
        ),
        (
            "names",
            r#"{"propertyNames":{"pattern":"^n[0-9]+$"},"maxProperties":3}"#,
            &names,
        ),
        (
            "nothing evaluated",
            r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","anyOf":[{"properties":{"n1":true}},{"properties":{"n2":true}}],"unevaluatedProperties":false}"#,
            &names,
        ),
    ];
    for (what, schema, payload) in cases {
        let validator = parse(schema, ParseMode::New)
            .expect(what)
            .compile()
            .expect(what);
        let judged: Result<(), Violation> = bounded(&format!("judge, {what}"), || {
            let mut scratch = JsonScratch::default();
            validator.validate(
                payload.as_bytes(),
                ValidationOptions::default(),
                &mut scratch,
            )
        });
        println!("  {:.120}", format!("{judged:?}"));
    }
}

/// Long texts against patterns that could take long on them: what can be matched in time is, the
/// rest is refused before it is tried.
#[test]
fn matching_ends() {
    const MANY_PLACES: &str = "(.*a){200}";
    let long = "b".repeat(4 << 20);
    let text = format!(r#""{long}""#);
    let name = format!(r#"{{"{long}":1}}"#);
    let member = format!(r#"{{"a":"{long}"}}"#);
    let medium = format!(r#""{}""#, "a".repeat(64 << 10));
    let short = format!(
        "[{}]",
        list(2000, |number| format!(r#""Pass-word-{number}""#))
    );
    let refused = Some(ViolationReason::LimitExceeded);
    for (what, schema, payload, expected) in [
        (
            "many places",
            format!(r#"{{"pattern":"{MANY_PLACES}"}}"#),
            &text,
            refused,
        ),
        (
            "many places of a name",
            format!(r#"{{"patternProperties":{{"{MANY_PLACES}":{{}}}}}}"#),
            &name,
            refused,
        ),
        (
            "judged names",
            format!(r#"{{"propertyNames":{{"pattern":"{MANY_PLACES}"}}}}"#),
            &name,
            refused,
        ),
        (
            "one pass",
            format!(
                r#"{{"type":"object","properties":{{"a":{{"type":"string","pattern":"{MANY_PLACES}"}}}}}}"#
            ),
            &member,
            refused,
        ),
        (
            "looking ahead everywhere",
            r#"{"pattern":"^(?:(?=.*b)a)*$"}"#.to_owned(),
            &medium,
            refused,
        ),
        (
            "one place",
            r#"{"pattern":"^[a-z]*$"}"#.to_owned(),
            &text,
            None,
        ),
        (
            "other texts",
            format!(r#"{{"items":{{"pattern":"{MANY_PLACES}"}},"type":["array","string"]}}"#),
            &r#"["aaa"]"#.to_owned(),
            Some(ViolationReason::Constraint),
        ),
        (
            "short texts",
            r#"{"items":{"pattern":"^(?=.*[A-Z])(?=.*[0-9]).{8,64}$"}}"#.to_owned(),
            &short,
            None,
        ),
    ] {
        let validator = parse(&schema, ParseMode::New)
            .expect(what)
            .compile()
            .expect(what);
        let judged = bounded(&format!("match, {what}"), || {
            validator.validate(
                payload.as_bytes(),
                ValidationOptions::default(),
                &mut JsonScratch::default(),
            )
        });
        let reason = judged.as_ref().err().map(|violation| violation.reason);
        assert_eq!(reason, expected, "{what}: {judged:?}");
        if expected == refused {
            let violation = judged.expect_err(what);
            assert!(
                violation.detail.contains("regular expressions"),
                "{violation}"
            );
        }
    }
}
