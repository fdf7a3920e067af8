//! Judges payload bytes against a compiled schema.
//!
//! A valid payload is checked for syntax, put on the tape and judged there; nothing is allocated
//! once the scratch is warm. Only a refused payload is judged a second time, for its reason.

use std::fmt::Write as _;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::json::Node as _;
use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::documents::{Documents, NoFetch};
use super::node::{TapeJson, TapeNode, View};
use super::tape::{SyntaxError, Tape};
use crate::validator::{
    CompileError, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct JsonValidator {
    record_name: Option<String>,
    validator: Arc<Validator<TapeJson>>,
}

/// Memory reused from payload to payload.
#[derive(Debug, Default)]
pub struct JsonScratch {
    tape: Tape,
}

impl JsonValidator {
    pub(super) const fn new(
        record_name: Option<String>,
        validator: Arc<Validator<TapeJson>>,
    ) -> Self {
        Self {
            record_name,
            validator,
        }
    }

    /// The schema's `title`, which record-name strategies use.
    #[must_use]
    pub fn record_name(&self) -> Option<&str> {
        self.record_name.as_deref()
    }

    /// Judges one payload: strict RFC 8259 syntax, then (unless the level is
    /// [`ValidationLevel::Decode`]) the schema. Of duplicate member names the last counts.
    ///
    /// # Errors
    /// The first violation. Its detail names keywords and what the schema expects, never a value
    /// of the payload.
    pub fn validate(
        &self,
        payload: &[u8],
        options: ValidationOptions,
        scratch: &mut JsonScratch,
    ) -> Result<(), Violation> {
        let text = check_syntax(payload, &mut scratch.tape)?;
        if options.level == ValidationLevel::Decode {
            return Ok(());
        }
        let view = View {
            text,
            tape: &scratch.tape,
        };
        let root = TapeNode::root(&view);
        if self.validator.is_valid(root) {
            return Ok(());
        }
        match self.validator.validate(root) {
            Err(error) => Err(violation(root, &error)),
            // Both answers come from one compiled schema; should they ever differ, refuse.
            Ok(()) => Err(Violation {
                reason: ViolationReason::Constraint,
                path: "$".to_owned(),
                byte_offset: 0,
                detail: "payload does not fit the schema".to_owned(),
            }),
        }
    }
}

/// Largest compiled regular expression, and largest lazy state table, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Steps a backtracking regular expression may take on one string before the payload is refused.
const REGEX_STEPS_MAX: usize = 100_000;
/// Longest detail text: an enum of thousands of symbols is not a message.
const DETAIL_CHARS_MAX: usize = 400;

fn pattern_options() -> PatternOptions<jsonschema::FancyRegex> {
    PatternOptions::fancy_regex()
        .backtrack_limit(REGEX_STEPS_MAX)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
}

/// Compiles the validator of a schema.
pub(super) fn compile(documents: &Documents) -> Result<Validator<TapeJson>, CompileError> {
    let documents = documents.for_validation();
    let registry = documents
        .reference_registry()
        .map_err(|error| CompileError(error.message))?;
    jsonschema::options_for::<TapeJson>()
        .with_draft(documents.draft)
        .with_registry(&registry)
        .with_retriever(NoFetch)
        .with_pattern_options(pattern_options())
        .build(&documents.root)
        .map_err(|error| {
            let place = error.instance_path();
            CompileError(format!("#{place}: {error}"))
        })
}

/// Something that tells whether a pattern is found in a text; `None` when it does not compile.
pub(super) fn pattern_matcher(pattern: &str) -> Option<impl Fn(&str) -> bool + use<>> {
    let schema = serde_json::json!({ "pattern": pattern });
    let validator = jsonschema::options()
        .with_pattern_options(pattern_options())
        .build(&schema)
        .ok()?;
    Some(move |text: &str| validator.is_valid(&Value::String(text.to_owned())))
}

/// Checks that a payload is one JSON value and records where its values are.
pub(super) fn check_syntax<'p>(payload: &'p [u8], tape: &mut Tape) -> Result<&'p str, Violation> {
    let text = match simdutf8::basic::from_utf8(payload) {
        Ok(text) => text,
        Err(_) => {
            let valid = std::str::from_utf8(payload).map_or_else(|e| e.valid_up_to(), str::len);
            return Err(Violation {
                reason: ViolationReason::InvalidUtf8,
                path: "$".to_owned(),
                byte_offset: valid,
                detail: "payload is not UTF-8".to_owned(),
            });
        }
    };
    tape.parse(text).map_err(
        |SyntaxError {
             reason,
             offset,
             detail,
         }| Violation {
            reason,
            path: "$".to_owned(),
            byte_offset: offset,
            detail: detail.to_owned(),
        },
    )?;
    Ok(text)
}

/// Says where and why, in words that hold no value of the payload.
fn violation(root: TapeNode<'_>, error: &ValidationError<'_>) -> Violation {
    let error = most_telling(error);
    let mut place = Place::new(root);
    for segment in error.instance_path().segments() {
        match segment {
            LocationSegment::Property(name) => place.enter_member(&name),
            LocationSegment::Index(index) => place.enter_element(index),
        }
    }
    let kind = error.kind();
    let keyword = kind.keyword();
    let (reason, detail) = match kind {
        ValidationErrorKind::Required { property } => (
            ViolationReason::MissingRequired,
            format!("required: property {property} is missing"),
        ),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            if let Some(name) = unexpected.first() {
                place.enter_member(name);
            }
            (
                ViolationReason::UnknownField,
                format!("{keyword}: the schema does not declare this property"),
            )
        }
        ValidationErrorKind::AdditionalItems { limit } => (
            ViolationReason::Constraint,
            format!("{keyword}: array has more than {limit} items"),
        ),
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => (
            ViolationReason::EnumOutOfRange,
            format!("{keyword}: {}", error.masked_with("value")),
        ),
        ValidationErrorKind::Type { .. } => (
            ViolationReason::Constraint,
            format!(
                "{keyword}: {}, found {}",
                error.masked_with("value"),
                place.node.json_type()
            ),
        ),
        ValidationErrorKind::PropertyNames { error } => (
            ViolationReason::Constraint,
            format!("{keyword}: {}", error.masked_with("a member name")),
        ),
        ValidationErrorKind::FalseSchema => (
            ViolationReason::Constraint,
            "the schema allows no value here".to_owned(),
        ),
        _ => (
            ViolationReason::Constraint,
            format!("{keyword}: {}", error.masked_with("value")),
        ),
    };
    Violation {
        reason,
        path: place.path,
        byte_offset: place.node.offset(),
        detail: shortened(detail),
    }
}

/// For `anyOf` and `oneOf`, the error of the alternative that was most likely meant: one that got
/// further into the value, or the only one that took the value's type.
fn most_telling<'e>(error: &'e ValidationError<'e>) -> &'e ValidationError<'e> {
    let mut error = error;
    loop {
        let (ValidationErrorKind::AnyOf { context }
        | ValidationErrorKind::OneOfNotValid { context }) = error.kind()
        else {
            return error;
        };
        let own_depth = error.instance_path().segments().count();
        let mut candidates = context
            .iter()
            .filter_map(|errors| errors.first())
            .filter(|nested| {
                nested.instance_path().segments().count() > own_depth
                    || !matches!(nested.kind(), ValidationErrorKind::Type { .. })
            });
        match (candidates.next(), candidates.next()) {
            (Some(nested), None) => error = nested,
            _ => return error,
        }
    }
}

fn shortened(detail: String) -> String {
    match detail.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", detail.get(..end).unwrap_or_default()),
        None => detail,
    }
}

/// A value of the payload and the path that leads to it.
struct Place<'a> {
    node: TapeNode<'a>,
    path: String,
}

impl<'a> Place<'a> {
    fn new(root: TapeNode<'a>) -> Self {
        Self {
            node: root,
            path: "$".to_owned(),
        }
    }

    fn enter_member(&mut self, name: &str) {
        if let Some(member) = self.node.as_object().and_then(|object| object.member(name)) {
            self.node = member;
        }
        push_member(&mut self.path, name);
    }

    fn enter_element(&mut self, index: usize) {
        if let Some(element) = self.node.as_array().and_then(|array| array.element(index)) {
            self.node = element;
        }
        write!(self.path, "[{index}]").unwrap_or_default();
    }
}

/// Appends `.name`, or `["name"]` for a name that is not an identifier.
pub(super) fn push_member(path: &mut String, name: &str) {
    let plain = name
        .chars()
        .enumerate()
        .all(|(at, c)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_alphanumeric()));
    if plain && !name.is_empty() {
        path.push('.');
        path.push_str(name);
    } else {
        write!(path, "[{}]", Value::from(name)).unwrap_or_default();
    }
}
