//! Associations: which subject holds the schemas of a topic's keys or values, and who owns it.
//!
//! Pure: the nouns, and the checks of a request that need no registry. What the registry's content
//! says about a request is decided in [`crate::service`].

use uuid::Uuid;

use crate::error::RegistryError;
use crate::model::{SchemaRequest, Subject};

/// Which part of a topic's records an association speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "a record's two parts")]
pub enum AssociationType {
    Key,
    Value,
}

impl AssociationType {
    /// Confluent's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }

    /// The type of exactly that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Key, Self::Value]
            .into_iter()
            .find(|part| part.name() == name)
    }
}

/// Who owns the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// The topic: the subject came with it and goes with it.
    Strong,
    /// Nobody: topics may share the subject.
    Weak,
}

impl Lifecycle {
    /// Confluent's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strong => "STRONG",
            Self::Weak => "WEAK",
        }
    }

    /// The lifecycle of exactly that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Strong, Self::Weak]
            .into_iter()
            .find(|lifecycle| lifecycle.name() == name)
    }
}

/// The only kind of resource there is.
pub const TOPIC_RESOURCE: &str = "topic";

/// Any namespace, or any name in a namespace, where a path asks for one.
pub(crate) const ANY: &str = "-";

/// One stored association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// Identity; kept when the association is updated.
    pub guid: Uuid,
    /// Qualified subject, in the stored spelling.
    pub subject: Subject,
    /// The topic.
    pub resource_name: String,
    /// Of the topic: a Kafka cluster id, usually.
    pub resource_namespace: String,
    /// Of the topic; at most one association of a type has it.
    pub resource_id: String,
    /// Keys or values.
    pub association_type: AssociationType,
    /// Who owns the subject.
    pub lifecycle: Lifecycle,
    /// Whether it may not be updated, nor deleted without its subject.
    pub frozen: bool,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_ms: i64,
}

impl Association {
    /// The order of listings.
    pub(crate) fn sort_key(&self) -> (&str, &str, AssociationType, &str) {
        (
            &self.resource_name,
            &self.resource_namespace,
            self.association_type,
            &self.subject,
        )
    }
}

/// Which associations are wanted; empty and `None` mean all.
#[derive(Debug, Clone, Default)]
pub(crate) struct AssociationFilter {
    pub(crate) resource_type: Option<String>,
    pub(crate) types: Vec<String>,
    pub(crate) lifecycle: Option<Lifecycle>,
}

impl AssociationFilter {
    pub(crate) fn selects(&self, association: &Association) -> bool {
        let type_name = association.association_type.name();
        self.resource_type
            .as_deref()
            .is_none_or(|wanted| wanted == TOPIC_RESOURCE)
            && (self.types.is_empty() || self.types.iter().any(|wanted| wanted == type_name))
            && self
                .lifecycle
                .is_none_or(|wanted| wanted == association.lifecycle)
    }
}

/// A topic as a request names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceDraft {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) resource_type: Option<String>,
}

/// A topic that is completely named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Absent only in a dry run: the topic may not exist yet.
    pub(crate) id: Option<String>,
}

impl Resource {
    /// The subject that belongs to the topic alone.
    pub(crate) fn default_subject(&self, association_type: AssociationType) -> Subject {
        format!(
            ":.{}:{}-{}",
            self.namespace,
            self.name,
            association_type.name()
        )
    }
}

impl ResourceDraft {
    /// # Errors
    /// Names the property that is missing or not allowed.
    pub(crate) fn complete(self, dry_run: bool) -> Result<Resource, RegistryError> {
        let name = checked_name(self.name, "resourceName")?;
        let namespace = checked_name(self.namespace, "resourceNamespace")?;
        let id = self.id.filter(|id| !id.is_empty());
        if id.is_none() && !dry_run {
            return Err(invalid("resourceId", "cannot be null or empty"));
        }
        let other = self
            .resource_type
            .is_some_and(|name| !name.is_empty() && name != TOPIC_RESOURCE);
        if other {
            return Err(invalid("resourceType", "must be 'topic'"));
        }
        Ok(Resource {
            name,
            namespace,
            id,
        })
    }
}

/// Longest name of a resource or namespace, in characters; Confluent's limit.
const NAME_CHARS_MAX: usize = 256;

fn checked_name(name: Option<String>, property: &'static str) -> Result<String, RegistryError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(invalid(property, "cannot be null or empty"));
    };
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(invalid(property, "exceeds max length of 256"));
    }
    // Wider than Confluent's set by the dot, which topic names have.
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    match name.chars().find(|c| !allowed(*c)) {
        None => Ok(name),
        Some(c) => Err(invalid(property, format!("illegal character '{c}'"))),
    }
}

/// One association as a request wishes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AssociationDraft {
    pub(crate) subject: Option<String>,
    /// Absent means values.
    pub(crate) association_type: Option<String>,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) frozen: Option<bool>,
    pub(crate) schema: Option<SchemaRequest>,
    pub(crate) normalize: bool,
}

/// A draft whose own parts fit together.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) subject: Option<String>,
    pub(crate) association_type: AssociationType,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) frozen: Option<bool>,
    pub(crate) schema: Option<SchemaRequest>,
    pub(crate) normalize: bool,
}

impl AssociationDraft {
    /// Checks a draft by itself; `is_create` also completes it.
    ///
    /// # Errors
    /// Names the property that does not fit.
    pub(crate) fn complete(
        self,
        resource: &Resource,
        is_create: bool,
    ) -> Result<Wish, RegistryError> {
        if let Some(subject) = &self.subject
            && (subject.is_empty() || subject.chars().any(char::is_control))
        {
            return Err(invalid("subject", "must not be empty"));
        }
        let mut wish = Wish {
            association_type: AssociationType::Value,
            subject: self.subject,
            lifecycle: self.lifecycle,
            frozen: self.frozen,
            schema: self.schema,
            normalize: self.normalize,
        };
        if is_create {
            wish.settle_new(true)?;
        }
        wish.association_type = association_type(self.association_type)?;
        if wish.lifecycle == Some(Lifecycle::Weak) {
            if wish.schema.is_some() {
                return Err(invalid("lifecycle", WEAK_WITH_SCHEMA));
            }
            if wish.frozen == Some(true) {
                return Err(invalid("frozen", WEAK_FROZEN));
            }
            if is_create && wish.subject.is_none() {
                return Err(invalid("subject", WEAK_WITHOUT_SUBJECT));
            }
        }
        if is_create {
            let own = resource.default_subject(wish.association_type);
            let subject = wish.subject.get_or_insert_with(|| own.clone());
            if wish.frozen == Some(true) && *subject != own {
                return Err(frozen_elsewhere(&own));
            }
            if wish.lifecycle == Some(Lifecycle::Weak) && *subject == own {
                return Err(weak_on_own(&own));
            }
        }
        Ok(wish)
    }
}

/// Absent and empty mean values.
pub(crate) fn association_type(name: Option<String>) -> Result<AssociationType, RegistryError> {
    match name.filter(|name| !name.is_empty()) {
        None => Ok(AssociationType::Value),
        Some(name) => AssociationType::from_name(&name)
            .ok_or_else(|| invalid("associationType", "must be either 'key' or 'value'")),
    }
}

impl Wish {
    /// Fills in what an association that does not exist yet leaves out: a schema makes it strong,
    /// nothing makes it weak, and strong is frozen.
    pub(crate) fn settle_new(&mut self, is_create: bool) -> Result<(), RegistryError> {
        if self.schema.is_some() {
            if !is_create {
                return Err(invalid("schema", SCHEMA_ON_UPSERT));
            }
            if self.lifecycle == Some(Lifecycle::Weak) {
                return Err(invalid("lifecycle", WEAK_WITH_SCHEMA));
            }
            if self.frozen == Some(false) {
                return Err(invalid(
                    "frozen",
                    "cannot be false when a schema is provided",
                ));
            }
            self.lifecycle = Some(Lifecycle::Strong);
        }
        let lifecycle = *self.lifecycle.get_or_insert(Lifecycle::Weak);
        let frozen = lifecycle == Lifecycle::Strong;
        if let Some(asked) = self.frozen
            && asked != frozen
        {
            return Err(frozen_mismatch(lifecycle, asked));
        }
        self.frozen = Some(frozen);
        Ok(())
    }
}

pub(crate) const WEAK_WITHOUT_SUBJECT: &str = "must be provided for WEAK associations";
pub(crate) const WEAK_WITH_SCHEMA: &str = "cannot be WEAK when schema is provided";
pub(crate) const WEAK_FROZEN: &str = "association with lifecycle of WEAK cannot be frozen";
const SCHEMA_ON_UPSERT: &str = "cannot be provided when adding an association to an existing topic; \
     an association with a schema must be created with the topic";

pub(crate) fn invalid(property: &'static str, detail: impl Into<String>) -> RegistryError {
    RegistryError::InvalidAssociation {
        property,
        detail: detail.into(),
    }
}

pub(crate) fn frozen_mismatch(lifecycle: Lifecycle, frozen: bool) -> RegistryError {
    let name = lifecycle.name();
    let detail = format!("association with lifecycle of {name} cannot be frozen={frozen}");
    invalid("frozen", detail)
}

pub(crate) fn frozen_elsewhere(own: &str) -> RegistryError {
    invalid(
        "subject",
        format!("frozen associations must use subject '{own}'"),
    )
}

pub(crate) fn weak_on_own(own: &str) -> RegistryError {
    invalid(
        "subject",
        format!("WEAK associations cannot use subject '{own}'"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Resource {
        Resource {
            name: "t".to_owned(),
            namespace: "n".to_owned(),
            id: Some("r".to_owned()),
        }
    }

    #[test]
    fn resources_are_named_completely() {
        for (name, namespace, id, resource_type, expected) in [
            ("t", "n", "r", "", Ok(())),
            ("a.b_c-1", "n", "r", "topic", Ok(())),
            ("", "n", "r", "", Err("resourceName")),
            ("a b", "n", "r", "", Err("resourceName")),
            ("t", "", "r", "", Err("resourceNamespace")),
            ("t", "n", "", "", Err("resourceId")),
            ("t", "n", "r", "table", Err("resourceType")),
        ] {
            let draft = ResourceDraft {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                id: Some(id.to_owned()),
                resource_type: Some(resource_type.to_owned()),
            };
            let got = match draft.complete(false) {
                Ok(_) => Ok(()),
                Err(RegistryError::InvalidAssociation { property, .. }) => Err(property),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, expected, "{name} {namespace} {id} {resource_type}");
        }
    }

    #[test]
    fn a_new_association_is_weak_without_a_schema_and_strong_with_one() {
        let with_schema = || Some(SchemaRequest::default());
        for (subject, lifecycle, frozen, schema, expected) in [
            (Some("s"), None, None, None, Ok((Lifecycle::Weak, false))),
            (
                None,
                None,
                None,
                with_schema(),
                Ok((Lifecycle::Strong, true)),
            ),
            (None, None, None, None, Err("subject")),
            (Some("s"), None, Some(true), None, Err("frozen")),
            (Some("s"), None, None, with_schema(), Err("subject")),
            (None, None, Some(false), with_schema(), Err("frozen")),
            (
                Some("s"),
                Some(Lifecycle::Weak),
                None,
                with_schema(),
                Err("lifecycle"),
            ),
            (
                Some(":.n:t-value"),
                Some(Lifecycle::Weak),
                None,
                None,
                Err("subject"),
            ),
        ] {
            let draft = AssociationDraft {
                subject: subject.map(str::to_owned),
                lifecycle,
                frozen,
                schema,
                ..AssociationDraft::default()
            };
            let got = match draft.complete(&resource(), true) {
                Ok(wish) => Ok((wish.lifecycle.unwrap(), wish.frozen.unwrap())),
                Err(RegistryError::InvalidAssociation { property, .. }) => Err(property),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, expected, "{subject:?} {lifecycle:?} {frozen:?}");
        }
    }
}
