//! Scanning of JSON text that the readers of schemas and payloads share.

/// Where the run of plain characters at `at` ends: at a quote, a backslash, a control character
/// or the end. Looks at eight bytes at a time.
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
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

/// Why bytes are no number; `at` of [`number_end`] stands where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberFault {
    /// There is a digit missing.
    Digit,
    /// A digit follows a leading zero.
    LeadingZero,
}

/// Moves `at` past the number that starts there (RFC 8259 section 6), or to what is wrong with it;
/// answers whether it has an exponent.
#[inline]
pub(super) fn number_end(bytes: &[u8], at: &mut usize) -> Result<bool, NumberFault> {
    let digits = |at: &mut usize| {
        let start = *at;
        while matches!(bytes.get(*at), Some(b'0'..=b'9')) {
            *at += 1;
        }
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
    if bytes.get(*at) == Some(&b'.') {
        *at += 1;
        digits(at)?;
    }
    let has_exponent = matches!(bytes.get(*at), Some(b'e' | b'E'));
    if has_exponent {
        *at += 1;
        *at += usize::from(matches!(bytes.get(*at), Some(b'+' | b'-')));
        digits(at)?;
    }
    Ok(has_exponent)
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
