//! What a `.proto` file says, kept close to its text: names as written, options uninterpreted.
//!
//! Knows nothing of names' meaning (see [`super::resolve`]). Made by [`super::parse_text`] or
//! [`super::from_descriptor`]; read by the printer, the comparison and the compiler.

use crate::schema::ParseError;

/// Where something starts in its text, 1-based; zero when it came without text.
///
/// Two places are always equal: what a file says does not depend on where it says it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At {
    pub(super) line: u32,
    /// In characters.
    pub(super) column: u32,
}

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for At {}

/// One `.proto` file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ProtoFile {
    /// `None` when the file has no `syntax` line, which means proto2.
    pub(super) syntax: Option<Syntax>,
    /// `None` when there is no package.
    pub(super) package: Option<String>,
    pub(super) package_at: At,
    pub(super) imports: Vec<Import>,
    pub(super) options: Vec<OptionNode>,
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<EnumType>,
    pub(super) extends: Vec<Extend>,
    pub(super) services: Vec<Service>,
    /// What `protoc` would refuse in the text though the reference reads past it.
    pub(super) objection: Option<ParseError>,
}

impl ProtoFile {
    /// Whether proto3 rules hold in this file.
    pub(super) fn is_proto3(&self) -> bool {
        self.syntax == Some(Syntax::Proto3)
    }

    /// Whether the file is of an edition.
    pub(super) fn is_edition(&self) -> bool {
        matches!(self.syntax, Some(Syntax::Edition(_)))
    }

    /// The package, empty when there is none.
    pub(super) fn package_name(&self) -> &str {
        self.package.as_deref().unwrap_or("")
    }
}

/// The language version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Proto2,
    Proto3,
    Edition(Edition),
}

/// An edition, in order of age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edition {
    E2023,
    E2024,
}

/// Every edition, its name and its number in `google.protobuf.Edition`.
const EDITIONS: [(Edition, &str, i32); 2] = [
    (Edition::E2023, "2023", 1000),
    (Edition::E2024, "2024", 1001),
];

impl Edition {
    /// The edition with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let found = EDITIONS.iter().find(|(_, own, _)| *own == name);
        found.map(|(edition, _, _)| *edition)
    }

    /// The edition with this descriptor number.
    pub(super) fn from_number(number: i32) -> Option<Self> {
        let found = EDITIONS.iter().find(|(_, _, own)| *own == number);
        found.map(|(edition, _, _)| *edition)
    }

    /// The number in `google.protobuf.Edition`.
    pub(super) const fn number(self) -> i32 {
        match self {
            Self::E2023 => 1000,
            Self::E2024 => 1001,
        }
    }
}

/// Who may use a type of an edition: `export` or `local` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    Export,
    Local,
}

impl Visibility {
    /// The keyword.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Local => "local",
        }
    }
}

impl Syntax {
    /// The name in the `syntax` or `edition` line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proto2 => "proto2",
            Self::Proto3 => "proto3",
            Self::Edition(Edition::E2023) => "2023",
            Self::Edition(Edition::E2024) => "2024",
        }
    }
}

/// How an import is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ImportKind {
    Plain,
    Public,
    Weak,
    /// For options only, from edition 2024 on.
    Option,
}

/// One `import` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) kind: ImportKind,
    pub(super) path: String,
    pub(super) at: At,
}

/// A message type, or the body of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) visibility: Option<Visibility>,
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
    /// A name without quotes, as editions write it.
    Identifier(String),
}

/// `5`, or `5 to 9` with both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TagRange {
    pub(super) start: i32,
    pub(super) end: i32,
    /// Written with `to`, even when both ends are the same.
    pub(super) spelled_as_range: bool,
    pub(super) at: At,
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
    pub(super) type_at: At,
    pub(super) name: String,
    pub(super) at: At,
    pub(super) number: i32,
    pub(super) number_at: At,
    /// Without `default` and `json_name`.
    pub(super) options: Vec<OptionNode>,
    pub(super) default: Option<Value>,
    pub(super) default_at: At,
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
    pub(super) at: At,
    pub(super) options: Vec<OptionNode>,
    pub(super) fields: Vec<Field>,
    pub(super) groups: Vec<Group>,
}

/// A proto2 group: a field and its message type in one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) label: Option<Label>,
    pub(super) number: i32,
    pub(super) number_at: At,
    pub(super) options: Vec<OptionNode>,
    /// Its name is the group's name.
    pub(super) body: Message,
}

/// `extend Name { .. }`
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Extend {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) fields: Vec<Field>,
    pub(super) groups: Vec<Group>,
}

/// An enum type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct EnumType {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) visibility: Option<Visibility>,
    pub(super) reserved: Vec<Vec<ReservedItem>>,
    pub(super) options: Vec<OptionNode>,
    pub(super) constants: Vec<EnumConstant>,
}

/// One value of an enum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnumConstant {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) number: i32,
    pub(super) number_at: At,
    pub(super) options: Vec<OptionNode>,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) options: Vec<OptionNode>,
    pub(super) rpcs: Vec<Rpc>,
}

/// A method of a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rpc {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) request: String,
    pub(super) request_at: At,
    pub(super) request_streams: bool,
    pub(super) response: String,
    pub(super) response_at: At,
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
    pub(super) at: At,
    pub(super) value_at: At,
}

impl OptionNode {
    /// A plain option.
    pub(super) fn plain(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            extension: false,
            path: Vec::new(),
            value,
            at: At::default(),
            value_at: At::default(),
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
