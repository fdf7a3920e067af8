//! Outline of a JSON Schema.

use serde_json::{Map, Value};

use super::{Outline, OutlineField, OutlineType, TypeKind, join};

pub(super) fn walk(tree: &Value, outline: &mut Outline) {
    visit(tree, "", outline);
}

/// Keywords that hold one schema for array items.
const ITEMS: [&str; 3] = ["items", "additionalItems", "contains"];
/// Keywords that hold schemas of the same value.
const SAME_VALUE: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords that say what happens to properties without a name here.
const CONTENT_MODEL: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];

fn visit(tree: &Value, path: &str, outline: &mut Outline) {
    let Some(schema) = tree.as_object() else {
        return;
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let is_object = schema.get("type").and_then(Value::as_str) == Some("object");
    if properties.is_some() || is_object {
        let title = text(schema, "title");
        outline.types.push(OutlineType {
            name: title.unwrap_or_else(|| path.to_owned()),
            kind: TypeKind::Object,
            is_namespaced: true,
            doc: text(schema, "description"),
            has_default: schema.contains_key("default"),
            symbols: Vec::new(),
            states_content_model: CONTENT_MODEL.iter().any(|key| schema.contains_key(*key)),
        });
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, inner) in properties.into_iter().flatten() {
        if !outline.has_room() {
            return;
        }
        let path = join(path, name);
        let inner_object = inner.as_object();
        outline.fields.push(OutlineField {
            path: path.clone(),
            name: name.clone(),
            type_name: type_name(inner),
            logical: inner_object.and_then(|inner| text(inner, "format")),
            doc: inner_object.and_then(|inner| text(inner, "description")),
            default: inner.get("default").map(Value::to_string),
            is_required: required.contains(&name.as_str()),
        });
        visit(inner, &path, outline);
    }
    for key in ITEMS {
        match schema.get(key) {
            Some(Value::Array(items)) => {
                for item in items {
                    visit(item, &format!("{path}[]"), outline);
                }
            }
            Some(item) => visit(item, &format!("{path}[]"), outline),
            None => {}
        }
    }
    if let Some(inner @ Value::Object(_)) = schema.get("additionalProperties") {
        visit(inner, &format!("{path}{{}}"), outline);
    }
    for key in SAME_VALUE {
        for branch in schema
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            visit(branch, path, outline);
        }
    }
    for key in ["$defs", "definitions"] {
        let definitions = schema.get(key).and_then(Value::as_object);
        for (name, inner) in definitions.into_iter().flatten() {
            visit(inner, &join(&join(path, key), name), outline);
        }
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn type_name(tree: &Value) -> String {
    let Some(schema) = tree.as_object() else {
        return if *tree == Value::Bool(false) {
            "never".to_owned()
        } else {
            "any".to_owned()
        };
    };
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return target.to_owned();
    }
    let name = match schema.get("type") {
        Some(Value::String(kind)) if kind == "array" => {
            let items = schema
                .get("items")
                .map_or_else(|| "any".to_owned(), type_name);
            format!("array<{items}>")
        }
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join("|")
        }
        _ if schema.contains_key("enum") || schema.contains_key("const") => "enum".to_owned(),
        _ => SAME_VALUE
            .iter()
            .find_map(|key| {
                let branches = schema.get(*key)?.as_array()?;
                let names: Vec<String> = branches.iter().map(type_name).collect();
                Some(names.join("|"))
            })
            .unwrap_or_else(|| "any".to_owned()),
    };
    match text(schema, "format") {
        Some(format) => format!("{name}({format})"),
        None => name,
    }
}
