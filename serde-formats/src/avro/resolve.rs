//! How Apache's reader takes a datum of one schema under another.
//!
//! [`Resolution`] decides for two types what the reader does; [`super::reading`] does it with a
//! datum. Reading is laxer than [`super::compatibility`] in one point (names of records do not
//! count) and stricter in another (aliases of fields count only under the record's full name).
//! Never on the produce path. Source: Avro Java 1.12 `Resolver` and `Schema.applyAliases`.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use super::canonical;
use super::model::{Field, Kind, Model, Name, TypeId};
use super::smallest::Step;

/// Most pairs of types looked at in one resolution; beyond, pairs count as matching.
const PAIRS_MAX: usize = 200_000;

/// Most fields looked up to tell which records fit; beyond, pairs count as matching.
const LOOKUPS_MAX: usize = 2_000_000;

/// Deepest chain of records looked at to tell whether the first fits; beyond, it counts as fitting.
const CHAIN_MAX: usize = 256;

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
    /// Fields looked up for `misfits`.
    lookups: Cell<usize>,
    /// Records that are being decided.
    chain: Cell<usize>,
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
            lookups: Cell::new(0),
            chain: Cell::new(0),
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

    /// The pairs that reading a value of `pair` leads to.
    pub(super) fn below(
        &self,
        pair: (TypeId, TypeId),
        action: Action,
    ) -> Vec<(Step, (TypeId, TypeId))> {
        match action {
            Action::Items(reader, writer) => vec![(Step::Item, (reader, writer))],
            Action::Values(reader, writer) => vec![(Step::Value, (reader, writer))],
            Action::Fields(positions) => {
                let (own, written) = (self.reader_fields(pair.0), self.writer_fields(pair.1));
                let fields = positions.iter().zip(written).enumerate();
                fields
                    .filter_map(|(i, (position, written))| {
                        let field = own.get((*position)?)?;
                        Some((Step::Field(i), (field.ty, written.ty)))
                    })
                    .collect()
            }
            Action::Branches(readers) => {
                let written = self.writer.get(pair.1).children();
                let branches = readers.into_iter().zip(written).enumerate();
                branches.map(|(i, pair)| (Step::Branch(i), pair)).collect()
            }
            Action::Into(branch) => vec![(Step::Into, (branch, pair.1))],
            Action::Take | Action::Symbol | Action::Refuse(_) => Vec::new(),
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

    /// The names of a writer's fields as the reader knows them.
    pub(super) fn field_names(&self, writer: TypeId) -> &[&'a str] {
        self.fields.get(&writer).map_or(&[], Vec::as_slice)
    }

    /// Whether two types have the same name, without namespace.
    pub(super) fn has_same_name(&self, reader: TypeId, writer: TypeId) -> bool {
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
        let (own, written) = (self.reader_fields(reader), self.writer_fields(writer));
        let lookups = self.lookups.get() + own.len() + written.len();
        {
            let is_cut = lookups > LOOKUPS_MAX || self.chain.get() >= CHAIN_MAX;
            let mut known = self.misfits.borrow_mut();
            match known.get(&(reader, writer)) {
                Some(known) => return known.unwrap_or(false),
                None if is_cut || known.len() >= PAIRS_MAX => return false,
                None => known.insert((reader, writer), None),
            };
        }
        self.lookups.set(lookups);
        self.chain.update(|chain| chain + 1);
        let misfits = match self.action(reader, writer) {
            Action::Fields(positions) => {
                positions.iter().zip(written).any(|(position, written)| {
                    let field = position.and_then(|position| own.get(position));
                    field.is_some_and(|field| {
                        matches!(self.action(field.ty, written.ty), Action::Refuse(_))
                    })
                })
            }
            action => matches!(action, Action::Refuse(_)),
        };
        self.chain.update(|chain| chain - 1);
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
