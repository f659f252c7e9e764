//! Errors of PostgreSQL, by what can be done about them; see
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use std::{borrow::Cow, io, time::Duration};

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::error::{DatabaseError, Error};

pub(crate) const UNIQUE_VIOLATION: &str = "23505";
pub(crate) const FOREIGN_KEY_VIOLATION: &str = "23503";

pub(crate) fn failed(error: sqlx::Error) -> Error {
    let lost = is_lost(&error);
    let code = code(&error).map(Cow::into_owned);
    let error = DatabaseError::new(error);

    match code.as_deref() {
        // A serialization failure, a deadlock, a lock that was not available, too many clients.
        Some("40001" | "40P01" | "55P03" | "53300") => Error::Busy(error),
        Some("25006") => Error::ReadOnly(error),
        Some("53100") => Error::Full(error),
        Some(code) if code.starts_with("XX") => Error::Corrupt(error),
        _ if lost => Error::Unreachable(error),
        _ => Error::Database(error),
    }
}

/// Returns the error for an answer that did not come in time.
pub(crate) fn too_late(limit: Duration) -> Error {
    let why = format!("no answer within {limit:?}");
    Error::Unreachable(DatabaseError::other(io::Error::new(
        io::ErrorKind::TimedOut,
        why,
    )))
}

/// Returns whether the connection is unusable: it broke, or the server closed it.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolClosed
        | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(_) => {
            let fatal = database_error(error).is_some_and(|error| {
                matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
            });
            fatal
                || code(error).is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        _ => false,
    }
}

/// Returns whether the server may accept a connection a little later: it is starting, stopping,
/// full or unreachable.
pub(crate) fn may_come_back(error: &sqlx::Error) -> bool {
    match code(error).as_deref() {
        Some("53300" | "57P01" | "57P02" | "57P03") => true,
        Some(_) => false,
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)),
    }
}

pub(crate) fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

pub(crate) fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}
