//! How large the regular expressions of a schema become, and what matching them can cost.
//!
//! A repetition of a few characters of text becomes a copy of the repeated part for each time, and
//! every place that a pattern is written at is compiled by itself. The size of one is limited by
//! the engine; the size of all is foretold here, before any of them is compiled. So is the cost of
//! a character of text, which `validate.rs` counts for every text of a payload.
//! Next: `patterns/width.rs`.

mod width;

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::schema::ParseError;

/// The regular expressions of a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PatternTotals {
    pub(super) count: usize,
    /// States of their machines, roughly.
    states: u64,
    /// What matching costs.
    pub(super) costs: Costs,
}

/// What it costs to match texts of a payload with the patterns of its schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Costs {
    /// A text with the dearest of them.
    pub(super) text: Cost,
    /// A member's name with all of one object.
    pub(super) name: Cost,
}

/// What matching a text costs, in places of the pattern that a byte is compared at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// For every byte.
    width: u64,
    /// The pattern looks ahead or back, so the rest of the text may be read at every byte.
    is_squared: bool,
}

/// States of all regular expressions of a schema: some 20 MiB where it is compiled twice.
const STATES_MAX: u64 = 300_000;
/// Places that a text can be in at once in one pattern of a new schema: more, and already a text of
/// 64 KiB would pass what may be spent on a payload.
const WIDTH_MAX: u64 = 8192;
/// Characters of a pattern shown in an error.
const SHOWN_CHARS_MAX: usize = 200;

impl Cost {
    /// For a text of `length` bytes.
    #[inline]
    pub(super) const fn of(self, length: usize) -> u64 {
        let length = length as u64;
        let width = if self.is_squared {
            self.width.saturating_add(length)
        } else {
            self.width
        };
        width.saturating_mul(length)
    }

    /// Whether nothing is ever matched.
    #[inline]
    pub(super) const fn is_nothing(self) -> bool {
        self.width == 0
    }

    /// Of one pattern.
    pub(super) fn of_pattern(pattern: &str) -> Self {
        match regex_syntax::parse(pattern) {
            Ok(hir) => Self {
                width: width::width(&hir).max(1),
                is_squared: false,
            },
            Err(_) => Self {
                width: states_by_counts(pattern).clamp(1, WIDTH_MAX),
                is_squared: true,
            },
        }
    }

    /// Of the dearer of two.
    fn most(self, other: Self) -> Self {
        Self {
            width: self.width.max(other.width),
            is_squared: self.is_squared || other.is_squared,
        }
    }

    /// Of one and then the other.
    fn both(self, other: Self) -> Self {
        Self {
            width: self.width.saturating_add(other.width),
            is_squared: self.is_squared || other.is_squared,
        }
    }
}

impl PatternTotals {
    /// Adds a pattern, written at one place.
    pub(super) fn add(&mut self, pattern: &str) {
        self.count += 1;
        self.states = self.states.saturating_add(states_of_text(pattern));
        if self.states <= STATES_MAX {
            self.costs.text = self.costs.text.most(Cost::of_pattern(pattern));
        }
    }

    /// The names of one object are matched with these.
    pub(super) fn add_names<'p>(&mut self, patterns: impl Iterator<Item = &'p str>) {
        if self.states > STATES_MAX {
            return;
        }
        let all = patterns.fold(Cost::default(), |all, pattern| {
            all.both(Cost::of_pattern(pattern))
        });
        self.costs.name = self.costs.name.most(all);
    }

    /// Names are judged as texts are.
    pub(super) fn judge_names(&mut self) {
        self.costs.name = self.costs.name.both(self.costs.text);
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

/// Why a pattern of a new schema is refused for what it would cost, in words.
pub(super) fn too_costly(pattern: &str) -> Option<String> {
    let shown: String = pattern.chars().take(SHOWN_CHARS_MAX).collect();
    let states = states_of_text(pattern);
    if states > STATES_MAX {
        return Some(format!(
            "regular expression {shown:?} has some {states} states, at most {STATES_MAX} are \
             compiled; write smaller counts"
        ));
    }
    let width = Cost::of_pattern(pattern).width;
    (width > WIDTH_MAX).then(|| {
        format!(
            "regular expression {shown:?} can be at {width} of its places at once, at most \
             {WIDTH_MAX} are followed; write smaller counts, or anchor it with ^"
        )
    })
}

fn states_of_text(pattern: &str) -> u64 {
    let length = u64::try_from(pattern.len()).unwrap_or(u64::MAX);
    match regex_syntax::parse(pattern) {
        Ok(hir) => states(&hir).max(length),
        Err(_) => states_by_counts(pattern).max(length),
    }
}

/// States of a pattern in another dialect: every character as often as the counts around it say.
fn states_by_counts(pattern: &str) -> u64 {
    // What is before each open group; of the innermost, its parts and the last of them.
    let mut groups: Vec<u64> = Vec::new();
    let (mut sum, mut last) = (0_u64, 0_u64);
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '(' => {
                groups.push(sum.saturating_add(last));
                (sum, last) = (0, 0);
            }
            ')' => {
                let inside = sum.saturating_add(last).max(1);
                (sum, last) = (groups.pop().unwrap_or(0), inside);
            }
            '{' => {
                let counts = rest.as_str().split('}').next().unwrap_or_default();
                let counts = counts.split(',').filter_map(|count| count.parse().ok());
                last = last.saturating_mul(counts.max().unwrap_or(1_u64).max(1));
            }
            _ => {
                if character == '\\' {
                    rest.next();
                }
                sum = sum.saturating_add(last);
                last = 1;
            }
        }
    }
    let parts = sum.saturating_add(last);
    groups.into_iter().fold(parts, u64::saturating_add)
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
            (
                r"^(?=.{1,253}$)((?!-)[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}$",
                400,
                2000,
            ),
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

    #[test]
    fn costly_patterns_are_named() {
        for (pattern, expected) in [
            (r"^[A-Z]{2}\d{1,64}$", None),
            ("^.{1,2000}$", None),
            (
                r"^[\w.%+-]{1,64}@([a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}$",
                None,
            ),
            (r"^(?=.*[A-Z])(?=.*\d).{8,64}$", None),
            (r"^[\p{L} ]{1,200}$", None),
            ("(.*a){200}", None),
            ("^(a{1,1000}){1,1000}$", Some("at most 300000 are compiled")),
            ("^(a{1,200}){1,200}$", Some("40000 of its places")),
            ("(?<!x)(a{1,1000}){1,1000}", Some("states")),
        ] {
            let found = too_costly(pattern);
            assert_eq!(found.is_some(), expected.is_some(), "{pattern}: {found:?}");
            let (found, expected) = (found.unwrap_or_default(), expected.unwrap_or_default());
            assert!(found.contains(expected), "{pattern}: {found}");
            let is_named = found.is_empty() || found.contains(&format!("{pattern:?}"));
            assert!(is_named, "{found}");
        }
    }

    #[test]
    fn texts_cost_what_their_patterns_follow() {
        let cost = |pattern: &str, length: usize| Cost::of_pattern(pattern).of(length);
        assert_eq!(cost("^[a-z]{1,99}$", 1000), 1000);
        assert_eq!(cost("(.*a){200}", 1000), 400_000);
        assert!(cost("^(?=.*b)a$", 1000) > 1_000_000);
        let mut totals = PatternTotals::default();
        totals.add("^a");
        totals.add("(.*a){200}");
        totals.add_names(["^a", "^b"].into_iter());
        assert_eq!(
            (totals.costs.text.of(10), totals.costs.name.of(10)),
            (4000, 20)
        );
        totals.judge_names();
        assert_eq!(totals.costs.name.of(10), 4020);
    }
}
