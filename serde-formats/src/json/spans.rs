//! Which bytes of a payload say which of its values.

use std::fmt::Write as _;

use jsonschema::json::{Array as _, Node as _, Object as _};

use super::explain::push_member;
use super::node::{TapeNode, View};
use super::tape::Tape;
use super::validate::check_syntax;
use crate::json_value::FieldSpan;
use crate::validator::Violation;

/// A span for every value, containers before what they hold. Of members with the same name only
/// the last one counts.
///
/// # Errors
/// When the payload is not one JSON value.
pub(super) fn spans(payload: &[u8]) -> Result<Vec<FieldSpan>, Violation> {
    let mut tape = Tape::default();
    let text = check_syntax(payload, &mut tape)?;
    let view = View::unlimited(text, &tape);
    let mut spans = Vec::new();
    add(TapeNode::root(&view), &mut "$".to_owned(), &mut spans);
    Ok(spans)
}

/// Adds a value and what it holds; recurses as deep as the payload nests, which is limited.
fn add(node: TapeNode<'_>, path: &mut String, spans: &mut Vec<FieldSpan>) {
    let (start, end) = node.span();
    spans.push(FieldSpan {
        path: path.clone(),
        start,
        end,
    });
    let length = path.len();
    if let Some(object) = node.as_object() {
        for (name, member) in object.members() {
            push_member(path, &name);
            add(member, path, spans);
            path.truncate(length);
        }
    }
    if let Some(array) = node.as_array() {
        for (index, element) in array.elements().enumerate() {
            write!(path, "[{index}]").unwrap_or_default();
            add(element, path, spans);
            path.truncate(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_bytes() {
        let payload = r#" {"a":[1, -2.5e0,{}],"b c":"\u00e9","a":null , "d":true} "#;
        let shown: Vec<String> = spans(payload.as_bytes())
            .expect("JSON")
            .iter()
            .map(|span| format!("{} {}", span.path, &payload[span.start..span.end]))
            .collect();
        assert_eq!(
            shown,
            [
                &format!("$ {}", payload.trim()),
                "$[\"b c\"] \"\\u00e9\"",
                "$.a null",
                "$.d true",
            ]
        );
        let nested = r#"{"lines":[{"qty":1},[[2]]]}"#;
        let paths: Vec<String> = spans(nested.as_bytes())
            .expect("JSON")
            .into_iter()
            .map(|span| format!("{} {}..{}", span.path, span.start, span.end))
            .collect();
        assert_eq!(
            paths,
            [
                "$ 0..27",
                "$.lines 9..26",
                "$.lines[0] 10..19",
                "$.lines[0].qty 17..18",
                "$.lines[1] 20..25",
                "$.lines[1][0] 21..24",
                "$.lines[1][0][0] 22..23",
            ]
        );
        assert!(spans(b"[1").is_err());
    }
}
