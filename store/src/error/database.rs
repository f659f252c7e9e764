//! [`DatabaseError`]: an error of a database or its driver, and whether the same write can be
//! repeated.

use std::{borrow::Cow, fmt};

use tidings_core::BoxError;

/// An error of a database or its driver. The text may contain names of tables and values, so it
/// belongs in a log.
#[derive(Debug)]
pub struct DatabaseError {
    code: Option<String>,
    /// The database that could not be reached: host, port and name.
    place: Option<String>,
    /// Another write was in the way, so the same write can be repeated at once.
    pub(super) contention: bool,
    source: BoxError,
}

impl DatabaseError {
    pub(crate) fn new(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        let code = code.map(Cow::into_owned);
        Self {
            // A serialization failure, a deadlock.
            contention: matches!(code.as_deref(), Some("40001" | "40P01")),
            code,
            place: None,
            source: match error {
                // Without the line of the server's own source, which PostgreSQL's error ends with.
                sqlx::Error::Database(error) => match error.code() {
                    Some(code) => format!("{} (code {code})", error.message()).into(),
                    None => error.message().into(),
                },
                error => error.into(),
            },
        }
    }

    /// Wraps an error that does not come from the database itself.
    pub(crate) fn other(error: impl Into<BoxError>) -> Self {
        Self {
            code: None,
            place: None,
            contention: false,
            source: error.into(),
        }
    }

    /// Returns the error of a write that another write stopped, and that can be repeated.
    pub(crate) fn contention(why: &'static str) -> Self {
        Self {
            contention: true,
            ..Self::other(why)
        }
    }

    /// Adds the place of the database.
    #[cfg(feature = "postgres")]
    pub(crate) fn at(self, place: &str) -> Self {
        Self {
            place: Some(place.to_owned()),
            ..self
        }
    }

    /// Returns the database's code: SQLite's extended result code in decimal, or PostgreSQL's
    /// SQLSTATE.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        self.source.fmt(f)
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}
