//! Records that show an incompatibility; see [`crate::witness`].
//!
//! A difference names a place in two schemas. From there the search works outwards: `sample.rs`
//! makes values that the writer's schema allows at the place and that stand on the edges of the
//! reader's, [`Frame`] builds the rest of a record around each, and both validators judge it. A
//! record counts when the writer takes it and the reader refuses it at that place.
//! Next: `shape.rs` (what a schema asks of one value), `sample.rs`, `scalars.rs`, `text.rs`, `pool.rs`.

mod frame;
mod pool;
mod proof;
mod sample;
mod scalars;
mod shape;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashSet;

use serde_json::Value;

use super::compatibility::{COMPARISON_TOO_LARGE, Trail, trail};
use super::explain::Refusal;
use super::validate::{JsonScratch, JsonValidator};
use super::{JsonSchema, model::Model};
use crate::compatibility::Incompatibility;
use crate::validator::ValidationOptions;
use crate::witness::{Evidence, Outcome, Witness};
use frame::Frame;
#[cfg(test)]
use pool::Pool;
use sample::Maker;

/// A record of `writer` that breaks under `reader` because of `difference`.
#[must_use]
pub fn evidence(
    reader: &JsonSchema,
    writer: &JsonSchema,
    difference: &Incompatibility,
) -> Evidence {
    let not_found = |reason: &str| Evidence::NotFound {
        reason: reason.to_owned(),
    };
    let (Ok(old), Ok(new)) = (writer.model(), reader.model()) else {
        return not_found("a schema refers to one that is out of reach");
    };
    if difference.kind == COMPARISON_TOO_LARGE {
        return not_found("the schemas are too large to be compared");
    }
    let Some(trail) = trail(reader, writer, difference) else {
        return not_found("the schemas do not differ in this way");
    };
    let (old_validator, new_validator) = match (writer.compile(), reader.compile()) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => {
            return Evidence::NotFound {
                reason: format!("a schema cannot be executed: {error}"),
            };
        }
    };
    let mut search = Search {
        old_validator: &old_validator,
        new_validator: &new_validator,
        scratch: JsonScratch::default(),
        seen: HashSet::new(),
        taken: 0,
        best: None,
        elsewhere: None,
    };
    search.run((old, new), &trail);
    if let Some((_, witness)) = search.best {
        return Evidence::Breaks(Box::new(witness));
    }
    if let Some(reason) = proof::convention(reader, writer) {
        return Evidence::Convention { reason };
    }
    Evidence::NotFound {
        reason: search.why_not(),
    }
}

/// Records of `schema`, the smallest first: each was judged and fits.
#[cfg(test)]
pub(super) fn records(schema: &JsonSchema, count: usize) -> Vec<Value> {
    let (Ok(model), Ok(validator)) = (schema.model(), schema.compile()) else {
        return Vec::new();
    };
    let mut maker = Maker::new(model, Pool::of(&[(model, model.root)]));
    let mut scratch = JsonScratch::default();
    maker
        .values(&[model.root], count.saturating_mul(4), 0)
        .into_iter()
        .filter(|value| {
            let payload = value.to_string();
            let options = ValidationOptions::default();
            validator
                .validate(payload.as_bytes(), options, &mut scratch)
                .is_ok()
        })
        .take(count)
        .collect()
}

/// Records judged in one search.
const RECORDS_MAX: usize = 3000;
/// Steps that judging the records may take; the last record may go past it.
const STEPS_MAX: u64 = 20_000_000;
/// Values around which no record could be built, after which none is expected to be.
const HOPELESS_AFTER: usize = 16;
/// Values tried at the place of the difference.
const VALUES_MAX: usize = 400;

/// One search, with what it found so far.
struct Search<'s> {
    old_validator: &'s JsonValidator,
    new_validator: &'s JsonValidator,
    scratch: JsonScratch,
    /// Records already judged.
    seen: HashSet<String>,
    /// Records the writer took.
    taken: usize,
    /// The best witness, after how many other reasons the reader had to refuse it.
    best: Option<(usize, Witness)>,
    /// Where the reader refused a record for another reason.
    elsewhere: Option<String>,
}

impl Search<'_> {
    fn run(&mut self, (old, new): (&Model, &Model), trail: &Trail) {
        let frame = Frame::new(old, new, trail);
        let mut maker = Maker::new(old, frame.pool(old, new));
        let mut records = Vec::new();
        for (tried, value) in frame.values(&mut maker, VALUES_MAX).into_iter().enumerate() {
            if tried >= HOPELESS_AFTER && self.seen.is_empty() {
                return;
            }
            records.clear();
            frame.embed(&mut maker, value, &mut records);
            for record in &records {
                if self.seen.len() >= RECORDS_MAX || self.scratch.spent() >= STEPS_MAX {
                    return;
                }
                self.judge(&frame, record);
                if matches!(self.best, Some((0, _))) {
                    return;
                }
            }
        }
    }

    fn judge(&mut self, frame: &Frame, record: &Value) {
        let payload = record.to_string();
        if self.seen.contains(&payload) {
            return;
        }
        let options = ValidationOptions::default();
        let verdict = self
            .old_validator
            .validate(payload.as_bytes(), options, &mut self.scratch);
        if verdict.is_ok() {
            self.taken += 1;
            let refusals = self
                .new_validator
                .refusals(payload.as_bytes(), &mut self.scratch);
            self.weigh(frame, record, &payload, refusals);
        }
        self.seen.insert(payload);
    }

    fn weigh(&mut self, frame: &Frame, record: &Value, payload: &str, refusals: Vec<Refusal>) {
        let (here, elsewhere): (Vec<Refusal>, Vec<Refusal>) = refusals
            .into_iter()
            .partition(|refusal| frame.is_at_difference(refusal));
        let Some(refusal) = here.into_iter().next() else {
            if let Some(refusal) = elsewhere.into_iter().next() {
                self.elsewhere.get_or_insert(refusal.violation.path);
            }
            return;
        };
        if self
            .best
            .as_ref()
            .is_some_and(|(others, _)| *others <= elsewhere.len())
        {
            return;
        }
        self.best = Some((
            elsewhere.len(),
            Witness {
                json: record.clone(),
                payload: payload.as_bytes().to_vec(),
                indexes: Vec::new(),
                outcome: Outcome::Refused {
                    path: refusal.violation.path,
                    reason: refusal.violation.detail,
                },
            },
        ));
    }

    fn why_not(&self) -> String {
        let tried = self.seen.len();
        if self.taken == 0 {
            return format!("none of {tried} records built fits the writer's schema");
        }
        let taken = self.taken;
        match &self.elsewhere {
            Some(path) => format!(
                "none of {taken} records breaks at the difference; some break at {path} instead"
            ),
            None => format!("the reader takes all {taken} records tried"),
        }
    }
}
