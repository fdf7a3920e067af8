//! Whether no value fits two alternatives of a `oneOf`, as far as that is plain: by their types, or
//! by a property that all require and each has other values for. In doubt they overlap.

use std::collections::HashMap;

use serde_json::Value;

use super::{Comparison, Side};
use crate::json::model::{Class, Criterion, NodeId, ObjectClass, Rest};

/// Members of `oneOf` up to which it is found out whether they overlap; more are taken to.
const MEMBERS_MAX: usize = 64;
/// Schemas inside each other that are looked at to tell alternatives apart.
const DEPTH_MAX: usize = 8;
/// Names and values compared to tell alternatives apart, in one comparison; past it they are taken
/// to overlap.
const STEPS_MAX: usize = 2_000_000;

/// What is known of alternatives. Schemas are looked at once, however often alternatives refer to
/// them: without that, the work grows with the power of the depth.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// By the schema that holds the alternatives.
    are_told_apart: HashMap<Side, bool>,
    types: HashMap<Side, u8>,
    steps: usize,
}

impl<'m> Comparison<'m> {
    pub(super) fn are_told_apart(&mut self, combined: Side, members: &[NodeId]) -> bool {
        if let Some(known) = self.apart.are_told_apart.get(&combined) {
            return *known;
        }
        let are_told_apart = members.len() <= MEMBERS_MAX
            && members.iter().enumerate().all(|(position, one)| {
                let mut later = members.iter().skip(position + 1);
                later.all(|other| self.are_disjoint(combined.at(*one), combined.at(*other)))
            });
        self.apart.are_told_apart.insert(combined, are_told_apart);
        are_told_apart
    }

    /// Whether so many names or values may still be compared.
    fn may_compare(&mut self, count: usize) -> bool {
        self.apart.steps = self.apart.steps.saturating_add(count);
        self.apart.steps <= STEPS_MAX
    }

    fn are_disjoint(&mut self, a: Side, b: Side) -> bool {
        if self.types(a, 0) & self.types(b, 0) == 0 {
            return true;
        }
        if self.have_other_literals(a, b) {
            return true;
        }
        let (Some(a_class), Some(b_class)) = (self.typed_object(a), self.typed_object(b)) else {
            return false;
        };
        self.are_told_apart_by_property((a, a_class), (b, b_class))
            || self.are_told_apart_by_property((b, b_class), (a, a_class))
    }

    /// Whether a property that `a` requires is one that `b` has other values for, or refuses.
    fn are_told_apart_by_property(
        &mut self,
        (a, a_class): (Side, &'m ObjectClass),
        (b, b_class): (Side, &'m ObjectClass),
    ) -> bool {
        let names = |class: &ObjectClass| class.properties.len() + class.required.len();
        let each = names(a_class) + names(b_class);
        a_class.required.iter().any(|name| {
            let of = |class: &ObjectClass| {
                let mut properties = class.properties.iter();
                properties.find_map(|(own, id)| (own == name).then_some(*id))
            };
            self.may_compare(each)
                && match (of(a_class), of(b_class)) {
                    (Some(one), Some(other)) => {
                        b_class.required.contains(name)
                            && self.have_other_literals(a.at(one), b.at(other))
                    }
                    (_, None) => {
                        b_class.additional == Rest::Forbidden && b_class.patterns.is_empty()
                    }
                    (None, Some(_)) => false,
                }
        })
    }

    /// Both are enumerations, and have no value in common.
    fn have_other_literals(&mut self, a: Side, b: Side) -> bool {
        let (Some(a), Some(b)) = (self.literals(a), self.literals(b)) else {
            return false;
        };
        let is_same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() < f64::EPSILON * a.abs().max(1.0),
            // Containers may hold numbers that are written differently.
            _ => a == b || a.is_array() && b.is_array() || a.is_object() && b.is_object(),
        };
        self.may_compare(a.len().saturating_mul(b.len()))
            && !a
                .iter()
                .any(|one| b.iter().any(|other| is_same(one, other)))
    }

    fn literals(&self, side: Side) -> Option<&'m [Value]> {
        let side = side.at(self.model(side).resolve(side.id)?);
        match self.class(side) {
            Class::Enum(values) => Some(values),
            Class::Const(value) => Some(std::slice::from_ref(value)),
            Class::Combined(Criterion::AllOf, members) => {
                let mut members = members.iter();
                members.find_map(|id| match &self.model(side).node(*id)?.class {
                    Class::Enum(values) => Some(values.as_slice()),
                    Class::Const(value) => Some(std::slice::from_ref(value)),
                    _ => None,
                })
            }
            _ => None,
        }
    }

    fn typed_object(&self, side: Side) -> Option<&'m ObjectClass> {
        let id = self.model(side).resolve(side.id)?;
        match self.class(side.at(id)) {
            Class::Object(class) if class.is_typed => Some(class),
            _ => None,
        }
    }

    /// The types a schema allows, as bits; more than it does where that is not plain.
    fn types(&mut self, side: Side, depth: usize) -> u8 {
        const ALL: u8 = u8::MAX;
        let Some(id) = self.model(side).resolve(side.id) else {
            return ALL;
        };
        let side = side.at(id);
        if let Some(known) = self.apart.types.get(&side) {
            return *known;
        }
        if depth >= DEPTH_MAX {
            return ALL;
        }
        // A schema that holds itself allows all types there.
        self.apart.types.insert(side, ALL);
        let if_typed = |is_typed: bool, bit: u8| if is_typed { bit } else { ALL };
        let types = match self.class(side) {
            Class::False => 0,
            Class::Null => type_of(&Value::Null),
            Class::Boolean => type_of(&Value::Bool(true)),
            Class::Number(class) => if_typed(class.is_typed, 4),
            Class::String(class) => if_typed(class.is_typed, 8),
            Class::Array(class) => if_typed(class.is_typed, 16),
            Class::Object(class) => if_typed(class.is_typed, 32),
            Class::Enum(values) => values.iter().fold(0, |set, value| set | type_of(value)),
            Class::Const(value) => type_of(value),
            Class::Combined(criterion, members) => {
                let sets = members.iter().map(|id| self.types(side.at(*id), depth + 1));
                if *criterion == Criterion::AllOf {
                    sets.fold(ALL, |all, set| all & set)
                } else {
                    sets.fold(0, |all, set| all | set)
                }
            }
            _ => ALL,
        };
        self.apart.types.insert(side, types);
        types
    }
}

/// The bit of a value's type.
const fn type_of(value: &Value) -> u8 {
    match value {
        Value::Null => 1,
        Value::Bool(_) => 2,
        Value::Number(_) => 4,
        Value::String(_) => 8,
        Value::Array(_) => 16,
        Value::Object(_) => 32,
    }
}
