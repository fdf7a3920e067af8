//! Whether a reader's schema can read what a writer's schema wrote, and every reason it cannot.
//!
//! Levels and transitivity are the registry's; this module compares exactly two schemas.

use crate::schema::ParsedSchema;

/// One incompatible difference, named as the reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// The reference's difference type: `READER_FIELD_MISSING_DEFAULT_VALUE`, `TYPE_NARROWED`, …
    pub kind: &'static str,
    /// Where: Avro JSON pointer, JSON Schema `#/properties/x`, Protobuf `#/Msg/3`.
    pub path: String,
    /// The reference's description with `%s` where the words for reader and writer go.
    pub description: String,
    /// Avro's additional information; empty for the other formats.
    pub additional_info: String,
    /// Ready message in the reference's exact form, still holding the two `%s`.
    pub message: String,
}

/// How lenient JSON Schema comparison is about content models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompatibilityPolicy {
    /// The reference's default.
    #[default]
    Strict,
    /// JSON Schema only: additions to and removals from object content models pass.
    Lenient,
}

/// Every reason `reader` cannot read what `writer` wrote; empty means it can.
///
/// Different formats are the caller's business: this answers one `FORMAT_CHANGED` entry.
#[must_use]
pub fn compare(
    reader: &ParsedSchema,
    writer: &ParsedSchema,
    policy: CompatibilityPolicy,
) -> Vec<Incompatibility> {
    match (reader, writer) {
        (ParsedSchema::Avro(reader), ParsedSchema::Avro(writer)) => {
            crate::avro::compare(reader, writer)
        }
        (ParsedSchema::Json(reader), ParsedSchema::Json(writer)) => {
            crate::json::compare(reader, writer, policy)
        }
        (ParsedSchema::Protobuf(reader), ParsedSchema::Protobuf(writer)) => {
            crate::protobuf::compare(reader, writer)
        }
        _ => vec![Incompatibility {
            kind: "FORMAT_CHANGED",
            path: "/".to_owned(),
            description: "Incompatible because of different schema type".to_owned(),
            additional_info: String::new(),
            message: "Incompatible because of different schema type".to_owned(),
        }],
    }
}
