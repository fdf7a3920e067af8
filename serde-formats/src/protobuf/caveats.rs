//! What the reference's comparison lets pass though bytes are read otherwise than they were written.
//!
//! Works on linked types, so that the features of editions count like the syntaxes they stand for.
//! Walks the messages that meet when one schema reads what the other wrote and looks at every field
//! that both have. What [`super::compare`] reports at the same path is not told again.

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};

use super::ast::Message;
use super::resolve::join;
use super::tables::Shape;
use super::types::{Count, FieldType, Kind, MessageType, Types};
use super::{ProtobufSchema, compare};
use crate::compatibility::{Caveat, CaveatEffect};

/// Most fields looked at: types that refer to each other meet in every combination.
const FIELDS_MAX: usize = 1_000_000;

/// Where [`compare`] reports nothing although a record may break; nothing where a schema does not
/// link.
#[must_use]
pub fn caveats(reader: &ProtobufSchema, writer: &ProtobufSchema) -> Vec<Caveat> {
    let (Ok(reader_types), Ok(writer_types)) = (reader.types(), writer.types()) else {
        return Vec::new();
    };
    let mut search = Search {
        reader: reader_types,
        writer: writer_types,
        reported: compare(reader, writer)
            .into_iter()
            .map(|difference| difference.path)
            .collect(),
        queue: VecDeque::new(),
        met: HashSet::new(),
        fields: 0,
        known: HashSet::new(),
        found: Vec::new(),
    };
    search.add_roots(writer, reader);
    while let Some((writer, reader)) = search.queue.pop_front() {
        search.messages(writer, reader);
    }
    search.found
}

struct Search<'a> {
    reader: &'a Types,
    writer: &'a Types,
    /// Paths at which the reference reports a difference.
    reported: HashSet<String>,
    /// Messages of writer and reader still to be looked at.
    queue: VecDeque<(u32, u32)>,
    met: HashSet<(u32, u32)>,
    fields: usize,
    /// Kind and path of what was found.
    known: HashSet<(&'static str, String)>,
    found: Vec<Caveat>,
}

impl Search<'_> {
    /// The messages a payload can be of.
    fn add_roots(&mut self, writer: &ProtobufSchema, reader: &ProtobufSchema) {
        let (own, other) = (&writer.inner.file, &reader.inner.file);
        let mut pending: VecDeque<(&Message, String)> = own
            .messages
            .iter()
            .map(|message| (message, message.name.clone()))
            .collect();
        while let Some((message, local)) = pending.pop_front() {
            let position = |types: &Types, package| types.position(&join(package, &local));
            if let (Some(writer), Some(reader)) = (
                position(self.writer, own.package_name()),
                position(self.reader, other.package_name()),
            ) {
                self.meet(writer, reader);
            }
            let nested = message.messages.iter();
            pending.extend(nested.map(|inner| (inner, join(&local, &inner.name))));
        }
    }

    fn meet(&mut self, writer: u32, reader: u32) {
        if self.met.insert((writer, reader)) {
            self.queue.push_back((writer, reader));
        }
    }

    fn messages(&mut self, writer: u32, reader: u32) {
        let (written, read) = (self.writer, self.reader);
        let (Some(own), Some(other)) = (written.message(writer), read.message(reader)) else {
            return;
        };
        self.fields = self.fields.saturating_add(other.fields.len());
        if self.fields > FIELDS_MAX {
            return;
        }
        let path = format!("#/{}", own.local.replace('.', "/"));
        for field in &other.fields {
            let path = field_path(&path, other, field);
            match own.field(field.number) {
                Some(before) => {
                    self.field(&path, (writer, before), (reader, field));
                }
                // Of the rest, the reference reports those that are added.
                None if field.required && matches!(field.kind, Kind::Group(_)) => self.add(
                    "GROUP_NOT_COMPARED",
                    &path,
                    "a record without this group is refused",
                ),
                None => {}
            }
        }
        self.oneofs(&path, own, other);
    }

    fn field(&mut self, path: &str, own: (u32, &FieldType), other: (u32, &FieldType)) {
        let (before, after) = (own.1, other.1);
        if (before.count == Count::Map) != (after.count == Count::Map)
            || family(before.kind) != family(after.kind)
        {
            self.add(
                "GROUP_NOT_COMPARED",
                path,
                "the reader takes these bytes for something else: a group is not written as a \
                 message is, nor does anything look into one",
            );
            return;
        }
        self.labels(path, before, after);
        if before.count == Count::Map {
            if let (Some((key, value)), Some((other_key, other_value))) = (
                self.writer.entry(before.kind),
                self.reader.entry(after.kind),
            ) && let (Some(entry), Some(other_entry)) =
                (before.kind.message(), after.kind.message())
            {
                self.values(path, (entry, key), (other_entry, other_key));
                self.values(path, (entry, value), (other_entry, other_value));
            }
            return;
        }
        self.values(path, own, other);
    }

    fn labels(&mut self, path: &str, before: &FieldType, after: &FieldType) {
        if after.required && !before.required {
            self.add(
                "LABEL_NOT_COMPARED",
                path,
                "a record without this field is refused",
            );
        } else if let (Count::Many { packed }, Count::One) = (before.count, after.count) {
            let reason = match before.kind.message() {
                Some(_) => "the reader makes one message of all that were written",
                None if packed => "the reader takes a run of numbers for an unknown field",
                None => "the reader keeps the last of the values that were written",
            };
            self.add("LABEL_NOT_COMPARED", path, reason);
        }
    }

    /// One value on each side, of kinds whose bytes look alike.
    fn values(&mut self, path: &str, own: (u32, &FieldType), other: (u32, &FieldType)) {
        let (before, after) = (own.1, other.1);
        if let (Some(writer), Some(reader)) = (before.kind.message(), after.kind.message()) {
            // Another name is another type to the reference, which says so.
            let is_named_alike = self.local(self.writer, writer) == self.local(self.reader, reader);
            if is_named_alike || matches!(before.kind, Kind::Group(_)) {
                self.meet(writer, reader);
            }
            return;
        }
        if shape(self.reader, other) == Some(Shape::Utf8)
            && shape(self.writer, own) != Some(Shape::Utf8)
        {
            self.add(
                "TEXT_NOT_COMPARED",
                path,
                "bytes that are not UTF-8 are refused as text",
            );
        }
        let Some(wanted) = Numbers::of(self.reader, other) else {
            return;
        };
        let Some(written) = Numbers::of(self.writer, own) else {
            return;
        };
        if written.are_within(&wanted) {
            return;
        }
        if after.closed {
            self.add(
                "ENUM_NOT_COMPARED",
                path,
                "a number that the enum does not have counts as an unknown field",
            );
        } else {
            self.add(
                "NUMBER_RANGE_NOT_COMPARED",
                path,
                "numbers out of the new type's range are read as other numbers",
            );
        }
    }

    /// Groups in a oneof are not counted by the reference.
    fn oneofs(&mut self, path: &str, own: &MessageType, other: &MessageType) {
        for (place, name) in other.oneofs.iter().enumerate() {
            let members = other.fields.iter().filter(|it| it.oneof == Some(place));
            let before: Vec<&FieldType> = members
                .filter_map(|field| own.field(field.number))
                .collect();
            let mut origins: Vec<Option<usize>> = before.iter().map(|it| it.oneof).collect();
            let alone = origins.iter().filter(|origin| origin.is_none()).count();
            origins.sort_unstable();
            origins.dedup();
            let from_oneofs = origins.iter().flatten().count();
            if alone + from_oneofs > 1 {
                self.add(
                    "GROUP_NOT_COMPARED",
                    &format!("{path}/{name}"),
                    "of two fields that could be set together the reader keeps one",
                );
            }
        }
    }

    fn local<'t>(&self, types: &'t Types, position: u32) -> &'t str {
        types.message(position).map_or("", |it| it.local.as_str())
    }

    fn add(&mut self, kind: &'static str, path: &str, reason: &str) {
        if self.reported.contains(path) || !self.known.insert((kind, path.to_owned())) {
            return;
        }
        self.found.push(Caveat {
            effect: CaveatEffect::Missed,
            kind,
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Spelled as the reference does: with the oneof that a field is in.
fn field_path(message: &str, own: &MessageType, field: &FieldType) -> String {
    let oneof = field.oneof.and_then(|place| own.oneofs.get(place));
    match oneof {
        Some(oneof) => format!("{message}/{oneof}/{}", field.number),
        None => format!("{message}/{}", field.number),
    }
}

/// Kinds that the reference takes for one, groups apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Varint,
    ZigZag,
    Fixed32,
    Fixed64,
    Float,
    Double,
    Text,
    Message,
    Group,
}

const fn family(kind: Kind) -> Family {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => {
            Family::Varint
        }
        Kind::Sint32 | Kind::Sint64 => Family::ZigZag,
        Kind::Fixed32 | Kind::Sfixed32 => Family::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 => Family::Fixed64,
        Kind::Float => Family::Float,
        Kind::Double => Family::Double,
        Kind::Text | Kind::Bytes => Family::Text,
        Kind::Message(_) => Family::Message,
        Kind::Group(_) => Family::Group,
    }
}

/// The rule that the walker has for a field.
fn shape(types: &Types, field: (u32, &FieldType)) -> Option<Shape> {
    let table = usize::try_from(field.0).ok()?;
    let table = types.validator.messages.get(table)?;
    let place = table.find(field.1.number)?;
    Some(table.fields.get(usize::from(place))?.shape)
}

/// The whole numbers that a field may hold.
enum Numbers<'t> {
    Range(i128, i128),
    /// Of a closed enum, sorted.
    Listed(&'t [i32]),
}

impl<'t> Numbers<'t> {
    /// `None` for what holds no whole number.
    fn of(types: &'t Types, field: (u32, &FieldType)) -> Option<Self> {
        if let Some(Shape::ClosedEnum(place)) = shape(types, field) {
            let listed = types
                .validator
                .closed_enums
                .get(usize::try_from(place).ok()?)?;
            return Some(Self::Listed(listed));
        }
        Some(match field.1.kind {
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => {
                Self::Range(i32::MIN.into(), i32::MAX.into())
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                Self::Range(i64::MIN.into(), i64::MAX.into())
            }
            Kind::Uint32 | Kind::Fixed32 => Self::Range(0, u32::MAX.into()),
            Kind::Uint64 | Kind::Fixed64 => Self::Range(0, u64::MAX.into()),
            Kind::Bool => Self::Range(0, 1),
            _ => return None,
        })
    }

    fn are_within(&self, wanted: &Numbers<'_>) -> bool {
        match (self, wanted) {
            (Self::Range(first, last), Numbers::Range(least, most)) => {
                least <= first && last <= most
            }
            // Few enough to be listed: a boolean, or nothing that an enum lists in full.
            (Self::Range(0, 1), Numbers::Listed(listed)) => {
                [0, 1].iter().all(|it| listed.binary_search(it).is_ok())
            }
            (Self::Range(..), Numbers::Listed(_)) => false,
            (Self::Listed(own), Numbers::Range(least, most)) => own
                .iter()
                .all(|it| (*least..=*most).contains(&i128::from(*it))),
            (Self::Listed(own), Numbers::Listed(listed)) => {
                own.iter().all(|it| listed.binary_search(it).is_ok())
            }
        }
    }
}
