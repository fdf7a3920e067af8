//! What the reference refuses even in a schema that is already stored: a type declared twice, and
//! a field whose type nobody declares.

use std::collections::HashSet;

use super::ast::{At, EnumType, Field, FieldType, Message, ProtoFile};
use super::resolve::{Names, join};
use crate::schema::ParseError;

/// Checks a stored schema.
///
/// The value of a map may be of an unknown type, as may what extensions and methods name.
pub(super) fn check(file: &ProtoFile, names: &Names<'_>) -> Result<(), ParseError> {
    let mut check = Check {
        names,
        declared: HashSet::new(),
    };
    let package = file.package_name();
    check.types(package, &file.messages, &file.enums)?;
    for message in &file.messages {
        check.message(package, message)?;
    }
    Ok(())
}

struct Check<'a> {
    names: &'a Names<'a>,
    declared: HashSet<String>,
}

fn refuse(at: At, message: String) -> Result<(), ParseError> {
    Err(ParseError {
        message,
        position: (at.line > 0).then_some((at.line, at.column)),
    })
}

impl Check<'_> {
    fn types(
        &mut self,
        scope: &str,
        messages: &[Message],
        enums: &[EnumType],
    ) -> Result<(), ParseError> {
        let messages = messages.iter().map(|one| (&one.name, one.at));
        let enums = enums.iter().map(|one| (&one.name, one.at));
        for (name, at) in messages.chain(enums) {
            if !self.declared.insert(join(scope, name)) {
                return refuse(at, format!("type \"{name}\" is declared twice"));
            }
        }
        Ok(())
    }

    fn message(&mut self, scope: &str, message: &Message) -> Result<(), ParseError> {
        let full = join(scope, &message.name);
        self.types(&full, &message.messages, &message.enums)?;
        let oneof_fields = message.oneofs.iter().flat_map(|oneof| &oneof.fields);
        for field in message.fields.iter().chain(oneof_fields) {
            self.field(&full, field)?;
        }
        for nested in &message.messages {
            self.message(&full, nested)?;
        }
        Ok(())
    }

    fn field(&self, scope: &str, field: &Field) -> Result<(), ParseError> {
        let FieldType::Named(name) = &field.field_type else {
            return Ok(());
        };
        if self.names.resolve(scope, name).is_none() {
            return refuse(field.type_at, format!("type \"{name}\" is not declared"));
        }
        Ok(())
    }
}
