//! A parsed schema of any format: the one type the registry stores and compares.
//!
//! Knows nothing of subjects, versions or ids beyond carrying those of its references.
//! Next: the format folders, each of which defines the variant's content.

use std::fmt;

use thiserror::Error;

use crate::avro::AvroSchema;
use crate::json::JsonSchema;
use crate::protobuf::ProtobufSchema;
use crate::validator::{CompileError, CompiledSchema};

/// The schema language, spelled as Confluent's `schemaType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaFormat {
    /// Apache Avro.
    Avro,
    /// JSON Schema, draft-04 to 2020-12.
    Json,
    /// Protocol Buffers, proto2 and proto3.
    Protobuf,
}

impl SchemaFormat {
    /// The name used in HTTP bodies and in storage: `AVRO`, `JSON`, `PROTOBUF`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }

    /// The format with this exact name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "AVRO" => Some(Self::Avro),
            "JSON" => Some(Self::Json),
            "PROTOBUF" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

impl fmt::Display for SchemaFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reference whose schema text has been found.
///
/// Callers pass the transitive closure depth first, dependencies before dependents, first
/// occurrence of a name only; parsing fetches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedReference {
    /// The name the referring schema uses: Avro full name, JSON `$ref` URI, Protobuf import path.
    pub name: String,
    /// Subject the referenced schema is registered under.
    pub subject: String,
    /// Version of that subject, already resolved (never -1).
    pub version: i32,
    /// The referenced schema's stored text.
    pub schema: String,
}

/// How strict parsing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseMode {
    /// A schema being registered now: names and defaults are checked.
    New,
    /// A schema already accepted once (stored, or imported): what the reference tolerates passes.
    Existing,
}

/// Which text of a schema is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// The form stored and hashed: the reference's canonical string.
    Canonical,
    /// The form stored when `normalize=true`.
    Normalized,
    /// Avro only: references inlined. Other formats answer the canonical form.
    Resolved,
    /// Protobuf only: base64 of the `FileDescriptorProto`. Other formats answer the canonical form.
    Serialized,
    /// Protobuf only: custom options and extensions dropped. Others answer the canonical form.
    IgnoreExtensions,
}

/// Why a text is not a schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, naming the offending part; lower-case, no full stop.
    pub message: String,
    /// 1-based line and column in the text, where known.
    pub position: Option<(u32, u32)>,
}

impl ParseError {
    /// An error without a position.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            position: None,
        }
    }
}

/// A schema that parsed, with what is needed to print, compare, compile and convert with it.
#[derive(Debug, Clone)]
pub enum ParsedSchema {
    /// Apache Avro.
    Avro(AvroSchema),
    /// JSON Schema.
    Json(JsonSchema),
    /// Protocol Buffers.
    Protobuf(ProtobufSchema),
}

impl ParsedSchema {
    /// Parses `text` as `format`, resolving names against `references`.
    ///
    /// # Errors
    /// When the text is not a schema of that format, a name does not resolve, or a limit on size,
    /// depth or number of types is passed.
    pub fn parse(
        format: SchemaFormat,
        text: &str,
        references: &[ResolvedReference],
        mode: ParseMode,
    ) -> Result<Self, ParseError> {
        match format {
            SchemaFormat::Avro => AvroSchema::parse(text, references, mode).map(Self::Avro),
            SchemaFormat::Json => JsonSchema::parse(text, references, mode).map(Self::Json),
            SchemaFormat::Protobuf => {
                ProtobufSchema::parse(text, references, mode).map(Self::Protobuf)
            }
        }
    }

    /// The checks that the reference makes only where `validateFields` is set: a Protobuf schema
    /// must be one that `protoc` takes. The other formats are checked when parsed.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check_fields(&self) -> Result<(), ParseError> {
        match self {
            Self::Avro(_) | Self::Json(_) => Ok(()),
            Self::Protobuf(schema) => schema.check_fields(),
        }
    }

    /// The schema language.
    #[must_use]
    pub const fn format(&self) -> SchemaFormat {
        match self {
            Self::Avro(_) => SchemaFormat::Avro,
            Self::Json(_) => SchemaFormat::Json,
            Self::Protobuf(_) => SchemaFormat::Protobuf,
        }
    }

    /// The text in the wanted form, byte for byte as Confluent Schema Registry prints it.
    #[must_use]
    pub fn text(&self, form: TextForm) -> String {
        match self {
            Self::Avro(schema) => schema.text(form),
            Self::Json(schema) => schema.text(form),
            Self::Protobuf(schema) => schema.text(form),
        }
    }

    /// The name that record-name strategies use: Avro full name of a root record, JSON `title`,
    /// full name of the first Protobuf message.
    #[must_use]
    pub fn record_name(&self) -> Option<String> {
        match self {
            Self::Avro(schema) => schema.record_name(),
            Self::Json(schema) => schema.record_name(),
            Self::Protobuf(schema) => schema.record_name(),
        }
    }

    /// Whether the reference would take both for the same schema on lookup (metadata and
    /// references aside): Avro structural equality plus doc and aliases, canonical text otherwise.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Avro(a), Self::Avro(b)) => a.is_equivalent(b),
            (Self::Json(a), Self::Json(b)) => a.is_equivalent(b),
            (Self::Protobuf(a), Self::Protobuf(b)) => a.is_equivalent(b),
            _ => false,
        }
    }

    /// Compiles the validator: a flat program, shared, allocation-free on valid payloads.
    ///
    /// # Errors
    /// When the schema can be stored but not executed (for example a regular expression past the
    /// size limit).
    pub fn compile(&self) -> Result<CompiledSchema, CompileError> {
        match self {
            Self::Avro(schema) => schema.compile().map(CompiledSchema::from),
            Self::Json(schema) => schema.compile().map(CompiledSchema::from),
            Self::Protobuf(schema) => schema.compile().map(CompiledSchema::from),
        }
    }
}
