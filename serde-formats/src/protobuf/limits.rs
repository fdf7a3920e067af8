//! How much a schema and the files it refers to may declare together.
//!
//! Full names are what costs: every declaration is known by one, and is looked up scope by scope,
//! so that a long package or deep nesting multiplies with the number of declarations.

use super::ast::{At, EnumType, Extend, Field, Group, Message, ProtoFile};
use crate::schema::ParseError;

/// Most bytes of all full names: a megabyte of fields has a quarter of it.
const NAMES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most declarations: types, fields, constants, methods.
const DECLARATIONS_MAX: usize = 150_000;
/// Longest package.
const PACKAGE_BYTES_MAX: usize = 512;
/// Longest name of one declaration.
const NAME_BYTES_MAX: usize = 512;

/// Longest error in bytes; what it names may be as long as the text.
const ERROR_BYTES_MAX: usize = 1000;

/// The error with its text cut where it is too long.
pub(super) fn shortened(mut error: ParseError) -> ParseError {
    if error.message.len() > ERROR_BYTES_MAX {
        let end = error.message.floor_char_boundary(ERROR_BYTES_MAX);
        error.message.truncate(end);
        error.message.push_str(" (and more)");
    }
    error
}

/// What is taken so far.
#[derive(Debug, Default)]
pub(super) struct Limits {
    names_bytes: usize,
    declarations: usize,
}

impl Limits {
    /// Counts one file.
    ///
    /// # Errors
    /// When the files so far pass a limit.
    pub(super) fn take(&mut self, file: &ProtoFile) -> Result<(), ParseError> {
        let package = file.package_name().len();
        if package > PACKAGE_BYTES_MAX {
            let text = format!("the package has {package} bytes, more than {PACKAGE_BYTES_MAX}");
            return refuse(file.package_at, text);
        }
        self.messages(package, &file.messages)?;
        self.enums(package, &file.enums)?;
        self.extends(package, &file.extends)?;
        for service in &file.services {
            let scope = self.name(package, &service.name, service.at)?;
            for rpc in &service.rpcs {
                self.name(scope, &rpc.name, rpc.at)?;
            }
        }
        Ok(())
    }

    /// Recursion is as deep as the parser lets messages nest.
    fn messages(&mut self, scope: usize, messages: &[Message]) -> Result<(), ParseError> {
        messages
            .iter()
            .try_for_each(|message| self.message(scope, message))
    }

    fn message(&mut self, scope: usize, message: &Message) -> Result<(), ParseError> {
        let scope = self.name(scope, &message.name, message.at)?;
        self.members(scope, &message.fields, &message.groups)?;
        for oneof in &message.oneofs {
            self.name(scope, &oneof.name, oneof.at)?;
            self.members(scope, &oneof.fields, &oneof.groups)?;
        }
        self.messages(scope, &message.messages)?;
        self.enums(scope, &message.enums)?;
        self.extends(scope, &message.extends)
    }

    fn members(
        &mut self,
        scope: usize,
        fields: &[Field],
        groups: &[Group],
    ) -> Result<(), ParseError> {
        for field in fields {
            self.name(scope, &field.name, field.at)?;
        }
        groups
            .iter()
            .try_for_each(|group| self.message(scope, &group.body))
    }

    fn enums(&mut self, scope: usize, enums: &[EnumType]) -> Result<(), ParseError> {
        for enum_type in enums {
            self.name(scope, &enum_type.name, enum_type.at)?;
            for constant in &enum_type.constants {
                self.name(scope, &constant.name, constant.at)?;
            }
        }
        Ok(())
    }

    fn extends(&mut self, scope: usize, extends: &[Extend]) -> Result<(), ParseError> {
        extends
            .iter()
            .try_for_each(|extend| self.members(scope, &extend.fields, &extend.groups))
    }

    /// Counts a declaration; answers the length of its full name.
    fn name(&mut self, scope: usize, name: &str, at: At) -> Result<usize, ParseError> {
        let own = name.len();
        if own > NAME_BYTES_MAX {
            let text = format!("a name has {own} bytes, more than {NAME_BYTES_MAX}");
            return refuse(at, text);
        }
        let full = scope.saturating_add(1).saturating_add(own);
        self.names_bytes = self.names_bytes.saturating_add(full);
        self.declarations = self.declarations.saturating_add(1);
        if self.declarations > DECLARATIONS_MAX {
            let text =
                format!("the schema and its references declare more than {DECLARATIONS_MAX} names");
            return refuse(at, text);
        }
        if self.names_bytes > NAMES_BYTES_MAX {
            let text = format!(
                "the full names of the schema and its references have more than {NAMES_BYTES_MAX} \
                 bytes"
            );
            return refuse(at, text);
        }
        Ok(full)
    }
}

fn refuse<T>(at: At, message: String) -> Result<T, ParseError> {
    Err(ParseError {
        message,
        position: Some((at.line, at.column)),
    })
}
