//! [`PgLogError`]: why a call to the log on PostgreSQL failed.

use crate::{
    error::{DatabaseError, Error},
    postgres::codes::failed,
};

/// Why a call to the log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PgLogError {
    /// The URL of the database is not valid.
    #[error("the database URL is not valid: expected postgres://USER@HOST:PORT/DATABASE")]
    Url,
    /// The server is a standby, whose snapshots lack the transactions in progress: connect to the
    /// primary.
    #[error("the server is a standby: the log is read on the primary only")]
    Standby,
    /// The log has not been installed in this database.
    #[error("the database has no log: run `tidings capture install`")]
    NotInstalled,
    /// The log was laid out by a newer program.
    #[error(
        "the log has layout {found}, and this program knows layout {known}: use a newer program"
    )]
    Newer {
        /// The version found.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// Tables do not fit their schemas; nothing was changed.
    #[error("the tables cannot be captured: {}", differences.join("; "))]
    Incompatible {
        /// Every difference, one line each.
        differences: Vec<String>,
    },
    /// The call was refused; nothing was changed.
    #[error("{reason}")]
    Refused {
        /// Why, and what would be right.
        reason: String,
    },
    /// Another program holds a lock on a table for longer than the call waits: try again.
    #[error("a table is locked by another program")]
    Busy(#[source] sqlx::Error),
    /// The log has begun another epoch than the cursor's.
    #[error("the log has begun another epoch")]
    EpochEnded,
    /// A record of the log, or a value beside it, does not have the form that this program writes.
    #[error("the log is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// The database cannot be reached.
    #[error("the database {database} cannot be reached")]
    Unreachable {
        /// Host, port and name.
        database: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The database failed, or the connection broke.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl PgLogError {
    /// Returns whether the database could not be reached. Otherwise it refused the call.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Database(error) => error.as_database_error().is_none(),
            _ => false,
        }
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }
}

impl From<PgLogError> for Error {
    fn from(error: PgLogError) -> Self {
        match error {
            PgLogError::Incompatible { differences } => Self::Incompatible { differences },
            PgLogError::Busy(error) | PgLogError::Database(error) => failed(error),
            PgLogError::Unreachable { database, source } => {
                Self::Unreachable(DatabaseError::new(source).at(&database))
            }
            other => Self::Database(DatabaseError::other(other.to_string())),
        }
    }
}

impl From<sqlx::Error> for PgLogError {
    fn from(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .map(std::borrow::Cow::into_owned);

        match code.as_deref() {
            // The error of a cursor statement when the server is in recovery.
            Some("0A000" | "55000") => Self::Standby,
            Some("55P03") => Self::Busy(error),
            // An undefined table or schema: statements here only name the log's own.
            Some("42P01" | "3F000") => Self::NotInstalled,
            _ => Self::Database(error),
        }
    }
}
