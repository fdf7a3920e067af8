//! A JSON Schema text: what it is stored as, named, and made of.

use std::sync::{Arc, OnceLock};

use jsonschema::Validator;

use super::documents::Documents;
use super::load::load;
use super::model::Model;
use super::node::TapeJson;
use super::text::Json;
use super::validate::{self, JsonValidator};
use crate::schema::{ParseError, ParseMode, ResolvedReference, TextForm};
use crate::validator::CompileError;

/// A JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12, as its `$schema` says; draft 7 when it says
/// nothing known.
#[derive(Debug, Clone)]
pub struct JsonSchema {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    text: Json,
    documents: Documents,
    /// What is compared; an error for a stored schema whose references are out of reach.
    model: Result<Model, ParseError>,
    compiled: OnceLock<Result<Arc<Validator<TapeJson>>, CompileError>>,
}

impl JsonSchema {
    /// Parses a schema text.
    ///
    /// `$ref`s resolve within the text, to references by name (relative to the schema's `$id`),
    /// and to the published metaschemas. Remote schemas are never fetched: a new schema that
    /// refers to one is refused, an existing one is kept but can be neither compiled nor compared.
    ///
    /// # Errors
    /// When the text is not JSON, its root is neither object nor boolean, a keyword has the wrong
    /// kind of value, a `$ref` does not resolve, a limit on size or depth is passed; and for a new
    /// schema, when it cannot be executed.
    pub fn parse(
        text: &str,
        references: &[ResolvedReference],
        mode: ParseMode,
    ) -> Result<Self, ParseError> {
        let root = Json::parse(text)?;
        if !matches!(root, Json::Object(_) | Json::Bool(_)) {
            let found = root.kind_name();
            return Err(ParseError::new(format!(
                "expected an object or boolean at the root, found {found}"
            )));
        }
        let references = references
            .iter()
            .map(|reference| {
                let json = Json::parse(&reference.schema).map_err(|error| ParseError {
                    message: format!("reference {:?}: {}", reference.name, error.message),
                    position: error.position,
                })?;
                Ok((reference.name.clone(), json))
            })
            .collect::<Result<Vec<_>, ParseError>>()?;
        let documents = Documents::new(&root, &references);
        let model = load(&documents);
        if let Err(error) = &model
            && (mode == ParseMode::New || !error.message.starts_with("unresolved $ref"))
        {
            return Err(error.clone());
        }
        let schema = Self {
            inner: Arc::new(Inner {
                text: root,
                documents,
                model,
                compiled: OnceLock::new(),
            }),
        };
        if mode == ParseMode::New {
            schema
                .validator()
                .map_err(|error| ParseError::new(error.0))?;
        }
        Ok(schema)
    }

    /// The text in the wanted form: compact with keys as written, or with keys sorted.
    #[must_use]
    pub fn text(&self, form: TextForm) -> String {
        match form {
            TextForm::Normalized => self.inner.text.normalized(),
            TextForm::Canonical
            | TextForm::Resolved
            | TextForm::Serialized
            | TextForm::IgnoreExtensions => self.inner.text.canonical(),
        }
    }

    /// The `title`, if it is a text.
    #[must_use]
    pub fn record_name(&self) -> Option<String> {
        match self.inner.text.get("title") {
            Some(Json::String(title)) => Some(title.clone()),
            _ => None,
        }
    }

    /// Whether both have the same canonical text, so the order of keys counts.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }

    /// Compiles the validator; compiled once, shared by all that ask.
    ///
    /// # Errors
    /// When the schema is stored but cannot be executed: it breaks its metaschema, a reference is
    /// out of reach, or a regular expression is unknown or past the size limit.
    pub fn compile(&self) -> Result<JsonValidator, CompileError> {
        Ok(JsonValidator::new(self.record_name(), self.validator()?))
    }

    /// What `compatibility` compares.
    pub(super) fn model(&self) -> Result<&Model, &ParseError> {
        self.inner.model.as_ref()
    }

    fn validator(&self) -> Result<Arc<Validator<TapeJson>>, CompileError> {
        self.inner
            .compiled
            .get_or_init(|| validate::compile(&self.inner.documents).map(Arc::new))
            .clone()
    }
}
