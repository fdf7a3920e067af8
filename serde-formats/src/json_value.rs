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
