//! What `protoc` refuses in an extension and in the declarations of an extension range.

use std::collections::HashSet;

use super::super::ast::{At, Extensions, Message, OptionNode, Scalar, TagRange, Value};
use super::model::{LinkedField, LinkedKind};
use super::rules::{Checked, refuse, sets};

/// The declarations of a range by themselves.
pub(super) fn declarations(node: &Extensions) -> Checked {
    let declarations = node
        .options
        .iter()
        .filter(|one| one.is_plain("declaration"));
    let unverified = node.options.iter().find(|option| {
        option.is_plain("verification") && option.value == Value::Word("UNVERIFIED".to_owned())
    });
    let mut numbers = HashSet::new();
    let mut names = HashSet::new();
    for option in declarations {
        if unverified.is_some() {
            return refuse(
                option.at,
                "an extension range with declarations cannot be UNVERIFIED",
            );
        }
        let declaration = Declaration::of(option);
        let holds = |range: &TagRange| (range.start..=range.end).contains(&declaration.number);
        if !node.ranges.iter().all(holds) {
            return refuse(
                option.at,
                format!(
                    "declared extension {} is not in the extension range",
                    declaration.number
                ),
            );
        }
        if !numbers.insert(declaration.number) {
            return refuse(
                option.at,
                format!(
                    "extension {} is declared more than once",
                    declaration.number
                ),
            );
        }
        let (Some(name), Some(type_name)) = (declaration.full_name, declaration.type_name) else {
            if declaration.reserved
                && declaration.full_name.is_none()
                && declaration.type_name.is_none()
            {
                continue;
            }
            return refuse(
                option.at,
                format!(
                    "declared extension {} needs both \"full_name\" and \"type\"",
                    declaration.number
                ),
            );
        };
        let is_scalar = Scalar::from_name(type_name).is_some();
        if !name.starts_with('.') || !(is_scalar || type_name.starts_with('.')) {
            let odd = if name.starts_with('.') {
                type_name
            } else {
                name
            };
            return refuse(
                option.at,
                format!("\"{odd}\" must start with a dot, as full names do here"),
            );
        }
        if !names.insert(name) {
            return refuse(
                option.at,
                format!("extension \"{name}\" is declared more than once"),
            );
        }
    }
    Ok(())
}

/// One `declaration = {..}`.
struct Declaration<'a> {
    number: i32,
    full_name: Option<&'a str>,
    type_name: Option<&'a str>,
    reserved: bool,
    repeated: bool,
}

impl<'a> Declaration<'a> {
    fn of(option: &'a OptionNode) -> Self {
        let entries = match &option.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let part = |key: &str| entries.iter().find(|(own, _)| own == key).map(|(_, it)| it);
        let text = |key: &str| match part(key) {
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let truth = |key: &str| part(key) == Some(&Value::Word("true".to_owned()));
        Self {
            number: match part("number") {
                Some(Value::Number(number)) => number.parse().unwrap_or(0),
                _ => 0,
            },
            full_name: text("full_name"),
            type_name: text("type"),
            reserved: truth("reserved"),
            repeated: truth("repeated"),
        }
    }
}

/// An extension against the message it extends.
pub(super) fn extension(
    extended: &Message,
    extendee: &str,
    field: &LinkedField,
    name: &str,
    (at, number_at): (At, At),
) -> Checked {
    let holds = |range: &TagRange| (range.start..=range.end).contains(&field.number);
    let range = extended
        .extensions
        .iter()
        .find(|one| one.ranges.iter().any(holds));
    let Some(range) = range else {
        return refuse(
            number_at,
            format!(
                "\"{extendee}\" does not declare {} as an extension number",
                field.number
            ),
        );
    };
    let is_set = extended
        .options
        .iter()
        .any(|one| sets(one, "message_set_wire_format"));
    if is_set && (field.repeated || !matches!(field.kind, LinkedKind::Message(_))) {
        return refuse(at, "extensions of message sets must be optional messages");
    }
    declared(&range.options, extendee, field, name, at)
}

/// An extension against the declarations of its range.
fn declared(
    options: &[OptionNode],
    extendee: &str,
    field: &LinkedField,
    name: &str,
    at: At,
) -> Checked {
    let mut must = options.iter().any(|option| {
        option.is_plain("verification") && option.value == Value::Word("DECLARATION".to_owned())
    });
    for option in options
        .iter()
        .filter(|option| option.is_plain("declaration"))
    {
        must = true;
        let declaration = Declaration::of(option);
        if declaration.number != field.number {
            continue;
        }
        if declaration.reserved {
            return refuse(
                at,
                format!("extension {} of \"{extendee}\" is reserved", field.number),
            );
        }
        let declared_name = declaration.full_name.unwrap_or_default();
        if declared_name.trim_start_matches('.') != name {
            return refuse(
                at,
                format!(
                    "extension {} of \"{extendee}\" is declared as \"{declared_name}\", not \
                     \"{name}\"",
                    field.number
                ),
            );
        }
        let own = match &field.kind {
            LinkedKind::Scalar(scalar) => scalar.name().to_owned(),
            LinkedKind::Enum(name) | LinkedKind::Message(name) | LinkedKind::Group(name) => {
                format!(".{name}")
            }
        };
        let declared_type = declaration.type_name.unwrap_or_default();
        if declared_type != own || declaration.repeated != field.repeated {
            return refuse(
                at,
                format!(
                    "extension {} of \"{extendee}\" is declared with type \"{declared_type}\", \
                     not \"{own}\"",
                    field.number
                ),
            );
        }
        return Ok(());
    }
    if must {
        return refuse(
            at,
            format!(
                "extension \"{name}\" with number {} is not among the declared ones of \
                 \"{extendee}\"",
                field.number
            ),
        );
    }
    Ok(())
}
