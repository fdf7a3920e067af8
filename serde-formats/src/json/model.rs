//! A schema as the reference compares it: a graph of typed nodes instead of keywords.
//!
//! The reference loads JSON Schema into object-model classes and compares those, so what becomes
//! one class here decides the verdicts of `compatibility`. Payloads are never judged with it.
//! Next: `load.rs` builds the graph, `compatibility/` compares two of them.

use serde_json::{Number, Value};

use super::patterns::PatternTotals;

/// Index of a node in its [`Model`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

/// A loaded schema.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    /// With `$dynamicRef` only the payload tells which schema applies: then no way through the
    /// schemas is longer than there are schemas, which is this number. Zero without it.
    pub(super) dynamic_schemas: usize,
    /// Regular expressions, as often as they are written.
    pub(super) patterns: PatternTotals,
}

/// What judging one value can take, through references and combined schemas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burden {
    /// Most schemas one inside the other. Schemas on a cycle all count.
    pub(super) depth: usize,
    /// Schemas visited, as often as they are reached.
    pub(super) visits: u64,
}

/// One schema: what all classes share, and its class.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) id: Option<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) default: Option<Value>,
    /// `connect.type` is `bytes`: such nodes are interchangeable.
    pub(super) is_connect_bytes: bool,
    /// By which members of a combined schema are told apart.
    pub(super) fingerprint: Fingerprint,
    pub(super) class: Class,
}

/// A schema's text, reduced: equal for equal schemas whatever the order of their keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) hash: u64,
    /// A combined schema is in it, or it is of 2019-09 or later: the reference never takes two of
    /// those for equal.
    pub(super) never_equal: bool,
}

/// The classes that are compared.
#[derive(Debug, Clone, Default)]
pub(super) enum Class {
    /// Not loaded yet; gone when loading ends.
    #[default]
    Pending,
    Empty,
    True,
    False,
    Boolean,
    Null,
    String(StringClass),
    Number(NumberClass),
    Object(Box<ObjectClass>),
    Array(Box<ArrayClass>),
    Enum(Vec<Value>),
    Const(Value),
    Not(NodeId),
    Combined(Criterion, Vec<NodeId>),
    /// Never compared.
    Conditional(Conditional),
    Reference(NodeId),
}

/// How the members of a combined schema are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "these are the keywords")]
pub(super) enum Criterion {
    AllOf,
    AnyOf,
    OneOf,
}

impl Criterion {
    pub(super) const fn keyword(self) -> &'static str {
        match self {
            Self::AllOf => "allOf",
            Self::AnyOf => "anyOf",
            Self::OneOf => "oneOf",
        }
    }
}

/// `if`, `then` and `else`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditional {
    pub(super) test: Option<NodeId>,
    pub(super) then: Option<NodeId>,
    pub(super) otherwise: Option<NodeId>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct StringClass {
    pub(super) min_length: Option<i64>,
    pub(super) max_length: Option<i64>,
    pub(super) pattern: Option<String>,
    /// Never compared.
    pub(super) format: Option<String>,
    /// `type` names it; otherwise its keywords were met without one, and other types are allowed.
    pub(super) is_typed: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct NumberClass {
    pub(super) is_integer: bool,
    pub(super) minimum: Option<Number>,
    pub(super) maximum: Option<Number>,
    pub(super) exclusive_minimum: Option<Number>,
    pub(super) exclusive_maximum: Option<Number>,
    pub(super) multiple_of: Option<Number>,
    /// As for strings.
    pub(super) is_typed: bool,
}

/// Whether members or items that no keyword names are allowed, and under which schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Allowed,
    Forbidden,
    Schema(NodeId),
}

#[derive(Debug, Clone)]
pub(super) struct ObjectClass {
    pub(super) properties: Vec<(String, NodeId)>,
    pub(super) required: Vec<String>,
    pub(super) min_properties: Option<i64>,
    pub(super) max_properties: Option<i64>,
    pub(super) additional: Rest,
    pub(super) unevaluated: Rest,
    pub(super) patterns: Vec<(String, NodeId)>,
    pub(super) dependent_required: Vec<(String, Vec<String>)>,
    pub(super) dependent_schemas: Vec<(String, NodeId)>,
    /// Never compared.
    pub(super) property_names: Option<NodeId>,
    /// As for strings.
    pub(super) is_typed: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ArrayClass {
    pub(super) min_items: Option<i64>,
    pub(super) max_items: Option<i64>,
    pub(super) unique_items: bool,
    pub(super) all_items: Option<NodeId>,
    pub(super) items: Vec<NodeId>,
    pub(super) additional: Rest,
    pub(super) unevaluated: Rest,
    pub(super) min_contains: Option<i64>,
    pub(super) max_contains: Option<i64>,
    /// Never compared.
    pub(super) contains: Option<NodeId>,
    /// `additionalItems` has no positions before it: compared, but without a meaning.
    pub(super) is_rest_vain: bool,
    /// As for strings.
    pub(super) is_typed: bool,
}

impl Model {
    /// The node behind any chain of references; `None` for a chain that only leads to itself.
    pub(super) fn resolve(&self, mut id: NodeId) -> Option<NodeId> {
        for _ in 0..=self.nodes.len() {
            match self.node(id)?.class {
                Class::Reference(target) => id = target,
                _ => return Some(id),
            }
        }
        None
    }

    /// How much work one value of a payload can be; see [`Burden`].
    pub(super) fn burden(&self) -> Burden {
        let children: Vec<Vec<NodeId>> = self.nodes.iter().map(Node::same_value).collect();
        let mut parents: Vec<Vec<usize>> = vec![Vec::new(); children.len()];
        let mut waiting: Vec<usize> = children.iter().map(Vec::len).collect();
        for (parent, children) in children.iter().enumerate() {
            for child in children {
                if let Some(parents) = parents.get_mut(child.0 as usize) {
                    parents.push(parent);
                }
            }
        }
        // Children first; what is on a cycle, or leads to one, never becomes ready.
        let mut ready: Vec<usize> = (0..children.len())
            .filter(|node| waiting.get(*node) == Some(&0))
            .collect();
        let mut own = vec![
            Burden {
                depth: 1,
                visits: 1
            };
            children.len()
        ];
        let mut most = Burden {
            depth: 1,
            visits: 1,
        };
        let mut done = 0;
        while let Some(node) = ready.pop() {
            done += 1;
            let Some(burden) = own.get(node).copied() else {
                continue;
            };
            most.depth = most.depth.max(burden.depth);
            most.visits = most.visits.max(burden.visits);
            for parent in parents.get(node).into_iter().flatten() {
                let (Some(left), Some(above)) = (waiting.get_mut(*parent), own.get_mut(*parent))
                else {
                    continue;
                };
                above.depth = above.depth.max(burden.depth + 1);
                above.visits = above.visits.saturating_add(burden.visits);
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(*parent);
                }
            }
        }
        let cyclic = children.len() - done;
        if cyclic > 0 {
            let ways = u32::try_from(cyclic).unwrap_or(u32::MAX);
            most.visits = most.visits.saturating_mul(2_u64.saturating_pow(ways));
        }
        most.depth = (most.depth + cyclic).max(self.dynamic_schemas);
        most
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }
}

impl Node {
    /// Schemas that apply to the same value as this one.
    fn same_value(&self) -> Vec<NodeId> {
        match &self.class {
            Class::Combined(_, members) => members.clone(),
            Class::Conditional(class) => [class.test, class.then, class.otherwise]
                .into_iter()
                .flatten()
                .collect(),
            Class::Not(id) | Class::Reference(id) => vec![*id],
            Class::Object(class) => class.dependent_schemas.iter().map(|(_, id)| *id).collect(),
            Class::Pending
            | Class::Empty
            | Class::True
            | Class::False
            | Class::Boolean
            | Class::Null
            | Class::String(_)
            | Class::Number(_)
            | Class::Array(_)
            | Class::Enum(_)
            | Class::Const(_) => Vec::new(),
        }
    }
}
