//! What enforcement asks of a registry snapshot beyond single look-ups.

use registry::{AssociationType, QualifiedSubject, SchemaId, Snapshot};
use serde_formats::{SchemaFormat, Scratch, ValidationOptions};

use super::explain::Known;
use super::policy::{NameStrategy, Part, PinnedSchema, Policy};

/// The subject that a topic alone gives, and the context that its ids are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) subject: &'a str,
    pub(super) context: &'a str,
}

/// The associated subject where there is one and the strategy asks for it, else the TopicName one.
pub(super) fn target<'a>(policy: &'a Policy, part: Part, snapshot: &'a Snapshot) -> Target<'a> {
    let part_policy = policy.part(part);
    if part_policy.strategy == NameStrategy::Associated {
        let association_type = match part {
            Part::Key => AssociationType::Key,
            Part::Value => AssociationType::Value,
        };
        if let Some(subject) = snapshot.associated_subject(&policy.topic, association_type) {
            let context = QualifiedSubject::parse(subject).context;
            return Target { subject, context };
        }
    }
    Target {
        subject: &part_policy.topic_subject,
        context: &policy.context,
    }
}

/// The schema that the topic names for unframed records: its id and, where a subject gave it, its
/// version.
pub(super) fn pinned_id(
    policy: &Policy,
    part: Part,
    snapshot: &Snapshot,
) -> Option<(SchemaId, Option<i32>)> {
    let part_policy = policy.part(part);
    let live = || snapshot.live_versions(target(policy, part, snapshot).subject);
    match part_policy.schema {
        PinnedSchema::Latest => live().first().map(|(version, id)| (*id, Some(version.0))),
        PinnedSchema::Version(wanted) => live()
            .into_iter()
            .find(|(version, _)| version.0 == wanted)
            .map(|(version, id)| (id, Some(version.0))),
        PinnedSchema::Id(id) => Some((SchemaId(id), None)),
    }
}

/// The registry as [`super::explain`] sees it.
pub(super) struct SnapshotKnown<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) policy: &'a Policy,
    pub(super) part: Part,
    pub(super) scratch: &'a mut Scratch,
}

impl SnapshotKnown<'_> {
    fn target(&self) -> Target<'_> {
        target(self.policy, self.part, self.snapshot)
    }
}

impl Known for SnapshotKnown<'_> {
    fn id_exists(&mut self, id: i32) -> bool {
        id > 0
            && self
                .snapshot
                .schema(self.target().context, SchemaId(id))
                .is_some()
    }

    fn format(&mut self, id: i32) -> Option<SchemaFormat> {
        self.snapshot
            .schema(self.target().context, SchemaId(id))
            .map(|schema| schema.format)
    }

    fn decodes(&mut self, id: i32, indexes: &[i32], payload: &[u8]) -> bool {
        let context = target(self.policy, self.part, self.snapshot).context;
        let Some(schema) = self.snapshot.schema(context, SchemaId(id)) else {
            return false;
        };
        let Ok(compiled) = schema.compiled() else {
            return false;
        };
        compiled.message(indexes).is_some_and(|message| {
            compiled
                .validate(message, payload, ValidationOptions::default(), self.scratch)
                .is_ok()
        })
    }

    fn other_version(
        &mut self,
        subject: &str,
        id: i32,
        indexes: &[i32],
        payload: &[u8],
    ) -> Option<(i32, i32)> {
        self.snapshot
            .live_versions(subject)
            .into_iter()
            .filter(|(_, other)| other.0 != id)
            .take(VERSIONS_TRIED)
            .find(|(_, other)| self.decodes(other.0, indexes, payload))
            .map(|(version, other)| (version.0, other.0))
    }

    fn latest(&mut self, payload: &[u8]) -> Option<(i32, i32)> {
        let subject = self.target().subject;
        let (version, id) = *self.snapshot.live_versions(subject).first()?;
        self.decodes(id.0, &[0], payload)
            .then_some((version.0, id.0))
    }

    fn sibling_subject(&mut self, id: i32) -> Option<String> {
        let subject = target(self.policy, self.part.sibling(), self.snapshot).subject;
        self.snapshot
            .binding(subject, SchemaId(id))
            .map(|_| subject.to_owned())
    }
}

/// Newest live versions tried on a payload that does not obey its own.
const VERSIONS_TRIED: usize = 8;
