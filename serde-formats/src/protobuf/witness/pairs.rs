//! The messages that meet when one schema reads what the other wrote, nearest to a payload first.

use std::collections::HashSet;

use super::super::ProtobufSchema;
use super::super::ast;
use super::super::resolve::join;
use super::super::types::{Count, Types};
use super::{STEPS_MAX, Search, alike, held_message};

/// Most pairs looked at.
const PAIRS_MAX: usize = 20_000;

/// One of the two schemas.
pub(super) struct Side<'a> {
    pub(super) schema: &'a ProtobufSchema,
    pub(super) types: &'a Types,
}

/// A message that a payload can be of.
pub(super) struct Root {
    pub(super) indexes: Vec<i32>,
    /// The name without its package.
    pub(super) local: String,
    pub(super) position: u32,
}

/// A message of the writer and the message of the reader that reads its bytes.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) writer: u32,
    pub(super) reader: u32,
    /// The step before, and the field of its message that holds this one.
    pub(super) from: Option<(usize, u32)>,
    /// Index path of the message, when it is a payload's own.
    pub(super) indexes: Vec<i32>,
    /// Steps before this one.
    length: usize,
}

impl<'a> Side<'a> {
    pub(super) fn new(schema: &'a ProtobufSchema) -> Result<Self, String> {
        Ok(Self {
            schema,
            types: schema.types()?,
        })
    }

    /// The messages that index paths name, in their order.
    pub(super) fn roots(&self) -> Vec<Root> {
        let mut roots = Vec::new();
        let file = &self.schema.inner.file;
        self.add_roots(file.package_name(), "", &file.messages, &[], &mut roots);
        // Outer messages first: they are what payloads mostly are.
        roots.sort_by_key(|root| root.indexes.len());
        roots
    }

    fn add_roots(
        &self,
        package: &str,
        scope: &str,
        messages: &[ast::Message],
        outer: &[i32],
        roots: &mut Vec<Root>,
    ) {
        for (index, message) in (0..).zip(messages) {
            let local = join(scope, &message.name);
            let mut indexes = outer.to_vec();
            indexes.push(index);
            self.add_roots(package, &local, &message.messages, &indexes, roots);
            if let Some(position) = self.types.position(&join(package, &local)) {
                roots.push(Root {
                    indexes,
                    local,
                    position,
                });
            }
        }
    }

    /// The message of the schema itself that has this name without its package.
    pub(super) fn counterpart(&self, local: &str) -> Option<u32> {
        let package = self.schema.inner.file.package_name();
        self.types.position(&join(package, local))
    }
}

/// Walks both schemas from the messages payloads are of; the one that is named goes first, so that
/// its own payloads are the shortest way to it.
pub(super) fn walk(search: &Search<'_>, local: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut roots = search.writer.roots();
    roots.sort_by_key(|root| root.local != local);
    for root in roots {
        if let Some(reader) = search.reader.counterpart(&root.local) {
            steps.push(Step {
                writer: root.position,
                reader,
                from: None,
                indexes: root.indexes,
                length: 0,
            });
        }
    }
    extend(search, &mut steps, 0);
    steps
}

/// Adds the pairs inside one field of a step.
pub(super) fn walk_from(search: &Search<'_>, steps: &mut Vec<Step>, step: usize, number: u32) {
    let first = steps.len();
    if let Some(inner) = inside(search, steps, step, number) {
        steps.push(inner);
    }
    extend(search, steps, first);
}

/// The steps that are the message of this name on both sides.
pub(super) fn targets(steps: &[Step], search: &Search<'_>, local: &str) -> Vec<usize> {
    let is_target = |step: &Step| {
        let messages = search.messages(step);
        messages.is_some_and(|(writer, reader)| writer.local == local && reader.local == local)
    };
    let found = steps.iter().enumerate().filter(|(_, step)| is_target(step));
    found.map(|(at, _)| at).collect()
}

/// Breadth first, each pair once.
fn extend(search: &Search<'_>, steps: &mut Vec<Step>, first: usize) {
    let mut known: HashSet<(u32, u32)> = steps
        .iter()
        .skip(first)
        .map(|step| (step.writer, step.reader))
        .collect();
    let mut next = first;
    while let Some(step) = steps.get(next) {
        if steps.len() < PAIRS_MAX
            && step.length < STEPS_MAX
            && let Some((writer, _)) = search.messages(step)
        {
            for field in &writer.fields {
                let Some(inner) = inside(search, steps, next, field.number) else {
                    continue;
                };
                if known.insert((inner.writer, inner.reader)) {
                    steps.push(inner);
                }
            }
        }
        next += 1;
    }
}

/// The pair that a field of a pair holds.
fn inside(search: &Search<'_>, steps: &[Step], step: usize, number: u32) -> Option<Step> {
    let outer = steps.get(step)?;
    let (writer, reader) = search.messages(outer)?;
    let (own, other) = (writer.field(number)?, reader.field(number)?);
    let both_maps = (own.count == Count::Map) == (other.count == Count::Map);
    if !both_maps || !alike(own.kind, other.kind) {
        return None;
    }
    Some(Step {
        writer: held_message(search.writer.types, own)?,
        reader: held_message(search.reader.types, other)?,
        from: Some((step, number)),
        indexes: Vec::new(),
        length: outer.length + 1,
    })
}
