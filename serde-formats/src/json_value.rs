//! Payload bytes to JSON and JSON to payload bytes, for the CLI, REST and people.
//!
//! Not on the produce path: values are built here.

use serde_json::Value;
use thiserror::Error;

use crate::schema::ParsedSchema;
use crate::validator::Violation;

/// Why a JSON value cannot be written under a schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("at {path}: {message}")]
pub struct EncodeError {
    /// Where in the JSON value: `$.lines[2].qty`.
    pub path: String,
    /// What is wrong; lower-case, no full stop.
    pub message: String,
}

/// Decodes a payload (framing removed) to JSON. `indexes` is the Protobuf message path, ignored
/// by the other formats. Avro unions appear as in Avro's JSON encoding (`{"string": "x"}`).
///
/// # Errors
/// When the payload does not decode.
pub fn decode(schema: &ParsedSchema, indexes: &[i32], payload: &[u8]) -> Result<Value, Violation> {
    match schema {
        ParsedSchema::Avro(schema) => crate::avro::decode_json(schema, payload),
        ParsedSchema::Json(schema) => crate::json::decode_json(schema, payload),
        ParsedSchema::Protobuf(schema) => crate::protobuf::decode_json(schema, indexes, payload),
    }
}

/// Encodes a JSON value as a payload (without framing). For Avro both Avro's JSON encoding and
/// plain JSON (a union branch chosen by the value) are taken.
///
/// # Errors
/// When the value does not fit the schema.
pub fn encode(
    schema: &ParsedSchema,
    indexes: &[i32],
    value: &Value,
) -> Result<Vec<u8>, EncodeError> {
    match schema {
        ParsedSchema::Avro(schema) => crate::avro::encode_json(schema, value),
        ParsedSchema::Json(schema) => crate::json::encode_json(schema, value),
        ParsedSchema::Protobuf(schema) => crate::protobuf::encode_json(schema, indexes, value),
    }
}

/// Decodes a payload as [`decode`] does, and says which bytes each value came from.
///
/// # Errors
/// When the payload does not decode.
pub fn decode_with_spans(
    schema: &ParsedSchema,
    indexes: &[i32],
    payload: &[u8],
) -> Result<Decoded, Violation> {
    match schema {
        ParsedSchema::Avro(schema) => crate::avro::decode_with_spans(schema, payload),
        ParsedSchema::Json(schema) => crate::json::decode_with_spans(schema, payload),
        ParsedSchema::Protobuf(schema) => {
            crate::protobuf::decode_with_spans(schema, indexes, payload)
        }
    }
}

/// A decoded payload and where each value stands in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What [`decode`] answers.
    pub value: Value,
    /// One entry a value, in the order of the bytes; a container comes before what it holds.
    pub spans: Vec<FieldSpan>,
}

/// Which bytes of a payload say a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSpan {
    /// Where in the decoded value: `$.lines[2].qty`.
    pub path: String,
    /// Offset in the payload of the value's first byte, its Protobuf tag or JSON name not counted.
    pub start: usize,
    /// Offset after its last byte; equal to `start` for a value of no bytes.
    pub end: usize,
}
