//! Where in two schemas a difference stands, and the way there through a datum.
//!
//! A difference names its place by a pointer that is not always one from the root: what was found
//! of a pair of types is told again, with the old place, wherever the pair is met. So the pairs are
//! searched for the difference, and the pointer only says which to prefer. Next: [`super::witness`].

use std::collections::HashSet;

use super::compatibility::{lacking, mismatch, missing_symbols, names_agree};
use super::model::{Field, Header, Kind, Model, Type, TypeId};
use super::smallest::Step;
use crate::compatibility::Incompatibility;

/// Most pairs of types searched.
const PAIRS_MAX: usize = 100_000;

/// Most places answered.
const PLACES_MAX: usize = 16;

/// A place where a difference holds.
#[derive(Debug)]
pub(super) struct Place {
    /// The way from the root.
    pub(super) steps: Vec<Step>,
    /// The types of reader and writer there.
    pub(super) pair: (TypeId, TypeId),
    /// The field of the reader that is missing there.
    pub(super) field: Option<String>,
}

/// The places where `wanted` holds, the one it names first, then by their distance from the root.
pub(super) fn find(reader: &Model, writer: &Model, wanted: &Incompatibility) -> Vec<Place> {
    let mut search = Search {
        reader,
        writer,
        wanted,
        nodes: vec![Node {
            pair: (reader.root, writer.root),
            parent: 0,
            step: Step::Into,
            token: String::new(),
        }],
        seen: HashSet::from([(reader.root, writer.root)]),
        exact: Vec::new(),
        others: Vec::new(),
    };
    let mut next = 0;
    while next < search.nodes.len() {
        search.look(next);
        search.open(next);
        next += 1;
    }
    let mut places = search.exact;
    places.extend(search.others);
    places.truncate(PLACES_MAX);
    places
}

struct Search<'a> {
    reader: &'a Model,
    writer: &'a Model,
    wanted: &'a Incompatibility,
    nodes: Vec<Node>,
    seen: HashSet<(TypeId, TypeId)>,
    exact: Vec<Place>,
    others: Vec<Place>,
}

/// A pair of types met, and from where.
struct Node {
    pair: (TypeId, TypeId),
    parent: usize,
    step: Step,
    /// What the step adds to the pointer.
    token: String,
}

impl Search<'_> {
    /// Notes the place when the difference holds at this node.
    fn look(&mut self, node: usize) {
        let Some(pair) = self.nodes.get(node).map(|node| node.pair) else {
            return;
        };
        let (reader, writer) = (self.reader, self.writer);
        let (r, w) = (reader.get(pair.0), writer.get(pair.1));
        let wanted = self.wanted;
        let info = wanted.additional_info.as_str();
        match (wanted.kind, &r.kind, &w.kind) {
            ("NAME_MISMATCH", _, _) => {
                if let (Some(own), Some(written)) = (r.header(), w.header())
                    && r.word() == w.word()
                    && is_renamed(own, written, info)
                {
                    let field = lost(fields_of(r), fields_of(w));
                    self.note(node, "/name", None, field);
                }
            }
            ("FIXED_SIZE_MISMATCH", Kind::Fixed { size: own, .. }, Kind::Fixed { size, .. })
                if info == format!("expected: {size}, found: {own}") =>
            {
                self.note(node, "/size", None, None);
            }
            ("MISSING_ENUM_SYMBOLS", Kind::Enum { .. }, Kind::Enum { .. })
                if info == format!("[{}]", missing_symbols(r, w).join(", ")) =>
            {
                self.note(node, "/symbols", None, None);
            }
            (
                "READER_FIELD_MISSING_DEFAULT_VALUE",
                Kind::Record { fields, .. },
                Kind::Record { .. },
            ) => {
                if let Some((i, field)) = missing(fields, info, fields_of(w)) {
                    self.note(node, &format!("/fields/{i}"), None, Some(field));
                }
            }
            ("TYPE_MISMATCH", Kind::Record { fields, .. }, Kind::Record { .. }) => {
                // A missing field of an enum with a default was compared with the record around.
                let written = fields_of(w);
                for (i, field) in fields.iter().enumerate() {
                    let ty = reader.get(field.ty);
                    let is_enum = matches!(ty.kind, Kind::Enum { .. });
                    if is_enum && field.default.is_none() && !is_written(field, written) {
                        self.note(node, &format!("/fields/{i}/type"), None, Some(field));
                    }
                }
            }
            ("TYPE_MISMATCH", _, _) if info == mismatch(r, w) => self.note(node, "", None, None),
            ("MISSING_UNION_BRANCH", Kind::Union(_), Kind::Union(branches)) => {
                for (i, branch) in branches.iter().enumerate() {
                    if info == lacking(writer.get(*branch)) {
                        self.note(node, &format!("/{i}"), Some((i, *branch)), None);
                    }
                }
            }
            ("MISSING_UNION_BRANCH", Kind::Union(_), _) if info == lacking(w) => {
                self.note(node, "", None, None);
            }
            _ => {}
        }
    }

    /// Notes the place of a node, or of a branch of the writer's union there.
    fn note(
        &mut self,
        node: usize,
        suffix: &str,
        branch: Option<(usize, TypeId)>,
        field: Option<&Field>,
    ) {
        let (mut steps, pointer) = self.way(node);
        let Some(mut pair) = self.nodes.get(node).map(|node| node.pair) else {
            return;
        };
        if let Some((index, branch)) = branch {
            steps.push(Step::Branch(index));
            pair.1 = branch;
        }
        let pointer = format!("{pointer}{suffix}");
        let is_exact = pointer == self.wanted.path.trim_end_matches('/');
        let list = match is_exact {
            true => &mut self.exact,
            false => &mut self.others,
        };
        if list.len() < PLACES_MAX {
            list.push(Place {
                steps,
                pair,
                field: field.map(|field| field.name.clone()),
            });
        }
    }

    /// The steps and the pointer from the root to a node.
    fn way(&self, node: usize) -> (Vec<Step>, String) {
        let (mut steps, mut tokens) = (Vec::new(), Vec::new());
        let mut at = node;
        while at != 0 {
            let Some(node) = self.nodes.get(at) else {
                break;
            };
            steps.push(node.step);
            tokens.push(node.token.as_str());
            at = node.parent;
        }
        steps.reverse();
        tokens.reverse();
        (steps, tokens.concat())
    }

    /// Adds the pairs below a node, as the comparison meets them. What it finds below a reader's
    /// union is told at the union.
    fn open(&mut self, node: usize) {
        let Some(pair) = self.nodes.get(node).map(|node| node.pair) else {
            return;
        };
        let (reader, writer) = (self.reader, self.writer);
        match (&reader.get(pair.0).kind, &writer.get(pair.1).kind) {
            (Kind::Array(r), Kind::Array(w)) => {
                self.add(node, (*r, *w), Step::Item, "/items".to_owned());
            }
            (Kind::Map(r), Kind::Map(w)) => {
                self.add(node, (*r, *w), Step::Value, "/values".to_owned());
            }
            (Kind::Record { fields: own, .. }, Kind::Record { fields, .. }) => {
                let positions: std::collections::HashMap<&str, usize> = fields
                    .iter()
                    .enumerate()
                    .map(|(i, f)| (f.name.as_str(), i))
                    .collect();
                for (i, field) in own.iter().enumerate() {
                    let mut names = std::iter::once(&field.name).chain(&field.aliases);
                    let position = names.find_map(|name| positions.get(name.as_str()));
                    if let Some((&at, written)) =
                        position.and_then(|at| Some((at, fields.get(*at)?)))
                    {
                        let token = format!("/fields/{i}/type");
                        self.add(node, (field.ty, written.ty), Step::Field(at), token);
                    }
                }
            }
            (Kind::Union(_), _) => {}
            (_, Kind::Union(branches)) => {
                for (i, branch) in branches.iter().enumerate() {
                    self.add(node, (pair.0, *branch), Step::Branch(i), format!("/{i}"));
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, parent: usize, pair: (TypeId, TypeId), step: Step, token: String) {
        if self.nodes.len() < PAIRS_MAX && self.seen.insert(pair) {
            self.nodes.push(Node {
                pair,
                parent,
                step,
                token,
            });
        }
    }
}

fn fields_of(ty: &Type) -> &[Field] {
    match &ty.kind {
        Kind::Record { fields, .. } => fields,
        _ => &[],
    }
}

fn is_renamed(own: &Header, written: &Header, info: &str) -> bool {
    !names_agree(own, written) && info == format!("expected: {}", written.name.full())
}

/// The field of this name, if the writer has none for it and it has no default.
fn missing<'f>(fields: &'f [Field], name: &str, written: &[Field]) -> Option<(usize, &'f Field)> {
    let found = fields
        .iter()
        .enumerate()
        .find(|(_, field)| field.name == name)?;
    (found.1.default.is_none() && !is_written(found.1, written)).then_some(found)
}

/// A field without default that was written under an alias only: it is lost with the record's name.
fn lost<'f>(fields: &'f [Field], written: &[Field]) -> Option<&'f Field> {
    fields.iter().find(|field| {
        let has_name = written.iter().any(|written| written.name == field.name);
        field.default.is_none() && !has_name && is_written(field, written)
    })
}

/// Whether the comparison takes a field for written, under its name or an alias.
pub(super) fn is_written(field: &Field, written: &[Field]) -> bool {
    let mut names = std::iter::once(&field.name).chain(&field.aliases);
    names.any(|name| written.iter().any(|written| written.name == *name))
}
