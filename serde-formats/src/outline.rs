//! What a schema is made of, flat: its types and fields with names, types and docs.
//!
//! For search, lint and change lists; says nothing about bytes. Made from the canonical text, so
//! it knows only what is stored: Protobuf comments are gone by then.

mod avro;
mod json;

use crate::schema::{ParsedSchema, TextForm};

/// The types and fields of one schema, in text order; those of its references are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Named types; for JSON Schema every object schema.
    pub types: Vec<OutlineType>,
    /// Fields, outer before inner.
    pub fields: Vec<OutlineField>,
}

/// What kind of type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// Avro record, Protobuf message.
    Record,
    /// JSON Schema with `properties` or `type: object`.
    Object,
    /// An enumeration.
    Enum,
    /// Avro fixed.
    Fixed,
}

impl TypeKind {
    /// The word for people: `record`, `object`, `enum`, `fixed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Object => "object",
            Self::Enum => "enum",
            Self::Fixed => "fixed",
        }
    }
}

/// One type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineType {
    /// Full name; a JSON Schema without title is named by its path.
    pub name: String,
    /// What kind.
    pub kind: TypeKind,
    /// Whether a namespace or package is part of the name.
    pub is_namespaced: bool,
    /// Its doc, where it has one.
    pub doc: Option<String>,
    /// Avro enums: whether unknown symbols have a stand-in.
    pub has_default: bool,
    /// Symbols of an enumeration.
    pub symbols: Vec<String>,
    /// JSON Schema: whether it says what happens to properties it does not name.
    pub states_content_model: bool,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineField {
    /// From the root: `lines[].qty`, `labels{}`; for Protobuf `Order.lines`.
    pub path: String,
    /// The last name of the path.
    pub name: String,
    /// The type in a few words: `long`, `null|string`, `array<shop.Line>`, `repeated Line`.
    pub type_name: String,
    /// Avro `logicalType`, JSON Schema `format`.
    pub logical: Option<String>,
    /// Its doc, where it has one.
    pub doc: Option<String>,
    /// The default as JSON text, where there is one.
    pub default: Option<String>,
    /// JSON Schema and proto2: the field must be there.
    pub is_required: bool,
}

/// More fields than this are not looked at.
pub const OUTLINE_FIELDS_MAX: usize = 10_000;

impl Outline {
    /// Of a parsed schema. Avro and JSON Schema texts nested past 128 have an empty one.
    #[must_use]
    pub fn of(schema: &ParsedSchema) -> Self {
        let tree = |schema: &ParsedSchema| serde_json::from_str(&schema.text(TextForm::Canonical));
        let mut outline = Self::default();
        match schema {
            ParsedSchema::Avro(_) => {
                if let Ok(tree) = tree(schema) {
                    avro::walk(&tree, &mut outline);
                }
            }
            ParsedSchema::Json(_) => {
                if let Ok(tree) = tree(schema) {
                    json::walk(&tree, &mut outline);
                }
            }
            ParsedSchema::Protobuf(protobuf) => protobuf.outline(&mut outline),
        }
        outline
    }

    /// Whether another field fits.
    pub(crate) fn has_room(&self) -> bool {
        self.fields.len() < OUTLINE_FIELDS_MAX
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ParseMode, SchemaFormat};

    fn check(format: SchemaFormat, text: &str, expected: &str) {
        let parsed = ParsedSchema::parse(format, text, &[], ParseMode::New).unwrap();
        let outline = Outline::of(&parsed);
        let mut shown: Vec<String> = outline
            .types
            .iter()
            .map(|t| format!("{} {} {:?}", t.kind.name(), t.name, t.doc))
            .collect();
        shown.extend(outline.fields.iter().map(|field| {
            format!(
                "{}: {} {:?} {:?}{}",
                field.path,
                field.type_name,
                field.doc,
                field.default,
                if field.is_required { " required" } else { "" }
            )
        }));
        assert_eq!(shown.join("\n"), expected.trim(), "{text}");
    }

    #[test]
    fn avro_records_arrays_maps_and_unions() {
        check(
            SchemaFormat::Avro,
            r#"{"type":"record","name":"Order","namespace":"shop","doc":"an order","fields":[
                {"name":"id","type":"long","doc":"its number"},
                {"name":"note","type":["null","string"],"default":null},
                {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
                {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
                    {"name":"qty","type":"int"},{"name":"order","type":["null","Order"]}]}}},
                {"name":"labels","type":{"type":"map","values":{"type":"enum","name":"L","symbols":["A","B"]}}}]}"#,
            r#"
record shop.Order Some("an order")
record shop.Line None
enum shop.L None
id: long Some("its number") None
note: null|string None Some("null")
at: long(timestamp-millis) None None
lines: array<shop.Line> None None
lines[].qty: int None None
lines[].order: null|shop.Order None None
labels: map<shop.L> None None
"#,
        );
        check(SchemaFormat::Avro, r#""string""#, "");
    }

    #[test]
    fn json_objects_items_and_definitions() {
        check(
            SchemaFormat::Json,
            r##"{"title":"Order","description":"an order","type":"object","required":["id"],"properties":{
                "id":{"type":"integer","description":"its number"},
                "lines":{"type":"array","items":{"type":"object","properties":{"qty":{"type":["integer","null"],"default":1}}}},
                "at":{"type":"string","format":"date-time"},
                "to":{"$ref":"#/$defs/address"}},
                "$defs":{"address":{"type":"object","properties":{"zip":{"type":"string"}}}}}"##,
            r#"
object Order Some("an order")
object lines[] None
object $defs.address None
id: integer Some("its number") None required
lines: array<object> None None
lines[].qty: integer|null None Some("1")
at: string(date-time) None None
to: #/$defs/address None None
$defs.address.zip: string None None
"#,
        );
    }

    #[test]
    fn protobuf_messages_oneofs_and_enums() {
        check(
            SchemaFormat::Protobuf,
            r#"syntax = "proto3"; package shop;
            message Order { int64 id = 1; repeated Line lines = 2; map<string, int32> n = 3;
              oneof pay { string card = 4; } message Line { optional int32 qty = 1; } }
            enum Kind { KIND_UNSPECIFIED = 0; A = 1; }"#,
            r#"
record shop.Order None
record shop.Order.Line None
enum shop.Kind None
Order.id: int64 None None
Order.lines: repeated Line None None
Order.n: map<string, int32> None None
Order.card: string None None
Order.Line.qty: optional int32 None None
"#,
        );
    }
}
