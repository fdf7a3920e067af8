//! The envelope of a record: which schema do these bytes claim.
//!
//! ```text
//! prefix v0   00 | id int32 BE | [message indexes, Protobuf only] | payload
//! prefix v1   01 | GUID 16 B   | [message indexes, Protobuf only] | payload
//! header      __value_schema_id / __key_schema_id = 01 | GUID | [message indexes]; payload bare
//! ```
//! Of several headers with the name the last counts; one with a null value counts as none.
//! Source: Confluent's `SchemaId` serializers and `MessageIndexes`, version 8 and later.

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

    /// From a slice; `None` when empty, too long, or with a negative index.
    #[must_use]
    pub fn from_slice(path: &[i32]) -> Option<Self> {
        if path.is_empty() || path.len() > MESSAGE_INDEXES_MAX || path.iter().any(|i| *i < 0) {
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

/// Appends a v1 prefix, which is also the value of a schema id header.
pub fn write_guid(guid: Uuid, out: &mut Vec<u8>) {
    out.push(1);
    out.extend_from_slice(guid.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn message_indexes_by_example() {
        // path, short form
        let cases: &[(&[i32], &[u8])] = &[
            (&[0], &[0x00]),
            (&[1], &[0x02, 0x02]),
            (&[0, 0], &[0x04, 0x00, 0x00]),
            (&[2, 1], &[0x04, 0x04, 0x02]),
            (&[64], &[0x02, 0x80, 0x01]),
            (&[0, 3, 1], &[0x06, 0x00, 0x06, 0x02]),
        ];
        for (path, bytes) in cases {
            let mut written = Vec::new();
            write_message_indexes(path, &mut written);
            assert_eq!(written, *bytes, "{path:?}");
            written.push(0x08);
            let (read, len) = read_message_indexes(&written).unwrap();
            assert_eq!((read.as_slice(), len), (*path, bytes.len()));
        }
        let (long_form, len) = read_message_indexes(&[0x02, 0x00]).unwrap();
        assert_eq!((long_form, len), (MessageIndexes::FIRST, 2));
    }

    #[test]
    fn hostile_message_indexes_are_refused() {
        let deep = [&[0x42][..], &[0; 33]].concat();
        for bytes in [
            &[][..],
            &[0x01],
            &[0xfe, 0xff, 0xff, 0xff, 0x0f],
            &[0x02],
            &[0x02, 0x01],
            &[0x04, 0x00],
            &[0x02, 0x80],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &deep,
        ] {
            assert_eq!(
                read_message_indexes(bytes),
                Err(FramingError::InvalidMessageIndexes),
                "{bytes:x?}"
            );
        }
    }

    #[test]
    fn claims_that_do_not_parse() {
        for (bytes, error) in [
            (&[][..], FramingError::Empty),
            (&[2, 0, 0, 0, 1], FramingError::UnknownMagic(2)),
            (b"{\"a\":1}", FramingError::UnknownMagic(b'{')),
            (&[0], FramingError::Truncated),
            (&[0, 0, 0, 0], FramingError::Truncated),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], FramingError::Truncated),
            (&[0, 0, 0, 0, 0], FramingError::InvalidId(0)),
            (&[0, 0xff, 0xff, 0xff, 0xff], FramingError::InvalidId(-1)),
        ] {
            assert_eq!(read_claim(bytes), Err(error), "{bytes:x?}");
        }
    }

    fn unhex(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn indexes(case: &Value) -> Option<Vec<i32>> {
        case.as_array().map(|items| {
            items
                .iter()
                .map(|i| i32::try_from(i.as_i64().unwrap()).unwrap())
                .collect()
        })
    }

    /// Claim, message indexes and payload of a record, as a consumer reads them.
    type Record = (SchemaClaim, Option<Vec<i32>>, Vec<u8>);

    fn decode(case: &Value) -> Result<Record, FramingError> {
        let payload = unhex(case["payload"].as_str().unwrap());
        let name = match case["is_key"].as_bool() {
            Some(true) => "__key_schema_id",
            _ => "__value_schema_id",
        };
        let header = case["headers"]
            .as_array()
            .into_iter()
            .flatten()
            .rfind(|header| header[0] == name)
            .and_then(|header| header[1].as_str())
            .map(unhex);
        let framed = header.as_ref().unwrap_or(&payload);
        let (claim, mut taken) = read_claim(framed)?;
        let mut path = None;
        if case["type"] == "PROTOBUF" {
            let (read, len) = read_message_indexes(&framed[taken..])?;
            path = Some(read.as_slice().to_vec());
            taken += len;
        }
        let data = match header {
            Some(_) => payload,
            None => payload[taken..].to_vec(),
        };
        Ok((claim, path, data))
    }

    fn encode(case: &Value) -> (Vec<u8>, Option<Vec<u8>>) {
        let data = unhex(case["data"].as_str().unwrap());
        let mut frame = Vec::new();
        match case["guid"].as_str() {
            None => write_prefix(
                i32::try_from(case["schema_id"].as_i64().unwrap()).unwrap(),
                &mut frame,
            ),
            Some(guid) => write_guid(guid.parse().unwrap(), &mut frame),
        }
        if let Some(path) = indexes(&case["indexes"]) {
            write_message_indexes(&path, &mut frame);
        }
        if case["op"] == "encode_header" {
            (data, Some(frame))
        } else {
            (frame.into_iter().chain(data).collect(), None)
        }
    }

    #[test]
    fn recorded_frames() {
        let cases = crate::avro::conformance_cases("own-wire/wire.jsonl");
        let mut stricter = 0;
        for case in &cases {
            let expected = &case["expected"];
            if case["op"] != "decode" {
                let (payload, header) = encode(case);
                assert_eq!(hex(&payload), expected["payload"].as_str().unwrap());
                let recorded = expected["headers"][0][1].as_str();
                assert_eq!(header.as_deref().map(hex).as_deref(), recorded, "{case}");
                continue;
            }
            let ours = decode(case);
            if !expected["ok"].as_bool().unwrap() {
                assert!(ours.is_err(), "{case}");
                continue;
            }
            // The reference looks ids of zero or less up and fails to find them.
            if let (Err(FramingError::InvalidId(id)), Some(recorded)) =
                (&ours, expected["schema_id"].as_i64())
            {
                assert_eq!(i64::from(*id), recorded);
                stricter += 1;
                continue;
            }
            // It also hands negative indexes on, to fail when it looks the message up.
            let recorded = indexes(&expected["indexes"]).unwrap_or_default();
            if ours == Err(FramingError::InvalidMessageIndexes) && recorded.iter().any(|i| *i < 0) {
                stricter += 1;
                continue;
            }
            let (claim, path, data) = ours.unwrap_or_else(|e| panic!("{e:?}: {case}"));
            match claim {
                SchemaClaim::Id(id) => {
                    assert_eq!(Some(i64::from(id)), expected["schema_id"].as_i64())
                }
                SchemaClaim::Guid(guid) => {
                    assert_eq!(Some(guid.to_string().as_str()), expected["guid"].as_str());
                }
            }
            assert_eq!(path, indexes(&expected["indexes"]), "{case}");
            assert_eq!(hex(&data), expected["data"].as_str().unwrap(), "{case}");
        }
        eprintln!(
            "own-wire: {} cases agree, {stricter} refused on purpose",
            cases.len() - stricter
        );
    }
}
