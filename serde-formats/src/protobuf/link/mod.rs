//! A file and the files it imports, linked: what `protoc` does between parsing and writing
//! descriptors.
//!
//! | file | what it does |
//! |---|---|
//! | `imports` | which files take part, in which order |
//! | `symbols` | every declared name, and look-up by the rules of C++ |
//! | `features` | what editions let a place choose |
//! | `build`, `model` | the tree to resolved messages and fields |
//! | `rules`, `enums`, `extensions`, `style` | what `protoc` refuses in names and numbers |
//! | `options`, `values` | what it refuses in options and their values |
//! | `lower` | the linked files as descriptors, for reflection |
//!
//! Knows nothing of payloads. Errors say where in the file they are, and in which file unless it
//! is the schema itself.

mod build;
mod enums;
mod extensions;
mod features;
mod imports;
mod lower;
mod model;
mod options;
mod rules;
mod style;
mod symbols;
mod values;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::Reference;
use super::ast::{At, ProtoFile};
use crate::schema::ParseError;

pub(super) use self::features::{Features, Presence, chosen};
pub(super) use self::lower::{lower, lower_for_reflection};
pub(super) use self::model::{LinkedEnum, LinkedField, LinkedFile, LinkedKind, LinkedMessage};

/// Most types of a schema and the files it imports.
const MAX_TYPES: usize = 100_000;

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// What `protoc` checks.
    Protoc,
    /// As `protoc`, save that an option nobody declares passes, and that types the registry knows
    /// need no import: the reference registers both.
    Registration,
    /// Only what decides how bytes are read: imports that are missing and options pass.
    Wire,
}

/// A parsed file and its import path.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceFile<'a> {
    pub(super) path: &'a str,
    pub(super) node: &'a ProtoFile,
}

/// Why files do not link.
#[derive(Debug)]
pub(super) struct LinkError {
    at: At,
    message: String,
}

impl LinkError {
    fn new(at: At, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// The error as users see it; `path` is that of a file other than the schema's own.
    fn in_file(self, path: Option<&str>) -> ParseError {
        let position = (self.at.line > 0).then_some((self.at.line, self.at.column));
        let Some(path) = path else {
            return ParseError {
                message: self.message,
                position,
            };
        };
        let place = position.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        ParseError::new(format!("in {path}{place}: {}", self.message))
    }
}

/// Links `root` with what it imports from `references` and the files every registry knows; the
/// last file answered is the root.
///
/// # Errors
/// The first rule broken.
pub(super) fn link(
    root: &ProtoFile,
    references: &[Reference],
    strictness: Strictness,
) -> Result<Vec<LinkedFile>, ParseError> {
    let loaded = imports::load(root, references, strictness)?;
    let own = loaded.len().saturating_sub(1);
    let path_of = |position: usize| {
        let file = loaded.get(position).filter(|_| position != own);
        file.map(|file| file.source.path)
    };
    let types: usize = loaded
        .iter()
        .map(|file| count_types(file.source.node))
        .sum();
    if types > MAX_TYPES {
        return Err(ParseError::new(format!(
            "the schema and its imports declare {types} types, more than {MAX_TYPES}"
        )));
    }
    let mut symbols = symbols::Symbols::default();
    let mut extended = HashMap::new();
    let mut linked = Vec::with_capacity(loaded.len());
    // The options' own file is there for checking; it is linked where it is imported.
    let imported = |file: &imports::Loaded<'_>| file.imports.iter().any(|(_, place)| *place == 0);
    let needs_options = own == 0 || loaded.iter().any(imported);
    let is_options = |file: &imports::Loaded<'_>| file.source.path == imports::DESCRIPTOR;
    for (position, file) in loaded.iter().enumerate() {
        let checked = check_before(file, strictness)
            .and_then(|()| symbols.declare(position, file.source, strictness));
        checked.map_err(|error| error.in_file(path_of(position)))?;
        if position == 0 && is_options(file) && !needs_options {
            continue;
        }
        let strict = strictness != Strictness::Wire && !file.known;
        let view = strict.then(|| imports::view(&loaded, position));
        let option_view = view
            .as_ref()
            .map(|view| imports::option_view(&loaded, position, view));
        let mut builder = build::Builder {
            symbols: &symbols,
            files: &loaded,
            view: view.as_ref(),
            option_view: option_view.as_ref(),
            position,
            strict,
            unknown_options: strictness == Strictness::Registration,
            extended: &mut extended,
        };
        let built = builder.file();
        linked.push(built.map_err(|error| error.in_file(path_of(position)))?);
    }
    Ok(linked)
}

/// What the text alone shows to be wrong.
fn check_before(file: &imports::Loaded<'_>, strictness: Strictness) -> Result<(), LinkError> {
    if strictness == Strictness::Wire {
        return Ok(());
    }
    if let Some(objection) = &file.source.node.objection {
        let (line, column) = objection.position.unwrap_or_default();
        return Err(LinkError::new(
            At { line, column },
            objection.message.clone(),
        ));
    }
    Ok(())
}

fn count_types(file: &ProtoFile) -> usize {
    fn nested(message: &super::ast::Message) -> usize {
        1 + message.enums.len() + message.messages.iter().map(nested).sum::<usize>()
    }
    file.enums.len() + file.messages.iter().map(nested).sum::<usize>()
}
