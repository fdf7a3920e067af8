//! Invariant: decoding to JSON is as strict as the validator; what decodes encodes again to a payload
//! of the same value, no longer than the first, and from then on to the same bytes.
#![no_main]

#[path = "support/avro_schema.rs"]
mod avro_schema;

use libfuzzer_sys::fuzz_target;
use serde_formats::{
    ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions, ViolationReason, json_value,
};

fuzz_target!(|data: &[u8]| {
    let Some((schema, payload)) = avro_schema::split(data) else {
        return;
    };
    let text = avro_schema::schema(schema, true).to_string();
    let Ok(schema) = ParsedSchema::parse(SchemaFormat::Avro, &text, &[], ParseMode::Existing)
    else {
        return;
    };
    let compiled = schema.compile().expect("what parses compiles");
    let message = compiled.message(&[0]).expect("the schema has a message");
    let options = ValidationOptions::default();
    let verdict = compiled.validate(message, payload, options, &mut Scratch::default());
    let value = match json_value::decode(&schema, &[0], payload) {
        Ok(value) => value,
        // JSON stops at fewer levels.
        Err(violation) if violation.reason == ViolationReason::LimitExceeded => return,
        Err(violation) => {
            assert_eq!(verdict, Err(violation), "{text}");
            return;
        }
    };
    assert_eq!(verdict, Ok(()), "{text}");
    match json_value::decode_with_spans(&schema, &[0], payload) {
        Ok(decoded) => assert_eq!(decoded.value, value, "{text}"),
        // The bytes of that many values are not told.
        Err(violation) => assert_eq!(violation.reason, ViolationReason::LimitExceeded, "{text}"),
    }
    let encoded = json_value::encode(&schema, &[0], &value);
    let encoded = encoded.unwrap_or_else(|error| panic!("{error}: {text} {value}"));
    assert!(encoded.len() <= payload.len(), "{text} {value}");
    let again = json_value::decode(&schema, &[0], &encoded).expect("what we encode decodes");
    assert_eq!(again, value, "{text}");
    let once_more = json_value::encode(&schema, &[0], &again).expect("and encodes");
    assert_eq!(once_more, encoded, "{text} {value}");
});
