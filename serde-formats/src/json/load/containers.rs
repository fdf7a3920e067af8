//! Objects and arrays: the keywords that make a schema one, and the schemas in it.

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::super::keywords::{Keywords, error, kind_name, strings};
use super::super::model::{ArrayClass, Class, NodeId, ObjectClass, Rest};
use super::{Loader, Scope};
use crate::schema::ParseError;

pub(super) const OBJECT_KEYWORDS: &[&str] = &[
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "additionalProperties",
];
pub(super) const ARRAY_KEYWORDS: &[&str] = &["items", "minItems", "maxItems", "uniqueItems"];

impl<'r> Loader<'r> {
    pub(super) fn array(
        &mut self,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
    ) -> Result<Class, ParseError> {
        let keywords = Keywords { members, path };
        let mut class = ArrayClass {
            min_items: keywords.integer("minItems")?,
            max_items: keywords.integer("maxItems")?,
            unique_items: keywords.boolean("uniqueItems")?.unwrap_or(false),
            all_items: None,
            items: Vec::new(),
            additional: Rest::Allowed,
            unevaluated: Rest::Allowed,
            min_contains: None,
            max_contains: None,
            contains: None,
            is_rest_vain: false,
            is_typed: false,
        };
        let (tuple, additional) = if scope.draft == Draft::Draft202012 {
            ("prefixItems", "items")
        } else {
            ("items", "additionalItems")
        };
        let items_are_rest =
            scope.is_modern() && members.get("items").is_some_and(Value::is_boolean);
        match members.get(tuple) {
            Some(Value::Array(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    let path = format!("{path}/{tuple}/{index}");
                    class.items.push(self.schema(schema, scope, &path)?);
                }
            }
            Some(Value::Bool(_)) if items_are_rest => {
                class.additional = self.rest("items", members, scope, path)?;
            }
            Some(schema) if tuple == "items" => {
                class.all_items = Some(self.schema(schema, scope, &format!("{path}/items"))?);
            }
            Some(other) => {
                let found = kind_name(other);
                return Err(error(
                    &format!("{path}/{tuple}"),
                    &format!("expected type: JsonArray, found: {found}"),
                ));
            }
            None if additional == "items" && !items_are_rest => {
                if let Some(schema) = members.get("items") {
                    class.all_items = Some(self.schema(schema, scope, &format!("{path}/items"))?);
                }
            }
            None => {}
        }
        // A boolean `items` without positions allows or forbids items at all.
        if !(items_are_rest && tuple == "items"
            || class.all_items.is_some() && additional == "items")
        {
            class.additional = self.rest(additional, members, scope, path)?;
            class.is_rest_vain = additional == "additionalItems"
                && class.additional != Rest::Allowed
                && !members.get(tuple).is_some_and(Value::is_array);
        }
        if scope.is_modern() {
            class.unevaluated = self.rest("unevaluatedItems", members, scope, path)?;
            if members.contains_key("contains") {
                class.min_contains = Some(keywords.integer("minContains")?.unwrap_or(1));
                class.max_contains = keywords.integer("maxContains")?;
            }
        }
        if scope.draft != Draft::Draft4 {
            class.contains = self.optional("contains", members, scope, path)?;
        }
        Ok(Class::Array(Box::new(class)))
    }

    pub(super) fn object(
        &mut self,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
    ) -> Result<Class, ParseError> {
        let keywords = Keywords { members, path };
        let mut class = ObjectClass {
            properties: self.named_schemas("properties", members, scope, path)?,
            required: keywords.strings("required")?,
            min_properties: keywords.integer("minProperties")?,
            max_properties: keywords.integer("maxProperties")?,
            additional: self.rest("additionalProperties", members, scope, path)?,
            unevaluated: Rest::Allowed,
            patterns: self.named_schemas("patternProperties", members, scope, path)?,
            dependent_required: Vec::new(),
            dependent_schemas: Vec::new(),
            property_names: None,
            is_typed: false,
        };
        self.check_name_patterns(&keywords)?;
        if scope.is_modern() {
            class.unevaluated = self.rest("unevaluatedProperties", members, scope, path)?;
            for (name, value) in keywords.object("dependentRequired")?.into_iter().flatten() {
                let path = format!("{path}/dependentRequired/{name}");
                class
                    .dependent_required
                    .push((name.clone(), strings(value, &path)?));
            }
            class.dependent_schemas =
                self.named_schemas("dependentSchemas", members, scope, path)?;
        } else {
            for (name, value) in keywords.object("dependencies")?.into_iter().flatten() {
                let path = format!("{path}/dependencies/{name}");
                if value.is_array() {
                    class
                        .dependent_required
                        .push((name.clone(), strings(value, &path)?));
                } else {
                    let id = self.schema(value, scope, &path)?;
                    class.dependent_schemas.push((name.clone(), id));
                }
            }
        }
        if scope.draft != Draft::Draft4 {
            class.property_names = self.optional("propertyNames", members, scope, path)?;
            self.judges_names |= class.property_names.is_some();
        }
        Ok(Class::Object(Box::new(class)))
    }

    fn check_name_patterns(&mut self, keywords: &Keywords<'r, '_>) -> Result<(), ParseError> {
        let Some(schemas) = keywords.object("patternProperties")? else {
            return Ok(());
        };
        for pattern in schemas.keys() {
            self.check_pattern(pattern, &format!("{}/patternProperties", keywords.path))?;
        }
        self.patterns.add_names(schemas.keys().map(String::as_str));
        Ok(())
    }

    fn named_schemas(
        &mut self,
        keyword: &str,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
    ) -> Result<Vec<(String, NodeId)>, ParseError> {
        let mut schemas = Vec::new();
        for (name, schema) in (Keywords { members, path })
            .object(keyword)?
            .into_iter()
            .flatten()
        {
            let id = self.schema(schema, scope, &format!("{path}/{keyword}/{name}"))?;
            schemas.push((name.clone(), id));
        }
        Ok(schemas)
    }

    /// The schema that a keyword holds, if it is there.
    pub(super) fn optional(
        &mut self,
        keyword: &str,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
    ) -> Result<Option<NodeId>, ParseError> {
        members
            .get(keyword)
            .map(|schema| self.schema(schema, scope, &format!("{path}/{keyword}")))
            .transpose()
    }

    /// `additional…` and `unevaluated…`: a boolean or a schema, allowed when absent.
    fn rest(
        &mut self,
        keyword: &str,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
    ) -> Result<Rest, ParseError> {
        Ok(match members.get(keyword) {
            None | Some(Value::Bool(true)) => Rest::Allowed,
            Some(Value::Bool(false)) => Rest::Forbidden,
            Some(schema) => {
                Rest::Schema(self.schema(schema, scope, &format!("{path}/{keyword}"))?)
            }
        })
    }
}

pub(super) const fn more_array_keywords(draft: Draft) -> &'static [&'static str] {
    match draft {
        Draft::Draft4 => &["additionalItems"],
        Draft::Draft201909 => &[
            "additionalItems",
            "contains",
            "minContains",
            "maxContains",
            "unevaluatedItems",
        ],
        Draft::Draft202012 => &[
            "prefixItems",
            "contains",
            "minContains",
            "maxContains",
            "unevaluatedItems",
        ],
        _ => &["additionalItems", "contains"],
    }
}

pub(super) const fn more_object_keywords(draft: Draft) -> &'static [&'static str] {
    match draft {
        Draft::Draft4 => &["dependencies"],
        Draft::Draft201909 | Draft::Draft202012 => &[
            "propertyNames",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedProperties",
        ],
        _ => &["dependencies", "propertyNames"],
    }
}
