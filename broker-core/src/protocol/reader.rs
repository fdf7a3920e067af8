//! Bounded cursor over one message.
//!
//! Every read compares with the bytes that are left; a count is accepted only when the rest of the
//! message could hold that many elements.

use std::ops::Range;

use uuid::Uuid;

/// Why bytes are not the message they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct Malformed {
    /// What is wrong.
    pub reason: &'static str,
    /// Position in the message body, from 0.
    pub at: usize,
}

/// Cursor over the bytes of one message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    fn malformed<T>(&self, reason: &'static str) -> Result<T, Malformed> {
        Err(Malformed {
            reason,
            at: self.position,
        })
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        match rest.get(..count) {
            Some(taken) => {
                self.position += count;
                Ok(taken)
            }
            None => self.malformed("message ends early"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    /// A boolean: any byte but 0 is true.
    ///
    /// # Errors
    /// At the end of the message, as every method here.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.array::<1>()? != [0])
    }

    /// A signed byte.
    ///
    /// # Errors
    /// At the end of the message.
    pub fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// A 16-bit integer.
    ///
    /// # Errors
    /// At the end of the message.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// At the end of the message.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// At the end of the message.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A UUID, 16 bytes.
    ///
    /// # Errors
    /// At the end of the message.
    pub fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// An unsigned varint of at most five bytes.
    ///
    /// # Errors
    /// When it does not fit 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return self.malformed("varint exceeds 32 bits");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.malformed("varint exceeds five bytes")
    }

    /// Length of something nullable: compact (`varint - 1`, 0 is null) or `width` bytes (-1 is null).
    fn length(&mut self, flexible: bool, short: bool) -> Result<Option<usize>, Malformed> {
        let length = if flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else if short {
            i64::from(self.i16()?)
        } else {
            i64::from(self.i32()?)
        };
        match length {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => self.malformed("negative length"),
            },
        }
    }

    /// A nullable string.
    ///
    /// # Errors
    /// When it does not fit the message or is not UTF-8.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, Malformed> {
        let Some(length) = self.length(flexible, true)? else {
            return Ok(None);
        };
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => self.malformed("string is not UTF-8"),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// As [`Self::nullable_string`], and when it is null.
    pub fn string(&mut self, flexible: bool) -> Result<&'a str, Malformed> {
        match self.nullable_string(flexible)? {
            Some(text) => Ok(text),
            None => self.malformed("null where a string must be"),
        }
    }

    /// Where nullable bytes lie in the message.
    ///
    /// # Errors
    /// When they do not fit the message.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Range<usize>>, Malformed> {
        let Some(length) = self.length(flexible, false)? else {
            return Ok(None);
        };
        let start = self.position;
        self.take(length)?;
        Ok(Some(start..start + length))
    }

    /// Count of a nullable array whose elements take at least `element_bytes_min` bytes each.
    ///
    /// # Errors
    /// When the rest of the message cannot hold that many elements.
    pub fn nullable_count(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, Malformed> {
        let Some(count) = self.length(flexible, false)? else {
            return Ok(None);
        };
        match count.checked_mul(element_bytes_min) {
            Some(bytes) if bytes <= self.remaining() => Ok(Some(count)),
            _ => self.malformed("array count exceeds the message"),
        }
    }

    /// Count of an array; null counts as empty, as Kafka's own parser never sends it.
    ///
    /// # Errors
    /// As [`Self::nullable_count`], and when it is null.
    pub fn count(&mut self, flexible: bool, element_bytes_min: usize) -> Result<usize, Malformed> {
        match self.nullable_count(flexible, element_bytes_min)? {
            Some(count) => Ok(count),
            None => self.malformed("null where an array must be"),
        }
    }

    /// Reads the tagged fields of a flexible structure; `known` gets each tag and its bytes.
    ///
    /// # Errors
    /// When tags do not ascend or do not fit the message, and what `known` answers.
    pub fn tags(
        &mut self,
        flexible: bool,
        mut known: impl FnMut(u32, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !flexible {
            return Ok(());
        }
        let count = self.unsigned_varint()?;
        let mut previous = None;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if previous.is_some_and(|previous| previous >= tag) {
                return self.malformed("tagged fields do not ascend");
            }
            previous = Some(tag);
            let Ok(length) = usize::try_from(self.unsigned_varint()?) else {
                return self.malformed("tagged field length");
            };
            let payload = self.take(length)?;
            known(tag, &mut Reader::new(payload))?;
        }
        Ok(())
    }

    /// Skips the tagged fields of a flexible structure.
    ///
    /// # Errors
    /// As [`Self::tags`].
    pub fn skip_tags(&mut self, flexible: bool) -> Result<(), Malformed> {
        self.tags(flexible, |_, _| Ok(()))
    }

    /// Ends the message.
    ///
    /// # Errors
    /// When bytes are left over.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            self.malformed("bytes left after the message")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_the_message_are_refused() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(
            reader.nullable_count(true, 1).map_err(|e| e.reason),
            Err("array count exceeds the message")
        );
        let mut reader = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(
            reader.nullable_count(false, 8).map_err(|e| e.reason),
            Err("array count exceeds the message")
        );
    }

    #[test]
    fn varints_end_within_five_bytes() {
        let cases: &[(&[u8], Result<u32, &str>)] = &[
            (&[0], Ok(0)),
            (&[0x96, 0x01], Ok(150)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x1f],
                Err("varint exceeds 32 bits"),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x8f],
                Err("varint exceeds five bytes"),
            ),
            (&[0x80], Err("message ends early")),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                Reader::new(bytes).unsigned_varint().map_err(|e| e.reason),
                *expected,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn lengths_below_null_are_refused() {
        assert_eq!(
            Reader::new(&[0xff, 0xfe])
                .nullable_string(false)
                .map_err(|e| e.reason),
            Err("negative length")
        );
        assert_eq!(Reader::new(&[0xff, 0xff]).nullable_string(false), Ok(None));
        assert_eq!(Reader::new(&[0]).nullable_string(true), Ok(None));
    }
}
