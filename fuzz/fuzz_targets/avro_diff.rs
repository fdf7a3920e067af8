//! Invariant: the validator accepts what apache-avro's reader accepts, and nothing else, but for the
//! classes of [`is_stricter`].
#![no_main]

#[path = "support/avro_schema.rs"]
mod avro_schema;

use std::collections::HashSet;
use std::sync::Once;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use libfuzzer_sys::fuzz_target;
use serde_formats::{
    ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions, Violation, ViolationReason,
};
use serde_json::Value;

static LIMIT: Once = Once::new();

/// Longest payload that apache-avro is given: it calls itself for each level of the data, a level may be
/// one byte, and 2,000 of them take more than a stack of 8 MiB. Ours has no such limit and judges all.
const PEER_BYTES_MAX: usize = 256;

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

/// Whether some record holds itself without an end. apache-avro reads what is missing at the end of a
/// payload as null, so that it never ends there.
fn is_endless(schema: &Value) -> bool {
    let mut records = Vec::new();
    collect(schema, &mut records);
    let mut ending = HashSet::new();
    loop {
        let before = ending.len();
        for record in &records {
            let mut fields = record["fields"].as_array().into_iter().flatten();
            if fields.all(|field| ends(&field["type"], &ending)) {
                ending.insert(record["name"].as_str().unwrap_or_default());
            }
        }
        if ending.len() == before {
            return before < records.len();
        }
    }
}

fn collect<'v>(schema: &'v Value, records: &mut Vec<&'v Value>) {
    if schema["type"] == "record" {
        records.push(schema);
    }
    for inner in [&schema["items"], &schema["values"]] {
        if !inner.is_null() {
            collect(inner, records);
        }
    }
    for field in schema["fields"].as_array().into_iter().flatten() {
        collect(&field["type"], records);
    }
    for branch in schema.as_array().into_iter().flatten() {
        collect(branch, records);
    }
}

/// Whether a type has a value with an end when these records do.
fn ends(ty: &Value, ending: &HashSet<&str>) -> bool {
    match ty {
        Value::Array(branches) => branches.iter().any(|branch| ends(branch, ending)),
        // Records, and nothing else, are named so.
        Value::String(name) => !name.starts_with('R') || ending.contains(name.as_str()),
        _ => ty["type"] != "record" || ty["name"].as_str().is_some_and(|n| ending.contains(n)),
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
    let schema = avro_schema::schema(schema, false);
    let text = schema.to_string();
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
    if verdict.as_ref().is_err_and(is_stricter)
        || payload.len() > PEER_BYTES_MAX
        || is_endless(&schema)
    {
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
