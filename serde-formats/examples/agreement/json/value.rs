//! Values that likely fit a schema: its bounds, names and alternatives are followed, what needs
//! reasoning (`not`, `oneOf` that overlap, conditions) is left to chance.

use serde_json::{Map, Value, json};

use super::{Draft, FORMATS, NAMES, PATTERNS, TYPES};
use crate::random::Random;

/// Nesting after which values are plain.
const DEPTH_MAX: usize = 8;

/// A value for a whole document, seldom spoilt somewhere.
pub(super) fn record(document: &Value, draft: Draft, random: &mut Random) -> Value {
    let mut maker = Maker {
        document,
        draft,
        random,
    };
    let mut value = maker.value(document, 0);
    if maker.random.chance(20) {
        maker.spoil(&mut value);
    }
    value
}

/// A number, text, boolean or null.
pub(super) fn scalar(draft: Draft, random: &mut Random) -> Value {
    let scalars = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(3.5),
        json!("a"),
        json!("b"),
        json!(""),
        json!("abc"),
        json!("é"),
        json!("12"),
        // No integer up to draft 4, and one since.
        json!(if draft > Draft::Four { 1.0 } else { 0.5 }),
    ];
    random.pick(&scalars).clone()
}

struct Maker<'a> {
    document: &'a Value,
    draft: Draft,
    random: &'a mut Random,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        let Value::Object(members) = schema else {
            return self.any(depth);
        };
        if depth > DEPTH_MAX {
            return self.any(depth);
        }
        if let Some(Value::String(reference)) = members.get("$ref") {
            let target = reference
                .strip_prefix('#')
                .and_then(|pointer| self.document.pointer(pointer));
            return match target {
                Some(target) => self.value(target, depth + 1),
                None => Value::Null,
            };
        }
        if let Some(value) = members.get("const") {
            return value.clone();
        }
        if let Some(Value::Array(values)) = members.get("enum")
            && !values.is_empty()
        {
            return self.random.pick(values).clone();
        }
        if let Some(Value::Array(schemas)) = members.get("allOf") {
            return self.joined(schemas, depth);
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(Value::Array(schemas)) = members.get(keyword)
                && !schemas.is_empty()
            {
                let schema = self.random.pick(schemas).clone();
                return self.value(&schema, depth + 1);
            }
        }
        if let Some(schema) = members.get("then") {
            return self.value(schema, depth + 1);
        }
        match self.type_of(members) {
            "string" => self.string(members),
            "integer" | "number" => self.number(members),
            "object" => Value::Object(self.object(members, depth)),
            "array" => Value::Array(self.array(members, depth)),
            "boolean" => json!(self.random.chance(50)),
            "null" => Value::Null,
            _ => self.any(depth),
        }
    }

    /// The type to make: one that is named, or the one that keywords speak of.
    fn type_of(&mut self, members: &Map<String, Value>) -> &'static str {
        let named = match members.get("type") {
            Some(Value::String(name)) => Some(name.as_str()),
            Some(Value::Array(names)) if !names.is_empty() => self.random.pick(names).as_str(),
            _ => None,
        };
        let spoken = [
            ("properties", "object"),
            ("items", "array"),
            ("prefixItems", "array"),
            ("minLength", "string"),
            ("maxLength", "string"),
            ("pattern", "string"),
            ("minimum", "number"),
            ("maximum", "number"),
            ("multipleOf", "number"),
        ];
        let spoken = || {
            let mut spoken = spoken.iter();
            spoken.find_map(|(keyword, name)| members.contains_key(*keyword).then_some(*name))
        };
        match named {
            Some(named) => TYPES
                .into_iter()
                .find(|name| *name == named)
                .unwrap_or("any"),
            // Without a type any value fits that the keywords do not speak of.
            None if self.random.chance(70) => spoken().unwrap_or("any"),
            None => "any",
        }
    }

    fn any(&mut self, depth: usize) -> Value {
        match self.random.below(8) {
            0 => json!([]),
            1 => json!({}),
            2 if depth < 3 => {
                let name = *self.random.pick(&NAMES);
                json!({name: scalar(self.draft, self.random)})
            }
            3 if depth < 3 => json!([scalar(self.draft, self.random)]),
            _ => scalar(self.draft, self.random),
        }
    }

    /// A value of every schema: the members of objects joined, otherwise the last.
    fn joined(&mut self, schemas: &[Value], depth: usize) -> Value {
        let mut joined = Map::new();
        let mut last = Value::Null;
        for schema in schemas {
            match self.value(schema, depth + 1) {
                Value::Object(members) => joined.extend(members),
                other => last = other,
            }
        }
        if joined.is_empty() && !last.is_null() {
            return last;
        }
        Value::Object(joined)
    }

    fn string(&mut self, members: &Map<String, Value>) -> Value {
        for (keyword, known) in [("pattern", &PATTERNS[..]), ("format", &FORMATS[..])] {
            let wanted = members.get(keyword).and_then(Value::as_str);
            let found = known.iter().find(|(name, _)| Some(*name) == wanted);
            if let Some((_, texts)) = found {
                return json!(self.random.pick(texts));
            }
        }
        let low = count(members, "minLength").unwrap_or(0);
        let high = count(members, "maxLength").unwrap_or(low + 3).max(low);
        let length = low + self.random.below(high - low + 1);
        let letter = *self.random.pick(&["a", "b", "é", "😀", "1"]);
        json!(letter.repeat(length))
    }

    fn number(&mut self, members: &Map<String, Value>) -> Value {
        let bound = |keyword: &str| members.get(keyword).and_then(Value::as_f64);
        let low = bound("minimum").or_else(|| bound("exclusiveMinimum"));
        let high = bound("maximum").or_else(|| bound("exclusiveMaximum"));
        let multiple = bound("multipleOf").unwrap_or(1.0);
        let steps = i32::try_from(self.random.below(5)).unwrap_or(0) - 1;
        let mut value = match (low, high) {
            (Some(low), _) if self.random.chance(60) => low + f64::from(steps) * multiple,
            (_, Some(high)) => high - f64::from(steps) * multiple,
            _ => f64::from(steps) * multiple,
        };
        if bound("multipleOf").is_some() {
            value = (value / multiple).round() * multiple;
        }
        let is_integer = members.get("type") == Some(&json!("integer"));
        if is_integer {
            value = value.round();
        } else if self.random.chance(20) {
            value += 0.5;
        }
        number(value, self.draft > Draft::Four && self.random.chance(10))
    }

    fn object(&mut self, schema: &Map<String, Value>, depth: usize) -> Map<String, Value> {
        let mut value = Map::new();
        let empty = Map::new();
        let properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, property) in properties {
            let is_there = required.contains(&name.as_str())
                || (depth < 5 && property != &json!(false) && self.random.chance(60));
            if is_there {
                value.insert(name.clone(), self.value(property, depth + 1));
            }
        }
        for name in required {
            if !value.contains_key(name) {
                value.insert(name.to_owned(), self.any(depth + 1));
            }
        }
        let rest = schema
            .get("additionalProperties")
            .or_else(|| schema.get("unevaluatedProperties"));
        if rest != Some(&json!(false)) && self.random.chance(30) {
            let name = *self.random.pick(&["a", "b", "c", "d", "x-e", "zz"]);
            if !value.contains_key(name) {
                let extra = self.value(rest.unwrap_or(&Value::Bool(true)), depth + 1);
                value.insert(name.to_owned(), extra);
            }
        }
        if let Some(Value::Object(patterns)) = schema.get("patternProperties")
            && let Some((pattern, inner)) = patterns.iter().next()
            && self.random.chance(50)
        {
            let name = if pattern == "^x-" { "x-1" } else { "c" };
            value.insert(name.to_owned(), self.value(inner, depth + 1));
        }
        value
    }

    fn array(&mut self, schema: &Map<String, Value>, depth: usize) -> Vec<Value> {
        let (positions, rest) = self.draft.tuple();
        let low = count(schema, "minItems").unwrap_or(0);
        let high = count(schema, "maxItems").unwrap_or(low + 3).max(low);
        let length = low + self.random.below(high - low + 1);
        let any = Value::Bool(true);
        let mut items: Vec<Value> = Vec::new();
        for position in 0..length {
            let of_position = match schema.get(positions) {
                Some(Value::Array(schemas)) => schemas.get(position).or_else(|| schema.get(rest)),
                _ => schema.get("items"),
            };
            let of_position = of_position.unwrap_or(&any);
            if of_position == &json!(false) {
                break;
            }
            let mut item = self.value(of_position, depth + 1);
            if schema.contains_key("uniqueItems") && items.contains(&item) {
                item = self.value(of_position, depth + 1);
            }
            items.push(item);
        }
        if let Some(contained) = schema.get("contains")
            && let Some(last) = items.last_mut()
        {
            *last = self.value(contained, depth + 1);
        }
        items
    }

    /// Puts another value in the place of one inside `value`, or takes a member away.
    fn spoil(&mut self, value: &mut Value) {
        let inner = match value {
            Value::Object(members) if !members.is_empty() => {
                let at = self.random.below(members.len());
                if self.random.chance(30) {
                    let name = members.keys().nth(at).cloned().unwrap_or_default();
                    members.remove(&name);
                    return;
                }
                members.values_mut().nth(at)
            }
            Value::Array(items) if !items.is_empty() => {
                let at = self.random.below(items.len());
                items.get_mut(at)
            }
            _ => None,
        };
        match inner {
            Some(inner) if self.random.chance(80) => self.spoil(inner),
            _ => *value = self.any(0),
        }
    }
}

fn count(members: &Map<String, Value>, keyword: &str) -> Option<usize> {
    let count = members.get(keyword)?.as_u64()?;
    usize::try_from(count).ok()
}

/// Whole numbers as integers, except where `1.0` is wanted.
#[expect(clippy::cast_possible_truncation, reason = "small and whole")]
pub(super) fn number(number: f64, keeps_point: bool) -> Value {
    if number.fract() == 0.0 && !keeps_point {
        return json!(number as i64);
    }
    json!(number)
}
