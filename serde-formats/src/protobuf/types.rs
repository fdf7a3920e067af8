//! What the fields of a message mean, beyond how they look on the wire: kinds, names, oneofs.
//!
//! Beside the walker's tables and at the same positions; what those tables know (labels, names,
//! whether text is checked) is taken from them. Read by `values`, `to_json`, `from_json` and
//! `witness`; the produce path never touches it.

use std::collections::{BTreeMap, HashMap};

use super::ast::Scalar;
use super::link::{LinkedEnum, LinkedField, LinkedFile, LinkedKind, LinkedMessage, Presence};
use super::tables::{ProtobufValidator, Shape};
use super::well_known::WellKnown;
use crate::validator::MessageId;

/// The types of a schema, its own and those it imports.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) validator: ProtobufValidator,
    messages: Vec<MessageType>,
    enums: Vec<EnumNames>,
    by_name: HashMap<String, u32>,
}

/// A message type.
#[derive(Debug, Default)]
pub(super) struct MessageType {
    /// Full name without a leading dot.
    pub(super) name: String,
    /// The name without its package.
    pub(super) local: String,
    /// Sorted by number, extensions among them.
    pub(super) fields: Vec<FieldType>,
    /// Places in `fields` by name and by JSON name.
    names: HashMap<String, usize>,
    /// JSON names with their fields' numbers.
    json_names: Vec<(String, u32)>,
    /// Names of its oneofs by place.
    pub(super) oneofs: Vec<String>,
    pub(super) well_known: Option<WellKnown>,
    pub(super) is_map_entry: bool,
}

/// A field.
#[derive(Debug, Clone)]
pub(super) struct FieldType {
    pub(super) number: u32,
    /// As declared; an extension's full name in brackets.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) count: Count,
    /// Its default and its absence are the same.
    pub(super) implicit: bool,
    pub(super) required: bool,
    /// Of an enum whose numbers are all there is.
    pub(super) closed: bool,
    /// Place of its oneof among those of its message.
    pub(super) oneof: Option<usize>,
    pub(super) extension: bool,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    One,
    Many {
        packed: bool,
    },
    /// Its kind is the entry's message.
    Map,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Text,
    Bytes,
    /// Place among the enums.
    Enum(u32),
    /// Position of the message.
    Message(u32),
    /// Position of the message.
    Group(u32),
}

pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const LENGTH: u32 = 2;
pub(super) const START_GROUP: u32 = 3;
pub(super) const END_GROUP: u32 = 4;
pub(super) const FIXED32: u32 = 5;

impl Kind {
    /// The wire type of one value.
    pub(super) const fn wire(self) -> u32 {
        match self {
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool
            | Self::Enum(_) => VARINT,
            Self::Double | Self::Fixed64 | Self::Sfixed64 => FIXED64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => FIXED32,
            Self::Text | Self::Bytes | Self::Message(_) => LENGTH,
            Self::Group(_) => START_GROUP,
        }
    }

    /// Whether many values may share one length.
    pub(super) const fn is_packable(self) -> bool {
        matches!(self.wire(), VARINT | FIXED32 | FIXED64)
    }

    /// The message of a message or group.
    pub(super) const fn message(self) -> Option<u32> {
        match self {
            Self::Message(position) | Self::Group(position) => Some(position),
            _ => None,
        }
    }
}

/// The constants of an enum.
#[derive(Debug, Default)]
pub(super) struct EnumNames {
    /// The first name of each number.
    names: BTreeMap<i32, String>,
    numbers: HashMap<String, i32>,
    first: i32,
    /// The enum whose one value is JSON's null.
    pub(super) is_null: bool,
}

impl EnumNames {
    /// The name of a number.
    pub(super) fn name(&self, number: i32) -> Option<&str> {
        self.names.get(&number).map(String::as_str)
    }

    /// The number of a name.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.numbers.get(name).copied()
    }

    /// The default: the constant declared first.
    pub(super) const fn first(&self) -> i32 {
        self.first
    }

    /// Every number that has a name, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = i32> + '_ {
        self.names.keys().copied()
    }
}

impl MessageType {
    /// The field with this number.
    pub(super) fn field(&self, number: u32) -> Option<&FieldType> {
        let found = self
            .fields
            .binary_search_by_key(&number, |field| field.number);
        self.fields.get(found.ok()?)
    }

    /// The field with this name or JSON name.
    pub(super) fn field_named(&self, name: &str) -> Option<&FieldType> {
        self.names.get(name).and_then(|at| self.fields.get(*at))
    }
}

impl Types {
    /// The types of `files`, which `validator` was built from.
    ///
    /// # Errors
    /// When a type name does not resolve.
    pub(super) fn build(
        validator: ProtobufValidator,
        files: &[LinkedFile],
    ) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        let mut messages = Vec::with_capacity(validator.messages.len());
        for (position, table) in (0..).zip(&validator.messages) {
            by_name.insert(table.name.clone(), position);
            messages.push(MessageType {
                name: table.name.clone(),
                well_known: WellKnown::of(&table.name),
                ..MessageType::default()
            });
        }
        let mut builder = Builder {
            types: Self {
                validator,
                messages,
                enums: Vec::new(),
                by_name,
            },
            enums: HashMap::new(),
        };
        for file in files {
            builder.declare(&file.package, &file.messages);
            builder.declare_enums(&file.enums);
        }
        for file in files {
            builder.fill_extensions(&file.extensions)?;
            for message in &file.messages {
                builder.fill_message(message)?;
            }
        }
        let mut types = builder.types;
        for message in &mut types.messages {
            message.fields.sort_by_key(|field| field.number);
            let place = |number| {
                message
                    .fields
                    .binary_search_by_key(&number, |field| field.number)
                    .ok()
            };
            let json_names = std::mem::take(&mut message.json_names).into_iter();
            let by_json_name = json_names.filter_map(|(name, number)| Some((name, place(number)?)));
            // A JSON name goes before another field's name, as in the JSON mapping.
            let by_json_name: Vec<_> = by_json_name.collect();
            for (at, field) in message.fields.iter().enumerate() {
                message.names.insert(field.name.clone(), at);
            }
            message.names.extend(by_json_name);
        }
        Ok(types)
    }

    /// The message at a position.
    pub(super) fn message(&self, position: u32) -> Option<&MessageType> {
        self.messages.get(usize::try_from(position).ok()?)
    }

    /// The position of a message by full name.
    pub(super) fn position(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The enum at a place.
    pub(super) fn enum_names(&self, place: u32) -> Option<&EnumNames> {
        self.enums.get(usize::try_from(place).ok()?)
    }

    /// The message at an index path.
    pub(super) fn at_indexes(&self, indexes: &[i32]) -> Option<(MessageId, &MessageType)> {
        let id = self.validator.message(indexes)?;
        Some((id, self.message(id.0)?))
    }

    /// Key and value of the entries of a map.
    pub(super) fn entry(&self, kind: Kind) -> Option<(&FieldType, &FieldType)> {
        let entry = self.message(kind.message()?)?;
        Some((entry.field(1)?, entry.field(2)?))
    }
}

struct Builder {
    types: Types,
    enums: HashMap<String, u32>,
}

impl Builder {
    fn declare(&mut self, package: &str, messages: &[LinkedMessage]) {
        for message in messages {
            let name = message.full_name.as_str();
            let position = self.types.position(name);
            if let Some(own) = position.and_then(|at| self.message_mut(at)) {
                own.is_map_entry = message.map_entry;
                own.oneofs.clone_from(&message.oneofs);
                own.local = name
                    .strip_prefix(package)
                    .map_or(name, |rest| rest.trim_start_matches('.'))
                    .to_owned();
            }
            self.declare_enums(&message.enums);
            self.declare(package, &message.messages);
        }
    }

    fn message_mut(&mut self, position: u32) -> Option<&mut MessageType> {
        self.types.messages.get_mut(usize::try_from(position).ok()?)
    }

    fn declare_enums(&mut self, enums: &[LinkedEnum]) {
        for linked in enums {
            let mut own = EnumNames {
                first: linked.values.first().map_or(0, |(_, number)| *number),
                is_null: linked.full_name == "google.protobuf.NullValue",
                ..EnumNames::default()
            };
            for (name, number) in &linked.values {
                own.numbers.insert(name.clone(), *number);
                own.names.entry(*number).or_insert_with(|| name.clone());
            }
            if let Ok(place) = u32::try_from(self.types.enums.len()) {
                self.enums.insert(linked.full_name.clone(), place);
                self.types.enums.push(own);
            }
        }
    }

    fn fill_message(&mut self, message: &LinkedMessage) -> Result<(), String> {
        for field in &message.fields {
            self.add(&message.full_name, field)?;
        }
        self.fill_extensions(&message.extensions)?;
        message
            .messages
            .iter()
            .try_for_each(|nested| self.fill_message(nested))
    }

    fn fill_extensions(&mut self, extensions: &[LinkedField]) -> Result<(), String> {
        extensions.iter().try_for_each(|field| {
            let extendee = field.extendee.as_deref().unwrap_or_default();
            self.add(extendee, field)
        })
    }

    fn add(&mut self, message: &str, field: &LinkedField) -> Result<(), String> {
        let undeclared = || format!("message {message} is not declared");
        let position = self.types.position(message).ok_or_else(undeclared)?;
        let table = usize::try_from(position)
            .ok()
            .and_then(|at| self.types.validator.messages.get(at));
        let number = u32::try_from(field.number).unwrap_or_default();
        let rule = table
            .and_then(|table| table.fields.get(usize::from(table.find(number)?)))
            .ok_or_else(|| format!("message {message} has no field {number}"))?;
        let kind = self.kind(&field.kind)?;
        let entry = kind.message().and_then(|at| self.types.message(at));
        let count = match rule.repeated {
            true if entry.is_some_and(|entry| entry.is_map_entry) => Count::Map,
            true => Count::Many {
                packed: field.packed && kind.is_packable(),
            },
            false => Count::One,
        };
        let extension = field.extendee.is_some();
        let implicit = field.presence == Presence::Implicit && kind.message().is_none();
        let own = FieldType {
            number,
            name: rule.name.to_string(),
            kind,
            count,
            implicit: count != Count::One || implicit,
            required: rule.required.is_some(),
            closed: matches!(rule.shape, Shape::ClosedEnum(_)),
            oneof: field.oneof,
            extension,
        };
        let message = self.message_mut(position).ok_or_else(undeclared)?;
        message.fields.push(own);
        if let Some(json_name) = field.json_name.as_ref().filter(|_| !extension) {
            message.json_names.push((json_name.clone(), number));
        }
        Ok(())
    }

    fn kind(&self, kind: &LinkedKind) -> Result<Kind, String> {
        let message = |name: &str| {
            let position = self.types.position(name);
            position.ok_or_else(|| format!("message {name} is not declared"))
        };
        Ok(match kind {
            LinkedKind::Scalar(scalar) => match scalar {
                Scalar::Double => Kind::Double,
                Scalar::Float => Kind::Float,
                Scalar::Int32 => Kind::Int32,
                Scalar::Int64 => Kind::Int64,
                Scalar::Uint32 => Kind::Uint32,
                Scalar::Uint64 => Kind::Uint64,
                Scalar::Sint32 => Kind::Sint32,
                Scalar::Sint64 => Kind::Sint64,
                Scalar::Fixed32 => Kind::Fixed32,
                Scalar::Fixed64 => Kind::Fixed64,
                Scalar::Sfixed32 => Kind::Sfixed32,
                Scalar::Sfixed64 => Kind::Sfixed64,
                Scalar::Bool => Kind::Bool,
                Scalar::String => Kind::Text,
                Scalar::Bytes => Kind::Bytes,
            },
            LinkedKind::Enum(name) => {
                let place = self.enums.get(name);
                Kind::Enum(*place.ok_or_else(|| format!("enum {name} is not declared"))?)
            }
            LinkedKind::Message(name) => Kind::Message(message(name)?),
            LinkedKind::Group(name) => Kind::Group(message(name)?),
        })
    }
}
