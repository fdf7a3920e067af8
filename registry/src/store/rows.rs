//! What is bound to the statements and read from their rows, written once for both engines.
//!
//! sqlx's two engines have the same methods on different types; bounds that say so generically are
//! longer than the code, so the functions are a macro, expanded in [`super::sqlite`] and in
//! [`super::postgres`] with their types.

use std::collections::HashMap;
use std::sync::Arc;

use serde_formats::SchemaFormat;
use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, facts};
use crate::association::{Association, AssociationType, Lifecycle};
use crate::change::Change;
use crate::json;
use crate::model::{Mode, Reference, SchemaId};
use crate::snapshot::{RegisteredSchema, SchemaContent};

/// Schemas or versions read at once: bounds what a load holds twice.
pub(super) const PAGE: i64 = 2_000;

/// References by the context and id of their referrer.
pub(super) type References = HashMap<(String, i32), Vec<Reference>>;

/// Columns of a schema's row.
#[derive(Debug)]
pub(super) struct SchemaRow {
    pub(super) context: String,
    pub(super) id: i32,
    pub(super) guid: String,
    pub(super) format: String,
    pub(super) text: String,
    pub(super) metadata: Option<String>,
    pub(super) rule_set: Option<String>,
}

impl SchemaRow {
    pub(super) fn into_change(self, references: &mut References) -> Result<Change, StoreError> {
        let Self { context, id, .. } = &self;
        let wrong =
            |what: &str| StoreError::nonsense(format!("schema {id} of context {context}: {what}"));
        // Metadata and rule sets are wrapped so that the readers of HTTP bodies read them too.
        let wrapped = |key: &str, text: Option<&String>| -> Result<json::JsonObject, StoreError> {
            let mut object = json::JsonObject::new();
            if let Some(text) = text {
                object.insert(key.to_owned(), Value::Object(parse_object(text)?));
            }
            Ok(object)
        };
        let metadata = json::metadata(&wrapped("metadata", self.metadata.as_ref())?, "metadata")
            .map_err(|error| wrong(&error.0))?;
        let rule_set = json::rule_set(&wrapped("ruleSet", self.rule_set.as_ref())?, "ruleSet")
            .map_err(|error| wrong(&error.0))?;
        let content = SchemaContent {
            guid: Uuid::parse_str(&self.guid).map_err(|_| wrong("its GUID is not one"))?,
            format: SchemaFormat::from_name(&self.format).ok_or_else(|| wrong("unknown format"))?,
            references: if references.is_empty() {
                Vec::new()
            } else {
                references
                    .remove(&(context.clone(), *id))
                    .unwrap_or_default()
            },
            metadata,
            rule_set,
            text: self.text,
        };
        let schema = RegisteredSchema::new(self.context, SchemaId(self.id), content);
        Ok(Change::PutSchema(Arc::new(schema)))
    }
}

pub(super) fn config_change(subject: String, text: &str) -> Result<Change, StoreError> {
    let object = parse_object(text)?;
    let config = json::stored_config(&object)
        .map_err(|error| StoreError::nonsense(format!("settings of {subject:?}: {}", error.0)))?;
    Ok(Change::PutConfig {
        subject,
        config: Some(Arc::new(config)),
    })
}

pub(super) fn mode_change(subject: String, name: &str) -> Result<Change, StoreError> {
    let mode = Mode::from_name(name)
        .ok_or_else(|| StoreError::nonsense(format!("stored mode {name:?} is unknown")))?;
    Ok(Change::PutMode {
        subject,
        mode: Some(mode),
    })
}

/// Columns of an association's row.
#[derive(Debug)]
pub(super) struct AssociationRow {
    pub(super) guid: String,
    pub(super) subject: String,
    pub(super) resource_name: String,
    pub(super) resource_namespace: String,
    pub(super) resource_id: String,
    pub(super) association_type: String,
    pub(super) lifecycle: String,
    pub(super) frozen: bool,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
}

impl AssociationRow {
    pub(super) fn into_change(self) -> Result<Change, StoreError> {
        let guid = &self.guid;
        let wrong = |what: &str| StoreError::nonsense(format!("association {guid}: {what}"));
        Ok(Change::PutAssociation(Arc::new(Association {
            guid: Uuid::parse_str(guid).map_err(|_| wrong("its GUID is not one"))?,
            association_type: AssociationType::from_name(&self.association_type)
                .ok_or_else(|| wrong("unknown type"))?,
            lifecycle: Lifecycle::from_name(&self.lifecycle)
                .ok_or_else(|| wrong("unknown lifecycle"))?,
            subject: self.subject,
            resource_name: self.resource_name,
            resource_namespace: self.resource_namespace,
            resource_id: self.resource_id,
            frozen: self.frozen,
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
        })))
    }
}

fn parse_object(text: &str) -> Result<json::JsonObject, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::nonsense(format!("stored JSON: {error}")))
}

pub(super) fn parse_value(text: Option<String>) -> Result<Option<Value>, StoreError> {
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    parsed.map_err(|error| StoreError::nonsense(format!("stored JSON: {error}")))
}

/// Facts that this release cannot apply are none: the reader loads everything instead.
pub(super) fn readable_facts(text: Option<&str>) -> Option<Vec<Change>> {
    match facts::from_json(text?) {
        Ok(changes) => Some(changes),
        Err(error) => {
            tracing::warn!(%error, "a change cannot be applied by itself");
            None
        }
    }
}

/// The functions, for one engine's types.
macro_rules! rows {
    ($database:ty, $connection:ty) => {
        use sqlx::{QueryBuilder, Row};

        use crate::change::{Change, ChangeRow, ChangeSet};
        use crate::json;
        use crate::model::{Reference, SchemaId, Version};
        use crate::store::facts;
        use crate::store::net::{Net, runs};
        use crate::store::rows::{
            AssociationRow, PAGE, References, SchemaRow, config_change, mode_change, parse_value,
            readable_facts,
        };
        use crate::store::{Facts, Loaded, StoreError, read_epoch, sql, stored_epoch};
        use crate::subject_name::QualifiedSubject;

        pub(super) async fn epoch(connection: &mut $connection) -> Result<u64, StoreError> {
            epoch_by(connection, sql::EPOCH).await
        }

        pub(super) async fn epoch_by(
            connection: &mut $connection,
            statement: &'static str,
        ) -> Result<u64, StoreError> {
            let row = sqlx::query::<$database>(statement)
                .fetch_one(connection)
                .await?;
            read_epoch(row.try_get(0)?)
        }

        /// Everything; the caller's transaction makes it one consistent read.
        pub(super) async fn load(connection: &mut $connection) -> Result<Loaded, StoreError> {
            let epoch = epoch(connection).await?;
            let mut changes = Vec::new();
            for row in sqlx::query::<$database>(sql::LOAD_CONTEXTS)
                .fetch_all(&mut *connection)
                .await?
            {
                let context: String = row.try_get(0)?;
                changes.push(Change::RecordContext {
                    context: context.clone(),
                    recorded: row.try_get(1)?,
                });
                changes.push(Change::RaiseIds {
                    context,
                    high_water: SchemaId(row.try_get(2)?),
                });
            }
            load_schemas(connection, &mut changes).await?;
            load_versions(connection, &mut changes).await?;
            for row in sqlx::query::<$database>(sql::LOAD_CONFIGS)
                .fetch_all(&mut *connection)
                .await?
            {
                changes.push(config_change(row.try_get(0)?, row.try_get(1)?)?);
            }
            for row in sqlx::query::<$database>(sql::LOAD_MODES)
                .fetch_all(&mut *connection)
                .await?
            {
                changes.push(mode_change(row.try_get(0)?, row.try_get(1)?)?);
            }
            load_associations(connection, &mut changes).await?;
            Ok(Loaded { epoch, changes })
        }

        async fn load_associations(
            connection: &mut $connection,
            changes: &mut Vec<Change>,
        ) -> Result<(), StoreError> {
            for row in sqlx::query::<$database>(sql::LOAD_ASSOCIATIONS)
                .fetch_all(connection)
                .await?
            {
                let row = AssociationRow {
                    guid: row.try_get(0)?,
                    subject: row.try_get(1)?,
                    resource_name: row.try_get(2)?,
                    resource_namespace: row.try_get(3)?,
                    resource_id: row.try_get(4)?,
                    association_type: row.try_get(5)?,
                    lifecycle: row.try_get(6)?,
                    frozen: row.try_get(7)?,
                    created_ms: row.try_get(8)?,
                    updated_ms: row.try_get(9)?,
                };
                changes.push(row.into_change()?);
            }
            Ok(())
        }

        async fn load_schemas(
            connection: &mut $connection,
            changes: &mut Vec<Change>,
        ) -> Result<(), StoreError> {
            let mut references = References::new();
            for row in sqlx::query::<$database>(sql::LOAD_REFERENCES)
                .fetch_all(&mut *connection)
                .await?
            {
                let key = (row.try_get(0)?, row.try_get(1)?);
                references.entry(key).or_default().push(Reference {
                    name: row.try_get(2)?,
                    subject: row.try_get(3)?,
                    version: row.try_get(4)?,
                });
            }
            let mut after = (String::new(), i32::MIN);
            loop {
                let page = sqlx::query::<$database>(sql::LOAD_SCHEMAS)
                    .bind(&after.0)
                    .bind(after.1)
                    .bind(PAGE)
                    .fetch_all(&mut *connection)
                    .await?;
                for row in &page {
                    let row = SchemaRow {
                        context: row.try_get(0)?,
                        id: row.try_get(1)?,
                        guid: row.try_get(2)?,
                        format: row.try_get(3)?,
                        text: row.try_get(4)?,
                        metadata: row.try_get(5)?,
                        rule_set: row.try_get(6)?,
                    };
                    changes.push(row.into_change(&mut references)?);
                }
                let Some(last) = page.last() else {
                    return Ok(());
                };
                after = (last.try_get(0)?, last.try_get(1)?);
            }
        }

        async fn load_versions(
            connection: &mut $connection,
            changes: &mut Vec<Change>,
        ) -> Result<(), StoreError> {
            let mut after = (String::new(), i32::MIN);
            loop {
                let page = sqlx::query::<$database>(sql::LOAD_VERSIONS)
                    .bind(&after.0)
                    .bind(after.1)
                    .bind(PAGE)
                    .fetch_all(&mut *connection)
                    .await?;
                for row in &page {
                    changes.push(Change::PutVersion {
                        subject: row.try_get(0)?,
                        version: Version(row.try_get(1)?),
                        id: SchemaId(row.try_get(2)?),
                        deleted: row.try_get(3)?,
                        registered_ms: row.try_get(4)?,
                    });
                }
                let Some(last) = page.last() else {
                    return Ok(());
                };
                after = (last.try_get(0)?, last.try_get(1)?);
            }
        }

        pub(super) async fn facts(
            connection: &mut $connection,
            after: u64,
            limit: u32,
        ) -> Result<Vec<Facts>, StoreError> {
            let rows = sqlx::query::<$database>(sql::FACTS)
                .bind(stored_epoch(after))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
            rows.iter()
                .map(|row| {
                    Ok(Facts {
                        epoch: read_epoch(row.try_get(0)?)?,
                        changes: readable_facts(row.try_get(1)?),
                    })
                })
                .collect()
        }

        pub(super) async fn changes(
            connection: &mut $connection,
            after: u64,
            limit: u32,
        ) -> Result<Vec<ChangeRow>, StoreError> {
            let rows = sqlx::query::<$database>(sql::CHANGES)
                .bind(stored_epoch(after))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
            rows.iter().map(change_row).collect()
        }

        pub(super) async fn changes_of(
            connection: &mut $connection,
            subject: &str,
            limit: u32,
        ) -> Result<Vec<ChangeRow>, StoreError> {
            let rows = sqlx::query::<$database>(sql::CHANGES_OF)
                .bind(subject)
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
            rows.iter().map(change_row).collect()
        }

        fn change_row(row: &<$database as sqlx::Database>::Row) -> Result<ChangeRow, StoreError> {
            Ok(ChangeRow {
                epoch: read_epoch(row.try_get(0)?)?,
                at_ms: row.try_get(1)?,
                actor: row.try_get(2)?,
                operation: row.try_get(3)?,
                subject: row.try_get(4)?,
                before: parse_value(row.try_get(5)?)?,
                after: parse_value(row.try_get(6)?)?,
            })
        }

        /// Writes the sets after epoch `base`, in the caller's transaction.
        pub(super) async fn write(
            connection: &mut $connection,
            base: u64,
            sets: &[ChangeSet],
        ) -> Result<(), StoreError> {
            let net = Net::of(sets);
            remove(connection, &net).await?;
            put_schemas(connection, &net).await?;
            put_versions(connection, &net).await?;
            put_settings(connection, &net).await?;
            put_change_rows(connection, base, sets).await?;
            let moved = u64::try_from(sets.len()).unwrap_or(u64::MAX);
            sqlx::query::<$database>(sql::SET_EPOCH)
                .bind(stored_epoch(base.saturating_add(moved)))
                .execute(connection)
                .await?;
            Ok(())
        }

        async fn remove(connection: &mut $connection, net: &Net<'_>) -> Result<(), StoreError> {
            for (context, id) in &net.removed_schemas {
                for statement in [sql::REMOVE_REFERENCES, sql::REMOVE_SCHEMA] {
                    sqlx::query::<$database>(statement)
                        .bind(*context)
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                }
            }
            for (subject, version) in &net.removed_versions {
                sqlx::query::<$database>(sql::REMOVE_VERSION)
                    .bind(*subject)
                    .bind(version)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        }

        async fn put_schemas(
            connection: &mut $connection,
            net: &Net<'_>,
        ) -> Result<(), StoreError> {
            let schemas: Vec<_> = net.schemas.values().copied().collect();
            for run in runs(&schemas) {
                let mut query = QueryBuilder::<$database>::new(sql::PUT_SCHEMAS);
                query.push_values(run, |mut row, schema| {
                    let metadata = schema.metadata.as_ref().map(json::metadata_value);
                    let rule_set = schema.rule_set.as_ref().map(json::rule_set_value);
                    row.push_bind(schema.context.as_str())
                        .push_bind(schema.id.0)
                        .push_bind(schema.guid.to_string())
                        .push_bind(schema.format.name())
                        .push_bind(schema.text.as_str())
                        .push_bind(metadata.map(|value| value.to_string()))
                        .push_bind(rule_set.map(|value| value.to_string()));
                });
                query.build().execute(&mut *connection).await?;
            }
            let references: Vec<_> = schemas
                .iter()
                .flat_map(|schema| {
                    let numbered = (0_i32..).zip(&schema.references);
                    numbered.map(move |(position, reference)| (schema, position, reference))
                })
                .collect();
            for run in runs(&references) {
                let mut query = QueryBuilder::<$database>::new(sql::PUT_REFERENCES);
                query.push_values(run, |mut row, (schema, position, reference)| {
                    row.push_bind(schema.context.as_str())
                        .push_bind(schema.id.0)
                        .push_bind(*position)
                        .push_bind(reference.name.as_str())
                        .push_bind(reference.subject.as_str())
                        .push_bind(reference.version);
                });
                query.build().execute(&mut *connection).await?;
            }
            Ok(())
        }

        async fn put_versions(
            connection: &mut $connection,
            net: &Net<'_>,
        ) -> Result<(), StoreError> {
            let versions: Vec<_> = net.versions.iter().collect();
            for run in runs(&versions) {
                let mut query = QueryBuilder::<$database>::new(sql::PUT_VERSIONS);
                query.push_values(run, |mut row, ((subject, version), stored)| {
                    row.push_bind(*subject)
                        .push_bind(*version)
                        .push_bind(QualifiedSubject::parse(subject).context)
                        .push_bind(stored.id)
                        .push_bind(stored.deleted)
                        .push_bind(stored.registered_ms);
                });
                query.push(sql::REPLACE_VERSIONS);
                query.build().execute(&mut *connection).await?;
            }
            Ok(())
        }

        async fn put_settings(
            connection: &mut $connection,
            net: &Net<'_>,
        ) -> Result<(), StoreError> {
            for (subject, config) in &net.configs {
                let query = match config {
                    Some(config) => sqlx::query::<$database>(sql::PUT_CONFIG)
                        .bind(*subject)
                        .bind(json::config_value(config, facts::LEVEL_KEY).to_string()),
                    None => sqlx::query::<$database>(sql::REMOVE_CONFIG).bind(*subject),
                };
                query.execute(&mut *connection).await?;
            }
            for (subject, mode) in &net.modes {
                let query = match mode {
                    Some(mode) => sqlx::query::<$database>(sql::PUT_MODE)
                        .bind(*subject)
                        .bind(mode.name()),
                    None => sqlx::query::<$database>(sql::REMOVE_MODE).bind(*subject),
                };
                query.execute(&mut *connection).await?;
            }
            for (guid, association) in &net.associations {
                let query = match association {
                    Some(association) => sqlx::query::<$database>(sql::PUT_ASSOCIATION)
                        .bind(guid.to_string())
                        .bind(association.subject.as_str())
                        .bind(association.resource_name.as_str())
                        .bind(association.resource_namespace.as_str())
                        .bind(association.resource_id.as_str())
                        .bind(association.association_type.name())
                        .bind(association.lifecycle.name())
                        .bind(association.frozen)
                        .bind(association.created_ms)
                        .bind(association.updated_ms),
                    None => {
                        sqlx::query::<$database>(sql::REMOVE_ASSOCIATION).bind(guid.to_string())
                    }
                };
                query.execute(&mut *connection).await?;
            }
            for (context, row) in &net.contexts {
                if let Some(recorded) = row.recorded {
                    sqlx::query::<$database>(sql::RECORD_CONTEXT)
                        .bind(*context)
                        .bind(recorded)
                        .execute(&mut *connection)
                        .await?;
                }
                if let Some(high_water) = row.high_water {
                    sqlx::query::<$database>(sql::RAISE_IDS)
                        .bind(*context)
                        .bind(high_water)
                        .execute(&mut *connection)
                        .await?;
                }
            }
            Ok(())
        }

        async fn put_change_rows(
            connection: &mut $connection,
            base: u64,
            sets: &[ChangeSet],
        ) -> Result<(), StoreError> {
            let numbered: Vec<_> = (base.saturating_add(1)..).zip(sets).collect();
            for run in runs(&numbered) {
                let mut query = QueryBuilder::<$database>::new(sql::PUT_CHANGES);
                query.push_values(run, |mut row, (epoch, set)| {
                    let audit = &set.audit;
                    row.push_bind(stored_epoch(*epoch))
                        .push_bind(set.at_ms)
                        .push_bind(audit.actor.as_str())
                        .push_bind(audit.operation)
                        .push_bind(audit.subject.as_str())
                        .push_bind(audit.before.as_ref().map(|value| value.to_string()))
                        .push_bind(audit.after.as_ref().map(|value| value.to_string()))
                        .push_bind(facts::to_json(&set.changes));
                });
                query.build().execute(&mut *connection).await?;
            }
            Ok(())
        }
    };
}

pub(super) use rows;
