//! The OpenAPI 3.1 document: one row an operation, put together with the schemas of bodies.
//!
//! A test holds the rows against the route tables. The process adds its own rows (health, metrics,
//! rejections) and serves the whole as `/openapi.json`.

mod operations;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use operations::OPERATIONS;

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// `GET`, ….
    pub method: &'static str,
    /// `{name}` is the path parameter of that name among the components.
    pub path: &'static str,
    /// Unique, for generated clients.
    pub id: &'static str,
    /// Groups operations in documentation.
    pub tag: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Query parameters, by their key among the components.
    pub parameters: &'static [&'static str],
    /// The schema of the request body, where there is one.
    pub body: Option<&'static str>,
    /// What a success answers.
    pub answer: Answer,
    /// Error codes of its own; those that every operation has are added.
    pub errors: &'static [u32],
}

/// What a success answers.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// JSON of a component schema, in the media type that Accept names.
    Json(&'static str),
    /// 207 with JSON of a component schema.
    MultiStatus(&'static str),
    /// JSON of a component schema, as `application/json`.
    PlainJson(&'static str),
    /// A schema's own text.
    Text,
    /// `text/plain`.
    PlainText,
    /// 204.
    NoContent,
}

const REGISTRY_MEDIA: [&str; 3] = [
    "application/vnd.schemaregistry.v1+json",
    "application/vnd.schemaregistry+json",
    "application/json",
];

/// What error codes mean; also the table of the documentation.
const ERRORS: &[(u32, &str)] = &[
    (
        400,
        "the body is no JSON object, or something has the wrong type",
    ),
    (
        404,
        "unknown path, or an id or page parameter that is no 32-bit number",
    ),
    (405, "the path does not have this method"),
    (406, "Accept takes no JSON"),
    (408, "the body did not arrive in time"),
    (409, "the import contradicts what is here"),
    (413, "the body is too long"),
    (415, "the media type of the body is not JSON"),
    (422, "the body is missing, or nests too deep"),
    (429, "too many requests wait to parse schemas"),
    (500, "a defect; the log has the reason"),
    (
        503,
        "the server is starting or stopping, or the database cannot be asked",
    ),
    (40401, "subject not found"),
    (40402, "version not found"),
    (40403, "schema not found"),
    (40404, "subject is soft-deleted already"),
    (40405, "subject is not soft-deleted yet"),
    (40406, "version is soft-deleted already"),
    (40407, "version is not soft-deleted yet"),
    (40408, "subject has no settings of its own"),
    (40409, "subject has no mode of its own"),
    (40410, "the topic has no such association"),
    (40901, "the schema is incompatible with an earlier one"),
    (
        40903,
        "the topic has an association of that type, and another one",
    ),
    (40904, "the subject has an association"),
    (40905, "the subject belongs to another topic"),
    (40907, "the subject has, or would have, no live version"),
    (40908, "the association is frozen"),
    (42201, "the schema is not valid, or missing"),
    (42202, "the version is not valid"),
    (42203, "the compatibility level is not valid"),
    (42204, "the mode is not valid"),
    (42205, "the mode in force forbids it, or the id is taken"),
    (42206, "other schemas refer to it"),
    (42208, "the subject's name is not valid"),
    (42209, "the schema is too long"),
    (42210, "the rule set is not valid"),
    (42211, "the context is not empty"),
    (42212, "a property of an association is not valid"),
    (50001, "the database failed; the log has the reason"),
];

/// The document of these operations.
#[must_use]
pub fn document<'o>(operations: impl Iterator<Item = &'o Operation>, version: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(path) = path.as_object_mut() {
            let method = operation.method.to_ascii_lowercase();
            path.insert(method, operation_value(operation));
        }
    }
    // The file is part of the program: a test reads it.
    let components: Value = serde_json::from_str(COMPONENTS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Assay",
            "version": version,
            "description": "Confluent's Schema Registry API, and under /v1/ what it cannot say. Any path of the registry may be prefixed with /contexts/{context}.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": components,
    })
}

const COMPONENTS: &str = include_str!("openapi/components.json");

fn operation_value(operation: &Operation) -> Value {
    let in_path = operation.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(name)
    });
    let parameters: Vec<Value> = in_path
        .chain(operation.parameters.iter().copied())
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    let mut value = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses(operation),
    });
    if let Some(body) = operation.body
        && let Some(object) = value.as_object_mut()
    {
        let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
        object.insert(
            "requestBody".to_owned(),
            json!({ "required": true, "content": content(&REGISTRY_MEDIA, &schema) }),
        );
    }
    value
}

fn content(media: &[&str], schema: &Value) -> Value {
    media
        .iter()
        .map(|media| ((*media).to_owned(), json!({ "schema": schema })))
        .collect::<Map<String, Value>>()
        .into()
}

fn responses(operation: &Operation) -> Value {
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let text = json!({ "type": "string" });
    let (status, success) = match operation.answer {
        Answer::Json(name) => ("200", content(&REGISTRY_MEDIA, &schema(name))),
        Answer::MultiStatus(name) => ("207", content(&REGISTRY_MEDIA, &schema(name))),
        Answer::PlainJson(name) => ("200", content(&["application/json"], &schema(name))),
        // A schema's text may be any JSON, or none.
        Answer::Text => ("200", content(&REGISTRY_MEDIA, &json!({}))),
        Answer::PlainText => ("200", content(&["text/plain"], &text)),
        Answer::NoContent => ("204", Value::Null),
    };
    let mut responses = Map::new();
    let mut success_value = json!({ "description": "done" });
    if let (Some(object), false) = (success_value.as_object_mut(), success.is_null()) {
        object.insert("content".to_owned(), success);
    }
    responses.insert(status.to_owned(), success_value);
    let media: &[&str] = match operation.answer {
        Answer::PlainJson(_) | Answer::PlainText => &["application/json"],
        Answer::Json(_) | Answer::MultiStatus(_) | Answer::Text | Answer::NoContent => {
            &REGISTRY_MEDIA
        }
    };
    for (status, meanings) in errors_by_status(operation) {
        let mut answer = json!({
            "description": meanings.join("; "),
            "content": content(media, &schema("Error")),
        });
        if matches!(status, 429 | 503)
            && let Some(object) = answer.as_object_mut()
        {
            object.insert(
                "headers".to_owned(),
                json!({ "Retry-After": { "description": "seconds", "schema": { "type": "integer" } } }),
            );
        }
        responses.insert(status.to_string(), answer);
    }
    Value::Object(responses)
}

fn errors_by_status(operation: &Operation) -> BTreeMap<u32, Vec<String>> {
    const ALL: [u32; 2] = [500, 503];
    const WITH_BODY: [u32; 6] = [400, 408, 413, 415, 422, 429];
    let with_body: &[u32] = if operation.body.is_some() {
        &WITH_BODY
    } else {
        &[]
    };
    let mut by_status: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    // Our own endpoints answer JSON to everybody.
    let by_media: &[u32] = match operation.answer {
        Answer::PlainJson(_) | Answer::PlainText => &[],
        Answer::Json(_) | Answer::MultiStatus(_) | Answer::Text | Answer::NoContent => &[406],
    };
    let mut codes: Vec<u32> = [operation.errors, with_body, by_media, &ALL].concat();
    codes.sort_unstable();
    codes.dedup();
    for code in codes {
        let status = if code >= 10_000 { code / 100 } else { code };
        let meaning = ERRORS
            .iter()
            .find(|(known, _)| *known == code)
            .map_or("", |(_, meaning)| meaning);
        by_status
            .entry(status)
            .or_default()
            .push(format!("{code}: {meaning}"));
    }
    by_status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn whole() -> Value {
        document(OPERATIONS.iter(), "0")
    }

    /// Every `$ref` of the document, and every component, by pointer.
    fn refs(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(target)) = object.get("$ref") {
                    found.insert(target.clone());
                }
                object.values().for_each(|inner| refs(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| refs(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_a_target_and_ids_are_unique() {
        let document = whole();
        assert!(document["components"]["schemas"]["Error"].is_object());
        let mut found = BTreeSet::new();
        refs(&document, &mut found);
        assert!(found.len() > 30);
        for target in found {
            let pointer = target.trim_start_matches('#');
            assert!(
                document.pointer(pointer).is_some(),
                "{target} does not exist"
            );
        }
        let ids: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
    }

    #[test]
    fn every_error_code_is_explained() {
        for operation in OPERATIONS {
            for code in operation.errors {
                assert!(
                    ERRORS.iter().any(|(known, _)| known == code),
                    "{} names {code}, which ERRORS does not explain",
                    operation.id
                );
            }
        }
    }
}
