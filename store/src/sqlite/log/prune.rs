//! Pruning: the log keeps records for the retention, counted by the host's clock.
//!
//! The number of the newest record is noted now and then. Records are removed that existed when a
//! note was made that is older than the retention. The newest record always stays: it distinguishes
//! a restored file from one that has not changed.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{error::SqliteLogError, names::identifier, settings::Settings};

/// How many records one transaction removes, since other writes wait for it.
const CHUNK: i64 = 1_000;

/// Notes the newest record, and removes records that no reader may ask for any more. Returns how
/// many were removed.
pub(super) async fn prune(settings: &Settings, retention: Duration) -> Result<u64, SqliteLogError> {
    let now = settings.clock.wall().as_unix();
    let age = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
    let before = now.saturating_sub(age);
    let horizon = settings
        .writer
        .write(async |connection| note(connection, now, before).await)
        .await?;
    let mut removed = 0;

    loop {
        let chunk = settings
            .writer
            .write(async |connection| remove(connection, horizon).await)
            .await?;
        removed += chunk;
        if chunk < CHUNK.unsigned_abs() {
            return Ok(removed);
        }
    }
}

/// Notes the newest record, unless it was noted before. Returns the last record to remove.
async fn note(
    connection: &mut SqliteConnection,
    now: i64,
    before: i64,
) -> Result<i64, SqliteLogError> {
    sqlx::query(
        "INSERT INTO tidings_horizons (taken, last) \
         SELECT ?, newest FROM (SELECT coalesce(max(id), 0) AS newest FROM tidings_log) \
         WHERE newest > coalesce((SELECT max(last) FROM tidings_horizons), -1)",
    )
    .bind(now)
    .execute(&mut *connection)
    .await?;

    let horizon: i64 =
        sqlx::query("SELECT coalesce(max(last), 0) FROM tidings_horizons WHERE taken <= ?")
            .bind(before)
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)?;

    // Older notes are not needed any more.
    sqlx::query("DELETE FROM tidings_horizons WHERE last < ?")
        .bind(horizon)
        .execute(connection)
        .await?;
    Ok(horizon)
}

/// Removes one chunk, and in the same transaction stores the bound below which readers get a gap.
async fn remove(connection: &mut SqliteConnection, horizon: i64) -> Result<u64, SqliteLogError> {
    let last: Option<i64> = sqlx::query(
        "SELECT max(id) FROM (SELECT id FROM tidings_log \
         WHERE id <= ? AND id < (SELECT max(id) FROM tidings_log) ORDER BY id LIMIT ?)",
    )
    .bind(horizon)
    .bind(CHUNK)
    .fetch_one(&mut *connection)
    .await?
    .try_get(0)?;
    let Some(last) = last else {
        return Ok(0);
    };

    sqlx::query("UPDATE tidings_pruned SET last = ? WHERE last < ?")
        .bind(last)
        .bind(last)
        .execute(&mut *connection)
        .await?;

    let sides = sqlx::query(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'tidings_log:*'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for side in sides {
        let side = identifier(&side.try_get::<String, _>(0)?);
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {side} WHERE id <= ?")))
            .bind(last)
            .execute(&mut *connection)
            .await?;
    }

    let removed = sqlx::query("DELETE FROM tidings_log WHERE id <= ?")
        .bind(last)
        .execute(connection)
        .await?;
    Ok(removed.rows_affected())
}
