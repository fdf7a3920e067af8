//! Record batches, format v2 (magic 2): header, records, compression, the broker's own checks, building.
//!
//! Pure: no file, no socket, no clock. Knows nothing of schemas; a record's value is bytes here.
//! Read [`BatchView`] first, then [`check`]. Every length in these bytes is a peer's word: none
//! drives an allocation or an index unchecked.
//!
//! The batch header (KIP-98), big-endian:
//!
//! ```text
//!  0      8     12     16  17   21   23    27     35     43    51    53    57    61
//!  | base | batch| leader|mag| crc |attr|last | base | max  | prod| prod| base| record| records
//!  |offset|length| epoch |ic |     |    |delta| time | time | id  |epoch| seq | count | ...
//!                                  `---- covered by the CRC-32C ------------------------->
//! ```

mod batch;
mod build;
pub mod check;
pub(crate) mod compression;
mod error;
mod header;
mod marker;
mod retain;
mod varint;

pub use batch::{BatchView, InflatedBatch, Record, RecordHeaders, RecordIter};
pub use build::BatchBuilder;
pub use check::{ProduceLimits, check_produced, check_records};
pub use compression::{Compression, DecompressionScratch, decompressed_bytes_max};
pub use error::BatchError;
pub use header::{
    BATCH_HEADER_BYTES, BatchHeader, assign_offsets, crc_of, set_create_time, set_log_append_time,
};
pub use marker::{MARKER_BATCH_BYTES_MAX, TransactionResult, marker_batch, marker_of};
pub(crate) use retain::{Retained, retain};

#[cfg(test)]
pub(crate) use header::ATTRIBUTE_TRANSACTIONAL;

#[cfg(test)]
mod tests;
