//! Bodies: requests read leniently, answers in the reference's key order.
//!
//! Empty lists and maps are left out of entities, `schemaType` never is.

use serde_formats::TextForm;
use serde_formats::tags::{EntityType, TaggedEntity};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::extract::Query;
use crate::error::RegistryError;
use crate::json::{self, JsonObject, Mismatch, put_text};
use crate::model::{Reference, RequestedReference, SchemaId, SchemaRequest, Version, content_guid};
use crate::service::candidate::Stamp;
use crate::service::tags::TagRequest;
use crate::snapshot::RegisteredSchema;
use crate::subject_name::qualify;

pub(super) fn bad(error: Mismatch) -> RegistryError {
    RegistryError::BadRequest(error.0)
}

/// Reads a register, look-up or compatibility body.
pub(super) fn schema_request(body: &JsonObject) -> Result<SchemaRequest, RegistryError> {
    schema_request_in(body).map_err(bad)
}

/// The same inside another body.
pub(super) fn schema_request_in(body: &JsonObject) -> Result<SchemaRequest, Mismatch> {
    let mut references = Vec::new();
    for item in json::array(body, "references")? {
        let Some(reference) = item.as_object() else {
            return Err(Mismatch("a reference is not an object".to_owned()));
        };
        references.push(RequestedReference {
            name: json::text(reference, "name")?,
            subject: json::text(reference, "subject")?,
            version: json::int(reference, "version")?,
        });
    }
    let tags_to_add = schema_tags(body, "schemaTagsToAdd")?;
    let tags_to_remove = schema_tags(body, "schemaTagsToRemove")?;
    // A request that edits tags always makes a version that says so.
    let unsaid = if tags_to_add.is_empty() && tags_to_remove.is_empty() {
        0
    } else {
        -1
    };
    Ok(SchemaRequest {
        text: json::text(body, "schema")?.unwrap_or_default(),
        format: json::text(body, "schemaType")?,
        references,
        metadata: json::metadata(body, "metadata")?,
        rule_set: json::rule_set(body, "ruleSet")?,
        version: json::int(body, "version")?.unwrap_or(unsaid),
        id: json::int(body, "id")?.filter(|id| *id >= 0).map(SchemaId),
        tags_to_add,
        tags_to_remove,
        propagate_tags: json::boolean(body, "propagateSchemaTags")?.unwrap_or(false),
    })
}

/// Reads a body that edits tags.
pub(super) fn tag_request(body: &JsonObject) -> Result<TagRequest, RegistryError> {
    read_tag_request(body).map_err(bad)
}

fn read_tag_request(body: &JsonObject) -> Result<TagRequest, Mismatch> {
    let names = body
        .get("rulesToRemove")
        .is_some_and(|names| !names.is_null());
    Ok(TagRequest {
        new_version: json::int(body, "newVersion")?.unwrap_or(0),
        add: schema_tags(body, "tagsToAdd")?,
        remove: schema_tags(body, "tagsToRemove")?,
        metadata: json::metadata(body, "metadata")?,
        rule_set: json::rule_set(body, "ruleSet")?,
        rules_to_merge: json::rule_set(body, "rulesToMerge")?,
        rules_to_remove: if names {
            Some(json::texts(body, "rulesToRemove")?)
        } else {
            None
        },
    })
}

fn schema_tags(body: &JsonObject, key: &str) -> Result<Vec<TaggedEntity>, Mismatch> {
    json::array(body, key)?
        .iter()
        .map(|item| {
            let incomplete = || Mismatch(format!("`{key}` needs schemaEntity and tags"));
            let tagged = item.as_object().ok_or_else(incomplete)?;
            let entity = json::object(tagged, "schemaEntity")?.ok_or_else(incomplete)?;
            let kind = json::text(entity, "entityType")?.ok_or_else(incomplete)?;
            Ok(TaggedEntity {
                path: json::text(entity, "entityPath")?.ok_or_else(incomplete)?,
                entity: EntityType::from_name(&kind).ok_or_else(|| {
                    Mismatch(format!(
                        "entityType {kind} is neither sr_record nor sr_field"
                    ))
                })?,
                tags: json::texts(tagged, "tags")?,
            })
        })
        .collect()
}

/// How a schema is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Showing<'a> {
    /// `format`; unknown ones show the stored text.
    pub(super) format: &'a str,
    /// `referenceFormat=qualified`.
    pub(super) qualified_references: bool,
    /// Where `findTags` names the tags to list.
    find_tags: Option<&'a Query>,
}

impl<'a> Showing<'a> {
    pub(super) fn of(query: &'a Query) -> Self {
        Self {
            format: query.get("format").unwrap_or(""),
            qualified_references: query
                .get("referenceFormat")
                .is_some_and(|format| format.eq_ignore_ascii_case("qualified")),
            find_tags: None,
        }
    }

    /// With the inline tags that the query asks for.
    pub(super) fn with_tags(self, query: &'a Query) -> Self {
        Self {
            find_tags: query.get("findTags").map(|_| query),
            ..self
        }
    }

    /// Nothing but what is stored.
    pub(super) fn is_plain(&self) -> bool {
        self.format.is_empty() && !self.qualified_references && self.find_tags.is_none()
    }

    pub(super) fn text(&self, schema: &RegisteredSchema) -> String {
        let form = match self.format.to_ascii_lowercase().as_str() {
            "resolved" => TextForm::Resolved,
            "serialized" => TextForm::Serialized,
            "ignore_extensions" => TextForm::IgnoreExtensions,
            _ => return schema.text.clone(),
        };
        let applies = match form {
            TextForm::Resolved => schema.format == serde_formats::SchemaFormat::Avro,
            TextForm::Serialized | TextForm::IgnoreExtensions => {
                schema.format == serde_formats::SchemaFormat::Protobuf
            }
            TextForm::Canonical | TextForm::Normalized => false,
        };
        match schema.parsed() {
            Ok(parsed) if applies => parsed.text(form),
            Ok(_) | Err(_) => schema.text.clone(),
        }
    }

    /// Tagged places with any of the tags asked for; `*` asks for all.
    fn tags(&self, schema: &RegisteredSchema) -> Vec<TaggedEntity> {
        let Some(query) = self.find_tags else {
            return Vec::new();
        };
        let mut entities = schema
            .parsed()
            .map_or_else(|_| Vec::new(), |parsed| parsed.tagged_entities());
        entities.retain(|entity| {
            let mut asked = query.all("findTags");
            asked.any(|tag| tag == "*" || entity.tags.iter().any(|known| known == tag))
        });
        entities
    }

    fn references(&self, schema: &RegisteredSchema) -> Vec<Reference> {
        let mut references = schema.references.clone();
        if self.qualified_references {
            for reference in &mut references {
                reference.subject = qualify(&schema.context, &reference.subject);
            }
        }
        references
    }
}

/// Pieces of a schema entity, put together in the order an endpoint shows them.
#[derive(Debug, Default)]
pub(super) struct Entity(JsonObject);

impl Entity {
    pub(super) fn number(mut self, key: &str, number: i32) -> Self {
        self.0.insert(key.to_owned(), Value::from(number));
        self
    }

    pub(super) fn text(mut self, key: &str, text: &str) -> Self {
        put_text(&mut self.0, key, Some(text));
        self
    }

    pub(super) fn texts(mut self, key: &str, texts: &[String]) -> Self {
        if !texts.is_empty() {
            self.0.insert(key.to_owned(), Value::from(texts.to_vec()));
        }
        self
    }

    pub(super) fn guid(self, guid: Uuid) -> Self {
        let text = guid.to_string();
        self.text("guid", &text)
    }

    pub(super) fn content(self, schema: &RegisteredSchema, showing: Showing<'_>) -> Self {
        let mut entity = self.text("schemaType", schema.format.name());
        let references = showing.references(schema);
        if !references.is_empty() {
            let values = references.iter().map(reference_value).collect();
            entity.0.insert("references".to_owned(), values);
        }
        if let Some(metadata) = &schema.metadata {
            let value = json::metadata_value(metadata);
            entity.0.insert("metadata".to_owned(), value);
        }
        entity
    }

    pub(super) fn tags(mut self, schema: &RegisteredSchema, showing: Showing<'_>) -> Self {
        let tags: Vec<Value> = showing
            .tags(schema)
            .into_iter()
            .map(|tagged| {
                json!({
                    "schemaEntity": {
                        "entityPath": tagged.path,
                        "entityType": tagged.entity.name(),
                    },
                    "tags": tagged.tags,
                })
            })
            .collect();
        if !tags.is_empty() {
            self.0.insert("schemaTags".to_owned(), Value::Array(tags));
        }
        self
    }

    pub(super) fn values(mut self, key: &str, values: Vec<Value>) -> Self {
        if !values.is_empty() {
            self.0.insert(key.to_owned(), Value::Array(values));
        }
        self
    }

    pub(super) fn rules(mut self, schema: &RegisteredSchema) -> Self {
        if let Some(rules) = &schema.rule_set {
            self.0
                .insert("ruleSet".to_owned(), json::rule_set_value(rules));
        }
        self
    }

    pub(super) fn stamp(mut self, stamp: Option<Stamp>) -> Self {
        if let Some(stamp) = stamp {
            self.0
                .insert("ts".to_owned(), Value::from(stamp.registered_ms));
            self.0
                .insert("deleted".to_owned(), Value::from(stamp.deleted));
        }
        self
    }

    pub(super) fn build(self) -> Value {
        Value::Object(self.0)
    }
}

fn reference_value(reference: &Reference) -> Value {
    let mut object = Map::new();
    put_text(&mut object, "name", Some(&reference.name));
    put_text(&mut object, "subject", Some(&reference.subject));
    object.insert("version".to_owned(), Value::from(reference.version));
    Value::Object(object)
}

/// The entity of a subject version: listings, versions, look-ups.
pub(super) fn version_entity(
    subject: &str,
    version: Version,
    schema: &RegisteredSchema,
    showing: Showing<'_>,
    stamp: Option<Stamp>,
    aliases: &[String],
) -> Value {
    listed_entity(subject, version, schema, showing, stamp, aliases).build()
}

/// The same, to be continued.
pub(super) fn listed_entity(
    subject: &str,
    version: Version,
    schema: &RegisteredSchema,
    showing: Showing<'_>,
    stamp: Option<Stamp>,
    aliases: &[String],
) -> Entity {
    let guid = if showing.qualified_references {
        // The reference hashes what it shows here, not what it stored.
        content_guid(
            &schema.text,
            &showing.references(schema),
            schema.metadata.as_ref(),
            schema.rule_set.as_ref(),
        )
    } else {
        schema.guid
    };
    Entity::default()
        .text("subject", subject)
        .number("version", version.0)
        .number("id", schema.id.0)
        .guid(guid)
        .content(schema, showing)
        .text("schema", &showing.text(schema))
        .tags(schema, showing)
        .stamp(stamp)
        .rules(schema)
        .texts("aliases", aliases)
}

/// What a registration answers.
pub(super) fn registered_entity(
    version: Version,
    schema: &RegisteredSchema,
    showing: Showing<'_>,
    stamp: Option<Stamp>,
) -> Value {
    Entity::default()
        .number("id", schema.id.0)
        .number("version", version.0)
        .guid(schema.guid)
        .content(schema, showing)
        .rules(schema)
        .text("schema", &showing.text(schema))
        .stamp(stamp)
        .build()
}

/// What a read by id or GUID answers; by GUID no subject is shown.
pub(super) fn content_entity(
    shown_use: Option<(&str, Version)>,
    schema: &RegisteredSchema,
    showing: Showing<'_>,
    max_id: Option<i32>,
    stamp: Option<Stamp>,
) -> Value {
    let mut entity = Entity::default();
    if let Some((subject, version)) = shown_use {
        entity = entity.text("subject", subject).number("version", version.0);
    }
    entity = entity
        .guid(schema.guid)
        .content(schema, showing)
        .rules(schema)
        .text("schema", &showing.text(schema))
        .tags(schema, showing);
    if let Some(max_id) = max_id {
        entity = entity.number("maxId", max_id);
    }
    entity.stamp(stamp).build()
}
