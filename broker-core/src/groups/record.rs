//! The records of `__consumer_offsets`, in Kafka's own formats: big-endian, strings with an `i16`
//! length (-1 = null), bytes with an `i32` length.
//!
//! ```text
//! key 0, 1  version i16, group string, topic string, partition i32
//!   value 3   version i16, offset i64, leader epoch i32, metadata string, commit timestamp i64
//!   value 1   version i16, offset i64, metadata string, commit timestamp i64, expire timestamp i64
//!   value 0, 2  as 1 without the expire timestamp
//! key 2     version i16, group string
//!   value 3   version i16, protocol type string, generation i32, protocol ?string, leader ?string,
//!             state timestamp i64 (2+), [member id string, instance id ?string (3+),
//!             client id string, client host string, rebalance timeout i32 (1+),
//!             session timeout i32, subscription bytes, assignment bytes]
//! ```
//! A null value is a tombstone. Source: Kafka's `OffsetCommitKey`, `OffsetCommitValue`,
//! `GroupMetadataKey` and `GroupMetadataValue` messages. Pure.

use bytes::Bytes;

use super::offsets::CommittedOffset;

/// Group metadata as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMetadata {
    /// Empty for a simple group.
    pub protocol_type: String,
    /// Generation of the members.
    pub generation: i32,
    /// The strategy chosen.
    pub protocol_name: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// When the group entered its state; -1 when the writer did not say.
    pub state_since_ms: i64,
    /// The members; none when the group is empty.
    pub members: Vec<MemberMetadata>,
}

/// One member as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberMetadata {
    /// Member id.
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Peer address.
    pub client_host: String,
    /// How long the group waits for the member.
    pub rebalance_timeout_ms: i32,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// Metadata for the chosen protocol.
    pub subscription: Bytes,
    /// The member's share.
    pub assignment: Bytes,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKey {
    /// A committed offset.
    Offset {
        /// Group id.
        group: String,
        /// Topic name.
        topic: String,
        /// Partition index.
        partition: i32,
    },
    /// A group's metadata.
    Group {
        /// Group id.
        group: String,
    },
    /// A kind of a newer Kafka; skipped.
    Unknown {
        /// Version of the key.
        version: i16,
    },
}

/// Why bytes are not such a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end too early or a length is impossible.
    #[error("record is malformed at byte {at}")]
    Malformed {
        /// Position of the field.
        at: usize,
    },
    /// A version this code does not know.
    #[error("record value has unknown version {version}")]
    UnknownVersion {
        /// The version found.
        version: i16,
    },
    /// A string longer than the format can hold.
    #[error("string of {bytes} bytes is longer than a record holds")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Longest string the formats hold.
pub const STRING_BYTES_MAX: usize = 32_767;

const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const OFFSET_VALUE_VERSION: i16 = 3;
const OFFSET_VALUE_VERSION_WITH_EXPIRY: i16 = 1;
const GROUP_VALUE_VERSION: i16 = 3;

impl RecordKey {
    /// The key's bytes; an unknown key becomes its bare version.
    ///
    /// # Errors
    /// [`RecordError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let mut out = Vec::new();
        match self {
            Self::Offset {
                group,
                topic,
                partition,
            } => {
                put_i16(&mut out, OFFSET_KEY_VERSION);
                put_string(&mut out, Some(group))?;
                put_string(&mut out, Some(topic))?;
                put_i32(&mut out, *partition);
            }
            Self::Group { group } => {
                put_i16(&mut out, GROUP_KEY_VERSION);
                put_string(&mut out, Some(group))?;
            }
            Self::Unknown { version } => put_i16(&mut out, *version),
        }
        Ok(out)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`RecordError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        match reader.i16()? {
            0 | 1 => Ok(Self::Offset {
                group: reader.string()?,
                topic: reader.string()?,
                partition: reader.i32()?,
            }),
            GROUP_KEY_VERSION => Ok(Self::Group {
                group: reader.string()?,
            }),
            version => Ok(Self::Unknown { version }),
        }
    }
}

/// The value of an offset's record.
///
/// # Errors
/// [`RecordError::TooLong`].
pub fn encode_offset(offset: &CommittedOffset) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    // Only version 1 has an expiry and only version 3 a leader epoch; an expiry is asked for by
    // OffsetCommit v2-4 alone, which knows no epochs.
    if let Some(expire_timestamp_ms) = offset.expire_timestamp_ms {
        put_i16(&mut out, OFFSET_VALUE_VERSION_WITH_EXPIRY);
        put_i64(&mut out, offset.offset);
        put_string(&mut out, Some(&offset.metadata))?;
        put_i64(&mut out, offset.commit_timestamp_ms);
        put_i64(&mut out, expire_timestamp_ms);
    } else {
        put_i16(&mut out, OFFSET_VALUE_VERSION);
        put_i64(&mut out, offset.offset);
        put_i32(&mut out, offset.leader_epoch);
        put_string(&mut out, Some(&offset.metadata))?;
        put_i64(&mut out, offset.commit_timestamp_ms);
    }
    Ok(out)
}

/// Reads the value of an offset's record.
///
/// # Errors
/// [`RecordError::Malformed`], [`RecordError::UnknownVersion`].
pub fn decode_offset(bytes: &[u8]) -> Result<CommittedOffset, RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=OFFSET_VALUE_VERSION).contains(&version) {
        return Err(RecordError::UnknownVersion { version });
    }
    let offset = reader.i64()?;
    let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
    let metadata = reader.string()?;
    let commit_timestamp_ms = reader.i64()?;
    let expire_timestamp_ms = if version == 1 {
        Some(reader.i64()?).filter(|timestamp| *timestamp >= 0)
    } else {
        None
    };
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp_ms,
        expire_timestamp_ms,
    })
}

/// The value of a group's record.
///
/// # Errors
/// [`RecordError::TooLong`].
pub fn encode_group(group: &GroupMetadata) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    put_i16(&mut out, GROUP_VALUE_VERSION);
    put_string(&mut out, Some(&group.protocol_type))?;
    put_i32(&mut out, group.generation);
    put_string(&mut out, group.protocol_name.as_deref())?;
    put_string(&mut out, group.leader.as_deref())?;
    put_i64(&mut out, group.state_since_ms);
    put_length(&mut out, group.members.len())?;
    for member in &group.members {
        put_string(&mut out, Some(&member.id))?;
        put_string(&mut out, member.instance_id.as_deref())?;
        put_string(&mut out, Some(&member.client_id))?;
        put_string(&mut out, Some(&member.client_host))?;
        put_i32(&mut out, member.rebalance_timeout_ms);
        put_i32(&mut out, member.session_timeout_ms);
        for bytes in [&member.subscription, &member.assignment] {
            put_length(&mut out, bytes.len())?;
            out.extend_from_slice(bytes);
        }
    }
    Ok(out)
}

/// Reads the value of a group's record.
///
/// # Errors
/// [`RecordError::Malformed`], [`RecordError::UnknownVersion`].
pub fn decode_group(bytes: &[u8]) -> Result<GroupMetadata, RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=GROUP_VALUE_VERSION).contains(&version) {
        return Err(RecordError::UnknownVersion { version });
    }
    let mut group = GroupMetadata {
        protocol_type: reader.string()?,
        generation: reader.i32()?,
        protocol_name: reader.nullable_string()?,
        leader: reader.nullable_string()?,
        state_since_ms: if version >= 2 { reader.i64()? } else { -1 },
        members: Vec::new(),
    };
    // The count is not trusted: a member that is not there ends the loop.
    for _ in 0..reader.i32()? {
        let mut member = MemberMetadata {
            id: reader.string()?,
            ..MemberMetadata::default()
        };
        if version >= 3 {
            member.instance_id = reader.nullable_string()?;
        }
        member.client_id = reader.string()?;
        member.client_host = reader.string()?;
        let rebalance_timeout_ms = if version >= 1 {
            Some(reader.i32()?)
        } else {
            None
        };
        member.session_timeout_ms = reader.i32()?;
        member.rebalance_timeout_ms = rebalance_timeout_ms.unwrap_or(member.session_timeout_ms);
        member.subscription = reader.bytes()?;
        member.assignment = reader.bytes()?;
        group.members.push(member);
    }
    Ok(group)
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
        }
    }

    const fn malformed(&self) -> RecordError {
        RecordError::Malformed {
            at: self.length - self.rest.len(),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (array, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*array)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (slice, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(slice)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn nullable_string(&mut self) -> Result<Option<String>, RecordError> {
        let length = self.i16()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| self.malformed())?;
        let bytes = self.slice(length)?;
        std::str::from_utf8(bytes)
            .map(|text| Some(text.to_owned()))
            .map_err(|_| self.malformed())
    }

    fn string(&mut self) -> Result<String, RecordError> {
        self.nullable_string()?.ok_or_else(|| self.malformed())
    }

    fn bytes(&mut self) -> Result<Bytes, RecordError> {
        let length = self.i32()?;
        let length = usize::try_from(length).map_err(|_| self.malformed())?;
        self.slice(length).map(Bytes::copy_from_slice)
    }
}

fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_length(out: &mut Vec<u8>, length: usize) -> Result<(), RecordError> {
    let length = i32::try_from(length).map_err(|_| RecordError::TooLong { bytes: length })?;
    put_i32(out, length);
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: Option<&str>) -> Result<(), RecordError> {
    let Some(text) = text else {
        put_i16(out, -1);
        return Ok(());
    };
    let length =
        i16::try_from(text.len()).map_err(|_| RecordError::TooLong { bytes: text.len() })?;
    put_i16(out, length);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn group() -> GroupMetadata {
        GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: 7,
            protocol_name: Some("range".to_owned()),
            leader: Some("m-1".to_owned()),
            state_since_ms: 1_700_000_000_000,
            members: vec![
                MemberMetadata {
                    id: "m-1".to_owned(),
                    instance_id: Some("i".to_owned()),
                    client_id: "c".to_owned(),
                    client_host: "/10.0.0.1".to_owned(),
                    rebalance_timeout_ms: 300_000,
                    session_timeout_ms: 45_000,
                    subscription: Bytes::from_static(&[1, 2, 3]),
                    assignment: Bytes::from_static(&[4]),
                },
                MemberMetadata {
                    id: "m-2".to_owned(),
                    ..MemberMetadata::default()
                },
            ],
        }
    }

    fn offset(expire_timestamp_ms: Option<i64>) -> CommittedOffset {
        CommittedOffset {
            offset: 42,
            leader_epoch: if expire_timestamp_ms.is_some() { -1 } else { 3 },
            metadata: "é".to_owned(),
            commit_timestamp_ms: 9,
            expire_timestamp_ms,
        }
    }

    #[test]
    fn bytes_are_kafkas() {
        let key = RecordKey::Offset {
            group: "g".to_owned(),
            topic: "ab".to_owned(),
            partition: 5,
        };
        let group_key = RecordKey::Group {
            group: "g".to_owned(),
        };
        for (name, found, expected) in [
            (
                "offset key",
                key.encode().unwrap(),
                "0001000167000261620000_0005",
            ),
            ("group key", group_key.encode().unwrap(), "0002_000167"),
            (
                "offset value",
                encode_offset(&offset(None)).unwrap(),
                "0003_000000000000002a_00000003_0002c3a9_0000000000000009",
            ),
            (
                "offset value with expiry",
                encode_offset(&offset(Some(8))).unwrap(),
                "0001_000000000000002a_0002c3a9_0000000000000009_0000000000000008",
            ),
            (
                "empty group value",
                encode_group(&GroupMetadata {
                    state_since_ms: 1,
                    ..GroupMetadata::default()
                })
                .unwrap(),
                "0003_0000_00000000_ffff_ffff_0000000000000001_00000000",
            ),
        ] {
            assert_eq!(hex(&found), expected.replace('_', ""), "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for key in [
            RecordKey::Offset {
                group: "g".to_owned(),
                topic: "t".to_owned(),
                partition: i32::MAX,
            },
            RecordKey::Group {
                group: String::new(),
            },
            RecordKey::Unknown { version: 9 },
        ] {
            assert_eq!(RecordKey::decode(&key.encode().unwrap()), Ok(key));
        }
        assert_eq!(decode_group(&encode_group(&group()).unwrap()), Ok(group()));
        for offset in [offset(None), offset(Some(77))] {
            let bytes = encode_offset(&offset).unwrap();
            assert_eq!(decode_offset(&bytes), Ok(offset));
        }
    }

    #[test]
    fn old_versions_are_read() {
        let offset_v0 = [&[0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 5], &[0, 0], &[0; 8]].concat();
        let read = decode_offset(&offset_v0).unwrap();
        assert_eq!((read.offset, read.leader_epoch), (5, -1));
        // protocol type "p", generation 1, protocol null, leader null, one member "m" of nothing.
        let mut group_v0 = vec![0, 0, 0, 1, b'p', 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        group_v0.extend_from_slice(&[0, 0, 0, 1, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 0x75, 0x30]);
        group_v0.extend_from_slice(&[0; 8]);
        let read = decode_group(&group_v0).unwrap();
        assert_eq!(read.state_since_ms, -1);
        assert_eq!(read.members[0].rebalance_timeout_ms, 30_000);
    }

    #[test]
    fn cut_and_flipped_bytes_are_refused_without_panic() {
        let bytes = encode_group(&group()).unwrap();
        for end in 0..bytes.len() {
            assert!(decode_group(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x80;
            // Whatever it says, it ends.
            drop(decode_group(&flipped));
            drop(RecordKey::decode(&flipped));
            drop(decode_offset(&flipped));
        }
        assert_eq!(
            decode_offset(&[0, 9]),
            Err(RecordError::UnknownVersion { version: 9 })
        );
    }

    #[test]
    fn strings_longer_than_the_format_are_refused() {
        let key = RecordKey::Group {
            group: "x".repeat(STRING_BYTES_MAX + 1),
        };
        assert_eq!(key.encode(), Err(RecordError::TooLong { bytes: 32_768 }));
    }
}
