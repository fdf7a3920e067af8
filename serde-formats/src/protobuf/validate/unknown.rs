//! Stepping over what the schema does not declare, groups inside groups without recursion.

use super::super::tables::MessageTable;
use super::{END_GROUP, FIXED32, FIXED64, Fault, LENGTH, MAX_DEPTH, START_GROUP, VARINT, Walk};
use crate::validator::{Violation, ViolationReason};

impl Walk<'_, '_> {
    /// Refuses or skips a field the message does not declare.
    pub(super) fn unknown(
        &mut self,
        table: &MessageTable,
        number: u32,
        wire: u32,
        tag_at: usize,
        at: usize,
        end: usize,
    ) -> Result<usize, Violation> {
        if self.reject_unknown && !table.is_extension(number) {
            let detail = format!("message {} has no field {number}", table.name);
            let fault = Fault::new(ViolationReason::UnknownField, tag_at, detail);
            return Err(self.violation(fault, None));
        }
        self.skip(number, wire, at, end)
            .map_err(|fault| self.violation(fault, None))
    }

    /// Steps over a value nobody declared; answers the byte after it.
    pub(super) fn skip(
        &mut self,
        number: u32,
        wire: u32,
        at: usize,
        end: usize,
    ) -> Result<usize, Fault> {
        if wire != START_GROUP {
            return self.skip_one(wire, at, end);
        }
        let mut groups = std::mem::take(&mut self.scratch.groups);
        groups.clear();
        groups.push(number);
        let result = self.skip_groups(&mut groups, at, end);
        self.scratch.groups = groups;
        result
    }

    fn skip_groups(&self, groups: &mut Vec<u32>, at: usize, end: usize) -> Result<usize, Fault> {
        let mut at = at;
        while let Some(open) = groups.last().copied() {
            if self.scratch.frames.len() + groups.len() > MAX_DEPTH + 1 {
                let detail = format!("messages nest deeper than {MAX_DEPTH}");
                return Err(Fault::new(ViolationReason::LimitExceeded, at, detail));
            }
            if at >= end {
                let detail = format!("group {open} is not closed");
                return Err(Fault::new(self.cut_reason(end), at, detail));
            }
            let tag_at = at;
            let (tag, next) = self.tag(at, end)?;
            at = next;
            let (number, wire) = (tag >> 3, tag & 7);
            match wire {
                _ if number == 0 => {
                    return Err(Fault::new(
                        ViolationReason::Malformed,
                        tag_at,
                        "field number 0",
                    ));
                }
                START_GROUP => groups.push(number),
                END_GROUP if number == open => {
                    groups.pop();
                }
                END_GROUP => {
                    let detail = format!("end of group {number} without its start");
                    return Err(Fault::new(ViolationReason::Malformed, tag_at, detail));
                }
                _ => at = self.skip_one(wire, at, end)?,
            }
        }
        Ok(at)
    }

    pub(super) fn skip_one(&self, wire: u32, at: usize, end: usize) -> Result<usize, Fault> {
        match wire {
            VARINT => self.varint(at, end).map(|(_, next)| next),
            FIXED64 => self.fixed(at, end, 8),
            LENGTH => self.length(at, end).map(|(_, stop)| stop),
            FIXED32 => self.fixed(at, end, 4),
            _ => {
                let detail = format!("wire type {wire} does not exist");
                Err(Fault::new(ViolationReason::Malformed, at, detail))
            }
        }
    }
}
