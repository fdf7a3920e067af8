//! Immutable image of the registry: what every read and the produce path look at.
//!
//! Knows no SQL and no HTTP. State changes by [`Snapshot::advance`], which shares everything that did
//! not change: maps are cut into shards, and only the touched shards are copied.

mod associations;
mod closure;
mod sharded;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_formats::{
    CompileError, CompiledSchema, ParseMode, ParsedSchema, ResolvedReference, SchemaFormat,
};
use uuid::Uuid;

use crate::change::Change;
use crate::model::{
    Context, Metadata, Mode, Reference, RuleSet, SchemaId, Subject, SubjectConfig, Version,
};
use crate::subject_name::{QualifiedSubject, context_prefix, qualify};
use associations::Associations;
pub(crate) use closure::ReferenceClosure;
use sharded::Sharded;

/// One schema content with its id in one context.
#[derive(Debug)]
pub struct RegisteredSchema {
    /// Id within `context`.
    pub id: SchemaId,
    /// `.` is the default context.
    pub context: Context,
    /// Content identity; the same in every context.
    pub guid: Uuid,
    /// The schema language.
    pub format: SchemaFormat,
    /// Canonical or normalised text, as stored.
    pub text: String,
    /// As written by the author, versions resolved.
    pub references: Vec<Reference>,
    /// Stored with the schema.
    pub metadata: Option<Metadata>,
    /// Stored with the schema.
    pub rule_set: Option<RuleSet>,
    /// Targets of `references`, in their order; `None` where the target is gone.
    dependencies: OnceLock<Vec<Option<Arc<Self>>>>,
    parsed: OnceLock<Result<Arc<ParsedSchema>, CompileError>>,
    compiled: OnceLock<Result<Arc<CompiledSchema>, CompileError>>,
    /// Milliseconds since the Unix epoch; 0 for never.
    last_used_ms: AtomicI64,
}

/// What makes a [`RegisteredSchema`].
#[derive(Debug)]
#[expect(missing_docs, reason = "as in `RegisteredSchema`")]
pub struct SchemaContent {
    pub guid: Uuid,
    pub format: SchemaFormat,
    pub text: String,
    pub references: Vec<Reference>,
    pub metadata: Option<Metadata>,
    pub rule_set: Option<RuleSet>,
}

impl RegisteredSchema {
    /// Content under an id.
    #[must_use]
    pub fn new(context: Context, id: SchemaId, content: SchemaContent) -> Self {
        Self {
            id,
            context,
            guid: content.guid,
            format: content.format,
            text: content.text,
            references: content.references,
            metadata: content.metadata,
            rule_set: content.rule_set,
            dependencies: OnceLock::new(),
            parsed: OnceLock::new(),
            compiled: OnceLock::new(),
            last_used_ms: AtomicI64::new(0),
        }
    }

    /// An accepted record carried the id.
    pub fn note_use(&self, now_ms: i64) {
        self.last_used_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// When a record last used it, in milliseconds since the Unix epoch; none since this process
    /// read the schema.
    #[must_use]
    pub fn last_used_ms(&self) -> Option<i64> {
        Some(self.last_used_ms.load(Ordering::Relaxed)).filter(|ms| *ms != 0)
    }

    /// Parsed and compiled once, on first use, shared ever after.
    ///
    /// # Errors
    /// When the stored schema cannot be executed, or a reference of it is gone.
    pub fn compiled(&self) -> Result<&Arc<CompiledSchema>, &CompileError> {
        self.compiled
            .get_or_init(|| {
                let parsed = self.parsed().map_err(Clone::clone)?;
                parsed.compile().map(Arc::new)
            })
            .as_ref()
    }

    /// The parse tree, made once.
    ///
    /// # Errors
    /// When the stored text does not parse, or a reference of it is gone.
    pub fn parsed(&self) -> Result<&Arc<ParsedSchema>, &CompileError> {
        self.parsed
            .get_or_init(|| {
                let references = self.resolved_references().map_err(CompileError)?;
                ParsedSchema::parse(self.format, &self.text, &references, ParseMode::Existing)
                    .map(Arc::new)
                    .map_err(|error| CompileError(error.message))
            })
            .as_ref()
    }

    /// Spares the first [`Self::parsed`]: the caller has just parsed this very text.
    pub fn set_parsed(&self, parsed: Arc<ParsedSchema>) {
        // Losing a race is harmless: both trees come from the same text.
        drop(self.parsed.set(Ok(parsed)));
    }

    /// The transitive closure of references, dependencies before dependents, first occurrence of a
    /// name only.
    ///
    /// # Errors
    /// Names the reference that is gone.
    pub fn resolved_references(&self) -> Result<Vec<ResolvedReference>, String> {
        let mut closure = ReferenceClosure::default();
        let targets = self.dependencies.get().map_or(&[][..], Vec::as_slice);
        for (position, reference) in self.references.iter().enumerate() {
            let target = targets.get(position).and_then(Option::as_ref);
            closure.add(&self.context, reference, target, 1)?;
        }
        Ok(closure.resolved)
    }

    /// Rule set carries encoding rules in WRITE or WRITEREAD mode: payload bytes are transformed
    /// (for example encrypted) and cannot be decoded by a broker.
    #[must_use]
    pub fn has_encoding_rules(&self) -> bool {
        self.rule_set.as_ref().is_some_and(|rules| {
            rules
                .encoding_rules
                .iter()
                .any(|rule| !rule.disabled && matches!(rule.mode.as_str(), "WRITE" | "WRITEREAD"))
        })
    }
}

/// That an id is a version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The version.
    pub version: Version,
    /// Whether it is soft-deleted.
    pub soft_deleted: bool,
}

/// One version of a subject.
#[derive(Debug, Clone)]
pub struct VersionImage {
    /// What is registered.
    pub schema: Arc<RegisteredSchema>,
    /// Soft-deleted.
    pub deleted: bool,
    /// Milliseconds since the Unix epoch.
    pub registered_ms: i64,
}

/// The versions of a subject, soft-deleted ones included; never empty.
#[derive(Debug, Clone, Default)]
pub struct SubjectImage {
    versions: BTreeMap<i32, VersionImage>,
}

impl SubjectImage {
    /// Oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = (Version, &VersionImage)> {
        self.versions
            .iter()
            .map(|(version, image)| (Version(*version), image))
    }

    /// Oldest first, soft-deleted ones left out.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = (Version, &VersionImage)> {
        self.versions().filter(|(_, image)| !image.deleted)
    }

    /// The version, deleted or not.
    #[must_use]
    pub fn version(&self, version: Version) -> Option<&VersionImage> {
        self.versions.get(&version.0)
    }

    /// The newest live version.
    #[must_use]
    pub fn latest(&self) -> Option<(Version, &VersionImage)> {
        self.live().next_back()
    }

    /// Highest number in use, soft-deleted versions included.
    #[must_use]
    pub fn newest_number(&self) -> i32 {
        self.versions.keys().next_back().copied().unwrap_or(0)
    }

    /// The newest version with the id, a live one first.
    #[must_use]
    pub fn binding(&self, id: SchemaId) -> Option<Binding> {
        let mut found = None;
        for (version, image) in self.versions().rev() {
            if image.schema.id != id {
                continue;
            }
            let binding = Binding {
                version,
                soft_deleted: image.deleted,
            };
            if !image.deleted {
                return Some(binding);
            }
            found = found.or(Some(binding));
        }
        found
    }
}

/// A schema content and every subject version that is it.
#[derive(Debug, Clone)]
pub struct SchemaImage {
    /// The content.
    pub schema: Arc<RegisteredSchema>,
    /// Sorted; soft-deleted versions included.
    pub uses: Vec<(Arc<str>, Version)>,
    /// The answer to the plain GET by id, made on first use. Dropped with this image whenever a
    /// use changes.
    pub(crate) answer: OnceLock<Bytes>,
}

impl SchemaImage {
    fn new(schema: Arc<RegisteredSchema>, uses: Vec<(Arc<str>, Version)>) -> Self {
        Self {
            schema,
            uses,
            answer: OnceLock::new(),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct ContextImage {
    schemas: Sharded<i32, Arc<SchemaImage>>,
    /// Newest binding last: an import may bind one content to several ids.
    ids_by_guid: Sharded<Uuid, Vec<SchemaId>>,
    recorded: bool,
    id_high_water: i32,
}

/// A schema that refers to a version of some subject.
#[derive(Debug, Clone)]
struct Referrer {
    target_version: Version,
    context: Context,
    id: SchemaId,
}

/// Everything the registry knows at one epoch.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    epoch: u64,
    contexts: BTreeMap<Context, Arc<ContextImage>>,
    subjects: Sharded<Arc<str>, Arc<SubjectImage>>,
    configs: Sharded<Subject, Arc<SubjectConfig>>,
    modes: Sharded<Subject, Mode>,
    /// By target subject.
    referrers: Sharded<Subject, Arc<Vec<Referrer>>>,
    associations: Associations,
    /// Dropped only when a subject comes or goes.
    sorted_subjects: OnceLock<Arc<[Arc<str>]>>,
}

impl Snapshot {
    /// Grows by one with every committed change.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// `context` is `.` for the default one.
    #[must_use]
    pub fn schema(&self, context: &str, id: SchemaId) -> Option<&Arc<RegisteredSchema>> {
        self.schema_image(context, id).map(|image| &image.schema)
    }

    /// The newest schema with that content identity in the context.
    #[must_use]
    pub fn schema_by_guid(&self, context: &str, guid: Uuid) -> Option<&Arc<RegisteredSchema>> {
        let id = self.ids_by_guid(context, guid).last()?;
        self.schema(context, *id)
    }

    /// Whether `id` is a non-hard-deleted version of `subject` (aliases resolved). Prefers a live
    /// one.
    #[must_use]
    pub fn binding(&self, subject: &str, id: SchemaId) -> Option<Binding> {
        self.subject_through_alias(subject)?.binding(id)
    }

    /// Whether the subject (aliases resolved) has a live version.
    #[must_use]
    pub fn has_subject(&self, subject: &str) -> bool {
        self.subject_through_alias(subject)
            .is_some_and(|image| image.latest().is_some())
    }

    /// Live versions of the subject (aliases resolved), newest first: (version, id).
    #[must_use]
    pub fn live_versions(&self, subject: &str) -> Vec<(Version, SchemaId)> {
        self.subject_through_alias(subject)
            .map_or_else(Vec::new, |image| {
                image
                    .live()
                    .rev()
                    .map(|(version, image)| (version, image.schema.id))
                    .collect()
            })
    }

    /// Some subject that holds the id, for messages: live ones first, then by name, newest version.
    #[must_use]
    pub fn any_subject_of(&self, context: &str, id: SchemaId) -> Option<(&str, Version)> {
        let image = self.schema_image(context, id)?;
        let (subject, version) = self.representative_use(image)?;
        Some((subject, version))
    }

    /// The content and its uses.
    #[must_use]
    pub fn schema_image(&self, context: &str, id: SchemaId) -> Option<&Arc<SchemaImage>> {
        self.contexts.get(context)?.schemas.get(&id.0)
    }

    /// Ids of a content identity in a context, newest binding last.
    #[must_use]
    pub fn ids_by_guid(&self, context: &str, guid: Uuid) -> &[SchemaId] {
        self.contexts
            .get(context)
            .and_then(|image| image.ids_by_guid.get(&guid))
            .map_or(&[], Vec::as_slice)
    }

    /// Every context that ever held something, in name order.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(String::as_str)
    }

    /// Whether the context is listed.
    #[must_use]
    pub fn is_context_recorded(&self, context: &str) -> bool {
        self.contexts
            .get(context)
            .is_some_and(|image| image.recorded)
    }

    /// The highest id given out in the context, 0 when none was.
    #[must_use]
    pub fn id_high_water(&self, context: &str) -> i32 {
        self.contexts
            .get(context)
            .map_or(0, |image| image.id_high_water)
    }

    /// The subject of exactly this qualified name.
    #[must_use]
    pub fn subject(&self, subject: &str) -> Option<&Arc<SubjectImage>> {
        self.subjects.get(subject)
    }

    /// Qualified names of all subjects, soft-deleted ones included, in name order.
    #[must_use]
    pub fn subjects(&self) -> &Arc<[Arc<str>]> {
        self.sorted_subjects.get_or_init(|| {
            let mut names: Vec<Arc<str>> = self.subjects.keys().cloned().collect();
            names.sort_unstable();
            names.into()
        })
    }

    /// Settings stored for exactly this subject, context (`:.ctx:`) or the top level (empty).
    #[must_use]
    pub fn config(&self, subject: &str) -> Option<&Arc<SubjectConfig>> {
        self.configs.get(subject)
    }

    /// All stored settings, in no order.
    pub fn configs(&self) -> impl Iterator<Item = (&Subject, &Arc<SubjectConfig>)> {
        self.configs.iter()
    }

    /// Mode stored for exactly this subject, context or the top level.
    #[must_use]
    pub fn mode(&self, subject: &str) -> Option<Mode> {
        self.modes.get(subject).copied()
    }

    /// All stored modes, in no order.
    pub fn modes(&self) -> impl Iterator<Item = (&Subject, Mode)> {
        self.modes.iter().map(|(subject, mode)| (subject, *mode))
    }

    /// Where an alias stored for the subject points, if there is one.
    #[must_use]
    pub fn alias_target(&self, subject: &str) -> Option<String> {
        let alias = self.configs.get(subject)?.alias.as_deref()?;
        if alias.is_empty() {
            return None;
        }
        Some(qualify(QualifiedSubject::parse(subject).context, alias))
    }

    /// Whether any version of the subject, deleted or not, is referred to by any schema.
    #[must_use]
    pub fn is_referenced(&self, subject: &str) -> bool {
        self.subject(subject).is_some_and(|image| {
            image
                .versions()
                .any(|(version, _)| self.referrers(subject, version).next().is_some())
        })
    }

    /// Schemas that refer to the subject's version: context and id.
    pub fn referrers(
        &self,
        subject: &str,
        version: Version,
    ) -> impl Iterator<Item = (&str, SchemaId)> {
        self.referrers
            .get(subject)
            .into_iter()
            .flat_map(|all| all.iter())
            .filter(move |referrer| referrer.target_version == version)
            .map(|referrer| (referrer.context.as_str(), referrer.id))
    }

    /// Whether the version is soft-deleted; a version that is gone counts as deleted.
    #[must_use]
    pub fn is_deleted(&self, subject: &str, version: Version) -> bool {
        self.subject(subject)
            .and_then(|image| image.version(version))
            .is_none_or(|image| image.deleted)
    }

    /// The use to show for an id nobody asked a subject for.
    pub(crate) fn representative_use<'a>(
        &self,
        image: &'a SchemaImage,
    ) -> Option<(&'a str, Version)> {
        let newest_of = |deleted: bool| {
            let mut found: Option<(&str, Version)> = None;
            for (subject, version) in &image.uses {
                if self.is_deleted(subject, *version) != deleted {
                    continue;
                }
                match found {
                    Some((first, _)) if first != subject.as_ref() => break,
                    _ => found = Some((subject, *version)),
                }
            }
            found
        };
        newest_of(false).or_else(|| newest_of(true))
    }

    fn subject_through_alias(&self, subject: &str) -> Option<&Arc<SubjectImage>> {
        match self.alias_target(subject) {
            Some(target) => self.subjects.get(target.as_str()),
            None => self.subjects.get(subject),
        }
    }

    /// Makes this the next image. What older images share is copied, shard by shard, on the first
    /// change to it; a run of changes to one image copies a shard once.
    pub fn advance(&mut self, changes: &[Change], epoch: u64) {
        self.epoch = epoch;
        for change in changes {
            self.apply(change);
        }
        // Targets may come later in the same set (a load), so references are tied at the end.
        for change in changes {
            if let Change::PutSchema(schema) = change {
                self.link(schema);
            }
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::PutSchema(schema) => self.put_schema(schema),
            Change::RemoveSchema { context, id } => self.remove_schema(context, *id),
            Change::PutVersion {
                subject,
                version,
                id,
                deleted,
                registered_ms,
            } => self.put_version(subject, *version, *id, *deleted, *registered_ms),
            Change::RemoveVersion { subject, version } => self.remove_version(subject, *version),
            Change::PutConfig { subject, config } => match config {
                Some(config) => self.configs.insert(subject.clone(), Arc::clone(config)),
                None => self.configs.remove(subject.as_str()),
            },
            Change::PutMode { subject, mode } => match mode {
                Some(mode) => self.modes.insert(subject.clone(), *mode),
                None => self.modes.remove(subject.as_str()),
            },
            Change::PutAssociation(association) => self.associations.put(association),
            Change::RemoveAssociation(guid) => self.associations.remove(*guid),
            Change::RecordContext { context, recorded } => {
                self.context_mut(context).recorded = *recorded;
            }
            Change::RaiseIds {
                context,
                high_water,
            } => {
                let image = self.context_mut(context);
                image.id_high_water = image.id_high_water.max(high_water.0);
            }
        }
    }

    fn context_mut(&mut self, context: &str) -> &mut ContextImage {
        Arc::make_mut(self.contexts.entry(context.to_owned()).or_default())
    }

    fn put_schema(&mut self, schema: &Arc<RegisteredSchema>) {
        let context = self.context_mut(&schema.context);
        context.schemas.insert(
            schema.id.0,
            Arc::new(SchemaImage::new(Arc::clone(schema), Vec::new())),
        );
        let mut ids = context
            .ids_by_guid
            .get(&schema.guid)
            .cloned()
            .unwrap_or_default();
        ids.retain(|id| *id != schema.id);
        ids.push(schema.id);
        context.ids_by_guid.insert(schema.guid, ids);
        for reference in &schema.references {
            let target = qualify(&schema.context, &reference.subject);
            let referrer = Referrer {
                target_version: Version(reference.version),
                context: schema.context.clone(),
                id: schema.id,
            };
            match self.referrers.get_mut(target.as_str()) {
                Some(all) => Arc::make_mut(all).push(referrer),
                None => self.referrers.insert(target, Arc::new(vec![referrer])),
            }
        }
    }

    fn remove_schema(&mut self, context_name: &str, id: SchemaId) {
        let context = self.context_mut(context_name);
        let Some(image) = context.schemas.get(&id.0).cloned() else {
            return;
        };
        context.schemas.remove(&id.0);
        let guid = image.schema.guid;
        let mut ids = context.ids_by_guid.get(&guid).cloned().unwrap_or_default();
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            context.ids_by_guid.remove(&guid);
        } else {
            context.ids_by_guid.insert(guid, ids);
        }
        for reference in &image.schema.references {
            let target = qualify(context_name, &reference.subject);
            let Some(all) = self.referrers.get(target.as_str()) else {
                continue;
            };
            let mut all = all.as_ref().clone();
            all.retain(|referrer| referrer.context != context_name || referrer.id != id);
            if all.is_empty() {
                self.referrers.remove(target.as_str());
            } else {
                self.referrers.insert(target, Arc::new(all));
            }
        }
    }

    fn put_version(
        &mut self,
        subject: &str,
        version: Version,
        id: SchemaId,
        deleted: bool,
        registered_ms: i64,
    ) {
        let context = QualifiedSubject::parse(subject).context.to_owned();
        let Some(schema) = self.schema(&context, id).cloned() else {
            // A row without its schema; the store's foreign facts are checked on load.
            return;
        };
        let before = self
            .subject(subject)
            .and_then(|image| image.version(version))
            .map(|image| image.schema.id);
        if let Some(before) = before
            && before != id
        {
            self.change_use(&context, before, subject, version, false);
        }
        let version_image = VersionImage {
            schema,
            deleted,
            registered_ms,
        };
        match self.subjects.get_mut(subject) {
            Some(image) => {
                Arc::make_mut(image)
                    .versions
                    .insert(version.0, version_image);
            }
            None => {
                let versions = BTreeMap::from([(version.0, version_image)]);
                self.subjects
                    .insert(Arc::from(subject), Arc::new(SubjectImage { versions }));
                self.sorted_subjects = OnceLock::new();
            }
        }
        self.change_use(&context, id, subject, version, true);
    }

    fn remove_version(&mut self, subject: &str, version: Version) {
        let Some(image) = self.subjects.get_mut(subject) else {
            return;
        };
        let image = Arc::make_mut(image);
        let Some(removed) = image.versions.remove(&version.0) else {
            return;
        };
        if image.versions.is_empty() {
            self.subjects.remove(subject);
            self.sorted_subjects = OnceLock::new();
        }
        let context = removed.schema.context.clone();
        self.change_use(&context, removed.schema.id, subject, version, false);
    }

    fn change_use(
        &mut self,
        context: &str,
        id: SchemaId,
        subject: &str,
        version: Version,
        add: bool,
    ) {
        // One text per subject, shared by everything that names it.
        let name = self
            .subjects
            .key(subject)
            .map_or_else(|| Arc::from(subject), Arc::clone);
        let context = self.context_mut(context);
        let Some(image) = context.schemas.get_mut(&id.0) else {
            return;
        };
        let image = Arc::make_mut(image);
        // The prepared answer speaks of a use, so it goes with any change of them.
        image.answer = OnceLock::new();
        let place = image.uses.binary_search_by(|(name, number)| {
            name.as_ref().cmp(subject).then(number.cmp(&version))
        });
        match (place, add) {
            (Ok(at), false) => {
                image.uses.remove(at);
            }
            (Err(at), true) => image.uses.insert(at, (name, version)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    fn link(&self, schema: &RegisteredSchema) {
        let targets = schema
            .references
            .iter()
            .map(|reference| self.reference_target(&schema.context, reference))
            .collect();
        // Already linked when the writer parsed it before the commit.
        drop(schema.dependencies.set(targets));
    }

    /// What a reference written in `context` points at; soft-deleted versions count.
    pub(crate) fn reference_target(
        &self,
        context: &str,
        reference: &Reference,
    ) -> Option<Arc<RegisteredSchema>> {
        let subject = qualify(context, &reference.subject);
        let image = self
            .subject(&subject)?
            .version(Version(reference.version))?;
        Some(Arc::clone(&image.schema))
    }
}

/// The name under which a context's own settings and mode are stored; empty for the default one.
#[must_use]
pub fn context_settings_name(context: &str) -> String {
    context_prefix(context)
}

/// The truth cannot be asked now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("registry unavailable: {0}")]
pub struct Unavailable(pub String);
