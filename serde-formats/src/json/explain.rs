//! Why a payload was refused, in words that hold none of its values.

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::json::Node as _;
use jsonschema::paths::LocationSegment;
use serde_json::Value;

use super::node::TapeNode;
use crate::validator::{Violation, ViolationReason};

/// Longest detail text: an enum of thousands of symbols is not a message.
const DETAIL_CHARS_MAX: usize = 400;

/// One reason to refuse a payload.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Names and positions that lead to the refused value.
    pub(super) segments: Vec<String>,
    pub(super) keyword: String,
    pub(super) violation: Violation,
}

impl Refusal {
    pub(super) fn of(root: TapeNode<'_>, error: &ValidationError<'_>) -> Self {
        Self {
            segments: segments(error),
            keyword: error.kind().keyword().to_owned(),
            violation: violation(root, error),
        }
    }
}

fn segments(error: &ValidationError<'_>) -> Vec<String> {
    error
        .instance_path()
        .segments()
        .map(|segment| match segment {
            LocationSegment::Property(name) => name.to_string(),
            LocationSegment::Index(index) => index.to_string(),
        })
        .collect()
}

/// Says where and why, in words that hold no value of the payload.
pub(super) fn violation(root: TapeNode<'_>, error: &ValidationError<'_>) -> Violation {
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
        ValidationErrorKind::BacktrackLimitExceeded { .. }
        | ValidationErrorKind::RegexEngineFailure { .. } => (
            ViolationReason::LimitExceeded,
            format!("{keyword}: the regular expression takes too long on this value"),
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

/// Cut to a length that is still a message.
pub(super) fn shortened(detail: String) -> String {
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
    let plain = name.chars().enumerate().all(|(at, c)| {
        c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_alphanumeric())
    });
    if plain && !name.is_empty() {
        path.push('.');
        path.push_str(name);
    } else {
        write!(path, "[{}]", Value::from(name)).unwrap_or_default();
    }
}
