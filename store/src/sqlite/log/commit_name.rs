//! What a write of the store adds to its own records before it commits: the name of the commit, the
//! node that made it, and whether handlers run for it. SQLite has no session settings that a
//! trigger could read.

use sqlx::{Row as _, SqliteConnection};
use tidings_core::log::Announce;
use uuid::Uuid;

use super::{error::SqliteLogError, record::id_of};

/// A record's number and random id. The id distinguishes it from a record that had the same number
/// before the file was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordId {
    pub(crate) number: i64,
    pub(crate) id: Uuid,
}

/// Returns the newest record.
pub(crate) async fn newest(connection: &mut SqliteConnection) -> Result<RecordId, SqliteLogError> {
    let found = sqlx::query(
        "SELECT s.seq, (SELECT l.nonce FROM tidings_log AS l WHERE l.id = s.seq) \
         FROM sqlite_sequence AS s WHERE s.name = 'tidings_log'",
    )
    .fetch_optional(connection)
    .await?;
    let row = found.ok_or(SqliteLogError::NotInstalled)?;
    let (number, nonce): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(RecordId {
        number: number.ok_or(SqliteLogError::NotInstalled)?,
        id: id_of(nonce),
    })
}

/// Sets the commit of all records after `first`. If fewer rows were recorded than changed, a
/// trigger is missing: then a record of each entity as a whole is added. Returns the last record,
/// which names the commit.
pub(crate) async fn name_commit(
    connection: &mut SqliteConnection,
    first: i64,
    origin: Option<&str>,
    announce: Announce,
    changed: &[&'static str],
) -> Result<RecordId, SqliteLogError> {
    let recorded =
        sqlx::query("SELECT count(*) FROM tidings_log WHERE id > ? AND kind IN ('c', 'u', 'd')")
            .bind(first)
            .fetch_one(&mut *connection)
            .await?;
    let recorded: i64 = recorded.try_get(0)?;

    if usize::try_from(recorded).is_ok_and(|recorded| recorded < changed.len()) {
        tracing::error!(
            entities = ?changed,
            "a write was not recorded, so triggers are missing: run `tidings capture install`"
        );

        let entities: std::collections::BTreeSet<_> = changed.iter().collect();
        for entity in entities {
            sqlx::query("INSERT INTO tidings_log (kind, entity) VALUES ('t', ?)")
                .bind(*entity)
                .execute(&mut *connection)
                .await?;
        }
    }

    let last = newest(connection).await?;
    sqlx::query("UPDATE tidings_log SET mark = ?, origin = ?, silent = ? WHERE id > ?")
        .bind(last.number)
        .bind(origin.map(str::to_owned))
        .bind(match announce {
            Announce::Event => 0_i64,
            Announce::Silent => 1,
        })
        .bind(first)
        .execute(connection)
        .await?;

    Ok(last)
}
