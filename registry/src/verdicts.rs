//! One new schema against earlier ones, at all seven levels at once.
//!
//! Pure. Each pair is compared once in each direction; a level's verdict is read off those
//! comparisons. Next: [`crate::compatibility`] for the check that guards a registration.

use std::sync::Arc;

use serde_formats::ParsedSchema;
use serde_formats::compatibility::{
    Caveat, CompatibilityPolicy, Incompatibility, caveats, compare,
};
use serde_formats::witness::{Evidence, caveat_evidence, evidence};

use crate::compatibility::worded;
use crate::model::{CompatibilityLevel, Version};

/// Who reads whose records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The new schema reads what the earlier one wrote.
    Backward,
    /// The earlier schema reads what the new one writes.
    Forward,
}

impl Direction {
    /// `backward` or `forward`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backward => "backward",
            Self::Forward => "forward",
        }
    }
}

/// One reason why a direction breaks against one earlier version.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The earlier version.
    pub version: Version,
    /// Which reading breaks.
    pub direction: Direction,
    /// The difference, in the reference's words.
    pub found: Incompatibility,
    /// `found.message` with reader and writer put in.
    pub message: String,
    /// A record that breaks; absent past [`WITNESSES_MAX`].
    pub evidence: Option<Evidence>,
}

/// A place where a verdict is known to be wrong, as the reference's is.
#[derive(Debug, Clone)]
pub struct Warning {
    /// The earlier version.
    pub version: Version,
    /// Which reading the verdict is on.
    pub direction: Direction,
    /// What is really the case.
    pub caveat: Caveat,
    /// A record that breaks; absent past [`WITNESSES_MAX`].
    pub evidence: Option<Evidence>,
}

/// Records are looked for on behalf of this many differences, and as many caveats.
pub const WITNESSES_MAX: usize = 16;

/// All comparisons of one new schema.
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    /// Earlier versions looked at, newest first.
    pub compared: Vec<Version>,
    /// In order of `compared`, backward before forward.
    pub differences: Vec<Difference>,
    /// What the differences miss or overstate, in the same order.
    pub warnings: Vec<Warning>,
}

impl Verdicts {
    /// Compares `new` with every one of `earlier`, newest first.
    #[must_use]
    pub fn of(
        new: &ParsedSchema,
        earlier: &[(Version, Arc<ParsedSchema>)],
        policy: CompatibilityPolicy,
    ) -> Self {
        let mut verdicts = Self::default();
        for (version, old) in earlier {
            verdicts.compared.push(*version);
            for direction in [Direction::Backward, Direction::Forward] {
                verdicts.compare(*version, direction, new, old, policy);
            }
        }
        verdicts
    }

    fn compare(
        &mut self,
        version: Version,
        direction: Direction,
        new: &ParsedSchema,
        old: &ParsedSchema,
        policy: CompatibilityPolicy,
    ) {
        let (reader, writer, words) = match direction {
            Direction::Backward => (new, old, ("new", "old")),
            Direction::Forward => (old, new, ("old", "new")),
        };
        for found in compare(reader, writer, policy) {
            let wanted = self.differences.len() < WITNESSES_MAX;
            self.differences.push(Difference {
                version,
                direction,
                message: worded(&found, words.0, words.1),
                evidence: wanted.then(|| evidence(reader, writer, &found)),
                found,
            });
        }
        for caveat in caveats(reader, writer, policy) {
            let wanted = self.warnings.len() < WITNESSES_MAX;
            self.warnings.push(Warning {
                version,
                direction,
                evidence: wanted.then(|| caveat_evidence(reader, writer, &caveat)),
                caveat,
            });
        }
    }

    /// Whether the new schema may follow at a level: against the newest earlier version, or all.
    #[must_use]
    pub fn is_compatible(&self, level: CompatibilityLevel) -> bool {
        !self.differences.iter().any(|difference| {
            let looked_at =
                level.is_transitive() || Some(&difference.version) == self.compared.first();
            let counts = match difference.direction {
                Direction::Backward => level.is_backward(),
                Direction::Forward => level.is_forward(),
            };
            looked_at && counts
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_formats::{ParseMode, SchemaFormat};

    fn parsed(fields: &str) -> Arc<ParsedSchema> {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        Arc::new(ParsedSchema::parse(SchemaFormat::Avro, &text, &[], ParseMode::New).unwrap())
    }

    const A: &str = r#"{"name":"a","type":"long"}"#;
    const B: &str = r#"{"name":"b","type":"long"}"#;
    const B_DEFAULT: &str = r#"{"name":"b","type":"long","default":0}"#;

    /// The levels at which `new` may follow `earlier` (newest first).
    fn check(new: &str, earlier: &[&str], expected: &[&str]) {
        let earlier: Vec<_> = earlier
            .iter()
            .zip((1..).map(Version))
            .map(|(fields, version)| (version, parsed(fields)))
            .collect();
        let verdicts = Verdicts::of(&parsed(new), &earlier, CompatibilityPolicy::Strict);
        let good: Vec<&str> = CompatibilityLevel::ALL
            .into_iter()
            .filter(|level| verdicts.is_compatible(*level))
            .map(CompatibilityLevel::name)
            .collect();
        assert_eq!(good, expected, "{new} after {earlier:?}");
    }

    #[test]
    fn every_level_is_judged_from_the_same_comparisons() {
        let all = [
            "NONE",
            "BACKWARD",
            "BACKWARD_TRANSITIVE",
            "FORWARD",
            "FORWARD_TRANSITIVE",
            "FULL",
            "FULL_TRANSITIVE",
        ];
        let both = format!("{A},{B}");
        let both_default = format!("{A},{B_DEFAULT}");
        check(A, &[], &all);
        check(A, &[A], &all);
        check(&both, &[A], &["NONE", "FORWARD", "FORWARD_TRANSITIVE"]);
        check(A, &[&both], &["NONE", "BACKWARD", "BACKWARD_TRANSITIVE"]);
        check(&both_default, &[A], &all);
        // Fits the newest in both directions, an older one in neither.
        check(A, &[A, B], &["NONE", "BACKWARD", "FORWARD", "FULL"]);
    }
}
