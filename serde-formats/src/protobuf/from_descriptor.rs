//! A serialized `FileDescriptorProto` to [`ProtoFile`]: what clients register instead of text.
//!
//! Read through reflection, so that custom options survive where their extension is known.

use std::sync::OnceLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage,
};

use super::ast::{
    At, Edition, EnumConstant, EnumType, Extend, Extensions, Field, FieldType, Group, Import,
    ImportKind, Label, Message, Oneof, OptionNode, ProtoFile, ReservedItem, Rpc, Scalar, Service,
    Syntax, TagRange, Value, Visibility,
};
use super::compile;
use super::descriptor_size;
use super::lex::{TokenKind, tokenize};
use super::parse_text::MAX_TAG;
use crate::schema::ParseError;

/// The order in which the reference writes options; others follow by number.
const OPTION_ORDER: [&str; 15] = [
    "java_package",
    "java_outer_classname",
    "java_multiple_files",
    "java_string_check_utf8",
    "optimize_for",
    "go_package",
    "cc_generic_services",
    "java_generic_services",
    "py_generic_services",
    "ctype",
    "packed",
    "jstype",
    "no_standard_descriptor_accessor",
    "allow_alias",
    "deprecated",
];
const TYPE_GROUP: i32 = 10;
const LABEL_REQUIRED: i32 = 2;
const LABEL_REPEATED: i32 = 3;

/// Descriptors of descriptors, and Confluent's custom options.
pub(super) fn confluent_pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        compile::known_file("confluent/meta.proto").unwrap_or_else(DescriptorPool::global)
    })
}

/// Reads a descriptor; custom options whose extensions `pool` knows are kept.
///
/// # Errors
/// When the bytes are no `FileDescriptorProto`, hold too much, or are of an edition that is not
/// known.
pub(super) fn read(bytes: &[u8], pool: &DescriptorPool) -> Result<ProtoFile, ParseError> {
    let descriptor = pool
        .get_message_by_name("google.protobuf.FileDescriptorProto")
        .ok_or_else(|| ParseError::new("the descriptor of descriptors is missing"))?;
    descriptor_size::check(&descriptor, bytes)?;
    let file = DynamicMessage::decode(descriptor, bytes)
        .map_err(|error| ParseError::new(format!("not a file descriptor: {error}")))?;
    let file = Node(&file);
    let syntax = match file.text("syntax").as_deref() {
        None | Some("") => None,
        Some("proto2") => Some(Syntax::Proto2),
        Some("proto3") => Some(Syntax::Proto3),
        Some("editions") => {
            let number = file.number("edition");
            let edition = Edition::from_number(number)
                .ok_or_else(|| ParseError::new(format!("unknown edition {number}")))?;
            Some(Syntax::Edition(edition))
        }
        Some(other) => return Err(ParseError::new(format!("unexpected syntax {other:?}"))),
    };
    let reader = Reader {
        proto3: syntax == Some(Syntax::Proto3),
        edition: matches!(syntax, Some(Syntax::Edition(_))),
    };
    let public = file.numbers("public_dependency");
    let weak = file.numbers("weak_dependency");
    let imports = file
        .texts("dependency")
        .into_iter()
        .enumerate()
        .map(|(index, path)| {
            let listed = |list: &[i32]| list.iter().any(|at| usize::try_from(*at) == Ok(index));
            let kind = if listed(&public) {
                ImportKind::Public
            } else if listed(&weak) {
                ImportKind::Weak
            } else {
                ImportKind::Plain
            };
            import(kind, path)
        });
    let option_imports = file
        .texts("option_dependency")
        .into_iter()
        .map(|path| import(ImportKind::Option, path));
    Ok(ProtoFile {
        syntax,
        package: file.text("package").filter(|package| !package.is_empty()),
        imports: imports.chain(option_imports).collect(),
        options: file.options(),
        messages: file
            .list("message_type")
            .iter()
            .map(|node| reader.message(*node))
            .collect(),
        enums: file
            .list("enum_type")
            .iter()
            .map(|node| reader.enum_type(*node))
            .collect(),
        extends: reader.extends(&file.list("extension"), &mut Vec::new()),
        services: file
            .list("service")
            .iter()
            .map(|node| service(*node))
            .collect(),
        ..ProtoFile::default()
    })
}

fn import(kind: ImportKind, path: String) -> Import {
    Import {
        kind,
        path,
        at: At::default(),
    }
}

fn visibility(node: Node<'_>) -> Option<Visibility> {
    match node.number("visibility") {
        1 => Some(Visibility::Local),
        2 => Some(Visibility::Export),
        _ => None,
    }
}

struct Reader {
    proto3: bool,
    edition: bool,
}

impl Reader {
    fn message(&self, node: Node<'_>) -> Message {
        let mut messages: Vec<Message> = node
            .list("nested_type")
            .iter()
            .map(|nested| self.message(*nested))
            .collect();
        let fields = node.list("field");
        let mut oneofs: Vec<Oneof> = node
            .list("oneof_decl")
            .iter()
            .map(|oneof| Oneof {
                name: oneof.text("name").unwrap_or_default(),
                options: oneof.options(),
                ..Oneof::default()
            })
            .collect();
        let mut message = Message {
            name: node.text("name").unwrap_or_default(),
            visibility: visibility(node),
            options: node.options(),
            ..Message::default()
        };
        for field in fields {
            let oneof = field
                .number_if_set("oneof_index")
                .filter(|_| !field.truth("proto3_optional"))
                .and_then(|index| usize::try_from(index).ok())
                .and_then(|index| oneofs.get_mut(index));
            match (self.member(field, oneof.is_some(), &mut messages), oneof) {
                (Member::Field(field), Some(oneof)) => oneof.fields.push(field),
                (Member::Field(field), None) => message.fields.push(field),
                (Member::Group(group), Some(oneof)) => oneof.groups.push(group),
                (Member::Group(group), None) => message.groups.push(group),
            }
        }
        // The oneof of a proto3 optional field is synthetic and left empty here.
        oneofs.retain(|oneof| !oneof.fields.is_empty() || !oneof.groups.is_empty());
        message.oneofs = oneofs;
        message.extends = self.extends(&node.list("extension"), &mut messages);
        message.messages = messages;
        message.enums = node
            .list("enum_type")
            .iter()
            .map(|nested| self.enum_type(*nested))
            .collect();
        message.reserved = self.reserved(node, 1);
        message.extensions = node
            .list("extension_range")
            .iter()
            .map(|range| Extensions {
                ranges: vec![tag_range(*range, 1)],
                options: range.options(),
            })
            .collect();
        message
    }

    fn extends(&self, fields: &[Node<'_>], messages: &mut Vec<Message>) -> Vec<Extend> {
        let mut extends: Vec<Extend> = Vec::new();
        for field in fields {
            let name = field.text("extendee").unwrap_or_default();
            let index = extends.iter().position(|known| known.name == name);
            let index = index.unwrap_or_else(|| {
                extends.push(Extend {
                    name,
                    ..Extend::default()
                });
                extends.len() - 1
            });
            let member = self.member(*field, false, messages);
            if let Some(extend) = extends.get_mut(index) {
                match member {
                    Member::Field(field) => extend.fields.push(field),
                    Member::Group(group) => extend.groups.push(group),
                }
            }
        }
        extends
    }

    fn member(&self, node: Node<'_>, in_oneof: bool, messages: &mut Vec<Message>) -> Member {
        let label = match node.number("label") {
            LABEL_REPEATED => Some(Label::Repeated),
            LABEL_REQUIRED => Some(Label::Required),
            _ if in_oneof || self.edition || (self.proto3 && !node.truth("proto3_optional")) => {
                None
            }
            _ => Some(Label::Optional),
        };
        let number = node.number("number");
        let type_name = node.text("type_name").unwrap_or_default();
        if node.number("type") == TYPE_GROUP {
            let local = type_name.rsplit('.').next().unwrap_or(&type_name);
            if let Some(at) = messages.iter().position(|message| message.name == local) {
                return Member::Group(Group {
                    label,
                    number,
                    number_at: At::default(),
                    options: node.options(),
                    body: messages.remove(at),
                });
            }
        }
        let field_type = Scalar::from_number(node.number("type"))
            .map_or(FieldType::Named(type_name), FieldType::Scalar);
        let default = node
            .text("default_value")
            .map(|text| default(&field_type, text));
        Member::Field(Field {
            label,
            field_type,
            type_at: At::default(),
            name: node.text("name").unwrap_or_default(),
            at: At::default(),
            number,
            number_at: At::default(),
            options: node.options(),
            default,
            default_at: At::default(),
            json_name: node.text("json_name"),
        })
    }

    fn enum_type(&self, node: Node<'_>) -> EnumType {
        EnumType {
            name: node.text("name").unwrap_or_default(),
            at: At::default(),
            visibility: visibility(node),
            reserved: self.reserved(node, 0),
            options: node.options(),
            constants: node
                .list("value")
                .iter()
                .map(|value| EnumConstant {
                    name: value.text("name").unwrap_or_default(),
                    at: At::default(),
                    number: value.number("number"),
                    number_at: At::default(),
                    options: value.options(),
                })
                .collect(),
        }
    }

    fn reserved(&self, node: Node<'_>, end_excluded: i32) -> Vec<Vec<ReservedItem>> {
        let ranges = node.list("reserved_range");
        let ranges = ranges
            .iter()
            .map(|range| ReservedItem::Range(tag_range(*range, end_excluded)));
        let names = node
            .texts("reserved_name")
            .into_iter()
            .map(if self.edition {
                ReservedItem::Identifier
            } else {
                ReservedItem::Name
            });
        ranges.chain(names).map(|item| vec![item]).collect()
    }
}

enum Member {
    Field(Field),
    Group(Group),
}

/// A default value; that of `bytes` is escaped in a descriptor.
fn default(field_type: &FieldType, text: String) -> Value {
    match field_type {
        FieldType::Scalar(Scalar::String) => Value::String(text),
        FieldType::Scalar(Scalar::Bytes) => {
            let quoted = format!("\"{text}\"");
            let unescaped = tokenize(&quoted).ok().and_then(|tokens| {
                match tokens.tokens.into_iter().next().map(|token| token.kind) {
                    Some(TokenKind::String(value)) => Some(value),
                    _ => None,
                }
            });
            Value::String(unescaped.unwrap_or(text))
        }
        _ => Value::Word(text),
    }
}

fn service(node: Node<'_>) -> Service {
    Service {
        name: node.text("name").unwrap_or_default(),
        at: At::default(),
        options: node.options(),
        rpcs: node
            .list("method")
            .iter()
            .map(|method| Rpc {
                name: method.text("name").unwrap_or_default(),
                at: At::default(),
                request: method.text("input_type").unwrap_or_default(),
                request_at: At::default(),
                request_streams: method.truth("client_streaming"),
                response: method.text("output_type").unwrap_or_default(),
                response_at: At::default(),
                response_streams: method.truth("server_streaming"),
                options: method.options(),
            })
            .collect(),
    }
}

fn tag_range(node: Node<'_>, end_excluded: i32) -> TagRange {
    let start = node.number("start");
    let end = node.number("end").saturating_sub(end_excluded);
    let end = if end_excluded == 1 {
        end.min(MAX_TAG)
    } else {
        end
    };
    TagRange {
        start,
        end,
        spelled_as_range: start != end,
        at: At::default(),
    }
}

/// A descriptor message, read by field name; a missing field reads as its default.
#[derive(Clone, Copy)]
struct Node<'a>(&'a DynamicMessage);

impl<'a> Node<'a> {
    fn set(self, name: &str) -> Option<&'a prost_reflect::Value> {
        let field = self.0.descriptor().get_field_by_name(name)?;
        if !self.0.has_field(&field) {
            return None;
        }
        self.0
            .fields()
            .find(|(known, _)| known.number() == field.number())
            .map(|(_, value)| value)
    }

    fn text(self, name: &str) -> Option<String> {
        self.set(name)?.as_str().map(str::to_owned)
    }

    fn number_if_set(self, name: &str) -> Option<i32> {
        let value = self.set(name)?;
        value.as_i32().or_else(|| value.as_enum_number())
    }

    fn number(self, name: &str) -> i32 {
        self.number_if_set(name).unwrap_or(0)
    }

    fn truth(self, name: &str) -> bool {
        self.set(name)
            .and_then(prost_reflect::Value::as_bool)
            .unwrap_or(false)
    }

    fn items(self, name: &str) -> &'a [prost_reflect::Value] {
        self.set(name)
            .and_then(prost_reflect::Value::as_list)
            .unwrap_or(&[])
    }

    fn texts(self, name: &str) -> Vec<String> {
        self.items(name)
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    fn numbers(self, name: &str) -> Vec<i32> {
        self.items(name)
            .iter()
            .filter_map(prost_reflect::Value::as_i32)
            .collect()
    }

    fn list(self, name: &str) -> Vec<Self> {
        self.items(name)
            .iter()
            .filter_map(|item| item.as_message().map(Node))
            .collect()
    }

    /// The options message of this node, as they would be written.
    fn options(self) -> Vec<OptionNode> {
        let Some(options) = self
            .set("options")
            .and_then(prost_reflect::Value::as_message)
        else {
            return Vec::new();
        };
        let mut result = Vec::new();
        let mut fields: Vec<_> = options.fields().collect();
        fields.sort_by_key(|(field, _)| {
            let rank = OPTION_ORDER.iter().position(|name| *name == field.name());
            (rank.unwrap_or(OPTION_ORDER.len()), field.number())
        });
        for (field, value) in fields {
            if let ("features", prost_reflect::Value::Message(features)) = (field.name(), value) {
                for (field, value) in features.fields() {
                    let name = format!("features.{}", field.name());
                    push_option(&mut result, &name, false, &field, value);
                }
            } else if field.name() != "uninterpreted_option" {
                push_option(&mut result, field.name(), false, &field, value);
            }
        }
        for (extension, value) in options.extensions() {
            let items = match value {
                prost_reflect::Value::List(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            for item in items {
                result.push(OptionNode {
                    name: extension.full_name().to_owned(),
                    extension: true,
                    path: Vec::new(),
                    value: option_value(&extension.kind(), item),
                    at: At::default(),
                    value_at: At::default(),
                });
            }
        }
        result
    }
}

fn push_option(
    into: &mut Vec<OptionNode>,
    name: &str,
    extension: bool,
    field: &FieldDescriptor,
    value: &prost_reflect::Value,
) {
    let items = match value {
        prost_reflect::Value::List(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    for item in items {
        into.push(OptionNode {
            name: name.to_owned(),
            extension,
            path: Vec::new(),
            value: option_value(&field.kind(), item),
            at: At::default(),
            value_at: At::default(),
        });
    }
}

fn option_value(kind: &Kind, value: &prost_reflect::Value) -> Value {
    use prost_reflect::Value as Dynamic;
    match value {
        Dynamic::Bool(truth) => Value::Word(truth.to_string()),
        Dynamic::I32(number) => Value::Number(number.to_string()),
        Dynamic::I64(number) => Value::Number(number.to_string()),
        Dynamic::U32(number) => Value::Number(number.to_string()),
        Dynamic::U64(number) => Value::Number(number.to_string()),
        Dynamic::F32(number) => Value::Number(number.to_string()),
        Dynamic::F64(number) => Value::Number(number.to_string()),
        Dynamic::String(text) => Value::String(text.clone()),
        Dynamic::Bytes(bytes) => {
            Value::String(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        Dynamic::EnumNumber(number) => {
            let constant = kind
                .as_enum()
                .and_then(|enum_type| enum_type.get_value(*number))
                .map(|constant| constant.name().to_owned());
            Value::Word(constant.unwrap_or_else(|| number.to_string()))
        }
        Dynamic::Message(message) => {
            let fields = message.fields().map(|(field, value)| {
                (field.name().to_owned(), option_value(&field.kind(), value))
            });
            let extensions = message.extensions().map(|(extension, value)| {
                (
                    format!("[{}]", extension.full_name()),
                    option_value(&extension.kind(), value),
                )
            });
            Value::Map(fields.chain(extensions).collect())
        }
        Dynamic::List(items) => {
            Value::List(items.iter().map(|item| option_value(kind, item)).collect())
        }
        Dynamic::Map(entries) => {
            let value_kind = kind
                .as_message()
                .map(|entry| entry.map_entry_value_field().kind());
            let mut items: Vec<(String, Value)> = entries
                .iter()
                .map(|(key, value)| {
                    let kind = value_kind.as_ref().unwrap_or(kind);
                    let mut entry = vec![
                        ("key".to_owned(), map_key(key)),
                        ("value".to_owned(), option_value(kind, value)),
                    ];
                    // The reference writes these two the other way round.
                    if matches!(key.as_str(), Some("precision" | "scale")) {
                        entry.reverse();
                    }
                    (format!("{key:?}"), Value::Map(entry))
                })
                .collect();
            items.sort_by(|a, b| a.0.cmp(&b.0));
            Value::List(items.into_iter().map(|(_, item)| item).collect())
        }
    }
}

fn map_key(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(truth) => Value::Word(truth.to_string()),
        MapKey::I32(number) => Value::Number(number.to_string()),
        MapKey::I64(number) => Value::Number(number.to_string()),
        MapKey::U32(number) => Value::Number(number.to_string()),
        MapKey::U64(number) => Value::Number(number.to_string()),
        MapKey::String(text) => Value::String(text.clone()),
    }
}
