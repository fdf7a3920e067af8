//! JSON Schema pairs: a random schema of any draft, the same after one to three changes that people
//! make, and values that mostly fit the first.

mod change;
mod value;

use serde_formats::json::{JsonScratch, JsonValidator};
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, ValidationOptions};
use serde_json::{Map, Value, json};

use crate::Pair;
use crate::random::Random;

/// Values made for the old schema, and for the new one.
const OLD_RECORDS: usize = 5;
const NEW_RECORDS: usize = 2;

/// Deepest nesting of generated schemas.
const DEPTH_MAX: usize = 3;

/// Makes the pair of `seed`.
pub(crate) fn pair(seed: u64) -> Pair {
    let mut random = Random::new(seed);
    let draft = *random.pick(&DRAFTS);
    let old = loop {
        let old = Maker::new(draft, &mut random).document();
        if is_valid(&old) {
            break old;
        }
    };
    let new = change::change(&old, draft, &mut random);
    let mut records = Vec::new();
    for schema in std::iter::repeat_n(&old, OLD_RECORDS).chain([&new; NEW_RECORDS]) {
        let record = value::record(schema, draft, &mut random);
        if !records.contains(&record) {
            records.push(record);
        }
    }
    Pair {
        old: old.to_string(),
        new: new.to_string(),
        indexes: Vec::new(),
        records,
    }
}

/// Each record with what both schemas say of it, and errors where the two ways of judging differ.
pub(crate) fn judged(
    old: &ParsedSchema,
    new: &ParsedSchema,
    records: &[Value],
) -> (Vec<Value>, Vec<String>) {
    let (Some(old), Some(new)) = (Judge::new(old), Judge::new(new)) else {
        let error = "a schema that parsed does not compile".to_owned();
        return (Vec::new(), vec![error]);
    };
    let mut errors = Vec::new();
    let mut scratch = JsonScratch::default();
    let mut verdict = |judge: &Judge, payload: &str| {
        let options = ValidationOptions::default();
        let fast = judge
            .fast
            .validate(payload.as_bytes(), options, &mut scratch);
        let slow = judge
            .slow
            .validate(payload.as_bytes(), options, &mut scratch);
        if fast != slow {
            errors.push(format!(
                "{payload}: {fast:?} in one pass, {slow:?} over the tape"
            ));
        }
        slow.is_ok()
    };
    let judged = records
        .iter()
        .map(|record| {
            let payload = record.to_string();
            json!({ "json": record, "old": verdict(&old, &payload), "new": verdict(&new, &payload) })
        })
        .collect();
    (judged, errors)
}

/// Both ways of judging by one schema.
struct Judge {
    fast: JsonValidator,
    slow: JsonValidator,
}

impl Judge {
    fn new(schema: &ParsedSchema) -> Option<Self> {
        let ParsedSchema::Json(schema) = schema else {
            return None;
        };
        Some(Self {
            fast: schema.compile().ok()?,
            slow: schema.compile().ok()?.over_the_tape(),
        })
    }
}

fn is_valid(schema: &Value) -> bool {
    let text = schema.to_string();
    ParsedSchema::parse(SchemaFormat::Json, &text, &[], ParseMode::New).is_ok()
}

/// A draft of JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Draft {
    Four,
    Six,
    Seven,
    Nineteen,
    Twenty,
}

/// Drafts as often as people use them, roughly.
const DRAFTS: [Draft; 10] = [
    Draft::Four,
    Draft::Six,
    Draft::Seven,
    Draft::Seven,
    Draft::Seven,
    Draft::Seven,
    Draft::Nineteen,
    Draft::Twenty,
    Draft::Twenty,
    Draft::Twenty,
];

impl Draft {
    const fn uri(self) -> &'static str {
        match self {
            Self::Four => "http://json-schema.org/draft-04/schema#",
            Self::Six => "http://json-schema.org/draft-06/schema#",
            Self::Seven => "http://json-schema.org/draft-07/schema#",
            Self::Nineteen => "https://json-schema.org/draft/2019-09/schema",
            Self::Twenty => "https://json-schema.org/draft/2020-12/schema",
        }
    }

    fn is_modern(self) -> bool {
        self >= Self::Nineteen
    }

    fn definitions(self) -> &'static str {
        if self.is_modern() {
            "$defs"
        } else {
            "definitions"
        }
    }

    /// The keyword of items by position, and that of the items after them.
    fn tuple(self) -> (&'static str, &'static str) {
        match self {
            Self::Twenty => ("prefixItems", "items"),
            _ => ("items", "additionalItems"),
        }
    }
}

/// Patterns with texts they are found in; both engines of the peers read them as we do.
const PATTERNS: [(&str, &[&str]); 6] = [
    ("^[a-c]+$", &["a", "abc", "ccba"]),
    ("^[0-9]{2,3}$", &["12", "123"]),
    ("b", &["b", "abc", "xbx"]),
    ("^x-", &["x-", "x-1", "x-abc"]),
    ("^(a|bc)*$", &["", "a", "abca"]),
    ("é$", &["é", "aé"]),
];
/// Formats that are asserted up to draft 7, with texts of them.
const FORMATS: [(&str, &[&str]); 2] = [
    ("ipv4", &["127.0.0.1", "10.20.30.40"]),
    ("date", &["2020-02-29", "1999-12-31"]),
];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "x-e"];
const TYPES: [&str; 7] = [
    "string", "integer", "number", "object", "array", "boolean", "null",
];

/// Makes schemas.
struct Maker<'a> {
    draft: Draft,
    random: &'a mut Random,
    /// Names of definitions that may be referred to.
    definitions: Vec<String>,
    /// Those before it are referred to only from inside of objects and arrays: a reference that
    /// leads to itself for the same value never ends.
    first_definition: usize,
    /// Objects and arrays around the place.
    containers: usize,
}

impl<'a> Maker<'a> {
    const fn new(draft: Draft, random: &'a mut Random) -> Self {
        Self {
            draft,
            random,
            definitions: Vec::new(),
            first_definition: 0,
            containers: 0,
        }
    }

    /// A maker of parts of a document that is there.
    fn within(document: &Value, draft: Draft, random: &'a mut Random) -> Self {
        let mut maker = Self::new(draft, random);
        let definitions = document.get(draft.definitions()).and_then(Value::as_object);
        maker.definitions = definitions
            .into_iter()
            .flat_map(Map::keys)
            .cloned()
            .collect();
        maker
    }

    fn document(&mut self) -> Value {
        let count = self.random.below(3);
        self.definitions = (0..count).map(|number| format!("D{number}")).collect();
        let definitions: Map<String, Value> = self
            .definitions
            .clone()
            .into_iter()
            .map(|name| {
                self.first_definition += 1;
                (name, self.schema(1))
            })
            .collect();
        self.first_definition = 0;
        let mut root = match self.random.below(10) {
            0..=6 => self.object(0),
            7 => self.combined(0),
            _ => self.schema(0),
        };
        if let Value::Object(members) = &mut root {
            if self.draft != Draft::Seven || self.random.chance(50) {
                members.insert("$schema".to_owned(), json!(self.draft.uri()));
            }
            if !definitions.is_empty() {
                let keyword = self.draft.definitions().to_owned();
                members.insert(keyword, Value::Object(definitions));
            }
        }
        root
    }

    fn schema(&mut self, depth: usize) -> Value {
        let is_deep = depth >= DEPTH_MAX;
        match self.random.below(100) {
            0..=17 => self.string(),
            18..=37 => self.number(),
            38..=43 => json!({"type": *self.random.pick(&["boolean", "null"])}),
            44..=51 => self.enumeration(),
            52..=55 => self.types(),
            56..=59 if depth > 0 => self.anything(),
            60..=66 => self.reference().unwrap_or_else(|| self.string()),
            67..=80 if !is_deep => self.object(depth),
            81..=88 if !is_deep => self.array(depth),
            89..=97 if !is_deep => self.combined(depth),
            98 if !is_deep => json!({"not": self.schema(depth + 1)}),
            99 if !is_deep && self.draft >= Draft::Seven => self.condition(depth),
            _ => self.string(),
        }
    }

    /// A schema that most values fit, or none.
    fn anything(&mut self) -> Value {
        match self.random.below(6) {
            0 if self.draft > Draft::Four => json!(false),
            1 | 2 if self.draft > Draft::Four => json!(true),
            _ => json!({}),
        }
    }

    fn reference(&mut self) -> Option<Value> {
        if self.containers > 0 && self.random.chance(12) {
            return Some(json!({"$ref": "#"}));
        }
        let first = if self.containers > 0 {
            0
        } else {
            self.first_definition
        };
        let names = self.definitions.get(first..).unwrap_or_default();
        if names.is_empty() {
            return None;
        }
        let name = self.random.pick(names);
        let mut schema = json!({"$ref": format!("#/{}/{name}", self.draft.definitions())});
        if self.random.chance(10) {
            schema["description"] = json!("refers");
        }
        Some(schema)
    }

    /// `name` as the type, seldom left out: keywords then speak of their own type only.
    fn typed(&mut self, name: &str) -> Map<String, Value> {
        let mut schema = Map::new();
        if !self.random.chance(6) {
            schema.insert("type".to_owned(), json!(name));
        }
        schema
    }

    fn string(&mut self) -> Value {
        let mut schema = self.typed("string");
        if self.random.chance(25) {
            schema.insert("minLength".to_owned(), json!(self.random.below(3)));
        }
        if self.random.chance(25) {
            schema.insert("maxLength".to_owned(), json!(2 + self.random.below(4)));
        }
        if self.random.chance(15) {
            schema.insert("pattern".to_owned(), json!(self.random.pick(&PATTERNS).0));
        } else if self.random.chance(6) {
            let format = self.format();
            schema.insert("format".to_owned(), format);
        }
        Value::Object(schema)
    }

    /// A format of the draft: `date` came with draft 7.
    fn format(&mut self) -> Value {
        let known = if self.draft < Draft::Seven {
            1
        } else {
            FORMATS.len()
        };
        json!(self.random.pick(&FORMATS[..known]).0)
    }

    fn number(&mut self) -> Value {
        let name = *self.random.pick(&["integer", "integer", "number"]);
        let mut schema = self.typed(name);
        for (keyword, low) in [("minimum", -3), ("maximum", 3)] {
            if self.random.chance(25) {
                let bound = self.bound(low);
                schema.insert(keyword.to_owned(), bound);
            }
        }
        for (keyword, low) in [("exclusiveMinimum", -5), ("exclusiveMaximum", 4)] {
            if !self.random.chance(10) {
                continue;
            }
            if self.draft > Draft::Four {
                let bound = self.bound(low);
                schema.insert(keyword.to_owned(), bound);
            } else if schema.contains_key(if low < 0 { "minimum" } else { "maximum" }) {
                schema.insert(keyword.to_owned(), json!(true));
            }
        }
        if self.random.chance(12) {
            let multiple = *self.random.pick(&[1.0, 2.0, 3.0, 6.0, 0.5]);
            let multiple = value::number(multiple, false);
            schema.insert("multipleOf".to_owned(), multiple);
        }
        Value::Object(schema)
    }

    /// A number from `low` on, seldom with a fraction.
    fn bound(&mut self, low: i32) -> Value {
        let number = low + i32::try_from(self.random.below(5)).unwrap_or(0);
        if self.random.chance(15) {
            return json!(f64::from(number) + 0.5);
        }
        json!(number)
    }

    fn enumeration(&mut self) -> Value {
        let mut values: Vec<Value> = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let value = value::scalar(self.draft, self.random);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if self.draft > Draft::Four && self.random.chance(25) {
            return json!({"const": values[0]});
        }
        if self.random.chance(25) {
            let texts: Vec<&str> = ["a", "b", "c", "d"][..1 + self.random.below(4)].to_vec();
            return json!({"type": "string", "enum": texts});
        }
        json!({ "enum": values })
    }

    fn types(&mut self) -> Value {
        let mut names: Vec<&str> = vec![*self.random.pick(&TYPES)];
        for name in ["null", *self.random.pick(&TYPES)] {
            if !names.contains(&name) && self.random.chance(70) {
                names.push(name);
            }
        }
        let mut schema = json!({ "type": names });
        if names.contains(&"string") && self.random.chance(30) {
            schema["maxLength"] = json!(3);
        }
        schema
    }

    fn names(&mut self, most: usize) -> Vec<&'static str> {
        let mut names = NAMES.to_vec();
        self.random.shuffle(&mut names);
        names.truncate(self.random.below(most + 1));
        names
    }

    fn object(&mut self, depth: usize) -> Value {
        self.containers += 1;
        let schema = self.object_of(depth);
        self.containers -= 1;
        schema
    }

    fn object_of(&mut self, depth: usize) -> Value {
        let mut schema = self.typed("object");
        let mut put = |keyword: &str, value: Value| {
            schema.insert(keyword.to_owned(), value);
        };
        let names = self.names(4);
        let mut properties = Map::new();
        for name in &names {
            let mut property = self.schema(depth + 1);
            if self.random.chance(15)
                && let Value::Object(members) = &mut property
                && !members.contains_key("$ref")
            {
                members.insert("default".to_owned(), value::scalar(self.draft, self.random));
            }
            properties.insert((*name).to_owned(), property);
        }
        put("properties", Value::Object(properties));
        let mut required: Vec<&str> = names;
        required.retain(|_| self.random.chance(40));
        if self.random.chance(4) {
            required.push("z");
        }
        if !required.is_empty() {
            put("required", json!(required));
        }
        match self.random.below(10) {
            0..=4 => put("additionalProperties", json!(false)),
            5 => put("additionalProperties", self.schema(depth + 2)),
            6 if self.draft.is_modern() => put("unevaluatedProperties", json!(false)),
            _ => {}
        }
        if self.random.chance(6) {
            let pattern = *self.random.pick(&["^x-", "^[a-c]$"]);
            put(
                "patternProperties",
                json!({pattern: self.schema(depth + 2)}),
            );
        }
        for (keyword, low) in [("minProperties", 0), ("maxProperties", 2)] {
            if self.random.chance(6) {
                put(keyword, json!(low + self.random.below(3)));
            }
        }
        if self.random.chance(3) && self.draft > Draft::Four {
            put("propertyNames", self.string());
        }
        if self.random.chance(6) {
            let (on, other) = (*self.random.pick(&NAMES), *self.random.pick(&NAMES));
            let is_schema = self.random.chance(30);
            let dependency = if is_schema {
                self.schema(depth + 2)
            } else {
                json!([other])
            };
            let keyword = match (self.draft.is_modern(), is_schema) {
                (false, _) => "dependencies",
                (true, true) => "dependentSchemas",
                (true, false) => "dependentRequired",
            };
            put(keyword, json!({on: dependency}));
        }
        Value::Object(schema)
    }

    fn array(&mut self, depth: usize) -> Value {
        self.containers += 1;
        let schema = self.array_of(depth);
        self.containers -= 1;
        schema
    }

    fn array_of(&mut self, depth: usize) -> Value {
        let mut schema = self.typed("array");
        let mut put = |keyword: &str, value: Value| {
            schema.insert(keyword.to_owned(), value);
        };
        if self.random.chance(25) {
            let (positions, rest) = self.draft.tuple();
            let schemas: Vec<Value> = (0..1 + self.random.below(3))
                .map(|_| self.schema(depth + 1))
                .collect();
            put(positions, json!(schemas));
            match self.random.below(3) {
                0 => put(rest, json!(false)),
                1 => put(rest, self.schema(depth + 2)),
                _ => {}
            }
        } else {
            put("items", self.schema(depth + 1));
        }
        for (keyword, low) in [("minItems", 0), ("maxItems", 2)] {
            if self.random.chance(20) {
                put(keyword, json!(low + self.random.below(3)));
            }
        }
        if self.random.chance(10) {
            put("uniqueItems", json!(true));
        }
        if self.random.chance(6) && self.draft > Draft::Four {
            put("contains", self.schema(depth + 2));
            if self.draft.is_modern() && self.random.chance(40) {
                put("maxContains", json!(1 + self.random.below(2)));
            }
        }
        Value::Object(schema)
    }

    fn combined(&mut self, depth: usize) -> Value {
        let keyword = *self
            .random
            .pick(&["oneOf", "oneOf", "oneOf", "anyOf", "anyOf", "allOf"]);
        let mut schemas = Vec::new();
        if keyword == "oneOf" && self.random.chance(40) {
            schemas.push(json!({"type": "null"}));
        }
        for _ in 0..1 + self.random.below(3) {
            let schema = if keyword == "allOf" {
                self.object(depth + 1)
            } else {
                self.schema(depth + 1)
            };
            if !schemas.contains(&schema) {
                schemas.push(schema);
            }
        }
        json!({ keyword: schemas })
    }

    fn condition(&mut self, depth: usize) -> Value {
        json!({"if": self.schema(depth + 1), "then": self.schema(depth + 1)})
    }
}
