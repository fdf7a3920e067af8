//! Settings and modes of subjects, contexts and the top level.

use std::sync::Arc;

use serde_json::{Value, json};

use super::delete::{removal, require_unreferenced};
use super::scope::{config_in_scope, mode_in_scope, require_writable};
use super::{Decision, Registry, now_ms};
use crate::change::{Audit, Change, ChangeSet};
use crate::error::RegistryError;
use crate::json::{self, JsonObject, Update};
use crate::model::{CompatibilityLevel, Mode, SubjectConfig, Version};
use crate::snapshot::{Snapshot, context_settings_name};
use crate::subject_name::{GLOBAL_CONTEXT, QualifiedSubject};

/// The stored name of the global layer.
pub(crate) fn global_name() -> String {
    context_settings_name(GLOBAL_CONTEXT)
}

impl Registry {
    /// Settings as a GET shows them: the level is always there.
    ///
    /// `subject` is stored spelling; empty for the top level.
    pub(crate) fn config(
        &self,
        subject: &str,
        default_to_global: bool,
    ) -> Result<SubjectConfig, RegistryError> {
        let snapshot = self.snapshot();
        let config = if default_to_global {
            config_in_scope(&snapshot, subject)
        } else if let Some(own) = snapshot.config(subject) {
            own.as_ref().clone()
        } else if subject.is_empty() || subject == global_name() {
            SubjectConfig::default()
        } else {
            return Err(RegistryError::NoSubjectCompatibility(subject.to_owned()));
        };
        Ok(self.with_level(config))
    }

    fn with_level(&self, mut config: SubjectConfig) -> SubjectConfig {
        config
            .compatibility
            .get_or_insert(self.inner.defaults.level);
        config
    }

    /// Merges a body into what is stored; the merged settings.
    pub(crate) async fn put_config(
        &self,
        subject: String,
        body: JsonObject,
        actor: String,
    ) -> Result<SubjectConfig, RegistryError> {
        if !QualifiedSubject::parse(&subject).is_valid_for_settings() {
            return Err(RegistryError::InvalidSubject(subject));
        }
        self.change(false, move |snapshot| {
            let before = snapshot.config(&subject);
            let mut config = before.map_or_else(SubjectConfig::default, |own| own.as_ref().clone());
            let level = json::merge_config(&mut config, &body, "compatibility")
                .map_err(|error| RegistryError::BadRequest(error.0))?;
            match level {
                Update::Keep => {}
                Update::Clear => config.compatibility = None,
                Update::Set(name) => {
                    let level = CompatibilityLevel::from_name(&name)
                        .ok_or(RegistryError::InvalidCompatibility)?;
                    config.compatibility = Some(level);
                }
            }
            for rules in [&config.default_rule_set, &config.override_rule_set]
                .into_iter()
                .flatten()
            {
                rules.validate().map_err(RegistryError::InvalidRuleSet)?;
            }
            require_writable(snapshot, &subject)?;
            let set = config_change(&actor, "put-config", &subject, before, Some(&config));
            Ok(Decision::Change(Box::new(set), config))
        })
        .await
    }

    /// Removes stored settings; what was in force by them.
    pub(crate) async fn delete_config(
        &self,
        subject: String,
        actor: String,
    ) -> Result<SubjectConfig, RegistryError> {
        let config = self
            .change(false, move |snapshot| {
                let before = snapshot.config(&subject);
                if before.is_none() && !subject.is_empty() {
                    return Err(RegistryError::SubjectNotFound(subject.clone()));
                }
                require_writable(snapshot, &subject)?;
                let Some(before) = before else {
                    return Ok(Decision::Unchanged(SubjectConfig::default()));
                };
                let set = config_change(&actor, "delete-config", &subject, Some(before), None);
                Ok(Decision::Change(Box::new(set), before.as_ref().clone()))
            })
            .await?;
        Ok(self.with_level(config))
    }

    /// The mode stored for exactly this name, or the one in force.
    pub(crate) fn mode(
        &self,
        subject: &str,
        default_to_global: bool,
    ) -> Result<Mode, RegistryError> {
        let snapshot = self.snapshot();
        if default_to_global {
            return Ok(mode_in_scope(&snapshot, subject));
        }
        match snapshot.mode(subject) {
            Some(mode) => Ok(mode),
            None if subject.is_empty() => Ok(Mode::ReadWrite),
            None => Err(RegistryError::NoSubjectMode(subject.to_owned())),
        }
    }

    /// Sets or clears a mode. Going to IMPORT needs an empty place, because ids come from outside:
    /// live subjects forbid it unless `force`, soft-deleted ones are removed for good.
    pub(crate) async fn put_mode(
        &self,
        subject: String,
        mode: Option<Mode>,
        force: bool,
        actor: String,
    ) -> Result<(), RegistryError> {
        if !self.inner.defaults.mode_mutability {
            return Err(mode_changes_forbidden());
        }
        if !QualifiedSubject::parse(&subject).is_valid_for_settings() {
            return Err(RegistryError::InvalidSubject(subject));
        }
        if mode == Some(Mode::Forward) && subject != global_name() {
            return Err(RegistryError::InvalidMode(
                "Forward mode only supported on global level",
            ));
        }
        self.change(false, move |snapshot| {
            let before = snapshot.mode(&subject);
            let mut changes = Vec::new();
            if mode == Some(Mode::Import)
                && mode_in_scope(snapshot, &subject) != Mode::Import
                && !force
            {
                changes = clear_for_import(snapshot, &subject)?;
            }
            changes.push(Change::PutMode {
                subject: subject.clone(),
                mode,
            });
            let set = mode_change(&actor, "put-mode", &subject, before, mode, changes);
            Ok(Decision::Change(Box::new(set), ()))
        })
        .await
    }

    /// Removes a mode, and with `recursive` those of every subject below; the mode removed.
    pub(crate) async fn delete_mode(
        &self,
        subject: String,
        recursive: bool,
        actor: String,
    ) -> Result<Option<Mode>, RegistryError> {
        if !self.inner.defaults.mode_mutability {
            return Err(mode_changes_forbidden());
        }
        self.change(false, move |snapshot| {
            let before = snapshot.mode(&subject);
            if before.is_none() && !recursive && !subject.is_empty() {
                return Err(RegistryError::SubjectNotFound(subject.clone()));
            }
            let mut changes: Vec<Change> = Vec::new();
            for (name, _) in snapshot.modes() {
                if *name == subject || (recursive && lies_below(name, &subject)) {
                    changes.push(Change::PutMode {
                        subject: name.clone(),
                        mode: None,
                    });
                }
            }
            // The top level always has a mode to show.
            let fallback = (subject.is_empty() && !recursive).then_some(Mode::ReadWrite);
            let shown = before.or(fallback);
            if changes.is_empty() {
                return Ok(Decision::Unchanged(shown));
            }
            let set = mode_change(&actor, "delete-mode", &subject, before, None, changes);
            Ok(Decision::Change(Box::new(set), shown))
        })
        .await
    }
}

fn mode_changes_forbidden() -> RegistryError {
    RegistryError::OperationNotPermitted("Mode changes are not allowed".to_owned())
}

/// Whether `name` is in the part of the tree that `root` governs: a subject governs itself, a
/// context its subjects, the global layer everything.
fn lies_below(name: &str, root: &str) -> bool {
    if root == global_name() {
        return true;
    }
    let root = QualifiedSubject::parse(root);
    root.subject.is_empty() && QualifiedSubject::parse(name).context == root.context
}

/// The facts that empty the place an import goes to.
fn clear_for_import(snapshot: &Snapshot, subject: &str) -> Result<Vec<Change>, RegistryError> {
    let names = snapshot.subjects();
    let concerned = names
        .iter()
        .filter(|name| name.as_ref() == subject || lies_below(name, subject));
    let mut changes = Vec::new();
    for name in concerned {
        let Some(image) = snapshot.subject(name) else {
            continue;
        };
        if image.latest().is_some() {
            return Err(RegistryError::OperationNotPermitted(
                "Cannot import since found existing subjects".to_owned(),
            ));
        }
        let versions: Vec<Version> = image.versions().map(|(version, _)| version).collect();
        for version in &versions {
            require_unreferenced(snapshot, name, *version, true, true)?;
        }
        // Settings outlive this: an import usually follows its configuration.
        changes.extend(
            removal(snapshot, name, image, &versions)
                .into_iter()
                .filter(|change| {
                    !matches!(change, Change::PutConfig { .. } | Change::PutMode { .. })
                }),
        );
    }
    Ok(changes)
}

fn config_change(
    actor: &str,
    operation: &'static str,
    subject: &str,
    before: Option<&Arc<SubjectConfig>>,
    after: Option<&SubjectConfig>,
) -> ChangeSet {
    let shown = |config: &SubjectConfig| json::config_value(config, "compatibilityLevel");
    ChangeSet {
        changes: vec![Change::PutConfig {
            subject: subject.to_owned(),
            config: after.map(|config| Arc::new(config.clone())),
        }],
        audit: Audit {
            actor: actor.to_owned(),
            operation,
            subject: subject.to_owned(),
            before: before.map(|config| shown(config)),
            after: after.map(shown),
        },
        at_ms: now_ms(),
    }
}

fn mode_change(
    actor: &str,
    operation: &'static str,
    subject: &str,
    before: Option<Mode>,
    after: Option<Mode>,
    changes: Vec<Change>,
) -> ChangeSet {
    let shown = |mode: Mode| -> Value { json!({ "mode": mode.name() }) };
    ChangeSet {
        changes,
        audit: Audit {
            actor: actor.to_owned(),
            operation,
            subject: subject.to_owned(),
            before: before.map(shown),
            after: after.map(shown),
        },
        at_ms: now_ms(),
    }
}
