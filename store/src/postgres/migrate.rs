//! A database on a connection of its own, for a migration.
//!
//! Migrations, starting nodes and installers of triggers take one advisory lock, which the
//! transaction holds to its end. It waits only briefly for a table that others hold, because later
//! readers of the table queue behind a waiting change.

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{Column as _, Row as _, postgres::PgRow};
use tidings_core::Schema;
use tokio::time::Instant;

use crate::{
    error::{DatabaseError, Error},
    layout::Inspect,
    migration::{Purpose, RecordedFields, Target, WaitLimits},
    postgres::{
        address::Address,
        codes::failed,
        connection::Connection,
        layout::Tables,
        log::{self, InstallOptions, NODE_LOCK},
    },
    settings::{Pooler, Settings},
};

const STEPS: &str = "CREATE TABLE IF NOT EXISTS tidings.steps \
     (name text PRIMARY KEY, run_at timestamptz NOT NULL DEFAULT now())";

/// A database, for one migration.
#[derive(Debug)]
pub(crate) struct PgTarget {
    connection: Connection,
}

impl PgTarget {
    /// Connects to the database of a URL.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let address = Address::parse(url)?;
        // There may be a pooler, and clearing the session costs little.
        let settings = Settings {
            pooler: Pooler::Transaction,
            ..Settings::default()
        };
        let until = Instant::now() + settings.timeout;
        let connection = Connection::open(&address, settings, None, until).await?;
        Ok(Self { connection })
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        self.connection.run(sql).await.map_err(failed)
    }

    /// Sets how long the statements of the transaction wait for each lock.
    async fn wait_at_most(&mut self, limit: Duration) -> Result<(), Error> {
        let millis = limit.as_millis().max(1);
        self.execute(&format!("SET LOCAL lock_timeout = {millis}"))
            .await
    }
}

impl Target for PgTarget {
    fn engine(&self) -> &'static str {
        "postgres"
    }

    fn inspect(&mut self) -> Box<dyn Inspect + '_> {
        Box::new(Tables(&mut self.connection))
    }

    fn begin(&mut self, purpose: Purpose, waits: WaitLimits) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.execute("BEGIN").await?;
            match purpose {
                Purpose::Plan => self.execute("SET TRANSACTION READ ONLY").await?,
                Purpose::Apply => {
                    self.wait_at_most(waits.turn).await?;
                    self.execute(log::LAYOUT_LOCK).await?;
                }
            }
            self.wait_at_most(waits.table).await
        }
        .boxed()
    }

    fn ask<'a>(
        &'a mut self,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Vec<Option<String>>>, Error>> {
        async move {
            let rows = self.connection.ask(sql).await;
            let rows = rows.map_err(|error| Error::statement(sql, failed(error)))?;
            let read = |row: &PgRow| {
                let columns = row.columns().iter();
                // The server sends the rows of a statement without parameters as text.
                let texts = columns.map(|column| row.try_get_unchecked(column.ordinal()));
                texts.collect::<Result<_, _>>()
            };
            let rows: Result<_, sqlx::Error> = rows.iter().map(read).collect();
            rows.map_err(failed)
        }
        .boxed()
    }

    fn step_queries(&self) -> [&'static str; 2] {
        [
            "SELECT count(to_regclass('tidings.steps'))",
            "SELECT name FROM tidings.steps",
        ]
    }

    fn record<'a>(&'a mut self, step: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            log::prepare(self.connection.inner()).await?;
            self.execute(STEPS).await?;
            let insert = sqlx::query("INSERT INTO tidings.steps (name) VALUES ($1)").bind(step);
            let inserted = insert.execute(self.connection.inner()).await;
            inserted.map(drop).map_err(failed)
        }
        .boxed()
    }

    fn is_alone(&mut self) -> BoxFuture<'_, Result<bool, Error>> {
        async move {
            let sql = format!("SELECT pg_try_advisory_xact_lock({NODE_LOCK})::int::bigint");
            Ok(self.inspect().count(&sql).await? == 1)
        }
        .boxed()
    }

    // A node puts its triggers in place before it runs, so every write is recorded.
    fn is_recorded(&mut self) -> BoxFuture<'_, Result<bool, Error>> {
        std::future::ready(Ok(true)).boxed()
    }

    fn capture<'a>(
        &'a mut self,
        schemas: &'a [&'static Schema],
        recorded: RecordedFields,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let options = InstallOptions::default();
            let connection = self.connection.inner();
            let installed = log::install_within(connection, schemas, options, recorded).await?;
            tracing::info!(tables = ?installed.changed, "every write to these tables is recorded");
            Ok(())
        }
        .boxed()
    }

    // The server checks the references itself.
    fn broken<'a>(
        &'a mut self,
        _: &'a [&'static Schema],
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        async move {
            self.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
            Ok(Vec::new())
        }
        .boxed()
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.connection.leave_session().await.map_err(failed)?;
            let committed = self.connection.run("COMMIT").await;
            committed.map_err(|error| Error::Commit(DatabaseError::new(error)))
        }
        .boxed()
    }

    fn roll_back(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.connection.leave_session().await.map_err(failed)?;
            self.execute("ROLLBACK").await
        }
        .boxed()
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        // The server rolls back what was not committed when the connection closes.
        async move { drop(self.connection.close().await) }.boxed()
    }
}
