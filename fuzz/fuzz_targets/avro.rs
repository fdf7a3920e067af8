//! Invariant: the validator never panics, and its verdict is the same a second time.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_formats::{
    CompiledSchema, ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions,
};

static SCHEMA: LazyLock<CompiledSchema> = LazyLock::new(|| {
    let text = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":["null","string","R"]},{"name":"c","type":{"type":"array","items":{"type":"map","values":"double"}}},{"name":"d","type":{"type":"enum","name":"E","symbols":["X","Y"]}},{"name":"e","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"f","type":{"type":"string","logicalType":"uuid"}},{"name":"g","type":"boolean"}]}"#;
    ParsedSchema::parse(SchemaFormat::Avro, text, &[], ParseMode::New)
        .expect("the schema parses")
        .compile()
        .expect("the schema compiles")
});

fuzz_target!(|data: &[u8]| {
    let message = SCHEMA.message(&[0]).expect("the schema has a message");
    let mut scratch = Scratch::default();
    let first = SCHEMA.validate(message, data, ValidationOptions::default(), &mut scratch);
    let second = SCHEMA.validate(message, data, ValidationOptions::default(), &mut scratch);
    assert_eq!(first, second);
    if let Err(violation) = first {
        assert!(violation.byte_offset <= data.len());
    }
});
