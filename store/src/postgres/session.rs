//! [`PgSession`]: one transaction, and its outcome if the connection is lost.
//!
//! The message that begins the transaction also reads its id and the oldest running transaction,
//! from which a reader that knows this transaction goes on. If the answer to a commit is lost, a
//! new connection asks whether that id was aborted, or committed and is visible. It asks until the
//! time limit; after that the write is in doubt. A server that recovered from a crash may have
//! assigned the id again, so the answer counts only if the server has not crashed in between.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::Row as _;
use tidings_core::{
    Row, RowError, Schema,
    clock::{Clock as _, SystemClock},
    log::Resume,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use crate::{
    engine::{CommitError, Constraint, ConstraintViolation, Refused, Session, Sql},
    error::{DatabaseError, Error},
    live::Live,
    parameter::Parameter,
    postgres::{
        codes::{
            FOREIGN_KEY_VIOLATION, UNIQUE_VIOLATION, code, database_error, failed, is_lost,
            too_late,
        },
        connection::Connection,
        pool::{Pool, PooledConnection, Source},
        values::{Bound, arguments, decode, decode_live},
    },
    sink::{Begun, CommitName},
};

/// Returns how long the server waits for a lock: less than the call does, so that the server
/// reports the lock that was in the way, and the connection stays usable.
fn lock_limit(limit: Duration) -> Duration {
    (limit - limit / 5).max(Duration::from_millis(1))
}

/// The pause between two queries for the outcome of a commit.
const AGAIN: Duration = Duration::from_millis(20);

/// The columns of constraints, by the names of table and constraint.
#[derive(Debug, Default)]
pub(crate) struct Constraints(RwLock<HashMap<(String, String), Vec<String>>>);

impl Constraints {
    pub(crate) fn replace(&self, constraints: HashMap<(String, String), Vec<String>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = constraints;
    }

    fn columns(&self, table: &str, constraint: &str) -> Option<Vec<String>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(table.to_owned(), constraint.to_owned()))
            .cloned()
    }
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct PgSession {
    pool: Arc<Pool>,
    constraints: Arc<Constraints>,
    /// `None` once the transaction has ended or the connection was lost.
    pooled: Option<PooledConnection>,
    _permit: OwnedSemaphorePermit,
    transaction: Identity,
}

/// Identifies a transaction on its server.
#[derive(Clone, Debug)]
struct Identity {
    xid: u64,
    /// The oldest transaction that was running when this one began.
    xmin: u64,
    incarnation: Option<Arc<str>>,
    /// The epoch of the log in which its id was assigned.
    begun: Begun,
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Committed,
    Aborted,
    InProgress,
    /// The server does not know, or its answer does not count.
    Unknown,
}

impl PgSession {
    /// Begins a transaction. If a connection was lost since its last use, begins again on another.
    pub(crate) async fn begin(
        pool: &Arc<Pool>,
        constraints: &Arc<Constraints>,
    ) -> Result<Self, Error> {
        let until = pool.deadline();
        let limit = pool.settings.timeout;
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; \
             SELECT pg_current_xact_id()::text, pg_snapshot_xmin(pg_current_snapshot())::text",
            lock_limit(limit).as_millis()
        );
        let permit = pool.write_permit(until).await?;

        loop {
            let mut pooled = pool.acquire(until).await?;
            let connection = pooled.connection()?;
            let (incarnation, epoch) = (connection.incarnation.clone(), connection.epoch);
            let begun = timeout_at(until, connection.ask(&begin)).await;
            match begun.map_err(|_| too_late(limit))? {
                Ok(rows) => {
                    let number = |index| {
                        let text: String = rows.first()?.try_get(index).ok()?;
                        text.parse().ok()
                    };
                    let (xid, xmin) = number(0).zip(number(1)).ok_or_else(|| {
                        let why = "the server did not name the transaction";
                        Error::Database(DatabaseError::other(why))
                    })?;
                    return Ok(Self {
                        pool: Arc::clone(pool),
                        constraints: Arc::clone(constraints),
                        pooled: Some(pooled),
                        _permit: permit,
                        transaction: Identity {
                            xid,
                            xmin,
                            incarnation,
                            begun: epoch,
                        },
                    });
                }
                Err(error) if is_lost(&error) && pooled.source() == Source::Idle => pool.retire(),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Waits for an answer of the server. A connection that gave no answer is not used again.
    async fn in_time<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, sqlx::Error>,
    ) -> Result<Result<T, sqlx::Error>, Error> {
        let limit = self.pool.settings.timeout;
        let until = self.pool.deadline();
        let pooled = self.pooled.as_mut().ok_or(Error::Closed)?;
        let answer = timeout_at(until, call(pooled.connection()?)).await;

        match answer {
            Ok(Err(error)) if is_lost(&error) => {
                self.pooled = None;
                Ok(Err(error))
            }
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.pooled = None;
                Err(too_late(limit))
            }
        }
    }

    /// Finds out the outcome of a commit whose answer was lost.
    async fn resolve(&self, lost: Error) -> Result<(), CommitError> {
        let until = self.pool.deadline();
        let clock = SystemClock::new();
        loop {
            let outcome = match self.pool.open(until).await {
                Ok(mut connection) => self.transaction.outcome(&mut connection, until).await,
                Err(_) => Outcome::InProgress,
            };

            match outcome {
                Outcome::Committed => return Ok(()),
                Outcome::Aborted => return Err(CommitError::Failed(lost)),
                Outcome::InProgress if Instant::now() + AGAIN < until => clock.sleep(AGAIN).await,
                Outcome::InProgress | Outcome::Unknown => {
                    let error = DatabaseError::other(lost);
                    return Err(CommitError::InDoubt(Error::Commit(error)));
                }
            }
        }
    }

    fn refusal(&self, error: sqlx::Error) -> Refused {
        let over = database_error(&error).map(|refused| {
            let columns = refused
                .table()
                .zip(refused.constraint())
                .and_then(|(table, constraint)| self.constraints.columns(table, constraint));
            columns.map_or(Constraint::Unknown, Constraint::Over)
        });
        let by = over.unwrap_or(Constraint::Unknown);

        match code(&error).as_deref() {
            Some(UNIQUE_VIOLATION) => Refused::Unique(ConstraintViolation {
                by,
                error: failed(error),
            }),
            Some(FOREIGN_KEY_VIOLATION) => Refused::Reference(ConstraintViolation {
                by,
                error: failed(error),
            }),
            _ => Refused::Failed(failed(error)),
        }
    }
}

impl Identity {
    /// Asks for the outcome of the transaction.
    async fn outcome(&self, connection: &mut Connection, until: Instant) -> Outcome {
        // After a crash, ids that were not yet on the disk are assigned again.
        if self.incarnation.is_none() || self.incarnation != connection.incarnation {
            return Outcome::Unknown;
        }

        let sql = format!(
            "SELECT pg_xact_status('{0}'::xid8), \
             pg_visible_in_snapshot('{0}'::xid8, pg_current_snapshot())",
            self.xid
        );
        let Ok(Ok(rows)) = timeout_at(until, connection.ask(&sql)).await else {
            return Outcome::InProgress;
        };
        let Some(row) = rows.first() else {
            return Outcome::Unknown;
        };

        let status = row.try_get::<Option<String>, _>(0).ok().flatten();
        let is_visible = row.try_get::<bool, _>(1).unwrap_or(false);
        match (status.as_deref(), is_visible) {
            (Some("committed"), true) => Outcome::Committed,
            (Some("aborted"), _) => Outcome::Aborted,
            (Some("committed" | "in progress"), _) => Outcome::InProgress,
            _ => Outcome::Unknown,
        }
    }
}

impl Session for PgSession {
    fn rows<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        async move {
            let bound = Bound::all(parameters);
            let arguments = arguments(&bound)?;
            let found = self.in_time(async |connection| connection.rows(sql, arguments).await);
            let found = found.await?.map_err(failed)?;
            let decoded = found.iter().map(|row| decode(schema, row));
            Ok(decoded.collect::<Result<_, RowError>>()?)
        }
        .boxed()
    }

    fn read<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>> {
        async move {
            let bound = Bound::all(parameters);
            let arguments = arguments(&bound)?;
            let found = self.in_time(async |connection| connection.rows(sql, arguments).await);
            let found = found.await?.map_err(failed)?;
            let decoded = found.iter().map(|row| decode_live(schema, row));
            Ok(decoded.collect::<Result<_, RowError>>()?)
        }
        .boxed()
    }

    fn change<'a>(
        &'a mut self,
        sql: &'a Sql,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<u64, Refused>> {
        async move {
            let bound = Bound::all(parameters);
            let arguments = arguments(&bound)?;
            let changed = self.in_time(async |connection| connection.change(sql, arguments).await);
            changed.await?.map_err(|error| self.refusal(error))
        }
        .boxed()
    }

    fn run<'a>(&'a mut self, sql: &'static str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let ran = self.in_time(async |connection| connection.run(sql).await);
            ran.await?.map_err(failed)
        }
        .boxed()
    }

    fn defer_references(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let deferred = async |connection: &mut Connection| {
                connection.run("SET CONSTRAINTS ALL DEFERRED").await
            };
            self.in_time(deferred).await?.map_err(failed)
        }
        .boxed()
    }

    fn silence(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let silent = "SET LOCAL tidings.no_event = 'on'";
            let set = self.in_time(async |connection| connection.run(silent).await);
            set.await?.map_err(failed)
        }
        .boxed()
    }

    fn removes_alone<'a>(&'a mut self, table: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            // The name of a table is made of a-z, 0-9 and _.
            let sql = format!(
                "SELECT pg_try_advisory_xact_lock(hashtextextended('tidings expired {table}', 0))"
            );
            let asked = self.in_time(async |connection| connection.ask(&sql).await);
            let rows = asked.await?.map_err(failed)?;
            let taken = rows.first().map(|row| row.try_get(0)).transpose();
            Ok(taken.map_err(failed)?.unwrap_or(false))
        }
        .boxed()
    }

    fn mark(&self) -> Option<CommitName> {
        let Identity {
            xid, xmin, begun, ..
        } = self.transaction;
        Some(CommitName {
            number: xid,
            id: None,
            begun,
            resume: Some(Resume::Snapshot { xmin }),
        })
    }

    // The connection returns to the pool at once, because nothing after it needs it.
    fn commit(&mut self) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let answer = self.in_time(async |connection| connection.run("COMMIT").await);
            match answer.await {
                Ok(Ok(())) => {
                    if let Some(pooled) = self.pooled.take() {
                        pooled.give_back();
                    }
                    Ok(())
                }
                // The server has answered, and the connection is usable: it did not commit.
                Ok(Err(error)) if !is_lost(&error) => Err(CommitError::Failed(failed(error))),
                Ok(Err(error)) => self.resolve(failed(error)).await,
                Err(late) => self.resolve(late).await,
            }
        }
        .boxed()
    }

    fn rollback(&mut self) -> BoxFuture<'_, ()> {
        async move {
            let rolled_back = self.in_time(async |connection| connection.run("ROLLBACK").await);
            // A connection that cannot roll back is closed, and then the server rolls back.
            if let Ok(Ok(())) = rolled_back.await
                && let Some(pooled) = self.pooled.take()
            {
                pooled.give_back();
            }
            self.pooled = None;
        }
        .boxed()
    }

    fn settle(&mut self) -> BoxFuture<'_, ()> {
        async move {
            // The server notices the closed connection once its current statement has ended.
            self.pooled = None;

            let until = self.pool.deadline();
            let (address, settings) = (&self.pool.address, self.pool.settings);
            let clock = SystemClock::new();

            while Instant::now() < until {
                let outcome = match Connection::open(address, settings, None, until).await {
                    Ok(mut connection) => self.transaction.outcome(&mut connection, until).await,
                    Err(_) => Outcome::InProgress,
                };
                if outcome != Outcome::InProgress {
                    return;
                }
                clock.sleep(AGAIN).await;
            }
        }
        .boxed()
    }
}
