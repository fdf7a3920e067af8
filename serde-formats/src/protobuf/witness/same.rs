//! Whether two values mean the same, whatever the types they were read by.
//!
//! Numbers compare by value, an enum and a boolean as their number; text and bytes by their bytes;
//! messages by field number; a map as the list of its entries; a single value as a list of one. A
//! field that is not set is the same as one at zero.

use std::borrow::Cow;

use super::super::types::{Count, FieldType, Types};
use super::super::values::{Message, Value, Values, is_zero};

/// A field as one side reads it.
pub(super) type Read<'r> = (&'r Types, &'r FieldType, Option<&'r Values>);

/// Whether a field holds on the reader's side what it held on the writer's.
pub(super) fn fields(writer: Read<'_>, reader: Read<'_>) -> bool {
    let (written, read) = (list(writer.2), list(reader.2));
    let (Some(own), Some(other)) = (element(writer), element(reader)) else {
        return false;
    };
    let both_single = writer.1.count == Count::One && reader.1.count == Count::One;
    if both_single {
        match (written.first(), read.first()) {
            (Some(one), None) | (None, Some(one)) => return is_zero(one),
            _ => {}
        }
    }
    written.len() == read.len()
        && written
            .iter()
            .zip(&read)
            .all(|(written, read)| values(own, written, other, read))
}

/// The types and the message, if it is one, of a field's elements.
fn element(side: Read<'_>) -> Option<(&Types, Option<u32>)> {
    Some((side.0, side.1.kind.message()))
}

fn list(values: Option<&Values>) -> Vec<Cow<'_, Value>> {
    match values {
        None => Vec::new(),
        Some(Values::One(item)) => vec![Cow::Borrowed(&item.value)],
        Some(Values::Many(items)) => items.iter().map(|it| Cow::Borrowed(&it.value)).collect(),
        Some(Values::Map(entries)) => entries
            .iter()
            .map(|(key, item)| {
                let mut entry = Message::default();
                entry.fields.insert(1, Values::One(key.value().into()));
                entry.fields.insert(2, Values::One(item.clone()));
                Cow::Owned(Value::Message(entry))
            })
            .collect(),
    }
}

fn values(
    writer: (&Types, Option<u32>),
    written: &Value,
    reader: (&Types, Option<u32>),
    read: &Value,
) -> bool {
    if let (Value::Message(written), Value::Message(read)) = (written, read) {
        let (Some(own), Some(other)) = (writer.1, reader.1) else {
            return false;
        };
        return messages((writer.0, own), written, (reader.0, other), read);
    }
    if let (Some(written), Some(read)) = (whole(written), whole(read)) {
        return written == read;
    }
    match (written, read) {
        (Value::Float(written), Value::Float(read)) => written.to_bits() == read.to_bits(),
        (Value::Double(written), Value::Double(read)) => written.to_bits() == read.to_bits(),
        (Value::Bytes(written), Value::Bytes(read)) => written == read,
        _ => false,
    }
}

fn messages(
    writer: (&Types, u32),
    written: &Message,
    reader: (&Types, u32),
    read: &Message,
) -> bool {
    let (Some(own), Some(other)) = (writer.0.message(writer.1), reader.0.message(reader.1)) else {
        return false;
    };
    written.fields.iter().all(|(number, values)| {
        let (Some(own), Some(other)) = (own.field(*number), other.field(*number)) else {
            return false;
        };
        fields(
            (writer.0, own, Some(values)),
            (reader.0, other, read.fields.get(number)),
        )
    })
}

fn whole(value: &Value) -> Option<i128> {
    Some(match value {
        Value::Bool(value) => i128::from(*value),
        Value::Signed(number) => i128::from(*number),
        Value::Unsigned(number) => i128::from(*number),
        Value::Enum(number) => i128::from(*number),
        Value::Float(_) | Value::Double(_) | Value::Bytes(_) | Value::Message(_) => return None,
    })
}
