//! Deleting versions, subjects and contexts, first softly, then for good.

use serde_json::json;

use super::scope::require_writable;
use super::{Decision, Registry, now_ms};
use crate::change::{Audit, Change, ChangeSet};
use crate::error::RegistryError;
use crate::model::{SchemaId, Version};
use crate::snapshot::{Snapshot, SubjectImage, VersionImage};
use crate::subject_name::QualifiedSubject;

/// A version as a path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionSelector {
    /// The newest live one.
    Latest,
    /// Exactly this one.
    Number(Version),
}

impl VersionSelector {
    /// The number to show when it was not found; the reference shows -1 for latest.
    pub(crate) const fn shown(self) -> i32 {
        match self {
            Self::Latest => -1,
            Self::Number(version) => version.0,
        }
    }

    /// The version selected, soft-deleted ones only by number.
    pub(crate) fn select(self, image: &SubjectImage) -> Option<(Version, &VersionImage)> {
        match self {
            Self::Latest => image.latest(),
            Self::Number(version) => image.version(version).map(|image| (version, image)),
        }
    }
}

impl Registry {
    /// Deletes one version; its number.
    pub(crate) async fn delete_version(
        &self,
        subject: String,
        selector: VersionSelector,
        permanent: bool,
        actor: String,
    ) -> Result<Version, RegistryError> {
        self.change(false, move |snapshot| {
            let image = snapshot
                .subject(&subject)
                .ok_or_else(|| RegistryError::SubjectNotFound(subject.clone()))?;
            let (version, target) = selector
                .select(image)
                .ok_or_else(|| RegistryError::VersionNotFound(selector.shown()))?;
            if !permanent && target.deleted {
                return Err(RegistryError::VersionSoftDeleted(subject.clone(), version));
            }
            require_writable(snapshot, &subject)?;
            if !permanent && !snapshot.associations_of_subject(&subject).is_empty() {
                // A topic relies on the subject to have a version.
                let mut others = image.live().filter(|(other, _)| *other != version);
                if others.next().is_none() {
                    return Err(RegistryError::NoActiveVersion(subject.clone()));
                }
            }
            require_unreferenced(snapshot, &subject, version, permanent, false)?;
            if permanent && !target.deleted {
                return Err(RegistryError::VersionNotSoftDeleted(
                    subject.clone(),
                    version,
                ));
            }
            let operation = if permanent {
                "delete-version-permanently"
            } else {
                "delete-version"
            };
            let changes = if permanent {
                removal(snapshot, &subject, image, &[version])
            } else {
                vec![soft(&subject, version, target)]
            };
            let set = change_set(&actor, operation, &subject, &[version], changes);
            Ok(Decision::Change(Box::new(set), version))
        })
        .await
    }

    /// Deletes every version; their numbers, ascending.
    pub(crate) async fn delete_subject(
        &self,
        subject: String,
        permanent: bool,
        actor: String,
    ) -> Result<Vec<Version>, RegistryError> {
        self.change(false, move |snapshot| {
            let (versions, changes) = subject_deletion(snapshot, &subject, permanent)?;
            let operation = if permanent {
                "delete-subject-permanently"
            } else {
                "delete-subject"
            };
            let set = change_set(&actor, operation, &subject, &versions, changes);
            Ok(Decision::Change(Box::new(set), versions))
        })
        .await
    }

    /// Takes an empty context off the list; its ids stay spent.
    pub(crate) async fn delete_context(
        &self,
        shown: String,
        actor: String,
    ) -> Result<(), RegistryError> {
        let context = QualifiedSubject::parse(&shown).context.to_owned();
        self.change(false, move |snapshot| {
            let holds = snapshot
                .subjects()
                .iter()
                .any(|subject| QualifiedSubject::parse(subject).context == context);
            if holds {
                return Err(RegistryError::ContextNotEmpty(shown.clone()));
            }
            if !snapshot.is_context_recorded(&context) {
                return Ok(Decision::Unchanged(()));
            }
            let changes = vec![Change::RecordContext {
                context: context.clone(),
                recorded: false,
            }];
            let set = change_set(&actor, "delete-context", &shown, &[], changes);
            Ok(Decision::Change(Box::new(set), ()))
        })
        .await
    }
}

/// The versions that go when a subject is deleted, and the facts that remove them.
pub(crate) fn subject_deletion(
    snapshot: &Snapshot,
    subject: &str,
    permanent: bool,
) -> Result<(Vec<Version>, Vec<Change>), RegistryError> {
    let image = snapshot
        .subject(subject)
        .ok_or_else(|| RegistryError::SubjectNotFound(subject.to_owned()))?;
    if !permanent && image.latest().is_none() {
        return Err(RegistryError::SubjectSoftDeleted(subject.to_owned()));
    }
    require_writable(snapshot, subject)?;
    if !snapshot.associations_of_subject(subject).is_empty() {
        return Err(RegistryError::AssociationExistsForSubject(
            subject.to_owned(),
        ));
    }
    if permanent && image.latest().is_some() {
        return Err(RegistryError::SubjectNotSoftDeleted(subject.to_owned()));
    }
    let versions: Vec<Version> = image
        .versions()
        .filter(|(_, image)| permanent || !image.deleted)
        .map(|(version, _)| version)
        .collect();
    for version in &versions {
        require_unreferenced(snapshot, subject, *version, permanent, true)?;
    }
    let changes = if permanent {
        removal(snapshot, subject, image, &versions)
    } else {
        image
            .live()
            .map(|(version, target)| soft(subject, version, target))
            .collect()
    };
    Ok((versions, changes))
}

fn soft(subject: &str, version: Version, target: &VersionImage) -> Change {
    Change::PutVersion {
        subject: subject.to_owned(),
        version,
        id: target.schema.id,
        deleted: true,
        registered_ms: target.registered_ms,
    }
}

fn change_set(
    actor: &str,
    operation: &'static str,
    subject: &str,
    versions: &[Version],
    changes: Vec<Change>,
) -> ChangeSet {
    let numbers: Vec<i32> = versions.iter().map(|version| version.0).collect();
    ChangeSet {
        changes,
        audit: Audit {
            actor: actor.to_owned(),
            operation,
            subject: subject.to_owned(),
            before: (!numbers.is_empty()).then(|| json!({ "versions": numbers })),
            after: None,
        },
        at_ms: now_ms(),
    }
}

/// A soft delete is blocked by a live referrer, a permanent one by any; deleting a whole subject
/// does not look at referrers within it.
pub(crate) fn require_unreferenced(
    snapshot: &Snapshot,
    subject: &str,
    version: Version,
    permanent: bool,
    whole_subject: bool,
) -> Result<(), RegistryError> {
    let blocked = snapshot
        .referrers(subject, version)
        .filter_map(|(context, id)| snapshot.schema_image(context, id))
        .flat_map(|referrer| &referrer.uses)
        .filter(|(user, _)| !(whole_subject && user.as_ref() == subject))
        .any(|(user, number)| permanent || !snapshot.is_deleted(user, *number));
    if blocked {
        return Err(RegistryError::ReferenceExists {
            subject: subject.to_owned(),
            version,
        });
    }
    Ok(())
}

/// The facts that remove versions for good, with schemas nobody uses any more and, when nothing of
/// the subject is left, its settings and mode.
pub(crate) fn removal(
    snapshot: &Snapshot,
    subject: &str,
    image: &SubjectImage,
    versions: &[Version],
) -> Vec<Change> {
    let context = QualifiedSubject::parse(subject).context;
    let mut ids: Vec<SchemaId> = Vec::new();
    let mut changes = Vec::new();
    for version in versions.iter().rev() {
        if let Some(target) = image.version(*version)
            && !ids.contains(&target.schema.id)
        {
            ids.push(target.schema.id);
        }
        changes.push(Change::RemoveVersion {
            subject: subject.to_owned(),
            version: *version,
        });
    }
    for id in ids {
        let used_elsewhere = snapshot.schema_image(context, id).is_some_and(|image| {
            image
                .uses
                .iter()
                .any(|(user, number)| user.as_ref() != subject || !versions.contains(number))
        });
        if !used_elsewhere {
            changes.push(Change::RemoveSchema {
                context: context.to_owned(),
                id,
            });
        }
    }
    if image
        .versions()
        .all(|(number, _)| versions.contains(&number))
    {
        if snapshot.config(subject).is_some() {
            changes.push(Change::PutConfig {
                subject: subject.to_owned(),
                config: None,
            });
        }
        if snapshot.mode(subject).is_some() {
            changes.push(Change::PutMode {
                subject: subject.to_owned(),
                mode: None,
            });
        }
    }
    changes
}
