//! The log's own tables: made once, and told apart by their version.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::error::SqliteLogError;

/// The version of the tables that this program makes.
const VERSION: i64 = 1;
const TABLES: &str = include_str!("tables.sql");

/// Makes the tables unless they are there; in a transaction that holds the file.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), SqliteLogError> {
    if version(connection).await?.is_none() {
        run(connection, TABLES.to_owned()).await?;
    }
    Ok(())
}

/// Returns the version of the tables that are there; none if there are none.
pub(super) async fn version(
    connection: &mut SqliteConnection,
) -> Result<Option<i64>, SqliteLogError> {
    let there =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'tidings_version'";
    let there: i64 = sqlx::query(there)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if there == 0 {
        return Ok(None);
    }
    let found: i64 = sqlx::query("SELECT number FROM tidings_version")
        .fetch_one(connection)
        .await?
        .try_get(0)?;
    if found > VERSION {
        return Err(SqliteLogError::Newer {
            found,
            known: VERSION,
        });
    }
    Ok(Some(found))
}

/// Runs statements without parameters.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    sql: String,
) -> Result<(), SqliteLogError> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}
