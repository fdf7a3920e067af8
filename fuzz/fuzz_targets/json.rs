//! Invariant: the validator never panics, and its verdict is the same a second time.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_formats::{
    CompiledSchema, ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions,
};

static SCHEMA: LazyLock<CompiledSchema> = LazyLock::new(|| {
    let text = r##"{"type":"object","properties":{"a":{"type":"integer","minimum":1},"b":{"oneOf":[{"type":"null"},{"$ref":"#"}]},"c":{"type":"array","items":{"enum":["x",1,null]},"uniqueItems":true},"d":{"type":"string","pattern":"^a+$","maxLength":5}},"required":["a"],"additionalProperties":false}"##;
    ParsedSchema::parse(SchemaFormat::Json, text, &[], ParseMode::New)
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
