//! The documents a schema is made of: its own text and its references, ready to resolve `$ref`.
//!
//! A reference is known under its name, resolved against the schema's own `$id`. Nothing is ever
//! fetched: what is not here, and is not a published metaschema, does not resolve.

use jsonschema::{Draft, Registry, Retrieve, Uri};
use serde_json::Value;

use super::text::Json;
use crate::schema::ParseError;

/// A schema document and those it may refer to.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    pub(super) root: Value,
    pub(super) draft: Draft,
    references: Vec<(String, Value, Draft)>,
}

impl Documents {
    pub(super) fn new(root: &Json, references: &[(String, Json)]) -> Self {
        let (root, draft) = document(root);
        Self {
            root,
            draft,
            references: references
                .iter()
                .map(|(name, json)| {
                    let (value, draft) = document(json);
                    (name.clone(), value, draft)
                })
                .collect(),
        }
    }

    /// The same documents with what the reference tolerates and the validator would refuse taken
    /// out: negative lower bounds, which bound nothing.
    pub(super) fn for_validation(&self) -> Self {
        let mut documents = self.clone();
        drop_empty_bounds(&mut documents.root);
        for (_, value, _) in &mut documents.references {
            drop_empty_bounds(value);
        }
        documents
    }

    /// Where the root document lives: its `$id`, or an anonymous place.
    pub(super) fn base_uri(&self) -> Result<Uri<String>, ParseError> {
        let id = self.root.get(self.draft.id_keyword()).and_then(Value::as_str);
        jsonschema::uri::from_str(id.unwrap_or_default().trim_end_matches('#'))
            .map_err(|error| ParseError::new(format!("invalid schema identifier: {error}")))
    }

    /// The references alone, for the validator, which adds the root itself.
    pub(super) fn reference_registry(&self) -> Result<Registry<'_>, ParseError> {
        let base = self.base_uri()?;
        let mut builder = Registry::new().retriever(NoFetch).draft(self.draft);
        for (name, value, draft) in &self.references {
            let uri = jsonschema::uri::resolve_against(&base.borrow(), name)
                .map_err(|error| ParseError::new(format!("reference name {name:?}: {error}")))?;
            if uri == base {
                continue;
            }
            builder = builder
                .add(uri.as_str(), draft.create_resource(value.clone()))
                .map_err(|error| ParseError::new(error.to_string()))?;
        }
        builder.prepare().map_err(|error| unresolved(&error))
    }

    /// Root and references together, for walking `$ref`s.
    pub(super) fn registry<'r>(
        &'r self,
        references: &'r Registry<'r>,
    ) -> Result<Registry<'r>, ParseError> {
        references
            .add(
                self.base_uri()?.as_str(),
                self.draft.create_resource(self.root.clone()),
            )
            .map_err(|error| ParseError::new(error.to_string()))?
            .retriever(NoFetch)
            .draft(self.draft)
            .prepare()
            .map_err(|error| unresolved(&error))
    }
}

/// The message for a `$ref` that leads nowhere.
pub(super) fn unresolved(error: &jsonschema::ReferencingError) -> ParseError {
    use std::error::Error as _;
    let message = match error.source() {
        Some(source) => format!("unresolved $ref: {error}: {source}"),
        None => format!("unresolved $ref: {error}"),
    };
    ParseError::new(message)
}

/// Refuses every fetch.
#[derive(Debug)]
pub(super) struct NoFetch;

impl Retrieve for NoFetch {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("remote schema reference fetching is disabled: {uri}").into())
    }
}

/// The value of one document and its draft, with the reference's two liberties applied: an
/// unknown `$schema` means draft 7, and a top-level `definitions` is also visible as `$defs`.
fn document(json: &Json) -> (Value, Draft) {
    let mut value = json.to_value();
    let declared = value.get("$schema").and_then(Value::as_str).map(draft_of);
    if let Value::Object(members) = &mut value {
        if declared == Some(None) {
            members.remove("$schema");
        }
        if !members.contains_key("$defs")
            && let Some(definitions) = members.get("definitions").cloned()
        {
            members.insert("$defs".to_owned(), definitions);
        }
    }
    (value, declared.flatten().unwrap_or(Draft::Draft7))
}

fn draft_of(uri: &str) -> Option<Draft> {
    let uri = uri.trim_end_matches('#');
    let path = uri
        .strip_prefix("https://json-schema.org/")
        .or_else(|| uri.strip_prefix("http://json-schema.org/"))?;
    match path {
        "draft-04/schema" => Some(Draft::Draft4),
        "draft-06/schema" => Some(Draft::Draft6),
        "draft-07/schema" => Some(Draft::Draft7),
        "draft/2019-09/schema" => Some(Draft::Draft201909),
        "draft/2020-12/schema" => Some(Draft::Draft202012),
        _ => None,
    }
}

fn drop_empty_bounds(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| {
                !(matches!(name.as_str(), "minLength" | "minItems" | "minProperties")
                    && value.as_i64().is_some_and(|bound| bound < 0))
            });
            for (name, member) in members {
                if !matches!(name.as_str(), "const" | "enum" | "default" | "examples") {
                    drop_empty_bounds(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_bounds),
        _ => {}
    }
}
