//! Registering a schema under a subject: the whole story, in the order that decides the answer.
//!
//! Source: Confluent's `registerOrForward` and `register`; step by step as clients observe it.

use std::sync::Arc;

use serde_json::json;

use super::candidate::{Among, Candidate, Found, Reading, Stamp, format_of, look_up};
use super::parses::Parses;
use super::scope::{config_in_scope, forbidden, mode_in_scope};
use super::tags;
use super::{Decision, Defaults, Registry, now_ms};
use crate::association::Lifecycle;
use crate::change::{Audit, Change, ChangeSet};
use crate::compatibility::{self, Rules};
use crate::error::RegistryError;
use crate::limits::Overloaded;
use crate::model::{
    Metadata, Mode, RuleSet, SchemaId, SchemaRequest, SubjectConfig, VERSION_PROPERTY, Version,
};
use crate::snapshot::{RegisteredSchema, Snapshot, SubjectImage};
use crate::subject_name::{QualifiedSubject, context_prefix, normalize, qualify};

/// Texts longer than this are parsed off the async threads, in bytes.
pub(crate) const HEAVY_TEXT_BYTES: usize = 64 * 1024;

/// How to register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegisterOptions {
    pub(crate) normalize: bool,
    /// Skip the compatibility check.
    pub(crate) force: bool,
}

/// What a registration answers.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) version: Version,
    pub(crate) schema: Arc<RegisteredSchema>,
    pub(crate) stamp: Option<Stamp>,
}

impl From<Found> for Registered {
    fn from(found: Found) -> Self {
        Self {
            version: found.version,
            schema: found.schema,
            stamp: found.stamp,
        }
    }
}

impl Registry {
    /// Registers a schema, or finds that it is registered already.
    pub(crate) async fn register(
        &self,
        subject: String,
        request: SchemaRequest,
        options: RegisterOptions,
        actor: String,
    ) -> Result<Registered, RegistryError> {
        if let Some(rules) = &request.rule_set {
            rules.validate().map_err(RegistryError::InvalidRuleSet)?;
        }
        self.require_valid(&subject)?;
        if request.text.len() > self.limits().values().schema_bytes_max {
            return Err(RegistryError::SchemaTooLarge);
        }
        let subject = normalize(&subject);
        let heavy = request.text.len() > HEAVY_TEXT_BYTES;
        let registration = Registration {
            subject,
            request,
            options,
            actor,
            defaults: self.inner.defaults,
            looks_up_first: true,
            parses: Parses::default(),
        };
        // Only until it is parsed: many wait for one commit together.
        let permit = self.limits().parse_permit().await;
        let permit = permit.map_err(|Overloaded| RegistryError::TooManyRequests)?;
        if heavy {
            let registry = self.clone();
            let prepared = tokio::task::spawn_blocking(move || {
                registration.prepare(&registry.snapshot());
                registration
            });
            let registration = prepared.await.map_err(|_| RegistryError::Internal)?;
            drop(permit);
            return self
                .change(true, move |snapshot| registration.decide(snapshot))
                .await;
        }
        {
            // Most registrations repeat an earlier one: they are answered without the writer's turn.
            let snapshot = self.snapshot();
            match registration.find_existing(&snapshot) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => registration.prepare(&snapshot),
                // Another replica may have stored what is missing here.
                Err(_) if self.is_shared() => {}
                Err(error) => return Err(error),
            }
        }
        drop(permit);
        self.change(heavy, move |snapshot| registration.decide(snapshot))
            .await
    }

    /// Whether schemas may be registered under the name, as it came.
    pub(crate) fn require_valid(&self, subject: &str) -> Result<(), RegistryError> {
        let name = QualifiedSubject::parse(subject);
        let refused = self.inner.defaults.reject_empty_subject && !name.names_a_subject();
        if refused || !name.is_valid() {
            return Err(RegistryError::InvalidSubject(subject.to_owned()));
        }
        Ok(())
    }
}

/// One registration, to be decided on whatever the image is by then.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Stored spelling.
    pub(crate) subject: String,
    pub(crate) request: SchemaRequest,
    pub(crate) options: RegisterOptions,
    pub(crate) actor: String,
    pub(crate) defaults: Defaults,
    /// Whether an equal version answers before modes and settings are looked at.
    pub(crate) looks_up_first: bool,
    /// What was parsed for earlier decisions of it.
    pub(crate) parses: Parses,
}

impl Registration {
    fn reading(&self, config: &SubjectConfig, mode: Mode, as_new: bool) -> Reading {
        let asked = self.options.normalize || config.normalize.unwrap_or(false);
        Reading {
            // What is imported is taken as it is.
            normalize: asked && !mode.takes_ids(),
            as_new,
            validate_fields: config.validate_fields.unwrap_or(false) && !mode.takes_ids(),
            strict_references: self.defaults.strict_reference_versions,
            keep_unreadable: mode.takes_ids(),
        }
    }

    fn is_blank(&self) -> bool {
        self.request.text.trim().is_empty()
    }

    /// Step 1: an equal version of the subject answers before any mode is looked at.
    fn find_existing(&self, snapshot: &Snapshot) -> Result<Option<Registered>, RegistryError> {
        format_of(&self.request)?;
        let config = config_in_scope(snapshot, &self.subject);
        if !self.looks_up_first
            || self.is_blank()
            || self.request.changes_tags()
            || self.request.propagate_tags
            || config.has_defaults_or_overrides()
        {
            return Ok(None);
        }
        let Some(image) = snapshot.subject(&self.subject) else {
            return Ok(None);
        };
        let mode = mode_in_scope(snapshot, &self.subject);
        let reading = self.reading(&config, mode, false);
        let candidate = self.read(snapshot, &self.request, reading)?;
        let among = if self.request.version == -1 {
            Among::Latest
        } else {
            Among::Live
        };
        let Some(found) = look_up(snapshot, &self.subject, &candidate, among) else {
            return Ok(None);
        };
        let same_id = self.request.id.is_none_or(|id| id == found.schema.id);
        let answer = match self.request.version {
            0 | -1 => same_id.then(|| found.into()),
            _ if self.request.id.is_none() || !same_id => None,
            version if found.version == Version(version) => Some(found.into()),
            // An import may have registered one content as several versions.
            version => image
                .version(Version(version))
                .filter(|other| !other.deleted && other.schema.id == found.schema.id)
                .map(|other| Registered {
                    version: Version(version),
                    schema: Arc::clone(&other.schema),
                    stamp: Some(Stamp {
                        registered_ms: other.registered_ms,
                        deleted: false,
                    }),
                }),
        };
        Ok(answer)
    }

    /// Parses what [`Self::decide`] will want, so that it does not in the writer's turn. What is
    /// wrong is for the decision to say.
    fn prepare(&self, snapshot: &Snapshot) {
        let config = config_in_scope(snapshot, &self.subject);
        let mode = mode_in_scope(snapshot, &self.subject);
        if !self.is_blank() && !self.request.changes_tags() && !self.request.propagate_tags {
            drop(self.read_to_store(snapshot, &self.request, &config, mode));
        }
    }

    fn read(
        &self,
        snapshot: &Snapshot,
        request: &SchemaRequest,
        reading: Reading,
    ) -> Result<Candidate, RegistryError> {
        Candidate::read_again(snapshot, &self.subject, request, reading, &self.parses)
    }

    fn read_to_store(
        &self,
        snapshot: &Snapshot,
        request: &SchemaRequest,
        config: &SubjectConfig,
        mode: Mode,
    ) -> Result<Candidate, RegistryError> {
        let as_new = request.id.is_none() && config.validate_new_schemas.unwrap_or(true);
        let reading = self.reading(config, mode, as_new && !mode.takes_ids());
        self.read(snapshot, request, reading)
    }

    pub(crate) fn decide(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Decision<Registered>, RegistryError> {
        if let Some(found) = self.find_existing(snapshot)? {
            return Ok(Decision::Unchanged(found));
        }
        let config = config_in_scope(snapshot, &self.subject);
        let mode = mode_in_scope(snapshot, &self.subject);
        self.require_mode(mode)?;
        let importing = mode.takes_ids();
        let image = snapshot.subject(&self.subject).map(Arc::as_ref);
        let next = image.map_or(0, SubjectImage::newest_number).checked_add(1);
        let next = Version(next.ok_or(RegistryError::Internal)?);
        let request = self.request_to_store(snapshot, &config, image, next, importing)?;
        let candidate = self.read_to_store(snapshot, &request, &config, mode)?;
        let context = QualifiedSubject::parse(&self.subject).context;
        require_referable(snapshot, context, &candidate)?;

        let known = candidate
            .id_in(snapshot, context)
            .filter(|known| request.id.is_none_or(|id| id == *known));
        if request.version == 0
            && let Some(found) = self.already_there(snapshot, image, &candidate, known)
        {
            return Ok(Decision::Unchanged(found));
        }
        if !importing && !self.options.force {
            self.require_compatible(&config, image, &candidate)?;
        }
        if !importing && request.version > 0 && request.version != next.0 {
            return Err(RegistryError::InvalidSchema(
                "Version is not one more than previous version".to_owned(),
            ));
        }
        let version = if request.version > 0 {
            Version(request.version)
        } else {
            next
        };
        let id = match request.id.or(known) {
            Some(id) => {
                require_free_or_same(snapshot, context, id, &candidate)?;
                id
            }
            None => next_id(snapshot, context)?,
        };
        Ok(self.store(snapshot, &candidate, version, id))
    }

    fn require_mode(&self, mode: Mode) -> Result<(), RegistryError> {
        let what = match (mode, self.request.id.is_some()) {
            (Mode::ReadOnly | Mode::ReadOnlyOverride, _) => "in read-only mode",
            (Mode::ReadWrite, true) => "not in import mode",
            (Mode::Import | Mode::Forward, false) => "not in read-write mode",
            (Mode::ReadWrite, false) | (Mode::Import | Mode::Forward, true) => return Ok(()),
        };
        Err(forbidden(&self.subject, what))
    }

    /// What is asked, completed from the latest version and the settings.
    fn request_to_store(
        &self,
        snapshot: &Snapshot,
        config: &SubjectConfig,
        image: Option<&SubjectImage>,
        next: Version,
        importing: bool,
    ) -> Result<SchemaRequest, RegistryError> {
        let mut request = self.request.clone();
        if request.changes_tags() {
            let (add, remove) = (&self.request.tags_to_add, &self.request.tags_to_remove);
            request.text = tags::edited(snapshot, &self.subject, &request, add, remove)?;
        }
        if importing {
            if self.is_blank() {
                return Err(RegistryError::InvalidSchema("Empty schema".to_owned()));
            }
            return Ok(request);
        }
        let latest = image
            .and_then(SubjectImage::latest)
            .map(|(_, latest)| latest);
        if self.is_blank() {
            let Some(latest) = latest else {
                return Err(RegistryError::InvalidSchema("Empty schema".to_owned()));
            };
            let stored = tags::request_of(&latest.schema);
            request.text = stored.text;
            request.format = stored.format;
            request.references = stored.references;
        }
        if request.propagate_tags
            && let Some(inherited) = latest.and_then(|latest| latest.schema.parsed().ok())
        {
            let inherited = inherited.tagged_entities();
            if !inherited.is_empty() {
                request.text = tags::edited(snapshot, &self.subject, &request, &inherited, &[])?;
            }
        }
        let metadata = request
            .metadata
            .as_ref()
            .or_else(|| latest.and_then(|latest| latest.schema.metadata.as_ref()));
        let metadata = Metadata::merge(config.default_metadata.as_ref(), metadata);
        let mut metadata = Metadata::merge(metadata.as_ref(), config.override_metadata.as_ref());
        let rules = request
            .rule_set
            .as_ref()
            .or_else(|| latest.and_then(|latest| latest.schema.rule_set.as_ref()));
        let rules = RuleSet::merge(config.default_rule_set.as_ref(), rules);
        request.rule_set = RuleSet::merge(rules.as_ref(), config.override_rule_set.as_ref());
        let pinned = metadata
            .as_ref()
            .and_then(Metadata::pinned_version)
            .is_some();
        if request.version != 0 || pinned {
            metadata
                .get_or_insert_default()
                .properties
                .insert(VERSION_PROPERTY.to_owned(), next.0.to_string());
        }
        request.metadata = metadata;
        Ok(request)
    }

    /// The subject has this very content live, by identity or by comparison.
    fn already_there(
        &self,
        snapshot: &Snapshot,
        image: Option<&SubjectImage>,
        candidate: &Candidate,
        known: Option<SchemaId>,
    ) -> Option<Registered> {
        let image = image?;
        if let Some(id) = known
            && let Some(binding) = image.binding(id)
            && !binding.soft_deleted
            && let Some(version) = image.version(binding.version)
        {
            return Some(Registered {
                version: binding.version,
                schema: Arc::clone(&version.schema),
                stamp: None,
            });
        }
        if known.is_some() {
            return None;
        }
        let found = look_up(snapshot, &self.subject, candidate, Among::Live)?;
        let same_id = self.request.id.is_none_or(|id| id == found.schema.id);
        same_id.then(|| found.into())
    }

    fn require_compatible(
        &self,
        config: &SubjectConfig,
        image: Option<&SubjectImage>,
        candidate: &Candidate,
    ) -> Result<(), RegistryError> {
        let rules = Rules::of(config, self.defaults.level);
        let metadata = candidate.metadata.as_ref();
        let live = image.into_iter().flat_map(SubjectImage::live);
        let findings = compatibility::check(rules, candidate.parsed()?, metadata, live);
        if findings.is_empty() {
            return Ok(());
        }
        Err(RegistryError::Incompatible {
            subject: self.subject.clone(),
            findings,
        })
    }

    fn store(
        &self,
        snapshot: &Snapshot,
        candidate: &Candidate,
        version: Version,
        id: SchemaId,
    ) -> Decision<Registered> {
        let context = QualifiedSubject::parse(&self.subject).context;
        let at_ms = now_ms();
        let mut changes = Vec::new();
        if context != "." && !snapshot.is_context_recorded(context) {
            changes.push(Change::RecordContext {
                context: context.to_owned(),
                recorded: true,
            });
        }
        if id.0 > snapshot.id_high_water(context) {
            changes.push(Change::RaiseIds {
                context: context.to_owned(),
                high_water: id,
            });
        }
        let schema = match snapshot.schema(context, id) {
            Some(schema) => Arc::clone(schema),
            None => {
                let schema = Arc::new(candidate.registered(context, id));
                changes.push(Change::PutSchema(Arc::clone(&schema)));
                schema
            }
        };
        let replaced = snapshot
            .subject(&self.subject)
            .and_then(|image| image.version(version))
            .map(|image| image.schema.id)
            .filter(|replaced| *replaced != id);
        changes.push(Change::PutVersion {
            subject: self.subject.clone(),
            version,
            id,
            deleted: false,
            registered_ms: at_ms,
        });
        changes.extend(self.superseded(snapshot, version, id));
        if let Some(replaced) = replaced
            && snapshot
                .schema_image(context, replaced)
                .is_some_and(|image| image.uses.len() <= 1)
        {
            changes.push(Change::RemoveSchema {
                context: context.to_owned(),
                id: replaced,
            });
        }
        let mut after = json!({
            "version": version.0,
            "id": id.0,
            "guid": schema.guid.to_string(),
            "schemaType": schema.format.name(),
        });
        if let Some(flaw) = candidate.flaw() {
            tracing::warn!(
                subject = self.subject,
                version = version.0,
                schema_id = id.0,
                reason = flaw,
                "imported a schema that cannot be read: records with it are refused"
            );
            if let Some(after) = after.as_object_mut() {
                after.insert("unreadable".to_owned(), json!(flaw));
            }
        }
        let set = ChangeSet {
            changes,
            audit: Audit {
                actor: self.actor.clone(),
                operation: "register",
                subject: self.subject.clone(),
                before: None,
                after: Some(after),
            },
            at_ms,
        };
        let answer = Registered {
            version,
            schema,
            stamp: None,
        };
        Decision::Change(Box::new(set), answer)
    }

    /// Soft-deleted versions with the id that is live again go for good, unless something refers
    /// to them.
    fn superseded(&self, snapshot: &Snapshot, version: Version, id: SchemaId) -> Vec<Change> {
        let Some(image) = snapshot.subject(&self.subject) else {
            return Vec::new();
        };
        image
            .versions()
            .filter(|(number, old)| {
                *number < version
                    && old.deleted
                    && old.schema.id == id
                    && snapshot.referrers(&self.subject, *number).next().is_none()
            })
            .map(|(number, _)| Change::RemoveVersion {
                subject: self.subject.clone(),
                version: number,
            })
            .collect()
    }
}

/// A subject that its topic owns cannot be referred to: it goes when the topic goes.
fn require_referable(
    snapshot: &Snapshot,
    context: &str,
    candidate: &Candidate,
) -> Result<(), RegistryError> {
    for reference in &candidate.references {
        let owned = snapshot
            .associations_of_subject(&qualify(context, &reference.subject))
            .iter()
            .any(|association| association.lifecycle == Lifecycle::Strong);
        if owned {
            return Err(RegistryError::OperationNotPermitted(format!(
                "Subject '{}' has a strong association and cannot be referenced",
                reference.subject
            )));
        }
    }
    Ok(())
}

fn require_free_or_same(
    snapshot: &Snapshot,
    context: &str,
    id: SchemaId,
    candidate: &Candidate,
) -> Result<(), RegistryError> {
    let Some(bound) = snapshot.schema(context, id) else {
        return Ok(());
    };
    if bound.guid == candidate.guid && bound.format == candidate.format {
        return Ok(());
    }
    Err(RegistryError::OperationNotPermitted(format!(
        "Overwrite new schema with id {} in context {} is not permitted.",
        id.0,
        context_prefix(context)
    )))
}

/// Ids are never given out twice, not even after a permanent delete.
fn next_id(snapshot: &Snapshot, context: &str) -> Result<SchemaId, RegistryError> {
    let mut id = snapshot.id_high_water(context);
    loop {
        id = id.checked_add(1).ok_or_else(|| {
            RegistryError::OperationNotPermitted("all schema ids are spent".to_owned())
        })?;
        if snapshot.schema(context, SchemaId(id)).is_none() {
            return Ok(SchemaId(id));
        }
    }
}
