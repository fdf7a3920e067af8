//! Which declaration a name means: types and extensions of a file, its references, and the files
//! every registry knows.

use std::collections::HashMap;

use super::ast::{EnumType, Extend, Label, Message, ProtoFile};

/// The declarations a set of files makes, by full name without a leading dot.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    types: HashMap<String, TypeDecl<'a>>,
    /// Whether the extension is repeated.
    extensions: HashMap<String, bool>,
    proto3: bool,
}

/// A declared type and the file it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeDecl<'a> {
    pub(super) kind: TypeKind<'a>,
    /// Package of the declaring file, empty when there is none.
    pub(super) package: &'a str,
    /// Declared by the schema itself, not by a file it refers to.
    pub(super) own: bool,
}

/// What a type name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum TypeKind<'a> {
    Message(&'a Message),
    Enum,
}

impl<'a> Names<'a> {
    /// The names of `file`, of `references` and of `bundled`; an earlier file wins.
    pub(super) fn collect(
        file: &'a ProtoFile,
        references: impl IntoIterator<Item = &'a ProtoFile>,
    ) -> Self {
        let mut names = Self {
            proto3: file.is_proto3(),
            ..Self::default()
        };
        names.add_file(file, true);
        for reference in references {
            names.add_file(reference, false);
        }
        names
    }

    fn add_file(&mut self, file: &'a ProtoFile, own: bool) {
        let package = file.package_name();
        self.add_types(package, &file.messages, &file.enums, package, own);
        self.add_extends(package, &file.extends);
    }

    fn add_types(
        &mut self,
        scope: &str,
        messages: &'a [Message],
        enums: &'a [EnumType],
        package: &'a str,
        own: bool,
    ) {
        for enum_type in enums {
            self.types
                .entry(join(scope, &enum_type.name))
                .or_insert(TypeDecl {
                    kind: TypeKind::Enum,
                    package,
                    own,
                });
        }
        for message in messages {
            let full = join(scope, &message.name);
            self.add_extends(&full, &message.extends);
            self.add_types(&full, &message.messages, &message.enums, package, own);
            let groups = message
                .groups
                .iter()
                .chain(message.oneofs.iter().flat_map(|oneof| &oneof.groups));
            for group in groups {
                self.add_types(&full, std::slice::from_ref(&group.body), &[], package, own);
            }
            self.types.entry(full).or_insert(TypeDecl {
                kind: TypeKind::Message(message),
                package,
                own,
            });
        }
    }

    fn add_extends(&mut self, scope: &str, extends: &'a [Extend]) {
        for field in extends.iter().flat_map(|extend| &extend.fields) {
            self.extensions
                .entry(join(scope, &field.name))
                .or_insert_with(|| field.label == Some(Label::Repeated));
        }
    }

    /// Whether proto3 rules hold in the schema itself.
    pub(super) fn proto3(&self) -> bool {
        self.proto3
    }

    /// The full name (no leading dot) of the type that `name` means inside `scope`.
    pub(super) fn resolve(&self, scope: &str, name: &str) -> Option<String> {
        find(&self.types, scope, name)
    }

    /// The declaration with this full name.
    pub(super) fn get(&self, full_name: &str) -> Option<TypeDecl<'a>> {
        self.types.get(full_name).copied()
    }

    /// The full name of the extension that `name` means inside `scope`, and whether it repeats.
    pub(super) fn resolve_extension(&self, scope: &str, name: &str) -> Option<(String, bool)> {
        let full = find(&self.extensions, scope, name)?;
        let repeated = self.extensions.get(&full).copied().unwrap_or(false);
        Some((full, repeated))
    }
}

/// `scope.name`, or `name` in the unnamed scope.
pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}

/// Looks `name` up in `scope`, then in each scope around it.
fn find<T>(declared: &HashMap<String, T>, scope: &str, name: &str) -> Option<String> {
    if let Some(full) = name.strip_prefix('.') {
        return declared.contains_key(full).then(|| full.to_owned());
    }
    let mut scope = scope;
    loop {
        let full = join(scope, name);
        if declared.contains_key(&full) {
            return Some(full);
        }
        if scope.is_empty() {
            return None;
        }
        scope = scope
            .rfind('.')
            .and_then(|dot| scope.get(..dot))
            .unwrap_or("");
    }
}
