//! Each kind of difference with the record that shows it.

use super::super::{JsonSchema, compare, evidence};
use crate::compatibility::CompatibilityPolicy;
use crate::schema::ParseMode;
use crate::witness::{Evidence, Outcome};

fn schema(text: &str) -> JsonSchema {
    JsonSchema::parse(text, &[], ParseMode::New).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What is found for every difference: its kind, and the record or the label.
fn found(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (schema(old), schema(new));
    compare(&new, &old, CompatibilityPolicy::Strict)
        .iter()
        .map(|difference| {
            let evidence = evidence(&new, &old, difference);
            let shown = match &evidence {
                Evidence::Breaks(witness) => witness.json.to_string(),
                Evidence::Convention { .. } | Evidence::NotFound { .. } => {
                    evidence.label().to_owned()
                }
            };
            format!("{} {shown}", difference.kind)
        })
        .collect()
}

/// Old schema, new schema, and what shows each difference.
const KINDS: &[(&str, &str, &[&str])] = &[
    (
        r#"{"type":"string"}"#,
        r#"{"type":"integer"}"#,
        &[r#"TYPE_CHANGED "a""#],
    ),
    (
        r#"{"type":"number"}"#,
        r#"{"type":"integer"}"#,
        &[r#"TYPE_NARROWED 0.5"#],
    ),
    (
        r#"{"maximum":9007199254740993}"#,
        r#"{"maximum":9007199254740992}"#,
        &[r#"MAXIMUM_DECREASED 9007199254740993"#],
    ),
    (
        r#"{"type":"string","pattern":"^[a-c]{2,}-\\d+$"}"#,
        r#"{"type":"string","pattern":"^[a-c]{2}-\\d+$"}"#,
        &[r#"PATTERN_CHANGED "aaa-000""#],
    ),
    (
        r#"{"type":"string","format":"date"}"#,
        r#"{"type":"string","format":"date","maxLength":9}"#,
        &[r#"MAX_LENGTH_ADDED "2020-01-02""#],
    ),
    (
        r#"{"type":"number","multipleOf":0.1}"#,
        r#"{"type":"number","multipleOf":0.3}"#,
        &[r#"MULTIPLE_OF_EXPANDED 1"#],
    ),
    (
        r#"{"enum":["a","b"]}"#,
        r#"{"enum":["a"]}"#,
        &[r#"ENUM_ARRAY_NARROWED "b""#],
    ),
    (
        r#"{"properties":{"a":{"properties":{"b":{"type":"string"}},"required":["b","c"]}},"required":["a"]}"#,
        r#"{"properties":{"a":{"properties":{"b":{"type":"null"}},"required":["b","c"]}},"required":["a"]}"#,
        &[r#"TYPE_CHANGED {"a":{"b":"a","c":null}}"#],
    ),
    (
        r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#,
        r#"{"type":"object","properties":{"a":{},"b":{}},"required":["b"],"additionalProperties":false}"#,
        &[r#"REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL {}"#],
    ),
    (
        r#"{"type":"object"}"#,
        r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
        &[r#"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL {"a":null}"#],
    ),
    (
        r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#,
        r#"{"type":"object","additionalProperties":false}"#,
        &[r#"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL {"a":"a"}"#],
    ),
    (
        r#"{"type":"object","minProperties":2}"#,
        r#"{"type":"object","minProperties":2,"maxProperties":4}"#,
        &[r#"MAX_PROPERTIES_ADDED {"p0":null,"p1":null,"p2":null,"p3":null,"p4":null}"#],
    ),
    (
        r#"{"dependencies":{"a":["b"]}}"#,
        r#"{"dependencies":{"a":["b","c"]}}"#,
        &[r#"DEPENDENCY_ARRAY_EXTENDED {"a":null,"b":null}"#],
    ),
    (
        r#"{"type":"array","items":[{"type":"null"}],"additionalItems":{"type":"string"}}"#,
        r#"{"type":"array","items":[{"type":"null"}],"additionalItems":{"type":"boolean"}}"#,
        &[r#"TYPE_CHANGED [null,"a"]"#],
    ),
    (
        r#"{"type":"array","items":{"enum":[1,2,3]},"minItems":2}"#,
        r#"{"type":"array","items":{"enum":[1,2,3]},"minItems":2,"uniqueItems":true}"#,
        &[r#"UNIQUE_ITEMS_ADDED [1,1]"#],
    ),
    (
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","contains":{"const":5}}"#,
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","contains":{"const":5},"maxContains":2}"#,
        &[r#"MAX_CONTAINS_ADDED [5,5,5]"#],
    ),
    (
        r#"{"not":{"type":"string"}}"#,
        r#"{"not":{"type":["string","null"]}}"#,
        &[r#"NOT_TYPE_EXTENDED null"#],
    ),
    (
        r#"{"oneOf":[{"type":"null"},{"type":"object","properties":{"k":{"const":"x"}},"required":["k"]},{"type":"string"}]}"#,
        r#"{"oneOf":[{"type":"null"},{"type":"string"}]}"#,
        &[r#"SUM_TYPE_NARROWED {"k":"x"}"#],
    ),
    (
        r#"{"allOf":[{"type":"object","required":["a"]},{"properties":{"a":{"type":"string"}}}]}"#,
        r#"{"allOf":[{"type":"object","required":["a"]},{"properties":{"a":{"type":"integer"}}}]}"#,
        &[r#"COMBINED_TYPE_SUBSCHEMAS_CHANGED {"a":"a"}"#],
    ),
    (
        r##"{"type":"object","properties":{"v":{"type":"number"},"next":{"oneOf":[{"type":"null"},{"$ref":"#"}]}},"additionalProperties":false}"##,
        r##"{"type":"object","properties":{"v":{"type":"integer"},"next":{"oneOf":[{"type":"null"},{"$ref":"#"}]}},"additionalProperties":false}"##,
        &[
            r#"TYPE_NARROWED {"v":0.5}"#,
            r#"COMBINED_TYPE_SUBSCHEMAS_CHANGED {"next":{"v":0.5}}"#,
        ],
    ),
    (
        r#"{"const":"a"}"#,
        r#"{"type":"string"}"#,
        &[r#"TYPE_CHANGED convention"#],
    ),
    (
        r#"{"type":"string","maxLength":0}"#,
        r#"{"type":"string","maxLength":0,"pattern":"^$"}"#,
        &[r#"PATTERN_ADDED convention"#],
    ),
    (
        r#"{"type":"object","properties":{"a":false},"required":["a"]}"#,
        r#"{"type":"string"}"#,
        &[r#"TYPE_CHANGED convention"#],
    ),
    (
        r#"{"if":{"required":["a"]},"then":{"required":["b"]}}"#,
        r#"{"type":"object"}"#,
        &[r#"TYPE_CHANGED null"#],
    ),
];

#[test]
fn every_kind_is_shown_by_a_record() {
    for (old, new, expected) in KINDS {
        assert_eq!(found(old, new), *expected, "{old} => {new}");
    }
}

#[test]
fn what_the_reader_does_is_told() {
    let (old, new) = (
        schema(r#"{"properties":{"lines":{"items":{"properties":{"qty":{"type":"number"}}}}}}"#),
        schema(r#"{"properties":{"lines":{"items":{"properties":{"qty":{"type":"integer"}}}}}}"#),
    );
    let differences = compare(&new, &old, CompatibilityPolicy::Strict);
    let Evidence::Breaks(witness) = evidence(&new, &old, &differences[0]) else {
        panic!("no witness");
    };
    assert_eq!(witness.payload, br#"{"lines":[{"qty":0.5}]}"#);
    let Outcome::Refused { path, reason } = witness.outcome else {
        panic!("JSON is never misread");
    };
    assert_eq!(path, "$.lines[0].qty");
    assert!(reason.contains("integer"), "{reason}");
}

/// Items that have to differ and hold the schema itself.
#[test]
fn searches_end_in_schemas_that_hold_themselves() {
    let recursive = |leaf: &str| {
        schema(&format!(
            r##"{{"type":"object","properties":{{"v":{{"type":"{leaf}"}},"l":{{"type":"array","items":{{"$ref":"#"}},"uniqueItems":true,"minItems":1}}}},"additionalProperties":false}}"##
        ))
    };
    let (old, new) = (recursive("number"), recursive("integer"));
    let differences = compare(&new, &old, CompatibilityPolicy::Strict);
    let evidence = evidence(&new, &old, &differences[0]);
    assert_eq!(evidence.label(), "breaks", "{evidence:?}");
}

/// Schemas made to multiply end the search, not the process.
#[test]
fn searches_are_bounded() {
    let layers = |leaf: &str| {
        let definitions: Vec<String> = (0..30)
            .map(|index| {
                let next = format!(r##"{{"$ref":"#/definitions/d{}"}}"##, index + 1);
                format!(
                    r##""d{index}":{{"type":"object","properties":{{"x":{next},"y":{next}}},"required":["x","y"]}}"##
                )
            })
            .collect();
        schema(&format!(
            r##"{{"$ref":"#/definitions/d0","definitions":{{{},"d30":{{"type":"{leaf}"}}}}}}"##,
            definitions.join(",")
        ))
    };
    let (old, new) = (layers("string"), layers("integer"));
    let differences = compare(&new, &old, CompatibilityPolicy::Strict);
    let evidence = evidence(&new, &old, &differences[0]);
    assert_eq!(evidence.label(), "not-found", "{evidence:?}");
}
