//! The log's own tables: created once, with a version.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::error::SqliteLogError;

/// The version of the tables that this program creates.
const VERSION: i64 = 1;
const TABLES: &str = include_str!("tables.sql");
/// The columns for a member's facts and its last report. They are added separately, for logs that
/// are older.
const FACTS: [&str; 5] = [
    "facts TEXT",
    "asked_at INTEGER",
    "reported_at INTEGER",
    "report_took INTEGER",
    "clock_ahead INTEGER",
];

/// Creates the tables that are missing, in a write transaction.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), SqliteLogError> {
    if version(connection).await?.is_none() {
        run(connection, TABLES.to_owned()).await?;
    }

    let columns = sqlx::query("SELECT name FROM pragma_table_info('tidings_members')")
        .fetch_all(&mut *connection)
        .await?;
    let columns = columns.iter().map(|row| row.try_get(0));
    let columns: Vec<String> = columns.collect::<Result<_, _>>()?;
    for column in FACTS {
        let name = column.split(' ').next().unwrap_or(column);
        if !columns.iter().any(|known| known == name) {
            let add = format!("ALTER TABLE tidings_members ADD COLUMN {column}");
            run(connection, add).await?;
        }
    }

    Ok(())
}

/// Returns the version of the existing tables; `None` if there are none.
pub(super) async fn version(
    connection: &mut SqliteConnection,
) -> Result<Option<i64>, SqliteLogError> {
    let existing =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'tidings_version'";
    let existing: i64 = sqlx::query(existing)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if existing == 0 {
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
