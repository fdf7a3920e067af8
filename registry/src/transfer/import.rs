//! Writing facts as they are: what is there already, what is to be written, what contradicts.

use serde_json::json;
use std::sync::Arc;

use super::{Facts, Key, UNKNOWN_TIME};
use crate::change::{Audit, Change, ChangeSet};
use crate::error::RegistryError;
use crate::service::{Decision, Registry, now_ms};
use crate::snapshot::Snapshot;
use crate::store::facts;
use crate::subject_name::{QualifiedSubject, normalize};

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Facts written.
    pub(crate) written: usize,
    /// Facts that were there already.
    pub(crate) present: usize,
}

/// Contradictions told in one answer.
const CONTRADICTIONS_MAX: usize = 20;

impl Registry {
    /// Writes facts as they are, all or none. Modes and compatibility are not asked: what was
    /// accepted once is taken.
    ///
    /// # Errors
    /// When an id or a version is something else here, or a fact names what is not there.
    pub(crate) async fn import(
        &self,
        facts: Facts,
        actor: String,
    ) -> Result<Imported, RegistryError> {
        for change in facts.facts.values() {
            check_names(change)?;
        }
        self.change(true, move |snapshot| {
            let set = decide(snapshot, &facts)?;
            let imported = Imported {
                written: set.len(),
                present: facts.len() - set.len(),
            };
            if set.is_empty() {
                return Ok(Decision::Unchanged(imported));
            }
            let audit = Audit {
                actor: actor.clone(),
                operation: "import",
                subject: String::new(),
                before: None,
                after: Some(json!({ "facts": set.len() })),
            };
            let set = ChangeSet {
                changes: set,
                audit,
                at_ms: now_ms(),
            };
            Ok(Decision::Change(Box::new(set), imported))
        })
        .await
    }
}

/// Names and numbers that could not have come from a registry.
fn check_names(change: &Change) -> Result<(), RegistryError> {
    let context_is_valid = |context: &str| {
        context.starts_with('.') && !context.contains(':') && !context.chars().any(char::is_control)
    };
    let bad = |what: String| Err(RegistryError::BadRequest(what));
    match change {
        Change::PutVersion {
            subject, version, ..
        } => {
            if !QualifiedSubject::parse(subject).is_valid() || normalize(subject) != *subject {
                return Err(RegistryError::InvalidSubject(subject.clone()));
            }
            if version.0 < 1 {
                return bad(format!("{subject}: version {} is not one", version.0));
            }
        }
        Change::PutConfig { subject, .. } | Change::PutMode { subject, .. } => {
            let name = QualifiedSubject::parse(subject);
            if !name.is_valid_for_settings() || normalize(subject) != *subject {
                return Err(RegistryError::InvalidSubject(subject.clone()));
            }
        }
        Change::PutSchema(schema) if !context_is_valid(&schema.context) || schema.id.0 < 0 => {
            return bad(format!("{} {} is no id", schema.context, schema.id.0));
        }
        Change::RecordContext { context, .. } | Change::RaiseIds { context, .. }
            if !context_is_valid(context) =>
        {
            return bad(format!("{context:?} is not a context"));
        }
        _ => {}
    }
    Ok(())
}

/// What is to be written on this image.
fn decide(snapshot: &Snapshot, facts: &Facts) -> Result<Vec<Change>, RegistryError> {
    let mut changes = Vec::new();
    let mut contradictions = Vec::new();
    let now = now_ms();
    for (key, change) in &facts.facts {
        match settle(snapshot, facts, change, now) {
            Settled::Present => {}
            Settled::Write(change) => changes.push(change),
            Settled::Contradicts(how) => {
                if contradictions.len() < CONTRADICTIONS_MAX {
                    contradictions.push(format!("{} {how}", key.shown()));
                }
            }
        }
    }
    if contradictions.is_empty() {
        return Ok(changes);
    }
    Err(RegistryError::ImportContradicts(contradictions))
}

enum Settled {
    Present,
    Write(Change),
    Contradicts(&'static str),
}

fn settle(snapshot: &Snapshot, facts: &Facts, change: &Change, now: i64) -> Settled {
    let write_unless = |present: bool| {
        if present {
            Settled::Present
        } else {
            Settled::Write(change.clone())
        }
    };
    match change {
        Change::PutSchema(schema) => match snapshot.schema(&schema.context, schema.id) {
            None => Settled::Write(change.clone()),
            Some(stored) => {
                let stored = Change::PutSchema(Arc::clone(stored));
                if facts::fact(&stored) == facts::fact(change) {
                    Settled::Present
                } else {
                    Settled::Contradicts("is another one here")
                }
            }
        },
        Change::PutVersion {
            subject,
            version,
            id,
            deleted,
            registered_ms,
        } => {
            let context = QualifiedSubject::parse(subject).context;
            let brought = Key::Schema(context.to_owned(), id.0);
            if snapshot.schema(context, *id).is_none() && !facts.facts.contains_key(&brought) {
                return Settled::Contradicts("names an id that nothing has");
            }
            let stored = snapshot
                .subject(subject)
                .and_then(|image| image.version(*version));
            let unknown_time = *registered_ms == UNKNOWN_TIME;
            match stored {
                Some(stored) if stored.schema.id != *id => {
                    return Settled::Contradicts("has another id here");
                }
                Some(stored)
                    if stored.deleted == *deleted
                        && (unknown_time || stored.registered_ms == *registered_ms) =>
                {
                    return Settled::Present;
                }
                Some(_) | None => {}
            }
            Settled::Write(Change::PutVersion {
                subject: subject.clone(),
                version: *version,
                id: *id,
                deleted: *deleted,
                registered_ms: if unknown_time { now } else { *registered_ms },
            })
        }
        Change::PutConfig { subject, config } => {
            write_unless(snapshot.config(subject) == config.as_ref())
        }
        Change::PutMode { subject, mode } => write_unless(snapshot.mode(subject) == *mode),
        Change::RecordContext { context, recorded } => {
            write_unless(snapshot.is_context_recorded(context) == *recorded)
        }
        Change::RaiseIds {
            context,
            high_water,
        } => write_unless(snapshot.id_high_water(context) >= high_water.0),
        Change::PutAssociation(association) => write_unless(
            snapshot
                .associations_of_id(&association.resource_id)
                .iter()
                .any(|stored| stored == association),
        ),
        _ => Settled::Present,
    }
}
