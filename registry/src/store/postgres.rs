//! The PostgreSQL store: what replicas share.
//!
//! One row lock makes writers of all processes take turns; whoever holds it sees everything that
//! was committed before. A session that falls silent is ended by the server, a connection that does
//! not answer is dropped here, so that a lost replica holds nobody up for longer than
//! [`SILENCE_MAX`].

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, Postgres};

use super::{migrations, rows::rows};

rows!(Postgres, PgConnection);

/// How long a replica is believed to serve what it last acknowledged.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

/// Connections for reads and the writer.
const CONNECTIONS_MAX: u32 = 4;

/// Connections that must never wait for those: leases and acknowledgements.
const CONTROL_CONNECTIONS_MAX: u32 = 2;

/// How long a connection may take to be had.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long a statement, a wait for the writer's lock or a silence within a transaction may take.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long reading everything may take.
const LOAD_MAX: Duration = Duration::from_secs(120);

/// How long a renewal may take: well within a lease.
const CONTROL_MAX: Duration = Duration::from_secs(2);

/// The channel on which replicas tell each other of changes.
const CHANNEL: &str = "assay_registry";

/// The oldest server taken: the one the tests run on.
const VERSION_MIN: u32 = 150_000;

/// A registry database that other processes may serve too.
#[derive(Debug)]
pub(crate) struct PostgresStore {
    options: PgConnectOptions,
    pool: PgPool,
    control: PgPool,
}

/// The URL without its password and parameters.
pub(super) fn shown(url: &str) -> String {
    PgConnectOptions::from_str(url).map_or_else(
        |_| "the PostgreSQL URL".to_owned(),
        |options| {
            format!(
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options
                    .get_database()
                    .unwrap_or_else(|| options.get_username()),
            )
        },
    )
}

impl PostgresStore {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let silence_ms = SILENCE_MAX.as_millis().to_string();
        let options = PgConnectOptions::from_str(url)?
            .application_name("assay")
            .options([
                ("statement_timeout", silence_ms.as_str()),
                ("lock_timeout", silence_ms.as_str()),
                ("idle_in_transaction_session_timeout", silence_ms.as_str()),
                ("tcp_user_timeout", silence_ms.as_str()),
                ("client_min_messages", "warning"),
            ]);
        migrate(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_MAX)
            .connect_lazy_with(options.clone());
        let control = PgPoolOptions::new()
            .max_connections(CONTROL_CONNECTIONS_MAX)
            .acquire_timeout(CONTROL_MAX)
            .connect_lazy_with(options.clone());
        Ok(Self {
            options,
            pool,
            control,
        })
    }

    pub(super) async fn epoch(&self) -> Result<u64, StoreError> {
        let mut connection = Connection::of(&self.pool).await?;
        let epoch = within(SILENCE_MAX, epoch(&mut connection)).await?;
        connection.give_back();
        Ok(epoch)
    }

    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        let mut connection = Connection::of(&self.pool).await?;
        let loaded = within(LOAD_MAX, async {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            sqlx::raw_sql(begin).execute(&mut *connection).await?;
            let loaded = load(&mut connection).await?;
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
            Ok(loaded)
        })
        .await?;
        connection.give_back();
        Ok(loaded)
    }

    pub(super) async fn facts(&self, after: u64, limit: u32) -> Result<Vec<Facts>, StoreError> {
        let mut connection = Connection::of(&self.pool).await?;
        let facts = within(SILENCE_MAX, facts(&mut connection, after, limit)).await?;
        connection.give_back();
        Ok(facts)
    }

    pub(super) async fn changes(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let mut connection = Connection::of(&self.pool).await?;
        let rows = within(SILENCE_MAX, changes(&mut connection, after, limit)).await?;
        connection.give_back();
        Ok(rows)
    }

    pub(super) async fn changes_of(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let mut connection = Connection::of(&self.pool).await?;
        let rows = within(SILENCE_MAX, changes_of(&mut connection, subject, limit)).await?;
        connection.give_back();
        Ok(rows)
    }

    /// Waits for the writer's turn among all processes.
    pub(super) async fn begin(&self) -> Result<PostgresWriting, StoreError> {
        let mut connection = Connection::of(&self.pool).await?;
        let epoch = within(SILENCE_MAX, async {
            sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
            epoch_by(&mut connection, sql::LOCK_EPOCH).await
        })
        .await?;
        Ok(PostgresWriting { epoch, connection })
    }

    /// A stream of hints that there may be something new; see [`Listener::changed`].
    pub(crate) async fn listen(&self) -> Result<Listener, StoreError> {
        // A pool of its own: a dead connection that is being given up must not take a place from
        // those that renew the lease.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONTROL_MAX)
            .connect_lazy_with(self.options.clone());
        within(CONTROL_MAX, async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            Ok(Listener(listener))
        })
        .await
    }

    /// Prolongs the lease of `replica`, which serves `acknowledged`; then the stored epoch.
    pub(crate) async fn renew_lease(
        &self,
        replica: &str,
        acknowledged: u64,
    ) -> Result<u64, StoreError> {
        let mut connection = Connection::of(&self.control).await?;
        let lease_ms = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let epoch = within(CONTROL_MAX, async {
            sqlx::query(sql::RENEW_LEASE)
                .bind(replica)
                .bind(stored_epoch(acknowledged))
                .bind(lease_ms)
                .execute(&mut *connection)
                .await?;
            // After the lease: a delete that did not see it is in the epoch read now.
            epoch(&mut connection).await
        })
        .await?;
        connection.give_back();
        Ok(epoch)
    }

    /// Says that `replica` serves nothing older than `epoch` any more.
    pub(crate) async fn acknowledge(&self, replica: &str, epoch: u64) -> Result<(), StoreError> {
        let mut connection = Connection::of(&self.control).await?;
        let acknowledged = sqlx::query(sql::ACKNOWLEDGE)
            .bind(replica)
            .bind(stored_epoch(epoch))
            .execute(&mut *connection);
        within(CONTROL_MAX, async { Ok(acknowledged.await?) }).await?;
        connection.give_back();
        Ok(())
    }

    /// The oldest epoch that a live replica other than `replica` may still serve; None when there
    /// is no other.
    pub(crate) async fn acknowledged_by_others(
        &self,
        replica: &str,
    ) -> Result<Option<u64>, StoreError> {
        let mut connection = Connection::of(&self.control).await?;
        let row = sqlx::query(sql::ACKNOWLEDGED_BY_OTHERS)
            .bind(replica)
            .fetch_one(&mut *connection);
        let row = within(CONTROL_MAX, async { Ok(row.await?) }).await?;
        connection.give_back();
        let oldest: Option<i64> = row.try_get(0)?;
        oldest.map(read_epoch).transpose()
    }

    /// Takes `replica`, and those long gone, off the list of whom a delete waits for.
    pub(crate) async fn leave(&self, replica: &str) -> Result<(), StoreError> {
        let mut connection = Connection::of(&self.control).await?;
        within(CONTROL_MAX, async {
            sqlx::query(sql::LEAVE)
                .bind(replica)
                .execute(&mut *connection)
                .await?;
            sqlx::query(sql::FORGET_THE_GONE)
                .execute(&mut *connection)
                .await?;
            Ok(())
        })
        .await?;
        connection.give_back();
        Ok(())
    }

    /// Closes; what does not answer is not waited for.
    pub(super) async fn close(&self) {
        for pool in [&self.pool, &self.control] {
            drop(tokio::time::timeout(CONTROL_MAX, pool.close()).await);
        }
    }
}

/// Checks the server and brings its tables up to date, over a connection of its own so that a server
/// that is not there is named at once.
async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let connecting = PgConnection::connect_with(options);
    let mut connection = within(CONNECT_MAX, async { Ok(connecting.await?) }).await?;
    let version: String = sqlx::query_scalar("SHOW server_version_num")
        .fetch_one(&mut connection)
        .await?;
    if version
        .parse::<u32>()
        .is_ok_and(|version| version < VERSION_MIN)
    {
        return Err(StoreError::nonsense(format!(
            "server version {version} is too old: PostgreSQL 15 or newer is needed"
        )));
    }
    migrations::postgres()
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| StoreError::nonsense(error.to_string()))?;
    Ok(connection.close().await?)
}

/// The writing transaction. Dropped without a word its connection is closed, which the server takes
/// for a rollback.
#[derive(Debug)]
pub(crate) struct PostgresWriting {
    pub(super) epoch: u64,
    connection: Connection,
}

impl PostgresWriting {
    pub(super) async fn facts(&mut self, after: u64, limit: u32) -> Result<Vec<Facts>, StoreError> {
        within(SILENCE_MAX, facts(&mut self.connection, after, limit)).await
    }

    pub(super) async fn commit(mut self, sets: &[ChangeSet]) -> Result<(), StoreError> {
        let moved = u64::try_from(sets.len()).unwrap_or(u64::MAX);
        let epoch = self.epoch.saturating_add(moved);
        within(SILENCE_MAX, async {
            write(&mut self.connection, self.epoch, sets).await?;
            sqlx::query(sql::NOTIFY)
                .bind(CHANNEL)
                .bind(epoch.to_string())
                .execute(&mut *self.connection)
                .await?;
            sqlx::raw_sql("COMMIT")
                .execute(&mut *self.connection)
                .await?;
            Ok(())
        })
        .await?;
        self.connection.give_back();
        Ok(())
    }

    pub(super) async fn abandon(mut self) -> Result<(), StoreError> {
        within(SILENCE_MAX, async {
            sqlx::raw_sql("ROLLBACK")
                .execute(&mut *self.connection)
                .await?;
            Ok(())
        })
        .await?;
        self.connection.give_back();
        Ok(())
    }
}

/// Hears of changes while its connection lasts.
#[derive(Debug)]
pub(crate) struct Listener(PgListener);

impl Listener {
    /// Waits until there may be something new: a notification came, or some may have been lost with
    /// a connection (`recv` would hide that). Not to be cancelled: a notification would be lost.
    pub(crate) async fn changed(&mut self) -> Result<(), StoreError> {
        let notification = self.0.try_recv().await?;
        if notification.is_some() {
            while self.0.next_buffered().is_some() {}
        }
        Ok(())
    }
}

/// A pooled connection that is closed unless it is given back: after a failure, a timeout or a
/// cancelled caller nobody knows what it is in the middle of, and asking it may take for ever.
#[derive(Debug)]
struct Connection {
    live: PoolConnection<Postgres>,
    sound: bool,
}

impl Connection {
    async fn of(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self {
            live: pool.acquire().await?,
            sound: false,
        })
    }

    fn give_back(mut self) {
        self.sound = true;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.sound {
            self.live.close_on_drop();
        }
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.live
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.live
    }
}

/// Bounds how long the database may be silent.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(StoreError::silent()))
}
