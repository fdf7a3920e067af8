//! The documents a schema is made of: its own text and its references, ready to resolve `$ref`.
//!
//! A reference is known under its name, resolved against the schema's own `$id`, and looked at
//! only when something refers to it; without a `$schema` it is of the root's draft. Nothing is
//! ever fetched: what is not here, and is not a published metaschema, does not resolve.

use std::borrow::Cow;
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
    /// The metaschema among the references that `$schema` names.
    dialect: Option<Dialect>,
    references: Vec<(String, Value)>,
}

impl Documents {
    pub(super) fn new(root: &Json, references: &[(String, Json)]) -> Self {
        let declared = match root.get("$schema") {
            Some(Json::String(uri)) => Some(uri),
            _ => None,
        };
        let mut all = references.iter().map(|(_, json)| json).chain([root]);
        let mentions_defs = all.any(|json| mentions(json, "defs"));
        let (root, draft) = document(root, mentions_defs);
        Self {
            root,
            draft,
            dialect: declared.and_then(|uri| dialect(uri, references)),
            references: references
                .iter()
                .map(|(name, json)| (name.clone(), document(json, mentions_defs).0))
                .collect(),
        }
    }

    /// Whether payloads are judged by another language than the one that is compared: the
    /// reference takes what it does not know for draft 7.
    pub(super) const fn has_dialect(&self) -> bool {
        self.dialect.is_some()
    }

    /// Whether the schema's own metaschema makes `format` an assertion.
    pub(super) fn asserts_formats(&self) -> bool {
        let dialect = self.dialect.as_ref();
        dialect.is_some_and(|dialect| dialect.asserts_formats)
    }

    /// The same documents with what the reference tolerates and the validator would refuse taken
    /// out: negative lower bounds, an empty `allOf`, definitions that define nothing; and with
    /// what the schema's own metaschema gives no meaning.
    pub(super) fn for_validation(&self) -> Cow<'_, Self> {
        let mut references = self.references.iter();
        let is_ready = self.dialect.is_none()
            && !is_tolerated_anywhere(&self.root)
            && !references.any(|(_, value)| is_tolerated_anywhere(value));
        if is_ready {
            return Cow::Borrowed(self);
        }
        let mut documents = self.clone();
        if let Some(dialect) = &self.dialect {
            documents.draft = dialect.draft;
            drop_keywords(&mut documents.root, &dialect.meaningless);
        }
        drop_tolerated(&mut documents.root);
        for (_, value) in &mut documents.references {
            drop_tolerated(value);
        }
        Cow::Owned(documents)
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
                self.draft.create_resource_ref(&self.root),
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

/// A language of the schema's own: a published one without some of its vocabularies.
#[derive(Debug, Clone)]
struct Dialect {
    draft: Draft,
    /// Keywords of the vocabularies it leaves out.
    meaningless: Vec<&'static str>,
    /// `format` is more than a description.
    asserts_formats: bool,
}

/// The language that the metaschema `uri` defines, if it is among the references and says which
/// vocabularies it has.
fn dialect(uri: &str, references: &[(String, Json)]) -> Option<Dialect> {
    if draft_of(uri).is_some() {
        return None;
    }
    let text = |json: &Json, name: &str| match json.get(name) {
        Some(Json::String(text)) => Some(text.trim_end_matches('#').to_owned()),
        _ => None,
    };
    let uri = uri.trim_end_matches('#');
    let (_, metaschema) = references.iter().find(|(name, json)| {
        name.trim_end_matches('#') == uri || text(json, "$id").as_deref() == Some(uri)
    })?;
    let draft = draft_of(&text(metaschema, "$schema")?)?;
    let vocabularies: &[(&str, &[&str])] = match draft {
        Draft::Draft201909 => &[
            ("validation", VALIDATION),
            ("applicator", APPLICATOR),
            ("applicator", UNEVALUATED),
        ],
        Draft::Draft202012 => &[
            ("validation", VALIDATION),
            ("applicator", APPLICATOR),
            ("unevaluated", UNEVALUATED),
        ],
        _ => return None,
    };
    let Some(Json::Object(declared)) = metaschema.get("$vocabulary") else {
        return None;
    };
    let is_declared = |vocabulary: &str| {
        let end = format!("/vocab/{vocabulary}");
        declared.iter().any(|(uri, _)| uri.ends_with(&end))
    };
    let missing = vocabularies
        .iter()
        .filter(|(vocabulary, _)| !is_declared(vocabulary));
    Some(Dialect {
        draft,
        meaningless: missing
            .flat_map(|(_, keywords)| *keywords)
            .copied()
            .collect(),
        asserts_formats: is_declared("format-assertion"),
    })
}

const VALIDATION: &[&str] = &[
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
];
const APPLICATOR: &[&str] = &[
    "prefixItems",
    "items",
    "additionalItems",
    "contains",
    "additionalProperties",
    "properties",
    "patternProperties",
    "dependentSchemas",
    "propertyNames",
    "if",
    "then",
    "else",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];
const UNEVALUATED: &[&str] = &["unevaluatedItems", "unevaluatedProperties"];

/// Takes keywords out of a schema and those in it, but not members of the same name out of what
/// only holds schemas.
fn drop_keywords(schema: &mut Value, keywords: &[&str]) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, _| !keywords.contains(&name.as_str()));
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("const" | "enum" | "default" | "examples", _) => {}
                    (
                        "properties" | "patternProperties" | "$defs" | "definitions"
                        | "dependentSchemas",
                        Value::Object(schemas),
                    ) => {
                        for schema in schemas.values_mut() {
                            drop_keywords(schema, keywords);
                        }
                    }
                    (_, member) => drop_keywords(member, keywords),
                }
            }
        }
        Value::Array(schemas) => {
            for schema in schemas {
                drop_keywords(schema, keywords);
            }
        }
        _ => {}
    }
}

/// The value of one document and its draft, with the reference's two liberties applied: an
/// unknown `$schema` means draft 7, and a top-level `definitions` is also visible as `$defs` (to
/// whoever mentions those).
fn document(json: &Json, mentions_defs: bool) -> (Value, Draft) {
    let mut value = json.to_value();
    let declared = value.get("$schema").and_then(Value::as_str).map(draft_of);
    if let Value::Object(members) = &mut value {
        if declared == Some(None) {
            members.remove("$schema");
        }
        if !members.contains_key("$defs")
            && mentions_defs
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

/// Whether a text in the document has this part.
fn mentions(json: &Json, part: &str) -> bool {
    match json {
        Json::String(text) => text.contains(part),
        Json::Array(items) => items.iter().any(|item| mentions(item, part)),
        Json::Object(members) => members.iter().any(|(_, member)| mentions(member, part)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
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
        members.retain(|name, value| !is_tolerated(name, value));
    });
}

/// Whether the reference takes a keyword with a value that the validator refuses.
fn is_tolerated(name: &str, value: &Value) -> bool {
    match name {
        "minLength" | "minItems" | "minProperties" => value.as_i64().is_some_and(|bound| bound < 0),
        "allOf" => value.as_array().is_some_and(Vec::is_empty),
        "definitions" | "$defs" => !value.is_object(),
        _ => false,
    }
}

fn is_tolerated_anywhere(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, member)| {
            is_tolerated(name, member) || (!is_data(name) && is_tolerated_anywhere(member))
        }),
        Value::Array(items) => items.iter().any(is_tolerated_anywhere),
        _ => false,
    }
}

/// Keywords whose values are data and no schemas.
fn is_data(name: &str) -> bool {
    matches!(name, "const" | "enum" | "default" | "examples")
}

/// Visits every object except those that are data.
fn each_subvalue(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            for (name, member) in members {
                if !is_data(name) {
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
