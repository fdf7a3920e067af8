//! Change facts as the JSON of a change row: what another process applies to its image.
//!
//! An unknown fact is an error, not a gap: a newer release wrote it, and the reader loads everything
//! instead.

use std::sync::Arc;

use serde_formats::SchemaFormat;
use serde_json::{Value, json};
use uuid::Uuid;

use super::StoreError;
use crate::association::{Association, AssociationType, Lifecycle};
use crate::change::Change;
use crate::json::{self, JsonObject};
use crate::model::{Mode, Reference, SchemaId, Version};
use crate::snapshot::{RegisteredSchema, SchemaContent};

/// The facts of one change set.
pub(super) fn to_json(changes: &[Change]) -> String {
    let facts: Vec<Value> = changes.iter().map(fact).collect();
    Value::Array(facts).to_string()
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json(text: &str) -> Result<Vec<Change>, StoreError> {
    let facts: Vec<JsonObject> = serde_json::from_str(text)
        .map_err(|error| StoreError::nonsense(format!("stored facts: {error}")))?;
    facts
        .iter()
        .map(|object| {
            change(object).map_err(|what| StoreError::nonsense(format!("stored fact: {what}")))
        })
        .collect()
}

/// One fact as JSON.
pub(crate) fn fact(change: &Change) -> Value {
    match change {
        Change::PutSchema(schema) => schema_fact(schema),
        Change::RemoveSchema { context, id } => {
            json!({ "fact": "remove-schema", "context": context, "id": id.0 })
        }
        Change::PutVersion {
            subject,
            version,
            id,
            deleted,
            registered_ms,
        } => json!({
            "fact": "version",
            "subject": subject,
            "version": version.0,
            "id": id.0,
            "deleted": deleted,
            "registeredMs": registered_ms,
        }),
        Change::RemoveVersion { subject, version } => {
            json!({ "fact": "remove-version", "subject": subject, "version": version.0 })
        }
        Change::PutConfig { subject, config } => json!({
            "fact": "config",
            "subject": subject,
            "config": config.as_ref().map(|config| json::config_value(config, LEVEL_KEY)),
        }),
        Change::PutMode { subject, mode } => {
            json!({ "fact": "mode", "subject": subject, "mode": mode.map(Mode::name) })
        }
        Change::PutAssociation(association) => json!({
            "fact": "association",
            "guid": association.guid.to_string(),
            "subject": association.subject,
            "resourceName": association.resource_name,
            "resourceNamespace": association.resource_namespace,
            "resourceId": association.resource_id,
            "associationType": association.association_type.name(),
            "lifecycle": association.lifecycle.name(),
            "frozen": association.frozen,
            "createdMs": association.created_ms,
            "updatedMs": association.updated_ms,
        }),
        Change::RemoveAssociation(guid) => {
            json!({ "fact": "remove-association", "guid": guid.to_string() })
        }
        Change::RecordContext { context, recorded } => {
            json!({ "fact": "context", "context": context, "recorded": recorded })
        }
        Change::RaiseIds {
            context,
            high_water,
        } => json!({ "fact": "ids", "context": context, "highWater": high_water.0 }),
    }
}

/// The key of the level in stored settings.
pub(crate) const LEVEL_KEY: &str = "compatibilityLevel";

fn schema_fact(schema: &RegisteredSchema) -> Value {
    let references: Vec<Value> = schema
        .references
        .iter()
        .map(|reference| {
            json!({
                "name": reference.name,
                "subject": reference.subject,
                "version": reference.version,
            })
        })
        .collect();
    json!({
        "fact": "schema",
        "context": schema.context,
        "id": schema.id.0,
        "guid": schema.guid.to_string(),
        "format": schema.format.name(),
        "text": schema.text,
        "references": references,
        "metadata": schema.metadata.as_ref().map(json::metadata_value),
        "ruleSet": schema.rule_set.as_ref().map(json::rule_set_value),
    })
}

/// Reads what [`fact`] made; the error names what is missing or unknown.
pub(crate) fn change(object: &JsonObject) -> Result<Change, String> {
    let text = |key: &str| {
        let value = object.get(key).and_then(Value::as_str);
        value
            .map(str::to_owned)
            .ok_or_else(|| format!("{key} is missing"))
    };
    let int = |key: &str| {
        let value = object.get(key).and_then(Value::as_i64);
        value
            .and_then(|value| i32::try_from(value).ok())
            .ok_or_else(|| format!("{key} is missing"))
    };
    let flag = |key: &str| {
        let value = object.get(key).and_then(Value::as_bool);
        value.ok_or_else(|| format!("{key} is missing"))
    };
    let time = |key: &str| {
        let value = object.get(key).and_then(Value::as_i64);
        value.ok_or_else(|| format!("{key} is missing"))
    };
    let guid = || Uuid::parse_str(&text("guid")?).map_err(|_| "the GUID is not one".to_owned());
    Ok(match text("fact")?.as_str() {
        "schema" => Change::PutSchema(Arc::new(schema(object)?)),
        "remove-schema" => Change::RemoveSchema {
            context: text("context")?,
            id: SchemaId(int("id")?),
        },
        "version" => Change::PutVersion {
            subject: text("subject")?,
            version: Version(int("version")?),
            id: SchemaId(int("id")?),
            deleted: flag("deleted")?,
            registered_ms: time("registeredMs")?,
        },
        "remove-version" => Change::RemoveVersion {
            subject: text("subject")?,
            version: Version(int("version")?),
        },
        "config" => Change::PutConfig {
            subject: text("subject")?,
            config: match object.get("config") {
                Some(Value::Object(config)) => Some(Arc::new(
                    json::stored_config(config).map_err(|error| error.0)?,
                )),
                _ => None,
            },
        },
        "mode" => Change::PutMode {
            subject: text("subject")?,
            mode: match object.get("mode").and_then(Value::as_str) {
                Some(name) => Some(Mode::from_name(name).ok_or("unknown mode")?),
                None => None,
            },
        },
        "association" => Change::PutAssociation(Arc::new(Association {
            guid: guid()?,
            subject: text("subject")?,
            resource_name: text("resourceName")?,
            resource_namespace: text("resourceNamespace")?,
            resource_id: text("resourceId")?,
            association_type: AssociationType::from_name(&text("associationType")?)
                .ok_or("unknown association type")?,
            lifecycle: Lifecycle::from_name(&text("lifecycle")?).ok_or("unknown lifecycle")?,
            frozen: flag("frozen")?,
            created_ms: time("createdMs")?,
            updated_ms: time("updatedMs")?,
        })),
        "remove-association" => Change::RemoveAssociation(guid()?),
        "context" => Change::RecordContext {
            context: text("context")?,
            recorded: flag("recorded")?,
        },
        "ids" => Change::RaiseIds {
            context: text("context")?,
            high_water: SchemaId(int("highWater")?),
        },
        unknown => return Err(format!("{unknown:?} is not known to this release")),
    })
}

fn schema(object: &JsonObject) -> Result<RegisteredSchema, String> {
    let text = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .ok_or("a schema lacks a text")
    };
    let id = json::int(object, "id").map_err(|error| error.0)?;
    let references = json::array(object, "references").map_err(|error| error.0)?;
    let references: Option<Vec<Reference>> = references
        .iter()
        .map(|reference| {
            Some(Reference {
                name: reference.get("name")?.as_str()?.to_owned(),
                subject: reference.get("subject")?.as_str()?.to_owned(),
                version: i32::try_from(reference.get("version")?.as_i64()?).ok()?,
            })
        })
        .collect();
    let content = SchemaContent {
        guid: Uuid::parse_str(text("guid")?).map_err(|_| "the GUID is not one")?,
        format: SchemaFormat::from_name(text("format")?).ok_or("unknown format")?,
        text: text("text")?.to_owned(),
        references: references.ok_or("a reference is incomplete")?,
        metadata: json::metadata(object, "metadata").map_err(|error| error.0)?,
        rule_set: json::rule_set(object, "ruleSet").map_err(|error| error.0)?,
    };
    let id = SchemaId(id.ok_or("a schema lacks its id")?);
    Ok(RegisteredSchema::new(
        text("context")?.to_owned(),
        id,
        content,
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::model::{Metadata, Rule, RuleSet, SubjectConfig};

    fn every_fact() -> Vec<Change> {
        let content = SchemaContent {
            guid: Uuid::from_u128(7),
            format: SchemaFormat::Json,
            text: "{\"a\":\"\\u0000 ü\"}".into(),
            references: vec![Reference {
                name: "n".into(),
                subject: "other".into(),
                version: 3,
            }],
            metadata: Some(Metadata {
                tags: BTreeMap::from([("p".into(), BTreeSet::from(["PII".into()]))]),
                properties: BTreeMap::from([("k".into(), "v".into())]),
                sensitive: BTreeSet::from(["k".into()]),
            }),
            rule_set: Some(RuleSet {
                encoding_rules: vec![Rule {
                    name: Some("r".into()),
                    doc: None,
                    kind: "TRANSFORM".into(),
                    mode: "WRITE".into(),
                    rule_type: Some("ENCRYPT".into()),
                    tags: BTreeSet::new(),
                    params: BTreeMap::new(),
                    expr: None,
                    on_success: None,
                    on_failure: None,
                    disabled: false,
                }],
                ..RuleSet::default()
            }),
        };
        let config = SubjectConfig {
            normalize: Some(true),
            compatibility: Some(crate::model::CompatibilityLevel::Full),
            alias: Some("x".into()),
            ..SubjectConfig::default()
        };
        let subject = || ":.c:s".to_owned();
        let context = || ".c".to_owned();
        vec![
            Change::PutSchema(Arc::new(RegisteredSchema::new(
                context(),
                SchemaId(2),
                content,
            ))),
            Change::RemoveSchema {
                context: context(),
                id: SchemaId(2),
            },
            Change::PutVersion {
                subject: subject(),
                version: Version(4),
                id: SchemaId(2),
                deleted: true,
                registered_ms: 1_700_000_000_000,
            },
            Change::RemoveVersion {
                subject: subject(),
                version: Version(4),
            },
            Change::PutConfig {
                subject: subject(),
                config: Some(Arc::new(config)),
            },
            Change::PutConfig {
                subject: subject(),
                config: None,
            },
            Change::PutMode {
                subject: subject(),
                mode: Some(Mode::ReadOnlyOverride),
            },
            Change::PutMode {
                subject: subject(),
                mode: None,
            },
            Change::PutAssociation(Arc::new(Association {
                guid: Uuid::from_u128(8),
                subject: subject(),
                resource_name: "t".into(),
                resource_namespace: "n".into(),
                resource_id: "r".into(),
                association_type: AssociationType::Key,
                lifecycle: Lifecycle::Strong,
                frozen: true,
                created_ms: 1,
                updated_ms: 2,
            })),
            Change::RemoveAssociation(Uuid::from_u128(8)),
            Change::RecordContext {
                context: context(),
                recorded: true,
            },
            Change::RaiseIds {
                context: context(),
                high_water: SchemaId(i32::MAX),
            },
        ]
    }

    #[test]
    fn facts_read_back_as_written() {
        let facts = every_fact();
        let read = from_json(&to_json(&facts)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{facts:?}"));
    }

    #[test]
    fn facts_of_a_newer_release_are_an_error() {
        for text in [
            r#"[{"fact":"invention"}]"#,
            r#"[{"fact":"mode","subject":"s","mode":"NEW"}]"#,
            r#"[{"fact":"version","subject":"s"}]"#,
            "[1]",
            "nothing",
        ] {
            assert!(from_json(text).is_err(), "{text}");
        }
    }
}
