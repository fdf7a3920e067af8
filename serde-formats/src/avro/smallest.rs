//! The smallest datum of a type, and the smallest on the way to a place inside it.
//!
//! Empty strings, arrays and maps, zeros, first symbols, and of a union the branch of the fewest
//! bytes, which is how recursion ends. Next: [`super::witness`].

use super::json_value::write_long;
use super::model::{DEPTH_MAX, Kind, Model, Type, TypeId};

/// Most rounds of the search for types without end; one is needed for each record that is used
/// before it is known.
const ROUNDS_MAX: usize = 1000;

/// Most types, and types inside them, looked at in all rounds.
const VISITS_MAX: usize = 20_000_000;

/// Longest datum built: types shared many times over have a smallest datum without measure.
const BYTES_MAX: usize = 64 * 1024;

/// A step from a value to one inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The field of this position in the writer's record.
    Field(usize),
    /// The only item of an array.
    Item,
    /// The only value of a map.
    Value,
    /// This branch of a writer's union.
    Branch(usize),
    /// From a reader's union to its branch: the writer's value is the same.
    Into,
}

/// Knows the fewest bytes of every type.
pub(super) struct Smallest<'a> {
    model: &'a Model,
    /// `None`: no value of the type has an end.
    sizes: Vec<Option<u64>>,
}

impl<'a> Smallest<'a> {
    /// Measures every type of `model`.
    pub(super) fn new(model: &'a Model) -> Self {
        let mut smallest = Self {
            model,
            sizes: vec![None; model.types.len()],
        };
        let inner = model.types.iter().map(|ty| ty.children().len());
        let visits: usize = model.types.len() + inner.sum::<usize>();
        let mut visits_left = VISITS_MAX;
        for _ in 0..ROUNDS_MAX {
            let mut is_settled = true;
            // Inner types come after outer ones, so most are settled in one round.
            for index in (0..model.types.len()).rev() {
                let id = TypeId(u32::try_from(index).unwrap_or(u32::MAX));
                let size = smallest.measure(id);
                if let Some(slot) = smallest.sizes.get_mut(index)
                    && *slot != size
                {
                    *slot = size;
                    is_settled = false;
                }
            }
            visits_left = visits_left.saturating_sub(visits);
            if is_settled || visits_left == 0 {
                break;
            }
        }
        smallest
    }

    fn measure(&self, id: TypeId) -> Option<u64> {
        Some(match &self.model.get(id).kind {
            Kind::Null => 0,
            Kind::Float => 4,
            Kind::Double => 8,
            Kind::Fixed { size, .. } => u64::from(*size),
            Kind::Enum { symbols, .. } => (!symbols.is_empty()).then_some(1)?,
            Kind::Record { fields, .. } => fields
                .iter()
                .try_fold(0u64, |sum, f| Some(sum.saturating_add(self.size(f.ty)?)))?,
            Kind::Union(branches) => {
                let best = branches.iter().filter_map(|b| self.size(*b)).min()?;
                best.saturating_add(1)
            }
            Kind::Unresolved(_) => return None,
            _ => least(self.model.get(id)).len() as u64,
        })
    }

    /// Fewest bytes of a value; `None` when no value has an end.
    pub(super) fn size(&self, id: TypeId) -> Option<u64> {
        self.sizes.get(id.index()).copied().flatten()
    }

    /// The smallest datum of the root that holds a value at the end of `steps`, there the symbol of
    /// this position if it is an enum. `None` when there is none, or none of a bearable size.
    pub(super) fn datum(&self, steps: &[Step], symbol: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.write(self.model.root, Some((steps, symbol)), 0, &mut out)?;
        Some(out)
    }

    fn write(
        &self,
        id: TypeId,
        way: Option<(&[Step], usize)>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let size = usize::try_from(self.size(id)?).ok()?;
        if depth > DEPTH_MAX || size > BYTES_MAX.saturating_sub(out.len()) {
            return None;
        }
        let (step, symbol, way) = match way {
            Some(([Step::Into, rest @ ..], symbol)) => {
                return self.write(id, Some((rest, symbol)), depth + 1, out);
            }
            Some(([step, rest @ ..], symbol)) => (Some(*step), symbol, Some((rest, symbol))),
            Some(([], symbol)) => (None, symbol, None),
            None => (None, 0, None),
        };
        match &self.model.get(id).kind {
            Kind::Null => {}
            Kind::Float => out.extend([0; 4]),
            Kind::Double => out.extend([0; 8]),
            Kind::Fixed { size, .. } => {
                let size = usize::try_from(*size)
                    .ok()
                    .filter(|size| *size <= BYTES_MAX)?;
                out.resize(out.len() + size, 0);
            }
            Kind::Enum { symbols, .. } => {
                symbols.get(symbol)?;
                write_long(i64::try_from(symbol).ok()?, out);
            }
            Kind::Record { fields, .. } => {
                for (i, field) in fields.iter().enumerate() {
                    let way = way.filter(|_| step == Some(Step::Field(i)));
                    self.write(field.ty, way, depth + 1, out)?;
                }
            }
            Kind::Array(item) => {
                if step == Some(Step::Item) {
                    write_long(1, out);
                    self.write(*item, way, depth + 1, out)?;
                }
                out.push(0);
            }
            Kind::Map(values) => {
                if step == Some(Step::Value) {
                    write_long(1, out);
                    write_long(1, out);
                    out.push(b'k');
                    self.write(*values, way, depth + 1, out)?;
                }
                out.push(0);
            }
            Kind::Union(branches) => {
                let index = match step {
                    Some(Step::Branch(index)) => index,
                    _ => {
                        let sized = branches.iter().enumerate();
                        let sized = sized.filter_map(|(i, b)| Some((self.size(*b)?, i)));
                        sized.min()?.1
                    }
                };
                write_long(i64::try_from(index).ok()?, out);
                self.write(*branches.get(index)?, way, depth + 1, out)?;
            }
            Kind::Unresolved(_) => return None,
            _ => out.extend_from_slice(least(self.model.get(id))),
        }
        Some(())
    }
}

/// A value of a primitive type: a zero byte, unless its logical type wants more.
fn least(ty: &Type) -> &'static [u8] {
    match (&ty.kind, ty.logical_type()) {
        (Kind::String, Some("uuid")) => b"\x4800000000-0000-0000-0000-000000000000",
        (Kind::Bytes, Some("decimal")) => &[2, 0],
        // The unscaled value behind its length, then the scale.
        (Kind::Bytes, Some("big-decimal")) => &[6, 2, 0, 0],
        _ => &[0],
    }
}
