//! Avro pairs: a random schema, and the same after one to three changes that people make.

mod change;

use std::collections::BTreeMap;

use serde_formats::{ParseMode, ParsedSchema, SchemaFormat};
use serde_json::{Map, Value, json};

use crate::Pair;
use crate::random::Random;

/// Records a pair.
const RECORDS: usize = 4;

/// Deepest nesting of generated types.
const DEPTH_MAX: usize = 3;

/// Makes the pair of `seed`.
pub(crate) fn pair(seed: u64) -> Pair {
    let mut random = Random::new(seed);
    let (old, next_name) = loop {
        let mut maker = Maker::new(&mut random);
        let old = maker.root();
        let next_name = maker.next_name;
        // A dropped union branch may have defined a name that is used elsewhere.
        if is_valid(&old) {
            break (old, next_name);
        }
    };
    let new = change::change(&old, next_name, &mut random);
    let names = Names::of(&old);
    let records = (0..RECORDS)
        .map(|_| names.value(&old, None, 0, &mut random))
        .collect();
    Pair {
        old: old.to_string(),
        new: new.to_string(),
        indexes: Vec::new(),
        records,
    }
}

fn is_valid(schema: &Value) -> bool {
    let text = schema.to_string();
    ParsedSchema::parse(SchemaFormat::Avro, &text, &[], ParseMode::New).is_ok()
}

/// Primitive types, the promotable ones more often.
const PRIMITIVES: [&str; 12] = [
    "int", "int", "long", "long", "float", "double", "string", "string", "bytes", "boolean",
    "null", "double",
];

/// Logical types with values that every reader takes.
const LOGICAL: [(&str, &str); 6] = [
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("long", "timestamp-millis"),
    ("string", "uuid"),
    ("bytes", "decimal"),
];

/// Makes schemas.
struct Maker<'a> {
    random: &'a mut Random,
    next_name: usize,
    /// Full names of finished types, and of records begun around the place.
    finished: Vec<String>,
    open: Vec<String>,
}

impl<'a> Maker<'a> {
    fn new(random: &'a mut Random) -> Self {
        Self {
            random,
            next_name: 1,
            finished: Vec::new(),
            open: Vec::new(),
        }
    }

    fn root(&mut self) -> Value {
        match self.random.below(10) {
            // A root of bytes has a framing of its own.
            0 => loop {
                let schema = self.schema(0, None);
                if schema != "bytes" && schema["type"] != "bytes" {
                    return schema;
                }
            },
            _ => self.record(0, None),
        }
    }

    fn schema(&mut self, depth: usize, namespace: Option<&str>) -> Value {
        let is_deep = depth >= DEPTH_MAX;
        match self.random.below(100) {
            0..=7 => self.logical(),
            8..=18 => self.enumeration(namespace),
            19..=25 => self.fixed(namespace),
            26..=37 if !is_deep => self.record(depth, namespace),
            38..=45 if !is_deep => json!({"type": "array", "items": self.inner(depth, namespace)}),
            46..=52 if !is_deep => json!({"type": "map", "values": self.inner(depth, namespace)}),
            53..=67 if !is_deep => self.union(depth, namespace),
            68..=72 if !self.finished.is_empty() => json!(self.random.pick(&self.finished)),
            _ => json!(self.random.pick(&PRIMITIVES)),
        }
    }

    /// A type behind an array, map or union, where a record may hold itself.
    fn inner(&mut self, depth: usize, namespace: Option<&str>) -> Value {
        if !self.open.is_empty() && self.random.chance(15) {
            return json!(self.random.pick(&self.open));
        }
        self.schema(depth + 1, namespace)
    }

    fn logical(&mut self) -> Value {
        let (base, name) = *self.random.pick(&LOGICAL);
        let mut schema = json!({"type": base, "logicalType": name});
        if name == "decimal" {
            schema["precision"] = json!(12);
            schema["scale"] = json!(2);
        }
        schema
    }

    /// Attributes of a named type with a new name, in one of the ways to write it; the full name.
    fn named(&mut self, word: &str, letter: &str, outer: Option<&str>) -> (Value, String) {
        let name = format!("{letter}{}", self.next_name);
        self.next_name += 1;
        let space = *self.random.pick(&["a", "b.c"]);
        match self.random.below(4) {
            0 => (
                json!({"type": word, "name": name, "namespace": space}),
                format!("{space}.{name}"),
            ),
            1 => {
                let full = format!("{space}.{name}");
                (json!({"type": word, "name": full}), full)
            }
            _ => {
                let full = outer.map_or_else(|| name.clone(), |outer| format!("{outer}.{name}"));
                (json!({"type": word, "name": name}), full)
            }
        }
    }

    fn enumeration(&mut self, namespace: Option<&str>) -> Value {
        let (mut schema, full) = self.named("enum", "E", namespace);
        let count = 1 + self.random.below(4);
        let symbols: Vec<&str> = ["A", "B", "C", "D"][..count].to_vec();
        if self.random.chance(25) {
            schema["default"] = json!(self.random.pick(&symbols));
        }
        schema["symbols"] = json!(symbols);
        self.finished.push(full);
        schema
    }

    fn fixed(&mut self, namespace: Option<&str>) -> Value {
        let (mut schema, full) = self.named("fixed", "F", namespace);
        schema["size"] = json!(1 + self.random.below(4));
        self.finished.push(full);
        schema
    }

    fn record(&mut self, depth: usize, namespace: Option<&str>) -> Value {
        let (mut schema, full) = self.named("record", "R", namespace);
        let space = full.rsplit_once('.').map(|(space, _)| space.to_owned());
        self.open.push(full.clone());
        let count = self.random.below(5) + usize::from(depth == 0);
        let mut fields: Vec<Value> = Vec::new();
        for i in 0..count {
            let ty = self.schema(depth + 1, space.as_deref());
            let mut field = json!({"name": format!("f{i}"), "type": ty});
            if self.random.chance(25)
                && let Some(default) = default_of(&field["type"])
            {
                field["default"] = default;
            }
            fields.push(field);
        }
        schema["fields"] = json!(fields);
        self.open.pop();
        self.finished.push(full);
        schema
    }

    fn union(&mut self, depth: usize, namespace: Option<&str>) -> Value {
        let mut branches = Vec::new();
        let is_optional = self.random.chance(70);
        if is_optional {
            branches.push(json!("null"));
        }
        for _ in 0..1 + self.random.below(3) {
            // Without null a record inside itself would have no end.
            branches.push(match is_optional {
                true => self.inner(depth, namespace),
                false => self.schema(depth + 1, namespace),
            });
        }
        let mut seen = Vec::new();
        branches.retain(|branch| {
            let word = branch_word(branch);
            let is_new = !branch.is_array() && !seen.contains(&word);
            seen.push(word);
            is_new
        });
        match branches.is_empty() {
            true => json!(["null"]),
            false => Value::Array(branches),
        }
    }
}

/// What a branch may occur once of: a name, or a type word.
fn branch_word(branch: &Value) -> String {
    match branch {
        Value::String(name) => name.clone(),
        Value::Object(schema) => {
            let word = schema.get("type").and_then(Value::as_str).unwrap_or("");
            match schema.get("name").and_then(Value::as_str) {
                Some(name) => name.to_owned(),
                None => word.to_owned(),
            }
        }
        _ => String::new(),
    }
}

/// A default for a type that names no other; of a union, one for its first branch.
fn default_of(schema: &Value) -> Option<Value> {
    match schema {
        Value::Array(branches) => default_of(branches.first()?),
        Value::String(word) => Some(match word.as_str() {
            "null" => Value::Null,
            "boolean" => json!(true),
            "int" | "long" => json!(7),
            "float" | "double" => json!(1.5),
            "string" | "bytes" => json!("d"),
            _ => return None,
        }),
        Value::Object(object) => match object.get("type")?.as_str()? {
            "enum" => object.get("symbols")?.get(0).cloned(),
            "fixed" => {
                let size = usize::try_from(object.get("size")?.as_u64()?).ok()?;
                Some(json!("x".repeat(size)))
            }
            "array" => Some(json!([])),
            "map" => Some(json!({})),
            "record" => {
                let fields = object.get("fields")?.as_array()?;
                let mut value = Map::new();
                for field in fields {
                    let name = field.get("name")?.as_str()?;
                    value.insert(name.to_owned(), default_of(field.get("type")?)?);
                }
                Some(Value::Object(value))
            }
            "string" if object.contains_key("logicalType") => {
                Some(json!("123e4567-e89b-12d3-a456-426614174000"))
            }
            base => default_of(&json!(base)),
        },
        _ => None,
    }
}

/// Definitions by full name.
struct Names(BTreeMap<String, Value>);

impl Names {
    fn of(schema: &Value) -> Self {
        let mut names = Self(BTreeMap::new());
        names.collect(schema, None);
        names
    }

    fn collect(&mut self, schema: &Value, namespace: Option<&str>) {
        match schema {
            Value::Array(branches) => {
                for branch in branches {
                    self.collect(branch, namespace);
                }
            }
            Value::Object(object) => {
                let full = full_name(schema, namespace);
                let space = full
                    .as_deref()
                    .map_or(namespace, |full| full.rsplit_once('.').map(|(s, _)| s));
                if let Some(full) = &full {
                    self.0.insert(full.clone(), schema.clone());
                }
                for key in ["items", "values"] {
                    if let Some(inner) = object.get(key) {
                        self.collect(inner, space);
                    }
                }
                for field in object
                    .get("fields")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    self.collect(&field["type"], space);
                }
            }
            _ => {}
        }
    }

    /// A random value in Avro's JSON encoding.
    fn value(
        &self,
        schema: &Value,
        namespace: Option<&str>,
        depth: usize,
        random: &mut Random,
    ) -> Value {
        let is_deep = depth > 8;
        match schema {
            Value::Array(branches) => {
                let null = branches.iter().position(|branch| branch == "null");
                let index = match null {
                    Some(null) if is_deep => null,
                    _ => random.below(branches.len()),
                };
                let branch = &branches[index];
                let value = self.value(branch, namespace, depth + 1, random);
                if branch == "null" {
                    return value;
                }
                let mut wrapped = Map::new();
                wrapped.insert(self.branch_name(branch, namespace), value);
                Value::Object(wrapped)
            }
            Value::String(word) => match self.0.get(&self.resolve(word, namespace)) {
                Some(definition) if !is_primitive(word) => {
                    let full = self.resolve(word, namespace);
                    let space = full.rsplit_once('.').map(|(space, _)| space);
                    self.named_value(definition, space, depth, random)
                }
                _ => primitive_value(word, random),
            },
            Value::Object(object) => {
                let count = if is_deep { 0 } else { random.below(3) };
                match object["type"].as_str().unwrap_or("") {
                    "array" => (0..count)
                        .map(|_| self.value(&object["items"], namespace, depth + 1, random))
                        .collect(),
                    "map" => {
                        let mut entries = Map::new();
                        for i in 0..count {
                            let value = self.value(&object["values"], namespace, depth + 1, random);
                            entries.insert(format!("k{i}"), value);
                        }
                        Value::Object(entries)
                    }
                    word => match (object.get("logicalType"), is_primitive(word)) {
                        (Some(logical), _) => logical_value(logical.as_str().unwrap_or(""), random),
                        (None, true) => primitive_value(word, random),
                        (None, false) => {
                            let full = full_name(schema, namespace).unwrap_or_default();
                            let space = full.rsplit_once('.').map(|(space, _)| space);
                            self.named_value(schema, space, depth, random)
                        }
                    },
                }
            }
            _ => Value::Null,
        }
    }

    fn named_value(
        &self,
        schema: &Value,
        namespace: Option<&str>,
        depth: usize,
        random: &mut Random,
    ) -> Value {
        match schema["type"].as_str().unwrap_or("") {
            "enum" => {
                let symbols = schema["symbols"].as_array().map_or(&[][..], Vec::as_slice);
                random.pick(symbols).clone()
            }
            "fixed" => {
                let size = usize::try_from(schema["size"].as_u64().unwrap_or(0)).unwrap_or(0);
                json!("\u{1}".repeat(size))
            }
            _ => {
                let mut value = Map::new();
                for field in schema["fields"].as_array().into_iter().flatten() {
                    let name = field["name"].as_str().unwrap_or("").to_owned();
                    value.insert(
                        name,
                        self.value(&field["type"], namespace, depth + 1, random),
                    );
                }
                Value::Object(value)
            }
        }
    }

    fn resolve(&self, name: &str, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if !name.contains('.') => {
                let full = format!("{namespace}.{name}");
                if self.0.contains_key(&full) {
                    full
                } else {
                    name.to_owned()
                }
            }
            _ => name.to_owned(),
        }
    }

    fn branch_name(&self, branch: &Value, namespace: Option<&str>) -> String {
        match branch {
            Value::String(word) if is_primitive(word) => word.clone(),
            Value::String(word) => self.resolve(word, namespace),
            _ => full_name(branch, namespace)
                .unwrap_or_else(|| branch["type"].as_str().unwrap_or("").to_owned()),
        }
    }
}

fn is_primitive(word: &str) -> bool {
    PRIMITIVES.contains(&word)
}

/// Full name of a definition.
fn full_name(schema: &Value, namespace: Option<&str>) -> Option<String> {
    let name = schema.get("name")?.as_str()?;
    if name.contains('.') {
        return Some(name.to_owned());
    }
    match schema
        .get("namespace")
        .and_then(Value::as_str)
        .or(namespace)
    {
        Some(space) if !space.is_empty() => Some(format!("{space}.{name}")),
        _ => Some(name.to_owned()),
    }
}

fn primitive_value(word: &str, random: &mut Random) -> Value {
    let small = i64::try_from(random.below(2001)).unwrap_or(0) - 1000;
    match word {
        "null" => Value::Null,
        "boolean" => json!(random.chance(50)),
        "int" => json!(*random.pick(&[small, 0, i64::from(i32::MAX), i64::from(i32::MIN)])),
        "long" => json!(*random.pick(&[small, 0, i64::MAX, i64::MIN, 1 << 40])),
        // Halves are exact in both widths.
        #[expect(clippy::cast_precision_loss, reason = "small numbers are exact")]
        "float" | "double" => json!(small as f64 / 2.0),
        "string" => json!(*random.pick(&["", "a", "grüße", "日本", "longer text of some words"])),
        _ => json!(*random.pick(&["", "b", "bytes", "\u{ff}\u{fe}"])),
    }
}

fn logical_value(name: &str, random: &mut Random) -> Value {
    let small = random.below(80_000_000);
    match name {
        "date" => json!(random.below(20_000)),
        "time-millis" | "time-micros" | "timestamp-millis" => json!(small),
        "uuid" => json!("123e4567-e89b-12d3-a456-426614174000"),
        _ => json!(*random.pick(&["\u{0}", "\u{1}\u{2}", "\u{ff}\u{10}"])),
    }
}
