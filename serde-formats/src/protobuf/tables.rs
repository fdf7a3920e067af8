//! Linked files to flat tables: what [`super::validate`] walks by.
//!
//! One table a message, fields found by number: directly below 128, by binary search above.

use std::collections::HashMap;

use super::ast::{Message, ProtoFile, Scalar};
use super::link::{LinkedEnum, LinkedField, LinkedFile, LinkedKind, LinkedMessage, Presence};
use super::resolve::join;
use crate::validator::{CompileError, MessageId};

/// Field numbers below this are found without searching; their tags take at most two bytes.
const DENSE: usize = 128;

/// A compiled Protobuf schema: judges payloads of any of its messages.
#[derive(Debug)]
pub struct ProtobufValidator {
    pub(super) messages: Vec<MessageTable>,
    /// The numbers of each closed enum, sorted.
    pub(super) closed_enums: Vec<Vec<i32>>,
    roots: Vec<IndexNode>,
}

/// A declared message and the messages declared in it, in order.
#[derive(Debug)]
struct IndexNode {
    message: u32,
    children: Vec<Self>,
}

/// What one message type allows.
#[derive(Debug, Default)]
pub(super) struct MessageTable {
    /// Full name without a leading dot.
    pub(super) name: String,
    /// By field number: position in `fields` plus one, 0 for none.
    dense: Vec<u16>,
    /// Field number and position, sorted by number.
    sparse: Vec<(u32, u16)>,
    pub(super) fields: Vec<FieldRule>,
    /// First and last number of each extension range.
    extension_ranges: Vec<(u32, u32)>,
    pub(super) required_count: usize,
    /// A message set carries what its wire format says, not what its fields say.
    message_set: bool,
}

/// What one field allows.
#[derive(Debug)]
pub(super) struct FieldRule {
    pub(super) number: u32,
    /// As it appears in a path: the field's name, or an extension's in brackets.
    pub(super) name: Box<str>,
    pub(super) shape: Shape,
    pub(super) repeated: bool,
    /// Place in the message's set of required fields.
    pub(super) required: Option<u32>,
}

/// How a field's value looks on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Varint,
    Bool,
    /// An enum whose numbers are all there is; position in `closed_enums`.
    ClosedEnum(u32),
    Fixed32,
    Fixed64,
    /// Text that must be UTF-8.
    Utf8,
    /// Bytes, or proto2 text, which nobody checks.
    Bytes,
    /// Position in `messages`.
    Message(u32),
    /// Position in `messages`.
    Group(u32),
}

impl MessageTable {
    /// The position of the field with this number.
    pub(super) fn find(&self, number: u32) -> Option<u16> {
        let index = usize::try_from(number).ok()?;
        if index < DENSE {
            return self
                .dense
                .get(index)
                .and_then(|position| position.checked_sub(1));
        }
        let found = self
            .sparse
            .binary_search_by_key(&number, |(number, _)| *number)
            .ok()?;
        self.sparse.get(found).map(|(_, position)| *position)
    }

    /// Whether a field nobody declared may have this number.
    pub(super) fn is_extension(&self, number: u32) -> bool {
        // Ranges do not overlap, so only the last that begins early enough can hold the number.
        let after = self
            .extension_ranges
            .partition_point(|(first, _)| *first <= number);
        let range = after
            .checked_sub(1)
            .and_then(|at| self.extension_ranges.get(at));
        self.message_set || range.is_some_and(|(_, last)| number <= *last)
    }

    fn add(&mut self, rule: FieldRule) -> Result<(), CompileError> {
        let position = u16::try_from(self.fields.len())
            .ok()
            .filter(|position| *position < u16::MAX)
            .ok_or_else(|| CompileError(format!("message {} has too many fields", self.name)))?;
        if let Ok(index) = usize::try_from(rule.number)
            && index < DENSE
        {
            if self.dense.is_empty() {
                self.dense = vec![0; DENSE];
            }
            if let Some(slot) = self.dense.get_mut(index) {
                *slot = position + 1;
            }
        } else {
            self.sparse.push((rule.number, position));
        }
        self.fields.push(rule);
        Ok(())
    }
}

impl ProtobufValidator {
    /// Compiles the tables of every message in `files`; `file` gives the message indexes.
    pub(super) fn build(file: &ProtoFile, files: &[LinkedFile]) -> Result<Self, CompileError> {
        let mut builder = Builder::default();
        for linked in files {
            builder.declare_enums(&linked.enums)?;
            builder.declare_messages(&linked.messages)?;
        }
        for linked in files {
            builder.fill_extensions(&linked.extensions)?;
            for message in &linked.messages {
                builder.fill_message(message)?;
            }
        }
        for table in &mut builder.messages {
            table.sparse.sort_unstable();
            table.extension_ranges.sort_unstable();
        }
        let roots = builder.index(file.package_name(), &file.messages);
        Ok(Self {
            messages: builder.messages,
            closed_enums: builder.closed_enums,
            roots,
        })
    }

    /// The message at an index path; messages are counted in declaration order at each level,
    /// entries of maps written `map<..>` are not.
    #[must_use]
    pub fn message(&self, indexes: &[i32]) -> Option<MessageId> {
        let mut level = &self.roots;
        let mut found = None;
        for index in indexes {
            let node = level.get(usize::try_from(*index).ok()?)?;
            found = Some(MessageId(node.message));
            level = &node.children;
        }
        found
    }

    /// The full name of a message.
    #[must_use]
    pub fn record_name(&self, message: MessageId) -> Option<&str> {
        let index = usize::try_from(message.0).ok()?;
        self.messages.get(index).map(|table| table.name.as_str())
    }
}

#[derive(Default)]
struct Builder {
    messages: Vec<MessageTable>,
    closed_enums: Vec<Vec<i32>>,
    /// Position of each message, by full name without a leading dot.
    by_name: HashMap<String, u32>,
    /// Position of each enum in `closed_enums`, `None` for open ones.
    enums: HashMap<String, Option<u32>>,
}

impl Builder {
    fn declare_messages(&mut self, messages: &[LinkedMessage]) -> Result<(), CompileError> {
        for message in messages {
            let position = position(self.messages.len())?;
            let ranges = message.extension_ranges.iter();
            self.messages.push(MessageTable {
                name: message.full_name.clone(),
                message_set: message.message_set,
                extension_ranges: ranges
                    .filter_map(|(first, last)| {
                        Some((u32::try_from(*first).ok()?, u32::try_from(*last).ok()?))
                    })
                    .collect(),
                ..MessageTable::default()
            });
            self.declare_enums(&message.enums)?;
            self.declare_messages(&message.messages)?;
            self.by_name.insert(message.full_name.clone(), position);
        }
        Ok(())
    }

    fn declare_enums(&mut self, enums: &[LinkedEnum]) -> Result<(), CompileError> {
        for linked in enums {
            let mut place = None;
            if linked.closed {
                place = Some(position(self.closed_enums.len())?);
                let mut numbers: Vec<i32> =
                    linked.values.iter().map(|(_, number)| *number).collect();
                numbers.sort_unstable();
                numbers.dedup();
                self.closed_enums.push(numbers);
            }
            self.enums.insert(linked.full_name.clone(), place);
        }
        Ok(())
    }

    fn fill_message(&mut self, message: &LinkedMessage) -> Result<(), CompileError> {
        for field in &message.fields {
            self.add(&message.full_name, field, &field.name)?;
        }
        self.fill_extensions(&message.extensions)?;
        message
            .messages
            .iter()
            .try_for_each(|nested| self.fill_message(nested))
    }

    fn fill_extensions(&mut self, extensions: &[LinkedField]) -> Result<(), CompileError> {
        for field in extensions {
            let extendee = field.extendee.as_deref().unwrap_or_default();
            let name = format!("[{}]", field.full_name);
            self.add(extendee, field, &name)?;
        }
        Ok(())
    }

    fn add(&mut self, message: &str, field: &LinkedField, name: &str) -> Result<(), CompileError> {
        let shape = self.shape(field)?;
        let table = self
            .by_name
            .get(message)
            .and_then(|position| self.messages.get_mut(usize::try_from(*position).ok()?))
            .ok_or_else(|| CompileError(format!("message {message} is not declared")))?;
        let number = u32::try_from(field.number)
            .map_err(|_| CompileError(format!("field {message}.{name} has a negative number")))?;
        let required = if field.presence == Presence::Required && !field.repeated {
            table.required_count += 1;
            Some(position(table.required_count - 1)?)
        } else {
            None
        };
        table.add(FieldRule {
            number,
            name: name.into(),
            shape,
            repeated: field.repeated,
            required,
        })
    }

    fn shape(&self, field: &LinkedField) -> Result<Shape, CompileError> {
        let message = |name: &str| {
            self.by_name
                .get(name)
                .copied()
                .ok_or_else(|| CompileError(format!("message {name} is not declared")))
        };
        Ok(match &field.kind {
            LinkedKind::Message(name) => Shape::Message(message(name)?),
            LinkedKind::Group(name) => Shape::Group(message(name)?),
            LinkedKind::Enum(name) => match self.enums.get(name) {
                Some(Some(closed)) => Shape::ClosedEnum(*closed),
                Some(None) => Shape::Varint,
                None => return Err(CompileError(format!("enum {name} is not declared"))),
            },
            LinkedKind::Scalar(scalar) => match scalar {
                Scalar::Int32
                | Scalar::Int64
                | Scalar::Uint32
                | Scalar::Uint64
                | Scalar::Sint32
                | Scalar::Sint64 => Shape::Varint,
                Scalar::Bool => Shape::Bool,
                Scalar::Fixed32 | Scalar::Sfixed32 | Scalar::Float => Shape::Fixed32,
                Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Double => Shape::Fixed64,
                Scalar::String if field.utf8 => Shape::Utf8,
                Scalar::String | Scalar::Bytes => Shape::Bytes,
            },
        })
    }

    fn index(&self, scope: &str, messages: &[Message]) -> Vec<IndexNode> {
        messages
            .iter()
            .filter_map(|message| {
                let name = join(scope, &message.name);
                Some(IndexNode {
                    message: *self.by_name.get(&name)?,
                    children: self.index(&name, &message.messages),
                })
            })
            .collect()
    }
}

fn position(length: usize) -> Result<u32, CompileError> {
    u32::try_from(length).map_err(|_| CompileError("too many types".to_owned()))
}
