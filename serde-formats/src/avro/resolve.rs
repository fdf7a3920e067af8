//! How Apache's reader takes a datum of one schema under another.
//!
//! [`Resolution`] decides for two types what the reader does; [`Resolution::read`] does it with a
//! datum and collects every place that it refuses, so that a witness can be shown for each
//! difference. Reading is laxer than [`super::compatibility`] in one point (names of records do not
//! count) and stricter in another (aliases of fields count only under the record's full name).
//! Never on the produce path. Source: Avro Java 1.12 `Resolver` and `Schema.applyAliases`.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::canonical;
use super::json_value::{Segment, default_value, from_latin1, latin1, path_text};
use super::model::{Field, Kind, Model, Name, TypeId};

/// Most pairs of types looked at in one resolution; beyond, pairs count as matching.
const PAIRS_MAX: usize = 200_000;

/// Most refusals and misreadings kept of one datum.
const FINDINGS_MAX: usize = 1000;

/// Two schemas, made ready to be resolved.
pub(super) struct Resolution<'a> {
    pub(super) reader: &'a Model,
    pub(super) writer: &'a Model,
    /// Names that the reader's aliases give to types of the writer.
    names: HashMap<TypeId, Name>,
    /// Names that the reader's aliases give to fields of the writer's records.
    fields: HashMap<TypeId, Vec<&'a str>>,
    /// Whether two records fit so badly that a union passes them by; `None` while undecided.
    misfits: RefCell<HashMap<(TypeId, TypeId), Option<bool>>>,
}

/// What a reader does with a value of one type under another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Takes it, promoted if need be.
    Take,
    /// Looks the symbol up.
    Symbol,
    /// Reads each item under this type.
    Items(TypeId, TypeId),
    /// Reads each value under this type.
    Values(TypeId, TypeId),
    /// Reads the fields: for each field of the writer, the position of the reader's.
    Fields(Vec<Option<usize>>),
    /// Reads each branch of the writer under a type of the reader.
    Branches(Vec<TypeId>),
    /// Reads it under a branch of the reader's union.
    Into(TypeId),
    /// Refuses it.
    Refuse(Mismatch),
}

/// Why a reader refuses a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mismatch {
    Types,
    Names,
    Sizes,
    /// Positions of the reader's fields that have neither a value nor a default.
    MissingFields(Vec<usize>),
    NoBranch,
}

/// A place of a datum that the reader refuses.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) path: String,
    pub(super) reason: String,
    pub(super) pair: (TypeId, TypeId),
    /// The field that is missing.
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

impl<'a> Resolution<'a> {
    /// Applies the reader's aliases to the writer's names.
    ///
    /// # Errors
    /// When two fields of a record or two branches of a union then have one name: no datum can be
    /// read at all.
    pub(super) fn new(reader: &'a Model, writer: &'a Model) -> Result<Self, String> {
        let mut type_aliases: HashMap<&Name, &Name> = HashMap::new();
        let mut field_aliases: HashMap<&Name, HashMap<&str, &str>> = HashMap::new();
        let aliasing = match canonical::same_text(reader) == canonical::same_text(writer) {
            true => Vec::new(),
            false => reachable(reader),
        };
        for id in aliasing {
            let Some(header) = reader.get(id).header() else {
                continue;
            };
            type_aliases.extend(header.aliases.iter().map(|alias| (alias, &header.name)));
            if let Kind::Record { fields, .. } = &reader.get(id).kind {
                let aliases = field_aliases.entry(&header.name).or_default();
                for field in fields {
                    aliases.extend(
                        field
                            .aliases
                            .iter()
                            .map(|a| (a.as_str(), field.name.as_str())),
                    );
                }
            }
        }
        let mut resolution = Self {
            reader,
            writer,
            names: HashMap::new(),
            fields: HashMap::new(),
            misfits: RefCell::default(),
        };
        for id in reachable(writer) {
            let ty = writer.get(id);
            if let Some(header) = ty.header() {
                let name = type_aliases.get(&header.name).copied();
                let name = name.unwrap_or(&header.name);
                resolution.names.insert(id, name.clone());
                if let Kind::Record { fields, .. } = &ty.kind {
                    let aliases = field_aliases.get(name);
                    let renamed = rename(fields, aliases).map_err(|field| {
                        format!(
                            "aliases give two fields of record {} the name {field}",
                            name.full()
                        )
                    })?;
                    resolution.fields.insert(id, renamed);
                }
            }
        }
        for id in reachable(writer) {
            resolution.check_branches(id)?;
        }
        Ok(resolution)
    }

    fn check_branches(&self, id: TypeId) -> Result<(), String> {
        let Kind::Union(branches) = &self.writer.get(id).kind else {
            return Ok(());
        };
        let mut seen = HashSet::new();
        for branch in branches {
            if let Some(name) = self.names.get(branch)
                && !seen.insert(name)
            {
                return Err(format!(
                    "aliases give two branches of a union the name {}",
                    name.full()
                ));
            }
        }
        Ok(())
    }

    /// What the reader does with a value of `writer` under `reader`.
    pub(super) fn action(&self, reader: TypeId, writer: TypeId) -> Action {
        let (r, w) = (self.reader.get(reader), self.writer.get(writer));
        match (&r.kind, &w.kind) {
            (_, Kind::Union(branches)) => Action::Branches(match &r.kind {
                Kind::Union(own) if self.is_same_union(reader, writer) => own.clone(),
                _ => vec![reader; branches.len()],
            }),
            (Kind::Union(branches), _) => match self.first_match(branches, writer) {
                Some(branch) => Action::Into(branch),
                None => Action::Refuse(Mismatch::NoBranch),
            },
            (Kind::Array(r), Kind::Array(w)) => Action::Items(*r, *w),
            (Kind::Map(r), Kind::Map(w)) => Action::Values(*r, *w),
            (Kind::Fixed { size: r, .. }, Kind::Fixed { size: w, .. }) => {
                match (self.has_same_name(reader, writer), r == w) {
                    (false, _) => Action::Refuse(Mismatch::Names),
                    (true, false) => Action::Refuse(Mismatch::Sizes),
                    (true, true) => Action::Take,
                }
            }
            (Kind::Enum { .. }, Kind::Enum { .. }) => match self.has_same_name(reader, writer) {
                true => Action::Symbol,
                false => Action::Refuse(Mismatch::Names),
            },
            (Kind::Record { fields, .. }, Kind::Record { .. }) => self.fields_of(fields, writer),
            (r, w) if promotes(r, w) => Action::Take,
            _ => Action::Refuse(Mismatch::Types),
        }
    }

    fn fields_of(&self, own: &[Field], writer: TypeId) -> Action {
        let written = self.field_names(writer);
        let positions: HashMap<&str, usize> = own
            .iter()
            .enumerate()
            .map(|(i, f)| (f.name.as_str(), i))
            .collect();
        let known: HashSet<&str> = written.iter().copied().collect();
        let missing: Vec<usize> = own
            .iter()
            .enumerate()
            .filter(|(_, f)| f.default.is_none() && !known.contains(f.name.as_str()))
            .map(|(i, _)| i)
            .collect();
        if missing.is_empty() {
            Action::Fields(
                written
                    .iter()
                    .map(|name| positions.get(name).copied())
                    .collect(),
            )
        } else {
            Action::Refuse(Mismatch::MissingFields(missing))
        }
    }

    fn field_names(&self, writer: TypeId) -> &[&'a str] {
        self.fields.get(&writer).map_or(&[], Vec::as_slice)
    }

    fn has_same_name(&self, reader: TypeId, writer: TypeId) -> bool {
        let own = self
            .reader
            .get(reader)
            .header()
            .map(|h| h.name.simple.as_str());
        own == self.names.get(&writer).map(|name| name.simple.as_str())
    }

    /// The branch of a reader's union for a type of the writer that is no union: by full name,
    /// then records by their fields, then by promotion.
    fn first_match(&self, branches: &[TypeId], writer: TypeId) -> Option<TypeId> {
        let w = self.writer.get(writer);
        let mut by_fields = None;
        for &branch in branches {
            let r = self.reader.get(branch);
            if r.word() != w.word() {
                continue;
            }
            let (Some(header), Some(name)) = (r.header(), self.names.get(&writer)) else {
                return Some(branch);
            };
            if header.name == *name {
                return Some(branch);
            }
            if matches!(r.kind, Kind::Record { .. })
                && (by_fields.is_none() || header.name.simple == name.simple)
                && !self.misfits(branch, writer)
            {
                by_fields = Some(branch);
            }
        }
        by_fields.or_else(|| {
            let promoting = |b: &&TypeId| promotes(&self.reader.get(**b).kind, &w.kind);
            branches.iter().find(promoting).copied()
        })
    }

    /// Whether a record of the writer cannot be read as one of the reader, looking no deeper than
    /// at the fields themselves.
    fn misfits(&self, reader: TypeId, writer: TypeId) -> bool {
        {
            let mut known = self.misfits.borrow_mut();
            match known.get(&(reader, writer)) {
                Some(known) => return known.unwrap_or(false),
                None if known.len() >= PAIRS_MAX => return false,
                None => known.insert((reader, writer), None),
            };
        }
        let misfits = match self.action(reader, writer) {
            Action::Fields(positions) => {
                let (own, written) = (self.reader_fields(reader), self.writer_fields(writer));
                positions.iter().zip(written).any(|(position, written)| {
                    let field = position.and_then(|position| own.get(position));
                    field.is_some_and(|field| {
                        matches!(self.action(field.ty, written.ty), Action::Refuse(_))
                    })
                })
            }
            action => matches!(action, Action::Refuse(_)),
        };
        self.misfits
            .borrow_mut()
            .insert((reader, writer), Some(misfits));
        misfits
    }

    /// The fields of a reader's record.
    pub(super) fn reader_fields(&self, reader: TypeId) -> &'a [Field] {
        match &self.reader.get(reader).kind {
            Kind::Record { fields, .. } => fields,
            _ => &[],
        }
    }

    /// The fields of a writer's record, under the writer's names.
    pub(super) fn writer_fields(&self, writer: TypeId) -> &'a [Field] {
        match &self.writer.get(writer).kind {
            Kind::Record { fields, .. } => fields,
            _ => &[],
        }
    }

    /// Whether two unions are the same, so that branches are read by their number.
    fn is_same_union(&self, reader: TypeId, writer: TypeId) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![(reader, writer)];
        while let Some((reader, writer)) = open.pop() {
            if !seen.insert((reader, writer)) {
                continue;
            }
            if seen.len() > PAIRS_MAX {
                return false;
            }
            let (r, w) = (self.reader.get(reader), self.writer.get(writer));
            if r.word() != w.word() || !self.has_same_name(reader, writer) {
                return false;
            }
            let is_alike = match (&r.kind, &w.kind) {
                (Kind::Fixed { size: r, .. }, Kind::Fixed { size: w, .. }) => r == w,
                (Kind::Enum { symbols: r, .. }, Kind::Enum { symbols: w, .. }) => r == w,
                (Kind::Record { fields, .. }, Kind::Record { .. }) => {
                    let names = fields.iter().map(|field| field.name.as_str());
                    names.eq(self.field_names(writer).iter().copied())
                }
                _ => true,
            };
            let (own, written) = (r.children(), w.children());
            if !is_alike || own.len() != written.len() {
                return false;
            }
            open.extend(own.into_iter().zip(written));
        }
        true
    }

    /// Symbols of a writer's enum that the reader has no answer to, by position.
    pub(super) fn unread_symbols(&self, reader: TypeId, writer: TypeId) -> Vec<usize> {
        match (&self.reader.get(reader).kind, &self.writer.get(writer).kind) {
            (
                Kind::Enum {
                    symbols: own,
                    default: None,
                    ..
                },
                Kind::Enum { symbols, .. },
            ) => {
                let own: HashSet<&str> = own.iter().map(String::as_str).collect();
                let unread = symbols
                    .iter()
                    .enumerate()
                    .filter(|(_, s)| !own.contains(s.as_str()));
                unread.map(|(i, _)| i).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Reads a datum of the writer in Avro's JSON encoding.
    pub(super) fn read(&self, datum: &Value) -> Reading {
        let mut run = Run {
            resolution: self,
            path: Vec::new(),
            reading: Reading::default(),
        };
        run.value(self.reader.root, self.writer.root, datum, false);
        run.reading
    }
}

/// The fields' names under `aliases`; the name that two of them share is an error.
fn rename<'a>(
    fields: &'a [Field],
    aliases: Option<&HashMap<&'a str, &'a str>>,
) -> Result<Vec<&'a str>, &'a str> {
    let mut seen = HashSet::new();
    fields
        .iter()
        .map(|field| {
            let name = field.name.as_str();
            let name = aliases
                .and_then(|aliases| aliases.get(name).copied())
                .unwrap_or(name);
            seen.insert(name).then_some(name).ok_or(name)
        })
        .collect()
}

/// Every type that the root leads to.
fn reachable(model: &Model) -> Vec<TypeId> {
    let mut seen = HashSet::from([model.root]);
    let mut open = vec![model.root];
    let mut all = Vec::new();
    while let Some(id) = open.pop() {
        all.push(id);
        open.extend(
            model
                .get(id)
                .children()
                .into_iter()
                .filter(|child| seen.insert(*child)),
        );
    }
    all
}

/// Whether a primitive of the writer is read as one of the reader.
fn promotes(reader: &Kind, writer: &Kind) -> bool {
    matches!(
        (reader, writer),
        (Kind::Null, Kind::Null)
            | (Kind::Boolean, Kind::Boolean)
            | (Kind::Int, Kind::Int)
            | (Kind::Long, Kind::Long | Kind::Int)
            | (Kind::Float, Kind::Float | Kind::Int | Kind::Long)
            | (
                Kind::Double,
                Kind::Double | Kind::Int | Kind::Long | Kind::Float
            )
            | (Kind::Bytes | Kind::String, Kind::Bytes | Kind::String)
    )
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
                    if let Some(refusal) = self.reading.refusals.last_mut() {
                        refusal.field = Some(field.name.clone());
                    }
                }
                // The fields that are there show what else is wrong.
                let positions: Vec<Option<usize>> = resolution
                    .field_names(writer)
                    .iter()
                    .map(|name| fields.iter().position(|field| field.name == *name))
                    .collect();
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
                let names: Vec<String> =
                    branches.iter().map(|b| own.get(*b).branch_name()).collect();
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

    fn default(
        &mut self,
        pair: (TypeId, TypeId),
        field: &'a Field,
        default: &super::json_text::Json,
    ) -> Value {
        match default_value(self.resolution.reader, field.ty, default) {
            Ok(value) => value,
            Err(reason) => {
                self.path.push(Segment::Field(&field.name));
                let value = self.refuse(pair, format!("the default does not fit: {reason}"));
                self.path.pop();
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
