//! What the producer probably did wrong. Reject path only, so it may try things.
//!
//! Pure: what it asks of the registry is the trait [`Known`]. A cause is a guess with evidence: a
//! byte pattern that nothing else writes, or a payload that decodes to its last byte in another
//! reading. No cause is better than a wrong one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde_formats::SchemaFormat;
use serde_formats::wire::{SchemaClaim, read_claim, read_message_indexes};

use super::codes::Code;
use super::fault::Fault;

/// What explaining asks of the registry.
pub(super) trait Known {
    /// Whether the topic's context has a schema with this id.
    fn id_exists(&mut self, id: i32) -> bool;
    /// The language of the schema with this id.
    fn format(&mut self, id: i32) -> Option<SchemaFormat>;
    /// Whether the payload obeys the message at `indexes` of the schema, to its last byte.
    fn decodes(&mut self, id: i32, indexes: &[i32], payload: &[u8]) -> bool;
    /// Another live version of the subject that the payload obeys: (version, id).
    fn other_version(
        &mut self,
        subject: &str,
        id: i32,
        indexes: &[i32],
        payload: &[u8],
    ) -> Option<(i32, i32)>;
    /// The newest version of the topic's subject, if the payload obeys it: (version, id).
    fn latest(&mut self, payload: &[u8]) -> Option<(i32, i32)>;
    /// The subject of the record's other part, if the id is bound to it.
    fn sibling_subject(&mut self, id: i32) -> Option<String>;
}

/// What other registries' serializers leave in the record headers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ForeignHeaders {
    /// `content-type: avro/binary+<id>`, Azure Schema Registry.
    pub(super) azure: bool,
    /// `apicurio.{key,value}.{globalId,contentId}`.
    pub(super) apicurio: bool,
    /// `__{key,value}_schema_id`.
    pub(super) confluent: bool,
}

/// A probable cause; its text ends the text for the producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    EmptyInsteadOfNull,
    UnframedJson,
    PlainText,
    AvroContainerFile,
    AvroSingleObject,
    AwsGlue,
    Apicurio8Bytes { id: i32 },
    ApicurioHeaders,
    AzureHeaders,
    Gzip,
    Zstd,
    JavaSerialization,
    LittleEndianId { id: i32 },
    Base64,
    Hexadecimal,
    Unframed { version: i32, id: i32 },
    PrefixInsteadOfHeader,
    HeaderInsteadOfPrefix,
    HeaderAndPrefix,
    DoubleFramed { id: i32 },
    JsonText,
    ExtraMessageIndexes,
    MissingMessageIndexes,
    DeprecatedMessageIndexes,
    IndexWithoutCount { index: i32 },
    OtherMessage { index: i32 },
    OtherVersion { version: i32, id: i32 },
    SiblingSubject { subject: String },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::EmptyInsteadOfNull => "a tombstone is null, not empty bytes",
            Self::UnframedJson => "looks like plain JSON from a serializer without schema registry",
            Self::PlainText => "looks like plain text from a string serializer",
            Self::AvroContainerFile => {
                "looks like an Avro container file, expected one datum without file header"
            }
            Self::AvroSingleObject => "looks like Avro single-object encoding",
            Self::AwsGlue => "looks like AWS Glue Schema Registry framing",
            Self::Apicurio8Bytes { id } => {
                return write!(f, "looks like an eight-byte Apicurio id ({id})");
            }
            Self::ApicurioHeaders => "its headers name the schema in Apicurio's way",
            Self::AzureHeaders => "its content-type header names the schema in Azure's way",
            Self::Gzip => "looks like gzip data, compressed by the application",
            Self::Zstd => "looks like zstd data, compressed by the application",
            Self::JavaSerialization => "looks like Java object serialization",
            Self::LittleEndianId { id } => {
                return write!(f, "the id is {id} when read little-endian");
            }
            Self::Base64 => "looks like base64 of a framed record",
            Self::Hexadecimal => "looks like hexadecimal text of a framed record",
            Self::Unframed { version, id } => {
                return write!(
                    f,
                    "the bytes decode as v{version} (id={id}) without a prefix"
                );
            }
            Self::PrefixInsteadOfHeader => {
                "the schema id is in a prefix, this topic takes it from the header"
            }
            Self::HeaderInsteadOfPrefix => {
                "the schema id is in a header, this topic takes it from the prefix"
            }
            Self::HeaderAndPrefix => {
                "it also begins with a prefix, which is payload when a header names the schema"
            }
            Self::DoubleFramed { id } => {
                return write!(
                    f,
                    "the payload is itself framed (id={id}): serialized twice"
                );
            }
            Self::JsonText => "the payload is JSON text",
            Self::ExtraMessageIndexes => {
                "the payload decodes after its first byte: message indexes belong to Protobuf only"
            }
            Self::MissingMessageIndexes => {
                "the payload decodes as the first message when no message indexes are read"
            }
            Self::DeprecatedMessageIndexes => {
                "message indexes look unsigned (use.deprecated.format=true)"
            }
            Self::IndexWithoutCount { index } => {
                return write!(
                    f,
                    "looks like the bare message index {index} without its count"
                );
            }
            Self::OtherMessage { index } => {
                return write!(f, "the payload decodes as message [{index}] of the schema");
            }
            Self::OtherVersion { version, id } => {
                return write!(f, "the payload decodes as v{version} (id={id})");
            }
            Self::SiblingSubject { subject } => {
                return write!(f, "the schema is bound to {subject}: key and value swapped");
            }
        };
        f.write_str(text)
    }
}

/// The probable cause of a fault of `bytes` (the part as sent).
pub(super) fn probable_cause(
    fault: &Fault,
    bytes: &[u8],
    foreign: ForeignHeaders,
    known: &mut dyn Known,
) -> Option<Cause> {
    match fault.code {
        Code::Empty => Some(Cause::EmptyInsteadOfNull),
        Code::MissingHeader => match claimed_id(bytes) {
            Some(id) if known.id_exists(id) => Some(Cause::PrefixInsteadOfHeader),
            _ => misframed(bytes, foreign, known),
        },
        Code::NoMagicByte
        | Code::TruncatedPrefix
        | Code::InvalidSchemaId
        | Code::UnknownSchemaId
        | Code::UnknownSchemaGuid => misframed(bytes, foreign, known),
        Code::NotBoundToSubject => fault
            .schema
            .as_ref()
            .and_then(|schema| known.sibling_subject(schema.id))
            .map(|subject| Cause::SiblingSubject { subject }),
        Code::InvalidMessageIndexes | Code::MessageIndexOutOfRange => {
            let id = fault.schema.as_ref()?.id;
            let rest = bounded(bytes.get(fault.prefix_end..)?)?;
            misindexed(id, rest, known)
        }
        code if code.number() / 100 == 22 || code.number() / 100 == 23 => {
            mispaid(fault, bytes, known)
        }
        _ => None,
    }
}

/// Faults of the envelope: which other envelope is it.
fn misframed(bytes: &[u8], foreign: ForeignHeaders, known: &mut dyn Known) -> Option<Cause> {
    if foreign.confluent {
        return Some(Cause::HeaderInsteadOfPrefix);
    }
    if foreign.azure {
        return Some(Cause::AzureHeaders);
    }
    if foreign.apicurio {
        return Some(Cause::ApicurioHeaders);
    }
    if let Some(cause) = written_as_text(bytes, known) {
        return Some(cause);
    }
    if let Some(cause) = shape(bytes) {
        return Some(cause);
    }
    if let Some(id) = id_at(bytes, 0).map(i32::swap_bytes)
        && known.id_exists(id)
    {
        return Some(Cause::LittleEndianId { id });
    }
    // Apicurio's legacy handler: 00 and a big-endian int64, so the first four bytes are zero.
    if id_at(bytes, 0) == Some(0)
        && let Some(id) = id_at(bytes, 4)
        && known.id_exists(id)
    {
        return Some(Cause::Apicurio8Bytes { id });
    }
    if let Some(payload) = bounded(bytes)
        && let Some((version, id)) = known.latest(payload)
    {
        return Some(Cause::Unframed { version, id });
    }
    if is_json(bytes) {
        return Some(Cause::UnframedJson);
    }
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    (bytes.len() >= 2 && bytes.iter().take(TEXT_PROBE_BYTES).all(printable))
        .then_some(Cause::PlainText)
}

/// Faults of the payload: which other reading of it holds.
fn mispaid(fault: &Fault, bytes: &[u8], known: &mut dyn Known) -> Option<Cause> {
    let schema = fault.schema.as_ref()?;
    let payload = bounded(bytes.get(fault.payload_start..)?)?;
    if fault.by_header
        && let Some(id) = claimed_id(payload)
        && known.id_exists(id)
    {
        return Some(Cause::HeaderAndPrefix);
    }
    if schema.format != SchemaFormat::Json
        && let Some(cause) = shape(payload)
    {
        return Some(if cause == Cause::UnframedJson {
            Cause::JsonText
        } else {
            cause
        });
    }
    if let Some(id) = claimed_id(payload)
        && framed_decodes(id, payload.get(PREFIX_BYTES..).unwrap_or_default(), known)
    {
        return Some(Cause::DoubleFramed { id });
    }
    if schema.format == SchemaFormat::Protobuf {
        if !fault.by_header
            && let Some(rest) = bytes.get(fault.prefix_end..)
            && let Some(cause) = misindexed(schema.id, rest, known)
        {
            return Some(cause);
        }
    } else if payload.first() == Some(&0)
        && known.decodes(schema.id, &[0], payload.get(1..).unwrap_or_default())
    {
        return Some(Cause::ExtraMessageIndexes);
    }
    let indexes = fault.indexes.as_slice();
    if let Some((subject, _)) = &schema.subject
        && let Some((version, id)) = known.other_version(subject, schema.id, indexes, payload)
    {
        return Some(Cause::OtherVersion { version, id });
    }
    if schema.format == SchemaFormat::Protobuf {
        return (0..MESSAGES_TRIED)
            .filter(|index| indexes != [*index])
            .find(|index| known.decodes(schema.id, &[*index], payload))
            .map(|index| Cause::OtherMessage { index });
    }
    None
}

/// Message indexes missing or in an encoding of the past; `rest` is what follows the id.
fn misindexed(id: i32, rest: &[u8], known: &mut dyn Known) -> Option<Cause> {
    if rest.is_empty() {
        return None;
    }
    if known.decodes(id, &[0], rest) {
        return Some(Cause::MissingMessageIndexes);
    }
    let mut at = 0;
    let first = read_unsigned(rest, &mut at)?;
    let after_first = at;
    // confluent-kafka-python with use.deprecated.format=true: count and indexes unsigned.
    if (1..=MESSAGES_TRIED).contains(&first) {
        let path: Option<Vec<i32>> = (0..first).map(|_| read_unsigned(rest, &mut at)).collect();
        if let Some(path) = path
            && let Some(payload) = rest.get(at..).filter(|payload| !payload.is_empty())
            && known.decodes(id, &path, payload)
        {
            return Some(Cause::DeprecatedMessageIndexes);
        }
    }
    // Karapace's own serializer: the index alone, unsigned. Index 0 is the standard short form.
    let payload = rest.get(after_first..).filter(|rest| !rest.is_empty())?;
    (first > 0 && known.decodes(id, &[first], payload))
        .then_some(Cause::IndexWithoutCount { index: first })
}

/// A framed payload, message indexes included where its schema wants them.
fn framed_decodes(id: i32, rest: &[u8], known: &mut dyn Known) -> bool {
    match known.format(id) {
        None => false,
        Some(SchemaFormat::Protobuf) => read_message_indexes(rest).is_ok_and(|(indexes, taken)| {
            let payload = rest.get(taken..).unwrap_or_default();
            !payload.is_empty() && known.decodes(id, indexes.as_slice(), payload)
        }),
        Some(SchemaFormat::Avro | SchemaFormat::Json) => known.decodes(id, &[0], rest),
    }
}

/// Byte patterns that speak for themselves.
fn shape(bytes: &[u8]) -> Option<Cause> {
    match bytes {
        [b'O', b'b', b'j', 1, ..] => Some(Cause::AvroContainerFile),
        [0xc3, 0x01, rest @ ..] if rest.len() >= 8 => Some(Cause::AvroSingleObject),
        [0x03, 0x00 | 0x05, rest @ ..] if rest.len() >= 16 => Some(Cause::AwsGlue),
        [0x1f, 0x8b, 0x08, ..] => Some(Cause::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Cause::Zstd),
        [0xac, 0xed, 0x00, 0x05, ..] => Some(Cause::JavaSerialization),
        [b'{' | b'[' | b'"', ..] | [0xef, 0xbb, 0xbf, ..] if is_json(bytes) => {
            Some(Cause::UnframedJson)
        }
        _ => None,
    }
}

/// Base64 or hexadecimal text of a framed record, quoted or not.
fn written_as_text(bytes: &[u8], known: &mut dyn Known) -> Option<Cause> {
    let text = bytes.strip_prefix(b"\"").unwrap_or(bytes);
    let mut is_framed = |head: &[u8]| claimed_id(head).is_some_and(|id| known.id_exists(id));
    if let Some(head) = text.get(..8)
        && let Ok(head) = STANDARD.decode(head)
        && is_framed(&head)
    {
        return Some(Cause::Base64);
    }
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let digits = text.get(..PREFIX_BYTES * 2)?;
    let head: Option<Vec<u8>> = digits
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect();
    is_framed(&head?).then_some(Cause::Hexadecimal)
}

/// Whether the bytes are one JSON text, a byte order mark aside.
fn is_json(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bounded(text).is_some_and(|text| serde_json::from_slice::<IgnoredAny>(text).is_ok())
}

/// The id of a v0 prefix.
fn claimed_id(bytes: &[u8]) -> Option<i32> {
    match read_claim(bytes) {
        Ok((SchemaClaim::Id(id), _)) => Some(id),
        Ok((SchemaClaim::Guid(_), _)) | Err(_) => None,
    }
}

/// The big-endian int32 that stands `skip` bytes after a zero magic byte.
fn id_at(bytes: &[u8], skip: usize) -> Option<i32> {
    if bytes.first() != Some(&0) {
        return None;
    }
    let id: [u8; 4] = bytes.get(1 + skip..5 + skip)?.try_into().ok()?;
    Some(i32::from_be_bytes(id))
}

fn read_unsigned(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let mut value: u32 = 0;
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i32::try_from(value).ok();
        }
    }
    None
}

/// `payload` when it is worth trying: not empty (every Protobuf message decodes from nothing) and
/// not so large that a bad producer would cost more than a good one.
fn bounded(payload: &[u8]) -> Option<&[u8]> {
    (!payload.is_empty() && payload.len() <= TRIED_BYTES_MAX).then_some(payload)
}

/// Payloads longer than this are not tried under other readings.
const TRIED_BYTES_MAX: usize = 64 * 1024;
/// Top-level messages tried, and longest deprecated index list.
const MESSAGES_TRIED: i32 = 8;
/// Bytes that must be printable for a value to be called text.
const TEXT_PROBE_BYTES: usize = 256;
/// Magic byte and id.
const PREFIX_BYTES: usize = 5;

#[cfg(test)]
mod tests;
