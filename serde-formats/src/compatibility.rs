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

/// Where the reference's verdict is known to be wrong. [`compare`] follows the reference all the
/// same; this says what is really the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caveat {
    /// In which way it is wrong.
    pub effect: CaveatEffect,
    /// The difference's own kind when it is overstated, else a name for what is not looked at:
    /// `LABEL_NOT_COMPARED`, …
    pub kind: &'static str,
    /// Where, spelled as [`Incompatibility::path`].
    pub path: String,
    /// What is really the case; lower-case, no full stop.
    pub reason: String,
}

/// In which way the reference's verdict is wrong at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaveatEffect {
    /// The reference reports nothing there, yet the reader may refuse or misread a record.
    Missed,
    /// The reference reports a difference of this kind at this path that is not as it says.
    Overstated,
}

impl CaveatEffect {
    /// The word for it: `missed` or `overstated`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Overstated => "overstated",
        }
    }
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

/// Where [`compare`] says otherwise than is really the case, because the reference does.
///
/// A caveat never changes a verdict. [`crate::witness::caveat_evidence`] looks for its record.
#[must_use]
pub fn caveats(
    reader: &ParsedSchema,
    writer: &ParsedSchema,
    policy: CompatibilityPolicy,
) -> Vec<Caveat> {
    match (reader, writer) {
        (ParsedSchema::Avro(reader), ParsedSchema::Avro(writer)) => {
            crate::avro::caveats(reader, writer)
        }
        (ParsedSchema::Json(reader), ParsedSchema::Json(writer)) => {
            crate::json::caveats(reader, writer, policy)
        }
        (ParsedSchema::Protobuf(reader), ParsedSchema::Protobuf(writer)) => {
            crate::protobuf::caveats(reader, writer)
        }
        _ => Vec::new(),
    }
}
