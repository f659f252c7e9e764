//! [`PostgresEngine`]: a pool of connections, each of which may write, and the lock that keeps
//! other nodes away.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{Row as _, postgres::PgRow};
use tidings_core::{
    Row, RowError, Schema, Timestamp,
    clock::{Clock as _, SystemClock},
    log::{KeptLog, Members},
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use crate::{
    backoff::LockWaits,
    engine::{Dialect, Engine, Session, Sql},
    error::{DatabaseError, Error},
    follow::LogNeeds,
    live::Live,
    migration::RecordedFields,
    parameter::Parameter,
    postgres::{
        address::Address,
        codes::{failed, is_lost, too_late},
        connection::Connection,
        dialect::Postgres,
        layout,
        log::{self, InstallOptions, PgLog, PgLogSettings, PgMembers, Retire},
        node_lock::NodeLock,
        pool::{Pool, Source},
        session::{Constraints, PgSession},
        values::{Bound, arguments, decode_live},
    },
    released::Released,
    settings::{Settings, Sharing},
    start::{DatabaseKey, Start},
};

/// How many times as long as another call the creation of the tables may take: it may build an
/// index over many rows.
const LAYOUT: u32 = 60;

/// A PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresEngine {
    pool: Arc<Pool>,
    node_lock: NodeLock,
    constraints: Arc<Constraints>,
    closed: AtomicBool,
    released: Released,
}

impl PostgresEngine {
    /// Connects to the database of a URL, and takes the lock that keeps other nodes away.
    pub(crate) async fn open(url: &str, settings: Settings) -> Result<Self, Error> {
        let address = Address::parse(url)?;
        let runtime = Handle::try_current().map_err(|_| {
            let why = "a store of PostgreSQL is opened inside a tokio runtime";
            Error::Unreachable(DatabaseError::other(why))
        })?;
        let pool = Arc::new(Pool::new(address, settings, runtime));

        let node_lock = NodeLock::take(&pool).await?;
        let engine = Self {
            pool,
            node_lock,
            constraints: Arc::default(),
            closed: AtomicBool::new(false),
            released: Released::default(),
        };
        engine.ping().await?;

        Ok(engine)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Runs a query that needs no transaction, on the store's runtime.
    async fn ask(&self, sql: &'static str) -> Result<Vec<PgRow>, Error> {
        let pool = Arc::clone(&self.pool);
        let asking = async move {
            let until = pool.deadline();
            loop {
                let mut pooled = pool.acquire(until).await?;
                let answer = timeout_at(until, pooled.connection()?.ask(sql)).await;

                match answer.map_err(|_| too_late(pool.settings.timeout))? {
                    Ok(rows) => {
                        pooled.give_back();
                        return Ok(rows);
                    }
                    Err(error) if pooled.source() == Source::Fresh => return Err(failed(error)),
                    Err(_) => pool.retire(),
                }
            }
        };
        let asked = self.pool.runtime.spawn(asking).await;
        asked.unwrap_or(Err(Error::Closed))
    }

    fn log_settings(&self, needs: LogNeeds) -> PgLogSettings {
        let pool = Arc::clone(&self.pool);
        PgLogSettings {
            options: self.pool.address.options(self.pool.settings.pooler),
            schemas: needs.schemas,
            recorded: needs.recorded,
            check_capture_every: needs.check_capture_every,
            clock: needs.clock,
            spawn: needs.spawn,
            retire: Some(Retire::new(move || pool.retire())),
        }
    }

    /// Creates the tables, on a connection of its own. If others hold one of them, rolls back,
    /// pauses so that statements queued behind it can go on, and tries again.
    async fn lay_out_in(
        &self,
        connection: &mut Connection,
        schemas: &[&'static Schema],
        limit: Duration,
    ) -> Result<(), Error> {
        let clock = SystemClock::new();
        let mut waits = LockWaits::of_tables(self.pool.settings.timeout);

        loop {
            // Nodes that start at the same time create the tables one after the other. The first of
            // them may take as long as the creation of tables may. This wait does not count as a
            // wait for a table.
            connection.run("BEGIN").await.map_err(failed)?;
            wait_at_most(connection, limit).await?;
            connection.run(log::LAYOUT_LOCK).await.map_err(failed)?;

            wait_at_most(connection, waits.next()).await?;
            let error = match self.try_lay_out(connection, schemas).await {
                Err(error) if error.is_lock_timeout() => error,
                ended => return ended,
            };
            let Some(pause) = waits.timed_out() else {
                return Err(error);
            };

            connection.leave_session().await.map_err(failed)?;
            connection.run("ROLLBACK").await.map_err(failed)?;
            clock.sleep(pause).await;
        }
    }

    /// Creates the tables in the transaction, and commits it. After an error the transaction is
    /// still open.
    async fn try_lay_out(
        &self,
        connection: &mut Connection,
        schemas: &[&'static Schema],
    ) -> Result<(), Error> {
        layout::lay_out(connection, schemas).await?;

        // In the same transaction, so that no row is written to one of our tables before its
        // triggers exist.
        let options = InstallOptions::default();
        let recorded = RecordedFields::SchemasAndEarlier;
        let installed = log::install_within(connection.inner(), schemas, options, recorded).await?;
        if !installed.changed.is_empty() {
            tracing::info!(tables = ?installed.changed, "every write to these tables is recorded");
        }

        let constraints = layout::constraints(connection, schemas).await?;
        connection.leave_session().await.map_err(failed)?;
        connection.run("COMMIT").await.map_err(failed)?;
        self.constraints.replace(constraints);
        Ok(())
    }
}

/// Sets how long the statements of the transaction wait for each lock.
async fn wait_at_most(connection: &mut Connection, limit: Duration) -> Result<(), Error> {
    let millis = limit.as_millis().max(1);
    let set = format!("SET LOCAL lock_timeout = {millis}");
    connection.run(&set).await.map_err(failed)
}

/// Reads on a connection of the pool, and replaces a connection that was lost since its last use.
async fn read(
    pool: Arc<Pool>,
    sql: Sql,
    schema: &'static Schema,
    parameters: Vec<Bound>,
) -> Result<Vec<Live<Row>>, Error> {
    let until = pool.deadline();
    loop {
        let mut pooled = pool.acquire(until).await?;
        let arguments = arguments(&parameters)?;
        let answer = timeout_at(until, pooled.connection()?.rows_alone(&sql, arguments)).await;
        match answer.map_err(|_| too_late(pool.settings.timeout))? {
            Ok(rows) => {
                pooled.give_back();
                let decoded = rows.iter().map(|row| decode_live(schema, row));
                return Ok(decoded.collect::<Result<_, RowError>>()?);
            }
            Err(error) if is_lost(&error) => {
                if pooled.source() == Source::Fresh {
                    return Err(failed(error));
                }
                pool.retire();
            }
            Err(error) => {
                pooled.give_back();
                return Err(failed(error));
            }
        }
    }
}

impl Engine for PostgresEngine {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn path(&self) -> Option<PathBuf> {
        None
    }

    fn dialect(&self) -> Option<&'static dyn Dialect> {
        Some(&Postgres)
    }

    /// Runs on the store's runtime, because the calling thread may have none, and sockets and time
    /// limits need one.
    fn read<'a>(
        &'a self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>> {
        async move {
            self.check_open()?;
            let parameters = Bound::all(parameters);
            let reading = read(Arc::clone(&self.pool), Sql::clone(sql), schema, parameters);

            match self.pool.runtime.spawn(reading).await {
                Ok(read) => read,
                Err(error) => Err(match error.try_into_panic() {
                    Ok(payload) => Error::panicked("a read", &*payload),
                    Err(_) => Error::Closed,
                }),
            }
        }
        .boxed()
    }

    fn longest(&self) -> Duration {
        self.pool.settings.transaction_timeout
    }

    fn time(&self) -> BoxFuture<'_, Result<Timestamp, Error>> {
        async move {
            self.check_open()?;
            let sql = "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint";
            let rows = self.ask(sql).await?;
            let seconds = rows.first().map(|row| row.try_get(0)).transpose();
            let seconds: Option<i64> = seconds.map_err(failed)?;
            let seconds = seconds.ok_or_else(|| {
                let why = "the server did not return the time";
                Error::Database(DatabaseError::other(why))
            })?;
            Ok(Timestamp::from_unix(seconds))
        }
        .boxed()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Error>> {
        async move {
            self.check_open()?;
            self.node_lock.check(&self.pool).await?;
            let session = PgSession::begin(&self.pool, &self.constraints).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        }
        .boxed()
    }

    fn lay_out<'a>(&'a self, schemas: &'a [&'static Schema]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.check_open()?;
            self.node_lock.check(&self.pool).await?;
            let mut connection = self.pool.open(self.pool.deadline()).await?;
            let limit = self.pool.settings.timeout * LAYOUT;
            let done = timeout_at(
                Instant::now() + limit,
                self.lay_out_in(&mut connection, schemas, limit),
            );

            // Closing the connection rolls back what was not committed.
            done.await.unwrap_or_else(|_| Err(too_late(limit)))
        }
        .boxed()
    }

    fn log(&self, needs: LogNeeds) -> Option<Arc<dyn KeptLog>> {
        self.pool.name_origin(&needs.node);
        let log = PgLog::new(self.log_settings(needs));
        Some(Arc::new(log.with_pooler(self.pool.settings.pooler)))
    }

    fn members(&self, needs: &LogNeeds) -> Option<Arc<dyn Members>> {
        match self.pool.settings.sharing {
            Sharing::Alone => None,
            Sharing::Cluster => {
                let settings = self.log_settings(needs.clone());
                Some(Arc::new(PgMembers::new(&settings)))
            }
        }
    }

    fn start(&self) -> BoxFuture<'_, Result<Start, Error>> {
        async move {
            self.check_open()?;
            let rows = self.ask(log::START).await?;
            let read = |row: &PgRow| -> Result<(Vec<u8>, i64), sqlx::Error> {
                Ok((row.try_get(0)?, row.try_get(1)?))
            };
            let found = rows.first().map(read).transpose().map_err(failed)?;
            let started = found.and_then(|(key, starts)| {
                Some(Start {
                    key: DatabaseKey::from_slice(&key)?,
                    number: starts.unsigned_abs(),
                })
            });
            started.ok_or_else(|| {
                let why = "the cluster's key in tidings.start is missing or not of 32 bytes";
                Error::Database(DatabaseError::other(why))
            })
        }
        .boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.check_open()?;
            self.ask("SELECT 1").await.map(drop)
        }
        .boxed()
    }

    // Writers wait only for rows that others hold.
    fn is_busy(&self) -> bool {
        false
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.closed.store(true, Ordering::SeqCst);
            let closed = self.pool.close().await;
            // Last, because no other node may write before our writes have ended.
            self.node_lock.close(&self.pool).await;
            closed
        }
        .boxed()
    }

    fn release(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.pool.release();
        self.node_lock.release();
        self.released.set();
    }

    fn released(&self) -> BoxFuture<'static, ()> {
        self.released.wait()
    }
}
