//! Avro datums to JSON and back, for people and tools.
//!
//! Output is Avro's JSON encoding: a union value other than null is an object with the branch's
//! name, bytes and fixed are strings of one character per byte. Input may also be plain JSON.
//! Never on the produce path. Source: Avro 1.12 specification, "JSON Encoding".

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::cursor::{Cursor, Fault};
use super::json_text::Json;
use super::model::{Field, Kind, Model, TypeId};
use super::validate::{cut, write_index, write_key};
use crate::json_value::{Decoded, EncodeError, FieldSpan};
use crate::validator::{Violation, ViolationReason};

/// Deepest nesting turned into JSON or taken from it; JSON tools stop far earlier.
const DEPTH_MAX: usize = 256;

/// Most values looked at in one encoding, tries of union branches included.
const ATTEMPTS_MAX: u32 = 1_000_000;

/// Most values whose bytes are told.
const SPANS_MAX: usize = 100_000;

/// Most bytes of all their paths.
const SPAN_PATHS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One step of a path.
pub(super) enum Segment<'a> {
    /// A field of a record.
    Field(&'a str),
    /// An item of an array.
    Index(u32),
    /// A value of a map.
    Key(String),
}

/// The path in the form of violations: `$.lines[2].qty`.
pub(super) fn path_text(segments: &[Segment<'_>]) -> String {
    let mut path = "$".to_owned();
    for segment in segments {
        match segment {
            Segment::Field(name) => {
                path.push('.');
                path.push_str(name);
            }
            Segment::Index(index) => write_index(*index, &mut path),
            Segment::Key(key) => write_key(key, &mut path),
        }
    }
    cut(path)
}

/// Decodes a whole payload, as strictly as the full validation level.
///
/// # Errors
/// The first violation.
pub(super) fn decode(model: &Model, payload: &[u8]) -> Result<Value, Violation> {
    if matches!(model.get(model.root).kind, Kind::Bytes) {
        return Ok(Value::String(latin1(payload)));
    }
    decode_datum(model, payload)
}

/// Decodes as [`decode`] does, with the bytes of each value. Indexes of union branches, counts and
/// sizes of blocks and keys of maps belong to the containers around.
///
/// # Errors
/// The first violation; also when there are too many values to tell.
pub(super) fn decode_with_spans(model: &Model, payload: &[u8]) -> Result<Decoded, Violation> {
    if matches!(model.get(model.root).kind, Kind::Bytes) {
        let span = FieldSpan {
            path: "$".to_owned(),
            start: 0,
            end: payload.len(),
        };
        return Ok(Decoded {
            value: Value::String(latin1(payload)),
            spans: vec![span],
        });
    }
    let mut decoder = Decoder::new(model, payload);
    decoder.spans = Some(Spans::default());
    let value = decoder.whole(model.root)?;
    let spans = decoder.spans.map(|spans| spans.list).unwrap_or_default();
    Ok(Decoded { value, spans })
}

/// Decodes a datum; a root of bytes has its length in front.
pub(super) fn decode_datum(model: &Model, payload: &[u8]) -> Result<Value, Violation> {
    Decoder::new(model, payload).whole(model.root)
}

/// The value that a default stands for, in the form of [`decode`].
///
/// # Errors
/// Why it does not fit its type; lower-case, no full stop.
pub(super) fn default_value(model: &Model, ty: TypeId, default: &Json) -> Result<Value, String> {
    let mut encoder = Encoder::new(model);
    encoder
        .value(ty, &to_value(default), 0)
        .map_err(|error| error.message)?;
    Decoder::new(model, &encoder.out)
        .whole(ty)
        .map_err(|violation| violation.detail)
}

struct Decoder<'a> {
    model: &'a Model,
    cursor: Cursor<'a>,
    path: Vec<Segment<'a>>,
    min_sizes: Vec<u32>,
    zero_byte_items: u32,
    /// When they are wanted.
    spans: Option<Spans>,
}

#[derive(Default)]
struct Spans {
    list: Vec<FieldSpan>,
    paths_bytes: usize,
}

impl<'a> Decoder<'a> {
    fn new(model: &'a Model, payload: &'a [u8]) -> Self {
        Self {
            model,
            cursor: Cursor::new(payload),
            path: Vec::new(),
            min_sizes: model.min_sizes(),
            zero_byte_items: 0,
            spans: None,
        }
    }

    /// A value that takes all bytes.
    fn whole(&mut self, id: TypeId) -> Result<Value, Violation> {
        let value = self.value(id, 0)?;
        let left = self.cursor.bytes.len() - self.cursor.at;
        if left > 0 {
            return Err(Violation {
                reason: ViolationReason::TrailingBytes,
                path: "$".to_owned(),
                byte_offset: self.cursor.at,
                detail: format!("{left} bytes are left after the last value"),
            });
        }
        Ok(value)
    }

    /// A value, its bytes told when that is wanted; a union's are those of its branch.
    fn value(&mut self, id: TypeId, depth: usize) -> Result<Value, Violation> {
        if self.spans.is_none() || matches!(self.model.get(id).kind, Kind::Union(_)) {
            return self.bare_value(id, depth);
        }
        let index = self.begin_span()?;
        let value = self.bare_value(id, depth)?;
        let end = self.cursor.at;
        if let Some(span) = self.spans.as_mut().and_then(|s| s.list.get_mut(index)) {
            span.end = end;
        }
        Ok(value)
    }

    fn begin_span(&mut self) -> Result<usize, Violation> {
        let (path, start) = (path_text(&self.path), self.cursor.at);
        let spans = self.spans.get_or_insert_default();
        spans.paths_bytes += path.len();
        if spans.list.len() >= SPANS_MAX || spans.paths_bytes > SPAN_PATHS_BYTES_MAX {
            return Err(Violation {
                reason: ViolationReason::LimitExceeded,
                path,
                byte_offset: start,
                detail: format!("more than {SPANS_MAX} values, or paths that long, to tell"),
            });
        }
        spans.list.push(FieldSpan {
            path,
            start,
            end: start,
        });
        Ok(spans.list.len() - 1)
    }

    fn violation(&self, fault: Fault, what: &str, at: usize) -> Violation {
        fault.violation(what, path_text(&self.path), at)
    }

    fn bare_value(&mut self, id: TypeId, depth: usize) -> Result<Value, Violation> {
        let model = self.model;
        let ty = model.get(id);
        let at = self.cursor.at;
        if depth > DEPTH_MAX {
            return Err(Violation {
                reason: ViolationReason::LimitExceeded,
                path: path_text(&self.path),
                byte_offset: at,
                detail: format!("values nest deeper than {DEPTH_MAX} levels"),
            });
        }
        let simple = match &ty.kind {
            Kind::Null => Ok(Value::Null),
            Kind::Boolean => self.cursor.boolean::<true>().map(Value::Bool),
            Kind::Int => self.cursor.int::<true>().map(Value::from),
            Kind::Long => self.cursor.long::<true>().map(Value::from),
            Kind::Float => self.cursor.take(4).map(|bytes| {
                let bytes = bytes.first_chunk().copied().unwrap_or_default();
                float_value(f32::from_le_bytes(bytes))
            }),
            Kind::Double => self.cursor.take(8).map(|bytes| {
                let bytes = bytes.first_chunk().copied().unwrap_or_default();
                double_value(f64::from_le_bytes(bytes))
            }),
            Kind::Bytes => self
                .cursor
                .sized::<true>()
                .map(|bytes| Value::String(latin1(bytes))),
            Kind::String => self
                .cursor
                .string::<true>()
                .map(|text| Value::String(String::from_utf8_lossy(text).into_owned())),
            Kind::Fixed { size, .. } => self
                .cursor
                .take(*size as usize)
                .map(|bytes| Value::String(latin1(bytes))),
            Kind::Enum { symbols, .. } => {
                let count = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
                self.cursor
                    .index::<true>(count, Fault::EnumIndex)
                    .and_then(|index| symbols.get(index as usize).ok_or(Fault::EnumIndex))
                    .map(|symbol| Value::String(symbol.clone()))
            }
            Kind::Record { fields, .. } => return self.record(fields, depth),
            Kind::Array(item) => return self.array(*item, depth),
            Kind::Map(values) => return self.map(*values, depth),
            Kind::Union(branches) => return self.union(branches, depth),
            Kind::Unresolved(_) => Err(Fault::UnionIndex),
        };
        simple.map_err(|fault| self.violation(fault, ty.word(), at))
    }

    fn record(&mut self, fields: &'a [Field], depth: usize) -> Result<Value, Violation> {
        let mut object = Map::new();
        for field in fields {
            self.path.push(Segment::Field(&field.name));
            let value = self.value(field.ty, depth + 1)?;
            self.path.pop();
            object.insert(field.name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    fn array(&mut self, item: TypeId, depth: usize) -> Result<Value, Violation> {
        let mut items = Vec::new();
        loop {
            let block = self.block(item, 0, "array")?;
            if block.count == 0 {
                return Ok(Value::Array(items));
            }
            for _ in 0..block.count {
                let index = u32::try_from(items.len()).unwrap_or(u32::MAX);
                self.path.push(Segment::Index(index));
                items.push(self.value(item, depth + 1)?);
                self.path.pop();
            }
            self.cursor
                .end_block(block.end)
                .map_err(|fault| self.violation(fault, "array", self.cursor.at))?;
        }
    }

    fn map(&mut self, values: TypeId, depth: usize) -> Result<Value, Violation> {
        let mut object = Map::new();
        loop {
            let block = self.block(values, 1, "map")?;
            if block.count == 0 {
                return Ok(Value::Object(object));
            }
            for _ in 0..block.count {
                let key_at = self.cursor.at;
                let key = self.cursor.string::<true>().map_err(|fault| {
                    let fault = match fault {
                        Fault::Utf8 => Fault::KeyUtf8,
                        fault => fault,
                    };
                    self.violation(fault, "map", key_at)
                })?;
                let key = String::from_utf8_lossy(key).into_owned();
                self.path.push(Segment::Key(key.clone()));
                let value = self.value(values, depth + 1)?;
                self.path.pop();
                object.insert(key, value);
            }
            self.cursor
                .end_block(block.end)
                .map_err(|fault| self.violation(fault, "map", self.cursor.at))?;
        }
    }

    fn block(
        &mut self,
        item: TypeId,
        key_min: u32,
        what: &str,
    ) -> Result<super::cursor::Block, Violation> {
        let at = self.cursor.at;
        let item_min = self.min_sizes.get(item.index()).copied().unwrap_or(0);
        self.cursor
            .block::<true>(item_min.saturating_add(key_min), &mut self.zero_byte_items)
            .map_err(|fault| self.violation(fault, what, at))
    }

    fn union(&mut self, branches: &[TypeId], depth: usize) -> Result<Value, Violation> {
        let at = self.cursor.at;
        let count = u32::try_from(branches.len()).unwrap_or(u32::MAX);
        let branch = self
            .cursor
            .index::<true>(count, Fault::UnionIndex)
            .and_then(|index| branches.get(index as usize).ok_or(Fault::UnionIndex))
            .map_err(|fault| self.violation(fault, "union", at))?;
        let ty = self.model.get(*branch);
        let value = self.value(*branch, depth + 1)?;
        if matches!(ty.kind, Kind::Null) {
            return Ok(value);
        }
        let mut object = Map::new();
        object.insert(ty.branch_name(), value);
        Ok(Value::Object(object))
    }
}

/// Bytes as Avro's JSON writes them: each byte the character of that number.
pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn float_value(value: f32) -> Value {
    // By its shortest text, so that 0.1 stays 0.1.
    match value.to_string().parse::<f64>() {
        Ok(wide) if value.is_finite() => double_value(wide),
        _ => double_value(f64::from(value)),
    }
}

fn double_value(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// Encodes a JSON value as a payload.
///
/// # Errors
/// When the value does not fit the schema.
pub(super) fn encode(model: &Model, value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder::new(model);
    if matches!(model.get(model.root).kind, Kind::Bytes) {
        let bytes = value.as_str().and_then(from_latin1);
        return bytes.ok_or_else(|| encoder.error("expected a string of bytes"));
    }
    encoder.value(model.root, value, 0)?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    model: &'a Model,
    out: Vec<u8>,
    path: Vec<Segment<'a>>,
    attempts_left: u32,
}

impl<'a> Encoder<'a> {
    fn new(model: &'a Model) -> Self {
        Self {
            model,
            out: Vec::new(),
            path: Vec::new(),
            attempts_left: ATTEMPTS_MAX,
        }
    }

    fn error(&self, message: impl Into<String>) -> EncodeError {
        EncodeError {
            path: path_text(&self.path),
            message: message.into(),
        }
    }

    fn expected(&self, what: &str, found: &Value) -> EncodeError {
        self.error(format!("expected {what}, found {}", json_word(found)))
    }

    fn write_long(&mut self, value: i64) {
        write_long(value, &mut self.out);
    }

    fn write_count(&mut self, count: usize) {
        self.write_long(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn write_sized(&mut self, bytes: &[u8]) {
        self.write_count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn value(&mut self, id: TypeId, value: &Value, depth: usize) -> Result<(), EncodeError> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("values nest deeper than {DEPTH_MAX} levels")));
        }
        self.attempts_left = self.attempts_left.saturating_sub(1);
        if self.attempts_left == 0 {
            return Err(self.error("value needs too many tries of union branches"));
        }
        let model = self.model;
        let ty = model.get(id);
        let word = ty.word();
        match (&ty.kind, value) {
            (Kind::Null, Value::Null) => {}
            (Kind::Boolean, Value::Bool(value)) => self.out.push(u8::from(*value)),
            (Kind::Int, Value::Number(number)) => match number.as_i64() {
                Some(long) if i32::try_from(long).is_ok() => self.write_long(long),
                _ => return Err(self.error(format!("number {number} does not fit int"))),
            },
            (Kind::Long, Value::Number(number)) => match number.as_i64() {
                Some(long) => self.write_long(long),
                None => return Err(self.error(format!("number {number} does not fit long"))),
            },
            (Kind::Float | Kind::Double, _) => {
                let Some(number) = as_double(value) else {
                    return Err(self.expected(word, value));
                };
                if matches!(ty.kind, Kind::Double) {
                    self.out.extend_from_slice(&number.to_le_bytes());
                } else {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "a float holds the nearest value, as every Avro encoder does"
                    )]
                    let number = number as f32;
                    self.out.extend_from_slice(&number.to_le_bytes());
                }
            }
            (Kind::String, Value::String(text)) => self.write_sized(text.as_bytes()),
            (Kind::Bytes, Value::String(text)) => match from_latin1(text) {
                Some(bytes) => self.write_sized(&bytes),
                None => return Err(self.error("bytes hold a character above U+00FF")),
            },
            (Kind::Fixed { size, .. }, Value::String(text)) => match from_latin1(text) {
                Some(bytes) if bytes.len() == *size as usize => {
                    self.out.extend_from_slice(&bytes);
                }
                _ => return Err(self.error(format!("expected fixed of {size} bytes"))),
            },
            (
                Kind::Enum {
                    symbols, header, ..
                },
                Value::String(text),
            ) => match symbols.iter().position(|s| s == text) {
                Some(index) => self.write_count(index),
                None => {
                    return Err(self.error(format!(
                        "\"{text}\" is no symbol of enum {}",
                        header.name.full()
                    )));
                }
            },
            (Kind::Array(item), Value::Array(values)) => {
                if !values.is_empty() {
                    self.write_count(values.len());
                }
                for (i, value) in values.iter().enumerate() {
                    let index = u32::try_from(i).unwrap_or(u32::MAX);
                    self.path.push(Segment::Index(index));
                    self.value(*item, value, depth + 1)?;
                    self.path.pop();
                }
                self.out.push(0);
            }
            (Kind::Map(values), Value::Object(entries)) => {
                if !entries.is_empty() {
                    self.write_count(entries.len());
                }
                for (key, value) in entries {
                    self.write_sized(key.as_bytes());
                    self.path.push(Segment::Key(key.clone()));
                    self.value(*values, value, depth + 1)?;
                    self.path.pop();
                }
                self.out.push(0);
            }
            (Kind::Record { fields, .. }, Value::Object(entries)) => {
                self.record(fields, entries, depth)?;
            }
            (Kind::Union(branches), _) => self.union(branches, value, depth)?,
            _ => return Err(self.expected(word, value)),
        }
        Ok(())
    }

    fn record(
        &mut self,
        fields: &'a [Field],
        entries: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), EncodeError> {
        let is_given = |field: &&Field| entries.contains_key(&field.name);
        if fields.iter().filter(is_given).count() < entries.len() {
            let known: HashSet<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let unknown = entries.keys().find(|key| !known.contains(key.as_str()));
            let unknown = unknown.map_or("", String::as_str);
            return Err(self.error(format!("field {unknown} is not in the schema")));
        }
        for field in fields {
            let given = entries.get(&field.name);
            let filled;
            let value = match (given, &field.default) {
                (Some(value), _) => value,
                (None, Some(default)) => {
                    filled = to_value(default);
                    &filled
                }
                (None, None) => {
                    return Err(self.error(format!(
                        "field {} is missing and has no default",
                        field.name
                    )));
                }
            };
            self.path.push(Segment::Field(&field.name));
            self.value(field.ty, value, depth + 1)?;
            self.path.pop();
        }
        Ok(())
    }

    fn union(
        &mut self,
        branches: &[TypeId],
        value: &Value,
        depth: usize,
    ) -> Result<(), EncodeError> {
        let model = self.model;
        let mut named_error = None;
        // Avro's form first: {"branch": value}.
        if let Value::Object(entries) = value
            && let (Some((name, inner)), 1) = (entries.iter().next(), entries.len())
        {
            let is_simple = |b: &TypeId| {
                let header = model.get(*b).header();
                header.is_some_and(|header| header.name.simple == *name)
            };
            // A record a.string beside string is meant by its full name only.
            let named = branches
                .iter()
                .position(|b| model.get(*b).branch_name() == *name)
                .or_else(|| branches.iter().position(is_simple));
            if let Some(index) = named
                && let Some(branch) = branches.get(index)
            {
                match self.branch(index, *branch, inner, depth) {
                    Ok(()) => return Ok(()),
                    Err(error) => named_error = Some(error),
                }
            }
        }
        let mut errors = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let is_null = matches!(model.get(*branch).kind, Kind::Null);
            if is_null != value.is_null() {
                continue;
            }
            match self.branch(index, *branch, value, depth) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(error),
            }
        }
        Err(match (named_error, errors.pop(), errors.is_empty()) {
            (Some(error), _, _) | (None, Some(error), true) => error,
            _ => {
                let names: Vec<String> = branches
                    .iter()
                    .map(|b| model.get(*b).branch_name())
                    .collect();
                self.error(format!(
                    "{} fits no branch of the union [{}]",
                    json_word(value),
                    names.join(", ")
                ))
            }
        })
    }

    /// Tries a branch, leaving nothing behind when it does not fit.
    fn branch(
        &mut self,
        index: usize,
        branch: TypeId,
        value: &Value,
        depth: usize,
    ) -> Result<(), EncodeError> {
        let (out_len, path_len) = (self.out.len(), self.path.len());
        self.write_count(index);
        let result = self.value(branch, value, depth + 1);
        if result.is_err() {
            self.out.truncate(out_len);
            self.path.truncate(path_len);
        }
        result
    }
}

/// Appends a long as Avro writes it.
pub(super) fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Bytes from the form that Avro's JSON has for them; `None` for characters above U+00FF.
pub(super) fn from_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn json_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Int(digits) => match digits.parse::<i64>() {
            Ok(long) => Value::from(long),
            Err(_) => digits.parse::<f64>().map_or(Value::Null, double_value),
        },
        Json::Double(value) => double_value(*value),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(to_value).collect()),
        Json::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_value(value)))
                .collect(),
        ),
    }
}
