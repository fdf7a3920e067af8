//! Which producer snapshots are there, and which may go.

use std::io;
use std::path::Path;

use super::index;
use super::recovery::{SNAPSHOT, parse_offset};
use crate::ids::Offset;
use crate::storage::Storage;

/// Offsets of the snapshots among a directory's files, ascending.
pub(super) fn snapshots(names: &[String]) -> Vec<Offset> {
    let mut offsets: Vec<Offset> = names
        .iter()
        .filter_map(|name| parse_offset(name.strip_suffix(".snapshot")?))
        .collect();
    offsets.sort_unstable();
    offsets
}

/// Keeps the snapshot at `newest` and one before it, in case the log is cut.
pub(super) fn remove_old_snapshots(
    storage: &dyn Storage,
    directory: &Path,
    newest: Offset,
) -> io::Result<()> {
    let found = snapshots(&storage.list(directory)?);
    let older = found.iter().filter(|offset| **offset < newest).rev();
    older
        .skip(1)
        .try_for_each(|offset| storage.remove(&index::segment_path(directory, *offset, SNAPSHOT)))
}
