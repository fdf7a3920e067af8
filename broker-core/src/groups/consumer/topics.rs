//! What a consumer group may know of topics, and which of them a regular expression means.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::Refusal;
use crate::error::ErrorCode;
use crate::ids::TopicId;

/// Memory that one compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// One topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

/// All topics.
pub trait TopicView {
    /// Another number whenever a topic came, went or grew.
    fn version(&self) -> u64;

    /// The topic of that name.
    fn find(&self, name: &str) -> Option<TopicFacts>;

    /// Names of all topics but the broker's own.
    fn names(&self) -> Vec<String>;
}

/// Compiles a subscription's regular expression, which must match whole names.
///
/// # Errors
/// INVALID_REGULAR_EXPRESSION.
pub(super) fn compile(pattern: &str) -> Result<Regex, Refusal> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .and_then(|regex| {
            // A pattern like `a)(?:b` is whole only between our own parentheses.
            RegexBuilder::new(pattern)
                .size_limit(REGEX_BYTES_MAX)
                .build()
                .map(|_| regex)
        })
        .map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            Refusal::new(
                ErrorCode::INVALID_REGULAR_EXPRESSION,
                format!("regular expression {pattern:?} is not valid: {reason}"),
            )
        })
}

/// The topics that a regular expression matches.
pub(super) fn matching(regex: &Regex, topics: &dyn TopicView) -> BTreeSet<String> {
    let names = topics.names().into_iter();
    names.filter(|name| regex.is_match(name)).collect()
}

/// A number that changes, but for a coincidence, when one of the topics comes, goes or grows.
pub(super) fn metadata_hash<'a>(
    names: impl Iterator<Item = &'a str>,
    topics: &dyn TopicView,
) -> i64 {
    // FNV-1a: written to disk, so it has to stay the same.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for name in names {
        if let Some(topic) = topics.find(name) {
            add(name.as_bytes());
            add(&[0]);
            add(topic.id.0.as_bytes());
            add(&topic.partitions.to_be_bytes());
        }
    }
    i64::from_be_bytes(hash.to_be_bytes())
}
