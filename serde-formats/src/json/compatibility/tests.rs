//! Whole comparisons: messages, recursion, and schemas made to explode.

use super::*;
use crate::schema::ParseMode;

fn schema(text: &str) -> JsonSchema {
    JsonSchema::parse(text, &[], ParseMode::New).expect(text)
}

#[test]
fn messages_are_the_reference_s() {
    let old = schema(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#);
    for (new, message) in [
        (
            r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#,
            r#"{errorType:"TYPE_CHANGED", description:"A type at path '#/properties/a' is different between the %s schema and the %s schema'}"#,
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}"#,
            r#"{errorType:"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", description:"The %s schema has an open content model and has a property or item at path '#/properties/b' which is missing in the %s schema'}"#,
        ),
    ] {
        let found: Vec<String> = compare(&schema(new), &old, CompatibilityPolicy::Strict)
            .into_iter()
            .map(|incompatibility| incompatibility.message)
            .collect();
        assert_eq!(found, [message]);
    }
}

#[test]
fn recursive_schemas_compare() {
    let tree = |leaf: &str| {
        schema(&format!(
            r##"{{"type":"object","additionalProperties":false,"properties":{{
                "value":{{"type":"{leaf}"}},
                "next":{{"oneOf":[{{"type":"null"}},{{"$ref":"#"}}]}}}}}}"##
        ))
    };
    let verdict = |new: &JsonSchema, old: &JsonSchema| {
        compare(new, old, CompatibilityPolicy::Strict).is_empty()
    };
    assert!(verdict(&tree("integer"), &tree("integer")));
    assert!(verdict(&tree("number"), &tree("integer")));
    assert!(!verdict(&tree("integer"), &tree("number")));
}

#[test]
fn shared_definitions_do_not_multiply() {
    let layers = |leaf: &str| {
        let definitions: Vec<String> = (0..40)
            .map(|index| {
                let next = index + 1;
                format!(
                    r##""d{index}":{{"type":"object","properties":{{"x":{{"$ref":"#/definitions/d{next}"}},"y":{{"$ref":"#/definitions/d{next}"}}}}}}"##
                )
            })
            .collect();
        schema(&format!(
            r##"{{"$ref":"#/definitions/d0","definitions":{{{},"d40":{{"type":"{leaf}"}}}}}}"##,
            definitions.join(",")
        ))
    };
    let same = compare(
        &layers("string"),
        &layers("string"),
        CompatibilityPolicy::Strict,
    );
    assert!(same.is_empty());
    let changed = compare(
        &layers("integer"),
        &layers("string"),
        CompatibilityPolicy::Strict,
    );
    assert!(!changed.is_empty());
}

/// Definitions `d0` and on, the first of which the schema refers to.
fn defined(definitions: &[String]) -> JsonSchema {
    let definitions = list(definitions.len(), |index| {
        format!(r#""d{index}":{}"#, definitions[index])
    });
    let text = format!(r##"{{"$ref":"#/definitions/d0","definitions":{{{definitions}}}}}"##);
    JsonSchema::parse(&text, &[], ParseMode::Existing).expect("a schema")
}

fn reference(index: usize) -> String {
    format!(r##"{{"$ref":"#/definitions/d{index}"}}"##)
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    items.join(",")
}

/// Layers, each of which holds the next one several times.
fn layers(keyword: &str, count: usize, width: usize, leaf: &str) -> JsonSchema {
    let mut definitions: Vec<String> = (0..count)
        .map(|layer| {
            let next = reference(layer + 1);
            let members = list(width, |member| {
                format!(
                    r#"{{"type":"object","required":["k{member}"],"properties":{{"x":{next}}}}}"#
                )
            });
            format!(r#"{{"{keyword}":[{members}]}}"#)
        })
        .collect();
    definitions.push(format!(r#"{{"type":"{leaf}"}}"#));
    defined(&definitions)
}

/// Definitions each of which holds all of them.
fn mutual(keyword: &str, count: usize, leaf: &str) -> JsonSchema {
    let definitions: Vec<String> = (0..count)
        .map(|own| {
            let members = list(count, |other| {
                let other = reference(other);
                format!(r#"{{"title":"{own}","properties":{{"x":{other}}}}}"#)
            });
            format!(r#"{{"{keyword}":[{members},{{"type":"{leaf}"}}]}}"#)
        })
        .collect();
    defined(&definitions)
}

/// Alternatives that are alternatives again, down to themselves.
fn itself(width: usize, leaf: &str) -> JsonSchema {
    let members = list(width, |member| {
        format!(r#"{{"title":"{member}","allOf":[{}]}}"#, reference(0))
    });
    defined(&[format!(r#"{{"oneOf":[{members},{{"type":"{leaf}"}}]}}"#)])
}

fn wide(keyword: &str, count: usize, item: impl Fn(usize) -> String) -> JsonSchema {
    defined(&[format!(r#"{{"{keyword}":[{}]}}"#, list(count, item))])
}

fn constants(count: usize, word: &str) -> JsonSchema {
    wide("oneOf", count, |number| {
        format!(r#"{{"const":"{word}{number}"}}"#)
    })
}

/// Alternatives that differ in nothing that counts.
fn alike(count: usize) -> JsonSchema {
    wide("oneOf", count, |number| {
        format!(r#"{{"title":"{number}","properties":{{"x":{{"type":"null"}}}}}}"#)
    })
}

/// Alternatives that are large enumerations.
fn enumerations(from: usize) -> JsonSchema {
    wide("oneOf", 60, |member| {
        let values = list(400, |value| (from + member * 400 + value).to_string());
        format!(r#"{{"enum":[{values}]}}"#)
    })
}

/// `None` stands for a comparison that is given up, and so allows nothing.
#[track_caller]
fn check(old: &JsonSchema, new: &JsonSchema, expected: Option<bool>) {
    let found = compare(new, old, CompatibilityPolicy::Strict);
    let is_given_up = found.iter().any(|found| found.kind == COMPARISON_TOO_LARGE);
    let verdict = (!is_given_up).then_some(found.is_empty());
    assert_eq!(verdict, expected, "{:.300}", format!("{found:?}"));
    // What is told beside the verdict is found on the same walk.
    let _caveats = caveats(new, old, CompatibilityPolicy::Strict);
}

/// Schemas whose comparison could take time that grows with the power of their depth, or with the
/// product of their widths: either it does not, or it is given up.
#[test]
fn comparisons_that_could_explode_end() {
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let deep = |leaf| layers(keyword, 12, 4, leaf);
        check(&deep("string"), &deep("string"), Some(true));
        check(&deep("string"), &deep("integer"), None);
        let shallow = |leaf| layers(keyword, 2, 2, leaf);
        check(&shallow("string"), &shallow("integer"), Some(false));
    }
    let (all, any) = (
        layers("allOf", 12, 4, "null"),
        layers("anyOf", 12, 4, "string"),
    );
    check(&all, &any, None);
    check(
        &mutual("anyOf", 3, "null"),
        &mutual("anyOf", 3, "null"),
        Some(true),
    );
    check(
        &mutual("oneOf", 10, "null"),
        &mutual("oneOf", 10, "string"),
        None,
    );
    check(&itself(14, "null"), &itself(14, "null"), Some(true));
    check(&itself(14, "null"), &itself(14, "string"), Some(false));
    check(&constants(200, "a"), &constants(200, "a"), Some(true));
    check(&constants(200, "a"), &constants(200, "b"), Some(false));
    check(&constants(2000, "a"), &constants(2000, "b"), None);
    check(&alike(2000), &alike(2000), None);
    check(&enumerations(0), &enumerations(0), Some(true));
    check(&enumerations(0), &enumerations(90_000), Some(false));
}

#[test]
fn what_was_given_up_is_said() {
    let (old, new) = (constants(2000, "a"), constants(2000, "b"));
    let found = compare(&new, &old, CompatibilityPolicy::Lenient);
    let told = found.last().expect("incompatible");
    assert_eq!(
        (told.kind, told.path.as_str()),
        (COMPARISON_TOO_LARGE, "#/")
    );
    assert!(
        told.description.contains("too large to be compared"),
        "{told:?}"
    );
    let evidence = crate::json::evidence(&new, &old, told);
    assert_eq!(evidence.label(), "not-found", "{evidence:?}");
}
