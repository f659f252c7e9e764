//! A file on a connection of its own, for a migration.
//!
//! References are off on this connection, so that tables can be rebuilt; they are checked before
//! the commit. SQLite's own lock on the file admits one migration or starting node at a time.

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Row as _, SqliteConnection};
use tidings_core::Schema;

use crate::{
    error::{DatabaseError, Error},
    layout::Inspect,
    migration::{Purpose, RecordedFields, Target, WaitLimits},
    settings::Sharing,
    sqlite::{
        codes::failed,
        connection::execute,
        layout::Tables,
        location::{Location, Lock, canonical},
        log,
    },
};

const STEPS: &str = "CREATE TABLE IF NOT EXISTS tidings_steps (name TEXT PRIMARY KEY, run_at INTEGER NOT NULL) STRICT";

/// A file, for one migration.
#[derive(Debug)]
pub(crate) struct SqliteTarget {
    connection: SqliteConnection,
    location: Location,
    /// Held once it is known that no node runs.
    alone: Option<Lock>,
}

impl SqliteTarget {
    /// Opens the database of a URL. A plan for a missing file does not create the file, and treats
    /// it as empty.
    pub(crate) async fn open(
        url: &str,
        purpose: Purpose,
        patience: Duration,
    ) -> Result<Self, Error> {
        let mut location = Location::parse(url)?;
        let Location::File(path) = &mut location else {
            return Err(Error::Url {
                reason: "a database in memory is one store's alone: expected sqlite://PATH"
                    .to_owned(),
            });
        };

        *path = canonical(path)?;
        let opened = match purpose {
            Purpose::Plan if !path.exists() => Location::Memory.connect().await?,
            Purpose::Plan => open_for_plan(&location).await?,
            Purpose::Apply => location.connect_within(patience).await?,
        };
        let mut target = Self {
            connection: opened,
            location,
            alone: None,
        };
        target.execute("PRAGMA foreign_keys = OFF").await?;

        Ok(target)
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), Error> {
        execute(&mut self.connection, sql).await.map_err(failed)
    }
}

/// Opens a file for reading only, and checks that it is a database.
async fn open_for_plan(location: &Location) -> Result<SqliteConnection, Error> {
    let opened = async {
        let mut connection = location.connect_reader().await?;
        execute(&mut connection, "SELECT count(*) FROM sqlite_schema").await?;
        Ok(connection)
    };
    opened
        .await
        .map_err(|failure: sqlx::Error| location.open_error(failure))
}

impl Target for SqliteTarget {
    fn engine(&self) -> &'static str {
        "sqlite"
    }

    fn inspect(&mut self) -> Box<dyn Inspect + '_> {
        Box::new(Tables(&mut self.connection))
    }

    /// The connection already has its time limit.
    fn begin(&mut self, purpose: Purpose, _: WaitLimits) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            match purpose {
                Purpose::Plan => self.execute("BEGIN").await,
                Purpose::Apply => self.execute("BEGIN IMMEDIATE").await,
            }
        }
        .boxed()
    }

    fn ask<'a>(
        &'a mut self,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Vec<Option<String>>>, Error>> {
        async move {
            let asking =
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection);
            let rows = asking
                .await
                .map_err(|error| Error::statement(sql, failed(error)))?;
            let read = |row: &sqlx::sqlite::SqliteRow| {
                let columns = row.columns().iter();
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
            "SELECT count(*) FROM sqlite_schema WHERE name = 'tidings_steps'",
            "SELECT name FROM tidings_steps",
        ]
    }

    fn record<'a>(&'a mut self, step: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.execute(STEPS).await?;
            let insert = "INSERT INTO tidings_steps (name, run_at) VALUES (?, unixepoch())";
            let inserted = sqlx::query(insert).bind(step).execute(&mut self.connection);
            inserted.await.map(drop).map_err(failed)
        }
        .boxed()
    }

    fn is_alone(&mut self) -> BoxFuture<'_, Result<bool, Error>> {
        let taken = match (&self.alone, &self.location) {
            (Some(_), _) | (None, Location::Memory) => Ok(true),
            (None, Location::File(path)) => match Lock::take(path, Sharing::Alone) {
                Ok(lock) => {
                    self.alone = Some(lock);
                    Ok(true)
                }
                Err(Error::InUse { .. }) => Ok(false),
                Err(error) => Err(error),
            },
        };
        std::future::ready(taken).boxed()
    }

    fn is_recorded(&mut self) -> BoxFuture<'_, Result<bool, Error>> {
        async move { Ok(log::is_captured(&mut self.connection).await?) }.boxed()
    }

    fn capture<'a>(
        &'a mut self,
        schemas: &'a [&'static Schema],
        recorded: RecordedFields,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if log::is_captured(&mut self.connection).await? {
                let installed = log::install_within(&mut self.connection, schemas, recorded).await?;
                tracing::info!(tables = ?installed.changed, "every write to these tables is recorded");
            }
            Ok(())
        }
        .boxed()
    }

    /// The tables of other programs are not checked.
    fn broken<'a>(
        &'a mut self,
        schemas: &'a [&'static Schema],
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        async move {
            let mut broken = Vec::new();
            for schema in schemas {
                let sql = format!(
                    "SELECT \"table\" || ' refers to ' || parent || ' in ' || count(*) || ' row(s) that are not there' \
                     FROM pragma_foreign_key_check('{}') GROUP BY \"table\", parent",
                    schema.name().replace('\'', "''")
                );
                let found = self.ask(&sql).await?;
                broken.extend(found.into_iter().flatten().flatten());
            }

            Ok(broken)
        }
        .boxed()
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let committed = execute(&mut self.connection, "COMMIT").await;
            committed.map_err(|error| Error::Commit(DatabaseError::new(error)))
        }
        .boxed()
    }

    fn roll_back(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.execute("ROLLBACK").await }.boxed()
    }

    fn end(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            // Fails after a commit, when there is nothing to roll back. Closing the connection
            // would roll back too.
            let _ = self.execute("ROLLBACK").await;
            let _ = self.connection.close().await;
            drop(self.alone);
        }
        .boxed()
    }
}
