//! Where a record names its schema, and where its payload begins.
//!
//! Pure; the byte forms themselves are [`serde_formats::wire`]. Precedence is that of Confluent's
//! default deserializer: the last header of the name with a value, else the prefix. With a header
//! the whole key or value is payload, also when it begins with a prefix: that is how consumers
//! will read it.

use serde_formats::SchemaFormat;
use serde_formats::wire::{
    FramingError, MessageIndexes, SchemaClaim, read_claim, read_message_indexes,
};

use super::codes::Code;
use super::policy::{Framing, Part};

/// The schema a part claims, and what is needed to find its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located<'r> {
    /// The claim.
    pub(super) claim: SchemaClaim,
    /// Whether a header made the claim.
    pub(super) by_header: bool,
    /// What follows the claim: in the header, or in the part itself.
    rest: &'r [u8],
    /// The whole part.
    bytes: &'r [u8],
}

/// The payload of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload<'r> {
    /// Which Protobuf message it is; the first one for the other formats.
    pub(super) indexes: MessageIndexes,
    /// The bytes that the schema judges.
    pub(super) bytes: &'r [u8],
    /// Where they begin in the part as sent.
    pub(super) start: usize,
}

/// A framing that does not parse: the code, and the detail for the text.
pub(super) type Misframed = (Code, String);

/// Finds the claim of `bytes`; `header` is the value of the part's schema id header, if any.
/// [`Framing::None`] is the caller's business.
pub(super) fn locate<'r>(
    framing: Framing,
    part: Part,
    header: Option<&'r [u8]>,
    bytes: &'r [u8],
) -> Result<Located<'r>, Misframed> {
    let header = match framing {
        Framing::Prefix => None,
        Framing::Auto | Framing::Header | Framing::None => header,
    };
    if let Some(header) = header {
        return match read_claim(header) {
            Ok((claim, taken)) => Ok(Located {
                claim,
                by_header: true,
                rest: header.get(taken..).unwrap_or_default(),
                bytes,
            }),
            Err(error) => Err((
                Code::InvalidHeaderClaim,
                format!("{}: {}", part.header_name(), describe(error, header)),
            )),
        };
    }
    if framing == Framing::Header {
        return Err((
            Code::MissingHeader,
            format!("{} is not among its headers", part.header_name()),
        ));
    }
    match read_claim(bytes) {
        Ok((claim, taken)) => Ok(Located {
            claim,
            by_header: false,
            rest: bytes.get(taken..).unwrap_or_default(),
            bytes,
        }),
        Err(error) => Err((code(error), describe(error, bytes))),
    }
}

impl<'r> Located<'r> {
    /// Splits message indexes (Protobuf only) from the payload.
    pub(super) fn payload(
        &self,
        format: SchemaFormat,
        part: Part,
    ) -> Result<Payload<'r>, Misframed> {
        let has_indexes = format == SchemaFormat::Protobuf;
        let (indexes, taken) = if !has_indexes {
            (MessageIndexes::FIRST, 0)
        } else if self.rest.first() == Some(&0) {
            (MessageIndexes::FIRST, 1)
        } else {
            read_message_indexes(self.rest).map_err(|error| self.bad_indexes(error, part))?
        };
        if !self.by_header {
            let bytes = self.rest.get(taken..).unwrap_or_default();
            return Ok(Payload {
                indexes,
                bytes,
                start: self.bytes.len() - bytes.len(),
            });
        }
        if taken != self.rest.len() {
            return Err((
                Code::InvalidHeaderClaim,
                format!(
                    "{}: {} bytes left after the schema id",
                    part.header_name(),
                    self.rest.len() - taken
                ),
            ));
        }
        Ok(Payload {
            indexes,
            bytes: self.bytes,
            start: 0,
        })
    }

    /// What follows the claim in the part itself, with its offset; nothing under a header.
    pub(super) fn after_prefix_start(&self) -> usize {
        if self.by_header {
            0
        } else {
            self.bytes.len() - self.rest.len()
        }
    }

    fn bad_indexes(&self, error: FramingError, part: Part) -> Misframed {
        if self.by_header {
            let detail = format!("{}: {}", part.header_name(), describe(error, self.rest));
            (Code::InvalidHeaderClaim, detail)
        } else {
            (
                Code::InvalidMessageIndexes,
                format!(
                    "the list at byte {} is negative, cut short or too long",
                    self.after_prefix_start()
                ),
            )
        }
    }
}

fn code(error: FramingError) -> Code {
    match error {
        FramingError::Empty => Code::Empty,
        FramingError::UnknownMagic(_) => Code::NoMagicByte,
        FramingError::Truncated => Code::TruncatedPrefix,
        FramingError::InvalidId(_) => Code::InvalidSchemaId,
        FramingError::InvalidMessageIndexes => Code::InvalidMessageIndexes,
    }
}

fn describe(error: FramingError, bytes: &[u8]) -> String {
    match error {
        FramingError::Empty => "no bytes, expected a magic byte".to_owned(),
        FramingError::UnknownMagic(byte) => {
            format!("first byte is 0x{byte:02x}, expected 0x00 or 0x01")
        }
        FramingError::Truncated => {
            let needed = if bytes.first() == Some(&1) { 17 } else { 5 };
            format!("{} bytes, expected at least {needed}", bytes.len())
        }
        FramingError::InvalidId(id) => format!("schema id is {id}"),
        FramingError::InvalidMessageIndexes => "message indexes are malformed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::hex;

    /// Claim kind, whether by header, and `start:payload` for the format; or the code.
    fn read(framing: Framing, format: SchemaFormat, header: Option<&str>, bytes: &str) -> String {
        let header = header.map(hex);
        let bytes = hex(bytes);
        let located = match locate(framing, Part::Value, header.as_deref(), &bytes) {
            Ok(located) => located,
            Err((code, _)) => return code.to_string(),
        };
        let claim = match located.claim {
            SchemaClaim::Id(id) => format!("id {id}"),
            SchemaClaim::Guid(guid) => format!("guid {:02x}", guid.as_bytes()[0]),
        };
        match located.payload(format, Part::Value) {
            Ok(payload) => format!(
                "{claim} {:?} {}:{}",
                payload.indexes.as_slice(),
                payload.start,
                payload.bytes.len()
            ),
            Err((code, _)) => code.to_string(),
        }
    }

    #[test]
    fn every_form() {
        const GUID: &str = "014c50402c8fb5ffa0c5dae3c2f5d26e1b";
        use Framing::{Auto, Header, Prefix};
        use SchemaFormat::{Avro, Protobuf};
        for (framing, format, header, bytes, expected) in [
            (Auto, Avro, None, "0000000007deadbeef", "id 7 [0] 5:4"),
            (Auto, Avro, None, "0000000007", "id 7 [0] 5:0"),
            (Auto, Protobuf, None, "0000000007000896", "id 7 [0] 6:2"),
            (Auto, Protobuf, None, "000000000702000896", "id 7 [0] 7:2"),
            (
                Auto,
                Protobuf,
                None,
                "00000000070404020896",
                "id 7 [2, 1] 8:2",
            ),
            (Auto, Protobuf, None, "000000000702800108", "id 7 [64] 8:1"),
            (Auto, Protobuf, None, "0000000007", "ASY-2005"),
            (Auto, Protobuf, None, "0000000007010896", "ASY-2005"),
            (Auto, Protobuf, None, "0000000007feffffff0f08", "ASY-2005"),
            (Auto, Protobuf, None, "000000000702010896", "ASY-2005"),
            (Auto, Avro, None, "", "ASY-2001"),
            (Auto, Avro, None, "7b7d", "ASY-2002"),
            (Auto, Avro, None, "00000000", "ASY-2003"),
            (Auto, Avro, None, "01000000", "ASY-2003"),
            (Auto, Avro, None, "0000000000ff", "ASY-2004"),
            (Auto, Avro, None, "00ffffffffff", "ASY-2004"),
            (Auto, Avro, Some(GUID), "0000000007aa", "guid 4c [0] 0:6"),
            (Auto, Avro, Some("0000000009"), "aabb", "id 9 [0] 0:2"),
            (Auto, Avro, Some(""), "aabb", "ASY-2006"),
            (Auto, Avro, Some("05"), "aabb", "ASY-2006"),
            (Auto, Avro, Some("000000000901"), "aabb", "ASY-2006"),
            (Auto, Protobuf, Some("000000000900"), "aabb", "id 9 [0] 0:2"),
            (
                Auto,
                Protobuf,
                Some("0000000009040200"),
                "aabb",
                "id 9 [1, 0] 0:2",
            ),
            (Auto, Protobuf, Some("0000000009"), "aabb", "ASY-2006"),
            (Prefix, Avro, Some(GUID), "0000000007aa", "id 7 [0] 5:1"),
            (Header, Avro, None, "0000000007aa", "ASY-2008"),
            (Header, Avro, Some(GUID), "", "guid 4c [0] 0:0"),
        ] {
            assert_eq!(
                read(framing, format, header, bytes),
                expected,
                "{framing:?} {format} {header:?} {bytes}"
            );
        }
        assert_eq!(
            read(Auto, Avro, None, &format!("{GUID}ff")),
            "guid 4c [0] 17:1"
        );
    }
}
