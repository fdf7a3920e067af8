//! What a `.proto` file says, kept close to its text: names as written, options uninterpreted.
//!
//! Knows nothing of names' meaning (see [`super::resolve`]). Made by [`super::parse_text`] or
//! [`super::from_descriptor`]; read by the printer, the comparison and the compiler.

/// One `.proto` file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ProtoFile {
    /// `None` when the file has no `syntax` line, which means proto2.
    pub(super) syntax: Option<Syntax>,
    /// `None` when there is no package.
    pub(super) package: Option<String>,
    pub(super) imports: Vec<Import>,
    pub(super) options: Vec<OptionNode>,
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<EnumType>,
    pub(super) extends: Vec<Extend>,
    pub(super) services: Vec<Service>,
}

impl ProtoFile {
    /// Whether proto3 rules hold in this file.
    pub(super) fn is_proto3(&self) -> bool {
        self.syntax == Some(Syntax::Proto3)
    }

    /// The package, empty when there is none.
    pub(super) fn package_name(&self) -> &str {
        self.package.as_deref().unwrap_or("")
    }
}

/// The language version. Editions are refused before a file becomes an AST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Proto2,
    Proto3,
}

impl Syntax {
    /// The name in the `syntax` line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proto2 => "proto2",
            Self::Proto3 => "proto3",
        }
    }
}

/// How an import is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ImportKind {
    Plain,
    Public,
    Weak,
}

/// One `import` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) kind: ImportKind,
    pub(super) path: String,
}

/// A message type, or the body of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) reserved: Vec<Vec<ReservedItem>>,
    pub(super) options: Vec<OptionNode>,
    pub(super) fields: Vec<Field>,
    pub(super) oneofs: Vec<Oneof>,
    pub(super) groups: Vec<Group>,
    pub(super) extensions: Vec<Extensions>,
    pub(super) extends: Vec<Extend>,
    pub(super) messages: Vec<Self>,
    pub(super) enums: Vec<EnumType>,
}

impl Message {
    /// Whether this message is the spelled-out entry of a map, as descriptors have it.
    pub(super) fn is_map_entry(&self) -> bool {
        self.options.iter().any(|option| {
            option.is_plain("map_entry") && option.value == Value::Word("true".to_owned())
        })
    }
}

/// What `reserved` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReservedItem {
    Range(TagRange),
    Name(String),
}

/// `5`, or `5 to 9` with both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TagRange {
    pub(super) start: i32,
    pub(super) end: i32,
    /// Written with `to`, even when both ends are the same.
    pub(super) spelled_as_range: bool,
}

/// `extensions 100 to 199 [..];`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Extensions {
    pub(super) ranges: Vec<TagRange>,
    pub(super) options: Vec<OptionNode>,
}

/// A field's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Optional,
    Required,
    Repeated,
}

impl Label {
    /// The keyword.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
            Self::Repeated => "repeated",
        }
    }
}

/// A field of a message, a oneof or an extension.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) label: Option<Label>,
    pub(super) field_type: FieldType,
    pub(super) name: String,
    pub(super) number: i32,
    /// Without `default` and `json_name`.
    pub(super) options: Vec<OptionNode>,
    pub(super) default: Option<Value>,
    pub(super) json_name: Option<String>,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldType {
    Scalar(Scalar),
    /// A message or enum, named as written.
    Named(String),
    Map(Scalar, Box<Self>),
}

/// The scalar types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

/// Keyword and number (`FieldDescriptorProto.Type`) of each scalar.
const SCALARS: [(Scalar, &str, i32); 15] = [
    (Scalar::Double, "double", 1),
    (Scalar::Float, "float", 2),
    (Scalar::Int64, "int64", 3),
    (Scalar::Uint64, "uint64", 4),
    (Scalar::Int32, "int32", 5),
    (Scalar::Fixed64, "fixed64", 6),
    (Scalar::Fixed32, "fixed32", 7),
    (Scalar::Bool, "bool", 8),
    (Scalar::String, "string", 9),
    (Scalar::Bytes, "bytes", 12),
    (Scalar::Uint32, "uint32", 13),
    (Scalar::Sfixed32, "sfixed32", 15),
    (Scalar::Sfixed64, "sfixed64", 16),
    (Scalar::Sint32, "sint32", 17),
    (Scalar::Sint64, "sint64", 18),
];

impl Scalar {
    /// The scalar with this keyword.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        SCALARS
            .iter()
            .find(|(_, keyword, _)| *keyword == name)
            .map(|(scalar, _, _)| *scalar)
    }

    /// The scalar with this descriptor number.
    pub(super) fn from_number(number: i32) -> Option<Self> {
        SCALARS
            .iter()
            .find(|(_, _, own)| *own == number)
            .map(|(scalar, _, _)| *scalar)
    }

    /// The keyword.
    pub(super) fn name(self) -> &'static str {
        SCALARS
            .iter()
            .find(|(scalar, _, _)| *scalar == self)
            .map_or("", |(_, keyword, _)| keyword)
    }

    /// The number in `FieldDescriptorProto.Type`.
    pub(super) fn number(self) -> i32 {
        SCALARS
            .iter()
            .find(|(scalar, _, _)| *scalar == self)
            .map_or(0, |(_, _, number)| *number)
    }
}

/// A oneof.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Oneof {
    pub(super) name: String,
    pub(super) options: Vec<OptionNode>,
    pub(super) fields: Vec<Field>,
    pub(super) groups: Vec<Group>,
}

/// A proto2 group: a field and its message type in one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) label: Option<Label>,
    pub(super) number: i32,
    pub(super) options: Vec<OptionNode>,
    /// Its name is the group's name.
    pub(super) body: Message,
}

/// `extend Name { .. }`
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Extend {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) groups: Vec<Group>,
}

/// An enum type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct EnumType {
    pub(super) name: String,
    pub(super) reserved: Vec<Vec<ReservedItem>>,
    pub(super) options: Vec<OptionNode>,
    pub(super) constants: Vec<EnumConstant>,
}

/// One value of an enum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnumConstant {
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) options: Vec<OptionNode>,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) options: Vec<OptionNode>,
    pub(super) rpcs: Vec<Rpc>,
}

/// A method of a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rpc {
    pub(super) name: String,
    pub(super) request: String,
    pub(super) request_streams: bool,
    pub(super) response: String,
    pub(super) response_streams: bool,
    pub(super) options: Vec<OptionNode>,
}

/// `name = value`, `(extension) = value` or `(extension).path = value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OptionNode {
    /// Without parentheses; dots of a plain name included.
    pub(super) name: String,
    /// Written in parentheses: a custom option.
    pub(super) extension: bool,
    /// What follows the parentheses, one element per dot.
    pub(super) path: Vec<String>,
    pub(super) value: Value,
}

impl OptionNode {
    /// A plain option.
    pub(super) fn plain(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            extension: false,
            path: Vec::new(),
            value,
        }
    }

    /// Whether this is the plain option `name`.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        !self.extension && self.name == name
    }
}

/// An option's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Unescaped.
    String(String),
    /// As written: `-2.0`, `10f`, `0x1F`, `-inf`.
    Number(String),
    /// `true`, `false` or an enum constant.
    Word(String),
    /// Entries in order; an extension key keeps its brackets.
    Map(Vec<(String, Self)>),
    List(Vec<Self>),
}
