//! What `protoc` refuses in the names and numbers of messages, fields and extensions.

use std::collections::{HashMap, HashSet};

use super::super::ast::{
    At, Edition, EnumType, Extend, Field, FieldType, Group, Label, Message, Oneof, OptionNode,
    ProtoFile, ReservedItem, Scalar, Syntax, Value, Visibility,
};
use super::super::parse_text::MAX_TAG;
use super::LinkError;
use super::build::{Place, is_packable};
use super::extensions::declarations;
use super::features::{Exports, Features, Presence, chosen};
use super::model::{LinkedField, LinkedKind, LinkedMessage, lower_camel};

pub(super) type Checked = Result<(), LinkError>;

pub(super) fn refuse(at: At, message: impl Into<String>) -> Checked {
    Err(LinkError::new(at, message))
}

/// The options of a file as a whole.
pub(super) fn file_features(file: &ProtoFile) -> Checked {
    if Features::of(file.syntax).with(&file.options).presence == Presence::Required {
        let at = file
            .options
            .iter()
            .find(|one| one.name.starts_with("features"));
        let at = at.map_or_else(At::default, |option| option.at);
        return refuse(at, "required presence cannot be the default of a file");
    }
    let checks_utf8 = file
        .options
        .iter()
        .find(|option| option.is_plain("java_string_check_utf8"));
    if let Some(option) = checks_utf8.filter(|_| file.is_edition()) {
        return refuse(
            option.at,
            "java_string_check_utf8 is not for editions, use features.(pb.java).utf8_validation",
        );
    }
    Ok(())
}

/// A message's own statements, its members aside.
pub(super) fn message(
    full: &str,
    node: &Message,
    syntax: Option<Syntax>,
    exports: Exports,
) -> Checked {
    let proto3 = syntax == Some(Syntax::Proto3);
    if let Some(option) = node.options.iter().find(|one| one.is_plain("map_entry")) {
        return refuse(
            option.at,
            "map_entry is not set by hand, write map<key, value> instead",
        );
    }
    let nested = full.len() > node.name.len() && node.visibility == Some(Visibility::Export);
    if nested && exports == Exports::Strict && full.matches('.').count() > 0 {
        return refuse(
            node.at,
            format!("nested message \"{full}\" cannot be exported"),
        );
    }
    if let Some(option) = node
        .options
        .iter()
        .find(|one| sets(one, "message_set_wire_format"))
    {
        if proto3 {
            return refuse(option.at, "message sets are not for proto3");
        }
        if let Some(field) = node.fields.first() {
            return refuse(field.at, "message sets have extensions only, no fields");
        }
    }
    if proto3 && let Some(one) = node.extensions.first() {
        let at = one.ranges.first().map_or(node.at, |range| range.at);
        return refuse(at, "extension ranges are not for proto3");
    }
    let is_set = node
        .options
        .iter()
        .any(|one| sets(one, "message_set_wire_format"));
    let extensions = node.extensions.iter().flat_map(|one| &one.ranges);
    let extensions: Vec<Range> = extensions
        .map(|range| (range.start, range.end, range.at))
        .collect();
    if extensions.len() > EXTENSION_RANGES_MAX {
        let text = format!("more than {EXTENSION_RANGES_MAX} extension ranges");
        return refuse(node.at, text);
    }
    for (start, end, at) in &extensions {
        if *start <= 0 {
            return refuse(*at, "extension numbers must be positive");
        }
        if *end > MAX_TAG && !is_set {
            return refuse(
                *at,
                format!("extension numbers cannot be greater than {MAX_TAG}"),
            );
        }
        if end < start {
            return refuse(*at, "an extension range must not end before it starts");
        }
    }
    let reserved = reserved_ranges(&node.reserved);
    for (start, end, at) in &reserved {
        if *start <= 0 {
            return refuse(*at, "reserved numbers must be positive");
        }
        if end < start {
            return refuse(*at, "a reserved range must not end before it starts");
        }
    }
    node.extensions.iter().try_for_each(declarations)?;
    overlaps(&extensions, "extension")?;
    overlaps(&reserved, "reserved")?;
    if let Some((a, b)) = common(&extensions, &reserved) {
        return refuse(
            a.2,
            format!(
                "extension range {} to {} overlaps with reserved range {} to {}",
                a.0, a.1, b.0, b.1
            ),
        );
    }
    reserved_names(&node.reserved, node.at).map(|_| ())
}

/// Most extension ranges of a message: each of its fields and extensions is held against them.
const EXTENSION_RANGES_MAX: usize = 1000;

/// First, last and place of a range.
pub(super) type Range = (i32, i32, At);

/// The ranges that are reserved.
pub(super) fn reserved_ranges(reserved: &[Vec<ReservedItem>]) -> Vec<Range> {
    let items = reserved.iter().flatten();
    items
        .filter_map(|item| match item {
            ReservedItem::Range(range) => Some((range.start, range.end, range.at)),
            ReservedItem::Name(_) | ReservedItem::Identifier(_) => None,
        })
        .collect()
}

/// The names that are reserved, each once.
pub(super) fn reserved_names(
    reserved: &[Vec<ReservedItem>],
    at: At,
) -> Result<HashSet<&str>, LinkError> {
    let mut names = HashSet::new();
    for item in reserved.iter().flatten() {
        let (ReservedItem::Name(name) | ReservedItem::Identifier(name)) = item else {
            continue;
        };
        if !names.insert(name.as_str()) {
            return Err(LinkError::new(
                at,
                format!("the name \"{name}\" is reserved more than once"),
            ));
        }
    }
    Ok(names)
}

/// No two of `ranges` have a number in common.
pub(super) fn overlaps(ranges: &[Range], what: &str) -> Checked {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.0);
    for (a, b) in sorted.iter().zip(sorted.iter().skip(1)) {
        if b.0 <= a.1 {
            return refuse(
                b.2,
                format!(
                    "{what} range {} to {} overlaps with {} to {}",
                    b.0, b.1, a.0, a.1
                ),
            );
        }
    }
    Ok(())
}

fn common<'r>(left: &'r [Range], right: &'r [Range]) -> Option<(&'r Range, &'r Range)> {
    let mut sorted: Vec<&Range> = right.iter().collect();
    sorted.sort_by_key(|range| range.0);
    left.iter().find_map(|range| {
        let found = holding(&sorted, range.1)?;
        (found.1 >= range.0).then_some((range, found))
    })
}

/// The last of the sorted `ranges` that starts at or before `number`.
fn holding<'r>(ranges: &[&'r Range], number: i32) -> Option<&'r Range> {
    let after = ranges.partition_point(|range| range.0 <= number);
    ranges.get(after.checked_sub(1)?).copied()
}

pub(super) fn oneof(node: &Oneof) -> Checked {
    if node.fields.is_empty() && node.groups.is_empty() {
        return refuse(node.at, format!("oneof \"{}\" has no field", node.name));
    }
    let is_map = |field: &&Field| matches!(field.field_type, FieldType::Map(..));
    if let Some(field) = node.fields.iter().find(is_map) {
        return refuse(field.type_at, "a map cannot be in a oneof");
    }
    Ok(())
}

/// A member of a message as its rules see it.
struct Named<'a> {
    name: String,
    number: i32,
    at: At,
    number_at: At,
    json_name: Option<&'a str>,
}

fn named(node: &Message) -> Vec<Named<'_>> {
    let oneof_fields = node.oneofs.iter().flat_map(|oneof| &oneof.fields);
    let fields = node.fields.iter().chain(oneof_fields).map(|field| Named {
        name: field.name.clone(),
        number: field.number,
        at: field.at,
        number_at: field.number_at,
        json_name: field.json_name.as_deref(),
    });
    let oneof_groups = node.oneofs.iter().flat_map(|oneof| &oneof.groups);
    let groups = node.groups.iter().chain(oneof_groups).map(|group| Named {
        name: group.body.name.to_ascii_lowercase(),
        number: group.number,
        at: group.body.at,
        number_at: group.number_at,
        json_name: None,
    });
    fields.chain(groups).collect()
}

/// The members of a message, against each other and against what is reserved.
pub(super) fn members(
    full: &str,
    node: &Message,
    linked: &LinkedMessage,
    features: Features,
) -> Checked {
    let members = named(node);
    let mut numbers: HashMap<i32, &str> = HashMap::with_capacity(members.len());
    let reserved = reserved_ranges(&node.reserved);
    let mut reserved: Vec<&Range> = reserved.iter().collect();
    reserved.sort_by_key(|range| range.0);
    let names = reserved_names(&node.reserved, node.at)?;
    for member in &members {
        if let Some(first) = numbers.insert(member.number, &member.name) {
            return refuse(
                member.number_at,
                format!(
                    "field number {} has already been used in \"{full}\" by field \"{first}\"",
                    member.number
                ),
            );
        }
        if holding(&reserved, member.number).is_some_and(|range| member.number <= range.1) {
            return refuse(
                member.number_at,
                format!(
                    "field \"{}\" uses reserved number {}",
                    member.name, member.number
                ),
            );
        }
        if names.contains(member.name.as_str()) {
            return refuse(
                member.at,
                format!("field name \"{}\" is reserved", member.name),
            );
        }
        let extension = linked.extension_ranges.iter();
        if let Some((first, last)) = extension
            .clone()
            .find(|(first, last)| (*first..=*last).contains(&member.number))
        {
            return refuse(
                member.number_at,
                format!(
                    "extension range {first} to {last} includes field \"{}\" ({})",
                    member.name, member.number
                ),
            );
        }
    }
    json_names(&members, features, false)?;
    json_names(&members, features, true)
}

/// JSON names must differ: those made from the names, and those given.
fn json_names(members: &[Named<'_>], features: Features, given: bool) -> Checked {
    let mut seen: HashMap<String, (&str, bool)> = HashMap::with_capacity(members.len());
    for member in members {
        let made = lower_camel(&member.name);
        let custom = member.json_name.filter(|name| given && **name != *made);
        if custom.is_some_and(|name| name.contains('\0')) {
            return refuse(member.at, "a JSON name cannot hold the character NUL");
        }
        let is_custom = custom.is_some();
        if let Some(name) = custom
            && name.starts_with('[')
            && name.ends_with(']')
        {
            return refuse(member.at, format!("\"{name}\" cannot be a JSON name"));
        }
        let name = custom.map_or(made, str::to_owned);
        let Some((first, first_custom)) = seen.get(&name) else {
            seen.insert(name, (&member.name, is_custom));
            continue;
        };
        let both_custom = is_custom && *first_custom;
        // Names made twice are found when only made names are compared.
        let reported = given && !is_custom && !*first_custom;
        if !reported && (features.json || both_custom) {
            return refuse(
                member.at,
                format!(
                    "the JSON name \"{name}\" of field \"{}\" conflicts with that of field \
                     \"{first}\"",
                    member.name
                ),
            );
        }
    }
    Ok(())
}

/// What the tables need of a message's numbers.
pub(super) fn numbers(linked: &LinkedMessage) -> Checked {
    let mut seen = HashSet::with_capacity(linked.fields.len());
    for field in &linked.fields {
        if !(1..=MAX_TAG).contains(&field.number) {
            return refuse(
                At::default(),
                format!(
                    "field \"{}\" has number {}, which is not from 1 to {MAX_TAG}",
                    field.name, field.number
                ),
            );
        }
        if !seen.insert(field.number) {
            return refuse(
                At::default(),
                format!(
                    "field \"{}\" has number {}, which another field has too",
                    field.name, field.number
                ),
            );
        }
    }
    Ok(())
}

/// A field's number by itself.
pub(super) fn number(number: i32, at: At) -> Checked {
    if number <= 0 {
        return refuse(at, "field numbers must be positive");
    }
    if number > MAX_TAG {
        return refuse(
            at,
            format!("field numbers cannot be greater than {MAX_TAG}"),
        );
    }
    if (19_000..20_000).contains(&number) {
        return refuse(
            at,
            "field numbers 19000 to 19999 are reserved for implementations",
        );
    }
    Ok(())
}

pub(super) fn group(node: &Group, syntax: Option<Syntax>) -> Checked {
    if syntax == Some(Syntax::Proto3) {
        return refuse(node.body.at, "groups are not for proto3");
    }
    if !node
        .body
        .name
        .starts_with(|first: char| first.is_ascii_uppercase())
    {
        return refuse(
            node.body.at,
            "a group's name must start with a capital letter",
        );
    }
    Ok(())
}

pub(super) fn extend(syntax: Option<Syntax>, node: &Extend, extendee: &str) -> Checked {
    if node.fields.is_empty() && node.groups.is_empty() {
        return refuse(node.at, "an extension without a field");
    }
    if syntax == Some(Syntax::Proto3) && !OPTIONS.contains(&extendee) {
        return refuse(
            node.at,
            format!("proto3 extends options only, not \"{extendee}\""),
        );
    }
    Ok(())
}

/// What proto3 may extend.
const OPTIONS: [&str; 10] = [
    "google.protobuf.FileOptions",
    "google.protobuf.MessageOptions",
    "google.protobuf.FieldOptions",
    "google.protobuf.OneofOptions",
    "google.protobuf.ExtensionRangeOptions",
    "google.protobuf.EnumOptions",
    "google.protobuf.EnumValueOptions",
    "google.protobuf.ServiceOptions",
    "google.protobuf.MethodOptions",
    "google.protobuf.StreamOptions",
];

/// A field by itself.
pub(super) fn field(
    node: &Field,
    linked: &LinkedField,
    place: Place<'_>,
    syntax: Option<Syntax>,
    closed: bool,
) -> Checked {
    number(node.number, node.number_at)?;
    let proto3 = syntax == Some(Syntax::Proto3);
    if place.extendee.is_some() {
        if node.label == Some(Label::Required) {
            return refuse(
                node.at,
                format!("the extension {} cannot be required", node.name),
            );
        }
        if matches!(node.field_type, FieldType::Map(..)) {
            return refuse(node.type_at, "a map cannot be an extension");
        }
    }
    if proto3 && node.default.is_some() {
        return refuse(node.default_at, "default values are not for proto3");
    }
    if proto3 && closed {
        return refuse(
            node.type_at,
            format!(
                "field \"{}\" is in a proto3 message, but its enum is not of proto3",
                node.name
            ),
        );
    }
    let packable = linked.repeated && is_packable(&linked.kind);
    let edition = matches!(syntax, Some(Syntax::Edition(_)));
    for option in node.options.iter().filter(|option| !option.extension) {
        let refused = match option.name.as_str() {
            "json_name" => "a JSON name must be a string",
            "packed" if edition => {
                "packed is not for editions, use features.repeated_field_encoding"
            }
            "packed" if sets(option, "packed") && !packable => {
                "only repeated numbers, booleans and enums can be packed"
            }
            "lazy" | "unverified_lazy"
                if option.value == Value::Word("true".to_owned())
                    && !matches!(linked.kind, LinkedKind::Message(_) | LinkedKind::Group(_)) =>
            {
                "only messages can be lazy"
            }
            "jstype"
                if option.value != Value::Word("JS_NORMAL".to_owned())
                    && !is_long(&linked.kind) =>
            {
                "jstype is for 64-bit integers only"
            }
            "ctype" if syntax == Some(Syntax::Edition(Edition::E2024)) => {
                "ctype is not for edition 2024, use features.(pb.cpp).string_type"
            }
            _ => continue,
        };
        return refuse(option.at, refused);
    }
    Ok(())
}

fn is_long(kind: &LinkedKind) -> bool {
    matches!(
        kind,
        LinkedKind::Scalar(
            Scalar::Int64 | Scalar::Uint64 | Scalar::Sint64 | Scalar::Fixed64 | Scalar::Sfixed64
        )
    )
}

/// The features of a field of an edition; `set` are those set on the field itself.
pub(super) fn field_features(
    node: &Field,
    linked: &LinkedField,
    place: Place<'_>,
    closed: bool,
    set: &[&str],
) -> Checked {
    let is_map = matches!(node.field_type, FieldType::Map(..));
    let is_message = matches!(linked.kind, LinkedKind::Message(_) | LinkedKind::Group(_));
    let chosen_presence = chosen(&node.options).find(|(name, _)| *name == "field_presence");
    let implicit = linked.presence == Presence::Implicit && !linked.repeated && !is_message;
    let is_text = |kind: &FieldType| *kind == FieldType::Scalar(Scalar::String);
    let has_text = match &node.field_type {
        FieldType::Map(key, value) => *key == Scalar::String || is_text(value),
        other => is_text(other),
    };
    let packs = chosen(&node.options).any(|it| it == ("repeated_field_encoding", "PACKED"));
    let refused = if implicit && node.default.is_some() {
        "a field with implicit presence cannot have a default"
    } else if implicit && closed {
        "an enum with implicit presence must be open"
    } else if let Some((_, value)) = chosen_presence {
        if place.oneof.is_some() {
            "a field of a oneof cannot choose its presence"
        } else if linked.repeated {
            "a repeated field cannot choose its presence"
        } else if place.extendee.is_some() {
            "an extension cannot choose its presence"
        } else if is_message && value == "IMPLICIT" {
            "a message cannot have implicit presence"
        } else {
            return features_rest(node, linked, is_map, is_message, has_text, packs, set);
        }
    } else {
        return features_rest(node, linked, is_map, is_message, has_text, packs, set);
    };
    refuse(node.at, refused)
}

fn features_rest(
    node: &Field,
    linked: &LinkedField,
    is_map: bool,
    is_message: bool,
    has_text: bool,
    packs: bool,
    set: &[&str],
) -> Checked {
    let refused = if set.contains(&"repeated_field_encoding") && !linked.repeated {
        "only a repeated field can choose its encoding"
    } else if set.contains(&"utf8_validation") && !has_text {
        "only strings can choose their UTF-8 validation"
    } else if packs && !is_packable(&linked.kind) {
        "only repeated numbers, booleans and enums can be packed"
    } else if set.contains(&"message_encoding") && (!is_message || is_map) {
        "only messages can choose their encoding"
    } else {
        return Ok(());
    };
    refuse(node.at, refused)
}

/// The value of a map, where it is an enum.
pub(super) fn map_value(
    node: &Field,
    value: Option<&EnumType>,
    closed: bool,
    syntax: Option<Syntax>,
) -> Checked {
    let first = value.and_then(|value| value.constants.first());
    if first.is_some_and(|first| first.number != 0) {
        return refuse(
            node.type_at,
            "an enum in a map must have 0 as its first number",
        );
    }
    if closed && syntax == Some(Syntax::Proto3) {
        return refuse(
            node.type_at,
            "a proto3 map holds an enum that is not of proto3",
        );
    }
    Ok(())
}

/// Whether the option is `name = true`.
pub(super) fn sets(option: &OptionNode, name: &str) -> bool {
    option.is_plain(name) && option.value == Value::Word("true".to_owned())
}
