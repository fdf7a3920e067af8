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

/// What kind of value one tape entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// One value, and its name when it is a member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its place on the tape.
    pub(super) index: u32,
    /// First byte; for strings that is the quote.
    pub(super) start: u32,
    /// One past the last byte.
    pub(super) end: u32,
    /// Index of the entry after this value and all it holds.
    pub(super) next: u32,
    /// Arrays: elements. Objects: members, duplicates counted once.
    pub(super) count: u32,
    /// Objects of more than [`SCANNED_MEMBERS_MAX`] members: start of their sorted members.
    pub(super) sorted: u32,
    pub(super) name: Name,
    pub(super) kind: Kind,
    /// Strings: there is at least one escape. Numbers: there is a fraction or an exponent.
    pub(super) is_marked: bool,
    /// A later member has the same name and replaces this one, which every reader skips.
    pub(super) is_replaced: bool,
}

/// The name of a member; empty for other values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Name {
    /// First byte between the quotes.
    pub(super) start: u32,
    /// The closing quote.
    pub(super) end: u32,
    /// Its [`name_hash`].
    pub(super) hash: u32,
    /// There is at least one escape.
    pub(super) is_escaped: bool,
}

/// The positions of one payload.
#[derive(Debug, Default)]
pub(super) struct Tape {
    entries: Vec<Entry>,
    /// Members of large objects, sorted by hash and then by name, duplicates removed.
    sorted: Vec<u32>,
    /// Containers around the one that is being read.
    open: Vec<Open>,
    /// Members of one object, while duplicates are looked for: hash and entry.
    members: Vec<u64>,
    /// Scratch for a name with its escapes undone.
    text: String,
    depth: usize,
}

/// A container whose end was not read yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its entry; [`OUTSIDE`] for what is around the root.
    entry: u32,
    is_object: bool,
    /// Elements or members so far.
    count: u32,
    /// Bits of two parts of the hashes of the names so far.
    hashes: [u64; 2],
    /// Both bits of a name were there already, so it may be.
    may_repeat: bool,
}

/// Containers that may be open at once, one less than `serde_json` counts: the innermost value
/// counts as a level there.
pub(super) const PAYLOAD_DEPTH_MAX: usize = 127;
/// Capacity kept between payloads, so that one large payload does not hold memory for ever.
const ENTRIES_KEPT: usize = 1 << 16;
/// Objects up to this size are scanned; larger ones are searched by sorted name.
pub(super) const SCANNED_MEMBERS_MAX: u32 = 32;

impl Tape {
    /// Values, those of replaced members included.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Most containers open at once.
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    /// The values in the order of the payload; the root is the first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Members of a large object in the order of hashes.
    pub(super) fn sorted_members(&self, object: &Entry) -> &[u32] {
        let start = object.sorted as usize;
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
        self.depth = 0;
        if self.text.capacity() > ENTRIES_KEPT {
            self.text = String::new();
        }
        if self.entries.capacity() > ENTRIES_KEPT {
            self.entries.shrink_to(ENTRIES_KEPT);
            self.sorted.shrink_to(ENTRIES_KEPT);
            self.members = Vec::new();
        }
    }
}

impl Entry {
    /// The text between the quotes of a string.
    #[inline]
    pub(super) fn raw<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start as usize + 1..(self.end as usize).saturating_sub(1))
            .unwrap_or("")
    }
}

impl Name {
    /// The text between the quotes.
    #[inline]
    pub(super) fn raw<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }
}

/// A number that is seldom the same for two names: of their length, first and last bytes. Names with
/// one hash are told apart by comparing them, so nothing but speed depends on it.
#[inline]
pub(super) fn name_hash(name: &[u8]) -> u32 {
    let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                let word = |chunk: &[u8; 4]| u64::from(u32::from_le_bytes(*chunk));
                (word(first), word(last))
            }
            _ => match (name.first(), name.get(name.len() / 2), name.last()) {
                (Some(first), Some(middle), Some(last)) => {
                    let bytes = [*first, *middle, *last, 0];
                    (u64::from(u32::from_le_bytes(bytes)), 0)
                }
                _ => (0, 0),
            },
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
