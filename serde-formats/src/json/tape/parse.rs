//! Strict RFC 8259 over UTF-8, iterative, with the memory of earlier payloads.

use std::cmp::Ordering;
use std::ops::Range;

use super::super::lex::{NumberFault, number_end, plain_end};
use super::{
    Entry, Kind, Name, Open, PAYLOAD_DEPTH_MAX, SCANNED_MEMBERS_MAX, SyntaxError, Tape, Unescape,
    compare_raw, name_hash,
};
use crate::validator::ViolationReason;

/// Values in one payload; an entry is larger than the two bytes a value can take.
const ENTRIES_MAX: usize = 1 << 22;
/// What the root is in.
const OUTSIDE: Open = Open {
    entry: u32::MAX,
    is_object: false,
    count: 0,
    hashes: [0; 2],
    may_repeat: false,
};

/// Checks one payload and puts its values on the tape.
pub(super) struct Parser<'p> {
    tape: &'p mut Tape,
    reader: Reader<'p>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and indexes are below the u32 text length checked in Tape::parse"
)]
impl<'p> Parser<'p> {
    pub(super) fn new(tape: &'p mut Tape, text: &'p str) -> Self {
        Self {
            tape,
            reader: Reader {
                text,
                bytes: text.as_bytes(),
            },
        }
    }

    pub(super) fn document(mut self) -> Result<(), SyntaxError> {
        let reader = self.reader;
        let mut inner = OUTSIDE;
        let mut at = reader.after_whitespace(0);
        loop {
            let mut name = Name::default();
            if inner.is_object {
                (at, name) = self.name(at, &mut inner)?;
            }
            let start = at;
            inner.count += 1;
            match reader.peek(at) {
                Some(b'"') => {
                    let is_escaped;
                    (at, is_escaped) = reader.string(at)?;
                    self.push(Kind::String, start..at, is_escaped, name)?;
                }
                Some(b'-' | b'0'..=b'9') => {
                    let is_marked;
                    (at, is_marked) = reader.number(at)?;
                    self.push(Kind::Number, start..at, is_marked, name)?;
                }
                Some(open @ (b'{' | b'[')) => {
                    let is_object = open == b'{';
                    inner = self.open(start, is_object, name, inner)?;
                    at = reader.after_whitespace(at + 1);
                    if reader.peek(at) != Some(if is_object { b'}' } else { b']' }) {
                        continue;
                    }
                }
                Some(b't') => at = self.word(at, b"true", Kind::True, name)?,
                Some(b'f') => at = self.word(at, b"false", Kind::False, name)?,
                Some(b'n') => at = self.word(at, b"null", Kind::Null, name)?,
                _ => return Err(reader.unexpected(at, "expected a JSON value")),
            }
            loop {
                at = reader.after_whitespace(at);
                match reader.peek(at) {
                    Some(b',') if inner.is_inside() => {
                        at = reader.after_whitespace(at + 1);
                        break;
                    }
                    Some(b'}') if inner.is_object => {}
                    Some(b']') if inner.is_inside() && !inner.is_object => {}
                    _ => return reader.end(at, inner),
                }
                at += 1;
                inner = self.close(inner, at);
            }
        }
    }

    #[inline]
    fn push(
        &mut self,
        kind: Kind,
        place: Range<usize>,
        is_marked: bool,
        name: Name,
    ) -> Result<u32, SyntaxError> {
        let index = self.tape.entries.len();
        if index >= ENTRIES_MAX {
            return Err(too_many_values(place.end));
        }
        self.tape.entries.push(Entry {
            index: index as u32,
            start: place.start as u32,
            end: place.end as u32,
            next: index as u32 + 1,
            count: 0,
            sorted: 0,
            name,
            kind,
            is_marked,
            is_replaced: false,
        });
        Ok(index as u32)
    }

    /// Opens a container inside `outer`.
    #[inline]
    fn open(
        &mut self,
        start: usize,
        is_object: bool,
        name: Name,
        outer: Open,
    ) -> Result<Open, SyntaxError> {
        if self.tape.open.len() >= PAYLOAD_DEPTH_MAX {
            return Err(too_deep(start));
        }
        let kind = if is_object { Kind::Object } else { Kind::Array };
        let entry = self.push(kind, start..start + 1, false, name)?;
        self.tape.open.push(outer);
        self.tape.depth = self.tape.depth.max(self.tape.open.len());
        Ok(Open {
            entry,
            is_object,
            ..OUTSIDE
        })
    }

    /// Closes the innermost container, which ends before `end`; the one around it.
    #[inline]
    fn close(&mut self, closed: Open, end: usize) -> Open {
        let next = self.tape.entries.len() as u32;
        if let Some(entry) = self.tape.entries.get_mut(closed.entry as usize) {
            entry.end = end as u32;
            entry.next = next;
            entry.count = closed.count;
        }
        if closed.may_repeat || (closed.is_object && closed.count > SCANNED_MEMBERS_MAX) {
            self.settle_members(closed);
        }
        self.tape.open.pop().unwrap_or(OUTSIDE)
    }

    /// Reads the name of a member of `object` and its colon, up to the member's value.
    #[inline]
    fn name(&mut self, at: usize, object: &mut Open) -> Result<(usize, Name), SyntaxError> {
        let reader = self.reader;
        if reader.peek(at) != Some(b'"') {
            return Err(reader.unexpected(at, "expected a double-quoted member name"));
        }
        let (after, is_escaped) = reader.string(at)?;
        let (start, end) = (at + 1, after - 1);
        let hash = if is_escaped {
            self.hash_of_escaped(start..end)
        } else {
            name_hash(reader.bytes.get(start..end).unwrap_or_default())
        };
        object.meet(hash);
        let colon = reader.after_whitespace(after);
        if reader.peek(colon) != Some(b':') {
            return Err(reader.unexpected(colon, "expected `:`"));
        }
        let name = Name {
            start: start as u32,
            end: end as u32,
            hash,
            is_escaped,
        };
        Ok((reader.after_whitespace(colon + 1), name))
    }

    fn hash_of_escaped(&mut self, name: Range<usize>) -> u32 {
        let raw = self.reader.text.get(name).unwrap_or_default();
        self.tape.text.clear();
        self.tape.text.extend(Unescape::new(raw));
        name_hash(self.tape.text.as_bytes())
    }

    #[inline]
    fn word(
        &mut self,
        at: usize,
        word: &'static [u8],
        kind: Kind,
        name: Name,
    ) -> Result<usize, SyntaxError> {
        let end = at + word.len();
        if self.reader.bytes.get(at..end) != Some(word) {
            return Err(self.reader.no_word(at, word));
        }
        self.push(kind, at..end, false, name)?;
        Ok(end)
    }

    /// Hides members that a later duplicate replaces, and sorts those of a large object.
    fn settle_members(&mut self, object: Open) {
        let mut members = std::mem::take(&mut self.tape.members);
        members.clear();
        let mut at = object.entry + 1;
        while let Some(member) = self.tape.entries.get(at as usize) {
            members.push(u64::from(member.name.hash) << 32 | u64::from(at));
            at = member.next;
        }
        let sorted = self.tape.sorted.len() as u32;
        let hidden = if object.count <= SCANNED_MEMBERS_MAX {
            self.hide_among_few(&members)
        } else {
            self.sort_and_hide(&mut members)
        };
        self.tape.members = members;
        if let Some(entry) = self.tape.entries.get_mut(object.entry as usize) {
            // A large object that shrinks below the limit keeps its sorted members: both ways of
            // reading see the same ones, and readers choose by this count.
            entry.count -= hidden;
            entry.sorted = sorted;
        }
    }

    /// Compares every name with those after it; how many members were hidden.
    fn hide_among_few(&mut self, members: &[u64]) -> u32 {
        let mut hidden = 0;
        let mut rest = members;
        while let Some((member, later)) = rest.split_first() {
            let is_replaced = later.iter().any(|later| self.are_alike(*member, *later));
            if is_replaced {
                hidden += self.hide(*member);
            }
            rest = later;
        }
        hidden
    }

    /// Sorts the members, keeps the last of each name; how many were hidden.
    fn sort_and_hide(&mut self, members: &mut [u64]) -> u32 {
        members.sort_unstable();
        let is_clear = members
            .array_windows()
            .all(|[one, next]| one >> 32 != next >> 32);
        if !is_clear {
            members.sort_unstable_by(|a, b| {
                (a >> 32)
                    .cmp(&(b >> 32))
                    .then_with(|| self.order(*a, *b))
                    .then(a.cmp(b))
            });
        }
        let mut hidden = 0;
        for (position, member) in members.iter().enumerate() {
            let is_replaced = !is_clear
                && members
                    .get(position + 1)
                    .is_some_and(|later| self.are_alike(*member, *later));
            if is_replaced {
                hidden += self.hide(*member);
            } else {
                self.tape.sorted.push(*member as u32);
            }
        }
        hidden
    }

    /// Whether two members have the same name.
    #[inline]
    fn are_alike(&self, a: u64, b: u64) -> bool {
        a >> 32 == b >> 32 && self.order(a, b).is_eq()
    }

    /// Compares the names of two members.
    fn order(&self, a: u64, b: u64) -> Ordering {
        let name = |member: u64| {
            let entry = self.tape.entries.get(member as u32 as usize);
            entry.map_or(("", false), |entry| {
                (entry.name.raw(self.reader.text), entry.name.is_escaped)
            })
        };
        let ((a, is_a_escaped), (b, is_b_escaped)) = (name(a), name(b));
        compare_raw(a, is_a_escaped, b, is_b_escaped)
    }

    fn hide(&mut self, member: u64) -> u32 {
        if let Some(entry) = self.tape.entries.get_mut(member as u32 as usize) {
            entry.is_replaced = true;
        }
        1
    }
}

impl Open {
    const fn is_inside(&self) -> bool {
        self.entry != OUTSIDE.entry
    }

    /// Notes the hash of a member's name.
    #[inline]
    fn meet(&mut self, hash: u32) {
        let [one, other] = &mut self.hashes;
        let (one_bit, other_bit) = (1 << (hash >> 26), 1 << (hash >> 20 & 63));
        self.may_repeat |= *one & one_bit != 0 && *other & other_bit != 0;
        *one |= one_bit;
        *other |= other_bit;
    }
}

/// What stands where in a payload. Positions are passed and answered, so that they stay in
/// registers.
#[derive(Debug, Clone, Copy)]
struct Reader<'p> {
    text: &'p str,
    bytes: &'p [u8],
}

impl Reader<'_> {
    #[inline]
    fn peek(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    #[inline]
    fn after_whitespace(self, mut at: usize) -> usize {
        while matches!(self.peek(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    /// Skips a number; true when it has a fraction or an exponent.
    #[inline]
    fn number(self, start: usize) -> Result<(usize, bool), SyntaxError> {
        let mut at = start;
        let form = match number_end(self.bytes, &mut at) {
            Ok(form) => form,
            Err(NumberFault::Digit) => return Err(self.unexpected(at, "expected a digit")),
            Err(NumberFault::LeadingZero) => {
                return Err(malformed(at, "leading zeros are not allowed"));
            }
        };
        // Only these can leave a double's range; a bound on such a number could not be judged.
        if form.has_exponent || at - start > 300 {
            self.check_range(start..at)?;
        }
        Ok((at, form.has_fraction || form.has_exponent))
    }

    #[inline(never)]
    fn check_range(self, place: Range<usize>) -> Result<(), SyntaxError> {
        let start = place.start;
        let text = self.text.get(place).unwrap_or_default();
        if text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(());
        }
        Err(malformed(start, "number out of a double's range"))
    }

    /// Skips a string from its opening quote; true when it holds an escape.
    #[inline]
    fn string(self, start: usize) -> Result<(usize, bool), SyntaxError> {
        let at = plain_end(self.bytes, start + 1);
        if self.peek(at) == Some(b'"') {
            return Ok((at + 1, false));
        }
        self.string_with_escapes(at)
    }

    /// Skips the rest of a string that is not plain up to its end.
    #[inline(never)]
    fn string_with_escapes(self, mut at: usize) -> Result<(usize, bool), SyntaxError> {
        let mut is_escaped = false;
        loop {
            match self.peek(at) {
                Some(b'"') => return Ok((at + 1, is_escaped)),
                Some(b'\\') => {
                    is_escaped = true;
                    at = self.escape(at)?;
                }
                Some(_) => {
                    return Err(malformed(at, "unescaped control character in a string"));
                }
                None => return Err(self.unexpected(at, "expected `\"`")),
            }
            at = plain_end(self.bytes, at);
        }
    }

    /// Skips an escape from its backslash.
    fn escape(self, at: usize) -> Result<usize, SyntaxError> {
        let at = at + 1;
        match self.peek(at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
            Some(b'u') => {
                let (mut at, first) = self.hex(at + 1)?;
                if (0xDC00..0xE000).contains(&first) {
                    return Err(malformed(at, "unpaired surrogate in a string"));
                }
                if (0xD800..0xDC00).contains(&first) {
                    for expected in [b'\\', b'u'] {
                        if self.peek(at) != Some(expected) {
                            return Err(self.unexpected(at, "unpaired surrogate in a string"));
                        }
                        at += 1;
                    }
                    let second;
                    (at, second) = self.hex(at)?;
                    if !(0xDC00..0xE000).contains(&second) {
                        return Err(malformed(at, "unpaired surrogate in a string"));
                    }
                }
                Ok(at)
            }
            _ => Err(self.unexpected(at, "unknown escape in a string")),
        }
    }

    fn hex(self, mut at: usize) -> Result<(usize, u32), SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self
                .peek(at)
                .and_then(|byte| char::from(byte).to_digit(16))
                .ok_or_else(|| self.unexpected(at, "expected four hexadecimal digits"))?;
            code = code << 4 | digit;
            at += 1;
        }
        Ok((at, code))
    }

    /// What it means that nothing more belongs to the innermost container.
    #[cold]
    fn end(self, at: usize, inner: Open) -> Result<(), SyntaxError> {
        if inner.is_object {
            return Err(self.unexpected(at, "expected `,` or `}`"));
        }
        if inner.is_inside() {
            return Err(self.unexpected(at, "expected `,` or `]`"));
        }
        if at < self.bytes.len() {
            return Err(SyntaxError {
                reason: ViolationReason::TrailingBytes,
                offset: at,
                detail: "bytes after the end of the value",
            });
        }
        Ok(())
    }

    /// `detail` at this byte, or the payload's end.
    #[cold]
    fn unexpected(self, at: usize, detail: &'static str) -> SyntaxError {
        if at >= self.bytes.len() {
            return SyntaxError {
                reason: ViolationReason::Truncated,
                offset: at,
                detail: "payload ends inside a value",
            };
        }
        malformed(at, detail)
    }

    /// Where the bytes at `at` leave the word.
    #[cold]
    fn no_word(self, at: usize, word: &[u8]) -> SyntaxError {
        let found = self.bytes.get(at..).unwrap_or_default();
        let same = found.iter().zip(word).take_while(|(a, b)| a == b).count();
        self.unexpected(at + same, "expected `true`, `false` or `null`")
    }
}

#[cold]
fn malformed(offset: usize, detail: &'static str) -> SyntaxError {
    SyntaxError {
        reason: ViolationReason::Malformed,
        offset,
        detail,
    }
}

#[cold]
fn too_many_values(offset: usize) -> SyntaxError {
    SyntaxError {
        reason: ViolationReason::LimitExceeded,
        offset,
        detail: "payload holds more than 4194304 values",
    }
}

#[cold]
fn too_deep(offset: usize) -> SyntaxError {
    SyntaxError {
        reason: ViolationReason::LimitExceeded,
        offset,
        detail: "payload nests deeper than 127 containers",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agrees(bytes: &[u8]) {
        let serde = serde_json::from_slice::<serde_json::Value>(bytes);
        let own = std::str::from_utf8(bytes).map(|text| Tape::default().parse(text));
        let own_valid = matches!(own, Ok(Ok(())));
        assert_eq!(
            own_valid,
            serde.is_ok(),
            "{:?}: own {own:?}, serde_json {serde:?}",
            String::from_utf8_lossy(bytes)
        );
    }

    #[test]
    fn agrees_on_edge_cases() {
        for text in [
            "",
            " ",
            "1",
            "-",
            "-0",
            "00",
            "01",
            "1.",
            "1.0",
            ".5",
            "1e",
            "1e+",
            "1e400",
            "-1e400",
            "1e-400",
            "tru",
            "true",
            "truex",
            "null ",
            "nul",
            "\"",
            "\"a",
            "\"\\",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\\udc00\"",
            "\"\\x\"",
            "\"\u{1}\"",
            "\"\u{7f}\"",
            "{}",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[]",
            "[",
            "]",
            "[1,]",
            "[,]",
            "[1 2]",
            "[1,2]",
            "[]]",
            "{} {}",
            "{}x",
            "/**/1",
            "\u{feff}1",
            "NaN",
            "Infinity",
            "'a'",
            "[[[[]]]]",
            "\t\r\n 1 \n",
            "\u{a0}1",
            "1\u{0}",
        ] {
            agrees(text.as_bytes());
        }
        for depth in [126, 127, 128, 129, 5000] {
            agrees(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
            agrees(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).as_bytes());
        }
    }

    #[test]
    fn last_duplicate_wins() {
        for members in [3, 9, 32, 33, 40] {
            let mut text = String::from("{");
            for index in 0..members {
                text.push_str(&format!("\"k{index}\":{index},"));
            }
            text.push_str("\"\\u006b1\":\"last\"}");
            let mut tape = Tape::default();
            tape.parse(&text).expect("valid");
            assert_eq!(
                tape.entries().first().map(|entry| entry.count),
                Some(members)
            );
        }
    }

    #[test]
    fn names_the_first_bad_byte() {
        for (text, reason, offset) in [
            ("", ViolationReason::Truncated, 0),
            ("{\"a\":", ViolationReason::Truncated, 5),
            ("{} x", ViolationReason::TrailingBytes, 3),
            ("[1,,2]", ViolationReason::Malformed, 3),
            ("[1e999]", ViolationReason::Malformed, 1),
            ("{\"a\":\"\\q\"}", ViolationReason::Malformed, 7),
        ] {
            let error = Tape::default().parse(text).expect_err(text);
            assert_eq!((error.reason, error.offset), (reason, offset), "{text}");
        }
    }

    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f32>().prop_map(|number| serde_json::Value::from(number).to_string()),
            "[a-z\\\\\"\\PC]{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
            Just("\"\\u00e9\\ud83d\\ude00\"".to_owned()),
        ];
        leaf.prop_recursive(5, 64, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec(("[a-c]{1,2}", inner), 0..12).prop_map(|members| {
                    let members: Vec<String> = members
                        .into_iter()
                        .map(|(name, value)| format!("\"{name}\" :{value}"))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            agrees(&bytes);
        }

        #[test]
        fn agrees_with_serde_json_on_mutated_json(
            text in json_text(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..3),
        ) {
            let mut bytes = text.into_bytes();
            agrees(&bytes);
            for (index, byte, edit) in edits {
                if bytes.is_empty() { break; }
                let at = index.index(bytes.len());
                match edit {
                    0 => bytes[at] = byte,
                    1 => { bytes.remove(at); }
                    _ => bytes.insert(at, b"{}[]\",:\\0e.-"[byte as usize % 12]),
                }
            }
            agrees(&bytes);
        }
    }
}
