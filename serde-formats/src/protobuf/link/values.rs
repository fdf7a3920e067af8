//! Whether a value fits the type it is given to: defaults of fields, and values of options.

use super::super::ast::{At, EnumType, Scalar, Value};
use super::super::parse_text::parse_magnitude;
use super::LinkError;
use super::model::{LinkedField, LinkedKind};

/// Checks a field's default; `values` is its enum's node.
pub(super) fn default(
    field: &LinkedField,
    value: &Value,
    values: Option<&EnumType>,
    at: At,
) -> Result<(), LinkError> {
    if field.repeated {
        return Err(LinkError::new(at, "a repeated field cannot have a default"));
    }
    let misfit = match &field.kind {
        LinkedKind::Message(_) | LinkedKind::Group(_) => Some("a message cannot have a default"),
        LinkedKind::Enum(name) => {
            let Value::Word(word) = value else {
                return Err(LinkError::new(at, "the default of an enum must be a name"));
            };
            let known = values
                .is_some_and(|node| node.constants.iter().any(|constant| constant.name == *word));
            if !known {
                return Err(LinkError::new(
                    at,
                    format!("enum \"{name}\" has no value named \"{word}\""),
                ));
            }
            None
        }
        LinkedKind::Scalar(scalar) => misfit(*scalar, value, Form::Statement),
    };
    match misfit {
        Some(what) => Err(LinkError::new(
            at,
            format!("the default of field \"{}\": {what}", field.name),
        )),
        None => Ok(()),
    }
}

/// Where a value stands, which decides how it may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// After `=`.
    Statement,
    /// Inside a message in text format, which takes more spellings.
    Text,
}

/// What a scalar of this type expects, when `value` is not that.
pub(super) fn misfit(scalar: Scalar, value: &Value, form: Form) -> Option<&'static str> {
    let range = |low: i128, high: i128| match integer(value) {
        Some(number) => low <= number && number <= high,
        None => false,
    };
    let (fits, wanted) = match scalar {
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => (
            range(i32::MIN.into(), i32::MAX.into()),
            "expected an integer of 32 bits",
        ),
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => (
            range(i64::MIN.into(), i64::MAX.into()),
            "expected an integer of 64 bits",
        ),
        Scalar::Uint32 | Scalar::Fixed32 => (
            range(0, u32::MAX.into()),
            "expected an unsigned integer of 32 bits",
        ),
        Scalar::Uint64 | Scalar::Fixed64 => (
            range(0, u64::MAX.into()),
            "expected an unsigned integer of 64 bits",
        ),
        Scalar::Float | Scalar::Double => (is_number(value, form), "expected a number"),
        Scalar::Bool => (is_bool(value, form), "expected 'true' or 'false'"),
        Scalar::String | Scalar::Bytes => (
            matches!(value, Value::String(_)),
            "expected a string in quotes",
        ),
    };
    (!fits).then_some(wanted)
}

/// The value as an integer.
pub(super) fn integer(value: &Value) -> Option<i128> {
    let Value::Number(text) = value else {
        return None;
    };
    match text.strip_prefix('-') {
        Some(digits) => parse_magnitude(digits).map(|number| -i128::from(number)),
        None => parse_magnitude(text).map(i128::from),
    }
}

fn is_number(value: &Value, form: Form) -> bool {
    match value {
        Value::Number(text) => {
            let text = text.strip_prefix('-').unwrap_or(text);
            let suffixed = text.ends_with(['f', 'F']) && !text.starts_with("0x") && text != "inf";
            if suffixed && form == Form::Statement {
                return false;
            }
            text.starts_with(|c: char| c.is_ascii_digit() || c == '.') || is_special(text, form)
        }
        Value::Word(word) => is_special(word, form),
        _ => false,
    }
}

fn is_special(word: &str, form: Form) -> bool {
    match form {
        Form::Statement => matches!(word, "inf" | "nan"),
        Form::Text => ["inf", "infinity", "nan"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known)),
    }
}

fn is_bool(value: &Value, form: Form) -> bool {
    match value {
        Value::Word(word) => match form {
            Form::Statement => matches!(word.as_str(), "true" | "false"),
            Form::Text => matches!(
                word.as_str(),
                "true" | "True" | "t" | "false" | "False" | "f"
            ),
        },
        Value::Number(_) => form == Form::Text && matches!(integer(value), Some(0 | 1)),
        _ => false,
    }
}
