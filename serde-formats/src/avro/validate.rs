//! Runs a [`Program`] over a payload without building anything.
//!
//! No recursion and no allocation: open arrays, maps and routine calls are frames in an array on
//! the stack, small at first and large for the rare payload that nests deeply. When a check fails
//! the frames tell the path, so nothing is run twice and nothing is tracked for valid payloads.

use std::fmt::Write as _;

use super::cursor::{Cursor, Fault, NESTING_MAX};
use super::logical;
use super::program::{Leaf, Op, Program};
use crate::validator::{
    LogicalTypes, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// Frames of the first try; clearing them is part of the cost of every record.
const SMALL_FRAMES: usize = 8;

/// Longest path reported, in bytes; longer ones lose their middle.
const PATH_BYTES_MAX: usize = 512;

/// Longest path text reported of one map key, in characters.
const KEY_CHARS_MAX: usize = 64;

/// Judges `payload`.
///
/// # Errors
/// The first violation.
pub(super) fn validate(
    program: &Program,
    payload: &[u8],
    options: ValidationOptions,
) -> Result<(), Violation> {
    // Frames count bytes in 32 bits; Kafka's records are never longer.
    if u32::try_from(payload.len()).is_err() {
        return Err(Violation {
            reason: ViolationReason::LimitExceeded,
            path: "$".to_owned(),
            byte_offset: 0,
            detail: format!("payload of {} bytes is too long", payload.len()),
        });
    }
    match (options.level, options.logical_types) {
        (ValidationLevel::Full, LogicalTypes::Ignore) => run::<true, false>(program, payload),
        (ValidationLevel::Full, LogicalTypes::Check) => run::<true, true>(program, payload),
        (ValidationLevel::Decode, _) => run::<false, false>(program, payload),
    }
}

fn run<const FULL: bool, const LOGICAL: bool>(
    program: &Program,
    payload: &[u8],
) -> Result<(), Violation> {
    let mut machine = Machine::<FULL, LOGICAL, SMALL_FRAMES>::new(program, payload);
    match machine.run() {
        Ok(()) => machine.end(),
        Err(stop) if stop.fault == Fault::StackFull => run_deep::<FULL, LOGICAL>(program, payload),
        Err(stop) => Err(machine.violation(stop)),
    }
}

#[cold]
#[inline(never)]
fn run_deep<const FULL: bool, const LOGICAL: bool>(
    program: &Program,
    payload: &[u8],
) -> Result<(), Violation> {
    let mut machine = Machine::<FULL, LOGICAL, NESTING_MAX>::new(program, payload);
    match machine.run() {
        Ok(()) => machine.end(),
        Err(stop) => Err(machine.violation(stop)),
    }
}

struct Machine<'a, const FULL: bool, const LOGICAL: bool, const FRAMES: usize> {
    program: &'a Program,
    cursor: Cursor<'a>,
    frames: [Frame; FRAMES],
    frames_count: usize,
    zero_byte_items: u32,
}

/// An array, map or call that has begun and not ended.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// The operation that began it.
    op: u32,
    /// Items of the block not yet ended, the present one included.
    remaining: u32,
    /// Number of the present item over all blocks.
    index: u32,
    /// Where the block must end, or [`NO_END`].
    end: u32,
    /// Where the present map key starts.
    key_at: u32,
}

/// No block ends at the first byte: its count is there.
const NO_END: u32 = 0;

impl Frame {
    const EMPTY: Self = Self {
        op: 0,
        remaining: 0,
        index: 0,
        end: NO_END,
        key_at: 0,
    };
}

/// Where and why the machine stopped.
#[derive(Debug, Clone, Copy)]
struct Stop {
    fault: Fault,
    op: usize,
    value_at: usize,
    item: Item,
}

/// The part of a fused operation that failed.
#[derive(Debug, Clone, Copy)]
enum Item {
    /// The operation itself.
    Whole,
    /// The branch that is not null.
    Inner,
    /// An item of an array.
    Index(u32),
    /// The value behind the map key at this offset.
    Key(usize),
}

impl<'a, const FULL: bool, const LOGICAL: bool, const FRAMES: usize>
    Machine<'a, FULL, LOGICAL, FRAMES>
{
    fn new(program: &'a Program, payload: &'a [u8]) -> Self {
        Self {
            program,
            cursor: Cursor::new(payload),
            frames: [Frame::EMPTY; FRAMES],
            frames_count: 0,
            zero_byte_items: 0,
        }
    }

    fn end(&self) -> Result<(), Violation> {
        let left = self.cursor.bytes.len() - self.cursor.at;
        if !FULL || left == 0 {
            return Ok(());
        }
        Err(Violation {
            reason: ViolationReason::TrailingBytes,
            path: "$".to_owned(),
            byte_offset: self.cursor.at,
            detail: format!("{left} bytes are left after the last value"),
        })
    }

    fn run(&mut self) -> Result<(), Stop> {
        let program = self.program;
        let mut pc = 0;
        loop {
            let Some(&op) = program.ops.get(pc) else {
                return Ok(());
            };
            let value_at = self.cursor.at;
            let stop = |fault| Stop {
                fault,
                op: pc,
                value_at,
                item: Item::Whole,
            };
            match op {
                Op::Leaf(leaf) => {
                    self.leaf(leaf).map_err(stop)?;
                    pc += 1;
                }
                Op::Optional { null_index, leaf } => {
                    let index = self
                        .cursor
                        .index::<FULL>(2, Fault::UnionIndex)
                        .map_err(stop)?;
                    if index != null_index {
                        let value_at = self.cursor.at;
                        self.leaf(leaf).map_err(|fault| Stop {
                            value_at,
                            item: Item::Inner,
                            ..stop(fault)
                        })?;
                    }
                    pc += 1;
                }
                Op::Union { first, count } => {
                    let index = self
                        .cursor
                        .index::<FULL>(count, Fault::UnionIndex)
                        .map_err(stop)?;
                    let target = program.jumps.get((first + index) as usize);
                    pc = target.map_or(usize::MAX, |t| *t as usize);
                }
                Op::Jump(target) => pc = target as usize,
                Op::LeafArray(leaf) => {
                    self.leaf_array(leaf, pc)?;
                    pc += 1;
                }
                Op::LeafMap(leaf) => {
                    self.leaf_map(leaf, pc)?;
                    pc += 1;
                }
                Op::Array { end, item_min } | Op::Map { end, item_min } => {
                    let block = self
                        .cursor
                        .block::<FULL>(item_min, &mut self.zero_byte_items)
                        .map_err(stop)?;
                    if block.count == 0 {
                        pc = end as usize;
                        continue;
                    }
                    let mut frame = Frame {
                        op: offset(pc),
                        remaining: block.count,
                        index: 0,
                        end: block.end.map_or(NO_END, offset),
                        key_at: 0,
                    };
                    if matches!(op, Op::Map { .. }) {
                        let value_at = self.cursor.at;
                        frame.key_at = offset(value_at);
                        self.key().map_err(|fault| Stop {
                            value_at,
                            ..stop(fault)
                        })?;
                    }
                    self.push(frame).map_err(stop)?;
                    pc += 1;
                }
                Op::Next => pc = self.next(pc)?,
                Op::Call(target) => {
                    self.push(Frame {
                        op: offset(pc),
                        ..Frame::EMPTY
                    })
                    .map_err(stop)?;
                    pc = target as usize;
                }
                Op::Return => {
                    self.frames_count = self.frames_count.saturating_sub(1);
                    let frame = self.frames.get(self.frames_count).copied();
                    pc = frame.map_or(usize::MAX, |f| f.op as usize + 1);
                }
                Op::Done => return Ok(()),
            }
        }
    }

    fn push(&mut self, frame: Frame) -> Result<(), Fault> {
        match self.frames.get_mut(self.frames_count) {
            Some(slot) => {
                *slot = frame;
                self.frames_count += 1;
                Ok(())
            }
            None if FRAMES < NESTING_MAX => Err(Fault::StackFull),
            None => Err(Fault::Nesting),
        }
    }

    /// Ends an item; answers where to go on.
    fn next(&mut self, pc: usize) -> Result<usize, Stop> {
        let top = self.frames_count.wrapping_sub(1);
        let Some(frame) = self.frames.get_mut(top) else {
            return Ok(usize::MAX);
        };
        let value_at = self.cursor.at;
        let op = frame.op as usize;
        // What goes wrong between two items is the array's or map's fault, not an item's.
        let stop = |fault| Stop {
            fault,
            op,
            value_at,
            item: Item::Whole,
        };
        frame.index = frame.index.wrapping_add(1);
        frame.remaining = frame.remaining.wrapping_sub(1);
        let is_map = matches!(self.program.ops.get(op), Some(Op::Map { .. }));
        if frame.remaining == 0 {
            let end = (frame.end != NO_END).then_some(frame.end as usize);
            let item_min = match self.program.ops.get(op) {
                Some(Op::Array { item_min, .. } | Op::Map { item_min, .. }) => *item_min,
                _ => 0,
            };
            let block = self.cursor.end_block(end).and_then(|()| {
                self.cursor
                    .block::<FULL>(item_min, &mut self.zero_byte_items)
            });
            let block = match block {
                Ok(block) => block,
                Err(fault) => {
                    self.frames_count = top;
                    return Err(stop(fault));
                }
            };
            if block.count == 0 {
                self.frames_count = top;
                return Ok(pc + 1);
            }
            frame.remaining = block.count;
            frame.end = block.end.map_or(NO_END, offset);
        }
        if is_map {
            frame.key_at = offset(self.cursor.at);
            let value_at = self.cursor.at;
            if let Err(fault) = self.key() {
                self.frames_count = top;
                return Err(Stop {
                    value_at,
                    ..stop(fault)
                });
            }
        }
        Ok(op + 1)
    }

    /// A block that ends elsewhere than it said is wrong where its items end.
    #[inline]
    fn end_block(&self, end: Option<usize>, op: usize) -> Result<(), Stop> {
        self.cursor.end_block(end).map_err(|fault| Stop {
            fault,
            op,
            value_at: self.cursor.at,
            item: Item::Whole,
        })
    }

    #[inline]
    fn key(&mut self) -> Result<(), Fault> {
        match self.cursor.string::<FULL>() {
            Ok(_) => Ok(()),
            Err(Fault::Utf8) => Err(Fault::KeyUtf8),
            Err(fault) => Err(fault),
        }
    }

    #[inline(always)]
    fn leaf(&mut self, leaf: Leaf) -> Result<(), Fault> {
        match leaf {
            Leaf::Null => Ok(()),
            Leaf::Boolean => self.cursor.boolean::<FULL>().map(drop),
            Leaf::Int => self.cursor.skip_int::<FULL>(),
            Leaf::Long => self.cursor.skip_long::<FULL>(),
            Leaf::Float => self.cursor.take(4).map(drop),
            Leaf::Double => self.cursor.take(8).map(drop),
            Leaf::Bytes => self.cursor.sized::<FULL>().map(drop),
            Leaf::String => self.cursor.string::<FULL>().map(drop),
            Leaf::Fixed(size) => self.cursor.take(size as usize).map(drop),
            Leaf::Enum(count) => self.cursor.index::<FULL>(count, Fault::EnumIndex).map(drop),
            logical => self.logical_leaf(logical),
        }
    }

    /// A leaf with a logical type, which counts only if that was asked for.
    #[inline]
    fn logical_leaf(&mut self, leaf: Leaf) -> Result<(), Fault> {
        match leaf {
            Leaf::Uuid => {
                let text = self.cursor.string::<FULL>()?;
                if LOGICAL {
                    logical::check_uuid(text)?;
                }
            }
            Leaf::Date | Leaf::TimeMillis if !LOGICAL => self.cursor.skip_int::<FULL>()?,
            Leaf::Date => logical::check_date(self.cursor.int::<FULL>()?)?,
            Leaf::TimeMillis => logical::check_time_millis(self.cursor.int::<FULL>()?)?,
            Leaf::TimeMicros | Leaf::TimestampMillis | Leaf::TimestampMicros if !LOGICAL => {
                self.cursor.skip_long::<FULL>()?;
            }
            Leaf::TimeMicros => logical::check_time_micros(self.cursor.long::<FULL>()?)?,
            Leaf::TimestampMillis => logical::check_timestamp_millis(self.cursor.long::<FULL>()?)?,
            Leaf::TimestampMicros => logical::check_timestamp_micros(self.cursor.long::<FULL>()?)?,
            Leaf::Decimal(limit) => {
                let value = self.cursor.sized::<FULL>()?;
                self.check_decimal(limit as usize, value)?;
            }
            Leaf::FixedDecimal { size, limit } => {
                let value = self.cursor.take(usize::from(size))?;
                self.check_decimal(usize::from(limit), value)?;
            }
            Leaf::BigDecimal => {
                let bytes = self.cursor.sized::<FULL>()?;
                if LOGICAL {
                    logical::check_big_decimal(bytes)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn check_decimal(&self, limit: usize, value: &[u8]) -> Result<(), Fault> {
        match self.program.decimal_limits.get(limit) {
            Some(limit) if LOGICAL => limit.check(value),
            _ => Ok(()),
        }
    }

    fn leaf_array(&mut self, leaf: Leaf, op: usize) -> Result<(), Stop> {
        let mut index: u32 = 0;
        loop {
            let value_at = self.cursor.at;
            let stop = |fault| Stop {
                fault,
                op,
                value_at,
                item: Item::Whole,
            };
            let block = self
                .cursor
                .block::<FULL>(leaf.min_size(), &mut self.zero_byte_items)
                .map_err(stop)?;
            if block.count == 0 {
                return Ok(());
            }
            // The common leaves get a loop of their own.
            match leaf {
                Leaf::String => self.items(block.count, index, op, |m| m.leaf(Leaf::String))?,
                Leaf::Long => self.items(block.count, index, op, |m| m.leaf(Leaf::Long))?,
                Leaf::Int => self.items(block.count, index, op, |m| m.leaf(Leaf::Int))?,
                Leaf::Null => {}
                leaf => self.items(block.count, index, op, |m| m.leaf(leaf))?,
            }
            index = index.wrapping_add(block.count);
            self.end_block(block.end, op)?;
        }
    }

    #[inline]
    fn items(
        &mut self,
        count: u32,
        first: u32,
        op: usize,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Stop> {
        for i in 0..count {
            let value_at = self.cursor.at;
            item(self).map_err(|fault| Stop {
                fault,
                op,
                value_at,
                item: Item::Index(first.wrapping_add(i)),
            })?;
        }
        Ok(())
    }

    fn leaf_map(&mut self, leaf: Leaf, op: usize) -> Result<(), Stop> {
        loop {
            let value_at = self.cursor.at;
            let stop = |fault| Stop {
                fault,
                op,
                value_at,
                item: Item::Whole,
            };
            let item_min = leaf.min_size().saturating_add(1);
            let block = self
                .cursor
                .block::<FULL>(item_min, &mut self.zero_byte_items)
                .map_err(stop)?;
            if block.count == 0 {
                return Ok(());
            }
            for _ in 0..block.count {
                let key_at = self.cursor.at;
                self.key().map_err(|fault| Stop {
                    value_at: key_at,
                    ..stop(fault)
                })?;
                let value_at = self.cursor.at;
                self.leaf(leaf).map_err(|fault| Stop {
                    value_at,
                    item: Item::Key(key_at),
                    ..stop(fault)
                })?;
            }
            self.end_block(block.end, op)?;
        }
    }

    #[cold]
    #[inline(never)]
    fn violation(&self, stop: Stop) -> Violation {
        let mut path = "$".to_owned();
        for frame in self.frames.iter().take(self.frames_count) {
            let op = frame.op as usize;
            self.program.write_place(op, &mut path);
            match self.program.ops.get(op) {
                Some(Op::Array { .. }) => write_index(frame.index, &mut path),
                Some(Op::Map { .. }) => self.write_key(frame.key_at as usize, &mut path),
                _ => {}
            }
        }
        self.program.write_place(stop.op, &mut path);
        let what = match stop.item {
            Item::Whole => self.program.what(stop.op),
            Item::Inner => self.program.inner_what(stop.op),
            Item::Index(index) => {
                write_index(index, &mut path);
                self.program.inner_what(stop.op)
            }
            Item::Key(key_at) => {
                self.write_key(key_at, &mut path);
                self.program.inner_what(stop.op)
            }
        };
        stop.fault.violation(what, cut(path), stop.value_at)
    }

    fn write_key(&self, key_at: usize, path: &mut String) {
        let mut cursor = Cursor {
            at: key_at,
            ..self.cursor
        };
        let key = cursor.sized::<false>().unwrap_or_default();
        write_key(&String::from_utf8_lossy(key), path);
    }
}

/// A path shortened in the middle when recursion made it long.
pub(super) fn cut(path: String) -> String {
    if path.len() <= PATH_BYTES_MAX {
        return path;
    }
    let mut head = PATH_BYTES_MAX / 2;
    let mut tail = path.len() - PATH_BYTES_MAX / 2;
    while !path.is_char_boundary(head) {
        head -= 1;
    }
    while !path.is_char_boundary(tail) {
        tail += 1;
    }
    let (head, tail) = (path.get(..head), path.get(tail..));
    format!("{}…{}", head.unwrap_or(""), tail.unwrap_or(""))
}

/// Payloads are shorter than 4 GiB and programs than 2³² operations.
#[inline]
fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Appends an array index to a path.
pub(super) fn write_index(index: u32, path: &mut String) {
    // Writing to a String cannot fail.
    let _infallible = write!(path, "[{index}]");
}

/// Appends a map key to a path, quoted, cut when long.
pub(super) fn write_key(key: &str, path: &mut String) {
    path.push('[');
    if key.chars().count() > KEY_CHARS_MAX {
        let mut cut: String = key.chars().take(KEY_CHARS_MAX).collect();
        cut.push('…');
        super::json_text::write_string(&cut, path);
    } else {
        super::json_text::write_string(key, path);
    }
    path.push(']');
}
