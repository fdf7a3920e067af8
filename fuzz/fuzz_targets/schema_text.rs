//! Invariant: any text parses or is refused, in every format; what parses prints and parses again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, TextForm};

fuzz_target!(|text: &str| {
    for format in [SchemaFormat::Avro, SchemaFormat::Json, SchemaFormat::Protobuf] {
        if let Ok(schema) = ParsedSchema::parse(format, text, &[], ParseMode::Existing) {
            let canonical = schema.text(TextForm::Canonical);
            ParsedSchema::parse(format, &canonical, &[], ParseMode::Existing)
                .expect("the canonical text parses");
        }
    }
});
