//! The types of `google/protobuf` that have a JSON form of their own.
//!
//! Their fields are taken by number and kind, never trusted to be there: a schema may bring its
//! own file under such a name.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::{Duration, Timestamp};
use serde_json::{Map, Value as Json};

use super::from_json::Builder;
use super::to_json::{Printer, place_of};
use super::types::Count;
use super::values::{Item, Key, Message, Unnamed, Value, Values, default_value, read, write};
use super::{ProtobufScratch, types::Types};
use crate::json_value::EncodeError;
use crate::validator::{
    MessageId, UnknownFields, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// A type with a JSON form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WellKnown {
    Any,
    Timestamp,
    Duration,
    Struct,
    Value,
    ListValue,
    FieldMask,
    Wrapper,
}

/// `0001-01-01T00:00:00Z` and `9999-12-31T23:59:59Z`.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Ten thousand years.
const DURATION_SECONDS: std::ops::RangeInclusive<i64> = -315_576_000_000..=315_576_000_000;
const NANOS: i32 = 1_000_000_000;

impl WellKnown {
    /// The type with this full name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("google.protobuf.")? {
            "Any" => Self::Any,
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "Struct" => Self::Struct,
            "Value" => Self::Value,
            "ListValue" => Self::ListValue,
            "FieldMask" => Self::FieldMask,
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Self::Wrapper,
            _ => return None,
        })
    }
}

pub(super) fn to_json(
    printer: &mut Printer<'_>,
    kind: WellKnown,
    position: u32,
    message: &Message,
) -> Result<Json, Violation> {
    match kind {
        WellKnown::Any => any_to_json(printer, message),
        WellKnown::Timestamp => {
            let (seconds, nanos) = seconds_and_nanos(message);
            if !TIMESTAMP_SECONDS.contains(&seconds) || !(0..NANOS).contains(&nanos) {
                return Err(out_of_range(printer, "a timestamp", message));
            }
            Ok(Json::String(Timestamp { seconds, nanos }.to_string()))
        }
        WellKnown::Duration => {
            let (seconds, nanos) = seconds_and_nanos(message);
            let one_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
            if !DURATION_SECONDS.contains(&seconds) || nanos.abs() >= NANOS || !one_sign {
                return Err(out_of_range(printer, "a duration", message));
            }
            Ok(Json::String(Duration { seconds, nanos }.to_string()))
        }
        WellKnown::Struct => match field_json(printer, position, message, 1)? {
            Some(object @ Json::Object(_)) => Ok(object),
            _ => Ok(Json::Object(Map::new())),
        },
        WellKnown::ListValue => match field_json(printer, position, message, 1)? {
            Some(list @ Json::Array(_)) => Ok(list),
            _ => Ok(Json::Array(Vec::new())),
        },
        WellKnown::Value => {
            let Some(number) = message.fields.keys().next().copied() else {
                return Ok(Json::Null);
            };
            match field_json(printer, position, message, number)? {
                // The words for what is no JSON number would read back as text.
                Some(Json::String(_)) if number == 2 => {
                    Err(out_of_range(printer, "a JSON number", message))
                }
                json => Ok(json.unwrap_or_default()),
            }
        }
        WellKnown::FieldMask => {
            let mut masks = Vec::new();
            if let Some(Values::Many(paths)) = message.fields.get(&1) {
                for item in paths {
                    let Value::Bytes(bytes) = &item.value else {
                        continue;
                    };
                    let camel = std::str::from_utf8(bytes).ok().and_then(camel_case);
                    let camel = camel.ok_or_else(|| {
                        let detail = "a field mask's path has no camel case form";
                        printer.violation(ViolationReason::LogicalType, detail, item.place.start)
                    })?;
                    masks.push(camel);
                }
            }
            Ok(Json::String(masks.join(",")))
        }
        WellKnown::Wrapper => {
            if let Some(json) = field_json(printer, position, message, 1)? {
                return Ok(json);
            }
            let types = printer.types;
            let field = types.message(position).and_then(|it| it.field(1));
            let Some(field) = field.filter(|field| field.kind.message().is_none()) else {
                return Ok(Json::Null);
            };
            printer.value(field.kind, &default_value(types, field.kind), 0)
        }
    }
}

/// The JSON of one field, if it is set.
fn field_json(
    printer: &mut Printer<'_>,
    position: u32,
    message: &Message,
    number: u32,
) -> Result<Option<Json>, Violation> {
    let types = printer.types;
    let field = types.message(position).and_then(|it| it.field(number));
    let (Some(field), Some(values)) = (field, message.fields.get(&number)) else {
        return Ok(None);
    };
    printer.values(field, values).map(Some)
}

fn out_of_range(printer: &Printer<'_>, what: &str, message: &Message) -> Violation {
    printer.violation(
        ViolationReason::LogicalType,
        format!("the value is out of the range of {what}"),
        place_of(message).start,
    )
}

fn one(message: &Message, number: u32) -> Option<&Value> {
    match message.fields.get(&number) {
        Some(Values::One(item)) => Some(&item.value),
        _ => None,
    }
}

fn seconds_and_nanos(message: &Message) -> (i64, i32) {
    let number = |at| match one(message, at) {
        Some(Value::Signed(number)) => *number,
        _ => 0,
    };
    (number(1), i32::try_from(number(2)).unwrap_or(i32::MAX))
}

/// The message's name in the URL of an `Any`.
fn name_of_url(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn any_to_json(printer: &mut Printer<'_>, message: &Message) -> Result<Json, Violation> {
    let text = |value: Option<&Value>| match value {
        Some(Value::Bytes(bytes)) => bytes.clone(),
        _ => Vec::new(),
    };
    let bytes = text(one(message, 2));
    let Ok(url) = String::from_utf8(text(one(message, 1))) else {
        return Err(out_of_range(printer, "a type URL", message));
    };
    if url.is_empty() && bytes.is_empty() {
        return Ok(Json::Object(Map::new()));
    }
    let mut object = Map::new();
    object.insert("@type".to_owned(), Json::String(url.clone()));
    let types = printer.types;
    let Some(position) = types.position(name_of_url(&url)) else {
        // A type of another schema: its bytes are all that can be shown.
        object.insert("value".to_owned(), Json::String(STANDARD.encode(bytes)));
        return Ok(Json::Object(object));
    };
    let end = match message.fields.get(&2) {
        Some(Values::One(item)) => item.place.end,
        _ => place_of(message).end,
    };
    let range = end.saturating_sub(bytes.len())..end;
    let inner = read_any(types, position, printer.payload, range.clone()).map_err(|violation| {
        printer.violation(
            violation.reason,
            violation.detail,
            range.start + violation.byte_offset,
        )
    })?;
    if types
        .message(position)
        .is_some_and(|it| it.well_known.is_some())
    {
        printer.path.push_str(".value");
        let json = printer.message(position, &inner);
        printer.path.truncate(printer.path.len() - ".value".len());
        object.insert("value".to_owned(), json?);
        return Ok(Json::Object(object));
    }
    match printer.message(position, &inner)? {
        Json::Object(fields) => object.extend(fields),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Ok(Json::Object(object))
}

/// The content of an `Any`, judged before it is read.
fn read_any(
    types: &Types,
    position: u32,
    payload: &[u8],
    range: std::ops::Range<usize>,
) -> Result<Message, Violation> {
    let bytes = payload.get(range.clone()).unwrap_or(&[]);
    let options = ValidationOptions {
        level: ValidationLevel::Decode,
        unknown_fields: UnknownFields::Allow,
        ..ValidationOptions::default()
    };
    let mut scratch = ProtobufScratch::default();
    let id = MessageId(position);
    types.validator.validate(id, bytes, options, &mut scratch)?;
    read(types, position, payload, range, Unnamed::Keep).ok_or_else(|| Violation {
        reason: ViolationReason::Malformed,
        path: "$".to_owned(),
        byte_offset: 0,
        detail: "the content does not decode".to_owned(),
    })
}

pub(super) fn from_json(
    builder: &mut Builder<'_>,
    kind: WellKnown,
    position: u32,
    json: &Json,
) -> Result<Message, EncodeError> {
    match kind {
        WellKnown::Any => any_from_json(builder, json),
        WellKnown::Timestamp => {
            let text = text(builder, json, "a timestamp")?;
            let parsed: Option<Timestamp> = is_rfc3339(text).then(|| text.parse().ok()).flatten();
            let parsed = parsed.filter(|it| TIMESTAMP_SECONDS.contains(&it.seconds));
            let parsed = parsed.ok_or_else(|| builder.error("the text is not a timestamp"))?;
            Ok(pair(parsed.seconds, parsed.nanos))
        }
        WellKnown::Duration => {
            let text = text(builder, json, "a duration")?;
            let parsed: Option<Duration> = text.parse().ok();
            let parsed = parsed.filter(|it| DURATION_SECONDS.contains(&it.seconds));
            let parsed = parsed.ok_or_else(|| builder.error("the text is not a duration"))?;
            Ok(pair(parsed.seconds, parsed.nanos))
        }
        WellKnown::Struct => match json.as_object() {
            Some(object) => struct_from_json(builder, position, object),
            None => Err(builder.expected("an object", json)),
        },
        WellKnown::ListValue => match json.as_array() {
            Some(list) => list_from_json(builder, position, list),
            None => Err(builder.expected("an array", json)),
        },
        WellKnown::Value => {
            let number = match json {
                Json::Null => 1,
                Json::Number(_) => 2,
                Json::String(_) => 3,
                Json::Bool(_) => 4,
                Json::Object(_) => 5,
                Json::Array(_) => 6,
            };
            let kind = builder
                .types
                .message(position)
                .and_then(|it| it.field(number))
                .map(|field| field.kind)
                .ok_or_else(|| builder.error(format!("google.protobuf.Value has no {number}")))?;
            let value = builder.value(kind, json)?;
            Ok(set(number, Values::One(value.into())))
        }
        WellKnown::FieldMask => {
            let text = text(builder, json, "a field mask")?;
            let mut paths: Vec<Item> = Vec::new();
            for path in text.split(',').filter(|path| !path.is_empty()) {
                let snake =
                    snake_case(path).ok_or_else(|| builder.error("a path is not in camel case"))?;
                paths.push(Value::Bytes(snake.into_bytes()).into());
            }
            Ok(set(1, Values::Many(paths)))
        }
        WellKnown::Wrapper => {
            let field = builder.types.message(position).and_then(|it| it.field(1));
            let kind = field
                .filter(|field| field.count == Count::One)
                .map(|field| field.kind)
                .ok_or_else(|| builder.error("the wrapper has no value"))?;
            let value = builder.value(kind, json)?;
            Ok(set(1, Values::One(value.into())))
        }
    }
}

fn set(number: u32, values: Values) -> Message {
    let mut message = Message::default();
    message.fields.insert(number, values);
    message
}

fn pair(seconds: i64, nanos: i32) -> Message {
    let mut message = set(1, Values::One(Value::Signed(seconds).into()));
    message
        .fields
        .insert(2, Values::One(Value::Signed(nanos.into()).into()));
    message
}

fn text<'j>(builder: &Builder<'_>, json: &'j Json, what: &str) -> Result<&'j str, EncodeError> {
    json.as_str()
        .ok_or_else(|| builder.expected(&format!("{what} as text"), json))
}

fn struct_from_json(
    builder: &mut Builder<'_>,
    position: u32,
    object: &Map<String, Json>,
) -> Result<Message, EncodeError> {
    let types = builder.types;
    let field = types.message(position).and_then(|it| it.field(1));
    let value = field.and_then(|field| types.entry(field.kind));
    let Some((_, value)) = value else {
        return Err(builder.error("google.protobuf.Struct has no fields"));
    };
    let length = builder.path.len();
    let mut entries = BTreeMap::new();
    for (name, json) in object {
        builder
            .path
            .push_str(&format!("[{}]", Json::String(name.clone())));
        let item = builder.value(value.kind, json)?.into();
        entries.insert(Key::Text(name.as_bytes().to_vec()), item);
        builder.path.truncate(length);
    }
    Ok(set(1, Values::Map(entries)))
}

fn list_from_json(
    builder: &mut Builder<'_>,
    position: u32,
    list: &[Json],
) -> Result<Message, EncodeError> {
    let field = builder.types.message(position).and_then(|it| it.field(1));
    let Some(kind) = field.map(|field| field.kind) else {
        return Err(builder.error("google.protobuf.ListValue has no values"));
    };
    let length = builder.path.len();
    let mut items: Vec<Item> = Vec::with_capacity(list.len());
    for (at, json) in list.iter().enumerate() {
        builder.path.push_str(&format!("[{at}]"));
        items.push(builder.value(kind, json)?.into());
        builder.path.truncate(length);
    }
    Ok(set(1, Values::Many(items)))
}

fn any_from_json(builder: &mut Builder<'_>, json: &Json) -> Result<Message, EncodeError> {
    let Some(object) = json.as_object() else {
        return Err(builder.expected("an object", json));
    };
    if object.is_empty() {
        return Ok(Message::default());
    }
    let Some(url) = object.get("@type").and_then(Json::as_str) else {
        return Err(builder.error("an object without \"@type\" is no google.protobuf.Any"));
    };
    let types = builder.types;
    let name = name_of_url(url);
    let well_known = WellKnown::of(name).is_some();
    let mut others = object.iter().filter(|(key, _)| *key != "@type");
    let bytes = match types.position(name) {
        Some(position) if well_known => {
            let (Some((key, value)), None) = (others.next(), others.next()) else {
                return Err(builder.error(format!("{name} takes one member \"value\"")));
            };
            if key != "value" {
                return Err(builder.error(format!("{name} has no member {key:?}")));
            }
            let inner = builder.message(position, value)?;
            write(types, position, &inner)
        }
        Some(position) => {
            if builder.depth > super::to_json::MAX_DEPTH {
                return Err(builder.error("messages nest too deep"));
            }
            builder.depth += 1;
            let inner = builder.fields(position, others);
            builder.depth -= 1;
            write(types, position, &inner?)
        }
        None => match object.get("value") {
            Some(Json::String(text)) if object.len() == 2 => builder.base64(text)?,
            _ => return Err(builder.error(format!("message {name} is not declared"))),
        },
    };
    let mut any = set(1, Values::One(Value::Bytes(url.as_bytes().to_vec()).into()));
    any.fields
        .insert(2, Values::One(Value::Bytes(bytes).into()));
    Ok(any)
}

/// Whether the text is a date and time with `T` and an offset; the library takes more than that.
fn is_rfc3339(text: &str) -> bool {
    let digits = |part: &str, shape: &str| {
        part.len() == shape.len()
            && part.bytes().zip(shape.bytes()).all(|(found, wanted)| {
                if wanted == b'0' {
                    found.is_ascii_digit()
                } else {
                    found == wanted
                }
            })
    };
    let (Some(date_time), Some(rest)) = (text.get(..19), text.get(19..)) else {
        return false;
    };
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if after.len() == fraction.len() {
                return false;
            }
            after
        }
        None => rest,
    };
    digits(date_time, "0000-00-00T00:00:00")
        && (rest == "Z" || digits(rest, "+00:00") || digits(rest, "-00:00"))
}

/// `a.b_c` as `a.bC`; `None` when it would not read back as itself.
fn camel_case(path: &str) -> Option<String> {
    let mut result = String::with_capacity(path.len());
    let mut raise = false;
    if path.is_empty() {
        return None;
    }
    for c in path.chars() {
        if c == ',' || c.is_ascii_uppercase() || raise && !c.is_ascii_lowercase() {
            return None;
        }
        match c {
            '_' => raise = true,
            _ if raise => {
                result.push(c.to_ascii_uppercase());
                raise = false;
            }
            _ => result.push(c),
        }
    }
    (!raise).then_some(result)
}

/// The way back of [`camel_case`].
fn snake_case(path: &str) -> Option<String> {
    let mut result = String::with_capacity(path.len());
    for c in path.chars() {
        if c == '_' {
            return None;
        }
        if c.is_ascii_uppercase() {
            result.push('_');
        }
        result.push(c.to_ascii_lowercase());
    }
    Some(result)
}
