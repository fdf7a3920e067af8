//! Strings, numbers, enumerations, constants and negations.

use std::collections::HashSet;

use serde_json::{Number, Value};

use super::difference::{self, Difference};
use super::{Comparison, NAMES_PER_STEP, Side, bound_kinds};
use crate::json::model::{NumberClass, StringClass};

impl Comparison<'_> {
    pub(super) fn compare_strings(&mut self, old: &StringClass, new: &StringClass) {
        self.note_type(old.is_typed, new.is_typed);
        self.note_format(old, new);
        self.compare_bound(
            "maxLength",
            old.max_length.as_ref(),
            new.max_length.as_ref(),
            &bound_kinds!(MAX_LENGTH_ADDED MAX_LENGTH_REMOVED MAX_LENGTH_INCREASED MAX_LENGTH_DECREASED),
        );
        self.compare_bound(
            "minLength",
            old.min_length.as_ref(),
            new.min_length.as_ref(),
            &bound_kinds!(MIN_LENGTH_ADDED MIN_LENGTH_REMOVED MIN_LENGTH_INCREASED MIN_LENGTH_DECREASED),
        );
        let kind = match (&old.pattern, &new.pattern) {
            (None, Some(_)) => &difference::PATTERN_ADDED,
            (Some(_), None) => &difference::PATTERN_REMOVED,
            (Some(old), Some(new)) if old != new => &difference::PATTERN_CHANGED,
            _ => return,
        };
        self.add_at("pattern", kind);
    }

    pub(super) fn compare_numbers(&mut self, old: &NumberClass, new: &NumberClass) {
        self.note_type(old.is_typed, new.is_typed);
        let bound = |number: &Option<Number>| number.as_ref().map(Bound::of);
        self.compare_bound(
            "maximum",
            bound(&old.maximum).as_ref(),
            bound(&new.maximum).as_ref(),
            &bound_kinds!(MAXIMUM_ADDED MAXIMUM_REMOVED MAXIMUM_INCREASED MAXIMUM_DECREASED),
        );
        self.compare_bound(
            "minimum",
            bound(&old.minimum).as_ref(),
            bound(&new.minimum).as_ref(),
            &bound_kinds!(MINIMUM_ADDED MINIMUM_REMOVED MINIMUM_INCREASED MINIMUM_DECREASED),
        );
        self.compare_exclusive_maximum(
            bound(&old.exclusive_maximum),
            bound(&new.exclusive_maximum),
            bound(&new.maximum),
        );
        self.compare_bound(
            "exclusiveMinimum",
            bound(&old.exclusive_minimum).as_ref(),
            bound(&new.exclusive_minimum).as_ref(),
            &bound_kinds!(EXCLUSIVE_MINIMUM_ADDED EXCLUSIVE_MINIMUM_REMOVED EXCLUSIVE_MINIMUM_INCREASED EXCLUSIVE_MINIMUM_DECREASED),
        );
        self.compare_multiples(old.multiple_of.as_ref(), new.multiple_of.as_ref());
        match (old.is_integer, new.is_integer) {
            (true, false) => self.add(&difference::TYPE_EXTENDED),
            (false, true) => self.add(&difference::TYPE_NARROWED),
            _ => {}
        }
    }

    /// Like other bounds, but the reference looks for a decrease against the new `maximum` when
    /// there is one; verdicts have to agree with it, so the slip is kept.
    fn compare_exclusive_maximum(
        &mut self,
        old: Option<Bound>,
        new: Option<Bound>,
        new_maximum: Option<Bound>,
    ) {
        let kind = match (old, new) {
            (None, Some(_)) => &difference::EXCLUSIVE_MAXIMUM_ADDED,
            (Some(_), None) => &difference::EXCLUSIVE_MAXIMUM_REMOVED,
            (Some(old), Some(new)) if new > old => &difference::EXCLUSIVE_MAXIMUM_INCREASED,
            (Some(old), Some(new)) if new < old && new_maximum.is_none_or(|max| old > max) => {
                &difference::EXCLUSIVE_MAXIMUM_DECREASED
            }
            (Some(old), Some(new)) if new < old => &difference::EXCLUSIVE_MAXIMUM_NOT_COMPARED,
            _ => return,
        };
        self.add_at("exclusiveMaximum", kind);
    }

    fn compare_multiples(&mut self, old: Option<&Number>, new: Option<&Number>) {
        let kind = match (old, new) {
            (None, Some(_)) => &difference::MULTIPLE_OF_ADDED,
            (Some(_), None) => &difference::MULTIPLE_OF_REMOVED,
            (Some(old), Some(new)) => {
                let (old, new) = (Bound::of(old), Bound::of(new));
                if old == new {
                    return;
                }
                if new.divides(old) {
                    &difference::MULTIPLE_OF_REDUCED
                } else if old.divides(new) {
                    &difference::MULTIPLE_OF_EXPANDED
                } else {
                    &difference::MULTIPLE_OF_CHANGED
                }
            }
            (None, None) => return,
        };
        self.add_at("multipleOf", kind);
    }

    pub(super) fn compare_enums(&mut self, old: &[Value], new: &[Value]) {
        self.spend((old.len() + new.len()) / NAMES_PER_STEP);
        if self.is_exhausted {
            return;
        }
        let (old, new) = (distinct(old), distinct(new));
        let kind = match (old.is_subset(&new), new.is_subset(&old)) {
            (true, true) => return,
            (true, false) => &difference::ENUM_ARRAY_EXTENDED,
            (false, true) => &difference::ENUM_ARRAY_NARROWED,
            (false, false) => &difference::ENUM_ARRAY_CHANGED,
        };
        self.add_at("enum", kind);
    }

    pub(super) fn compare_constants(&mut self, old: &Value, new: &Value) {
        if old != new {
            self.add_at("const", &difference::ENUM_ARRAY_CHANGED);
        }
    }

    /// What is negated grows or shrinks: compared backwards, because more negated means less
    /// allowed.
    pub(super) fn compare_negations(&mut self, old: Side, new: Side) {
        let (Some(old_node), Some(new_node)) = (self.node(old), self.node(new)) else {
            return;
        };
        self.path.push("not".to_owned());
        let mut backwards: Vec<Difference> = self.trial(new, old);
        if old_node.fingerprint == new_node.fingerprint && !old_node.fingerprint.never_equal {
            // Written the same, but what is referred to may have changed.
            if !backwards.is_empty() {
                self.add(&difference::NEGATION_NOT_COMPARED);
            }
            self.path.pop();
            return;
        }
        let kind = if self.is_compatible(&backwards) {
            &difference::NOT_TYPE_NARROWED
        } else {
            &difference::NOT_TYPE_EXTENDED
        };
        backwards.retain(|difference| difference.kind.is_unseen());
        self.found.extend(backwards);
        self.add(kind);
        self.path.pop();
    }
}

/// Values by a text that is the same for equal ones: the members of objects in the order of names.
fn distinct(values: &[Value]) -> HashSet<String> {
    fn write(value: &Value, text: &mut String) {
        match value {
            Value::Array(items) => {
                text.push('[');
                for item in items {
                    write(item, text);
                    text.push(',');
                }
                text.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<(&String, &Value)> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                text.push('{');
                for (name, member) in members {
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    write(member, text);
                    text.push(',');
                }
                text.push('}');
            }
            scalar => text.push_str(&scalar.to_string()),
        }
    }
    values
        .iter()
        .map(|value| {
            let mut text = String::new();
            write(value, &mut text);
            text
        })
        .collect()
}

/// A number to compare: exact for integers of 64 bits, a double otherwise.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Integer(i128),
    Double(f64),
}

impl Bound {
    fn of(number: &Number) -> Self {
        let integer = number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from));
        match integer {
            Some(integer) => Self::Integer(integer),
            None => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "only compared with a number that is a double already"
    )]
    const fn as_double(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Double(double) => double,
        }
    }

    fn divides(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer(0), _) => false,
            (Self::Integer(a), Self::Integer(b)) => b % a == 0,
            (a, b) => {
                // Decimal fractions are not exact in doubles: 0.3 is three times 0.1.
                let quotient = b.as_double() / a.as_double();
                (quotient - quotient.round()).abs() <= quotient.abs() * 1e-12
                    && quotient.round() != 0.0
            }
        }
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            (a, b) => a.as_double().partial_cmp(&b.as_double()),
        }
    }
}
