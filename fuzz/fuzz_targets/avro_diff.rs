//! Invariant: the validator accepts what apache-avro's reader accepts, and nothing else, but for the
//! classes of [`is_stricter`].
#![no_main]

#[path = "support/avro_schema.rs"]
mod avro_schema;

use std::sync::Once;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use libfuzzer_sys::fuzz_target;
use serde_formats::{
    ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions, Violation, ViolationReason,
};

static LIMIT: Once = Once::new();

/// Why ours may refuse what apache-avro reads.
fn is_stricter(violation: &Violation) -> bool {
    let detail = &violation.detail;
    match violation.reason {
        // Items of zero bytes and nesting have no limit there.
        ViolationReason::LimitExceeded => true,
        // Sizes of blocks are not looked at there; they are in Java when a reader skips.
        ViolationReason::InvalidBlock => detail.starts_with("block size"),
        // Where a payload ends inside one of these, null is read there; Java refuses it.
        ViolationReason::Truncated => ["boolean", "string", "union"]
            .iter()
            .any(|what| detail.ends_with(&format!(" inside {what}"))),
        // Bits beyond the type's are dropped there; Java refuses more bytes than the type needs.
        ViolationReason::Malformed => detail.contains("found a varint of more than"),
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    // So that a count of nulls is no reason to take gigabytes.
    LIMIT.call_once(|| {
        apache_avro::util::max_allocation_bytes(1 << 20);
    });
    let Some((schema, payload)) = avro_schema::split(data) else {
        return;
    };
    // The base type decides for us; apache-avro reads logical types.
    let text = avro_schema::schema(schema, false).to_string();
    let (Ok(ours), Ok(theirs)) = (
        ParsedSchema::parse(SchemaFormat::Avro, &text, &[], ParseMode::Existing),
        Schema::parse_str(&text),
    ) else {
        return;
    };
    let compiled = ours.compile().expect("what parses compiles");
    let message = compiled.message(&[0]).expect("the schema has a message");
    let options = ValidationOptions::default();
    let verdict = compiled.validate(message, payload, options, &mut Scratch::default());
    if verdict.as_ref().is_err_and(is_stricter) {
        return;
    }
    let Ok(reader) = GenericDatumReader::builder(&theirs).build() else {
        return;
    };
    let mut rest = payload;
    let read = reader.read_value(&mut rest);
    let is_read = read.is_ok() && rest.is_empty();
    assert_eq!(
        verdict.is_ok(),
        is_read,
        "{verdict:?} {read:?} {text} {payload:02x?}"
    );
});
