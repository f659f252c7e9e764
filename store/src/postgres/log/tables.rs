//! The log's own tables: created once, with a version.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::error::PgLogError;

/// The version of the tables that this program creates.
const VERSION: i32 = 1;
const TABLES: &str = include_str!("tables.sql");
/// The table with the key of the cluster and the number of starts. It is created separately, for
/// logs that are older than it.
const KEY: &str = "create table tidings.start (
        single boolean primary key default true check (single),
        key bytea not null,
        starts bigint not null default 0
    );
    insert into tidings.start (key) values
        (pg_catalog.uuid_send(gen_random_uuid()) || pg_catalog.uuid_send(gen_random_uuid()))";
/// The columns for a member's facts and its last report, in the database's time. They are added
/// separately, for logs that are older.
const FACTS: &str = "alter table tidings.members
        add column if not exists facts text,
        add column if not exists asked_at bigint,
        add column if not exists reported_at bigint,
        add column if not exists report_took bigint,
        add column if not exists clock_ahead bigint";
/// Counts the start of a node; returns the key and the number of starts.
pub(crate) const START: &str = "update tidings.start set starts = starts + 1 returning key, starts";
/// The key of the lock that nodes hold as long as they live.
pub(crate) const NODE_LOCK: &str = "pg_catalog.hashtextextended('tidings node', 0)";
/// Takes the lock under which the log's own tables and capture are changed.
pub(crate) const LOCK: &str =
    "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('tidings layout', 0))";

/// Waits for the turn of a transaction that changes tables, functions or triggers of the log.
pub(crate) async fn lock(connection: &mut PgConnection) -> Result<(), PgLogError> {
    // The wait for a table that another program holds has a limit.
    run(connection, "set local lock_timeout = '5s'").await?;
    run(connection, LOCK).await
}

/// Creates the tables that are missing. Call it after [`lock`].
pub(crate) async fn prepare(connection: &mut PgConnection) -> Result<(), PgLogError> {
    if version(connection).await?.is_none() {
        run(connection, TABLES).await?;
    }

    let has_key: bool = sqlx::query("select to_regclass('tidings.start') is not null")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if !has_key {
        run(connection, KEY).await?;
    }

    // Checked first, because the change locks the table, which members read all the time.
    let has_facts = "select exists (select from pg_catalog.pg_attribute
        where attrelid = 'tidings.members'::regclass and attname = 'clock_ahead' and not attisdropped)";
    let has_facts: bool = sqlx::query(has_facts)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if !has_facts {
        run(connection, FACTS).await?;
    }

    Ok(())
}

/// Returns the version of the existing tables; `None` if there are none.
pub(super) async fn version(connection: &mut PgConnection) -> Result<Option<i32>, PgLogError> {
    let there: bool = sqlx::query("select to_regclass('tidings.version') is not null")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if !there {
        return Ok(None);
    }

    let found: i32 = sqlx::query("select number from tidings.version")
        .fetch_one(connection)
        .await?
        .try_get(0)?;
    if found > VERSION {
        return Err(PgLogError::Newer {
            found,
            known: VERSION,
        });
    }

    Ok(Some(found))
}

/// Runs statements without parameters.
pub(super) async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), PgLogError> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await?;
    Ok(())
}
