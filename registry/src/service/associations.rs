//! Associating topics with subjects: create, upsert, delete, one by one or in batches.
//!
//! A strong association belongs to its topic: it is made with the topic, is the only one of its
//! subject, and takes the subject with it. A weak one points at a subject that lives by itself.
//! Everything of one request is one transaction, schemas registered on the way included. Source:
//! Confluent's `createOrUpdateAssociation`, check by check in its order.

mod work;

use std::sync::Arc;

use super::Registry;
use super::register::Registered;
use crate::association::{
    ANY, Association, AssociationDraft, AssociationFilter, AssociationType, Resource,
    ResourceDraft, Wish, association_type, invalid,
};
use crate::error::RegistryError;
use crate::snapshot::Snapshot;
use work::Work;

/// An association with the schema that was registered with it, if one was.
pub(crate) type Associated = (Arc<Association>, Option<Registered>);

/// What was asked, completed, and what became of it; nothing for what was there already.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) resource: Resource,
    pub(crate) associated: Vec<Associated>,
}

/// One step of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Create or, where it exists, update.
    Put {
        is_create: bool,
        draft: Box<AssociationDraft>,
    },
    Delete {
        association_type: Option<String>,
        cascade: bool,
    },
}

impl Registry {
    /// Creates associations of one topic, or updates them unless `is_create`.
    pub(crate) async fn put_associations(
        &self,
        context: String,
        resource: ResourceDraft,
        drafts: Vec<AssociationDraft>,
        is_create: bool,
        dry_run: bool,
        actor: String,
    ) -> Result<Outcome, RegistryError> {
        let resource = resource.complete(dry_run)?;
        if drafts.is_empty() {
            return Err(invalid("associations", "cannot be null or empty"));
        }
        let wishes: Vec<Wish> = drafts
            .into_iter()
            .map(|draft| draft.complete(&resource, is_create))
            .collect::<Result<_, _>>()?;
        let defaults = self.inner.defaults;
        self.change(true, move |snapshot| {
            let mut work = Work::on(snapshot, defaults, &actor, &context);
            let associated = work.put(&resource, wishes.clone(), is_create, dry_run)?;
            let outcome = Outcome {
                resource: resource.clone(),
                associated,
            };
            Ok(work.into_decision("put-associations", dry_run, outcome))
        })
        .await
    }

    /// Deletes associations of one topic; `cascade` deletes the subjects that the topic owns.
    pub(crate) async fn delete_associations(
        &self,
        resource_id: String,
        filter: AssociationFilter,
        cascade: bool,
        dry_run: bool,
        actor: String,
    ) -> Result<(), RegistryError> {
        let defaults = self.inner.defaults;
        self.change(false, move |snapshot| {
            let mut work = Work::on(snapshot, defaults, &actor, ".");
            if work.delete(&resource_id, &filter, cascade)? == 0 {
                return Err(RegistryError::AssociationNotFound(resource_id.clone()));
            }
            Ok(work.into_decision("delete-associations", dry_run, ()))
        })
        .await
    }

    /// Does all steps of one topic's part of a batch, or none; what the topic has afterwards.
    pub(crate) async fn mutate_associations(
        &self,
        context: String,
        resource: ResourceDraft,
        operations: Vec<Operation>,
        dry_run: bool,
        actor: String,
    ) -> Result<Outcome, RegistryError> {
        let resource = resource.complete(dry_run)?;
        let steps = Step::of(&resource, operations)?;
        let defaults = self.inner.defaults;
        self.change(true, move |snapshot| {
            let mut work = Work::on(snapshot, defaults, &actor, &context);
            let mut associated = Vec::new();
            for step in &steps {
                match step {
                    Step::Put { is_create, wishes } => {
                        associated.extend(work.put(
                            &resource,
                            wishes.clone(),
                            *is_create,
                            dry_run,
                        )?);
                    }
                    Step::Delete { filter, cascade } => {
                        let id = resource.id.as_deref().unwrap_or("");
                        work.delete(id, filter, *cascade)?;
                    }
                }
            }
            let kept = work
                .of_id(resource.id.as_deref())
                .into_iter()
                .map(|kept| {
                    let registered = associated
                        .iter()
                        .find(|(made, _)| made.guid == kept.guid)
                        .and_then(|(_, registered)| registered.clone());
                    (kept, registered)
                })
                .filter(|_| !dry_run)
                .collect();
            let outcome = Outcome {
                resource: resource.clone(),
                associated: kept,
            };
            Ok(work.into_decision("mutate-associations", dry_run, outcome))
        })
        .await
    }
}

/// The associations of topics of that name, sorted; [`ANY`] stands for every name or namespace.
pub(crate) fn associations_named(
    snapshot: &Snapshot,
    namespace: &str,
    name: &str,
    filter: &AssociationFilter,
) -> Vec<Arc<Association>> {
    let in_namespace =
        |one: &&Arc<Association>| namespace == ANY || one.resource_namespace == namespace;
    if name == ANY {
        sorted(snapshot.associations().filter(in_namespace), filter)
    } else {
        let named = snapshot.associations_of_name(name).iter();
        sorted(named.filter(in_namespace), filter)
    }
}

/// Those that the filter selects, in the order of listings.
pub(crate) fn sorted<'a>(
    associations: impl Iterator<Item = &'a Arc<Association>>,
    filter: &AssociationFilter,
) -> Vec<Arc<Association>> {
    let mut found: Vec<_> = associations
        .filter(|association| filter.selects(association))
        .cloned()
        .collect();
    found.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    found
}

/// A step whose parts fit together. Neighbouring puts of one kind are one step, so that a batch can
/// move all parts of a topic at once.
#[derive(Debug)]
enum Step {
    Put {
        is_create: bool,
        wishes: Vec<Wish>,
    },
    Delete {
        filter: AssociationFilter,
        cascade: bool,
    },
}

impl Step {
    fn of(resource: &Resource, operations: Vec<Operation>) -> Result<Vec<Self>, RegistryError> {
        if operations.is_empty() {
            return Err(invalid("associations", "cannot be null or empty"));
        }
        let mut seen = Vec::new();
        let mut steps: Vec<Self> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Put { is_create, draft } => {
                    let wish = draft.complete(resource, is_create)?;
                    require_once(&mut seen, wish.association_type)?;
                    match steps.last_mut() {
                        Some(Self::Put {
                            is_create: before,
                            wishes,
                        }) if *before == is_create => wishes.push(wish),
                        _ => steps.push(Self::Put {
                            is_create,
                            wishes: vec![wish],
                        }),
                    }
                }
                Operation::Delete {
                    association_type: name,
                    cascade,
                } => {
                    let part = association_type(name)?;
                    require_once(&mut seen, part)?;
                    steps.push(Self::Delete {
                        filter: AssociationFilter {
                            types: vec![part.name().to_owned()],
                            ..AssociationFilter::default()
                        },
                        cascade,
                    });
                }
            }
        }
        Ok(steps)
    }
}

fn require_once(
    seen: &mut Vec<AssociationType>,
    part: AssociationType,
) -> Result<(), RegistryError> {
    if seen.contains(&part) {
        let name = part.name();
        let detail =
            format!("may only appear once per request, but '{name}' appears more than once");
        return Err(invalid("associationType", detail));
    }
    seen.push(part);
    Ok(())
}
