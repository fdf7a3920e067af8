//! What `protoc` refuses in an enum.

use std::collections::HashMap;

use super::super::ast::{At, EnumType, Value};
use super::super::parse_text::MAX_TAG;
use super::LinkError;
use super::rules::{Range, overlaps, reserved_names, reserved_ranges};

/// Checks numbers, names and what is reserved.
pub(super) fn check(node: &EnumType, closed: bool) -> Result<(), LinkError> {
    let refuse = |at: At, message: String| Err(LinkError::new(at, message));
    let Some(first) = node.constants.first() else {
        return refuse(node.at, format!("enum \"{}\" has no value", node.name));
    };
    if !closed && first.number != 0 {
        return refuse(
            first.number_at,
            "the first value of an open enum must be 0".to_owned(),
        );
    }
    let alias = node.options.iter().find(|one| one.is_plain("allow_alias"));
    let aliases = alias.is_some_and(|option| option.value == Value::Word("true".to_owned()));
    let ranges: Vec<Range> = reserved_ranges(&node.reserved)
        .into_iter()
        // `max` reads as the largest field number.
        .map(|(start, end, at)| (start, if end >= MAX_TAG { i32::MAX } else { end }, at))
        .collect();
    for (start, end, at) in &ranges {
        if end < start {
            return refuse(
                *at,
                "a reserved range must not end before it starts".to_owned(),
            );
        }
    }
    overlaps(&ranges, "reserved")?;
    let mut sorted = ranges;
    sorted.sort_by_key(|range| range.0);
    let names = reserved_names(&node.reserved, node.at)?;
    let mut numbers: HashMap<i32, &str> = HashMap::with_capacity(node.constants.len());
    let mut aliased = false;
    for constant in &node.constants {
        if let Some(first) = numbers.get(&constant.number) {
            aliased = true;
            if !aliases {
                return refuse(
                    constant.number_at,
                    format!(
                        "\"{}\" uses the same number as \"{first}\"; set allow_alias where this is \
                         intended",
                        constant.name
                    ),
                );
            }
        } else {
            numbers.insert(constant.number, &constant.name);
        }
        let after = sorted.partition_point(|range| range.0 <= constant.number);
        let range = after.checked_sub(1).and_then(|at| sorted.get(at));
        if range.is_some_and(|range| constant.number <= range.1) {
            return refuse(
                constant.number_at,
                format!(
                    "enum value \"{}\" uses reserved number {}",
                    constant.name, constant.number
                ),
            );
        }
        if names.contains(constant.name.as_str()) {
            return refuse(
                constant.at,
                format!("enum value \"{}\" is reserved", constant.name),
            );
        }
    }
    if let Some(option) = alias.filter(|_| !aliased) {
        let what = if aliases {
            "allow_alias is set, but no two values share a number"
        } else {
            "allow_alias = false has no effect"
        };
        return refuse(option.value_at, what.to_owned());
    }
    alike(node)
}

/// Values whose names are the same without case, underscores and the enum's name clash in
/// generated code.
fn alike(node: &EnumType) -> Result<(), LinkError> {
    let mut seen: HashMap<String, (&str, i32)> = HashMap::with_capacity(node.constants.len());
    for constant in &node.constants {
        let plain = pascal(without_prefix(&node.name, &constant.name));
        let Some((first, number)) = seen.get(&plain) else {
            seen.insert(plain, (&constant.name, constant.number));
            continue;
        };
        if *first != constant.name && *number != constant.number {
            return Err(LinkError::new(
                constant.at,
                format!(
                    "enum value \"{}\" has the same name as \"{first}\" without case and the \
                     enum's name",
                    constant.name
                ),
            ));
        }
    }
    Ok(())
}

/// `name` without the enum's name before it, ignoring case and underscores.
fn without_prefix<'a>(prefix: &str, name: &'a str) -> &'a str {
    let mut wanted = prefix.chars().filter(|c| *c != '_');
    let mut next = wanted.next();
    for (at, c) in name.char_indices() {
        let Some(expected) = next else {
            let rest = name.get(at..).unwrap_or(name);
            let rest = rest.trim_start_matches('_');
            return if rest.is_empty() { name } else { rest };
        };
        if c == '_' {
            continue;
        }
        if !c.eq_ignore_ascii_case(&expected) {
            return name;
        }
        next = wanted.next();
    }
    name
}

fn pascal(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    let mut raise = true;
    for c in name.chars() {
        if c == '_' {
            raise = true;
        } else if raise {
            result.push(c.to_ascii_uppercase());
            raise = false;
        } else {
            result.push(c.to_ascii_lowercase());
        }
    }
    result
}
