//! Connections to SQLite: opens them, and holds the writer and a pool of readers.
//!
//! A database file has one connection that writes and a few others that read. In WAL mode, writes
//! and reads do not block each other, and a statement that begins after a commit sees it. An
//! in-memory database has one connection for both, used in turns: with SQLite's shared cache,
//! readers would fail with `SQLITE_LOCKED` while a write is open, and with private ones, each
//! connection would have a database of its own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous,
    },
};
use tidings_core::{BoxError, Chain};
use tokio::{
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{
    engine::Sql,
    error::{DatabaseError, Error},
    released::Released,
    sqlite::{
        codes::{failed, is_busy, is_corrupt, is_not_a_database},
        location::{Identity, Location, make_private},
        queue::{Turn, WriteQueue},
    },
};

/// How long a statement waits for another program that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The message for a call that has waited too long for another program.
pub(crate) const WAITED_TOO_LONG: &str =
    "another program held the file for as long as a call may wait";
/// How many prepared statements a connection keeps: about ten for each of about fifty entities.
const STATEMENTS: usize = 512;
/// How many rows a connection's thread reads ahead, so that it hands over a page at once.
const ROWS: usize = 1024;
/// The most connections that read. Each is a thread and a page cache.
const MAX_READERS: usize = 8;

impl Location {
    fn options(&self) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new()
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS)
            .row_buffer_size(ROWS)
            .foreign_keys(true);

        match self {
            Self::Memory => options.in_memory(true),
            // With FULL, an acknowledged commit survives a power failure. With NORMAL, which is
            // faster, it might not. A killed process loses nothing either way.
            Self::File(path) => options
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full),
        }
    }

    /// Opens the connection that writes, and checks that the file is a database.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, Error> {
        self.connect_within(BUSY_TIMEOUT).await
    }

    /// The same, for a connection whose statements wait this long for other programs.
    pub(crate) async fn connect_within(
        &self,
        patience: Duration,
    ) -> Result<SqliteConnection, Error> {
        if let Self::File(path) = self {
            // SQLite itself reports a missing or read-only folder, below.
            let _ = make_private(path);
        }

        let opened = async {
            let mut connection = self.options().busy_timeout(patience).connect().await?;
            execute(&mut connection, "SELECT count(*) FROM sqlite_schema").await?;
            // SQLite also opens a read-only file, and fails at the first write.
            execute(&mut connection, "BEGIN IMMEDIATE").await?;
            execute(&mut connection, "ROLLBACK").await?;
            let mode = sqlx::query("PRAGMA journal_mode").fetch_one(&mut connection);
            let mode: String = mode.await?.try_get(0)?;
            Ok((connection, mode))
        };
        let opened = opened
            .await
            .map_err(|failure: sqlx::Error| self.open_error(failure));

        match (self, opened?) {
            (Self::File(path), (_, mode)) if mode != "wal" => Err(Error::Open {
                path: path.clone(),
                reason: format!("it needs the journal mode wal, and stays in {mode}"),
                source: None,
            }),
            (_, (connection, _)) => Ok(connection),
        }
    }

    /// Returns the error for a database that could not be opened or checked.
    pub(crate) fn open_error(&self, failure: sqlx::Error) -> Error {
        let Self::File(path) = self else {
            return failed(failure);
        };

        if is_not_a_database(&failure) {
            Error::NotADatabase { path: path.clone() }
        } else if is_corrupt(&failure) || is_busy(&failure) {
            failed(failure)
        } else {
            Error::Open {
                path: path.clone(),
                reason: failure.to_string(),
                source: Some(BoxError::from(failure)),
            }
        }
    }

    /// Opens a connection that cannot write.
    pub(crate) async fn connect_reader(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.options().pragma("query_only", "ON").connect().await
    }
}

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    location: Location,
    identity: Option<Identity>,
    /// `None` once the store is closed, or after it could not be opened again.
    connection: Option<SqliteConnection>,
    /// Whether a transaction may be open. It is set before one begins and cleared when its end is
    /// known. So the next user of the writer notices a transaction that was abandoned half-way (its
    /// task was dropped).
    may_be_open: bool,
    closed: bool,
    /// Set once the file is released: nothing is committed any more.
    released: Arc<Released>,
    /// The queue of the processes that share the file; `None` if this store has it alone.
    queue: Option<WriteQueue>,
    /// Held from before a transaction begins until its end is known.
    turn: Option<Turn>,
}

impl Writer {
    pub(crate) fn new(
        location: Location,
        identity: Option<Identity>,
        connection: SqliteConnection,
        queue: Option<WriteQueue>,
    ) -> Self {
        Self {
            location,
            identity,
            connection: Some(connection),
            may_be_open: false,
            closed: false,
            released: Arc::default(),
            queue,
            turn: None,
        }
    }

    /// Returns the flag that releases the file even while a caller holds the writer.
    pub(crate) fn released(&self) -> Arc<Released> {
        Arc::clone(&self.released)
    }

    /// Returns the connection, with no transaction open.
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, Error> {
        if self.closed || self.released.is_set() {
            return Err(Error::Closed);
        }
        check(self.identity.as_ref())?;
        if self.may_be_open {
            self.settle().await;
        }

        if self.connection.is_none() {
            self.connection = Some(self.location.connect().await?);
        }
        self.connection.as_mut().ok_or(Error::Closed)
    }

    /// Begins a transaction that excludes writes of other programs. First waits for its turn among
    /// the processes that share the file, then for other programs, until the deadline.
    pub(crate) async fn begin(&mut self, until: Instant) -> Result<&mut SqliteConnection, Error> {
        let busy = |_| Error::Busy(DatabaseError::other(WAITED_TOO_LONG));
        timeout_at(until, self.connection()).await.map_err(busy)??;
        if let Some(queue) = &self.queue {
            self.turn = Some(queue.turn(until).await?);
        }

        // SQLite itself gives up at the deadline. If the call gave up first, its BEGIN would stay
        // queued, and would lock the file later, for no one.
        let left = until.saturating_duration_since(Instant::now());
        let patience = left.min(BUSY_TIMEOUT).as_millis();
        let begin = format!("PRAGMA busy_timeout = {patience}; BEGIN IMMEDIATE");

        self.may_be_open = true;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let begun = sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection);
        match begun.await {
            Ok(_) => {}
            Err(error) if is_busy(&error) => {
                // Nothing was begun, and a failed ROLLBACK would close the connection.
                (self.may_be_open, self.turn) = (false, None);
                return Err(Error::Busy(DatabaseError::other(WAITED_TOO_LONG)));
            }
            Err(error) => return Err(failed(error)),
        }

        self.connection_in_transaction()
    }

    /// Returns the connection, with the transaction that [`begin`](Self::begin) has begun.
    pub(crate) fn connection_in_transaction(&mut self) -> Result<&mut SqliteConnection, Error> {
        self.connection.as_mut().ok_or(Error::Closed)
    }

    /// Commits the transaction. After an error it may or may not have been committed; call
    /// [`rollback`].
    ///
    /// [`rollback`]: Self::rollback
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        if self.released.is_set() {
            return Err(sqlx::Error::PoolClosed);
        }
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        execute(connection, "COMMIT").await?;
        self.may_be_open = false;
        self.turn = None;
        Ok(())
    }

    /// Ends the transaction without committing it, whatever state the connection is in.
    pub(crate) async fn rollback(&mut self) {
        if self.may_be_open {
            self.settle().await;
        }
    }

    /// Rolls back, or closes the connection so that a new one is opened.
    async fn settle(&mut self) {
        if let Some(connection) = self.connection.as_mut()
            && let Err(error) = execute(connection, "ROLLBACK").await
        {
            // After some errors SQLite has already rolled back by itself, and ROLLBACK fails. An
            // in-memory database would be lost with its connection, so it is kept; if a transaction
            // is still open, the next BEGIN fails.
            if let Location::File(path) = &self.location {
                tracing::warn!(path = %path.display(), error = %Chain(&error), "the writer's connection is opened again");
                self.connection = None;
            }
        }

        self.may_be_open = false;
        self.turn = None;
    }

    /// Closes the connection without waiting for anything.
    pub(crate) fn release(&mut self) {
        self.closed = true;
        self.connection = None;
        self.turn = None;
    }

    /// Closes the connection and refuses to open another.
    pub(crate) async fn close(&mut self) -> Result<(), sqlx::Error> {
        self.rollback().await;
        self.closed = true;
        match self.connection.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }
}

fn check(identity: Option<&Identity>) -> Result<(), Error> {
    identity.map_or(Ok(()), Identity::check)
}

/// The source of connections for reads.
#[derive(Debug)]
pub(crate) enum Readers {
    /// The in-memory database's only connection.
    Writer(Arc<tokio::sync::Mutex<Writer>>),
    /// Connections of their own, opened when they are first needed.
    Pool(Arc<Pool>),
}

/// Idle connections, and permits for as many as there may be.
#[derive(Debug)]
pub(crate) struct Pool {
    location: Location,
    identity: Option<Identity>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<SqliteConnection>>,
    size: usize,
}

impl Readers {
    pub(crate) fn new(
        location: &Location,
        identity: Option<Identity>,
        writer: &Arc<tokio::sync::Mutex<Writer>>,
    ) -> Self {
        if *location == Location::Memory {
            return Self::Writer(Arc::clone(writer));
        }

        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let size = cores.clamp(2, MAX_READERS);
        Self::Pool(Arc::new(Pool {
            location: location.clone(),
            identity,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
            size,
        }))
    }

    /// Waits for a connection. Cancel safe.
    pub(crate) async fn acquire(&self) -> Result<Reader, Error> {
        match self {
            Self::Writer(writer) => {
                let mut guard = Arc::clone(writer).lock_owned().await;
                // Rolls back an abandoned transaction, so that its changes are not read.
                guard.connection().await?;
                Ok(Reader::Writer(guard))
            }
            Self::Pool(pool) => {
                let permit = Arc::clone(&pool.permits)
                    .acquire_owned()
                    .await
                    .map_err(|_| Error::Closed)?;
                check(pool.identity.as_ref())?;

                let idle = pool.idle().pop();
                let connection = match idle {
                    Some(connection) => connection,
                    None => pool.location.connect_reader().await.map_err(failed)?,
                };
                Ok(Reader::Pooled {
                    connection: Some(connection),
                    pool: Arc::clone(pool),
                    _permit: permit,
                })
            }
        }
    }

    /// Stops lending connections, and closes the idle ones.
    pub(crate) fn release(&self) {
        let Self::Pool(pool) = self else {
            return;
        };
        pool.permits.close();
        let idle = std::mem::take(&mut *pool.idle());
        drop(idle); // with the lock released
    }

    /// Waits for running reads, and closes every connection of the pool.
    pub(crate) async fn close(&self) -> Result<(), sqlx::Error> {
        let Self::Pool(pool) = self else {
            return Ok(());
        };

        // All permits: no one holds a connection any more. A closed semaphore was closed by another
        // `close`.
        let all = u32::try_from(pool.size).unwrap_or(u32::MAX);
        let Ok(_all) = pool.permits.acquire_many(all).await else {
            return Ok(());
        };

        pool.permits.close();
        let idle = std::mem::take(&mut *pool.idle());
        for connection in idle {
            connection.close().await?;
        }

        Ok(())
    }
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is lent for one read.
#[derive(Debug)]
pub(crate) enum Reader {
    Writer(OwnedMutexGuard<Writer>),
    Pooled {
        /// `None` once it was found broken.
        connection: Option<SqliteConnection>,
        pool: Arc<Pool>,
        _permit: OwnedSemaphorePermit,
    },
}

impl Reader {
    /// Returns the connection itself.
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, Error> {
        match self {
            Self::Writer(writer) => writer.connection().await,
            Self::Pooled { connection, .. } => connection.as_mut().ok_or(Error::Closed),
        }
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn rows(
        &mut self,
        sql: &Sql,
        arguments: SqliteArguments,
    ) -> Result<Vec<SqliteRow>, Error> {
        match self {
            Self::Writer(writer) => {
                let found = rows(writer.connection().await?, sql, arguments);
                found.await.map_err(failed)
            }
            Self::Pooled { connection, .. } => {
                let lent = connection.as_mut().ok_or(Error::Closed)?;
                let result = rows(lent, sql, arguments).await;
                if result.is_err() {
                    // It is cheap to open another, and this one may not recover.
                    *connection = None;
                }
                result.map_err(failed)
            }
        }
    }
}

impl Drop for Reader {
    /// Returns the connection to the pool. A read that was cancelled leaves nothing behind: the
    /// connection's thread drops the statement before it takes the next one.
    fn drop(&mut self) {
        if let Self::Pooled {
            connection, pool, ..
        } = self
            && let Some(connection) = connection.take()
        {
            pool.idle().push(connection);
        }
    }
}

/// Runs a statement without parameters or rows.
pub(crate) async fn execute(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

/// Runs a statement and returns the number of rows that it changed.
pub(crate) async fn change(
    connection: &mut SqliteConnection,
    sql: &Sql,
    arguments: SqliteArguments,
) -> Result<u64, sqlx::Error> {
    let query = sqlx::query_with(AssertSqlSafe(Sql::clone(sql)), arguments);
    query
        .execute(connection)
        .await
        .map(|result| result.rows_affected())
}

/// Runs a statement and returns its rows.
pub(crate) async fn rows(
    connection: &mut SqliteConnection,
    sql: &Sql,
    arguments: SqliteArguments,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let query = sqlx::query_with(AssertSqlSafe(Sql::clone(sql)), arguments);
    query.fetch_all(connection).await
}
