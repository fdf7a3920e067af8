//! A record that shows an incompatibility: valid under the writer, refused or misread by the reader.
//!
//! Built from a difference, made small, and run before it is shown: a witness that was not seen to
//! break is never returned. Knows nothing of levels or versions; [`crate::compatibility`] finds the
//! differences that this module proves.

use serde_json::Value;

use crate::compatibility::{Caveat, Incompatibility};
use crate::schema::ParsedSchema;

/// A concrete record that breaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    /// The record as the writer means it, in the JSON form of [`crate::json_value::decode`].
    pub json: Value,
    /// The payload under the writer's schema, framing removed.
    pub payload: Vec<u8>,
    /// Protobuf message path of the payload; empty for the other formats.
    pub indexes: Vec<i32>,
    /// What the reader does with the payload.
    pub outcome: Outcome,
}

/// What a reader does with a record it was not made for.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The reader cannot decode the record.
    Refused {
        /// Where in the reader's value: `$.lines[0].qty`.
        path: String,
        /// Why; lower-case, no full stop.
        reason: String,
    },
    /// The reader decodes another value than was written.
    Misread {
        /// Where: `$.lines[0].qty`.
        path: String,
        /// The value there as written; null when nothing was.
        written: Value,
        /// The value there as read; null when nothing is.
        read: Value,
    },
}

/// Whether a difference can be shown to break.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// It breaks this record.
    Breaks(Box<Witness>),
    /// The rule is stricter than the bytes require: no record breaks.
    Convention {
        /// What the rule protects instead; lower-case, no full stop.
        reason: String,
    },
    /// A record may break, but none was found.
    NotFound {
        /// What stood in the way; lower-case, no full stop.
        reason: String,
    },
}

impl Evidence {
    /// The word for this kind: `breaks`, `convention` or `not-found`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Breaks(_) => "breaks",
            Self::Convention { .. } => "convention",
            Self::NotFound { .. } => "not-found",
        }
    }
}

/// Looks for a record of `writer` that `reader` refuses or misreads because of `difference`, which
/// [`crate::compatibility::compare`] found between the two.
#[must_use]
pub fn evidence(
    reader: &ParsedSchema,
    writer: &ParsedSchema,
    difference: &Incompatibility,
) -> Evidence {
    match (reader, writer) {
        (ParsedSchema::Avro(reader), ParsedSchema::Avro(writer)) => {
            crate::avro::evidence(reader, writer, difference)
        }
        (ParsedSchema::Json(reader), ParsedSchema::Json(writer)) => {
            crate::json::evidence(reader, writer, difference)
        }
        (ParsedSchema::Protobuf(reader), ParsedSchema::Protobuf(writer)) => {
            crate::protobuf::evidence(reader, writer, difference)
        }
        _ => Evidence::Convention {
            reason: "payloads of two formats are told apart by schema id, not by their bytes"
                .to_owned(),
        },
    }
}

/// Looks for a record of `writer` that `reader` refuses or misreads where the reference missed it.
#[must_use]
pub fn caveat_evidence(reader: &ParsedSchema, writer: &ParsedSchema, caveat: &Caveat) -> Evidence {
    let difference = Incompatibility {
        kind: caveat.kind,
        path: caveat.path.clone(),
        description: caveat.reason.clone(),
        additional_info: String::new(),
        message: caveat.reason.clone(),
    };
    evidence(reader, writer, &difference)
}
