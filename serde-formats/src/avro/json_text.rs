//! The JSON an Avro schema is written in, read and written as Jackson does for Avro.
//!
//! Differs from plain JSON in what the canonical text depends on: comments are accepted, the order
//! of attributes is kept (a repeated key keeps its first place and its last value), integers keep
//! their digits and other numbers become doubles printed as Java prints them.
//! Knows nothing of Avro. Next: [`super::parse`].

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::schema::ParseError;

/// Deepest nesting of arrays and objects in a schema text. A record inside a record costs three
/// levels; Jackson stops at 1000, but nothing written by people comes near either.
pub(super) const DEPTH_MAX: usize = 512;

/// Most values of a schema text, at any depth: a text of 2 MiB that is nothing but short fields.
pub(super) const VALUES_MAX: usize = 250_000;

/// Entries of an object up to which each is compared with each.
const SHORT_ENTRIES: usize = 16;

/// A JSON value with what Jackson would remember of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// The digits, with `-0` as `0`.
    Int(String),
    /// Any number written with a fraction or exponent.
    Double(f64),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The value of a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the compact text.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(digits) => out.push_str(digits),
            Self::Double(value) => write_double(*value, out),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The compact text.
    pub(super) fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// The same value with the keys of every object in it sorted.
    pub(super) fn sorted(&self) -> Self {
        match self {
            Self::Array(items) => Self::Array(items.iter().map(Self::sorted).collect()),
            Self::Object(entries) => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.sorted()))
                    .collect();
                entries.sort_by(|a, b| java_order(&a.0, &b.0));
                Self::Object(entries)
            }
            other => other.clone(),
        }
    }
}

/// Orders as Java's `String.compareTo`: by UTF-16 unit.
pub(super) fn java_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Appends a JSON string with Jackson's escapes: quote, backslash and control characters only.
pub(super) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a double as Java's `Double.toString`; non-finite values are quoted, as Jackson does.
pub(super) fn write_double(value: f64, out: &mut String) {
    write_java_float(&format!("{value:e}"), value, out);
}

/// Appends a float as Java's `Float.toString`.
pub(super) fn write_float(value: f32, out: &mut String) {
    write_java_float(&format!("{value:e}"), f64::from(value), out);
}

/// `shortest` is Rust's `{:e}`: the shortest digits that read back, as `d.ddde-n`.
fn write_java_float(shortest: &str, value: f64, out: &mut String) {
    if !value.is_finite() {
        out.push_str(match value {
            v if v.is_nan() => "\"NaN\"",
            v if v > 0.0 => "\"Infinity\"",
            _ => "\"-Infinity\"",
        });
        return;
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.trim_start_matches('-').replace('.', "");
    if mantissa.starts_with('-') {
        out.push('-');
    }
    let plain = value == 0.0 || (1e-3..1e7).contains(&value.abs());
    if !plain {
        let (first, rest) = digits.split_at(1);
        let rest = if rest.is_empty() { "0" } else { rest };
        let _infallible = write!(out, "{first}.{rest}E{exponent}");
        return;
    }
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let point = exponent + 1;
            if digits.len() <= point {
                out.push_str(&digits);
                out.extend(std::iter::repeat_n('0', point - digits.len()));
                out.push_str(".0");
            } else {
                let (whole, fraction) = digits.split_at(point);
                out.push_str(whole);
                out.push('.');
                out.push_str(fraction);
            }
        }
        Err(_) => {
            out.push_str("0.");
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            out.extend(std::iter::repeat_n('0', zeros));
            out.push_str(&digits);
        }
    }
}

/// Reads one JSON value that fills the whole text.
///
/// # Errors
/// With the 1-based line and column of the first character that does not belong.
pub(super) fn read(text: &str) -> Result<Json, ParseError> {
    let mut reader = Reader {
        text,
        at: 0,
        values: 0,
    };
    reader.skip_blank()?;
    if reader.at == text.len() {
        return Err(ParseError::new("schema text is empty"));
    }
    let value = reader.value(0)?;
    reader.skip_blank()?;
    if reader.at < text.len() {
        return Err(reader.error("dangling content after the end of the schema"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Values begun so far.
    values: usize,
}

impl Reader<'_> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let column = before.get(line_start..).map_or(0, |l| l.chars().count()) + 1;
        ParseError {
            message: message.into(),
            position: Some((
                u32::try_from(line).unwrap_or(u32::MAX),
                u32::try_from(column).unwrap_or(u32::MAX),
            )),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') => {
                    let rest = self.rest();
                    if rest.starts_with("//") {
                        self.at += rest.find('\n').unwrap_or(rest.len());
                    } else if rest.starts_with("/*") {
                        match rest.get(2..).and_then(|r| r.find("*/")) {
                            Some(end) => self.at += end + 4,
                            None => return Err(self.error("comment does not end")),
                        }
                    } else {
                        return Err(self.error("unexpected character '/'"));
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, ParseError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.error(format!("schema text has more than {VALUES_MAX} values")));
        }
        match self.peek() {
            None => Err(self.error("unexpected end of the schema text")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                for (word, value) in [
                    ("null", Json::Null),
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                ] {
                    let rest = self.rest();
                    let ends = rest
                        .as_bytes()
                        .get(word.len())
                        .is_none_or(|b| !b.is_ascii_alphanumeric());
                    if rest.starts_with(word) && ends {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                let token: String = self.rest().chars().take(1).collect();
                Err(self.error(format!("unexpected character '{token}'")))
            }
        }
    }

    fn enter(&self, depth: usize) -> Result<usize, ParseError> {
        if depth >= DEPTH_MAX {
            return Err(self.error(format!("schema text nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(depth + 1)
    }

    fn array(&mut self, depth: usize) -> Result<Json, ParseError> {
        let depth = self.enter(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blank()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_blank()?;
            items.push(self.value(depth)?);
            self.skip_blank()?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    items.shrink_to_fit();
                    return Ok(Json::Array(items));
                }
                None => return Err(self.error("unexpected end of the schema text in an array")),
                Some(_) => return Err(self.error("expected ',' or ']' in an array")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, ParseError> {
        let depth = self.enter(depth)?;
        self.at += 1;
        let mut entries: Vec<(String, Json)> = Vec::new();
        self.skip_blank()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(entries));
        }
        loop {
            self.skip_blank()?;
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a quoted attribute name"));
            }
            let key = self.string()?;
            self.skip_blank()?;
            if self.peek() != Some(b':') {
                return Err(self.error(format!("expected ':' after attribute \"{key}\"")));
            }
            self.at += 1;
            self.skip_blank()?;
            let value = self.value(depth)?;
            entries.push((key, value));
            self.skip_blank()?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    if has_repeats(&entries) {
                        entries = without_repeats(entries);
                    }
                    entries.shrink_to_fit();
                    return Ok(Json::Object(entries));
                }
                None => return Err(self.error("unexpected end of the schema text in an object")),
                Some(_) => return Err(self.error("expected ',' or '}' in an object")),
            }
        }
    }

    fn number(&mut self) -> Result<Json, ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.error("malformed number"));
        }
        let mut is_integer = true;
        if self.peek() == Some(b'.') {
            is_integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.error("malformed number: no digits after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_integer = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.error("malformed number: no digits in the exponent"));
            }
        }
        if matches!(self.peek(), Some(b) if b.is_ascii_alphanumeric() || b == b'_') {
            return Err(self.error("malformed number"));
        }
        let text = self.text.get(start..self.at).unwrap_or("0");
        if is_integer {
            return Ok(Json::Int(if text == "-0" { "0" } else { text }.to_owned()));
        }
        text.parse()
            .map(Json::Double)
            .map_err(|_| self.error("malformed number"))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(plain) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                return Err(self.error("string does not end"));
            };
            out.push_str(rest.get(..plain).unwrap_or(""));
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                _ => return Err(self.error("unescaped control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex4()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high)
                        .ok_or_else(|| self.error("unpaired surrogate in a string"));
                }
                if !self.rest().starts_with("\\u") {
                    return Err(self.error("unpaired surrogate in a string"));
                }
                self.at += 2;
                let low = self.hex4()?;
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(self.error("unpaired surrogate in a string"));
                }
                return char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                    .ok_or_else(|| self.error("unpaired surrogate in a string"));
            }
            _ => {
                self.at -= 1;
                return Err(self.error("unknown escape in a string"));
            }
        })
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|d| u32::from_str_radix(d, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => Err(self.error("\\u needs four hexadecimal digits")),
        }
    }
}

fn has_repeats(entries: &[(String, Json)]) -> bool {
    if entries.len() <= SHORT_ENTRIES {
        let mut rest = entries;
        while let [(key, _), others @ ..] = rest {
            if others.iter().any(|(other, _)| other == key) {
                return true;
            }
            rest = others;
        }
        return false;
    }
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair.first() == pair.last())
}

/// A repeated key keeps its first place and its last value.
fn without_repeats(entries: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut kept: Vec<(String, Json)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (key, value) in entries {
        match places.get(&key).and_then(|&place| kept.get_mut(place)) {
            Some(entry) => entry.1 = value,
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_jackson() {
        for (text, expected) in [
            ("[1, -0, 1.50, 1e3, 1e2]", "[1,0,1.5,1000.0,100.0]"),
            (
                "[1e7, 1.5e-5, 0.001, 123456.789]",
                "[1.0E7,1.5E-5,0.001,123456.789]",
            ),
            ("[0.0, -0.0, 1e400]", "[0.0,-0.0,\"Infinity\"]"),
            ("{\"a\":1,\"b\":2,\"a\":3} // end", "{\"a\":3,\"b\":2}"),
            (
                "/* x */ \"\\u00e9\\/\\u0001\\ud83d\\ude00\"",
                "\"é/\\u0001😀\"",
            ),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ] {
            assert_eq!(read(text).unwrap().to_text(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "  ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'x'",
            "01",
            "1.",
            "1e",
            "nul",
            "nulls",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"a\nb\"",
            "1 2",
            "/* x",
            "/",
            "\"\\u12",
            "-",
            "1x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert!(read(&deep).unwrap_err().message.contains("deeper"));
    }

    #[test]
    fn positions_count_lines_and_characters() {
        let error = read("{\n  \"é\" 1}").unwrap_err();
        assert_eq!(error.position, Some((2, 7)));
    }
}
