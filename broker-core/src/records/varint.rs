//! Zigzag varints as in Protocol Buffers: 7 bits a byte, least significant first.

/// Reads a 32-bit zigzag varint at the start of `bytes`; answers it and the rest.
/// `None` when it is cut short or longer than 5 bytes.
#[inline]
pub(crate) fn read_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((unzigzag_32(u32::from(first)), rest));
    }
    let mut value = u32::from(first & 0x7f);
    let mut rest = rest;
    for shift in [7, 14, 21, 28] {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // Bits past the 32nd are dropped by the shift, as Kafka's reader does.
            return Some((unzigzag_32(value), rest));
        }
    }
    None
}

/// Reads a 64-bit zigzag varint; `None` when it is cut short or longer than 10 bytes.
#[inline]
pub(crate) fn read_i64(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((unzigzag_64(u64::from(first)), rest));
    }
    let mut value = u64::from(first & 0x7f);
    let mut rest = rest;
    let mut shift = 7;
    while shift <= 63 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((unzigzag_64(value), rest));
        }
        shift += 7;
    }
    None
}

/// Appends a zigzag varint; 32-bit values have the same bytes in either width.
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut left = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    loop {
        let low = u8::try_from(left & 0x7f).unwrap_or(0);
        left >>= 7;
        if left == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn unzigzag_32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn unzigzag_64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_the_rest_is_kept() {
        for value in [
            0,
            1,
            -1,
            63,
            -64,
            64,
            300,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            bytes.push(7);
            let narrow = read_i32(&bytes).map(|(v, rest)| (i64::from(v), rest));
            assert_eq!(narrow, Some((value, [7].as_slice())), "{value}");
            assert_eq!(read_i64(&bytes), Some((value, [7].as_slice())), "{value}");
        }
        for value in [i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(read_i64(&bytes), Some((value, [].as_slice())));
        }
    }

    #[test]
    fn cut_and_overlong_varints_are_refused() {
        for bytes in [&[][..], &[0x80], &[0xff; 5], &[0x80; 4]] {
            assert_eq!(read_i32(bytes), None, "{bytes:?}");
        }
        assert_eq!(read_i64(&[0xff; 10]), None);
        assert_eq!(read_i64(&[0xff; 9]), None);
    }
}
