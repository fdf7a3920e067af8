//! A batch over borrowed bytes, and the walk over its records.

use super::compression::{Compression, DecompressionScratch};
use super::error::BatchError;
use super::header::{BATCH_HEADER_BYTES, BatchHeader, crc_of};
use super::varint;

/// A whole batch, header checked against the slice's length.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    /// The decoded header.
    pub header: BatchHeader,
    /// Header and records.
    pub bytes: &'a [u8],
    /// The records decompressed, once somebody did; see [`BatchView::inflated`].
    plain: Option<&'a [u8]>,
}

impl<'a> BatchView<'a> {
    /// The first batch of `bytes` and what follows it. Checks magic and length, not the CRC.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`], and [`BatchError::Truncated`] when the records are not
    /// all there.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size();
        let Some((batch, rest)) = bytes.split_at_checked(needed) else {
            return Err(BatchError::Truncated {
                needed,
                available: bytes.len(),
            });
        };
        Ok((
            Self {
                header,
                bytes: batch,
                plain: None,
            },
            rest,
        ))
    }

    /// The same batch with its records decompressed into `scratch`, for those who walk them more
    /// than once. Bounded as [`BatchView::records`] is.
    ///
    /// # Errors
    /// What stops the decompression.
    pub fn inflated<'s>(
        &self,
        scratch: &'s mut DecompressionScratch,
    ) -> Result<InflatedBatch<'s>, BatchError>
    where
        'a: 's,
    {
        let plain = match (self.plain, self.header.compression()?) {
            (Some(plain), _) => plain,
            (None, Compression::None) => self.stored(),
            (None, codec) => scratch.decompress(codec, self.stored())?,
        };
        Ok(InflatedBatch {
            view: BatchView {
                header: self.header,
                bytes: self.bytes,
                plain: Some(plain),
            },
            plain,
        })
    }

    /// The records as they are stored.
    fn stored(&self) -> &'a [u8] {
        self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default()
    }

    /// Compares the stored CRC-32C with that of the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc_of(self.bytes);
        if computed != self.header.crc {
            return Err(BatchError::Crc {
                stored: self.header.crc,
                computed,
            });
        }
        Ok(())
    }

    /// Walks the records, decompressing into `scratch` (bounded: at most max(64 MiB, 32 x
    /// compressed)). No allocation per record.
    ///
    /// # Errors
    /// What stops the decompression; a malformed record is an error of the iterator.
    pub fn records<'s>(
        &self,
        scratch: &'s mut DecompressionScratch,
    ) -> Result<RecordIter<'s>, BatchError>
    where
        'a: 's,
    {
        Ok(self.inflated(scratch)?.records())
    }
}

/// A batch whose records are readable as they are, however often they are walked.
#[derive(Debug, Clone, Copy)]
pub struct InflatedBatch<'s> {
    view: BatchView<'s>,
    plain: &'s [u8],
}

impl<'s> InflatedBatch<'s> {
    /// The batch; its records are not decompressed again.
    #[must_use]
    pub fn view(&self) -> &BatchView<'s> {
        &self.view
    }

    /// Walks the records.
    #[must_use]
    pub fn records(&self) -> RecordIter<'s> {
        RecordIter {
            bytes: self.plain,
            index: 0,
            count: self.view.header.record_count,
            done: false,
        }
    }
}

/// Iterator over records; a malformed record is yielded as an error and ends it, as do bytes
/// left after the last one.
#[derive(Debug, Clone)]
pub struct RecordIter<'s> {
    bytes: &'s [u8],
    index: i32,
    count: i32,
    done: bool,
}

impl<'s> Iterator for RecordIter<'s> {
    type Item = Result<Record<'s>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.index >= self.count {
            self.done = true;
            return (!self.bytes.is_empty() || self.count < 0).then_some(Err(
                BatchError::TrailingBytes {
                    bytes: self.bytes.len(),
                    record_count: self.count,
                },
            ));
        }
        match parse_record(self.bytes) {
            Ok((record, rest)) => {
                self.bytes = rest;
                self.index += 1;
                Some(Ok(record))
            }
            Err(reason) => {
                self.done = true;
                Some(Err(BatchError::Record {
                    index: self.index,
                    reason,
                }))
            }
        }
    }
}

/// One record, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'s> {
    /// Offset relative to the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp relative to the batch's base timestamp, in ms.
    pub timestamp_delta: i64,
    /// The key, if any.
    pub key: Option<&'s [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'s [u8]>,
    /// The headers.
    pub headers: RecordHeaders<'s>,
}

/// Undecoded headers; iterate to read them. Their bytes were checked by the record walk.
#[derive(Debug, Clone, Copy)]
pub struct RecordHeaders<'s> {
    bytes: &'s [u8],
    count: usize,
}

impl<'s> RecordHeaders<'s> {
    /// How many headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// (name, value) pairs in order; a name may occur more than once.
    pub fn iter(&self) -> impl Iterator<Item = (&'s [u8], Option<&'s [u8]>)> + use<'s> {
        let mut left = self.bytes;
        let mut remaining = self.count;
        std::iter::from_fn(move || {
            remaining = remaining.checked_sub(1)?;
            let (name, value, rest) = parse_header(left).ok()?;
            left = rest;
            Some((name, value))
        })
    }

    /// The last header of that name with a non-null value.
    #[must_use]
    pub fn last(&self, name: &[u8]) -> Option<&'s [u8]> {
        let mut found = None;
        for (candidate, value) in self.iter() {
            if candidate == name && value.is_some() {
                found = value;
            }
        }
        found
    }
}

type Reason = &'static str;

/// `length attributes timestampDelta offsetDelta keyLength key valueLength value headers`.
#[inline]
fn parse_record(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), Reason> {
    let (length, rest) = varint::read_i32(bytes).ok_or("length is cut short")?;
    let length = usize::try_from(length).map_err(|_| "length is negative")?;
    let (body, rest) = rest
        .split_at_checked(length)
        .ok_or("length passes the end of the batch")?;
    let (_attributes, body) = body.split_first().ok_or("no attributes")?;
    let (timestamp_delta, body) = varint::read_i64(body).ok_or("timestamp delta is cut short")?;
    let (offset_delta, body) = varint::read_i32(body).ok_or("offset delta is cut short")?;
    let (key, body) = parse_bytes(body).map_err(|()| "key passes the end of the record")?;
    let (value, body) = parse_bytes(body).map_err(|()| "value passes the end of the record")?;
    let (count, body) = varint::read_i32(body).ok_or("header count is cut short")?;
    let count = usize::try_from(count).map_err(|_| "header count is negative")?;
    // A header is at least two bytes, so this loop is bounded by the record.
    let mut left = body;
    for _ in 0..count {
        let (_, _, after) = parse_header(left)?;
        left = after;
    }
    if !left.is_empty() {
        return Err("bytes remain after the headers");
    }
    let record = Record {
        offset_delta,
        timestamp_delta,
        key,
        value,
        headers: RecordHeaders { bytes: body, count },
    };
    Ok((record, rest))
}

type Header<'s> = (&'s [u8], Option<&'s [u8]>, &'s [u8]);

fn parse_header(bytes: &[u8]) -> Result<Header<'_>, Reason> {
    let (name, rest) = parse_bytes(bytes).map_err(|()| "header name passes the record's end")?;
    let name = name.ok_or("header name is null")?;
    let (value, rest) = parse_bytes(rest).map_err(|()| "header value passes the record's end")?;
    Ok((name, value, rest))
}

/// A varint length, -1 for null, and that many bytes.
#[inline]
fn parse_bytes(bytes: &[u8]) -> Result<(Option<&[u8]>, &[u8]), ()> {
    let (length, rest) = varint::read_i32(bytes).ok_or(())?;
    if length < 0 {
        // Kafka writes -1; its reader takes any negative length for null.
        return Ok((None, rest));
    }
    let length = usize::try_from(length).map_err(|_| ())?;
    let (value, rest) = rest.split_at_checked(length).ok_or(())?;
    Ok((Some(value), rest))
}
