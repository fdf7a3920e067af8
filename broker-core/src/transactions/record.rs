//! The records of `__transaction_state`, in Kafka's own formats.
//!
//! ```text
//! key 0     version i16, transactional id string
//! value 0   version i16, producer id i64, epoch i16, timeout i32, state i8,
//!           partitions: null or [topic string, [partition i32]], updated i64, started i64
//! value 1   the same with compact lengths, and tagged fields after each topic and at the end:
//!           0 previous producer id i64, 1 next producer id i64, 2 client's version i16,
//!           10 000 last epoch i16
//! ```
//! A null value is a tombstone. The last tag is our own: Kafka forgets the last epoch at a restart,
//! and then fences a producer whose InitProducerId it had answered just before. Readers skip tags
//! that they do not know. Source: Kafka's `TransactionLogKey` and `TransactionLogValue`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::coordinator::{ClientVersion, NO_EPOCH, TransactionMetadata, TransactionState};
use crate::ids::{ProducerEpoch, ProducerId};
use crate::protocol::reader::{Malformed, Reader};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;

const TAG_PREVIOUS_ID: u32 = 0;
const TAG_NEXT_ID: u32 = 1;
const TAG_CLIENT_VERSION: u32 = 2;
const TAG_LAST_EPOCH: u32 = 10_000;

/// Why bytes are not such a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end too early or a length is impossible.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A version or state that this code does not know.
    #[error("{field} {found} is unknown")]
    Unknown {
        /// Which.
        field: &'static str,
        /// What was found.
        found: i16,
    },
}

/// The key of a transactional id, which is at most 32 767 bytes long.
#[must_use]
pub fn encode_key(transactional_id: &str) -> Vec<u8> {
    let mut out = KEY_VERSION.to_be_bytes().to_vec();
    let length = i16::try_from(transactional_id.len()).unwrap_or(i16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(transactional_id.as_bytes());
    out
}

/// The transactional id of a key.
///
/// # Errors
/// See [`RecordError`].
pub fn decode_key(bytes: &[u8]) -> Result<&str, RecordError> {
    let mut reader = Reader::new(bytes);
    match reader.i16()? {
        KEY_VERSION => Ok(reader.string(false)?),
        found => Err(RecordError::Unknown {
            field: "key version",
            found,
        }),
    }
}

/// The value of a transactional id's record.
#[must_use]
pub fn encode_value(metadata: &TransactionMetadata) -> Vec<u8> {
    let mut out = VALUE_VERSION.to_be_bytes().to_vec();
    out.extend_from_slice(&metadata.producer_id.0.to_be_bytes());
    out.extend_from_slice(&metadata.epoch.0.to_be_bytes());
    out.extend_from_slice(&metadata.timeout_ms.to_be_bytes());
    out.push(state_id(metadata.state));
    put_partitions(&mut out, &metadata.partitions);
    out.extend_from_slice(&metadata.updated_ms.to_be_bytes());
    out.extend_from_slice(&metadata.started_ms.to_be_bytes());
    let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
    for (tag, id) in [
        (TAG_PREVIOUS_ID, metadata.previous_producer_id),
        (TAG_NEXT_ID, metadata.next_producer_id),
    ] {
        if id != ProducerId::NONE {
            tags.push((tag, id.0.to_be_bytes().to_vec()));
        }
    }
    if metadata.version == ClientVersion::Two {
        tags.push((TAG_CLIENT_VERSION, 2_i16.to_be_bytes().to_vec()));
    }
    if metadata.last_epoch != NO_EPOCH {
        tags.push((TAG_LAST_EPOCH, metadata.last_epoch.0.to_be_bytes().to_vec()));
    }
    put_varint(&mut out, tags.len());
    for (tag, bytes) in tags {
        put_varint(&mut out, usize::try_from(tag).unwrap_or(usize::MAX));
        put_varint(&mut out, bytes.len());
        out.extend_from_slice(&bytes);
    }
    out
}

/// Reads the value of a transactional id's record.
///
/// # Errors
/// See [`RecordError`].
pub fn decode_value(bytes: &[u8]) -> Result<TransactionMetadata, RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=VALUE_VERSION).contains(&version) {
        return Err(RecordError::Unknown {
            field: "value version",
            found: version,
        });
    }
    let flexible = version >= 1;
    let producer_id = ProducerId(reader.i64()?);
    let epoch = ProducerEpoch(reader.i16()?);
    let timeout_ms = reader.i32()?;
    let state = state_of(reader.i8()?)?;
    let partitions = read_partitions(&mut reader, flexible)?;
    let mut metadata = TransactionMetadata {
        producer_id,
        epoch,
        last_epoch: NO_EPOCH,
        previous_producer_id: ProducerId::NONE,
        next_producer_id: ProducerId::NONE,
        timeout_ms,
        state,
        partitions,
        updated_ms: reader.i64()?,
        started_ms: reader.i64()?,
        version: ClientVersion::One,
    };
    reader.tags(flexible, |tag, field| {
        match tag {
            TAG_PREVIOUS_ID => metadata.previous_producer_id = ProducerId(field.i64()?),
            TAG_NEXT_ID => metadata.next_producer_id = ProducerId(field.i64()?),
            TAG_CLIENT_VERSION if field.i16()? >= 2 => metadata.version = ClientVersion::Two,
            TAG_LAST_EPOCH => metadata.last_epoch = ProducerEpoch(field.i16()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(metadata)
}

fn put_partitions(out: &mut Vec<u8>, partitions: &BTreeSet<(String, i32)>) {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    put_varint(out, topics.len() + 1);
    for (topic, partitions) in topics {
        put_varint(out, topic.len() + 1);
        out.extend_from_slice(topic.as_bytes());
        put_varint(out, partitions.len() + 1);
        for partition in partitions {
            out.extend_from_slice(&partition.to_be_bytes());
        }
        put_varint(out, 0);
    }
}

fn read_partitions(
    reader: &mut Reader<'_>,
    flexible: bool,
) -> Result<BTreeSet<(String, i32)>, RecordError> {
    let mut found = BTreeSet::new();
    for _ in 0..reader.nullable_count(flexible, 2)?.unwrap_or(0) {
        let topic = reader.string(flexible)?;
        for _ in 0..reader.count(flexible, 4)? {
            found.insert((topic.to_owned(), reader.i32()?));
        }
        reader.skip_tags(flexible)?;
    }
    Ok(found)
}

const fn state_id(state: TransactionState) -> u8 {
    match state {
        TransactionState::Empty => 0,
        TransactionState::Ongoing => 1,
        TransactionState::PrepareCommit => 2,
        TransactionState::PrepareAbort => 3,
        TransactionState::CompleteCommit => 4,
        TransactionState::CompleteAbort => 5,
    }
}

fn state_of(id: i8) -> Result<TransactionState, RecordError> {
    Ok(match id {
        0 => TransactionState::Empty,
        1 => TransactionState::Ongoing,
        2 => TransactionState::PrepareCommit,
        3 => TransactionState::PrepareAbort,
        4 => TransactionState::CompleteCommit,
        5 => TransactionState::CompleteAbort,
        found => {
            return Err(RecordError::Unknown {
                field: "state",
                found: i16::from(found),
            });
        }
    })
}

fn put_varint(out: &mut Vec<u8>, value: usize) {
    let mut left = value;
    loop {
        let seven = u8::try_from(left & 0x7f).unwrap_or(0);
        left >>= 7;
        if left == 0 {
            out.push(seven);
            return;
        }
        out.push(seven | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> TransactionMetadata {
        TransactionMetadata {
            producer_id: ProducerId(4_000),
            epoch: ProducerEpoch(7),
            last_epoch: ProducerEpoch(6),
            previous_producer_id: ProducerId(3_000),
            next_producer_id: ProducerId(5_000),
            timeout_ms: 60_000,
            state: TransactionState::PrepareCommit,
            partitions: BTreeSet::from([
                ("a".to_owned(), 0),
                ("a".to_owned(), 3),
                ("b".to_owned(), 1),
            ]),
            started_ms: 1_000,
            updated_ms: 2_000,
            version: ClientVersion::Two,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_are_kafkas() {
        assert_eq!(hex(&encode_key("tx")), "000000027478");
        assert_eq!(decode_key(&encode_key("tx")), Ok("tx"));
        let value = encode_value(&metadata());
        assert_eq!(
            hex(&value),
            [
                "0001",
                "0000000000000fa0",
                "0007",
                "0000ea60",
                "02",
                "03",
                "0261030000000000000003",
                "00",
                "02620200000001",
                "00",
                "00000000000007d0",
                "00000000000003e8",
                "04",
                "00080000000000000bb8",
                "01080000000000001388",
                "02020002",
                "904e020006",
            ]
            .concat()
        );
        assert_eq!(decode_value(&value), Ok(metadata()));
        let plain = TransactionMetadata {
            last_epoch: NO_EPOCH,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            partitions: BTreeSet::new(),
            version: ClientVersion::One,
            ..metadata()
        };
        assert_eq!(decode_value(&encode_value(&plain)), Ok(plain));
    }

    #[test]
    fn version_0_is_read() {
        let bytes = [
            &0_i16.to_be_bytes()[..],
            &9_i64.to_be_bytes(),
            &1_i16.to_be_bytes(),
            &60_000_i32.to_be_bytes(),
            &[1],
            &1_i32.to_be_bytes(),
            &[0, 1, b't'],
            &2_i32.to_be_bytes(),
            &0_i32.to_be_bytes(),
            &5_i32.to_be_bytes(),
            &20_i64.to_be_bytes(),
            &10_i64.to_be_bytes(),
        ]
        .concat();
        let read = decode_value(&bytes).unwrap();
        assert_eq!(read.state, TransactionState::Ongoing);
        assert_eq!(
            read.partitions,
            BTreeSet::from([("t".to_owned(), 0), ("t".to_owned(), 5)])
        );
        assert_eq!((read.started_ms, read.updated_ms), (10, 20));
        for at in 0..bytes.len() {
            assert!(decode_value(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn damaged_values_never_panic() {
        let good = encode_value(&metadata());
        for at in 0..good.len() {
            let _cut = decode_value(&good[..at]);
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let _damaged = decode_value(&bad);
            }
        }
    }
}
