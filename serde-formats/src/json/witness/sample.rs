//! Values that schemas allow, the plainest first, and then those on the edges of a [`Pool`].
//!
//! What is made here is likely to fit, not certain to: `not`, `oneOf`, `unevaluated…` and the like
//! are left to the judgement of whole records.
//! Next: `scalars.rs`, numbers and strings.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::model::{ArrayClass, Model, NodeId, ObjectClass, Rest};
use super::pool::Pool;
use super::shape::{self, Shape, Types};
use super::text;

/// Tells whether a pattern is found in a text.
pub(super) type Matcher = Box<dyn Fn(&str) -> bool>;

/// Makes values for the schemas of one model.
pub(super) struct Maker<'m> {
    model: &'m Model,
    pub(super) pool: Pool,
    pub(super) matchers: HashMap<String, Option<Matcher>>,
    /// Lists of values still to be made: schemas multiply.
    lists_left: usize,
}

/// Which schemas a member has to fit.
pub(super) enum Member {
    Forbidden,
    Schemas(Vec<NodeId>),
}

/// Lists of values made in one search.
const LISTS_MAX: usize = 8000;
/// Values made for one value, by nesting: the deeper, the plainer.
const WIDTHS: [usize; 7] = [400, 24, 8, 3, 1, 1, 1];
/// Different items made for one array.
const DISTINCT_MAX: usize = 64;
/// Longest string or array made to satisfy a lower bound.
pub(super) const LENGTH_MAX: usize = 5001;
/// Items tried one by one.
const POSITIONS_MAX: usize = 5;
/// Members tried one by one.
const MEMBERS_MAX: usize = 32;

impl<'m> Maker<'m> {
    pub(super) fn new(model: &'m Model, pool: Pool) -> Self {
        Self {
            model,
            pool,
            matchers: HashMap::new(),
            lists_left: LISTS_MAX,
        }
    }

    /// The ways to fit all of some schemas.
    pub(super) fn shapes(&self, nodes: &[NodeId], present: &[String]) -> Vec<Shape<'m>> {
        shape::shapes(self.model, nodes, present)
    }

    /// Up to `most` different values for all of `nodes`, nested `depth` deep in what is made.
    pub(super) fn values(&mut self, nodes: &[NodeId], most: usize, depth: usize) -> Vec<Value> {
        self.values_with(nodes, &[], most, depth)
    }

    /// The same, with members that have to be there.
    pub(super) fn values_with(
        &mut self,
        nodes: &[NodeId],
        present: &[String],
        most: usize,
        depth: usize,
    ) -> Vec<Value> {
        let most = most.min(WIDTHS.get(depth).copied().unwrap_or(0));
        self.list(nodes, present, most, depth)
    }

    /// Up to `most` values at a depth where values are plainer otherwise: items that must differ.
    fn distinct(&mut self, nodes: &[NodeId], most: usize, depth: usize) -> Vec<Value> {
        if depth >= WIDTHS.len() {
            return Vec::new();
        }
        self.list(nodes, &[], most.min(DISTINCT_MAX), depth)
    }

    fn list(
        &mut self,
        nodes: &[NodeId],
        present: &[String],
        most: usize,
        depth: usize,
    ) -> Vec<Value> {
        let mut values: Vec<Value> = Vec::new();
        if most == 0 || self.lists_left == 0 {
            return values;
        }
        self.lists_left -= 1;
        let shapes = self.shapes(nodes, present);
        let share = if most == 1 {
            1
        } else {
            (most / shapes.len().max(1)).max(2)
        };
        for shape in &shapes {
            for value in self.of_shape(shape, share, depth) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            if values.len() >= most {
                break;
            }
        }
        values.truncate(most);
        values
    }

    fn first(&mut self, nodes: &[NodeId], depth: usize) -> Option<Value> {
        self.values(nodes, 1, depth).into_iter().next()
    }

    fn of_shape(&mut self, shape: &Shape<'m>, most: usize, depth: usize) -> Vec<Value> {
        if let Some(literals) = &shape.literals {
            let fits = |value: &&&Value| shape.types.has(Types::of(value));
            return literals
                .iter()
                .filter(fits)
                .take(most)
                .map(|value| (*value).clone())
                .collect();
        }
        let is_free = shape.strings.is_empty()
            && shape.numbers.is_empty()
            && shape.objects.is_empty()
            && shape.arrays.is_empty();
        let mut lists: Vec<Vec<Value>> = Vec::new();
        if is_free {
            let literals = self.pool.literals.iter();
            lists.push(
                literals
                    .filter(|value| shape.types.has(Types::of(value)))
                    .cloned()
                    .collect(),
            );
        }
        if shape.types.has(Types::NULL) {
            lists.push(vec![Value::Null]);
        }
        if shape.types.has(Types::BOOLEAN) {
            lists.push(vec![Value::from(false), Value::from(true)]);
        }
        if shape.types.has(Types::NUMBER) {
            lists.push(self.numbers(&shape.numbers));
        }
        if shape.types.has(Types::STRING) {
            lists.push(self.strings(&shape.strings, most));
        }
        if shape.types.has(Types::ARRAY) {
            lists.push(self.arrays(&shape.arrays, most, depth));
        }
        if shape.types.has(Types::OBJECT) {
            lists.push(self.objects(shape, most, depth));
        }
        // In turns, so that every type gets its share.
        let mut values = Vec::new();
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        for position in 0..longest {
            for list in &mut lists {
                if values.len() >= most {
                    return values;
                }
                if let Some(value) = list.get_mut(position) {
                    values.push(std::mem::take(value));
                }
            }
        }
        values
    }

    fn arrays(&mut self, classes: &[&ArrayClass], most: usize, depth: usize) -> Vec<Value> {
        let count = |bound: Option<i64>| bound.and_then(|bound| usize::try_from(bound).ok());
        let least = classes
            .iter()
            .filter_map(|class| count(class.min_items))
            .max()
            .unwrap_or(0);
        let greatest = classes
            .iter()
            .filter_map(|class| count(class.max_items))
            .min();
        let is_unique = classes.iter().any(|class| class.unique_items);
        let mut counts = vec![least, 0, 1, 2];
        counts.extend(classes.iter().map(|class| class.items.len()));
        if most > 1 {
            counts.extend(greatest);
            counts.extend(&self.pool.counts);
        }
        counts.retain(|count| {
            *count >= least
                && *count <= LENGTH_MAX
                && greatest.is_none_or(|greatest| *count <= greatest)
        });
        // Every count once before any count in several ways.
        let mut values: Vec<Value> = Vec::new();
        let mut plain: Vec<Vec<Value>> = Vec::new();
        for count in counts {
            let items = self.items(classes, count, is_unique, depth);
            if let Some(items) = items.filter(|items| !plain.contains(items)) {
                values.push(Value::Array(items.clone()));
                plain.push(items);
            }
            if most == 1 && !values.is_empty() {
                return values;
            }
        }
        for items in plain {
            if values.len() < most {
                self.vary(classes, &items, is_unique, most, depth, &mut values);
            }
        }
        values.truncate(most);
        values
    }

    /// Adds arrays like `plain` with one item changed, or all items the same.
    fn vary(
        &mut self,
        classes: &[&ArrayClass],
        plain: &[Value],
        is_unique: bool,
        most: usize,
        depth: usize,
        values: &mut Vec<Value>,
    ) {
        let mut add = |items: Vec<Value>| {
            let value = Value::Array(items);
            if !values.contains(&value) {
                values.push(value);
            }
        };
        let positions = plain.len().min(POSITIONS_MAX);
        for position in 0..positions {
            let Some(nodes) = item_nodes(classes, position) else {
                return;
            };
            for value in self.values(&nodes, (most / 4).max(2), depth + 1) {
                if position + 1 == positions && !is_unique && plain.len() > 1 {
                    add(vec![value.clone(); plain.len()]);
                }
                let mut items = plain.to_vec();
                if let Some(place) = items.get_mut(position) {
                    *place = value;
                }
                add(items);
            }
        }
    }

    /// `count` items that fit, different ones where they have to be; with what `contains` asks
    /// for where that is possible.
    fn items(
        &mut self,
        classes: &[&ArrayClass],
        count: usize,
        is_unique: bool,
        depth: usize,
    ) -> Option<Vec<Value>> {
        let mut items: Vec<Value> = Vec::new();
        let mut choices: HashMap<Vec<NodeId>, Vec<Value>> = HashMap::new();
        for position in 0..count {
            let mut nodes = item_nodes(classes, position)?;
            for class in classes {
                let wanted = class.min_contains.unwrap_or(1);
                let wanted = usize::try_from(wanted).unwrap_or(0);
                if let Some(id) = class.contains
                    && count - position <= wanted
                {
                    nodes.push(id);
                }
            }
            if !choices.contains_key(&nodes) {
                let made = if is_unique {
                    self.distinct(&nodes, count, depth + 1)
                } else {
                    self.values(&nodes, 1, depth + 1)
                };
                choices.insert(nodes.clone(), made);
            }
            let choice = choices.get(&nodes)?;
            let value = if is_unique {
                choice.iter().find(|value| !items.contains(value))?
            } else {
                choice.first()?
            };
            items.push(value.clone());
        }
        Some(items)
    }

    /// An array with `value` at `position` and what else has to be there.
    pub(super) fn array_with(
        &mut self,
        shape: &Shape<'m>,
        position: usize,
        value: &Value,
    ) -> Option<Value> {
        let least = shape
            .arrays
            .iter()
            .filter_map(|class| class.min_items)
            .max();
        let least = usize::try_from(least.unwrap_or(0)).ok()?.min(LENGTH_MAX);
        let is_unique = shape.arrays.iter().any(|class| class.unique_items);
        let contained = shape.arrays.iter().any(|class| class.contains.is_some());
        let count = (position + 1).max(least) + usize::from(contained);
        let fits = |count: usize| {
            shape.arrays.iter().all(|class| {
                let most = class.max_items.and_then(|most| usize::try_from(most).ok());
                most.is_none_or(|most| count <= most)
            })
        };
        let count = if fits(count) {
            count
        } else {
            count - usize::from(contained)
        };
        let mut items = self.items(&shape.arrays, count, is_unique, 0)?;
        if let Some(same) = items.iter().position(|item| is_unique && item == value) {
            items.swap(same, position);
        }
        *items.get_mut(position)? = value.clone();
        Some(Value::Array(items))
    }

    /// Which schemas apply to a member of an object of this shape.
    pub(super) fn member(&mut self, shape: &Shape<'m>, name: &str) -> Member {
        let mut nodes = Vec::new();
        let mut is_named = false;
        for class in &shape.objects {
            let (named, patterned) = self.named(class, name);
            if named.is_empty() && patterned.is_empty() {
                match class.additional {
                    Rest::Allowed => {}
                    Rest::Forbidden => return Member::Forbidden,
                    Rest::Schema(id) => nodes.push(id),
                }
            } else {
                is_named = true;
            }
            nodes.extend(named);
            nodes.extend(patterned);
        }
        if !is_named {
            for class in &shape.objects {
                match class.unevaluated {
                    Rest::Allowed => {}
                    Rest::Forbidden => return Member::Forbidden,
                    Rest::Schema(id) => nodes.push(id),
                }
            }
        }
        Member::Schemas(nodes)
    }

    /// The schemas `class` has for a name, and for patterns the name matches.
    fn named(&mut self, class: &ObjectClass, name: &str) -> (Vec<NodeId>, Vec<NodeId>) {
        let own = class.properties.iter().filter(|(own, _)| own == name);
        let own = own.map(|(_, id)| *id).collect();
        let mut patterned = Vec::new();
        for (pattern, id) in &class.patterns {
            if self.is_match(pattern, name) {
                patterned.push(*id);
            }
        }
        (own, patterned)
    }

    /// Names that are likely no keyword's, then those that some keyword mentions.
    pub(super) fn fresh_names(&mut self, shape: &Shape<'m>) -> Vec<String> {
        let (mut names, mut mentioned) = (Vec::new(), Vec::new());
        let fresh = ["extra", "other", "p0", "p1", "x-1", "zz"].map(str::to_owned);
        let made = self.made_names(shape, 4);
        for name in fresh.into_iter().chain(made).chain(self.pool.names.clone()) {
            if self.pool.names.contains(&name) && !is_odd(&name) {
                mentioned.push(name);
            } else {
                names.push(name);
            }
        }
        names.append(&mut mentioned);
        names
    }

    /// Names made to fit patterns and `propertyNames`, up to `most` for each.
    fn made_names(&mut self, shape: &Shape<'m>, most: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut numbered = |stems: Vec<String>| {
            let longer = stems.first().cloned().unwrap_or_default();
            names.extend(stems);
            names.extend((0..most).map(|number| format!("{longer}{number}")));
        };
        for class in &shape.objects {
            for (pattern, _) in &class.patterns {
                numbered(text::matching(pattern, &[5, 6, 7]));
            }
            if let Some(id) = class.property_names {
                let stems = self.values(&[id], 24, 1).into_iter();
                numbered(
                    stems
                        .filter_map(|name| name.as_str().map(str::to_owned))
                        .collect(),
                );
            }
        }
        names
    }

    fn objects(&mut self, shape: &Shape<'m>, most: usize, depth: usize) -> Vec<Value> {
        let mut values: Vec<Value> = Vec::new();
        let mut add = |value: Option<Value>| {
            if let Some(value) = value
                && !values.contains(&value)
            {
                values.push(value);
            }
        };
        add(self.object_with(shape, None, depth));
        if most == 1 {
            return values;
        }
        let mut names: Vec<String> = Vec::new();
        let declared = shape.objects.iter().flat_map(|class| &class.properties);
        for name in declared.map(|(name, _)| name).chain(&self.pool.names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names.truncate(MEMBERS_MAX);
        // Counts and everything at once are few; members one by one are many.
        add(self.full_object(shape, &names, depth));
        for count in self.pool.counts.clone() {
            let grown = self.grown_object(shape, count, depth);
            add(grown.map(Value::Object));
        }
        let share = (most / names.len().max(1)).clamp(2, 40);
        for name in &names {
            let Member::Schemas(nodes) = self.member(shape, name) else {
                continue;
            };
            for value in self.values(&nodes, share, depth + 1) {
                add(self.object_with(shape, Some((name, &value)), depth));
            }
        }
        values.truncate(most);
        values
    }

    /// An object with `forced` and what else has to be there.
    pub(super) fn object_with(
        &mut self,
        shape: &Shape<'m>,
        forced: Option<(&str, &Value)>,
        depth: usize,
    ) -> Option<Value> {
        let members = self.members(shape, forced, depth)?;
        let least = shape
            .objects
            .iter()
            .filter_map(|class| class.min_properties)
            .max();
        let least = usize::try_from(least.unwrap_or(0)).ok()?;
        self.grow(shape, members, least, depth).map(Value::Object)
    }

    fn members(
        &mut self,
        shape: &Shape<'m>,
        forced: Option<(&str, &Value)>,
        depth: usize,
    ) -> Option<Map<String, Value>> {
        let mut shape = shape.clone();
        let mut names = shape.present.clone();
        let required = shape.objects.iter().flat_map(|class| &class.required);
        names.extend(required.cloned());
        names.extend(forced.map(|(name, _)| name.to_owned()));
        let mut members = Map::new();
        let mut at = 0;
        while let Some(name) = names.get(at).cloned() {
            at += 1;
            if members.contains_key(&name) {
                continue;
            }
            for class in shape.objects.clone() {
                let dependent = class
                    .dependent_required
                    .iter()
                    .filter(|(on, _)| *on == name);
                names.extend(dependent.flat_map(|(_, names)| names).cloned());
                let dependent = class.dependent_schemas.iter().filter(|(on, _)| *on == name);
                for (_, id) in dependent {
                    let ways = self.shapes(&[*id], &[]);
                    for class in ways.into_iter().take(1).flat_map(|way| way.objects) {
                        names.extend(class.required.iter().cloned());
                        shape.objects.push(class);
                    }
                }
            }
            let value = match forced {
                Some((forced, value)) if forced == name => value.clone(),
                _ => match self.member(&shape, &name) {
                    Member::Forbidden => return None,
                    Member::Schemas(nodes) => self.first(&nodes, depth + 1)?,
                },
            };
            members.insert(name, value);
        }
        Some(members)
    }

    /// Adds members until there are `least`.
    fn grow(
        &mut self,
        shape: &Shape<'m>,
        mut members: Map<String, Value>,
        least: usize,
        depth: usize,
    ) -> Option<Map<String, Value>> {
        if members.len() >= least {
            return Some(members);
        }
        let declared = shape.objects.iter().flat_map(|class| &class.properties);
        let mut names: Vec<String> = declared.map(|(name, _)| name.clone()).collect();
        names.extend(self.made_names(shape, least.min(LENGTH_MAX)));
        if shape
            .objects
            .iter()
            .all(|class| class.property_names.is_none())
        {
            names.extend((0..least.min(LENGTH_MAX)).map(|number| format!("p{number}")));
        }
        for name in names {
            if members.len() >= least {
                break;
            }
            if members.contains_key(&name) {
                continue;
            }
            if let Member::Schemas(nodes) = self.member(shape, &name)
                && let Some(value) = self.first(&nodes, depth + 1)
            {
                members.insert(name, value);
            }
        }
        (members.len() >= least).then_some(members)
    }

    fn grown_object(
        &mut self,
        shape: &Shape<'m>,
        count: usize,
        depth: usize,
    ) -> Option<Map<String, Value>> {
        let members = self.members(shape, None, depth)?;
        self.grow(shape, members, count, depth)
    }

    fn full_object(&mut self, shape: &Shape<'m>, names: &[String], depth: usize) -> Option<Value> {
        let mut members = self.members(shape, None, depth)?;
        for name in names {
            if !members.contains_key(name)
                && shape
                    .objects
                    .iter()
                    .any(|class| class.properties.iter().any(|(own, _)| own == name))
                && let Member::Schemas(nodes) = self.member(shape, name)
                && let Some(value) = self.first(&nodes, depth + 1)
            {
                members.insert(name.clone(), value);
            }
        }
        Some(Value::Object(members))
    }
}

/// Names that only stand for odd names.
fn is_odd(name: &str) -> bool {
    matches!(name, "extra" | "~" | "A b" | "")
}

/// The schemas for the item at `position`; `None` where no item may be.
fn item_nodes(classes: &[&ArrayClass], position: usize) -> Option<Vec<NodeId>> {
    let mut nodes = Vec::new();
    for class in classes {
        if let Some(id) = class.items.get(position) {
            nodes.push(*id);
            continue;
        }
        nodes.extend(class.all_items);
        if class.all_items.is_some() {
            continue;
        }
        for rest in [class.additional, class.unevaluated] {
            match rest {
                Rest::Allowed => {}
                Rest::Forbidden => return None,
                Rest::Schema(id) => nodes.push(id),
            }
        }
    }
    Some(nodes)
}
