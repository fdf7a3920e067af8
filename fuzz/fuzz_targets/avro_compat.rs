//! Invariant: two schemas are compared in bounded time; a schema reads what it wrote itself; a
//! witness is a valid record of the writer.
#![no_main]

#[path = "support/avro_schema.rs"]
mod avro_schema;

use libfuzzer_sys::fuzz_target;
use serde_formats::compatibility::{CompatibilityPolicy, compare};
use serde_formats::witness::{Evidence, evidence};
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions};

/// Differences whose witness is looked for.
const WITNESSES: usize = 4;

fn check(reader: &ParsedSchema, writer: &ParsedSchema) {
    for difference in compare(reader, writer, CompatibilityPolicy::Strict)
        .iter()
        .take(WITNESSES)
    {
        let Evidence::Breaks(witness) = evidence(reader, writer, difference) else {
            continue;
        };
        let compiled = writer.compile().expect("what parses compiles");
        let message = compiled.message(&[0]).expect("the schema has a message");
        let options = ValidationOptions::default();
        let verdict =
            compiled.validate(message, &witness.payload, options, &mut Scratch::default());
        assert_eq!(verdict, Ok(()), "{difference:?} {witness:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    // Either two texts, or bytes of which two schemas are made.
    let texts = match data.split_first() {
        Some((b't', rest)) => {
            let text = String::from_utf8_lossy(rest);
            let (old, new) = text.split_once('\n').unwrap_or((&text, &text));
            [old.to_owned(), new.to_owned()]
        }
        Some((_, rest)) => match avro_schema::split(rest) {
            Some((old, new)) => [old, new].map(|part| avro_schema::schema(part, true).to_string()),
            None => return,
        },
        None => return,
    };
    let parsed = texts
        .each_ref()
        .map(|text| ParsedSchema::parse(SchemaFormat::Avro, text, &[], ParseMode::Existing));
    for schema in parsed.iter().flatten() {
        for difference in compare(schema, schema, CompatibilityPolicy::Strict) {
            // The reference fails where an alias is the name of another field.
            assert_eq!(
                difference.kind, "UNEXPECTED_EXCEPTION",
                "{difference:?} {texts:?}"
            );
        }
    }
    if let [Ok(old), Ok(new)] = &parsed {
        check(new, old);
        check(old, new);
    }
});
