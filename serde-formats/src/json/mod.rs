//! JSON Schema: texts, compatibility, and payloads.
//!
//! | file | what it answers |
//! |---|---|
//! | `text.rs` | JSON text kept as written: canonical and normalised printing |
//! | `parse.rs` | [`JsonSchema`]: does this text parse, what is it called |
//! | `documents.rs` | the schema and its references, ready to resolve `$ref` |
//! | `load.rs`, `keywords.rs`, `model.rs` | the object model the reference compares |
//! | `patterns.rs`, `patterns/` | how large the regular expressions of a schema become, and what matching them costs |
//! | `compatibility/` | every difference between two models |
//! | `witness/` | a record that shows a difference |
//! | `tape.rs`, `tape/`, `node.rs`, `lex.rs` | a payload's JSON as positions, walked in place |
//! | `fast/` | schemas of common keywords, judged while the payload is read once |
//! | `spans.rs` | which bytes say which value |
//! | `validate.rs`, `explain.rs` | [`JsonValidator`]: do these bytes obey the schema, and if not, why |
//!
//! Read `parse.rs` first.

mod canonical;
mod compatibility;
#[cfg(test)]
mod conformance;
mod documents;
mod explain;
mod fast;
mod keywords;
mod lex;
mod load;
mod model;
mod node;
mod parse;
mod patterns;
mod spans;
mod tags;
mod tape;
mod text;
mod validate;
mod witness;

use serde_json::Value;

pub use canonical::canonical_text;
pub use compatibility::{caveats, compare};
pub use parse::JsonSchema;
pub use validate::{JsonScratch, JsonValidator};
pub use witness::evidence;

use crate::json_value::{Decoded, EncodeError};
use crate::validator::{ValidationOptions, Violation, ViolationReason};

/// Decodes a payload: any JSON text is its own decoded form, whatever the schema.
///
/// # Errors
/// When the payload is not one JSON value.
pub fn decode_json(_schema: &JsonSchema, payload: &[u8]) -> Result<Value, Violation> {
    let text = validate::check_syntax(payload, &mut tape::Tape::default())?;
    serde_json::from_str(text).map_err(|error| Violation {
        reason: ViolationReason::Malformed,
        path: "$".to_owned(),
        byte_offset: 0,
        detail: format!("payload is not JSON: line {}", error.line()),
    })
}

/// Encodes a value compactly after checking it against the schema.
///
/// # Errors
/// When the schema cannot be executed or the value does not fit it.
pub fn encode_json(schema: &JsonSchema, value: &Value) -> Result<Vec<u8>, EncodeError> {
    let at_root = |message: String| EncodeError {
        path: "$".to_owned(),
        message,
    };
    let payload = serde_json::to_vec(value).map_err(|error| at_root(error.to_string()))?;
    let validator = schema.compile().map_err(|error| at_root(error.0))?;
    validator
        .validate(
            &payload,
            ValidationOptions::default(),
            &mut JsonScratch::default(),
        )
        .map_err(|violation| EncodeError {
            path: violation.path,
            message: violation.detail,
        })?;
    Ok(payload)
}

/// Decodes as [`decode_json`] does, with the bytes of each value.
///
/// # Errors
/// When the payload is not one JSON value.
pub fn decode_with_spans(schema: &JsonSchema, payload: &[u8]) -> Result<Decoded, Violation> {
    let value = decode_json(schema, payload)?;
    Ok(Decoded {
        value,
        spans: spans::spans(payload)?,
    })
}
