//! A change of associations in the making, and the checks on the way.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::association::{
    Association, AssociationFilter, AssociationType, Lifecycle, Resource, WEAK_FROZEN,
    WEAK_WITH_SCHEMA, WEAK_WITHOUT_SUBJECT, Wish, frozen_elsewhere, frozen_mismatch, invalid,
    weak_on_own,
};
use crate::change::{Audit, Change, ChangeSet};
use crate::error::RegistryError;
use crate::model::{Mode, SchemaRequest, Subject, Version};
use crate::service::candidate::{Among, Candidate, Reading, look_up};
use crate::service::delete::subject_deletion;
use crate::service::parses::Parses;
use crate::service::read::incompatibilities;
use crate::service::register::{RegisterOptions, Registered, Registration};
use crate::service::scope::mode_in_scope;
use crate::service::{Decision, Defaults, now_ms};
use crate::snapshot::Snapshot;
use crate::subject_name::{QualifiedSubject, qualify};

use super::{Associated, associations_named, require_once, sorted};

/// A change in the making: later steps see what earlier ones did.
pub(super) struct Work<'a> {
    snapshot: Snapshot,
    changes: Vec<Change>,
    before: Vec<Arc<Association>>,
    after: Vec<Arc<Association>>,
    defaults: Defaults,
    actor: &'a str,
    /// Where unqualified subjects are.
    context: &'a str,
    at_ms: i64,
}

/// A wish whose subject is known, and what is stored for its type.
struct Settled {
    wish: Wish,
    subject: Subject,
    lifecycle: Lifecycle,
    stored: Option<Arc<Association>>,
    /// Stored and wished are the same: nothing to do.
    is_done: bool,
}

impl<'a> Work<'a> {
    pub(super) fn on(
        snapshot: &Snapshot,
        defaults: Defaults,
        actor: &'a str,
        context: &'a str,
    ) -> Self {
        Self {
            snapshot: snapshot.clone(),
            changes: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            defaults,
            actor,
            context,
            at_ms: now_ms(),
        }
    }

    fn apply(&mut self, changes: Vec<Change>) {
        self.snapshot.advance(&changes, self.snapshot.epoch());
        self.changes.extend(changes);
    }

    pub(super) fn into_decision<T>(
        self,
        operation: &'static str,
        dry_run: bool,
        answer: T,
    ) -> Decision<T> {
        if dry_run || self.changes.is_empty() {
            return Decision::Unchanged(answer);
        }
        let first = self.after.first().or_else(|| self.before.first());
        let shown = |associations: &[Arc<Association>]| -> Option<Value> {
            let values = associations.iter().map(|one| logged(one));
            (!associations.is_empty()).then(|| values.collect())
        };
        let set = ChangeSet {
            audit: Audit {
                actor: self.actor.to_owned(),
                operation,
                subject: first.map(|one| one.subject.clone()).unwrap_or_default(),
                before: shown(&self.before),
                after: shown(&self.after),
            },
            changes: self.changes,
            at_ms: self.at_ms,
        };
        Decision::Change(Box::new(set), answer)
    }

    pub(super) fn of_id(&self, resource_id: Option<&str>) -> Vec<Arc<Association>> {
        let id = resource_id.unwrap_or("");
        let stored = self.snapshot.associations_of_id(id).iter();
        sorted(stored, &AssociationFilter::default())
    }

    /// What is stored for the topic; one without an id is known by its name, and of several of one
    /// name the one changed last is meant.
    fn stored_of(&self, resource: &Resource) -> Vec<Arc<Association>> {
        if resource.id.is_some() {
            return self.of_id(resource.id.as_deref());
        }
        let all = AssociationFilter::default();
        let named = associations_named(&self.snapshot, &resource.namespace, &resource.name, &all);
        let newest = named
            .iter()
            .max_by_key(|one| (one.updated_ms, one.created_ms, one.resource_id.clone()))
            .map(|one| one.resource_id.clone());
        named
            .into_iter()
            .filter(|one| Some(&one.resource_id) == newest.as_ref())
            .collect()
    }

    pub(super) fn put(
        &mut self,
        resource: &Resource,
        wishes: Vec<Wish>,
        is_create: bool,
        dry_run: bool,
    ) -> Result<Vec<Associated>, RegistryError> {
        let stored = self.stored_of(resource);
        let mut seen = Vec::new();
        let mut wishes = wishes;
        for wish in &mut wishes {
            self.resolve_subject(wish)?;
        }
        for wish in &wishes {
            require_once(&mut seen, wish.association_type)?;
        }
        let mut settled = Vec::new();
        for wish in wishes {
            settled.push(self.settle(resource, &stored, wish, is_create)?);
        }
        require_uniform(&stored, &settled)?;
        for one in &settled {
            self.require_free_subject(one, &settled)?;
        }
        for one in &settled {
            self.require_compatible(one)?;
        }
        if dry_run {
            return Ok(Vec::new());
        }
        let mut registered = Vec::new();
        for one in &settled {
            registered.push(self.register(one)?);
        }
        let mut associated = Vec::new();
        for (one, registered) in settled.into_iter().zip(registered) {
            if !one.is_done {
                associated.push((self.store(resource, one), registered));
            }
        }
        Ok(associated)
    }

    /// Qualifies the subject and follows an alias.
    fn resolve_subject(&self, wish: &mut Wish) -> Result<(), RegistryError> {
        let Some(asked) = &wish.subject else {
            return Ok(());
        };
        let mut subject = qualify(self.context, asked);
        if let Some(target) = self.snapshot.alias_target(&subject) {
            subject = target;
        }
        self.require_writable(&subject)?;
        wish.subject = Some(subject);
        Ok(())
    }

    fn require_writable(&self, subject: &str) -> Result<(), RegistryError> {
        if !mode_in_scope(&self.snapshot, subject).is_read_only() {
            return Ok(());
        }
        let name = QualifiedSubject::parse(subject);
        Err(RegistryError::OperationNotPermitted(format!(
            "Subject {} in context {} is in read-only mode",
            name.subject, name.context
        )))
    }

    fn is_importing(&self, subject: &str) -> bool {
        mode_in_scope(&self.snapshot, subject) == Mode::Import
    }

    /// Checks one wish against what is stored for its type.
    fn settle(
        &self,
        resource: &Resource,
        stored: &[Arc<Association>],
        mut wish: Wish,
        is_create: bool,
    ) -> Result<Settled, RegistryError> {
        let stored = stored
            .iter()
            .find(|one| one.association_type == wish.association_type)
            .cloned();
        if stored.is_none() && !is_create {
            wish.settle_new(false)?;
        }
        let own = resource.default_subject(wish.association_type);
        let subject = match (&wish.subject, &stored) {
            (Some(subject), _) => subject.clone(),
            (None, Some(stored)) => stored.subject.clone(),
            (None, None) if wish.lifecycle == Some(Lifecycle::Strong) => own.clone(),
            (None, None) => return Err(invalid("subject", WEAK_WITHOUT_SUBJECT)),
        };
        let lifecycle = wish
            .lifecycle
            .or_else(|| stored.as_ref().map(|stored| stored.lifecycle))
            .ok_or_else(|| invalid("lifecycle", "lifecycle must be set"))?;
        if lifecycle == Lifecycle::Weak {
            if wish.schema.is_some() {
                return Err(invalid("lifecycle", WEAK_WITH_SCHEMA));
            }
            if subject == own {
                return Err(weak_on_own(&own));
            }
        }
        let is_frozen = match &stored {
            Some(stored) => stored.frozen,
            None => wish.frozen == Some(true),
        };
        let wished_frozen = wish.frozen.unwrap_or(is_frozen);
        if wished_frozen != (lifecycle == Lifecycle::Strong) {
            return Err(frozen_mismatch(lifecycle, wished_frozen));
        }
        if is_frozen && subject != own {
            return Err(frozen_elsewhere(&own));
        }
        let settled = Settled {
            is_done: stored.as_ref().is_some_and(|stored| {
                stored.subject == subject
                    && stored.lifecycle == lifecycle
                    && stored.frozen == wished_frozen
            }),
            wish,
            subject,
            lifecycle,
            stored,
        };
        match &settled.stored {
            None => self.require_creatable(&settled, is_create)?,
            Some(_) if settled.is_done => self.require_same_schema(&settled, is_create)?,
            Some(stored) => require_updatable(&settled, stored, &own, is_create)?,
        }
        Ok(settled)
    }

    fn require_creatable(&self, new: &Settled, is_create: bool) -> Result<(), RegistryError> {
        // What is imported was established elsewhere.
        if new.lifecycle != Lifecycle::Strong || self.is_importing(&new.subject) {
            return Ok(());
        }
        if !is_create {
            return Err(invalid("lifecycle", STRONG_ON_UPSERT));
        }
        let Some(schema) = &new.wish.schema else {
            let detail = "schema must be provided when creating a frozen association";
            return Err(invalid("schema", detail));
        };
        let latest = self
            .snapshot
            .subject(&new.subject)
            .and_then(|image| image.latest());
        let Some((version, _)) = latest else {
            return Ok(());
        };
        if version == Version(1) && self.has_schema(new, schema)? {
            return Ok(());
        }
        Err(invalid("frozen", FROZEN_ON_USED))
    }

    /// Repeating a creation is fine, with another schema it is not a repetition.
    fn require_same_schema(&self, same: &Settled, is_create: bool) -> Result<(), RegistryError> {
        let Some(stored) = &same.stored else {
            return Ok(());
        };
        match &same.wish.schema {
            Some(schema) if is_create && !self.has_schema(same, schema)? => {
                Err(exists_for_resource(stored))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn has_schema(&self, of: &Settled, schema: &SchemaRequest) -> Result<bool, RegistryError> {
        let reading = Reading {
            normalize: of.wish.normalize,
            as_new: false,
            validate_fields: false,
            strict_references: self.defaults.strict_reference_versions,
            keep_unreadable: false,
        };
        let candidate = Candidate::read(&self.snapshot, &of.subject, schema, reading)?;
        Ok(look_up(&self.snapshot, &of.subject, &candidate, Among::Live).is_some())
    }

    fn require_free_subject(&self, one: &Settled, all: &[Settled]) -> Result<(), RegistryError> {
        let subject = &one.subject;
        if one.wish.schema.is_some() {
            if self.is_importing(subject) {
                let detail =
                    format!("cannot be provided while subject '{subject}' is in IMPORT mode");
                return Err(invalid("schema", detail));
            }
        } else if self
            .snapshot
            .subject(subject)
            .is_none_or(|image| image.latest().is_none())
        {
            return Err(RegistryError::NoActiveVersion(subject.clone()));
        }
        let stored = one.stored.as_ref().map(|stored| stored.guid);
        let mut others = self
            .snapshot
            .associations_of_subject(subject)
            .iter()
            .filter(|other| Some(other.guid) != stored);
        match one.lifecycle {
            Lifecycle::Strong if others.next().is_some() => {
                Err(RegistryError::AssociationExistsForSubject(subject.clone()))
            }
            Lifecycle::Strong
                if self.snapshot.is_referenced(subject) || is_wished_reference(all, subject) =>
            {
                Err(RegistryError::SubjectReferenced(subject.clone()))
            }
            Lifecycle::Weak if one.wish.frozen == Some(true) => Err(invalid("frozen", WEAK_FROZEN)),
            Lifecycle::Weak if others.any(|other| other.lifecycle == Lifecycle::Strong) => {
                Err(RegistryError::StrongAssociationExists(subject.clone()))
            }
            Lifecycle::Strong | Lifecycle::Weak => Ok(()),
        }
    }

    fn require_compatible(&self, one: &Settled) -> Result<(), RegistryError> {
        let Some(schema) = &one.wish.schema else {
            return Ok(());
        };
        let findings = incompatibilities(
            &self.snapshot,
            self.defaults,
            &one.subject,
            None,
            schema,
            one.wish.normalize,
        )?;
        if findings.is_empty() {
            Ok(())
        } else {
            Err(RegistryError::IncompatibleWithAssociation(findings))
        }
    }

    fn register(&mut self, one: &Settled) -> Result<Option<Registered>, RegistryError> {
        let Some(schema) = &one.wish.schema else {
            return Ok(None);
        };
        if let Some(rules) = &schema.rule_set {
            rules.validate().map_err(RegistryError::InvalidRuleSet)?;
        }
        let registration = Registration {
            subject: one.subject.clone(),
            request: schema.clone(),
            options: RegisterOptions {
                normalize: one.wish.normalize,
                force: false,
            },
            actor: self.actor.to_owned(),
            defaults: self.defaults,
            looks_up_first: false,
            parses: Parses::default(),
        };
        match registration.decide(&self.snapshot)? {
            Decision::Unchanged(registered) => Ok(Some(registered)),
            Decision::Change(set, registered) => {
                self.apply(set.changes);
                Ok(Some(registered))
            }
        }
    }

    fn store(&mut self, resource: &Resource, one: Settled) -> Arc<Association> {
        let frozen = one.lifecycle == Lifecycle::Strong;
        let association = match &one.stored {
            Some(stored) => Association {
                lifecycle: one.lifecycle,
                frozen,
                updated_ms: self.at_ms,
                ..stored.as_ref().clone()
            },
            None => Association {
                guid: Uuid::new_v4(),
                subject: one.subject,
                resource_name: resource.name.clone(),
                resource_namespace: resource.namespace.clone(),
                resource_id: resource.id.clone().unwrap_or_default(),
                association_type: one.wish.association_type,
                lifecycle: one.lifecycle,
                frozen,
                created_ms: self.at_ms,
                updated_ms: self.at_ms,
            },
        };
        let association = Arc::new(association);
        self.before.extend(one.stored);
        self.after.push(Arc::clone(&association));
        self.apply(vec![Change::PutAssociation(Arc::clone(&association))]);
        association
    }

    /// Deletes what the filter selects; how many.
    pub(super) fn delete(
        &mut self,
        resource_id: &str,
        filter: &AssociationFilter,
        cascade: bool,
    ) -> Result<usize, RegistryError> {
        let going = sorted(self.snapshot.associations_of_id(resource_id).iter(), filter);
        for association in &going {
            self.require_writable(&association.subject)?;
            if association.frozen && !cascade {
                return Err(RegistryError::AssociationFrozen(
                    association.association_type.name(),
                    association.subject.clone(),
                ));
            }
        }
        for association in &going {
            self.apply(vec![Change::RemoveAssociation(association.guid)]);
            let owns = association.lifecycle == Lifecycle::Strong;
            if cascade && owns && !self.is_importing(&association.subject) {
                self.delete_subject(&association.subject)?;
            }
        }
        let count = going.len();
        self.before.extend(going);
        Ok(count)
    }

    fn delete_subject(&mut self, subject: &str) -> Result<(), RegistryError> {
        let has_live = |snapshot: &Snapshot| {
            let image = snapshot.subject(subject);
            image.map(|image| image.latest().is_some())
        };
        if has_live(&self.snapshot) == Some(true) {
            let (_, changes) = subject_deletion(&self.snapshot, subject, false)?;
            self.apply(changes);
        }
        if has_live(&self.snapshot).is_some() {
            let (_, changes) = subject_deletion(&self.snapshot, subject, true)?;
            self.apply(changes);
        }
        Ok(())
    }
}

const STRONG_ON_UPSERT: &str = "cannot be STRONG when creating an association; \
     STRONG associations must be created with the topic";
const FROZEN_ON_USED: &str =
    "cannot create a frozen association when schemas already exist in the subject";

fn exists_for_resource(stored: &Association) -> RegistryError {
    RegistryError::AssociationExistsForResource(
        stored.association_type.name(),
        stored.resource_name.clone(),
    )
}

fn require_updatable(
    wished: &Settled,
    stored: &Association,
    own: &str,
    is_create: bool,
) -> Result<(), RegistryError> {
    if is_create {
        return Err(exists_for_resource(stored));
    }
    let wish = &wished.wish;
    if wish.lifecycle.is_none() && wish.schema.is_none() {
        let detail = "at least lifecycle or schema must be provided for update";
        return Err(invalid("lifecycle", detail));
    }
    if stored.subject != wished.subject {
        let detail = format!(
            "subject of association cannot be changed from '{}' to '{}'",
            stored.subject, wished.subject
        );
        return Err(invalid("subject", detail));
    }
    let weakened = (stored.lifecycle, wished.lifecycle) == (Lifecycle::Strong, Lifecycle::Weak);
    if weakened && stored.subject == own {
        let detail = format!("cannot change to WEAK when subject matches default format '{own}'");
        return Err(invalid("lifecycle", detail));
    }
    if wish.frozen.is_some_and(|frozen| frozen != stored.frozen) {
        let detail = "frozen attribute of association cannot be changed";
        return Err(invalid("frozen", detail));
    }
    if stored.frozen {
        return Err(RegistryError::AssociationFrozen(
            stored.association_type.name(),
            stored.subject.clone(),
        ));
    }
    Ok(())
}

/// A topic owns all its subjects or none.
fn require_uniform(stored: &[Arc<Association>], settled: &[Settled]) -> Result<(), RegistryError> {
    let mut lifecycles: Vec<(AssociationType, Lifecycle)> = stored
        .iter()
        .map(|one| (one.association_type, one.lifecycle))
        .collect();
    for one in settled {
        let part = one.wish.association_type;
        match lifecycles.iter_mut().find(|(known, _)| *known == part) {
            Some((_, lifecycle)) => *lifecycle = one.lifecycle,
            None => lifecycles.push((part, one.lifecycle)),
        }
    }
    let first = lifecycles.first().map(|(_, lifecycle)| *lifecycle);
    if lifecycles.iter().all(|(_, one)| Some(*one) == first) {
        return Ok(());
    }
    let shown: Vec<String> = lifecycles
        .iter()
        .map(|(part, lifecycle)| format!("{}={}", part.name(), lifecycle.name()))
        .collect();
    let detail = format!(
        "all associations for a resource must have the same lifecycle, but got {}",
        shown.join(", ")
    );
    Err(invalid("lifecycle", detail))
}

/// Whether a schema of the same request refers to the subject.
fn is_wished_reference(all: &[Settled], subject: &str) -> bool {
    all.iter().any(|one| {
        let context = QualifiedSubject::parse(&one.subject).context;
        one.wish
            .schema
            .iter()
            .flat_map(|schema| &schema.references)
            .filter_map(|reference| reference.subject.as_deref())
            .any(|target| qualify(context, target) == subject)
    })
}

fn logged(association: &Association) -> Value {
    json!({
        "guid": association.guid.to_string(),
        "subject": association.subject,
        "resourceName": association.resource_name,
        "resourceNamespace": association.resource_namespace,
        "resourceId": association.resource_id,
        "associationType": association.association_type.name(),
        "lifecycle": association.lifecycle.name(),
        "frozen": association.frozen,
    })
}
