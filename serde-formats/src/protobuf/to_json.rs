//! A message to JSON: Protobuf's JSON mapping with field names as declared.
//!
//! Fields without presence are written at their default, others only when set; fields nobody
//! declared are left out. Next: `well_known`, for the types with a form of their own.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value as Json};

use super::types::{Count, FieldType, Kind, Types};
use super::values::{Item, Key, Message, Value, Values, default_value};
use super::well_known;
use crate::json_value::FieldSpan;
use crate::validator::{Violation, ViolationReason};

/// Messages inside messages, those inside `Any` counted too.
pub(super) const MAX_DEPTH: usize = 100;

/// Writes messages as JSON.
pub(super) struct Printer<'a> {
    pub(super) types: &'a Types,
    pub(super) payload: &'a [u8],
    /// Where the printer is: `$.lines[2]`.
    pub(super) path: String,
    pub(super) depth: usize,
    /// Text that is no UTF-8 is written with marks where it breaks off, not refused.
    pub(super) lossy: bool,
    /// The values met so far, when they are asked for.
    spans: Option<Vec<FieldSpan>>,
}

impl<'a> Printer<'a> {
    /// A printer of what was read from `payload`; keeps places when `with_spans`.
    pub(super) fn new(types: &'a Types, payload: &'a [u8], with_spans: bool) -> Self {
        Self {
            types,
            payload,
            path: "$".to_owned(),
            depth: 0,
            lossy: false,
            spans: with_spans.then(Vec::new),
        }
    }

    /// The values met, in the order of the bytes.
    pub(super) fn into_spans(self) -> Vec<FieldSpan> {
        let mut spans = self.spans.unwrap_or_default();
        // Stable, so that a container stays before a value that is all it holds.
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        spans
    }

    /// The JSON of a message.
    pub(super) fn message(&mut self, position: u32, message: &Message) -> Result<Json, Violation> {
        if self.depth > MAX_DEPTH {
            let detail = format!("messages nest deeper than {MAX_DEPTH}");
            return Err(self.violation(
                ViolationReason::LimitExceeded,
                detail,
                place_of(message).start,
            ));
        }
        for place in message.places.clone() {
            self.note(place);
        }
        self.depth += 1;
        let well_known = self.types.message(position).and_then(|it| it.well_known);
        let result = match well_known {
            Some(kind) => well_known::to_json(self, kind, position, message),
            None => self.fields(position, message).map(Json::Object),
        };
        self.depth -= 1;
        result
    }

    /// The members of a message's object.
    pub(super) fn fields(
        &mut self,
        position: u32,
        message: &Message,
    ) -> Result<Map<String, Json>, Violation> {
        let types = self.types;
        let mut object = Map::new();
        let Some(message_type) = types.message(position) else {
            return Ok(object);
        };
        let (extensions, fields): (Vec<_>, Vec<_>) = message_type
            .fields
            .iter()
            .partition(|field| field.extension);
        for field in fields.into_iter().chain(extensions) {
            let values = message.fields.get(&field.number);
            let json = match values {
                Some(values) => {
                    let length = self.path.len();
                    self.path.push('.');
                    self.path.push_str(&field.name);
                    let json = self.values(field, values);
                    self.path.truncate(length);
                    json?
                }
                None if field.implicit && !field.extension => match field.count {
                    Count::One => self.value(field.kind, &default_value(types, field.kind), 0)?,
                    Count::Many { .. } => Json::Array(Vec::new()),
                    Count::Map => Json::Object(Map::new()),
                },
                None => continue,
            };
            object.insert(field.name.clone(), json);
        }
        Ok(object)
    }

    /// What a field holds.
    pub(super) fn values(&mut self, field: &FieldType, values: &Values) -> Result<Json, Violation> {
        match values {
            Values::One(item) => self.item(field.kind, item),
            Values::Many(items) => {
                self.note_all(items);
                let length = self.path.len();
                let mut list = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    self.path.push_str(&format!("[{at}]"));
                    list.push(self.item(field.kind, item)?);
                    self.path.truncate(length);
                }
                Ok(Json::Array(list))
            }
            Values::Map(entries) => {
                self.note_all(entries.values());
                let Some((_, value)) = self.types.entry(field.kind) else {
                    return Ok(Json::Null);
                };
                let length = self.path.len();
                let mut object = Map::new();
                for (key, item) in entries {
                    let name = self.key(key, item.place.start)?;
                    self.path
                        .push_str(&format!("[{}]", Json::String(name.clone())));
                    object.insert(name, self.item(value.kind, item)?);
                    self.path.truncate(length);
                }
                Ok(Json::Object(object))
            }
        }
    }

    fn key(&self, key: &Key, at: usize) -> Result<String, Violation> {
        Ok(match key {
            Key::Bool(value) => value.to_string(),
            Key::Signed(number) => number.to_string(),
            Key::Unsigned(number) => number.to_string(),
            Key::Text(bytes) => self.text(bytes, at)?,
        })
    }

    /// One value and its place.
    fn item(&mut self, kind: Kind, item: &Item) -> Result<Json, Violation> {
        if kind.message().is_none() {
            self.note(item.place.clone());
        }
        self.value(kind, &item.value, item.place.start)
    }

    /// One value whose content begins at `at`.
    pub(super) fn value(
        &mut self,
        kind: Kind,
        value: &Value,
        at: usize,
    ) -> Result<Json, Violation> {
        Ok(match value {
            Value::Bool(value) => Json::Bool(*value),
            Value::Signed(number) => match kind {
                Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Json::String(number.to_string()),
                _ => Json::from(*number),
            },
            Value::Unsigned(number) => match kind {
                Kind::Uint64 | Kind::Fixed64 => Json::String(number.to_string()),
                _ => Json::from(*number),
            },
            Value::Float(number) => float(f64::from(*number)),
            Value::Double(number) => float(*number),
            Value::Bytes(bytes) if kind == Kind::Text => Json::String(self.text(bytes, at)?),
            Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            Value::Enum(number) => {
                let Kind::Enum(place) = kind else {
                    return Ok(Json::from(*number));
                };
                match self.types.enum_names(place) {
                    Some(names) if names.is_null => Json::Null,
                    names => names
                        .and_then(|names| names.name(*number))
                        .map_or_else(|| Json::from(*number), Json::from),
                }
            }
            Value::Message(message) => match kind.message() {
                Some(position) => self.message(position, message)?,
                None => Json::Null,
            },
        })
    }

    fn text(&self, bytes: &[u8], at: usize) -> Result<String, Violation> {
        if self.lossy {
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        String::from_utf8(bytes.to_vec()).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let detail = format!("text is not UTF-8 from its byte {valid} on");
            self.violation(ViolationReason::InvalidUtf8, detail, at)
        })
    }

    /// A violation at the place where the printer is.
    pub(super) fn violation(
        &self,
        reason: ViolationReason,
        detail: impl Into<String>,
        byte_offset: usize,
    ) -> Violation {
        Violation {
            reason,
            path: self.path.clone(),
            byte_offset,
            detail: detail.into(),
        }
    }

    fn note(&mut self, place: Range<usize>) {
        if let Some(spans) = &mut self.spans {
            spans.push(FieldSpan {
                path: self.path.clone(),
                start: place.start,
                end: place.end,
            });
        }
    }

    /// A field of many values reaches from the first to the last of them.
    fn note_all<'i>(&mut self, items: impl IntoIterator<Item = &'i Item>) {
        let places = items.into_iter().map(|item| item.place.clone());
        let whole = places.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        if let Some(whole) = whole {
            self.note(whole);
        }
    }
}

/// Where a message is first met.
pub(super) fn place_of(message: &Message) -> Range<usize> {
    message.places.first().cloned().unwrap_or(0..0)
}

/// A number, or the word for what JSON has no number for.
fn float(number: f64) -> Json {
    Number::from_f64(number).map_or_else(
        || {
            Json::from(if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        },
        Json::Number,
    )
}
