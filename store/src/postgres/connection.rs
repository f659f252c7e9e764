//! [`Connection`]: one connection to PostgreSQL, whose server was checked when it was opened.

use std::sync::Arc;

use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgArguments, PgRow},
};
use tidings_core::clock::{Clock as _, SystemClock};
use tokio::time::{Instant, timeout_at};

use crate::{
    backoff::Backoff,
    engine::Sql,
    error::Error,
    postgres::{
        address::Address,
        codes::{failed, may_come_back, too_late},
        log,
    },
    settings::{Pooler, Settings},
    sink::Begun,
};

/// The oldest supported server version: the first with 64-bit transaction ids, which are needed to
/// ask for the outcome of a lost commit.
const OLDEST: i32 = 130_000;

/// A connection to a server that was checked.
#[derive(Debug)]
pub(crate) struct Connection {
    inner: PgConnection,
    pooler: Pooler,
    /// The run of the server: between two connections with the same value there was no crash and no
    /// promotion. `None` if the user may not read it.
    pub(crate) incarnation: Option<Arc<str>>,
    /// The epoch of the log when the connection was opened, if it was read. It is the epoch of all
    /// transactions of the connection, because no connection outlives a crash.
    pub(crate) epoch: Begun,
}

impl Connection {
    /// Connects. Retries with growing, random pauses while the server may come back.
    pub(crate) async fn open(
        address: &Address,
        settings: Settings,
        origin: Option<&str>,
        until: Instant,
    ) -> Result<Self, Error> {
        let opened = Self::open_at(address, settings, origin, until).await;
        opened.map_err(|error| match error {
            Error::Unreachable(error) => Error::Unreachable(error.at(address.shown())),
            error => error,
        })
    }

    async fn open_at(
        address: &Address,
        settings: Settings,
        origin: Option<&str>,
        until: Instant,
    ) -> Result<Self, Error> {
        let clock = SystemClock::new();
        let options = address.options(settings.pooler);
        let mut backoff = Backoff::of_connecting();

        loop {
            let error = match timeout_at(until, options.connect()).await {
                Ok(Ok(inner)) => {
                    let mut opened = Self {
                        inner,
                        pooler: settings.pooler,
                        incarnation: None,
                        epoch: Begun::Unknown,
                    };
                    let fit = timeout_at(until, opened.check_server(address, origin)).await;
                    return match fit {
                        Ok(fit) => fit.map(|()| opened),
                        Err(_) => Err(too_late(settings.timeout)),
                    };
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(too_late(settings.timeout)),
            };

            match backoff.next_before(until) {
                Some(pause) if may_come_back(&error) => clock.sleep(pause).await,
                _ => return Err(unreachable(error)),
            }
        }
    }

    /// Refuses a server that a store cannot work with. The same query sets the origin of the
    /// session's writes, unless a pooler shares the session with others.
    async fn check_server(&mut self, address: &Address, origin: Option<&str>) -> Result<(), Error> {
        let unfit = |reason: &str| Error::Unfit {
            database: address.shown().to_owned(),
            reason: reason.to_owned(),
        };
        let sql = "SELECT current_setting('server_encoding'), current_setting('server_version_num')::integer, \
             pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
             (SELECT min(backend_start)::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'), \
             CASE WHEN $1::text IS NOT NULL THEN set_config('tidings.origin', $1, false) END";

        let origin = origin.filter(|_| self.pooler == Pooler::None);
        let mut arguments = PgArguments::default();
        let bound = arguments.add(origin);
        bound.map_err(|error| failed(sqlx::Error::Encode(error)))?;
        let row = self.rows_alone(&sql.into(), arguments).await;
        let row = row.map_err(failed)?.pop();
        let row = row.ok_or_else(|| unfit("it does not say what it is"))?;

        let read = || -> Result<_, sqlx::Error> {
            Ok((
                row.try_get::<String, _>(0)?,
                row.try_get::<i32, _>(1)?,
                row.try_get::<bool, _>(2)?,
                row.try_get::<bool, _>(3)?,
                row.try_get::<Option<String>, _>(4)?,
            ))
        };
        let (encoding, version, is_standby, is_read_only, checkpointer) = read().map_err(failed)?;

        if version < OLDEST {
            return Err(unfit(
                "its version is too old: PostgreSQL 13 or later is needed",
            ));
        }
        if encoding != "UTF8" {
            return Err(unfit(&format!(
                "its encoding is {encoding}: a database with the encoding UTF8 is needed"
            )));
        }
        if is_standby {
            return Err(unfit("it is a standby: connect to the primary"));
        }
        if is_read_only {
            return Err(unfit(
                "its transactions are read-only: set default_transaction_read_only to off",
            ));
        }

        self.incarnation = checkpointer.map(Into::into);
        Ok(())
    }

    /// Reads the epoch of the log. Behind a pooler it stays unknown, because transactions may run
    /// on other sessions.
    pub(crate) async fn learn_epoch(&mut self) -> Result<(), Error> {
        self.epoch = match self.pooler {
            Pooler::None => log::begun(&mut self.inner).await.map_err(failed)?,
            Pooler::Transaction => Begun::Unknown,
        };
        Ok(())
    }

    /// Returns the driver's own connection, for statements that depend on neither the pooler nor
    /// the dialect.
    pub(crate) fn inner(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn rows(
        &mut self,
        sql: &Sql,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(Sql::clone(sql)), arguments);
        let query = query.persistent(self.pooler == Pooler::None);
        query.fetch_all(&mut self.inner).await
    }

    /// Runs a statement outside of any transaction and returns its rows.
    ///
    /// A statement is prepared by one message and run by the next. Between them a pooler may lend
    /// the session to another client, whose statement would run instead. A transaction keeps the
    /// session.
    pub(crate) async fn rows_alone(
        &mut self,
        sql: &Sql,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        match self.pooler {
            Pooler::None => self.rows(sql, arguments).await,
            Pooler::Transaction => {
                self.run("BEGIN").await?;
                let rows = self.rows(sql, arguments).await;
                // This also ends a transaction that failed.
                let ended = self.run("COMMIT").await;
                rows.and_then(|rows| ended.map(|()| rows))
            }
        }
    }

    /// Removes prepared statements from a session that a pooler lends to others. Call it before the
    /// transaction ends.
    pub(crate) async fn leave_session(&mut self) -> Result<(), sqlx::Error> {
        match self.pooler {
            Pooler::None => Ok(()),
            Pooler::Transaction => self.inner.clear_cached_statements().await,
        }
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn change(
        &mut self,
        sql: &Sql,
        arguments: PgArguments,
    ) -> Result<u64, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(Sql::clone(sql)), arguments);
        let query = query.persistent(self.pooler == Pooler::None);
        let done = query.execute(&mut self.inner).await?;
        Ok(done.rows_affected())
    }

    /// Runs statements without parameters, in one message.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        statements.execute(&mut self.inner).await.map(drop)
    }

    /// Runs statements without parameters, in one message, and returns how many rows they changed.
    pub(crate) async fn affect(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let done = statements.execute(&mut self.inner).await?;
        Ok(done.rows_affected())
    }

    /// Runs statements without parameters, in one message, and returns their rows.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        statements.fetch_all(&mut self.inner).await
    }

    /// Closes the connection, and notifies the server.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        self.inner.close().await
    }
}

/// Returns the error of a failed connection attempt: the server is unreachable, or refused the
/// user.
fn unreachable(error: sqlx::Error) -> Error {
    match failed(error) {
        Error::Database(error) => Error::Unreachable(error),
        error => error,
    }
}
