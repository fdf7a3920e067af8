//! Writing messages: primitives into one buffer, records by reference between them.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::frame::PREFIX_BYTES;

/// Records shorter than this are copied into the message: an extra slice costs the socket more.
const SPLICE_BYTES_MIN: usize = 512;

/// The longest string that the 16-bit length of the older versions can carry.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// One frame under construction: a list of chunks, some of them records owned by the log.
#[derive(Debug)]
pub struct Writer {
    chunks: Vec<Chunk>,
    tail: BytesMut,
    finished_bytes: usize,
}

#[derive(Debug)]
enum Chunk {
    Message(BytesMut),
    Records(Bytes),
}

impl Default for Writer {
    fn default() -> Self {
        Self::with_capacity(256)
    }
}

impl Writer {
    /// Starts a frame; `capacity` is what the message without its records will take.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut tail = BytesMut::with_capacity(capacity + PREFIX_BYTES);
        tail.put_i32(0);
        Self {
            chunks: Vec::new(),
            tail,
            finished_bytes: 0,
        }
    }

    /// Where messages of the generated codec are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    /// A 16-bit integer.
    pub fn i16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    /// A 32-bit integer.
    pub fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    /// A 64-bit integer.
    pub fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    /// A UUID, 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.tail.put_slice(value.as_bytes());
    }

    /// An unsigned varint.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8((value & 0x7f) as u8);
    }

    /// Count of an array, or length of bytes.
    ///
    /// Nothing this broker answers comes near 2^31 elements or bytes.
    pub fn count(&mut self, flexible: bool, count: usize) {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if flexible {
            self.unsigned_varint(count.unsigned_abs() + 1);
        } else {
            self.i32(count);
        }
    }

    /// A null array or null bytes.
    pub fn null(&mut self, flexible: bool) {
        if flexible {
            self.unsigned_varint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A nullable string, cut at 32,767 bytes.
    pub fn nullable_string(&mut self, flexible: bool, text: Option<&str>) {
        match (text, flexible) {
            (Some(text), _) => self.string(flexible, text),
            (None, true) => self.unsigned_varint(0),
            (None, false) => self.i16(-1),
        }
    }

    /// A string, cut at 32,767 bytes.
    pub fn string(&mut self, flexible: bool, text: &str) {
        let text = clip(text, STRING_BYTES_MAX);
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        if flexible {
            self.unsigned_varint(u32::from(length.unsigned_abs()) + 1);
        } else {
            self.i16(length);
        }
        self.tail.put_slice(text.as_bytes());
    }

    /// An empty section of tagged fields.
    pub fn no_tags(&mut self, flexible: bool) {
        if flexible {
            self.unsigned_varint(0);
        }
    }

    /// One tagged field: its number, its length, what `encode` writes.
    pub fn tag(&mut self, tag: u32, encode: impl FnOnce(&mut Self)) {
        let mut field = Self::default();
        encode(&mut field);
        let bytes = field.tail.get(PREFIX_BYTES..).unwrap_or_default();
        self.unsigned_varint(tag);
        self.unsigned_varint(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.tail.put_slice(bytes);
    }

    /// Records: their length, then the chunks by reference.
    pub fn records(&mut self, flexible: bool, records: &[Bytes]) {
        let length = records.iter().map(Bytes::len).sum();
        self.count(flexible, length);
        for chunk in records {
            if chunk.len() < SPLICE_BYTES_MIN {
                self.tail.put_slice(chunk);
            } else {
                let message = self.tail.split();
                self.finished_bytes += message.len() + chunk.len();
                if !message.is_empty() {
                    self.chunks.push(Chunk::Message(message));
                }
                self.chunks.push(Chunk::Records(chunk.clone()));
            }
        }
    }

    /// Writes the length prefix and hands over the chunks, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Bytes> {
        let length = self.finished_bytes + self.tail.len() - PREFIX_BYTES;
        let prefix = i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes();
        if !self.tail.is_empty() {
            self.chunks.push(Chunk::Message(self.tail));
        }
        if let Some(Chunk::Message(first)) = self.chunks.first_mut()
            && let Some(place) = first.get_mut(..PREFIX_BYTES)
        {
            place.copy_from_slice(&prefix);
        }
        self.chunks
            .into_iter()
            .map(|chunk| match chunk {
                Chunk::Message(bytes) => bytes.freeze(),
                Chunk::Records(bytes) => bytes,
            })
            .collect()
    }
}

/// The longest prefix of `text` of at most `bytes_max` bytes that ends on a character boundary.
#[must_use]
pub fn clip(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_records_are_spliced_and_small_ones_copied() {
        let large = Bytes::from(vec![7; 4096]);
        let mut writer = Writer::default();
        writer.i32(1);
        writer.records(false, &[large.clone(), Bytes::from_static(b"small")]);
        writer.i32(2);
        let chunks = writer.finish();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        let whole: Vec<u8> = chunks.concat();
        assert_eq!(whole.len(), 4 + 4 + 4 + 4096 + 5 + 4);
        assert_eq!(whole[..4], (4 + 4 + 4096 + 5 + 4_i32).to_be_bytes());
    }

    #[test]
    fn strings_are_cut_at_a_character() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("aé", 3), "aé");
        let mut writer = Writer::default();
        writer.string(false, &"é".repeat(20_000));
        let whole: Vec<u8> = writer.finish().concat();
        assert_eq!(whole.len(), 4 + 2 + 32_766);
    }
}
