//! The route table: paths, their labels in metrics, and the methods they know.

use axum::http::Method;

use crate::error::RegistryError;

/// A path of the API; the text parts are decoded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route<'a> {
    Root,
    MetadataId,
    MetadataVersion,
    MetadataDeployment,
    Schemas,
    SchemaTypes,
    SchemaById(&'a str),
    SchemaTextById(&'a str),
    SubjectsById(&'a str),
    VersionsById(&'a str),
    SchemaByGuid(&'a str),
    IdsByGuid(&'a str),
    Subjects,
    Subject(&'a str),
    SubjectMetadata(&'a str),
    Versions(&'a str),
    Version(&'a str, &'a str),
    VersionText(&'a str, &'a str),
    ReferencedBy(&'a str, &'a str),
    Compatibility(&'a str),
    CompatibilityWith(&'a str, &'a str),
    Config(&'a str),
    Mode(&'a str),
    Contexts,
    Context(&'a str),
    VersionTags(&'a str, &'a str),
    Associations,
    AssociationsOfSubject(&'a str),
    AssociationsOfName(&'a str, &'a str),
    AssociationsOfResource(&'a str),
    AssociationsBatchGet,
    AssociationsBatchMutate,
}

impl<'a> Route<'a> {
    pub(super) fn find(segments: &'a [String]) -> Option<Self> {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        Some(match *names.as_slice() {
            [] => Self::Root,
            ["v1", "metadata", "id"] => Self::MetadataId,
            ["v1", "metadata", "version"] => Self::MetadataVersion,
            ["v1", "metadata", "deployment"] => Self::MetadataDeployment,
            ["schemas"] => Self::Schemas,
            ["schemas", "types"] => Self::SchemaTypes,
            ["schemas", "ids", id] => Self::SchemaById(id),
            ["schemas", "ids", id, "schema"] => Self::SchemaTextById(id),
            ["schemas", "ids", id, "subjects"] => Self::SubjectsById(id),
            ["schemas", "ids", id, "versions"] => Self::VersionsById(id),
            ["schemas", "guids", guid] => Self::SchemaByGuid(guid),
            ["schemas", "guids", guid, "ids"] => Self::IdsByGuid(guid),
            ["subjects"] => Self::Subjects,
            ["subjects", subject] => Self::Subject(subject),
            ["subjects", subject, "metadata"] => Self::SubjectMetadata(subject),
            ["subjects", subject, "versions"] => Self::Versions(subject),
            ["subjects", subject, "versions", version] => Self::Version(subject, version),
            ["subjects", subject, "versions", version, "schema"] => {
                Self::VersionText(subject, version)
            }
            ["subjects", subject, "versions", version, "referencedby"] => {
                Self::ReferencedBy(subject, version)
            }
            ["compatibility", "subjects", subject, "versions"] => Self::Compatibility(subject),
            ["compatibility", "subjects", subject, "versions", version] => {
                Self::CompatibilityWith(subject, version)
            }
            ["config"] => Self::Config(""),
            ["config", subject] => Self::Config(subject),
            ["mode"] => Self::Mode(""),
            ["mode", subject] => Self::Mode(subject),
            ["contexts"] => Self::Contexts,
            ["contexts", context] => Self::Context(context),
            ["subjects", subject, "versions", version, "tags"] => {
                Self::VersionTags(subject, version)
            }
            ["associations"] => Self::Associations,
            ["associations", "subjects", subject] => Self::AssociationsOfSubject(subject),
            ["associations", "resources", id] => Self::AssociationsOfResource(id),
            ["associations", "resources", namespace, name] => {
                Self::AssociationsOfName(namespace, name)
            }
            ["associations:batchGet"] => Self::AssociationsBatchGet,
            ["associations:batchMutate"] => Self::AssociationsBatchMutate,
            _ => return None,
        })
    }

    /// A closed set of texts for metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::MetadataId => "/v1/metadata/id",
            Self::MetadataVersion => "/v1/metadata/version",
            Self::MetadataDeployment => "/v1/metadata/deployment",
            Self::Schemas => "/schemas",
            Self::SchemaTypes => "/schemas/types",
            Self::SchemaById(_) => "/schemas/ids/{id}",
            Self::SchemaTextById(_) => "/schemas/ids/{id}/schema",
            Self::SubjectsById(_) => "/schemas/ids/{id}/subjects",
            Self::VersionsById(_) => "/schemas/ids/{id}/versions",
            Self::SchemaByGuid(_) => "/schemas/guids/{guid}",
            Self::IdsByGuid(_) => "/schemas/guids/{guid}/ids",
            Self::Subjects => "/subjects",
            Self::Subject(_) => "/subjects/{subject}",
            Self::SubjectMetadata(_) => "/subjects/{subject}/metadata",
            Self::Versions(_) => "/subjects/{subject}/versions",
            Self::Version(..) => "/subjects/{subject}/versions/{version}",
            Self::VersionText(..) => "/subjects/{subject}/versions/{version}/schema",
            Self::ReferencedBy(..) => "/subjects/{subject}/versions/{version}/referencedby",
            Self::Compatibility(_) => "/compatibility/subjects/{subject}/versions",
            Self::CompatibilityWith(..) => "/compatibility/subjects/{subject}/versions/{version}",
            Self::Config(_) => "/config/{subject}",
            Self::Mode(_) => "/mode/{subject}",
            Self::Contexts => "/contexts",
            Self::Context(_) => "/contexts/{context}",
            Self::VersionTags(..) => "/subjects/{subject}/versions/{version}/tags",
            Self::Associations => "/associations",
            Self::AssociationsOfSubject(_) => "/associations/subjects/{subject}",
            Self::AssociationsOfName(..) => "/associations/resources/{namespace}/{name}",
            Self::AssociationsOfResource(_) => "/associations/resources/{id}",
            Self::AssociationsBatchGet => "/associations:batchGet",
            Self::AssociationsBatchMutate => "/associations:batchMutate",
        }
    }

    /// What a method the route does not know is answered. Serializers take a 404 of associations
    /// for "there are none", and anything else for an error.
    pub(super) const fn wrong_method(&self) -> RegistryError {
        match self {
            Self::Associations
            | Self::AssociationsOfSubject(_)
            | Self::AssociationsOfName(..)
            | Self::AssociationsOfResource(_)
            | Self::AssociationsBatchGet
            | Self::AssociationsBatchMutate => RegistryError::NotFound,
            _ => RegistryError::MethodNotAllowed,
        }
    }

    /// Whether answering means parsing or comparing a schema that the request brings, and nothing
    /// else: a registration must not hold up others while it waits for the disk, and takes its turn
    /// by itself.
    pub(super) fn parses(&self, method: &Method) -> bool {
        *method == Method::POST
            && matches!(
                self,
                Self::Subject(_) | Self::Compatibility(_) | Self::CompatibilityWith(..)
            )
    }

    pub(super) fn allows(&self, method: &Method) -> bool {
        let allowed: &[Method] = match self {
            Self::Root => &[Method::GET, Method::POST],
            Self::Subject(_) => &[Method::POST, Method::DELETE],
            Self::Versions(_) => &[Method::GET, Method::POST],
            Self::Version(..) => &[Method::GET, Method::DELETE],
            Self::Compatibility(_)
            | Self::CompatibilityWith(..)
            | Self::VersionTags(..)
            | Self::Associations
            | Self::AssociationsBatchGet
            | Self::AssociationsBatchMutate => &[Method::POST],
            Self::AssociationsOfResource(_) => &[Method::GET, Method::PUT, Method::DELETE],
            Self::Config(_) | Self::Mode(_) => &[Method::GET, Method::PUT, Method::DELETE],
            Self::Context(_) => &[Method::DELETE],
            Self::MetadataId
            | Self::MetadataVersion
            | Self::MetadataDeployment
            | Self::Schemas
            | Self::SchemaTypes
            | Self::SchemaById(_)
            | Self::SchemaTextById(_)
            | Self::SubjectsById(_)
            | Self::VersionsById(_)
            | Self::SchemaByGuid(_)
            | Self::IdsByGuid(_)
            | Self::Subjects
            | Self::SubjectMetadata(_)
            | Self::VersionText(..)
            | Self::ReferencedBy(..)
            | Self::Contexts
            | Self::AssociationsOfSubject(_)
            | Self::AssociationsOfName(..) => &[Method::GET],
        };
        allowed.contains(method)
    }
}
