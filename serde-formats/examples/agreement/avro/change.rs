//! What people do to a schema between two versions.

use serde_json::{Value, json};

use super::{Maker, default_of, is_valid};
use crate::random::Random;

/// Tries of changes that leave the schema a valid one.
const TRIES: usize = 12;

/// More names than one change makes, so that no name is defined twice.
const NAMES_A_TRY: usize = 100;

/// `old` after one to three changes. Unchanged when every try broke the schema.
pub(super) fn change(old: &Value, next_name: usize, random: &mut Random) -> Value {
    let mut new = old.clone();
    let mut next_name = next_name;
    for _ in 0..1 + random.below(3) {
        for _ in 0..TRIES {
            let mut tried = new.clone();
            next_name += NAMES_A_TRY;
            change_once(&mut tried, next_name, random);
            if tried != new && is_valid(&tried) {
                new = tried;
                break;
            }
        }
    }
    new
}

fn change_once(schema: &mut Value, next_name: usize, random: &mut Random) {
    let mut places = Vec::new();
    places_of(schema, "", &mut places);
    let place = random.pick(&places).clone();
    if let Some(node) = schema.pointer_mut(&place) {
        change_type(node, next_name, random);
    }
    // A default seldom fits the new type of its field.
    if let Some(field) = place.strip_suffix("/type")
        && let Some(Value::Object(field)) = schema.pointer_mut(field)
        && random.chance(80)
    {
        field.remove("default");
    }
}

/// Pointers to every type below `schema`.
fn places_of(schema: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match schema {
        Value::Array(branches) => {
            for (i, branch) in branches.iter().enumerate() {
                places_of(branch, &format!("{at}/{i}"), places);
            }
        }
        Value::Object(object) => {
            for key in ["items", "values"] {
                if let Some(inner) = object.get(key) {
                    places_of(inner, &format!("{at}/{key}"), places);
                }
            }
            let fields = object.get("fields").and_then(Value::as_array);
            for (i, field) in fields.into_iter().flatten().enumerate() {
                places_of(&field["type"], &format!("{at}/fields/{i}/type"), places);
            }
        }
        _ => {}
    }
}

fn change_type(node: &mut Value, next_name: usize, random: &mut Random) {
    if random.chance(6) {
        *node = nullable(node.clone());
        return;
    }
    if random.chance(4) {
        let mut maker = Maker::new(random);
        maker.next_name = next_name;
        *node = maker.schema(2, None);
        return;
    }
    match node {
        Value::Array(branches) => change_union(branches, next_name, random),
        Value::String(word) => *node = other_primitive(word, random),
        Value::Object(object) => match object["type"].as_str().unwrap_or("") {
            "record" => match random.below(10) {
                0 => change_name(node, random),
                1 => {
                    node["doc"] = json!("described");
                    node["owner"] = json!("team");
                }
                _ => change_fields(node, next_name, random),
            },
            "enum" => match random.below(4) {
                0 => change_name(node, random),
                1 => match node.get("default").is_some() {
                    true => {
                        if let Value::Object(object) = node {
                            object.remove("default");
                        }
                    }
                    false => node["default"] = node["symbols"][0].clone(),
                },
                _ => change_symbols(&mut node["symbols"], random),
            },
            "fixed" => match random.below(2) {
                0 => change_name(node, random),
                _ => node["size"] = json!(1 + random.below(5)),
            },
            "array" => *node = json!({"type": "map", "values": node["items"]}),
            "map" => *node = json!({"type": "array", "items": node["values"]}),
            base => *node = other_primitive(base, random),
        },
        _ => {}
    }
}

fn nullable(schema: Value) -> Value {
    match schema {
        Value::Array(mut branches) => {
            if !branches.contains(&json!("null")) {
                branches.insert(0, json!("null"));
            }
            Value::Array(branches)
        }
        other => json!(["null", other]),
    }
}

/// A promotion as often as not.
fn other_primitive(word: &str, random: &mut Random) -> Value {
    let promoted: &[&str] = match word {
        "int" => &["long", "float", "double"],
        "long" => &["float", "double"],
        "float" => &["double"],
        "string" => &["bytes"],
        "bytes" => &["string"],
        _ => &[],
    };
    if !promoted.is_empty() && random.chance(60) {
        return json!(random.pick(promoted));
    }
    json!(random.pick(&super::PRIMITIVES))
}

fn change_union(branches: &mut Vec<Value>, next_name: usize, random: &mut Random) {
    match random.below(4) {
        0 if branches.len() > 1 => {
            branches.remove(random.below(branches.len()));
        }
        1 => random.shuffle(branches),
        _ => {
            let mut maker = Maker::new(random);
            maker.next_name = next_name;
            let branch = maker.schema(2, None);
            if !branch.is_array() {
                let at = random.below(branches.len() + 1);
                branches.insert(at, branch);
            }
        }
    }
}

/// Another name or namespace, with or without the old one as an alias.
fn change_name(node: &mut Value, random: &mut Random) {
    let name = node["name"].as_str().unwrap_or("").to_owned();
    let (space, simple) = match name.rsplit_once('.') {
        Some((space, simple)) => (Some(space.to_owned()), simple.to_owned()),
        None => (None, name.clone()),
    };
    let space = space.or_else(|| node["namespace"].as_str().map(str::to_owned));
    let old_full = match &space {
        Some(space) => format!("{space}.{simple}"),
        None => simple.clone(),
    };
    match random.below(3) {
        0 => {
            node["name"] = json!(simple);
            node["namespace"] = json!("moved");
        }
        _ => match name.rsplit_once('.') {
            Some((space, simple)) => node["name"] = json!(format!("{space}.{simple}x")),
            None => node["name"] = json!(format!("{name}x")),
        },
    }
    if random.chance(60) {
        node["aliases"] = json!([old_full]);
    }
}

fn change_symbols(symbols: &mut Value, random: &mut Random) {
    let Value::Array(symbols) = symbols else {
        return;
    };
    match random.below(3) {
        0 => symbols.push(json!("Z")),
        1 if symbols.len() > 1 => {
            symbols.remove(random.below(symbols.len()));
        }
        _ => random.shuffle(symbols),
    }
}

fn change_fields(node: &mut Value, next_name: usize, random: &mut Random) {
    let Value::Array(fields) = &mut node["fields"] else {
        return;
    };
    let choice = random.below(6);
    if choice >= 4 || fields.is_empty() {
        let mut maker = Maker::new(random);
        maker.next_name = next_name;
        let ty = maker.schema(2, None);
        let mut field = json!({"name": format!("g{}", fields.len()), "type": ty});
        if random.chance(70)
            && let Some(default) = default_of(&field["type"])
        {
            field["default"] = default;
        }
        let at = random.below(fields.len() + 1);
        fields.insert(at, field);
        return;
    }
    let at = random.below(fields.len());
    match choice {
        0 => {
            fields.remove(at);
        }
        1 => random.shuffle(fields),
        2 => {
            let field = &mut fields[at];
            let name = field["name"].as_str().unwrap_or("").to_owned();
            field["name"] = json!(format!("{name}x"));
            if random.chance(60) {
                field["aliases"] = json!([name]);
            }
        }
        _ => {
            let field = &mut fields[at];
            match (field.get("default").is_some(), default_of(&field["type"])) {
                (false, Some(default)) => field["default"] = default,
                _ => {
                    if let Value::Object(field) = field {
                        field.remove("default");
                    }
                }
            }
            field["order"] = json!("ignore");
        }
    }
}
