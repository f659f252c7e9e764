//! The table of starts, with the database's key. Every file has it, with or without a log.

use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use crate::start::{DatabaseKey, Start};

/// Counts a start, in the open transaction; the first start creates the table and the key.
pub(super) async fn start(connection: &mut SqliteConnection) -> Result<Start, sqlx::Error> {
    let table = "CREATE TABLE IF NOT EXISTS tidings_start \
         (single INTEGER PRIMARY KEY CHECK (single = 1), key BLOB NOT NULL, starts INTEGER NOT NULL)";
    sqlx::query(table).execute(&mut *connection).await?;

    // Random numbers of the system, with 122 bits each: SQLite's own are not meant for secrets.
    let random = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
    let first = "INSERT OR IGNORE INTO tidings_start (single, key, starts) VALUES (1, ?, 0)";
    sqlx::query(first)
        .bind(random.concat())
        .execute(&mut *connection)
        .await?;

    let count = "UPDATE tidings_start SET starts = starts + 1 RETURNING key, starts";
    let row = sqlx::query(count).fetch_one(connection).await?;
    let (key, starts): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
    let malformed = || sqlx::Error::Decode("the key in tidings_start is not of 32 bytes".into());
    Ok(Start {
        key: DatabaseKey::from_slice(&key).ok_or_else(malformed)?,
        number: starts.unsigned_abs(),
    })
}
