//! Invariant: the validator never panics, and its verdict is the same a second time; what is JSON is
//! shown with bytes that lie inside it, and written and read again means the same.
use std::sync::LazyLock;

use serde_formats::{
    CompiledSchema, ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions, json_value,
};

const TEXT: &str = r##"{"type":"object","properties":{"a":{"type":"integer","minimum":1},"b":{"oneOf":[{"type":"null"},{"$ref":"#"}]},"c":{"type":"array","items":{"enum":["x",1,null]},"uniqueItems":true},"d":{"type":"string","pattern":"^a+$","maxLength":5}},"required":["a"],"additionalProperties":false}"##;

static PARSED: LazyLock<ParsedSchema> = LazyLock::new(|| {
    ParsedSchema::parse(SchemaFormat::Json, TEXT, &[], ParseMode::New).expect("the schema parses")
});
static SCHEMA: LazyLock<CompiledSchema> =
    LazyLock::new(|| PARSED.compile().expect("the schema compiles"));

/// Judges one input.
pub(crate) fn run(data: &[u8]) {
    let message = SCHEMA.message(&[0]).expect("the schema has a message");
    let mut scratch = Scratch::default();
    let first = SCHEMA.validate(message, data, ValidationOptions::default(), &mut scratch);
    let second = SCHEMA.validate(message, data, ValidationOptions::default(), &mut scratch);
    assert_eq!(first, second);
    if let Err(violation) = &first {
        assert!(violation.byte_offset <= data.len());
    }
    let Ok(decoded) = json_value::decode_with_spans(&PARSED, &[], data) else {
        assert!(first.is_err());
        return;
    };
    for span in &decoded.spans {
        assert!(span.start < span.end && span.end <= data.len());
    }
    let encoded = json_value::encode(&PARSED, &[], &decoded.value);
    assert_eq!(encoded.is_ok(), first.is_ok());
    if let Ok(payload) = encoded {
        assert_eq!(
            json_value::decode(&PARSED, &[], &payload),
            Ok(decoded.value)
        );
    }
}
