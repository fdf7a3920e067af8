//! Look-ups: everything that reads the image and changes nothing.

use std::collections::BTreeMap;

use super::candidate::{Among, Candidate, Found, Reading, look_up};
use super::delete::VersionSelector;
use super::scope::config_in_scope;
use super::{Defaults, Registry};
use crate::compatibility::{self, Findings, Rules};
use crate::error::RegistryError;
use crate::model::{SchemaId, SchemaRequest, Version};
use crate::snapshot::{SchemaImage, Snapshot, VersionImage};
use crate::subject_name::{QualifiedSubject, qualify};

/// Which subjects a prefix selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubjectPrefix<'a> {
    /// None for all contexts (`:*:`).
    context: Option<&'a str>,
    subject: &'a str,
}

impl<'a> SubjectPrefix<'a> {
    pub(crate) fn parse(prefix: &'a str) -> Self {
        if let Some(subject) = prefix.strip_prefix(":*:") {
            return Self {
                context: None,
                subject,
            };
        }
        let QualifiedSubject { context, subject } = QualifiedSubject::parse(prefix);
        Self {
            context: Some(context),
            subject,
        }
    }

    pub(crate) fn selects(&self, subject: &str) -> bool {
        let name = QualifiedSubject::parse(subject);
        self.context.is_none_or(|context| context == name.context)
            && name.subject.starts_with(self.subject)
    }
}

/// The subject's name in the default context first, then in every other one, unless the name is
/// qualified: by-version reads and look-ups search like this.
pub(crate) fn across_contexts(snapshot: &Snapshot, subject: &str) -> Vec<String> {
    let mut names = vec![subject.to_owned()];
    if QualifiedSubject::parse(subject).is_in_default_context() && !subject.is_empty() {
        names.extend(
            snapshot
                .contexts()
                .filter(|context| *context != ".")
                .map(|context| qualify(context, subject)),
        );
    }
    names
}

/// Whether a subject has a version the flag allows to see.
pub(crate) fn is_visible(snapshot: &Snapshot, subject: &str, deleted: bool) -> bool {
    snapshot
        .subject(subject)
        .is_some_and(|image| deleted || image.latest().is_some())
}

/// The version, in the subject or its namesakes in other contexts, and the name it was found under.
pub(crate) fn find_version<'s>(
    snapshot: &'s Snapshot,
    subject: &str,
    selector: VersionSelector,
    deleted: bool,
) -> Result<(String, Version, &'s VersionImage), RegistryError> {
    for name in across_contexts(snapshot, subject) {
        let found = snapshot
            .subject(&name)
            .and_then(|image| selector.select(image))
            .filter(|(_, image)| deleted || !image.deleted);
        if let Some((version, image)) = found {
            return Ok((name, version, image));
        }
    }
    if is_visible(snapshot, subject, deleted) {
        Err(RegistryError::VersionNotFound(selector.shown()))
    } else {
        Err(RegistryError::SubjectNotFound(subject.to_owned()))
    }
}

/// An id, and the subject version to show for it.
#[derive(Debug)]
pub(crate) struct ById<'s> {
    pub(crate) image: &'s SchemaImage,
    pub(crate) subject: &'s str,
    pub(crate) version: Version,
    /// No subject was asked for, or it does not matter: the prepared answer fits.
    pub(crate) is_representative: bool,
}

/// Finds an id the way serializers ask for it: with the subject they read, perhaps of another
/// context, or only a context (`:.ctx:`).
pub(crate) fn find_by_id<'s>(
    snapshot: &'s Snapshot,
    id: SchemaId,
    subject: Option<&str>,
) -> Option<ById<'s>> {
    let asked = QualifiedSubject::parse(subject.unwrap_or(""));
    if asked.subject.is_empty() {
        return representative(snapshot, asked.context, id);
    }
    let name = asked.to_name();
    if !asked.is_in_default_context() {
        return use_of(snapshot, asked.context, id, &name);
    }
    for name in across_contexts(snapshot, &name) {
        let context = QualifiedSubject::parse(&name).context;
        if let Some(found) = use_of(snapshot, context, id, &name) {
            return Some(found);
        }
    }
    representative(snapshot, ".", id)
}

fn representative<'s>(snapshot: &'s Snapshot, context: &str, id: SchemaId) -> Option<ById<'s>> {
    let image = snapshot.schema_image(context, id)?;
    let (subject, version) = snapshot.representative_use(image)?;
    Some(ById {
        image,
        subject,
        version,
        is_representative: true,
    })
}

fn use_of<'s>(
    snapshot: &'s Snapshot,
    context: &str,
    id: SchemaId,
    subject: &str,
) -> Option<ById<'s>> {
    let image = snapshot.schema_image(context, id)?;
    let binding = snapshot.subject(subject)?.binding(id)?;
    let (name, _) = image
        .uses
        .iter()
        .find(|(name, _)| name.as_ref() == subject)?;
    Some(ById {
        image,
        subject: name,
        version: binding.version,
        is_representative: false,
    })
}

impl Registry {
    /// The version of a subject that is this schema.
    pub(crate) fn look_up(
        &self,
        subject: &str,
        request: &SchemaRequest,
        normalize: bool,
        deleted: bool,
    ) -> Result<Found, RegistryError> {
        let snapshot = self.snapshot();
        super::candidate::format_of(request)?;
        let names = across_contexts(&snapshot, subject);
        let known = names.iter().any(|name| snapshot.subject(name).is_some());
        if known && !request.text.trim().is_empty() {
            let config = config_in_scope(&snapshot, subject);
            let reading = Reading {
                normalize: normalize || config.normalize.unwrap_or(false),
                as_new: false,
                validate_fields: false,
                strict_references: self.inner.defaults.strict_reference_versions,
                keep_unreadable: false,
            };
            let among = if deleted { Among::All } else { Among::Live };
            for name in &names {
                if snapshot.subject(name).is_none() {
                    continue;
                }
                let candidate = Candidate::read(&snapshot, name, request, reading)?;
                if let Some(found) = look_up(&snapshot, name, &candidate, among) {
                    return Ok(found);
                }
            }
        }
        if is_visible(&snapshot, subject, deleted) {
            Err(RegistryError::SchemaNotFound)
        } else {
            Err(RegistryError::SubjectNotFound(subject.to_owned()))
        }
    }

    /// The newest version whose metadata has all these properties.
    pub(crate) fn version_with_metadata<'s>(
        snapshot: &'s Snapshot,
        subject: &str,
        wanted: &BTreeMap<&str, &str>,
        deleted: bool,
    ) -> Result<(Version, &'s VersionImage), RegistryError> {
        let image = snapshot
            .subject(subject)
            .filter(|image| deleted || image.latest().is_some())
            .ok_or_else(|| RegistryError::SubjectNotFound(subject.to_owned()))?;
        image
            .versions()
            .rev()
            .filter(|(_, image)| deleted || !image.deleted)
            .find(|(_, image)| {
                let properties = image.schema.metadata.as_ref().map(|m| &m.properties);
                wanted.iter().all(|(key, value)| {
                    properties
                        .and_then(|properties| properties.get(*key))
                        .is_some_and(|found| found == value)
                })
            })
            .ok_or(RegistryError::SchemaNotFound)
    }

    /// Whether a schema may follow one version, or all that the level looks at.
    pub(crate) fn check_compatibility(
        &self,
        subject: &str,
        selector: Option<VersionSelector>,
        request: &SchemaRequest,
        normalize: bool,
    ) -> Result<Findings, RegistryError> {
        let snapshot = self.snapshot();
        incompatibilities(
            &snapshot,
            self.inner.defaults,
            subject,
            selector,
            request,
            normalize,
        )
    }
}

/// Whether a schema may follow one version, or all that the level looks at.
pub(crate) fn incompatibilities(
    snapshot: &Snapshot,
    defaults: Defaults,
    subject: &str,
    selector: Option<VersionSelector>,
    request: &SchemaRequest,
    normalize: bool,
) -> Result<Findings, RegistryError> {
    let image = snapshot.subject(subject);
    let against = match selector {
        None => None,
        Some(VersionSelector::Latest) => image.and_then(|image| image.latest()),
        Some(VersionSelector::Number(version)) => {
            let found = image
                .and_then(|image| image.version(version))
                .filter(|image| !image.deleted)
                .ok_or(RegistryError::VersionNotFound(version.0))?;
            Some((version, found))
        }
    };
    if request.text.trim().is_empty() {
        return Err(RegistryError::InvalidSchema("Empty schema".to_owned()));
    }
    let config = config_in_scope(snapshot, subject);
    let reading = Reading {
        normalize: normalize || config.normalize.unwrap_or(false),
        as_new: config.validate_new_schemas.unwrap_or(true),
        validate_fields: config.validate_fields.unwrap_or(false),
        strict_references: defaults.strict_reference_versions,
        keep_unreadable: false,
    };
    let candidate = Candidate::read(snapshot, subject, request, reading)?;
    let mut rules = Rules::of(&config, defaults.level);
    let metadata = candidate.metadata.as_ref();
    let parsed = candidate.parsed()?;
    if selector.is_none() {
        let live = image.into_iter().flat_map(|image| image.live());
        return Ok(compatibility::check(rules, parsed, metadata, live));
    }
    // A named version is always looked at, whatever its group.
    rules.group = None;
    Ok(compatibility::check(
        rules,
        parsed,
        metadata,
        against.into_iter(),
    ))
}
