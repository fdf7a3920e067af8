//! The canonical text of JSON, whether or not it is a schema.

use super::text::Json;
use crate::schema::ParseError;

/// The text that a JSON Schema is stored under, without asking whether it is one: imports keep what
/// the registry they come from accepted.
///
/// # Errors
/// When the text is not JSON, or its root neither an object nor a boolean.
pub fn canonical_text(text: &str) -> Result<String, ParseError> {
    let tree = Json::parse(text)?;
    match tree {
        Json::Object(_) | Json::Bool(_) => Ok(tree.canonical()),
        other => Err(ParseError::new(format!(
            "expected an object or boolean at the root, found {}",
            other.kind_name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical_text;

    #[test]
    fn any_object_has_a_canonical_text() {
        for (text, expected) in [
            (r#"{ "type" : "nope" }"#, Some(r#"{"type":"nope"}"#)),
            ("true", Some("true")),
            ("[1]", None),
            ("{", None),
        ] {
            assert_eq!(canonical_text(text).ok().as_deref(), expected, "{text}");
        }
    }
}
