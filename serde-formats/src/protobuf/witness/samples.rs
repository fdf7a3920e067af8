//! Small values worth trying: one that is easy to read first, then those at the edges of a type.

use std::collections::BTreeMap;

use super::super::types::{Count, FieldType, Kind, Types};
use super::super::values::{Item, Key, Message, Value, Values, is_zero};

/// Messages inside a sample; deeper ones are reached by walking.
const DEPTH_MAX: usize = 2;
/// Required messages inside required messages; a cycle of them has no record.
const REQUIRED_DEPTH_MAX: usize = 32;

/// Values of a kind, none of them its zero where it has others.
pub(super) fn of_kind(types: &Types, kind: Kind, depth: usize) -> Vec<Value> {
    let bytes = |values: &[&[u8]]| {
        values
            .iter()
            .map(|it| Value::Bytes((*it).to_vec()))
            .collect()
    };
    match kind {
        Kind::Double => vec![Value::Double(1.5), Value::Double(-2.0)],
        Kind::Float => vec![Value::Float(1.5), Value::Float(-2.0)],
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => [1, -1, 300, i32::MIN]
            .map(|number| Value::Signed(number.into()))
            .into(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            [1, -1, 300, i64::MIN].map(Value::Signed).into()
        }
        Kind::Uint32 | Kind::Fixed32 => [1, 300, u32::MAX]
            .map(|number| Value::Unsigned(number.into()))
            .into(),
        Kind::Uint64 | Kind::Fixed64 => [1, 300, u64::MAX].map(Value::Unsigned).into(),
        Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        // The third is also a message: field 1 is 1.
        Kind::Text => bytes(&[b"a", b"ab", &[8, 1]]),
        Kind::Bytes => bytes(&[b"a", &[0xff], &[8, 1]]),
        Kind::Enum(place) => {
            let numbers = types.enum_names(place).into_iter().flat_map(|it| it.all());
            let (zero, others): (Vec<Value>, Vec<Value>) =
                numbers.take(8).map(Value::Enum).partition(is_zero);
            // An open enum takes numbers without a name; of a closed one they make no valid record.
            let unnamed = [1, -1].map(Value::Enum);
            others.into_iter().chain(zero).chain(unnamed).collect()
        }
        Kind::Message(position) | Kind::Group(position) => messages(types, position, depth)
            .into_iter()
            .map(Value::Message)
            .collect(),
    }
}

/// Messages with one field set beside the required ones, and one with these alone.
pub(super) fn messages(types: &Types, position: u32, depth: usize) -> Vec<Message> {
    let Some(base) = required(types, position, 0) else {
        return Vec::new();
    };
    let mut result = Vec::new();
    let fields = types.message(position).map_or(&[][..], |it| &it.fields);
    if depth < DEPTH_MAX {
        for field in fields.iter().filter(|field| !field.extension) {
            for values in of_field_at(types, field, depth + 1).into_iter().take(3) {
                let mut message = base.clone();
                message.fields.insert(field.number, values);
                result.push(message);
            }
        }
    }
    result.push(base);
    result
}

/// What a field may hold.
pub(super) fn of_field(types: &Types, field: &FieldType) -> Vec<Values> {
    of_field_at(types, field, 0)
}

fn of_field_at(types: &Types, field: &FieldType, depth: usize) -> Vec<Values> {
    match field.count {
        Count::One => of_kind(types, field.kind, depth)
            .into_iter()
            .map(|value| Values::One(value.into()))
            .collect(),
        Count::Many { .. } => {
            let values = of_kind(types, field.kind, depth);
            let first = values.first().cloned();
            // Two alike for a type of one value.
            let seconds = values.get(1).cloned().into_iter().chain(first.clone());
            let pairs: Vec<Vec<Item>> = seconds
                .zip(first.into_iter().cycle())
                .map(|(second, first)| vec![first.into(), second.into()])
                .collect();
            let singles = values.into_iter().map(|value| vec![value.into()]);
            singles.chain(pairs).map(Values::Many).collect()
        }
        Count::Map => {
            let Some((key, value)) = types.entry(field.kind) else {
                return Vec::new();
            };
            let keys = of_kind(types, key.kind, depth);
            let values = of_kind(types, value.kind, depth);
            let first = values.first().cloned();
            let by_value = values.into_iter().map(|value| (keys.first(), value));
            let by_key = keys.iter().skip(1).map(Some).zip(first.into_iter().cycle());
            by_value
                .chain(by_key)
                .filter_map(|(key, value)| {
                    let key = Key::of(key?.clone())?;
                    Some(Values::Map(BTreeMap::from([(key, value.into())])))
                })
                .collect()
        }
    }
}

/// A map of one entry with this value.
pub(super) fn entry(types: &Types, field: &FieldType, value: Value) -> Option<Values> {
    let (key, _) = types.entry(field.kind)?;
    let key = Key::of(of_kind(types, key.kind, 0).into_iter().next()?)?;
    Some(Values::Map(BTreeMap::from([(key, value.into())])))
}

/// How the key of [`entry`] stands in a path.
pub(super) fn key_text(types: &Types, field: &FieldType) -> Option<String> {
    let (key, _) = types.entry(field.kind)?;
    Some(match of_kind(types, key.kind, 0).into_iter().next()? {
        Value::Bool(value) => format!("\"{value}\""),
        Value::Signed(number) => format!("\"{number}\""),
        Value::Unsigned(number) => format!("\"{number}\""),
        Value::Bytes(bytes) => format!("\"{}\"", String::from_utf8_lossy(&bytes)),
        _ => return None,
    })
}

/// Values of two fields to be set together.
pub(super) fn together(
    types: &Types,
    first: &FieldType,
    second: &FieldType,
) -> Vec<(Values, Values)> {
    let few = |field| of_field(types, field).into_iter().take(3);
    few(first)
        .flat_map(|one| few(second).map(move |other| (one.clone(), other)))
        .collect()
}

/// The smallest valid message; `None` when there is none.
pub(super) fn required(types: &Types, position: u32, depth: usize) -> Option<Message> {
    let mut message = Message::default();
    if depth > REQUIRED_DEPTH_MAX {
        return None;
    }
    for field in &types.message(position)?.fields {
        if !field.required {
            continue;
        }
        let value = match field.kind.message() {
            Some(inner) => Value::Message(required(types, inner, depth + 1)?),
            None => of_kind(types, field.kind, 0).into_iter().next()?,
        };
        message
            .fields
            .insert(field.number, Values::One(value.into()));
    }
    Some(message)
}
