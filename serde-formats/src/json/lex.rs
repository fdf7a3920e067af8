//! Scanning of JSON text that both ways of judging a payload share.

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
