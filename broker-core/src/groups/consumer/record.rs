//! A consumer group's changes as records of `__consumer_offsets`, in Kafka's own formats.
//!
//! ```text
//! key 3     version i16, group string                  the group
//!   value 0   version i16, epoch i32, tag 0: metadata hash i64
//! key 5     version i16, group string, member string   a member
//!   value 0   version i16, instance id, rack id, client id, client host, [topic], regex,
//!             rebalance timeout i32, assignor, tag 0: u8 1 when there, session timeout i32,
//!             [protocol string, metadata bytes]
//! key 6     version i16, group string                  the targets
//!   value 0   version i16, assignment epoch i32
//! key 7     version i16, group string, member string   a target
//!   value 0   version i16, [topic id, [partition i32]]
//! key 8     version i16, group string, member string   what a member has
//!   value 0   version i16, epoch i32, previous epoch i32, state i8,
//!             [topic id, [partition i32]] assigned, [topic id, [partition i32]] to be given up
//! ```
//! Keys have `i16` lengths; values are flexible (KIP-482): compact lengths, and tagged fields after
//! every structure. A null value is a tombstone. Kafka's keys 4 and 16 hold what is derived here;
//! they are skipped. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use uuid::Uuid;

use super::change::GroupEpoch;
use super::{Assignment, Change, ClassicMember, CurrentAssignment, MemberState, Subscription};
use crate::groups::classic::Protocol;
use crate::groups::record::{RecordError, STRING_BYTES_MAX};
use crate::ids::TopicId;
use crate::protocol::reader::{Malformed, Reader};

/// Key versions: what a record is about.
pub(crate) const EPOCH_KEY: i16 = 3;
pub(crate) const MEMBER_KEY: i16 = 5;
pub(crate) const ASSIGNMENT_EPOCH_KEY: i16 = 6;
pub(crate) const TARGET_KEY: i16 = 7;
pub(crate) const CURRENT_KEY: i16 = 8;

/// The one version of all values.
const VALUE_VERSION: i16 = 0;
/// Bytes of a topic id.
const UUID_BYTES: usize = 16;
/// Tag of the metadata hash, and of what a member of the classic protocol said.
const METADATA_HASH_TAG: u32 = 0;
const CLASSIC_TAG: u32 = 0;

/// A key and its value; no value is a tombstone.
pub type KeyValue = (Vec<u8>, Option<Vec<u8>>);

impl Change {
    /// The change as a record of its group.
    ///
    /// # Errors
    /// [`RecordError::TooLong`].
    pub fn encode(&self, group: &str) -> Result<KeyValue, RecordError> {
        let (version, member) = match self {
            Self::Epoch(_) => (EPOCH_KEY, None),
            Self::Member(id, _) => (MEMBER_KEY, Some(id)),
            Self::AssignmentEpoch(_) => (ASSIGNMENT_EPOCH_KEY, None),
            Self::Target(id, _) => (TARGET_KEY, Some(id)),
            Self::Current(id, _) => (CURRENT_KEY, Some(id)),
        };
        let mut key = version.to_be_bytes().to_vec();
        put_key_string(&mut key, group)?;
        if let Some(member) = member {
            put_key_string(&mut key, member)?;
        }
        let value = match self {
            Self::Epoch(epoch) => epoch.map(|epoch| encode_epoch(&epoch)),
            Self::Member(_, subscription) => {
                let subscription = subscription.as_deref();
                subscription.map(encode_subscription).transpose()?
            }
            Self::AssignmentEpoch(epoch) => epoch.map(|epoch| {
                let mut out = start();
                out.extend_from_slice(&epoch.to_be_bytes());
                no_tags(&mut out);
                out
            }),
            Self::Target(_, target) => target.as_ref().map(|target| {
                let mut out = start();
                put_assignment(&mut out, target);
                no_tags(&mut out);
                out
            }),
            Self::Current(_, current) => current.as_deref().map(encode_current),
        };
        Ok((key, value))
    }

    /// Reads a record; its group and what it says. `None` for a key of another kind.
    ///
    /// # Errors
    /// [`RecordError::Malformed`], [`RecordError::UnknownVersion`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<(String, Self)>, RecordError> {
        let mut reader = Reader::new(key);
        let kind = reader.i16().map_err(malformed)?;
        if ![
            EPOCH_KEY,
            MEMBER_KEY,
            ASSIGNMENT_EPOCH_KEY,
            TARGET_KEY,
            CURRENT_KEY,
        ]
        .contains(&kind)
        {
            return Ok(None);
        }
        let group = reader.string(false).map_err(malformed)?.to_owned();
        let mut member = || {
            let member = reader.string(false).map_err(malformed)?;
            Ok::<String, RecordError>(member.to_owned())
        };
        let change = match kind {
            EPOCH_KEY => Self::Epoch(value.map(decode_epoch).transpose()?),
            MEMBER_KEY => {
                let subscription = value.map(decode_subscription).transpose()?;
                Self::Member(member()?, subscription.map(Box::new))
            }
            ASSIGNMENT_EPOCH_KEY => {
                let read = |bytes| {
                    let mut reader = open(bytes)?;
                    reader.i32().map_err(malformed)
                };
                Self::AssignmentEpoch(value.map(read).transpose()?)
            }
            TARGET_KEY => {
                let read = |bytes| {
                    let mut reader = open(bytes)?;
                    read_assignment(&mut reader).map_err(malformed)
                };
                Self::Target(member()?, value.map(read).transpose()?)
            }
            _ => {
                let current = value.map(decode_current).transpose()?;
                Self::Current(member()?, current.map(Box::new))
            }
        };
        Ok(Some((group, change)))
    }
}

fn encode_epoch(epoch: &GroupEpoch) -> Vec<u8> {
    let mut out = start();
    out.extend_from_slice(&epoch.epoch.to_be_bytes());
    put_varint(&mut out, 1);
    put_varint(&mut out, 0);
    put_varint(&mut out, size_of::<i64>());
    out.extend_from_slice(&epoch.metadata_hash.to_be_bytes());
    out
}

fn decode_epoch(bytes: &[u8]) -> Result<GroupEpoch, RecordError> {
    let mut reader = open(bytes)?;
    let read = |reader: &mut Reader<'_>| -> Result<GroupEpoch, Malformed> {
        let epoch = reader.i32()?;
        let mut metadata_hash = 0;
        reader.tags(true, |tag, field| {
            if tag == METADATA_HASH_TAG {
                metadata_hash = field.i64()?;
            }
            Ok(())
        })?;
        Ok(GroupEpoch {
            epoch,
            metadata_hash,
        })
    };
    read(&mut reader).map_err(malformed)
}

fn encode_subscription(subscription: &Subscription) -> Result<Vec<u8>, RecordError> {
    let mut out = start();
    put_string(&mut out, subscription.instance_id.as_deref())?;
    put_string(&mut out, subscription.rack_id.as_deref())?;
    put_string(&mut out, Some(&subscription.client_id))?;
    put_string(&mut out, Some(&subscription.client_host))?;
    put_varint(&mut out, subscription.topics.len() + 1);
    for topic in &subscription.topics {
        put_string(&mut out, Some(topic))?;
    }
    put_string(&mut out, subscription.regex.as_deref())?;
    out.extend_from_slice(&subscription.rebalance_timeout_ms.to_be_bytes());
    put_string(&mut out, subscription.assignor.as_deref())?;
    let Some(classic) = &subscription.classic else {
        no_tags(&mut out);
        return Ok(out);
    };
    let mut field = vec![1];
    field.extend_from_slice(&classic.session_timeout_ms.to_be_bytes());
    put_varint(&mut field, classic.protocols.len() + 1);
    for protocol in &classic.protocols {
        put_string(&mut field, Some(&protocol.name))?;
        put_varint(&mut field, protocol.metadata.len() + 1);
        field.extend_from_slice(&protocol.metadata);
        no_tags(&mut field);
    }
    no_tags(&mut field);
    put_varint(&mut out, 1);
    put_varint(&mut out, 0);
    put_varint(&mut out, field.len());
    out.extend_from_slice(&field);
    Ok(out)
}

fn read_classic(reader: &mut Reader<'_>) -> Result<Option<ClassicMember>, Malformed> {
    if reader.i8()? < 0 {
        return Ok(None);
    }
    let mut classic = ClassicMember {
        session_timeout_ms: reader.i32()?,
        protocols: Vec::new(),
    };
    for _ in 0..reader.count(true, 3)? {
        let name = reader.string(true)?.to_owned();
        let length = reader.unsigned_varint()?.saturating_sub(1);
        let metadata = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        classic.protocols.push(Protocol {
            name,
            metadata: Bytes::copy_from_slice(metadata),
        });
        reader.skip_tags(true)?;
    }
    reader.skip_tags(true)?;
    Ok(Some(classic))
}

fn decode_subscription(bytes: &[u8]) -> Result<Subscription, RecordError> {
    let mut reader = open(bytes)?;
    let read = |reader: &mut Reader<'_>| -> Result<Subscription, Malformed> {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        let mut subscription = Subscription {
            instance_id: owned(reader.nullable_string(true)?),
            rack_id: owned(reader.nullable_string(true)?),
            client_id: reader.string(true)?.to_owned(),
            client_host: reader.string(true)?.to_owned(),
            ..Subscription::default()
        };
        for _ in 0..reader.count(true, 1)? {
            subscription.topics.insert(reader.string(true)?.to_owned());
        }
        // Kafka writes an empty text for none.
        let regex = owned(reader.nullable_string(true)?);
        subscription.regex = regex.filter(|regex| !regex.is_empty());
        subscription.rebalance_timeout_ms = reader.i32()?;
        subscription.assignor = owned(reader.nullable_string(true)?);
        reader.tags(true, |tag, field| {
            if tag == CLASSIC_TAG {
                subscription.classic = read_classic(field)?;
            }
            Ok(())
        })?;
        Ok(subscription)
    };
    read(&mut reader).map_err(malformed)
}

fn encode_current(current: &CurrentAssignment) -> Vec<u8> {
    let state: i8 = match current.state {
        MemberState::Stable => 0,
        MemberState::Revoking => 1,
        MemberState::Waiting => 2,
        MemberState::Unknown => i8::MAX,
    };
    let mut out = start();
    out.extend_from_slice(&current.epoch.to_be_bytes());
    out.extend_from_slice(&current.previous_epoch.to_be_bytes());
    out.extend_from_slice(&state.to_be_bytes());
    put_assignment(&mut out, &current.assigned);
    put_assignment(&mut out, &current.revoking);
    no_tags(&mut out);
    out
}

fn decode_current(bytes: &[u8]) -> Result<CurrentAssignment, RecordError> {
    let mut reader = open(bytes)?;
    let read = |reader: &mut Reader<'_>| -> Result<CurrentAssignment, Malformed> {
        Ok(CurrentAssignment {
            epoch: reader.i32()?,
            previous_epoch: reader.i32()?,
            state: match reader.i8()? {
                0 => MemberState::Stable,
                1 => MemberState::Revoking,
                2 => MemberState::Waiting,
                _ => MemberState::Unknown,
            },
            assigned: read_assignment(reader)?,
            revoking: read_assignment(reader)?,
        })
    };
    read(&mut reader).map_err(malformed)
}

fn put_assignment(out: &mut Vec<u8>, assignment: &Assignment) {
    put_varint(out, assignment.len() + 1);
    for (topic, indexes) in assignment {
        out.extend_from_slice(topic.0.as_bytes());
        put_varint(out, indexes.len() + 1);
        for index in indexes {
            out.extend_from_slice(&index.to_be_bytes());
        }
        no_tags(out);
    }
}

fn read_assignment(reader: &mut Reader<'_>) -> Result<Assignment, Malformed> {
    let mut assignment = Assignment::new();
    for _ in 0..reader.count(true, UUID_BYTES)? {
        let topic: Uuid = reader.uuid()?;
        let mut indexes = BTreeSet::new();
        for _ in 0..reader.count(true, size_of::<i32>())? {
            indexes.insert(reader.i32()?);
        }
        reader.skip_tags(true)?;
        assignment.insert(TopicId(topic), indexes);
    }
    Ok(assignment)
}

fn start() -> Vec<u8> {
    VALUE_VERSION.to_be_bytes().to_vec()
}

/// Checks the version of a value.
fn open(bytes: &[u8]) -> Result<Reader<'_>, RecordError> {
    let mut reader = Reader::new(bytes);
    match reader.i16().map_err(malformed)? {
        VALUE_VERSION => Ok(reader),
        version => Err(RecordError::UnknownVersion { version }),
    }
}

const fn malformed(error: Malformed) -> RecordError {
    RecordError::Malformed { at: error.at }
}

fn put_key_string(out: &mut Vec<u8>, text: &str) -> Result<(), RecordError> {
    let too_long = |_| RecordError::TooLong { bytes: text.len() };
    let length = i16::try_from(text.len()).map_err(too_long)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: Option<&str>) -> Result<(), RecordError> {
    let Some(text) = text else {
        put_varint(out, 0);
        return Ok(());
    };
    if text.len() > STRING_BYTES_MAX {
        return Err(RecordError::TooLong { bytes: text.len() });
    }
    put_varint(out, text.len() + 1);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn no_tags(out: &mut Vec<u8>) {
    put_varint(out, 0);
}

fn put_varint(out: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn assignment() -> Assignment {
        let topic = TopicId(Uuid::from_u128(0x0102));
        Assignment::from([(topic, BTreeSet::from([0, 7]))])
    }

    fn cases() -> Vec<(Change, &'static str, &'static str)> {
        let epoch = GroupEpoch {
            epoch: 5,
            metadata_hash: -2,
        };
        let subscription = Subscription {
            instance_id: Some("i".to_owned()),
            rack_id: None,
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            topics: BTreeSet::from(["t".to_owned()]),
            regex: Some("a.*".to_owned()),
            rebalance_timeout_ms: 300_000,
            assignor: Some("range".to_owned()),
            classic: None,
        };
        let classic = Subscription {
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            classic: Some(ClassicMember {
                session_timeout_ms: 9,
                protocols: vec![Protocol {
                    name: "r".to_owned(),
                    metadata: Bytes::from_static(&[1, 2]),
                }],
            }),
            ..Subscription::default()
        };
        let current = CurrentAssignment {
            epoch: 4,
            previous_epoch: 3,
            state: MemberState::Revoking,
            assigned: assignment(),
            revoking: Assignment::new(),
        };
        let partitions = "02_00000000000000000000000000000102_03_00000000_00000007_00".to_owned();
        let target = format!("0000_{partitions}_00").leak();
        let has = format!("0000_00000004_00000003_01_{partitions}_01_00").leak();
        let id = || "m".to_owned();
        vec![
            (
                Change::Epoch(Some(epoch)),
                "0003_000167",
                "0000_00000005_01_00_08_fffffffffffffffe",
            ),
            (
                Change::Member(id(), Some(Box::new(subscription))),
                "0005_000167_00016d",
                "0000_0269_00_0263_032f68_02_0274_04612e2a_000493e0_0672616e6765_00",
            ),
            (
                Change::Member(id(), Some(Box::new(classic))),
                "0005_000167_00016d",
                "0000_00_00_0263_032f68_01_00_00000000_00_01_00_0d_01_00000009_02_0272_030102_00_00",
            ),
            (
                Change::AssignmentEpoch(Some(5)),
                "0006_000167",
                "0000_00000005_00",
            ),
            (
                Change::Target(id(), Some(assignment())),
                "0007_000167_00016d",
                target,
            ),
            (
                Change::Current(id(), Some(Box::new(current))),
                "0008_000167_00016d",
                has,
            ),
        ]
    }

    #[test]
    fn bytes_are_kafkas_and_read_back() {
        for (change, expected_key, expected_value) in cases() {
            let (key, value) = change.encode("g").unwrap();
            let value = value.unwrap();
            assert_eq!(hex(&key), expected_key.replace('_', ""), "{change:?}");
            assert_eq!(hex(&value), expected_value.replace('_', ""), "{change:?}");
            let read = Change::decode(&key, Some(&value)).unwrap();
            assert_eq!(read, Some(("g".to_owned(), change)));
        }
    }

    #[test]
    fn tombstones_read_back_and_other_keys_are_left_alone() {
        for change in [Change::Epoch(None), Change::Current("m".to_owned(), None)] {
            let (key, value) = change.encode("g").unwrap();
            assert_eq!(value, None);
            let read = Change::decode(&key, None).unwrap();
            assert_eq!(read, Some(("g".to_owned(), change)));
        }
        assert_eq!(Change::decode(&[0, 16, 0], None), Ok(None));
    }

    #[test]
    fn cut_and_flipped_bytes_are_refused_without_panic() {
        for (change, ..) in cases() {
            let (key, value) = change.encode("g").unwrap();
            let value = value.unwrap();
            for end in 0..key.len() {
                assert!(
                    Change::decode(&key[..end], Some(&value)).is_err(),
                    "cut at {end}"
                );
            }
            for at in 0..value.len() {
                let mut flipped = value.clone();
                flipped[at] ^= 0x80;
                // Whatever it says, it ends.
                drop(Change::decode(&key, Some(&flipped)));
                drop(Change::decode(&key, Some(&value[..at])));
            }
            assert_eq!(
                Change::decode(&key, Some(&[0, 9])),
                Err(RecordError::UnknownVersion { version: 9 })
            );
        }
    }
}
