//! Every difference between two JSON Schemas, and which of them break a reader.
//!
//! Follows the reference: what it compares is compared, what it never looks at (`format`,
//! `if`/`then`/`else`, `contains`, `propertyNames`, changed `patternProperties`) is no difference
//! but a caveat, see `caveat.rs`. Where the reference gives no answer at all, the answer here is an
//! incompatibility.
//! Next: `scalar.rs`, `object.rs`, `array.rs`, `combined.rs`, one per group of classes.

mod array;
mod caveat;
mod combined;
mod difference;
mod object;
mod scalar;

use std::collections::{HashMap, HashSet};

use super::model::{Class, Model, Node, NodeId, Rest};
use super::parse::JsonSchema;
use crate::compatibility::{CompatibilityPolicy, Incompatibility};

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
        return vec![unjudged()];
    };
    let mut broken = HashSet::new();
    let mut matchers = HashMap::new();
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
            assumptions: 0,
            alike: HashSet::new(),
            steps,
            path_bytes,
            is_exhausted: false,
            trials: 0,
            asserts_formats: caveat::asserts_formats(reader),
            matchers,
        };
        if reader.documents().draft != writer.documents().draft {
            comparison.add(&difference::DRAFT_NOT_COMPARED);
        }
        comparison.compare(Some(Side::old(old.root)), Some(Side::new(new.root)));
        if comparison.is_exhausted {
            // What was found is so; the rest is not judged.
            comparison.found.push(unjudged());
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
        broken.extend(doubtful);
    }
    // Still in doubt: not judged, so not allowed.
    vec![unjudged()]
}

/// The answer for schemas that could not be compared.
fn unjudged() -> Difference {
    Difference {
        kind: &difference::TYPE_CHANGED,
        path: "#/".to_owned(),
        trail: None,
    }
}

/// Pairs of subschemas looked at in one comparison; past it the schemas count as incompatible.
const STEPS_MAX: usize = 100_000;
/// Bytes of the paths of all differences, those of trials included; past it likewise.
const PATH_BYTES_MAX: usize = 4 << 20;
/// Bytes of a name that cost as much as a pair.
const NAME_BYTES_PER_STEP: usize = 64;
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
    /// Times that happened.
    assumptions: usize,
    /// Pairs compared without any difference, and without assuming anything.
    alike: HashSet<Pair>,
    steps: usize,
    path_bytes: usize,
    /// There were too many steps or bytes: nothing more is compared.
    is_exhausted: bool,
    /// Trials under way: differences found now may be thrown away.
    trials: usize,
    /// Whether `format` refuses records.
    asserts_formats: bool,
    matchers: HashMap<&'m str, Option<Matcher>>,
}

/// Whether a property name matches a pattern; absent for a pattern that does not compile.
type Matcher = Box<dyn Fn(&str) -> bool>;

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
            return;
        }
        self.spend(1);
        if self.is_exhausted {
            return;
        }
        if self.open.len() > DEPTH_MAX {
            return self.add(&difference::TYPE_CHANGED);
        }
        if !self.open.insert(pair) {
            self.assumed.insert(pair);
            self.assumptions += 1;
            if self.trials > 0 && self.broken.contains(&pair) {
                self.add(&difference::TYPE_CHANGED);
            }
            return;
        }
        let (found_before, assumed_before) = (self.found.len(), self.assumptions);
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
        } else if found.is_empty() && self.assumptions == assumed_before {
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
mod tests {
    use super::*;
    use crate::schema::ParseMode;

    fn schema(text: &str) -> JsonSchema {
        JsonSchema::parse(text, &[], ParseMode::New).expect(text)
    }

    #[test]
    fn messages_are_the_reference_s() {
        let old = schema(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#);
        for (new, message) in [
            (
                r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#,
                r#"{errorType:"TYPE_CHANGED", description:"A type at path '#/properties/a' is different between the %s schema and the %s schema'}"#,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}"#,
                r#"{errorType:"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", description:"The %s schema has an open content model and has a property or item at path '#/properties/b' which is missing in the %s schema'}"#,
            ),
        ] {
            let found: Vec<String> = compare(&schema(new), &old, CompatibilityPolicy::Strict)
                .into_iter()
                .map(|incompatibility| incompatibility.message)
                .collect();
            assert_eq!(found, [message]);
        }
    }

    #[test]
    fn recursive_schemas_compare() {
        let tree = |leaf: &str| {
            schema(&format!(
                r##"{{"type":"object","additionalProperties":false,"properties":{{
                    "value":{{"type":"{leaf}"}},
                    "next":{{"oneOf":[{{"type":"null"}},{{"$ref":"#"}}]}}}}}}"##
            ))
        };
        let verdict = |new: &JsonSchema, old: &JsonSchema| {
            compare(new, old, CompatibilityPolicy::Strict).is_empty()
        };
        assert!(verdict(&tree("integer"), &tree("integer")));
        assert!(verdict(&tree("number"), &tree("integer")));
        assert!(!verdict(&tree("integer"), &tree("number")));
    }

    #[test]
    fn shared_definitions_do_not_multiply() {
        let layers = |leaf: &str| {
            let definitions: Vec<String> = (0..40)
                .map(|index| {
                    let next = index + 1;
                    format!(
                        r##""d{index}":{{"type":"object","properties":{{"x":{{"$ref":"#/definitions/d{next}"}},"y":{{"$ref":"#/definitions/d{next}"}}}}}}"##
                    )
                })
                .collect();
            schema(&format!(
                r##"{{"$ref":"#/definitions/d0","definitions":{{{},"d40":{{"type":"{leaf}"}}}}}}"##,
                definitions.join(",")
            ))
        };
        let same = compare(
            &layers("string"),
            &layers("string"),
            CompatibilityPolicy::Strict,
        );
        assert!(same.is_empty());
        let changed = compare(
            &layers("integer"),
            &layers("string"),
            CompatibilityPolicy::Strict,
        );
        assert!(!changed.is_empty());
    }
}
