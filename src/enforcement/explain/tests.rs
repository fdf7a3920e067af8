use super::*;
use crate::enforcement::fault::ClaimedSchema;
use crate::enforcement::hex;
use crate::enforcement::policy::Part;

/// A registry of one Avro schema (id 17), one Protobuf schema (id 18) and an older Avro
/// version (id 16). Avro payloads are `aa aa`, the older version's `bb`; Protobuf message n is
/// `50+n` once.
struct Table;

impl Known for Table {
    fn id_exists(&mut self, id: i32) -> bool {
        (16..=18).contains(&id)
    }
    fn format(&mut self, id: i32) -> Option<SchemaFormat> {
        match id {
            16 | 17 => Some(SchemaFormat::Avro),
            18 => Some(SchemaFormat::Protobuf),
            _ => None,
        }
    }
    fn decodes(&mut self, id: i32, indexes: &[i32], payload: &[u8]) -> bool {
        match id {
            16 => payload == [0xbb],
            17 => payload == [0xaa, 0xaa],
            18 => {
                matches!((indexes, payload), ([index], [byte]) if *index + 0x50 == i32::from(*byte))
                    || (indexes == [2, 1] && payload == [0x60])
            }
            _ => false,
        }
    }
    fn other_version(
        &mut self,
        subject: &str,
        id: i32,
        indexes: &[i32],
        payload: &[u8],
    ) -> Option<(i32, i32)> {
        (subject == "orders-value" && id == 17 && self.decodes(16, indexes, payload))
            .then_some((2, 16))
    }
    fn latest(&mut self, payload: &[u8]) -> Option<(i32, i32)> {
        self.decodes(17, &[0], payload).then_some((3, 17))
    }
    fn sibling_subject(&mut self, id: i32) -> Option<String> {
        (id == 16).then(|| "orders-key".to_owned())
    }
}

fn explain(code: Code, bytes: &[u8]) -> Option<Cause> {
    let fault = Fault::new(code, Part::Value, "");
    probable_cause(&fault, bytes, ForeignHeaders::default(), &mut Table)
}

/// A fault of the payload after a five-byte prefix and `indexes_len` bytes of indexes.
fn explain_payload(code: Code, id: i32, indexes_len: usize, bytes: &str) -> Option<Cause> {
    let mut fault = Fault::new(code, Part::Value, "");
    fault.schema = Some(ClaimedSchema {
        id,
        format: Table.format(id).expect("known"),
        subject: Some(("orders-value".to_owned(), 3)),
    });
    fault.prefix_end = 5;
    fault.payload_start = 5 + indexes_len;
    probable_cause(&fault, &hex(bytes), ForeignHeaders::default(), &mut Table)
}

#[test]
fn envelopes() {
    use Code::{Empty, InvalidSchemaId, NoMagicByte, TruncatedPrefix, UnknownSchemaId};
    let glue = [&[3, 0][..], &[9; 16], b"x"].concat();
    let glue_zlib = [&[3, 5][..], &[9; 16], b"x"].concat();
    for (code, bytes, expected) in [
        (Empty, &b""[..], Some(Cause::EmptyInsteadOfNull)),
        (NoMagicByte, br#"{"a":1}"#, Some(Cause::UnframedJson)),
        (NoMagicByte, b"[1]", Some(Cause::UnframedJson)),
        (NoMagicByte, br#""x""#, Some(Cause::UnframedJson)),
        (NoMagicByte, b"\xef\xbb\xbf{}", Some(Cause::UnframedJson)),
        (NoMagicByte, b"42", Some(Cause::UnframedJson)),
        (NoMagicByte, b"hello world", Some(Cause::PlainText)),
        (NoMagicByte, b"{not json", Some(Cause::PlainText)),
        (NoMagicByte, b"Obj\x01\x04", Some(Cause::AvroContainerFile)),
        (
            NoMagicByte,
            b"\xc3\x01\x7e\x1a\x04\xe7\x5b\x93\x98\xb9\x54",
            Some(Cause::AvroSingleObject),
        ),
        (NoMagicByte, &glue, Some(Cause::AwsGlue)),
        (NoMagicByte, &glue_zlib, Some(Cause::AwsGlue)),
        (NoMagicByte, b"\x1f\x8b\x08\x00\x00", Some(Cause::Gzip)),
        (NoMagicByte, b"\x28\xb5\x2f\xfd\x00", Some(Cause::Zstd)),
        (
            NoMagicByte,
            b"\xac\xed\x00\x05sr",
            Some(Cause::JavaSerialization),
        ),
        (NoMagicByte, b"AAAAABGqqg==", Some(Cause::Base64)),
        (NoMagicByte, br#""AAAAABGqqg==""#, Some(Cause::Base64)),
        (NoMagicByte, b"0000000011aaaa", Some(Cause::Hexadecimal)),
        (NoMagicByte, b"0x0000000011aaaa", Some(Cause::Hexadecimal)),
        (
            NoMagicByte,
            b"\xaa\xaa",
            Some(Cause::Unframed { version: 3, id: 17 }),
        ),
        (TruncatedPrefix, b"\x00\x00", None),
        (
            UnknownSchemaId,
            b"\x00\x11\x00\x00\x00\xaa\xaa",
            Some(Cause::LittleEndianId { id: 17 }),
        ),
        (UnknownSchemaId, b"\x00\x00\x00\x00\x63\xaa", None),
        (
            InvalidSchemaId,
            b"\x00\x00\x00\x00\x00\x00\x00\x00\x11\xaa",
            Some(Cause::Apicurio8Bytes { id: 17 }),
        ),
        (NoMagicByte, b"\xf0\x9f", None),
    ] {
        assert_eq!(explain(code, bytes), expected, "{code} {bytes:02x?}");
    }
}

#[test]
fn foreign_headers() {
    let fault = Fault::new(Code::NoMagicByte, Part::Value, "");
    for (foreign, expected) in [
        (
            ForeignHeaders {
                azure: true,
                ..ForeignHeaders::default()
            },
            Cause::AzureHeaders,
        ),
        (
            ForeignHeaders {
                apicurio: true,
                ..ForeignHeaders::default()
            },
            Cause::ApicurioHeaders,
        ),
        (
            ForeignHeaders {
                confluent: true,
                ..ForeignHeaders::default()
            },
            Cause::HeaderInsteadOfPrefix,
        ),
    ] {
        assert_eq!(
            probable_cause(&fault, b"\xf1", foreign, &mut Table),
            Some(expected)
        );
    }
    assert_eq!(
        explain(Code::MissingHeader, b"\x00\x00\x00\x00\x11\xaa"),
        Some(Cause::PrefixInsteadOfHeader)
    );
}

#[test]
fn payloads() {
    use Code::{InvalidMessageIndexes, Malformed, NotBoundToSubject, TrailingBytes, UnknownField};
    for (code, id, indexes, bytes, expected) in [
        (
            TrailingBytes,
            17,
            0,
            "0000000011bb",
            Some(Cause::OtherVersion { version: 2, id: 16 }),
        ),
        (Malformed, 17, 0, "00000000117b7d", Some(Cause::JsonText)),
        (
            Malformed,
            17,
            0,
            "00000000110000000011aaaa",
            Some(Cause::DoubleFramed { id: 17 }),
        ),
        (
            Malformed,
            17,
            0,
            "000000001100aaaa",
            Some(Cause::ExtraMessageIndexes),
        ),
        (Malformed, 17, 0, "00000000111f8b0800", Some(Cause::Gzip)),
        (Malformed, 17, 0, "0000000011ff", None),
        (Malformed, 17, 0, "0000000011", None),
        (
            InvalidMessageIndexes,
            18,
            0,
            "000000001250",
            Some(Cause::MissingMessageIndexes),
        ),
        (
            InvalidMessageIndexes,
            18,
            0,
            "0000000012010050",
            Some(Cause::DeprecatedMessageIndexes),
        ),
        (
            InvalidMessageIndexes,
            18,
            0,
            "0000000012010151",
            Some(Cause::DeprecatedMessageIndexes),
        ),
        (
            Malformed,
            18,
            2,
            "000000001202020160",
            Some(Cause::DeprecatedMessageIndexes),
        ),
        (
            InvalidMessageIndexes,
            18,
            0,
            "00000000120151",
            Some(Cause::IndexWithoutCount { index: 1 }),
        ),
        (
            UnknownField,
            18,
            1,
            "00000000120053",
            Some(Cause::OtherMessage { index: 3 }),
        ),
        (
            Malformed,
            18,
            1,
            "0000000012000000000011aaaa",
            Some(Cause::DoubleFramed { id: 17 }),
        ),
        (
            NotBoundToSubject,
            16,
            0,
            "0000000010bb",
            Some(Cause::SiblingSubject {
                subject: "orders-key".to_owned(),
            }),
        ),
    ] {
        assert_eq!(
            explain_payload(code, id, indexes, bytes),
            expected,
            "{code} {bytes}"
        );
    }
}

#[test]
fn header_and_prefix() {
    let mut fault = Fault::new(Code::Malformed, Part::Value, "");
    fault.by_header = true;
    fault.schema = Some(ClaimedSchema {
        id: 17,
        format: SchemaFormat::Avro,
        subject: None,
    });
    assert_eq!(
        probable_cause(
            &fault,
            &hex("0000000011aaaa"),
            ForeignHeaders::default(),
            &mut Table
        ),
        Some(Cause::HeaderAndPrefix)
    );
}

#[test]
fn large_payloads_are_not_tried() {
    let mut bytes = vec![b' '; TRIED_BYTES_MAX + 1];
    bytes[0] = b'{';
    assert_ne!(
        explain(Code::NoMagicByte, &bytes),
        Some(Cause::UnframedJson)
    );
}
