//! What people do to a schema between two versions.

use serde_json::{Map, Value, json};

use super::{Draft, Maker, NAMES, PATTERNS, TYPES, is_valid, value};
use crate::random::Random;

/// Tries of changes that leave the schema a valid one.
const TRIES: usize = 12;

/// `old` after one to three changes. Unchanged when every try broke the schema.
pub(super) fn change(old: &Value, draft: Draft, random: &mut Random) -> Value {
    let mut new = old.clone();
    for _ in 0..1 + random.below(3) {
        for _ in 0..TRIES {
            let mut tried = new.clone();
            change_once(&mut tried, draft, random);
            if tried != new && is_valid(&tried) {
                new = tried;
                break;
            }
        }
    }
    new
}

fn change_once(document: &mut Value, draft: Draft, random: &mut Random) {
    let mut places = Vec::new();
    places_of(document, "", &mut places);
    let place = random.pick(&places).clone();
    let mut maker = Maker::within(document, draft, random);
    maker.containers = place.matches("/properties/").count() + place.matches("/items").count();
    let mut node = document.pointer(&place).cloned().unwrap_or_default();
    change_schema(&mut node, place.is_empty(), &mut maker);
    if let Some(found) = document.pointer_mut(&place) {
        *found = node;
    }
}

/// Pointers to every schema in `schema`.
fn places_of(schema: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    let Value::Object(members) = schema else {
        return;
    };
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            (
                "properties" | "patternProperties" | "definitions" | "$defs" | "dependentSchemas"
                | "dependencies",
                Value::Object(schemas),
            ) => {
                for (name, schema) in schemas.iter().filter(|(_, schema)| !schema.is_array()) {
                    places_of(schema, &format!("{at}/{keyword}/{name}"), places);
                }
            }
            ("items" | "prefixItems" | "oneOf" | "anyOf" | "allOf", Value::Array(schemas)) => {
                for (position, schema) in schemas.iter().enumerate() {
                    places_of(schema, &format!("{at}/{keyword}/{position}"), places);
                }
            }
            (
                "items"
                | "not"
                | "if"
                | "then"
                | "contains"
                | "propertyNames"
                | "additionalProperties"
                | "additionalItems",
                schema,
            ) => places_of(schema, &format!("{at}/{keyword}"), places),
            _ => {}
        }
    }
}

fn change_schema(node: &mut Value, is_root: bool, maker: &mut Maker<'_>) {
    if !is_root {
        match maker.random.below(100) {
            0..=5 => {
                let keyword = *maker.random.pick(&["oneOf", "anyOf"]);
                *node = json!({keyword: [{"type": "null"}, node.clone()]});
                return;
            }
            6..=9 => {
                *node = maker.schema(2);
                return;
            }
            _ => {}
        }
    }
    let Value::Object(members) = node else {
        *node = maker.schema(2);
        return;
    };
    let mut keywords: Vec<String> = members
        .keys()
        .filter(|keyword| !matches!(keyword.as_str(), "$schema" | "$defs" | "definitions"))
        .cloned()
        .collect();
    if keywords.is_empty() || maker.random.chance(25) {
        add_keyword(members, maker);
        return;
    }
    maker.random.shuffle(&mut keywords);
    change_keyword(members, &keywords[0], maker);
}

/// Adds a keyword of the schema's type, or a description.
fn add_keyword(members: &mut Map<String, Value>, maker: &mut Maker<'_>) {
    let name = match members.get("type") {
        Some(Value::String(name)) => name.clone(),
        _ => (*maker.random.pick(&TYPES)).to_owned(),
    };
    let of_type = match name.as_str() {
        "string" => maker.string(),
        "integer" | "number" => maker.number(),
        "object" => maker.object(2),
        "array" => maker.array(2),
        _ => json!({"title": "T", "description": "changed", "x-own": 1}),
    };
    let Value::Object(of_type) = of_type else {
        return;
    };
    let fresh: Vec<(&String, &Value)> = of_type
        .iter()
        .filter(|(keyword, _)| !members.contains_key(*keyword))
        .collect();
    if fresh.is_empty() || maker.random.chance(8) {
        members.insert("description".to_owned(), json!("changed"));
        return;
    }
    let (keyword, value) = *maker.random.pick(&fresh);
    members.insert(keyword.clone(), value.clone());
}

fn change_keyword(members: &mut Map<String, Value>, keyword: &str, maker: &mut Maker<'_>) {
    let is_removable = !matches!(keyword, "type" | "properties" | "$ref" | "if");
    if is_removable && maker.random.chance(20) {
        members.remove(keyword);
        return;
    }
    if keyword == "properties" {
        change_properties(members, maker);
        return;
    }
    let names: Vec<String> = members
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect();
    let Some(value) = members.get_mut(keyword) else {
        return;
    };
    match keyword {
        "type" => *value = other_type(value, maker.random),
        "required" => change_required(value, &names, maker.random),
        "enum" => change_values(value, maker),
        "const" => *value = value::scalar(maker.draft, maker.random),
        "pattern" => *value = json!(maker.random.pick(&PATTERNS).0),
        "format" => *value = maker.format(),
        "$ref" => {
            if let Some(other) = maker.reference()
                && let Some(reference) = other.get("$ref")
            {
                *value = reference.clone();
            }
        }
        "oneOf" | "anyOf" | "allOf" => {
            if maker.random.chance(15) {
                let other = *maker.random.pick(&["oneOf", "anyOf", "allOf"]);
                let schemas = value.clone();
                members.remove(keyword);
                members.insert(other.to_owned(), schemas);
            } else {
                change_members(value, maker);
            }
        }
        "items" | "prefixItems" if value.is_array() => change_members(value, maker),
        "dependencies" | "dependentRequired" => {
            let name = *maker.random.pick(&NAMES);
            *value = json!({name: [*maker.random.pick(&NAMES)]});
        }
        "patternProperties" => {
            let pattern = *maker.random.pick(&["^x-", "^[a-c]$"]);
            *value = json!({pattern: maker.schema(2)});
        }
        "additionalProperties" | "additionalItems" | "items" => {
            *value = match maker.random.below(3) {
                0 if keyword != "items" => json!(false),
                1 if keyword != "items" => json!(true),
                _ => maker.schema(2),
            };
        }
        "title" | "description" | "default" => *value = json!("changed"),
        _ => match value {
            Value::Number(_) => *value = moved(value, maker.random),
            Value::Bool(flag) => *flag = !*flag,
            _ => *value = maker.schema(2),
        },
    }
}

/// A bound moved a little.
fn moved(bound: &Value, random: &mut Random) -> Value {
    let step = if random.chance(50) { 1 } else { -1 };
    match (bound.as_i64(), bound.as_f64()) {
        (Some(bound), _) => json!(bound + step),
        (_, Some(bound)) if random.chance(50) => json!(bound * 2.0),
        (_, Some(bound)) => json!(bound.ceil()),
        _ => bound.clone(),
    }
}

fn other_type(value: &Value, random: &mut Random) -> Value {
    match value {
        Value::Array(names) => {
            let mut names = names.clone();
            let name = json!(random.pick(&TYPES));
            if names.len() > 1 && random.chance(40) {
                names.remove(random.below(names.len()));
            } else if !names.contains(&name) {
                names.push(name);
            } else {
                random.shuffle(&mut names);
            }
            json!(names)
        }
        Value::String(name) if name == "integer" && random.chance(70) => json!("number"),
        Value::String(name) if name == "number" && random.chance(70) => json!("integer"),
        Value::String(name) if name != "null" && random.chance(50) => json!([name, "null"]),
        _ => json!(random.pick(&TYPES)),
    }
}

fn change_required(value: &mut Value, names: &[String], random: &mut Random) {
    let Value::Array(required) = value else {
        return;
    };
    if required.len() > 1 && random.chance(50) {
        required.remove(random.below(required.len()));
        return;
    }
    let name = match names.is_empty() || random.chance(10) {
        true => json!(random.pick(&NAMES)),
        false => json!(random.pick(names)),
    };
    if !required.contains(&name) {
        required.push(name);
    }
}

fn change_values(value: &mut Value, maker: &mut Maker<'_>) {
    let Value::Array(values) = value else {
        return;
    };
    match maker.random.below(3) {
        0 if values.len() > 1 => {
            values.remove(maker.random.below(values.len()));
        }
        1 => maker.random.shuffle(values),
        _ => {
            let added = value::scalar(maker.draft, maker.random);
            if !values.contains(&added) {
                values.push(added);
            }
        }
    }
}

fn change_members(value: &mut Value, maker: &mut Maker<'_>) {
    let Value::Array(schemas) = value else {
        return;
    };
    match maker.random.below(4) {
        0 if schemas.len() > 1 => {
            schemas.remove(maker.random.below(schemas.len()));
        }
        1 => maker.random.shuffle(schemas),
        _ => {
            let added = maker.schema(2);
            if !schemas.contains(&added) {
                let at = maker.random.below(schemas.len() + 1);
                schemas.insert(at, added);
            }
        }
    }
}

fn change_properties(members: &mut Map<String, Value>, maker: &mut Maker<'_>) {
    let Some(Value::Object(properties)) = members.get_mut("properties") else {
        return;
    };
    let existing: Vec<String> = properties.keys().cloned().collect();
    match maker.random.below(5) {
        0 | 1 if !existing.is_empty() => {
            properties.remove(maker.random.pick(&existing));
        }
        2 if existing.len() > 1 => {
            let mut order: Vec<(String, Value)> = std::mem::take(properties).into_iter().collect();
            maker.random.shuffle(&mut order);
            properties.extend(order);
        }
        _ => {
            let name = *maker.random.pick(&["a", "b", "c", "d", "x-e", "g"]);
            let mut property = maker.schema(2);
            if maker.random.chance(30)
                && let Value::Object(property) = &mut property
            {
                let default = value::scalar(maker.draft, maker.random);
                property.insert("default".to_owned(), default);
            }
            properties.insert(name.to_owned(), property);
            if maker.random.chance(25)
                && let Some(Value::Array(required)) = members.get_mut("required")
                && !required.contains(&json!(name))
            {
                required.push(json!(name));
            }
        }
    }
}
