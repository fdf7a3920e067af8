//! Numbers and strings that fit, those on the edges of the [`Pool`](super::pool::Pool) included.

use serde_json::{Number, Value};

use super::super::model::{NumberClass, StringClass};
use super::super::validate::pattern_matcher;
use super::sample::{LENGTH_MAX, Maker, Matcher};
use super::text;

impl Maker<'_> {
    pub(super) fn numbers(&self, classes: &[&NumberClass]) -> Vec<Value> {
        let mut values: Vec<Value> = Vec::new();
        let mut add = |value: Value| {
            let fits = value
                .as_f64()
                .is_some_and(|number| classes.iter().all(|class| number_fits(class, number)));
            if fits && !values.contains(&value) {
                values.push(value);
            }
        };
        let own = classes.iter().flat_map(|class| {
            let bounds = [
                &class.minimum,
                &class.maximum,
                &class.exclusive_minimum,
                &class.exclusive_maximum,
                &class.multiple_of,
            ];
            bounds.into_iter().flatten().cloned()
        });
        let bounds: Vec<Number> = own.chain(self.pool.numbers.iter().cloned()).collect();
        let multiples: Vec<f64> = classes
            .iter()
            .filter_map(|class| class.multiple_of.as_ref()?.as_f64())
            .filter(|multiple| *multiple > 0.0)
            .collect();
        for number in [0.0, 1.0, -1.0, 0.5, 2.0] {
            add(number_value(number));
        }
        for bound in &bounds {
            add(Value::Number(bound.clone()));
            if let Some(integer) = bound.as_i64() {
                for neighbour in [integer.checked_add(1), integer.checked_sub(1)] {
                    neighbour
                        .into_iter()
                        .for_each(|number| add(Value::from(number)));
                }
            }
            let Some(number) = bound.as_f64() else {
                continue;
            };
            for delta in [0.5, -0.5, 1.0, -1.0, 0.25, -0.25] {
                add(number_value(number + delta));
            }
            for multiple in &multiples {
                let steps = (number / multiple).floor();
                for steps in [steps - 1.0, steps, steps + 1.0, steps + 2.0] {
                    add(number_value(steps * multiple));
                }
            }
        }
        for multiple in &multiples {
            for steps in 1..12 {
                add(number_value(f64::from(steps) * multiple));
                add(number_value(f64::from(-steps) * multiple));
            }
        }
        for number in [3.0, 0.25, 7.0, 1e6, -1e6, 1.5, 1e300] {
            add(number_value(number));
        }
        values
    }

    pub(super) fn strings(&mut self, classes: &[&StringClass], most: usize) -> Vec<Value> {
        let length = |bound: Option<i64>| bound.and_then(|bound| usize::try_from(bound).ok());
        let least = classes
            .iter()
            .filter_map(|class| length(class.min_length))
            .max();
        let greatest = classes
            .iter()
            .filter_map(|class| length(class.max_length))
            .min();
        let mut lengths: Vec<usize> = least.into_iter().collect();
        lengths.extend([0, 1, 2, 3, 4]);
        lengths.extend(greatest);
        lengths.extend(&self.pool.lengths);
        let mut candidates: Vec<String> = Vec::new();
        let patterns: Vec<&String> = classes
            .iter()
            .filter_map(|class| class.pattern.as_ref())
            .collect();
        for class in classes {
            if let Some(format) = &class.format {
                let known = text::of_format(format).iter().copied();
                candidates.extend(known.map(str::to_owned));
            }
        }
        for pattern in &patterns {
            candidates.extend(text::matching(pattern, &lengths));
        }
        // What matches an open pattern still does with more at its end, or before it.
        let stems: Vec<String> = candidates.iter().take(4).cloned().collect();
        for stem in stems.iter().map(String::as_str).chain([""]) {
            for length in &lengths {
                let missing = length.saturating_sub(stem.chars().count());
                if missing > 0 && *length <= LENGTH_MAX {
                    candidates.push(format!("{stem}{}", "a".repeat(missing)));
                    if !stem.is_empty() {
                        candidates.push(format!("{}{stem}", "a".repeat(missing)));
                    }
                }
            }
        }
        candidates.push(String::new());
        candidates.extend(["~", "0", "é", "B b", "a-1"].map(str::to_owned));
        candidates.extend(self.pool.texts.iter().cloned());
        let literals = self.pool.literals.iter().filter_map(Value::as_str);
        candidates.extend(literals.map(str::to_owned));
        let mut values: Vec<Value> = Vec::new();
        for candidate in candidates {
            if values.len() >= most {
                break;
            }
            let length = candidate.chars().count();
            let fits = least.is_none_or(|least| length >= least)
                && greatest.is_none_or(|greatest| length <= greatest)
                && patterns
                    .iter()
                    .all(|pattern| self.is_match(pattern, &candidate));
            let value = Value::String(candidate);
            if fits && !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// Whether a pattern is found in a text; a pattern that does not compile is taken for found.
    pub(super) fn is_match(&mut self, pattern: &str, text: &str) -> bool {
        if !self.matchers.contains_key(pattern) {
            let matcher = pattern_matcher(pattern).map(|matches| Box::new(matches) as Matcher);
            self.matchers.insert(pattern.to_owned(), matcher);
        }
        match self.matchers.get(pattern) {
            Some(Some(matches)) => matches(text),
            _ => true,
        }
    }
}

/// Integers as integers, fractions with no more digits than were meant.
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole, and below the precision of a double"
)]
fn number_value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Value::from(number as i64);
    }
    let rounded = format!("{number:.12e}").parse().unwrap_or(number);
    Value::from(rounded)
}

/// Roughly: bounds beyond a double's precision are left to the judgement of whole records.
fn number_fits(class: &NumberClass, number: f64) -> bool {
    let bound = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64);
    let is_multiple = bound(&class.multiple_of).is_none_or(|multiple| {
        let quotient = number / multiple;
        (quotient - quotient.round()).abs() < 1e-9
    });
    is_multiple
        && (!class.is_integer || number.fract() == 0.0)
        && bound(&class.minimum).is_none_or(|minimum| number >= minimum)
        && bound(&class.maximum).is_none_or(|maximum| number <= maximum)
        && bound(&class.exclusive_minimum).is_none_or(|minimum| number > minimum)
        && bound(&class.exclusive_maximum).is_none_or(|maximum| number < maximum)
}
