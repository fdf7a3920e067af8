//! The four codecs of Kafka batches: gzip, snappy (xerial framing or raw), lz4 frame, zstd.
//!
//! Decompression is bounded by [`decompressed_bytes_max`] and never trusts a declared size.

use std::fmt;
use std::io::{self, Read, Write};

use zstd::zstd_safe;

use super::error::BatchError;

/// Codec of a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// RFC 1952.
    Gzip,
    /// Raw snappy blocks, usually in snappy-java's ("xerial") framing.
    Snappy,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard, from Produce v7 and Fetch v10 on.
    Zstd,
}

impl Compression {
    /// By the id in the attributes.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn from_id(id: i16) -> Result<Self, BatchError> {
        Ok(match id {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return Err(BatchError::UnknownCompression { id }),
        })
    }

    /// The id in the attributes.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// As in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Most that `compressed_bytes` may decompress to: max(64 MiB, 32 times), so that a bomb costs
/// no more than a large honest batch.
#[must_use]
pub fn decompressed_bytes_max(compressed_bytes: usize) -> usize {
    compressed_bytes
        .saturating_mul(32)
        .max(DECOMPRESSED_FLOOR_BYTES)
}

const DECOMPRESSED_FLOOR_BYTES: usize = 64 << 20;

/// A buffer larger than this is not kept for the next batch.
const SCRATCH_KEPT_BYTES_MAX: usize = 8 << 20;

/// Buffers and codec contexts reused from batch to batch.
#[derive(Default)]
pub struct DecompressionScratch {
    buffer: Vec<u8>,
    snappy: snap::raw::Decoder,
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl fmt::Debug for DecompressionScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecompressionScratch")
            .field("capacity", &self.buffer.capacity())
            .finish_non_exhaustive()
    }
}

impl DecompressionScratch {
    /// Decompresses `compressed`; the answer lives until the next call.
    ///
    /// # Errors
    /// [`BatchError::Decompress`] and [`BatchError::DecompressedTooLarge`].
    pub fn decompress(
        &mut self,
        codec: Compression,
        compressed: &[u8],
    ) -> Result<&[u8], BatchError> {
        self.decompress_at_most(codec, compressed, decompressed_bytes_max(compressed.len()))
    }

    /// The same with a limit of the caller's, in bytes.
    ///
    /// # Errors
    /// [`BatchError::Decompress`] and [`BatchError::DecompressedTooLarge`].
    pub fn decompress_at_most(
        &mut self,
        codec: Compression,
        compressed: &[u8],
        limit: usize,
    ) -> Result<&[u8], BatchError> {
        if self.buffer.capacity() > SCRATCH_KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        let done = match codec {
            Compression::None if compressed.len() > limit => Err(Failure::TooLarge),
            Compression::None => {
                self.buffer.extend_from_slice(compressed);
                Ok(())
            }
            Compression::Gzip => read_bounded(
                flate2::bufread::MultiGzDecoder::new(compressed),
                limit,
                &mut self.buffer,
            ),
            Compression::Snappy => self.snappy(compressed, limit),
            Compression::Lz4 => read_bounded(
                lz4_flex::frame::FrameDecoder::new(compressed),
                limit,
                &mut self.buffer,
            ),
            Compression::Zstd => self.zstd(compressed, limit),
        };
        match done {
            Ok(()) => Ok(&self.buffer),
            Err(Failure::TooLarge) => Err(BatchError::DecompressedTooLarge { limit_bytes: limit }),
            Err(Failure::Data(reason)) => Err(BatchError::Decompress {
                codec: codec.name(),
                reason,
            }),
        }
    }

    fn snappy(&mut self, compressed: &[u8], limit: usize) -> Result<(), Failure> {
        let Some(mut chunks) = compressed
            .strip_prefix(XERIAL_MAGIC)
            .and_then(|rest| rest.get(8..))
        else {
            return self.snappy_block(compressed, limit);
        };
        // snappy-java and its imitators: version and compatible version, then blocks of a
        // big-endian length each.
        while !chunks.is_empty() {
            let Some((length, rest)) = chunks.split_first_chunk::<4>() else {
                return Err(Failure::Data("block length is cut short".to_owned()));
            };
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let Some((block, rest)) = rest.split_at_checked(length) else {
                return Err(Failure::Data(format!(
                    "block of {length} bytes where {} remain",
                    rest.len()
                )));
            };
            self.snappy_block(block, limit)?;
            chunks = rest;
        }
        Ok(())
    }

    fn snappy_block(&mut self, block: &[u8], limit: usize) -> Result<(), Failure> {
        let claimed =
            snap::raw::decompress_len(block).map_err(|error| Failure::Data(error.to_string()))?;
        // No element of the format yields more than 64 bytes from 3: a larger claim is a lie.
        if claimed > block.len().saturating_mul(64) {
            return Err(Failure::Data(format!(
                "{} bytes cannot decompress to {claimed}",
                block.len()
            )));
        }
        let start = self.buffer.len();
        let end = start.saturating_add(claimed);
        if end > limit {
            return Err(Failure::TooLarge);
        }
        self.buffer.resize(end, 0);
        let written = self
            .snappy
            .decompress(block, self.buffer.get_mut(start..).unwrap_or_default())
            .map_err(|error| Failure::Data(error.to_string()))?;
        self.buffer.truncate(start.saturating_add(written));
        Ok(())
    }

    fn zstd(&mut self, compressed: &[u8], limit: usize) -> Result<(), Failure> {
        let context = self.zstd.get_or_insert_with(zstd_safe::DCtx::create);
        // A believable declared size allows one pass without the decoder's own window.
        let declared = zstd_safe::get_frame_content_size(compressed)
            .ok()
            .flatten()
            .and_then(|size| usize::try_from(size).ok());
        if let Some(size) = declared
            && size <= compressed.len().saturating_mul(32).min(limit)
            && zstd_safe::find_frame_compressed_size(compressed) == Ok(compressed.len())
        {
            self.buffer.reserve(size);
            return match context.decompress(&mut self.buffer, compressed) {
                Ok(_) => Ok(()),
                Err(code) => {
                    self.zstd = None;
                    Err(Failure::Data(zstd_safe::get_error_name(code).to_owned()))
                }
            };
        }
        let result = read_bounded(
            zstd::stream::read::Decoder::with_context(compressed, context),
            limit,
            &mut self.buffer,
        );
        // A frame left half read must not touch the next batch, nor a huge window stay.
        if result.is_err() || context.sizeof() > SCRATCH_KEPT_BYTES_MAX {
            self.zstd = None;
        }
        result
    }
}

/// First bytes of snappy-java's stream framing.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";

enum Failure {
    TooLarge,
    Data(String),
}

fn read_bounded(reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .take(one_more)
        .read_to_end(out)
        .map_err(|error| Failure::Data(error.to_string()))?;
    if out.len() > limit {
        return Err(Failure::TooLarge);
    }
    Ok(())
}

/// Compresses `records` onto `out`.
pub(crate) fn compress(codec: Compression, records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match codec {
        Compression::None => out.extend_from_slice(records),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(records)?;
            encoder.finish()?;
        }
        Compression::Snappy => {
            out.extend_from_slice(XERIAL_MAGIC);
            out.extend_from_slice(&1_i32.to_be_bytes());
            out.extend_from_slice(&1_i32.to_be_bytes());
            let mut encoder = snap::raw::Encoder::new();
            for chunk in records.chunks(32 << 10) {
                let block = encoder.compress_vec(chunk)?;
                let length = i32::try_from(block.len()).unwrap_or(i32::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&block);
            }
        }
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(records)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        Compression::Zstd => {
            let compressed = zstd::bulk::compress(records, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            out.extend_from_slice(&compressed);
        }
    }
    Ok(())
}
