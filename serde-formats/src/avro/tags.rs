//! Inline tags of Avro schemas: `confluent:tags` on records and fields.

use std::collections::HashSet;

use super::AvroSchema;
use super::json_text::{self, Json};
use crate::schema::TextForm;
use crate::tags::{Edit, EntityType, TaggedEntity, UnknownEntity};

const TAGS: &str = "confluent:tags";

impl AvroSchema {
    /// Tagged records and fields, those of referenced schemas too.
    pub(crate) fn tagged_entities(&self) -> Vec<TaggedEntity> {
        let mut found = Listing::default();
        if let Ok(tree) = json_text::read(&self.text(TextForm::Resolved)) {
            found.schema(&tree, "");
        }
        found.entities
    }

    /// Source: Confluent's `AvroSchemaUtils.findMatchingEntity` for how a path is read.
    pub(crate) fn with_tags(&self, edits: &[Edit]) -> Result<String, UnknownEntity> {
        let unknown = |edit: &Edit| UnknownEntity::path(&edit.path);
        // The canonical text is JSON and was read once already.
        let mut tree = json_text::read(&self.text(TextForm::Canonical)).unwrap_or(Json::Null);
        for edit in edits {
            let path = EntityPath::parse(edit).ok_or_else(|| unknown(edit))?;
            let place = path.find(&mut tree).ok_or_else(|| unknown(edit))?;
            let tags = edit.applied(tags_of(place));
            set_tags(place, tags);
        }
        Ok(tree.to_text())
    }
}

/// `namespace.Record` or `namespace.Record.field`.
#[derive(Debug)]
struct EntityPath<'a> {
    /// Empty means any.
    namespace: &'a str,
    record: &'a str,
    field: Option<&'a str>,
}

impl<'a> EntityPath<'a> {
    fn parse(edit: &'a Edit) -> Option<Self> {
        let (owner, field) = match edit.entity {
            EntityType::Record => (edit.path.as_str(), None),
            EntityType::Field => {
                let (owner, field) = edit.path.rsplit_once('.')?;
                (owner, Some(field))
            }
        };
        let (namespace, record) = owner.rsplit_once('.').unwrap_or(("", owner));
        Some(Self {
            namespace,
            record,
            field,
        })
    }

    /// The first place of the text that the path names.
    fn find<'j>(&self, tree: &'j mut Json) -> Option<&'j mut Json> {
        let root = tree.get("namespace").and_then(Json::as_str);
        let root = root.unwrap_or_default().to_owned();
        self.find_in(tree, &root, &root)
    }

    /// The reference reads every record as one of the root's namespace; so does this, and takes a
    /// record's own namespace as well.
    fn find_in<'j>(
        &self,
        schema: &'j mut Json,
        root: &str,
        enclosing: &str,
    ) -> Option<&'j mut Json> {
        if let Json::Array(branches) = schema {
            return branches
                .iter_mut()
                .find_map(|branch| self.find_in(branch, root, enclosing));
        }
        let inner = match schema.get("type")?.as_str() {
            Some("record" | "error") => {
                let (namespace, name) = name_of(schema, enclosing);
                let is_it = name == self.record
                    && [root, &namespace]
                        .iter()
                        .any(|known| self.namespace.is_empty() || *known == self.namespace);
                if is_it && self.field.is_none() {
                    return Some(schema);
                }
                let Json::Array(fields) = member(schema, "fields")? else {
                    return None;
                };
                return fields.iter_mut().find_map(|field| {
                    if is_it {
                        let name = field.get("name").and_then(Json::as_str);
                        (name == self.field).then_some(field)
                    } else {
                        self.find_in(member(field, "type")?, root, &namespace)
                    }
                });
            }
            Some("array") => "items",
            Some("map") => "values",
            Some(_) => return None,
            None => "type",
        };
        self.find_in(member(schema, inner)?, root, enclosing)
    }
}

#[derive(Debug, Default)]
struct Listing {
    entities: Vec<TaggedEntity>,
    seen: HashSet<String>,
}

impl Listing {
    fn schema(&mut self, schema: &Json, enclosing: &str) {
        if let Json::Array(branches) = schema {
            for branch in branches {
                self.schema(branch, enclosing);
            }
            return;
        }
        let inner = match schema.get("type").map(Json::as_str) {
            Some(Some("record" | "error")) => return self.record(schema, enclosing),
            Some(Some("array")) => "items",
            Some(Some("map")) => "values",
            Some(None) => "type",
            Some(Some(_)) | None => return,
        };
        if let Some(inner) = schema.get(inner) {
            self.schema(inner, enclosing);
        }
    }

    fn record(&mut self, record: &Json, enclosing: &str) {
        let (namespace, name) = name_of(record, enclosing);
        let full_name = if namespace.is_empty() {
            name
        } else {
            format!("{namespace}.{name}")
        };
        if !self.seen.insert(full_name.clone()) {
            return;
        }
        self.add(full_name.clone(), EntityType::Record, tags_of(record));
        let Some(Json::Array(fields)) = record.get("fields") else {
            return;
        };
        for field in fields {
            let name = field.get("name").and_then(Json::as_str).unwrap_or("");
            let path = format!("{full_name}.{name}");
            self.add(path, EntityType::Field, tags_of(field));
            if let Some(field_type) = field.get("type") {
                self.schema(field_type, &namespace);
            }
        }
    }

    fn add(&mut self, path: String, entity: EntityType, tags: Vec<String>) {
        if !tags.is_empty() {
            self.entities.push(TaggedEntity { path, entity, tags });
        }
    }
}

/// Namespace and simple name of a named type.
fn name_of(schema: &Json, enclosing: &str) -> (String, String) {
    let name = schema.get("name").and_then(Json::as_str).unwrap_or("");
    if let Some((namespace, name)) = name.rsplit_once('.') {
        return (namespace.to_owned(), name.to_owned());
    }
    let own = schema.get("namespace").and_then(Json::as_str);
    (own.unwrap_or(enclosing).to_owned(), name.to_owned())
}

fn member<'j>(object: &'j mut Json, key: &str) -> Option<&'j mut Json> {
    match object {
        Json::Object(members) => members
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value),
        _ => None,
    }
}

fn tags_of(place: &Json) -> Vec<String> {
    let Some(Json::Array(items)) = place.get(TAGS) else {
        return Vec::new();
    };
    let mut tags: Vec<String> = Vec::new();
    for item in items {
        let tag = item.as_str().map_or_else(|| item.to_text(), str::to_owned);
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn set_tags(place: &mut Json, tags: Vec<String>) {
    let Json::Object(members) = place else {
        return;
    };
    if tags.is_empty() {
        members.retain(|(name, _)| name != TAGS);
        return;
    }
    let value = Json::Array(tags.into_iter().map(Json::String).collect());
    match members.iter_mut().find(|(name, _)| name == TAGS) {
        Some((_, old)) => *old = value,
        None => members.push((TAGS.to_owned(), value)),
    }
}
