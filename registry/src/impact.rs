//! What a delete would do, without doing it: who refers to it, which topics are bound to it, when
//! records last used it.
//!
//! The registry knows the references; topics and use are known to whoever judges records, who
//! tells through [`SubjectUsage`].

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use crate::error::RegistryError;
use crate::model::Version;
use crate::service::Registry;
use crate::service::delete::{VersionSelector, require_unreferenced};
use crate::service::scope::require_writable;
use crate::snapshot::Snapshot;

/// What is known of a subject outside the registry.
pub trait SubjectUsage: fmt::Debug + Send + Sync {
    /// Topics whose records are looked up under the subject.
    fn topics(&self, subject: &str) -> Vec<BoundTopic>;
}

/// A topic bound to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundTopic {
    /// The topic.
    pub topic: String,
    /// `key` or `value`.
    pub part: &'static str,
    /// What is done with records: `off`, `observe`, `enforce` or `auto`.
    pub mode: &'static str,
}

/// A schema that stands on what would be deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Referrer {
    /// Its subject.
    pub subject: String,
    /// Its version.
    pub version: Version,
    /// Its id.
    pub id: i32,
    /// Soft-deleted itself.
    pub deleted: bool,
    /// 1 refers directly, 2 through one other, ….
    pub distance: usize,
}

/// One version that would go.
#[derive(Debug, Clone)]
pub struct AffectedVersion {
    /// The version.
    pub version: Version,
    /// Its id.
    pub id: i32,
    /// Soft-deleted already.
    pub deleted: bool,
    /// Other subjects that have the id too: with one, the id still resolves after a permanent
    /// delete.
    pub also_in: Vec<String>,
    /// When an accepted record last carried the id, in ms since the Unix epoch; none since this
    /// process started.
    pub last_used_ms: Option<i64>,
}

/// What a delete would do.
#[derive(Debug, Clone)]
pub struct Impact {
    /// The subject.
    pub subject: String,
    /// Versions that would go, ascending.
    pub versions: Vec<AffectedVersion>,
    /// Why a soft delete would be refused.
    pub refused: Option<RegistryError>,
    /// Why a permanent delete (after the soft one) would be refused.
    pub permanently_refused: Option<RegistryError>,
    /// Who stands on it, nearest first.
    pub referrers: Vec<Referrer>,
    /// Topics bound to the subject.
    pub topics: Vec<BoundTopic>,
    /// Whether no live version would be left.
    pub subject_goes: bool,
}

/// Referrers followed.
const REFERRERS_MAX: usize = 1_000;

impl Registry {
    /// What deleting the version, or all of them, would do.
    pub(crate) fn delete_impact(
        &self,
        subject: &str,
        selector: Option<VersionSelector>,
    ) -> Result<Impact, RegistryError> {
        let snapshot = self.snapshot();
        let image = snapshot
            .subject(subject)
            .ok_or_else(|| RegistryError::SubjectNotFound(subject.to_owned()))?;
        let targets: Vec<Version> = match selector {
            None => image.versions().map(|(version, _)| version).collect(),
            Some(selector) => {
                let found = selector.select(image);
                let missing = || RegistryError::VersionNotFound(selector.shown());
                vec![found.ok_or_else(missing)?.0]
            }
        };
        let whole = selector.is_none();
        let subject_goes = image.live().all(|(version, _)| targets.contains(&version));
        let is_associated = !snapshot.associations_of_subject(subject).is_empty();
        let refusal = |permanent: bool| {
            require_writable(&snapshot, subject).err().or_else(|| {
                if is_associated && whole {
                    return Some(RegistryError::AssociationExistsForSubject(
                        subject.to_owned(),
                    ));
                }
                if is_associated && subject_goes {
                    return Some(RegistryError::NoActiveVersion(subject.to_owned()));
                }
                targets.iter().find_map(|version| {
                    require_unreferenced(&snapshot, subject, *version, permanent, whole).err()
                })
            })
        };
        let context = crate::subject_name::QualifiedSubject::parse(subject).context;
        let versions = targets
            .iter()
            .filter_map(|version| Some((*version, image.version(*version)?)))
            .map(|(version, stored)| AffectedVersion {
                version,
                id: stored.schema.id.0,
                deleted: stored.deleted,
                also_in: snapshot
                    .schema_image(context, stored.schema.id)
                    .into_iter()
                    .flat_map(|image| &image.uses)
                    .map(|(name, _)| name.as_ref())
                    .filter(|name| *name != subject)
                    .map(str::to_owned)
                    .collect::<BTreeSet<String>>()
                    .into_iter()
                    .collect(),
                last_used_ms: stored.schema.last_used_ms(),
            })
            .collect();
        Ok(Impact {
            subject: subject.to_owned(),
            refused: refusal(false),
            permanently_refused: refusal(true),
            referrers: referrers(&snapshot, subject, &targets),
            topics: self
                .usage()
                .map_or_else(Vec::new, |usage| usage.topics(subject)),
            subject_goes,
            versions,
        })
    }
}

/// Breadth first over "refers to", each version once.
fn referrers(snapshot: &Snapshot, subject: &str, targets: &[Version]) -> Vec<Referrer> {
    let mut met: BTreeSet<(String, Version)> = targets
        .iter()
        .map(|version| (subject.to_owned(), *version))
        .collect();
    let mut queue: VecDeque<(String, Version, usize)> = targets
        .iter()
        .map(|version| (subject.to_owned(), *version, 0))
        .collect();
    let mut found = Vec::new();
    while let Some((target, target_version, distance)) = queue.pop_front() {
        for (context, id) in snapshot.referrers(&target, target_version) {
            let uses = snapshot.schema_image(context, id).map(|image| &image.uses);
            for (user, version) in uses.into_iter().flatten() {
                if found.len() >= REFERRERS_MAX {
                    return found;
                }
                if !met.insert((user.to_string(), *version)) {
                    continue;
                }
                found.push(Referrer {
                    subject: user.to_string(),
                    version: *version,
                    id: id.0,
                    deleted: snapshot.is_deleted(user, *version),
                    distance: distance + 1,
                });
                queue.push_back((user.to_string(), *version, distance + 1));
            }
        }
    }
    found.sort_by(|a, b| {
        (a.distance, &a.subject, a.version).cmp(&(b.distance, &b.subject, b.version))
    });
    found
}
