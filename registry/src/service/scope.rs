//! Which settings and mode are in force for a subject.
//!
//! Layers: the subject, its context, the global context, the server's default. Source: Confluent's
//! `getConfigInScope` and `getModeInScope`; a subject with settings of its own inherits single
//! fields from the top level of the default context, in whatever context it is.

use crate::error::RegistryError;
use crate::model::{Mode, SubjectConfig};
use crate::snapshot::{Snapshot, context_settings_name};
use crate::subject_name::{GLOBAL_CONTEXT, QualifiedSubject, context_prefix};

/// The settings in force; an absent level means the server's default.
pub(crate) fn config_in_scope(snapshot: &Snapshot, subject: &str) -> SubjectConfig {
    let top = snapshot.config("");
    if let Some(own) = snapshot.config(subject) {
        let mut config = own.as_ref().clone();
        if let Some(top) = top {
            config.normalize = config.normalize.or(top.normalize);
            config.validate_fields = config.validate_fields.or(top.validate_fields);
            config.validate_new_schemas = config.validate_new_schemas.or(top.validate_new_schemas);
            config.validate_rules = config.validate_rules.or(top.validate_rules);
            config.compatibility_policy = config.compatibility_policy.or(top.compatibility_policy);
            config.compatibility_group = config
                .compatibility_group
                .or_else(|| top.compatibility_group.clone());
        }
        return config;
    }
    let context = QualifiedSubject::parse(subject).context;
    snapshot
        .config(&context_settings_name(context))
        .or_else(|| snapshot.config(&context_settings_name(GLOBAL_CONTEXT)))
        .map_or_else(SubjectConfig::default, |config| config.as_ref().clone())
}

/// The mode in force.
pub(crate) fn mode_in_scope(snapshot: &Snapshot, subject: &str) -> Mode {
    let context = QualifiedSubject::parse(subject).context;
    snapshot
        .mode(subject)
        .or_else(|| snapshot.mode(&context_settings_name(context)))
        .or_else(|| snapshot.mode(&context_settings_name(GLOBAL_CONTEXT)))
        .unwrap_or(Mode::ReadWrite)
}

/// Refuses what a mode forbids: `Subject s in context  is in read-only mode`.
pub(crate) fn forbidden(subject: &str, what: &str) -> RegistryError {
    let context = QualifiedSubject::parse(subject).context;
    let shown = if subject.is_empty() { "null" } else { subject };
    RegistryError::OperationNotPermitted(format!(
        "Subject {shown} in context {} is {what}",
        context_prefix(context)
    ))
}

/// # Errors
/// When the mode in force is one of the read-only ones.
pub(crate) fn require_writable(snapshot: &Snapshot, subject: &str) -> Result<(), RegistryError> {
    if mode_in_scope(snapshot, subject).is_read_only() {
        return Err(forbidden(subject, "in read-only mode"));
    }
    Ok(())
}
