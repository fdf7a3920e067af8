//! How the schema validator reads a tape: values in place, no tree, no copy.
//!
//! One rule of its own: [`Node::to_value`] answers `null`. The validator asks for values only to
//! put them into error messages, and a payload's values must never reach one.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, JsonNumber, Node, NodeIdentity, Object};
use serde_json::{Number, Value};

use super::tape::{Entry, Kind, SCANNED_MEMBERS_MAX, Tape, Unescape, compare_raw, name_hash};

/// The tape as a representation of JSON.
#[derive(Debug)]
pub(super) struct TapeJson;

/// A parsed payload under judgement: its text, its positions, and how often it may be looked at.
///
/// Schemas can make a validator look at a value as often as there are ways through their
/// alternatives, which grows with the power of the payload's depth. A validator cannot be stopped,
/// so past the budget every value looks like `null`, which ends the work at once; the verdict is
/// then no verdict, see [`View::is_exhausted`].
#[derive(Debug)]
pub(super) struct View<'a> {
    text: &'a str,
    tape: &'a Tape,
    steps_left: Cell<u64>,
}

impl<'a> View<'a> {
    pub(super) const fn new(text: &'a str, tape: &'a Tape, steps: u64) -> Self {
        Self {
            text,
            tape,
            steps_left: Cell::new(steps),
        }
    }

    /// The budget is used up: what was answered meanwhile means nothing.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.steps_left.get() == 0
    }

    /// Looks at an entry, for one step.
    fn entry(&self, index: u32) -> Option<&'a Entry> {
        let left = self.steps_left.get().checked_sub(1)?;
        self.steps_left.set(left);
        self.tape.entry(index)
    }
}

/// One value of a payload, or a member name standing as a string.
#[derive(Debug, Clone, Copy)]
pub(super) enum TapeNode<'a> {
    At(&'a View<'a>, u32),
    Name(&'a str),
}

/// A member name that a schema asks for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    name: String,
    hash: u32,
}

impl Json for TapeJson {
    type Node<'a> = TapeNode<'a>;
    type PreparedKey = Key;
    type StringBuffer = ();

    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> Key {
        Key {
            hash: name_hash(key.as_bytes()),
            name: key.to_owned(),
        }
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(TapeNode<'_>) -> T) -> T {
        f(TapeNode::Name(string))
    }
}

impl<'a> TapeNode<'a> {
    /// The whole payload.
    pub(super) fn root(view: &'a View<'a>) -> Self {
        Self::At(view, 0)
    }

    /// First byte of this value in the payload.
    pub(super) fn offset(self) -> usize {
        self.entry().map_or(0, |entry| entry.start as usize)
    }

    /// First byte and the byte after the last one.
    pub(super) fn span(self) -> (usize, usize) {
        self.entry()
            .map_or((0, 0), |entry| (entry.start as usize, entry.end as usize))
    }

    fn entry(self) -> Option<&'a Entry> {
        match self {
            Self::At(view, index) => view.entry(index),
            Self::Name(_) => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::At(..) => self.entry().map_or(Kind::Null, |entry| entry.kind),
            Self::Name(_) => Kind::String,
        }
    }

    fn container(self, kind: Kind) -> Option<Members<'a>> {
        match self {
            Self::At(view, index) => {
                let entry = view.entry(index).filter(|entry| entry.kind == kind)?;
                Some(Members {
                    view,
                    entry,
                    index,
                    expected: Cell::new(index + 1),
                })
            }
            Self::Name(_) => None,
        }
    }

    /// The string as written, and whether that holds escapes.
    fn raw(self) -> Option<(&'a str, bool)> {
        match self {
            Self::Name(name) => Some((name, false)),
            Self::At(view, index) => {
                let entry = view.entry(index)?;
                matches!(entry.kind, Kind::String | Kind::Name)
                    .then(|| (Tape::raw(view.text, entry), entry.escaped))
            }
        }
    }

    /// Equal values hash alike: numbers as doubles, members in any order.
    fn hash_with(self, state: &RandomState) -> u64 {
        match self.kind() {
            Kind::Null => state.hash_one(0_u8),
            Kind::False => state.hash_one(1_u8),
            Kind::True => state.hash_one(2_u8),
            Kind::Number => {
                let number = self.as_number().and_then(|number| number.as_f64());
                // `0` and `-0` are one number.
                let number = number.map_or(0.0, |number| if number == 0.0 { 0.0 } else { number });
                state.hash_one(number.to_bits())
            }
            Kind::String | Kind::Name | Kind::ShadowedName => state.hash_one(self.as_string()),
            Kind::Array => {
                let elements = self
                    .as_array()
                    .into_iter()
                    .flat_map(|array| array.elements());
                elements.fold(state.hash_one(3_u8), |hash, element| {
                    state.hash_one((hash, element.hash_with(state)))
                })
            }
            Kind::Object => {
                let members = self
                    .as_object()
                    .into_iter()
                    .flat_map(|object| object.members());
                members.fold(state.hash_one(4_u8), |hash, (name, value)| {
                    hash.wrapping_add(state.hash_one((name, value.hash_with(state))))
                })
            }
        }
    }

    fn equals(self, other: Self) -> bool {
        match (self.kind(), other.kind()) {
            (Kind::Number, Kind::Number) => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => jsonschema::json::cmp::equal_numbers(&a, &b.to_number()),
                _ => false,
            },
            (Kind::String, Kind::String) => match (self.raw(), other.raw()) {
                (Some((a, a_escaped)), Some((b, b_escaped))) => {
                    compare_raw(a, a_escaped, b, b_escaped).is_eq()
                }
                _ => false,
            },
            (Kind::Array, Kind::Array) => match (self.as_array(), other.as_array()) {
                (Some(a), Some(b)) => {
                    a.count() == b.count()
                        && a.elements().zip(b.elements()).all(|(a, b)| a.equals(b))
                }
                _ => false,
            },
            (Kind::Object, Kind::Object) => match (self.as_object(), other.as_object()) {
                (Some(a), Some(b)) => {
                    a.count() == b.count()
                        && a.members().all(|(name, value)| {
                            b.member(&name).is_some_and(|found| value.equals(found))
                        })
                }
                _ => false,
            },
            (a, b) => a == b,
        }
    }
}

impl<'a> Node<'a, TapeJson> for TapeNode<'a> {
    type Object = Members<'a>;
    type Array = Members<'a>;
    type Number = TapeNumber<'a>;

    fn as_object(&self) -> Option<Members<'a>> {
        self.container(Kind::Object)
    }

    fn as_array(&self) -> Option<Members<'a>> {
        self.container(Kind::Array)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let (raw, escaped) = self.raw()?;
        Some(if escaped {
            Cow::Owned(Unescape::new(raw).collect())
        } else {
            Cow::Borrowed(raw)
        })
    }

    fn as_number(&self) -> Option<TapeNumber<'a>> {
        match self {
            Self::At(view, index) => {
                let entry = view.entry(*index)?;
                (entry.kind == Kind::Number)
                    .then(|| view.text.get(entry.start as usize..entry.end as usize))
                    .flatten()
                    .map(TapeNumber)
            }
            Self::Name(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::True | Kind::False => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::String | Kind::Name | Kind::ShadowedName => JsonType::String,
            Kind::Array => JsonType::Array,
            Kind::Object => JsonType::Object,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let (raw, escaped) = self.raw()?;
        let count = if escaped {
            Unescape::new(raw).count()
        } else {
            raw.chars().count()
        };
        u64::try_from(count).ok()
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match expected {
            Value::Null => self.is_null(),
            Value::Bool(expected) => self.as_boolean() == Some(*expected),
            Value::Number(expected) => self
                .as_number()
                .is_some_and(|number| jsonschema::json::cmp::equal_numbers(&number, expected)),
            Value::String(expected) => self
                .raw()
                .is_some_and(|(raw, escaped)| compare_raw(raw, escaped, expected, false).is_eq()),
            Value::Array(expected) => self.as_array().is_some_and(|array| {
                array.count() == expected.len()
                    && array
                        .elements()
                        .zip(expected)
                        .all(|(element, expected)| element.equals_value(expected))
            }),
            Value::Object(expected) => self.as_object().is_some_and(|object| {
                object.count() == expected.len()
                    && expected.iter().all(|(name, expected)| {
                        object
                            .member(name)
                            .is_some_and(|value| value.equals_value(expected))
                    })
            }),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Value::Null)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match self {
            Self::At(view, index) => Some(NodeIdentity::tagged(
                std::ptr::from_ref::<View<'_>>(view) as usize,
                *index,
            )),
            Self::Name(_) => None,
        }
    }
}

/// The elements of an array, or the members of an object.
#[derive(Debug, Clone)]
pub(super) struct Members<'a> {
    view: &'a View<'a>,
    entry: &'a Entry,
    index: u32,
    /// The name after the last one found: schemas and payloads often have one order.
    expected: Cell<u32>,
}

impl<'a> Members<'a> {
    /// Where a name stands beside a key, in the order of hashes.
    fn compare(&self, name: &Entry, key: &str, hash: u32) -> Ordering {
        name.key
            .cmp(&hash)
            .then_with(|| compare_raw(Tape::raw(self.view.text, name), name.escaped, key, false))
    }

    /// Elements, or members with duplicates counted once.
    pub(super) const fn count(&self) -> usize {
        self.entry.count as usize
    }

    /// The member called `key`.
    pub(super) fn member(&self, key: &str) -> Option<TapeNode<'a>> {
        self.hashed_member(key, name_hash(key.as_bytes()))
    }

    fn hashed_member(&self, key: &str, hash: u32) -> Option<TapeNode<'a>> {
        let expected = self.expected.get();
        if expected < self.entry.next {
            let name = self.view.entry(expected)?;
            if name.key == hash && name.kind == Kind::Name && self.compare(name, key, hash).is_eq()
            {
                return Some(self.found(expected));
            }
        }
        if self.entry.count > SCANNED_MEMBERS_MAX {
            let names = self.view.tape.sorted_names(self.entry);
            let found = names
                .binary_search_by(|name| match self.view.entry(*name) {
                    Some(name) => self.compare(name, key, hash),
                    None => Ordering::Less,
                })
                .ok()
                .and_then(|position| names.get(position))?;
            return Some(self.found(*found));
        }
        let mut index = self.index + 1;
        while index < self.entry.next {
            let name = self.view.entry(index)?;
            if name.key == hash && name.kind == Kind::Name && self.compare(name, key, hash).is_eq()
            {
                return Some(self.found(index));
            }
            index = self.view.tape.entry(index + 1)?.next;
        }
        None
    }

    /// The value after a name.
    fn found(&self, name: u32) -> TapeNode<'a> {
        let next = self.view.tape.entry(name + 1).map(|value| value.next);
        self.expected.set(next.unwrap_or(self.entry.next));
        TapeNode::At(self.view, name + 1)
    }

    /// The element at `position`.
    pub(super) fn element(&self, position: usize) -> Option<TapeNode<'a>> {
        self.elements().nth(position)
    }
}

impl<'a> Object<'a, TapeJson> for Members<'a> {
    type Node = TapeNode<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.entry.count as usize
    }

    fn get(&self, key: &Key) -> Option<TapeNode<'a>> {
        self.hashed_member(&key.name, key.hash)
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter {
            view: self.view,
            index: self.index + 1,
            end: self.entry.next,
        }
    }
}

/// Members in payload order, replaced duplicates left out.
#[derive(Debug)]
pub(super) struct MembersIter<'a> {
    view: &'a View<'a>,
    index: u32,
    end: u32,
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = (Cow<'a, str>, TapeNode<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.index < self.end {
            let at = self.index;
            let name = self.view.entry(at)?;
            self.index = self.view.tape.entry(at + 1)?.next;
            if name.kind == Kind::Name {
                let raw = Tape::raw(self.view.text, name);
                let name = if name.escaped {
                    Cow::Owned(Unescape::new(raw).collect())
                } else {
                    Cow::Borrowed(raw)
                };
                return Some((name, TapeNode::At(self.view, at + 1)));
            }
        }
        None
    }
}

impl<'a> Array<'a, TapeJson> for Members<'a> {
    type Node = TapeNode<'a>;
    type ElementsIter = ElementsIter<'a>;

    fn len(&self) -> usize {
        self.entry.count as usize
    }

    fn elements(&self) -> ElementsIter<'a> {
        ElementsIter {
            view: self.view,
            index: self.index + 1,
            end: self.entry.next,
        }
    }

    fn is_unique(&self) -> bool {
        let elements: Vec<TapeNode<'a>> = self.elements().collect();
        if elements.len() <= PAIRWISE_ELEMENTS_MAX {
            return elements.iter().enumerate().all(|(position, element)| {
                !elements
                    .iter()
                    .skip(position + 1)
                    .any(|later| element.equals(*later))
            });
        }
        // Keyed per process, so that a payload cannot be built to collide.
        let state = RandomState::new();
        let mut hashed: Vec<(u64, TapeNode<'a>)> = elements
            .into_iter()
            .map(|element| (element.hash_with(&state), element))
            .collect();
        hashed.sort_unstable_by_key(|(hash, _)| *hash);
        hashed.chunk_by(|(a, _), (b, _)| a == b).all(|alike| {
            alike.iter().enumerate().all(|(position, (_, element))| {
                !alike
                    .iter()
                    .skip(position + 1)
                    .any(|(_, later)| element.equals(*later))
            })
        })
    }
}

/// Elements in payload order.
#[derive(Debug)]
pub(super) struct ElementsIter<'a> {
    view: &'a View<'a>,
    index: u32,
    end: u32,
}

impl<'a> Iterator for ElementsIter<'a> {
    type Item = TapeNode<'a>;

    fn next(&mut self) -> Option<TapeNode<'a>> {
        if self.index >= self.end {
            return None;
        }
        let at = self.index;
        self.index = self.view.entry(at)?.next;
        Some(TapeNode::At(self.view, at))
    }
}

/// A number as written in the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct TapeNumber<'a>(&'a str);

impl JsonNumber for TapeNumber<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn to_number(&self) -> Cow<'_, Number> {
        let number = self
            .as_u64()
            .map(Number::from)
            .or_else(|| self.as_i64().map(Number::from))
            .or_else(|| self.as_f64().and_then(Number::from_f64));
        Cow::Owned(number.unwrap_or_else(|| Number::from(0)))
    }

    fn is_integer(&self) -> bool {
        !self.0.contains(['.', 'e', 'E'])
            || self.as_f64().is_some_and(|number| number.fract() == 0.0)
    }
}

/// Arrays up to this size are compared pair by pair.
const PAIRWISE_ELEMENTS_MAX: usize = 16;
