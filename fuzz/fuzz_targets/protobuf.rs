//! Invariant: the validator never panics, and its verdict is the same a second time.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_formats::{
    CompiledSchema, ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions,
};

static SCHEMA: LazyLock<CompiledSchema> = LazyLock::new(|| {
    let text = "syntax = \"proto3\"; message M { int64 a = 1; string b = 2; repeated int32 c = 3; map<string, M> d = 4; oneof u { bool e = 5; double f = 6; } M g = 7; enum E { Z = 0; } E h = 8; bytes i = 9; }";
    ParsedSchema::parse(SchemaFormat::Protobuf, text, &[], ParseMode::New)
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
