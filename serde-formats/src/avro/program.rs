//! A schema compiled to a flat program for [`super::validate`].
//!
//! Records used once and small ones are laid out in line, others become routines that are called, so
//! the program is never much longer than the schema. Paths cost nothing while payloads are valid: each operation
//! has a node in a tree of field names, read only when something fails.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use super::logical::DecimalLimit;
use super::model::{Kind, Model, TypeId};

/// A value without others inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// With its size in bytes.
    Fixed(u32),
    /// With its number of symbols.
    Enum(u32),
    /// A string with the logical type uuid; like the following its base type for most readers.
    Uuid,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    /// Bytes, with the index of the limit.
    Decimal(u32),
    FixedDecimal {
        size: u16,
        limit: u16,
    },
    BigDecimal,
}

/// One step of a program. Targets are indexes of operations.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Leaf(Leaf),
    /// A union of null and a leaf.
    Optional {
        /// Index of the null branch: 0 or 1.
        null_index: u32,
        leaf: Leaf,
    },
    /// Branch `i` continues at `jumps[first + i]`.
    Union {
        first: u32,
        count: u32,
    },
    Jump(u32),
    LeafArray(Leaf),
    LeafMap(Leaf),
    /// The items follow, up to `Next`; `end` is behind it.
    Array {
        end: u32,
        item_min: u32,
    },
    Map {
        end: u32,
        item_min: u32,
    },
    /// End of an item.
    Next,
    Call(u32),
    Return,
    Done,
}

/// The compiled form.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) ops: Vec<Op>,
    pub(super) jumps: Vec<u32>,
    /// Of decimals; one for each precision.
    pub(super) decimal_limits: Vec<DecimalLimit>,
    /// For each operation, the field it belongs to.
    places: Vec<u32>,
    /// Fields: the enclosing one, and the name. The first is the root, without name.
    fields: Vec<(u32, Box<str>)>,
}

impl Leaf {
    /// Fewest bytes of a value.
    pub(super) fn min_size(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Float => 4,
            Self::Double => 8,
            Self::Fixed(size) => size,
            Self::FixedDecimal { size, .. } => u32::from(size),
            _ => 1,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int | Self::Date | Self::TimeMillis => "int",
            Self::Long | Self::TimeMicros | Self::TimestampMillis | Self::TimestampMicros => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes | Self::Decimal(_) | Self::BigDecimal => "bytes",
            Self::String | Self::Uuid => "string",
            Self::Fixed(_) | Self::FixedDecimal { .. } => "fixed",
            Self::Enum(_) => "enum",
        }
    }
}

impl Program {
    /// Compiles the whole schema.
    pub(super) fn compile(model: &Model) -> Self {
        let mut compiler = Compiler {
            model,
            uses: count_uses(model),
            min_sizes: model.min_sizes(),
            lengths: lengths(model),
            repeats_left: REPEATED_OPS_MAX,
            program: Self {
                ops: Vec::new(),
                jumps: Vec::new(),
                decimal_limits: Vec::new(),
                places: Vec::new(),
                fields: vec![(0, Box::default())],
            },
            routines: HashMap::new(),
            queue: Vec::new(),
            calls: Vec::new(),
            precisions: HashMap::new(),
        };
        compiler.value(model.root, ROOT);
        compiler.push(Op::Done, ROOT);
        while let Some(record) = compiler.queue.pop() {
            let start = compiler.next();
            compiler.routines.insert(record, Some(start));
            compiler.record(record, ROOT);
            compiler.push(Op::Return, ROOT);
        }
        for (call, record) in std::mem::take(&mut compiler.calls) {
            let target = compiler.routines.get(&record).copied().flatten();
            compiler.patch(call, Op::Call(target.unwrap_or(0)));
        }
        compiler.program
    }

    /// Appends the path of an operation, from the item or routine it belongs to.
    pub(super) fn write_place(&self, op: usize, out: &mut String) {
        let mut names = Vec::new();
        let mut place = self.places.get(op).copied().unwrap_or(ROOT);
        while place != ROOT {
            let Some((parent, name)) = self.fields.get(place as usize) else {
                break;
            };
            names.push(name);
            place = *parent;
        }
        for name in names.iter().rev() {
            // Writing to a String cannot fail.
            let _infallible = write!(out, ".{name}");
        }
    }

    /// What an operation reads, in the words of the schema.
    pub(super) fn what(&self, op: usize) -> &'static str {
        match self.ops.get(op) {
            Some(Op::Leaf(leaf)) => leaf.what(),
            Some(Op::Optional { .. } | Op::Union { .. }) => "union",
            Some(Op::LeafArray(_) | Op::Array { .. }) => "array",
            Some(Op::LeafMap(_) | Op::Map { .. }) => "map",
            _ => "record",
        }
    }

    /// What an item, or the branch that is not null, of an operation reads.
    pub(super) fn inner_what(&self, op: usize) -> &'static str {
        match self.ops.get(op) {
            Some(Op::Optional { leaf, .. } | Op::LeafArray(leaf) | Op::LeafMap(leaf)) => {
                leaf.what()
            }
            _ => self.what(op),
        }
    }
}

const ROOT: u32 = 0;

/// Operations up to which a record used more than once is laid out at each use: a call costs about
/// as much as two values.
const SMALL_OPS: u32 = 24;

/// Most operations laid out again.
const REPEATED_OPS_MAX: u32 = 4096;

struct Compiler<'a> {
    model: &'a Model,
    /// For each type, how many places refer to it.
    uses: Vec<u32>,
    min_sizes: Vec<u32>,
    /// For each type, how many operations it takes laid out in line; without measure when it holds
    /// itself.
    lengths: Vec<u32>,
    /// Operations that may still be laid out again.
    repeats_left: u32,
    program: Program,
    /// Records called, and where their routine starts once it is written.
    routines: HashMap<TypeId, Option<u32>>,
    queue: Vec<TypeId>,
    /// Calls to be pointed at their routine.
    calls: Vec<(u32, TypeId)>,
    /// Where the limit of each precision is.
    precisions: HashMap<u32, usize>,
}

fn count_uses(model: &Model) -> Vec<u32> {
    let mut uses = vec![0u32; model.types.len()];
    let mut add = |id: TypeId| {
        if let Some(count) = uses.get_mut(id.index()) {
            *count = count.saturating_add(1);
        }
    };
    add(model.root);
    for ty in &model.types {
        ty.children().into_iter().for_each(&mut add);
    }
    uses
}

/// For each type, the operations it takes in line, at most.
fn lengths(model: &Model) -> Vec<u32> {
    let mut known = vec![None; model.types.len()];
    length(model, model.root, &mut known);
    let known = known.into_iter();
    known.map(|length| length.unwrap_or(u32::MAX)).collect()
}

/// In the order of the text, so that it nests no deeper than types do.
fn length(model: &Model, id: TypeId, known: &mut [Option<u32>]) -> u32 {
    if let Some(Some(length)) = known.get(id.index()) {
        return *length;
    }
    // What a type inside itself finds.
    note(id, u32::MAX, known);
    let ty = model.get(id);
    let children = ty.children();
    let inner = children.iter().fold(0u32, |sum, child| {
        sum.saturating_add(length(model, *child, known))
    });
    let own = match ty.kind {
        Kind::Record { .. } => 0,
        // The start, and for each branch a jump; or the start and the end of an item.
        _ => u32::try_from(children.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
    };
    let whole = inner.saturating_add(own);
    note(id, whole, known);
    whole
}

fn note(id: TypeId, length: u32, known: &mut [Option<u32>]) {
    if let Some(slot) = known.get_mut(id.index()) {
        *slot = Some(length);
    }
}

impl Compiler<'_> {
    fn next(&self) -> u32 {
        u32::try_from(self.program.ops.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, op: Op, place: u32) -> u32 {
        let at = self.next();
        self.program.ops.push(op);
        self.program.places.push(place);
        at
    }

    fn patch(&mut self, at: u32, op: Op) {
        if let Some(slot) = self.program.ops.get_mut(at as usize) {
            *slot = op;
        }
    }

    fn leaf(&mut self, id: TypeId) -> Option<Leaf> {
        if let Some(logical) = self.logical(id) {
            return Some(logical);
        }
        Some(match &self.model.get(id).kind {
            Kind::Null => Leaf::Null,
            Kind::Boolean => Leaf::Boolean,
            Kind::Int => Leaf::Int,
            Kind::Long => Leaf::Long,
            Kind::Float => Leaf::Float,
            Kind::Double => Leaf::Double,
            Kind::Bytes => Leaf::Bytes,
            Kind::String => Leaf::String,
            Kind::Fixed { size, .. } => Leaf::Fixed(*size),
            Kind::Enum { symbols, .. } => {
                Leaf::Enum(u32::try_from(symbols.len()).unwrap_or(u32::MAX))
            }
            _ => return None,
        })
    }

    /// A leaf whose logical type can be broken.
    fn logical(&mut self, id: TypeId) -> Option<Leaf> {
        let ty = self.model.get(id);
        Some(match (ty.logical_type()?, &ty.kind) {
            ("uuid", Kind::String) => Leaf::Uuid,
            ("date", _) => Leaf::Date,
            ("time-millis", _) => Leaf::TimeMillis,
            ("timestamp-millis" | "local-timestamp-millis", _) => Leaf::TimestampMillis,
            ("timestamp-micros" | "local-timestamp-micros", _) => Leaf::TimestampMicros,
            ("time-micros", _) => Leaf::TimeMicros,
            ("big-decimal", _) => Leaf::BigDecimal,
            ("decimal", Kind::Bytes) => {
                let limit = self.decimal_limit(ty.precision()?);
                Leaf::Decimal(u32::try_from(limit).ok()?)
            }
            ("decimal", Kind::Fixed { size, .. }) => {
                let size = u16::try_from(*size).ok()?;
                let limit = u16::try_from(self.decimal_limit(ty.precision()?)).ok()?;
                Leaf::FixedDecimal { size, limit }
            }
            _ => return None,
        })
    }

    fn decimal_limit(&mut self, precision: u32) -> usize {
        let limits = &mut self.program.decimal_limits;
        *self.precisions.entry(precision).or_insert_with(|| {
            limits.push(DecimalLimit::new(precision));
            limits.len() - 1
        })
    }

    fn min_size(&self, id: TypeId) -> u32 {
        self.min_sizes.get(id.index()).copied().unwrap_or(0)
    }

    fn value(&mut self, id: TypeId, place: u32) {
        if let Some(leaf) = self.leaf(id) {
            self.push(Op::Leaf(leaf), place);
            return;
        }
        let model = self.model;
        match &model.get(id).kind {
            Kind::Record { .. } => {
                if self.is_called(id) {
                    let call = self.push(Op::Call(0), place);
                    self.calls.push((call, id));
                    if let Entry::Vacant(routine) = self.routines.entry(id) {
                        routine.insert(None);
                        self.queue.push(id);
                    }
                } else {
                    self.record(id, place);
                }
            }
            Kind::Array(item) => self.block(*item, place, false),
            Kind::Map(item) => self.block(*item, place, true),
            Kind::Union(branches) => self.union(branches, place),
            _ => {}
        }
    }

    /// Whether a record becomes a routine.
    fn is_called(&mut self, id: TypeId) -> bool {
        if self.uses.get(id.index()).is_none_or(|uses| *uses <= 1) {
            return false;
        }
        let length = self.lengths.get(id.index()).copied().unwrap_or(u32::MAX);
        if length > SMALL_OPS || length > self.repeats_left {
            return true;
        }
        self.repeats_left -= length;
        false
    }

    fn record(&mut self, id: TypeId, place: u32) {
        let model = self.model;
        let Kind::Record { fields, .. } = &model.get(id).kind else {
            return;
        };
        for field in fields {
            let inner = u32::try_from(self.program.fields.len()).unwrap_or(ROOT);
            self.program
                .fields
                .push((place, field.name.as_str().into()));
            self.value(field.ty, inner);
        }
    }

    fn block(&mut self, item: TypeId, place: u32, is_map: bool) {
        if let Some(leaf) = self.leaf(item) {
            self.push(
                if is_map {
                    Op::LeafMap(leaf)
                } else {
                    Op::LeafArray(leaf)
                },
                place,
            );
            return;
        }
        let item_min = self.min_size(item);
        let start = self.push(Op::Next, place);
        self.value(item, ROOT);
        self.push(Op::Next, ROOT);
        let end = self.next();
        self.patch(
            start,
            if is_map {
                Op::Map {
                    end,
                    item_min: item_min.saturating_add(1),
                }
            } else {
                Op::Array { end, item_min }
            },
        );
    }

    fn union(&mut self, branches: &[TypeId], place: u32) {
        if let [a, b] = *branches
            && let (Some(a), Some(b)) = (self.leaf(a), self.leaf(b))
            && (a == Leaf::Null) != (b == Leaf::Null)
        {
            let (null_index, leaf) = if a == Leaf::Null { (0, b) } else { (1, a) };
            self.push(Op::Optional { null_index, leaf }, place);
            return;
        }
        let first = self.program.jumps.len();
        self.program.jumps.extend(branches.iter().map(|_| 0));
        self.push(
            Op::Union {
                first: u32::try_from(first).unwrap_or(u32::MAX),
                count: u32::try_from(branches.len()).unwrap_or(u32::MAX),
            },
            place,
        );
        let mut jumps = Vec::with_capacity(branches.len());
        for (i, branch) in branches.iter().enumerate() {
            let start = self.next();
            if let Some(slot) = self.program.jumps.get_mut(first + i) {
                *slot = start;
            }
            self.value(*branch, place);
            if i + 1 < branches.len() {
                jumps.push(self.push(Op::Jump(0), place));
            }
        }
        let end = self.next();
        for jump in jumps {
            self.patch(jump, Op::Jump(end));
        }
    }
}
