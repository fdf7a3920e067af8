//! The SQLite store: one writer connection, a few readers, write-ahead log, full synchronous.
//!
//! `synchronous = FULL`: an id that was answered must survive power loss, because records carrying
//! it may already be in a log that did.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_formats::SchemaFormat;
use serde_json::Value;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr, Sqlite, Transaction};
use uuid::Uuid;

use super::{CommitError, Loaded, StoreError, sql};
use crate::association::{Association, AssociationType, Lifecycle};
use crate::change::{Change, ChangeRow, ChangeSet};
use crate::json;
use crate::model::{Mode, Reference, SchemaId, Version};
use crate::snapshot::{RegisteredSchema, SchemaContent};
use crate::subject_name::QualifiedSubject;

/// Readers beside the one writer; only loads and refreshes read.
const READERS_COUNT: u32 = 4;

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// `(version, description, text)`; see `migrations/README.md`.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "initial",
        include_str!("../../../migrations/sqlite/0001_initial.sql"),
    ),
    (
        2,
        "associations",
        include_str!("../../../migrations/sqlite/0002_associations.sql"),
    ),
];

/// A registry database in one file.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens or creates the file and brings it to this release's tables.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(false);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        let migrations = MIGRATIONS
            .iter()
            .map(|(version, description, text)| {
                Migration::new(
                    *version,
                    Cow::Borrowed(*description),
                    MigrationType::Simple,
                    text.into_sql_str(),
                    false,
                )
            })
            .collect();
        Migrator::with_migrations(migrations)
            .run(&writer)
            .await
            .map_err(|error| StoreError(error.to_string()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_COUNT)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers })
    }

    /// The stored epoch.
    pub(crate) async fn epoch(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(sql::EPOCH).fetch_one(&self.readers).await?;
        let epoch: i64 = row.try_get(0)?;
        u64::try_from(epoch).map_err(|_| StoreError(format!("stored epoch {epoch} is negative")))
    }

    /// Everything, from one consistent read.
    pub(crate) async fn load(&self) -> Result<Loaded, StoreError> {
        let mut read = self.readers.begin().await?;
        let epoch: i64 = sqlx::query(sql::EPOCH)
            .fetch_one(&mut *read)
            .await?
            .try_get(0)?;
        let mut changes = Vec::new();
        for row in sqlx::query(sql::LOAD_CONTEXTS)
            .fetch_all(&mut *read)
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
        changes.extend(load_schemas(&mut read).await?);
        for row in sqlx::query(sql::LOAD_VERSIONS)
            .fetch_all(&mut *read)
            .await?
        {
            changes.push(Change::PutVersion {
                subject: row.try_get(0)?,
                version: Version(row.try_get(1)?),
                id: SchemaId(row.try_get(2)?),
                deleted: row.try_get(3)?,
                registered_ms: row.try_get(4)?,
            });
        }
        for row in sqlx::query(sql::LOAD_CONFIGS).fetch_all(&mut *read).await? {
            let subject: String = row.try_get(0)?;
            let text: String = row.try_get(1)?;
            let object = parse_object(&text)?;
            let config = json::stored_config(&object)
                .map_err(|error| StoreError(format!("settings of {subject:?}: {}", error.0)))?;
            changes.push(Change::PutConfig {
                subject,
                config: Some(Arc::new(config)),
            });
        }
        for row in sqlx::query(sql::LOAD_MODES).fetch_all(&mut *read).await? {
            let name: String = row.try_get(1)?;
            let mode = Mode::from_name(&name)
                .ok_or_else(|| StoreError(format!("stored mode {name:?} is unknown")))?;
            changes.push(Change::PutMode {
                subject: row.try_get(0)?,
                mode: Some(mode),
            });
        }
        changes.extend(load_associations(&mut read).await?);
        read.commit().await?;
        let epoch = u64::try_from(epoch)
            .map_err(|_| StoreError(format!("stored epoch {epoch} is negative")))?;
        Ok(Loaded { epoch, changes })
    }

    /// Writes the set and its change row if the epoch is still `expected`; the new epoch.
    pub(crate) async fn commit(&self, expected: u64, set: &ChangeSet) -> Result<u64, CommitError> {
        let expected_stored = i64::try_from(expected)
            .map_err(|_| StoreError(format!("epoch {expected} is too large")))?;
        let mut transaction = self.writer.begin().await?;
        let advanced = sqlx::query(sql::ADVANCE_EPOCH)
            .bind(expected_stored)
            .execute(&mut *transaction)
            .await?;
        if advanced.rows_affected() != 1 {
            transaction.rollback().await?;
            return Err(CommitError::Conflict { expected });
        }
        for change in &set.changes {
            write(&mut transaction, change).await?;
        }
        let audit = &set.audit;
        sqlx::query(sql::PUT_CHANGE)
            .bind(expected_stored + 1)
            .bind(set.at_ms)
            .bind(&audit.actor)
            .bind(audit.operation)
            .bind(&audit.subject)
            .bind(audit.before.as_ref().map(Value::to_string))
            .bind(audit.after.as_ref().map(Value::to_string))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(expected + 1)
    }

    /// Change rows after an epoch, oldest first.
    pub(crate) async fn changes(
        &self,
        after_epoch: u64,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let rows = sqlx::query(sql::CHANGES)
            .bind(i64::try_from(after_epoch).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let epoch: i64 = row.try_get(0)?;
                let json = |text: Option<String>| -> Result<Option<Value>, StoreError> {
                    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
                    parsed.map_err(|error| StoreError(format!("stored JSON: {error}")))
                };
                Ok(ChangeRow {
                    epoch: u64::try_from(epoch).unwrap_or(0),
                    at_ms: row.try_get(1)?,
                    actor: row.try_get(2)?,
                    operation: row.try_get(3)?,
                    subject: row.try_get(4)?,
                    before: json(row.try_get(5)?)?,
                    after: json(row.try_get(6)?)?,
                })
            })
            .collect()
    }

    /// Waits for what runs, folds the write-ahead log into the file and closes it.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn parse_object(text: &str) -> Result<json::JsonObject, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError(format!("stored JSON: {error}")))
}

async fn load_schemas(read: &mut Transaction<'_, Sqlite>) -> Result<Vec<Change>, StoreError> {
    let mut references: HashMap<(String, i32), Vec<Reference>> = HashMap::new();
    for row in sqlx::query(sql::LOAD_REFERENCES)
        .fetch_all(&mut **read)
        .await?
    {
        let key = (row.try_get(0)?, row.try_get(1)?);
        references.entry(key).or_default().push(Reference {
            name: row.try_get(2)?,
            subject: row.try_get(3)?,
            version: row.try_get(4)?,
        });
    }
    let mut changes = Vec::new();
    for row in sqlx::query(sql::LOAD_SCHEMAS)
        .fetch_all(&mut **read)
        .await?
    {
        let context: String = row.try_get(0)?;
        let id: i32 = row.try_get(1)?;
        let guid: String = row.try_get(2)?;
        let format: String = row.try_get(3)?;
        let wrong = |what: &str| StoreError(format!("schema {id} of context {context}: {what}"));
        // Metadata and rule sets are wrapped so that the readers of HTTP bodies read them too.
        let wrapped = |key: &str, text: Option<String>| -> Result<json::JsonObject, StoreError> {
            let mut object = json::JsonObject::new();
            if let Some(text) = text {
                object.insert(key.to_owned(), Value::Object(parse_object(&text)?));
            }
            Ok(object)
        };
        let metadata = json::metadata(&wrapped("metadata", row.try_get(5)?)?, "metadata")
            .map_err(|error| wrong(&error.0))?;
        let rule_set = json::rule_set(&wrapped("ruleSet", row.try_get(6)?)?, "ruleSet")
            .map_err(|error| wrong(&error.0))?;
        let content = SchemaContent {
            guid: Uuid::parse_str(&guid).map_err(|_| wrong("its GUID is not one"))?,
            format: SchemaFormat::from_name(&format).ok_or_else(|| wrong("unknown format"))?,
            text: row.try_get(4)?,
            references: references
                .remove(&(context.clone(), id))
                .unwrap_or_default(),
            metadata,
            rule_set,
        };
        let schema = RegisteredSchema::new(context, SchemaId(id), content);
        changes.push(Change::PutSchema(Arc::new(schema)));
    }
    Ok(changes)
}

async fn load_associations(read: &mut Transaction<'_, Sqlite>) -> Result<Vec<Change>, StoreError> {
    let rows = sqlx::query(sql::LOAD_ASSOCIATIONS)
        .fetch_all(&mut **read)
        .await?;
    rows.iter()
        .map(|row| {
            let guid: String = row.try_get(0)?;
            let wrong = |what: &str| StoreError(format!("association {guid}: {what}"));
            let association_type: String = row.try_get(5)?;
            let lifecycle: String = row.try_get(6)?;
            Ok(Change::PutAssociation(Arc::new(Association {
                guid: Uuid::parse_str(&guid).map_err(|_| wrong("its GUID is not one"))?,
                subject: row.try_get(1)?,
                resource_name: row.try_get(2)?,
                resource_namespace: row.try_get(3)?,
                resource_id: row.try_get(4)?,
                association_type: AssociationType::from_name(&association_type)
                    .ok_or_else(|| wrong("unknown type"))?,
                lifecycle: Lifecycle::from_name(&lifecycle)
                    .ok_or_else(|| wrong("unknown lifecycle"))?,
                frozen: row.try_get(7)?,
                created_ms: row.try_get(8)?,
                updated_ms: row.try_get(9)?,
            })))
        })
        .collect()
}

async fn write(
    transaction: &mut Transaction<'_, Sqlite>,
    change: &Change,
) -> Result<(), CommitError> {
    let connection = &mut **transaction;
    match change {
        Change::PutSchema(schema) => return write_schema(transaction, schema).await,
        Change::RemoveSchema { context, id } => {
            for statement in [sql::REMOVE_REFERENCES, sql::REMOVE_SCHEMA] {
                sqlx::query(statement)
                    .bind(context)
                    .bind(id.0)
                    .execute(&mut *connection)
                    .await?;
            }
        }
        Change::PutVersion {
            subject,
            version,
            id,
            deleted,
            registered_ms,
        } => {
            sqlx::query(sql::PUT_VERSION)
                .bind(subject)
                .bind(version.0)
                .bind(QualifiedSubject::parse(subject).context)
                .bind(id.0)
                .bind(deleted)
                .bind(registered_ms)
                .execute(connection)
                .await?;
        }
        Change::RemoveVersion { subject, version } => {
            sqlx::query(sql::REMOVE_VERSION)
                .bind(subject)
                .bind(version.0)
                .execute(connection)
                .await?;
        }
        Change::PutConfig { subject, config } => {
            let query = match config {
                Some(config) => sqlx::query(sql::PUT_CONFIG)
                    .bind(subject)
                    .bind(json::config_value(config, "compatibilityLevel").to_string()),
                None => sqlx::query(sql::REMOVE_CONFIG).bind(subject),
            };
            query.execute(connection).await?;
        }
        Change::PutMode { subject, mode } => {
            let query = match mode {
                Some(mode) => sqlx::query(sql::PUT_MODE).bind(subject).bind(mode.name()),
                None => sqlx::query(sql::REMOVE_MODE).bind(subject),
            };
            query.execute(connection).await?;
        }
        Change::PutAssociation(association) => {
            sqlx::query(sql::PUT_ASSOCIATION)
                .bind(association.guid.to_string())
                .bind(&association.subject)
                .bind(&association.resource_name)
                .bind(&association.resource_namespace)
                .bind(&association.resource_id)
                .bind(association.association_type.name())
                .bind(association.lifecycle.name())
                .bind(association.frozen)
                .bind(association.created_ms)
                .bind(association.updated_ms)
                .execute(connection)
                .await?;
        }
        Change::RemoveAssociation(guid) => {
            sqlx::query(sql::REMOVE_ASSOCIATION)
                .bind(guid.to_string())
                .execute(connection)
                .await?;
        }
        Change::RecordContext { context, recorded } => {
            sqlx::query(sql::RECORD_CONTEXT)
                .bind(context)
                .bind(recorded)
                .execute(connection)
                .await?;
        }
        Change::RaiseIds {
            context,
            high_water,
        } => {
            sqlx::query(sql::RAISE_IDS)
                .bind(context)
                .bind(high_water.0)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

async fn write_schema(
    transaction: &mut Transaction<'_, Sqlite>,
    schema: &RegisteredSchema,
) -> Result<(), CommitError> {
    sqlx::query(sql::PUT_SCHEMA)
        .bind(&schema.context)
        .bind(schema.id.0)
        .bind(schema.guid.to_string())
        .bind(schema.format.name())
        .bind(&schema.text)
        .bind(
            schema
                .metadata
                .as_ref()
                .map(|metadata| json::metadata_value(metadata).to_string()),
        )
        .bind(
            schema
                .rule_set
                .as_ref()
                .map(|rules| json::rule_set_value(rules).to_string()),
        )
        .execute(&mut **transaction)
        .await?;
    for (position, reference) in schema.references.iter().enumerate() {
        sqlx::query(sql::PUT_REFERENCE)
            .bind(&schema.context)
            .bind(schema.id.0)
            .bind(i64::try_from(position).unwrap_or(i64::MAX))
            .bind(&reference.name)
            .bind(&reference.subject)
            .bind(reference.version)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
