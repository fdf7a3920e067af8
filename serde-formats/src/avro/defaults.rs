//! Whether defaults fit their types.
//!
//! Bounded: defaults fill in for one another inside, which takes time without measure otherwise.
//! Source: Avro Java 1.12 `Schema.isValidDefault`.

use std::collections::HashMap;

use super::json_text::Json;
use super::model::{Kind, Model, TypeId};
use super::parse::excerpt;
use crate::schema::ParseError;

/// Deepest nesting of defaults that fill in for one another before a default counts as invalid.
const DEFAULT_DEPTH_MAX: usize = 64;

/// Most values looked at to check all defaults, every union branch tried counted.
pub(super) const DEFAULT_STEPS_MAX: u32 = 1_000_000;

/// Entries of a default from which on they are looked up by a table.
const TABLE_ENTRIES: usize = 16;

/// Checks the default of a field.
///
/// # Errors
/// When it does not fit the field's type.
pub(super) fn check(
    model: &Model,
    record: TypeId,
    position: usize,
    steps_left: &mut u32,
) -> Result<(), ParseError> {
    let Kind::Record { fields, .. } = &model.get(record).kind else {
        return Ok(());
    };
    let Some(field) = fields.get(position) else {
        return Ok(());
    };
    let Some(default) = &field.default else {
        return Ok(());
    };
    if is_valid_default(model, field.ty, default, 0, steps_left) {
        return Ok(());
    }
    Err(ParseError::new(format!(
        "invalid default for field {}: {} not a {}",
        field.name,
        excerpt(default),
        model.get(field.ty).branch_name()
    )))
}

/// Why Apache's readers fail where they need this default, though [`check`] lets it pass: they do not
/// look for the branch of a union that it fits, but take the first whose kind it may be, and that is
/// any record, enum, array or map; nor is it known before whether a symbol is one of its enum.
/// `steps_left` bounds the search. Source: Avro Java 1.12 `ResolvingGrammarGenerator.encode`.
pub(super) fn unreadable(
    model: &Model,
    ty: TypeId,
    value: &Json,
    steps_left: &mut u32,
) -> Option<String> {
    let mut open = vec![(ty, value)];
    while let Some((id, value)) = open.pop() {
        let ty = model.get(id);
        let steps = match (&ty.kind, value) {
            (Kind::Enum { symbols, .. }, _) => symbols.len(),
            (Kind::Record { fields, .. }, Json::Object(entries)) => {
                fields.len().saturating_mul(1 + entries.len())
            }
            (Kind::Record { fields, .. }, _) => fields.len(),
            _ => 0,
        };
        let steps = u32::try_from(steps.saturating_add(1)).unwrap_or(u32::MAX);
        *steps_left = steps_left.checked_sub(steps)?;
        let is_taken = match (&ty.kind, value) {
            (Kind::Enum { symbols, .. }, _) => value
                .as_str()
                .is_some_and(|symbol| symbols.iter().any(|own| own == symbol)),
            (Kind::Array(items), Json::Array(values)) => {
                open.extend(values.iter().map(|value| (*items, value)));
                true
            }
            (Kind::Map(values), Json::Object(entries)) => {
                open.extend(entries.iter().map(|(_, value)| (*values, value)));
                true
            }
            (Kind::Union(branches), _) => {
                let mut branches = branches.iter();
                let branch = branches.find(|branch| may_be(&model.get(**branch).kind, value));
                open.extend(branch.map(|branch| (*branch, value)));
                branch.is_some()
            }
            (Kind::Record { fields, .. }, _) => {
                for field in fields {
                    match value.get(&field.name).or(field.default.as_ref()) {
                        Some(value) => open.push((field.ty, value)),
                        None => {
                            return Some(format!(
                                "{} is taken for a record {}, and field {} has no default",
                                excerpt(value),
                                ty.branch_name(),
                                field.name
                            ));
                        }
                    }
                }
                true
            }
            (kind, _) => may_be(kind, value),
        };
        if !is_taken {
            let told = match ty.header() {
                Some(header) => format!("{} {}", ty.word(), header.name.full()),
                None => ty.word().to_owned(),
            };
            return Some(format!("{} is taken for {told}", excerpt(value)));
        }
    }
    None
}

/// Whether Apache's readers take a default for one of this kind of type.
const fn may_be(kind: &Kind, value: &Json) -> bool {
    match kind {
        Kind::Null => matches!(value, Json::Null),
        Kind::Boolean => matches!(value, Json::Bool(_)),
        Kind::Int | Kind::Long | Kind::Float | Kind::Double => {
            matches!(value, Json::Int(_) | Json::Double(_))
        }
        Kind::Bytes | Kind::String | Kind::Fixed { .. } => matches!(value, Json::String(_)),
        _ => true,
    }
}

/// Whether a default fits its type: of a union, any branch will do.
/// `steps_left` bounds the tries; without any left nothing fits.
pub(super) fn is_valid_default(
    model: &Model,
    ty: TypeId,
    value: &Json,
    depth: usize,
    steps_left: &mut u32,
) -> bool {
    *steps_left = steps_left.saturating_sub(1);
    if depth > DEFAULT_DEPTH_MAX || *steps_left == 0 {
        return false;
    }
    match (&model.get(ty).kind, value) {
        (Kind::String | Kind::Bytes | Kind::Enum { .. } | Kind::Fixed { .. }, Json::String(_))
        | (Kind::Float | Kind::Double, Json::Int(_) | Json::Double(_))
        | (Kind::Boolean, Json::Bool(_))
        | (Kind::Null, Json::Null) => true,
        (Kind::Float | Kind::Double, Json::String(text)) => {
            ["NaN", "Infinity", "-Infinity"].contains(&text.as_str())
        }
        (Kind::Int, Json::Int(digits)) => digits.parse::<i32>().is_ok(),
        (Kind::Long, Json::Int(digits)) => digits.parse::<i64>().is_ok(),
        (Kind::Array(items), Json::Array(values)) => values
            .iter()
            .all(|v| is_valid_default(model, *items, v, depth + 1, steps_left)),
        (Kind::Map(values), Json::Object(entries)) => entries
            .iter()
            .all(|(_, v)| is_valid_default(model, *values, v, depth + 1, steps_left)),
        (Kind::Union(branches), _) => branches
            .iter()
            .any(|b| is_valid_default(model, *b, value, depth + 1, steps_left)),
        (Kind::Record { fields, .. }, Json::Object(entries)) => {
            let is_long = entries.len() >= TABLE_ENTRIES;
            let table: HashMap<&str, &Json> = match is_long {
                true => entries.iter().map(|(k, v)| (k.as_str(), v)).collect(),
                false => HashMap::new(),
            };
            let looked_at = u32::try_from(table.len()).unwrap_or(u32::MAX);
            *steps_left = steps_left.saturating_sub(looked_at);
            fields.iter().all(|field| {
                let given = match is_long {
                    true => table.get(field.name.as_str()).copied(),
                    false => value.get(&field.name),
                };
                given
                    .or(field.default.as_ref())
                    .is_some_and(|v| is_valid_default(model, field.ty, v, depth + 1, steps_left))
            })
        }
        _ => false,
    }
}
