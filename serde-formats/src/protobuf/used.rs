//! The type names a file uses, as written.

use super::ast::{Extend, Field, FieldType, Group, Message, ProtoFile};

/// The names of types that fields, extensions and methods of `file` use.
pub(super) fn used_names(file: &ProtoFile) -> Vec<&str> {
    let mut used = Vec::new();
    for message in &file.messages {
        of_message(message, &mut used);
    }
    for extend in &file.extends {
        of_extend(extend, &mut used);
    }
    for rpc in file.services.iter().flat_map(|service| &service.rpcs) {
        used.push(rpc.request.as_str());
        used.push(rpc.response.as_str());
    }
    used
}

fn of_message<'a>(message: &'a Message, used: &mut Vec<&'a str>) {
    let oneofs = &message.oneofs;
    let oneof_fields = oneofs.iter().flat_map(|oneof| &oneof.fields);
    let oneof_groups = oneofs.iter().flat_map(|oneof| &oneof.groups);
    of_members(
        message.fields.iter().chain(oneof_fields),
        message.groups.iter().chain(oneof_groups),
        used,
    );
    for extend in &message.extends {
        of_extend(extend, used);
    }
    for nested in &message.messages {
        of_message(nested, used);
    }
}

fn of_extend<'a>(extend: &'a Extend, used: &mut Vec<&'a str>) {
    used.push(&extend.name);
    of_members(extend.fields.iter(), extend.groups.iter(), used);
}

fn of_members<'a>(
    fields: impl Iterator<Item = &'a Field>,
    groups: impl Iterator<Item = &'a Group>,
    used: &mut Vec<&'a str>,
) {
    for field in fields {
        of_type(&field.field_type, used);
    }
    for group in groups {
        of_message(&group.body, used);
    }
}

fn of_type<'a>(field_type: &'a FieldType, used: &mut Vec<&'a str>) {
    match field_type {
        FieldType::Scalar(_) => {}
        FieldType::Named(name) => used.push(name),
        FieldType::Map(_, value) => of_type(value, used),
    }
}
