//! A file and its references, linked, and the descriptors that reflection needs of them.

use std::sync::{Arc, LazyLock};

use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;

use super::Reference;
use super::ast::{At, Import, ImportKind, Message, ProtoFile};
use super::link::{LinkedFile, Strictness, link, lower, lower_for_reflection};
use super::normalize::fold_map_entries;
use crate::schema::ParseError;

/// A value made when it is first read.
type Late<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send + Sync>>;

/// A schema and everything it imports, linked.
#[derive(Debug)]
pub(super) struct Linked {
    /// The schema's own file is the last.
    pub(super) linked: Arc<Vec<LinkedFile>>,
    /// The same files as descriptors, for reflection.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests look at single descriptors")
    )]
    pub(super) files: Late<Vec<FileDescriptorProto>>,
    /// The descriptors as reflection holds them; empty when it cannot hold them.
    pub(super) pool: Late<DescriptorPool>,
}

/// Links a schema.
///
/// # Errors
/// The first thing wrong with it.
pub(super) fn compile(
    file: &ProtoFile,
    references: &[Reference],
    strictness: Strictness,
) -> Result<Linked, ParseError> {
    let folded = folded(file);
    let linked = link(folded.as_ref().unwrap_or(file), references, strictness)?;
    let linked = Arc::new(linked);
    let (for_files, for_pool) = (Arc::clone(&linked), Arc::clone(&linked));
    Ok(Linked {
        linked,
        files: LazyLock::new(Box::new(move || lower(&for_files))),
        pool: LazyLock::new(Box::new(move || {
            let mut pool = DescriptorPool::new();
            match pool.add_file_descriptor_protos(lower_for_reflection(&for_pool)) {
                Ok(()) => pool,
                Err(_) => DescriptorPool::new(),
            }
        })),
    })
}

/// The pool of one known file, for reading descriptors.
pub(super) fn known_file(path: &str) -> Option<DescriptorPool> {
    let importer = ProtoFile {
        imports: vec![Import {
            kind: ImportKind::Plain,
            path: path.to_owned(),
            at: At::default(),
        }],
        ..ProtoFile::default()
    };
    let linked = compile(&importer, &[], Strictness::Wire).ok()?;
    Some(linked.pool.clone())
}

/// The file with its map entries in their short form, where any is spelled out.
pub(super) fn folded(file: &ProtoFile) -> Option<ProtoFile> {
    if !file.messages.iter().any(has_map_entry) {
        return None;
    }
    let mut file = file.clone();
    file.messages.iter_mut().for_each(fold_map_entries);
    Some(file)
}

fn has_map_entry(message: &Message) -> bool {
    message.is_map_entry() || message.messages.iter().any(has_map_entry)
}
