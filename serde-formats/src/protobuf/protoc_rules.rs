//! Rules of `protoc` that the compiler in use does not check. Held against new schemas only.

use std::collections::{HashMap, HashSet};

use prost_types::field_descriptor_proto::Type;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::resolve::join;

/// What `protoc` would refuse in a set of linked files.
///
/// # Errors
/// The first rule broken: a reserved name in use, two extensions with one number, a proto3 field
/// of a proto2 enum, or a proto3 extension of anything but options.
pub(super) fn check(files: &[FileDescriptorProto]) -> Result<(), String> {
    let mut rules = Rules::default();
    for file in files {
        let closed = file.syntax() != "proto3";
        rules.declare(file.package(), &file.enum_type, &file.message_type, closed);
    }
    for file in files {
        let proto3 = file.syntax() == "proto3";
        rules.extensions(&file.extension, proto3)?;
        file.enum_type.iter().try_for_each(enum_names)?;
        file.message_type
            .iter()
            .try_for_each(|message| rules.message(message, proto3))?;
    }
    Ok(())
}

#[derive(Default)]
struct Rules {
    /// Whether each enum, by full name with a leading dot, is closed.
    enums: HashMap<String, bool>,
    /// Extended type and number of each extension.
    extended: HashSet<(String, i32)>,
}

impl Rules {
    fn declare(
        &mut self,
        scope: &str,
        enums: &[EnumDescriptorProto],
        messages: &[DescriptorProto],
        closed: bool,
    ) {
        for descriptor in enums {
            self.enums
                .insert(format!(".{}", join(scope, descriptor.name())), closed);
        }
        for message in messages {
            let scope = join(scope, message.name());
            self.declare(&scope, &message.enum_type, &message.nested_type, closed);
        }
    }

    fn message(&mut self, message: &DescriptorProto, proto3: bool) -> Result<(), String> {
        for field in &message.field {
            if message
                .reserved_name
                .iter()
                .any(|name| name == field.name())
            {
                return Err(format!("field name '{}' is reserved", field.name()));
            }
            self.field(field, proto3)?;
        }
        self.extensions(&message.extension, proto3)?;
        message.enum_type.iter().try_for_each(enum_names)?;
        message
            .nested_type
            .iter()
            .try_for_each(|nested| self.message(nested, proto3))
    }

    fn field(&self, field: &FieldDescriptorProto, proto3: bool) -> Result<(), String> {
        let closed = self.enums.get(field.type_name()).copied().unwrap_or(false);
        if proto3 && field.r#type() == Type::Enum && closed {
            return Err(format!(
                "enum '{}' is not a proto3 enum, but field '{}' is in a proto3 message",
                field.type_name().trim_start_matches('.'),
                field.name()
            ));
        }
        Ok(())
    }

    fn extensions(
        &mut self,
        extensions: &[FieldDescriptorProto],
        proto3: bool,
    ) -> Result<(), String> {
        for field in extensions {
            let extendee = field.extendee();
            let of_options =
                extendee.starts_with(".google.protobuf.") && extendee.ends_with("Options");
            if proto3 && !of_options {
                return Err(format!(
                    "proto3 extends options only, not '{}'",
                    extendee.trim_start_matches('.')
                ));
            }
            if !self.extended.insert((extendee.to_owned(), field.number())) {
                return Err(format!(
                    "extension number {} of '{}' is used twice",
                    field.number(),
                    extendee.trim_start_matches('.')
                ));
            }
            self.field(field, proto3)?;
        }
        Ok(())
    }
}

fn enum_names(descriptor: &EnumDescriptorProto) -> Result<(), String> {
    let reserved: HashSet<&str> = descriptor
        .reserved_name
        .iter()
        .map(String::as_str)
        .collect();
    match descriptor
        .value
        .iter()
        .find(|value| reserved.contains(value.name()))
    {
        Some(value) => Err(format!("enum value name '{}' is reserved", value.name())),
        None => Ok(()),
    }
}
