//! A payload's JSON as a flat list of positions: checked once, then read in place.
//!
//! Nothing is copied out of the payload. Knows nothing of schemas; `node.rs` lets the validator
//! walk a tape.
//! Next: `tape/parse.rs`, which checks and records.

mod parse;

use std::cmp::Ordering;

use crate::validator::ViolationReason;
use parse::Parser;

/// Where and why a payload is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) reason: ViolationReason,
    pub(super) offset: usize,
    pub(super) detail: &'static str,
}

/// What one tape entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    /// A member name; its value is the next entry.
    Name,
    /// A member name that a later duplicate replaces: skipped by every reader.
    ShadowedName,
    Array,
    Object,
}

/// One value or member name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// First byte; for strings and names that is the quote.
    pub(super) start: u32,
    /// One past the last byte.
    pub(super) end: u32,
    /// Index of the entry after this value and all it holds.
    pub(super) next: u32,
    /// Arrays: elements. Objects: members, duplicates counted once.
    pub(super) count: u32,
    /// Objects of more than [`SCANNED_MEMBERS_MAX`] members: start of their sorted names. Names:
    /// their [`name_hash`].
    pub(super) key: u32,
    pub(super) kind: Kind,
    /// Strings and names: there is at least one escape.
    pub(super) escaped: bool,
}

/// The positions of one payload.
#[derive(Debug, Default)]
pub(super) struct Tape {
    entries: Vec<Entry>,
    /// Name entries of large objects, sorted by hash and then by name, duplicates removed.
    sorted: Vec<u32>,
    /// Open containers while parsing, and where their names start.
    open: Vec<(u32, u32)>,
    /// Names of open objects: hash and entry.
    names: Vec<u64>,
    /// Scratch for a name with its escapes undone.
    text: String,
    depth: usize,
}

/// Containers that may be open at once, one less than `serde_json` counts: the innermost value
/// counts as a level there.
pub(super) const PAYLOAD_DEPTH_MAX: usize = 127;
/// Capacity kept between payloads, so that one large payload does not hold memory for ever.
const ENTRIES_KEPT: usize = 1 << 16;
/// Objects up to this size are scanned; larger ones are searched by sorted name.
pub(super) const SCANNED_MEMBERS_MAX: u32 = 8;

impl Tape {
    /// Values and names.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Most containers open at once.
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    /// Name entries of a large object in the order of hashes.
    pub(super) fn sorted_names(&self, object: &Entry) -> &[u32] {
        let start = object.key as usize;
        self.sorted
            .get(start..start + object.count as usize)
            .unwrap_or_default()
    }

    /// Checks `text` and records its values; the root is entry 0.
    pub(super) fn parse(&mut self, text: &str) -> Result<(), SyntaxError> {
        self.reset();
        if u32::try_from(text.len()).is_err() {
            return Err(SyntaxError {
                reason: ViolationReason::LimitExceeded,
                offset: 0,
                detail: "payload is larger than 4 GiB",
            });
        }
        Parser::new(self, text).document()
    }

    fn reset(&mut self) {
        self.entries.clear();
        self.sorted.clear();
        self.open.clear();
        self.names.clear();
        self.depth = 0;
        if self.text.capacity() > ENTRIES_KEPT {
            self.text = String::new();
        }
        if self.entries.capacity() > ENTRIES_KEPT {
            self.entries.shrink_to(ENTRIES_KEPT);
            self.sorted.shrink_to(ENTRIES_KEPT);
            self.names.shrink_to(ENTRIES_KEPT);
        }
    }

    /// The text between the quotes of a string or name entry.
    pub(super) fn raw<'t>(text: &'t str, entry: &Entry) -> &'t str {
        text.get(entry.start as usize + 1..(entry.end as usize).saturating_sub(1))
            .unwrap_or("")
    }
}

/// A number that is seldom the same for two names: of their length, first and last bytes. Names with
/// one hash are told apart by comparing them, so nothing but speed depends on it.
pub(super) fn name_hash(name: &[u8]) -> u32 {
    let whole = |bytes: &[u8]| {
        let bytes = bytes.iter().rev();
        bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                let word = |chunk: &[u8; 4]| u64::from(u32::from_le_bytes(*chunk));
                (word(first), word(last))
            }
            _ => (whole(name), 0),
        },
    };
    let length = name.len() as u64;
    let mixed = (first ^ last.rotate_left(29) ^ length.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    u32::try_from(mixed >> 32).unwrap_or(0)
}

/// Compares two strings as written, by the characters they stand for.
pub(super) fn compare_raw(a: &str, a_escaped: bool, b: &str, b_escaped: bool) -> Ordering {
    match (a_escaped, b_escaped) {
        (false, false) => a.cmp(b),
        (true, false) => Unescape::new(a).cmp(b.chars()),
        (false, true) => a.chars().cmp(Unescape::new(b)),
        (true, true) => Unescape::new(a).cmp(Unescape::new(b)),
    }
}

/// The characters a checked JSON string stands for.
#[derive(Debug, Clone)]
pub(super) struct Unescape<'t> {
    rest: std::str::Chars<'t>,
}

impl<'t> Unescape<'t> {
    pub(super) fn new(raw: &'t str) -> Self {
        Self { rest: raw.chars() }
    }

    fn hex(&mut self) -> u32 {
        (0..4).fold(0, |code, _| {
            code << 4
                | self
                    .rest
                    .next()
                    .and_then(|digit| digit.to_digit(16))
                    .unwrap_or(0)
        })
    }
}

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character != '\\' {
            return Some(character);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex();
                let code = if (0xD800..0xDC00).contains(&first) {
                    self.rest.next();
                    self.rest.next();
                    0x10000 + ((first - 0xD800) << 10) + (self.hex().wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    first
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        })
    }
}
