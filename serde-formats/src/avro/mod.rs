//! Avro: what a schema says about bytes and about another schema.
//!
//! Own implementation, because Confluent's behaviour has to be met byte for byte: canonical text,
//! every compatibility difference with its place, and validation that builds no value.
//! Knows nothing of framing, ids or subjects.
//!
//! | file | what it does |
//! |---|---|
//! | `json_text` | the JSON of schema texts, as Jackson reads and prints it |
//! | `model`, `parse`, `defaults` | the parsed schema, and how text becomes one |
//! | `canonical` | canonical, normalised and parsing-canonical texts, fingerprints |
//! | `compatibility` | reader/writer differences |
//! | `program`, `validate`, `cursor` | payload validation: compiled form, machine, primitives |
//! | `logical` | what logical types ask of values |
//! | `json_value` | datums to JSON and back |
//! | `witness` | records that show a difference: |
//! | `places`, `smallest` | where it is, the smallest datum there |
//! | `resolve`, `reading` | what a reader does with two types, and with a datum |
//! | `caveats` | where the reference's verdict is not what its reader does |

use std::sync::Arc;

use serde_json::Value;

use crate::compatibility::Incompatibility;
use crate::json_value::{Decoded, EncodeError};
use crate::schema::{ParseError, ParseMode, ResolvedReference, TextForm};
use crate::validator::{CompileError, ValidationOptions, Violation};

mod canonical;
mod caveats;
mod compatibility;
mod cursor;
mod defaults;
mod json_text;
mod json_value;
mod logical;
mod model;
mod parse;
mod places;
mod program;
mod reading;
mod resolve;
mod smallest;
mod tags;
mod validate;
mod witness;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
pub(crate) use conformance_tests::cases as conformance_cases;
#[cfg(test)]
mod depth_tests;
#[cfg(test)]
mod payload_tests;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod span_tests;
#[cfg(test)]
mod witness_tests;

pub use caveats::caveats;
pub use witness::evidence;

use model::{Kind, Model};
use program::Program;

/// A parsed Avro schema; cheap to clone.
#[derive(Debug, Clone)]
pub struct AvroSchema {
    model: Arc<Model>,
}

impl AvroSchema {
    /// Parses a schema text; names the references define are known to it.
    ///
    /// # Errors
    /// When the text is not JSON or not a schema, a name is undefined, or a limit is passed. In
    /// [`ParseMode::New`] also for names outside `[A-Za-z_][A-Za-z0-9_]*` and for defaults that do
    /// not fit their type.
    pub fn parse(
        text: &str,
        references: &[ResolvedReference],
        mode: ParseMode,
    ) -> Result<Self, ParseError> {
        let model = Arc::new(parse::parse(text, references, mode)?);
        Ok(Self { model })
    }

    /// The text in the wanted form. Forms of other formats answer the canonical one.
    #[must_use]
    pub fn text(&self, form: TextForm) -> String {
        match form {
            TextForm::Canonical | TextForm::Serialized | TextForm::IgnoreExtensions => {
                canonical::canonical_text(&self.model)
            }
            TextForm::Normalized => canonical::normalized_text(&self.model),
            TextForm::Resolved => canonical::resolved_text(&self.model),
        }
    }

    /// Full name of the root, when it is a record.
    #[must_use]
    pub fn record_name(&self) -> Option<String> {
        match &self.model.get(self.model.root).kind {
            Kind::Record { header, .. } => Some(header.name.full()),
            _ => None,
        }
    }

    /// Whether both say the same: names, types, field order, defaults, docs, aliases and
    /// properties; not the order of attributes or of aliases.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.model, &other.model)
            || canonical::equivalence_text(&self.model) == canonical::equivalence_text(&other.model)
    }

    /// The logical type of the root, when it is one Avro knows and fits its base type.
    #[must_use]
    pub fn logical_type(&self) -> Option<&str> {
        self.model.get(self.model.root).logical_type()
    }

    /// Avro's Parsing Canonical Form.
    #[must_use]
    pub fn parsing_canonical_form(&self) -> String {
        canonical::parsing_canonical_form(&self.model)
    }

    /// CRC-64-AVRO of the Parsing Canonical Form.
    #[must_use]
    pub fn crc64_fingerprint(&self) -> u64 {
        canonical::crc64_avro(self.parsing_canonical_form().as_bytes())
    }

    /// MD5 of the Parsing Canonical Form.
    #[must_use]
    pub fn md5_fingerprint(&self) -> [u8; 16] {
        canonical::md5(self.parsing_canonical_form().as_bytes())
    }

    /// Compiles the validator.
    ///
    /// # Errors
    /// None today: every schema that parses can be executed.
    pub fn compile(&self) -> Result<AvroValidator, CompileError> {
        Ok(AvroValidator {
            program: Program::compile(&self.model),
            record_name: self.record_name(),
            is_raw: matches!(self.model.get(self.model.root).kind, Kind::Bytes),
        })
    }
}

/// A compiled Avro schema: judges payloads without building values.
#[derive(Debug)]
pub struct AvroValidator {
    program: Program,
    record_name: Option<String>,
    /// Confluent's serializers write a root of type bytes as it is, without its length.
    is_raw: bool,
}

impl AvroValidator {
    /// Full name of the root, when it is a record.
    #[must_use]
    pub fn record_name(&self) -> Option<&str> {
        self.record_name.as_deref()
    }

    /// Judges one payload without framing. Logical types are checked only when the options ask for
    /// it at full level: the base type decides whether a datum decodes.
    ///
    /// # Errors
    /// The first violation, with its path and byte offset.
    pub fn validate(&self, payload: &[u8], options: ValidationOptions) -> Result<(), Violation> {
        if self.is_raw {
            return Ok(());
        }
        validate::validate(&self.program, payload, options)
    }
}

/// Every reason `reader` cannot read what `writer` wrote; empty when it can.
#[must_use]
pub fn compare(reader: &AvroSchema, writer: &AvroSchema) -> Vec<Incompatibility> {
    compatibility::compare(&reader.model, &writer.model)
}

/// Decodes a payload to Avro's JSON encoding.
///
/// # Errors
/// The first violation; a payload nested more than 256 levels is refused too.
pub fn decode_json(schema: &AvroSchema, payload: &[u8]) -> Result<Value, Violation> {
    json_value::decode(&schema.model, payload)
}

/// Encodes JSON as a payload: Avro's JSON encoding, or plain JSON with the first union branch that
/// fits. Missing fields take their defaults.
///
/// # Errors
/// When the value does not fit the schema.
pub fn encode_json(schema: &AvroSchema, value: &Value) -> Result<Vec<u8>, EncodeError> {
    json_value::encode(&schema.model, value)
}

/// Decodes as [`decode_json`] does, with the bytes of each value.
///
/// # Errors
/// The first violation.
pub fn decode_with_spans(schema: &AvroSchema, payload: &[u8]) -> Result<Decoded, Violation> {
    json_value::decode_with_spans(&schema.model, payload)
}
