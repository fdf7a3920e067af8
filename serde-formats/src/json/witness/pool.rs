//! The edges of schemas: every bound, length, name and constant in them. Values on the edges of
//! one schema are the ones that break another.

use std::collections::HashSet;

use serde_json::{Number, Value};

use super::super::model::{ArrayClass, Class, Model, NodeId, ObjectClass, Rest};
use super::sample::Maker;
use super::text;

/// What values are made of besides what the schema at hand asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    pub(super) numbers: Vec<Number>,
    /// Lengths of strings, in characters.
    pub(super) lengths: Vec<usize>,
    /// Counts of members and items.
    pub(super) counts: Vec<usize>,
    pub(super) texts: Vec<String>,
    /// Names of members.
    pub(super) names: Vec<String>,
    pub(super) literals: Vec<Value>,
    /// Schemas that others mention without asking for them: negated, contained, conditions.
    mentioned: Vec<NodeId>,
    /// Schemas of member names.
    naming: Vec<NodeId>,
}

/// Schemas looked at for one pool.
const NODES_MAX: usize = 400;
/// Entries of each kind in a pool.
const ENTRIES_MAX: usize = 48;
/// Longest string or container tried because a bound says so.
const LENGTH_MAX: i64 = 5000;

impl Pool {
    /// Everything within reach of some schemas.
    pub(super) fn of(roots: &[(&Model, NodeId)]) -> Self {
        let mut pool = Self::default();
        let mut mentioned = Vec::new();
        for (model, root) in roots {
            pool.collect(model, *root);
            mentioned.push((
                *model,
                std::mem::take(&mut pool.mentioned),
                std::mem::take(&mut pool.naming),
            ));
        }
        for (model, nodes, naming) in mentioned {
            let mut maker = Maker::new(model, pool.clone());
            for node in nodes.into_iter().take(12) {
                for value in maker.values(&[node], 12, 1) {
                    push(&mut pool.literals, value);
                }
            }
            for node in naming.into_iter().take(4) {
                for value in maker.values(&[node], 6, 1) {
                    if let Value::String(name) = value {
                        push(&mut pool.names, name);
                    }
                }
            }
        }
        for name in ["extra", "~", "A b", ""] {
            push(&mut pool.names, name.to_owned());
        }
        for literal in [
            Value::Null,
            Value::from(false),
            Value::from(0),
            Value::from("a"),
            Value::Array(Vec::new()),
            Value::Object(serde_json::Map::new()),
            Value::from(0.5),
            Value::from(-1),
            Value::from(""),
            Value::from("~"),
            Value::from(1_000_000),
            Value::from(true),
        ] {
            push(&mut pool.literals, literal);
        }
        pool
    }

    fn collect(&mut self, model: &Model, root: NodeId) {
        let mut seen = HashSet::new();
        let mut queue = std::collections::VecDeque::from([root]);
        while let Some(id) = queue.pop_front() {
            if seen.len() >= NODES_MAX || !seen.insert(id) {
                continue;
            }
            let Some(node) = model.node(id) else { continue };
            match &node.class {
                Class::Reference(id) => queue.push_back(*id),
                Class::Combined(_, members) => queue.extend(members),
                Class::Conditional(class) => {
                    self.mentioned.extend(class.test);
                    queue.extend([class.test, class.then, class.otherwise].iter().flatten());
                }
                Class::Not(id) => {
                    self.mentioned.push(*id);
                    queue.push_back(*id);
                }
                Class::Enum(values) => {
                    for value in values.iter().take(ENTRIES_MAX) {
                        push(&mut self.literals, value.clone());
                    }
                }
                Class::Const(value) => push(&mut self.literals, value.clone()),
                Class::String(class) => {
                    for length in [class.min_length, class.max_length].into_iter().flatten() {
                        self.edges(length, true);
                    }
                    if let Some(pattern) = &class.pattern {
                        for text in text::matching(pattern, &[]).into_iter().take(8) {
                            push(&mut self.texts, text);
                        }
                    }
                }
                Class::Number(class) => {
                    let bounds = [
                        &class.minimum,
                        &class.maximum,
                        &class.exclusive_minimum,
                        &class.exclusive_maximum,
                        &class.multiple_of,
                    ];
                    for bound in bounds.into_iter().flatten() {
                        push(&mut self.numbers, bound.clone());
                    }
                }
                Class::Object(class) => self.object(class, &mut queue),
                Class::Array(class) => self.array(class, &mut queue),
                Class::Pending
                | Class::Empty
                | Class::True
                | Class::False
                | Class::Boolean
                | Class::Null => {}
            }
        }
    }

    fn object(&mut self, class: &ObjectClass, queue: &mut std::collections::VecDeque<NodeId>) {
        for count in [class.min_properties, class.max_properties] {
            count.into_iter().for_each(|count| self.edges(count, false));
        }
        for (name, id) in class.properties.iter().chain(&class.dependent_schemas) {
            push(&mut self.names, name.clone());
            queue.push_back(*id);
        }
        for (name, names) in &class.dependent_required {
            for name in names.iter().chain([name]) {
                push(&mut self.names, name.clone());
            }
        }
        for name in &class.required {
            push(&mut self.names, name.clone());
        }
        for (pattern, id) in &class.patterns {
            for name in text::matching(pattern, &[]).into_iter().take(4) {
                push(&mut self.names, name);
            }
            queue.push_back(*id);
        }
        for rest in [class.additional, class.unevaluated] {
            if let Rest::Schema(id) = rest {
                queue.push_back(id);
            }
        }
        self.naming.extend(class.property_names);
    }

    fn array(&mut self, class: &ArrayClass, queue: &mut std::collections::VecDeque<NodeId>) {
        for count in [
            class.min_items,
            class.max_items,
            class.min_contains,
            class.max_contains,
        ] {
            count.into_iter().for_each(|count| self.edges(count, false));
        }
        if let Ok(count) = i64::try_from(class.items.len()) {
            self.edges(count, false);
        }
        self.mentioned.extend(class.contains);
        queue.extend(&class.items);
        queue.extend(class.all_items);
        queue.extend(class.contains);
        for rest in [class.additional, class.unevaluated] {
            if let Rest::Schema(id) = rest {
                queue.push_back(id);
            }
        }
    }

    /// A bound and its neighbours.
    fn edges(&mut self, bound: i64, is_length: bool) {
        let entries = if is_length {
            &mut self.lengths
        } else {
            &mut self.counts
        };
        for bound in [bound, bound.saturating_add(1), bound.saturating_sub(1)] {
            if (0..=LENGTH_MAX).contains(&bound)
                && let Ok(bound) = usize::try_from(bound)
            {
                push(entries, bound);
            }
        }
    }
}

fn push<T: PartialEq>(entries: &mut Vec<T>, entry: T) {
    if entries.len() < ENTRIES_MAX && !entries.contains(&entry) {
        entries.push(entry);
    }
}
