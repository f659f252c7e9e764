//! Errors of SQLite, by what can be done about them; see <https://www.sqlite.org/rescode.html>.

use sqlx::error::ErrorKind;

use crate::{
    engine::{CommitError, Constraint, ConstraintViolation, Refused},
    error::{DatabaseError, Error},
};

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOT_A_DATABASE: i32 = 26;

/// Returns whether the file is not a database.
pub(crate) fn is_not_a_database(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(NOT_A_DATABASE)
}

/// Returns whether another program holds the file.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(BUSY | LOCKED))
}

/// Returns whether the file is damaged.
pub(crate) fn is_corrupt(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(CORRUPT)
}

pub(crate) fn failed(error: sqlx::Error) -> Error {
    let code = primary_code(&error);
    let error = DatabaseError::new(error);
    match code {
        Some(BUSY | LOCKED) => Error::Busy(error),
        Some(READ_ONLY) => Error::ReadOnly(error),
        Some(FULL) => Error::Full(error),
        Some(CORRUPT | NOT_A_DATABASE) => Error::Corrupt(error),
        _ => Error::Database(error),
    }
}

/// Returns why a statement changed nothing. SQLite names no constraint, and leaves the transaction
/// as it was.
pub(crate) fn refused(error: sqlx::Error) -> Refused {
    let kind = error.as_database_error().map(|error| error.kind());
    let error = failed(error);
    let by = Constraint::Unnamed;
    match kind {
        Some(ErrorKind::UniqueViolation) => Refused::Unique(ConstraintViolation { by, error }),
        Some(ErrorKind::ForeignKeyViolation) => {
            Refused::Reference(ConstraintViolation { by, error })
        }
        _ => Refused::Failed(error),
    }
}

/// Returns the outcome of a commit that failed with an error. On a full disk, the last frame was
/// not written, and without it the commit does not count.
pub(crate) fn commit_error(error: sqlx::Error) -> CommitError {
    match failed(error) {
        full @ Error::Full(_) => CommitError::Failed(full),
        Error::Busy(error)
        | Error::ReadOnly(error)
        | Error::Corrupt(error)
        | Error::Database(error) => CommitError::InDoubt(Error::Commit(error)),
        other => CommitError::InDoubt(other),
    }
}

/// Returns the primary result code: the low byte of the extended one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn a_commit_that_finds_the_disk_full_has_certainly_failed() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let fill =
            "CREATE TABLE t (a); PRAGMA max_page_count = 2; INSERT INTO t VALUES (zeroblob(99999))";
        let full = sqlx::raw_sql(fill).execute(&mut connection).await;
        let ended = commit_error(full.unwrap_err());
        assert!(
            matches!(ended, CommitError::Failed(Error::Full(_))),
            "{ended:?}"
        );
        let ended = commit_error(sqlx::Error::WorkerCrashed);
        let doubt = matches!(ended, CommitError::InDoubt(Error::Commit(_)));
        assert!(doubt, "{ended:?}");
    }
}
