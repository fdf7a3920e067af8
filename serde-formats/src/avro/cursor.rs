//! Avro's binary primitives, read from a slice with every bound checked.
//!
//! `FULL` chooses between the strict reading and that of Apache's decoders (see
//! [`crate::ValidationLevel`]). Errors are one byte, [`Fault`]; place and words are added by
//! whoever knows them. Source: Avro 1.12 specification, "Binary Encoding".

use crate::validator::{Violation, ViolationReason};

/// Most items of zero bytes (`null`, empty records) one datum may hold: they cost the sender
/// nothing and every reader memory.
pub(super) const ZERO_BYTE_ITEMS_MAX: u32 = 65_536;

/// Most values nested in one another through recursion, arrays and maps.
pub(super) const NESTING_MAX: usize = 1024;

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Truncated,
    VarintTooLong,
    IntRange,
    NegativeLength,
    Utf8,
    KeyUtf8,
    Boolean,
    EnumIndex,
    UnionIndex,
    BlockCount,
    BlockFit,
    BlockSize,
    ZeroByteItems,
    Nesting,
    Uuid,
    DecimalEmpty,
    DecimalPrecision,
    BigDecimal,
    TimeOfDay,
    Years,
    /// Not an error of the payload: the small stack is full, use the large one.
    StackFull,
}

impl Fault {
    /// The violation of a value described by `what` (`string`, `enum`, `array`).
    pub(super) fn violation(self, what: &str, path: String, byte_offset: usize) -> Violation {
        use ViolationReason as R;
        let (reason, detail) = match self {
            Self::Truncated => (R::Truncated, format!("payload ends inside {what}")),
            Self::VarintTooLong => (
                R::Malformed,
                format!("expected {what}, found a varint of more than 64 bits"),
            ),
            Self::IntRange => (
                R::Malformed,
                format!("expected {what}, found a varint of more than 32 bits"),
            ),
            Self::NegativeLength => (
                R::Malformed,
                format!("expected {what}, found a negative length"),
            ),
            Self::Utf8 => (R::InvalidUtf8, format!("{what} is not UTF-8")),
            Self::KeyUtf8 => (R::InvalidUtf8, "map key is not UTF-8".to_owned()),
            Self::Boolean => (
                R::InvalidBoolean,
                "expected boolean, found a byte that is neither 0 nor 1".to_owned(),
            ),
            Self::EnumIndex => (
                R::EnumOutOfRange,
                format!("index is outside the symbols of {what}"),
            ),
            Self::UnionIndex => (
                R::UnionOutOfRange,
                format!("index is outside the branches of {what}"),
            ),
            Self::BlockCount => (R::InvalidBlock, format!("block count of {what} is invalid")),
            Self::BlockFit => (
                R::InvalidBlock,
                format!("block count of {what} is larger than the bytes left can hold"),
            ),
            Self::BlockSize => (
                R::InvalidBlock,
                format!("block size of {what} does not match its items"),
            ),
            Self::ZeroByteItems => (
                R::LimitExceeded,
                format!("more than {ZERO_BYTE_ITEMS_MAX} items of zero bytes"),
            ),
            Self::Uuid => (R::LogicalType, "expected the text of a uuid".to_owned()),
            Self::DecimalEmpty => (
                R::LogicalType,
                "expected a decimal, found no bytes".to_owned(),
            ),
            Self::DecimalPrecision => (
                R::LogicalType,
                "decimal has more digits than its precision".to_owned(),
            ),
            Self::BigDecimal => (
                R::LogicalType,
                "expected a big-decimal, an unscaled value and its scale".to_owned(),
            ),
            Self::TimeOfDay => (R::LogicalType, "time is outside of a day".to_owned()),
            Self::Years => (
                R::LogicalType,
                "date is outside of the years 1 to 9999".to_owned(),
            ),
            Self::Nesting | Self::StackFull => (
                R::LimitExceeded,
                format!("values nest deeper than {NESTING_MAX} levels"),
            ),
        };
        Violation {
            reason,
            path,
            byte_offset,
            detail,
        }
    }
}

/// Header of a block of array items or map entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Items in the block; zero ends the array or map.
    pub(super) count: u32,
    /// Where the items must end, when the block carries its size.
    pub(super) end: Option<usize>,
}

/// A place in a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).ok_or(Fault::Truncated)?;
        let taken = rest.get(..len).ok_or(Fault::Truncated)?;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    pub(super) fn boolean<const FULL: bool>(&mut self) -> Result<bool, Fault> {
        let byte = self.byte()?;
        if FULL && byte > 1 {
            return Err(Fault::Boolean);
        }
        Ok(byte == 1)
    }

    /// A varint of up to ten bytes; longer forms than needed are allowed.
    #[inline]
    fn varint<const FULL: bool>(&mut self) -> Result<u64, Fault> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint::<FULL>(),
        }
    }

    #[inline(never)]
    fn long_varint<const FULL: bool>(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // The tenth byte holds one bit; Apache's decoder drops the others.
                return if FULL && shift == 63 && byte > 1 {
                    Err(Fault::VarintTooLong)
                } else {
                    Ok(value)
                };
            }
        }
        Err(Fault::VarintTooLong)
    }

    /// A varint of up to five bytes holding 32 bits.
    #[inline]
    fn int_varint<const FULL: bool>(&mut self) -> Result<u32, Fault> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u32::from(byte))
            }
            _ => self.long_int_varint::<FULL>(),
        }
    }

    #[inline(never)]
    fn long_int_varint<const FULL: bool>(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if FULL && shift == 28 && byte > 0x0f {
                    Err(Fault::IntRange)
                } else {
                    Ok(value)
                };
            }
        }
        Err(Fault::IntRange)
    }

    pub(super) fn int<const FULL: bool>(&mut self) -> Result<i32, Fault> {
        let raw = self.int_varint::<FULL>()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    #[inline]
    pub(super) fn long<const FULL: bool>(&mut self) -> Result<i64, Fault> {
        let raw = self.varint::<FULL>()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Number of bytes of the varint here, if the next eight bytes hold all of it.
    #[inline]
    fn varint_len(&self) -> Option<usize> {
        let word = self.bytes.get(self.at..)?.first_chunk::<8>()?;
        let last = !u64::from_le_bytes(*word) & 0x8080_8080_8080_8080;
        (last != 0).then(|| last.trailing_zeros() as usize / 8 + 1)
    }

    /// Passes a long without computing it.
    #[inline]
    pub(super) fn skip_long<const FULL: bool>(&mut self) -> Result<(), Fault> {
        match self.varint_len() {
            Some(len) => {
                self.at += len;
                Ok(())
            }
            None => self.long_varint::<FULL>().map(drop),
        }
    }

    /// Passes an int; four bytes hold 28 bits and need no look at the value.
    #[inline]
    pub(super) fn skip_int<const FULL: bool>(&mut self) -> Result<(), Fault> {
        match self.varint_len() {
            Some(len) if len <= 4 => {
                self.at += len;
                Ok(())
            }
            _ => self.long_int_varint::<FULL>().map(drop),
        }
    }

    /// Bytes behind their length.
    #[inline]
    pub(super) fn sized<const FULL: bool>(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.long::<FULL>()?;
        let len = usize::try_from(len).map_err(|_| {
            if len < 0 {
                Fault::NegativeLength
            } else {
                Fault::Truncated
            }
        })?;
        self.take(len)
    }

    /// A string; UTF-8 when `FULL`.
    #[inline]
    pub(super) fn string<const FULL: bool>(&mut self) -> Result<&'a [u8], Fault> {
        let text = self.sized::<FULL>()?;
        if FULL && !is_utf8(text) {
            return Err(Fault::Utf8);
        }
        Ok(text)
    }

    /// An index below `count`.
    #[inline]
    pub(super) fn index<const FULL: bool>(
        &mut self,
        count: u32,
        outside: Fault,
    ) -> Result<u32, Fault> {
        let raw = self.int_varint::<FULL>()?;
        // An odd raw value is a negative number.
        if raw & 1 != 0 || raw >> 1 >= count {
            return Err(outside);
        }
        Ok(raw >> 1)
    }

    /// The header of the next block, whose items take at least `item_min` bytes each.
    /// `zero_byte_items` counts items that may take none, over the whole datum.
    pub(super) fn block<const FULL: bool>(
        &mut self,
        item_min: u32,
        zero_byte_items: &mut u32,
    ) -> Result<Block, Fault> {
        let count = self.long::<FULL>()?;
        if count == 0 {
            return Ok(Block {
                count: 0,
                end: None,
            });
        }
        let mut end = None;
        let count = if count < 0 {
            let size = self.long::<FULL>()?;
            let size = usize::try_from(size).map_err(|_| Fault::BlockSize)?;
            if FULL {
                if size > self.bytes.len() - self.at {
                    return Err(Fault::BlockSize);
                }
                end = Some(self.at + size);
            }
            count.checked_neg().ok_or(Fault::BlockCount)?
        } else {
            count
        };
        let count = u64::try_from(count).map_err(|_| Fault::BlockCount)?;
        let left = (self.bytes.len() - self.at) as u64;
        match item_min {
            0 => {
                *zero_byte_items = u32::try_from(count)
                    .ok()
                    .and_then(|count| zero_byte_items.checked_add(count))
                    .filter(|items| *items <= ZERO_BYTE_ITEMS_MAX)
                    .ok_or(Fault::ZeroByteItems)?;
            }
            min if count > left / u64::from(min) => return Err(Fault::BlockFit),
            _ => {}
        }
        Ok(Block {
            count: u32::try_from(count).map_err(|_| Fault::BlockFit)?,
            end,
        })
    }

    /// Checks that a block of known size ended where it said.
    #[inline]
    pub(super) fn end_block(&self, end: Option<usize>) -> Result<(), Fault> {
        match end {
            Some(end) if end != self.at => Err(Fault::BlockSize),
            _ => Ok(()),
        }
    }
}

/// Whether `text` is UTF-8. Short ASCII is the common case and is settled with overlapping loads;
/// simdutf8 pays for its set-up from about 64 bytes on.
#[inline]
fn is_utf8(text: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    if text.len() >= 64 {
        return simdutf8::basic::from_utf8(text).is_ok();
    }
    let is_ascii = if let (Some(first), Some(last)) =
        (text.first_chunk::<8>(), text.last_chunk::<8>())
    {
        let (middle, _) = text.as_chunks::<8>();
        let bits = middle.iter().fold(
            u64::from_le_bytes(*first) | u64::from_le_bytes(*last),
            |bits, word| bits | u64::from_le_bytes(*word),
        );
        bits & HIGH_BITS == 0
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (u32::from_le_bytes(*first) | u32::from_le_bytes(*last)) & 0x8080_8080 == 0
    } else {
        text.iter().all(u8::is_ascii)
    };
    is_ascii || std::str::from_utf8(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_agrees_with_std_at_every_length_and_place() {
        for len in 0..80 {
            for place in 0..len {
                for bad in [0x41, 0x80, 0xc3, 0xff] {
                    let mut text = vec![b'a'; len];
                    text[place] = bad;
                    if bad == 0xc3 && place + 1 < len {
                        text[place + 1] = 0xa9;
                    }
                    assert_eq!(is_utf8(&text), std::str::from_utf8(&text).is_ok());
                }
            }
        }
    }

    #[test]
    fn varints_at_their_edges() {
        type Case<'a> = (&'a [u8], Result<i64, Fault>, Result<i32, Fault>);
        // bytes, as a long, as an int, both strict
        let cases: &[Case<'_>] = &[
            (&[0x00], Ok(0), Ok(0)),
            (&[0x01], Ok(-1), Ok(-1)),
            (&[0x80, 0x00], Ok(0), Ok(0)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                Ok(-2_147_483_648),
                Ok(i32::MIN),
            ),
            (
                &[0x80, 0x80, 0x80, 0x80, 0x10],
                Ok(2_147_483_648),
                Err(Fault::IntRange),
            ),
            (
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
                Ok(0),
                Err(Fault::IntRange),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Ok(i64::MIN),
                Err(Fault::IntRange),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                Err(Fault::VarintTooLong),
                Err(Fault::IntRange),
            ),
            (&[0x80], Err(Fault::Truncated), Err(Fault::Truncated)),
            (&[], Err(Fault::Truncated), Err(Fault::Truncated)),
        ];
        for (bytes, long, int) in cases {
            // Trailing bytes select the fast path, none the slow one.
            for tail in [0, 12] {
                let mut data = bytes.to_vec();
                if !matches!(bytes.last(), None | Some(0x80)) {
                    data.extend(std::iter::repeat_n(0x2a, tail));
                }
                let mut cursor = Cursor::new(&data);
                assert_eq!(cursor.long::<true>(), *long, "{bytes:x?}");
                let mut skip = Cursor::new(&data);
                assert_eq!(skip.skip_long::<true>(), long.map(drop), "{bytes:x?}");
                if long.is_ok() {
                    assert_eq!((cursor.at, skip.at), (bytes.len(), bytes.len()));
                }
                let mut cursor = Cursor::new(&data);
                assert_eq!(cursor.int::<true>(), *int, "{bytes:x?}");
                let mut skip = Cursor::new(&data);
                assert_eq!(skip.skip_int::<true>(), int.map(drop), "{bytes:x?}");
            }
        }
    }
}
