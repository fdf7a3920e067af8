//! Rules from schema documents: every keyword is understood, or there are no rules.
//!
//! Alternatives are merged when no value can obey two of them: then each type belongs to one.

use std::collections::HashMap;

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::super::documents::Documents;
use super::super::lex::plain_end;
use super::super::patterns::Cost;
use super::super::validate::text_validator;
use super::{ArrayRule, Bound, FastSchema, Field, NumberRule, ObjectRule, Rule, StringRule, types};

/// The rules of a schema made ready for validation, for payloads nested `depth_max` deep; `None`
/// when it has a keyword, a size or a reference that is not understood here.
pub(in crate::json) fn compile(
    documents: &Documents,
    depth_max: usize,
    matching: Cost,
) -> Option<FastSchema> {
    if documents.has_dialect() {
        return None;
    }
    if documents.draft == Draft::Draft4 {
        return None;
    }
    let mut compiler = Compiler {
        root: &documents.root,
        draft: documents.draft,
        schema: FastSchema {
            root: Rule::NONE,
            strings: Vec::new(),
            numbers: Vec::new(),
            arrays: Vec::new(),
            objects: Vec::new(),
            depth_max,
            matching,
        },
        arrays: HashMap::new(),
        objects: HashMap::new(),
        waiting: Vec::new(),
        rules_left: RULES_MAX,
    };
    compiler.schema.root = compiler.rule(&documents.root, 0)?;
    while let Some(body) = compiler.waiting.pop() {
        compiler.fill(body)?;
    }
    Some(compiler.schema)
}

/// Rules made for one schema.
const RULES_MAX: usize = 10_000;
/// Schemas followed from one value: references and alternatives.
const FOLLOWED_MAX: usize = 32;
/// Values of one enumeration; looking at more costs the other path its budget of steps.
const VALUES_MAX: usize = 200;
/// Fields of one object, for the same reason.
const FIELDS_MAX: usize = 400;
/// Largest integer to which every double below has a distinct neighbour.
const EXACT_MAX: u64 = 1 << 53;

/// Keywords that only describe.
const ANNOTATIONS: &[&str] = &[
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];
/// Keywords that are understood.
const UNDERSTOOD: &[&str] = &[
    "$ref",
    "type",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "allOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
];
/// Every other keyword of any draft: rules with one of these are left to the other path.
const OTHERS: &[&str] = &[
    "$schema",
    "id",
    "$id",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
    "not",
    "if",
    "then",
    "else",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "discriminator",
    "nullable",
];

struct Compiler<'d> {
    root: &'d Value,
    draft: Draft,
    schema: FastSchema,
    /// Rules by the address of their schema, so that recursive schemas end.
    arrays: HashMap<usize, u16>,
    objects: HashMap<usize, u16>,
    waiting: Vec<Body<'d>>,
    rules_left: usize,
}

/// The inside of an array or object, compiled after its outside.
enum Body<'d> {
    Array(u16, &'d Value),
    Object(u16, &'d Map<String, Value>),
}

impl<'d> Compiler<'d> {
    const fn is_modern(&self) -> bool {
        matches!(self.draft, Draft::Draft201909 | Draft::Draft202012)
    }

    /// What a value has to obey; `followed` counts the schemas that already speak of it.
    fn rule(&mut self, schema: &'d Value, followed: usize) -> Option<Rule> {
        self.rules_left = self.rules_left.checked_sub(1)?;
        if followed > FOLLOWED_MAX {
            return None;
        }
        let members = match schema {
            Value::Bool(true) => return Some(Rule::ANY),
            Value::Bool(false) => return Some(Rule::NONE),
            Value::Object(members) => members,
            _ => return None,
        };
        let is_root = std::ptr::eq(schema, self.root);
        if let Some(reference) = members.get("$ref") {
            let target = self.target(reference.as_str()?)?;
            let rule = self.rule(target, followed + 1)?;
            if !self.is_modern() {
                // Its siblings mean nothing up to draft 7, except that an identifier moves `#`.
                return (is_root || !members.contains_key("$id")).then_some(rule);
            }
            let own = self.own_rule(members, followed, is_root)?;
            return both(own, rule);
        }
        self.own_rule(members, followed, is_root)
    }

    fn own_rule(
        &mut self,
        members: &'d Map<String, Value>,
        followed: usize,
        is_root: bool,
    ) -> Option<Rule> {
        for (name, value) in members {
            let name = name.as_str();
            let is_known = ANNOTATIONS.contains(&name) || UNDERSTOOD.contains(&name);
            let is_harmless = match name {
                "$id" | "$schema" => is_root,
                "uniqueItems" => value == &Value::Bool(false),
                // No keyword: ignored by every draft.
                _ => !OTHERS.contains(&name),
            };
            if !is_known && !is_harmless {
                return None;
            }
        }
        let mut rule = Rule {
            types: type_set(members.get("type"))?,
            string: self.string_rule(members)?,
            number: self.number_rule(members)?,
            array: self.array_rule(members)?,
            object: self.object_rule(members)?,
        };
        if let Some(values) = members.get("enum") {
            let values = self.enumeration(values.as_array()?)?;
            rule = both(rule, values)?;
        }
        if let Some(value) = members.get("const") {
            let value = self.enumeration(std::slice::from_ref(value))?;
            rule = both(rule, value)?;
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let Some(schemas) = members.get(keyword) else {
                continue;
            };
            let mut rules = Vec::new();
            for schema in schemas.as_array()? {
                rules.push(self.rule(schema, followed + 1)?);
            }
            let joined = if keyword == "allOf" {
                rules.into_iter().try_fold(Rule::ANY, both)?
            } else {
                rules
                    .into_iter()
                    .try_fold(Rule::NONE, |a, b| self.either(a, b))?
            };
            rule = both(rule, joined)?;
        }
        Some(rule)
    }

    /// The schema a reference within the document leads to.
    fn target(&self, reference: &str) -> Option<&'d Value> {
        let pointer = reference.strip_prefix('#')?;
        if pointer.contains('%') || (!pointer.is_empty() && !pointer.starts_with('/')) {
            return None;
        }
        // An identifier on the way would make the pointer relative to something else.
        let mut at = self.root;
        for step in pointer.split('/').skip(1) {
            let name = step.replace("~1", "/").replace("~0", "~");
            at = match at {
                Value::Object(members) => members.get(&name)?,
                Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
            if at.get("$id").is_some() {
                return None;
            }
        }
        Some(at)
    }

    #[expect(
        clippy::option_option,
        reason = "no rules at all, no rule for strings, or a rule"
    )]
    fn string_rule(&mut self, members: &Map<String, Value>) -> Option<Option<u16>> {
        let mut text = Map::new();
        for keyword in ["pattern", "format"] {
            // Since 2019-09 `format` only describes.
            let is_asserted = keyword == "pattern" || !self.is_modern();
            if let Some(value) = members.get(keyword).filter(|_| is_asserted) {
                text.insert(keyword.to_owned(), value.clone());
            }
        }
        let (min, max) = (count(members, "minLength")?, count(members, "maxLength")?);
        if text.is_empty() && min.is_none() && max.is_none() {
            return Some(None);
        }
        let text = if text.is_empty() {
            None
        } else {
            Some(Box::new(text_validator(&Value::Object(text), self.draft)?))
        };
        let rule = StringRule {
            min: min.unwrap_or(0),
            max,
            values: None,
            text,
        };
        push(&mut self.schema.strings, rule).map(Some)
    }

    #[expect(
        clippy::option_option,
        reason = "no rules at all, no rule for numbers, or a rule"
    )]
    fn number_rule(&mut self, members: &Map<String, Value>) -> Option<Option<u16>> {
        let rule = NumberRule {
            minimum: bound(members, "minimum")?,
            maximum: bound(members, "maximum")?,
            exclusive_minimum: bound(members, "exclusiveMinimum")?,
            exclusive_maximum: bound(members, "exclusiveMaximum")?,
            multiple_of: match members.get("multipleOf") {
                None => None,
                Some(multiple) => Some(multiple.as_i64().filter(|multiple| *multiple > 0)?),
            },
            values: None,
        };
        let bounds = [
            rule.minimum,
            rule.maximum,
            rule.exclusive_minimum,
            rule.exclusive_maximum,
        ];
        if bounds.iter().all(Option::is_none) && rule.multiple_of.is_none() {
            return Some(None);
        }
        push(&mut self.schema.numbers, rule).map(Some)
    }

    #[expect(
        clippy::option_option,
        reason = "no rules at all, no rule for arrays, or a rule"
    )]
    fn array_rule(&mut self, members: &'d Map<String, Value>) -> Option<Option<u16>> {
        let (min, max) = (count(members, "minItems")?, count(members, "maxItems")?);
        let items = members.get("items");
        if min.is_none() && max.is_none() && items.is_none() {
            return Some(None);
        }
        let address = std::ptr::from_ref(members) as usize;
        if let Some(known) = self.arrays.get(&address) {
            return Some(Some(*known));
        }
        let rule = ArrayRule {
            min: min.unwrap_or(0),
            max,
            items: Rule::ANY,
        };
        let index = push(&mut self.schema.arrays, rule)?;
        self.arrays.insert(address, index);
        if let Some(items) = items {
            self.waiting.push(Body::Array(index, items));
        }
        Some(Some(index))
    }

    #[expect(
        clippy::option_option,
        reason = "no rules at all, no rule for objects, or a rule"
    )]
    fn object_rule(&mut self, members: &'d Map<String, Value>) -> Option<Option<u16>> {
        let keywords = ["properties", "required", "additionalProperties"];
        if keywords
            .iter()
            .all(|keyword| !members.contains_key(*keyword))
        {
            return Some(None);
        }
        let address = std::ptr::from_ref(members) as usize;
        if let Some(known) = self.objects.get(&address) {
            return Some(Some(*known));
        }
        let rule = ObjectRule {
            fields: Vec::new(),
            by_length: Vec::new(),
            required: 0,
            additional: Rule::ANY,
        };
        let index = push(&mut self.schema.objects, rule)?;
        self.objects.insert(address, index);
        self.waiting.push(Body::Object(index, members));
        Some(Some(index))
    }

    fn fill(&mut self, body: Body<'d>) -> Option<()> {
        match body {
            Body::Array(index, items) => {
                let items = self.rule(items, 0)?;
                self.schema.arrays.get_mut(usize::from(index))?.items = items;
            }
            Body::Object(index, members) => {
                let rule = self.object(members)?;
                *self.schema.objects.get_mut(usize::from(index))? = rule;
            }
        }
        Some(())
    }

    fn object(&mut self, members: &'d Map<String, Value>) -> Option<ObjectRule> {
        let additional = match members.get("additionalProperties") {
            None => Rule::ANY,
            Some(schema) => self.rule(schema, 0)?,
        };
        let mut fields: Vec<Field> = Vec::new();
        if let Some(properties) = members.get("properties") {
            for (name, schema) in properties.as_object()? {
                fields.push(Field {
                    name: name.clone(),
                    is_plain: is_plain(name),
                    rule: self.rule(schema, 0)?,
                    bit: 0,
                });
            }
        }
        let mut bits = (0..u64::BITS).map(|bit| 1_u64 << bit);
        let mut required = 0;
        for name in members
            .get("required")
            .map_or(Some(&[][..]), |names| names.as_array().map(Vec::as_slice))?
        {
            let name = name.as_str()?;
            let known = fields.iter().position(|field| field.name == name);
            let position = known.unwrap_or(fields.len());
            if known.is_none() {
                fields.push(Field {
                    name: name.to_owned(),
                    is_plain: is_plain(name),
                    rule: additional,
                    bit: 0,
                });
            }
            let field = fields.get_mut(position)?;
            if field.bit == 0 {
                field.bit = bits.next()?;
                required |= field.bit;
            }
        }
        if fields.len() > FIELDS_MAX {
            return None;
        }
        let mut by_length: Vec<Vec<u16>> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let length = field.name.len();
            if by_length.len() <= length {
                by_length.resize(length.min(NAME_BYTES_MAX) + 1, Vec::new());
            }
            by_length.get_mut(length)?.push(u16::try_from(index).ok()?);
        }
        Some(ObjectRule {
            fields,
            by_length,
            required,
            additional,
        })
    }

    /// The rule that allows exactly some values.
    fn enumeration(&mut self, values: &[Value]) -> Option<Rule> {
        if values.len() > VALUES_MAX {
            return None;
        }
        let mut rule = Rule::NONE;
        let (mut strings, mut numbers) = (Vec::new(), Vec::new());
        for value in values {
            rule.types |= match value {
                Value::Null => types::NULL,
                Value::Bool(false) => types::FALSE,
                Value::Bool(true) => types::TRUE,
                Value::Number(number) => {
                    let is_exact = |value: &i64| value.unsigned_abs() < EXACT_MAX;
                    numbers.push(number.as_i64().filter(is_exact)?);
                    types::INTEGER
                }
                Value::String(text) => {
                    strings.push(text.clone());
                    types::STRING
                }
                Value::Array(_) | Value::Object(_) => return None,
            };
        }
        if !strings.is_empty() {
            rule.string = Some(self.only_strings(strings)?);
        }
        if !numbers.is_empty() {
            let only = NumberRule {
                values: Some(numbers),
                ..NumberRule::default()
            };
            rule.number = Some(push(&mut self.schema.numbers, only)?);
        }
        Some(rule)
    }

    fn only_strings(&mut self, mut strings: Vec<String>) -> Option<u16> {
        strings.sort_unstable();
        strings.dedup();
        let only = StringRule {
            values: Some(strings),
            ..StringRule::default()
        };
        push(&mut self.schema.strings, only)
    }

    /// The rule of a value that obeys one of two, and cannot obey both. Two sets of strings count
    /// as one alternative when they have none in common.
    fn either(&mut self, a: Rule, b: Rule) -> Option<Rule> {
        let common = a.types & b.types;
        if common & !types::STRING != 0 {
            return None;
        }
        let string = if common == types::STRING {
            let (a, b) = (self.string_set(a.string?)?, self.string_set(b.string?)?);
            if a.iter().any(|text| b.contains(text)) {
                return None;
            }
            let joined = a.iter().chain(b).cloned().collect();
            Some(self.only_strings(joined)?)
        } else if b.types & types::STRING != 0 {
            b.string
        } else {
            a.string
        };
        let of = |bits: u8, of_a: Option<u16>, of_b: Option<u16>| {
            if b.types & bits != 0 { of_b } else { of_a }
        };
        let is_split_number = a.types & types::NUMBER != 0 && b.types & types::NUMBER != 0;
        if is_split_number {
            return None;
        }
        Some(Rule {
            types: a.types | b.types,
            string,
            number: of(types::NUMBER, a.number, b.number),
            array: of(types::ARRAY, a.array, b.array),
            object: of(types::OBJECT, a.object, b.object),
        })
    }

    /// The strings of a rule that allows just those.
    fn string_set(&self, index: u16) -> Option<&Vec<String>> {
        let rule = self.schema.strings.get(usize::from(index))?;
        let is_set = rule.text.is_none() && rule.min == 0 && rule.max.is_none();
        rule.values.as_ref().filter(|_| is_set)
    }
}

/// Longest name a field may have.
const NAME_BYTES_MAX: usize = 1024;

fn is_plain(name: &str) -> bool {
    plain_end(name.as_bytes(), 0) == name.len()
}

fn push<T>(rules: &mut Vec<T>, rule: T) -> Option<u16> {
    let index = u16::try_from(rules.len()).ok()?;
    rules.push(rule);
    Some(index)
}

/// The rule of a value that obeys two; `None` when both have more to say of one type.
fn both(a: Rule, b: Rule) -> Option<Rule> {
    let types = a.types & b.types;
    let one = |bits: u8, a: Option<u16>, b: Option<u16>| match (a, b) {
        _ if types & bits == 0 => Some(None),
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.or(b)),
    };
    Some(Rule {
        types,
        string: one(types::STRING, a.string, b.string)?,
        number: one(types::NUMBER, a.number, b.number)?,
        array: one(types::ARRAY, a.array, b.array)?,
        object: one(types::OBJECT, a.object, b.object)?,
    })
}

fn type_set(value: Option<&Value>) -> Option<u8> {
    let Some(value) = value else {
        return Some(types::ALL);
    };
    let names = match value {
        Value::Array(names) => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    names.iter().try_fold(0, |set, name| {
        Some(
            set | match name.as_str()? {
                "null" => types::NULL,
                "boolean" => types::FALSE | types::TRUE,
                "integer" => types::INTEGER,
                "number" => types::NUMBER,
                "string" => types::STRING,
                "array" => types::ARRAY,
                "object" => types::OBJECT,
                _ => return None,
            },
        )
    })
}

/// A keyword that counts; `None` when it does not hold a count.
#[expect(clippy::option_option, reason = "not understood, absent, or a count")]
fn count(members: &Map<String, Value>, keyword: &str) -> Option<Option<usize>> {
    match members.get(keyword) {
        None => Some(None),
        Some(count) => usize::try_from(count.as_u64()?).ok().map(Some),
    }
}

/// A bound that can be compared without loss; `None` when it cannot.
#[expect(clippy::option_option, reason = "not understood, absent, or a bound")]
fn bound(members: &Map<String, Value>, keyword: &str) -> Option<Option<Bound>> {
    let Some(value) = members.get(keyword) else {
        return Some(None);
    };
    match value.as_i64() {
        Some(integer) if integer.unsigned_abs() < EXACT_MAX => Some(Some(Bound::Integer(integer))),
        Some(_) => None,
        None if value.is_f64() => value.as_f64().map(|double| Some(Bound::Double(double))),
        None => None,
    }
}
