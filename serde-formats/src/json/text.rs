//! JSON text kept as written: key order, number text, last duplicate wins.
//!
//! Schema texts are stored and hashed byte for byte, so they are printed as the reference's
//! parser (Jackson, with numbers as `BigDecimal`) prints them. Knows nothing of JSON Schema.
//! Next: `parse.rs`, which reads schemas out of these trees.

use super::lex::{NumberFault, number_end};
use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::schema::ParseError;

/// A JSON value as it will be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// Already in the printed form, see [`print_decimal`].
    Number(String),
    String(String),
    Array(Vec<Self>),
    /// Names are unique; order is that of first appearance.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Parses one JSON document.
    ///
    /// Bare `NaN`, `Infinity` and `-Infinity` become strings, as in the reference; comments,
    /// trailing commas, single quotes and trailing text are refused.
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_part(text, &mut Room::default())
    }

    /// Parses one of several documents that share a limit.
    pub(super) fn parse_part(text: &str, room: &mut Room) -> Result<Self, ParseError> {
        let Some(bytes_left) = room.bytes.checked_sub(text.len()) else {
            return Err(ParseError::new(format!(
                "schema of {} bytes is larger than {SCHEMA_BYTES_MAX}, what it refers to included",
                text.len()
            )));
        };
        room.bytes = bytes_left;
        let mut reader = Reader {
            text,
            bytes: text.as_bytes(),
            at: 0,
            values_left: &mut room.values,
        };
        reader.skip_whitespace();
        if reader.at == text.len() {
            return Err(reader.error("expected an object or boolean at the root, found MISSING"));
        }
        let value = reader.value(0)?;
        reader.skip_whitespace();
        if reader.at < text.len() {
            return Err(reader.error("text after the end of the schema"));
        }
        Ok(value)
    }

    /// The compact form: no whitespace, keys as they came.
    pub(super) fn canonical(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, false);
        out
    }

    /// The compact form with object keys sorted at every level, by UTF-16 code unit as Java does.
    pub(super) fn normalized(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, true);
        out
    }

    /// The member called `name` of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .find_map(|(key, value)| (key == name).then_some(value)),
            _ => None,
        }
    }

    /// The same value for libraries; numbers beyond a double's range become its largest.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(text) => Value::Number(number_of(text)),
            Self::String(text) => Value::String(text.clone()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_value()))
                    .collect(),
            ),
        }
    }

    /// The word the reference uses for this kind of value in its messages.
    pub(super) const fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "BOOLEAN",
            Self::Number(_) => "NUMBER",
            Self::String(_) => "STRING",
            Self::Array(_) => "ARRAY",
            Self::Object(_) => "OBJECT",
        }
    }

    fn print(&self, out: &mut String, sorted: bool) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => print_string(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.print(out, sorted);
                }
                out.push(']');
            }
            Self::Object(members) => {
                let mut order: Vec<&(String, Self)> = members.iter().collect();
                if sorted {
                    order.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
                }
                out.push('{');
                for (index, (name, value)) in order.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    print_string(name, out);
                    out.push(':');
                    value.print(out, sorted);
                }
                out.push('}');
            }
        }
    }
}

/// What may still be read of a schema and those it refers to.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    values: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: SCHEMA_BYTES_MAX,
            values: VALUES_MAX,
        }
    }
}

/// Largest schema text taken: well above any record a log accepts by default.
const SCHEMA_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Values in one schema. A value of two bytes of text becomes some hundred in every tree made of it.
const VALUES_MAX: usize = 100_000;
/// Objects up to this size are searched member by member.
const SCANNED_MEMBERS_MAX: usize = 8;
/// Deepest nesting of a schema text; everything that walks a schema recurses at most this deep.
pub(super) const SCHEMA_DEPTH_MAX: usize = 256;
/// Longest number text, the reference parser's own limit.
const NUMBER_BYTES_MAX: usize = 1000;

fn print_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                write!(out, "\\u{:04X}", u32::from(control)).unwrap_or_default();
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The text `BigDecimal` gives a number: scale kept, exponent only where Java writes one.
///
/// Integers stay plain (`-0` is `0`). `None` when the exponent leaves 32 bits.
fn print_decimal(text: &str) -> Option<String> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.parse::<i32>().ok()?)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (mantissa, ""),
    };
    let joined = format!("{whole}{fraction}");
    let digits = match joined.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let sign = if negative && digits != "0" { "-" } else { "" };
    if fraction.is_empty() && exponent.is_none() {
        return Some(format!("{sign}{digits}"));
    }
    let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent.unwrap_or(0));
    let adjusted = i64::try_from(digits.len()).ok()? - 1 - scale;
    if i32::try_from(scale).is_err() || i32::try_from(adjusted).is_err() {
        return None;
    }
    if scale == 0 {
        return Some(format!("{sign}{digits}"));
    }
    if scale > 0 && adjusted >= -6 {
        let scale = usize::try_from(scale).ok()?;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        return Some(format!("{sign}{whole}.{fraction}"));
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    Some(if adjusted == 0 {
        format!("{sign}{first}{point}{rest}")
    } else {
        format!("{sign}{first}{point}{rest}E{adjusted:+}")
    })
}

fn number_of(text: &str) -> serde_json::Number {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let largest = if text.starts_with('-') {
            f64::MIN
        } else {
            f64::MAX
        };
        serde_json::Number::from_f64(largest).unwrap_or_else(|| 0.into())
    })
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    values_left: &'t mut usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        let before = self.bytes.get(..self.at).unwrap_or(self.bytes);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |tail| String::from_utf8_lossy(tail).chars().count() + 1);
        let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        ParseError {
            message: format!("invalid JSON: {}", message.into()),
            position: Some((narrow(line), narrow(column))),
        }
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let found = self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next());
        match found {
            Some(character) => self.error(format!("expected {expected}, found {character:?}")),
            None => self.error(format!("expected {expected}, found the end of the text")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        let rest = self.bytes.get(self.at..)?;
        let after = rest.get(word.len()).copied().unwrap_or(b' ');
        if rest.starts_with(word.as_bytes()) && !after.is_ascii_alphanumeric() {
            self.at += word.len();
            return Some(value);
        }
        None
    }

    fn value(&mut self, depth: usize) -> Result<Json, ParseError> {
        *self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or_else(|| self.error(format!("more than {VALUES_MAX} values in a schema")))?;
        let text = |text: &str| Json::String(text.to_owned());
        let word = match self.peek() {
            Some(b'{') => return self.object(depth),
            Some(b'[') => return self.array(depth),
            Some(b'"') => return self.string().map(Json::String),
            Some(b'0'..=b'9') => return self.number(),
            Some(b'-') => match self.word("-Infinity", text("-Infinity")) {
                Some(word) => Some(word),
                None => return self.number(),
            },
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'N') => self.word("NaN", text("NaN")),
            Some(b'I') => self.word("Infinity", text("Infinity")),
            _ => None,
        };
        word.ok_or_else(|| self.unexpected("a JSON value"))
    }

    fn enter(&self, depth: usize) -> Result<usize, ParseError> {
        if depth >= SCHEMA_DEPTH_MAX {
            return Err(self.error(format!("nesting deeper than {SCHEMA_DEPTH_MAX}")));
        }
        Ok(depth + 1)
    }

    fn array(&mut self, depth: usize) -> Result<Json, ParseError> {
        let depth = self.enter(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        self.skip_whitespace();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_whitespace();
            items.push(self.value(depth)?);
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, ParseError> {
        let depth = self.enter(depth)?;
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut positions: HashMap<String, usize> = HashMap::new();
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_whitespace();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a double-quoted name"));
            }
            let name = self.string()?;
            self.skip_whitespace();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.at += 1;
            self.skip_whitespace();
            let value = self.value(depth)?;
            let same = if members.len() <= SCANNED_MEMBERS_MAX {
                members.iter().position(|(known, _)| *known == name)
            } else {
                if positions.is_empty() {
                    let known = members.iter().enumerate();
                    positions.extend(known.map(|(at, (name, _))| (name.clone(), at)));
                }
                positions.get(&name).copied()
            };
            match same.and_then(|at| members.get_mut(at)) {
                Some(member) => member.1 = value,
                None => {
                    if !positions.is_empty() {
                        positions.insert(name.clone(), members.len());
                    }
                    members.push((name, value));
                }
            }
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return Err(self.unexpected("`,` or `}`")),
            }
        }
    }

    fn number(&mut self) -> Result<Json, ParseError> {
        let start = self.at;
        number_end(self.bytes, &mut self.at).map_err(|fault| match fault {
            NumberFault::Digit => self.unexpected("a digit"),
            NumberFault::LeadingZero => self.error("leading zeros are not allowed"),
        })?;
        let text = self.text.get(start..self.at).unwrap_or_default();
        if text.len() > NUMBER_BYTES_MAX {
            return Err(self.error(format!("number longer than {NUMBER_BYTES_MAX} characters")));
        }
        print_decimal(text)
            .map(Json::Number)
            .ok_or_else(|| self.error("number out of range"))
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let run = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            out.push_str(self.text.get(run..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(self.error("unescaped control character in a string")),
                None => return Err(self.unexpected("`\"`")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        self.at += 1;
        let escaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hex()?;
                if (0xD800..0xDC00).contains(&first)
                    && self.bytes.get(self.at..self.at + 2) == Some(b"\\u")
                {
                    self.at += 2;
                    let second = self.hex()?;
                    let low = second.wrapping_sub(0xDC00);
                    let joined = 0x10000 + ((first - 0xD800) << 10) + low;
                    return (low < 0x400)
                        .then(|| char::from_u32(joined))
                        .flatten()
                        .ok_or_else(|| self.error("unpaired surrogate in a string"));
                }
                return char::from_u32(first)
                    .ok_or_else(|| self.error("unpaired surrogate in a string"));
            }
            _ => return Err(self.unexpected("an escape character")),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn hex(&mut self) -> Result<u32, ParseError> {
        let code = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => Err(self.unexpected("four hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_the_reference_prints() {
        for (text, canonical, normalized) in [
            (
                " { \"b\" : 1 , \"a\" : [ ] } ",
                r#"{"b":1,"a":[]}"#,
                r#"{"a":[],"b":1}"#,
            ),
            (r#"{"x":1.50}"#, r#"{"x":1.50}"#, r#"{"x":1.50}"#),
            (
                r#"[1e3,1.5e3,12e-1,1E-7,0.000001]"#,
                "[1E+3,1.5E+3,1.2,1E-7,0.000001]",
                "[1E+3,1.5E+3,1.2,1E-7,0.000001]",
            ),
            (
                "[-0.0,-0,0e5,100.0,1.0e1]",
                "[0.0,0,0E+5,100.0,10]",
                "[0.0,0,0E+5,100.0,10]",
            ),
            (
                r#"{"a":1,"b":2,"a":3}"#,
                r#"{"a":3,"b":2}"#,
                r#"{"a":3,"b":2}"#,
            ),
            (
                r#"["\u00e9\/\u2028\n\u0001\ud83d\ude00"]"#,
                "[\"é/\u{2028}\\n\\u0001😀\"]",
                "[\"é/\u{2028}\\n\\u0001😀\"]",
            ),
            (
                "[NaN,-Infinity]",
                r#"["NaN","-Infinity"]"#,
                r#"["NaN","-Infinity"]"#,
            ),
            (
                r#"{"é":1,"z":{"b":1,"a":2}}"#,
                r#"{"é":1,"z":{"b":1,"a":2}}"#,
                r#"{"z":{"a":2,"b":1},"é":1}"#,
            ),
        ] {
            let json = Json::parse(text).expect(text);
            assert_eq!(json.canonical(), canonical, "{text}");
            assert_eq!(json.normalized(), normalized, "{text}");
        }
    }

    #[test]
    fn refuses_with_line_and_column() {
        for (text, position) in [
            ("{\n \"a\":1,}", (2, 8)),
            ("{a:1}", (1, 2)),
            ("// c\n{}", (1, 1)),
            ("{\"é\" 1}", (1, 6)),
            ("[1] 2", (1, 5)),
            ("[01]", (1, 3)),
            ("\"\\ud800\"", (1, 8)),
            ("  ", (1, 3)),
        ] {
            let error = Json::parse(text).expect_err(text);
            assert_eq!(error.position, Some(position), "{text}: {error}");
        }
        let deep = "[".repeat(SCHEMA_DEPTH_MAX + 1);
        assert!(
            Json::parse(&deep)
                .expect_err("deep")
                .message
                .contains("nesting deeper")
        );
    }
}
