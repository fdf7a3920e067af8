//! Features: what editions let a file, a type or a field choose, and what proto2 and proto3 fix.

use super::super::ast::{Edition, OptionNode, Syntax, Value};

/// How absence of a singular field shows on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::protobuf) enum Presence {
    Explicit,
    /// A value at its default is not written.
    Implicit,
    Required,
}

/// Which types other files may use when nothing is written before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::protobuf) enum Exports {
    All,
    TopLevel,
    Nothing,
    /// As [`Exports::Nothing`], and a nested type cannot be exported.
    Strict,
}

/// The features in force at one place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::protobuf) struct Features {
    pub(in crate::protobuf) presence: Presence,
    pub(in crate::protobuf) open_enums: bool,
    /// Repeated numbers are written packed.
    pub(in crate::protobuf) packed: bool,
    /// Strings must be UTF-8.
    pub(in crate::protobuf) utf8: bool,
    /// Messages are written as groups.
    pub(in crate::protobuf) delimited: bool,
    /// JSON names must be unique.
    pub(in crate::protobuf) json: bool,
    /// Names must follow the style guide.
    pub(in crate::protobuf) style: bool,
    pub(in crate::protobuf) exports: Exports,
}

impl Features {
    /// What holds where nothing is chosen.
    pub(in crate::protobuf) const fn of(syntax: Option<Syntax>) -> Self {
        let edition = Self {
            presence: Presence::Explicit,
            open_enums: true,
            packed: true,
            utf8: true,
            delimited: false,
            json: true,
            style: false,
            exports: Exports::All,
        };
        match syntax {
            None | Some(Syntax::Proto2) => Self {
                open_enums: false,
                packed: false,
                utf8: false,
                json: false,
                ..edition
            },
            Some(Syntax::Proto3) => Self {
                presence: Presence::Implicit,
                ..edition
            },
            Some(Syntax::Edition(Edition::E2023)) => edition,
            Some(Syntax::Edition(Edition::E2024)) => Self {
                style: true,
                exports: Exports::TopLevel,
                ..edition
            },
        }
    }

    /// With what `options` choose; a value that is none is left to the check of options.
    pub(in crate::protobuf) fn with(mut self, options: &[OptionNode]) -> Self {
        for (name, value) in chosen(options) {
            match (name, value) {
                ("field_presence", "EXPLICIT") => self.presence = Presence::Explicit,
                ("field_presence", "IMPLICIT") => self.presence = Presence::Implicit,
                ("field_presence", "LEGACY_REQUIRED") => self.presence = Presence::Required,
                ("enum_type", value) => self.open_enums = value == "OPEN",
                ("repeated_field_encoding", value) => self.packed = value == "PACKED",
                ("utf8_validation", value) => self.utf8 = value == "VERIFY",
                ("message_encoding", value) => self.delimited = value == "DELIMITED",
                ("json_format", value) => self.json = value == "ALLOW",
                ("enforce_naming_style", value) => self.style = value == "STYLE2024",
                ("default_symbol_visibility", "EXPORT_ALL") => self.exports = Exports::All,
                ("default_symbol_visibility", "EXPORT_TOP_LEVEL") => {
                    self.exports = Exports::TopLevel;
                }
                ("default_symbol_visibility", "LOCAL_ALL") => self.exports = Exports::Nothing,
                ("default_symbol_visibility", "STRICT") => self.exports = Exports::Strict,
                _ => {}
            }
        }
        self
    }
}

/// Names and values of the features that `options` set.
pub(in crate::protobuf) fn chosen(options: &[OptionNode]) -> impl Iterator<Item = (&str, &str)> {
    options
        .iter()
        .filter(|option| !option.extension)
        .flat_map(|option| {
            let mut found = Vec::new();
            if let (Some(name), Value::Word(word)) = (feature_name(option), &option.value) {
                found.push((name, word.as_str()));
            }
            if let ("features", true, Value::Map(entries)) =
                (option.name.as_str(), option.path.is_empty(), &option.value)
            {
                found.extend(entries.iter().filter_map(|(name, value)| match value {
                    Value::Word(word) => Some((name.as_str(), word.as_str())),
                    _ => None,
                }));
            }
            found
        })
}

fn feature_name(option: &OptionNode) -> Option<&str> {
    let name = option.name.strip_prefix("features.")?;
    option.path.is_empty().then_some(name)
}
