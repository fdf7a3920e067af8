//! Content identity: the MD5 that makes two registrations the same schema, read as the GUID.
//!
//! Source: Confluent Schema Registry `entities/Schema.updateHash`.

use md5::{Digest, Md5};
use uuid::Uuid;

/// What is hashed of one reference: name, subject and resolved version.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceIdentity<'a> {
    /// Name used in the schema text.
    pub name: &'a str,
    /// Subject it is registered under.
    pub subject: &'a str,
    /// Resolved version.
    pub version: i32,
}

/// The GUID of a schema without metadata and rule set.
///
/// The schema type is not hashed: the same text under two types is one id, as in the reference.
#[must_use]
pub fn guid(schema: &str, references: &[ReferenceIdentity<'_>]) -> Uuid {
    let mut hasher = IdentityHasher::new(schema, references);
    hasher.finish()
}

/// Feeds the hash field by field, so that metadata and rule sets can be added by their owner.
#[derive(Debug, Clone)]
pub struct IdentityHasher(Md5);

impl IdentityHasher {
    /// Starts with the text and references.
    #[must_use]
    pub fn new(schema: &str, references: &[ReferenceIdentity<'_>]) -> Self {
        let mut md5 = Md5::new();
        md5.update(schema.as_bytes());
        for reference in references {
            md5.update(reference.name.as_bytes());
            md5.update(reference.subject.as_bytes());
            md5.update(reference.version.to_be_bytes());
        }
        Self(md5)
    }

    /// Adds raw bytes: a marker (`0x01`) or a field's UTF-8.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The GUID: the sixteen bytes as they are, no version or variant bits set.
    #[must_use]
    pub fn finish(&mut self) -> Uuid {
        let bytes: [u8; 16] = self.0.finalize_reset().into();
        Uuid::from_bytes(bytes)
    }
}
