//! Whether payload bytes obey a schema, to the last byte.
//!
//! A [`CompiledSchema`] is immutable and shared by every connection; per-call memory lives in
//! [`Scratch`], which is reused, so a valid record costs no allocation once it is warm.
//! Framing is not seen here: that is [`crate::wire`].

use std::fmt;

use thiserror::Error;

use crate::avro::AvroValidator;
use crate::json::{JsonScratch, JsonValidator};
use crate::protobuf::{ProtobufScratch, ProtobufValidator};
use crate::schema::SchemaFormat;

/// How deep a payload is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValidationLevel {
    /// The payload decodes; trailing bytes and unknown fields pass.
    Decode,
    /// Also: every byte consumed, unknown fields, enum, UTF-8, boolean and union ranges.
    Full,
}

/// What to do with Protobuf fields the writer schema does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// A field unknown to the schema the id names is drift: refuse it.
    Reject,
    /// For relays that carry unknown fields through.
    Allow,
}

/// What to do with Avro's logical types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogicalTypes {
    /// The base type decides, as for Apache's decoder.
    Ignore,
    /// At full level a uuid is the text of one, a decimal has no more digits than its precision
    /// and at least one byte, a time lies within a day, and a date or timestamp in the years 1 to
    /// 9999.
    Check,
}

/// Per-topic choices; `Copy` so that one compiled schema serves all topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidationOptions {
    /// How deep to look.
    pub level: ValidationLevel,
    /// Protobuf only.
    pub unknown_fields: UnknownFields,
    /// Avro only.
    pub logical_types: LogicalTypes,
}

impl Default for ValidationOptions {
    fn default() -> Self {
        Self {
            level: ValidationLevel::Full,
            unknown_fields: UnknownFields::Reject,
            logical_types: LogicalTypes::Ignore,
        }
    }
}

/// Which message of a schema a payload is. Avro and JSON have one; Protobuf one per message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub u32);

/// The closed set of reasons a payload is refused. Each has a stable `ASY-` code (see
/// `docs/reference/rejection-codes.md`); the number never changes meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViolationReason {
    /// The payload ends inside a value.
    Truncated,
    /// The bytes at this place do not decode as the type the schema gives (bad varint, bad tag,
    /// bad syntax, out-of-range number).
    Malformed,
    /// Bytes are left after the last value.
    TrailingBytes,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// A boolean byte is neither 0 nor 1.
    InvalidBoolean,
    /// An enum index or number is outside the schema's symbols.
    EnumOutOfRange,
    /// A union branch index is outside the schema's branches.
    UnionOutOfRange,
    /// A block or element count is negative, does not match its size, or cannot fit.
    InvalidBlock,
    /// A logical type's rule is broken (uuid, decimal, date range).
    LogicalType,
    /// A field the schema does not declare.
    UnknownField,
    /// A field arrives with another wire type than the schema gives.
    WireType,
    /// A required field or property is missing.
    MissingRequired,
    /// A JSON Schema constraint other than `required` fails.
    Constraint,
    /// The payload nests deeper, or holds more items, than the limit.
    LimitExceeded,
}

/// Why and where a payload was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The reason.
    pub reason: ViolationReason,
    /// Where in the decoded value: `$.lines[2].qty`.
    pub path: String,
    /// Offset in the payload (framing excluded) of the first byte of the offending value.
    pub byte_offset: usize,
    /// What was expected and what was found; never a payload value. Lower-case, no full stop.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at {} byte {}: {}",
            self.path, self.byte_offset, self.detail
        )
    }
}

/// Why a stored schema cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct CompileError(pub String);

/// Memory reused from record to record. One per worker, never shared.
#[derive(Debug, Default)]
pub struct Scratch {
    /// For JSON Schema.
    pub json: JsonScratch,
    /// For Protobuf.
    pub protobuf: ProtobufScratch,
}

/// A schema ready to judge payloads.
#[derive(Debug)]
pub enum CompiledSchema {
    /// Apache Avro.
    Avro(AvroValidator),
    /// JSON Schema.
    Json(Box<JsonValidator>),
    /// Protocol Buffers.
    Protobuf(ProtobufValidator),
}

impl From<AvroValidator> for CompiledSchema {
    fn from(validator: AvroValidator) -> Self {
        Self::Avro(validator)
    }
}

impl From<JsonValidator> for CompiledSchema {
    fn from(validator: JsonValidator) -> Self {
        Self::Json(Box::new(validator))
    }
}

impl From<ProtobufValidator> for CompiledSchema {
    fn from(validator: ProtobufValidator) -> Self {
        Self::Protobuf(validator)
    }
}

impl CompiledSchema {
    /// The schema language.
    #[must_use]
    pub const fn format(&self) -> SchemaFormat {
        match self {
            Self::Avro(_) => SchemaFormat::Avro,
            Self::Json(_) => SchemaFormat::Json,
            Self::Protobuf(_) => SchemaFormat::Protobuf,
        }
    }

    /// The message at a Protobuf index path (`[0]` is the first top-level message); `None` when
    /// the schema has no such message. Avro and JSON answer their one message for any path.
    #[must_use]
    pub fn message(&self, indexes: &[i32]) -> Option<MessageId> {
        match self {
            Self::Avro(_) | Self::Json(_) => Some(MessageId(0)),
            Self::Protobuf(validator) => validator.message(indexes),
        }
    }

    /// The record name of a message, as record-name strategies want it.
    #[must_use]
    pub fn record_name(&self, message: MessageId) -> Option<&str> {
        match self {
            Self::Avro(validator) => validator.record_name(),
            Self::Json(validator) => validator.record_name(),
            Self::Protobuf(validator) => validator.record_name(message),
        }
    }

    /// Judges one payload (framing removed).
    ///
    /// # Errors
    /// The first violation found, with its path and byte offset.
    pub fn validate(
        &self,
        message: MessageId,
        payload: &[u8],
        options: ValidationOptions,
        scratch: &mut Scratch,
    ) -> Result<(), Violation> {
        match self {
            Self::Avro(validator) => validator.validate(payload, options),
            Self::Json(validator) => validator.validate(payload, options, &mut scratch.json),
            Self::Protobuf(validator) => {
                validator.validate(message, payload, options, &mut scratch.protobuf)
            }
        }
    }
}
