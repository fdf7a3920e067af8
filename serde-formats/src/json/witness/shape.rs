//! What schemas ask together of one value: alternatives chosen, references followed, classes
//! sorted by type.

use serde_json::Value;

use super::super::model::{
    ArrayClass, Class, Criterion, Model, NodeId, NumberClass, ObjectClass, StringClass,
};

/// Types a value may have, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const NUMBER: Self = Self(4);
    pub(super) const STRING: Self = Self(8);
    pub(super) const ARRAY: Self = Self(16);
    pub(super) const OBJECT: Self = Self(32);
    const ALL: Self = Self(63);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }
}

/// One way to fit all of some schemas.
#[derive(Debug, Clone)]
pub(super) struct Shape<'m> {
    pub(super) types: Types,
    /// The only values there are, when an enumeration or constant says so.
    pub(super) literals: Option<Vec<&'m Value>>,
    pub(super) strings: Vec<&'m StringClass>,
    pub(super) numbers: Vec<&'m NumberClass>,
    pub(super) objects: Vec<&'m ObjectClass>,
    pub(super) arrays: Vec<&'m ArrayClass>,
    /// Members that must be there beyond those the classes require.
    pub(super) present: Vec<String>,
    is_never: bool,
    nodes_count: usize,
}

/// Ways looked at for one set of schemas.
const SHAPES_MAX: usize = 24;
/// Schemas in one way; deeper nests are taken as they are by then.
const SHAPE_NODES_MAX: usize = 96;

/// The ways to fit all of `nodes`, those without alternatives first.
pub(super) fn shapes<'m>(model: &'m Model, nodes: &[NodeId], present: &[String]) -> Vec<Shape<'m>> {
    let any = Shape {
        types: Types::ALL,
        literals: None,
        strings: Vec::new(),
        numbers: Vec::new(),
        objects: Vec::new(),
        arrays: Vec::new(),
        present: present.to_vec(),
        is_never: false,
        nodes_count: 0,
    };
    let mut found = Vec::new();
    // A worklist instead of recursion: schemas decide how many there are.
    let mut open = vec![(any, nodes.to_vec())];
    while let Some((mut shape, mut pending)) = open.pop() {
        if found.len() >= SHAPES_MAX {
            break;
        }
        let mut is_split = false;
        while let Some(id) = pending.pop() {
            shape.nodes_count += 1;
            let node = model.resolve(id).and_then(|id| model.node(id));
            let Some(node) = node.filter(|_| shape.nodes_count <= SHAPE_NODES_MAX) else {
                break;
            };
            if let Some(ways) = alternatives(&node.class) {
                for way in ways.into_iter().take(SHAPES_MAX).rev() {
                    let mut pending = pending.clone();
                    pending.extend(way);
                    open.push((shape.clone(), pending));
                }
                is_split = true;
                break;
            }
            shape.take(&node.class, &mut pending);
        }
        if !is_split && !shape.is_never {
            found.push(shape);
        }
        open.truncate(SHAPES_MAX * 4);
    }
    found
}

/// The sets of schemas of which one has to be fitted; `None` for a class without a choice.
fn alternatives(class: &Class) -> Option<Vec<Vec<NodeId>>> {
    match class {
        Class::Combined(Criterion::AnyOf | Criterion::OneOf, members) => {
            Some(members.iter().map(|member| vec![*member]).collect())
        }
        Class::Conditional(class) => {
            let holds = [class.test, class.then].into_iter().flatten().collect();
            let fails = class.otherwise.into_iter().collect();
            Some(vec![fails, holds])
        }
        _ => None,
    }
}

impl<'m> Shape<'m> {
    /// Adds what one class asks; members of `allOf` become pending.
    fn take(&mut self, class: &'m Class, pending: &mut Vec<NodeId>) {
        match class {
            Class::Combined(_, members) => pending.extend(members.iter().rev()),
            Class::False => self.is_never = true,
            Class::Boolean => self.narrow(Types::BOOLEAN),
            Class::Null => self.narrow(Types::NULL),
            Class::String(class) => {
                self.narrow(Types::STRING);
                self.strings.push(class);
            }
            Class::Number(class) => {
                self.narrow(Types::NUMBER);
                self.numbers.push(class);
            }
            Class::Object(class) => {
                self.narrow(Types::OBJECT);
                self.objects.push(class);
            }
            Class::Array(class) => {
                self.narrow(Types::ARRAY);
                self.arrays.push(class);
            }
            Class::Enum(values) => self.restrict(values.iter().collect()),
            Class::Const(value) => self.restrict(vec![value]),
            // What is negated is left to the judgement of the whole record.
            Class::Not(_)
            | Class::Pending
            | Class::Empty
            | Class::True
            | Class::Conditional(_)
            | Class::Reference(_) => {}
        }
    }

    /// Fewer types. Keywords of another type than `type` names do not narrow it, and the model
    /// does not tell those from a type: types that exclude each other are all kept.
    fn narrow(&mut self, types: Types) {
        let both = self.types.0 & types.0;
        self.types = Types(if both == 0 {
            self.types.0 | types.0
        } else {
            both
        });
    }

    fn restrict(&mut self, values: Vec<&'m Value>) {
        self.literals = Some(match self.literals.take() {
            None => values,
            Some(known) => known
                .into_iter()
                .filter(|value| values.contains(value))
                .collect(),
        });
    }
}
