//! Records that show an incompatibility; see [`crate::witness`].
//!
//! Finds where the difference stands, goes on to the nearest value that the reader refuses, builds
//! the smallest datum that holds it, and reads it. What a reader is taken to do is what Apache's
//! does; others refuse more.

use std::collections::HashSet;

use super::model::{Field, Kind, Model, TypeId};
use super::places::{self, Place};
use super::reading::{self, Reading, Refusal};
use super::resolve::{Action, Resolution};
use super::smallest::{Smallest, Step};
use super::{AvroSchema, caveats, json_value};
use crate::compatibility::Incompatibility;
use crate::witness::{Evidence, Outcome, Witness};

/// Most pairs of types looked at below one place.
const PAIRS_MAX: usize = 100_000;

/// A record of `writer` that breaks under `reader` because of `difference`.
#[must_use]
pub fn evidence(
    reader: &AvroSchema,
    writer: &AvroSchema,
    difference: &Incompatibility,
) -> Evidence {
    let smallest = Smallest::new(&writer.model);
    if smallest.size(writer.model.root).is_none() {
        return convention("the writer's schema has no record that ends");
    }
    let resolution = match Resolution::new(&reader.model, &writer.model) {
        Ok(resolution) => resolution,
        Err(reason) => return refuses_all(&smallest, &writer.model, reason),
    };
    if difference.kind == "UNEXPECTED_EXCEPTION" {
        return match difference.message.contains(" matches multiple fields ") {
            true => convention(
                "only the comparison fails; a reader of the same schema, or under another name, \
                 does not look at the alias",
            ),
            false => not_found("the schemas are too large to compare"),
        };
    }
    let places = match caveats::MISSED.contains(&difference.kind) {
        true => caveats::places(&resolution, &smallest, difference),
        false => places::find(&reader.model, &writer.model, difference),
    };
    let Some(first) = places.first() else {
        return not_found("the place of the difference was not met again");
    };
    let is_record = matches!(reader.model.get(first.pair.0).kind, Kind::Record { .. });
    // The name of a record counts only where a field is known by an alias.
    let is_name_alone = difference.kind == "NAME_MISMATCH" && is_record && first.field.is_none();
    let mut hunt = Hunt {
        resolution,
        smallest,
        is_cut: false,
    };
    if difference.kind == caveats::DEFAULT {
        let field = first.field.as_deref().unwrap_or_default();
        return hunt.refused_at(&first.steps, first.pair, field);
    }
    if let Some(lost) = hunt.lost(first)
        && places.iter().all(|place| hunt.lost(place).is_some())
    {
        return hunt.before(first, lost);
    }
    if is_name_alone {
        return convention(BY_FIELDS);
    }
    let shown = places.iter().find_map(|place| hunt.refused(place));
    match shown.or_else(|| places.iter().find_map(|place| hunt.misread(place))) {
        Some(witness) => Evidence::Breaks(Box::new(witness)),
        None if hunt.is_cut => not_found("the types below the difference are too many to search"),
        None if places
            .iter()
            .all(|place| hunt.datum(&place.steps, 0).is_none()) =>
        {
            not_found("the smallest record that reaches the place is too large")
        }
        None => convention(BY_FIELDS),
    }
}

const BY_FIELDS: &str = "readers match records by their fields; the rule keeps a record from being \
                         taken for one of another name";

const NOT_READ: &str = "the reader does not come to the difference: it knows the field around it by \
                        an alias, which does not count for a record of another full name, and \
                        takes its default";

fn convention(reason: &str) -> Evidence {
    Evidence::Convention {
        reason: reason.to_owned(),
    }
}

fn not_found(reason: &str) -> Evidence {
    Evidence::NotFound {
        reason: reason.to_owned(),
    }
}

/// The reader fails before it sees a record: any will do.
fn refuses_all(smallest: &Smallest<'_>, writer: &Model, reason: String) -> Evidence {
    let outcome = Outcome::Refused {
        path: "$".to_owned(),
        reason,
    };
    match smallest
        .datum(&[], 0)
        .and_then(|datum| witness(writer, datum, outcome))
    {
        Some(witness) => Evidence::Breaks(Box::new(witness)),
        None => not_found("the smallest record is too large"),
    }
}

/// A witness of a datum, which is decoded under the writer first.
fn witness(writer: &Model, datum: Vec<u8>, outcome: Outcome) -> Option<Witness> {
    let json = json_value::decode_datum(writer, &datum).ok()?;
    // A root of bytes is a payload of its own, without its length.
    let payload = match writer.get(writer.root).kind {
        Kind::Bytes => Vec::new(),
        _ => datum,
    };
    Some(Witness {
        json,
        payload,
        indexes: Vec::new(),
        outcome,
    })
}

struct Hunt<'a> {
    resolution: Resolution<'a>,
    smallest: Smallest<'a>,
    /// Whether a search ended at its limit.
    is_cut: bool,
}

/// A field of the reader that the comparison goes through and the reader does not find.
#[derive(Clone, Copy)]
struct Lost<'a> {
    /// The records.
    pair: (TypeId, TypeId),
    field: &'a Field,
}

/// A value that the reader refuses, below a place.
struct Target {
    steps: Vec<Step>,
    pair: (TypeId, TypeId),
    /// Position of the symbol that is refused.
    symbol: usize,
}

impl<'a> Hunt<'a> {
    /// The first field on the way to a place that has its value by an alias only, which the reader
    /// does not apply to a record of another full name.
    fn lost(&self, place: &Place) -> Option<Lost<'a>> {
        let resolution = &self.resolution;
        let mut pair = (resolution.reader.root, resolution.writer.root);
        for step in &place.steps {
            let (r, w) = (resolution.reader.get(pair.0), resolution.writer.get(pair.1));
            pair = match (step, &r.kind, &w.kind) {
                (Step::Item, Kind::Array(r), Kind::Array(w))
                | (Step::Value, Kind::Map(r), Kind::Map(w)) => (*r, *w),
                (Step::Branch(index), _, Kind::Union(branches)) => (pair.0, *branches.get(*index)?),
                (Step::Field(index), Kind::Record { fields: own, .. }, _) => {
                    let written = resolution.writer_fields(pair.1).get(*index)?;
                    let name = *resolution.field_names(pair.1).get(*index)?;
                    match own.iter().find(|field| field.name == name) {
                        Some(field) => (field.ty, written.ty),
                        None => {
                            let mut own = own.iter();
                            let field = own.find(|field| field.aliases.contains(&written.name))?;
                            return Some(Lost { pair, field });
                        }
                    }
                }
                _ => return None,
            };
        }
        None
    }

    /// What becomes of the records with a value at `place`, where the reader does not come to it.
    fn before(&self, place: &Place, lost: Lost<'_>) -> Evidence {
        if lost.field.default.is_some() {
            return convention(NOT_READ);
        }
        self.refused_at(&place.steps, lost.pair, &lost.field.name)
    }

    /// A record on this way, which the reader refuses for a field of these records.
    fn refused_at(&self, steps: &[Step], pair: (TypeId, TypeId), field: &str) -> Evidence {
        let shown = self.datum(steps, 0).and_then(|datum| {
            let mut refusals = self.read(&datum)?.refusals.into_iter();
            let refusal = refusals.find(|r| r.pair == pair && r.field.as_deref() == Some(field))?;
            let Refusal { path, reason, .. } = refusal;
            let outcome = Outcome::Refused { path, reason };
            witness(self.resolution.writer, datum, outcome)
        });
        match shown {
            Some(witness) => Evidence::Breaks(Box::new(witness)),
            None => not_found("the smallest record that reaches the place is too large"),
        }
    }

    /// A record that the reader refuses at, or below, a place.
    fn refused(&mut self, place: &Place) -> Option<Witness> {
        let target = self.target(place)?;
        let datum = self.datum(&target.steps, target.symbol)?;
        let reading = self.read(&datum)?;
        let refusal = reading.refusals.into_iter().find(|refusal| {
            refusal.pair == target.pair && (place.field.is_none() || refusal.field == place.field)
        })?;
        let Refusal { path, reason, .. } = refusal;
        witness(
            self.resolution.writer,
            datum,
            Outcome::Refused { path, reason },
        )
    }

    /// A record that the reader takes for another, at a place.
    fn misread(&self, place: &Place) -> Option<Witness> {
        let datum = self.datum(&place.steps, 0)?;
        let reading = self.read(&datum)?;
        let found = reading.misreadings.into_iter().next()?;
        let outcome = match reading.refusals.into_iter().next() {
            // Another difference hides the misreading: the record breaks before.
            Some(Refusal { path, reason, .. }) => Outcome::Refused { path, reason },
            None => Outcome::Misread {
                path: found.path,
                written: found.written,
                read: found.read,
            },
        };
        witness(self.resolution.writer, datum, outcome)
    }

    fn datum(&self, steps: &[Step], symbol: usize) -> Option<Vec<u8>> {
        self.smallest.datum(steps, symbol)
    }

    fn read(&self, datum: &[u8]) -> Option<Reading> {
        let written = json_value::decode_datum(self.resolution.writer, datum).ok()?;
        Some(reading::read(&self.resolution, &written))
    }

    /// The nearest value at or below `place` that the reader refuses.
    fn target(&mut self, place: &Place) -> Option<Target> {
        let mut seen = HashSet::from([place.pair]);
        // Pair, the node before, and the step from it.
        let mut nodes = vec![(place.pair, 0, Step::Into)];
        let mut next = 0;
        while let Some(&(pair, _, _)) = nodes.get(next) {
            let action = self.resolution.action(pair.0, pair.1);
            let symbol = match &action {
                Action::Refuse(_) => Some(0),
                Action::Symbol => {
                    let unread = self.resolution.unread_symbols(pair.0, pair.1);
                    unread.first().copied()
                }
                _ => None,
            };
            if let Some(symbol) = symbol {
                let mut steps = Vec::new();
                let mut at = next;
                while at != 0
                    && let Some(&(_, parent, step)) = nodes.get(at)
                {
                    steps.push(step);
                    at = parent;
                }
                steps.extend(place.steps.iter().rev());
                steps.reverse();
                return Some(Target {
                    steps,
                    pair,
                    symbol,
                });
            }
            for (step, pair) in self.resolution.below(pair, action) {
                if nodes.len() >= PAIRS_MAX {
                    self.is_cut = true;
                } else if self.smallest.size(pair.1).is_some() && seen.insert(pair) {
                    nodes.push((pair, next, step));
                }
            }
            next += 1;
        }
        None
    }
}
