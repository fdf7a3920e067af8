//! The SQLite store: one writer connection, a few readers, write-ahead log, full synchronous.
//!
//! `synchronous = FULL`: an id that was answered must survive power loss, because records carrying
//! it may already be in a log that did.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use super::{migrations, rows::rows};

rows!(Sqlite, SqliteConnection);

/// Readers beside the one writer; only loads and refreshes read.
const READERS_COUNT: u32 = 4;

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A registry database in one file.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
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
            .after_release(|connection, _| {
                Box::pin(async move {
                    // What is due comes first: the rollback of a transaction that was dropped.
                    connection.ping().await?;
                    // A full disk makes SQLite end a transaction by itself, of which the driver does
                    // not learn: on that connection no other would ever begin.
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options.clone())
            .await?;
        migrations::sqlite()
            .run(&writer)
            .await
            .map_err(|error| StoreError::nonsense(error.to_string()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_COUNT)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers })
    }

    pub(super) async fn epoch(&self) -> Result<u64, StoreError> {
        epoch(&mut *self.readers.acquire().await?).await
    }

    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        let mut read = self.readers.begin().await?;
        let loaded = load(&mut read).await?;
        read.commit().await?;
        Ok(loaded)
    }

    pub(super) async fn facts(&self, after: u64, limit: u32) -> Result<Vec<Facts>, StoreError> {
        facts(&mut *self.readers.acquire().await?, after, limit).await
    }

    pub(super) async fn changes(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        changes(&mut *self.readers.acquire().await?, after, limit).await
    }

    pub(super) async fn changes_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        changes_of(&mut *self.readers.acquire().await?, subject, limit).await
    }

    pub(super) async fn begin(&self) -> Result<SqliteWriting, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let epoch = epoch(&mut transaction).await?;
        Ok(SqliteWriting { epoch, transaction })
    }

    /// Waits for what runs, folds the write-ahead log into the file and closes it.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// The writing transaction; dropped without a word it is rolled back.
#[derive(Debug)]
pub(crate) struct SqliteWriting {
    pub(super) epoch: u64,
    transaction: Transaction<'static, Sqlite>,
}

impl SqliteWriting {
    pub(super) async fn facts(&mut self, after: u64, limit: u32) -> Result<Vec<Facts>, StoreError> {
        facts(&mut self.transaction, after, limit).await
    }

    pub(super) async fn commit(mut self, sets: &[ChangeSet]) -> Result<(), StoreError> {
        write(&mut self.transaction, self.epoch, sets).await?;
        Ok(self.transaction.commit().await?)
    }

    pub(super) async fn abandon(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }
}
