//! [`Error`]: what a store can refuse or fail at, one variant for each thing that a caller can do next.

use std::path::PathBuf;

use tidings_core::{BoxError, RowError, SchemaFaults, Value, Violations, panic_text};

use crate::method::Method;

/// Why a call to the store did nothing, or ended otherwise than asked.
///
/// "Not found" is not among these: it is `Ok(None)`.
///
/// Messages of the first group (what the caller asked for was wrong) may be shown to the one who sent the
/// request; those of the others name paths and database messages and belong in a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // What was asked for was wrong; nothing was changed.
    /// The row breaks its schema's rules: correct the named fields.
    #[error("schema violation in {entity}: {violations}")]
    Violations {
        /// The entity; for a cascade that would clear a field, the one whose field it is.
        entity: String,
        /// Every field that is wrong.
        violations: Violations,
    },
    /// Another row has these values already.
    #[error("unique constraint violation: {entity} has a row with {}", pairs(.fields, .values))]
    Unique {
        /// The entity.
        entity: String,
        /// The fields that are unique (together).
        fields: Vec<String>,
        /// Their values in the refused row, in the order of `fields`.
        values: Vec<Value>,
    },
    /// A reference names a row that is not there.
    #[error("foreign key violation: {field} of {entity} refers to {references} {}, which does not exist", value.to_json())]
    ForeignKey {
        /// The entity whose row was refused.
        entity: String,
        /// The field that refers to nothing.
        field: String,
        /// The entity that it refers to.
        references: String,
        /// The primary key that no row of that entity has.
        value: Value,
    },
    /// The row cannot be deleted while another refers to it.
    #[error("{entity} is still referenced by {by} through its field {field}")]
    Restricted {
        /// The entity of the row that would have been deleted (the row itself, or one below it).
        entity: String,
        /// The entity of a row that refers to it.
        by: String,
        /// The field that refers to it.
        field: String,
    },
    /// A row is there, but does not meet the selector's further conditions; an upsert can neither replace
    /// nor create it.
    #[error("the {entity} selected does not meet the condition on {field}")]
    Condition {
        /// The entity.
        entity: String,
        /// The first field whose value differs.
        field: String,
    },
    /// The page's offset was not made by a page of this entity.
    #[error("invalid offset: it was not made by a page of this entity")]
    InvalidOffset,
    /// The page's size is out of bounds.
    #[error("invalid size: {size} is not between 1 and {max}")]
    InvalidSize {
        /// What was asked for.
        size: usize,
        /// The most rows that a page can have.
        max: usize,
    },
    /// The entity has no such field.
    #[error("{entity} has no field {field}")]
    UnknownField {
        /// The entity.
        entity: String,
        /// What was asked for.
        field: String,
    },
    /// The field does not identify a row.
    #[error("{field} of {entity} is not unique, so it does not select a row")]
    NotUnique {
        /// The entity.
        entity: String,
        /// The field.
        field: String,
    },
    /// The value cannot be one of this field's.
    #[error("{field} of {entity}: {message}")]
    WrongKind {
        /// The entity.
        entity: String,
        /// The field.
        field: String,
        /// What was expected.
        message: String,
    },
    /// A cache key was asked for with another number of parts than it has.
    #[error("the cache key of {entity} has {expected} part(s), and {given} were given")]
    KeyParts {
        /// The entity.
        entity: String,
        /// How many the schema names.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A hook refused the call.
    #[error("a hook before {method} on {entity} refused it")]
    Hook {
        /// The entity.
        entity: String,
        /// The method.
        method: Method,
        /// What the hook said.
        source: BoxError,
    },
    /// A hook or an update's closure panicked; nothing was changed.
    #[error("{what} panicked: {message}")]
    Panicked {
        /// What panicked.
        what: &'static str,
        /// The panic's message.
        message: String,
    },

    // Set-up.
    /// The database's address cannot be understood.
    #[error("the database URL is not valid: {reason}")]
    Url {
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// Another engine than the ones there are.
    #[error(
        "databases of the kind {scheme}:// are not yet supported: use sqlite://PATH or sqlite::memory:"
    )]
    Unsupported {
        /// The URL's scheme.
        scheme: String,
    },
    /// The database file is open in another store, of this process or another.
    #[error(
        "{} is in use by another store{}: two caches over one file would drift apart",
        path.display(), holder(*process)
    )]
    InUse {
        /// The database file.
        path: PathBuf,
        /// The process that holds it, if it said so.
        process: Option<u32>,
    },
    /// The database file cannot be opened.
    #[error("cannot open {}: {reason}", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What the system or the database said.
        source: Option<BoxError>,
    },
    /// The file is there and is something else than a database.
    #[error("{} is not a database: file is not a database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The schemas are faulty.
    #[error(transparent)]
    Schemas(#[from] SchemaFaults),
    /// Tables in the database do not fit the schemas, and cannot be made to without touching their rows.
    #[error("the database does not fit the schemas: {}", differences.join("; "))]
    Incompatible {
        /// Every difference, one line each.
        differences: Vec<String>,
    },
    /// The store was attached before.
    #[error("the store is attached already")]
    AlreadyAttached,
    /// The store has not been attached to a node's schemas.
    #[error("the store is not attached: it has no tables before Store::attach")]
    NotAttached,
    /// No entity of that name was attached.
    #[error("there is no entity {name}; there are: {}", declared.join(", "))]
    UnknownEntity {
        /// What was asked for.
        name: String,
        /// The entities there are.
        declared: Vec<String>,
    },
    /// An entity of that name was attached with another schema: another struct has its name.
    #[error("entity {name} was attached with another schema than that of the struct asked for")]
    OtherSchema {
        /// The entity.
        name: String,
    },

    // The database or the process is in trouble.
    /// The commit failed or its end is unknown. What it may have changed was evicted; read the row again
    /// before repeating the write.
    #[error("the commit failed, or its end is unknown")]
    Commit(#[source] sqlx::Error),
    /// The store's runtime shut down during the write, whose end is unknown. What it may have changed was
    /// evicted.
    #[error("the runtime was shut down during the write, whose end is unknown")]
    Interrupted,
    /// Another program holds the database for longer than the store waits: try again.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// The file was removed or replaced while it was open. Calls succeed again once it is back; another file
    /// needs the store to be opened anew.
    #[error("the database file {} was removed or replaced while it was open", path.display())]
    FileGone {
        /// Where it was.
        path: std::path::PathBuf,
    },
    /// The file is damaged: restore it.
    #[error("the database is corrupt")]
    Corrupt(#[source] sqlx::Error),
    /// A stored row does not fit its struct.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The database failed (disk full, I/O error, a trigger that refused): see the source.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn violations(entity: &str, violations: Violations) -> Self {
        Self::Violations {
            entity: entity.to_owned(),
            violations,
        }
    }

    pub(crate) fn panicked(what: &'static str, payload: &(dyn std::any::Any + Send)) -> Self {
        Self::Panicked {
            what,
            message: panic_text(payload).to_owned(),
        }
    }
}

/// Sorts what the driver says by what can be done about it.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(code::BUSY | code::LOCKED) => Self::Busy(error),
            Some(code::CORRUPT | code::NOT_A_DATABASE) => Self::Corrupt(error),
            _ => Self::Database(error),
        }
    }
}

/// SQLite's primary result codes; see <https://www.sqlite.org/rescode.html>.
pub(crate) mod code {
    pub(crate) const BUSY: i32 = 5;
    pub(crate) const LOCKED: i32 = 6;
    pub(crate) const CORRUPT: i32 = 11;
    pub(crate) const NOT_A_DATABASE: i32 = 26;
}

/// The primary result code: the low byte of the extended one.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

fn pairs(fields: &[String], values: &[Value]) -> String {
    let pairs: Vec<_> = fields
        .iter()
        .zip(values)
        .map(|(field, value)| format!("{field} = {}", value.to_json()))
        .collect();
    pairs.join(", ")
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}
