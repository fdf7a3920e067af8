//! Payload bytes to JSON and back, in Protobuf's JSON mapping with field names as declared.
//!
//! Off the produce path: values are built. The walker judges first and says where; what it let
//! pass is then read as a tree.

use serde_json::Value;

use super::from_json::Builder;
use super::to_json::Printer;
use super::types::Types;
use super::values::{self, Message, Unnamed};
use super::{ProtobufSchema, ProtobufScratch};
use crate::json_value::{Decoded, EncodeError};
use crate::validator::{
    MessageId, UnknownFields, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// Decodes a payload to JSON; fields without presence are written at their default, unknown ones
/// left out.
///
/// # Errors
/// When the schema has no message at `indexes`, or the payload does not decode as it.
pub fn decode_json(
    schema: &ProtobufSchema,
    indexes: &[i32],
    payload: &[u8],
) -> Result<Value, Violation> {
    decode(schema, indexes, payload, false).map(|decoded| decoded.value)
}

/// Decodes as [`decode_json`] does, with the bytes of each value.
///
/// A field of many values reaches from its first to its last; a message that came in parts has an
/// entry a part; what a later value replaced has none.
///
/// # Errors
/// As [`decode_json`].
pub fn decode_with_spans(
    schema: &ProtobufSchema,
    indexes: &[i32],
    payload: &[u8],
) -> Result<Decoded, Violation> {
    decode(schema, indexes, payload, true)
}

fn decode(
    schema: &ProtobufSchema,
    indexes: &[i32],
    payload: &[u8],
    with_spans: bool,
) -> Result<Decoded, Violation> {
    let types = schema.types().map_err(malformed)?;
    let (id, _) = types
        .at_indexes(indexes)
        .ok_or_else(|| malformed(no_message(indexes)))?;
    let message = read(types, id, payload, Unnamed::Keep)?;
    let mut printer = Printer::new(types, payload, with_spans);
    let value = printer.message(id.0, &message)?;
    Ok(Decoded {
        value,
        spans: printer.into_spans(),
    })
}

/// Judges a payload as a runtime does, and reads it.
pub(super) fn read(
    types: &Types,
    id: MessageId,
    payload: &[u8],
    unnamed: Unnamed,
) -> Result<Message, Violation> {
    let options = ValidationOptions {
        level: ValidationLevel::Decode,
        unknown_fields: UnknownFields::Allow,
    };
    let mut scratch = ProtobufScratch::default();
    types
        .validator
        .validate(id, payload, options, &mut scratch)?;
    values::read(types, id.0, payload, 0..payload.len(), unnamed)
        .ok_or_else(|| malformed("the payload does not decode".to_owned()))
}

/// Encodes a JSON value; field names as declared and in camel case are both taken.
///
/// # Errors
/// When the schema has no message at `indexes`, the value does not fit it, or a required field
/// is missing.
pub fn encode_json(
    schema: &ProtobufSchema,
    indexes: &[i32],
    value: &Value,
) -> Result<Vec<u8>, EncodeError> {
    let at_root = |message: String| EncodeError {
        path: "$".to_owned(),
        message,
    };
    let types = schema.types().map_err(at_root)?;
    let (id, _) = types
        .at_indexes(indexes)
        .ok_or_else(|| at_root(no_message(indexes)))?;
    let message = Builder::new(types).message(id.0, value)?;
    let bytes = values::write(types, id.0, &message);
    let options = ValidationOptions::default();
    let mut scratch = ProtobufScratch::default();
    let judged = types.validator.validate(id, &bytes, options, &mut scratch);
    judged.map_err(|violation| EncodeError {
        path: violation.path,
        message: violation.detail,
    })?;
    Ok(bytes)
}

fn malformed(detail: String) -> Violation {
    Violation {
        reason: ViolationReason::Malformed,
        path: "$".to_owned(),
        byte_offset: 0,
        detail,
    }
}

fn no_message(indexes: &[i32]) -> String {
    format!("the schema has no message at {indexes:?}")
}
