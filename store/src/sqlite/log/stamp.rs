//! What a write of the store adds to its own records before it commits: which commit they are of,
//! which node made it, and whether handlers are to hear of it. SQLite has no settings of a session
//! that a trigger could read.

use sqlx::{Row as _, SqliteConnection};

use super::error::SqliteLogError;

/// Whether handlers hear of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Yes,
    No,
}

/// Returns the newest record that there is.
pub(crate) async fn newest(connection: &mut SqliteConnection) -> Result<i64, SqliteLogError> {
    let found = sqlx::query("SELECT seq FROM sqlite_sequence WHERE name = 'tidings_log'")
        .fetch_optional(connection)
        .await?;
    let newest: Option<i64> = found.map(|row| row.try_get(0)).transpose()?;
    newest.ok_or(SqliteLogError::NotInstalled)
}

/// Names the commit of all records after `first`. Where fewer rows were recorded than were changed,
/// a trigger is missing: a record of each whole entity takes their place. Returns the commit's
/// name.
pub(crate) async fn stamp(
    connection: &mut SqliteConnection,
    first: i64,
    origin: Option<&str>,
    told: Told,
    changed: &[&'static str],
) -> Result<u64, SqliteLogError> {
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
        .bind(last)
        .bind(origin.map(str::to_owned))
        .bind(match told {
            Told::Yes => 0_i64,
            Told::No => 1,
        })
        .bind(first)
        .execute(connection)
        .await?;
    Ok(last.unsigned_abs())
}
