//! The naming style that edition 2024 enforces unless a file opts out.

use super::super::ast::{At, EnumType};
use super::LinkError;

const OPT_OUT: &str = "features.enforce_naming_style = STYLE_LEGACY opts out";

fn check(good: bool, at: At, what: &str, name: &str, style: &str) -> Result<(), LinkError> {
    if good {
        return Ok(());
    }
    Err(LinkError::new(
        at,
        format!("{what} name {name} should be {style}; {OPT_OUT}"),
    ))
}

/// `TitleCase`: messages, enums, services and methods.
pub(super) fn title(what: &str, name: &str, at: At) -> Result<(), LinkError> {
    let good = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    check(good, at, what, name, "TitleCase")
}

/// `lower_snake_case`: fields and oneofs.
pub(super) fn lower_snake(what: &str, name: &str, at: At) -> Result<(), LinkError> {
    check(is_lower_snake(name), at, what, name, "lower_snake_case")
}

/// Each part of a package is `lower_snake_case`.
pub(super) fn package(name: &str, at: At) -> Result<(), LinkError> {
    let good = name.is_empty() || name.split('.').all(is_lower_snake);
    check(good, at, "package", name, "lower_snake_case")
}

/// `TitleCase`, with values in `UPPER_SNAKE_CASE`.
pub(super) fn enum_type(node: &EnumType) -> Result<(), LinkError> {
    title("enum", &node.name, node.at)?;
    for constant in &node.constants {
        let name = constant.name.as_str();
        let good = name.chars().all(|c| !c.is_ascii_lowercase()) && has_good_underscores(name);
        check(good, constant.at, "enum value", name, "UPPER_SNAKE_CASE")?;
    }
    Ok(())
}

fn is_lower_snake(name: &str) -> bool {
    name.chars().all(|c| !c.is_ascii_uppercase()) && has_good_underscores(name)
}

/// A letter follows each underscore, and the name starts with a letter.
fn has_good_underscores(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .split('_')
            .all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
}
