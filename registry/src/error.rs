//! Every error of the registry with its HTTP status and Confluent code: one table.
//!
//! The text is client-visible and, where clients match on it, in the reference's exact words
//! (including the missing space in "was soft deleted.Set permanent=true"). Internal causes go to
//! the log, never into the text.

use thiserror::Error;

use crate::compatibility::Findings;
use crate::model::Version;

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the text of each variant is its documentation")]
pub enum RegistryError {
    #[error("{0}")]
    BadRequest(String),
    #[error("the request body is missing")]
    MissingBody,
    #[error("HTTP 404 Not Found")]
    NotFound,
    #[error("HTTP 405 Method Not Allowed")]
    MethodNotAllowed,
    #[error("HTTP 406 Not Acceptable")]
    NotAcceptable,
    #[error("HTTP 408 Request Timeout")]
    RequestTimeout,
    #[error("HTTP 413 Request Entity Too Large")]
    BodyTooLarge,
    #[error("the request body nests {depth} deep, more than {max} (--json-depth-max)")]
    BodyTooDeep { depth: usize, max: usize },
    #[error("HTTP 429 Too Many Requests")]
    TooManyRequests,
    #[error("{0}")]
    Unavailable(String),
    #[error("HTTP 415 Unsupported Media Type")]
    UnsupportedMediaType,
    #[error("Subject '{0}' not found.")]
    SubjectNotFound(String),
    #[error("Version {0} not found.")]
    VersionNotFound(i32),
    #[error("Schema not found")]
    SchemaNotFound,
    #[error("Schema {0} not found")]
    SchemaIdNotFound(String),
    #[error("Subject '{0}' was soft deleted.Set permanent=true to delete permanently")]
    SubjectSoftDeleted(String),
    #[error("Subject '{0}' was not deleted first before being permanently deleted")]
    SubjectNotSoftDeleted(String),
    #[error("Subject '{0}' Version {version} was soft deleted.Set permanent=true to delete permanently", version = .1.0)]
    VersionSoftDeleted(String, Version),
    #[error("Subject '{0}' Version {version} was not deleted first before being permanently deleted", version = .1.0)]
    VersionNotSoftDeleted(String, Version),
    #[error("Subject '{0}' does not have subject-level compatibility configured")]
    NoSubjectCompatibility(String),
    #[error("Subject '{0}' does not have subject-level mode configured")]
    NoSubjectMode(String),
    #[error(
        "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: {findings}"
    )]
    Incompatible { subject: String, findings: Findings },
    #[error("{0}")]
    IncompatibleWithAssociation(Findings),
    #[error("Association for '{0}' not found.")]
    AssociationNotFound(String),
    #[error("An association of type '{0}' already exists for resource '{1}'")]
    AssociationExistsForResource(&'static str, String),
    #[error("An association already exists for subject '{0}'")]
    AssociationExistsForSubject(String),
    #[error("A strong association already exists for subject '{0}'")]
    StrongAssociationExists(String),
    #[error("No active (non-deleted) version exists for subject '{0}'")]
    NoActiveVersion(String),
    // The two spaces are Confluent's.
    #[error("The association of type  '{0}' is frozen for subject '{1}'")]
    AssociationFrozen(&'static str, String),
    #[error(
        "The association specified an invalid value for property: '{property}', detail: {detail}"
    )]
    InvalidAssociation {
        property: &'static str,
        detail: String,
    },
    #[error("One or more references exist to the schema {0}.")]
    SubjectReferenced(String),
    #[error("{0}")]
    InvalidSchema(String),
    #[error(
        "The specified version '{0}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
    )]
    InvalidVersion(String),
    #[error(
        "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive"
    )]
    InvalidCompatibility,
    #[error("{0}")]
    InvalidMode(&'static str),
    #[error("{0}")]
    OperationNotPermitted(String),
    #[error(
        "One or more references exist to the schema {{magic=1,keytype=SCHEMA,subject={subject},version={}}}.",
        .version.0
    )]
    ReferenceExists { subject: String, version: Version },
    #[error("The specified subject '{0}' is not a valid.")]
    InvalidSubject(String),
    #[error("Register operation failed because schema is too large")]
    SchemaTooLarge,
    #[error("{0}")]
    InvalidRuleSet(String),
    #[error("The specified context '{0}' is not empty.")]
    ContextNotEmpty(String),
    #[error("the import contradicts what is here: {}", .0.join("; "))]
    ImportContradicts(Vec<String>),
    #[error("Error in the backend data store")]
    Store,
    #[error("Internal Server Error")]
    Internal,
}

impl RegistryError {
    /// Whether an image that is behind the truth may be the reason: something is not found, or a
    /// schema stands on something that is not.
    #[must_use]
    pub const fn may_be_ignorance(&self) -> bool {
        let (status, code) = self.codes();
        (status == 404 && code != 404) || matches!(self, Self::InvalidSchema(_))
    }

    /// HTTP status and `error_code`.
    #[must_use]
    pub const fn codes(&self) -> (u16, u32) {
        match self {
            Self::BadRequest(_) => (400, 400),
            Self::MissingBody => (422, 422),
            Self::NotFound => (404, 404),
            Self::MethodNotAllowed => (405, 405),
            Self::NotAcceptable => (406, 406),
            Self::RequestTimeout => (408, 408),
            Self::BodyTooLarge => (413, 413),
            Self::BodyTooDeep { .. } => (422, 422),
            Self::TooManyRequests => (429, 429),
            Self::Unavailable(_) => (503, 503),
            Self::UnsupportedMediaType => (415, 415),
            Self::SubjectNotFound(_) => (404, 40401),
            Self::VersionNotFound(_) => (404, 40402),
            Self::SchemaNotFound | Self::SchemaIdNotFound(_) => (404, 40403),
            Self::SubjectSoftDeleted(_) => (404, 40404),
            Self::SubjectNotSoftDeleted(_) => (404, 40405),
            Self::VersionSoftDeleted(..) => (404, 40406),
            Self::VersionNotSoftDeleted(..) => (404, 40407),
            Self::NoSubjectCompatibility(_) => (404, 40408),
            Self::NoSubjectMode(_) => (404, 40409),
            Self::AssociationNotFound(_) => (404, 40410),
            Self::Incompatible { .. } | Self::IncompatibleWithAssociation(_) => (409, 40901),
            Self::AssociationExistsForResource(..) => (409, 40903),
            Self::AssociationExistsForSubject(_) => (409, 40904),
            Self::StrongAssociationExists(_) => (409, 40905),
            Self::NoActiveVersion(_) => (409, 40907),
            Self::AssociationFrozen(..) => (409, 40908),
            Self::InvalidSchema(_) => (422, 42201),
            Self::InvalidVersion(_) => (422, 42202),
            Self::InvalidCompatibility => (422, 42203),
            Self::InvalidMode(_) => (422, 42204),
            Self::OperationNotPermitted(_) => (422, 42205),
            Self::ReferenceExists { .. } | Self::SubjectReferenced(_) => (422, 42206),
            Self::InvalidSubject(_) => (422, 42208),
            Self::SchemaTooLarge => (422, 42209),
            Self::InvalidRuleSet(_) => (422, 42210),
            Self::ContextNotEmpty(_) => (422, 42211),
            Self::InvalidAssociation { .. } => (422, 42212),
            Self::ImportContradicts(_) => (409, 409),
            Self::Store => (500, 50001),
            Self::Internal => (500, 500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_references() {
        for (error, text) in [
            (
                RegistryError::VersionSoftDeleted("s".into(), Version(2)),
                "Subject 's' Version 2 was soft deleted.Set permanent=true to delete permanently",
            ),
            (
                RegistryError::ReferenceExists {
                    subject: "s".into(),
                    version: Version(1),
                },
                "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=s,version=1}.",
            ),
            (
                RegistryError::Incompatible {
                    subject: "s".into(),
                    findings: Findings {
                        messages: vec!["a".into(), "b".into()],
                        ..Findings::default()
                    },
                },
                "Schema being registered is incompatible with an earlier schema for subject \"s\", details: [a, b]",
            ),
            (
                RegistryError::Incompatible {
                    subject: "s".into(),
                    findings: Findings {
                        messages: vec!["a".into()],
                        witness: Some("breaks: {}".into()),
                        ..Findings::default()
                    },
                },
                "Schema being registered is incompatible with an earlier schema for subject \"s\", details: [a]; breaks: {}",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
