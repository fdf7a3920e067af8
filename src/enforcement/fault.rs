//! One refused part of a record: the facts, and the text made of them.
//!
//! Grammar: `CODE part summary: schema … at path byte n: detail; cause`. The text never holds
//! payload values unless the topic asks for it; property names of the payload may be in the path.

use serde_formats::SchemaFormat;
use serde_formats::wire::{MessageIndexes, SchemaClaim};

use super::codes::Code;
use super::explain::Cause;
use super::policy::Part;

/// The schema that a part claimed, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimedSchema {
    pub(super) id: i32,
    pub(super) format: SchemaFormat,
    /// A subject that holds it, with the version there.
    pub(super) subject: Option<(String, i32)>,
}

/// Why one part of one record was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) part: Part,
    pub(super) schema: Option<ClaimedSchema>,
    /// Where in the decoded value.
    pub(super) path: Option<String>,
    /// From the first byte of the part as sent, prefix included.
    pub(super) byte_offset: Option<usize>,
    pub(super) detail: String,
    /// The claim itself, and where it was made: what [`super::explain`] starts from.
    pub(super) claim: Option<SchemaClaim>,
    pub(super) by_header: bool,
    /// End of magic byte and id (not of message indexes) in the part.
    pub(super) prefix_end: usize,
    /// Where the payload begins in the part, once message indexes were read.
    pub(super) payload_start: usize,
    pub(super) indexes: MessageIndexes,
}

impl Fault {
    pub(super) fn new(code: Code, part: Part, detail: impl Into<String>) -> Self {
        Self {
            code,
            part,
            schema: None,
            path: None,
            byte_offset: None,
            detail: detail.into(),
            claim: None,
            by_header: false,
            prefix_end: 0,
            payload_start: 0,
            indexes: MessageIndexes::FIRST,
        }
    }

    /// The text for the producer, one line of at most [`TEXT_BYTES_MAX`]. `shown` is the part's
    /// bytes when the topic allows them in texts.
    pub(super) fn text(&self, cause: Option<&Cause>, shown: Option<&[u8]>) -> String {
        let mut text = format!("{} {} {}", self.code, self.part, self.code.summary());
        let mut place = String::new();
        if let Some(schema) = &self.schema {
            place.push_str(&format!("schema id={}", schema.id));
            match &schema.subject {
                Some((subject, version)) => {
                    place.push_str(&format!(" ({subject} v{version}, {})", schema.format));
                }
                None => place.push_str(&format!(" ({})", schema.format)),
            }
        }
        if let Some(path) = &self.path {
            place.push_str(if place.is_empty() { "at " } else { " at " });
            place.push_str(path);
        }
        if let Some(offset) = self.byte_offset {
            place.push_str(&format!(" byte {offset}"));
        }
        for clause in [place.as_str(), self.detail.as_str()] {
            if !clause.is_empty() {
                text.push_str(": ");
                text.push_str(clause);
            }
        }
        if let Some(cause) = cause {
            text.push_str(&format!("; {cause}"));
        }
        if let Some(bytes) = shown {
            text.push_str("; bytes ");
            for byte in bytes.iter().take(SHOWN_BYTES_MAX) {
                text.push_str(&format!("{byte:02x}"));
            }
            if bytes.len() > SHOWN_BYTES_MAX {
                text.push('…');
            }
        }
        one_line(&text, TEXT_BYTES_MAX)
    }
}

/// `text` without control characters, cut to `bytes_max` on a character boundary. Paths hold
/// property names that a producer chose.
pub(super) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if line.len() > bytes_max {
        let cut = line.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// Largest text for one record: 32 of them and the partition's line stay under 64 KiB.
pub(super) const TEXT_BYTES_MAX: usize = 1_500;
/// Payload bytes shown when a topic asks for it.
const SHOWN_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let mut fault = Fault::new(
            Code::Malformed,
            Part::Value,
            "int varint longer than 5 bytes",
        );
        fault.schema = Some(ClaimedSchema {
            id: 17,
            format: SchemaFormat::Avro,
            subject: Some(("orders-value".to_owned(), 3)),
        });
        fault.path = Some("$.lines[2].qty".to_owned());
        fault.byte_offset = Some(41);
        let cause = Cause::OtherVersion { version: 4, id: 21 };
        assert_eq!(
            fault.text(Some(&cause), None),
            "ASY-2202 value does not decode: schema id=17 (orders-value v3, AVRO) at $.lines[2].qty \
             byte 41: int varint longer than 5 bytes; the payload decodes as v4 (id=21)"
        );
        let fault = Fault::new(Code::NoMagicByte, Part::Key, "first byte is 0x7b");
        assert_eq!(
            fault.text(None, Some(b"{}")),
            "ASY-2002 key has no magic byte: first byte is 0x7b; bytes 7b7d"
        );
    }

    #[test]
    fn a_text_is_one_bounded_line() {
        let mut fault = Fault::new(Code::Constraint, Part::Value, "x");
        fault.path = Some(format!("$.a\n{}", "é".repeat(4_000)));
        let text = fault.text(None, None);
        assert!(
            text.len() <= TEXT_BYTES_MAX && text.ends_with('…'),
            "{}",
            text.len()
        );
        assert!(!text.contains('\n'));
    }
}
