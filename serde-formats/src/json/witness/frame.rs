//! From a trail of compared schemas to whole records: which value a difference is about, and what
//! has to stand around it.

use serde_json::Value;

use super::super::compatibility::Trail;
use super::super::explain::Refusal;
use super::super::model::{Model, NodeId};
use super::pool::Pool;
use super::sample::{Maker, Member};

/// How one gets from a value to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    /// A member that no keyword names.
    OtherMember,
    Element(usize),
    /// An element of any position.
    AnyElement,
    /// An element beyond the positions that have schemas of their own.
    OtherElement,
}

/// One value of the record, from the root to where the schemas differ.
#[derive(Debug, Default)]
struct Level {
    /// The writer's schemas met for this value.
    nodes: Vec<NodeId>,
    /// Members that must be there for the difference to matter.
    present: Vec<String>,
}

/// The levels of a record and the steps between them: one step fewer than levels.
#[derive(Debug)]
pub(super) struct Frame {
    levels: Vec<Level>,
    steps: Vec<Step>,
    /// What of the path is left at the last level: a keyword, or a member that one side lacks.
    tail: Vec<String>,
    /// Innermost pair of schemas.
    old: NodeId,
    new: NodeId,
}

/// Ways tried to build a value around another.
const WAYS_MAX: usize = 4;

impl Frame {
    pub(super) fn new(old: &Model, new: &Model, trail: &Trail) -> Self {
        let mut frame = Self {
            levels: vec![Level::default()],
            steps: Vec::new(),
            tail: Vec::new(),
            old: old.root,
            new: new.root,
        };
        let mut at = 0;
        for stop in &trail.stops {
            let segments = trail.segments.get(at..stop.depth).unwrap_or_default();
            frame.advance(segments);
            if let Some(level) = frame.levels.last_mut() {
                level.nodes.push(stop.old);
            }
            (frame.old, frame.new) = (stop.old, stop.new);
            at = stop.depth;
        }
        if trail.stops.is_empty() {
            frame.levels = vec![Level {
                nodes: vec![old.root],
                present: Vec::new(),
            }];
        }
        frame.tail = trail.segments.get(at..).unwrap_or_default().to_vec();
        frame
    }

    /// Goes where path segments between two pairs of schemas lead.
    fn advance(&mut self, segments: &[String]) {
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let step = match words.as_slice() {
            ["properties", name] => Step::Member((*name).to_owned()),
            ["additionalProperties" | "unevaluatedProperties"] => Step::OtherMember,
            ["additionalItems" | "unevaluatedItems"] => Step::OtherElement,
            ["items"] => Step::AnyElement,
            ["items", position] => match position.parse() {
                Ok(position) => Step::Element(position),
                Err(_) => return,
            },
            ["dependencies", name] => {
                if let Some(level) = self.levels.last_mut() {
                    level.present.push((*name).to_owned());
                }
                return;
            }
            // Members of combined schemas speak of the same value.
            _ => return,
        };
        self.steps.push(step);
        self.levels.push(Level::default());
    }

    /// The edges of both schemas where they differ.
    pub(super) fn pool(&self, old: &Model, new: &Model) -> Pool {
        Pool::of(&[(new, self.new), (old, self.old)])
    }

    /// Values for the last level: first those that the difference speaks of, then any.
    pub(super) fn values(&self, maker: &mut Maker<'_>, most: usize) -> Vec<Value> {
        let Some(level) = self.levels.last() else {
            return Vec::new();
        };
        let mut values = Vec::new();
        let tail: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        for shape in maker.shapes(&level.nodes, &level.present) {
            let names = match tail.as_slice() {
                ["properties" | "dependencies", name] => vec![(*name).to_owned()],
                ["additionalProperties" | "unevaluatedProperties"] => maker.fresh_names(&shape),
                _ => break,
            };
            for name in &names {
                let members = match maker.member(&shape, name) {
                    Member::Forbidden => continue,
                    Member::Schemas(nodes) => maker.values(&nodes, most / 8, 1),
                };
                for member in members {
                    values.extend(maker.object_with(&shape, Some((name, &member)), 0));
                }
            }
        }
        values.extend(maker.values_with(&level.nodes, &level.present, most, 0));
        values.truncate(most);
        values
    }

    /// Builds the record around a value of the last level, in a few ways.
    pub(super) fn embed(&self, maker: &mut Maker<'_>, value: Value, records: &mut Vec<Value>) {
        let mut values = vec![value];
        for (level, step) in self.levels.iter().zip(&self.steps).rev() {
            let mut wider = Vec::new();
            let shapes = maker.shapes(&level.nodes, &level.present);
            for shape in shapes.iter().take(WAYS_MAX) {
                for value in &values {
                    let built = match step {
                        Step::Member(name) => maker.object_with(shape, Some((name, value)), 0),
                        Step::OtherMember => {
                            let names = maker.fresh_names(shape);
                            let allowed = names.iter().find(|name| {
                                matches!(maker.member(shape, name), Member::Schemas(_))
                            });
                            allowed
                                .and_then(|name| maker.object_with(shape, Some((name, value)), 0))
                        }
                        Step::Element(position) => maker.array_with(shape, *position, value),
                        Step::AnyElement => maker.array_with(shape, 0, value),
                        Step::OtherElement => {
                            let positions = shape.arrays.iter().map(|class| class.items.len());
                            maker.array_with(shape, positions.max().unwrap_or(0), value)
                        }
                    };
                    wider.extend(built);
                }
            }
            wider.truncate(WAYS_MAX * WAYS_MAX);
            values = wider;
        }
        records.append(&mut values);
    }

    /// Whether a refusal speaks of the value where the schemas differ, of something in it, or of
    /// alternatives it belongs to.
    pub(super) fn is_at_difference(&self, refusal: &Refusal) -> bool {
        let is_same_way =
            self.steps
                .iter()
                .zip(&refusal.segments)
                .all(|(step, segment)| match step {
                    Step::Member(name) => name == segment,
                    Step::Element(position) => *segment == position.to_string(),
                    Step::OtherMember | Step::AnyElement | Step::OtherElement => true,
                });
        is_same_way
            && (refusal.segments.len() >= self.steps.len()
                || APPLICATORS.contains(&refusal.keyword.as_str()))
    }
}

/// Keywords that refuse a value because of what is in it.
const APPLICATORS: &[&str] = &[
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "contains",
    "dependencies",
    "dependentSchemas",
    "if",
    "propertyNames",
    "additionalProperties",
    "additionalItems",
    "unevaluatedProperties",
    "unevaluatedItems",
];
