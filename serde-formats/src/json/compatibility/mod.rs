//! Every difference between two JSON Schemas, and which of them break a reader.
//!
//! Follows the reference: what it compares is compared, what it never looks at (`format`,
//! `if`/`then`/`else`, `contains`, `propertyNames`, changed `patternProperties`) is no difference
//! but a caveat, see `caveat.rs`. Where the reference gives no answer at all, the answer here is an
//! incompatibility.
//! Next: `scalar.rs`, `object.rs`, `array.rs`, `combined.rs`, one per group of classes; `apart.rs`.

mod apart;
mod array;
mod caveat;
mod combined;
mod difference;
mod object;
mod scalar;

use std::collections::{HashMap, HashSet};

use super::model::{Class, Model, Node, NodeId, Rest};
use super::parse::JsonSchema;
use super::patterns::Cost;
use crate::compatibility::{CompatibilityPolicy, Incompatibility};

use apart::Apart;
pub use caveat::caveats;
pub(super) use difference::{Difference, Trail};
use difference::{Kind, Stop};

/// Every reason `reader` cannot read what `writer` wrote.
#[must_use]
pub fn compare(
    reader: &JsonSchema,
    writer: &JsonSchema,
    policy: CompatibilityPolicy,
) -> Vec<Incompatibility> {
    differences(reader, writer, policy)
        .iter()
        .filter(|difference| !difference.kind.is_compatible(policy))
        .map(Difference::report)
        .collect()
}

/// Every difference from `writer` to `reader`, compatible ones included.
///
/// The policy takes part because it decides which alternative of a combined schema is taken.
pub(super) fn differences(
    reader: &JsonSchema,
    writer: &JsonSchema,
    policy: CompatibilityPolicy,
) -> Vec<Difference> {
    let mut found = run(reader, writer, policy, None);
    found.retain(|difference| !difference.kind.is_unseen());
    found
}

/// How the comparison comes to `wanted`, which it reported under one of the policies.
pub(super) fn trail(
    reader: &JsonSchema,
    writer: &JsonSchema,
    wanted: &Incompatibility,
) -> Option<Trail> {
    let policies = [CompatibilityPolicy::Strict, CompatibilityPolicy::Lenient];
    policies.into_iter().find_map(|policy| {
        run(reader, writer, policy, Some(wanted))
            .into_iter()
            .find_map(|difference| difference.trail)
    })
}

/// Every difference; those that are `wanted` come with their trail.
fn run(
    reader: &JsonSchema,
    writer: &JsonSchema,
    policy: CompatibilityPolicy,
    wanted: Option<&Incompatibility>,
) -> Vec<Difference> {
    let (Ok(old), Ok(new)) = (writer.model(), reader.model()) else {
        // One of them refers to a schema out of reach: nothing can be said, so nothing is allowed.
        return vec![at_root(&difference::TYPE_CHANGED)];
    };
    let mut broken = HashSet::new();
    let (mut matchers, mut apart) = (HashMap::new(), Apart::default());
    let (mut steps, mut path_bytes) = (0, 0);
    for _ in 0..ROUNDS_MAX {
        let mut comparison = Comparison {
            old,
            new,
            policy,
            path: Vec::new(),
            stops: Vec::new(),
            wanted,
            found: Vec::new(),
            open: HashSet::new(),
            broken: broken.clone(),
            assumed: HashSet::new(),
            doubts: 0,
            alike: HashSet::new(),
            steps,
            path_bytes,
            is_exhausted: false,
            trials: 0,
            asserts_formats: caveat::asserts_formats(reader),
            matchers,
            apart,
        };
        if reader.documents().draft != writer.documents().draft {
            comparison.add(&difference::DRAFT_NOT_COMPARED);
        }
        comparison.compare(Some(Side::old(old.root)), Some(Side::new(new.root)));
        if comparison.is_exhausted {
            // What was found is so; the rest is not judged.
            comparison
                .found
                .push(at_root(&difference::COMPARISON_TOO_LARGE));
            return comparison.found;
        }
        // A cycle was taken for compatible and turned out not to be: what was chosen because of
        // that is in doubt, so choose again knowing it. Every round knows one pair more.
        let doubtful: Vec<Pair> = comparison
            .assumed
            .intersection(&comparison.broken)
            .filter(|pair| !broken.contains(*pair))
            .copied()
            .collect();
        if doubtful.is_empty() {
            return comparison.found;
        }
        (steps, path_bytes) = (comparison.steps, comparison.path_bytes);
        matchers = comparison.matchers;
        apart = comparison.apart;
        broken.extend(doubtful);
    }
    // Still in doubt: not judged, so not allowed.
    vec![at_root(&difference::COMPARISON_TOO_LARGE)]
}

/// The answer for schemas that could not be compared.
fn at_root(kind: &'static Kind) -> Difference {
    Difference {
        kind,
        path: "#/".to_owned(),
        trail: None,
    }
}

/// The name of the difference that stands for a comparison that was given up.
pub(super) const COMPARISON_TOO_LARGE: &str = difference::COMPARISON_TOO_LARGE.name;

/// Steps of one comparison, enough for 100,000 pairs of subschemas; past it the schemas count as
/// incompatible. Only what is counted can grow faster than the schemas do: pairs of alternatives,
/// and alternatives inside alternatives, whose trials are made again wherever they are reached.
const STEPS_MAX: usize = 800_000;
/// A pair of subschemas that is compared; one known to be alike takes a single step.
const PAIR_STEPS: usize = 8;
/// A regular expression that a name is matched with.
const MATCH_STEPS: usize = 8;
/// Places of a regular expression compared with bytes of a name in one step.
const PLACES_PER_STEP: u64 = 64;
/// Names of properties that are looked up in one step.
const NAMES_PER_STEP: usize = 8;
/// Bytes of the paths of all differences, those of trials included; past it likewise.
const PATH_BYTES_MAX: usize = 4 << 20;
/// Bytes of a name that are walked past in one step.
const NAME_BYTES_PER_STEP: usize = 8;
/// Rounds of the search for incompatible cycles; each knows at least one pair more.
const ROUNDS_MAX: usize = 64;
/// Nesting of a comparison; deeper schemas count as incompatible.
const DEPTH_MAX: usize = 200;

/// A node and the schema it belongs to: `not` compares in the other direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Side {
    is_new: bool,
    id: NodeId,
}

impl Side {
    const fn old(id: NodeId) -> Self {
        Self { is_new: false, id }
    }

    const fn new(id: NodeId) -> Self {
        Self { is_new: true, id }
    }

    /// Another node of the same schema.
    const fn at(self, id: NodeId) -> Self {
        Self { id, ..self }
    }
}

type Pair = (Side, Side);

/// One run over two models.
struct Comparison<'m> {
    old: &'m Model,
    new: &'m Model,
    policy: CompatibilityPolicy,
    path: Vec<String>,
    /// Pairs being compared, the outermost first.
    stops: Vec<Stop>,
    /// The difference whose trail is asked for.
    wanted: Option<&'m Incompatibility>,
    found: Vec<Difference>,
    /// Pairs being compared further up: a cycle, taken for compatible.
    open: HashSet<Pair>,
    /// Pairs known to be incompatible.
    broken: HashSet<Pair>,
    /// Pairs of `open` that were met again.
    assumed: HashSet<Pair>,
    /// Times that happened to a pair known to be incompatible.
    doubts: usize,
    /// Pairs compared without any difference, if the pairs that were assumed are compatible.
    alike: HashSet<Pair>,
    steps: usize,
    path_bytes: usize,
    /// There were too many steps or bytes: nothing more is compared.
    is_exhausted: bool,
    /// Trials under way: differences found now may be thrown away.
    trials: usize,
    /// Whether `format` refuses records.
    asserts_formats: bool,
    /// Patterns of names; absent for one that does not compile.
    matchers: HashMap<&'m str, Option<Matcher>>,
    apart: Apart,
}

/// A pattern of property names.
struct Matcher {
    matches: Box<dyn Fn(&str) -> bool>,
    cost: Cost,
}

impl<'m> Comparison<'m> {
    fn model(&self, side: Side) -> &'m Model {
        if side.is_new { self.new } else { self.old }
    }

    fn node(&self, side: Side) -> Option<&'m Node> {
        self.model(side).node(side.id)
    }

    fn class(&self, side: Side) -> &'m Class {
        self.node(side).map_or(&Class::False, |node| &node.class)
    }

    /// Counts steps of work.
    fn spend(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps);
        self.is_exhausted |= self.steps > STEPS_MAX;
    }

    fn add(&mut self, kind: &'static Kind) {
        let segments = self.path.iter().map(|segment| segment.len() + 1);
        self.path_bytes += 2 + segments.sum::<usize>();
        self.is_exhausted |= self.path_bytes > PATH_BYTES_MAX;
        if self.is_exhausted {
            return;
        }
        let path = format!("#/{}", self.path.join("/"));
        let trail = self
            .wanted
            .filter(|wanted| wanted.kind == kind.name && wanted.path == path)
            .map(|_| Trail {
                stops: self.stops.clone(),
                segments: self.path.clone(),
            });
        self.found.push(Difference { kind, path, trail });
    }

    /// Adds a difference of one keyword of the current schema.
    fn add_at(&mut self, keyword: &str, kind: &'static Kind) {
        self.within(keyword, |comparison| comparison.add(kind));
    }

    fn within(&mut self, segment: &str, visit: impl FnOnce(&mut Self)) {
        self.spend(segment.len() / NAME_BYTES_PER_STEP);
        if self.is_exhausted {
            return;
        }
        self.path.push(segment.to_owned());
        visit(self);
        self.path.pop();
    }

    fn is_compatible(&self, differences: &[Difference]) -> bool {
        differences
            .iter()
            .all(|difference| difference.kind.is_compatible(self.policy))
    }

    /// Compares on the side: the differences are the caller's to keep or drop.
    fn trial(&mut self, old: Side, new: Side) -> Vec<Difference> {
        let kept = std::mem::take(&mut self.found);
        self.trials += 1;
        self.compare(Some(old), Some(new));
        self.trials -= 1;
        std::mem::replace(&mut self.found, kept)
    }

    /// Compares two schemas, adding what differs at the current path.
    fn compare(&mut self, old: Option<Side>, new: Option<Side>) {
        let (old, new) = match (old, new) {
            (None, None) => return,
            (None, Some(_)) => return self.add(&difference::SCHEMA_ADDED),
            (Some(_), None) => return self.add(&difference::SCHEMA_REMOVED),
            (Some(old), Some(new)) => (old, new),
        };
        let resolve = |side: Side| self.model(side).resolve(side.id).map(|id| side.at(id));
        let (Some(old), Some(new)) = (resolve(old), resolve(new)) else {
            // A reference that only leads to itself has no meaning to compare.
            return self.add(&difference::TYPE_CHANGED);
        };
        let pair = (old, new);
        if self.alike.contains(&pair) {
            self.spend(1);
            return;
        }
        self.spend(PAIR_STEPS);
        if self.is_exhausted {
            return;
        }
        if self.open.len() > DEPTH_MAX {
            return self.add(&difference::TYPE_CHANGED);
        }
        if !self.open.insert(pair) {
            self.assumed.insert(pair);
            if self.broken.contains(&pair) {
                self.doubts += 1;
                if self.trials > 0 {
                    self.add(&difference::TYPE_CHANGED);
                }
            }
            return;
        }
        let (found_before, doubts_before) = (self.found.len(), self.doubts);
        self.stops.push(Stop {
            depth: self.path.len(),
            old: old.id,
            new: new.id,
        });
        self.compare_resolved(old, new);
        self.stops.pop();
        self.open.remove(&pair);
        let found = self.found.get(found_before..).unwrap_or_default();
        if !self.is_compatible(found) {
            self.broken.insert(pair);
        } else if found.is_empty() && self.doubts == doubts_before {
            // What was assumed for that either holds, or is found out and leads to a round more.
            self.alike.insert(pair);
        }
    }

    fn compare_resolved(&mut self, old: Side, new: Side) {
        let (Some(old_node), Some(new_node)) = (self.node(old), self.node(new)) else {
            return self.add(&difference::TYPE_CHANGED);
        };
        let found_before = self.found.len();
        if self.compare_with_member(old, new) {
            self.note_evaluated(old, new, found_before);
            return;
        }
        if std::mem::discriminant(&old_node.class) != std::mem::discriminant(&new_node.class) {
            let widens = matches!(old_node.class, Class::False)
                || matches!(new_node.class, Class::Empty | Class::True)
                || (old_node.is_connect_bytes && new_node.is_connect_bytes);
            self.add(if widens {
                // No difference to the reference, but where it does not compare one counts.
                &difference::WIDENED
            } else {
                &difference::TYPE_CHANGED
            });
            self.note_bytes(old_node, new_node);
            return;
        }
        if old_node.id != new_node.id {
            self.add(&difference::ID_CHANGED);
        }
        if old_node.title != new_node.title {
            self.add(&difference::TITLE_CHANGED);
        }
        if old_node.description != new_node.description {
            self.add(&difference::DESCRIPTION_CHANGED);
        }
        if old_node.default != new_node.default {
            self.add(&difference::DEFAULT_CHANGED);
        }
        match (&old_node.class, &new_node.class) {
            (Class::String(a), Class::String(b)) => self.compare_strings(a, b),
            (Class::Number(a), Class::Number(b)) => self.compare_numbers(a, b),
            (Class::Enum(a), Class::Enum(b)) => self.compare_enums(a, b),
            (Class::Const(a), Class::Const(b)) => self.compare_constants(a, b),
            (Class::Not(a), Class::Not(b)) => self.compare_negations(old.at(*a), new.at(*b)),
            (Class::Object(a), Class::Object(b)) => self.compare_objects((old, a), (new, b)),
            (Class::Array(a), Class::Array(b)) => self.compare_arrays(old, a, new, b),
            (Class::Combined(a, old_members), Class::Combined(b, new_members)) => {
                self.compare_combined(old, (*a, old_members), new, (*b, new_members));
                self.note_evaluated(old, new, found_before);
            }
            (Class::Conditional(a), Class::Conditional(b)) => {
                self.note_conditions(old, *a, new, *b);
            }
            // Booleans and nulls have nothing more.
            _ => {}
        }
    }

    /// `additional…` and `unevaluated…` keywords.
    fn compare_rest(
        &mut self,
        keyword: &str,
        (old, old_rest): (Side, Rest),
        (new, new_rest): (Side, Rest),
        kinds: &RestKinds,
    ) {
        self.within(keyword, |comparison| match (old_rest, new_rest) {
            (Rest::Forbidden, Rest::Forbidden) | (Rest::Allowed, Rest::Allowed) => {}
            (Rest::Forbidden, _) => comparison.add(kinds.added),
            (_, Rest::Forbidden) => comparison.add(kinds.removed),
            (Rest::Allowed, Rest::Schema(_)) => comparison.add(kinds.narrowed),
            (Rest::Schema(_), Rest::Allowed) => comparison.add(kinds.extended),
            (Rest::Schema(a), Rest::Schema(b)) => {
                comparison.compare(Some(old.at(a)), Some(new.at(b)));
            }
        });
    }

    /// Optional bounds: absent, larger, smaller.
    fn compare_bound<T: PartialOrd>(
        &mut self,
        keyword: &str,
        old: Option<&T>,
        new: Option<&T>,
        kinds: &BoundKinds,
    ) {
        let kind = match (old, new) {
            (None, None) => return,
            (None, Some(_)) => kinds.added,
            (Some(_), None) => kinds.removed,
            (Some(old), Some(new)) if new > old => kinds.increased,
            (Some(old), Some(new)) if new < old => kinds.decreased,
            (Some(_), Some(_)) => return,
        };
        self.add_at(keyword, kind);
    }
}

/// The differences of an `additional…` or `unevaluated…` keyword.
struct RestKinds {
    added: &'static Kind,
    removed: &'static Kind,
    extended: &'static Kind,
    narrowed: &'static Kind,
}

/// The differences of a bound.
struct BoundKinds {
    added: &'static Kind,
    removed: &'static Kind,
    increased: &'static Kind,
    decreased: &'static Kind,
}

/// Names the four differences of a bound by their common prefix.
macro_rules! bound_kinds {
    ($added:ident $removed:ident $increased:ident $decreased:ident) => {
        $crate::json::compatibility::BoundKinds {
            added: &$crate::json::compatibility::difference::$added,
            removed: &$crate::json::compatibility::difference::$removed,
            increased: &$crate::json::compatibility::difference::$increased,
            decreased: &$crate::json::compatibility::difference::$decreased,
        }
    };
}
use bound_kinds;

#[cfg(test)]
mod tests;
