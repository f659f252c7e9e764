//! [`SqliteLogError`]: why a call to the log on SQLite failed.

use std::path::PathBuf;

use tidings_core::log::LogError;

use crate::{
    error::{DatabaseError, Error},
    sqlite::codes::{failed, is_busy},
};

/// Why a call to the log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteLogError {
    /// The URL names no database file that can be opened.
    #[error("the database cannot be opened: {reason}")]
    Open {
        /// Why, and what would be right.
        reason: String,
    },
    /// The log has not been installed in this database.
    #[error("the database has no log: run `tidings capture install`")]
    NotInstalled,
    /// The log was laid out by a newer program.
    #[error(
        "the log has layout {found}, and this program knows layout {known}: use a newer program"
    )]
    Newer {
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
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
    /// Another file has taken the database's name.
    #[error("the file {} was removed or replaced", path.display())]
    FileGone {
        /// The name.
        path: PathBuf,
    },
    /// The log has begun another epoch than the cursor's.
    #[error("the log has begun another epoch")]
    EpochEnded,
    /// A record of the log, or a value beside it, does not have the form that this program writes.
    #[error("the log is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// Another program held the file for longer than the call waits: try again.
    #[error("another program holds the file")]
    Busy(#[source] sqlx::Error),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The store was closed, or its writer failed.
    #[error(transparent)]
    Store(Box<Error>),
}

impl SqliteLogError {
    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }
}

impl From<sqlx::Error> for SqliteLogError {
    fn from(error: sqlx::Error) -> Self {
        if is_busy(&error) {
            Self::Busy(error)
        } else {
            Self::Database(error)
        }
    }
}

impl From<Error> for SqliteLogError {
    fn from(error: Error) -> Self {
        match error {
            Error::FileGone { path } => Self::FileGone { path },
            other => Self::Store(Box::new(other)),
        }
    }
}

impl From<SqliteLogError> for Error {
    fn from(error: SqliteLogError) -> Self {
        match error {
            SqliteLogError::Incompatible { differences } => Self::Incompatible { differences },
            SqliteLogError::Busy(error) | SqliteLogError::Database(error) => failed(error),
            SqliteLogError::FileGone { path } => Self::FileGone { path },
            SqliteLogError::Store(error) => *error,
            other => Self::Database(DatabaseError::other(other.to_string())),
        }
    }
}

impl From<SqliteLogError> for LogError {
    fn from(error: SqliteLogError) -> Self {
        match error {
            SqliteLogError::NotInstalled
            | SqliteLogError::Newer { .. }
            | SqliteLogError::Refused { .. } => Self::Unfit {
                reason: error.to_string(),
            },
            SqliteLogError::Store(error) if matches!(*error, Error::Closed) => Self::Closed,
            other => Self::Unreachable(Box::new(other)),
        }
    }
}
