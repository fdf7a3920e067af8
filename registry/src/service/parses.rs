//! What one registration has parsed already: it is decided more than once (before it queues, in its
//! turn, again when a group was refused), and parsing is most of the work.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_formats::{ParseMode, ParsedSchema, ResolvedReference, SchemaFormat, TextForm};

/// Everything that a parse depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) format: SchemaFormat,
    pub(crate) text: String,
    pub(crate) references: Vec<ResolvedReference>,
    pub(crate) mode: ParseMode,
    pub(crate) normalize: bool,
    /// Apply the checks behind `validateFields`.
    pub(crate) validate_fields: bool,
}

/// A parse tree and the text to store; or what is wrong with the schema.
pub(crate) type Parsed = Result<(Arc<ParsedSchema>, String), Unparsed>;

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unparsed {
    /// Its text does not parse.
    Unreadable(String),
    /// It parses and is refused.
    Refused(String),
}

impl Unparsed {
    /// The reason, for the client.
    pub(crate) fn message(&self) -> &str {
        let (Self::Unreadable(message) | Self::Refused(message)) = self;
        message
    }
}

/// Parses by what they were made of.
#[derive(Debug, Default)]
pub(crate) struct Parses(Mutex<Vec<(Source, Parsed)>>);

/// A registration reads its schema as new and as known, rarely otherwise.
const PARSES_MAX: usize = 4;

impl Parses {
    /// The parse, made now if it is the first of its kind.
    pub(crate) fn get(&self, source: Source) -> Parsed {
        let known = |(made_of, _): &&(Source, Parsed)| *made_of == source;
        if let Some((_, parsed)) = self.0.lock().iter().find(known) {
            return parsed.clone();
        }
        let parsed = source.parse();
        let mut parses = self.0.lock();
        if parses.len() < PARSES_MAX {
            parses.push((source, parsed.clone()));
        }
        parsed
    }
}

impl Source {
    fn parse(&self) -> Parsed {
        let parse = |text: &str, mode| {
            ParsedSchema::parse(self.format, text, &self.references, mode)
                .map_err(|error| error.message)
        };
        let mut parsed = parse(&self.text, self.mode).map_err(Unparsed::Unreadable)?;
        if self.validate_fields {
            validate_fields(&parsed, &self.text).map_err(Unparsed::Refused)?;
        }
        let mut text = parsed.text(TextForm::Canonical);
        if self.normalize {
            let normalized = parsed.text(TextForm::Normalized);
            if normalized != text {
                // What is stored is what is compared from now on.
                parsed = parse(&normalized, ParseMode::Existing).map_err(Unparsed::Refused)?;
                text = normalized;
            }
        }
        Ok((Arc::new(parsed), text))
    }
}

/// JSON Schema: names starting with `$$` are kept for the server. Protobuf: `protoc` must take it.
fn validate_fields(parsed: &ParsedSchema, text: &str) -> Result<(), String> {
    parsed.check_fields().map_err(|error| error.message)?;
    if parsed.format() != SchemaFormat::Json {
        return Ok(());
    }
    let properties = serde_json::from_str::<serde_json::Value>(text).ok();
    let reserved = properties
        .as_ref()
        .and_then(|schema| schema.get("properties")?.as_object())
        .is_some_and(|properties| properties.keys().any(|name| name.starts_with("$$")));
    if reserved {
        return Err("#: Field names cannot start with $$ prefix".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_parsed_once_for_each_way_of_reading_it() {
        let source = |mode, text: &str| Source {
            format: SchemaFormat::Avro,
            text: text.to_owned(),
            references: Vec::new(),
            mode,
            normalize: false,
            validate_fields: false,
        };
        let parses = Parses::default();
        let tree = |mode| parses.get(source(mode, "\"int\"")).unwrap().0;
        assert!(Arc::ptr_eq(&tree(ParseMode::New), &tree(ParseMode::New)));
        assert!(!Arc::ptr_eq(
            &tree(ParseMode::New),
            &tree(ParseMode::Existing)
        ));
        let wrong = || {
            parses
                .get(source(ParseMode::New, "\"no such type\""))
                .unwrap_err()
        };
        assert_eq!(wrong(), wrong());
    }
}
