//! A parsed Avro schema as an arena of types.
//!
//! Every occurrence of a type in the text is a node of its own; a reference by name is the node of
//! the definition. Compatibility depends on that identity, as the reference does.
//! Names are resolved: the graph may be cyclic, and walking it in text order never nests deeper
//! than [`DEPTH_MAX`]. Built by [`super::parse`] only.

use std::collections::HashSet;

use super::json_text::Json;

/// Deepest nesting of types when each named type is entered once, at its first occurrence.
pub(super) const DEPTH_MAX: usize = 256;

/// Index of a type in [`Model::types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TypeId(pub(super) u32);

impl TypeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A whole schema.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) types: Vec<Type>,
    pub(super) root: TypeId,
    /// Full names of the types the references define.
    pub(super) reference_names: HashSet<String>,
}

impl Model {
    /// The type at `id`. Ids come from this model, so there always is one.
    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id.index()]
    }
}

impl Model {
    /// For each type, the fewest bytes a value takes. A record inside itself counts as zero, so
    /// these are lower bounds.
    pub(super) fn min_sizes(&self) -> Vec<u32> {
        let mut sizes = vec![None; self.types.len()];
        self.min_size(self.root, &mut sizes);
        sizes.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn min_size(&self, id: TypeId, sizes: &mut Vec<Option<u32>>) -> u32 {
        if let Some(known) = sizes[id.index()] {
            return known;
        }
        sizes[id.index()] = Some(0);
        let size = match &self.get(id).kind {
            Kind::Null => 0,
            Kind::Float => 4,
            Kind::Double => 8,
            Kind::Fixed { size, .. } => *size,
            Kind::Record { fields, .. } => fields.iter().fold(0u32, |sum, f| {
                sum.saturating_add(self.min_size(f.ty, sizes))
            }),
            Kind::Union(branches) => branches
                .iter()
                .map(|b| self.min_size(*b, sizes))
                .min()
                .unwrap_or(0)
                .saturating_add(1),
            Kind::Array(item) | Kind::Map(item) => {
                self.min_size(*item, sizes);
                1
            }
            _ => 1,
        };
        sizes[id.index()] = Some(size);
        size
    }
}

/// One occurrence of a type.
#[derive(Debug, Clone)]
pub(super) struct Type {
    pub(super) kind: Kind,
    /// Attributes Avro does not reserve, in the order of the text.
    pub(super) props: Vec<(String, Json)>,
}

/// What a type is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Record {
        header: Header,
        is_error: bool,
        fields: Vec<Field>,
    },
    Enum {
        header: Header,
        symbols: Vec<String>,
        default: Option<String>,
    },
    Fixed {
        header: Header,
        size: u32,
    },
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    /// A name not defined when it was met; gone once parsing has ended.
    Unresolved(String),
}

/// What named types share.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: Name,
    pub(super) aliases: Vec<Name>,
    pub(super) doc: Option<String>,
}

/// A name with its namespace, which is `None` instead of empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) simple: String,
    pub(super) namespace: Option<String>,
}

impl Name {
    /// From a possibly dotted name; a dotted name ignores the namespace given.
    pub(super) fn new(name: &str, namespace: Option<&str>) -> Self {
        let (namespace, simple) = match name.rsplit_once('.') {
            Some((namespace, simple)) => (Some(namespace), simple),
            None => (namespace, name),
        };
        Self {
            simple: simple.to_owned(),
            namespace: namespace.filter(|n| !n.is_empty()).map(str::to_owned),
        }
    }

    /// `namespace.simple`, or `simple` without a namespace.
    pub(super) fn full(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}.{}", self.simple),
            None => self.simple.clone(),
        }
    }

    /// How Avro writes a reference to this name inside `namespace`.
    pub(super) fn relative_to(&self, namespace: Option<&str>) -> String {
        // A type named like an Avro type keeps its namespace, or it would read as that type.
        if self.namespace.is_some()
            && self.namespace.as_deref() == namespace
            && !is_type_word(&self.simple)
        {
            return self.simple.clone();
        }
        self.full()
    }
}

/// A field of a record.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) ty: TypeId,
    pub(super) doc: Option<String>,
    pub(super) default: Option<Json>,
    pub(super) order: Order,
    pub(super) aliases: Vec<String>,
    pub(super) props: Vec<(String, Json)>,
}

/// How a field takes part in sorting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
    Ignore,
}

impl Type {
    /// Name, aliases and doc of a record, enum or fixed.
    pub(super) fn header(&self) -> Option<&Header> {
        match &self.kind {
            Kind::Record { header, .. }
            | Kind::Enum { header, .. }
            | Kind::Fixed { header, .. } => Some(header),
            _ => None,
        }
    }

    /// The word of the type: `int`, `record`, `union`.
    pub(super) fn word(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Int => "int",
            Kind::Long => "long",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Bytes => "bytes",
            Kind::String => "string",
            Kind::Record { .. } => "record",
            Kind::Enum { .. } => "enum",
            Kind::Fixed { .. } => "fixed",
            Kind::Array(_) => "array",
            Kind::Map(_) => "map",
            Kind::Union(_) => "union",
            Kind::Unresolved(_) => "unresolved",
        }
    }

    /// The name of this type as a union branch: full name, or the type's word.
    pub(super) fn branch_name(&self) -> String {
        match (&self.kind, self.header()) {
            (_, Some(header)) => header.name.full(),
            (Kind::Unresolved(name), None) => name.clone(),
            _ => self.word().to_owned(),
        }
    }

    /// The types directly inside this one, in text order.
    pub(super) fn children(&self) -> Vec<TypeId> {
        match &self.kind {
            Kind::Record { fields, .. } => fields.iter().map(|f| f.ty).collect(),
            Kind::Array(item) | Kind::Map(item) => vec![*item],
            Kind::Union(branches) => branches.clone(),
            _ => Vec::new(),
        }
    }

    fn prop(&self, key: &str) -> Option<&Json> {
        self.props.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The logical type that applies: an unknown or ill-placed one does not, as the Avro
    /// specification asks. It changes neither canonical text nor compatibility.
    pub(super) fn logical_type(&self) -> Option<&str> {
        let name = self.prop("logicalType")?.as_str()?;
        let applies = match name {
            "decimal" => self.is_decimal(),
            "big-decimal" => matches!(self.kind, Kind::Bytes),
            "uuid" => matches!(self.kind, Kind::String | Kind::Fixed { size: 16, .. }),
            "date" | "time-millis" => matches!(self.kind, Kind::Int),
            "time-micros"
            | "timestamp-millis"
            | "timestamp-micros"
            | "timestamp-nanos"
            | "local-timestamp-millis"
            | "local-timestamp-micros"
            | "local-timestamp-nanos" => matches!(self.kind, Kind::Long),
            "duration" => matches!(self.kind, Kind::Fixed { size: 12, .. }),
            _ => false,
        };
        applies.then_some(name)
    }

    fn int_prop(&self, key: &str) -> Option<i32> {
        match self.prop(key) {
            Some(Json::Int(digits)) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Digits of a decimal.
    pub(super) fn precision(&self) -> Option<u32> {
        u32::try_from(self.int_prop("precision")?).ok()
    }

    fn is_decimal(&self) -> bool {
        let Some(precision) = self.int_prop("precision").filter(|p| *p > 0) else {
            return false;
        };
        let scale = match self.prop("scale") {
            None => 0,
            Some(_) => match self.int_prop("scale") {
                Some(scale) => scale,
                None => return false,
            },
        };
        if !(0..=precision).contains(&scale) {
            return false;
        }
        match &self.kind {
            Kind::Bytes => true,
            // Digits that always fit size bytes of two's complement.
            Kind::Fixed { size, .. } => {
                f64::from(precision) <= (2f64.log10() * (8.0 * f64::from(*size) - 1.0)).floor()
            }
            _ => false,
        }
    }
}

/// Whether `word` is the name of one of Avro's primitive types.
pub(super) fn primitive(word: &str) -> Option<Kind> {
    Some(match word {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn is_type_word(word: &str) -> bool {
    primitive(word).is_some()
        || ["record", "enum", "fixed", "array", "map", "union"].contains(&word)
}
