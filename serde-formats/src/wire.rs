//! The envelope of a record: which schema do these bytes claim.
//!
//! ```text
//! prefix v0   00 | id int32 BE | [message indexes, Protobuf only] | payload
//! prefix v1   01 | GUID 16 B   | [message indexes, Protobuf only] | payload
//! header      __value_schema_id / __key_schema_id = 01 | GUID | [message indexes]; payload bare
//! ```
//! Source: `registry-api` section 8, `enforcement` section 3.

use uuid::Uuid;

/// The schema a record claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaClaim {
    /// By id in the registry's context.
    Id(i32),
    /// By content GUID.
    Guid(Uuid),
}

/// Why an envelope does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// No bytes at all.
    Empty,
    /// The first byte is neither 0 nor 1.
    UnknownMagic(u8),
    /// Shorter than its prefix.
    Truncated,
    /// An id of zero or less.
    InvalidId(i32),
    /// The message indexes are not a valid list.
    InvalidMessageIndexes,
}

/// At most this many message indexes are taken: nesting deeper is refused.
pub const MESSAGE_INDEXES_MAX: usize = 32;

/// A Protobuf message path held inline: no allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageIndexes {
    len: u8,
    indexes: [i32; MESSAGE_INDEXES_MAX],
}

impl MessageIndexes {
    /// The path `[0]`: the first top-level message.
    pub const FIRST: Self = Self {
        len: 1,
        indexes: [0; MESSAGE_INDEXES_MAX],
    };

    /// From a slice; `None` when empty or too long.
    #[must_use]
    pub fn from_slice(path: &[i32]) -> Option<Self> {
        if path.is_empty() || path.len() > MESSAGE_INDEXES_MAX {
            return None;
        }
        let mut indexes = [0; MESSAGE_INDEXES_MAX];
        indexes[..path.len()].copy_from_slice(path);
        Some(Self {
            len: u8::try_from(path.len()).ok()?,
            indexes,
        })
    }

    /// The path.
    #[must_use]
    pub fn as_slice(&self) -> &[i32] {
        &self.indexes[..usize::from(self.len)]
    }
}

/// Reads the claim at the start of `bytes`; answers it and how many bytes it took. Message
/// indexes are not read here: only the schema tells whether they follow.
///
/// # Errors
/// See [`FramingError`].
pub fn read_claim(bytes: &[u8]) -> Result<(SchemaClaim, usize), FramingError> {
    match bytes.first() {
        None => Err(FramingError::Empty),
        Some(0) => {
            let id: [u8; 4] = bytes
                .get(1..5)
                .and_then(|id| id.try_into().ok())
                .ok_or(FramingError::Truncated)?;
            let id = i32::from_be_bytes(id);
            if id <= 0 {
                return Err(FramingError::InvalidId(id));
            }
            Ok((SchemaClaim::Id(id), 5))
        }
        Some(1) => {
            let guid: [u8; 16] = bytes
                .get(1..17)
                .and_then(|guid| guid.try_into().ok())
                .ok_or(FramingError::Truncated)?;
            Ok((SchemaClaim::Guid(Uuid::from_bytes(guid)), 17))
        }
        Some(&magic) => Err(FramingError::UnknownMagic(magic)),
    }
}

/// Reads Protobuf message indexes at the start of `bytes`; answers them and how many bytes they
/// took. The single byte `00` is the path `[0]`.
///
/// # Errors
/// [`FramingError::InvalidMessageIndexes`] for a negative, oversized, truncated or overlong list.
pub fn read_message_indexes(bytes: &[u8]) -> Result<(MessageIndexes, usize), FramingError> {
    let mut at = 0;
    let count = read_zigzag(bytes, &mut at)?;
    if count == 0 {
        return Ok((MessageIndexes::FIRST, at));
    }
    let count = usize::try_from(count).map_err(|_| FramingError::InvalidMessageIndexes)?;
    if count > MESSAGE_INDEXES_MAX || count > bytes.len() - at {
        return Err(FramingError::InvalidMessageIndexes);
    }
    let mut indexes = [0; MESSAGE_INDEXES_MAX];
    for slot in &mut indexes[..count] {
        let index = read_zigzag(bytes, &mut at)?;
        if index < 0 {
            return Err(FramingError::InvalidMessageIndexes);
        }
        *slot = index;
    }
    let len = u8::try_from(count).map_err(|_| FramingError::InvalidMessageIndexes)?;
    Ok((MessageIndexes { len, indexes }, at))
}

/// Appends a v0 prefix.
pub fn write_prefix(id: i32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Appends message indexes in the short form (`[0]` as one zero byte).
pub fn write_message_indexes(path: &[i32], out: &mut Vec<u8>) {
    if path == [0] {
        out.push(0);
        return;
    }
    write_zigzag(i32::try_from(path.len()).unwrap_or(i32::MAX), out);
    for &index in path {
        write_zigzag(index, out);
    }
}

fn read_zigzag(bytes: &[u8], at: &mut usize) -> Result<i32, FramingError> {
    let mut value: u32 = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at).ok_or(FramingError::InvalidMessageIndexes)?;
        *at += 1;
        if shift == 28 && byte > 0x0f {
            return Err(FramingError::InvalidMessageIndexes);
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(FramingError::InvalidMessageIndexes)
}

fn write_zigzag(value: i32, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 31)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}
