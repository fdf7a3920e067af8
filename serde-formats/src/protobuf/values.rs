//! A message as a tree of values, each with the bytes it came from, and its way to and from the
//! wire.
//!
//! Reading does what every runtime does: the last of several values wins, messages merge, one
//! member of a oneof puts the others out, and a field of another wire type counts as unknown.
//! Bytes are judged by `validate` before they are read here, which also bounds the depth.

use std::collections::BTreeMap;
use std::ops::Range;

use super::types::{
    Count, END_GROUP, FIXED32, FIXED64, FieldType, Kind, LENGTH, START_GROUP, Types, VARINT,
};

/// A message's set fields by number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub(super) fields: BTreeMap<u32, Values>,
    /// Where its content is: more than one place when parts were merged.
    pub(super) places: Vec<Range<usize>>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    One(Item),
    Many(Vec<Item>),
    Map(BTreeMap<Key, Item>),
}

/// A value and its place in the payload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) place: Range<usize>,
}

impl From<Value> for Item {
    fn from(value: Value) -> Self {
        Self { value, place: 0..0 }
    }
}

/// A value; the field's kind says the rest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    /// Of `int32`, `sint32`, `sfixed32` and their 64-bit forms.
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    /// Text or bytes; proto2 text may be no UTF-8.
    Bytes(Vec<u8>),
    Enum(i32),
    Message(Message),
}

/// The key of a map's entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Text(Vec<u8>),
}

impl Key {
    /// The key that a value makes.
    pub(super) fn of(value: Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(value),
            Value::Signed(value) => Self::Signed(value),
            Value::Unsigned(value) => Self::Unsigned(value),
            Value::Bytes(value) => Self::Text(value),
            Value::Float(_) | Value::Double(_) | Value::Enum(_) | Value::Message(_) => return None,
        })
    }

    /// The key as a value.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Signed(value) => Value::Signed(*value),
            Self::Unsigned(value) => Value::Unsigned(*value),
            Self::Text(value) => Value::Bytes(value.clone()),
        }
    }
}

/// The value of a field that nobody set.
pub(super) fn default_value(types: &Types, kind: Kind) -> Value {
    match kind {
        Kind::Double => Value::Double(0.0),
        Kind::Float => Value::Float(0.0),
        Kind::Int32
        | Kind::Int64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Sfixed32
        | Kind::Sfixed64 => Value::Signed(0),
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => Value::Unsigned(0),
        Kind::Bool => Value::Bool(false),
        Kind::Text | Kind::Bytes => Value::Bytes(Vec::new()),
        Kind::Enum(place) => Value::Enum(types.enum_names(place).map_or(0, |names| names.first())),
        Kind::Message(_) | Kind::Group(_) => Value::Message(Message::default()),
    }
}

/// What to do with a number that its closed enum does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// Show it to people, who will want to know.
    Keep,
    /// Count it as an unknown field, as runtimes do.
    Drop,
}

/// Reads `range` of a payload as the message at `position`; `None` when it is not well-formed.
pub(super) fn read(
    types: &Types,
    position: u32,
    payload: &[u8],
    range: Range<usize>,
    unnamed: Unnamed,
) -> Option<Message> {
    let mut message = Message::default();
    message.places.push(range.clone());
    let reader = Reader {
        types,
        payload,
        unnamed,
    };
    reader.message(position, range, 0, &mut message)?;
    Some(message)
}

struct Reader<'a> {
    types: &'a Types,
    payload: &'a [u8],
    unnamed: Unnamed,
}

impl Reader<'_> {
    /// Reads fields up to the end, or the end of group `group`; answers the byte after.
    fn message(
        &self,
        position: u32,
        range: Range<usize>,
        group: u32,
        into: &mut Message,
    ) -> Option<usize> {
        let message = self.types.message(position)?;
        let Range { start: mut at, end } = range;
        while at < end {
            let (tag, next) = self.varint(at, end)?;
            let (number, wire) = (u32::try_from(tag >> 3).ok()?, u32::try_from(tag & 7).ok()?);
            if wire == END_GROUP {
                return (number == group).then_some(next);
            }
            at = match message.field(number) {
                Some(field) if self.takes(field, wire) => {
                    if let Some(oneof) = field.oneof {
                        let others = message.fields.iter().filter(|other| {
                            other.oneof == Some(oneof) && other.number != field.number
                        });
                        for other in others {
                            into.fields.remove(&other.number);
                        }
                    }
                    self.field(field, wire, next..end, into)?
                }
                _ => self.skip(number, wire, next, end)?,
            };
        }
        (group == 0).then_some(at)
    }

    fn takes(&self, field: &FieldType, wire: u32) -> bool {
        let packed = matches!(field.count, Count::Many { .. }) && field.kind.is_packable();
        wire == field.kind.wire() || packed && wire == LENGTH
    }

    /// Whether a value is to be taken as an unknown field.
    fn drops(&self, field: &FieldType, value: &Value) -> bool {
        match (field.kind, value) {
            (Kind::Enum(place), Value::Enum(number)) => {
                self.unnamed == Unnamed::Drop
                    && field.closed
                    && self
                        .types
                        .enum_names(place)
                        .is_some_and(|names| names.name(*number).is_none())
            }
            _ => false,
        }
    }

    /// Reads the value, or the packed values, of a field.
    fn field(
        &self,
        field: &FieldType,
        wire: u32,
        range: Range<usize>,
        into: &mut Message,
    ) -> Option<usize> {
        match field.count {
            Count::One => {
                let before = into.fields.get_mut(&field.number);
                let merge = match before {
                    Some(Values::One(Item {
                        value: Value::Message(message),
                        ..
                    })) => std::mem::take(message),
                    _ => Message::default(),
                };
                let (item, next) = self.item(field.kind, field.number, range, merge)?;
                if !self.drops(field, &item.value) {
                    into.fields.insert(field.number, Values::One(item));
                }
                Some(next)
            }
            Count::Many { .. } => {
                let Values::Many(items) = into
                    .fields
                    .entry(field.number)
                    .or_insert_with(|| Values::Many(Vec::new()))
                else {
                    return None;
                };
                if wire == field.kind.wire() {
                    let (item, next) =
                        self.item(field.kind, field.number, range, Message::default())?;
                    if !self.drops(field, &item.value) {
                        items.push(item);
                    }
                    return Some(next);
                }
                let run = self.length(range)?;
                let mut at = run.start;
                while at < run.end {
                    let (item, next) =
                        self.item(field.kind, field.number, at..run.end, Message::default())?;
                    if !self.drops(field, &item.value) {
                        items.push(item);
                    }
                    at = next;
                }
                Some(run.end)
            }
            Count::Map => {
                let (key, value) = self.types.entry(field.kind)?;
                let (entry, next) =
                    self.item(field.kind, field.number, range, Message::default())?;
                let Value::Message(mut parts) = entry.value else {
                    return None;
                };
                let mut part = |wanted: &FieldType| match parts.fields.remove(&wanted.number) {
                    Some(Values::One(item)) => item,
                    _ => Item {
                        value: default_value(self.types, wanted.kind),
                        place: entry.place.end..entry.place.end,
                    },
                };
                let (key, item) = (Key::of(part(key).value)?, part(value));
                if self.drops(value, &item.value) {
                    return Some(next);
                }
                let Values::Map(entries) = into
                    .fields
                    .entry(field.number)
                    .or_insert_with(|| Values::Map(BTreeMap::new()))
                else {
                    return None;
                };
                entries.insert(key, item);
                Some(next)
            }
        }
    }

    /// Reads one value; a message is merged into `merge`.
    fn item(
        &self,
        kind: Kind,
        number: u32,
        range: Range<usize>,
        mut merge: Message,
    ) -> Option<(Item, usize)> {
        let Range { start, end } = range;
        if let Kind::Group(position) = kind {
            let next = self.message(position, start..end, number, &mut merge)?;
            // What ends a group is a tag; the content stops before it.
            let stop = next.checked_sub(tag_length(number))?;
            merge.places.push(start..stop);
            let value = Value::Message(merge);
            let place = start..stop;
            return Some((Item { value, place }, next));
        }
        match kind.wire() {
            VARINT => {
                let (number, next) = self.varint(start, end)?;
                let value = varint_value(kind, number);
                let place = start..next;
                Some((Item { value, place }, next))
            }
            LENGTH => {
                let place = self.length(start..end)?;
                let value = if let Kind::Message(position) = kind {
                    self.message(position, place.clone(), 0, &mut merge)?;
                    merge.places.push(place.clone());
                    Value::Message(merge)
                } else {
                    Value::Bytes(self.payload.get(place.clone())?.to_vec())
                };
                let next = place.end;
                Some((Item { value, place }, next))
            }
            _ => {
                let next = start + if kind.wire() == FIXED32 { 4 } else { 8 };
                let bytes = self.payload.get(start..next.min(end))?;
                let value = fixed_value(kind, bytes)?;
                let place = start..next;
                Some((Item { value, place }, next))
            }
        }
    }

    fn varint(&self, at: usize, end: usize) -> Option<(u64, usize)> {
        let mut value = 0_u64;
        for (index, byte) in self.payload.get(at..end)?.iter().take(10).enumerate() {
            value |= u64::from(*byte & 0x7f) << (index * 7);
            if *byte < 0x80 {
                return Some((value, at + index + 1));
            }
        }
        None
    }

    fn length(&self, range: Range<usize>) -> Option<Range<usize>> {
        let (length, start) = self.varint(range.start, range.end)?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        (end <= range.end).then_some(start..end)
    }

    fn skip(&self, number: u32, wire: u32, at: usize, end: usize) -> Option<usize> {
        let next = match wire {
            VARINT => self.varint(at, end)?.1,
            FIXED64 => at + 8,
            FIXED32 => at + 4,
            LENGTH => self.length(at..end)?.end,
            START_GROUP => return self.skip_group(number, at, end),
            _ => return None,
        };
        (next <= end).then_some(next)
    }

    fn skip_group(&self, number: u32, mut at: usize, end: usize) -> Option<usize> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let (tag, next) = self.varint(at, end)?;
            let (number, wire) = (u32::try_from(tag >> 3).ok()?, u32::try_from(tag & 7).ok()?);
            at = match wire {
                START_GROUP => {
                    open.push(number);
                    next
                }
                END_GROUP if number == innermost => {
                    open.pop();
                    next
                }
                END_GROUP => return None,
                _ => self.skip(number, wire, next, end)?,
            };
        }
        Some(at)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "32-bit kinds keep the low half, as every runtime does"
)]
fn varint_value(kind: Kind, number: u64) -> Value {
    match kind {
        Kind::Bool => Value::Bool(number != 0),
        Kind::Int32 => Value::Signed(i64::from((number as u32).cast_signed())),
        Kind::Enum(_) => Value::Enum((number as u32).cast_signed()),
        Kind::Int64 => Value::Signed(number.cast_signed()),
        Kind::Uint32 => Value::Unsigned(u64::from(number as u32)),
        Kind::Sint32 => {
            let half = number as u32;
            let value = (half >> 1).cast_signed() ^ -((half & 1).cast_signed());
            Value::Signed(i64::from(value))
        }
        Kind::Sint64 => Value::Signed((number >> 1).cast_signed() ^ -((number & 1).cast_signed())),
        _ => Value::Unsigned(number),
    }
}

fn fixed_value(kind: Kind, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Float => Value::Float(f32::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Fixed32 => Value::Unsigned(u32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::Sfixed32 => Value::Signed(i32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::Double => Value::Double(f64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Sfixed64 => Value::Signed(i64::from_le_bytes(bytes.try_into().ok()?)),
        _ => Value::Unsigned(u64::from_le_bytes(bytes.try_into().ok()?)),
    })
}

fn tag_length(number: u32) -> usize {
    let mut out = Vec::new();
    write_varint(u64::from(number) << 3, &mut out);
    out.len()
}

/// The bytes of a message, fields in the order of their numbers.
pub(super) fn write(types: &Types, position: u32, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    write_fields(types, position, message, &mut out);
    out
}

fn write_fields(types: &Types, position: u32, message: &Message, out: &mut Vec<u8>) {
    let Some(message_type) = types.message(position) else {
        return;
    };
    for (number, values) in &message.fields {
        let Some(field) = message_type.field(*number) else {
            continue;
        };
        match values {
            Values::One(item) => {
                if !field.implicit || !is_zero(&item.value) {
                    write_item(types, field, &item.value, out);
                }
            }
            Values::Many(items) if field.count == (Count::Many { packed: true }) => {
                let mut run = Vec::new();
                for item in items {
                    write_value(types, field.kind, &item.value, &mut run);
                }
                if !items.is_empty() {
                    write_tag(field.number, LENGTH, out);
                    write_bytes(&run, out);
                }
            }
            Values::Many(items) => {
                for item in items {
                    write_item(types, field, &item.value, out);
                }
            }
            Values::Map(entries) => {
                let Some((key, value)) = types.entry(field.kind) else {
                    continue;
                };
                for (own, item) in entries {
                    let mut entry = Vec::new();
                    for (part, content) in [(key, &own.value()), (value, &item.value)] {
                        // Zeros too, as runtimes do: an entry always says both.
                        write_item(types, part, content, &mut entry);
                    }
                    write_tag(field.number, LENGTH, out);
                    write_bytes(&entry, out);
                }
            }
        }
    }
}

fn write_item(types: &Types, field: &FieldType, value: &Value, out: &mut Vec<u8>) {
    write_tag(field.number, field.kind.wire(), out);
    write_value(types, field.kind, value, out);
    if let Kind::Group(_) = field.kind {
        write_tag(field.number, END_GROUP, out);
    }
}

fn write_value(types: &Types, kind: Kind, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Enum(number) => write_varint(i64::from(*number).cast_unsigned(), out),
        Value::Signed(number) => match kind {
            Kind::Sint32 | Kind::Sint64 => {
                write_varint(((number << 1) ^ (number >> 63)).cast_unsigned(), out);
            }
            Kind::Sfixed32 => out.extend_from_slice(&number.to_le_bytes()[..4]),
            Kind::Sfixed64 => out.extend_from_slice(&number.to_le_bytes()),
            _ => write_varint(number.cast_unsigned(), out),
        },
        Value::Unsigned(number) => match kind {
            Kind::Fixed32 => out.extend_from_slice(&number.to_le_bytes()[..4]),
            Kind::Fixed64 => out.extend_from_slice(&number.to_le_bytes()),
            _ => write_varint(*number, out),
        },
        Value::Float(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::Message(message) => match kind {
            Kind::Group(position) => write_fields(types, position, message, out),
            Kind::Message(position) => write_bytes(&write(types, position, message), out),
            _ => {}
        },
    }
}

/// Whether the value is the zero that a field without presence does not write.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Signed(number) => *number == 0,
        Value::Unsigned(number) => *number == 0,
        Value::Float(number) => number.to_bits() == 0,
        Value::Double(number) => number.to_bits() == 0,
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Enum(number) => *number == 0,
        Value::Message(_) => false,
    }
}

fn write_tag(number: u32, wire: u32, out: &mut Vec<u8>) {
    write_varint(u64::from(number) << 3 | u64::from(wire), out);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
