//! A registry as plain facts: what export writes, import takes, and verification compares.
//!
//! Exact: ids, versions, GUIDs, soft deletes, times, settings, modes, contexts, spent ids and
//! associations, none of which a registration could all express. Pure. Next:
//! `import` for what writing does, [`replay`] for the `_schemas` topic of Confluent's registry.

mod import;
pub mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_formats::SchemaFormat;
use serde_json::Value;
use uuid::Uuid;

use crate::association::{Association, AssociationType, Lifecycle};
use crate::change::Change;
use crate::json::{self, JsonObject, Mismatch};
use crate::model::{
    CompatibilityLevel, Mode, Reference, SchemaId, SubjectConfig, Version, content_guid,
};
use crate::snapshot::{RegisteredSchema, SchemaContent, Snapshot};
use crate::store::facts;
use crate::subject_name::{QualifiedSubject, normalize, qualify};

/// What a fact is about; the order is that of files and of import.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Context(String),
    Ids(String),
    Schema(String, i32),
    Version(String, i32),
    Config(String),
    Mode(String),
    Association(Uuid),
}

impl Key {
    /// None for facts that take something away.
    fn of(change: &Change) -> Option<Self> {
        Some(match change {
            Change::RecordContext { context, .. } => Self::Context(context.clone()),
            Change::RaiseIds { context, .. } => Self::Ids(context.clone()),
            Change::PutSchema(schema) => Self::Schema(schema.context.clone(), schema.id.0),
            Change::PutVersion {
                subject, version, ..
            } => Self::Version(subject.clone(), version.0),
            Change::PutConfig {
                subject,
                config: Some(_),
            } => Self::Config(subject.clone()),
            Change::PutMode {
                subject,
                mode: Some(_),
            } => Self::Mode(subject.clone()),
            Change::PutAssociation(association) => Self::Association(association.guid),
            Change::PutConfig { config: None, .. }
            | Change::PutMode { mode: None, .. }
            | Change::RemoveSchema { .. }
            | Change::RemoveVersion { .. }
            | Change::RemoveAssociation(_) => return None,
        })
    }

    fn shown(&self) -> String {
        match self {
            Self::Context(context) => format!("context {context}"),
            Self::Ids(context) => format!("highest id of context {context}"),
            Self::Schema(context, id) => format!("schema {id} of context {context}"),
            Self::Version(subject, version) => format!("{subject} version {version}"),
            Self::Config(subject) => format!("settings of {}", shown_scope(subject)),
            Self::Mode(subject) => format!("mode of {}", shown_scope(subject)),
            Self::Association(guid) => format!("association {guid}"),
        }
    }
}

fn shown_scope(subject: &str) -> &str {
    if subject.is_empty() {
        "the top level"
    } else {
        subject
    }
}

/// Facts, one a thing.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    facts: BTreeMap<Key, Change>,
}

/// Time of a version whose source does not tell it: the time of the import.
pub const UNKNOWN_TIME: i64 = 0;

impl Facts {
    /// All that an image holds.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut facts = Self::default();
        for context in snapshot.contexts() {
            let recorded = snapshot.is_context_recorded(context);
            if recorded {
                facts.put(Change::RecordContext {
                    context: context.to_owned(),
                    recorded,
                });
            }
            let high_water = SchemaId(snapshot.id_high_water(context));
            if high_water.0 > 0 {
                facts.put(Change::RaiseIds {
                    context: context.to_owned(),
                    high_water,
                });
            }
        }
        for subject in snapshot.subjects().iter() {
            let versions = snapshot.subject(subject).into_iter();
            for (version, image) in versions.flat_map(|image| image.versions()) {
                facts.put(Change::PutSchema(Arc::clone(&image.schema)));
                facts.put(Change::PutVersion {
                    subject: subject.as_ref().to_owned(),
                    version,
                    id: image.schema.id,
                    deleted: image.deleted,
                    registered_ms: image.registered_ms,
                });
            }
        }
        for (subject, config) in snapshot.configs() {
            facts.put(Change::PutConfig {
                subject: subject.clone(),
                config: Some(Arc::clone(config)),
            });
        }
        for (subject, mode) in snapshot.modes() {
            facts.put(Change::PutMode {
                subject: subject.clone(),
                mode: Some(mode),
            });
        }
        for association in snapshot.associations() {
            facts.put(Change::PutAssociation(Arc::clone(association)));
        }
        facts
    }

    /// Adds a fact, or replaces the one about the same thing; one that takes something away is
    /// passed over.
    pub(crate) fn put(&mut self, change: Change) {
        if let Some(key) = Key::of(&change) {
            self.facts.insert(key, change);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// How many versions there are, soft-deleted ones included.
    #[must_use]
    pub fn versions_count(&self) -> usize {
        let versions = self.facts.keys();
        versions
            .filter(|key| matches!(key, Key::Version(..)))
            .count()
    }

    /// Each fact as JSON, in order.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        self.facts.values().map(facts::fact)
    }

    /// Adds a fact that [`Self::values`] gave.
    ///
    /// # Errors
    /// What is missing or not known to this release.
    pub fn add_value(&mut self, value: &Value) -> Result<(), String> {
        let object = value.as_object().ok_or("a fact is not a JSON object")?;
        let change = facts::change(object)?;
        if Key::of(&change).is_none() {
            return Err("a fact takes something away; an import only adds".to_owned());
        }
        self.put(change);
        Ok(())
    }

    /// Adds a version as Confluent's API and topic show it.
    ///
    /// # Errors
    /// What is missing or has the wrong type.
    pub fn add_entity(
        &mut self,
        entity: &serde_json::Map<String, Value>,
        deleted: bool,
    ) -> Result<(), String> {
        let read = read_entity(entity, deleted).map_err(|error| error.0)?;
        let (schema, version) = read?;
        let context = schema.context.clone();
        if context != "." {
            self.put(Change::RecordContext {
                context: context.clone(),
                recorded: true,
            });
        }
        self.raise_ids(&context, schema.id);
        self.put(Change::PutSchema(Arc::new(schema)));
        self.put(version);
        Ok(())
    }

    /// Ids up to this one are spent.
    pub fn raise_ids(&mut self, context: &str, id: SchemaId) {
        let key = Key::Ids(context.to_owned());
        if let Some(Change::RaiseIds { high_water, .. }) = self.facts.get(&key)
            && *high_water >= id
        {
            return;
        }
        self.put(Change::RaiseIds {
            context: context.to_owned(),
            high_water: id,
        });
    }

    /// Adds an association as Confluent's API shows it.
    ///
    /// # Errors
    /// What is missing.
    pub fn add_association(
        &mut self,
        association: &serde_json::Map<String, Value>,
    ) -> Result<(), String> {
        let text = |field: &str| {
            let value = association.get(field).and_then(Value::as_str);
            value.ok_or_else(|| format!("an association lacks its {field}"))
        };
        let time = |field: &str| association.get(field).and_then(Value::as_i64).unwrap_or(0);
        let guid = Uuid::parse_str(text("guid")?).map_err(|error| error.to_string())?;
        let part = text("associationType")?;
        let lifecycle = text("lifecycle")?;
        let lifecycle = Lifecycle::from_name(lifecycle)
            .ok_or_else(|| format!("unknown lifecycle {lifecycle}"))?;
        // What belongs to its topic is frozen; answers may leave that out.
        let frozen = association.get("frozen").and_then(Value::as_bool);
        self.put(Change::PutAssociation(Arc::new(Association {
            guid,
            subject: normalize(text("subject")?),
            resource_name: text("resourceName")?.to_owned(),
            resource_namespace: text("resourceNamespace")?.to_owned(),
            resource_id: text("resourceId")?.to_owned(),
            association_type: AssociationType::from_name(part)
                .ok_or_else(|| format!("unknown association type {part}"))?,
            lifecycle,
            frozen: frozen.unwrap_or(lifecycle == Lifecycle::Strong),
            created_ms: time("createTs"),
            updated_ms: time("updateTs"),
        })));
        Ok(())
    }

    /// Leaves out the settings and the mode of a subject, a context or the top level where `other` says
    /// the same of them.
    pub fn forget_settings_equal_to(&mut self, other: &Self, subject: &str) {
        for key in [
            Key::Config(subject.to_owned()),
            Key::Mode(subject.to_owned()),
        ] {
            let fact = |facts: &Self| facts.facts.get(&key).map(facts::fact);
            if fact(self) == fact(other) {
                self.facts.remove(&key);
            }
        }
    }

    /// Adds settings as Confluent's API and topic show them.
    ///
    /// # Errors
    /// What has the wrong type.
    pub fn add_config(
        &mut self,
        subject: &str,
        config: &serde_json::Map<String, Value>,
    ) -> Result<(), String> {
        let mut read = SubjectConfig::default();
        let level = json::merge_config(&mut read, config, facts::LEVEL_KEY);
        if let json::Update::Set(name) = level.map_err(|error| error.0)? {
            let level = CompatibilityLevel::from_name(&name);
            read.compatibility = Some(level.ok_or_else(|| format!("unknown level {name}"))?);
        }
        self.put(Change::PutConfig {
            subject: normalize(subject),
            config: Some(Arc::new(read)),
        });
        Ok(())
    }

    /// Adds a mode by its name.
    ///
    /// # Errors
    /// When there is no such mode.
    pub fn add_mode(&mut self, subject: &str, name: &str) -> Result<(), String> {
        let mode = Mode::from_name(name).ok_or_else(|| format!("unknown mode {name}"))?;
        self.put(Change::PutMode {
            subject: normalize(subject),
            mode: Some(mode),
        });
        Ok(())
    }

    /// What these facts say and `other` does not, or says otherwise; each a line. Empty when `other`
    /// holds them all. A version without a known time matches any.
    #[must_use]
    pub fn missing_in(&self, other: &Self) -> Vec<String> {
        self.facts
            .iter()
            .filter_map(|(key, change)| {
                let found = other.facts.get(key);
                if found.is_some_and(|found| says_the_same(change, found)) {
                    return None;
                }
                let wanted = facts::fact(change);
                Some(match found {
                    None => format!("{}: missing; wanted {wanted}", key.shown()),
                    Some(found) => {
                        let found = facts::fact(found);
                        format!("{}: is {found}; wanted {wanted}", key.shown())
                    }
                })
            })
            .collect()
    }

    /// Things that only these facts speak of.
    #[must_use]
    pub fn unknown_to(&self, other: &Self) -> Vec<String> {
        let keys = self.facts.keys();
        keys.filter(|key| !other.facts.contains_key(key))
            .map(Key::shown)
            .collect()
    }

    /// The facts in an order in which each schema comes after those it refers to, with its versions
    /// right behind it: they can be imported in pieces.
    #[must_use]
    pub fn in_import_order(&self) -> Vec<Value> {
        let mut order = ImportOrder {
            facts: self,
            versions: BTreeMap::new(),
            done: BTreeSet::new(),
            ordered: Vec::new(),
        };
        for change in self.facts.values() {
            if let Change::PutVersion { subject, id, .. } = change {
                let context = QualifiedSubject::parse(subject).context.to_owned();
                order
                    .versions
                    .entry((context, id.0))
                    .or_default()
                    .push(change);
            }
        }
        for (key, change) in &self.facts {
            match (key, change) {
                (Key::Schema(..), Change::PutSchema(schema)) => order.visit(schema),
                (Key::Version(..), _) => {}
                _ => order.ordered.push(facts::fact(change)),
            }
        }
        order.ordered
    }
}

struct ImportOrder<'f> {
    facts: &'f Facts,
    /// Version facts by context and id.
    versions: BTreeMap<(String, i32), Vec<&'f Change>>,
    done: BTreeSet<(String, i32)>,
    ordered: Vec<Value>,
}

impl<'f> ImportOrder<'f> {
    fn visit(&mut self, schema: &'f Arc<RegisteredSchema>) {
        // Without recursion: a chain of references may be long.
        let mut stack = vec![(schema, false)];
        while let Some((schema, targets_done)) = stack.pop() {
            let place = (schema.context.clone(), schema.id.0);
            if targets_done {
                self.ordered
                    .push(facts::fact(&Change::PutSchema(Arc::clone(schema))));
                let versions = self.versions.remove(&place).unwrap_or_default();
                self.ordered.extend(versions.into_iter().map(facts::fact));
                continue;
            }
            if !self.done.insert(place) {
                continue;
            }
            stack.push((schema, true));
            let targets = schema.references.iter().filter_map(|reference| {
                let subject = qualify(&schema.context, &reference.subject);
                self.facts.schema_of(&subject, reference.version)
            });
            stack.extend(targets.map(|target| (target, false)));
        }
    }
}

impl Facts {
    fn schema_of(&self, subject: &str, version: i32) -> Option<&Arc<RegisteredSchema>> {
        let key = Key::Version(subject.to_owned(), version);
        let Change::PutVersion { id, .. } = self.facts.get(&key)? else {
            return None;
        };
        let context = QualifiedSubject::parse(subject).context.to_owned();
        match self.facts.get(&Key::Schema(context, id.0))? {
            Change::PutSchema(schema) => Some(schema),
            _ => None,
        }
    }
}

fn says_the_same(wanted: &Change, found: &Change) -> bool {
    match (wanted, found) {
        (
            Change::PutVersion {
                id,
                deleted,
                registered_ms: UNKNOWN_TIME,
                ..
            },
            Change::PutVersion {
                id: found_id,
                deleted: found_deleted,
                ..
            },
        ) => (id, deleted) == (found_id, found_deleted),
        (
            Change::RaiseIds { high_water, .. },
            Change::RaiseIds {
                high_water: found, ..
            },
        ) => found >= high_water,
        _ => facts::fact(wanted) == facts::fact(found),
    }
}

type Entity = (RegisteredSchema, Change);

fn read_entity(object: &JsonObject, deleted: bool) -> Result<Result<Entity, String>, Mismatch> {
    let Some(subject) = json::text(object, "subject")? else {
        return Ok(Err("a version lacks its subject".to_owned()));
    };
    let subject = normalize(&subject);
    let (Some(version), Some(id)) = (json::int(object, "version")?, json::int(object, "id")?)
    else {
        return Ok(Err(format!(
            "a version of {subject} lacks its number or id"
        )));
    };
    let format = json::text(object, "schemaType")?;
    let Some(format) = SchemaFormat::from_name(format.as_deref().unwrap_or("AVRO")) else {
        return Ok(Err(format!(
            "{subject} version {version}: unknown schema type"
        )));
    };
    let Some(text) = json::text(object, "schema")? else {
        return Ok(Err(format!("{subject} version {version} lacks its schema")));
    };
    let mut references = Vec::new();
    for item in json::array(object, "references")? {
        let reference = item.as_object().cloned().unwrap_or_default();
        references.push(Reference {
            name: json::text(&reference, "name")?.unwrap_or_default(),
            subject: json::text(&reference, "subject")?.unwrap_or_default(),
            version: json::int(&reference, "version")?.unwrap_or(0),
        });
    }
    let metadata = json::metadata(object, "metadata")?;
    let rule_set = json::rule_set(object, "ruleSet")?;
    let told = json::text(object, "guid")?;
    let guid = told
        .and_then(|guid| Uuid::parse_str(&guid).ok())
        .unwrap_or_else(|| content_guid(&text, &references, metadata.as_ref(), rule_set.as_ref()));
    let content = SchemaContent {
        guid,
        format,
        text,
        references,
        metadata,
        rule_set,
    };
    let context = QualifiedSubject::parse(&subject).context.to_owned();
    let registered_ms = object.get("ts").and_then(Value::as_i64);
    let version = Change::PutVersion {
        version: Version(version),
        id: SchemaId(id),
        deleted,
        registered_ms: registered_ms.unwrap_or(UNKNOWN_TIME),
        subject,
    };
    Ok(Ok((
        RegisteredSchema::new(context, SchemaId(id), content),
        version,
    )))
}
