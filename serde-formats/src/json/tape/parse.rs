//! Strict RFC 8259 over UTF-8, iterative, with the memory of earlier payloads.

use std::cmp::Ordering;

use super::super::lex::{NumberFault, number_end, plain_end};
use super::{
    Entry, Kind, PAYLOAD_DEPTH_MAX, SCANNED_MEMBERS_MAX, SyntaxError, Tape, Unescape, compare_raw,
    name_hash,
};
use crate::validator::ViolationReason;

/// Values and names in one payload; an entry is larger than the two bytes a value can take.
const ENTRIES_MAX: usize = 1 << 22;

/// Reads one payload.
pub(super) struct Parser<'p> {
    tape: &'p mut Tape,
    text: &'p str,
    bytes: &'p [u8],
    at: usize,
    /// The innermost open container; [`NONE`] outside of all.
    container: u32,
    is_in_object: bool,
}

/// No container.
const NONE: u32 = u32::MAX;

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets and indexes are below the u32 text length checked in Tape::parse"
)]
impl<'p> Parser<'p> {
    pub(super) fn new(tape: &'p mut Tape, text: &'p str) -> Self {
        Self {
            tape,
            text,
            bytes: text.as_bytes(),
            at: 0,
            container: NONE,
            is_in_object: false,
        }
    }

    pub(super) fn document(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.skip_whitespace();
            if self.value()? {
                // A container with something in it: its first value is next.
                continue;
            }
            loop {
                self.skip_whitespace();
                if self.container == NONE {
                    if self.at < self.bytes.len() {
                        return Err(self.error_as(
                            ViolationReason::TrailingBytes,
                            "bytes after the end of the value",
                        ));
                    }
                    return Ok(());
                }
                match (self.peek(), self.is_in_object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.skip_whitespace();
                        self.name()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => self.close(),
                    (_, true) => return Err(self.unexpected("expected `,` or `}`")),
                    (_, false) => return Err(self.unexpected("expected `,` or `]`")),
                }
            }
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[cold]
    fn error_as(&self, reason: ViolationReason, detail: &'static str) -> SyntaxError {
        SyntaxError {
            reason,
            offset: self.at,
            detail,
        }
    }

    fn malformed(&self, detail: &'static str) -> SyntaxError {
        self.error_as(ViolationReason::Malformed, detail)
    }

    /// `detail` at this byte, or the payload's end.
    fn unexpected(&self, detail: &'static str) -> SyntaxError {
        if self.at >= self.bytes.len() {
            return self.error_as(ViolationReason::Truncated, "payload ends inside a value");
        }
        self.malformed(detail)
    }

    #[inline]
    fn push(
        &mut self,
        kind: Kind,
        start: usize,
        escaped: bool,
        key: u32,
    ) -> Result<u32, SyntaxError> {
        let index = self.tape.entries.len();
        if index >= ENTRIES_MAX {
            return Err(self.error_as(
                ViolationReason::LimitExceeded,
                "payload holds more than 4194304 values",
            ));
        }
        self.tape.entries.push(Entry {
            start: start as u32,
            end: self.at as u32,
            next: index as u32 + 1,
            count: 0,
            key,
            kind,
            escaped,
        });
        Ok(index as u32)
    }

    /// Counts a completed element in the open array; object members are counted when closed.
    #[inline]
    fn count_element(&mut self) {
        if !self.is_in_object
            && let Some(array) = self.tape.entries.get_mut(self.container as usize)
        {
            array.count += 1;
        }
    }

    /// Reads one value; true when it is a container whose first value (and name) is next.
    fn value(&mut self) -> Result<bool, SyntaxError> {
        let start = self.at;
        self.count_element();
        match self.peek() {
            Some(b'{') => return self.open(Kind::Object, b'}'),
            Some(b'[') => return self.open(Kind::Array, b']'),
            Some(b'"') => {
                let escaped = self.string()?;
                self.push(Kind::String, start, escaped, 0)?;
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                self.push(Kind::Number, start, false, 0)?;
            }
            Some(b't') => self.word("true", Kind::True)?,
            Some(b'f') => self.word("false", Kind::False)?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return Err(self.unexpected("expected a JSON value")),
        }
        Ok(false)
    }

    fn open(&mut self, kind: Kind, close: u8) -> Result<bool, SyntaxError> {
        if self.tape.open.len() >= PAYLOAD_DEPTH_MAX {
            return Err(self.error_as(
                ViolationReason::LimitExceeded,
                "payload nests deeper than 127 containers",
            ));
        }
        let start = self.at;
        self.at += 1;
        let index = self.push(kind, start, false, 0)?;
        let names_start = self.tape.names.len() as u32;
        self.tape.open.push((index, names_start));
        self.container = index;
        self.is_in_object = kind == Kind::Object;
        self.tape.depth = self.tape.depth.max(self.tape.open.len());
        self.skip_whitespace();
        if self.peek() == Some(close) {
            self.close();
            return Ok(false);
        }
        if kind == Kind::Object {
            self.name()?;
        }
        Ok(true)
    }

    /// Closes the innermost container at its closing bracket.
    fn close(&mut self) {
        self.at += 1;
        let end = self.at as u32;
        let next = self.tape.entries.len() as u32;
        let Some((container, names_start)) = self.tape.open.pop() else {
            return;
        };
        if let Some(entry) = self.tape.entries.get_mut(container as usize) {
            entry.end = end;
            entry.next = next;
        }
        if self.is_in_object {
            self.settle_names(container, names_start as usize);
        }
        self.container = self.tape.open.last().map_or(NONE, |(outer, _)| *outer);
        self.is_in_object = self
            .tape
            .entries
            .get(self.container as usize)
            .is_some_and(|outer| outer.kind == Kind::Object);
    }

    /// Counts an object's members, hides names that a later duplicate replaces, and sorts the
    /// names of a large object. Its names are the last ones, from `start` on.
    fn settle_names(&mut self, object: u32, start: usize) {
        let count = (self.tape.names.len() - start) as u32;
        let sorted_at = self.tape.sorted.len() as u32;
        let hidden = if count <= SCANNED_MEMBERS_MAX {
            self.hide_among_few(start)
        } else {
            self.sort_and_hide(start)
        };
        self.tape.names.truncate(start);
        if let Some(entry) = self.tape.entries.get_mut(object as usize) {
            // A large object that shrinks below the limit keeps its sorted names: both ways of
            // reading see the same members, and readers choose by this count.
            entry.count = count - hidden;
            entry.key = sorted_at;
        }
    }

    /// Compares every name with those after it; how many were hidden.
    fn hide_among_few(&mut self, start: usize) -> u32 {
        let mut hidden = 0;
        for position in start..self.tape.names.len() {
            let Some((name, later)) = self
                .tape
                .names
                .get(position..)
                .and_then(<[u64]>::split_first)
            else {
                break;
            };
            let is_replaced = later.iter().any(|later| {
                later >> 32 == name >> 32 && self.order(*name as u32, *later as u32).is_eq()
            });
            if is_replaced {
                let name = *name as u32;
                hidden += self.hide(name);
            }
        }
        hidden
    }

    /// Sorts the names, keeps the last of each; how many were hidden.
    fn sort_and_hide(&mut self, start: usize) -> u32 {
        let mut all = std::mem::take(&mut self.tape.names);
        let names = all.get_mut(start..).unwrap_or_default();
        names.sort_unstable();
        let is_clear = names
            .array_windows()
            .all(|[one, next]| one >> 32 != next >> 32);
        if !is_clear {
            names.sort_unstable_by(|a, b| {
                (a >> 32)
                    .cmp(&(b >> 32))
                    .then_with(|| self.order(*a as u32, *b as u32))
                    .then(a.cmp(b))
            });
        }
        let mut hidden = 0;
        for (position, name) in names.iter().enumerate() {
            let is_replaced = !is_clear
                && names.get(position + 1).is_some_and(|later| {
                    later >> 32 == name >> 32 && self.order(*name as u32, *later as u32).is_eq()
                });
            if is_replaced {
                hidden += self.hide(*name as u32);
            } else {
                self.tape.sorted.push(*name as u32);
            }
        }
        self.tape.names = all;
        hidden
    }

    fn order(&self, a: u32, b: u32) -> Ordering {
        match (self.tape.entry(a), self.tape.entry(b)) {
            (Some(a), Some(b)) => compare_raw(
                Tape::raw(self.text, a),
                a.escaped,
                Tape::raw(self.text, b),
                b.escaped,
            ),
            _ => Ordering::Equal,
        }
    }

    fn hide(&mut self, name: u32) -> u32 {
        if let Some(entry) = self.tape.entries.get_mut(name as usize) {
            entry.kind = Kind::ShadowedName;
        }
        1
    }

    fn name(&mut self) -> Result<(), SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("expected a double-quoted member name"));
        }
        let start = self.at;
        let escaped = self.string()?;
        let raw = self.text.get(start + 1..self.at - 1).unwrap_or_default();
        let hash = if escaped {
            self.tape.text.clear();
            self.tape.text.extend(Unescape::new(raw));
            name_hash(self.tape.text.as_bytes())
        } else {
            name_hash(raw.as_bytes())
        };
        let name = self.push(Kind::Name, start, escaped, hash)?;
        let named = u64::from(hash) << 32 | u64::from(name);
        self.tape.names.push(named);
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("expected `:`"));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &'static str, kind: Kind) -> Result<(), SyntaxError> {
        let start = self.at;
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected("expected `true`, `false` or `null`"));
            }
            self.at += 1;
        }
        self.push(kind, start, false, 0).map(|_| ())
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        let exponent = number_end(self.bytes, &mut self.at).map_err(|fault| match fault {
            NumberFault::Digit => self.unexpected("expected a digit"),
            NumberFault::LeadingZero => self.malformed("leading zeros are not allowed"),
        })?;
        // Only these can leave a double's range; a bound on such a number could not be judged.
        if exponent || self.at - start > 300 {
            let text = self.text.get(start..self.at).unwrap_or_default();
            if !text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Err(SyntaxError {
                    reason: ViolationReason::Malformed,
                    offset: start,
                    detail: "number out of a double's range",
                });
            }
        }
        Ok(())
    }

    /// Skips a string from its opening quote; true when it holds an escape.
    fn string(&mut self) -> Result<bool, SyntaxError> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.malformed("unescaped control character in a string")),
                None => return Err(self.unexpected("expected `\"`")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                let first = self.hex()?;
                if (0xDC00..0xE000).contains(&first) {
                    return Err(self.malformed("unpaired surrogate in a string"));
                }
                if (0xD800..0xDC00).contains(&first) {
                    if self.peek() != Some(b'\\') {
                        return Err(self.unexpected("unpaired surrogate in a string"));
                    }
                    self.at += 1;
                    if self.peek() != Some(b'u') {
                        return Err(self.unexpected("unpaired surrogate in a string"));
                    }
                    self.at += 1;
                    if !(0xDC00..0xE000).contains(&self.hex()?) {
                        return Err(self.malformed("unpaired surrogate in a string"));
                    }
                }
                Ok(())
            }
            _ => Err(self.unexpected("unknown escape in a string")),
        }
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self
                .peek()
                .and_then(|byte| char::from(byte).to_digit(16))
                .ok_or_else(|| self.unexpected("expected four hexadecimal digits"))?;
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
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
        for members in [3, 40] {
            let mut text = String::from("{");
            for index in 0..members {
                text.push_str(&format!("\"k{index}\":{index},"));
            }
            text.push_str("\"\\u006b1\":\"last\"}");
            let mut tape = Tape::default();
            tape.parse(&text).expect("valid");
            assert_eq!(tape.entry(0).map(|entry| entry.count), Some(members));
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
