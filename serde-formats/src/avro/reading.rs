//! Reads a datum of one schema as one of another, as Apache's reader does, and collects every place
//! that it refuses or takes for something else: a witness is shown for each difference.
//!
//! What to do with two types is [`Resolution`]'s to say. Never on the produce path.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::defaults::{self, DEFAULT_STEPS_MAX};
use super::json_text::Json;
use super::json_value::{Segment, default_value, from_latin1, latin1, path_text};
use super::model::{Field, Kind, Model, TypeId};
use super::resolve::{Action, Mismatch, Resolution};

/// Most refusals and misreadings kept of one datum.
const FINDINGS_MAX: usize = 1000;

/// Branches of a union that a reason names.
const BRANCHES_TOLD: usize = 16;

/// A place of a datum that the reader refuses.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) path: String,
    pub(super) reason: String,
    pub(super) pair: (TypeId, TypeId),
    /// The field that is missing, or whose default does not fit.
    pub(super) field: Option<String>,
}

/// A place of a datum that the reader takes for something else.
#[derive(Debug)]
pub(super) struct Misreading {
    pub(super) path: String,
    pub(super) written: Value,
    pub(super) read: Value,
}

/// What became of a datum.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) refusals: Vec<Refusal>,
    pub(super) misreadings: Vec<Misreading>,
}

/// Reads a datum of the writer in Avro's JSON encoding.
pub(super) fn read(resolution: &Resolution<'_>, datum: &Value) -> Reading {
    let mut run = Run {
        resolution,
        path: Vec::new(),
        reading: Reading::default(),
    };
    run.value(resolution.reader.root, resolution.writer.root, datum, false);
    run.reading
}

/// One reading. Its depth is that of the datum, which was decoded under a limit.
struct Run<'a, 'r> {
    resolution: &'r Resolution<'a>,
    path: Vec<Segment<'a>>,
    reading: Reading,
}

impl<'a> Run<'a, '_> {
    fn refuse(&mut self, pair: (TypeId, TypeId), reason: String) -> Value {
        if self.reading.refusals.len() < FINDINGS_MAX {
            self.reading.refusals.push(Refusal {
                path: path_text(&self.path),
                reason,
                pair,
                field: None,
            });
        }
        Value::Null
    }

    /// The last refusal is of this field.
    fn name_field(&mut self, name: &str) {
        if let Some(refusal) = self.reading.refusals.last_mut() {
            refusal.field = Some(name.to_owned());
        }
    }

    fn value(&mut self, reader: TypeId, writer: TypeId, datum: &Value, in_union: bool) -> Value {
        let resolution = self.resolution;
        let pair = (reader, writer);
        match resolution.action(reader, writer) {
            Action::Take => self.take(reader, writer, datum),
            Action::Symbol => self.symbol(pair, datum),
            Action::Items(reader, writer) => {
                let items = datum.as_array().map_or(&[][..], Vec::as_slice);
                let read = items.iter().enumerate().map(|(i, item)| {
                    self.path
                        .push(Segment::Index(u32::try_from(i).unwrap_or(u32::MAX)));
                    let value = self.value(reader, writer, item, false);
                    self.path.pop();
                    value
                });
                Value::Array(read.collect())
            }
            Action::Values(reader, writer) => {
                let mut read = Map::new();
                for (key, value) in datum.as_object().into_iter().flatten() {
                    self.path.push(Segment::Key(key.clone()));
                    read.insert(key.clone(), self.value(reader, writer, value, false));
                    self.path.pop();
                }
                Value::Object(read)
            }
            Action::Fields(positions) => self.record(pair, &positions, datum),
            Action::Branches(readers) => {
                let Some((index, branch, inner)) = branch_of(resolution.writer, writer, datum)
                else {
                    return self.refuse(pair, "datum has no branch of the union".to_owned());
                };
                let reader = readers.get(index).copied().unwrap_or(reader);
                let read = self.value(reader, branch, inner, true);
                // Read by number, the branch keeps its name; otherwise `Into` has given it one.
                match &resolution.reader.get(pair.0).kind {
                    Kind::Union(_) if reader != pair.0 => wrap(resolution.reader, reader, read),
                    _ => read,
                }
            }
            Action::Into(branch) => {
                let read = self.value(branch, writer, datum, false);
                let read = wrap(resolution.reader, branch, read);
                if in_union && !resolution.has_same_name(branch, writer) {
                    let written = wrap(resolution.writer, writer, datum.clone());
                    self.misread(written, read.clone());
                }
                read
            }
            Action::Refuse(Mismatch::MissingFields(missing)) => {
                let fields = resolution.reader_fields(reader);
                for field in missing.iter().filter_map(|i| fields.get(*i)) {
                    self.path.push(Segment::Field(&field.name));
                    let reason = format!("field {} was not written and has no default", field.name);
                    self.refuse(pair, reason);
                    self.path.pop();
                    self.name_field(&field.name);
                }
                // The fields that are there show what else is wrong.
                let own = fields.iter().enumerate();
                let own: HashMap<&str, usize> = own.map(|(i, f)| (f.name.as_str(), i)).collect();
                let names = resolution.field_names(writer).iter();
                let positions: Vec<Option<usize>> =
                    names.map(|name| own.get(name).copied()).collect();
                self.record(pair, &positions, datum)
            }
            Action::Refuse(mismatch) => {
                let reason = self.reason(&mismatch, reader, writer);
                self.refuse(pair, reason)
            }
        }
    }

    fn misread(&mut self, written: Value, read: Value) {
        if self.reading.misreadings.len() < FINDINGS_MAX {
            self.reading.misreadings.push(Misreading {
                path: path_text(&self.path),
                written,
                read,
            });
        }
    }

    fn reason(&self, mismatch: &Mismatch, reader: TypeId, writer: TypeId) -> String {
        let (own, written) = (self.resolution.reader, self.resolution.writer);
        let (r, w) = (own.get(reader), written.get(writer));
        match (mismatch, &r.kind, &w.kind) {
            (Mismatch::Names, _, _) => format!(
                "{} {} is read as {} {}: the names differ",
                w.word(),
                w.branch_name(),
                r.word(),
                r.branch_name()
            ),
            (Mismatch::Sizes, Kind::Fixed { size: r, .. }, Kind::Fixed { size: w, .. }) => {
                format!("fixed of {w} bytes is read as fixed of {r} bytes")
            }
            (Mismatch::NoBranch, Kind::Union(branches), _) => {
                let told = branches.iter().take(BRANCHES_TOLD);
                let mut names: Vec<String> = told.map(|b| own.get(*b).branch_name()).collect();
                if branches.len() > names.len() {
                    names.push("…".to_owned());
                }
                format!(
                    "no branch of the union [{}] reads {}",
                    names.join(", "),
                    w.branch_name()
                )
            }
            _ => format!("{} cannot be read as {}", w.word(), r.word()),
        }
    }

    fn take(&self, reader: TypeId, writer: TypeId, datum: &Value) -> Value {
        let (r, w) = (
            self.resolution.reader.get(reader),
            self.resolution.writer.get(writer),
        );
        match (&r.kind, &w.kind, datum) {
            (Kind::Float | Kind::Double, Kind::Int | Kind::Long, Value::Number(number)) => {
                number.as_f64().map_or_else(|| datum.clone(), Value::from)
            }
            (Kind::Bytes, Kind::String, Value::String(text)) => {
                Value::String(latin1(text.as_bytes()))
            }
            (Kind::String, Kind::Bytes, Value::String(text)) => match from_latin1(text) {
                Some(bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
                None => datum.clone(),
            },
            _ => datum.clone(),
        }
    }

    fn symbol(&mut self, pair: (TypeId, TypeId), datum: &Value) -> Value {
        let ty = self.resolution.reader.get(pair.0);
        let Kind::Enum {
            symbols, default, ..
        } = &ty.kind
        else {
            return Value::Null;
        };
        let symbol = datum.as_str().unwrap_or_default();
        if symbols.iter().any(|own| own == symbol) {
            return datum.clone();
        }
        match default {
            Some(default) => Value::String(default.clone()),
            None => {
                let name = ty.branch_name();
                let reason = format!("enum {name} has no symbol {symbol} and no default");
                self.refuse(pair, reason)
            }
        }
    }

    fn record(
        &mut self,
        pair: (TypeId, TypeId),
        positions: &[Option<usize>],
        datum: &Value,
    ) -> Value {
        let own = self.resolution.reader_fields(pair.0);
        let written = self.resolution.writer_fields(pair.1);
        let mut values: HashMap<&str, Value> = HashMap::new();
        for (position, written) in positions.iter().zip(written) {
            let Some(field) = position.and_then(|position| own.get(position)) else {
                continue;
            };
            self.path.push(Segment::Field(&field.name));
            let datum = datum.get(&written.name).unwrap_or(&Value::Null);
            let value = self.value(field.ty, written.ty, datum, false);
            self.path.pop();
            values.insert(&field.name, value);
        }
        let mut read = Map::new();
        for field in own {
            let value = match (values.remove(field.name.as_str()), &field.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.default(pair, field, default),
                (None, None) => Value::Null,
            };
            read.insert(field.name.clone(), value);
        }
        Value::Object(read)
    }

    fn default(&mut self, pair: (TypeId, TypeId), field: &'a Field, default: &Json) -> Value {
        let reader = self.resolution.reader;
        let mut steps_left = DEFAULT_STEPS_MAX;
        let value = match defaults::unreadable(reader, field.ty, default, &mut steps_left) {
            Some(reason) => Err(reason),
            None => default_value(reader, field.ty, default),
        };
        match value {
            Ok(value) => value,
            Err(reason) => {
                self.path.push(Segment::Field(&field.name));
                let value = self.refuse(pair, format!("the default does not fit: {reason}"));
                self.path.pop();
                self.name_field(&field.name);
                value
            }
        }
    }
}

/// The branch of a writer's union that a datum names, and the value in it.
fn branch_of<'v>(
    model: &Model,
    union: TypeId,
    datum: &'v Value,
) -> Option<(usize, TypeId, &'v Value)> {
    let Kind::Union(branches) = &model.get(union).kind else {
        return None;
    };
    let (name, inner) = match datum {
        Value::Object(entries) => entries
            .iter()
            .next()
            .map(|(name, inner)| (name.as_str(), inner))?,
        inner => ("null", inner),
    };
    let index = branches
        .iter()
        .position(|b| model.get(*b).branch_name() == name)?;
    Some((index, *branches.get(index)?, inner))
}

/// A value as one of a union's branch.
fn wrap(model: &Model, branch: TypeId, value: Value) -> Value {
    let ty = model.get(branch);
    if matches!(ty.kind, Kind::Null) {
        return value;
    }
    let mut wrapped = Map::new();
    wrapped.insert(ty.branch_name(), value);
    Value::Object(wrapped)
}
