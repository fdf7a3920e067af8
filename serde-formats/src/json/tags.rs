//! Inline tags of JSON Schemas: `confluent:tags` on objects and properties.
//!
//! A path says how the reference sees the schema: `object` before a property, `array` before items,
//! `oneof.1` before an alternative, in an order of its own (see [`alternatives`]). Source:
//! Confluent's `JsonSchema.inlineTaggedEntities` and `JsonSchemaUtils.findMatchingEntity`.

use std::collections::HashSet;

use super::JsonSchema;
use super::text::Json;
use crate::schema::TextForm;
use crate::tags::{Edit, EntityType, TaggedEntity, UnknownEntity};

const TAGS: &str = "confluent:tags";

impl JsonSchema {
    pub(crate) fn tagged_entities(&self) -> Vec<TaggedEntity> {
        let mut found = Listing::default();
        if let Ok(tree) = Json::parse(&self.text(TextForm::Canonical)) {
            found.schema(&tree, "", false);
        }
        found.entities
    }

    pub(crate) fn with_tags(&self, edits: &[Edit]) -> Result<String, UnknownEntity> {
        // The canonical text is JSON and was read once already.
        let mut tree = Json::parse(&self.text(TextForm::Canonical)).unwrap_or(Json::Null);
        for edit in edits {
            let unknown = || UnknownEntity::path(&edit.path);
            let steps: Vec<&str> = edit.path.split('.').collect();
            let place = find(&mut tree, edit.entity, &steps).ok_or_else(unknown)?;
            let tags = edit.applied(tags_of(place));
            set_tags(place, tags).ok_or_else(unknown)?;
        }
        Ok(tree.canonical())
    }
}

/// The place that the steps lead to from `node`.
fn find<'j>(node: &'j mut Json, entity: EntityType, steps: &[&str]) -> Option<&'j mut Json> {
    let (first, rest) = steps.split_first()?;
    match *first {
        "object" if rest.is_empty() => (entity == EntityType::Record).then_some(node),
        "object" => {
            let (holder, names) = match rest {
                ["definitions", names @ ..] => ("definitions", names),
                ["$defs", names @ ..] => ("$defs", names),
                names => ("properties", names),
            };
            let holder = member(node, holder)?;
            // A name may have dots of its own: the shortest that exists is meant.
            let length = (1..=names.len()).find(|length| {
                let name = names.get(..*length).unwrap_or_default().join(".");
                holder.get(&name).is_some()
            })?;
            let (name, rest) = names.split_at(length);
            let found = member(holder, &name.join("."))?;
            if rest.is_empty() {
                Some(found)
            } else {
                find(found, entity, rest)
            }
        }
        "array" => find(member(node, "items")?, entity, rest),
        "anyof" if node.get("anyOf").is_some() => find_among(node, "anyOf", entity, rest),
        "allof" if node.get("allOf").is_some() => find_among(node, "allOf", entity, rest),
        // Several types, or several kinds of keywords, in one schema: the number says nothing that
        // is written in the text.
        "anyof" | "allof" => match rest {
            [_, "conditional", branch, rest @ ..] => find(member(node, branch)?, entity, rest),
            [_, rest @ ..] => find(node, entity, rest),
            [] => None,
        },
        "oneof" => find_among(node, "oneOf", entity, rest),
        "not" => find(member(node, "not")?, entity, rest),
        "conditional" => match rest {
            [branch, rest @ ..] => find(member(node, branch)?, entity, rest),
            [] => None,
        },
        _ => None,
    }
}

fn find_among<'j>(
    node: &'j mut Json,
    keyword: &str,
    entity: EntityType,
    steps: &[&str],
) -> Option<&'j mut Json> {
    let (number, rest) = steps.split_first()?;
    let Json::Array(members) = member(node, keyword)? else {
        return None;
    };
    let at = *alternatives(members).get(number.parse::<usize>().ok()?)?;
    find(members.get_mut(at)?, entity, rest)
}

/// The order in which alternatives are counted: by kind, title, description, then by what names
/// their properties have; places in the text.
fn alternatives(members: &[Json]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_cached_key(|at| members.get(*at).map(sort_key));
    order
}

type SortKey = (Kind, Option<String>, Option<String>, usize, Vec<String>);

fn sort_key(schema: &Json) -> SortKey {
    let text = |key: &str| match schema.get(key) {
        Some(Json::String(text)) => Some(text.clone()),
        _ => None,
    };
    let mut names = match schema.get("properties") {
        Some(Json::Object(properties)) => properties.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    };
    names.sort_unstable();
    let kind = match kinds(schema).as_slice() {
        [] => Kind::Empty,
        [one] => *one,
        _ => Kind::Combined,
    };
    (kind, text("title"), text("description"), names.len(), names)
}

/// The kinds that the reference's parser tells apart, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Array,
    Boolean,
    Combined,
    Conditional,
    Const,
    Empty,
    Enum,
    Not,
    Null,
    Number,
    Object,
    Reference,
    String,
}

const COMBINING: [(&str, &str); 3] = [("allOf", "allof"), ("anyOf", "anyof"), ("oneOf", "oneof")];

const OBJECT_KEYWORDS: [&str; 8] = [
    "properties",
    "additionalProperties",
    "required",
    "minProperties",
    "maxProperties",
    "dependencies",
    "patternProperties",
    "propertyNames",
];

const ARRAY_KEYWORDS: [&str; 6] = [
    "items",
    "additionalItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
];

/// What a schema's keywords make of it, each kind once.
fn kinds(schema: &Json) -> Vec<Kind> {
    let has = |key: &str| schema.get(key).is_some();
    let any = |keys: &[&str]| keys.iter().any(|key| has(key));
    if has("$ref") {
        return vec![Kind::Reference];
    }
    let mut kinds = Vec::new();
    if any(&["allOf", "anyOf", "oneOf"]) {
        kinds.push(Kind::Combined);
    }
    if any(&["if", "then", "else"]) {
        kinds.push(Kind::Conditional);
    }
    for (key, kind) in [
        ("const", Kind::Const),
        ("enum", Kind::Enum),
        ("not", Kind::Not),
    ] {
        if has(key) {
            kinds.push(kind);
        }
    }
    match schema.get("type") {
        Some(Json::String(name)) => kinds.extend(kind_of_type(name)),
        Some(Json::Array(_)) => kinds.push(Kind::Combined),
        _ if any(&OBJECT_KEYWORDS) => kinds.push(Kind::Object),
        _ if any(&ARRAY_KEYWORDS) => kinds.push(Kind::Array),
        _ => {}
    }
    kinds
}

fn kind_of_type(name: &str) -> Option<Kind> {
    Some(match name {
        "array" => Kind::Array,
        "boolean" => Kind::Boolean,
        "null" => Kind::Null,
        "number" | "integer" => Kind::Number,
        "object" => Kind::Object,
        "string" => Kind::String,
        _ => return None,
    })
}

#[derive(Debug, Default)]
struct Listing {
    entities: Vec<TaggedEntity>,
    seen: HashSet<String>,
}

impl Listing {
    fn schema(&mut self, schema: &Json, scope: &str, in_field: bool) {
        let mut kinds = kinds(schema);
        kinds.sort_unstable_by_key(|kind| (*kind != Kind::Combined, *kind));
        match kinds.as_slice() {
            [] => {}
            [kind] => self.part(schema, *kind, scope, in_field),
            several => {
                for (number, kind) in several.iter().enumerate() {
                    self.part(schema, *kind, &format!("{scope}allof.{number}."), false);
                }
            }
        }
    }

    fn part(&mut self, schema: &Json, kind: Kind, scope: &str, in_field: bool) {
        match kind {
            Kind::Combined => self.combined(schema, scope),
            Kind::Conditional => {
                for branch in ["if", "then", "else"] {
                    if let Some(inner) = schema.get(branch) {
                        self.schema(inner, &format!("{scope}conditional.{branch}."), false);
                    }
                }
            }
            Kind::Not => {
                if let Some(inner) = schema.get("not") {
                    self.schema(inner, &format!("{scope}not."), false);
                }
            }
            Kind::Array => {
                if let Some(items @ Json::Object(_)) = schema.get("items") {
                    self.schema(items, &format!("{scope}array."), false);
                }
            }
            Kind::Object => self.object(schema, scope, in_field),
            Kind::Boolean
            | Kind::Const
            | Kind::Empty
            | Kind::Enum
            | Kind::Null
            | Kind::Number
            | Kind::Reference
            | Kind::String => {}
        }
    }

    fn combined(&mut self, schema: &Json, scope: &str) {
        for (keyword, criterion) in COMBINING {
            let Some(Json::Array(members)) = schema.get(keyword) else {
                continue;
            };
            for (number, at) in alternatives(members).into_iter().enumerate() {
                if let Some(inner) = members.get(at) {
                    self.schema(inner, &format!("{scope}{criterion}.{number}."), false);
                }
            }
        }
        let Some(Json::Array(types)) = schema.get("type") else {
            return;
        };
        let mut kinds: Vec<Kind> = types
            .iter()
            .filter_map(|name| match name {
                Json::String(name) => kind_of_type(name),
                _ => None,
            })
            .collect();
        kinds.sort_unstable();
        for (number, kind) in kinds.into_iter().enumerate() {
            self.part(schema, kind, &format!("{scope}anyof.{number}."), false);
        }
    }

    fn object(&mut self, schema: &Json, scope: &str, in_field: bool) {
        let name = format!("{scope}object");
        if !self.seen.insert(name.clone()) {
            return;
        }
        if !in_field {
            self.add(name.clone(), EntityType::Record, schema);
        }
        if let Some(Json::Object(properties)) = schema.get("properties") {
            for (property, inner) in properties {
                let path = format!("{name}.{property}");
                self.add(path.clone(), EntityType::Field, inner);
                self.schema(inner, &format!("{path}."), true);
            }
        }
        for holder in ["definitions", "$defs"] {
            if let Some(Json::Object(definitions)) = schema.get(holder) {
                for (definition, inner) in definitions {
                    self.schema(inner, &format!("{name}.{holder}.{definition}."), false);
                }
            }
        }
    }

    fn add(&mut self, path: String, entity: EntityType, place: &Json) {
        let tags = tags_of(place);
        if !tags.is_empty() {
            self.entities.push(TaggedEntity { path, entity, tags });
        }
    }
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
        let tag = match item {
            Json::String(text) => text.clone(),
            other => other.canonical(),
        };
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// None where the place is no object: `true` and `false` have no tags.
fn set_tags(place: &mut Json, tags: Vec<String>) -> Option<()> {
    let Json::Object(members) = place else {
        return None;
    };
    if tags.is_empty() {
        members.retain(|(name, _)| name != TAGS);
        return Some(());
    }
    let value = Json::Array(tags.into_iter().map(Json::String).collect());
    match members.iter_mut().find(|(name, _)| name == TAGS) {
        Some((_, old)) => *old = value,
        None => members.push((TAGS.to_owned(), value)),
    }
    Some(())
}
