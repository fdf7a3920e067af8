//! Bytes as nearly all payloads have them: short varints, ASCII text, packed runs of plain numbers.
//!
//! Everything here answers `None` for what it does not cover, be it valid or not; the walker then
//! looks again, slowly and exactly. So these functions may refuse, but never wrongly accept.

/// The top bit of each byte of a word.
const TOPS: u64 = 0x8080_8080_8080_8080;

/// Text from this length on is checked with wide instructions.
const WIDE: usize = 64;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// Reads a tag of one or two bytes; answers it and the byte after it.
#[inline]
pub(super) fn tag(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((u32::from(first), at + 1));
    }
    let second = *bytes.get(at + 1)?;
    (second < 0x80).then(|| {
        let tag = u32::from(first & 0x7f) | u32::from(second) << 7;
        (tag, at + 2)
    })
}

/// The byte after a varint that fits 64 bits.
#[inline]
pub(super) fn varint(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? < 0x80 {
        return Some(at + 1);
    }
    let stops = !word(bytes, at)? & TOPS;
    if stops != 0 {
        return Some(at + stops.trailing_zeros() as usize / 8 + 1);
    }
    // Negative numbers: ten bytes, of which the last holds one bit.
    let ninth = *bytes.get(at + 8)?;
    if ninth < 0x80 {
        return Some(at + 9);
    }
    (*bytes.get(at + 9)? <= 1).then_some(at + 10)
}

/// Where the content of a length begins and ends, when it ends within the bytes.
#[inline]
pub(super) fn length(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (length, start) = tag(bytes, at)?;
    let stop = start + length as usize;
    (stop <= bytes.len()).then_some((start, stop))
}

/// Whether the bytes are UTF-8.
#[inline]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    if bytes.len() >= WIDE {
        return simdutf8::basic::from_utf8(bytes).is_ok();
    }
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<8>() {
        // The last word overlaps the one before, so that no byte is left over.
        let mut seen = u64::from_le_bytes(*last);
        for chunk in bytes.chunks_exact(8) {
            if let Some(chunk) = chunk.first_chunk::<8>() {
                seen |= u64::from_le_bytes(*chunk);
            }
        }
        return seen & TOPS == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let seen = u32::from_le_bytes(*first) | u32::from_le_bytes(*last);
        return seen & 0x8080_8080 == 0;
    }
    bytes.iter().all(|byte| *byte < 0x80)
}

/// Whether `run` is varints of at most nine bytes each, and nothing else.
pub(super) fn is_varints(run: &[u8]) -> bool {
    let mut chunks = run.chunks_exact(8);
    // Bytes of a varint that has not ended yet.
    let mut open = 0_u32;
    for chunk in &mut chunks {
        let Some(chunk) = chunk.first_chunk::<8>() else {
            return false;
        };
        let stops = !u64::from_le_bytes(*chunk) & TOPS;
        if stops == TOPS && open == 0 {
            continue;
        }
        if stops == 0 {
            open += 8;
            if open > 8 {
                return false;
            }
            continue;
        }
        if open + stops.trailing_zeros() / 8 > 8 {
            return false;
        }
        open = stops.leading_zeros() / 8;
    }
    for byte in chunks.remainder() {
        if *byte < 0x80 {
            open = 0;
        } else {
            open += 1;
            if open > 8 {
                return false;
            }
        }
    }
    open == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the varint at `at` ends, by its definition.
    fn slow(bytes: &[u8], at: usize) -> Option<usize> {
        let length = bytes.get(at..)?.iter().position(|byte| *byte < 0x80)? + 1;
        let fits = length < 10 || length == 10 && bytes[at + 9] <= 1;
        fits.then_some(at + length)
    }

    fn is_run(run: &[u8]) -> bool {
        let mut at = 0;
        while at < run.len() {
            match slow(run, at) {
                Some(next) => at = next,
                None => return false,
            }
        }
        true
    }

    #[test]
    fn varints_of_every_length() {
        for length in 1..=11 {
            let mut bytes = vec![0xff; length - 1];
            bytes.push(1);
            let valid = (length <= 10).then_some(length);
            assert_eq!(varint(&[&bytes[..], &[0; 8]].concat(), 0), valid);
            assert_eq!(is_varints(&bytes), length <= 9);
            assert!(!is_varints(&bytes[..length - 1]) || length == 1);
        }
        assert_eq!(varint(&[[0xff; 9].as_slice(), &[2, 0]].concat(), 0), None);
        assert_eq!(length(&[3, 0, 0], 0), None);
        assert_eq!(length(&[2, 0, 0], 0), Some((1, 3)));
        assert_eq!(tag(&[0x80, 0x80, 1], 0), None);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_valid(bytes in prop::collection::vec(prop_oneof![0_u8..3, 0x7e_u8..=0x82, any::<u8>()], 0..80)) {
            if let Some(next) = varint(&bytes, 0) {
                prop_assert_eq!(Some(next), slow(&bytes, 0));
            }
            if is_varints(&bytes) {
                prop_assert!(is_run(&bytes));
            }
            prop_assert_eq!(is_utf8(&bytes), std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn short_varints_are_covered(numbers in prop::collection::vec(any::<u64>(), 0..40)) {
            let mut run = Vec::new();
            for number in &numbers {
                prost::encoding::encode_varint(number >> (number % 60 + 1), &mut run);
            }
            prop_assert!(is_varints(&run));
        }
    }
}
