//! A valid record costs no allocation once the scratch is warm, on both ways of judging it. One
//! exception: over the tape a schema that refers to itself is guarded against endless references,
//! and the library allocates the guard's stack for each such payload.

use serde_formats::json::{JsonSchema, JsonScratch};
use serde_formats::{ParseMode, ValidationOptions};

use crate::counting;

/// Schema, whether it has a faster form, records that fit, and what the tape may allocate for one.
const CASES: &[(&str, bool, &[&str], u64)] = &[
    (
        r##"{"type":"object","properties":{"v":{"type":"integer"},"next":{"oneOf":[{"$ref":"#"},{"type":"null"}]}}}"##,
        true,
        &[
            r#"{"v":1,"next":{"v":2,"next":{"v":3,"next":null}}}"#,
            r#"{"v":1}"#,
        ],
        1,
    ),
    (
        r##"{"type":"object","additionalProperties":false,"required":["id","lines"],
            "definitions":{"money":{"type":"object","required":["currency"],"properties":{
                "currency":{"enum":["EUR","USD"]},"cents":{"type":"integer"}}}},
            "properties":{
                "id":{"type":"integer","minimum":1},
                "code":{"type":"string","pattern":"^[A-Z]{2}-[0-9]+$","maxLength":9},
                "day":{"type":"string","format":"date"},
                "state":{"oneOf":[{"type":"null"},{"enum":["open","paid"]}]},
                "rating":{"type":"number","maximum":5},
                "lines":{"type":"array","items":{"type":"object","properties":{
                    "sku":{"type":"string","minLength":1},"price":{"$ref":"#/definitions/money"}}}},
                "more":{"type":"object","additionalProperties":{"type":["boolean","string"]}}}}"##,
        true,
        &[
            r#"{"id":7,"lines":[{"sku":"a","price":{"currency":"EUR","cents":12}},{"sku":"b","x":[1,{}]}]}"#,
            r#" { "id" : 9.0 , "code" : "AB-12", "day":"2020-02-29", "state":"paid", "rating":4.5, "lines":[], "more":{"a":true,"b":"déjà vu","c":"x","d":"","e":false,
                "f":"1","g":"2","h":"3","i":"4","j":"5","k":"6"} } "#,
            r#"{"id":7,"state":null,"lines":[]}"#,
        ],
        0,
    ),
    (
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
            "patternProperties":{"^x-":{"type":"integer"}},"minProperties":1,"maxProperties":9,
            "properties":{"a":{"not":{"type":"string"}},"b":{"prefixItems":[{"const":1}],"items":{"multipleOf":0.5}},
                "c":{"if":{"type":"object"},"then":{"required":["k"]}},
                "d":{"oneOf":[{"type":"integer","minimum":5},{"type":"integer","maximum":4}]}},
            "propertyNames":{"maxLength":8}}"#,
        false,
        &[
            r#"{"a":1,"b":[1,2.5],"c":{"k":0},"d":3,"x-1":4,"e":"f"}"#,
            r#"{"a":null,"d":7}"#,
        ],
        0,
    ),
];

#[test]
fn valid_records_allocate_nothing() {
    for (schema, is_fast, records, on_tape) in CASES {
        let parsed = JsonSchema::parse(schema, &[], ParseMode::New).expect("schema");
        let fast = parsed.compile().expect("compiles");
        assert_eq!(fast.is_fast(), *is_fast, "{schema}");
        let tape = parsed.compile().expect("compiles").over_the_tape();
        for (way, validator, most) in [("one pass", &fast, 0), ("tape", &tape, *on_tape)] {
            let most = if *is_fast { most } else { *on_tape };
            let mut scratch = JsonScratch::default();
            let options = ValidationOptions::default();
            for round in 0..3 {
                for record in *records {
                    let before = counting::allocations();
                    let verdict = validator.validate(record.as_bytes(), options, &mut scratch);
                    let allocations = counting::allocations() - before;
                    assert_eq!(verdict, Ok(()), "{way}: {record}");
                    // The first round warms the buffers.
                    assert!(
                        round == 0 || allocations <= most,
                        "{way}: {allocations} for {record}"
                    );
                }
            }
        }
    }
}
