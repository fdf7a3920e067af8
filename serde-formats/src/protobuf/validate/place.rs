//! Where in the decoded value a violation is: worked out when there is one, from the open messages
//! and the bytes before it.

use super::super::tables::{FieldRule, Shape};
use super::{END_GROUP, Fault, LENGTH, Leaf, START_GROUP, Walk};
use crate::validator::Violation;

impl Walk<'_, '_> {
    #[cold]
    pub(super) fn violation(&self, fault: Fault, leaf: Option<Leaf<'_>>) -> Violation {
        let mut path = "$".to_owned();
        let frames = &self.scratch.frames;
        for (outer, inner) in frames.iter().zip(frames.iter().skip(1)) {
            let field = self
                .validator
                .table(outer.table)
                .and_then(|table| table.fields.get(usize::from(inner.field)));
            if let Some(field) = field {
                let leaf = Leaf {
                    field,
                    tag_at: inner.tag_at,
                    in_run: 0,
                };
                self.push_step(&mut path, outer.start, leaf);
            }
        }
        if let (Some(frame), Some(leaf)) = (frames.last(), leaf) {
            self.push_step(&mut path, frame.start, leaf);
        }
        Violation {
            reason: fault.reason,
            path,
            byte_offset: fault.at,
            detail: fault.detail,
        }
    }

    /// Appends `.name`, with the element's place when the field repeats.
    fn push_step(&self, path: &mut String, start: usize, leaf: Leaf<'_>) {
        path.push('.');
        path.push_str(&leaf.field.name);
        if leaf.field.repeated {
            let before = self.count(leaf.field, start, leaf.tag_at) + leaf.in_run;
            path.push_str(&format!("[{before}]"));
        }
    }

    /// Elements of `field` among the fields from `at` to `stop`, all of which were walked before.
    fn count(&self, field: &FieldRule, mut at: usize, stop: usize) -> usize {
        let mut elements = 0;
        let mut open_groups = 0_usize;
        while at < stop {
            let Ok((tag, next)) = self.tag(at, stop) else {
                return elements;
            };
            at = next;
            let (number, wire) = (tag >> 3, tag & 7);
            let counts = number == field.number && open_groups == 0;
            match wire {
                START_GROUP => {
                    elements += usize::from(counts);
                    open_groups += 1;
                    continue;
                }
                END_GROUP => {
                    open_groups = open_groups.saturating_sub(1);
                    continue;
                }
                LENGTH if counts && is_packable(field.shape) => {
                    let Ok((mut next, end)) = self.length(at, stop) else {
                        return elements;
                    };
                    while next < end {
                        let Ok(after) = self.scalar(field.shape, next, end) else {
                            return elements;
                        };
                        next = after;
                        elements += 1;
                    }
                }
                _ => elements += usize::from(counts),
            }
            let Ok(next) = self.skip_one(wire, at, stop) else {
                return elements;
            };
            at = next;
        }
        elements
    }
}

fn is_packable(shape: Shape) -> bool {
    matches!(
        shape,
        Shape::Varint | Shape::Bool | Shape::ClosedEnum(_) | Shape::Fixed32 | Shape::Fixed64
    )
}
