//! Parsing, printing and comparing, case by case.

use proptest::prelude::*;

use super::{AvroSchema, compare};
use crate::schema::{ParseMode, ResolvedReference, TextForm};

fn parse(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], ParseMode::New).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn reference(name: &str, schema: &str) -> ResolvedReference {
    ResolvedReference {
        name: name.to_owned(),
        subject: format!("{name}-value"),
        version: 1,
        schema: schema.to_owned(),
    }
}

#[test]
fn errors_name_what_is_wrong() {
    // text, part of the message, also refused as a stored schema
    let cases = [
        ("", "empty", true),
        ("int", "unexpected character 'i'", true),
        (r#""nope""#, "undefined schema: nope", true),
        (r#"{"type":{"type":"int"}}"#, "no type", true),
        (r#"["int","int"]"#, "duplicate in union: int", true),
        (r#"["null",["int"]]"#, "nested union", true),
        (r#"{"type":"record","fields":[]}"#, "no name", true),
        (r#"{"type":"record","name":"R"}"#, "no fields", true),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a"}]}"#,
            "no field type",
            true,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"X"}]}"#,
            "undefined schema: X",
            true,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":["int","int"]}]}"#,
            "duplicate in union: int (field a)",
            true,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":"up"}]}"#,
            "order of field a",
            true,
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#,
            "invalid default for field a: \"x\" not a int",
            false,
        ),
        (
            r#"{"type":"record","name":"n-s.R","fields":[]}"#,
            "namespace part \"n-s\" is invalid",
            false,
        ),
        (
            r#"{"type":"record","name":"Ré","fields":[]}"#,
            "illegal character in: Ré",
            false,
        ),
        (
            r#"{"type":"record","name":"R","aliases":"A","fields":[]}"#,
            "aliases not an array",
            true,
        ),
        (
            r#"{"type":"fixed","name":"F","size":-1}"#,
            "negative: -1",
            true,
        ),
        (
            r#"{"type":"fixed","name":"F","size":"4"}"#,
            "invalid or no size",
            true,
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#,
            "enum default B",
            true,
        ),
        (
            r#"{"type":"enum","name":"string","symbols":["A"]}"#,
            "named after primitives",
            true,
        ),
        (
            r#"[{"type":"fixed","name":"F","size":1},
                {"type":"record","name":"R","fields":[
                  {"name":"f","type":{"type":"fixed","name":"F","size":2}}]}]"#,
            "can't redefine: F",
            true,
        ),
    ];
    for (text, message, stored_too) in cases {
        let error = AvroSchema::parse(text, &[], ParseMode::New).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        let stored = AvroSchema::parse(text, &[], ParseMode::Existing);
        assert_eq!(stored.is_err(), stored_too, "{text}");
    }
}

#[test]
fn syntax_errors_carry_their_position() {
    let error = AvroSchema::parse("{\"type\":\n  oops}", &[], ParseMode::New).unwrap_err();
    assert_eq!(error.position, Some((2, 3)));
}

#[test]
fn a_name_may_be_used_before_its_definition() {
    let schema = parse(
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"S"},
            {"name":"b","type":{"type":"record","name":"S","fields":[{"name":"x","type":"int"}]}}]}"#,
    );
    assert_eq!(
        schema.text(TextForm::Canonical),
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"S","fields":[{"name":"x","type":"int"}]}},{"name":"b","type":"S"}]}"#
    );
}

#[test]
fn references_are_names_in_the_canonical_text_and_definitions_in_the_resolved_one() {
    let inner = reference(
        "a.Inner",
        r#"{"type":"record","name":"Inner","namespace":"a","fields":[{"name":"x","type":"int"}]}"#,
    );
    let outer = reference(
        "a.Outer",
        r#"{"type":"record","name":"Outer","namespace":"a","fields":[{"name":"i","type":"Inner"}]}"#,
    );
    let text = r#"{"type":"record","name":"Top","namespace":"b","fields":[{"name":"o","type":"a.Outer"}]}"#;
    let schema = AvroSchema::parse(text, &[inner.clone(), outer.clone()], ParseMode::New).unwrap();
    assert_eq!(schema.text(TextForm::Canonical), text);
    assert_eq!(schema.text(TextForm::Normalized), text);
    assert_eq!(
        schema.text(TextForm::Resolved),
        r#"{"type":"record","name":"Top","namespace":"b","fields":[{"name":"o","type":{"type":"record","name":"Outer","namespace":"a","fields":[{"name":"i","type":{"type":"record","name":"Inner","fields":[{"name":"x","type":"int"}]}}]}}]}"#
    );
    assert!(AvroSchema::parse(text, std::slice::from_ref(&inner), ParseMode::New).is_err());
    let by_name = AvroSchema::parse("\"a.Outer\"", &[inner, outer], ParseMode::New).unwrap();
    assert_eq!(by_name.text(TextForm::Canonical), "\"a.Outer\"");
    assert_eq!(by_name.record_name().as_deref(), Some("a.Outer"));
}

#[test]
fn names_are_printed_relative_to_the_enclosing_namespace() {
    for (text, canonical) in [
        (
            r#"{"type":"record","name":"R","namespace":"a","fields":[{"name":"x","type":{"type":"fixed","name":".F","size":1}}]}"#,
            r#"{"type":"record","name":"R","namespace":"a","fields":[{"name":"x","type":{"type":"fixed","name":"F","namespace":"","size":1}}]}"#,
        ),
        (
            r#"{"type":"record","name":"a.int","fields":[{"name":"x","type":["null","a.int"]}]}"#,
            r#"{"type":"record","name":"int","namespace":"a","fields":[{"name":"x","type":["null","a.int"]}]}"#,
        ),
    ] {
        assert_eq!(parse(text).text(TextForm::Canonical), canonical);
    }
}

#[test]
fn normalised_puts_a_logical_type_first_and_sorts_the_rest() {
    for (text, normalized) in [
        (
            r#"{"type":"bytes","scale":0,"connect.name":"d","precision":4,"logicalType":"decimal"}"#,
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"connect.name":"d","scale":0}"#,
        ),
        (
            r#"{"type":"bytes","scale":2,"connect.name":"d","precision":4,"logicalType":"decimal"}"#,
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2,"connect.name":"d"}"#,
        ),
        (
            r#"{"type":"string","logicalType":"mine","a":1}"#,
            r#"{"type":"string","a":1,"logicalType":"mine"}"#,
        ),
        (
            r#"{"type":"record","name":"R","doc":"","fields":[{"name":"a","type":"float","doc":"","default":1}]}"#,
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"float","doc":"","default":1.0}]}"#,
        ),
    ] {
        assert_eq!(parse(text).text(TextForm::Normalized), normalized);
    }
}

#[test]
fn equivalence_ignores_order_that_carries_no_meaning() {
    let base = r#"{"type":"record","name":"R","aliases":["A","B"],"p":1,"q":{"x":1,"y":2},
        "fields":[{"name":"a","type":"int","default":1},{"name":"b","type":"string"}]}"#;
    let same = r#"{"q":{"y":2,"x":1},"p":1,"type":"record","aliases":["B","A"],"fields":
        [{"type":"int","name":"a","default":1},{"name":"b","type":"string"}],"name":"R"}"#;
    assert!(parse(base).is_equivalent(&parse(same)));
    for other in [
        base.replace("\"p\":1", "\"p\":2"),
        base.replace("\"p\":1", "\"doc\":\"d\",\"p\":1"),
        base.replace("\"B\"]", "\"C\"]"),
        base.replace("\"default\":1", "\"default\":2"),
        base.replace("\"string\"", "\"bytes\""),
    ] {
        assert!(!parse(base).is_equivalent(&parse(&other)), "{other}");
    }
}

#[test]
fn limits_are_errors() {
    let deep = |levels: usize| {
        let open = r#"{"type":"array","items":"#.repeat(levels);
        format!("{open}\"int\"{}", "}".repeat(levels))
    };
    for levels in [300, 500, 600, 100_000] {
        let error = AvroSchema::parse(&deep(levels), &[], ParseMode::New).unwrap_err();
        assert!(error.message.contains("deeper"), "{error}");
    }
    // The deepest that parses survives everything that walks it.
    let deepest = parse(&deep(256));
    for form in [
        TextForm::Canonical,
        TextForm::Normalized,
        TextForm::Resolved,
    ] {
        assert_eq!(deepest.text(form), deep(256));
    }
    assert!(deepest.compile().is_ok() && compare(&deepest, &deepest).is_empty());
    let mut nested = "\"int\"".to_owned();
    for i in 0..120 {
        nested = format!(
            r#"{{"type":"record","name":"R{i}","fields":[{{"name":"f","type":["null",{nested}]}}]}}"#
        );
    }
    let nested = parse(&nested);
    assert!(nested.compile().is_ok() && compare(&nested, &nested).is_empty());
    // Names used before their definition nest types deeper than the text does.
    let chain: Vec<String> = (0..2000)
        .map(|i| {
            let next = if i == 1999 {
                "int".to_owned()
            } else {
                format!("R{}", i + 1)
            };
            format!(
                r#"{{"type":"record","name":"R{i}","fields":[{{"name":"n","type":"{next}"}}]}}"#
            )
        })
        .collect();
    let chain = format!("[{}]", chain.join(","));
    let error = AvroSchema::parse(&chain, &[], ParseMode::New).unwrap_err();
    assert!(error.message.contains("nest deeper"), "{error}");
    let wide = |name: &str, fields: usize| {
        let fields: Vec<String> = (0..fields)
            .map(|i| format!(r#"{{"name":"f{i}","type":"int"}}"#))
            .collect();
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{}]}}"#,
            fields.join(",")
        )
    };
    let error = AvroSchema::parse(&wide("R", 100_000), &[], ParseMode::New).unwrap_err();
    assert!(error.message.contains("more than 250000 values"), "{error}");
    let reference = reference("Other", &wide("Other", 60_000));
    let error = AvroSchema::parse(&wide("R", 50_000), &[reference], ParseMode::New).unwrap_err();
    assert!(error.message.contains("more than 100000 types"), "{error}");
}

#[test]
fn work_is_bounded_whatever_the_schema() {
    // Every branch takes the default until its innermost value.
    let names: Vec<String> = (0..40).map(|i| format!("A{i}")).collect();
    let branches = names.join("\",\"");
    let records: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"type":"record","name":"{name}","fields":[{{"name":"n","type":["null","{branches}"]}}]}}"#
            )
        })
        .collect();
    let default = format!("{}1{}", "{\"n\":".repeat(50), "}".repeat(50));
    let text = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"r","type":[{}],"default":{default}}}]}}"#,
        records.join(",")
    );
    assert!(AvroSchema::parse(&text, &[], ParseMode::New).is_err());
    let stored = AvroSchema::parse(&text, &[], ParseMode::Existing).unwrap();
    assert!(stored.text(TextForm::Normalized).contains(&default));

    // A million pairs of branches, none alike.
    let union = |prefix: &str| {
        let records: Vec<String> = (0..1100)
            .map(|i| format!(r#"{{"type":"fixed","name":"{prefix}{i}","size":1}}"#))
            .collect();
        parse(&format!("[{}]", records.join(",")))
    };
    assert!(!compare(&union("A"), &union("B")).is_empty());

    // A large type behind many second definitions of a small one.
    let small = r#"{"type":"record","name":"S","fields":[{"name":"l","type":"L"}]}"#;
    let large: Vec<String> = (0..300)
        .map(|i| format!(r#"{{"name":"f{i}","type":"int"}}"#))
        .collect();
    let fields: Vec<String> = (0..300)
        .map(|i| format!(r#"{{"name":"s{i}","type":{small}}}"#))
        .collect();
    let text = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"l","type":{{"type":"record","name":"L","fields":[{}]}}}},{}]}}"#,
        large.join(","),
        fields.join(",")
    );
    assert_eq!(
        parse(&text)
            .text(TextForm::Canonical)
            .matches("\"S\"")
            .count(),
        300
    );
}

#[test]
fn a_type_shared_at_every_level_compiles_to_a_program_of_the_schemas_size() {
    let mut text =
        r#"{"type":"record","name":"R0","fields":[{"name":"x","type":"int"}]}"#.to_owned();
    for i in 1..40 {
        text = format!(
            r#"{{"type":"record","name":"R{i}","fields":[{{"name":"a","type":{text}}},{{"name":"b","type":"R{}"}}]}}"#,
            i - 1
        );
    }
    let schema = parse(&text);
    assert!(schema.compile().unwrap().program.ops.len() < 200);
    assert!(compare(&schema, &schema).is_empty());
    // Every path to the difference repeats it; the list stays bounded.
    let other = parse(&text.replace("\"int\"", "\"string\""));
    assert_eq!(compare(&schema, &other).len(), 1000);
}

#[test]
fn messages_are_the_references() {
    // reader, writer, message
    let cases = [
        (
            r#"{"type":"record","name":"A","fields":[]}"#,
            r#"{"type":"record","name":"n.B","fields":[]}"#,
            "{errorType:'NAME_MISMATCH', description:'The name of the schema has changed (path \
             '/name')', additionalInfo:'expected: n.B'}",
        ),
        (
            r#"{"type":"fixed","name":"F","size":1}"#,
            r#"{"type":"fixed","name":"F","size":2}"#,
            "{errorType:'FIXED_SIZE_MISMATCH', description:'The size of FIXED type field at path \
             '/size' in the %s schema does not match with the %s schema', \
             additionalInfo:'expected: 2, found: 1'}",
        ),
        (
            r#"{"type":"enum","name":"E","symbols":["C"]}"#,
            r#"{"type":"enum","name":"E","symbols":["C","B","A"]}"#,
            "{errorType:'MISSING_ENUM_SYMBOLS', description:'The %s schema is missing enum \
             symbols '[A, B]' at path '/symbols' in the %s schema', additionalInfo:'[A, B]'}",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#,
            r#"{"type":"record","name":"R","fields":[]}"#,
            "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'a' at path \
             '/fields/0' in the %s schema has no default value and is missing in the %s schema', \
             additionalInfo:'a'}",
        ),
        (
            "\"int\"",
            "\"long\"",
            "{errorType:'TYPE_MISMATCH', description:'The type (path '/') of a field in the %s \
             schema does not match with the %s schema', additionalInfo:'reader type: INT not \
             compatible with writer type: LONG'}",
        ),
        (
            "[\"int\"]",
            "[\"int\",\"string\"]",
            "{errorType:'MISSING_UNION_BRANCH', description:'The %s schema is missing a type \
             inside a union field at path '/1' in the %s schema', additionalInfo:'reader union \
             lacking writer type: STRING'}",
        ),
    ];
    for (reader, writer, message) in cases {
        let found = compare(&parse(reader), &parse(writer));
        assert_eq!(found.len(), 1, "{reader}");
        assert_eq!(found[0].message, message);
        assert!(message.contains(&found[0].description));
    }
}

#[test]
fn comparing_cyclic_types_ends() {
    let aliases: Vec<String> = (0..80).map(|i| format!("\"R{i}\"")).collect();
    let aliases = aliases.join(",");
    let cycle = |len: usize, leaf: &str| {
        let mut next = "\"R0\"".to_owned();
        for i in (0..len).rev() {
            next = format!(
                r#"{{"type":"record","name":"R{i}","aliases":[{aliases}],"fields":[{{"name":"n","type":{next}}},{{"name":"v","type":{leaf}}}]}}"#
            );
        }
        parse(&next)
    };
    let (a, b) = (cycle(7, "\"int\""), cycle(11, "\"int\""));
    assert!(compare(&a, &b).is_empty());
    assert!(!compare(&a, &cycle(11, "\"string\"")).is_empty());
    // Chains of coprime lengths nest beyond the limit and count as incompatible.
    let (a, b) = (cycle(61, "\"int\""), cycle(67, "\"int\""));
    assert!(compare(&a, &b)[0].message.contains("deeper"));
}

const SEEDS: [&str; 3] = [
    r#"{"type":"record","name":"n.R","doc":"d","aliases":["Q"],"p":{"a":1.50},"fields":[{"name":"a","type":["null","string"],"default":null},{"name":"b","type":{"type":"array","items":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}}},{"name":"c","type":{"type":"map","values":"n.R"},"order":"ignore"}]}"#,
    r#"[{"type":"fixed","name":"F","size":16,"logicalType":"decimal","precision":10},"int",{"type":"map","values":"F"}]"#,
    r#"{"type":"error","name":"X","fields":[{"name":"d","type":"double","default":1e3,"aliases":["z","y"]}]}"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}|[\\[\\]{}\",:a-z0-9 /*.-]{0,60}") {
        for mode in [ParseMode::New, ParseMode::Existing] {
            let _verdict = AvroSchema::parse(&text, &[], mode).is_ok();
        }
    }

    #[test]
    fn canonical_text_is_a_fixed_point(
        seed in 0..SEEDS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 0..4),
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (place, kind, byte) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte & 0x7f,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, b"\"{}[],:"[usize::from(byte) % 7]),
                _ => { let tail = bytes.split_off(at); bytes.extend_from_slice(&tail[..tail.len() / 2]); }
            }
            if bytes.is_empty() { break; }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(schema) = AvroSchema::parse(&text, &[], ParseMode::Existing) {
            for form in [TextForm::Canonical, TextForm::Normalized] {
                let printed = schema.text(form);
                let again = AvroSchema::parse(&printed, &[], ParseMode::Existing);
                let again = again.unwrap_or_else(|e| panic!("{e}: {printed}"));
                prop_assert_eq!(again.text(form), printed);
                prop_assert_eq!(again.crc64_fingerprint(), schema.crc64_fingerprint());
            }
            prop_assert!(schema.is_equivalent(&schema.clone()));
            prop_assert!(compare(&schema, &schema).is_empty());
            prop_assert!(schema.compile().is_ok());
        }
    }
}
