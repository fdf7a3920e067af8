//! One file's tree to its linked form, checking on the way what needs names resolved.

use std::collections::HashMap;

use super::super::ast::{
    At, EnumType, Extend, Field, FieldType, Group, Label, Message, OptionNode, Scalar, Service,
    Syntax, Value,
};
use super::super::parse_text::MAX_TAG;
use super::super::resolve::join;
use super::features::{Features, Presence, chosen};
use super::imports::Loaded;
use super::model::{
    LinkedEnum, LinkedField, LinkedFile, LinkedKind, LinkedMessage, entry_name, lower_camel,
};
use super::options::{Interpreter, Target};
use super::symbols::{Kind, Member, Missing, Symbol, Symbols, View, is_closed};
use super::{LinkError, enums, extensions, rules, style, values};

pub(super) struct Builder<'b, 'a> {
    pub(super) symbols: &'b Symbols<'a>,
    pub(super) files: &'b [Loaded<'a>],
    /// `None` sees everything.
    pub(super) view: Option<&'b View>,
    /// As `view`, with what is imported for options only.
    pub(super) option_view: Option<&'b View>,
    /// Position of the file being built.
    pub(super) position: usize,
    pub(super) strict: bool,
    /// Options that nobody declares pass.
    pub(super) unknown_options: bool,
    /// Name of each extension, by extended message and number.
    pub(super) extended: &'b mut HashMap<(String, i32), String>,
}

/// What is around a field.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// Full name of the scope it is declared in.
    pub(super) scope: &'p str,
    pub(super) features: Features,
    /// Position of its oneof.
    pub(super) oneof: Option<usize>,
    /// The extended message.
    pub(super) extendee: Option<&'p str>,
}

impl<'a> Builder<'_, 'a> {
    /// The linked form of the file.
    pub(super) fn file(&mut self) -> Result<LinkedFile, LinkError> {
        let Some(loaded) = self.files.get(self.position) else {
            return Err(LinkError::new(At::default(), "the file is not loaded"));
        };
        let node = loaded.source.node;
        let package = node.package_name();
        let features = Features::of(node.syntax).with(&node.options);
        if self.strict {
            self.options(package, &node.options, Target::File)?;
            rules::file_features(node)?;
            if features.style {
                style::package(package, node.package_at)?;
            }
        }
        let mut messages = Vec::with_capacity(node.messages.len());
        for message in &node.messages {
            messages.push(self.message(package, message, features)?);
        }
        let mut linked_enums = Vec::with_capacity(node.enums.len());
        for enum_type in &node.enums {
            linked_enums.push(self.enum_type(package, enum_type, features)?);
        }
        let mut groups = Vec::new();
        let linked_extensions = self.extends(package, &node.extends, features, &mut groups)?;
        messages.append(&mut groups);
        for service in &node.services {
            self.service(package, service, features)?;
        }
        let imports = loaded.imports.iter().filter_map(|(kind, place)| {
            let path = self.files.get(*place)?.source.path.to_owned();
            Some((path, *kind == super::super::ast::ImportKind::Public))
        });
        Ok(LinkedFile {
            path: loaded.source.path.to_owned(),
            syntax: node.syntax,
            package: package.to_owned(),
            imports: imports.collect(),
            messages,
            enums: linked_enums,
            extensions: linked_extensions,
        })
    }

    fn syntax(&self) -> Option<Syntax> {
        self.files.get(self.position)?.source.node.syntax
    }

    fn is_edition(&self) -> bool {
        matches!(self.syntax(), Some(Syntax::Edition(_)))
    }

    fn options(
        &self,
        scope: &str,
        options: &[OptionNode],
        target: Target,
    ) -> Result<(), LinkError> {
        if !self.strict || options.is_empty() {
            return Ok(());
        }
        Interpreter {
            symbols: self.symbols,
            view: self.option_view,
            syntax: self.syntax(),
            unknown_pass: self.unknown_options,
        }
        .check(scope, options, target)
    }

    fn message(
        &mut self,
        scope: &str,
        node: &'a Message,
        around: Features,
    ) -> Result<LinkedMessage, LinkError> {
        let full = join(scope, &node.name);
        let features = around.with(&node.options);
        let truth = |name: &str| {
            let set = |option: &&OptionNode| option.is_plain(name);
            let found = node.options.iter().rev().find(set);
            found.is_some_and(|option| option.value == Value::Word("true".to_owned()))
        };
        let mut message = LinkedMessage {
            map_entry: truth("map_entry"),
            message_set: truth("message_set_wire_format"),
            extension_ranges: ranges(node),
            ..LinkedMessage::default()
        };
        if self.strict {
            self.options(&full, &node.options, Target::Message)?;
            for one in &node.extensions {
                self.options(&full, &one.options, Target::ExtensionRange)?;
            }
            rules::message(&full, node, self.syntax(), around.exports)?;
            if features.style {
                style::title("message", &node.name, node.at)?;
            }
        }
        let place = Place {
            scope: &full,
            features,
            oneof: None,
            extendee: None,
        };
        let mut groups = Vec::new();
        for field in &node.fields {
            message.fields.push(self.field(field, place)?);
            groups.extend(self.entry(field, place)?);
        }
        for group in &node.groups {
            message.fields.push(self.group(group, place, &mut groups)?);
        }
        for oneof in &node.oneofs {
            let place = Place {
                features: features.with(&oneof.options),
                oneof: Some(message.oneofs.len()),
                ..place
            };
            self.options(&full, &oneof.options, Target::Oneof)?;
            if self.strict {
                rules::oneof(oneof)?;
                if features.style {
                    style::lower_snake("oneof", &oneof.name, oneof.at)?;
                }
            }
            for field in &oneof.fields {
                message.fields.push(self.field(field, place)?);
            }
            for group in &oneof.groups {
                message.fields.push(self.group(group, place, &mut groups)?);
            }
            message.oneofs.push(oneof.name.clone());
        }
        if self.strict {
            rules::members(&full, node, &message, features)?;
        } else {
            rules::numbers(&message)?;
        }
        for nested in &node.messages {
            message
                .messages
                .push(self.message(&full, nested, features)?);
        }
        for enum_type in &node.enums {
            message
                .enums
                .push(self.enum_type(&full, enum_type, features)?);
        }
        message.extensions = self.extends(&full, &node.extends, features, &mut groups)?;
        message.messages.append(&mut groups);
        message.full_name = full;
        Ok(message)
    }

    fn enum_type(
        &self,
        scope: &str,
        node: &'a EnumType,
        around: Features,
    ) -> Result<LinkedEnum, LinkError> {
        let full = join(scope, &node.name);
        let closed = is_closed(around, &node.options);
        if self.strict {
            self.options(&full, &node.options, Target::Enum)?;
            for constant in &node.constants {
                self.options(&full, &constant.options, Target::EnumValue)?;
            }
            enums::check(node, closed)?;
            if around.with(&node.options).style {
                style::enum_type(node)?;
            }
        }
        let values = node.constants.iter();
        Ok(LinkedEnum {
            full_name: full,
            closed,
            values: values.map(|one| (one.name.clone(), one.number)).collect(),
        })
    }

    fn service(&self, scope: &str, node: &'a Service, features: Features) -> Result<(), LinkError> {
        let full = join(scope, &node.name);
        if !self.strict {
            return Ok(());
        }
        self.options(&full, &node.options, Target::Service)?;
        if features.style {
            style::title("service", &node.name, node.at)?;
        }
        for rpc in &node.rpcs {
            self.options(&full, &rpc.options, Target::Method)?;
            if features.style {
                style::title("method", &rpc.name, rpc.at)?;
            }
            self.message_named(&full, &rpc.request, rpc.request_at)?;
            self.message_named(&full, &rpc.response, rpc.response_at)?;
        }
        Ok(())
    }

    fn extends(
        &mut self,
        scope: &str,
        extends: &'a [Extend],
        features: Features,
        groups: &mut Vec<LinkedMessage>,
    ) -> Result<Vec<LinkedField>, LinkError> {
        let mut fields = Vec::new();
        for extend in extends {
            let found = self.message_named(scope, &extend.name, extend.at);
            let (extendee, node) = match found {
                Ok(found) => found,
                // Options that nobody can set say nothing of bytes.
                Err(_) if !self.strict => continue,
                Err(error) => return Err(error),
            };
            if self.strict {
                rules::extend(self.syntax(), extend, &extendee)?;
            }
            let place = Place {
                scope,
                features,
                oneof: None,
                extendee: Some(&extendee),
            };
            for field in &extend.fields {
                let linked = self.field(field, place)?;
                self.extension(node, &linked, Member::Field(field), place)?;
                fields.push(linked);
            }
            for group in &extend.groups {
                let linked = self.group(group, place, groups)?;
                self.extension(node, &linked, Member::Group(group), place)?;
                fields.push(linked);
            }
        }
        Ok(fields)
    }

    fn extension(
        &mut self,
        extended: Option<&Message>,
        field: &LinkedField,
        member: Member<'_>,
        place: Place<'_>,
    ) -> Result<(), LinkError> {
        let (at, number_at) = match member {
            Member::Field(field) => (field.at, field.number_at),
            Member::Group(group) => (group.body.at, group.number_at),
        };
        let extendee = place.extendee.unwrap_or_default();
        let name = field.full_name.clone();
        let key = (extendee.to_owned(), field.number);
        if let Some(first) = self.extended.get(&key) {
            return Err(LinkError::new(
                number_at,
                format!(
                    "extension number {} has already been used in \"{extendee}\" by extension \
                     \"{first}\"",
                    field.number
                ),
            ));
        }
        if self.strict
            && let Some(extended) = extended
        {
            extensions::extension(extended, extendee, field, &name, (at, number_at))?;
        }
        self.extended.insert(key, name);
        Ok(())
    }

    /// The message a name means, with its node unless it is a map's entry.
    fn message_named(
        &self,
        scope: &str,
        name: &str,
        at: At,
    ) -> Result<(String, Option<&'a Message>), LinkError> {
        let (full, symbol) = self.find(scope, name, at, false)?;
        match symbol.kind {
            Kind::Message(node) => Ok((full, Some(node))),
            Kind::MapEntry => Ok((full, None)),
            _ => Err(LinkError::new(
                at,
                format!("\"{name}\" is not a message type"),
            )),
        }
    }

    fn find(
        &self,
        scope: &str,
        name: &str,
        at: At,
        types: bool,
    ) -> Result<(String, Symbol<'a>), LinkError> {
        let found = self.symbols.look_up(self.view, scope, name, types);
        let (full, symbol) = found.map_err(|missing| {
            let message = match missing {
                Missing::Undefined => format!("\"{name}\" is not defined"),
                Missing::NotImported(file) => {
                    let path = self.files.get(file).map_or("", |file| file.source.path);
                    format!("\"{name}\" is defined in \"{path}\", which is not imported")
                }
                Missing::Shadowed(full) => format!(
                    "\"{name}\" is resolved to \"{full}\", which is not defined; the innermost \
                     scope is searched first, so start the name with a dot to mean the outermost"
                ),
            };
            LinkError::new(at, message)
        })?;
        if symbol.local && self.strict && symbol.file != self.position {
            return Err(LinkError::new(
                at,
                format!("\"{full}\" is local to the file that declares it"),
            ));
        }
        Ok((full, symbol))
    }

    fn field(&self, node: &'a Field, place: Place<'_>) -> Result<LinkedField, LinkError> {
        let features = place.features.with(&node.options);
        let (kind, repeated) = match &node.field_type {
            FieldType::Scalar(scalar) => (LinkedKind::Scalar(*scalar), false),
            FieldType::Named(name) => (
                self.named(place.scope, name, node.type_at, features)?,
                false,
            ),
            FieldType::Map(..) => {
                let entry = join(place.scope, &entry_name(&node.name));
                (LinkedKind::Message(entry), true)
            }
        };
        let repeated = repeated || node.label == Some(Label::Repeated);
        let linked = LinkedField {
            name: node.name.clone(),
            full_name: join(place.scope, &node.name),
            number: node.number,
            presence: presence(node.label, features, self.is_edition(), place),
            packed: repeated && is_packable(&kind) && packed(&node.options, features),
            utf8: features.utf8,
            kind,
            repeated,
            oneof: place.oneof,
            default: node.default.clone(),
            json_name: Some(
                node.json_name
                    .clone()
                    .unwrap_or_else(|| lower_camel(&node.name)),
            ),
            extendee: place.extendee.map(str::to_owned),
        };
        if self.strict {
            self.options(place.scope, &node.options, Target::Field)?;
            if features.style {
                style::lower_snake("field", &node.name, node.at)?;
            }
            let closed = self.is_closed_enum(&linked.kind);
            rules::field(node, &linked, place, self.syntax(), closed)?;
            if self.is_edition() {
                let set = chosen(&node.options).map(|(name, _)| name);
                rules::field_features(node, &linked, place, closed, &set.collect::<Vec<_>>())?;
            }
            if let Some(default) = &node.default {
                let values = match &linked.kind {
                    LinkedKind::Enum(name) => self.enum_node(name),
                    _ => None,
                };
                values::default(&linked, default, values, node.default_at)?;
            }
        }
        Ok(linked)
    }

    fn enum_node(&self, full: &str) -> Option<&'a EnumType> {
        match self.symbols.get(full)?.kind {
            Kind::Enum { node, .. } => Some(node),
            _ => None,
        }
    }

    fn is_closed_enum(&self, kind: &LinkedKind) -> bool {
        let LinkedKind::Enum(name) = kind else {
            return false;
        };
        let symbol = self.symbols.get(name);
        symbol.is_some_and(|symbol| matches!(symbol.kind, Kind::Enum { closed: true, .. }))
    }

    fn named(
        &self,
        scope: &str,
        name: &str,
        at: At,
        features: Features,
    ) -> Result<LinkedKind, LinkError> {
        let (full, symbol) = match self.find(scope, name, at, true) {
            Ok(found) => found,
            Err(error) => {
                // Say so when it is something else.
                let other = self.symbols.look_up(self.view, scope, name, false);
                return Err(match other {
                    Ok(_) => LinkError::new(at, format!("\"{name}\" is not a type")),
                    Err(_) => error,
                });
            }
        };
        match symbol.kind {
            Kind::MapEntry if self.strict => Err(LinkError::new(
                at,
                format!("\"{name}\" is the entry of a map, write map<key, value> instead"),
            )),
            Kind::Enum { .. } => Ok(LinkedKind::Enum(full)),
            Kind::Message(_) | Kind::MapEntry if features.delimited => Ok(LinkedKind::Group(full)),
            Kind::Message(_) | Kind::MapEntry => Ok(LinkedKind::Message(full)),
            _ => Err(LinkError::new(at, format!("\"{name}\" is not a type"))),
        }
    }

    /// The entry message of a map field.
    fn entry(&self, node: &Field, place: Place<'_>) -> Result<Option<LinkedMessage>, LinkError> {
        let FieldType::Map(key, value) = &node.field_type else {
            return Ok(None);
        };
        let mut features = place.features.with(&node.options);
        // The value of a map is never written as a group.
        features.delimited = false;
        let value = match value.as_ref() {
            FieldType::Named(name) => self.named(place.scope, name, node.type_at, features)?,
            FieldType::Scalar(scalar) => LinkedKind::Scalar(*scalar),
            FieldType::Map(..) => {
                return Err(LinkError::new(
                    node.type_at,
                    "a map's value cannot be a map",
                ));
            }
        };
        if self.strict {
            let closed_first = match &value {
                LinkedKind::Enum(name) => self.enum_node(name),
                _ => None,
            };
            rules::map_value(
                node,
                closed_first,
                self.is_closed_enum(&value),
                self.syntax(),
            )?;
        }
        let entry = join(place.scope, &entry_name(&node.name));
        let part = |name: &str, number: i32, kind: LinkedKind| LinkedField {
            name: name.to_owned(),
            full_name: format!("{entry}.{name}"),
            number,
            kind,
            repeated: false,
            presence: Presence::Explicit,
            packed: false,
            utf8: features.utf8,
            oneof: None,
            default: None,
            json_name: Some(name.to_owned()),
            extendee: None,
        };
        let fields = vec![
            part("key", 1, LinkedKind::Scalar(*key)),
            part("value", 2, value),
        ];
        Ok(Some(LinkedMessage {
            full_name: entry,
            fields,
            map_entry: true,
            ..LinkedMessage::default()
        }))
    }

    fn group(
        &mut self,
        node: &'a Group,
        place: Place<'_>,
        into: &mut Vec<LinkedMessage>,
    ) -> Result<LinkedField, LinkError> {
        let name = node.body.name.to_ascii_lowercase();
        if self.strict {
            rules::group(node, self.syntax())?;
            self.options(place.scope, &node.options, Target::Field)?;
            if node.label == Some(Label::Required) && place.extendee.is_some() {
                return Err(LinkError::new(
                    node.body.at,
                    "an extension cannot be required",
                ));
            }
            rules::number(node.number, node.number_at)?;
        }
        let full = join(place.scope, &node.body.name);
        into.push(self.message(place.scope, &node.body, place.features)?);
        Ok(LinkedField {
            json_name: Some(lower_camel(&name)),
            full_name: join(place.scope, &name),
            name,
            number: node.number,
            kind: LinkedKind::Group(full),
            repeated: node.label == Some(Label::Repeated),
            presence: if node.label == Some(Label::Required) {
                Presence::Required
            } else {
                Presence::Explicit
            },
            packed: false,
            utf8: place.features.utf8,
            oneof: place.oneof,
            default: None,
            extendee: place.extendee.map(str::to_owned),
        })
    }
}

fn presence(label: Option<Label>, features: Features, edition: bool, place: Place<'_>) -> Presence {
    match label {
        Some(Label::Required) => Presence::Required,
        Some(Label::Optional) => Presence::Explicit,
        Some(Label::Repeated) => Presence::Explicit,
        None if place.oneof.is_some() || place.extendee.is_some() => Presence::Explicit,
        None if edition => features.presence,
        None if features.presence == Presence::Implicit => Presence::Implicit,
        None => Presence::Explicit,
    }
}

/// Whether runs of numbers may be written together.
pub(super) fn is_packable(kind: &LinkedKind) -> bool {
    match kind {
        LinkedKind::Scalar(scalar) => !matches!(scalar, Scalar::String | Scalar::Bytes),
        LinkedKind::Enum(_) => true,
        LinkedKind::Message(_) | LinkedKind::Group(_) => false,
    }
}

fn packed(options: &[OptionNode], features: Features) -> bool {
    let set = options
        .iter()
        .rev()
        .find(|option| option.is_plain("packed"));
    set.map_or(features.packed, |option| {
        option.value == Value::Word("true".to_owned())
    })
}

/// First and last number of each extension range.
fn ranges(node: &Message) -> Vec<(i32, i32)> {
    let ranges = node.extensions.iter().flat_map(|one| &one.ranges);
    ranges
        .map(|range| (range.start, range.end.min(MAX_TAG)))
        .collect()
}
