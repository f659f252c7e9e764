//! What a write of the store adds to its own records before it commits: which commit they are of,
//! which node made it, and whether handlers are to hear of it. SQLite has no settings of a session
//! that a trigger could read.

use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{error::SqliteLogError, record::id_of};

/// Whether handlers hear of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Yes,
    No,
}

/// A record by its number and what it carries by chance, which tells it from another one that had
/// the number before the file was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) number: i64,
    pub(crate) id: Uuid,
}

/// Returns the newest record that there is.
pub(crate) async fn newest(connection: &mut SqliteConnection) -> Result<Stamp, SqliteLogError> {
    let found = sqlx::query(
        "SELECT s.seq, (SELECT l.nonce FROM tidings_log AS l WHERE l.id = s.seq) \
         FROM sqlite_sequence AS s WHERE s.name = 'tidings_log'",
    )
    .fetch_optional(connection)
    .await?;
    let row = found.ok_or(SqliteLogError::NotInstalled)?;
    let (number, nonce): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Stamp {
        number: number.ok_or(SqliteLogError::NotInstalled)?,
        id: id_of(nonce),
    })
}

/// Names the commit of all records after `first`. Where fewer rows were recorded than were changed,
/// a trigger is missing: a record of each whole entity takes their place. Returns the last of them,
/// which names the commit.
pub(crate) async fn stamp(
    connection: &mut SqliteConnection,
    first: i64,
    origin: Option<&str>,
    told: Told,
    changed: &[&'static str],
) -> Result<Stamp, SqliteLogError> {
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
        .bind(match told {
            Told::Yes => 0_i64,
            Told::No => 1,
        })
        .bind(first)
        .execute(connection)
        .await?;

    Ok(last)
}
