//! A schema that somebody sent: resolved, parsed, canonical, with its content identity; and whether
//! a subject already has it.

use std::sync::Arc;

use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, TextForm, json};
use uuid::Uuid;

use crate::error::RegistryError;
use crate::model::{
    Metadata, Reference, RequestedReference, RuleSet, SchemaId, SchemaRequest, Version,
    content_guid,
};
use crate::snapshot::{
    ReferenceClosure, RegisteredSchema, SchemaContent, Snapshot, SubjectImage, VersionImage,
};
use crate::subject_name::{QualifiedSubject, qualify};

/// A parsed request.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) format: SchemaFormat,
    parsed: Result<Arc<ParsedSchema>, String>,
    pub(crate) text: String,
    pub(crate) references: Vec<Reference>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) rule_set: Option<RuleSet>,
    pub(crate) guid: Uuid,
}

/// How a request is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Store the normalised text.
    pub(crate) normalize: bool,
    /// Check names and defaults as for a schema never seen; soft-deleted targets do not resolve.
    pub(crate) as_new: bool,
    /// Apply the checks behind `validateFields`.
    pub(crate) validate_fields: bool,
    /// Refuse references that bind one name to two versions.
    pub(crate) strict_references: bool,
    /// Take JSON that is no JSON Schema, as an import does.
    pub(crate) keep_unreadable: bool,
}

/// A version that answers a look-up.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) subject: String,
    pub(crate) version: Version,
    pub(crate) schema: Arc<RegisteredSchema>,
    /// Set when the version was found by comparing, not by its hash; the reference shows it then.
    pub(crate) stamp: Option<Stamp>,
}

/// When a version was registered, and whether it is soft-deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) registered_ms: i64,
    pub(crate) deleted: bool,
}

impl Candidate {
    /// Reads a request made under `subject`.
    pub(crate) fn read(
        snapshot: &Snapshot,
        subject: &str,
        request: &SchemaRequest,
        reading: Reading,
    ) -> Result<Self, RegistryError> {
        let format = format_of(request)?;
        let invalid = |details: &str| {
            RegistryError::InvalidSchema(format!(
                "Invalid schema of type {format}, details: {details}"
            ))
        };
        let context = QualifiedSubject::parse(subject).context;
        let mut references = resolve(snapshot, context, &request.references, reading.as_new)
            .map_err(|details| invalid(&details))?;
        if reading.normalize {
            references.sort_by(|a, b| (&a.subject, a.version).cmp(&(&b.subject, b.version)));
            references.dedup();
        }
        let mut closure = ReferenceClosure::new(reading.strict_references);
        for reference in &references {
            let target = snapshot.reference_target(context, reference);
            closure
                .add(context, reference, target.as_ref(), 1)
                .map_err(|details| invalid(&details))?;
        }
        let mode = if reading.as_new {
            ParseMode::New
        } else {
            ParseMode::Existing
        };
        let mut parsed = match ParsedSchema::parse(format, &request.text, &closure.resolved, mode) {
            Ok(parsed) => parsed,
            Err(error) if reading.keep_unreadable && format == SchemaFormat::Json => {
                let text =
                    json::canonical_text(&request.text).map_err(|error| invalid(&error.message))?;
                let (metadata, rule_set) = (request.metadata.clone(), request.rule_set.clone());
                let unreadable = Err(error.message);
                return Ok(Self::assemble(
                    format, unreadable, text, references, metadata, rule_set,
                ));
            }
            Err(error) => return Err(invalid(&error.message)),
        };
        if reading.validate_fields {
            validate_fields(&parsed, &request.text).map_err(|details| invalid(&details))?;
        }
        let mut text = parsed.text(TextForm::Canonical);
        if reading.normalize {
            let normalized = parsed.text(TextForm::Normalized);
            if normalized != text {
                // What is stored is what is compared from now on.
                let existing = ParseMode::Existing;
                parsed = ParsedSchema::parse(format, &normalized, &closure.resolved, existing)
                    .map_err(|error| invalid(&error.message))?;
                text = normalized;
            }
        }
        Ok(Self::assemble(
            format,
            Ok(Arc::new(parsed)),
            text,
            references,
            request.metadata.clone(),
            request.rule_set.clone(),
        ))
    }

    fn assemble(
        format: SchemaFormat,
        parsed: Result<Arc<ParsedSchema>, String>,
        text: String,
        references: Vec<Reference>,
        metadata: Option<Metadata>,
        rule_set: Option<RuleSet>,
    ) -> Self {
        let guid = content_guid(&text, &references, metadata.as_ref(), rule_set.as_ref());
        Self {
            format,
            parsed,
            text,
            references,
            metadata,
            rule_set,
            guid,
        }
    }

    /// The same schema with other company.
    pub(crate) fn with_contract(
        &self,
        metadata: Option<Metadata>,
        rule_set: Option<RuleSet>,
    ) -> Self {
        Self::assemble(
            self.format,
            self.parsed.clone(),
            self.text.clone(),
            self.references.clone(),
            metadata,
            rule_set,
        )
    }

    /// The parse tree.
    ///
    /// # Errors
    /// When the content was taken although it cannot be read.
    pub(crate) fn parsed(&self) -> Result<&Arc<ParsedSchema>, RegistryError> {
        self.parsed
            .as_ref()
            .map_err(|reason| RegistryError::InvalidSchema(reason.clone()))
    }

    /// Why the content cannot be read, where it was taken nevertheless.
    pub(crate) fn flaw(&self) -> Option<&str> {
        self.parsed.as_ref().err().map(String::as_str)
    }

    /// The content under an id; its parse tree is kept.
    pub(crate) fn registered(&self, context: &str, id: SchemaId) -> RegisteredSchema {
        let schema = RegisteredSchema::new(
            context.to_owned(),
            id,
            SchemaContent {
                guid: self.guid,
                format: self.format,
                text: self.text.clone(),
                references: self.references.clone(),
                metadata: self.metadata.clone(),
                rule_set: self.rule_set.clone(),
            },
        );
        if let Ok(parsed) = &self.parsed {
            schema.set_parsed(Arc::clone(parsed));
        }
        schema
    }

    /// The newest id of this very content in the context.
    pub(crate) fn id_in(&self, snapshot: &Snapshot, context: &str) -> Option<SchemaId> {
        // The hash leaves the format out; two formats must not share an id.
        snapshot
            .ids_by_guid(context, self.guid)
            .iter()
            .rev()
            .find(|id| {
                snapshot
                    .schema(context, **id)
                    .is_some_and(|schema| schema.format == self.format)
            })
            .copied()
    }

    /// Whether a stored version would be taken for this schema.
    fn matches(&self, context: &str, stored: &RegisteredSchema, stored_version: Version) -> bool {
        if stored.format != self.format {
            return false;
        }
        if self.references.is_empty() && !stored.references.is_empty() {
            // Somebody sent a schema with everything inlined that was registered in pieces.
            return self.metadata == stored.metadata
                && self.rule_set == stored.rule_set
                && self.is_inlined_form_of(stored);
        }
        if !same_references(context, &self.references, &stored.references) {
            return false;
        }
        let asked = self.metadata.as_ref().and_then(Metadata::pinned_version);
        let pinned = stored.metadata.as_ref().and_then(Metadata::pinned_version);
        let same_metadata = match (asked, pinned) {
            (None, None) | (Some(_), Some(_)) => self.metadata == stored.metadata,
            (Some(asked), None) if asked != stored_version.0.to_string() => false,
            (Some(_), None) | (None, Some(_)) => {
                unpinned(self.metadata.as_ref()) == unpinned(stored.metadata.as_ref())
            }
        };
        same_metadata && self.rule_set == stored.rule_set && self.is_equivalent(stored)
    }

    fn is_equivalent(&self, stored: &RegisteredSchema) -> bool {
        match (&self.parsed, stored.parsed()) {
            (Ok(mine), Ok(stored)) => mine.is_equivalent(stored),
            _ => self.text == stored.text,
        }
    }

    fn is_inlined_form_of(&self, stored: &RegisteredSchema) -> bool {
        let (Ok(mine), Ok(parsed)) = (&self.parsed, stored.parsed()) else {
            return false;
        };
        let inlined = parsed.text(TextForm::Resolved);
        ParsedSchema::parse(stored.format, &inlined, &[], ParseMode::Existing)
            .is_ok_and(|inlined| mine.is_equivalent(&inlined))
    }
}

fn unpinned(metadata: Option<&Metadata>) -> Metadata {
    metadata.map_or_else(Metadata::default, Metadata::without_pinned_version)
}

fn same_references(context: &str, left: &[Reference], right: &[Reference]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.name == right.name
                && left.version == right.version
                && qualify(context, &left.subject) == qualify(context, &right.subject)
        })
}

pub(crate) fn format_of(request: &SchemaRequest) -> Result<SchemaFormat, RegistryError> {
    request
        .schema_format()
        .map_err(|name| RegistryError::InvalidSchema(format!("Invalid schema type {name}")))
}

/// Completes references: the latest live version for -1, and only live targets for new schemas.
fn resolve(
    snapshot: &Snapshot,
    context: &str,
    references: &[RequestedReference],
    live_only: bool,
) -> Result<Vec<Reference>, String> {
    references
        .iter()
        .map(|reference| {
            let (Some(name), Some(subject), Some(version)) =
                (&reference.name, &reference.subject, reference.version)
            else {
                return Err(format!(
                    "Invalid reference: {{name='{}', subject='{}', version={}}}",
                    reference.name.as_deref().unwrap_or("null"),
                    reference.subject.as_deref().unwrap_or("null"),
                    reference
                        .version
                        .map_or_else(|| "null".to_owned(), |version| version.to_string()),
                ));
            };
            let image = snapshot.subject(&qualify(context, subject));
            let target = image.and_then(|image| {
                if version == -1 {
                    image.latest()
                } else {
                    let target = image.version(Version(version))?;
                    Some((Version(version), target))
                }
            });
            match target {
                Some((version, target)) if !(live_only && target.deleted) => Ok(Reference {
                    name: name.clone(),
                    subject: subject.clone(),
                    version: version.0,
                }),
                Some(_) | None => Err(format!(
                    "No schema reference found for subject \"{subject}\" and version {version}"
                )),
            }
        })
        .collect()
}

/// JSON Schema: names starting with `$$` are kept for the server. Protobuf: `protoc` must take it.
fn validate_fields(parsed: &ParsedSchema, text: &str) -> Result<(), String> {
    parsed.check_fields().map_err(|error| error.message)?;
    if parsed.format() != SchemaFormat::Json {
        return Ok(());
    }
    let properties = serde_json::from_str::<serde_json::Value>(text).ok();
    let reserved = properties
        .as_ref()
        .and_then(|schema| schema.get("properties")?.as_object())
        .is_some_and(|properties| properties.keys().any(|name| name.starts_with("$$")));
    if reserved {
        return Err("#: Field names cannot start with $$ prefix".to_owned());
    }
    Ok(())
}

/// Which versions a look-up considers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// Live ones.
    Live,
    /// Soft-deleted ones too.
    All,
    /// The newest live one, by comparison only.
    Latest,
}

/// The version of `subject` that is this schema.
///
/// By hash first, then newest to oldest by comparison; then once more with the metadata and rule
/// set of the latest version where the request has none.
pub(crate) fn look_up(
    snapshot: &Snapshot,
    subject: &str,
    candidate: &Candidate,
    among: Among,
) -> Option<Found> {
    let image = snapshot.subject(subject)?;
    if let Some(found) = look_up_as_sent(snapshot, subject, image, candidate, among) {
        return Some(found);
    }
    if among == Among::Latest {
        return None;
    }
    let (_, latest) = image.latest()?;
    let inherit_metadata = candidate.metadata.is_none() && latest.schema.metadata.is_some();
    let inherit_rules = candidate.rule_set.is_none() && latest.schema.rule_set.is_some();
    if !inherit_metadata && !inherit_rules {
        return None;
    }
    let inheriting = candidate.with_contract(
        candidate
            .metadata
            .clone()
            .or_else(|| latest.schema.metadata.clone()),
        candidate
            .rule_set
            .clone()
            .or_else(|| latest.schema.rule_set.clone()),
    );
    look_up_as_sent(snapshot, subject, image, &inheriting, among)
}

fn look_up_as_sent(
    snapshot: &Snapshot,
    subject: &str,
    image: &SubjectImage,
    candidate: &Candidate,
    among: Among,
) -> Option<Found> {
    let context = QualifiedSubject::parse(subject).context;
    let found = |version: Version, image: &VersionImage, by_hash: bool| Found {
        subject: subject.to_owned(),
        version,
        schema: Arc::clone(&image.schema),
        stamp: (!by_hash).then_some(Stamp {
            registered_ms: image.registered_ms,
            deleted: image.deleted,
        }),
    };
    if among != Among::Latest {
        // Only the newest id counts, as in the reference: older bindings are found by comparison.
        let by_hash = candidate.id_in(snapshot, context);
        if let Some(binding) = by_hash.and_then(|id| image.binding(id))
            && let Some(version) = image.version(binding.version)
            && (!binding.soft_deleted || among == Among::All)
        {
            return Some(found(binding.version, version, true));
        }
    }
    let considered = image
        .versions()
        .rev()
        .filter(|(_, version)| !version.deleted || among == Among::All)
        .take(if among == Among::Latest {
            1
        } else {
            usize::MAX
        });
    for (number, version) in considered {
        if candidate.matches(context, &version.schema, number) {
            return Some(found(number, version, false));
        }
    }
    None
}
