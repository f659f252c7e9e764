//! The epoch of the log: when it ends, and how the next one begins.
//!
//! A crash of the machine may lose commits of programs that do not wait for the disk, and then
//! their numbers are assigned again; a copied or restored file diverges under the same name. The
//! kernel's boot id and the file's device and inode number detect this. The newest record, which is
//! never pruned, detects a file whose content was restored in place.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use tidings_core::log::Epoch;
use uuid::Uuid;

use super::{error::SqliteLogError, tables::version, writer::LogWriter};
use crate::sqlite::location::Identity;

/// How long the beginning of an epoch waits for its turn and for other programs: less than the
/// limit of a call to the log, which would cut the write off.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why an epoch is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A connection was opened: the epoch continues if its facts are unchanged.
    Open,
    /// The log has lost records: the epoch of this number has ended, regardless of the facts.
    Lost(u64),
}

/// Returns the facts under which an epoch is begun.
pub(super) fn facts(identity: Option<&Identity>) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let number = identity.and_then(Identity::number);
    let (device, file) = number.unwrap_or_default();
    format!("{} {device} {file}", boot.trim())
}

/// Returns the current epoch, and begins one if the last has ended.
pub(super) async fn establish(
    connection: &mut SqliteConnection,
    writer: &LogWriter,
    facts: &str,
    reason: Reason,
) -> Result<Epoch, SqliteLogError> {
    if version(connection).await?.is_none() {
        return Err(SqliteLogError::NotInstalled);
    }
    if let Some(epoch) = current(connection, facts, reason).await? {
        return Ok(epoch);
    }

    writer.write_within(PATIENCE, async |connection| {
        if let Some(epoch) = current(connection, facts, reason).await? {
            return Ok(epoch);
        }

        let id = Uuid::new_v4();
        let row = sqlx::query(
            "INSERT OR REPLACE INTO tidings_epoch (single, number, id, facts) VALUES (1, \
             max(coalesce((SELECT number FROM tidings_epoch), 0) + 1, CAST(strftime('%s', 'now') AS INTEGER)), ?, ?) \
             RETURNING number",
        )
        .bind(id.to_string())
        .bind(facts.to_owned())
        .fetch_one(connection)
        .await?;
        let number: i64 = row.try_get(0)?;
        Ok(Epoch::new(number.unsigned_abs(), id))
    })
    .await
}

/// Returns the epoch, if it continues.
async fn current(
    connection: &mut SqliteConnection,
    facts: &str,
    reason: Reason,
) -> Result<Option<Epoch>, SqliteLogError> {
    let found = sqlx::query("SELECT number, id FROM tidings_epoch WHERE facts = ?")
        .bind(facts.to_owned())
        .fetch_optional(connection)
        .await?;
    let Some(row) = found else {
        return Ok(None);
    };

    let epoch = epoch_of(row.try_get(0)?, &row.try_get::<String, _>(1)?)?;
    Ok(match reason {
        Reason::Open => Some(epoch),
        Reason::Lost(number) => (epoch.number > number).then_some(epoch),
    })
}

/// Decodes a stored epoch.
pub(super) fn epoch_of(number: i64, id: &str) -> Result<Epoch, SqliteLogError> {
    let malformed = |_| SqliteLogError::malformed("the id of an epoch is none");
    Ok(Epoch::new(
        number.unsigned_abs(),
        id.parse().map_err(malformed)?,
    ))
}
