//! The facts that turn one image of the registry into the next; also what a transaction writes.
//!
//! A change set is decided on one snapshot and committed only if that snapshot's epoch is still the
//! stored one, so two processes can never both act on the same past.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::association::Association;
use crate::model::{Context, Mode, SchemaId, Subject, SubjectConfig, Version};
use crate::snapshot::RegisteredSchema;

/// One fact.
#[derive(Debug, Clone)]
pub enum Change {
    /// A schema content got an id in a context.
    PutSchema(Arc<RegisteredSchema>),
    /// No version uses the id any more.
    RemoveSchema {
        /// Context of the id.
        context: Context,
        /// The id; it is never given out again.
        id: SchemaId,
    },
    /// A version of a subject is this id, replacing what it was.
    PutVersion {
        /// Qualified subject.
        subject: Subject,
        /// The version.
        version: Version,
        /// Id in the subject's context.
        id: SchemaId,
        /// Soft-deleted.
        deleted: bool,
        /// Milliseconds since the Unix epoch.
        registered_ms: i64,
    },
    /// A version was deleted for good.
    RemoveVersion {
        /// Qualified subject.
        subject: Subject,
        /// The version.
        version: Version,
    },
    /// Settings of a subject, a context (`:.ctx:`) or the top level (empty).
    PutConfig {
        /// Whose.
        subject: Subject,
        /// None removes them.
        config: Option<Arc<SubjectConfig>>,
    },
    /// Mode of a subject, a context or the top level.
    PutMode {
        /// Whose.
        subject: Subject,
        /// None removes it.
        mode: Option<Mode>,
    },
    /// A topic's keys or values belong to a subject, replacing what its GUID said before.
    PutAssociation(Arc<Association>),
    /// The association of this GUID is gone.
    RemoveAssociation(Uuid),
    /// A context is listed, or not any more.
    RecordContext {
        /// The context.
        context: Context,
        /// Listed.
        recorded: bool,
    },
    /// Ids up to this one are spent in the context.
    RaiseIds {
        /// The context.
        context: Context,
        /// Highest id given out.
        high_water: SchemaId,
    },
}

/// Who asked for what, for the change log.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Name of the principal; `anonymous` without authentication.
    pub actor: String,
    /// `register`, `delete-version`, `put-config`, ….
    pub operation: &'static str,
    /// Qualified subject or context; empty for the top level.
    pub subject: String,
    /// State before, where there was one.
    pub before: Option<Value>,
    /// State after, where there is one.
    pub after: Option<Value>,
}

/// What one transaction writes.
#[derive(Debug, Clone)]
pub struct ChangeSet {
    /// In order of application.
    pub changes: Vec<Change>,
    /// The change row.
    pub audit: Audit,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// One row of the change log.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRow {
    /// The epoch the change made.
    pub epoch: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// What: `register`, `delete-version`, `put-config`, ….
    pub operation: String,
    /// Qualified subject or context; empty for the top level.
    pub subject: String,
    /// State before, where there was one.
    pub before: Option<Value>,
    /// State after, where there is one.
    pub after: Option<Value>,
}
