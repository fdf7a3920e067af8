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

use super::patterns::{Cost, Costs};
use super::tape::{Entry, Kind, SCANNED_MEMBERS_MAX, Tape, Unescape, compare_raw, name_hash};

/// The tape as a representation of JSON.
#[derive(Debug)]
pub(super) struct TapeJson;

/// A parsed payload under judgement: its text, its positions, and how often it may be looked at.
///
/// Schemas can make a validator look at a value as often as there are ways through their
/// alternatives, which grows with the power of the payload's depth. A validator cannot be stopped,
/// so past the budget every value looks like `null`, which ends the work at once; the verdict is
/// then no verdict, see [`View::is_exhausted`]. The same holds for what matching its texts with
/// regular expressions may take.
#[derive(Debug)]
pub(super) struct View<'a> {
    text: &'a str,
    tape: &'a Tape,
    entries: &'a [Entry],
    costs: Costs,
    steps_left: Cell<u64>,
    matching_left: Cell<u64>,
}

/// What judging a payload may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Looks at its values.
    pub(super) steps: u64,
    /// Places of regular expressions that its bytes are compared at.
    pub(super) matching: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a str, tape: &'a Tape, budget: Budget, costs: Costs) -> Self {
        Self {
            text,
            tape,
            entries: tape.entries(),
            costs,
            steps_left: Cell::new(budget.steps),
            matching_left: Cell::new(budget.matching),
        }
    }

    /// For looking at values without a schema.
    pub(super) fn unlimited(text: &'a str, tape: &'a Tape) -> Self {
        let budget = Budget {
            steps: u64::MAX,
            matching: u64::MAX,
        };
        Self::new(text, tape, budget, Costs::default())
    }

    /// The budget is used up: what was answered meanwhile means nothing.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.steps_left.get() == 0
    }

    /// That was because of regular expressions.
    pub(super) const fn is_matching_exhausted(&self) -> bool {
        self.matching_left.get() == 0
    }

    /// Steps taken of a budget.
    pub(super) const fn spent(&self, budget: Budget) -> u64 {
        budget.steps.saturating_sub(self.steps_left.get())
    }

    /// Pays for matching a text; false when that is more than is left.
    #[inline]
    fn pay(&self, cost: Cost, text: &str) -> bool {
        cost.is_nothing() || self.pay_for(cost, text)
    }

    #[inline(never)]
    fn pay_for(&self, cost: Cost, text: &str) -> bool {
        let left = self.matching_left.get().saturating_sub(cost.of(text.len()));
        self.matching_left.set(left);
        if left == 0 {
            self.steps_left.set(0);
        }
        left > 0
    }

    /// Takes a step; false when none is left.
    #[inline]
    fn step(&self) -> bool {
        let left = self.steps_left.get();
        self.steps_left.set(left.saturating_sub(1));
        left > 0
    }

    /// Looks at a value, for one step.
    #[inline]
    fn place(&'a self, index: u32) -> Option<Place<'a>> {
        let entry = self.entries.get(index as usize)?;
        self.step().then_some(Place { view: self, entry })
    }
}

/// A value of a payload under judgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    view: &'a View<'a>,
    entry: &'a Entry,
}

/// One value of a payload, or a member name standing as a string.
#[derive(Debug, Clone, Copy)]
pub(super) enum TapeNode<'a> {
    At(Place<'a>),
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
        view.place(0).map_or(Self::Name(""), Self::At)
    }

    /// First byte of this value in the payload.
    pub(super) fn offset(self) -> usize {
        self.span().0
    }

    /// First byte and the byte after the last one.
    pub(super) fn span(self) -> (usize, usize) {
        match self {
            Self::At(Place { entry, .. }) => (entry.start as usize, entry.end as usize),
            Self::Name(_) => (0, 0),
        }
    }

    /// Looks at what it is, for one step.
    #[inline]
    fn kind(self) -> Kind {
        match self {
            Self::At(Place { view, entry, .. }) if view.step() => entry.kind,
            Self::Name(_) => Kind::String,
            Self::At(_) => Kind::Null,
        }
    }

    /// The place of a value that is of this kind.
    #[inline]
    fn place_of(self, kind: Kind) -> Option<Place<'a>> {
        match self {
            Self::At(place) if place.view.step() && place.entry.kind == kind => Some(place),
            _ => None,
        }
    }

    #[inline]
    fn container(self, kind: Kind) -> Option<Members<'a>> {
        let place = self.place_of(kind)?;
        Some(Members {
            expected: Cell::new(place.entry.index + 1),
            place,
        })
    }

    /// The string as written, and whether that holds escapes.
    #[inline]
    fn raw(self) -> Option<(&'a str, bool)> {
        if let Self::Name(name) = self {
            return Some((name, false));
        }
        let Place { view, entry } = self.place_of(Kind::String)?;
        Some((entry.raw(view.text), entry.is_marked))
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
            Kind::String => state.hash_one(self.as_string()),
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

    #[inline]
    fn as_object(&self) -> Option<Members<'a>> {
        self.container(Kind::Object)
    }

    #[inline]
    fn as_array(&self) -> Option<Members<'a>> {
        self.container(Kind::Array)
    }

    #[inline]
    fn as_string(&self) -> Option<Cow<'a, str>> {
        let (raw, escaped) = self.raw()?;
        // Who asks for a text may match it.
        if let Self::At(Place { view, .. }) = self
            && !view.pay(view.costs.text, raw)
        {
            return None;
        }
        Some(unescaped(raw, escaped))
    }

    #[inline]
    fn as_number(&self) -> Option<TapeNumber<'a>> {
        self.place_of(Kind::Number).map(TapeNumber)
    }

    #[inline]
    fn as_boolean(&self) -> Option<bool> {
        match self.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    #[inline]
    fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    #[inline]
    fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    #[inline]
    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::True | Kind::False => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::String => JsonType::String,
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

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        let (raw, escaped) = self.raw()?;
        // A character takes one to four bytes, or twelve as a pair of escapes.
        let most = u64::try_from(raw.len()).unwrap_or(u64::MAX);
        let fewest = most.div_ceil(if escaped { 12 } else { 4 });
        if most < min || fewest > max {
            return Some(false);
        }
        if min <= fewest && most <= max {
            return Some(true);
        }
        self.string_length()
            .map(|length| (min..=max).contains(&length))
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
            Self::At(Place { view, entry }) => Some(NodeIdentity::tagged(
                std::ptr::from_ref::<View<'_>>(view) as usize,
                entry.index,
            )),
            Self::Name(_) => None,
        }
    }
}

/// The elements of an array, or the members of an object.
#[derive(Debug, Clone)]
pub(super) struct Members<'a> {
    place: Place<'a>,
    /// The member after the last one found: schemas and payloads often have one order.
    expected: Cell<u32>,
}

impl<'a> Members<'a> {
    /// Where a member's name stands beside a key, in the order of hashes.
    fn compare(&self, member: &Entry, key: &str, hash: u32) -> Ordering {
        let name = &member.name;
        name.hash
            .cmp(&hash)
            .then_with(|| compare_raw(name.raw(self.place.view.text), name.is_escaped, key, false))
    }

    /// Elements, or members with duplicates counted once.
    pub(super) const fn count(&self) -> usize {
        self.place.entry.count as usize
    }

    /// The member called `key`.
    pub(super) fn member(&self, key: &str) -> Option<TapeNode<'a>> {
        self.hashed_member(key, name_hash(key.as_bytes()))
    }

    fn hashed_member(&self, key: &str, hash: u32) -> Option<TapeNode<'a>> {
        let Place { view, entry } = self.place;
        let is_found = |member: &Entry| {
            member.name.hash == hash
                && !member.is_replaced
                && self.compare(member, key, hash).is_eq()
        };
        let found = |place: Place<'a>| {
            self.expected.set(place.entry.next);
            TapeNode::At(place)
        };
        let expected = self.expected.get();
        if expected < entry.next {
            let place = view.place(expected)?;
            if is_found(place.entry) {
                return Some(found(place));
            }
        }
        if entry.count > SCANNED_MEMBERS_MAX {
            let members = view.tape.sorted_members(entry);
            let position = members
                .binary_search_by(|member| match view.place(*member) {
                    Some(member) => self.compare(member.entry, key, hash),
                    None => Ordering::Less,
                })
                .ok()?;
            return view.place(*members.get(position)?).map(found);
        }
        let mut at = entry.index + 1;
        while at < entry.next {
            let place = view.place(at)?;
            if is_found(place.entry) {
                return Some(found(place));
            }
            at = place.entry.next;
        }
        None
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
        self.count()
    }

    fn get(&self, key: &Key) -> Option<TapeNode<'a>> {
        self.hashed_member(&key.name, key.hash)
    }

    #[inline]
    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.elements())
    }
}

/// Members in payload order, replaced duplicates left out.
#[derive(Debug)]
pub(super) struct MembersIter<'a>(ElementsIter<'a>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (Cow<'a, str>, TapeNode<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let place @ Place { view, entry } = self.0.next_place()?;
        if entry.is_replaced || entry.name.is_escaped || !view.costs.name.is_nothing() {
            return self.next_with_care(place);
        }
        let name = Cow::Borrowed(entry.name.raw(view.text));
        Some((name, TapeNode::At(place)))
    }
}

impl<'a> MembersIter<'a> {
    /// The member at `place` or, if it is replaced, the next one that is not.
    #[inline(never)]
    fn next_with_care(&mut self, mut place: Place<'a>) -> Option<(Cow<'a, str>, TapeNode<'a>)> {
        while place.entry.is_replaced {
            place = self.0.next_place()?;
        }
        let Place { view, entry } = place;
        let raw = entry.name.raw(view.text);
        if !view.pay(view.costs.name, raw) {
            return None;
        }
        Some((unescaped(raw, entry.name.is_escaped), TapeNode::At(place)))
    }
}

impl<'a> Array<'a, TapeJson> for Members<'a> {
    type Node = TapeNode<'a>;
    type ElementsIter = ElementsIter<'a>;

    fn len(&self) -> usize {
        self.count()
    }

    #[inline]
    fn elements(&self) -> ElementsIter<'a> {
        ElementsIter {
            view: self.place.view,
            index: self.place.entry.index + 1,
            end: self.place.entry.next,
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

/// The text that a string stands for.
#[inline]
fn unescaped(raw: &str, is_escaped: bool) -> Cow<'_, str> {
    #[inline(never)]
    fn undone(raw: &str) -> Cow<'_, str> {
        Cow::Owned(Unescape::new(raw).collect())
    }
    if is_escaped {
        return undone(raw);
    }
    Cow::Borrowed(raw)
}

/// Elements in payload order.
#[derive(Debug)]
pub(super) struct ElementsIter<'a> {
    view: &'a View<'a>,
    index: u32,
    end: u32,
}

impl<'a> ElementsIter<'a> {
    #[inline]
    fn next_place(&mut self) -> Option<Place<'a>> {
        if self.index >= self.end {
            return None;
        }
        let place = self.view.place(self.index)?;
        self.index = place.entry.next;
        Some(place)
    }
}

impl<'a> Iterator for ElementsIter<'a> {
    type Item = TapeNode<'a>;

    #[inline]
    fn next(&mut self) -> Option<TapeNode<'a>> {
        self.next_place().map(TapeNode::At)
    }
}

/// A number as written in the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct TapeNumber<'a>(Place<'a>);

impl<'a> TapeNumber<'a> {
    fn text(self) -> &'a str {
        let Place { view, entry } = self.0;
        view.text
            .get(entry.start as usize..entry.end as usize)
            .unwrap_or_default()
    }

    /// It has neither a fraction nor an exponent.
    #[inline]
    const fn is_whole(self) -> bool {
        !self.0.entry.is_marked
    }

    /// The number as an integer, if it is written as one that fits.
    fn as_integer<I: std::str::FromStr>(self) -> Option<I> {
        if !self.is_whole() {
            return None;
        }
        self.text().parse().ok()
    }
}

impl JsonNumber for TapeNumber<'_> {
    #[inline]
    fn as_u64(&self) -> Option<u64> {
        self.as_integer()
    }

    #[inline]
    fn as_i64(&self) -> Option<i64> {
        self.as_integer()
    }

    fn as_f64(&self) -> Option<f64> {
        self.text().parse().ok()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.text())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        let number = self
            .as_u64()
            .map(Number::from)
            .or_else(|| self.as_i64().map(Number::from))
            .or_else(|| self.as_f64().and_then(Number::from_f64));
        Cow::Owned(number.unwrap_or_else(|| Number::from(0)))
    }

    #[inline]
    fn is_integer(&self) -> bool {
        self.is_whole() || self.as_f64().is_some_and(|number| number.fract() == 0.0)
    }

    #[inline]
    fn is_written_as_integer(&self) -> bool {
        self.is_whole()
    }
}

/// Arrays up to this size are compared pair by pair.
const PAIRWISE_ELEMENTS_MAX: usize = 16;
