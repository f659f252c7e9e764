//! The epoch of the log: when it ends, and how the next one begins.
//!
//! After a crash, the server assigns transaction ids again; a restored or promoted copy diverges
//! under the same name; and in a dump that was restored on another server, the ids mean nothing.
//! Two things detect this: a row in an unlogged table, which crash recovery and promotion delete
//! and a clean restart keeps; and the system's identifier, its timeline, and the identities of
//! database and table.

use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};
use tidings_core::log::Epoch;

use super::{
    error::PgLogError,
    tables::{lock, run, version},
};
use crate::{postgres::codes::is_lost, sink::Begun};

/// The facts under which an epoch was begun.
const FACTS: &str = "(select system_identifier::text from pg_catalog.pg_control_system()) as system, \
     substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) as timeline, \
     (select oid from pg_catalog.pg_database where datname = current_database()) as database, \
     'tidings.log'::regclass::oid as log";

/// How many records one statement removes.
const CHUNK: i64 = 10_000;

/// Removes committed records of transactions that have not ended on this server.
const REMOVE_FOREIGN: &str = "delete from tidings.log where id in ( \
    select l.id from tidings.log l, pg_catalog.pg_current_snapshot() s \
    where l.xid >= pg_catalog.pg_snapshot_xmin(s)::text::bigint \
    and not pg_catalog.pg_visible_in_snapshot(l.xid::text::pg_catalog.xid8, s) limit $1)";

/// Forgets what was pruned: a cursor of an ended epoch gets a gap in any case.
const FORGET_HORIZONS: &str = "update tidings.pruned set below = 0; delete from tidings.snapshots";

/// Refuses a standby, whose snapshots lack the transactions in progress. It runs alone, before any
/// other statement.
pub(super) async fn refuse_standby(connection: &mut PgConnection) -> Result<(), PgLogError> {
    let row = sqlx::query("select pg_is_in_recovery()")
        .fetch_one(connection)
        .await?;
    if row.try_get(0)? {
        return Err(PgLogError::Standby);
    }
    Ok(())
}

/// Returns the current epoch, and begins one if the last has ended. Call it on every new
/// connection, before its first cursor statement.
pub(super) async fn establish(connection: &mut PgConnection) -> Result<Epoch, PgLogError> {
    if version(connection).await?.is_none() {
        return Err(PgLogError::NotInstalled);
    }
    if let Some(epoch) = current(connection).await? {
        return Ok(epoch);
    }

    remove_foreign_records(connection).await?;
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    if let Some(epoch) = current(&mut transaction).await? {
        return Ok(epoch);
    }
    run(&mut transaction, FORGET_HORIZONS).await?;

    // If a crash could lose an epoch, its number would be assigned twice.
    run(&mut transaction, "set local synchronous_commit = on").await?;

    let begun = sqlx::query(sqlx::AssertSqlSafe(format!(
        "with facts as (select {FACTS}), old as (delete from tidings.epoch returning number), \
         emptied as (delete from tidings.epoch_volatile), \
         next as (select greatest(coalesce((select number from old), 0) + 1, \
           floor(extract(epoch from clock_timestamp()))::bigint) as number, gen_random_uuid() as id) \
         select n.number, n.id, f.system, f.timeline, f.database::bigint, f.log::bigint from next n, facts f"
    )))
    .fetch_one(&mut *transaction)
    .await?;
    let epoch = read(&begun)?;
    sqlx::query(
        "insert into tidings.epoch (number, id, system, timeline, database, log) \
         values ($1, $2, $3, $4, $5::bigint::oid, $6::bigint::oid)",
    )
    .bind(i64::try_from(epoch.number).unwrap_or(i64::MAX))
    .bind(epoch.id)
    .bind(begun.try_get::<String, _>(2)?)
    .bind(begun.try_get::<String, _>(3)?)
    .bind(begun.try_get::<i64, _>(4)?)
    .bind(begun.try_get::<i64, _>(5)?)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("insert into tidings.epoch_volatile (id) values ($1)")
        .bind(epoch.id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;

    Ok(epoch)
}

/// Removes the records of another server's transactions, which a restored dump contains. Readers
/// here would take them for new until this server's ids are above theirs. Removes them in chunks,
/// so that a call that is cut off has done a part of the work.
async fn remove_foreign_records(connection: &mut PgConnection) -> Result<(), PgLogError> {
    loop {
        let removed = sqlx::query(REMOVE_FOREIGN)
            .bind(CHUNK)
            .execute(&mut *connection)
            .await?;
        if removed.rows_affected() < CHUNK.unsigned_abs() {
            return Ok(());
        }
    }
}

/// Returns the epoch of a connection that does not read the log; `Unknown` if there is none that it
/// may read. Begins no epoch.
pub(crate) async fn begun(connection: &mut PgConnection) -> Result<Begun, sqlx::Error> {
    let found = match version(connection).await {
        Ok(Some(_)) => current(connection).await,
        Ok(None) => return Ok(Begun::Unknown),
        Err(error) => Err(error),
    };

    match found {
        Ok(epoch) => Ok(epoch.map_or(Begun::Between, |epoch| Begun::In(epoch.id))),
        Err(PgLogError::Database(error)) if is_lost(&error) => Err(error),
        Err(_) => Ok(Begun::Unknown),
    }
}

/// Returns the epoch, if its facts are unchanged and the server has not lost a commit since.
async fn current(connection: &mut PgConnection) -> Result<Option<Epoch>, PgLogError> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!(
        "select e.number, e.id from tidings.epoch e join tidings.epoch_volatile v on v.id = e.id, \
         (select {FACTS}) f where e.system = f.system and e.timeline = f.timeline \
         and e.database = f.database and e.log = f.log"
    )))
    .fetch_optional(connection)
    .await?;
    found.as_ref().map(read).transpose()
}

fn read(row: &PgRow) -> Result<Epoch, PgLogError> {
    let number: i64 = row.try_get(0)?;
    let number = u64::try_from(number);
    let number = number.map_err(|_| PgLogError::malformed("the number of an epoch is negative"))?;
    Ok(Epoch::new(number, row.try_get(1)?))
}
