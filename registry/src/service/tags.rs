//! Editing the inline tags of a registered schema: a new version with other tags, metadata or rules.

use serde_formats::tags::TaggedEntity;

use super::Registry;
use super::candidate::{Candidate, Reading};
use super::delete::VersionSelector;
use super::read::find_version;
use super::register::{RegisterOptions, Registered, Registration};
use crate::error::RegistryError;
use crate::model::{
    Metadata, RequestedReference, RuleSet, SchemaRequest, VERSION_PROPERTY, Version,
};
use crate::snapshot::{RegisteredSchema, Snapshot};
use crate::subject_name::normalize;

/// What a request to edit tags brings.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagRequest {
    /// The version to make; 0 for whichever is next.
    pub(crate) new_version: i32,
    pub(crate) add: Vec<TaggedEntity>,
    pub(crate) remove: Vec<TaggedEntity>,
    /// Absent keeps the version's own.
    pub(crate) metadata: Option<Metadata>,
    /// Absent keeps the latest version's.
    pub(crate) rule_set: Option<RuleSet>,
    /// Rules to add to the previous version's, instead of `rule_set`.
    pub(crate) rules_to_merge: Option<RuleSet>,
    /// Names of rules to take from the previous version's, instead of `rule_set`.
    pub(crate) rules_to_remove: Option<Vec<String>>,
}

impl Registry {
    /// Registers the named version once more, edited.
    pub(crate) async fn modify_tags(
        &self,
        subject: String,
        selector: VersionSelector,
        request: TagRequest,
        actor: String,
    ) -> Result<Registered, RegistryError> {
        self.require_valid(&subject)?;
        let subject = normalize(&subject);
        let defaults = self.inner.defaults;
        self.change(true, move |snapshot| {
            let (_, _, image) = find_version(snapshot, &subject, selector, false)?;
            request.require_valid_rules()?;
            let registration = Registration {
                subject: subject.clone(),
                request: request.edited(snapshot, &subject, &image.schema)?,
                options: RegisterOptions {
                    normalize: false,
                    force: false,
                },
                actor: actor.clone(),
                defaults,
                looks_up_first: false,
            };
            registration.decide(snapshot)
        })
        .await
    }
}

impl TagRequest {
    fn require_valid_rules(&self) -> Result<(), RegistryError> {
        let edits_rules = self.rules_to_merge.is_some() || self.rules_to_remove.is_some();
        if edits_rules && self.rule_set.is_some() {
            return Err(RegistryError::InvalidRuleSet(
                "ruleSet should be omitted if specifying rulesToMerge or rulesToRemove".to_owned(),
            ));
        }
        for rules in self.rules_to_merge.iter().chain(&self.rule_set) {
            rules.validate().map_err(RegistryError::InvalidRuleSet)?;
        }
        Ok(())
    }

    /// The registration that the edit amounts to.
    fn edited(
        &self,
        snapshot: &Snapshot,
        subject: &str,
        stored: &RegisteredSchema,
    ) -> Result<SchemaRequest, RegistryError> {
        let mut metadata = self.metadata.clone().or_else(|| stored.metadata.clone());
        metadata
            .get_or_insert_default()
            .properties
            .insert(VERSION_PROPERTY.to_owned(), self.new_version.to_string());
        let mut request = SchemaRequest {
            metadata,
            rule_set: self.edited_rules(snapshot, subject),
            version: self.new_version,
            ..request_of(stored)
        };
        request.text = edited(snapshot, subject, &request, &self.add, &self.remove)?;
        Ok(request)
    }

    fn edited_rules(&self, snapshot: &Snapshot, subject: &str) -> Option<RuleSet> {
        if self.rules_to_merge.is_none() && self.rules_to_remove.is_none() {
            return self.rule_set.clone();
        }
        let image = snapshot.subject(subject);
        let previous = match self.new_version {
            0 => image.and_then(|image| image.latest()),
            number => image.and_then(|image| {
                let version = Version(number.checked_sub(1)?);
                let found = image.version(version).filter(|found| !found.deleted)?;
                Some((version, found))
            }),
        };
        let rules = previous.and_then(|(_, image)| image.schema.rule_set.as_ref());
        let rules = RuleSet::merge(rules, self.rules_to_merge.as_ref());
        match &self.rules_to_remove {
            Some(names) => rules.map(|rules| rules.without(names)),
            None => rules,
        }
    }
}

/// A request for the very schema that is stored.
pub(crate) fn request_of(stored: &RegisteredSchema) -> SchemaRequest {
    let references = stored
        .references
        .iter()
        .map(|reference| RequestedReference {
            name: Some(reference.name.clone()),
            subject: Some(reference.subject.clone()),
            version: Some(reference.version),
        });
    SchemaRequest {
        text: stored.text.clone(),
        format: Some(stored.format.name().to_owned()),
        references: references.collect(),
        metadata: stored.metadata.clone(),
        rule_set: stored.rule_set.clone(),
        ..SchemaRequest::default()
    }
}

/// The request's text with inline tags added and then others removed.
pub(crate) fn edited(
    snapshot: &Snapshot,
    subject: &str,
    request: &SchemaRequest,
    add: &[TaggedEntity],
    remove: &[TaggedEntity],
) -> Result<String, RegistryError> {
    let as_it_is = Reading {
        normalize: false,
        as_new: false,
        validate_fields: false,
        strict_references: false,
        keep_unreadable: false,
    };
    let candidate = Candidate::read(snapshot, subject, request, as_it_is)?;
    candidate.parsed()?.with_tags(add, remove).map_err(|error| {
        // The class is part of the reference's text.
        RegistryError::InvalidSchema(format!("java.lang.IllegalArgumentException: {error}"))
    })
}
