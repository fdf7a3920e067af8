//! The registry's nouns. Stub, extended by its owner.
#![expect(missing_docs, reason = "stub")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub i32);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub i32);
/// Qualified subject name as stored: `[:.ctx:]subject`, default context unprefixed.
pub type Subject = String;
/// `.` is the default context.
pub type Context = String;
