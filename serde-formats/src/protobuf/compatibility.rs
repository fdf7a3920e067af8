//! What a new schema breaks for those who hold the old one: the reference's differences, of which
//! only the incompatible kinds are answered.
//!
//! Compares trees, not descriptors. Options, comments, services, extensions, groups, reserved
//! numbers and the syntax line say nothing here, save for the features of editions (see `members`).
//! Fields are matched by number.

mod members;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::members::{Member, MessageFeatures};
use super::ProtobufSchema;
use super::ast::{FieldType, Label, Message, ProtoFile, Scalar};
use super::resolve::{Names, TypeKind, join};
use crate::compatibility::Incompatibility;

/// Every reason `reader` cannot read what `writer` wrote; empty means it can.
#[must_use]
pub fn compare(reader: &ProtobufSchema, writer: &ProtobufSchema) -> Vec<Incompatibility> {
    let mut comparison = Comparison {
        old: Side::new(writer),
        new: Side::new(reader),
        found: Vec::new(),
        pairs: Vec::new(),
        known: HashMap::new(),
    };
    comparison.run();
    comparison
        .found
        .into_iter()
        .map(Found::into_incompatibility)
        .collect()
}

struct Side<'a> {
    file: &'a ProtoFile,
    names: Names<'a>,
    features: MessageFeatures,
}

impl<'a> Side<'a> {
    fn new(schema: &'a ProtobufSchema) -> Self {
        let mut features = MessageFeatures::default();
        features.add_file(&schema.inner.file);
        for reference in &schema.inner.references {
            features.add_file(&reference.file);
        }
        Self {
            file: &schema.inner.file,
            names: schema.names(),
            features,
        }
    }
}

/// A difference before it is worded.
struct Found {
    kind: &'static str,
    path: String,
}

impl Found {
    fn into_incompatibility(self) -> Incompatibility {
        let Self { kind, path } = self;
        let description = description(kind, &path);
        Incompatibility {
            kind,
            message: format!("{{errorType:\"{kind}\", description:\"{description}\"}}"),
            path,
            description,
            additional_info: String::new(),
        }
    }
}

fn description(kind: &str, path: &str) -> String {
    let unlike = "in the %s schema does not match";
    match kind {
        "PACKAGE_CHANGED" => format!("The package {unlike} the package in the %s schema"),
        "MESSAGE_REMOVED" => {
            format!("The %s schema is missing the message at path '{path}' in the %s schema")
        }
        "FIELD_KIND_CHANGED" => {
            format!("The kind of a field at path '{path}' {unlike} its kind in the %s schema")
        }
        "FIELD_SCALAR_KIND_CHANGED" => {
            format!(
                "The kind of a SCALAR field at path '{path}' {unlike} its kind in the %s schema"
            )
        }
        "FIELD_NAMED_TYPE_CHANGED" => {
            format!(
                "The type of a MESSAGE field at path '{path}' {unlike} its type in the %s schema"
            )
        }
        "FIELD_NUMERIC_LABEL_CHANGED" => format!(
            "The label of a numeric field at path '{path}' {unlike} its label in the %s schema"
        ),
        "REQUIRED_FIELD_ADDED" => format!(
            "The required field at path '{path}' in the %s schema is missing in the %s schema"
        ),
        "REQUIRED_FIELD_REMOVED" => {
            format!("The %s schema is missing the required field at path '{path}' in the %s schema")
        }
        "ONEOF_FIELD_REMOVED" => {
            format!("The %s schema is missing the oneof field at path '{path}' in the %s schema")
        }
        "MULTIPLE_FIELDS_MOVED_TO_ONEOF" => format!(
            "Several fields of the oneof at path '{path}' in the %s schema are outside a oneof in \
             the %s schema"
        ),
        "FIELD_MOVED_TO_EXISTING_ONEOF" => format!(
            "A field of the oneof at path '{path}' in the %s schema is outside that oneof in the \
             %s schema"
        ),
        _ => String::new(),
    }
}

/// Two messages of referenced files that fields compare by.
struct Pair<'a> {
    old: &'a Message,
    new: &'a Message,
    old_scope: String,
    new_scope: String,
    path: String,
    incompatible: bool,
    /// Fields whose type this pair is: the pair they are in, if any, and their path.
    users: Vec<(Option<usize>, String)>,
}

struct Comparison<'a> {
    old: Side<'a>,
    new: Side<'a>,
    found: Vec<Found>,
    pairs: Vec<Pair<'a>>,
    /// Place in `pairs` of two messages, by full names.
    known: HashMap<(String, String), usize>,
}

impl<'a> Comparison<'a> {
    fn run(&mut self) {
        let (old, new) = (self.old.file, self.new.file);
        if old.package_name() != new.package_name() {
            self.add("PACKAGE_CHANGED", "#/".to_owned());
        }
        self.types(
            "#",
            old.package_name(),
            &old.messages,
            new.package_name(),
            &new.messages,
        );
        // Messages of referenced files may be deep chains: a list, not recursion.
        let mut next = 0;
        while let Some(pair) = self.pairs.get(next) {
            let (old, new, path) = (pair.old, pair.new, pair.path.clone());
            let (old_scope, new_scope) = (pair.old_scope.clone(), pair.new_scope.clone());
            let before = self.found.len();
            self.message(&path, &old_scope, old, &new_scope, new, Some(next));
            let incompatible = self.found.len() > before;
            if let Some(pair) = self.pairs.get_mut(next) {
                pair.incompatible = incompatible;
            }
            next += 1;
        }
        self.blame_users();
    }

    /// A field whose type is incompatible is itself, and so is the message it is in.
    fn blame_users(&mut self) {
        let pairs = self.pairs.iter().enumerate();
        let mut work: Vec<usize> = pairs
            .filter(|(_, pair)| pair.incompatible)
            .map(|(at, _)| at)
            .collect();
        while let Some(at) = work.pop() {
            let users = self
                .pairs
                .get_mut(at)
                .map(|pair| std::mem::take(&mut pair.users));
            for (within, path) in users.unwrap_or_default() {
                self.add("FIELD_NAMED_TYPE_CHANGED", path);
                if let Some(within) = within
                    && let Some(pair) = self.pairs.get_mut(within)
                    && !pair.incompatible
                {
                    pair.incompatible = true;
                    work.push(within);
                }
            }
        }
    }

    fn add(&mut self, kind: &'static str, path: String) {
        self.found.push(Found { kind, path });
    }

    fn types(
        &mut self,
        path: &str,
        old_scope: &str,
        old: &'a [Message],
        new_scope: &str,
        new: &'a [Message],
    ) {
        let by_name: HashMap<&str, &'a Message> = new
            .iter()
            .map(|message| (message.name.as_str(), message))
            .collect();
        for message in old {
            let path = format!("{path}/{}", message.name);
            match by_name.get(message.name.as_str()) {
                Some(other) => {
                    let old_full = join(old_scope, &message.name);
                    let new_full = join(new_scope, &message.name);
                    self.message(&path, &old_full, message, &new_full, other, None);
                    self.types(
                        &path,
                        &old_full,
                        &message.messages,
                        &new_full,
                        &other.messages,
                    );
                }
                None if message.is_map_entry() => {}
                None => self.add("MESSAGE_REMOVED", path),
            }
        }
    }

    fn message(
        &mut self,
        path: &str,
        old_scope: &str,
        old: &'a Message,
        new_scope: &str,
        new: &'a Message,
        within: Option<usize>,
    ) {
        let old_fields = self.old.features.members(old_scope, old);
        let new_fields = self.new.features.members(new_scope, new);
        for (number, member) in &new_fields {
            let field_path = match member.oneof {
                Some(oneof) => format!("{path}/{oneof}/{number}"),
                None => format!("{path}/{number}"),
            };
            match old_fields.get(number) {
                Some(before) => {
                    let old = Typed::of(before, old_scope);
                    let new = Typed::of(member, new_scope);
                    self.field_types(&field_path, old, new, within);
                }
                None if member.label == Some(Label::Required) => {
                    self.add("REQUIRED_FIELD_ADDED", field_path);
                }
                None => {}
            }
        }
        // Oneofs that are still there, or of which a member is.
        let mut remaining: HashSet<&str> =
            new.oneofs.iter().map(|oneof| oneof.name.as_str()).collect();
        remaining.extend(
            old_fields
                .iter()
                .filter(|(number, _)| new_fields.contains_key(number))
                .filter_map(|(_, member)| member.oneof),
        );
        for (number, member) in &old_fields {
            if new_fields.contains_key(number) {
                continue;
            }
            match member.oneof {
                Some(oneof) if remaining.contains(oneof) => {
                    self.add("ONEOF_FIELD_REMOVED", format!("{path}/{oneof}/{number}"));
                }
                None if member.label == Some(Label::Required) => {
                    self.add("REQUIRED_FIELD_REMOVED", format!("{path}/{number}"));
                }
                Some(_) | None => {}
            }
        }
        self.oneofs(path, &old_fields, new);
    }

    /// A oneof may gather fields from one place only: one oneof, or one field that stood alone.
    fn oneofs(&mut self, path: &str, old_fields: &BTreeMap<i32, Member<'_>>, new: &Message) {
        for oneof in &new.oneofs {
            let mut from_oneofs = HashSet::new();
            let mut stood_alone = 0_usize;
            for field in &oneof.fields {
                match old_fields.get(&field.number).map(|member| member.oneof) {
                    Some(Some(origin)) => {
                        from_oneofs.insert(origin);
                    }
                    Some(None) => stood_alone += 1,
                    None => {}
                }
            }
            if from_oneofs.len() + stood_alone <= 1 {
                continue;
            }
            let kind = if stood_alone > 1 {
                "MULTIPLE_FIELDS_MOVED_TO_ONEOF"
            } else {
                "FIELD_MOVED_TO_EXISTING_ONEOF"
            };
            self.add(kind, format!("{path}/{}", oneof.name));
        }
    }

    fn field_types(&mut self, path: &str, old: Typed<'_>, new: Typed<'_>, within: Option<usize>) {
        let old_kind = kind(&self.old.names, old);
        let new_kind = kind(&self.new.names, new);
        match (old_kind, new_kind) {
            (Kind::Scalar(old_group), Kind::Scalar(new_group)) => {
                if old_group != new_group {
                    self.add("FIELD_SCALAR_KIND_CHANGED", path.to_owned());
                } else if old_group != Group::Text
                    && let (Some(old_label), Some(new_label)) = (old.label, new.label)
                    && old_label != new_label
                {
                    self.add("FIELD_NUMERIC_LABEL_CHANGED", path.to_owned());
                }
            }
            (Kind::Message(_), Kind::Message(_)) if old.delimited != new.delimited => {
                self.add("FIELD_KIND_CHANGED", path.to_owned());
            }
            (Kind::Message(old), Kind::Message(new)) => self.named(path, &old, &new, within),
            (Kind::Map(old_key, old_value), Kind::Map(new_key, new_value)) => {
                if group(old_key) != group(new_key) {
                    self.add("FIELD_SCALAR_KIND_CHANGED", path.to_owned());
                }
                // A value that is itself a map cannot be written; it would only nest once.
                let plain = |typed: &Typed<'_>| !matches!(typed.field_type, FieldType::Map(..));
                if plain(&old_value) && plain(&new_value) {
                    self.field_types(path, old_value, new_value, within);
                }
            }
            _ => self.add("FIELD_KIND_CHANGED", path.to_owned()),
        }
    }

    fn named(&mut self, path: &str, old_name: &str, new_name: &str, within: Option<usize>) {
        let old = self.old.names.get(old_name);
        let new = self.new.names.get(new_name);
        let old_local = local(old_name, old.map_or("", |decl| decl.package));
        let new_local = local(new_name, new.map_or("", |decl| decl.package));
        if old_local != new_local {
            self.add("FIELD_NAMED_TYPE_CHANGED", path.to_owned());
            return;
        }
        let (Some(old), Some(new)) = (old, new) else {
            return;
        };
        if old.own && new.own {
            return;
        }
        let (TypeKind::Message(old_message), TypeKind::Message(new_message)) = (old.kind, new.kind)
        else {
            return;
        };
        let key = (old_name.to_owned(), new_name.to_owned());
        let at = *self.known.entry(key).or_insert_with(|| {
            self.pairs.push(Pair {
                old: old_message,
                new: new_message,
                old_scope: old_name.to_owned(),
                new_scope: new_name.to_owned(),
                path: format!("#/{}", old_local.replace('.', "/")),
                incompatible: false,
                users: Vec::new(),
            });
            self.pairs.len() - 1
        });
        if let Some(pair) = self.pairs.get_mut(at) {
            pair.users.push((within, path.to_owned()));
        }
    }
}

/// The name without its package.
fn local<'n>(full: &'n str, package: &str) -> &'n str {
    if package.is_empty() {
        return full;
    }
    full.strip_prefix(package)
        .and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(full)
}

/// A type with the scope its names are looked up in.
#[derive(Clone, Copy)]
struct Typed<'a> {
    field_type: &'a FieldType,
    scope: &'a str,
    label: Option<Label>,
    delimited: bool,
}

impl<'a> Typed<'a> {
    fn of(member: &Member<'a>, scope: &'a str) -> Self {
        Self {
            field_type: &member.field.field_type,
            scope,
            label: member.label,
            delimited: member.delimited,
        }
    }
}

enum Kind<'a> {
    Scalar(Group),
    /// Full name.
    Message(String),
    Map(Scalar, Typed<'a>),
}

/// Scalars that read each other's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Varint,
    ZigZag,
    Text,
    Fixed32,
    Fixed64,
    Float,
    Double,
}

fn group(scalar: Scalar) -> Group {
    match scalar {
        Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 | Scalar::Bool => {
            Group::Varint
        }
        Scalar::Sint32 | Scalar::Sint64 => Group::ZigZag,
        Scalar::String | Scalar::Bytes => Group::Text,
        Scalar::Fixed32 | Scalar::Sfixed32 => Group::Fixed32,
        Scalar::Fixed64 | Scalar::Sfixed64 => Group::Fixed64,
        Scalar::Float => Group::Float,
        Scalar::Double => Group::Double,
    }
}

fn kind<'a>(names: &Names<'a>, typed: Typed<'a>) -> Kind<'a> {
    match typed.field_type {
        FieldType::Scalar(scalar) => Kind::Scalar(group(*scalar)),
        FieldType::Map(key, value) => Kind::Map(
            *key,
            Typed {
                field_type: value,
                scope: typed.scope,
                label: None,
                delimited: false,
            },
        ),
        FieldType::Named(name) => {
            let Some(full) = names.resolve(typed.scope, name) else {
                return Kind::Message(name.trim_start_matches('.').to_owned());
            };
            match names.get(&full).map(|declared| declared.kind) {
                Some(TypeKind::Enum) => Kind::Scalar(Group::Varint),
                Some(TypeKind::Message(entry)) if entry.is_map_entry() => {
                    map_kind(entry, typed.scope).unwrap_or(Kind::Message(full))
                }
                _ => Kind::Message(full),
            }
        }
    }
}

/// The map that a spelled-out entry stands for.
fn map_kind<'a>(entry: &'a Message, scope: &'a str) -> Option<Kind<'a>> {
    let part = |number| entry.fields.iter().find(|field| field.number == number);
    let FieldType::Scalar(key) = part(1)?.field_type else {
        return None;
    };
    let value = Typed {
        field_type: &part(2)?.field_type,
        scope,
        label: None,
        delimited: false,
    };
    Some(Kind::Map(key, value))
}
