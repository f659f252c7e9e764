//! Reads records beyond a number, and in the same snapshot everything that is needed to prove that
//! none is missing.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use tidings_core::{
    Schema,
    log::{Epoch, MemberId},
};
use uuid::Uuid;

use super::{
    commits::Place,
    epoch::epoch_of,
    error::SqliteLogError,
    record::{COLUMNS, Stored, id_of},
    watch,
};
use crate::logs::capture::CaptureStates;

/// The maximum total length of the texts of a page's records, after which the rest is cut off.
const PAGE_SIZE: i64 = 8 << 20;

/// What a snapshot shows besides the records.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) epoch: Option<Epoch>,
    /// The last record that was removed.
    pub(super) pruned: u64,
    /// The newest record.
    pub(super) newest: u64,
    /// The row of the member that reads; `None` if it has no row, or no member reads.
    pub(super) own: Option<String>,
}

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<Stored>,
    /// Whether there are more records after the last.
    pub(super) cut: bool,
}

/// Begins a snapshot, which [`end`] ends. If a call over a link fails, the link is closed, and its
/// snapshot with it.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), SqliteLogError> {
    super::tables::run(connection, "BEGIN".to_owned()).await
}

pub(super) async fn end(connection: &mut SqliteConnection) -> Result<(), SqliteLogError> {
    super::tables::run(connection, "COMMIT".to_owned()).await
}

/// Reads a number that every commit of another connection changes.
pub(super) async fn data_version(connection: &mut SqliteConnection) -> Result<i64, SqliteLogError> {
    let row = sqlx::query("PRAGMA data_version").fetch_one(connection);
    Ok(row.await?.try_get(0)?)
}

/// Reads what a reader gets besides the records.
pub(super) async fn head(
    connection: &mut SqliteConnection,
    member: Option<&MemberId>,
) -> Result<Head, SqliteLogError> {
    let row = sqlx::query(
        "SELECT e.number, e.id, (SELECT last FROM tidings_pruned), \
           (SELECT seq FROM sqlite_sequence WHERE name = 'tidings_log'), \
           (SELECT m.start || ' ' || m.incarnation || ' ' || m.marked || ' ' || m.demand \
              FROM tidings_members AS m WHERE m.node = ?) \
         FROM (SELECT 1) LEFT JOIN tidings_epoch AS e",
    )
    .bind(member.map(|member| member.node.to_string()))
    .fetch_one(connection)
    .await?;
    let (number, id): (Option<i64>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let epoch = match (number, id) {
        (Some(number), Some(id)) => Some(epoch_of(number, &id)?),
        _ => None,
    };
    let count = |index: usize| -> Result<u64, SqliteLogError> {
        let found: Option<i64> = row.try_get(index)?;
        Ok(found.unwrap_or(0).unsigned_abs())
    };
    Ok(Head {
        epoch,
        pruned: count(2)?,
        newest: count(3)?,
        own: row.try_get(4)?,
    })
}

/// Reads a number that every change of the schema changes.
pub(super) async fn schema_version(
    connection: &mut SqliteConnection,
) -> Result<i64, SqliteLogError> {
    let row = sqlx::query("PRAGMA schema_version").fetch_one(connection);
    Ok(row.await?.try_get(0)?)
}

/// Checks capture if the schema has changed since the last check.
pub(super) async fn states(
    connection: &mut SqliteConnection,
    schemas: &[&'static Schema],
    last: &mut Option<i64>,
) -> Result<Option<CaptureStates>, SqliteLogError> {
    let now = schema_version(connection).await?;
    if *last == Some(now) {
        return Ok(None);
    }
    let states = watch::check(connection, schemas).await?;
    *last = Some(now);
    Ok(Some(states))
}

/// Finds the page that holds the number of the log's last record, in a schema of this version.
pub(super) async fn place(
    connection: &mut SqliteConnection,
    schema: i64,
) -> Result<Option<Place>, SqliteLogError> {
    let found = sqlx::query("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_sequence'")
        .fetch_optional(connection)
        .await?;
    let page: Option<i64> = found.map(|row| row.try_get(0)).transpose()?;
    let page = page.and_then(|page| u32::try_from(page).ok());
    Ok(page.map(|page| Place { schema, page }))
}

/// Reads the random id of a record; `None` if the record does not exist.
pub(super) async fn id_at(
    connection: &mut SqliteConnection,
    id: u64,
) -> Result<Option<Uuid>, SqliteLogError> {
    let found = sqlx::query("SELECT nonce FROM tidings_log WHERE id = ?")
        .bind(id.cast_signed())
        .fetch_optional(connection)
        .await?;
    let nonce: Option<Option<i64>> = found.map(|row| row.try_get(0)).transpose()?;
    Ok(nonce.map(id_of))
}

/// Reads at most `limit` records beyond a number.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    beyond: u64,
    limit: usize,
) -> Result<Page, SqliteLogError> {
    let sql =
        format!("SELECT {COLUMNS} FROM tidings_log AS l WHERE l.id > ? ORDER BY l.id LIMIT ?");
    let mut rows = sqlx::query(AssertSqlSafe(sql))
        .bind(beyond.cast_signed())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
        .fetch(connection);
    let mut page = Page {
        records: Vec::new(),
        cut: false,
    };
    let mut size: i64 = 0;

    while let Some(row) = rows.try_next().await? {
        // The statement asks for one more than a page holds; it is read again later.
        if page.records.len() >= limit || size > PAGE_SIZE {
            page.cut = true;
            break;
        }
        let record = Stored::read(row)?;
        size = size.saturating_add(record.size);
        page.records.push(record);
    }

    Ok(page)
}
