//! Walking a segment file batch by batch: by headers alone, or with every checksum.

use std::io;

use crate::ids::Offset;
use crate::records::{BATCH_HEADER_BYTES, BatchHeader};
use crate::storage::{StorageFile, read_full_at};

/// How closely a scan looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Header fields only: for data known to be sound.
    Headers,
    /// The CRC of every batch too: for data that a crash may have torn.
    Checksums,
}

/// Where to scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// First byte, the start of a batch.
    pub(crate) position: u64,
    /// One past the last byte.
    pub(crate) end: u64,
    /// The least base offset that the first batch may have, if known.
    pub(crate) next_offset: Option<i64>,
    /// At [`Depth::Checksums`], batches may be missing below this offset: only compaction makes
    /// gaps, and it never touches what a crash may have torn. At [`Depth::Headers`], anywhere.
    pub(crate) compacted_below: Offset,
}

impl Range {
    /// Whether a batch at `found` cannot follow one that ended before `next`.
    fn breaks(&self, depth: Depth, next: i64, found: i64) -> bool {
        let may_skip = depth == Depth::Headers || found <= self.compacted_below.0;
        found < next || (found > next && !may_skip)
    }
}

/// How far a scan came.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// One past the last good batch.
    pub(crate) position: u64,
    /// Offset after the last good batch; the range's when there was none.
    pub(crate) next_offset: Option<i64>,
    /// Why it stopped before the end of the range.
    pub(crate) fault: Option<String>,
}

/// Visits every good batch of `range` in order, with its position.
///
/// A batch is good when its header is sane, it is whole, its offsets follow those before it, its
/// leader epoch is not older than the one before it (bytes of an earlier life of the file), and,
/// at [`Depth::Checksums`], its CRC matches.
pub(crate) fn scan(
    file: &dyn StorageFile,
    range: Range,
    depth: Depth,
    visit: &mut dyn FnMut(&BatchHeader, u64),
) -> io::Result<Scanned> {
    let mut window = Window::new(file, range.end, depth);
    let mut scanned = Scanned {
        position: range.position,
        next_offset: range.next_offset,
        fault: None,
    };
    let mut epoch = i32::MIN;
    while scanned.position < range.end {
        let remaining = range.end - scanned.position;
        let header = match BatchHeader::parse(window.at(scanned.position, BATCH_HEADER_BYTES)?) {
            Ok(header) => header,
            Err(error) => {
                scanned.fault = Some(error.to_string());
                break;
            }
        };
        let size = u64::try_from(header.size()).unwrap_or(u64::MAX);
        let fault = if size > remaining {
            Some(format!("batch of {size} bytes where {remaining} remain"))
        } else if header.last_offset_delta < 0 {
            Some(format!("last offset delta {}", header.last_offset_delta))
        } else if scanned
            .next_offset
            .is_some_and(|next| range.breaks(depth, next, header.base_offset.0))
        {
            Some(format!("base offset {} is not next", header.base_offset))
        } else if header.leader_epoch.0 < epoch {
            Some(format!(
                "leader epoch {} after {epoch}",
                header.leader_epoch
            ))
        } else if depth == Depth::Checksums
            && window.crc(scanned.position + 21, scanned.position + size)? != header.crc
        {
            Some(format!(
                "crc of the batch at offset {} differs",
                header.base_offset
            ))
        } else {
            None
        };
        if fault.is_some() {
            scanned.fault = fault;
            break;
        }
        visit(&header, scanned.position);
        epoch = header.leader_epoch.0;
        scanned.position += size;
        scanned.next_offset = Some(header.last_offset().0.saturating_add(1));
    }
    Ok(scanned)
}

/// A piece of the file held in memory: small for hopping over headers, large for reading all.
pub(crate) struct Window<'a> {
    file: &'a dyn StorageFile,
    /// Where the part of the file ends that is looked at.
    end: u64,
    start: u64,
    bytes: Vec<u8>,
    /// Bytes read at once.
    size: usize,
}

impl<'a> Window<'a> {
    /// Over the file up to `end`.
    pub(crate) fn new(file: &'a dyn StorageFile, end: u64, depth: Depth) -> Self {
        Self {
            file,
            end,
            start: 0,
            bytes: Vec::new(),
            size: match depth {
                Depth::Headers => HEADER_WINDOW_BYTES,
                Depth::Checksums => CHECKSUM_WINDOW_BYTES,
            },
        }
    }

    /// Up to `length` bytes at `position`: fewer only at the end.
    pub(crate) fn at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        if !self.holds(position, length) {
            let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
            // Ten thousand nearly empty partitions must not cost a window each.
            self.bytes.resize(self.size.max(length).min(left), 0);
            let read = read_full_at(self.file, &mut self.bytes, position)?;
            self.bytes.truncate(read);
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let until = from.saturating_add(length).min(self.bytes.len());
        Ok(self.bytes.get(from..until).unwrap_or_default())
    }

    fn holds(&self, position: u64, length: usize) -> bool {
        let end = self.start + u64::try_from(self.bytes.len()).unwrap_or(0);
        position >= self.start && position + u64::try_from(length).unwrap_or(u64::MAX) <= end
    }

    fn crc(&mut self, from: u64, until: u64) -> io::Result<u32> {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        let mut position = from;
        while position < until {
            let left = usize::try_from(until - position).unwrap_or(usize::MAX);
            let piece = self.at(position, left.min(CHECKSUM_WINDOW_BYTES))?;
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            position += u64::try_from(piece.len()).unwrap_or(0);
        }
        Ok(u32::try_from(digest.finalize()).unwrap_or(0))
    }
}

const HEADER_WINDOW_BYTES: usize = 4 << 10;
const CHECKSUM_WINDOW_BYTES: usize = 1 << 20;
