//! Inline tags: labels such as `PII` written into a schema beside a record or a field.
//!
//! Avro and JSON Schema keep them under `confluent:tags`, Protobuf in the options
//! `(confluent.message_meta)` and `(confluent.field_meta)`. They mean nothing to a payload; people
//! and serializers' rules read them. Knows nothing of who edits them.
//! Next: `tags.rs` of each format's folder.

use thiserror::Error;

use crate::schema::ParsedSchema;

/// What a tag is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntityType {
    /// A record, message or object.
    Record,
    /// A field or property.
    Field,
}

impl EntityType {
    /// Confluent's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "sr_record",
            Self::Field => "sr_field",
        }
    }

    /// The type of exactly that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Record, Self::Field]
            .into_iter()
            .find(|entity| entity.name() == name)
    }
}

/// A place in a schema and its tags, each once, in order of appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedEntity {
    /// Names joined by dots: `ns.Rec.field`, `object.prop`, `Message.field`.
    pub path: String,
    /// What the path names.
    pub entity: EntityType,
    /// Never empty in what a schema answers.
    pub tags: Vec<String>,
}

/// A path that names nothing in the schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("No matching {what} '{name}' found in the schema")]
pub struct UnknownEntity {
    /// `path`, `Message with name` or `Field with name`.
    pub what: &'static str,
    /// What was looked for.
    pub name: String,
}

impl UnknownEntity {
    pub(crate) fn path(path: &str) -> Self {
        Self {
            what: "path",
            name: path.to_owned(),
        }
    }
}

impl ParsedSchema {
    /// Every tagged record and field, in the order of the text.
    #[must_use]
    pub fn tagged_entities(&self) -> Vec<TaggedEntity> {
        match self {
            Self::Avro(schema) => schema.tagged_entities(),
            Self::Json(schema) => schema.tagged_entities(),
            Self::Protobuf(schema) => schema.tagged_entities(),
        }
    }

    /// The canonical text with tags added and then others removed.
    ///
    /// # Errors
    /// When a path names nothing in the schema.
    pub fn with_tags(
        &self,
        add: &[TaggedEntity],
        remove: &[TaggedEntity],
    ) -> Result<String, UnknownEntity> {
        let edits = Edit::merge(add, remove);
        match self {
            Self::Avro(schema) => schema.with_tags(&edits),
            Self::Json(schema) => schema.with_tags(&edits),
            Self::Protobuf(schema) => schema.with_tags(&edits),
        }
    }
}

/// What happens to the tags of one place.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) path: String,
    pub(crate) entity: EntityType,
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
}

impl Edit {
    /// One edit a place, places to add to first; a leading dot of a path does not count.
    fn merge(add: &[TaggedEntity], remove: &[TaggedEntity]) -> Vec<Self> {
        let mut edits: Vec<Self> = Vec::new();
        for (tagged, adds) in add
            .iter()
            .map(|tagged| (tagged, true))
            .chain(remove.iter().map(|tagged| (tagged, false)))
        {
            let same = |edit: &&mut Self| {
                bare(&edit.path) == bare(&tagged.path) && edit.entity == tagged.entity
            };
            if edits.iter_mut().find(same).is_none() {
                edits.push(Self {
                    path: tagged.path.clone(),
                    entity: tagged.entity,
                    add: Vec::new(),
                    remove: Vec::new(),
                });
            }
            if let Some(edit) = edits.iter_mut().find(same) {
                let tags = if adds {
                    &mut edit.add
                } else {
                    &mut edit.remove
                };
                unite(tags, &tagged.tags);
            }
        }
        edits
    }

    /// The tags of a place that had `tags`.
    pub(crate) fn applied(&self, mut tags: Vec<String>) -> Vec<String> {
        unite(&mut tags, &self.add);
        tags.retain(|tag| !self.remove.contains(tag));
        tags
    }
}

fn unite(into: &mut Vec<String>, from: &[String]) {
    for tag in from {
        if !into.contains(tag) {
            into.push(tag.clone());
        }
    }
}

/// A path without a leading dot.
pub(crate) fn bare(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParseMode, SchemaFormat};

    fn parse(format: SchemaFormat, text: &str) -> ParsedSchema {
        ParsedSchema::parse(format, text, &[], ParseMode::Existing).expect(text)
    }

    fn tagged(text: &str) -> Vec<TaggedEntity> {
        text.split_whitespace()
            .map(|one| {
                let (place, tags) = one.split_once('=').expect("path=tags");
                let (entity, path) = match place.strip_prefix("record:") {
                    Some(path) => (EntityType::Record, path),
                    None => (EntityType::Field, place),
                };
                TaggedEntity {
                    path: path.to_owned(),
                    entity,
                    tags: tags.split(',').map(str::to_owned).collect(),
                }
            })
            .collect()
    }

    /// Adds, lists what is there then, removes it all and expects the text one began with.
    #[track_caller]
    fn check(format: SchemaFormat, text: &str, add: &str, listed: &str) {
        let schema = parse(format, text);
        let canonical = schema.text(crate::TextForm::Canonical);
        let edited = schema.with_tags(&tagged(add), &[]).expect(add);
        let edited = parse(format, &edited);
        assert_eq!(edited.tagged_entities(), tagged(listed), "{add}");
        let cleared = edited.with_tags(&[], &tagged(listed)).expect(listed);
        assert_eq!(
            parse(format, &cleared).text(crate::TextForm::Canonical),
            canonical
        );
    }

    #[test]
    fn avro() {
        let text = r#"{"type":"record","name":"R","namespace":"n","fields":[
            {"name":"a","type":"int"},
            {"name":"b","type":["null",{"type":"array","items":{"type":"record","name":"In","fields":[
                {"name":"c","type":"string"}]}}]}]}"#;
        for (add, listed) in [
            ("record:n.R=A,B", "record:n.R=A,B"),
            ("record:R=A .R.a=B,B", "record:n.R=A n.R.a=B"),
            ("n.In.c=X In.c=Y", "n.In.c=X,Y"),
        ] {
            check(SchemaFormat::Avro, text, add, listed);
        }
    }

    #[test]
    fn json() {
        let text = r##"{"type":"object","title":"t","properties":{
            "a":{"type":"number","maximum":1.50},
            "c.d":{"type":"string"},
            "o":{"type":"object","properties":{"x":{"type":"string"}}},
            "l":{"type":"array","items":{"type":"object","properties":{"y":{"type":"string"}}}},
            "u":{"oneOf":[{"type":"string"},{"type":"object","properties":{"z":{"type":"null"}}}]}},
            "definitions":{"D":{"type":"object","properties":{"d":{"type":"string"}}}}}"##;
        for (add, listed) in [
            ("record:object=R", "record:object=R"),
            ("object.a=A object.c.d=B", "object.a=A object.c.d=B"),
            ("object.o.object.x=X", "object.o.object.x=X"),
            ("object.l.array.object.y=Y", "object.l.array.object.y=Y"),
            ("object.u.oneof.0.object.z=Z", "object.u.oneof.0.object.z=Z"),
            (
                "object.definitions.D.object.d=D",
                "object.definitions.D.object.d=D",
            ),
        ] {
            check(SchemaFormat::Json, text, add, listed);
        }
    }

    #[test]
    fn protobuf() {
        let text = "syntax = \"proto3\";\npackage p;\nmessage M {\n  string a = 1 [deprecated = true];\n  \
             oneof pick {\n    int32 b = 2;\n  }\n  message In {\n    string c = 1;\n  }\n}\n";
        for (add, listed) in [
            ("record:M=A", "record:M=A"),
            ("M.a=A .M.a=B", "M.a=A,B"),
            ("M.b=B", "M.b=B"),
            ("M.pick.b=B", "M.b=B"),
            ("record:M.In=I M.In.c=C", "record:M.In=I M.In.c=C"),
        ] {
            check(SchemaFormat::Protobuf, text, add, listed);
        }
    }

    #[test]
    fn protobuf_options_of_any_spelling_become_one() {
        let text = "syntax = \"proto3\";\nmessage M {\n  string a = 1 \
             [(confluent.field_meta).tags = \"X\", (.confluent.field_meta).doc = \"d\"];\n}\n";
        let schema = parse(SchemaFormat::Protobuf, text);
        assert_eq!(schema.tagged_entities(), tagged("M.a=X"));
        let edited = schema
            .with_tags(&tagged("M.a=Y"), &tagged("M.a=X"))
            .unwrap();
        let edited = parse(SchemaFormat::Protobuf, &edited);
        assert_eq!(edited.tagged_entities(), tagged("M.a=Y"));
        assert!(
            edited
                .text(crate::TextForm::Canonical)
                .contains("doc: \"d\"")
        );
    }

    #[test]
    fn what_names_nothing_is_an_error() {
        let avro = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
        let json = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
        let proto = "syntax = \"proto3\";\nmessage M {\n  string a = 1;\n}\n";
        for (format, text, path, message) in [
            (
                SchemaFormat::Avro,
                avro,
                "R.b",
                "No matching path 'R.b' found in the schema",
            ),
            (
                SchemaFormat::Avro,
                avro,
                "b",
                "No matching path 'b' found in the schema",
            ),
            (
                SchemaFormat::Avro,
                avro,
                "x.R.a",
                "No matching path 'x.R.a' found in the schema",
            ),
            (
                SchemaFormat::Json,
                json,
                "object.b",
                "No matching path 'object.b' found in the schema",
            ),
            (
                SchemaFormat::Json,
                json,
                "object.a.array.0",
                "No matching path 'object.a.array.0' found in the schema",
            ),
            (
                SchemaFormat::Json,
                json,
                "oneof.7.object",
                "No matching path 'oneof.7.object' found in the schema",
            ),
            (
                SchemaFormat::Protobuf,
                proto,
                "N.a",
                "No matching Field with name 'a' found in the schema",
            ),
            (
                SchemaFormat::Protobuf,
                proto,
                "N.M.a",
                "No matching Message with name 'N' found in the schema",
            ),
            (
                SchemaFormat::Protobuf,
                proto,
                "M.b",
                "No matching Field with name 'b' found in the schema",
            ),
        ] {
            let add = tagged(&format!("{path}=T"));
            let error = parse(format, text).with_tags(&add, &[]).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
