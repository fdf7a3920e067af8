//! Linked files: every type name resolved, every feature decided. What the validator's tables, and
//! the descriptors for reflection, are made of.

use super::super::ast::{Scalar, Syntax, Value};
use super::features::Presence;

/// A linked file.
#[derive(Debug, Clone)]
pub(in crate::protobuf) struct LinkedFile {
    /// The import path; the schema itself has a made-up one.
    pub(in crate::protobuf) path: String,
    pub(in crate::protobuf) syntax: Option<Syntax>,
    /// Empty when there is none.
    pub(in crate::protobuf) package: String,
    /// Paths of the files it imports, and whether publicly.
    pub(in crate::protobuf) imports: Vec<(String, bool)>,
    pub(in crate::protobuf) messages: Vec<LinkedMessage>,
    pub(in crate::protobuf) enums: Vec<LinkedEnum>,
    pub(in crate::protobuf) extensions: Vec<LinkedField>,
}

/// A linked message, a group's body or a map's entry.
#[derive(Debug, Clone, Default)]
pub(in crate::protobuf) struct LinkedMessage {
    /// Without a leading dot.
    pub(in crate::protobuf) full_name: String,
    /// In the order of a descriptor: plain fields, groups, then those of oneofs.
    pub(in crate::protobuf) fields: Vec<LinkedField>,
    pub(in crate::protobuf) oneofs: Vec<String>,
    pub(in crate::protobuf) messages: Vec<Self>,
    pub(in crate::protobuf) enums: Vec<LinkedEnum>,
    pub(in crate::protobuf) extensions: Vec<LinkedField>,
    /// First and last number.
    pub(in crate::protobuf) extension_ranges: Vec<(i32, i32)>,
    pub(in crate::protobuf) map_entry: bool,
    pub(in crate::protobuf) message_set: bool,
}

/// A linked enum.
#[derive(Debug, Clone)]
pub(in crate::protobuf) struct LinkedEnum {
    /// Without a leading dot.
    pub(in crate::protobuf) full_name: String,
    /// Its numbers are all there is.
    pub(in crate::protobuf) closed: bool,
    pub(in crate::protobuf) values: Vec<(String, i32)>,
}

/// A linked field or extension.
#[derive(Debug, Clone)]
pub(in crate::protobuf) struct LinkedField {
    pub(in crate::protobuf) name: String,
    /// With its scope; for extensions that is where they are declared.
    pub(in crate::protobuf) full_name: String,
    pub(in crate::protobuf) number: i32,
    pub(in crate::protobuf) kind: LinkedKind,
    pub(in crate::protobuf) repeated: bool,
    pub(in crate::protobuf) presence: Presence,
    /// Repeated numbers are written packed.
    pub(in crate::protobuf) packed: bool,
    /// Text must be UTF-8.
    pub(in crate::protobuf) utf8: bool,
    /// Place of its oneof in the message.
    pub(in crate::protobuf) oneof: Option<usize>,
    pub(in crate::protobuf) default: Option<Value>,
    pub(in crate::protobuf) json_name: Option<String>,
    /// The extended message, when it is an extension.
    pub(in crate::protobuf) extendee: Option<String>,
}

/// A field's type; names are full and without a leading dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::protobuf) enum LinkedKind {
    Scalar(Scalar),
    Enum(String),
    Message(String),
    /// A message written between start and end tags.
    Group(String),
}

/// The JSON name a field has when none is given.
pub(in crate::protobuf) fn lower_camel(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    let mut raise = false;
    for c in name.chars() {
        if c == '_' {
            raise = true;
        } else if raise {
            result.push(c.to_ascii_uppercase());
            raise = false;
        } else {
            result.push(c);
        }
    }
    result
}

/// The name of a map's entry message.
pub(in crate::protobuf) fn entry_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len() + 5);
    let mut raise = true;
    for c in field.chars() {
        if c == '_' {
            raise = true;
        } else if raise {
            name.push(c.to_ascii_uppercase());
            raise = false;
        } else {
            name.push(c);
        }
    }
    name.push_str("Entry");
    name
}
