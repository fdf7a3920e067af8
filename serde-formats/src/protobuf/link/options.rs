//! Options: each must be declared, stand where it is meant to, and have a value of its type.
//!
//! What an option is comes from `google/protobuf/descriptor.proto` like anything else, so known
//! and custom options, and the fields inside their values, are judged by the same few functions.

use std::collections::HashSet;

use super::super::ast::{
    Edition, EnumType, Field, FieldType, Group, Label, Message, OptionNode, Scalar, Syntax, Value,
};
use super::super::resolve::join;
use super::LinkError;
use super::symbols::{Kind, Member, Symbols, View, parent};
use super::values::{Form, integer, misfit};

/// Deepest nesting of a value's messages.
const MAX_DEPTH: usize = 32;

/// What an option is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    File,
    Message,
    Field,
    Oneof,
    ExtensionRange,
    Enum,
    EnumValue,
    Service,
    Method,
}

impl Target {
    /// The message whose fields are the options.
    const fn options(self) -> &'static str {
        match self {
            Self::File => "google.protobuf.FileOptions",
            Self::Message => "google.protobuf.MessageOptions",
            Self::Field => "google.protobuf.FieldOptions",
            Self::Oneof => "google.protobuf.OneofOptions",
            Self::ExtensionRange => "google.protobuf.ExtensionRangeOptions",
            Self::Enum => "google.protobuf.EnumOptions",
            Self::EnumValue => "google.protobuf.EnumValueOptions",
            Self::Service => "google.protobuf.ServiceOptions",
            Self::Method => "google.protobuf.MethodOptions",
        }
    }

    /// The constant of `FieldOptions.OptionTargetType`.
    const fn constant(self) -> &'static str {
        match self {
            Self::File => "TARGET_TYPE_FILE",
            Self::Message => "TARGET_TYPE_MESSAGE",
            Self::Field => "TARGET_TYPE_FIELD",
            Self::Oneof => "TARGET_TYPE_ONEOF",
            Self::ExtensionRange => "TARGET_TYPE_EXTENSION_RANGE",
            Self::Enum => "TARGET_TYPE_ENUM",
            Self::EnumValue => "TARGET_TYPE_ENUM_ENTRY",
            Self::Service => "TARGET_TYPE_SERVICE",
            Self::Method => "TARGET_TYPE_METHOD",
        }
    }
}

/// Judges the options of one file.
pub(super) struct Interpreter<'i, 'a> {
    pub(super) symbols: &'i Symbols<'a>,
    /// What the file sees; `None` sees everything.
    pub(super) view: Option<&'i View>,
    pub(super) syntax: Option<Syntax>,
    /// Options that nobody declares pass.
    pub(super) unknown_pass: bool,
}

/// A field that an option, or a part of one, names.
struct Part<'a> {
    /// Number of the field, which tells fields of one message apart.
    number: i32,
    repeated: bool,
    kind: PartKind<'a>,
    /// Options on the declaration, for its targets.
    options: &'a [OptionNode],
    oneof: Option<&'a str>,
}

enum PartKind<'a> {
    Scalar(Scalar),
    Enum(&'a EnumType),
    /// Full name and node.
    Message(String, &'a Message),
    /// The scope in which the value's type is named.
    Map(Scalar, &'a FieldType, String),
}

impl<'a> Interpreter<'_, 'a> {
    /// Checks `options`, written in `scope` on a `target`.
    pub(super) fn check(
        &self,
        scope: &str,
        options: &[OptionNode],
        target: Target,
    ) -> Result<(), LinkError> {
        let full = target.options();
        let Some(Kind::Message(node)) = self.symbols.get(full).map(|symbol| symbol.kind) else {
            return Ok(());
        };
        // Every field that is set, and every message around one.
        let mut set: HashSet<Vec<i32>> = HashSet::new();
        let mut around: HashSet<Vec<i32>> = HashSet::new();
        for option in options {
            self.one(scope, option, (full, node), target, &mut set, &mut around)
                .map_err(|message| LinkError::new(option.at, message))?;
        }
        Ok(())
    }

    fn one(
        &self,
        scope: &str,
        option: &OptionNode,
        (full, node): (&str, &'a Message),
        target: Target,
        set: &mut HashSet<Vec<i32>>,
        around: &mut HashSet<Vec<i32>>,
    ) -> Result<(), String> {
        let mut names: Vec<(bool, &str)> = Vec::new();
        if option.extension {
            names.push((true, &option.name));
        } else {
            names.extend(option.name.split('.').map(|part| (false, part)));
        }
        names.extend(option.path.iter().map(|part| {
            let inner = part.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
            inner.map_or((false, part.as_str()), |inner| (true, inner))
        }));
        if names.first() == Some(&(false, "uninterpreted_option")) {
            return Err("the option \"uninterpreted_option\" is reserved".to_owned());
        }
        if names.len() > MAX_DEPTH {
            return Err(format!("an option of more than {MAX_DEPTH} parts"));
        }
        let shown = shown(&names);
        let mut message = (full.to_owned(), node);
        let mut path = Vec::with_capacity(names.len());
        let last = names.len().saturating_sub(1);
        for (index, (extension, name)) in names.iter().enumerate() {
            let part = if *extension {
                self.extension(scope, name, &message.0)?
            } else {
                self.field(&message.0, message.1, name)
            };
            let Some(part) = part else {
                if self.unknown_pass && index == 0 {
                    return Ok(());
                }
                return Err(format!(
                    "option \"{shown}\" is unknown; import the file that declares it"
                ));
            };
            self.placed(&part, name, target)?;
            path.push(part.number);
            if index < last {
                let PartKind::Message(inner, node) = part.kind else {
                    return Err(format!("option \"{shown}\": \"{name}\" is not a message"));
                };
                if part.repeated {
                    return Err(format!(
                        "option \"{shown}\": \"{name}\" is a repeated message, set it as a whole"
                    ));
                }
                around.insert(path.clone());
                message = (inner, node);
                continue;
            }
            if !part.repeated && (set.contains(&path) || around.contains(&path)) {
                return Err(format!("option \"{shown}\" was already set"));
            }
            self.statement(&shown, &part, &option.value, target)?;
            set.insert(path.clone());
            self.mark(&part, &option.value, &mut path, set);
        }
        if names
            .first()
            .is_some_and(|(extension, name)| !extension && *name == "features")
            && !matches!(self.syntax, Some(Syntax::Edition(_)))
        {
            return Err("features are for editions only".to_owned());
        }
        Ok(())
    }

    /// Notes the fields that a message as a value sets, so that they are not set again.
    fn mark(
        &self,
        part: &Part<'a>,
        value: &Value,
        path: &mut Vec<i32>,
        set: &mut HashSet<Vec<i32>>,
    ) {
        let (false, PartKind::Message(full, node), Value::Map(entries)) =
            (part.repeated, &part.kind, value)
        else {
            return;
        };
        for (key, value) in entries {
            let Ok(Some(inner)) = self.entry(full, node, key) else {
                continue;
            };
            path.push(inner.number);
            set.insert(path.clone());
            self.mark(&inner, value, path, set);
            path.pop();
        }
    }

    /// The value of an option statement.
    fn statement(
        &self,
        shown: &str,
        part: &Part<'a>,
        value: &Value,
        target: Target,
    ) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("option \"{shown}\": {what}"));
        match (&part.kind, value) {
            (PartKind::Scalar(scalar), value) => match misfit(*scalar, value, Form::Statement) {
                Some(what) => wrong(what),
                None => Ok(()),
            },
            (PartKind::Enum(node), Value::Word(word)) => {
                if !node.constants.iter().any(|constant| constant.name == *word) {
                    return wrong(&format!(
                        "enum \"{}\" has no value named \"{word}\"",
                        node.name
                    ));
                }
                if word.ends_with("_UNKNOWN") && is_feature(node) {
                    return wrong("a feature must have a known value");
                }
                Ok(())
            }
            (PartKind::Enum(_), _) => wrong("expected the name of an enum's value"),
            (PartKind::Message(full, node), Value::Map(entries)) => self
                .message(full, node, entries, target, 0)
                .or_else(|what| wrong(&what)),
            (PartKind::Map(key, value_type, scope), Value::Map(entries)) => self
                .map_entry(*key, value_type, scope, entries, target, 0)
                .or_else(|what| wrong(&what)),
            (PartKind::Message(..) | PartKind::Map(..), _) => wrong("expected a message in braces"),
        }
    }

    /// A message in text format.
    fn message(
        &self,
        full: &str,
        node: &'a Message,
        entries: &[(String, Value)],
        target: Target,
        depth: usize,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("the value nests deeper than {MAX_DEPTH}"));
        }
        let mut numbers = HashSet::new();
        let mut oneofs: HashSet<&str> = HashSet::new();
        for (key, value) in entries {
            // The type of an `Any` is known to the runtime alone.
            if key.contains('/') {
                continue;
            }
            let Some(part) = self.entry(full, node, key)? else {
                return Err(format!("message \"{full}\" has no field named \"{key}\""));
            };
            self.placed(&part, key, target)?;
            numbers.insert(part.number);
            if let Some(oneof) = part.oneof
                && !oneofs.insert(oneof)
            {
                return Err(format!("two fields of oneof \"{oneof}\" are set"));
            }
            match value {
                Value::List(items) if part.repeated => {
                    for item in items {
                        self.text(&part, key, item, target, depth)?;
                    }
                }
                Value::List(_) => {
                    return Err(format!(
                        "field \"{key}\" is not repeated and has many values"
                    ));
                }
                value => self.text(&part, key, value, target, depth)?,
            }
        }
        let required = node
            .fields
            .iter()
            .find(|field| field.label == Some(Label::Required) && !numbers.contains(&field.number));
        match required {
            Some(field) => Err(format!("required field \"{}\" is missing", field.name)),
            None => Ok(()),
        }
    }

    /// One value in text format.
    fn text(
        &self,
        part: &Part<'a>,
        key: &str,
        value: &Value,
        target: Target,
        depth: usize,
    ) -> Result<(), String> {
        match (&part.kind, value) {
            (PartKind::Scalar(scalar), value) => match misfit(*scalar, value, Form::Text) {
                Some(what) => Err(format!("field \"{key}\": {what}")),
                None => Ok(()),
            },
            (PartKind::Enum(node), value) => {
                let known = match value {
                    Value::Word(word) => node.constants.iter().any(|one| one.name == *word),
                    other => integer(other).is_some_and(|number| {
                        node.constants
                            .iter()
                            .any(|one| i128::from(one.number) == number)
                    }),
                };
                if known {
                    return Ok(());
                }
                Err(format!(
                    "field \"{key}\": not a value of enum \"{}\"",
                    node.name
                ))
            }
            (PartKind::Message(full, node), Value::Map(entries)) => {
                self.message(full, node, entries, target, depth + 1)
            }
            (PartKind::Map(key, value_type, scope), Value::Map(entries)) => {
                self.map_entry(*key, value_type, scope, entries, target, depth + 1)
            }
            (PartKind::Message(..) | PartKind::Map(..), _) => {
                Err(format!("field \"{key}\": expected a message in braces"))
            }
        }
    }

    fn map_entry(
        &self,
        key_type: Scalar,
        value_type: &'a FieldType,
        scope: &str,
        entries: &[(String, Value)],
        target: Target,
        depth: usize,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("the value nests deeper than {MAX_DEPTH}"));
        }
        for (key, value) in entries {
            let kind = match key.as_str() {
                "key" => Some(PartKind::Scalar(key_type)),
                "value" => self.kind(value_type, scope),
                _ => return Err(format!("a map's entry has no field named \"{key}\"")),
            };
            let Some(kind) = kind else { continue };
            let part = Part {
                number: 0,
                repeated: false,
                kind,
                options: &[],
                oneof: None,
            };
            self.text(&part, key, value, target, depth)?;
        }
        Ok(())
    }

    /// The field a key of text format names; extensions come in brackets.
    fn entry(&self, full: &str, node: &'a Message, key: &str) -> Result<Option<Part<'a>>, String> {
        match key.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(extension) => self.extension(full, extension, full),
            None => Ok(self.field(full, node, key)),
        }
    }

    /// The extension of `message` that `name` means in `scope`.
    fn extension(
        &self,
        scope: &str,
        name: &str,
        message: &str,
    ) -> Result<Option<Part<'a>>, String> {
        let Ok((full, symbol)) = self.symbols.look_up(self.view, scope, name, false) else {
            return Ok(None);
        };
        let Kind::Extension(extendee, member) = symbol.kind else {
            return Err(format!("\"{name}\" is not an extension"));
        };
        let own = parent(&full);
        let extended = self.symbols.look_up(None, own, extendee, true);
        if !extended.is_ok_and(|(extended, _)| extended == message) {
            return Err(format!("\"{name}\" is not an extension of \"{message}\""));
        }
        Ok(self.part(member, own))
    }

    fn field(&self, full: &str, node: &'a Message, name: &str) -> Option<Part<'a>> {
        let field = node.fields.iter().find(|field| field.name == name);
        if let Some(field) = field {
            return self.part(Member::Field(field), full);
        }
        let named =
            |group: &&Group| group.body.name == name || group.body.name.eq_ignore_ascii_case(name);
        if let Some(group) = node.groups.iter().find(named) {
            return self.part(Member::Group(group), full);
        }
        node.oneofs.iter().find_map(|oneof| {
            let field = oneof.fields.iter().find(|field| field.name == name);
            let member = match field {
                Some(field) => Member::Field(field),
                None => Member::Group(oneof.groups.iter().find(named)?),
            };
            let mut part = self.part(member, full)?;
            part.oneof = Some(&oneof.name);
            Some(part)
        })
    }

    fn part(&self, member: Member<'a>, scope: &str) -> Option<Part<'a>> {
        match member {
            Member::Field(field) => Some(Part {
                number: field.number,
                repeated: is_repeated(field),
                kind: self.kind(&field.field_type, scope)?,
                options: &field.options,
                oneof: None,
            }),
            Member::Group(group) => Some(Part {
                number: group.number,
                repeated: group.label == Some(Label::Repeated),
                kind: PartKind::Message(join(scope, &group.body.name), &group.body),
                options: &group.options,
                oneof: None,
            }),
        }
    }

    fn kind(&self, field_type: &'a FieldType, scope: &str) -> Option<PartKind<'a>> {
        match field_type {
            FieldType::Scalar(scalar) => Some(PartKind::Scalar(*scalar)),
            FieldType::Map(key, value) => Some(PartKind::Map(*key, value, scope.to_owned())),
            FieldType::Named(name) => {
                let (full, symbol) = self.symbols.look_up(None, scope, name, true).ok()?;
                match symbol.kind {
                    Kind::Enum { node, .. } => Some(PartKind::Enum(node)),
                    Kind::Message(node) => Some(PartKind::Message(full, node)),
                    _ => None,
                }
            }
        }
    }

    /// Whether the option may stand on this target, and in this edition.
    fn placed(&self, part: &Part<'_>, name: &str, target: Target) -> Result<(), String> {
        let mut targets = part
            .options
            .iter()
            .filter(|one| one.is_plain("targets"))
            .peekable();
        let wanted = Value::Word(target.constant().to_owned());
        if targets.peek().is_some() && !targets.any(|one| one.value == wanted) {
            return Err(format!("\"{name}\" cannot be set here"));
        }
        let support = part
            .options
            .iter()
            .find(|one| one.is_plain("feature_support"));
        let (
            Some(OptionNode {
                value: Value::Map(entries),
                ..
            }),
            Some(edition),
        ) = (support, self.edition())
        else {
            return Ok(());
        };
        for (key, value) in entries {
            let Some(limit) = edition_number(value) else {
                continue;
            };
            if key == "edition_introduced" && edition < limit {
                return Err(format!("\"{name}\" is for later editions only"));
            }
            if key == "edition_removed" && edition >= limit {
                return Err(format!("\"{name}\" is not for this edition any more"));
            }
        }
        Ok(())
    }

    fn edition(&self) -> Option<i32> {
        Some(match self.syntax {
            None | Some(Syntax::Proto2) => 998,
            Some(Syntax::Proto3) => 999,
            Some(Syntax::Edition(edition)) => edition.number(),
        })
    }
}

fn edition_number(value: &Value) -> Option<i32> {
    let Value::Word(word) = value else {
        return None;
    };
    match word.strip_prefix("EDITION_")? {
        "LEGACY" => Some(900),
        "PROTO2" => Some(998),
        "PROTO3" => Some(999),
        year => Some(Edition::from_name(year).map_or(i32::MAX, Edition::number)),
    }
}

fn is_repeated(field: &Field) -> bool {
    field.label == Some(Label::Repeated) || matches!(field.field_type, FieldType::Map(..))
}

/// Whether the enum is one of the values of a feature: its first constant says that none is set.
fn is_feature(node: &EnumType) -> bool {
    let first = node.constants.first();
    first.is_some_and(|first| first.number == 0 && first.name.ends_with("_UNKNOWN"))
        && FEATURES.contains(&node.name.as_str())
}

const FEATURES: [&str; 8] = [
    "FieldPresence",
    "EnumType",
    "RepeatedFieldEncoding",
    "Utf8Validation",
    "MessageEncoding",
    "JsonFormat",
    "EnforceNamingStyle",
    "DefaultSymbolVisibility",
];

fn shown(names: &[(bool, &str)]) -> String {
    let parts = names.iter().map(|(extension, name)| {
        if *extension {
            format!("({name})")
        } else {
            (*name).to_owned()
        }
    });
    parts.collect::<Vec<_>>().join(".")
}
