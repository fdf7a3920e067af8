//! Schema text to [`Model`].
//!
//! Follows Avro Java 1.12 as Confluent Schema Registry uses it: references are parsed first into
//! one table of names, a name may be used before its definition, and a schema being registered now
//! is held to stricter rules than one already stored (see [`ParseMode`]).
//! Knows nothing of printing or comparing. Next: [`super::canonical`].

use std::collections::{HashMap, HashSet};

use super::canonical;
use super::defaults::{self, DEFAULT_STEPS_MAX};
use super::json_text::{self, Json};
use super::model::{DEPTH_MAX, Field, Header, Kind, Model, Name, Order, Type, TypeId, primitive};
use crate::schema::{ParseError, ParseMode, ResolvedReference};

/// Most types one schema may hold, references included: bounds memory and every later walk.
const TYPES_MAX: usize = 100_000;

/// Longest schema text taken, in bytes; far above Kafka's default record limit of 1 MiB.
const TEXT_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Most bytes of all names written out in full, aliases and references included: a long namespace is
/// inherited by every name inside it.
const NAMES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a schema is held to beyond its form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// What names are made of; unset, of anything.
    pub(super) names: Option<NameRule>,
    /// Whether defaults must fit their types.
    pub(super) are_defaults_checked: bool,
}

/// What names are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameRule {
    /// `[A-Za-z_][A-Za-z0-9_]*`, namespaces too.
    Ascii,
    /// The same with the letters and digits of all scripts; namespaces are not looked at.
    Unicode,
}

impl Rules {
    const STORED: Self = Self {
        names: Some(NameRule::Unicode),
        are_defaults_checked: false,
    };

    fn of(mode: ParseMode) -> Self {
        match mode {
            ParseMode::New => Self {
                names: Some(NameRule::Ascii),
                are_defaults_checked: true,
            },
            ParseMode::Existing => Self::STORED,
        }
    }
}

/// Parses `text` with the names of `references` known.
///
/// # Errors
/// Names the part that is wrong; see [`crate::ParsedSchema::parse`].
pub(super) fn parse(
    text: &str,
    references: &[ResolvedReference],
    mode: ParseMode,
) -> Result<Model, ParseError> {
    parse_under(Rules::of(mode), text, references)
}

/// Parses as [`parse`] does, under rules of the caller's choice.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_under(
    rules: Rules,
    text: &str,
    references: &[ResolvedReference],
) -> Result<Model, ParseError> {
    let mut parser = Parser {
        types: Vec::new(),
        names: HashMap::new(),
        names_bytes: 0,
        pending_defaults: Vec::new(),
        redefined: Vec::new(),
        // What a reference may look like was decided when it was registered.
        names_rule: Rules::STORED.names,
    };
    for reference in references {
        parser
            .document(&reference.schema)
            .map_err(|error| ParseError {
                message: format!("reference {}: {}", reference.name, error.message),
                position: error.position,
            })?;
    }
    let reference_names = parser.names.keys().cloned().collect();
    parser.names_rule = rules.names;
    let root = parser.document(text)?;
    let model = Model {
        types: parser.types,
        root,
        reference_names,
    };
    check_depth(&model, model.root, 0, &mut HashSet::new())?;
    if rules.are_defaults_checked {
        let mut steps_left = DEFAULT_STEPS_MAX;
        for (record, field) in parser.pending_defaults {
            defaults::check(&model, record, field, &mut steps_left)?;
        }
    }
    Ok(model)
}

struct Parser {
    types: Vec<Type>,
    names: HashMap<String, Definition>,
    /// Bytes of all names met so far, written out in full.
    names_bytes: usize,
    /// Record and position of each field with a default, of the main text.
    pending_defaults: Vec<(TypeId, usize)>,
    /// Second definitions of a name, with the first; they must turn out equal.
    redefined: Vec<(TypeId, TypeId)>,
    names_rule: Option<NameRule>,
}

struct Definition {
    id: TypeId,
    /// False while the fields of the record are being read.
    is_complete: bool,
}

impl Parser {
    fn document(&mut self, text: &str) -> Result<TypeId, ParseError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseError::new(format!(
                "schema text of {} bytes is longer than {TEXT_BYTES_MAX}",
                text.len()
            )));
        }
        let json = json_text::read(text)?;
        let first = self.types.len();
        self.pending_defaults.clear();
        let root = self.schema(&json, None)?;
        self.resolve(root, first)
    }

    fn add(&mut self, kind: Kind) -> Result<TypeId, ParseError> {
        if self.types.len() >= TYPES_MAX {
            return Err(ParseError::new(format!(
                "schema has more than {TYPES_MAX} types"
            )));
        }
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(Type {
            kind,
            props: Vec::new(),
        });
        Ok(id)
    }

    /// Replaces names used before their definition, and second definitions, by the definitions.
    fn resolve(&mut self, root: TypeId, first: usize) -> Result<TypeId, ParseError> {
        let mut replaced: HashMap<TypeId, TypeId> = HashMap::new();
        for index in first..self.types.len() {
            let Some(Type {
                kind: Kind::Unresolved(name),
                ..
            }) = self.types.get(index)
            else {
                continue;
            };
            let id = TypeId(u32::try_from(index).unwrap_or(u32::MAX));
            match self.names.get(name) {
                Some(definition) => replaced.insert(id, definition.id),
                None => return Err(ParseError::new(format!("undefined schema: {name}"))),
            };
        }
        let redefined = std::mem::take(&mut self.redefined);
        replaced.extend(redefined.iter().map(|&(second, kept)| (second, kept)));
        if replaced.is_empty() {
            return Ok(root);
        }
        let swap = |id: &mut TypeId| {
            if let Some(target) = replaced.get(id) {
                *id = *target;
            }
        };
        for ty in self.types.iter_mut().skip(first) {
            match &mut ty.kind {
                Kind::Record { fields, .. } => fields.iter_mut().for_each(|f| swap(&mut f.ty)),
                Kind::Array(item) | Kind::Map(item) => swap(item),
                Kind::Union(branches) => branches.iter_mut().for_each(swap),
                _ => {}
            }
        }
        for (second, kept) in redefined {
            self.check_redefinition(second, kept)?;
        }
        let mut root = root;
        swap(&mut root);
        Ok(root)
    }

    fn check_redefinition(&mut self, second: TypeId, kept: TypeId) -> Result<(), ParseError> {
        // Printing needs a model; the arena is lent to one for the moment. Named types inside are
        // compared by name only: they are the same definitions, or checked like this one.
        let model = Model {
            types: std::mem::take(&mut self.types),
            root: kept,
            reference_names: HashSet::new(),
        };
        let is_same = canonical::own_text(&model, kept) == canonical::own_text(&model, second);
        let name = model.get(kept).branch_name();
        self.types = model.types;
        if is_same {
            Ok(())
        } else {
            Err(ParseError::new(format!("can't redefine: {name}")))
        }
    }

    fn schema(&mut self, json: &Json, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        match json {
            Json::String(name) => self.by_name(name, namespace),
            Json::Object(_) => self.object(json, namespace),
            Json::Array(branches) => self.union(json, branches, namespace),
            other => Err(ParseError::new(format!(
                "schema not yet supported: {}",
                other.to_text()
            ))),
        }
    }

    /// A name as it reads inside `namespace`.
    fn name(&mut self, name: &str, namespace: Option<&str>) -> Result<Name, ParseError> {
        self.names_bytes += name.len() + namespace.map_or(0, str::len);
        if self.names_bytes > NAMES_BYTES_MAX {
            return Err(ParseError::new(format!(
                "names of the schema, written out in full, have more than {NAMES_BYTES_MAX} bytes"
            )));
        }
        Ok(Name::new(name, namespace))
    }

    fn by_name(&mut self, name: &str, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        if let Some(kind) = primitive(name) {
            return self.add(kind);
        }
        let full = self.name(name, namespace)?.full();
        if let Some(definition) = self.names.get(&full) {
            return Ok(definition.id);
        }
        // Without its namespace a name is found only once its definition has ended.
        match self.names.get(name) {
            Some(definition) if definition.is_complete => Ok(definition.id),
            _ => self.add(Kind::Unresolved(full)),
        }
    }

    fn union(
        &mut self,
        json: &Json,
        branches: &[Json],
        namespace: Option<&str>,
    ) -> Result<TypeId, ParseError> {
        let mut ids = Vec::with_capacity(branches.len().min(64));
        let mut seen = HashSet::new();
        for branch in branches {
            let id = self.schema(branch, namespace)?;
            let Some(ty) = self.types.get(id.index()) else {
                continue;
            };
            if matches!(ty.kind, Kind::Union(_)) {
                return Err(ParseError::new(format!("nested union: {}", excerpt(json))));
            }
            let name = ty.branch_name();
            if !seen.insert(name.clone()) {
                return Err(ParseError::new(format!("duplicate in union: {name}")));
            }
            ids.push(id);
        }
        self.add(Kind::Union(ids))
    }

    fn object(&mut self, json: &Json, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        let Some(word) = json.get("type").and_then(Json::as_str) else {
            return Err(ParseError::new(format!("no type: {}", excerpt(json))));
        };
        let id = match word {
            "record" | "error" => self.record(json, word == "error", namespace)?,
            "enum" => self.enumeration(json, namespace)?,
            "fixed" => self.fixed(json, namespace)?,
            "array" => {
                let Some(items) = json.get("items") else {
                    return Err(ParseError::new(format!(
                        "array has no items type: {}",
                        excerpt(json)
                    )));
                };
                let items = self.schema(items, namespace)?;
                self.add(Kind::Array(items))?
            }
            "map" => {
                let Some(values) = json.get("values") else {
                    return Err(ParseError::new(format!(
                        "map has no values type: {}",
                        excerpt(json)
                    )));
                };
                let values = self.schema(values, namespace)?;
                self.add(Kind::Map(values))?
            }
            _ => match primitive(word) {
                Some(kind) => self.add(kind)?,
                None => {
                    let full = self.name(word, namespace)?.full();
                    return match self.names.get(&full).or_else(|| self.names.get(word)) {
                        Some(definition) => Ok(definition.id),
                        None => Err(ParseError::new(format!(
                            "a schema \"type\" must be a primitive type or one of \"enum\", \
                             \"fixed\", \"record\", \"error\", \"array\" or \"map\": {word}"
                        ))),
                    };
                }
            },
        };
        let props = props(json, |key| {
            SCHEMA_RESERVED.contains(&key) || (word == "enum" && key == "default")
        });
        if let Some(ty) = self.types.get_mut(id.index()) {
            ty.props = props;
        }
        Ok(id)
    }

    /// Name, doc and aliases of a named type, checked.
    fn header(&mut self, json: &Json, namespace: Option<&str>) -> Result<Header, ParseError> {
        let Some(name) = json.get("name").and_then(Json::as_str) else {
            return Err(ParseError::new(format!(
                "no name in schema: {}",
                excerpt(json)
            )));
        };
        let own = json.get("namespace").and_then(Json::as_str);
        let name = self.name(name, own.or(namespace))?;
        self.check_name(&name.simple)?;
        if self.names_rule == Some(NameRule::Ascii) {
            for part in name.namespace.iter().flat_map(|n| n.split('.')) {
                self.check_name(part).map_err(|error| {
                    ParseError::new(format!(
                        "namespace part \"{part}\" is invalid: {}",
                        error.message
                    ))
                })?;
            }
        }
        if name.namespace.is_none() && primitive(&name.simple).is_some() {
            return Err(ParseError::new(format!(
                "schemas may not be named after primitives: {}",
                name.simple
            )));
        }
        let mut aliases: Vec<Name> = alias_texts(json)?
            .iter()
            .map(|alias| self.name(alias, name.namespace.as_deref()))
            .collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        aliases.retain(|alias| seen.insert(alias.clone()));
        let doc = json.get("doc").and_then(Json::as_str).map(str::to_owned);
        Ok(Header { name, aliases, doc })
    }

    fn check_name(&self, name: &str) -> Result<(), ParseError> {
        let Some(rule) = self.names_rule else {
            return Ok(());
        };
        let letter = |c: char| {
            c == '_'
                || match rule {
                    NameRule::Ascii => c.is_ascii_alphabetic(),
                    NameRule::Unicode => c.is_alphabetic(),
                }
        };
        let digit = |c: char| match rule {
            NameRule::Ascii => c.is_ascii_digit(),
            NameRule::Unicode => c.is_numeric(),
        };
        let mut chars = name.chars();
        match chars.next() {
            None => Err(ParseError::new("empty name")),
            Some(first) if !letter(first) => Err(ParseError::new(format!(
                "illegal initial character: {name}"
            ))),
            Some(_) if chars.any(|c| !letter(c) && !digit(c)) => {
                Err(ParseError::new(format!("illegal character in: {name}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Enters a named type in the table. A name already taken is noted for comparison.
    fn define(&mut self, id: TypeId, name: &Name, is_complete: bool) {
        let full = name.full();
        match self.names.get(&full) {
            Some(first) => self.redefined.push((id, first.id)),
            None => {
                self.names.insert(full, Definition { id, is_complete });
            }
        }
    }

    fn record(
        &mut self,
        json: &Json,
        is_error: bool,
        namespace: Option<&str>,
    ) -> Result<TypeId, ParseError> {
        let header = self.header(json, namespace)?;
        let name = header.name.clone();
        let id = self.add(Kind::Record {
            header,
            is_error,
            fields: Vec::new(),
        })?;
        self.define(id, &name, false);
        let Some(Json::Array(items)) = json.get("fields") else {
            return Err(ParseError::new(format!(
                "record has no fields: {}",
                excerpt(json)
            )));
        };
        let mut parsed = Vec::with_capacity(items.len().min(256));
        let mut seen = HashSet::new();
        for item in items {
            let field = self.field(item, name.namespace.as_deref())?;
            if !seen.insert(field.name.clone()) {
                return Err(ParseError::new(format!(
                    "duplicate field {} in record {}",
                    field.name,
                    name.full()
                )));
            }
            if field.default.is_some() {
                self.pending_defaults.push((id, parsed.len()));
            }
            parsed.push(field);
        }
        if let Some(Type {
            kind: Kind::Record { fields, .. },
            ..
        }) = self.types.get_mut(id.index())
        {
            *fields = parsed;
        }
        if let Some(definition) = self.names.get_mut(&name.full()) {
            definition.is_complete = true;
        }
        Ok(id)
    }

    fn field(&mut self, json: &Json, namespace: Option<&str>) -> Result<Field, ParseError> {
        let Some(name) = json.get("name").and_then(Json::as_str) else {
            return Err(ParseError::new(format!("no field name: {}", excerpt(json))));
        };
        self.check_name(name)?;
        let Some(ty) = json.get("type") else {
            return Err(ParseError::new(format!("no field type: {}", excerpt(json))));
        };
        let ty = self.schema(ty, namespace).map_err(|error| {
            if error.position.is_some() {
                error
            } else {
                // Only the innermost field is named.
                match error.message.contains(" (field ") {
                    true => error,
                    false => ParseError::new(format!("{} (field {name})", error.message)),
                }
            }
        })?;
        let order = match json.get("order").and_then(Json::as_str) {
            None => Order::Ascending,
            Some(word) => match word.to_ascii_lowercase().as_str() {
                "ascending" => Order::Ascending,
                "descending" => Order::Descending,
                "ignore" => Order::Ignore,
                _ => {
                    return Err(ParseError::new(format!(
                        "order of field {name} is none of ascending, descending, ignore: {word}"
                    )));
                }
            },
        };
        let mut aliases = alias_texts(json)?;
        let mut seen = HashSet::new();
        aliases.retain(|alias| seen.insert(alias.clone()));
        Ok(Field {
            name: name.to_owned(),
            ty,
            doc: json.get("doc").and_then(Json::as_str).map(str::to_owned),
            default: json.get("default").cloned(),
            order,
            aliases,
            props: props(json, |key| FIELD_RESERVED.contains(&key)),
        })
    }

    fn enumeration(&mut self, json: &Json, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        let header = self.header(json, namespace)?;
        let Some(Json::Array(items)) = json.get("symbols") else {
            return Err(ParseError::new(format!(
                "enum has no symbols: {}",
                excerpt(json)
            )));
        };
        let mut symbols = Vec::with_capacity(items.len().min(256));
        let mut seen = HashSet::new();
        for item in items {
            let Some(symbol) = item.as_str() else {
                return Err(ParseError::new(format!(
                    "enum symbol is not a string: {}",
                    item.to_text()
                )));
            };
            self.check_name(symbol)?;
            if !seen.insert(symbol) {
                return Err(ParseError::new(format!("duplicate enum symbol: {symbol}")));
            }
            symbols.push(symbol.to_owned());
        }
        let default = json.get("default").and_then(Json::as_str);
        if let Some(default) = default
            && !seen.contains(default)
        {
            return Err(ParseError::new(format!(
                "the enum default {default} is not in the enum symbol set: [{}]",
                symbols.join(", ")
            )));
        }
        let default = default.map(str::to_owned);
        let name = header.name.clone();
        let id = self.add(Kind::Enum {
            header,
            symbols,
            default,
        })?;
        self.define(id, &name, true);
        Ok(id)
    }

    fn fixed(&mut self, json: &Json, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        let header = self.header(json, namespace)?;
        let size = match json.get("size") {
            Some(Json::Int(digits)) => digits.parse::<i32>().ok(),
            _ => None,
        };
        let Some(size) = size else {
            return Err(ParseError::new(format!(
                "invalid or no size: {}",
                excerpt(json)
            )));
        };
        let Ok(size) = u32::try_from(size) else {
            return Err(ParseError::new(format!(
                "size of fixed is negative: {size}"
            )));
        };
        let name = header.name.clone();
        let id = self.add(Kind::Fixed { header, size })?;
        self.define(id, &name, true);
        Ok(id)
    }
}

fn props(json: &Json, is_reserved: impl Fn(&str) -> bool) -> Vec<(String, Json)> {
    match json {
        Json::Object(entries) => entries
            .iter()
            .filter(|(key, _)| !is_reserved(key))
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

fn alias_texts(json: &Json) -> Result<Vec<String>, ParseError> {
    let items = match json.get("aliases") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(items)) => items,
        Some(_) => {
            return Err(ParseError::new(format!(
                "aliases not an array: {}",
                excerpt(json)
            )));
        }
    };
    items
        .iter()
        .map(|item| match item.as_str() {
            Some(alias) => Ok(alias.to_owned()),
            None => Err(ParseError::new(format!(
                "alias not a string: {}",
                item.to_text()
            ))),
        })
        .collect()
}

/// The offending part of the text for an error message, cut at a readable length.
pub(super) fn excerpt(json: &Json) -> String {
    const CHARS_MAX: usize = 200;
    let text = json.to_text();
    if text.chars().count() <= CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CHARS_MAX).collect();
    cut.push('…');
    cut
}

fn check_depth(
    model: &Model,
    id: TypeId,
    depth: usize,
    seen: &mut HashSet<TypeId>,
) -> Result<(), ParseError> {
    if depth > DEPTH_MAX {
        return Err(ParseError::new(format!(
            "types nest deeper than {DEPTH_MAX} levels"
        )));
    }
    let ty = model.get(id);
    if ty.header().is_some() && !seen.insert(id) {
        return Ok(());
    }
    for child in ty.children() {
        check_depth(model, child, depth + 1, seen)?;
    }
    Ok(())
}

const SCHEMA_RESERVED: [&str; 10] = [
    "doc",
    "fields",
    "items",
    "name",
    "namespace",
    "size",
    "symbols",
    "values",
    "type",
    "aliases",
];

const FIELD_RESERVED: [&str; 6] = ["default", "doc", "name", "order", "type", "aliases"];
