//! The field's identifiers as types, so that two numbers cannot be swapped.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Index of a partition within its topic, from 0.
    PartitionIndex(i32)
);
number!(
    /// Position of a record in a partition, from 0.
    Offset(i64)
);
number!(
    /// Count of leader changes of a partition; bumped once after an unclean start.
    LeaderEpoch(i32)
);
number!(
    /// Identity of an idempotent producer; -1 means none.
    ProducerId(i64)
);
number!(
    /// Incarnation of a producer id.
    ProducerEpoch(i16)
);
number!(
    /// Number of a record within (producer id, epoch, partition); wraps from `i32::MAX` to 0.
    Sequence(i32)
);

impl ProducerId {
    /// No idempotence.
    pub const NONE: Self = Self(-1);
}

/// A topic's name: `[a-zA-Z0-9._-]{1,249}`, neither `.` nor `..`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks the name by Kafka's rule; `None` when it breaks it.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let legal = !name.is_empty()
            && name.len() <= 249
            && name != "."
            && name != ".."
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        legal.then(|| Self(Arc::from(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A topic's random id (KIP-516): a recreated topic gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub Uuid);
