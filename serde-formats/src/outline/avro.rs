//! Outline of an Avro schema, from its canonical JSON.

use serde_json::{Map, Value};

use super::{Outline, OutlineField, OutlineType, TypeKind, join};

/// The root: no field leads to it.
pub(super) fn walk(tree: &Value, outline: &mut Outline) {
    visit(tree, "", "", outline);
}

/// Adds what the type at `path` is made of; names without dot are in `namespace`.
fn visit(tree: &Value, path: &str, namespace: &str, outline: &mut Outline) {
    match tree {
        Value::Array(branches) => {
            for branch in branches {
                visit(branch, path, namespace, outline);
            }
        }
        Value::Object(object) => match object.get("type") {
            Some(Value::String(kind)) => visit_kind(kind, object, path, namespace, outline),
            Some(inner) => visit(inner, path, namespace, outline),
            None => {}
        },
        _ => {}
    }
}

fn visit_kind(
    kind: &str,
    object: &Map<String, Value>,
    path: &str,
    namespace: &str,
    outline: &mut Outline,
) {
    let kind = match kind {
        "record" | "error" => TypeKind::Record,
        "enum" => TypeKind::Enum,
        "fixed" => TypeKind::Fixed,
        "array" | "map" => {
            let (key, mark) = if kind == "array" {
                ("items", "[]")
            } else {
                ("values", "{}")
            };
            if let Some(inner) = object.get(key) {
                visit(inner, &format!("{path}{mark}"), namespace, outline);
            }
            return;
        }
        _ => return,
    };
    let name = full_name(object, namespace);
    let own_namespace = name.rsplit_once('.').map_or("", |(space, _)| space);
    outline.types.push(OutlineType {
        is_namespaced: !own_namespace.is_empty(),
        kind,
        doc: text(object, "doc"),
        has_default: object.contains_key("default"),
        symbols: object
            .get("symbols")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        states_content_model: true,
        name: name.clone(),
    });
    let fields = object.get("fields").and_then(Value::as_array);
    for field in fields.into_iter().flatten().filter_map(Value::as_object) {
        let (Some(name), Some(inner)) = (text(field, "name"), field.get("type")) else {
            continue;
        };
        if !outline.has_room() {
            return;
        }
        let path = join(path, &name);
        outline.fields.push(OutlineField {
            path: path.clone(),
            name,
            type_name: type_name(inner, own_namespace),
            logical: logical(inner),
            doc: text(field, "doc"),
            default: field.get("default").map(Value::to_string),
            is_required: false,
        });
        visit(inner, &path, own_namespace, outline);
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn full_name(object: &Map<String, Value>, namespace: &str) -> String {
    let name = object.get("name").and_then(Value::as_str).unwrap_or("");
    let own = object.get("namespace").and_then(Value::as_str);
    qualified(name, own.unwrap_or(namespace))
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn logical(tree: &Value) -> Option<String> {
    match tree {
        Value::Array(branches) => branches.iter().find_map(logical),
        Value::Object(object) => text(object, "logicalType"),
        _ => None,
    }
}

const PRIMITIVES: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

fn type_name(tree: &Value, namespace: &str) -> String {
    match tree {
        Value::String(name) if PRIMITIVES.contains(&name.as_str()) => name.clone(),
        Value::String(name) => qualified(name, namespace),
        Value::Array(branches) => {
            let names: Vec<String> = branches.iter().map(|b| type_name(b, namespace)).collect();
            names.join("|")
        }
        Value::Object(object) => {
            let inner = |key: &str| {
                object
                    .get(key)
                    .map_or_else(String::new, |inner| type_name(inner, namespace))
            };
            let name = match object.get("type") {
                Some(Value::String(kind)) => match kind.as_str() {
                    "array" => format!("array<{}>", inner("items")),
                    "map" => format!("map<{}>", inner("values")),
                    "record" | "error" | "enum" | "fixed" => full_name(object, namespace),
                    other => other.to_owned(),
                },
                Some(other) => type_name(other, namespace),
                None => String::new(),
            };
            match text(object, "logicalType") {
                Some(logical) => format!("{name}({logical})"),
                None => name,
            }
        }
        _ => String::new(),
    }
}
