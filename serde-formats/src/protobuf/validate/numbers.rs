//! Reading what every field is made of: tags, lengths, varints and numbers of a fixed size.

use super::{Fault, Walk};
use crate::validator::ViolationReason;

impl Walk<'_, '_> {
    pub(super) fn fixed(&self, at: usize, end: usize, size: usize) -> Result<usize, Fault> {
        if end.saturating_sub(at) < size {
            let detail = format!("expected {size} bytes, found {}", end.saturating_sub(at));
            return Err(Fault::new(self.cut_reason(end), at, detail));
        }
        Ok(at + size)
    }

    /// Reads a length; answers where its content starts and stops.
    pub(super) fn length(&self, at: usize, end: usize) -> Result<(usize, usize), Fault> {
        let (length, start) = self.varint(at, end)?;
        let left = end.saturating_sub(start);
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok((start, start + length)),
            _ => {
                let detail = format!("expected {length} bytes, found {left}");
                Err(Fault::new(self.cut_reason(end), at, detail))
            }
        }
    }

    /// What it means that a value does not fit before `end`.
    pub(super) fn cut_reason(&self, end: usize) -> ViolationReason {
        if end == self.payload.len() {
            ViolationReason::Truncated
        } else {
            ViolationReason::Malformed
        }
    }

    #[inline]
    pub(super) fn varint(&self, at: usize, end: usize) -> Result<(u64, usize), Fault> {
        let bytes = self.payload.get(at..end).unwrap_or(&[]);
        if let Some(byte) = bytes.first()
            && *byte < 0x80
        {
            return Ok((u64::from(*byte), at + 1));
        }
        self.long_varint(bytes, at, end)
    }

    fn long_varint(&self, bytes: &[u8], at: usize, end: usize) -> Result<(u64, usize), Fault> {
        let mut value = 0_u64;
        for (index, byte) in bytes.iter().take(10).enumerate() {
            // Runtimes drop the bits that do not fit; a writer never makes them.
            if index == 9 && (*byte > 1 && self.full || *byte >= 0x80) {
                let detail = "a varint does not fit 64 bits";
                return Err(Fault::new(ViolationReason::Malformed, at, detail));
            }
            value |= u64::from(*byte & 0x7f) << (index * 7);
            if *byte < 0x80 {
                return Ok((value, at + index + 1));
            }
        }
        let detail = "a varint is cut off";
        Err(Fault::new(self.cut_reason(end), at, detail))
    }

    pub(super) fn tag(&self, at: usize, end: usize) -> Result<(u32, usize), Fault> {
        let (tag, next) = self.varint(at, end)?;
        let tag = u32::try_from(tag).map_err(|_| {
            Fault::new(
                ViolationReason::Malformed,
                at,
                "a field tag does not fit 32 bits",
            )
        })?;
        Ok((tag, next))
    }
}
