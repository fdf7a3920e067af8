//! A file and its references to linked descriptors.
//!
//! The compiler proper is `protox`. It refuses some files the reference takes (an option nobody
//! declares, an import nobody uses, options on extension ranges), none of which changes a byte on
//! the wire, so a refused file is tried again without them.

use std::collections::{HashMap, HashSet};

use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use protox::file::{File, FileResolver, GoogleFileResolver};

use super::ast::{FieldType, Group, Import, ImportKind, Message, ProtoFile};
use super::normalize::{fold_map_entries, retain_options};
use super::print::print;
use super::resolve::Names;
use super::{Reference, bundled};

/// Options that change how bytes are read; all others may go.
const WIRE_OPTIONS: [&str; 3] = ["packed", "allow_alias", "message_set_wire_format"];

/// Linked descriptors of a schema.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) pool: DescriptorPool,
    /// The schema's file and everything it imports.
    pub(super) files: Vec<FileDescriptorProto>,
}

/// Compiles a schema.
///
/// # Errors
/// What is wrong with it, in the compiler's words.
pub(super) fn compile(
    file: &ProtoFile,
    text: Option<&str>,
    references: &[Reference],
) -> Result<Linked, String> {
    let mut root = "schema.proto".to_owned();
    while references.iter().any(|reference| reference.name == root) {
        root.insert(0, '_');
    }
    let spells_entries = file.messages.iter().any(has_map_entry);
    let strict = match text {
        Some(text) if !spells_entries => text.to_owned(),
        _ => print(&folded(file)),
    };
    let mut texts: HashMap<String, String> = references
        .iter()
        .map(|one| (one.name.clone(), print(&folded(&one.file))))
        .collect();
    texts.insert(root.clone(), strict);
    let refused = match link(&root, texts) {
        Ok(linked) => return Ok(linked),
        Err(refused) => refused,
    };
    let known: HashSet<&str> = references.iter().map(|one| one.name.as_str()).collect();
    let others: Vec<&ProtoFile> = references.iter().map(|one| &one.file).collect();
    let mut texts: HashMap<String, String> = references
        .iter()
        .map(|one| {
            (
                one.name.clone(),
                print(&essential(&one.file, &known, &others)),
            )
        })
        .collect();
    texts.insert(root.clone(), print(&essential(file, &known, &others)));
    link(&root, texts).map_err(|_| refused)
}

/// The pool of one known file, for reading descriptors.
pub(super) fn known_file(path: &str) -> Option<DescriptorPool> {
    let text = bundled::text(path)?.to_owned();
    link(path, HashMap::from([(path.to_owned(), text)]))
        .ok()
        .map(|linked| linked.pool)
}

fn link(root: &str, texts: HashMap<String, String>) -> Result<Linked, String> {
    let mut compiler = protox::Compiler::with_file_resolver(Texts {
        texts,
        google: GoogleFileResolver::new(),
    });
    compiler.include_imports(true);
    compiler
        .open_file(root)
        .map_err(|error| lower_first(&error.to_string()))?;
    Ok(Linked {
        pool: compiler.descriptor_pool(),
        files: compiler.file_descriptor_set().file,
    })
}

fn lower_first(message: &str) -> String {
    let message = message.strip_suffix('.').unwrap_or(message);
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

struct Texts {
    texts: HashMap<String, String>,
    google: GoogleFileResolver,
}

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        // The compiler cannot read newer copies of its own files, so its own come first.
        if let Ok(file) = self.google.open_file(name) {
            return Ok(file);
        }
        let text = self
            .texts
            .get(name)
            .map(String::as_str)
            .or_else(|| bundled::text(name));
        text.map_or_else(
            || Err(protox::Error::file_not_found(name)),
            |text| File::from_source(name, text),
        )
    }
}

fn has_map_entry(message: &Message) -> bool {
    message.is_map_entry() || message.messages.iter().any(has_map_entry)
}

/// The file with its map entries in their short form, the only one a compiler takes.
fn folded(file: &ProtoFile) -> ProtoFile {
    let mut file = file.clone();
    file.messages.iter_mut().for_each(fold_map_entries);
    file
}

/// The file with only what matters on the wire.
fn essential(file: &ProtoFile, known: &HashSet<&str>, references: &[&ProtoFile]) -> ProtoFile {
    let mut result = folded(file);
    retain_options(&mut result, &|option| {
        !option.extension && WIRE_OPTIONS.contains(&option.name.as_str())
    });
    let mut seen = HashSet::new();
    result.imports.retain(|import| {
        let path = import.path.as_str();
        (known.contains(path) || bundled::is_known(path)) && seen.insert(import.path.clone())
    });
    let proto3 = result.is_proto3();
    for message in &mut result.messages {
        separate_names(message, proto3);
    }
    let names = Names::collect(file, references.iter().copied());
    let mut used = Vec::new();
    file.messages
        .iter()
        .for_each(|message| used_by_message(message, &mut used));
    for extend in &file.extends {
        used.push(extend.name.as_str());
        extend
            .fields
            .iter()
            .for_each(|field| used_by_type(&field.field_type, &mut used));
    }
    for rpc in file.services.iter().flat_map(|service| &service.rpcs) {
        used.push(&rpc.request);
        used.push(&rpc.response);
    }
    for name in used {
        let full = name.strip_prefix('.').unwrap_or(name);
        if names.get(full).is_some() {
            continue;
        }
        if let Some(path) = bundled::file_of_type(full)
            && seen.insert(path.to_owned())
        {
            result.imports.push(Import {
                kind: ImportKind::Plain,
                path: path.to_owned(),
            });
        }
    }
    result
}

/// Renames fields whose names differ only in case and underscores.
///
/// `protoc` takes them as long as their JSON names differ, and in proto2 always; the library the
/// descriptors are linked with never does. Names are not on the wire; [`super::tables`] reports by
/// those of the schema.
fn separate_names(message: &mut Message, proto3: bool) {
    let oneof_fields = message
        .oneofs
        .iter_mut()
        .flat_map(|oneof| &mut oneof.fields);
    let mut json_names: HashMap<String, HashSet<String>> = HashMap::new();
    for field in message.fields.iter_mut().chain(oneof_fields) {
        let plain = field.name.replace('_', "").to_ascii_lowercase();
        let json_name = field.json_name.clone();
        let json_name = json_name.unwrap_or_else(|| lower_camel(&field.name));
        let alike = json_names.entry(plain).or_default();
        let clashes = alike.contains(&json_name);
        if !alike.is_empty() && (!proto3 || !clashes) {
            field.name = format!("{}_f{}", field.name, field.number);
            if !clashes {
                field.json_name = Some(json_name.clone());
            }
        }
        alike.insert(json_name);
    }
    for nested in &mut message.messages {
        separate_names(nested, proto3);
    }
}

/// The JSON name a field has when none is given.
fn lower_camel(name: &str) -> String {
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

fn used_by_message<'a>(message: &'a Message, used: &mut Vec<&'a str>) {
    let oneof_fields = message.oneofs.iter().flat_map(|oneof| &oneof.fields);
    for field in message.fields.iter().chain(oneof_fields) {
        used_by_type(&field.field_type, used);
    }
    let oneof_groups = message.oneofs.iter().flat_map(|oneof| &oneof.groups);
    for Group { body, .. } in message.groups.iter().chain(oneof_groups) {
        used_by_message(body, used);
    }
    for extend in &message.extends {
        used.push(&extend.name);
        extend
            .fields
            .iter()
            .for_each(|field| used_by_type(&field.field_type, used));
    }
    message
        .messages
        .iter()
        .for_each(|nested| used_by_message(nested, used));
}

fn used_by_type<'a>(field_type: &'a FieldType, used: &mut Vec<&'a str>) {
    match field_type {
        FieldType::Scalar(_) => {}
        FieldType::Named(name) => used.push(name),
        FieldType::Map(_, value) => used_by_type(value, used),
    }
}
