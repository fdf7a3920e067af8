//! A JSON Schema text: what it is stored as, named, and made of.

use std::sync::{Arc, OnceLock};

use jsonschema::Validator;

use super::documents::{Documents, is_unresolved};
use super::fast::{self, FastSchema};
use super::load::load;
use super::model::Model;
use super::node::TapeJson;
use super::patterns::PatternTotals;
use super::tape::PAYLOAD_DEPTH_MAX;
use super::text::{Json, Room};
use super::validate::{self, Burdens, JsonValidator, LEVELS_MAX, VISITS_PER_VALUE_MAX};
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
    compiled: OnceLock<Result<Compiled, CompileError>>,
}

/// What judges payloads, compiled once.
#[derive(Debug, Clone)]
struct Compiled {
    validator: Arc<Validator<TapeJson>>,
    fast: Option<Arc<FastSchema>>,
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
        let mut room = Room::default();
        let root = Json::parse_part(text, &mut room)?;
        if !matches!(root, Json::Object(_) | Json::Bool(_)) {
            let found = root.kind_name();
            return Err(ParseError::new(format!(
                "expected an object or boolean at the root, found {found}"
            )));
        }
        let references = references
            .iter()
            .map(|reference| {
                let json =
                    Json::parse_part(&reference.schema, &mut room).map_err(|error| ParseError {
                        message: format!("reference {:?}: {}", reference.name, error.message),
                        position: error.position,
                    })?;
                Ok((reference.name.clone(), json))
            })
            .collect::<Result<Vec<_>, ParseError>>()?;
        let documents = Documents::new(&root, &references);
        let model = load(&documents, mode);
        if let Err(error) = &model
            && (mode == ParseMode::New || !is_unresolved(error))
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
            schema.compile().map_err(|error| ParseError::new(error.0))?;
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
        let unusable = |error: &ParseError| CompileError(error.message.clone());
        let (burden, patterns) = if self.inner.documents.has_dialect() {
            let judged = self.inner.documents.for_validation();
            let model = load(&judged, ParseMode::Existing).map_err(|error| unusable(&error))?;
            (model.burden(), model.patterns)
        } else {
            let model = self.model().map_err(unusable)?;
            (model.burden(), model.patterns)
        };
        patterns.check().map_err(|error| unusable(&error))?;
        if burden.depth >= LEVELS_MAX || burden.visits > VISITS_PER_VALUE_MAX {
            return Err(CompileError(format!(
                "{} schemas, {} deep, have to be judged for one value; at most \
                 {VISITS_PER_VALUE_MAX} and {LEVELS_MAX} are",
                burden.visits, burden.depth
            )));
        }
        let compiled = self.compiled(burden.depth, patterns)?;
        Ok(JsonValidator::new(
            self.record_name(),
            compiled.validator,
            compiled.fast,
            Burdens {
                schemas_per_value: burden.depth,
                matching: patterns.costs,
            },
        ))
    }

    /// The schema's own text and its references.
    pub(super) fn documents(&self) -> &Documents {
        &self.inner.documents
    }

    /// What `compatibility` compares.
    pub(super) fn model(&self) -> Result<&Model, &ParseError> {
        self.inner.model.as_ref()
    }

    fn compiled(
        &self,
        schemas_per_value: usize,
        patterns: PatternTotals,
    ) -> Result<Compiled, CompileError> {
        let compile = || {
            let documents = &self.inner.documents.for_validation();
            // Payloads that nest deeper are refused over the tape, so not accepted before.
            let depth_max = (LEVELS_MAX / (schemas_per_value + 1)).saturating_sub(1);
            Ok(Compiled {
                validator: Arc::new(validate::compile(documents, patterns)?),
                fast: fast::compile(
                    documents,
                    depth_max.min(PAYLOAD_DEPTH_MAX),
                    patterns.costs.text,
                )
                .map(Arc::new),
            })
        };
        self.inner.compiled.get_or_init(compile).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str, schema: &str) -> ResolvedReference {
        ResolvedReference {
            name: name.to_owned(),
            subject: name.to_owned(),
            version: 1,
            schema: schema.to_owned(),
        }
    }

    #[test]
    fn references_resolve_by_name() {
        let address =
            r#"{"type":"object","required":["city"],"definitions":{"zip":{"type":"integer"}}}"#;
        for (root, name) in [
            (
                r#"{"properties":{"a":{"$ref":"address.json"}}}"#,
                "address.json",
            ),
            (
                r#"{"properties":{"a":{"$ref":"shared/address.json"}}}"#,
                "shared/address.json",
            ),
            (
                r#"{"properties":{"a":{"$ref":"ext.Address"}}}"#,
                "ext.Address",
            ),
            (
                r#"{"$id":"https://acme.com/root.json","properties":{"a":{"$ref":"address.json"}}}"#,
                "address.json",
            ),
            (
                r#"{"$id":"root","properties":{"a":{"$ref":"https://x.org/address.json"}}}"#,
                "https://x.org/address.json",
            ),
            (
                r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"a":{"$ref":"address.json"}}}"#,
                "address.json",
            ),
        ] {
            let schema = JsonSchema::parse(root, &[reference(name, address)], ParseMode::New)
                .unwrap_or_else(|error| panic!("{root}: {error}"));
            let validator = schema.compile().expect("compiles");
            let mut scratch = super::super::JsonScratch::default();
            let mut judge = |payload: &[u8]| {
                validator
                    .validate(payload, Default::default(), &mut scratch)
                    .is_ok()
            };
            assert!(judge(br#"{"a":{"city":"x"}}"#), "{root}");
            assert!(!judge(br#"{"a":{}}"#), "{root}");
        }
        let chain = [
            reference(
                "b.json",
                r#"{"properties":{"c":{"$ref":"c.json#/definitions/zip"}}}"#,
            ),
            reference("c.json", address),
        ];
        assert!(JsonSchema::parse(r#"{"$ref":"b.json"}"#, &chain, ParseMode::New).is_ok());
    }

    #[test]
    fn remote_schemas_are_never_fetched() {
        let text = r#"{"$ref":"http://localhost:1/x.json"}"#;
        let error = JsonSchema::parse(text, &[], ParseMode::New).expect_err("remote");
        assert!(
            error
                .message
                .contains("remote schema reference fetching is disabled"),
            "{error}"
        );
        let kept = JsonSchema::parse(text, &[], ParseMode::Existing).expect("already stored");
        assert!(kept.compile().is_err());
        assert!(!super::super::compare(&kept, &kept, Default::default()).is_empty());
        let java_only = r#"{"pattern":"(?<!a)++"}"#;
        assert!(JsonSchema::parse(java_only, &[], ParseMode::New).is_err());
        let kept = JsonSchema::parse(java_only, &[], ParseMode::Existing).expect("already stored");
        assert!(kept.compile().is_err());
        let metaschema = r#"{"$ref":"http://json-schema.org/draft-07/schema#"}"#;
        assert!(JsonSchema::parse(metaschema, &[], ParseMode::New).is_ok());
    }

    #[test]
    fn refuses_what_is_no_schema() {
        for text in [
            "[]",
            "1",
            "null",
            "",
            r#"{"type":"nope"}"#,
            r#"{"properties":[]}"#,
            r#"{"pattern":"("}"#,
            r##"{"$ref":"#/definitions/missing"}"##,
            r#"{"required":"a"}"#,
            r#"{"maxLength":"3"}"#,
            r#"{"items":"string"}"#,
            r#"{"not":1}"#,
            r#"{"minimum":true}"#,
            r#"{"maxLength":-1}"#,
        ] {
            assert!(
                JsonSchema::parse(text, &[], ParseMode::New).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn values_are_checked_when_encoded() {
        let schema = JsonSchema::parse(
            r#"{"title":"T","properties":{"a":{"type":"integer"}}}"#,
            &[],
            ParseMode::New,
        )
        .expect("schema");
        let value = serde_json::json!({"b": 1.5, "a": 1});
        let payload = super::super::encode_json(&schema, &value).expect("fits");
        assert_eq!(payload, br#"{"b":1.5,"a":1}"#);
        assert_eq!(super::super::decode_json(&schema, &payload), Ok(value));
        let error =
            super::super::encode_json(&schema, &serde_json::json!({"a": "x"})).expect_err("type");
        assert_eq!(error.path, "$.a");
        assert_eq!(schema.record_name().as_deref(), Some("T"));
    }
}
