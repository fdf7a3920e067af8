//! The fields of a message as the comparison sees them, by number.
//!
//! The reference reads no editions. A field of one compares like the field of the older syntax that
//! its features make it equal to: explicit presence is the label `optional`, `LEGACY_REQUIRED` is
//! `required`, implicit presence and a place in a oneof are no label. What is written delimited is
//! another kind than what is written with its length; how enums, text and runs of numbers are
//! checked or written is no difference, as it is none between proto2 and proto3.

use std::collections::{BTreeMap, HashMap};

use super::super::ast::{Field, FieldType, Label, Message, ProtoFile};
use super::super::link::{Features, Presence};
use super::super::resolve::join;

/// A field and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) field: &'a Field,
    /// The oneof it is in.
    pub(super) oneof: Option<&'a str>,
    pub(super) label: Option<Label>,
    /// Its messages are written between tags, though it is no group.
    pub(super) delimited: bool,
}

/// The features of every message of an edition, by full name; empty for files of older syntaxes.
#[derive(Default)]
pub(super) struct MessageFeatures {
    by_name: HashMap<String, Features>,
}

impl MessageFeatures {
    pub(super) fn add_file(&mut self, file: &ProtoFile) {
        if file.is_edition() {
            let features = Features::of(file.syntax).with(&file.options);
            self.add(file.package_name(), &file.messages, features);
        }
    }

    fn add(&mut self, scope: &str, messages: &[Message], outer: Features) {
        for message in messages {
            let full = join(scope, &message.name);
            let features = outer.with(&message.options);
            self.add(&full, &message.messages, features);
            self.by_name.entry(full).or_insert(features);
        }
    }

    /// The fields of a message by number.
    pub(super) fn members<'a>(
        &self,
        full_name: &str,
        message: &'a Message,
    ) -> BTreeMap<i32, Member<'a>> {
        let features = self.by_name.get(full_name).copied();
        let plain = message.fields.iter().map(|field| {
            let features = features.map(|features| features.with(&field.options));
            member(field, None, features)
        });
        let grouped = message.oneofs.iter().flat_map(|oneof| {
            let features = features.map(|features| features.with(&oneof.options));
            oneof.fields.iter().map(move |field| {
                let features = features.map(|features| features.with(&field.options));
                member(field, Some(&oneof.name), features)
            })
        });
        plain
            .chain(grouped)
            .map(|member| (member.field.number, member))
            .collect()
    }
}

fn member<'a>(field: &'a Field, oneof: Option<&'a str>, features: Option<Features>) -> Member<'a> {
    let written = field.label;
    let is_map = matches!(field.field_type, FieldType::Map(..));
    let (label, delimited) = match features {
        None => (written, false),
        Some(features) => (
            if oneof.is_some() || is_map || written.is_some() {
                written
            } else {
                presence_label(features.presence)
            },
            features.delimited && !is_map,
        ),
    };
    Member {
        field,
        oneof,
        label,
        delimited,
    }
}

const fn presence_label(presence: Presence) -> Option<Label> {
    match presence {
        Presence::Explicit => Some(Label::Optional),
        Presence::Implicit => None,
        Presence::Required => Some(Label::Required),
    }
}
