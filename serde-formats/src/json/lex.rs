//! Scanning of JSON text that the readers of schemas and payloads share.

/// One in each byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte of a word.
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Where the run of plain characters at `at` ends: at a quote, a backslash, a control character
/// or the end. Looks at eight bytes at a time.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    // A byte of `value` that is zero leaves its high bit set; bytes after it may be noise, and
    // the first set bit is right.
    let has_zero = |value: u64| value.wrapping_sub(ONES) & !value & HIGHS;
    while let Some(chunk) = bytes
        .get(at..at + 8)
        .and_then(|chunk| <[u8; 8]>::try_from(chunk).ok())
    {
        let word = u64::from_le_bytes(chunk);
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quote | backslash | control;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while !matches!(bytes.get(at), None | Some(b'"' | b'\\' | 0..=0x1f)) {
        at += 1;
    }
    at
}

/// Where the run of digits at `at` ends. Looks at eight bytes at a time.
#[inline]
fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes
        .get(at..at + 8)
        .and_then(|chunk| <[u8; 8]>::try_from(chunk).ok())
    {
        // Digits become 0 to 9; adding 0x76 to what is larger sets the high bit, if it is not set.
        let value = u64::from_le_bytes(chunk) ^ (ONES * u64::from(b'0'));
        let found = (value.wrapping_add(ONES * 0x76) | value) & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while matches!(bytes.get(at), Some(b'0'..=b'9')) {
        at += 1;
    }
    at
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberForm {
    pub(super) has_fraction: bool,
    pub(super) has_exponent: bool,
}

/// Why bytes are no number; `at` of [`number_end`] stands where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberFault {
    /// There is a digit missing.
    Digit,
    /// A digit follows a leading zero.
    LeadingZero,
}

/// Moves `at` past the number that starts there (RFC 8259 section 6), or to what is wrong with it.
#[inline]
pub(super) fn number_end(bytes: &[u8], at: &mut usize) -> Result<NumberForm, NumberFault> {
    let digits = |at: &mut usize| {
        let start = *at;
        *at = digits_end(bytes, start);
        if *at > start {
            Ok(())
        } else {
            Err(NumberFault::Digit)
        }
    };
    *at += usize::from(bytes.get(*at) == Some(&b'-'));
    if bytes.get(*at) == Some(&b'0') {
        *at += 1;
        if matches!(bytes.get(*at), Some(b'0'..=b'9')) {
            return Err(NumberFault::LeadingZero);
        }
    } else {
        digits(at)?;
    }
    let has_fraction = bytes.get(*at) == Some(&b'.');
    if has_fraction {
        *at += 1;
        digits(at)?;
    }
    let has_exponent = matches!(bytes.get(*at), Some(b'e' | b'E'));
    if has_exponent {
        *at += 1;
        *at += usize::from(matches!(bytes.get(*at), Some(b'+' | b'-')));
        digits(at)?;
    }
    Ok(NumberForm {
        has_fraction,
        has_exponent,
    })
}

/// Where the escape that starts with the backslash at `at` ends; `None` when it is none.
pub(super) fn escape_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => match hex(bytes, at + 2)? {
            0xDC00..0xE000 => None,
            0xD800..0xDC00 => {
                let has_second = bytes.get(at + 6..at + 8) == Some(b"\\u");
                (has_second && (0xDC00..0xE000).contains(&hex(bytes, at + 8)?)).then_some(at + 12)
            }
            _ => Some(at + 6),
        },
        _ => None,
    }
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |code, byte| {
        Some(code << 4 | char::from(*byte).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs end at the same byte wherever they start in a word, and whatever comes after.
    #[test]
    fn runs_end_where_they_end() {
        for byte in 0..=u8::MAX {
            for length in 0..20 {
                for after in 0..9 {
                    let text = |run: u8| {
                        let mut bytes = vec![run; length];
                        bytes.push(byte);
                        bytes.extend(vec![run; after]);
                        bytes
                    };
                    let is_digit = byte.is_ascii_digit();
                    let expected = if is_digit { length + 1 + after } else { length };
                    assert_eq!(
                        digits_end(&text(b'7'), 0),
                        expected,
                        "{byte} {length} {after}"
                    );
                    let is_plain = !matches!(byte, b'"' | b'\\' | 0..=0x1f);
                    let expected = if is_plain { length + 1 + after } else { length };
                    assert_eq!(
                        plain_end(&text(b'a'), 0),
                        expected,
                        "{byte} {length} {after}"
                    );
                }
            }
        }
    }
}
