//! The small files of a partition's directory, and how they are read back with suspicion.

use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::ids::{Offset, TopicId};
use crate::storage::{Persistence, Storage, read_file, replace_file};

use super::epochs::LeaderEpochs;

/// First readable offset; records below it are deleted or wait to be. Kafka keeps it, and the
/// recovery point, in files of the whole data directory; beside the segments they need no
/// agreement among partitions.
///
/// Always durable, and in a file of its own: replacing it together with something that is not
/// synced would put it at risk.
pub(crate) fn save_log_start(
    log_start: Offset,
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<()> {
    save_offset(
        log_start,
        storage,
        &directory.join(LOG_START),
        Persistence::Durable,
    )
}

pub(crate) fn load_log_start(
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<Option<Offset>> {
    load_offset(storage, &directory.join(LOG_START))
}

/// Everything below the recovery point is on disk and sound.
pub(crate) fn save_recovery_point(
    recovery_point: Offset,
    storage: &dyn Storage,
    directory: &Path,
    persistence: Persistence,
) -> io::Result<()> {
    save_offset(
        recovery_point,
        storage,
        &directory.join(RECOVERY_POINT),
        persistence,
    )
}

pub(crate) fn load_recovery_point(
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<Option<Offset>> {
    load_offset(storage, &directory.join(RECOVERY_POINT))
}

/// Below it the log is compacted, and may have gaps. Durable, as the recovery point is before any
/// segment is exchanged: one of the two is always there to tell that gaps are no faults.
pub(crate) fn save_first_dirty(
    first_dirty: Offset,
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<()> {
    let path = directory.join(FIRST_DIRTY);
    save_offset(first_dirty, storage, &path, Persistence::Durable)
}

pub(crate) fn load_first_dirty(
    storage: &dyn Storage,
    directory: &Path,
) -> io::Result<Option<Offset>> {
    load_offset(storage, &directory.join(FIRST_DIRTY))
}

/// Notes that a sync failed: what was written before may be readable and on no disk. Not synced: a
/// power loss that takes the note takes what could be misread as well.
pub(crate) fn save_sync_failure(storage: &dyn Storage, directory: &Path) -> io::Result<()> {
    replace_file(
        storage,
        &directory.join(SYNC_FAILED),
        b"0\n",
        Persistence::Advisory,
    )
}

pub(crate) fn load_sync_failure(storage: &dyn Storage, directory: &Path) -> io::Result<bool> {
    Ok(read_text(storage, &directory.join(SYNC_FAILED))?.is_some())
}

pub(crate) fn remove_sync_failure(storage: &dyn Storage, directory: &Path) -> io::Result<()> {
    storage.remove(&directory.join(SYNC_FAILED))
}

fn save_offset(
    offset: Offset,
    storage: &dyn Storage,
    path: &Path,
    persistence: Persistence,
) -> io::Result<()> {
    replace_file(
        storage,
        path,
        format!("0\n{offset}\n").as_bytes(),
        persistence,
    )
}

/// `None` when the file is missing or is not a version and an offset.
fn load_offset(storage: &dyn Storage, path: &Path) -> io::Result<Option<Offset>> {
    let text = read_text(storage, path)?;
    let offset = text
        .as_deref()
        .and_then(|text| text.strip_prefix("0\n")?.strip_suffix('\n')?.parse().ok())
        .filter(|offset: &i64| *offset >= 0);
    Ok(offset.map(Offset))
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
pub(super) const LOG_START: &str = "log-start-offset-checkpoint";
pub(super) const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
pub(super) const FIRST_DIRTY: &str = "cleaner-offset-checkpoint";
pub(super) const SYNC_FAILED: &str = "sync-failed";
pub(super) const EPOCHS: &str = "leader-epoch-checkpoint";
pub(super) const PARTITION_METADATA: &str = "partition.metadata";
/// All of them.
pub(super) const NAMES: [&str; 6] = [
    LOG_START,
    RECOVERY_POINT,
    FIRST_DIRTY,
    EPOCHS,
    PARTITION_METADATA,
    SYNC_FAILED,
];
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
