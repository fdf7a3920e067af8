//! The documents a schema is made of: its own text and its references, ready to resolve `$ref`.
//!
//! A reference is known under its name, resolved against the schema's own `$id`, and looked at
//! only when something refers to it; without a `$schema` it is of the root's draft. Nothing is
//! ever fetched: what is not here, and is not a published metaschema, does not resolve.

use std::collections::HashMap;

use jsonschema::{Draft, Registry, Retrieve, Uri};
use serde_json::{Map, Value};

use super::text::Json;
use crate::schema::ParseError;

/// A schema document and those it may refer to.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    pub(super) root: Value,
    pub(super) draft: Draft,
    references: Vec<(String, Value)>,
}

impl Documents {
    pub(super) fn new(root: &Json, references: &[(String, Json)]) -> Self {
        let (root, draft) = document(root);
        Self {
            root,
            draft,
            references: references
                .iter()
                .map(|(name, json)| (name.clone(), document(json).0))
                .collect(),
        }
    }

    /// The same documents with what the reference tolerates and the validator would refuse taken
    /// out: negative lower bounds, an empty `allOf`, definitions that define nothing.
    pub(super) fn for_validation(&self) -> Self {
        let mut documents = self.clone();
        drop_tolerated(&mut documents.root);
        for (_, value) in &mut documents.references {
            drop_tolerated(value);
        }
        documents
    }

    /// Objects in all documents: no fewer than there are schemas.
    pub(super) fn count_objects(&self) -> usize {
        fn count(value: &Value) -> usize {
            match value {
                Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
                Value::Array(items) => items.iter().map(count).sum(),
                _ => 0,
            }
        }
        let references = self.references.iter().map(|(_, value)| count(value));
        count(&self.root) + references.sum::<usize>()
    }

    /// Where the root document lives: its `$id`, or an anonymous place.
    pub(super) fn base_uri(&self) -> Result<Uri<String>, ParseError> {
        let id = self
            .root
            .get(self.draft.id_keyword())
            .and_then(Value::as_str);
        let without_fragment = id.and_then(|id| id.split('#').next()).unwrap_or_default();
        jsonschema::uri::from_str(without_fragment)
            .map_err(|error| ParseError::new(format!("invalid schema identifier: {error}")))
    }

    /// The root and whatever it refers to, for walking `$ref`s.
    pub(super) fn registry(&self) -> Result<Registry<'_>, ParseError> {
        Registry::new()
            .retriever(self.known())
            .draft(self.draft)
            .add(
                self.base_uri()?.as_str(),
                self.draft.create_resource(self.root.clone()),
            )
            .map_err(|error| ParseError::new(error.to_string()))?
            .prepare()
            .map_err(|error| unresolved(&error))
    }

    /// The references, found by the name resolved against the root's identifier or by their own.
    pub(super) fn known(&self) -> KnownDocuments {
        let mut by_uri = HashMap::new();
        let base = self.base_uri().ok();
        for (name, value) in &self.references {
            let uri = base
                .as_ref()
                .and_then(|base| jsonschema::uri::resolve_against(&base.borrow(), name).ok());
            let id = value.get(self.draft.id_keyword()).and_then(Value::as_str);
            let id = id.and_then(|id| jsonschema::uri::from_str(id).ok());
            for uri in uri.into_iter().chain(id) {
                by_uri
                    .entry(uri.as_str().trim_end_matches('#').to_owned())
                    .or_insert_with(|| value.clone());
            }
        }
        KnownDocuments { by_uri }
    }
}

/// The message for a `$ref` that leads nowhere.
pub(super) fn unresolved(error: &jsonschema::ReferencingError) -> ParseError {
    use std::error::Error as _;
    let message = match error.source() {
        Some(source) => format!("{UNRESOLVED}: {error}: {source}"),
        None => format!("{UNRESOLVED}: {error}"),
    };
    ParseError::new(message)
}

/// Whether an error is that of a `$ref` that leads nowhere, rather than of the schema itself.
pub(super) fn is_unresolved(error: &ParseError) -> bool {
    error.message.starts_with(UNRESOLVED)
}

const UNRESOLVED: &str = "unresolved $ref";

/// Answers with references, and refuses to fetch anything else.
#[derive(Debug)]
pub(super) struct KnownDocuments {
    by_uri: HashMap<String, Value>,
}

impl Retrieve for KnownDocuments {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        self.by_uri
            .get(uri.as_str().trim_end_matches('#'))
            .cloned()
            .ok_or_else(|| "remote schema reference fetching is disabled".into())
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
    let draft = declared.flatten().unwrap_or(Draft::Draft7);
    if matches!(draft, Draft::Draft6 | Draft::Draft7) {
        read_old_anchors(&mut value);
    }
    (value, draft)
}

/// Draft 4 wrote `"id": "#name"` for what is `"$id": "#name"` in drafts 6 and 7; the reference
/// resolves references to both.
fn read_old_anchors(value: &mut Value) {
    each_subvalue(value, &mut |members| {
        if let Some(Value::String(id)) = members.get("id")
            && id.starts_with('#')
            && !members.contains_key("$id")
        {
            let id = id.clone();
            members.insert("$id".to_owned(), Value::String(id));
        }
    });
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

fn drop_tolerated(value: &mut Value) {
    each_subvalue(value, &mut |members| {
        members.retain(|name, value| match name.as_str() {
            "minLength" | "minItems" | "minProperties" => {
                value.as_i64().is_none_or(|bound| bound >= 0)
            }
            "allOf" => value.as_array().is_none_or(|schemas| !schemas.is_empty()),
            "definitions" | "$defs" => value.is_object(),
            _ => true,
        });
    });
}

/// Visits every object except those that are data.
fn each_subvalue(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            for (name, member) in members {
                if !matches!(name.as_str(), "const" | "enum" | "default" | "examples") {
                    each_subvalue(member, visit);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                each_subvalue(item, visit);
            }
        }
        _ => {}
    }
}
