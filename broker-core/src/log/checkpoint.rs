//! The small files of a partition's directory, and how they are read back with suspicion.

use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::ids::{Offset, TopicId};
use crate::storage::{Persistence, Storage, read_file, replace_file};

use super::epochs::LeaderEpochs;

/// What a partition knew of itself: Kafka keeps both numbers in files of the whole data
/// directory; beside the segments they need no agreement among partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// First readable offset; records below it are deleted or wait to be.
    pub(crate) log_start: Offset,
    /// Everything below is on disk and sound.
    pub(crate) recovery_point: Offset,
}

impl Checkpoint {
    pub(crate) fn save(
        self,
        storage: &dyn Storage,
        directory: &Path,
        persistence: Persistence,
    ) -> io::Result<()> {
        let text = format!(
            "version: 0\nlog_start_offset: {}\nrecovery_point: {}\n",
            self.log_start, self.recovery_point
        );
        replace_file(
            storage,
            &directory.join(CHECKPOINT),
            text.as_bytes(),
            persistence,
        )
    }

    /// The saved checkpoint; `None` when it is missing or not one.
    pub(crate) fn load(storage: &dyn Storage, directory: &Path) -> io::Result<Option<Self>> {
        let text = read_text(storage, &directory.join(CHECKPOINT))?;
        let field = |name: &str| -> Option<i64> {
            let number = text
                .as_deref()?
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())?;
            (number >= 0).then_some(number)
        };
        Ok(field("version")
            .filter(|version| *version == 0)
            .and_then(|_| {
                Some(Self {
                    log_start: Offset(field("log_start_offset")?),
                    recovery_point: Offset(field("recovery_point")?),
                })
            }))
    }
}

pub(crate) fn save_epochs(
    epochs: &LeaderEpochs,
    storage: &dyn Storage,
    directory: &Path,
    persistence: Persistence,
) -> io::Result<()> {
    let path = directory.join(EPOCHS);
    replace_file(storage, &path, epochs.encode().as_bytes(), persistence)
}

pub(crate) fn load_epochs(
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<Option<LeaderEpochs>> {
    let text = read_text(storage, &directory.join(EPOCHS))?;
    Ok(text.as_deref().and_then(LeaderEpochs::decode))
}

/// Kafka's `partition.metadata`: which incarnation of the topic the directory belongs to.
pub(crate) fn save_topic_id(
    id: TopicId,
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<()> {
    let text = format!("version: 0\ntopic_id: {}\n", encode_id(id));
    let path = directory.join(PARTITION_METADATA);
    replace_file(storage, &path, text.as_bytes(), Persistence::Advisory)
}

/// The topic id of a partition's directory; `None` when it does not say.
pub(crate) fn load_topic_id(
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<Option<TopicId>> {
    let text = read_text(storage, &directory.join(PARTITION_METADATA))?;
    Ok(text
        .as_deref()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("topic_id: "))
        })
        .and_then(decode_id))
}

fn read_text(storage: &dyn Storage, path: &Path) -> io::Result<Option<String>> {
    match read_file(storage, path, SMALL_FILE_BYTES_MAX) {
        Ok(bytes) => Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok())),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

/// Kafka writes ids as unpadded base64url.
pub(crate) fn encode_id(id: TopicId) -> String {
    let bits = id.0.as_u128();
    // 128 bits are 21 digits of 6 bits and one of 2, padded with zeros on the right.
    (0..22)
        .map(|digit| {
            let shift = 122_i32 - 6 * digit;
            let six = if shift >= 0 {
                bits >> shift
            } else {
                bits << -shift
            };
            let index = usize::try_from(six & 0x3f).unwrap_or(0);
            char::from(BASE64URL.get(index).copied().unwrap_or(b'A'))
        })
        .collect()
}

fn decode_id(text: &str) -> Option<TopicId> {
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0_u128;
    for (at, byte) in text.bytes().enumerate() {
        let digit = BASE64URL.iter().position(|known| *known == byte)?;
        let digit = u128::try_from(digit).ok()?;
        bits = if at == 21 {
            (bits << 2) | (digit >> 4)
        } else {
            (bits << 6) | digit
        };
    }
    Some(TopicId(Uuid::from_u128(bits)))
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const CHECKPOINT: &str = "checkpoint";
const EPOCHS: &str = "leader-epoch-checkpoint";
const PARTITION_METADATA: &str = "partition.metadata";
const SMALL_FILE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_base64url() {
        for (id, text) in [
            (0_u128, "AAAAAAAAAAAAAAAAAAAAAA"),
            (1, "AAAAAAAAAAAAAAAAAAAAAQ"),
            (u128::MAX, "_____________________w"),
        ] {
            let id = TopicId(Uuid::from_u128(id));
            assert_eq!(encode_id(id), text);
            assert_eq!(decode_id(text), Some(id));
        }
    }
}
