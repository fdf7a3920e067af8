//! What members of the classic protocol say to each other through the broker: their subscriptions and
//! assignments, which the broker reads and writes for those that are in a group it assigns.
//!
//! ```text
//! subscription  version i16, [topic string], user data ?bytes,
//!               [topic string, [partition i32]] owned (1+), generation i32 (2+), rack ?string (3+)
//! assignment    version i16, [topic string, [partition i32]], user data ?bytes
//! ```
//! Source: Kafka's ConsumerProtocolSubscription and ConsumerProtocolAssignment. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::reader::{Malformed, Reader};

/// The newest version that is written; newer ones are read as this one.
const VERSION_MAX: i16 = 3;

/// Partitions by the topic's name.
pub(super) type NamedPartitions = BTreeMap<String, BTreeSet<i32>>;

/// What a member of the classic protocol wants and has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ClassicSubscription {
    pub(super) version: i16,
    pub(super) topics: BTreeSet<String>,
    pub(super) owned: NamedPartitions,
    pub(super) rack_id: Option<String>,
}

impl ClassicSubscription {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut subscription = Self {
            version: reader.i16()?.clamp(0, VERSION_MAX),
            ..Self::default()
        };
        for _ in 0..reader.count(false, 2)? {
            subscription.topics.insert(reader.string(false)?.to_owned());
        }
        let _user_data = reader.nullable_bytes(false)?;
        if subscription.version >= 1 {
            subscription.owned = read_partitions(&mut reader)?;
        }
        if subscription.version >= 2 {
            let _generation = reader.i32()?;
        }
        if subscription.version >= 3 {
            // librdkafka writes an empty text for none.
            let rack_id = reader
                .nullable_string(false)?
                .filter(|rack| !rack.is_empty());
            subscription.rack_id = rack_id.map(ToOwned::to_owned);
        }
        Ok(subscription)
    }
}

/// An assignment and whether its assignor put something of its own into it.
pub(super) fn read_assignment(bytes: &[u8]) -> Result<(NamedPartitions, bool), Malformed> {
    // A member without partitions may have been given no bytes at all.
    if bytes.is_empty() {
        return Ok((NamedPartitions::new(), false));
    }
    let mut reader = Reader::new(bytes);
    let _version = reader.i16()?;
    let partitions = read_partitions(&mut reader)?;
    let user_data = reader.nullable_bytes(false)?;
    Ok((partitions, user_data.is_some_and(|range| !range.is_empty())))
}

pub(super) fn write_assignment(version: i16, partitions: &NamedPartitions) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    put_count(&mut out, partitions.len());
    for (topic, indexes) in partitions {
        // Names of topics have at most 249 bytes.
        let length = i16::try_from(topic.len()).unwrap_or(i16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(topic.as_bytes());
        put_count(&mut out, indexes.len());
        for index in indexes {
            out.extend_from_slice(&index.to_be_bytes());
        }
    }
    // No user data.
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out
}

fn read_partitions(reader: &mut Reader<'_>) -> Result<NamedPartitions, Malformed> {
    let mut partitions = NamedPartitions::new();
    for _ in 0..reader.count(false, 6)? {
        let topic = reader.string(false)?.to_owned();
        let indexes = partitions.entry(topic).or_default();
        for _ in 0..reader.count(false, size_of::<i32>())? {
            indexes.insert(reader.i32()?);
        }
    }
    Ok(partitions)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Topics a and b; a-0 is owned, if the version says so.
    fn subscription(version: i16) -> Vec<u8> {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 0xff, 0xff, 0xff, 0xff]);
        if version >= 1 {
            bytes.extend_from_slice(&[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 0]);
        }
        if version >= 2 {
            bytes.extend_from_slice(&[0, 0, 0, 7]);
        }
        if version >= 3 {
            bytes.extend_from_slice(&[0, 1, b'r']);
        }
        bytes
    }

    #[test]
    fn subscriptions_of_every_version_are_read() {
        for version in 0..=4 {
            let mut bytes = subscription(version);
            if version > VERSION_MAX {
                bytes.push(9);
            }
            let read = ClassicSubscription::read(&bytes).unwrap();
            assert_eq!(read.topics.len(), 2, "v{version}");
            assert_eq!(read.owned.len(), usize::from(version >= 1), "v{version}");
            assert_eq!(read.rack_id.is_some(), version >= 3, "v{version}");
            for end in 0..subscription(version.min(VERSION_MAX)).len() {
                assert!(
                    ClassicSubscription::read(&bytes[..end]).is_err(),
                    "v{version}"
                );
            }
        }
    }

    #[test]
    fn assignments_read_back() {
        let partitions = NamedPartitions::from([("a".to_owned(), BTreeSet::from([0, 3]))]);
        let mut bytes = write_assignment(1, &partitions);
        assert_eq!(
            bytes[..9],
            [0, 1, 0, 0, 0, 1, 0, 1, b'a'],
            "version, count, name"
        );
        assert_eq!(read_assignment(&bytes), Ok((partitions.clone(), false)));
        let length = bytes.len();
        bytes[length - 4..].copy_from_slice(&[0, 0, 0, 1]);
        bytes.push(5);
        assert_eq!(read_assignment(&bytes), Ok((partitions, true)));
        assert_eq!(read_assignment(&[]), Ok((NamedPartitions::new(), false)));
    }
}
