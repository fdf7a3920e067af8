//! Immutable image of the registry. Stub, replaced by its owner: the signatures are fixed, because enforcement reads them on the produce path (no lock, no await, no allocation).
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::model::*;
use serde_formats::{CompileError, CompiledSchema, ParsedSchema, SchemaFormat};
use std::sync::Arc;
use uuid::Uuid;

/// One schema content with its id in one context.
#[derive(Debug)]
pub struct RegisteredSchema {
    pub id: SchemaId,
    pub context: Context,
    pub guid: Uuid,
    pub format: SchemaFormat,
    pub text: String,
}
impl RegisteredSchema {
    /// Parsed and compiled once, on first use, shared ever after (OnceLock).
    pub fn compiled(&self) -> Result<&Arc<CompiledSchema>, &CompileError> {
        todo!()
    }
    pub fn parsed(&self) -> Result<&Arc<ParsedSchema>, &CompileError> {
        todo!()
    }
    /// Rule set carries encoding rules in WRITE or WRITEREAD mode: payload bytes are transformed (for example encrypted) and cannot be decoded by a broker.
    pub fn has_encoding_rules(&self) -> bool {
        todo!()
    }
}

/// That an id is a version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    pub version: Version,
    pub soft_deleted: bool,
}

#[derive(Debug)]
pub struct Snapshot;
impl Snapshot {
    /// Grows by one with every committed change.
    pub fn epoch(&self) -> u64 {
        todo!()
    }
    /// `context` is `.` for the default one.
    pub fn schema(&self, _context: &str, _id: SchemaId) -> Option<&Arc<RegisteredSchema>> {
        todo!()
    }
    pub fn schema_by_guid(&self, _context: &str, _guid: Uuid) -> Option<&Arc<RegisteredSchema>> {
        todo!()
    }
    /// Whether `id` is a non-hard-deleted version of `subject` (aliases resolved). Prefers a live one.
    pub fn binding(&self, _subject: &str, _id: SchemaId) -> Option<Binding> {
        todo!()
    }
    /// Whether the subject has a live version.
    pub fn has_subject(&self, _subject: &str) -> bool {
        todo!()
    }
    /// Live versions of the subject, newest first: (version, id).
    pub fn live_versions(&self, _subject: &str) -> Vec<(Version, SchemaId)> {
        todo!()
    }
    /// Some subject that holds the id, for messages.
    pub fn any_subject_of(&self, _context: &str, _id: SchemaId) -> Option<(&str, Version)> {
        todo!()
    }
}

/// The truth cannot be asked now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("registry unavailable: {0}")]
pub struct Unavailable(pub String);
