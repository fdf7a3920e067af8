//! Which producer snapshots are there, and which may go.

use std::io;
use std::path::Path;

use super::index;
use super::recovery::{SNAPSHOT, parse_offset};
use crate::ids::Offset;
use crate::storage::Storage;

/// Offsets of the snapshots that are there, ascending.
pub(super) fn snapshots(storage: &dyn Storage, directory: &Path) -> io::Result<Vec<Offset>> {
    let mut offsets: Vec<Offset> = storage
        .list(directory)?
        .iter()
        .filter_map(|name| parse_offset(name.strip_suffix(".snapshot")?))
        .collect();
    offsets.sort_unstable();
    Ok(offsets)
}

pub(super) fn remove_snapshots(
    storage: &dyn Storage,
    directory: &Path,
    mut gone: impl FnMut(Offset) -> bool,
) -> io::Result<()> {
    for offset in snapshots(storage, directory)? {
        if gone(offset) {
            storage.remove(&index::segment_path(directory, offset, SNAPSHOT))?;
        }
    }
    Ok(())
}

/// Keeps the snapshot at `newest` and one before it, in case the log is cut.
pub(super) fn remove_old_snapshots(
    storage: &dyn Storage,
    directory: &Path,
    newest: Offset,
) -> io::Result<()> {
    let before = snapshots(storage, directory)?
        .into_iter()
        .rfind(|offset| *offset < newest);
    remove_snapshots(storage, directory, |offset| {
        offset < newest && Some(offset) != before
    })
}
