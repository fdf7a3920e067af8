//! How large the regular expressions of a schema become when they are compiled.
//!
//! A repetition of a few characters of text becomes a copy of the repeated part for each time, and
//! every place that a pattern is written at is compiled by itself. The size of one is limited by
//! the engine; the size of all is foretold here, before any of them is compiled.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::schema::ParseError;

/// The regular expressions of a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PatternTotals {
    pub(super) count: usize,
    /// States of their machines, roughly.
    states: u64,
}

/// States of all regular expressions of a schema: some 20 MiB where it is compiled twice.
const STATES_MAX: u64 = 300_000;

impl PatternTotals {
    pub(super) fn add(&mut self, pattern: &str) {
        self.count += 1;
        self.states = self.states.saturating_add(states_of_text(pattern));
    }

    /// Refuses what would take too much memory.
    pub(super) fn check(&self) -> Result<(), ParseError> {
        if self.states <= STATES_MAX {
            return Ok(());
        }
        Err(ParseError::new(format!(
            "the regular expressions of the schema have some {} states together, at most \
             {STATES_MAX} are compiled",
            self.states
        )))
    }
}

fn states_of_text(pattern: &str) -> u64 {
    let length = u64::try_from(pattern.len()).unwrap_or(u64::MAX);
    match regex_syntax::parse(pattern) {
        Ok(hir) => states(&hir).max(length),
        // Of another dialect: every character as often as the counts say.
        Err(_) => counts(pattern).fold(length, u64::saturating_mul),
    }
}

/// The numbers written in braces.
fn counts(pattern: &str) -> impl Iterator<Item = u64> {
    pattern.split('{').skip(1).filter_map(|rest| {
        let inside = rest.split('}').next()?;
        let numbers = inside.split(',').filter_map(|number| number.parse().ok());
        numbers.max()
    })
}

fn states(hir: &Hir) -> u64 {
    let sum = |parts: &[Hir]| {
        let parts = parts.iter().map(states);
        parts.fold(1, u64::saturating_add)
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => u64::try_from(literal.0.len()).unwrap_or(u64::MAX),
        HirKind::Class(Class::Unicode(class)) => {
            u64::try_from(class.ranges().len()).unwrap_or(u64::MAX)
        }
        HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            states(&repetition.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply() {
        for (pattern, least, most) in [
            ("^[a-z]+$", 3, 10),
            ("a{1000}", 1000, 1100),
            ("(a{1000}){1000}", 1_000_000, 1_100_000),
            ("^[\\p{L} ]{1,200}$", 50_000, 300_000),
            ("(?<!a)(b{500}){500}", 250_000, u64::MAX),
            ("((((a{9999}){9999}){9999}){9999}){9999}", 300_001, u64::MAX),
        ] {
            let found = states_of_text(pattern);
            assert!((least..=most).contains(&found), "{pattern}: {found}");
        }
    }

    #[test]
    fn all_of_a_schema_count() {
        let mut totals = PatternTotals::default();
        for _ in 0..200 {
            totals.add("a{1000}");
        }
        assert_eq!(totals.check(), Ok(()));
        for _ in 0..200 {
            totals.add("a{1000}");
        }
        assert!(totals.check().is_err());
    }
}
