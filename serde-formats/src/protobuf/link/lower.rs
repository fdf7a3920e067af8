//! Linked files as descriptors for reflection.
//!
//! Only what reflection reads: types, fields and extensions. A file of an edition becomes one of
//! proto3 whose fields say their presence one by one, or of proto2 where an enum does not start
//! at 0, which reflection does not take in proto3.

use std::collections::HashSet;

use prost_types::descriptor_proto::ExtensionRange;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, EnumValueDescriptorProto,
    FieldDescriptorProto, FieldOptions, FileDescriptorProto, MessageOptions, OneofDescriptorProto,
};

use super::super::ast::{Scalar, Syntax, Value};
use super::features::Presence;
use super::model::{LinkedEnum, LinkedField, LinkedFile, LinkedKind, LinkedMessage};

/// The descriptors of `files`.
pub(in crate::protobuf) fn lower(files: &[LinkedFile]) -> Vec<FileDescriptorProto> {
    files.iter().map(file).collect()
}

/// As [`lower`], with fields renamed whose names the reflection library cannot tell apart.
pub(in crate::protobuf) fn lower_for_reflection(files: &[LinkedFile]) -> Vec<FileDescriptorProto> {
    fn rename(message: &mut DescriptorProto) {
        separate(&mut message.field);
        message.nested_type.iter_mut().for_each(rename);
    }
    let mut lowered = lower(files);
    for file in &mut lowered {
        file.message_type.iter_mut().for_each(rename);
    }
    lowered
}

fn file(file: &LinkedFile) -> FileDescriptorProto {
    let proto3 = match file.syntax {
        None | Some(Syntax::Proto2) => false,
        Some(Syntax::Proto3) => true,
        Some(Syntax::Edition(_)) => {
            file.enums.iter().all(starts_at_zero) && file.messages.iter().all(enums_start_at_zero)
        }
    };
    let lowering = Lowering { proto3 };
    FileDescriptorProto {
        name: Some(match file.path.as_str() {
            "" => ROOT.to_owned(),
            path => path.to_owned(),
        }),
        package: (!file.package.is_empty()).then(|| file.package.clone()),
        dependency: file.imports.iter().map(|(path, _)| path.clone()).collect(),
        public_dependency: (0..)
            .zip(&file.imports)
            .filter(|(_, (_, public))| *public)
            .map(|(at, _)| at)
            .collect(),
        message_type: file
            .messages
            .iter()
            .map(|one| lowering.message(one))
            .collect(),
        enum_type: file.enums.iter().map(enum_type).collect(),
        extension: file
            .extensions
            .iter()
            .map(|one| lowering.field(one))
            .collect(),
        syntax: Some(if proto3 { "proto3" } else { "proto2" }.to_owned()),
        ..FileDescriptorProto::default()
    }
}

/// The made-up path of the schema itself.
const ROOT: &str = "schema.proto";

fn starts_at_zero(node: &LinkedEnum) -> bool {
    node.values.first().is_none_or(|(_, number)| *number == 0)
}

fn enums_start_at_zero(message: &LinkedMessage) -> bool {
    message.enums.iter().all(starts_at_zero) && message.messages.iter().all(enums_start_at_zero)
}

fn local(full: &str) -> String {
    full.rsplit('.').next().unwrap_or(full).to_owned()
}

struct Lowering {
    proto3: bool,
}

impl Lowering {
    fn message(&self, node: &LinkedMessage) -> DescriptorProto {
        let options = MessageOptions {
            map_entry: node.map_entry.then_some(true),
            message_set_wire_format: node.message_set.then_some(true),
            ..MessageOptions::default()
        };
        let mut fields: Vec<FieldDescriptorProto> =
            node.fields.iter().map(|one| self.field(one)).collect();
        let mut oneofs = node.oneofs.clone();
        add_made_up_oneofs(&mut fields, &mut oneofs);
        DescriptorProto {
            name: Some(local(&node.full_name)),
            field: fields,
            nested_type: node.messages.iter().map(|one| self.message(one)).collect(),
            enum_type: node.enums.iter().map(enum_type).collect(),
            extension: node.extensions.iter().map(|one| self.field(one)).collect(),
            extension_range: node
                .extension_ranges
                .iter()
                .map(|(first, last)| ExtensionRange {
                    start: Some(*first),
                    end: Some(last.saturating_add(1)),
                    options: None,
                })
                .collect(),
            oneof_decl: oneofs
                .into_iter()
                .map(|name| OneofDescriptorProto {
                    name: Some(name),
                    options: None,
                })
                .collect(),
            options: (node.map_entry || node.message_set).then_some(options),
            ..DescriptorProto::default()
        }
    }

    fn field(&self, node: &LinkedField) -> FieldDescriptorProto {
        let (kind, type_name) = match &node.kind {
            LinkedKind::Scalar(scalar) => (scalar_type(*scalar), None),
            LinkedKind::Enum(name) => (Type::Enum, Some(name)),
            LinkedKind::Message(name) => (Type::Message, Some(name)),
            LinkedKind::Group(name) => (Type::Group, Some(name)),
        };
        let label = match (node.repeated, node.presence) {
            (true, _) => Label::Repeated,
            (false, Presence::Required) => Label::Required,
            (false, _) => Label::Optional,
        };
        let explicit = self.proto3
            && !node.repeated
            && node.oneof.is_none()
            && node.extendee.is_none()
            && node.presence != Presence::Implicit;
        FieldDescriptorProto {
            name: Some(node.name.clone()),
            number: Some(node.number),
            label: Some(label.into()),
            r#type: Some(kind.into()),
            type_name: type_name.map(|name| format!(".{name}")),
            extendee: node.extendee.as_ref().map(|name| format!(".{name}")),
            default_value: node.default.as_ref().and_then(|value| default(node, value)),
            oneof_index: node.oneof.and_then(|index| i32::try_from(index).ok()),
            json_name: node.json_name.clone(),
            options: (node.repeated && node.packed != self.proto3).then(|| FieldOptions {
                packed: Some(node.packed),
                ..FieldOptions::default()
            }),
            proto3_optional: explicit.then_some(true),
        }
    }
}

/// A proto3 field with presence stands in a oneof of its own, named after it.
fn add_made_up_oneofs(fields: &mut [FieldDescriptorProto], oneofs: &mut Vec<String>) {
    let mut taken: HashSet<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    taken.extend(oneofs.iter().cloned());
    for field in fields.iter_mut().filter(|field| field.proto3_optional()) {
        let mut name = format!("_{}", field.name());
        while !taken.insert(name.clone()) {
            name.insert(0, 'X');
        }
        field.oneof_index = i32::try_from(oneofs.len()).ok();
        oneofs.push(name);
    }
}

/// Renames fields whose names reflection cannot tell apart: those that differ in case and
/// underscores only. JSON names keep what the schema says where they can.
fn separate(fields: &mut [FieldDescriptorProto]) {
    let mut seen = HashSet::new();
    let mut json_names = HashSet::new();
    for field in fields {
        let name = field.name().to_owned();
        let plain = name.replace('_', "").to_ascii_lowercase();
        if !seen.insert(plain) {
            field.name = Some(format!("{name}_f{}", field.number()));
        }
        let json_name = field.json_name().to_owned();
        if !json_names.insert(json_name.clone()) {
            field.json_name = Some(format!("{json_name}_{}", field.number()));
        }
    }
}

fn default(node: &LinkedField, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(text) | Value::Word(text) => text,
        Value::Map(_) | Value::List(_) => return None,
    };
    match node.kind {
        LinkedKind::Scalar(Scalar::Bytes) => Some(escape_bytes(text)),
        LinkedKind::Scalar(Scalar::String) | LinkedKind::Enum(_) => Some(text.clone()),
        LinkedKind::Scalar(Scalar::Float | Scalar::Double) => Some(number(text)),
        LinkedKind::Scalar(_) => super::values::integer(value)
            .map_or_else(|| Some(text.clone()), |it| Some(it.to_string())),
        LinkedKind::Message(_) | LinkedKind::Group(_) => None,
    }
}

/// Bytes in the escapes of C; a character up to 255 stands for one byte.
fn escape_bytes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\') => out.push(c),
            Ok(byte) => out.push_str(&format!("\\{byte:03o}")),
            Err(_) => {
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    out.push_str(&format!("\\{byte:03o}"));
                }
            }
        }
    }
    out
}

/// A floating-point literal as descriptors write it.
fn number(text: &str) -> String {
    if let Some(whole) = super::values::integer(&Value::Number(text.to_owned())) {
        return whole.to_string();
    }
    match text {
        "-nan" => "nan".to_owned(),
        "inf" | "-inf" => text.to_owned(),
        other => other.trim_end_matches(['f', 'F']).to_owned(),
    }
}

fn enum_type(node: &LinkedEnum) -> EnumDescriptorProto {
    let mut numbers = HashSet::new();
    let aliased = node
        .values
        .iter()
        .any(|(_, number)| !numbers.insert(*number));
    EnumDescriptorProto {
        name: Some(local(&node.full_name)),
        value: node
            .values
            .iter()
            .map(|(name, number)| EnumValueDescriptorProto {
                name: Some(name.clone()),
                number: Some(*number),
                options: None,
            })
            .collect(),
        options: aliased.then(|| EnumOptions {
            allow_alias: Some(true),
            ..EnumOptions::default()
        }),
        ..EnumDescriptorProto::default()
    }
}

fn scalar_type(scalar: Scalar) -> Type {
    match scalar {
        Scalar::Double => Type::Double,
        Scalar::Float => Type::Float,
        Scalar::Int64 => Type::Int64,
        Scalar::Uint64 => Type::Uint64,
        Scalar::Int32 => Type::Int32,
        Scalar::Fixed64 => Type::Fixed64,
        Scalar::Fixed32 => Type::Fixed32,
        Scalar::Bool => Type::Bool,
        Scalar::String => Type::String,
        Scalar::Bytes => Type::Bytes,
        Scalar::Uint32 => Type::Uint32,
        Scalar::Sfixed32 => Type::Sfixed32,
        Scalar::Sfixed64 => Type::Sfixed64,
        Scalar::Sint32 => Type::Sint32,
        Scalar::Sint64 => Type::Sint64,
    }
}
