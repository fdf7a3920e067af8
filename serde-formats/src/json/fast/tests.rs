//! The one pass against the validator over the tape: same verdicts, same words.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{JsonSchema, JsonScratch, JsonValidator};
use crate::schema::ParseMode;
use crate::validator::{ValidationOptions, Violation};

fn compiled(schema: &str) -> JsonValidator {
    JsonSchema::parse(schema, &[], ParseMode::New)
        .unwrap_or_else(|error| panic!("{schema}: {error}"))
        .compile()
        .expect("compiles")
}

fn judge(validator: &JsonValidator, payload: &[u8]) -> Result<(), Violation> {
    let mut scratch = JsonScratch::default();
    validator.validate(payload, ValidationOptions::default(), &mut scratch)
}

/// Whether the one pass alone accepts.
fn accepts(validator: &JsonValidator, payload: &[u8]) -> bool {
    validator.is_accepted_fast(payload, &mut JsonScratch::default())
}

#[test]
fn common_schemas_have_rules() {
    for schema in [
        "true",
        "{}",
        r#"{"type":["string","null"],"default":null,"title":"t","x-own":1}"#,
        r#"{"oneOf":[{"type":"null"},{"type":"object","properties":{"a":{"type":"integer"}}}]}"#,
        r#"{"anyOf":[{"type":"string","maxLength":3},{"type":"number","minimum":0.5}]}"#,
        r#"{"oneOf":[{"const":"a"},{"const":"b"},{"enum":["c",null]}]}"#,
        r##"{"type":"object","properties":{"next":{"oneOf":[{"type":"null"},{"$ref":"#"}]}}}"##,
        r##"{"$ref":"#/definitions/a~1b","definitions":{"a/b":{"type":"string","format":"date"}}}"##,
        r#"{"allOf":[{"properties":{"a":{"type":"integer"}}}],"type":"object"}"#,
        r#"{"type":"integer","multipleOf":5,"minimum":0}"#,
        r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","$ref":"#/$defs/a","type":"string","$defs":{"a":{"maxLength":2}}}"##,
    ] {
        assert!(compiled(schema).is_fast(), "{schema}");
    }
}

#[test]
fn other_schemas_are_left_to_the_tape() {
    for schema in [
        r#"{"not":{"type":"string"}}"#,
        r#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#,
        r#"{"oneOf":[{"enum":["a","b"]},{"enum":["b"]}]}"#,
        r#"{"oneOf":[{"type":"object"},{"type":"object"}]}"#,
        r#"{"enum":[[1],{"a":1}]}"#,
        r#"{"enum":[0.5]}"#,
        r#"{"multipleOf":0.1}"#,
        r#"{"uniqueItems":true}"#,
        r#"{"items":[{"type":"string"}]}"#,
        r#"{"maximum":9007199254740993}"#,
        r##"{"properties":{"a":{"$id":"other","$ref":"#/definitions/a"}},"definitions":{"a":{}}}"##,
        r#"{"properties":{"a":{"$id":"https://a.org/b"}}}"#,
        r#"{"$schema":"http://json-schema.org/draft-04/schema#","type":"integer"}"#,
        r#"{"patternProperties":{"^a":{}}}"#,
    ] {
        assert!(!compiled(schema).is_fast(), "{schema}");
    }
}

const ORDER: &str = r##"{
    "type": "object", "additionalProperties": false, "required": ["id", "lines"],
    "definitions": {"money": {"type": "number", "minimum": 0, "exclusiveMaximum": 1e6}},
    "properties": {
        "id": {"type": "integer", "minimum": 1, "maximum": 99999999999999},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$", "minLength": 4, "maxLength": 6},
        "state": {"enum": ["open", "p\u00e4id", null, 7, true]},
        "day": {"type": "string", "format": "date"},
        "note": {"oneOf": [{"type": "null"}, {"type": "string", "maxLength": 3}, {"$ref": "#/definitions/money"}]},
        "lines": {"type": "array", "minItems": 1, "maxItems": 3, "items": {
            "type": "object", "required": ["qty"], "properties": {
                "qty": {"type": "integer", "multipleOf": 2}, "price": {"$ref": "#/definitions/money"}}}},
        "more": {"type": "object", "additionalProperties": {"type": ["boolean", "array"]}},
        "child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
    }
}"##;

#[test]
fn accepts_and_refuses_as_the_tape_does() {
    let fast = compiled(ORDER);
    assert!(fast.is_fast());
    let slow = compiled(ORDER).over_the_tape();
    for (is_accepted, payload) in [
        (true, r#"{"id":1,"lines":[{"qty":2}]}"#),
        (
            true,
            " {\"lines\" : [ { \"price\":1e2, \"x\":[{}, \"\\u00e9\"] ,\"qty\":-0 } ] ,\t\"id\":99999999999999 }\r\n",
        ),
        (
            true,
            r#"{"id":5.0,"code":"AB-1","state":"p\u00e4id","note":"\ud83d\ude00\n\"","lines":[{"qty":4,"price":0.0}],"child":null}"#,
        ),
        (
            true,
            r#"{"id":5,"note":999999.99,"state":7,"day":"2020-02-29","lines":[{"qty":0}],"more":{"a":true,"b":[[]]},"child":{"id":2,"lines":[{"qty":8}]}}"#,
        ),
        (true, r#"{"\u0069d":1,"l\u0069nes":[{"qty":2}]}"#),
        (false, r#"{"id":1}"#),
        (false, r#"{"id":1.5,"lines":[{"qty":2}]}"#),
        (false, r#"{"id":0,"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"lines":[{"qty":3}]}"#),
        (false, r#"{"id":1,"lines":[]}"#),
        (
            false,
            r#"{"id":1,"lines":[{"qty":2},{"qty":2},{"qty":2},{"qty":2}]}"#,
        ),
        (false, r#"{"id":1,"code":"AB-1234","lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"code":"AB-x","lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"state":false,"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"state":"paid","lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"day":"2021-02-29","lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"note":"four","lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"note":1e6,"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"x":1,"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"more":{"a":1},"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"child":{"id":1},"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"lines":[{"qty":2}]} 1"#),
        (false, r#"{"id":1,"lines":[{"qty":2}],}"#),
        (false, r#"{"id":01,"lines":[{"qty":2}]}"#),
        (false, r#"{"id":1,"lines":[{"qty":2 "price":1}]}"#),
        (false, "{\"id\":1,\"lines\":[{\"qty\":2,\"x\":\"\t\"}]}"),
        (false, r#"{"id":1,"lines":[{"qty":2,"x":"\ud800"}]}"#),
        (false, r#"{"id":1,"lines":[{"qty":2,"x":1e999}]}"#),
        (false, r#"{"id":1,"lines":[{"qty":2"#),
        (false, ""),
    ] {
        assert_eq!(accepts(&fast, payload.as_bytes()), is_accepted, "{payload}");
        assert_eq!(
            judge(&fast, payload.as_bytes()),
            judge(&slow, payload.as_bytes()),
            "{payload}"
        );
        assert_eq!(
            judge(&fast, payload.as_bytes()).is_ok(),
            is_accepted,
            "{payload}"
        );
    }
    assert!(judge(&fast, b"{\"id\":\"\xff\"}").is_err());
}

/// What the one pass does not settle, the tape does.
#[test]
fn what_is_not_settled_is_judged_again() {
    let fast = compiled(ORDER);
    for payload in [
        r#"{"id":"x","id":1,"lines":[{"qty":2}]}"#,
        r#"{"id":1,"lines":[{"qty":1000000000000000000000000000000}]}"#,
    ] {
        assert!(!accepts(&fast, payload.as_bytes()), "{payload}");
        assert_eq!(judge(&fast, payload.as_bytes()), Ok(()), "{payload}");
    }
}

#[test]
fn nests_as_deep_as_the_tape_allows() {
    for schema in [
        "{}",
        r##"{"items":{"$ref":"#"}}"##,
        r##"{"items":{"allOf":[{"$ref":"#/definitions/a"}]},"definitions":{"a":{"allOf":[{"$ref":"#"}]}}}"##,
    ] {
        let (fast, slow) = (compiled(schema), compiled(schema).over_the_tape());
        assert!(fast.is_fast());
        for depth in [1, 100, 126, 127, 128, 5000] {
            let payload = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let verdict = judge(&fast, payload.as_bytes());
            assert_eq!(
                verdict,
                judge(&slow, payload.as_bytes()),
                "{schema} {depth}"
            );
            assert_eq!(verdict.is_ok(), depth <= 127, "{schema} {depth}");
        }
    }
}

/// Schemas of the understood keywords, and of some others.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({})),
        prop::sample::subsequence(
            vec![
                "null", "boolean", "integer", "number", "string", "array", "object"
            ],
            1..5
        )
        .prop_map(|names| json!({ "type": names })),
        (-3..3_i64, 0..4_i64)
            .prop_map(|(low, width)| json!({"minimum": low, "exclusiveMaximum": low + width})),
        (-3..3_i32)
            .prop_map(|low| json!({"type": "number", "exclusiveMinimum": f64::from(low) / 2.0})),
        (1..4_i64).prop_map(|multiple| json!({"type": "integer", "multipleOf": multiple})),
        (0..3_u64, 0..3_u64).prop_map(
            |(low, width)| json!({"type": "string", "minLength": low, "maxLength": low + width})
        ),
        prop::sample::select(vec!["^a", "b$", "^[a-b]+$", "é", "^.{2}$"])
            .prop_map(|pattern| json!({ "pattern": pattern })),
        prop::sample::subsequence(
            vec![
                json!("a"),
                json!("b"),
                json!("é"),
                json!(null),
                json!(true),
                json!(1),
                json!(0)
            ],
            1..4
        )
        .prop_map(|values| json!({ "enum": values })),
        prop::sample::select(vec![json!("a"), json!("\""), json!(2), json!(false)])
            .prop_map(|value| json!({ "const": value })),
        Just(json!({"$ref": "#"})),
        Just(json!({"$ref": "#/definitions/d"})),
        Just(json!({"uniqueItems": true})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let properties = prop::collection::vec(("[a-c]", inner.clone()), 0..4);
        prop_oneof![
            (
                properties,
                prop::option::of(inner.clone()),
                prop::sample::subsequence(vec!["a", "b", "x"], 0..3)
            )
                .prop_map(|(properties, additional, required)| {
                    let properties: serde_json::Map<String, Value> = properties.into_iter().collect();
                    let mut schema = json!({"properties": properties, "required": required});
                    if let Some(additional) = additional {
                        schema["additionalProperties"] = additional;
                    }
                    schema
                }),
            (inner.clone(), 0..2_u64).prop_map(|(items, low)| json!({"type": "array", "items": items, "minItems": low, "maxItems": 3})),
            (prop::collection::vec(inner.clone(), 1..4), prop::sample::select(vec!["oneOf", "anyOf", "allOf"]))
                .prop_map(|(schemas, keyword)| json!({ keyword: schemas })),
            (inner.clone(), inner).prop_map(|(a, b)| match (a, b) {
                (Value::Object(mut a), Value::Object(b)) => {
                    a.extend(b);
                    Value::Object(a)
                }
                (a, _) => a,
            }),
        ]
    })
}

fn payloads() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-4..5_i64).prop_map(Value::from),
        (-4..6_i32).prop_map(|number| Value::from(f64::from(number) / 2.0)),
        "[ab\"é]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-cx]", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A payload that is likely to fit: what the witness search would make for the schema.
fn likely(schema: &str) -> Vec<Value> {
    let parsed = JsonSchema::parse(schema, &[], ParseMode::New).expect("schema");
    super::super::witness::records(&parsed, 12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_are_those_of_the_tape(
        schema in schemas(),
        definition in schemas(),
        payloads in prop::collection::vec(payloads(), 8),
        modern in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut schema = schema;
        if let Value::Object(members) = &mut schema {
            members.insert("definitions".to_owned(), json!({ "d": definition }));
            if modern {
                members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
            }
        }
        let text = schema.to_string();
        let Ok(parsed) = JsonSchema::parse(&text, &[], ParseMode::New) else { return Ok(()) };
        let fast = parsed.compile().expect("compiles");
        let slow = parsed.compile().expect("compiles").over_the_tape();
        if fast.is_fast() {
            for payload in payloads.iter().chain(&likely(&text)) {
                let payload = payload.to_string();
                // One pass leaves multiples and enumerated values past a double's precision to the tape.
                let is_left_to_the_tape = payload.contains("e+");
                let mut payload = payload.into_bytes();
                let (accepted, verdict) = (accepts(&fast, &payload), judge(&slow, &payload));
                prop_assert!(accepted == verdict.is_ok() || is_left_to_the_tape && !accepted, "{} {:?}", text, String::from_utf8_lossy(&payload));
                prop_assert_eq!(judge(&fast, &payload), verdict, "{} {:?}", text, String::from_utf8_lossy(&payload));
                let at = at.index(payload.len());
                payload[at] = byte;
                prop_assert_eq!(judge(&fast, &payload), judge(&slow, &payload), "{} {:?}", text, String::from_utf8_lossy(&payload));
            }
        }
    }
}
