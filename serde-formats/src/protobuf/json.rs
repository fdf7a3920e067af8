//! Payload bytes to JSON and back, in Protobuf's JSON mapping with field names as declared.
//!
//! Off the produce path: values are built, through reflection.

use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use super::{ProtobufSchema, ProtobufScratch, ProtobufValidator};
use crate::json_value::{Decoded, EncodeError};
use crate::validator::{
    MessageId, UnknownFields, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// Decodes a payload to JSON; fields at their default are written, unknown ones left out.
///
/// # Errors
/// When the schema has no message at `indexes`, or the payload does not decode as it.
pub fn decode_json(
    schema: &ProtobufSchema,
    indexes: &[i32],
    payload: &[u8],
) -> Result<Value, Violation> {
    let malformed = |detail: String| Violation {
        reason: ViolationReason::Malformed,
        path: "$".to_owned(),
        byte_offset: 0,
        detail,
    };
    let (validator, message, descriptor) = find(schema, indexes).map_err(malformed)?;
    let options = ValidationOptions {
        level: ValidationLevel::Decode,
        unknown_fields: UnknownFields::Allow,
    };
    // The walker says where; reflection then builds.
    validator.validate(message, payload, options, &mut ProtobufScratch::default())?;
    let value = DynamicMessage::decode(descriptor, payload)
        .map_err(|error| malformed(error.to_string()))?;
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .use_proto_field_name(true);
    value
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| malformed(error.to_string()))
}

/// Decodes as [`decode_json`] does, with the bytes of each value.
///
/// # Errors
/// As [`decode_json`].
pub fn decode_with_spans(
    schema: &ProtobufSchema,
    indexes: &[i32],
    payload: &[u8],
) -> Result<Decoded, Violation> {
    Ok(Decoded {
        value: decode_json(schema, indexes, payload)?,
        spans: Vec::new(),
    })
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
    let (validator, message, descriptor) = find(schema, indexes).map_err(at_root)?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let built = DynamicMessage::deserialize_with_options(descriptor, value, &options)
        .map_err(|error| at_root(error.to_string()))?;
    let bytes = built.encode_to_vec();
    let options = ValidationOptions::default();
    let judged = validator.validate(message, &bytes, options, &mut ProtobufScratch::default());
    judged.map_err(|violation| EncodeError {
        path: violation.path,
        message: violation.detail,
    })?;
    Ok(bytes)
}

fn find(
    schema: &ProtobufSchema,
    indexes: &[i32],
) -> Result<(ProtobufValidator, MessageId, MessageDescriptor), String> {
    let validator = schema.compile().map_err(|error| error.to_string())?;
    let message = validator
        .message(indexes)
        .ok_or_else(|| format!("the schema has no message at {indexes:?}"))?;
    let name = validator.record_name(message).unwrap_or_default();
    let descriptor = schema
        .linked()?
        .pool
        .get_message_by_name(name)
        .ok_or_else(|| format!("message {name} is not linked"))?;
    Ok((validator, message, descriptor))
}
