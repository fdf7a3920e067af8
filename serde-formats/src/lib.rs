//! Schemas and bytes: what a schema says about a payload, and about another schema.
//!
//! Pure: no HTTP, SQL, Kafka, clock, file or task. Everything here is a function of its arguments.
//!
//! | module | what it answers |
//! |---|---|
//! | [`schema`] | does this text parse, and what are its canonical and normalised forms |
//! | [`identity`] | the MD5 and GUID that make two schemas the same |
//! | [`compatibility`] | can a reader with this schema read what that schema wrote |
//! | [`validator`] | do these bytes obey this schema, to the last byte |
//! | [`wire`] | which schema does a framed record claim |
//! | [`json_value`] | bytes to JSON and JSON to bytes, for people and tools |
//! | [`witness`] | a record that shows an incompatibility |
//! | [`outline`] | its types and fields, flat, for search and lint |
//! | [`tags`] | labels written into a schema beside records and fields |
//! | [`avro`], [`json`], [`protobuf`] | the three formats behind the above |
//!
//! Read [`schema`] first, then one format's `mod.rs`.

pub mod avro;
pub mod compatibility;
pub mod identity;
pub mod json;
pub mod json_value;
pub mod outline;
pub mod protobuf;
pub mod schema;
pub mod tags;
pub mod validator;
pub mod wire;
pub mod witness;

pub use schema::{ParseError, ParseMode, ParsedSchema, ResolvedReference, SchemaFormat, TextForm};
pub use validator::{
    CompileError, CompiledSchema, LogicalTypes, MessageId, Scratch, UnknownFields, ValidationLevel,
    ValidationOptions, Violation, ViolationReason,
};
