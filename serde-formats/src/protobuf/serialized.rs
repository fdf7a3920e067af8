//! [`ProtoFile`] to a serialized `FileDescriptorProto`, as the reference answers `format=serialized`.
//!
//! Type names stay as written, oneof members come before other fields, groups are left out, and of
//! the options only the well-known ones and Confluent's are kept: all as the reference does.

use super::ast::{
    EnumType, Extend, Field, FieldType, ImportKind, Label, Message, OptionNode, ProtoFile,
    ReservedItem, Scalar, Service, Syntax, Value, Visibility,
};
use super::bundled;
use super::link::chosen;
use super::option_numbers::{
    CONSTANT_OPTIONS, EDITIONS, ENUM_OPTIONS, Encoding, FEATURES, FIELD_OPTIONS, FILE_OPTIONS,
    Known, MESSAGE_OPTIONS, METHOD_OPTIONS, RANGE_OPTIONS, SERVICE_OPTIONS,
};
use super::parse_text::parse_integer;
use super::resolve::{Names, TypeKind, join};

const TYPE_MESSAGE: i32 = 11;
const TYPE_ENUM: i32 = 14;
/// Number of Confluent's extension in every kind of options.
const CONFLUENT_META: u32 = 1088;

/// The bytes of a message of editions, numbers, truths and texts.
fn flat_message(entries: &[(String, Value)], fields: &[(&str, u32)]) -> Wire {
    let mut out = Wire::default();
    for (name, number) in fields {
        match entries.iter().find(|(key, _)| key == name) {
            Some((_, Value::String(text))) => out.text(*number, text),
            Some((_, Value::Word(word))) => {
                let known = EDITIONS.iter().find(|(name, _)| name == word);
                if let Some((_, edition)) = known {
                    out.number(*number, *edition);
                } else {
                    out.number(*number, (word == "true").into());
                }
            }
            Some((_, Value::Number(text))) => {
                if let Some(value) = parse_integer(text) {
                    out.number(*number, value);
                }
            }
            _ => {}
        }
    }
    out
}

/// The bytes of a `FeatureSet`.
fn features(options: &[OptionNode]) -> Wire {
    let mut out = Wire::default();
    for (name, number, first, values) in FEATURES {
        let set = chosen(options).filter(|(own, _)| *own == name).last();
        let value = set.and_then(|(_, value)| values.iter().position(|one| *one == value));
        if let Some(value) = value {
            out.index(number, first + value);
        }
    }
    out
}

/// The bytes of the descriptor.
pub(super) fn serialize<'a>(
    file: &'a ProtoFile,
    names: &'a Names<'a>,
    has_reference: &dyn Fn(&str) -> bool,
) -> Vec<u8> {
    let writer = Writer { names };
    let mut out = Wire::default();
    out.text(1, "default");
    if let Some(package) = &file.package {
        out.text(2, package);
    }
    let mut paths: Vec<&str> = Vec::new();
    let mut public = Vec::new();
    for kind in [ImportKind::Plain, ImportKind::Weak, ImportKind::Public] {
        for import in file.imports.iter().filter(|import| import.kind == kind) {
            let path = import.path.as_str();
            let found = has_reference(path) || bundled::is_known(path);
            if !found || paths.contains(&path) {
                continue;
            }
            if kind == ImportKind::Public {
                public.push(paths.len());
            }
            paths.push(path);
        }
    }
    for path in paths {
        out.text(3, path);
    }
    let scope = file.package_name();
    for message in &file.messages {
        out.bytes(4, &writer.message(scope, message));
    }
    for enum_type in &file.enums {
        out.bytes(5, &enum_bytes(enum_type));
    }
    for service in &file.services {
        out.bytes(6, &service_bytes(service));
    }
    writer.extends(&mut out, 7, scope, &file.extends);
    options(&mut out, 8, &file.options, FILE_OPTIONS, "file_meta");
    for index in public {
        out.index(10, index);
    }
    match file.syntax {
        Some(Syntax::Edition(edition)) => {
            out.text(12, "editions");
            out.number(14, edition.number().into());
        }
        Some(syntax) => out.text(12, syntax.name()),
        None => {}
    }
    for import in &file.imports {
        if import.kind == ImportKind::Option {
            out.text(15, &import.path);
        }
    }
    out.0
}

struct Writer<'a> {
    names: &'a Names<'a>,
}

impl Writer<'_> {
    fn message(&self, scope: &str, message: &Message) -> Vec<u8> {
        let scope = join(scope, &message.name);
        let mut out = Wire::default();
        out.text(1, &message.name);
        let mut oneofs: Vec<String> = Vec::new();
        for oneof in &message.oneofs {
            for field in &oneof.fields {
                let field = self.field(&scope, field, Placed::Oneof(oneofs.len()));
                out.bytes(2, &field);
            }
            oneofs.push(oneof.name.clone());
        }
        let proto3_optional = |field: &Field| field.label == Some(Label::Optional);
        let mut entries = Vec::new();
        for field in &message.fields {
            let placed = if self.is_proto3() && proto3_optional(field) {
                oneofs.push(format!("_{}", field.name));
                Placed::Synthetic(oneofs.len() - 1)
            } else {
                Placed::Plain
            };
            out.bytes(2, &self.field(&scope, field, placed));
            if let FieldType::Map(key, value) = &field.field_type {
                entries.push(self.map_entry(&scope, &field.name, *key, value));
            }
        }
        for nested in &message.messages {
            out.bytes(3, &self.message(&scope, nested));
        }
        for entry in entries {
            out.bytes(3, &entry);
        }
        for enum_type in &message.enums {
            out.bytes(4, &enum_bytes(enum_type));
        }
        for one in &message.extensions {
            for range in &one.ranges {
                let mut bytes = range_bytes(range.start, range.end.saturating_add(1));
                let length = bytes.0.len();
                options(&mut bytes, 3, &one.options, RANGE_OPTIONS, "");
                // The reference writes the options of a range even when there are none.
                if bytes.0.len() == length {
                    bytes.bytes(3, &[]);
                }
                out.bytes(5, &bytes.0);
            }
        }
        self.extends(&mut out, 6, &scope, &message.extends);
        options(
            &mut out,
            7,
            &message.options,
            MESSAGE_OPTIONS,
            "message_meta",
        );
        for name in oneofs {
            let mut oneof = Wire::default();
            oneof.text(1, &name);
            oneof.bytes(2, &[]);
            out.bytes(8, &oneof.0);
        }
        reserved(&mut out, 9, 1, &message.reserved);
        visibility(&mut out, 11, message.visibility);
        out.0
    }

    fn is_proto3(&self) -> bool {
        self.names.proto3()
    }

    fn field(&self, scope: &str, field: &Field, placed: Placed) -> Vec<u8> {
        let mut out = Wire::default();
        out.text(1, &field.name);
        out.number(3, field.number.into());
        let label = match (field.label, placed) {
            (_, Placed::Oneof(_)) | (Some(Label::Optional), _) => Some(1),
            (Some(Label::Required), _) => Some(2),
            (Some(Label::Repeated), _) => Some(3),
            (None, _) if matches!(field.field_type, FieldType::Map(..)) => Some(3),
            (None, _) => None,
        };
        if let Some(label) = label {
            out.number(4, label);
        }
        match &field.field_type {
            FieldType::Map(..) => out.text(6, &entry_name(&field.name)),
            other => self.field_type(&mut out, scope, other),
        }
        if let Some(default) = &field.default {
            match default {
                Value::String(text) | Value::Number(text) | Value::Word(text) => out.text(7, text),
                Value::Map(_) | Value::List(_) => {}
            }
        }
        options(&mut out, 8, &field.options, FIELD_OPTIONS, "field_meta");
        match placed {
            Placed::Oneof(index) | Placed::Synthetic(index) => out.index(9, index),
            Placed::Plain => {}
        }
        if let Some(json_name) = &field.json_name {
            out.text(10, json_name);
        }
        if matches!(placed, Placed::Synthetic(_)) {
            out.number(17, 1);
        }
        out.0
    }

    fn field_type(&self, out: &mut Wire, scope: &str, field_type: &FieldType) {
        match field_type {
            FieldType::Scalar(scalar) => out.number(5, scalar.number().into()),
            FieldType::Named(name) => {
                let declared = self
                    .names
                    .resolve(scope, name)
                    .and_then(|full| self.names.get(&full));
                match declared.map(|declared| declared.kind) {
                    Some(TypeKind::Message(_)) => out.number(5, TYPE_MESSAGE.into()),
                    Some(TypeKind::Enum) => out.number(5, TYPE_ENUM.into()),
                    None => {}
                }
                out.text(6, name);
            }
            FieldType::Map(..) => {}
        }
    }

    fn map_entry(&self, scope: &str, field: &str, key: Scalar, value: &FieldType) -> Vec<u8> {
        let mut out = Wire::default();
        out.text(1, &entry_name(field));
        for (name, number, part) in [("key", 1, &FieldType::Scalar(key)), ("value", 2, value)] {
            let mut bytes = Wire::default();
            bytes.text(1, name);
            bytes.number(3, number);
            self.field_type(&mut bytes, scope, part);
            out.bytes(2, &bytes.0);
        }
        let mut entry = Wire::default();
        entry.number(7, 1);
        out.bytes(7, &entry.0);
        out.0
    }

    fn extends(&self, out: &mut Wire, number: u32, scope: &str, extends: &[Extend]) {
        for extend in extends {
            for field in &extend.fields {
                let mut field_bytes = Wire::default();
                let plain = self.field(scope, field, Placed::Plain);
                // The extendee is field 2, right after the name.
                let name_length = Wire::with_text(1, &field.name).0.len();
                field_bytes
                    .0
                    .extend_from_slice(plain.get(..name_length).unwrap_or(&[]));
                field_bytes.text(2, &extend.name);
                field_bytes
                    .0
                    .extend_from_slice(plain.get(name_length..).unwrap_or(&[]));
                out.bytes(number, &field_bytes.0);
            }
        }
    }
}

/// Where a field stands in its message; the number is its oneof's index.
#[derive(Clone, Copy)]
enum Placed {
    Plain,
    Oneof(usize),
    Synthetic(usize),
}

/// The name of a map's entry message, as the reference makes it.
fn entry_name(field: &str) -> String {
    if !field.contains('_') {
        return format!("{field}Entry");
    }
    let mut name = String::new();
    for part in field.split('_') {
        let mut chars = part.chars();
        name.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(chars.as_str());
    }
    name.push_str("Entry");
    name
}

fn enum_bytes(enum_type: &EnumType) -> Vec<u8> {
    let mut out = Wire::default();
    out.text(1, &enum_type.name);
    for constant in &enum_type.constants {
        let mut bytes = Wire::default();
        bytes.text(1, &constant.name);
        bytes.number(2, constant.number.into());
        options(
            &mut bytes,
            3,
            &constant.options,
            CONSTANT_OPTIONS,
            "enum_value_meta",
        );
        out.bytes(2, &bytes.0);
    }
    options(&mut out, 3, &enum_type.options, ENUM_OPTIONS, "enum_meta");
    reserved(&mut out, 4, 0, &enum_type.reserved);
    visibility(&mut out, 6, enum_type.visibility);
    out.0
}

fn service_bytes(service: &Service) -> Vec<u8> {
    let mut out = Wire::default();
    out.text(1, &service.name);
    for rpc in &service.rpcs {
        let mut bytes = Wire::default();
        bytes.text(1, &rpc.name);
        bytes.text(2, &rpc.request);
        bytes.text(3, &rpc.response);
        options(&mut bytes, 4, &rpc.options, METHOD_OPTIONS, "");
        bytes.number(5, rpc.request_streams.into());
        bytes.number(6, rpc.response_streams.into());
        out.bytes(2, &bytes.0);
    }
    options(&mut out, 3, &service.options, SERVICE_OPTIONS, "");
    out.0
}

/// Ranges under `number`, names under the number after it.
fn reserved(out: &mut Wire, number: u32, end_excluded: i32, statements: &[Vec<ReservedItem>]) {
    for item in statements.iter().flatten() {
        if let ReservedItem::Range(range) = item {
            let bytes = range_bytes(range.start, range.end.saturating_add(end_excluded));
            out.bytes(number, &bytes.0);
        }
    }
    for item in statements.iter().flatten() {
        if let ReservedItem::Name(name) | ReservedItem::Identifier(name) = item {
            out.text(number + 1, name);
        }
    }
}

fn visibility(out: &mut Wire, number: u32, visibility: Option<Visibility>) {
    match visibility {
        Some(Visibility::Local) => out.number(number, 1),
        Some(Visibility::Export) => out.number(number, 2),
        None => {}
    }
}

fn range_bytes(start: i32, end: i32) -> Wire {
    let mut out = Wire::default();
    out.number(1, start.into());
    out.number(2, end.into());
    out
}

/// The options message under `number`, left out when nothing in it is known.
fn options(out: &mut Wire, number: u32, options: &[OptionNode], known: Known, meta: &str) {
    let mut bytes = Wire::default();
    for (name, number, encoding) in known {
        let given = options.iter().filter(|option| option.is_plain(name));
        match encoding {
            Encoding::Features => {
                let features = features(options);
                if !features.0.is_empty() {
                    bytes.bytes(*number, &features.0);
                }
                continue;
            }
            Encoding::List(first, constants) => {
                for option in given {
                    let Value::Word(word) = &option.value else {
                        continue;
                    };
                    if let Some(index) = constants.iter().position(|one| one == word) {
                        bytes.index(*number, first + index);
                    }
                }
                continue;
            }
            Encoding::Messages(fields) => {
                for option in given {
                    if let Value::Map(entries) = &option.value {
                        bytes.bytes(*number, &flat_message(entries, fields).0);
                    }
                }
                continue;
            }
            Encoding::Text | Encoding::Truth | Encoding::Constants(..) => {}
        }
        let Some(option) = options.iter().rev().find(|option| option.is_plain(name)) else {
            continue;
        };
        match (encoding, &option.value) {
            (Encoding::Text, Value::String(text)) => bytes.text(*number, text),
            (Encoding::Truth, Value::Word(word)) => bytes.number(*number, (word == "true").into()),
            (Encoding::Constants(first, constants), Value::Word(word)) => {
                let index = constants.iter().position(|constant| constant == word);
                if let Some(index) = index {
                    bytes.index(*number, first + index);
                }
            }
            _ => {}
        }
    }
    let mut meta_bytes = Meta::default();
    for option in options.iter().filter(|option| option.extension) {
        let name = option
            .name
            .trim_start_matches('.')
            .strip_prefix("confluent.");
        if name != Some(meta) {
            continue;
        }
        match (option.path.as_slice(), &option.value) {
            ([], Value::Map(entries)) => {
                entries
                    .iter()
                    .for_each(|(key, value)| meta_bytes.set(key, value));
            }
            ([key], value) => meta_bytes.set(key, value),
            _ => {}
        }
    }
    let meta_bytes = meta_bytes.encode();
    if !meta_bytes.is_empty() {
        bytes.bytes(CONFLUENT_META, &meta_bytes);
    }
    if !bytes.0.is_empty() {
        out.bytes(number, &bytes.0);
    }
}

/// `confluent.Meta`.
#[derive(Default)]
struct Meta {
    doc: Option<String>,
    params: Vec<(String, String)>,
    tags: Vec<String>,
    rules: Vec<[Option<String>; 4]>,
}

impl Meta {
    fn set(&mut self, key: &str, value: &Value) {
        let items = match value {
            Value::List(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            match (key, item) {
                ("doc", Value::String(text)) => self.doc = Some(text.clone()),
                ("tags", Value::String(text)) => self.tags.push(text.clone()),
                ("params", Value::Map(entry)) => {
                    let part = |name| text_of(entry, name).unwrap_or_default();
                    self.params.push((part("key"), part("value")));
                }
                ("rules", Value::Map(entry)) => {
                    self.rules
                        .push(["name", "doc", "expr", "sql"].map(|name| text_of(entry, name)));
                }
                _ => {}
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Wire::default();
        if let Some(doc) = &self.doc {
            out.text(1, doc);
        }
        for (key, value) in &self.params {
            let mut entry = Wire::default();
            entry.text(1, key);
            entry.text(2, value);
            out.bytes(2, &entry.0);
        }
        for tag in &self.tags {
            out.text(3, tag);
        }
        for rule in &self.rules {
            let mut bytes = Wire::default();
            for (number, part) in (1..).zip(rule) {
                if let Some(text) = part {
                    bytes.text(number, text);
                }
            }
            out.bytes(4, &bytes.0);
        }
        out.0
    }
}

fn text_of(entry: &[(String, Value)], name: &str) -> Option<String> {
    entry
        .iter()
        .find(|(key, _)| key == name)
        .and_then(|(_, value)| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(text) => parse_integer(text).map(|number| number.to_string()),
            _ => None,
        })
}

/// A protobuf message under construction.
#[derive(Default)]
struct Wire(Vec<u8>);

impl Wire {
    fn with_text(number: u32, text: &str) -> Self {
        let mut out = Self::default();
        out.text(number, text);
        out
    }

    fn text(&mut self, number: u32, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A signed number as `int32` writes it.
    fn number(&mut self, number: u32, value: i64) {
        self.varint(u64::from(number) << 3);
        self.varint(value.cast_unsigned());
    }

    /// A position in a list.
    fn index(&mut self, number: u32, value: usize) {
        self.varint(u64::from(number) << 3);
        self.varint(value as u64);
    }

    fn varint(&mut self, value: u64) {
        prost::encoding::encode_varint(value, &mut self.0);
    }
}
