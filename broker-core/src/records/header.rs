//! The 61-byte header: decode it, and the two places where a broker writes into it.

use super::compression::Compression;
use super::error::BatchError;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// Size of the batch header in bytes.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Bytes before and including the length field: what `batch_length` does not count.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;

/// First byte that the CRC covers (the attributes).
pub(crate) const CRC_COVERS_FROM: usize = 21;

pub(crate) const ATTRIBUTE_COMPRESSION: i16 = 0b111;
pub(crate) const ATTRIBUTE_LOG_APPEND_TIME: i16 = 1 << 3;
pub(crate) const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
pub(crate) const ATTRIBUTE_CONTROL: i16 = 1 << 5;
pub(crate) const ATTRIBUTE_DELETE_HORIZON: i16 = 1 << 6;

/// The 61-byte header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 in a produced batch.
    pub base_offset: Offset,
    /// Length of what follows this field, in bytes.
    pub batch_length: i32,
    /// Leader epoch at the append; clients send -1 or 0.
    pub leader_epoch: LeaderEpoch,
    /// Format, always 2.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Bits: 0-2 compression, 3 log append time, 4 transactional, 5 control, 6 delete horizon.
    pub attributes: i16,
    /// Offset of the last record relative to the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, in ms since the epoch.
    pub base_timestamp: i64,
    /// Largest timestamp, or the append time when bit 3 is set.
    pub max_timestamp: i64,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or -1.
    pub base_sequence: Sequence,
    /// How many records follow.
    pub record_count: i32,
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`, of which there may be more.
    ///
    /// # Errors
    /// [`BatchError::Truncated`], [`BatchError::Magic`], [`BatchError::Length`]. The CRC is not
    /// checked, and the records need not be there.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            // The magic byte tells an old message set from a cut batch.
            if let Some(&magic) = bytes.get(16)
                && magic != 2
            {
                return Err(BatchError::Magic {
                    found: magic.cast_signed(),
                });
            }
            return Err(BatchError::Truncated {
                needed: BATCH_HEADER_BYTES,
                available: bytes.len(),
            });
        };
        let header = Fields(header);
        let magic = i8::from_be_bytes(header.at(16));
        if magic != 2 {
            return Err(BatchError::Magic { found: magic });
        }
        let batch_length = i32::from_be_bytes(header.at(8));
        let smallest = BATCH_HEADER_BYTES - LENGTH_PREFIX_BYTES;
        if usize::try_from(batch_length).map_or(true, |length| length < smallest) {
            return Err(BatchError::Length {
                found: batch_length,
            });
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(header.at(0))),
            batch_length,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(header.at(12))),
            magic,
            crc: u32::from_be_bytes(header.at(17)),
            attributes: i16::from_be_bytes(header.at(21)),
            last_offset_delta: i32::from_be_bytes(header.at(23)),
            base_timestamp: i64::from_be_bytes(header.at(27)),
            max_timestamp: i64::from_be_bytes(header.at(35)),
            producer_id: ProducerId(i64::from_be_bytes(header.at(43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(header.at(51))),
            base_sequence: Sequence(i32::from_be_bytes(header.at(53))),
            record_count: i32::from_be_bytes(header.at(57)),
        })
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(i64::from(self.last_offset_delta)),
        )
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_id(self.attributes & ATTRIBUTE_COMPRESSION)
    }

    /// Written by a coordinator (transaction markers), never by a client.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether `max_timestamp` is the broker's append time.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// Total size on disk and on the wire, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0) + LENGTH_PREFIX_BYTES
    }
}

/// Fixed-position reads whose bounds the compiler sees.
struct Fields<'a>(&'a [u8; BATCH_HEADER_BYTES]);

impl Fields<'_> {
    fn at<const N: usize>(&self, position: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.0[position..position + N]);
        out
    }
}

/// CRC-32C (Castagnoli) of a whole batch, as its header should hold it; 0 for a slice too short
/// to be one.
#[must_use]
pub fn crc_of(batch: &[u8]) -> u32 {
    batch
        .get(CRC_COVERS_FROM..)
        .map_or(0, crc_fast::crc32_iscsi)
}

/// Writes base offset and leader epoch in place (bytes 0-7 and 12-15, outside the CRC).
///
/// `batch` is a whole batch; a slice too short to be one is left alone.
pub fn assign_offsets(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    if let Some(header) = batch.first_chunk_mut::<BATCH_HEADER_BYTES>() {
        header[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
        header[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    }
}

/// Stamps the append time: attribute bit 3, the max timestamp, and so a new CRC. Record deltas
/// stay, as in Kafka: readers take the max timestamp for all of them.
pub fn set_log_append_time(batch: &mut [u8], now_ms: i64) {
    if let Some(header) = batch.first_chunk_mut::<BATCH_HEADER_BYTES>() {
        let attributes = i16::from_be_bytes([header[21], header[22]]) | ATTRIBUTE_LOG_APPEND_TIME;
        header[21..23].copy_from_slice(&attributes.to_be_bytes());
        header[35..43].copy_from_slice(&now_ms.to_be_bytes());
        let crc = crc_of(batch);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Makes the timestamps the producer's: attribute bit 3 cleared, the max timestamp corrected, and so
/// a new CRC. The answer says whether anything was wrong.
pub fn set_create_time(batch: &mut [u8], max_timestamp: i64) -> bool {
    let Some(header) = batch.first_chunk_mut::<BATCH_HEADER_BYTES>() else {
        return false;
    };
    let attributes = i16::from_be_bytes([header[21], header[22]]);
    let is_right = attributes & ATTRIBUTE_LOG_APPEND_TIME == 0
        && header[35..43] == max_timestamp.to_be_bytes();
    if is_right {
        return false;
    }
    let attributes = attributes & !ATTRIBUTE_LOG_APPEND_TIME;
    header[21..23].copy_from_slice(&attributes.to_be_bytes());
    header[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    let crc = crc_of(batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    true
}
