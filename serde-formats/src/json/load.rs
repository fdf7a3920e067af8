//! Loads a schema's documents into a [`Model`], refusing what the reference's loaders refuse.
//!
//! Schemas that no keyword reaches (unused definitions) are not looked at, as in the reference.
//! `$ref` targets are loaded from a worklist, so that long chains do not deepen the stack.
//! Next: `load/containers.rs`, objects and arrays.

mod containers;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jsonschema::{Draft, Registry, Uri};
use serde_json::{Map, Value};

use super::documents::{Documents, unresolved};
use super::keywords::{Keywords, error, kind_name, number_class, string_class};
use super::model::{Class, Conditional, Criterion, Fingerprint, Model, Node, NodeId};
use super::patterns::{PatternTotals, too_costly};
use super::text::SCHEMA_DEPTH_MAX;
use crate::schema::{ParseError, ParseMode};
use containers::{ARRAY_KEYWORDS, OBJECT_KEYWORDS, more_array_keywords, more_object_keywords};

/// Loads the root document and everything it refers to.
///
/// Patterns of an existing schema are not looked at: they may be of a dialect that only the
/// reference knows, and the schema is then stored but not executed.
pub(super) fn load(documents: &Documents, mode: ParseMode) -> Result<Model, ParseError> {
    let registry = documents.registry()?;
    let base = documents.base_uri()?;
    let mut loader = Loader {
        registry: &registry,
        nodes: Vec::new(),
        loaded: ByAddress::default(),
        waiting: Vec::new(),
        fingerprints: ByAddress::default(),
        is_dynamic: false,
        patterns: PatternTotals::default(),
        sound_patterns: HashSet::new(),
        judges_names: false,
        checks_patterns: mode == ParseMode::New,
    };
    let root_uri = base.as_str().to_owned();
    let scope = Scope {
        base: Arc::new(base),
        draft: documents.draft,
        depth: 0,
        is_entered: true,
    };
    let resolver = registry.resolver((*scope.base).clone());
    let resolved = resolver
        .lookup(&root_uri)
        .map_err(|error| unresolved(&error))?;
    let root = loader.schema(resolved.contents(), &scope, "#")?;
    while let Some((id, value, scope, path)) = loader.waiting.pop() {
        loader.fill(id, value, &scope, &path)?;
    }
    if loader.judges_names {
        loader.patterns.judge_names();
    }
    let dynamic_schemas = if loader.is_dynamic {
        loader.nodes.len() + documents.count_objects()
    } else {
        0
    };
    Ok(Model {
        nodes: loader.nodes,
        root,
        dynamic_schemas,
        patterns: loader.patterns,
    })
}

/// Schemas in one model; a schema this large is a mistake or an attack.
const NODES_MAX: usize = 200_000;

const STRING_KEYWORDS: &[&str] = &["minLength", "maxLength", "pattern", "format"];
const NUMBER_KEYWORDS: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
/// Where a schema stands: what its `$ref`s are relative to, and its language.
#[derive(Debug, Clone)]
struct Scope {
    base: Arc<Uri<String>>,
    draft: Draft,
    depth: usize,
    /// The base is already that of the schema itself, which `$ref` led to.
    is_entered: bool,
}

impl Scope {
    /// 2019-09 or later, where `$ref` has siblings and the keywords were renamed.
    const fn is_modern(&self) -> bool {
        matches!(self.draft, Draft::Draft201909 | Draft::Draft202012)
    }
}

/// What is known of values by where they are in memory.
type ByAddress<T> = HashMap<usize, T, BuildHasherDefault<AddressHasher>>;

/// Spreads addresses, which nobody outside can choose.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        let mixed = self.0.rotate_left(5) ^ address as u64;
        self.0 = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

struct Loader<'r> {
    registry: &'r Registry<'r>,
    nodes: Vec<Node>,
    /// By address of the value: the documents do not move while loading.
    loaded: ByAddress<NodeId>,
    waiting: Vec<(NodeId, &'r Value, Scope, String)>,
    /// By address, of arrays and objects.
    fingerprints: ByAddress<Fingerprint>,
    /// `$dynamicRef` or `$recursiveRef` is used.
    is_dynamic: bool,
    patterns: PatternTotals,
    /// Patterns that were compiled already.
    sound_patterns: HashSet<&'r str>,
    /// `propertyNames` is used.
    judges_names: bool,
    checks_patterns: bool,
}

impl<'r> Loader<'r> {
    fn add(&mut self, node: Node) -> Result<NodeId, ParseError> {
        if self.nodes.len() >= NODES_MAX {
            return Err(ParseError::new(format!("more than {NODES_MAX} subschemas")));
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    /// A node that stands for some keywords of a schema rather than for a schema of its own.
    fn add_part(&mut self, class: Class, key: &impl Hash) -> Result<NodeId, ParseError> {
        self.add(Node {
            class,
            fingerprint: Fingerprint {
                hash: hash_of(key),
                never_equal: true,
            },
            ..Node::default()
        })
    }

    /// What tells this schema from others, whatever the order of its keys; one visit a value.
    fn fingerprint(&mut self, value: &Value) -> Fingerprint {
        let address = std::ptr::from_ref(value) as usize;
        if let Some(known) = self.fingerprints.get(&address) {
            return *known;
        }
        let mut never_equal = false;
        let hash = match value {
            Value::Array(items) => {
                let mut hash = hash_of(&"array");
                for item in items {
                    let item = self.fingerprint(item);
                    never_equal |= item.never_equal;
                    hash = hash_of(&(hash, item.hash));
                }
                hash
            }
            Value::Object(members) => {
                let mut hash = hash_of(&"object");
                for (name, member) in members {
                    let inner = self.fingerprint(member);
                    never_equal |= inner.never_equal
                        || matches!(name.as_str(), "allOf" | "anyOf" | "oneOf")
                        || (name == "type" && member.is_array());
                    hash = hash.wrapping_add(hash_of(&(name, inner.hash)));
                }
                hash
            }
            scalar => {
                return Fingerprint {
                    hash: hash_of(&scalar.to_string()),
                    never_equal,
                };
            }
        };
        let known = Fingerprint { hash, never_equal };
        self.fingerprints.insert(address, known);
        known
    }

    /// The node for a schema met as a keyword's value.
    fn schema(
        &mut self,
        value: &'r Value,
        scope: &Scope,
        path: &str,
    ) -> Result<NodeId, ParseError> {
        let address = std::ptr::from_ref(value) as usize;
        if let Some(id) = self.loaded.get(&address) {
            return Ok(*id);
        }
        if scope.depth > SCHEMA_DEPTH_MAX {
            return Err(error(path, "nesting too deep"));
        }
        let id = self.add(Node::default())?;
        self.loaded.insert(address, id);
        self.fill(id, value, scope, path)?;
        Ok(id)
    }

    /// The node for a `$ref` target: loaded later, from the worklist.
    fn target(&mut self, reference: &str, scope: &Scope) -> Result<NodeId, ParseError> {
        let resolver = self.registry.resolver((*scope.base).clone());
        let resolved = resolver
            .lookup(reference)
            .map_err(|error| unresolved(&error))?;
        let (value, resolver, draft) = resolved.into_inner();
        let address = std::ptr::from_ref(value) as usize;
        if let Some(id) = self.loaded.get(&address) {
            return Ok(*id);
        }
        let id = self.add(Node::default())?;
        self.loaded.insert(address, id);
        let scope = Scope {
            base: resolver.base_uri(),
            draft,
            depth: 0,
            is_entered: true,
        };
        // Not below `path`: with every reference followed the paths would only grow.
        self.waiting.push((id, value, scope, reference.to_owned()));
        Ok(id)
    }

    fn fill(
        &mut self,
        id: NodeId,
        value: &'r Value,
        scope: &Scope,
        path: &str,
    ) -> Result<(), ParseError> {
        let mut fingerprint = self.fingerprint(value);
        fingerprint.never_equal |= scope.is_modern();
        let mut node = Node {
            fingerprint,
            ..Node::default()
        };
        match value {
            Value::Bool(allowed) => {
                if scope.draft == Draft::Draft4 && path != "#" {
                    return Err(error(path, "expected type: JsonObject, found: Boolean"));
                }
                node.class = if *allowed { Class::True } else { Class::False };
            }
            Value::Object(members) => {
                let scope = self.scope_within(value, members, scope)?;
                let id_keyword = scope.draft.id_keyword();
                let keywords = Keywords { members, path };
                node.id = keywords.string(id_keyword)?.map(str::to_owned);
                node.title = keywords.string("title")?.map(str::to_owned);
                node.description = keywords.string("description")?.map(str::to_owned);
                node.default = members.get("default").cloned();
                node.is_connect_bytes =
                    members.get("connect.type").and_then(Value::as_str) == Some("bytes");
                node.class = self.class(members, &scope, path)?;
            }
            other => {
                let found = kind_name(other);
                return Err(error(
                    path,
                    &format!("expected type is one of Boolean or JsonObject, found: {found}"),
                ));
            }
        }
        if let Some(place) = self.nodes.get_mut(id.0 as usize) {
            *place = node;
        }
        Ok(())
    }

    /// The scope inside a schema object: one deeper, and rebased if it has an identifier.
    fn scope_within(
        &self,
        value: &'r Value,
        members: &Map<String, Value>,
        scope: &Scope,
    ) -> Result<Scope, ParseError> {
        let mut inner = scope.clone();
        inner.depth += 1;
        if std::mem::take(&mut inner.is_entered) {
            return Ok(inner);
        }
        if members.contains_key(scope.draft.id_keyword()) {
            let resolver = self.registry.resolver((*scope.base).clone());
            inner.base = resolver
                .in_subresource(scope.draft.create_resource_ref(value))
                .map_err(|error| unresolved(&error))?
                .base_uri();
        }
        Ok(inner)
    }

    fn class(
        &mut self,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
    ) -> Result<Class, ParseError> {
        let mut parts: Vec<Class> = Vec::new();
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if keyword != "$ref" && !scope.is_modern() {
                continue;
            }
            match members.get(keyword) {
                None => {}
                Some(Value::String(reference)) => {
                    self.is_dynamic |= keyword != "$ref";
                    parts.push(Class::Reference(self.target(reference, scope)?));
                    if !scope.is_modern() {
                        break;
                    }
                }
                Some(other) => {
                    let found = kind_name(other);
                    return Err(error(
                        &format!("{path}/{keyword}"),
                        &format!("expected type: String, found: {found}"),
                    ));
                }
            }
        }
        // Up to draft 7 a reference hides its siblings.
        if parts.is_empty() || scope.is_modern() {
            self.keyword_classes(members, scope, path, &mut parts)?;
        }
        if parts.len() > 1 {
            let mut subschemas = Vec::new();
            for part in parts {
                // Parts of one schema are of different classes, so never alike.
                subschemas.push(self.add_part(part, &(path, subschemas.len()))?);
            }
            return Ok(Class::Combined(
                Criterion::AllOf,
                self.combined_first(subschemas),
            ));
        }
        Ok(parts.pop().unwrap_or(Class::Empty))
    }

    /// The classes a schema's keywords stand for, in the order the reference finds them.
    fn keyword_classes(
        &mut self,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
        parts: &mut Vec<Class>,
    ) -> Result<(), ParseError> {
        let keywords = Keywords { members, path };
        if let Some(values) = keywords.array("enum")? {
            parts.push(Class::Enum(values.clone()));
        }
        for criterion in [Criterion::AllOf, Criterion::AnyOf, Criterion::OneOf] {
            let keyword = criterion.keyword();
            if let Some(schemas) = keywords.array(keyword)? {
                let mut subschemas = Vec::new();
                for (index, schema) in schemas.iter().enumerate() {
                    let path = format!("{path}/{keyword}/{index}");
                    subschemas.push(self.schema(schema, scope, &path)?);
                }
                parts.push(Class::Combined(criterion, self.combined_first(subschemas)));
            }
        }
        if let Some(schema) = members.get("not") {
            parts.push(Class::Not(self.schema(
                schema,
                scope,
                &format!("{path}/not"),
            )?));
        }
        if scope.draft != Draft::Draft4
            && let Some(value) = members.get("const")
        {
            parts.push(Class::Const(value.clone()));
        }
        let mut seen = Seen::default();
        match members.get("type") {
            None => {}
            Some(Value::String(name)) => {
                parts.push(self.typed(name, members, scope, path, &mut seen)?);
            }
            Some(Value::Array(names)) => {
                let mut subschemas = Vec::new();
                for name in names {
                    let Value::String(name) = name else {
                        let found = kind_name(name);
                        return Err(error(
                            path,
                            &format!("expected type: String, found: {found}"),
                        ));
                    };
                    let class = self.typed(name, members, scope, path, &mut seen)?;
                    subschemas.push(self.add_part(class, name)?);
                }
                parts.push(Class::Combined(Criterion::AnyOf, subschemas));
            }
            Some(other) => {
                let found = kind_name(other);
                return Err(error(
                    path,
                    &format!("expected type is one of JsonArray or String, found: {found}"),
                ));
            }
        }
        let any_of = |names: &[&str]| names.iter().any(|name| members.contains_key(*name));
        if !seen.array && (any_of(ARRAY_KEYWORDS) || any_of(more_array_keywords(scope.draft))) {
            parts.push(self.array(members, scope, path)?);
        }
        // Since 2019-09 the reference sees no object in an empty `properties` alone.
        let is_empty = |name: &str| {
            scope.is_modern()
                && name == "properties"
                && members
                    .get(name)
                    .and_then(Value::as_object)
                    .is_some_and(Map::is_empty)
        };
        let objects = |name: &&str| members.contains_key(*name) && !is_empty(name);
        if !seen.object
            && (OBJECT_KEYWORDS.iter().any(objects) || any_of(more_object_keywords(scope.draft)))
        {
            parts.push(self.object(members, scope, path)?);
        }
        if !seen.number && any_of(NUMBER_KEYWORDS) {
            parts.push(number_class(&keywords, scope.draft, false)?);
        }
        if !seen.string && any_of(STRING_KEYWORDS) {
            parts.push(self.string(&keywords)?);
        }
        if !matches!(scope.draft, Draft::Draft4 | Draft::Draft6) && any_of(&["if", "then", "else"])
        {
            parts.push(Class::Conditional(Conditional {
                test: self.optional("if", members, scope, path)?,
                then: self.optional("then", members, scope, path)?,
                otherwise: self.optional("else", members, scope, path)?,
            }));
        }
        Ok(())
    }

    fn typed(
        &mut self,
        name: &str,
        members: &'r Map<String, Value>,
        scope: &Scope,
        path: &str,
        seen: &mut Seen,
    ) -> Result<Class, ParseError> {
        let keywords = Keywords { members, path };
        let mut class = match name {
            "string" => {
                seen.string = true;
                self.string(&keywords)?
            }
            "integer" | "number" => {
                seen.number = true;
                number_class(&keywords, scope.draft, name == "integer")?
            }
            "boolean" => Class::Boolean,
            "null" => Class::Null,
            "array" => {
                seen.array = true;
                self.array(members, scope, path)?
            }
            "object" => {
                seen.object = true;
                self.object(members, scope, path)?
            }
            other => return Err(error(path, &format!("unknown type: [{other}]"))),
        };
        match &mut class {
            Class::String(class) => class.is_typed = true,
            Class::Number(class) => class.is_typed = true,
            Class::Object(class) => class.is_typed = true,
            Class::Array(class) => class.is_typed = true,
            _ => {}
        }
        Ok(class)
    }

    fn string(&mut self, keywords: &Keywords<'r, '_>) -> Result<Class, ParseError> {
        if let Some(pattern) = keywords.string("pattern")? {
            self.check_pattern(pattern, &format!("{}/pattern", keywords.path))?;
        }
        string_class(keywords)
    }

    /// Whether a pattern can be executed, within the validator's limits.
    fn check_pattern(&mut self, pattern: &'r str, path: &str) -> Result<(), ParseError> {
        self.patterns.add(pattern);
        if !self.checks_patterns || self.sound_patterns.contains(pattern) {
            return Ok(());
        }
        if let Some(reason) = too_costly(pattern) {
            return Err(error(path, &reason));
        }
        self.patterns.check()?;
        if super::validate::pattern_matcher(pattern).is_some() {
            self.sound_patterns.insert(pattern);
            return Ok(());
        }
        Err(error(
            path,
            &format!("invalid regular expression {pattern:?}"),
        ))
    }

    /// The reference keeps combined members of a combined schema before the others.
    fn combined_first(&self, mut subschemas: Vec<NodeId>) -> Vec<NodeId> {
        subschemas.sort_by_key(|id| {
            !matches!(
                self.nodes.get(id.0 as usize).map(|node| &node.class),
                Some(Class::Combined(..))
            )
        });
        subschemas
    }
}

/// Which classes `type` already stood for.
#[derive(Debug, Default)]
struct Seen {
    string: bool,
    number: bool,
    array: bool,
    object: bool,
}

/// Unkeyed, because fingerprints of two models are compared.
fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
