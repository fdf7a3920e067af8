//! The closed table of rejection codes: one row a code, one meaning for ever.
//!
//! The same codes serve Kafka's `record_errors`, metric labels, HTTP, the CLI and the UI.
//! `docs/reference/rejection-codes.md` is this table rendered; a test keeps them equal.
//!
//! | family | about |
//! |---|---|
//! | 20xx | framing: which schema do the bytes claim |
//! | 21xx | the claimed schema: does it exist, is it bound to the subject |
//! | 22xx | the payload does not obey the schema |
//! | 23xx | the payload holds more than the schema says |
//! | 29xx | no verdict is possible now |

use std::fmt;

use serde_formats::ViolationReason;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct CodeRow {
    /// The code.
    pub code: Code,
    /// The stable number: 2201 in `ASY-2201`.
    pub number: u16,
    /// Snake-case name, the `reason` label of metrics.
    pub name: &'static str,
    /// What follows `value` or `key` in the text for the producer.
    pub summary: &'static str,
    /// What the code says, one sentence.
    pub meaning: &'static str,
    /// What usually leads to it.
    pub causes: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $summary:literal, $causes:literal;)+) => {
        /// Why a record was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// Every code, ascending by number.
        pub static CODES: &[CodeRow] = &[
            $(CodeRow {
                code: Code::$variant,
                number: $number,
                name: $name,
                summary: $summary,
                meaning: concat!($($doc),+),
                causes: $causes,
            },)+
        ];

        impl Code {
            /// The stable number: 2201 in `ASY-2201`.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// Snake-case name, the `reason` label of metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The code as text, the `code` label of metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => concat!("ASY-", $number),)+ }
            }

            /// What follows `value` or `key` in the text for the producer.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }
        }
    };
}

codes! {
    /// The key or value has no bytes at all, and no schema of no bytes was claimed.
    Empty = 2001, "empty", "is empty",
        "An empty string or byte array sent where null (a tombstone) was meant; a serializer that writes nothing for an absent object.";
    /// The first byte is neither 0 (schema id) nor 1 (schema GUID).
    NoMagicByte = 2002, "no_magic_byte", "has no magic byte",
        "A plain JSON, string or byte-array serializer; an Avro container file; AWS Glue framing; compression or base64 done by the application.";
    /// The bytes end before the schema id or GUID does.
    TruncatedPrefix = 2003, "truncated_prefix", "ends inside its prefix",
        "A record cut short; an unframed payload that happens to begin with 0 or 1.";
    /// The schema id is zero or negative.
    InvalidSchemaId = 2004, "invalid_schema_id", "claims an impossible schema id",
        "Apicurio's eight-byte ids; an id written little-endian; an unframed payload that begins with a zero byte.";
    /// The Protobuf message indexes after the id are not a valid list.
    InvalidMessageIndexes = 2005, "invalid_message_indexes", "has malformed message indexes",
        "A Protobuf payload framed without message indexes; the deprecated unsigned encoding of old Python clients; an index without its count.";
    /// The header that names the schema does not parse.
    InvalidHeaderClaim = 2006, "invalid_header_claim", "has a malformed schema id header",
        "A `__value_schema_id` or `__key_schema_id` header written by hand: wrong magic byte, GUID as text, missing message indexes.";
    /// The key or value is null and the topic refuses nulls.
    NullRefused = 2007, "null_refused", "is null",
        "A tombstone, or a record without key, on a topic with `assay.value.null=reject` or `assay.key.null=reject`.";
    /// The topic takes the schema from a header and the record has none.
    MissingHeader = 2008, "missing_header", "has no schema id header",
        "A serializer that writes the id as a prefix, on a topic with `framing=header`.";
    /// The record batch cannot be walked, so no record in it can be judged.
    MalformedBatch = 2009, "malformed_batch", "is in a batch that does not decode",
        "A compressed batch that does not decompress or passes the size limit; a client that writes broken batches.";
    /// No schema has this id in the topic's context.
    UnknownSchemaId = 2101, "unknown_schema_id", "claims an unknown schema id",
        "A producer that uses another registry; a schema deleted permanently; records copied from another cluster; an id written little-endian.";
    /// No schema has this GUID in the topic's context.
    UnknownSchemaGuid = 2102, "unknown_schema_guid", "claims an unknown schema GUID",
        "A producer that uses another registry; a schema deleted permanently.";
    /// The schema exists and is no version of the subject that the topic demands.
    NotBoundToSubject = 2103, "not_bound_to_subject", "claims a schema that is not bound to its subject",
        "A record sent to the wrong topic; key and value serializers swapped; a subject name strategy that differs between producer and topic; a permanently deleted version.";
    /// The message indexes name no message of the schema.
    MessageIndexOutOfRange = 2104, "message_index_out_of_range", "claims a message that its schema does not have",
        "A newer generated class with an older schema id; indexes counted over enums or map entries.";
    /// The version is soft-deleted and the topic refuses such versions.
    SoftDeleted = 2105, "soft_deleted", "claims a soft-deleted version",
        "A producer that still runs with a retired schema, on a topic with `assay.soft.deleted=reject`.";
    /// The subject name strategy needs a record name and the schema has none.
    NoRecordName = 2106, "no_record_name", "claims a schema without a record name",
        "A JSON schema without title, or an Avro schema whose root is no record, under RecordNameStrategy or TopicRecordNameStrategy.";
    /// The topic pins a schema for unframed records and that schema does not exist.
    NoPinnedSchema = 2107, "no_pinned_schema", "has no schema to be judged by",
        "`framing=none` on a topic whose subject has no live version, or not the version or id that the topic names.";
    /// The schema is stored and cannot be executed.
    SchemaNotExecutable = 2108, "schema_not_executable", "claims a schema that cannot be executed",
        "A schema accepted in import mode that does not resolve; a regular expression past the size limit.";
    /// The payload ends inside a value.
    Truncated = 2201, "truncated", "ends inside a value",
        "An older class with a newer schema id; a record cut short.";
    /// The bytes do not decode as the type that the schema gives.
    Malformed = 2202, "malformed", "does not decode",
        "JSON text with an Avro or Protobuf schema id; a payload written with another schema; broken bytes.";
    /// A string is not UTF-8.
    InvalidUtf8 = 2203, "invalid_utf8", "holds a string that is not UTF-8",
        "Text in Latin-1 or UTF-16; bytes put into a string field; a payload written with another schema.";
    /// A boolean byte is neither 0 nor 1.
    InvalidBoolean = 2204, "invalid_boolean", "holds a boolean that is neither 0 nor 1",
        "A payload written with another schema.";
    /// An enum index or number is outside the schema's symbols.
    EnumOutOfRange = 2205, "enum_out_of_range", "holds an enum value that the schema does not have",
        "A newer class with an older schema id.";
    /// A union branch index is outside the schema's branches.
    UnionOutOfRange = 2206, "union_out_of_range", "holds a union branch that the schema does not have",
        "A payload written with another schema; a newer class with an older schema id.";
    /// A block or element count is negative, does not match its size, or cannot fit.
    InvalidBlock = 2207, "invalid_block", "holds a block whose count is impossible",
        "A payload written with another schema; broken bytes.";
    /// A logical type's rule is broken.
    LogicalType = 2208, "logical_type", "breaks the rule of a logical type",
        "A UUID that is none, a decimal longer than its precision, a date out of range.";
    /// A field arrives with another wire type than the schema gives.
    WireType = 2209, "wire_type", "holds a field of another wire type",
        "Another message type's bytes with a valid id; a field whose type was changed.";
    /// A required field or property is missing.
    MissingRequired = 2210, "missing_required", "lacks a required field",
        "An older class with a newer schema id; an object filled only in part.";
    /// A JSON Schema constraint other than `required` fails.
    Constraint = 2211, "constraint", "breaks a constraint of its schema",
        "A value of the wrong type, out of range, or not matching a pattern.";
    /// The payload nests deeper, or holds more items, than the limit, or takes more work to judge.
    LimitExceeded = 2212, "limit_exceeded", "passes a limit on depth, number of items or work",
        "Recursive data without end; hostile bytes; a JSON Schema whose alternatives multiply, or a long text against a regular expression that can be at many of its places at once.";
    /// Bytes are left after the last value.
    TrailingBytes = 2301, "trailing_bytes", "has bytes left after its last field",
        "A newer class with an older schema id: the commonest real mistake; padding added by the application.";
    /// The payload holds a field that the schema does not declare.
    UnknownField = 2302, "unknown_field", "holds a field that its schema does not declare",
        "A newer class with an older schema id (`use.latest.version=true`); another message type's bytes with a valid id.";
    /// The registry or the topic's settings cannot be read now; the producer shall retry.
    Unavailable = 2901, "unavailable", "cannot be judged now",
        "The registry's database cannot be reached; the topic carries settings that this version does not understand. Answered as REQUEST_TIMED_OUT, never as a refusal.";
}

impl Code {
    /// Whether it says that something is not registered, or not as claimed: the family 21xx.
    pub(super) fn is_about_registry(self) -> bool {
        self.label().starts_with("ASY-21")
    }
}

impl From<ViolationReason> for Code {
    fn from(reason: ViolationReason) -> Self {
        match reason {
            ViolationReason::Truncated => Self::Truncated,
            ViolationReason::Malformed => Self::Malformed,
            ViolationReason::TrailingBytes => Self::TrailingBytes,
            ViolationReason::InvalidUtf8 => Self::InvalidUtf8,
            ViolationReason::InvalidBoolean => Self::InvalidBoolean,
            ViolationReason::EnumOutOfRange => Self::EnumOutOfRange,
            ViolationReason::UnionOutOfRange => Self::UnionOutOfRange,
            ViolationReason::InvalidBlock => Self::InvalidBlock,
            ViolationReason::LogicalType => Self::LogicalType,
            ViolationReason::UnknownField => Self::UnknownField,
            ViolationReason::WireType => Self::WireType,
            ViolationReason::MissingRequired => Self::MissingRequired,
            ViolationReason::Constraint => Self::Constraint,
            ViolationReason::LimitExceeded => Self::LimitExceeded,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The table as the Markdown page `docs/reference/rejection-codes.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    for (family, title) in FAMILIES {
        page.push_str(&format!(
            "\n## {family}xx: {title}\n\n| code | name | meaning | usual causes |\n|---|---|---|---|\n"
        ));
        for row in CODES.iter().filter(|row| row.number / 100 == *family) {
            page.push_str(&format!(
                "| `{}` | `{}` | {} | {} |\n",
                row.code,
                row.name,
                row.meaning.trim(),
                row.causes
            ));
        }
    }
    page
}

const FAMILIES: &[(u16, &str)] = &[
    (20, "framing"),
    (21, "the claimed schema"),
    (22, "the payload"),
    (23, "strictness"),
    (29, "no verdict now"),
];

const PAGE_HEAD: &str = "# Rejection codes

<!-- Rendered from src/enforcement/codes.rs; ASSAY_UPDATE_DOCS=1 cargo test --lib reference_page writes it anew. -->

Every refused record has one of these codes: in the text that the producer gets, in the log, in
the `code` label of `assay_records_rejected_total` (its name in the `reason` label), and in
`GET /v1/topics/{topic}/rejections`. A number never changes its meaning. All of them are answered as
Kafka's `INVALID_RECORD` (87), which clients do not retry, except 29xx, which is answered as
`REQUEST_TIMED_OUT` (7), which they do.

A text reads: code, part of the record, what is wrong, the schema claimed, where, the detail, and the
probable cause when one was found:

```text
ASY-2202 value does not decode: schema id=17 (orders-value v3, AVRO) at $.lines[2].qty byte 41: int varint longer than 5 bytes; the payload decodes as v4 (id=21)
```

The byte is counted from 0 at the first byte of the key or value as the producer sent it, the prefix
(magic byte, id, message indexes) included. No text holds payload values unless the topic sets
`assay.errors.include.values=true`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_unique() {
        for pair in CODES.windows(2) {
            assert!(pair[0].number < pair[1].number, "{:?}", pair[1]);
        }
        let mut names: Vec<_> = CODES.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CODES.len());
        for row in CODES {
            assert_eq!(row.code.label(), format!("ASY-{}", row.number));
            assert!(
                FAMILIES
                    .iter()
                    .any(|(family, _)| *family == row.number / 100),
                "{row:?}"
            );
        }
    }

    #[test]
    fn reference_page_is_the_table() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/docs/reference/rejection-codes.md"
        );
        let wanted = reference_page();
        if std::env::var_os("ASSAY_UPDATE_DOCS").is_some() {
            std::fs::write(path, &wanted).expect("docs folder is writable");
        }
        let found = std::fs::read_to_string(path).expect("the page exists");
        assert_eq!(found, wanted, "run with ASSAY_UPDATE_DOCS=1 to render it");
    }
}
