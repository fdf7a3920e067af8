//! The one pass: JSON syntax and rules together. Says only whether both are obeyed.

use super::super::lex::{escape_end, plain_end};
use super::super::node::TapeNode;
use super::super::tape::Unescape;
use super::super::validate::matching_max;
use super::{Bound, FastSchema, Field, NumberRule, ObjectRule, Rule, StringRule, types};

/// Memory reused from payload to payload.
#[derive(Debug, Default)]
pub(in crate::json) struct FastScratch {
    /// A string with its escapes undone.
    text: String,
}

/// Longest payload read here; the limit on values cannot be passed below it.
const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Digits of an integer that always fit 64 bits.
const DIGITS_MAX: usize = 18;
/// Numbers up to this length, without an exponent, are doubles.
const NUMBER_BYTES_MAX: usize = 300;
/// Whole numbers below it are doubles without loss.
const EXACT_MAX: u64 = 1 << 53;
/// Memory for an unescaped string kept between payloads.
const TEXT_BYTES_KEPT: usize = 1 << 16;

impl FastSchema {
    /// Whether `text` is JSON that obeys the schema. A "no" is no verdict: see the module.
    pub(in crate::json) fn accepts(&self, text: &str, scratch: &mut FastScratch) -> bool {
        if text.len() > PAYLOAD_BYTES_MAX {
            return false;
        }
        let mut reader = Reader {
            schema: self,
            text,
            bytes: text.as_bytes(),
            at: 0,
            scratch: &mut scratch.text,
            matching_left: matching_max(text),
        };
        reader.skip_whitespace();
        let is_accepted = reader.value(self.root, 0) && {
            reader.skip_whitespace();
            reader.at == text.len()
        };
        if scratch.text.capacity() > TEXT_BYTES_KEPT {
            scratch.text = String::new();
        }
        is_accepted
    }
}

struct Reader<'r> {
    schema: &'r FastSchema,
    text: &'r str,
    bytes: &'r [u8],
    at: usize,
    scratch: &'r mut String,
    /// What matching texts with patterns may still take; no more is spent here than over the tape.
    matching_left: u64,
}

impl<'r> Reader<'r> {
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

    /// Reads one value, inside `depth` containers. Recursion is as deep as the payload nests,
    /// which is limited.
    fn value(&mut self, rule: Rule, depth: usize) -> bool {
        let allows = |set: u8| rule.types & set != 0;
        match self.peek() {
            Some(b'"') => allows(types::STRING) && self.string_value(rule),
            Some(b'{') => allows(types::OBJECT) && self.object(rule, depth),
            Some(b'[') => allows(types::ARRAY) && self.array(rule, depth),
            Some(b'-' | b'0'..=b'9') => allows(types::NUMBER) && self.number(rule),
            Some(b't') => allows(types::TRUE) && self.word(b"true"),
            Some(b'f') => allows(types::FALSE) && self.word(b"false"),
            Some(b'n') => allows(types::NULL) && self.word(b"null"),
            _ => false,
        }
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let is_there = self.bytes.get(self.at..self.at + word.len()) == Some(word);
        self.at += word.len();
        is_there
    }

    /// The text between the quotes, and whether it holds escapes.
    #[inline]
    fn string(&mut self) -> Option<(&'r str, bool)> {
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = plain_end(self.bytes, start);
        loop {
            match self.bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    at = plain_end(self.bytes, escape_end(self.bytes, at)?);
                }
                _ => return None,
            }
        }
        self.at = at + 1;
        self.text.get(start..at).map(|text| (text, escaped))
    }

    fn string_value(&mut self, rule: Rule) -> bool {
        let Some((text, escaped)) = self.string() else {
            return false;
        };
        let Some(rule) = rule
            .string
            .and_then(|at| self.schema.strings.get(usize::from(at)))
        else {
            return true;
        };
        if rule.text.is_some() {
            let cost = self.schema.matching.of(text.len());
            self.matching_left = self.matching_left.saturating_sub(cost);
            if self.matching_left == 0 {
                return false;
            }
        }
        if escaped {
            self.scratch.clear();
            self.scratch.extend(Unescape::new(text));
            return string_obeys(rule, self.scratch);
        }
        string_obeys(rule, text)
    }

    fn array(&mut self, rule: Rule, depth: usize) -> bool {
        if depth >= self.schema.depth_max {
            return false;
        }
        let rule = rule
            .array
            .and_then(|at| self.schema.arrays.get(usize::from(at)));
        let items = rule.map_or(Rule::ANY, |rule| rule.items);
        self.at += 1;
        self.skip_whitespace();
        let mut count = 0;
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                if !self.value(items, depth + 1) {
                    return false;
                }
                count += 1;
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_whitespace();
                    }
                    Some(b']') => {
                        self.at += 1;
                        break;
                    }
                    _ => return false,
                }
            }
        }
        rule.is_none_or(|rule| count >= rule.min && rule.max.is_none_or(|max| count <= max))
    }

    fn object(&mut self, rule: Rule, depth: usize) -> bool {
        if depth >= self.schema.depth_max {
            return false;
        }
        let rule = rule
            .object
            .and_then(|at| self.schema.objects.get(usize::from(at)));
        self.at += 1;
        self.skip_whitespace();
        let (mut seen, mut expected) = (0, 0);
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                if self.peek() != Some(b'"') {
                    return false;
                }
                let guessed = rule
                    .and_then(|rule| rule.fields.get(expected))
                    .filter(|field| self.is_next(field));
                let member = if let Some(field) = guessed {
                    self.at += field.name.len() + 2;
                    expected += 1;
                    seen |= field.bit;
                    field.rule
                } else {
                    let Some((name, escaped)) = self.string() else {
                        return false;
                    };
                    match rule.and_then(|rule| self.field(rule, name, escaped)) {
                        Some((position, field)) => {
                            expected = position + 1;
                            seen |= field.bit;
                            field.rule
                        }
                        None => rule.map_or(Rule::ANY, |rule| rule.additional),
                    }
                };
                if self.peek() != Some(b':') {
                    self.skip_whitespace();
                    if self.peek() != Some(b':') {
                        return false;
                    }
                }
                self.at += 1;
                self.skip_whitespace();
                if !self.value(member, depth + 1) {
                    return false;
                }
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_whitespace();
                    }
                    Some(b'}') => {
                        self.at += 1;
                        break;
                    }
                    _ => return false,
                }
            }
        }
        rule.is_none_or(|rule| seen & rule.required == rule.required)
    }

    /// Whether the name that comes is that of a field. Guessed first, because producers write
    /// fields in one order.
    #[inline]
    fn is_next(&self, field: &Field) -> bool {
        let name = field.name.as_bytes();
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        field.is_plain && rest.starts_with(name) && rest.get(name.len()) == Some(&b'"')
    }

    /// The field of a name, and its position.
    #[inline]
    fn field<'f>(
        &mut self,
        rule: &'f ObjectRule,
        name: &str,
        escaped: bool,
    ) -> Option<(usize, &'f Field)> {
        let name = if escaped {
            self.scratch.clear();
            self.scratch.extend(Unescape::new(name));
            self.scratch.as_str()
        } else {
            name
        };
        let alike = rule.by_length.get(name.len())?;
        alike
            .iter()
            .map(|position| usize::from(*position))
            .filter_map(|position| Some((position, rule.fields.get(position)?)))
            .find(|(_, field)| field.name == name)
    }

    fn number(&mut self, rule: Rule) -> bool {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let digits_start = self.at;
        let mut value = 0_i64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - digits_start;
        if digits == 0 || (digits > 1 && self.bytes.get(digits_start) == Some(&b'0')) {
            return false;
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            // More digits than fit are for the other path where their value matters.
            if digits > NUMBER_BYTES_MAX || rule.types & types::INTEGER == 0 {
                return false;
            }
            let Some(rule) = rule
                .number
                .and_then(|at| self.schema.numbers.get(usize::from(at)))
            else {
                return true;
            };
            let value = if is_negative { -value } else { value };
            return digits <= DIGITS_MAX && integer_obeys(rule, value);
        }
        self.fraction(start, rule)
    }

    /// The rest of a number with a fraction or an exponent.
    fn fraction(&mut self, start: usize, rule: Rule) -> bool {
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.digits() {
                return false;
            }
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if !self.digits() {
                return false;
            }
        }
        let is_plain = !has_exponent && self.at - start <= NUMBER_BYTES_MAX;
        if is_plain && rule.number.is_none() && rule.types & types::NUMBER == types::NUMBER {
            return true;
        }
        let Some(value) = self
            .text
            .get(start..self.at)
            .and_then(|text| text.parse::<f64>().ok())
        else {
            return false;
        };
        if !value.is_finite() {
            return false;
        }
        let set = if value.fract() == 0.0 {
            types::INTEGER
        } else {
            types::FRACTION
        };
        let Some(number) = rule
            .number
            .and_then(|at| self.schema.numbers.get(usize::from(at)))
        else {
            return rule.types & set != 0;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "whole and exact"
        )]
        let obeys = if set == types::INTEGER && value.abs() < EXACT_MAX as f64 {
            integer_obeys(number, value as i64)
        } else {
            double_obeys(number, value)
        };
        obeys && rule.types & set != 0
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }
}

fn string_obeys(rule: &StringRule, text: &str) -> bool {
    if let Some(values) = &rule.values
        && values
            .binary_search_by(|value| value.as_str().cmp(text))
            .is_err()
    {
        return false;
    }
    let has_length = rule.min > 0 || rule.max.is_some();
    if has_length {
        let length = text.chars().count();
        if length < rule.min || rule.max.is_some_and(|max| length > max) {
            return false;
        }
    }
    rule.text
        .as_ref()
        .is_none_or(|validator| validator.is_valid(TapeNode::Name(text)))
}

fn integer_obeys(rule: &NumberRule, value: i64) -> bool {
    // A value beyond a double's precision does not compare with a fraction here.
    let is_exact = value.unsigned_abs() < EXACT_MAX;
    #[expect(clippy::cast_precision_loss, reason = "exact where it is used")]
    let double = value as f64;
    let holds = |bound: &Option<Bound>,
                 integer: fn(&i64, &i64) -> bool,
                 fraction: fn(&f64, &f64) -> bool| {
        match bound {
            None => true,
            Some(Bound::Integer(bound)) => integer(&value, bound),
            Some(Bound::Double(bound)) => is_exact && fraction(&double, bound),
        }
    };
    holds(&rule.minimum, i64::ge, f64::ge)
        && holds(&rule.maximum, i64::le, f64::le)
        && holds(&rule.exclusive_minimum, i64::gt, f64::gt)
        && holds(&rule.exclusive_maximum, i64::lt, f64::lt)
        && rule
            .multiple_of
            .is_none_or(|multiple| value % multiple == 0)
        && rule
            .values
            .as_ref()
            .is_none_or(|values| values.contains(&value))
}

fn double_obeys(rule: &NumberRule, value: f64) -> bool {
    // Integer bounds are below a double's precision, see `compile`.
    #[expect(clippy::cast_precision_loss, reason = "exact by construction")]
    let holds = |bound: &Option<Bound>, compare: fn(&f64, &f64) -> bool| match bound {
        None => true,
        Some(Bound::Integer(bound)) => compare(&value, &(*bound as f64)),
        Some(Bound::Double(bound)) => compare(&value, bound),
    };
    rule.multiple_of.is_none()
        && rule.values.is_none()
        && holds(&rule.minimum, f64::ge)
        && holds(&rule.maximum, f64::le)
        && holds(&rule.exclusive_minimum, f64::gt)
        && holds(&rule.exclusive_maximum, f64::lt)
}
