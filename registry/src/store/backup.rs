//! Copies of a database that somebody may be writing, always as a SQLite file: it goes back into a data
//! directory, or into an empty PostgreSQL database.

use std::path::Path;
use std::str::FromStr;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Postgres, QueryBuilder, Row, Sqlite};

use super::sqlite::SqliteStore;
use super::{StoreError, migrations, postgres, sql};

/// Writes one consistent moment of `from` as a new file `to`; neither waits for the other's writer.
pub(crate) async fn copy_sqlite(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut connection = read_only(from).await?;
    sqlx::query("VACUUM INTO $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// Has SQLite check its own file, without changing it: what it complains of, a line each.
pub(crate) async fn check_sqlite(path: &Path) -> Result<Vec<String>, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let lines: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// Writes one consistent moment of the PostgreSQL database as a new SQLite file `to`; nobody waits.
pub(crate) async fn copy_postgres(url: &str, to: &Path) -> Result<(), StoreError> {
    let mut source = PgConnection::connect_with(&options(url)?).await?;
    require_this_release(&mut source).await?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::raw_sql(begin).execute(&mut source).await?;

    // Opened as a store once, so that it has this release's tables.
    SqliteStore::open(to).await?.close().await;
    let options = SqliteConnectOptions::new().filename(to);
    let mut target = SqliteConnection::connect_with(&options).await?;
    sqlx::raw_sql("BEGIN").execute(&mut target).await?;
    let epoch = postgres::epoch(&mut source).await?;
    for table in TABLES {
        from_postgres::copy(table, &mut source, &mut target).await?;
    }
    set_epoch_of_sqlite(&mut target, epoch).await?;
    // One file, readable where nothing can be written.
    sqlx::raw_sql("COMMIT; PRAGMA journal_mode = DELETE")
        .execute(&mut target)
        .await?;
    target.close().await?;
    Ok(source.close().await?)
}

/// Fills an empty PostgreSQL database with what a SQLite file holds: all or nothing.
pub(crate) async fn fill_postgres(from: &Path, url: &str) -> Result<(), StoreError> {
    let store = postgres::PostgresStore::open(url).await?;
    store.close().await;
    let mut source = read_only(from).await?;
    let mut target = PgConnection::connect_with(&options(url)?).await?;
    sqlx::raw_sql("BEGIN").execute(&mut target).await?;
    let there = postgres::epoch_by(&mut target, sql::LOCK_EPOCH).await?;
    if there != 0 {
        return Err(StoreError::nonsense(format!(
            "the database is not empty, it holds {there} changes: restore to a new one"
        )));
    }
    let epoch = sqlite_epoch(&mut source).await?;
    for table in TABLES {
        from_sqlite::copy(table, &mut source, &mut target).await?;
    }
    sqlx::query::<Postgres>(sql::SET_EPOCH)
        .bind(epoch)
        .execute(&mut target)
        .await?;
    sqlx::raw_sql("COMMIT").execute(&mut target).await?;
    target.close().await?;
    Ok(source.close().await?)
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)?;
    Ok(options.application_name("assay backup"))
}

async fn read_only(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    Ok(SqliteConnection::connect_with(&options).await?)
}

async fn sqlite_epoch(source: &mut SqliteConnection) -> Result<i64, StoreError> {
    let row = sqlx::query::<Sqlite>(sql::EPOCH).fetch_one(source).await?;
    Ok(row.try_get(0)?)
}

async fn set_epoch_of_sqlite(target: &mut SqliteConnection, epoch: u64) -> Result<(), StoreError> {
    sqlx::query::<Sqlite>(sql::SET_EPOCH)
        .bind(super::stored_epoch(epoch))
        .execute(target)
        .await?;
    Ok(())
}

/// The columns of [`TABLES`] are this release's.
async fn require_this_release(source: &mut PgConnection) -> Result<(), StoreError> {
    const VERSION: &str = "SELECT MAX(version) FROM _sqlx_migrations";
    let row = sqlx::query::<Postgres>(VERSION).fetch_one(source).await;
    let found: Option<i64> = match row {
        Ok(row) => row.try_get(0)?,
        Err(sqlx::Error::Database(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let newest = migrations::postgres().iter().map(|step| step.version).max();
    if found == newest {
        return Ok(());
    }
    Err(StoreError::nonsense(match found {
        None => "there is no registry in the database".to_owned(),
        Some(found) => format!(
            "the database has tables of version {found}, this release knows {}: back it up with the \
             release that serves it",
            newest.unwrap_or(0)
        ),
    }))
}

/// The type of a column.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Int,
    Long,
    Bool,
}

/// One value of a row.
#[derive(Debug)]
enum Cell {
    Text(Option<String>),
    Int(i32),
    Long(i64),
    Bool(bool),
}

/// A table that is copied row by row.
#[derive(Debug)]
struct Table {
    /// Everything, in an order of its own.
    select: &'static str,
    /// Rows follow.
    insert: &'static str,
    kinds: &'static [Kind],
}

/// Statements of a table from its name and columns, and the columns' types.
macro_rules! table {
    ($name:literal, $columns:literal, [$($kind:ident),+]) => {
        Table {
            select: concat!("SELECT ", $columns, " FROM ", $name),
            insert: concat!("INSERT INTO ", $name, " (", $columns, ") "),
            kinds: &[$(Kind::$kind),+],
        }
    };
}

/// All but `registry_state`, whose one row is there, and the leases of replicas.
const TABLES: &[Table] = &[
    table!(
        "contexts",
        "context, recorded, id_high_water",
        [Text, Bool, Int]
    ),
    table!(
        "schemas",
        "context, id, guid, format, schema_text, metadata_json, rule_set_json",
        [Text, Int, Text, Text, Text, Text, Text]
    ),
    table!(
        "schema_references",
        "context, id, position, name, ref_subject, ref_version",
        [Text, Int, Int, Text, Text, Int]
    ),
    table!(
        "subject_versions",
        "subject, version, context, id, deleted, registered_ms",
        [Text, Int, Text, Int, Bool, Long]
    ),
    table!("configs", "subject, config_json", [Text, Text]),
    table!("modes", "subject, mode", [Text, Text]),
    table!(
        "changes",
        "epoch, at_ms, actor, operation, subject, before_json, after_json, facts_json",
        [Long, Long, Text, Text, Text, Text, Text, Text]
    ),
    table!(
        "associations",
        "guid, subject, resource_name, resource_namespace, resource_id, association_type, \
         lifecycle, frozen, created_ms, updated_ms",
        [Text, Text, Text, Text, Text, Text, Text, Bool, Long, Long]
    ),
];

/// Rows of one INSERT: few enough for what either engine binds at once.
const ROWS_MAX: usize = 200;

/// Copying from one engine to the other: rows pass through, a few at a time.
macro_rules! copying {
    ($module:ident, $source:ty, $source_connection:ty, $target:ty, $target_connection:ty) => {
        mod $module {
            use super::*;

            pub(super) async fn copy(
                table: &Table,
                source: &mut $source_connection,
                target: &mut $target_connection,
            ) -> Result<(), StoreError> {
                let mut rows = sqlx::query::<$source>(table.select).fetch(source);
                let mut cells: Vec<Vec<Cell>> = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    cells.push(read(table, &row)?);
                    if cells.len() == ROWS_MAX {
                        write(table, std::mem::take(&mut cells), target).await?;
                    }
                }
                if cells.is_empty() {
                    return Ok(());
                }
                write(table, cells, target).await
            }

            fn read(
                table: &Table,
                row: &<$source as sqlx::Database>::Row,
            ) -> Result<Vec<Cell>, StoreError> {
                let kinds = table.kinds.iter().enumerate();
                let cells = kinds.map(|(at, kind)| {
                    Ok(match kind {
                        Kind::Text => Cell::Text(row.try_get(at)?),
                        Kind::Int => Cell::Int(row.try_get(at)?),
                        Kind::Long => Cell::Long(row.try_get(at)?),
                        Kind::Bool => Cell::Bool(row.try_get(at)?),
                    })
                });
                cells.collect()
            }

            async fn write(
                table: &Table,
                rows: Vec<Vec<Cell>>,
                target: &mut $target_connection,
            ) -> Result<(), StoreError> {
                let mut insert = QueryBuilder::<$target>::new(table.insert);
                insert.push_values(rows, |mut values, row| {
                    for cell in row {
                        match cell {
                            Cell::Text(text) => values.push_bind(text),
                            Cell::Int(number) => values.push_bind(number),
                            Cell::Long(number) => values.push_bind(number),
                            Cell::Bool(truth) => values.push_bind(truth),
                        };
                    }
                });
                insert.build().execute(target).await?;
                Ok(())
            }
        }
    };
}

copying!(
    from_postgres,
    Postgres,
    PgConnection,
    Sqlite,
    SqliteConnection
);
copying!(
    from_sqlite,
    Sqlite,
    SqliteConnection,
    Postgres,
    PgConnection
);
