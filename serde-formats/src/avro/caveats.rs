//! Where the reference's verdict is not what its reader does; see [`Caveat`].
//!
//! Its comparison looks at names without their namespace and applies the aliases of a field to any
//! record; its reader does neither everywhere. And a difference is not always told for what it is,
//! or where it is. What is missed is found by walking through what the reader does.

use std::collections::HashSet;

use super::compatibility::{self, locations, names_agree};
use super::defaults;
use super::model::{Kind, TypeId};
use super::places::{self, Place};
use super::resolve::{Action, Mismatch, Resolution};
use super::smallest::{Smallest, Step};
use super::{AvroSchema, witness};
use crate::compatibility::{Caveat, CaveatEffect, Incompatibility};
use crate::witness::Evidence;

/// A union of the reader finds an enum or fixed by its full name.
const NAMESPACE: &str = "NAMESPACE_NOT_COMPARED";

/// An alias of a field counts under the record's full name only.
const FIELD_ALIAS: &str = "FIELD_ALIAS_NOT_APPLIED";

/// An enum or fixed got another name by an alias.
const NAME: &str = "ALIAS_NOT_APPLIED";

/// Aliases give two fields or branches one name.
const COLLISION: &str = "ALIASES_COLLIDE";

/// The default of a field that was not written is taken for a value of another type, or is no symbol
/// of its enum.
pub(super) const DEFAULT: &str = "DEFAULT_NOT_READ";

/// The kinds of what the comparison misses.
pub(super) const MISSED: [&str; 5] = [NAMESPACE, FIELD_ALIAS, NAME, COLLISION, DEFAULT];

/// Most values of defaults looked at.
const DEFAULT_STEPS_MAX: u32 = 100_000;

/// Most pairs of types looked at.
const PAIRS_MAX: usize = 20_000;

/// Most refusals compared, and most differences looked at.
const LOOKED_AT_MAX: usize = 64;

/// Where `compare` says otherwise than a reader does.
#[must_use]
pub fn caveats(reader: &AvroSchema, writer: &AvroSchema) -> Vec<Caveat> {
    let differences = super::compare(reader, writer);
    let mut caveats = overstated(reader, writer, &differences);
    let smallest = Smallest::new(&writer.model);
    if smallest.size(writer.model.root).is_none() {
        return caveats;
    }
    match Resolution::new(&reader.model, &writer.model) {
        Ok(resolution) => {
            let missed = missed(&resolution, &smallest);
            caveats.extend(missed.into_iter().map(|missed| missed.caveat));
        }
        Err(reason) if differences.is_empty() => {
            caveats.push(missed_caveat(COLLISION, "/".to_owned(), reason));
        }
        Err(_) => {}
    }
    caveats
}

fn missed_caveat(kind: &'static str, path: String, reason: String) -> Caveat {
    Caveat {
        effect: CaveatEffect::Missed,
        kind,
        path,
        reason,
    }
}

/// The places of what a caveat of [`MISSED`] says.
pub(super) fn places(
    resolution: &Resolution<'_>,
    smallest: &Smallest<'_>,
    wanted: &Incompatibility,
) -> Vec<Place> {
    let found = missed(resolution, smallest).into_iter();
    let found = found.filter(|m| m.caveat.kind == wanted.kind && m.caveat.path == wanted.path);
    found.map(|missed| missed.place).collect()
}

/// Differences that are not what, or where, they are said to be.
fn overstated(
    reader: &AvroSchema,
    writer: &AvroSchema,
    differences: &[Incompatibility],
) -> Vec<Caveat> {
    let real = locations(&reader.model, &writer.model);
    let mut caveats = Vec::new();
    for (i, difference) in differences.iter().enumerate().take(LOOKED_AT_MAX) {
        let mut add = |reason: String| {
            caveats.push(Caveat {
                effect: CaveatEffect::Overstated,
                kind: difference.kind,
                path: difference.path.clone(),
                reason,
            });
        };
        if difference.kind == "UNEXPECTED_EXCEPTION" {
            if let Evidence::Convention { reason } = witness::evidence(reader, writer, difference) {
                add(reason);
            }
            continue;
        }
        if let Some(place) = real.get(i).filter(|place| **place != difference.path) {
            add(format!(
                "the difference stands at {place}; the same types are compared at the path told, \
                 or were when the branches of a union were tried"
            ));
        }
        if difference.kind == "TYPE_MISMATCH"
            && let Some(field) = places::find(&reader.model, &writer.model, difference)
                .into_iter()
                .next()
                .and_then(|place| place.field)
        {
            add(format!(
                "no type has changed: field {field} was not written and has no default; the \
                 default of its enum stands for symbols that the reader does not know"
            ));
        }
    }
    caveats
}

/// What the comparison does not see.
struct Missed {
    caveat: Caveat,
    place: Place,
}

/// A pair of types met, and from where.
struct Node {
    pair: (TypeId, TypeId),
    parent: usize,
    step: Step,
    /// What the step adds to the pointer.
    token: String,
    /// Whether differences there are told at a union of the reader further up.
    in_union: bool,
}

/// Everything that the reader refuses where the comparison sees nothing wrong.
fn missed(resolution: &Resolution<'_>, smallest: &Smallest<'_>) -> Vec<Missed> {
    let (reader, writer) = (resolution.reader, resolution.writer);
    let root = (reader.root, writer.root);
    let mut seen = HashSet::from([root]);
    let mut nodes = vec![Node {
        pair: root,
        parent: 0,
        step: Step::Into,
        token: String::new(),
        in_union: false,
    }];
    let (mut found, mut looked_at, mut next) = (Vec::new(), 0, 0);
    let mut default_steps_left = DEFAULT_STEPS_MAX;
    while let Some((pair, in_union)) = nodes.get(next).map(|node| (node.pair, node.in_union)) {
        let action = resolution.action(pair.0, pair.1);
        if let Action::Refuse(mismatch) = &action
            && looked_at < LOOKED_AT_MAX
        {
            looked_at += 1;
            if compatibility::is_compatible(reader, writer, pair)
                || !in_union && is_alias_alone(resolution, pair, mismatch)
            {
                let (steps, pointer) = way(&nodes, next);
                let (kind, reason) = explain(resolution, pair, mismatch);
                found.push(Missed {
                    caveat: missed_caveat(kind, pointer, reason),
                    place: Place {
                        steps,
                        pair,
                        field: None,
                    },
                });
            }
        }
        let positions = match &action {
            Action::Fields(positions) => positions.clone(),
            _ => Vec::new(),
        };
        if matches!(action, Action::Fields(_))
            && let Some((at, reason)) =
                bad_default(resolution, pair.0, &positions, &mut default_steps_left)
        {
            let (steps, pointer) = way(&nodes, next);
            let path = format!("{}/fields/{at}", pointer.trim_end_matches('/'));
            let field = resolution.reader_fields(pair.0).get(at);
            found.push(Missed {
                caveat: missed_caveat(DEFAULT, path, reason),
                place: Place {
                    steps,
                    pair,
                    field: field.map(|field| field.name.clone()),
                },
            });
        }
        let in_union = in_union || matches!(reader.get(pair.0).kind, Kind::Union(_));
        for (step, pair) in resolution.below(pair, action) {
            let token = match step {
                Step::Item => "/items".to_owned(),
                Step::Value => "/values".to_owned(),
                Step::Field(written) => {
                    let position = positions.get(written).copied().flatten();
                    format!("/fields/{}/type", position.unwrap_or(written))
                }
                Step::Branch(index) => format!("/{index}"),
                Step::Into => String::new(),
            };
            if nodes.len() < PAIRS_MAX && smallest.size(pair.1).is_some() && seen.insert(pair) {
                nodes.push(Node {
                    pair,
                    parent: next,
                    step,
                    token,
                    in_union,
                });
            }
        }
        next += 1;
    }
    found
}

/// The first field of the reader that was not written and whose default cannot be read, by position,
/// and why that breaks.
fn bad_default(
    resolution: &Resolution<'_>,
    record: TypeId,
    written: &[Option<usize>],
    steps_left: &mut u32,
) -> Option<(usize, String)> {
    let written: HashSet<usize> = written.iter().copied().flatten().collect();
    let fields = resolution.reader_fields(record).iter().enumerate();
    let mut unwritten = fields.filter(|(at, _)| !written.contains(at));
    unwritten.find_map(|(at, field)| {
        let default = field.default.as_ref()?;
        let reason = defaults::unreadable(resolution.reader, field.ty, default, steps_left)?;
        let name = &field.name;
        let reason = format!("field {name} was not written, and of its default {reason}");
        Some((at, reason))
    })
}

/// Whether fields are missing that the comparison takes for written, under their aliases: what else
/// it finds in the records does not tell of them.
fn is_alias_alone(
    resolution: &Resolution<'_>,
    pair: (TypeId, TypeId),
    mismatch: &Mismatch,
) -> bool {
    let Mismatch::MissingFields(missing) = mismatch else {
        return false;
    };
    let (own, written) = (
        resolution.reader_fields(pair.0),
        resolution.writer_fields(pair.1),
    );
    let mut missing = missing.iter().filter_map(|position| own.get(*position));
    let (r, w) = (resolution.reader.get(pair.0), resolution.writer.get(pair.1));
    let is_named_alike = match (r.header(), w.header()) {
        (Some(own), Some(written)) => names_agree(own, written),
        _ => false,
    };
    is_named_alike && missing.all(|field| places::is_written(field, written))
}

/// The steps and the pointer from the root to a node.
fn way(nodes: &[Node], node: usize) -> (Vec<Step>, String) {
    let (mut steps, mut tokens) = (Vec::new(), Vec::new());
    let mut at = node;
    while at != 0
        && let Some(node) = nodes.get(at)
    {
        steps.push(node.step);
        tokens.push(node.token.as_str());
        at = node.parent;
    }
    steps.reverse();
    tokens.reverse();
    let pointer = tokens.concat();
    match pointer.is_empty() {
        true => (steps, "/".to_owned()),
        false => (steps, pointer),
    }
}

fn explain(
    resolution: &Resolution<'_>,
    pair: (TypeId, TypeId),
    mismatch: &Mismatch,
) -> (&'static str, String) {
    let (r, w) = (resolution.reader.get(pair.0), resolution.writer.get(pair.1));
    let written = w.branch_name();
    match mismatch {
        Mismatch::NoBranch => (
            NAMESPACE,
            format!(
                "a reader's union finds {} {written} by its full name, which no branch has",
                w.word()
            ),
        ),
        Mismatch::MissingFields(missing) => {
            let fields = resolution.reader_fields(pair.0);
            let names: Vec<&str> = missing
                .iter()
                .filter_map(|position| fields.get(*position))
                .map(|field| field.name.as_str())
                .collect();
            (
                FIELD_ALIAS,
                format!(
                    "the aliases of {} count for records named {}, not for {written}",
                    names.join(", "),
                    r.branch_name()
                ),
            )
        }
        Mismatch::Types | Mismatch::Names | Mismatch::Sizes => (
            NAME,
            format!(
                "{} {written} has another name for the reader, by an alias of its schema",
                w.word()
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
