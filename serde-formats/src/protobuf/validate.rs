//! The walker: judges the bytes of one message against the tables, building nothing.
//!
//! Iterative, with an explicit stack in the scratch, so depth costs no call frames and a warm
//! scratch makes a valid record cost no allocation. Where the path of a violation needs the place
//! of an element in a repeated field, the bytes before it are counted then, not on the way.

mod numbers;
mod place;
mod unknown;

use super::fast;
use super::tables::{FieldRule, MessageTable, ProtobufValidator, Shape};
use crate::validator::{
    MessageId, UnknownFields, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// Messages inside messages, the outermost not counted: the limit of every Protobuf runtime.
const MAX_DEPTH: usize = 100;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// Memory of the walker, reused from record to record.
#[derive(Debug, Default)]
pub struct ProtobufScratch {
    frames: Vec<Frame>,
    /// Required fields seen, one bit each, those of inner messages after those of outer ones.
    seen: Vec<u64>,
    /// Numbers of the unknown groups that are open.
    groups: Vec<u32>,
}

/// A message being walked.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Position of its table.
    table: u32,
    /// First byte of its content.
    start: usize,
    /// First byte after its content; for a group, after the message around it.
    end: usize,
    /// The field number when it is a group, else 0.
    group: u32,
    /// Where its tag is, and which field of the message around it it is.
    tag_at: usize,
    field: u16,
    /// Where its bits begin in `seen`.
    seen_base: usize,
}

/// The field a violation is in.
#[derive(Clone, Copy)]
struct Leaf<'a> {
    field: &'a FieldRule,
    tag_at: usize,
    /// Elements of the same packed run before the offending one.
    in_run: usize,
}

/// A violation before its path is known.
struct Fault {
    reason: ViolationReason,
    at: usize,
    detail: String,
}

impl Fault {
    fn new(reason: ViolationReason, at: usize, detail: impl Into<String>) -> Self {
        Self {
            reason,
            at,
            detail: detail.into(),
        }
    }
}

impl ProtobufValidator {
    /// Judges one payload as the message `message`.
    ///
    /// At [`ValidationLevel::Decode`] what a Protobuf runtime decodes passes: fields with another
    /// wire type count as unknown, and the numbers of enums and booleans are not looked at; proto3
    /// text must be UTF-8 at every level, for every runtime refuses other text; bits of a varint past
    /// the 64th are dropped. A required
    /// field must be in each occurrence of its message; runtimes look after merging.
    ///
    /// # Errors
    /// The first violation, with path and byte offset.
    pub fn validate(
        &self,
        message: MessageId,
        payload: &[u8],
        options: ValidationOptions,
        scratch: &mut ProtobufScratch,
    ) -> Result<(), Violation> {
        scratch.frames.clear();
        scratch.seen.clear();
        let mut walk = Walk {
            validator: self,
            payload,
            full: options.level == ValidationLevel::Full,
            reject_unknown: options.level == ValidationLevel::Full
                && options.unknown_fields == UnknownFields::Reject,
            scratch,
        };
        walk.open(Frame {
            table: message.0,
            start: 0,
            end: payload.len(),
            group: 0,
            tag_at: 0,
            field: 0,
            seen_base: 0,
        });
        walk.run()
    }

    fn table(&self, position: u32) -> Option<&MessageTable> {
        self.messages.get(usize::try_from(position).ok()?)
    }
}

struct Walk<'a, 's> {
    validator: &'a ProtobufValidator,
    payload: &'a [u8],
    full: bool,
    reject_unknown: bool,
    scratch: &'s mut ProtobufScratch,
}

impl<'a> Walk<'a, '_> {
    fn open(&mut self, mut frame: Frame) {
        frame.seen_base = self.scratch.seen.len();
        let words = self
            .validator
            .table(frame.table)
            .map_or(0, |table| table.required_count.div_ceil(64));
        if words > 0 {
            self.scratch.seen.resize(frame.seen_base + words, 0);
        }
        self.scratch.frames.push(frame);
    }

    fn run(&mut self) -> Result<(), Violation> {
        let mut at = 0;
        'message: while let Some(frame) = self.scratch.frames.last().copied() {
            let Some(table) = self.validator.table(frame.table) else {
                let fault = Fault::new(ViolationReason::Malformed, 0, "no such message");
                return Err(self.violation(fault, None));
            };
            loop {
                match self.plain_fields(&frame, table, &mut at) {
                    Plain::Message(inner) => {
                        at = inner.start;
                        self.open(inner);
                        continue 'message;
                    }
                    Plain::End if frame.group == 0 && table.required_count == 0 => {
                        self.scratch.frames.pop();
                        continue 'message;
                    }
                    Plain::End | Plain::Other => {}
                }
                if let Some(next) = self.field(frame, table, &mut at)? {
                    let Some(next) = next else {
                        return Ok(());
                    };
                    at = next;
                    continue 'message;
                }
            }
        }
        Ok(())
    }

    /// Walks over fields that are as their schema has them, and short; stops before any other.
    ///
    /// What is read may reach past the end of the message, though never of the payload: whether it
    /// does is asked once a field, when its end is known.
    #[inline]
    fn plain_fields(&mut self, frame: &Frame, table: &'a MessageTable, at: &mut usize) -> Plain {
        while *at < frame.end {
            let Some(plain) = self.plain_field(frame, table, *at) else {
                return Plain::Other;
            };
            match plain {
                Ok(next) if next <= frame.end => *at = next,
                Err(inner) if inner.end <= frame.end => return Plain::Message(inner),
                Ok(_) | Err(_) => return Plain::Other,
            }
        }
        Plain::End
    }

    /// The byte after a plain field, or the message that it opens.
    #[inline]
    fn plain_field(
        &mut self,
        frame: &Frame,
        table: &'a MessageTable,
        tag_at: usize,
    ) -> Option<Result<usize, Frame>> {
        let payload = self.payload;
        let (tag, start) = fast::tag(payload, tag_at)?;
        let (number, wire) = (tag >> 3, tag & 7);
        let position = table.find(number)?;
        let field = table.fields.get(usize::from(position))?;
        let next = match (field.shape, wire) {
            (Shape::Varint, VARINT) => fast::varint(payload, start)?,
            (Shape::Utf8, LENGTH) => {
                let (start, stop) = fast::length(payload, start)?;
                if !fast::is_utf8(payload.get(start..stop)?) {
                    return None;
                }
                stop
            }
            (Shape::Message(inner), LENGTH) => {
                let (start, stop) = fast::length(payload, start)?;
                if self.scratch.frames.len() > MAX_DEPTH || stop > frame.end {
                    return None;
                }
                self.mark(frame, field);
                return Some(Err(Frame {
                    table: inner,
                    start,
                    end: stop,
                    group: 0,
                    tag_at,
                    field: position,
                    seen_base: 0,
                }));
            }
            (Shape::Bytes, LENGTH) => fast::length(payload, start)?.1,
            (Shape::Bool, VARINT) => {
                if *payload.get(start)? > 1 {
                    return None;
                }
                start + 1
            }
            (Shape::Fixed64, FIXED64) => start + 8,
            (Shape::Fixed32, FIXED32) => start + 4,
            (Shape::ClosedEnum(numbers), VARINT) => {
                let value = *payload.get(start)?;
                if value >= 0x80 || self.full && !self.is_constant(numbers, value.into()) {
                    return None;
                }
                start + 1
            }
            (Shape::Varint | Shape::Fixed64 | Shape::Fixed32, LENGTH) if field.repeated => {
                let (start, stop) = fast::length(payload, start)?;
                let fits = match field.shape {
                    Shape::Fixed64 => (stop - start).is_multiple_of(8),
                    Shape::Fixed32 => (stop - start).is_multiple_of(4),
                    _ => fast::is_varints(payload.get(start..stop)?),
                };
                if !fits {
                    return None;
                }
                stop
            }
            _ => return None,
        };
        if field.required.is_some() && next <= frame.end {
            self.mark(frame, field);
        }
        Some(Ok(next))
    }

    /// Walks over any one field, or the end of the message; answers where to go on when another
    /// message is the innermost now.
    fn field(
        &mut self,
        frame: Frame,
        table: &'a MessageTable,
        place: &mut usize,
    ) -> Result<Option<Option<usize>>, Violation> {
        let mut at = *place;
        if at >= frame.end {
            if frame.group != 0 {
                let detail = format!("group {} is not closed", frame.group);
                let reason = self.cut_reason(frame.end);
                return Err(self.violation(Fault::new(reason, at, detail), None));
            }
            return self.close(frame, table, at).map(Some);
        }
        let tag_at = at;
        let (tag, next) = self
            .tag(at, frame.end)
            .map_err(|fault| self.violation(fault, None))?;
        at = next;
        let (number, wire) = (tag >> 3, tag & 7);
        if number == 0 || wire > FIXED32 {
            let detail = if number == 0 {
                "field number 0".to_owned()
            } else {
                format!("wire type {wire} of field {number} does not exist")
            };
            let fault = Fault::new(ViolationReason::Malformed, tag_at, detail);
            return Err(self.violation(fault, None));
        }
        if wire == END_GROUP {
            if frame.group != number {
                let detail = format!("end of group {number} without its start");
                let fault = Fault::new(ViolationReason::Malformed, tag_at, detail);
                return Err(self.violation(fault, None));
            }
            return self.close(frame, table, at).map(Some);
        }
        let position = table.find(number);
        let field = position.and_then(|position| table.fields.get(usize::from(position)));
        let (Some(position), Some(field)) = (position, field) else {
            *place = self.unknown(table, number, wire, tag_at, at, frame.end)?;
            return Ok(None);
        };
        let leaf = Leaf {
            field,
            tag_at,
            in_run: 0,
        };
        match self.value(field, wire, at, frame.end) {
            Ok(Step::Next(next)) => {
                self.mark(&frame, field);
                *place = next;
                Ok(None)
            }
            Ok(Step::Open {
                table,
                start,
                end,
                group,
            }) => {
                self.mark(&frame, field);
                if self.scratch.frames.len() > MAX_DEPTH {
                    let detail = format!("messages nest deeper than {MAX_DEPTH}");
                    let fault = Fault::new(ViolationReason::LimitExceeded, tag_at, detail);
                    return Err(self.violation(fault, Some(leaf)));
                }
                self.open(Frame {
                    table,
                    start,
                    end,
                    group,
                    tag_at,
                    field: position,
                    seen_base: 0,
                });
                Ok(Some(Some(start)))
            }
            Ok(Step::Mismatch) => {
                if self.full {
                    let detail = format!("expected {}, found wire type {wire}", expected(field));
                    let fault = Fault::new(ViolationReason::WireType, tag_at, detail);
                    return Err(self.violation(fault, Some(leaf)));
                }
                *place = self
                    .skip(number, wire, at, frame.end)
                    .map_err(|fault| self.violation(fault, Some(leaf)))?;
                Ok(None)
            }
            Err((fault, in_run)) => Err(self.violation(fault, Some(Leaf { in_run, ..leaf }))),
        }
    }

    #[inline]
    fn mark(&mut self, frame: &Frame, field: &FieldRule) {
        let Some(bit) = field.required else {
            return;
        };
        let word = usize::try_from(bit / 64).unwrap_or(usize::MAX);
        if let Some(word) = self
            .scratch
            .seen
            .get_mut(frame.seen_base.saturating_add(word))
        {
            *word |= 1 << (bit % 64);
        }
    }

    /// Ends a message: its required fields must all have come.
    fn close(
        &mut self,
        frame: Frame,
        table: &MessageTable,
        at: usize,
    ) -> Result<Option<usize>, Violation> {
        if table.required_count > 0 {
            let seen = self.scratch.seen.get(frame.seen_base..).unwrap_or(&[]);
            let missing = table.fields.iter().find(|field| {
                field.required.is_some_and(|bit| {
                    let word = usize::try_from(bit / 64)
                        .ok()
                        .and_then(|word| seen.get(word));
                    word.is_none_or(|word| word & (1 << (bit % 64)) == 0)
                })
            });
            if let Some(field) = missing {
                let detail = format!("required field {:?} is missing", field.name);
                let fault = Fault::new(ViolationReason::MissingRequired, frame.start, detail);
                let mut violation = self.violation(fault, None);
                violation.path.push('.');
                violation.path.push_str(&field.name);
                return Err(violation);
            }
            self.scratch.seen.truncate(frame.seen_base);
        }
        self.scratch.frames.pop();
        Ok((!self.scratch.frames.is_empty()).then_some(at))
    }

    /// Reads one value of a known field.
    fn value(
        &self,
        field: &FieldRule,
        wire: u32,
        at: usize,
        end: usize,
    ) -> Result<Step, (Fault, usize)> {
        let alone = |fault| (fault, 0);
        match (field.shape, wire) {
            (Shape::Varint | Shape::Bool | Shape::ClosedEnum(_), VARINT) => self
                .scalar(field.shape, at, end)
                .map(Step::Next)
                .map_err(alone),
            (Shape::Fixed32, FIXED32) | (Shape::Fixed64, FIXED64) => self
                .scalar(field.shape, at, end)
                .map(Step::Next)
                .map_err(alone),
            (Shape::Utf8, LENGTH) => {
                let (start, stop) = self.length(at, end).map_err(alone)?;
                let text = self.payload.get(start..stop).unwrap_or(&[]);
                if simdutf8::basic::from_utf8(text).is_err() {
                    let valid = simdutf8::compat::from_utf8(text)
                        .map_or_else(|error| error.valid_up_to(), str::len);
                    let detail = format!("text is not UTF-8 from its byte {valid} on");
                    return Err(alone(Fault::new(
                        ViolationReason::InvalidUtf8,
                        start,
                        detail,
                    )));
                }
                Ok(Step::Next(stop))
            }
            (Shape::Bytes, LENGTH) => self
                .length(at, end)
                .map(|(_, stop)| Step::Next(stop))
                .map_err(alone),
            (Shape::Message(table), LENGTH) => {
                let (start, stop) = self.length(at, end).map_err(alone)?;
                Ok(Step::Open {
                    table,
                    start,
                    end: stop,
                    group: 0,
                })
            }
            (Shape::Group(table), START_GROUP) => Ok(Step::Open {
                table,
                start: at,
                end,
                group: field.number,
            }),
            (
                Shape::Varint
                | Shape::Bool
                | Shape::ClosedEnum(_)
                | Shape::Fixed32
                | Shape::Fixed64,
                LENGTH,
            ) if field.repeated => {
                let (mut next, stop) = self.length(at, end).map_err(alone)?;
                let mut in_run = 0;
                while next < stop {
                    next = self
                        .scalar(field.shape, next, stop)
                        .map_err(|fault| (fault, in_run))?;
                    in_run += 1;
                }
                Ok(Step::Next(stop))
            }
            _ => Ok(Step::Mismatch),
        }
    }

    /// Reads one number; answers the byte after it.
    fn scalar(&self, shape: Shape, at: usize, end: usize) -> Result<usize, Fault> {
        match shape {
            Shape::Fixed32 => self.fixed(at, end, 4),
            Shape::Fixed64 => self.fixed(at, end, 8),
            Shape::Bool => {
                let (value, next) = self.varint(at, end)?;
                if self.full && value > 1 {
                    let detail = "a boolean is neither 0 nor 1";
                    return Err(Fault::new(ViolationReason::InvalidBoolean, at, detail));
                }
                Ok(next)
            }
            Shape::ClosedEnum(position) => {
                let (value, next) = self.varint(at, end)?;
                if self.full && !self.is_constant(position, value) {
                    let detail = "the number is not one of the enum's";
                    return Err(Fault::new(ViolationReason::EnumOutOfRange, at, detail));
                }
                Ok(next)
            }
            _ => self.varint(at, end).map(|(_, next)| next),
        }
    }

    fn is_constant(&self, position: u32, value: u64) -> bool {
        let numbers = usize::try_from(position)
            .ok()
            .and_then(|position| self.validator.closed_enums.get(position));
        // A negative number comes sign-extended to 64 bits.
        let number = i32::try_from(value.cast_signed());
        number.is_ok_and(|number| {
            numbers.is_some_and(|numbers| numbers.binary_search(&number).is_ok())
        })
    }
}

/// Where a walk over plain fields stopped.
enum Plain {
    /// At the end of the message.
    End,
    /// Before a message, which this opens.
    Message(Frame),
    /// Before a field that is not plain, or the end of a group.
    Other,
}

/// What reading a value leads to.
enum Step {
    /// The byte after the value.
    Next(usize),
    /// A message or group to walk into.
    Open {
        table: u32,
        start: usize,
        end: usize,
        group: u32,
    },
    /// The wire type is not one the field can have.
    Mismatch,
}

fn expected(field: &FieldRule) -> &'static str {
    match field.shape {
        Shape::Varint | Shape::Bool | Shape::ClosedEnum(_) => "a varint (wire type 0)",
        Shape::Fixed32 => "4 bytes (wire type 5)",
        Shape::Fixed64 => "8 bytes (wire type 1)",
        Shape::Utf8 | Shape::Bytes | Shape::Message(_) => "a length (wire type 2)",
        Shape::Group(_) => "a group (wire type 3)",
    }
}
