//! Pruning: the log keeps records for the retention, counted from when their transactions became
//! visible.
//!
//! A record's own time would not do: a transaction may have been open for longer than the retention
//! when it commits. So snapshots are stored, and records are removed that were below the horizon of
//! a snapshot older than the retention.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};

use super::error::PgLogError;

/// How many records one transaction removes.
const CHUNK: i64 = 10_000;

/// What pruning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Records that were removed.
    pub records: u64,
    /// Whether another node was pruning.
    pub busy: bool,
}

/// Stores a snapshot, and removes records that no reader may ask for any more. One node does so at
/// a time; a second one returns at once.
///
/// Call it every quarter of the retention or every minute, whichever is shorter.
///
/// # Errors
///
/// See [`PgLogError`]. What was removed before the error stays removed.
pub async fn prune(
    connection: &mut PgConnection,
    retention: Duration,
) -> Result<Pruned, PgLogError> {
    let mut pruned = Pruned::default();
    loop {
        let mut transaction = connection.begin().await?;
        let mine: bool =
            sqlx::query("select pg_try_advisory_xact_lock(hashtextextended('tidings prune', 0))")
                .fetch_one(&mut *transaction)
                .await?
                .try_get(0)?;
        if !mine {
            pruned.busy = true;
            transaction.clear_cached_statements().await?;
            transaction.rollback().await?;
            return Ok(pruned);
        }

        if pruned.records == 0 {
            sqlx::query(
                "insert into tidings.snapshots (horizon) \
                 select pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
            )
            .execute(&mut *transaction)
            .await?;
        }
        let removed = remove(&mut transaction, retention).await?;

        // A pooler may lend this session to others next.
        transaction.clear_cached_statements().await?;
        transaction.commit().await?;
        pruned.records += removed;
        if removed < CHUNK as u64 {
            return Ok(pruned);
        }
    }
}

/// Removes one chunk, and in the same transaction stores the bound below which readers get a gap.
async fn remove(connection: &mut PgConnection, retention: Duration) -> Result<u64, PgLogError> {
    let horizon: Option<i64> = sqlx::query(
        "select max(horizon) from tidings.snapshots \
         where taken <= clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(retention.as_secs_f64())
    .fetch_one(&mut *connection)
    .await?
    .try_get(0)?;
    let Some(horizon) = horizon else {
        return Ok(0);
    };

    // Older snapshots are not needed any more.
    sqlx::query("delete from tidings.snapshots where horizon < $1")
        .bind(horizon)
        .execute(&mut *connection)
        .await?;
    sqlx::query("update tidings.pruned set below = $1 where below < $1")
        .bind(horizon)
        .execute(&mut *connection)
        .await?;

    let removed = sqlx::query(
        "delete from tidings.log where id in ( \
           select l.id from tidings.log l where l.xid < $1 order by l.xid limit $2)",
    )
    .bind(horizon)
    .bind(CHUNK)
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}
