//! Linked descriptors to flat tables: what [`super::validate`] walks by.
//!
//! One table a message, fields found by number: directly below 128, by binary search above.

use std::collections::HashMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::ast::{Message, ProtoFile};
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
    pub(super) fn build(
        file: &ProtoFile,
        files: &[FileDescriptorProto],
    ) -> Result<Self, CompileError> {
        let mut builder = Builder::default();
        for descriptor in files {
            builder.declare(descriptor)?;
        }
        for descriptor in files {
            builder.fill(descriptor)?;
        }
        for table in &mut builder.messages {
            table.sparse.sort_unstable();
            table.extension_ranges.sort_unstable();
        }
        builder.restore_names(file.package_name(), &file.messages);
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
    fn declare(&mut self, file: &FileDescriptorProto) -> Result<(), CompileError> {
        let closed = file.syntax() != "proto3";
        self.declare_enums(file.package(), &file.enum_type, closed)?;
        self.declare_messages(file.package(), &file.message_type, closed)
    }

    fn declare_messages(
        &mut self,
        scope: &str,
        messages: &[DescriptorProto],
        closed: bool,
    ) -> Result<(), CompileError> {
        for message in messages {
            let name = join(scope, message.name());
            let position = position(self.messages.len())?;
            self.messages.push(MessageTable {
                name: name.clone(),
                message_set: message
                    .options
                    .as_ref()
                    .is_some_and(|options| options.message_set_wire_format()),
                extension_ranges: message
                    .extension_range
                    .iter()
                    .filter_map(|range| {
                        let first = u32::try_from(range.start()).ok()?;
                        Some((first, u32::try_from(range.end()).ok()?.checked_sub(1)?))
                    })
                    .collect(),
                ..MessageTable::default()
            });
            self.declare_enums(&name, &message.enum_type, closed)?;
            self.declare_messages(&name, &message.nested_type, closed)?;
            self.by_name.insert(name, position);
        }
        Ok(())
    }

    fn declare_enums(
        &mut self,
        scope: &str,
        enums: &[EnumDescriptorProto],
        closed: bool,
    ) -> Result<(), CompileError> {
        for descriptor in enums {
            let mut place = None;
            if closed {
                place = Some(position(self.closed_enums.len())?);
                let mut numbers: Vec<i32> = descriptor
                    .value
                    .iter()
                    .map(|value| value.number())
                    .collect();
                numbers.sort_unstable();
                numbers.dedup();
                self.closed_enums.push(numbers);
            }
            self.enums.insert(join(scope, descriptor.name()), place);
        }
        Ok(())
    }

    fn fill(&mut self, file: &FileDescriptorProto) -> Result<(), CompileError> {
        let proto3 = file.syntax() == "proto3";
        self.fill_extensions(file.package(), &file.extension, proto3)?;
        for message in &file.message_type {
            self.fill_message(file.package(), message, proto3)?;
        }
        Ok(())
    }

    fn fill_message(
        &mut self,
        scope: &str,
        message: &DescriptorProto,
        proto3: bool,
    ) -> Result<(), CompileError> {
        let name = join(scope, message.name());
        for field in &message.field {
            self.add(&name, field, field.name(), proto3)?;
        }
        self.fill_extensions(&name, &message.extension, proto3)?;
        for nested in &message.nested_type {
            self.fill_message(&name, nested, proto3)?;
        }
        Ok(())
    }

    fn fill_extensions(
        &mut self,
        scope: &str,
        extensions: &[FieldDescriptorProto],
        proto3: bool,
    ) -> Result<(), CompileError> {
        for field in extensions {
            let extendee = field.extendee().trim_start_matches('.').to_owned();
            let name = format!("[{}]", join(scope, field.name()));
            self.add(&extendee, field, &name, proto3)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        message: &str,
        field: &FieldDescriptorProto,
        name: &str,
        proto3: bool,
    ) -> Result<(), CompileError> {
        let shape = self.shape(field, proto3)?;
        let table = self
            .by_name
            .get(message)
            .and_then(|position| self.messages.get_mut(usize::try_from(*position).ok()?))
            .ok_or_else(|| CompileError(format!("message {message} is not declared")))?;
        let number = u32::try_from(field.number())
            .map_err(|_| CompileError(format!("field {message}.{name} has a negative number")))?;
        let required = if field.label() == Label::Required {
            table.required_count += 1;
            Some(position(table.required_count - 1)?)
        } else {
            None
        };
        table.add(FieldRule {
            number,
            name: name.into(),
            shape,
            repeated: field.label() == Label::Repeated,
            required,
        })
    }

    fn shape(&self, field: &FieldDescriptorProto, proto3: bool) -> Result<Shape, CompileError> {
        let type_name = field.type_name().trim_start_matches('.');
        let message = || {
            self.by_name
                .get(type_name)
                .copied()
                .ok_or_else(|| CompileError(format!("message {type_name} is not declared")))
        };
        Ok(match field.r#type() {
            Type::Int32
            | Type::Int64
            | Type::Uint32
            | Type::Uint64
            | Type::Sint32
            | Type::Sint64 => Shape::Varint,
            Type::Bool => Shape::Bool,
            Type::Enum => match self.enums.get(type_name) {
                Some(Some(closed)) => Shape::ClosedEnum(*closed),
                Some(None) => Shape::Varint,
                None => return Err(CompileError(format!("enum {type_name} is not declared"))),
            },
            Type::Fixed32 | Type::Sfixed32 | Type::Float => Shape::Fixed32,
            Type::Fixed64 | Type::Sfixed64 | Type::Double => Shape::Fixed64,
            Type::String if proto3 => Shape::Utf8,
            Type::String | Type::Bytes => Shape::Bytes,
            Type::Message => Shape::Message(message()?),
            Type::Group => Shape::Group(message()?),
        })
    }

    /// Fields are reported by their names in the schema, which linking may have changed.
    fn restore_names(&mut self, scope: &str, messages: &[Message]) {
        for message in messages {
            let name = join(scope, &message.name);
            let table = self
                .by_name
                .get(&name)
                .and_then(|position| usize::try_from(*position).ok())
                .and_then(|position| self.messages.get_mut(position));
            if let Some(table) = table {
                let oneof_fields = message.oneofs.iter().flat_map(|oneof| &oneof.fields);
                for field in message.fields.iter().chain(oneof_fields) {
                    let found = u32::try_from(field.number)
                        .ok()
                        .and_then(|it| table.find(it));
                    let rule = found.and_then(|at| table.fields.get_mut(usize::from(at)));
                    if let Some(rule) = rule
                        && *rule.name != field.name
                    {
                        rule.name = field.name.as_str().into();
                    }
                }
            }
            self.restore_names(&name, &message.messages);
        }
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
