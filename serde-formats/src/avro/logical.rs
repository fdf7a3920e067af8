//! What a logical type asks of a value beyond its base type.
//!
//! What the specification says and, for dates and timestamps, what readers can hold: years of four
//! digits, as ISO 8601 writes them and SQL and Python know them. Nanoseconds never leave those, and any
//! twelve bytes are a duration. Nothing here allocates while payloads are judged. Source: Avro 1.12
//! specification, "Logical Types"; RFC 4122 for UUIDs.

use std::ops::RangeInclusive;

use super::cursor::{Cursor, Fault};

/// Most digits that are counted; a decimal of a higher precision only must not be empty.
const DIGITS_MAX: u32 = 256;

const DAY_MS: i32 = 86_400_000;
const DAY_US: i64 = 86_400_000_000;

/// Days from the epoch to 0001-01-01 and to 9999-12-31.
const DATES: RangeInclusive<i32> = -719_162..=2_932_896;

/// The milliseconds of those days.
const MILLIS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// The microseconds of those days.
const MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// The greatest magnitude of a decimal, big-endian without leading zeros; empty: any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecimalLimit(Box<[u8]>);

impl DecimalLimit {
    /// That of `precision` digits.
    pub(super) fn new(precision: u32) -> Self {
        if precision > DIGITS_MAX {
            return Self(Box::default());
        }
        // 10^precision - 1 is that many nines: little-endian, one nine after the other.
        let mut digits: Vec<u8> = Vec::new();
        for _ in 0..precision {
            let mut carry = 9;
            for digit in &mut digits {
                let [low, high] = (u16::from(*digit) * 10 + carry).to_le_bytes();
                *digit = low;
                carry = u16::from(high);
            }
            if let Ok(digit @ 1..) = u8::try_from(carry) {
                digits.push(digit);
            }
        }
        digits.reverse();
        Self(digits.into_boxed_slice())
    }

    /// Checks the unscaled value of a decimal: two's complement, big-endian.
    pub(super) fn check(&self, value: &[u8]) -> Result<(), Fault> {
        let Some(first) = value.first() else {
            // A reader of no bytes finds no number.
            return Err(Fault::DecimalEmpty);
        };
        if self.0.is_empty() {
            return Ok(());
        }
        // Of a negative number the complement is one less than its magnitude.
        let is_negative = first & 0x80 != 0;
        let flip = if is_negative { 0xff } else { 0 };
        let zeros = value.iter().take_while(|byte| **byte == flip).count();
        let magnitude = value.iter().skip(zeros).map(|byte| byte ^ flip);
        let order = (value.len() - zeros)
            .cmp(&self.0.len())
            .then_with(|| magnitude.cmp(self.0.iter().copied()));
        match order {
            std::cmp::Ordering::Greater => Err(Fault::DecimalPrecision),
            std::cmp::Ordering::Equal if is_negative => Err(Fault::DecimalPrecision),
            _ => Ok(()),
        }
    }
}

/// Checks the text of a UUID: 8-4-4-4-12 hexadecimal digits.
pub(super) fn check_uuid(text: &[u8]) -> Result<(), Fault> {
    let is_uuid = text.len() == 36
        && text.iter().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then_some(()).ok_or(Fault::Uuid)
}

/// Checks a time of day in milliseconds.
pub(super) fn check_time_millis(value: i32) -> Result<(), Fault> {
    let is_in_day = (0..DAY_MS).contains(&value);
    is_in_day.then_some(()).ok_or(Fault::TimeOfDay)
}

/// Checks a time of day in microseconds.
pub(super) fn check_time_micros(value: i64) -> Result<(), Fault> {
    let is_in_day = (0..DAY_US).contains(&value);
    is_in_day.then_some(()).ok_or(Fault::TimeOfDay)
}

/// Checks a date in days.
pub(super) fn check_date(value: i32) -> Result<(), Fault> {
    DATES.contains(&value).then_some(()).ok_or(Fault::Years)
}

/// Checks a timestamp in milliseconds, local or not.
pub(super) fn check_timestamp_millis(value: i64) -> Result<(), Fault> {
    MILLIS.contains(&value).then_some(()).ok_or(Fault::Years)
}

/// Checks a timestamp in microseconds, local or not.
pub(super) fn check_timestamp_micros(value: i64) -> Result<(), Fault> {
    MICROS.contains(&value).then_some(()).ok_or(Fault::Years)
}

/// Checks a decimal that carries its scale: the unscaled value behind its length, then the scale.
pub(super) fn check_big_decimal(bytes: &[u8]) -> Result<(), Fault> {
    let mut cursor = Cursor::new(bytes);
    let unscaled = cursor.sized::<true>().map_err(|_| Fault::BigDecimal)?;
    cursor.int::<true>().map_err(|_| Fault::BigDecimal)?;
    match (unscaled, bytes.len() - cursor.at) {
        ([], _) => Err(Fault::DecimalEmpty),
        (_, 0) => Ok(()),
        _ => Err(Fault::BigDecimal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_at_the_edge_of_their_precision() {
        for precision in [1u32, 2, 3, 4, 9, 18, 19, 38] {
            let limit = DecimalLimit::new(precision);
            let most = 10i128.pow(precision) - 1;
            for (value, is_good) in [
                (0, true),
                (most, true),
                (-most, true),
                (most + 1, false),
                (-most - 1, false),
                (i128::MAX, false),
                (i128::MIN, false),
                (-1, true),
            ] {
                // In as few bytes as hold it, and in all sixteen.
                let long = value.to_be_bytes();
                let fill = if value < 0 { 0xff } else { 0 };
                let short = (0..15)
                    .find(|i| long[*i] != fill || (long[*i + 1] ^ fill) & 0x80 != 0)
                    .unwrap_or(15);
                for bytes in [&long[..], &long[short..]] {
                    let found = limit.check(bytes);
                    assert_eq!(found.is_ok(), is_good, "{value} at precision {precision}");
                }
            }
            assert_eq!(limit.check(&[]), Err(Fault::DecimalEmpty));
        }
    }

    #[test]
    fn precisions_past_all_integers() {
        // 10^39 has 130 bits.
        let limit = DecimalLimit::new(39);
        let digits = "2f050fe938943acc45f65567fffffffff";
        let padded = format!("0{digits}");
        let most: Vec<u8> = (0..padded.len() / 2)
            .map(|i| u8::from_str_radix(&padded[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        assert_eq!(limit.check(&most), Ok(()));
        let mut more = most;
        *more.first_mut().unwrap() += 1;
        assert_eq!(limit.check(&more), Err(Fault::DecimalPrecision));
        assert_eq!(DecimalLimit::new(2_000_000_000).check(&[0x7f; 900]), Ok(()));
    }
}
