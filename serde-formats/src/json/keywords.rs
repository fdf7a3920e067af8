//! Typed reading of a schema's keywords, with the reference's words for what has the wrong type.

use jsonschema::Draft;
use serde_json::{Map, Number, Value};

use super::model::{Class, NumberClass, StringClass};
use crate::schema::ParseError;

/// Typed access to one schema's keywords.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keywords<'m, 'p> {
    pub(super) members: &'m Map<String, Value>,
    pub(super) path: &'p str,
}

impl<'m> Keywords<'m, '_> {
    fn typed<T>(
        &self,
        keyword: &str,
        expected: &str,
        read: impl FnOnce(&'m Value) -> Option<T>,
    ) -> Result<Option<T>, ParseError> {
        let Some(value) = self.members.get(keyword) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            let found = kind_name(value);
            error(
                &format!("{}/{keyword}", self.path),
                &format!("expected type: {expected}, found: {found}"),
            )
        })
    }

    pub(super) fn string(&self, keyword: &str) -> Result<Option<&'m str>, ParseError> {
        self.typed(keyword, "String", Value::as_str)
    }

    pub(super) fn boolean(&self, keyword: &str) -> Result<Option<bool>, ParseError> {
        self.typed(keyword, "Boolean", Value::as_bool)
    }

    pub(super) fn number(&self, keyword: &str) -> Result<Option<Number>, ParseError> {
        self.typed(keyword, "Number", |value| value.as_number().cloned())
    }

    /// An integer; `2.0` counts as one, as the specification has it since draft 6.
    pub(super) fn integer(&self, keyword: &str) -> Result<Option<i64>, ParseError> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the fraction is zero, and a saturated bound compares the same way"
        )]
        self.typed(keyword, "Integer", |value| {
            value.as_i64().or_else(|| {
                value
                    .as_f64()
                    .filter(|number| number.fract() == 0.0)
                    .map(|number| number as i64)
            })
        })
    }

    pub(super) fn array(&self, keyword: &str) -> Result<Option<&'m Vec<Value>>, ParseError> {
        self.typed(keyword, "JsonArray", Value::as_array)
    }

    pub(super) fn object(
        &self,
        keyword: &str,
    ) -> Result<Option<&'m Map<String, Value>>, ParseError> {
        self.typed(keyword, "JsonObject", Value::as_object)
    }

    pub(super) fn strings(&self, keyword: &str) -> Result<Vec<String>, ParseError> {
        match self.members.get(keyword) {
            Some(value) => strings(value, &format!("{}/{keyword}", self.path)),
            None => Ok(Vec::new()),
        }
    }
}

pub(super) fn strings(value: &Value, path: &str) -> Result<Vec<String>, ParseError> {
    let Value::Array(items) = value else {
        let found = kind_name(value);
        return Err(error(
            path,
            &format!("expected type: JsonArray, found: {found}"),
        ));
    };
    items
        .iter()
        .map(|item| {
            item.as_str().map(str::to_owned).ok_or_else(|| {
                let found = kind_name(item);
                error(path, &format!("expected type: String, found: {found}"))
            })
        })
        .collect()
}

pub(super) const fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "JsonArray",
        Value::Object(_) => "JsonObject",
    }
}

pub(super) fn error(path: &str, message: &str) -> ParseError {
    ParseError::new(format!("{path}: {message}"))
}

pub(super) fn string_class(keywords: &Keywords<'_, '_>) -> Result<Class, ParseError> {
    let pattern = keywords.string("pattern")?;
    Ok(Class::String(StringClass {
        min_length: keywords.integer("minLength")?,
        max_length: keywords.integer("maxLength")?,
        pattern: pattern.map(str::to_owned),
        format: keywords.string("format")?.map(str::to_owned),
        is_typed: false,
    }))
}

pub(super) fn number_class(
    keywords: &Keywords<'_, '_>,
    draft: Draft,
    is_integer: bool,
) -> Result<Class, ParseError> {
    let mut class = NumberClass {
        is_integer,
        minimum: keywords.number("minimum")?,
        maximum: keywords.number("maximum")?,
        multiple_of: keywords.number("multipleOf")?,
        ..NumberClass::default()
    };
    if draft == Draft::Draft4 {
        // Draft 4 says "exclusive" of a bound: the bound moves, so that a change is a difference.
        if keywords.boolean("exclusiveMinimum")? == Some(true) {
            class.exclusive_minimum = class.minimum.clone();
        }
        if keywords.boolean("exclusiveMaximum")? == Some(true) {
            class.exclusive_maximum = class.maximum.clone();
        }
    } else {
        class.exclusive_minimum = keywords.number("exclusiveMinimum")?;
        class.exclusive_maximum = keywords.number("exclusiveMaximum")?;
    }
    Ok(Class::Number(class))
}
