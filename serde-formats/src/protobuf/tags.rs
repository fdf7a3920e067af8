//! Inline tags of Protobuf files: the `tags` of `(confluent.message_meta)` and
//! `(confluent.field_meta)`.
//!
//! Source: Confluent's `ProtobufSchema.modifySchemaTags`; however the option was written, it is
//! written as one map afterwards.

use super::ProtobufSchema;
use super::ast::{Message, OptionNode, Value};
use super::print;
use crate::tags::{Edit, EntityType, TaggedEntity, UnknownEntity, bare};

const MESSAGE_META: &str = "confluent.message_meta";
const FIELD_META: &str = "confluent.field_meta";
const TAGS: &str = "tags";

impl ProtobufSchema {
    pub(crate) fn tagged_entities(&self) -> Vec<TaggedEntity> {
        let mut entities = Vec::new();
        for message in &self.inner.file.messages {
            list(message, "", &mut entities);
        }
        entities
    }

    pub(crate) fn with_tags(&self, edits: &[Edit]) -> Result<String, UnknownEntity> {
        let mut file = self.inner.file.clone();
        for edit in edits {
            let steps: Vec<&str> = bare(&edit.path).split('.').collect();
            let (options, meta) = match edit.entity {
                EntityType::Record => {
                    let message = find_message(&mut file.messages, &steps)?;
                    (&mut message.options, MESSAGE_META)
                }
                EntityType::Field => {
                    let options = find_field(&mut file.messages, &steps)?;
                    (options, FIELD_META)
                }
            };
            apply(options, meta, edit);
        }
        Ok(print::print(&file))
    }
}

fn list(message: &Message, scope: &str, entities: &mut Vec<TaggedEntity>) {
    let name = format!("{scope}{}", message.name);
    let mut add = |path: String, entity, options: &[OptionNode], meta| {
        let tags = tags_of(options, meta);
        if !tags.is_empty() {
            entities.push(TaggedEntity { path, entity, tags });
        }
    };
    add(
        name.clone(),
        EntityType::Record,
        &message.options,
        MESSAGE_META,
    );
    let in_oneofs = message.oneofs.iter().flat_map(|oneof| &oneof.fields);
    for field in in_oneofs.chain(&message.fields) {
        let path = format!("{name}.{}", field.name);
        add(path, EntityType::Field, &field.options, FIELD_META);
    }
    for inner in &message.messages {
        list(inner, &format!("{name}."), entities);
    }
}

fn unknown_message(name: &str) -> UnknownEntity {
    UnknownEntity {
        what: "Message with name",
        name: name.to_owned(),
    }
}

fn find_message<'m>(
    messages: &'m mut [Message],
    steps: &[&str],
) -> Result<&'m mut Message, UnknownEntity> {
    let (first, rest) = steps.split_first().ok_or_else(|| unknown_message(""))?;
    let found = messages
        .iter_mut()
        .find(|message| message.name == *first)
        .ok_or_else(|| unknown_message(first))?;
    if rest.is_empty() {
        Ok(found)
    } else {
        find_message(&mut found.messages, rest)
    }
}

/// The options of a field; the step before its name may name its oneof.
fn find_field<'m>(
    messages: &'m mut [Message],
    steps: &[&str],
) -> Result<&'m mut Vec<OptionNode>, UnknownEntity> {
    let (name, owners) = steps.split_last().ok_or_else(|| unknown_message(""))?;
    let unknown = || UnknownEntity {
        what: "Field with name",
        name: (*name).to_owned(),
    };
    let (last, outer) = owners.split_last().ok_or_else(unknown)?;
    let is_message = {
        let siblings: &[Message] = if outer.is_empty() {
            messages
        } else {
            &find_message(messages, outer)?.messages
        };
        siblings.iter().any(|message| message.name == *last)
    };
    if is_message {
        let message = find_message(messages, owners)?;
        let in_oneofs = message
            .oneofs
            .iter_mut()
            .flat_map(|oneof| &mut oneof.fields);
        return message
            .fields
            .iter_mut()
            .chain(in_oneofs)
            .find(|field| field.name == *name)
            .map(|field| &mut field.options)
            .ok_or_else(unknown);
    }
    if outer.is_empty() {
        return Err(unknown());
    }
    find_message(messages, outer)?
        .oneofs
        .iter_mut()
        .find(|oneof| oneof.name == *last)
        .and_then(|oneof| oneof.fields.iter_mut().find(|field| field.name == *name))
        .map(|field| &mut field.options)
        .ok_or_else(unknown)
}

fn is_meta(option: &OptionNode, meta: &str) -> bool {
    option.extension && bare(&option.name) == meta
}

/// All that the options say under one name, as one map.
fn merged(options: &[OptionNode], meta: &str) -> Vec<(String, Value)> {
    let mut merged: Vec<(String, Value)> = Vec::new();
    for option in options.iter().filter(|option| is_meta(option, meta)) {
        let mut value = option.value.clone();
        for step in option.path.iter().rev() {
            value = Value::Map(vec![(step.clone(), value)]);
        }
        let Value::Map(entries) = value else {
            continue;
        };
        for (key, value) in entries {
            match merged.iter_mut().find(|(known, _)| *known == key) {
                None => merged.push((key, value)),
                Some((_, old)) => {
                    let mut items = items_of(std::mem::replace(old, Value::List(Vec::new())));
                    for item in items_of(value) {
                        if !items.contains(&item) {
                            items.push(item);
                        }
                    }
                    *old = Value::List(items);
                }
            }
        }
    }
    merged
}

fn items_of(value: Value) -> Vec<Value> {
    match value {
        Value::List(items) => items,
        one => vec![one],
    }
}

fn tags_of(options: &[OptionNode], meta: &str) -> Vec<String> {
    let tags = merged(options, meta)
        .into_iter()
        .find(|(key, _)| key == TAGS)
        .map(|(_, value)| items_of(value))
        .unwrap_or_default();
    let mut texts: Vec<String> = Vec::new();
    for tag in tags {
        if let Value::String(text) | Value::Word(text) | Value::Number(text) = tag
            && !texts.contains(&text)
        {
            texts.push(text);
        }
    }
    texts
}

fn apply(options: &mut Vec<OptionNode>, meta: &str, edit: &Edit) {
    let tags = edit.applied(tags_of(options, meta));
    let mut entries = merged(options, meta);
    let place = options.iter().position(|option| is_meta(option, meta));
    options.retain(|option| !is_meta(option, meta));
    let value = Value::List(tags.into_iter().map(Value::String).collect());
    if value == Value::List(Vec::new()) {
        entries.retain(|(key, _)| key != TAGS);
    } else {
        match entries.iter_mut().find(|(key, _)| key == TAGS) {
            Some((_, old)) => *old = value,
            None => entries.push((TAGS.to_owned(), value)),
        }
    }
    if entries.is_empty() {
        return;
    }
    let option = OptionNode {
        extension: true,
        ..OptionNode::plain(meta, Value::Map(entries))
    };
    let place = place.unwrap_or(options.len()).min(options.len());
    options.insert(place, option);
}
