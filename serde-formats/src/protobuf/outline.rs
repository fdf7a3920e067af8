//! Outline of a `.proto` file, from its tree.

use super::ProtobufSchema;
use super::ast::{EnumType, Field, FieldType, Group, Message, OptionNode, Value};
use crate::outline::{Outline, OutlineField, OutlineType, TypeKind};

impl ProtobufSchema {
    /// Adds the types and fields of this file.
    pub(crate) fn outline(&self, outline: &mut Outline) {
        let file = &self.inner.file;
        let package = file.package_name();
        for message in &file.messages {
            visit(message, "", package, outline);
        }
        for kind in &file.enums {
            visit_enum(kind, "", package, outline);
        }
    }
}

fn qualified(package: &str, scope: &str, name: &str) -> String {
    [package, scope, name]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".")
}

fn visit(message: &Message, scope: &str, package: &str, outline: &mut Outline) {
    if message.is_map_entry() {
        return;
    }
    let path = qualified("", scope, &message.name);
    outline.types.push(OutlineType {
        name: qualified(package, scope, &message.name),
        kind: TypeKind::Record,
        is_namespaced: !package.is_empty(),
        doc: doc(&message.options, "confluent.message_meta"),
        has_default: false,
        symbols: Vec::new(),
        states_content_model: true,
    });
    for field in &message.fields {
        add(field, &path, outline);
    }
    for group in &message.groups {
        visit_group(group, &path, package, outline);
    }
    for oneof in &message.oneofs {
        for field in &oneof.fields {
            add(field, &path, outline);
        }
        for group in &oneof.groups {
            visit_group(group, &path, package, outline);
        }
    }
    for inner in &message.messages {
        visit(inner, &path, package, outline);
    }
    for inner in &message.enums {
        visit_enum(inner, &path, package, outline);
    }
}

fn visit_group(group: &Group, scope: &str, package: &str, outline: &mut Outline) {
    visit(&group.body, scope, package, outline);
}

fn visit_enum(kind: &EnumType, scope: &str, package: &str, outline: &mut Outline) {
    outline.types.push(OutlineType {
        name: qualified(package, scope, &kind.name),
        kind: TypeKind::Enum,
        is_namespaced: !package.is_empty(),
        doc: doc(&kind.options, "confluent.enum_meta"),
        has_default: true,
        symbols: kind
            .constants
            .iter()
            .map(|constant| constant.name.clone())
            .collect(),
        states_content_model: true,
    });
}

fn add(field: &Field, message: &str, outline: &mut Outline) {
    if !outline.has_room() {
        return;
    }
    let kind = type_name(&field.field_type);
    outline.fields.push(OutlineField {
        path: format!("{message}.{}", field.name),
        name: field.name.clone(),
        type_name: match field.label {
            Some(label) => format!("{} {kind}", label.name()),
            None => kind,
        },
        logical: None,
        doc: doc(&field.options, "confluent.field_meta"),
        default: field.default.as_ref().map(|value| match value {
            Value::String(text) => format!("{text:?}"),
            Value::Number(text) | Value::Word(text) => text.clone(),
            Value::Map(_) | Value::List(_) => String::new(),
        }),
        is_required: field.label == Some(super::ast::Label::Required),
    });
}

fn type_name(kind: &FieldType) -> String {
    match kind {
        FieldType::Scalar(scalar) => scalar.name().to_owned(),
        FieldType::Named(name) => name.clone(),
        FieldType::Map(key, value) => format!("map<{}, {}>", key.name(), type_name(value)),
    }
}

/// Confluent's place for docs that survive: `[(confluent.field_meta).doc = "…"]`.
fn doc(options: &[OptionNode], meta: &str) -> Option<String> {
    options
        .iter()
        .filter(|option| option.extension && option.name == meta)
        .find_map(|option| match (&option.value, option.path.as_slice()) {
            (Value::String(text), [key]) if key == "doc" => Some(text.clone()),
            (Value::Map(entries), []) => entries.iter().find_map(|(key, value)| match value {
                Value::String(text) if key == "doc" => Some(text.clone()),
                _ => None,
            }),
            _ => None,
        })
}
