//! Every name that a set of files declares, and how a name is looked up among them.
//!
//! The rules are those of C++: the innermost scope that knows a name's first part decides.

use std::collections::HashMap;

use super::super::ast::{
    At, EnumType, Extend, Field, FieldType, Group, Message, OptionNode, Visibility,
};
use super::super::resolve::join;
use super::features::{Exports, Features};
use super::model::entry_name;
use super::{LinkError, SourceFile, Strictness};

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Package,
    Message(&'a Message),
    /// The entry of the map field.
    MapEntry,
    Enum {
        node: &'a EnumType,
        closed: bool,
    },
    /// The extended type as written, and the extension.
    Extension(&'a str, Member<'a>),
    Service,
    /// A field, oneof, enum value or method.
    Other,
}

/// A field in either of its forms.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member<'a> {
    Field(&'a Field),
    Group(&'a Group),
}

/// A declared name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) kind: Kind<'a>,
    /// Position of the file that declares it.
    pub(super) file: usize,
    /// Other files cannot use it.
    pub(super) local: bool,
}

impl Symbol<'_> {
    /// Whether a field's type can be named so.
    pub(super) fn is_type(&self) -> bool {
        matches!(
            self.kind,
            Kind::Message(_) | Kind::MapEntry | Kind::Enum { .. }
        )
    }

    /// Whether names can be looked up in it.
    fn is_scope(&self) -> bool {
        self.is_type() || matches!(self.kind, Kind::Package | Kind::Service)
    }
}

/// Why a name means nothing.
pub(super) enum Missing {
    Undefined,
    /// Declared in the file at this position, which is not imported.
    NotImported(usize),
    /// An inner scope knows the first part, and this is what it made of the name.
    Shadowed(String),
}

/// The declared names, by full name without a leading dot.
#[derive(Debug, Default)]
pub(super) struct Symbols<'a> {
    by_name: HashMap<String, Symbol<'a>>,
}

/// What one file sees.
#[derive(Debug)]
pub(super) struct View {
    /// By position of the file.
    pub(super) files: Vec<bool>,
    /// Packages of the seen files and the packages around them.
    pub(super) packages: std::collections::HashSet<String>,
}

impl View {
    fn sees(&self, name: &str, symbol: &Symbol<'_>) -> bool {
        match symbol.kind {
            Kind::Package => self.packages.contains(name),
            _ => self.files.get(symbol.file).copied().unwrap_or(false),
        }
    }
}

impl<'a> Symbols<'a> {
    /// The symbol with this full name.
    pub(super) fn get(&self, full: &str) -> Option<&Symbol<'a>> {
        self.by_name.get(full)
    }

    /// Looks `name` up from `scope`; `view` limits what is found, `types` to types.
    pub(super) fn look_up(
        &self,
        view: Option<&View>,
        scope: &str,
        name: &str,
        types: bool,
    ) -> Result<(String, Symbol<'a>), Missing> {
        let sees =
            |full: &str, symbol: &Symbol<'_>| view.is_none_or(|view| view.sees(full, symbol));
        let mut missing = Missing::Undefined;
        let mut check = |full: &str| {
            let symbol = *self.by_name.get(full)?;
            if sees(full, &symbol) {
                return Some(symbol);
            }
            missing = Missing::NotImported(symbol.file);
            None
        };
        if let Some(full) = name.strip_prefix('.') {
            return match check(full) {
                Some(symbol) => Ok((full.to_owned(), symbol)),
                None => Err(missing),
            };
        }
        let first = name.split('.').next().unwrap_or(name);
        let mut scope = scope;
        loop {
            let candidate = join(scope, first);
            if let Some(symbol) = check(&candidate) {
                if first.len() == name.len() {
                    if !types || symbol.is_type() {
                        return Ok((candidate, symbol));
                    }
                } else if symbol.is_scope() {
                    let full = join(scope, name);
                    return match check(&full) {
                        Some(symbol) => Ok((full, symbol)),
                        None if matches!(missing, Missing::NotImported(_)) => Err(missing),
                        None => Err(Missing::Shadowed(full)),
                    };
                }
            }
            if scope.is_empty() {
                break;
            }
            scope = parent(scope);
        }
        // A name that only a hidden file could have meant.
        Err(missing)
    }

    /// Declares all that `file` holds.
    pub(super) fn declare(
        &mut self,
        position: usize,
        file: SourceFile<'a>,
        strictness: Strictness,
    ) -> Result<(), LinkError> {
        let features = Features::of(file.node.syntax).with(&file.node.options);
        let mut declarer = Declarer {
            symbols: self,
            file: position,
            strict: strictness != Strictness::Wire,
        };
        let package = file.node.package_name();
        declarer.package(package, file.node.package_at)?;
        for message in &file.node.messages {
            declarer.message(package, message, features, true)?;
        }
        for enum_type in &file.node.enums {
            declarer.enum_type(package, enum_type, features, true)?;
        }
        for extend in &file.node.extends {
            declarer.extend(package, extend, features)?;
        }
        for service in &file.node.services {
            let full = join(package, &service.name);
            declarer.add(&full, Kind::Service, service.at)?;
            for rpc in &service.rpcs {
                declarer.add(&join(&full, &rpc.name), Kind::Other, rpc.at)?;
            }
        }
        Ok(())
    }
}

/// The scope around a scope.
pub(super) fn parent(scope: &str) -> &str {
    scope.rsplit_once('.').map_or("", |(outer, _)| outer)
}

struct Declarer<'s, 'a> {
    symbols: &'s mut Symbols<'a>,
    file: usize,
    strict: bool,
}

impl<'a> Declarer<'_, 'a> {
    fn package(&mut self, package: &str, at: At) -> Result<(), LinkError> {
        let ends = package.match_indices('.').map(|(end, _)| end);
        for end in ends.chain([package.len()]).filter(|end| *end > 0) {
            let Some(name) = package.get(..end) else {
                continue;
            };
            let known = self.symbols.by_name.get(name);
            if known.is_some_and(|known| !matches!(known.kind, Kind::Package)) {
                return Err(LinkError::new(
                    at,
                    format!("\"{name}\" is already defined as something other than a package"),
                ));
            }
            self.symbols
                .by_name
                .entry(name.to_owned())
                .or_insert(Symbol {
                    kind: Kind::Package,
                    file: self.file,
                    local: false,
                });
        }
        Ok(())
    }

    fn add(&mut self, full: &str, kind: Kind<'a>, at: At) -> Result<(), LinkError> {
        self.add_seen(full, kind, at, false)
    }

    fn add_seen(
        &mut self,
        full: &str,
        kind: Kind<'a>,
        at: At,
        local: bool,
    ) -> Result<(), LinkError> {
        let symbol = Symbol {
            kind,
            file: self.file,
            local,
        };
        let Some(known) = self.symbols.by_name.get(full).copied() else {
            self.symbols.by_name.insert(full.to_owned(), symbol);
            return Ok(());
        };
        // On the wire only types must be told apart.
        if self.strict || (known.is_type() && symbol.is_type()) {
            return Err(LinkError::new(at, format!("\"{full}\" is already defined")));
        }
        if symbol.is_type() {
            self.symbols.by_name.insert(full.to_owned(), symbol);
        }
        Ok(())
    }

    fn is_local(&self, visibility: Option<Visibility>, features: Features, top: bool) -> bool {
        match visibility {
            Some(visibility) => visibility == Visibility::Local,
            None => match features.exports {
                Exports::All => false,
                Exports::TopLevel => !top,
                Exports::Nothing | Exports::Strict => true,
            },
        }
    }

    fn message(
        &mut self,
        scope: &str,
        message: &'a Message,
        features: Features,
        top: bool,
    ) -> Result<(), LinkError> {
        let full = join(scope, &message.name);
        let local = self.is_local(message.visibility, features, top);
        self.add_seen(&full, Kind::Message(message), message.at, local)?;
        let features = features.with(&message.options);
        for field in &message.fields {
            self.field(&full, field)?;
        }
        for group in &message.groups {
            self.group(&full, group, features)?;
        }
        for oneof in &message.oneofs {
            self.add(&join(&full, &oneof.name), Kind::Other, oneof.at)?;
            for field in &oneof.fields {
                self.field(&full, field)?;
            }
            for group in &oneof.groups {
                self.group(&full, group, features)?;
            }
        }
        for nested in &message.messages {
            self.message(&full, nested, features, false)?;
        }
        for enum_type in &message.enums {
            self.enum_type(&full, enum_type, features, false)?;
        }
        for extend in &message.extends {
            self.extend(&full, extend, features)?;
        }
        Ok(())
    }

    fn field(&mut self, scope: &str, field: &'a Field) -> Result<(), LinkError> {
        self.add(&join(scope, &field.name), Kind::Other, field.at)?;
        if matches!(field.field_type, FieldType::Map(..)) {
            let entry = join(scope, &entry_name(&field.name));
            self.add(&entry, Kind::MapEntry, field.at)?;
        }
        Ok(())
    }

    fn group(
        &mut self,
        scope: &str,
        group: &'a Group,
        features: Features,
    ) -> Result<(), LinkError> {
        let name = group.body.name.to_ascii_lowercase();
        self.add(&join(scope, &name), Kind::Other, group.body.at)?;
        self.message(scope, &group.body, features, false)
    }

    fn enum_type(
        &mut self,
        scope: &str,
        node: &'a EnumType,
        features: Features,
        top: bool,
    ) -> Result<(), LinkError> {
        let local = self.is_local(node.visibility, features, top);
        let closed = is_closed(features, &node.options);
        let kind = Kind::Enum { node, closed };
        self.add_seen(&join(scope, &node.name), kind, node.at, local)?;
        if !self.strict {
            return Ok(());
        }
        // Values are siblings of their enum, as in C++.
        for constant in &node.constants {
            self.add(&join(scope, &constant.name), Kind::Other, constant.at)?;
        }
        Ok(())
    }

    fn extend(
        &mut self,
        scope: &str,
        extend: &'a Extend,
        features: Features,
    ) -> Result<(), LinkError> {
        for field in &extend.fields {
            let kind = Kind::Extension(&extend.name, Member::Field(field));
            self.add(&join(scope, &field.name), kind, field.at)?;
        }
        for group in &extend.groups {
            let name = group.body.name.to_ascii_lowercase();
            let kind = Kind::Extension(&extend.name, Member::Group(group));
            self.add(&join(scope, &name), kind, group.body.at)?;
            self.message(scope, &group.body, features, false)?;
        }
        Ok(())
    }
}

/// Whether an enum with these options, where `features` hold, is closed.
pub(super) fn is_closed(features: Features, options: &[OptionNode]) -> bool {
    !features.with(options).open_enums
}
