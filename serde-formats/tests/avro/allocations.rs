//! A valid record costs no allocation.

use serde_formats::{
    LogicalTypes, ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationLevel,
    ValidationOptions, json_value,
};

use crate::{counting, records};

/// A list nested through itself deeper than the small stack of the validator.
const LIST: &str = r#"{"type":"record","name":"Node","fields":[
{"name":"value","type":"int"},{"name":"next","type":["null","Node"]}]}"#;

fn check(name: &str, text: &str, record: &serde_json::Value) {
    let schema = ParsedSchema::parse(SchemaFormat::Avro, text, &[], ParseMode::New).expect(name);
    let payload = json_value::encode(&schema, &[0], record).expect(name);
    let compiled = schema.compile().expect(name);
    let message = compiled.message(&[0]).expect(name);
    for (level, logical_types) in [
        (ValidationLevel::Decode, LogicalTypes::Ignore),
        (ValidationLevel::Full, LogicalTypes::Ignore),
        (ValidationLevel::Full, LogicalTypes::Check),
    ] {
        let options = ValidationOptions {
            level,
            logical_types,
            ..ValidationOptions::default()
        };
        let before = counting::by_this_thread();
        let mut scratch = Scratch::default();
        for _ in 0..100 {
            let verdict = compiled.validate(message, &payload, options, &mut scratch);
            assert_eq!(verdict, Ok(()), "{name}");
        }
        let allocations = counting::by_this_thread() - before;
        assert_eq!(allocations, 0, "{name}, {level:?}, {logical_types:?}");
    }
}

#[test]
fn valid_avro_records_do_not_allocate() {
    for (name, text, record) in records::all() {
        check(name, text, &record);
    }
    let list = (0..100).fold(serde_json::Value::Null, |next, value| {
        let next = match next {
            serde_json::Value::Null => next,
            node => serde_json::json!({ "Node": node }),
        };
        serde_json::json!({ "value": value, "next": next })
    });
    check("list", LIST, &list);
}
