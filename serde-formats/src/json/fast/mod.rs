//! Judges a payload while reading it once, for schemas of common keywords.
//!
//! Only acceptance counts: what this path accepts, the validator over the tape accepts too. What
//! it does not accept is judged again there, which also finds the reason. So duplicate member
//! names, numbers beyond 18 digits and the like may be left to that path.
//! Next: `compile.rs` (which schemas have a [`FastSchema`]), `read.rs` (the one pass).

mod compile;
mod read;
#[cfg(test)]
mod tests;

use jsonschema::Validator;

use super::node::TapeJson;
use super::patterns::Cost;

pub(super) use compile::compile;
pub(super) use read::FastScratch;

/// A schema made of rules by type.
#[derive(Debug)]
pub(super) struct FastSchema {
    root: Rule,
    strings: Vec<StringRule>,
    numbers: Vec<NumberRule>,
    arrays: Vec<ArrayRule>,
    objects: Vec<ObjectRule>,
    /// Containers that may be open at once.
    depth_max: usize,
    /// What matching a text with a pattern costs.
    matching: Cost,
}

/// Sets of types, as bits. Booleans are two types, and so are numbers, because enumerations and
/// `integer` tell them apart.
mod types {
    pub(super) const NULL: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const TRUE: u8 = 4;
    pub(super) const INTEGER: u8 = 8;
    pub(super) const FRACTION: u8 = 16;
    pub(super) const STRING: u8 = 32;
    pub(super) const ARRAY: u8 = 64;
    pub(super) const OBJECT: u8 = 128;
    pub(super) const NUMBER: u8 = INTEGER | FRACTION;
    pub(super) const ALL: u8 = u8::MAX;
}

/// What one value has to obey: its types, and for each of them an index of a further rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    types: u8,
    string: Option<u16>,
    number: Option<u16>,
    array: Option<u16>,
    object: Option<u16>,
}

impl Rule {
    const ANY: Self = Self {
        types: types::ALL,
        string: None,
        number: None,
        array: None,
        object: None,
    };
    const NONE: Self = Self {
        types: 0,
        ..Self::ANY
    };
}

#[derive(Debug, Default)]
struct StringRule {
    /// In characters.
    min: usize,
    max: Option<usize>,
    /// The only strings allowed, sorted.
    values: Option<Vec<String>>,
    /// `pattern` and `format`, judged as the other path judges them.
    text: Option<Box<Validator<TapeJson>>>,
}

#[derive(Debug, Default)]
struct NumberRule {
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    exclusive_minimum: Option<Bound>,
    exclusive_maximum: Option<Bound>,
    multiple_of: Option<i64>,
    /// The only numbers allowed.
    values: Option<Vec<i64>>,
}

/// A bound that compares exactly with what it is compared with.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Integer(i64),
    Double(f64),
}

#[derive(Debug)]
struct ArrayRule {
    min: usize,
    max: Option<usize>,
    items: Rule,
}

#[derive(Debug)]
struct ObjectRule {
    fields: Vec<Field>,
    /// Fields by the length of their name, to find one that does not come in order.
    by_length: Vec<Vec<u16>>,
    /// Bits of the fields that have to be there.
    required: u64,
    additional: Rule,
}

#[derive(Debug)]
struct Field {
    name: String,
    /// A payload may write the name as it is, without an escape.
    is_plain: bool,
    rule: Rule,
    /// Its bit in [`ObjectRule::required`]; zero for an optional field.
    bit: u64,
}
