//! The normalised form (`normalize=true`) and the form without extensions.
//!
//! Sorting never touches messages and enums: message indexes count them in order.

use std::collections::HashMap;

use super::ast::{
    EnumType, Extend, Extensions, Field, FieldType, Group, Label, Message, Oneof, OptionNode,
    ProtoFile, ReservedItem, Service, Syntax, TagRange, Value,
};
use super::parse_options::add_entry;
use super::resolve::{Names, join};

/// The normalised file: fully qualified types, sorted members, map entries folded.
pub(super) fn normalize(file: &ProtoFile, names: &Names<'_>) -> ProtoFile {
    let normalizer = Normalizer { names };
    let scope = file.package_name();
    let mut imports = file.imports.clone();
    imports.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    imports.dedup();
    ProtoFile {
        syntax: file.syntax.filter(|syntax| *syntax != Syntax::Proto2),
        package: file.package.clone(),
        package_at: file.package_at,
        objection: None,
        imports,
        options: normalizer.options(scope, &file.options),
        messages: normalizer.messages(scope, &file.messages),
        enums: normalizer.enums(scope, &file.enums),
        extends: normalizer.extends(scope, &file.extends),
        services: file
            .services
            .iter()
            .map(|service| normalizer.service(scope, service))
            .collect(),
    }
}

/// The file without extension ranges, extensions and custom options; the reference keeps its own
/// `confluent.*` options.
pub(super) fn without_extensions(file: &ProtoFile) -> ProtoFile {
    let keep = |option: &OptionNode| !option.extension || option.name.starts_with("confluent.");
    let mut file = file.clone();
    strip_extensions(&mut file, &keep);
    file
}

/// Drops extension ranges and extensions, and every option `keep` refuses.
pub(super) fn strip_extensions(file: &mut ProtoFile, keep: &dyn Fn(&OptionNode) -> bool) {
    file.extends.clear();
    for message in &mut file.messages {
        strip_message_extensions(message);
    }
    retain_options(file, keep);
}

fn strip_message_extensions(message: &mut Message) {
    message.extensions.clear();
    message.extends.clear();
    for nested in &mut message.messages {
        strip_message_extensions(nested);
    }
}

/// Drops every option `keep` refuses, everywhere in the file.
pub(super) fn retain_options(file: &mut ProtoFile, keep: &dyn Fn(&OptionNode) -> bool) {
    file.options.retain(keep);
    file.messages
        .iter_mut()
        .for_each(|message| retain_in_message(message, keep));
    file.enums
        .iter_mut()
        .for_each(|enum_type| retain_in_enum(enum_type, keep));
    file.extends
        .iter_mut()
        .for_each(|extend| retain_in_extend(extend, keep));
    for service in &mut file.services {
        service.options.retain(keep);
        for rpc in &mut service.rpcs {
            rpc.options.retain(keep);
        }
    }
}

fn retain_in_message(message: &mut Message, keep: &dyn Fn(&OptionNode) -> bool) {
    message.options.retain(keep);
    retain_in_fields(&mut message.fields, keep);
    for oneof in &mut message.oneofs {
        oneof.options.retain(keep);
        retain_in_fields(&mut oneof.fields, keep);
        retain_in_groups(&mut oneof.groups, keep);
    }
    retain_in_groups(&mut message.groups, keep);
    message
        .extensions
        .iter_mut()
        .for_each(|ranges| ranges.options.retain(keep));
    message
        .extends
        .iter_mut()
        .for_each(|extend| retain_in_extend(extend, keep));
    message
        .messages
        .iter_mut()
        .for_each(|nested| retain_in_message(nested, keep));
    message
        .enums
        .iter_mut()
        .for_each(|enum_type| retain_in_enum(enum_type, keep));
}

fn retain_in_fields(fields: &mut [Field], keep: &dyn Fn(&OptionNode) -> bool) {
    fields
        .iter_mut()
        .for_each(|field| field.options.retain(keep));
}

fn retain_in_groups(groups: &mut [Group], keep: &dyn Fn(&OptionNode) -> bool) {
    for group in groups {
        group.options.retain(keep);
        retain_in_message(&mut group.body, keep);
    }
}

fn retain_in_extend(extend: &mut Extend, keep: &dyn Fn(&OptionNode) -> bool) {
    retain_in_fields(&mut extend.fields, keep);
    retain_in_groups(&mut extend.groups, keep);
}

fn retain_in_enum(enum_type: &mut EnumType, keep: &dyn Fn(&OptionNode) -> bool) {
    enum_type.options.retain(keep);
    enum_type
        .constants
        .iter_mut()
        .for_each(|constant| constant.options.retain(keep));
}

/// Turns `repeated XEntry x` with a spelled-out entry message into `map<..> x`, in place.
pub(super) fn fold_map_entries(message: &mut Message) {
    message.messages.iter_mut().for_each(fold_map_entries);
    let (entries, messages): (Vec<Message>, Vec<Message>) = std::mem::take(&mut message.messages)
        .into_iter()
        .partition(Message::is_map_entry);
    message.messages = messages;
    let entries: HashMap<&str, &Message> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry))
        .collect();
    for field in &mut message.fields {
        if field.label != Some(Label::Repeated) {
            continue;
        }
        let FieldType::Named(name) = &field.field_type else {
            continue;
        };
        let local = name.rsplit('.').next().unwrap_or(name);
        let Some(entry) = entries.get(local) else {
            continue;
        };
        if let Some(map) = map_type(entry) {
            field.label = None;
            field.field_type = map;
        }
    }
}

fn map_type(entry: &Message) -> Option<FieldType> {
    let typed = |number| entry.fields.iter().find(|field| field.number == number);
    let FieldType::Scalar(key) = typed(1)?.field_type else {
        return None;
    };
    Some(FieldType::Map(key, Box::new(typed(2)?.field_type.clone())))
}

struct Normalizer<'a> {
    names: &'a Names<'a>,
}

impl Normalizer<'_> {
    fn messages(&self, scope: &str, messages: &[Message]) -> Vec<Message> {
        messages
            .iter()
            .map(|message| self.message(scope, message))
            .collect()
    }

    fn message(&self, scope: &str, source: &Message) -> Message {
        let full = join(scope, &source.name);
        let scope = full.as_str();
        let mut folded = source.clone();
        fold_map_entries(&mut folded);
        let mut oneofs: Vec<Oneof> = folded
            .oneofs
            .iter()
            .map(|oneof| self.oneof(scope, oneof))
            .collect();
        oneofs.sort_by_key(|oneof| oneof.fields.iter().map(|field| field.number).min());
        let mut groups = self.groups(scope, &folded.groups);
        groups.sort_by_key(|group| group.number);
        Message {
            name: folded.name.clone(),
            at: folded.at,
            visibility: folded.visibility,
            reserved: reserved(&folded.reserved),
            options: self.options(scope, &folded.options),
            fields: self.fields(scope, &folded.fields),
            oneofs,
            groups,
            extensions: self.extensions(scope, &folded.extensions),
            extends: self.extends(scope, &folded.extends),
            messages: self.messages(scope, &folded.messages),
            enums: self.enums(scope, &folded.enums),
        }
    }

    fn oneof(&self, scope: &str, oneof: &Oneof) -> Oneof {
        Oneof {
            name: oneof.name.clone(),
            at: oneof.at,
            options: self.options(scope, &oneof.options),
            fields: self.fields(scope, &oneof.fields),
            groups: self.groups(scope, &oneof.groups),
        }
    }

    fn groups(&self, scope: &str, groups: &[Group]) -> Vec<Group> {
        groups
            .iter()
            .map(|group| Group {
                label: group.label,
                number: group.number,
                number_at: group.number_at,
                options: self.options(scope, &group.options),
                body: self.message(scope, &group.body),
            })
            .collect()
    }

    fn fields(&self, scope: &str, fields: &[Field]) -> Vec<Field> {
        let mut fields: Vec<Field> = fields
            .iter()
            .map(|field| self.field(scope, field))
            .collect();
        fields.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
        fields
    }

    fn field(&self, scope: &str, field: &Field) -> Field {
        let mut options = field.options.clone();
        if let Some(default) = &field.default {
            options.push(OptionNode::plain("default", default.clone()));
        }
        if let Some(json_name) = &field.json_name {
            options.push(OptionNode::plain(
                "json_name",
                Value::String(json_name.clone()),
            ));
        }
        Field {
            label: field.label,
            field_type: self.field_type(scope, &field.field_type),
            type_at: field.type_at,
            name: field.name.clone(),
            at: field.at,
            number: field.number,
            number_at: field.number_at,
            options: self.options(scope, &options),
            default: None,
            default_at: field.default_at,
            json_name: None,
        }
    }

    fn field_type(&self, scope: &str, field_type: &FieldType) -> FieldType {
        match field_type {
            FieldType::Scalar(scalar) => FieldType::Scalar(*scalar),
            FieldType::Named(name) => FieldType::Named(self.type_name(scope, name)),
            FieldType::Map(key, value) => {
                FieldType::Map(*key, Box::new(self.field_type(scope, value)))
            }
        }
    }

    fn type_name(&self, scope: &str, name: &str) -> String {
        self.names
            .resolve(scope, name)
            .map_or_else(|| name.to_owned(), |full| format!(".{full}"))
    }

    fn extensions(&self, scope: &str, all: &[Extensions]) -> Vec<Extensions> {
        let mut split: Vec<Extensions> = all
            .iter()
            .flat_map(|one| {
                let options = self.options(scope, &one.options);
                one.ranges.iter().map(move |range| Extensions {
                    ranges: vec![shortest(*range)],
                    options: options.clone(),
                })
            })
            .collect();
        split.sort_by_key(|one| one.ranges.first().map(|range| range.start));
        split
    }

    fn extends(&self, scope: &str, extends: &[Extend]) -> Vec<Extend> {
        let mut grouped: Vec<Extend> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for extend in extends {
            let name = self.type_name(scope, &extend.name);
            let place = *places.entry(name).or_insert_with_key(|name| {
                grouped.push(Extend {
                    name: name.clone(),
                    ..Extend::default()
                });
                grouped.len() - 1
            });
            if let Some(known) = grouped.get_mut(place) {
                known.fields.extend(extend.fields.iter().cloned());
                known.groups.extend(self.groups(scope, &extend.groups));
            }
        }
        for extend in &mut grouped {
            extend.fields = self.fields(scope, &extend.fields);
        }
        grouped
    }

    fn enums(&self, scope: &str, enums: &[EnumType]) -> Vec<EnumType> {
        enums
            .iter()
            .map(|source| {
                let full = join(scope, &source.name);
                let mut constants = source.constants.clone();
                for constant in &mut constants {
                    constant.options = self.options(&full, &constant.options);
                }
                constants.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
                EnumType {
                    name: source.name.clone(),
                    at: source.at,
                    visibility: source.visibility,
                    reserved: reserved(&source.reserved),
                    options: self.options(&full, &source.options),
                    constants,
                }
            })
            .collect()
    }

    fn service(&self, scope: &str, service: &Service) -> Service {
        let mut rpcs = service.rpcs.clone();
        for rpc in &mut rpcs {
            rpc.request = self.type_name(scope, &rpc.request);
            rpc.response = self.type_name(scope, &rpc.response);
            rpc.options = self.options(scope, &rpc.options);
        }
        Service {
            name: service.name.clone(),
            at: service.at,
            options: self.options(scope, &service.options),
            rpcs,
        }
    }

    /// Sorted by name; the parts of one custom option that are given apart become one value.
    fn options(&self, scope: &str, options: &[OptionNode]) -> Vec<OptionNode> {
        let mut result: Vec<OptionNode> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for option in options {
            let resolved = option
                .extension
                .then(|| self.names.resolve_extension(scope, &option.name))
                .flatten();
            let Some((name, repeated)) = resolved else {
                let mut kept = option.clone();
                kept.value = self.value(scope, &option.value);
                result.push(kept);
                continue;
            };
            let mut value = option.value.clone();
            for part in option.path.iter().rev() {
                value = Value::Map(vec![(part.clone(), value)]);
            }
            let earlier = places.get(&name).and_then(|place| result.get_mut(*place));
            if let Some(earlier) = earlier
                && !repeated
                && let Value::Map(into) = &mut earlier.value
                && let Value::Map(from) = value
            {
                merge(into, from, option.path.len());
                continue;
            }
            places.insert(name.clone(), result.len());
            result.push(OptionNode {
                name,
                extension: true,
                path: Vec::new(),
                value,
                at: option.at,
                value_at: option.value_at,
            });
        }
        for option in &mut result {
            option.value = self.value(scope, &option.value);
        }
        result.sort_by(|a, b| a.name.cmp(&b.name));
        result
    }

    fn value(&self, scope: &str, value: &Value) -> Value {
        match value {
            Value::String(_) | Value::Word(_) => value.clone(),
            Value::Number(text) => Value::Number(number(text)),
            Value::List(items) => {
                let mut items: Vec<Value> =
                    items.iter().map(|item| self.value(scope, item)).collect();
                match items.len() {
                    1 => items.pop().unwrap_or(Value::List(Vec::new())),
                    _ => Value::List(items),
                }
            }
            Value::Map(entries) => {
                let mut entries: Vec<(String, Value)> = entries
                    .iter()
                    .filter(|(_, entry)| *entry != Value::List(Vec::new()))
                    .map(|(key, entry)| (self.key(scope, key), self.value(scope, entry)))
                    .collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Map(entries)
            }
        }
    }

    /// A map key: an extension's name in brackets is spelled in full.
    fn key(&self, scope: &str, key: &str) -> String {
        let name = key
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        name.and_then(|name| self.names.resolve_extension(scope, name))
            .map_or_else(|| key.to_owned(), |(full, _)| format!("[{full}]"))
    }
}

/// Adds the entries of `from`; the first `shared` levels are one message given in parts.
fn merge(into: &mut Vec<(String, Value)>, from: Vec<(String, Value)>, shared: usize) {
    for (key, value) in from {
        let known = into.iter_mut().find(|(name, _)| *name == key);
        match (known, value) {
            (Some((_, Value::Map(into))), Value::Map(from)) if shared > 1 => {
                merge(into, from, shared - 1);
            }
            (_, value) => add_entry(into, key, value),
        }
    }
}

/// One item a statement: ranges by number, then names.
fn reserved(statements: &[Vec<ReservedItem>]) -> Vec<Vec<ReservedItem>> {
    let mut ranges: Vec<TagRange> = Vec::new();
    let mut names: Vec<(&String, &ReservedItem)> = Vec::new();
    for item in statements.iter().flatten() {
        match item {
            ReservedItem::Range(range) => ranges.push(shortest(*range)),
            ReservedItem::Name(name) | ReservedItem::Identifier(name) => names.push((name, item)),
        }
    }
    ranges.sort_by_key(|range| range.start);
    names.sort_by_key(|(name, _)| *name);
    ranges
        .into_iter()
        .map(ReservedItem::Range)
        .chain(names.into_iter().map(|(_, item)| item.clone()))
        .map(|item| vec![item])
        .collect()
}

fn shortest(range: TagRange) -> TagRange {
    TagRange {
        spelled_as_range: range.start != range.end,
        ..range
    }
}

/// A number without suffix and without zeros that say nothing.
fn number(text: &str) -> String {
    if text.starts_with("0x") || text.starts_with("-0x") {
        return text.to_owned();
    }
    let text = text.trim_end_matches(['f', 'F']);
    if text.is_empty() || text.ends_with("in") || text.contains(['e', 'E']) {
        return if text.ends_with("in") {
            format!("{text}f")
        } else {
            text.to_owned()
        };
    }
    match text.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            match (whole, fraction) {
                (whole, "") => if whole.is_empty() { "0" } else { whole }.to_owned(),
                ("", fraction) => format!("0.{fraction}"),
                (whole, fraction) => format!("{whole}.{fraction}"),
            }
        }
        None => text.to_owned(),
    }
}
