//! [`Error`]: why a call to a store failed, with one variant for each thing that a caller can do
//! next.

use std::{fmt, path::PathBuf, time::Duration};

use tidings_core::{BoxError, RowError, SchemaFaults, Value, Violations, panic_text};

// The kinds of databases in this build.
mod built;
// Errors of a database or its driver.
mod database;
// What a caller can do about an error.
mod kind;

use self::built::{BUILT, expected_of};
pub use self::{database::DatabaseError, kind::ErrorKind};
use crate::{loss::Loss, method::Method};

/// Why a call to the store failed.
///
/// "Not found" is not an error: it is `Ok(None)`.
///
/// The variants of the first group say that the request was wrong; you may show their messages to
/// its sender. The messages of the others contain paths and texts of the database, and belong in a
/// log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The request was wrong; nothing was changed.
    /// The row breaks its schema's rules: correct the named fields.
    #[error("schema violation in {entity}: {violations}")]
    Violations {
        /// The entity; for a cascade that would clear a field, the entity of that field.
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
        /// Their values in the refused row, in the order of `fields`; secrets are masked.
        values: Vec<Value>,
    },
    /// A reference names a row that does not exist.
    #[error("foreign key violation: {field} of {entity} refers to {references} {}, which does not exist", value.to_json())]
    ForeignKey {
        /// The entity whose row was refused.
        entity: String,
        /// The field that refers to nothing.
        field: String,
        /// The entity to which it refers.
        references: String,
        /// The primary key that no row of that entity has.
        value: Value,
    },
    /// The row cannot be deleted, because another row refers to it.
    #[error("{entity} is still referenced by {by} through its field {field}")]
    Restricted {
        /// The entity of the row that would have been deleted (the row itself, or one below it).
        entity: String,
        /// The entity of a row that refers to it.
        by: String,
        /// The field that refers to it.
        field: String,
    },
    /// The row exists, but does not meet the selector's further conditions, so an upsert can
    /// neither replace nor create it.
    #[error("the {entity} selected does not meet the condition on {field}")]
    Condition {
        /// The entity.
        entity: String,
        /// The first field whose value differs.
        field: String,
    },
    /// The row has changed since the caller read it: read it again.
    #[error("the row of {entity} was changed since it was read")]
    Changed {
        /// The entity.
        entity: String,
    },
    /// The caller named a version, but rows of this entity have none.
    #[error("{entity} has no version: mark a field with `#[entity(version)]`")]
    Unversioned {
        /// The entity.
        entity: String,
    },
    /// The closure of an update returned an error.
    #[error("the update of a row of {entity} was refused")]
    Refused {
        /// The entity.
        entity: String,
        /// The error of the closure.
        source: BoxError,
    },
    /// The transaction has ended, so no call can use it.
    #[error("the transaction has ended: {how}")]
    TransactionEnded {
        /// How it ended.
        how: &'static str,
    },
    /// The page's offset was not made by a page of this entity, in this order.
    #[error("invalid offset: it was not made by a page of this entity in this order")]
    InvalidOffset,
    /// The page's size is out of bounds.
    #[error("invalid size: {size} is not between 1 and {max}")]
    InvalidSize {
        /// What was asked for.
        size: usize,
        /// The maximum number of rows of a page.
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
    /// A cache key was given the wrong number of parts.
    #[error("the cache key of {entity} has {expected} part(s), and {given} were given")]
    KeyParts {
        /// The entity.
        entity: String,
        /// The number of parts in the schema.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A primary key was given the wrong number of parts.
    #[error("the primary key of {entity} is {fields}, and {given} part(s) were given")]
    PrimaryKeyParts {
        /// The entity.
        entity: String,
        /// The names of its fields.
        fields: String,
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
        /// The error of the hook.
        source: BoxError,
    },
    /// A hook or an update's closure panicked; nothing was changed.
    #[error("{what} panicked: {message}")]
    Panicked {
        /// The code that panicked.
        what: &'static str,
        /// The panic's message.
        message: String,
    },

    // Set-up.
    /// The database URL is not valid.
    #[error("the database URL is not valid: {reason}")]
    Url {
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A setting is out of range.
    #[error("{option} must be {allowed}, got {given}")]
    Setting {
        /// The setting.
        option: &'static str,
        /// What was asked for.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// This program was built without support for this kind of database.
    #[error(
        "databases of the kind {scheme}:// are not supported: {}",
        expected_of(scheme, BUILT)
    )]
    Unsupported {
        /// The URL's scheme.
        scheme: String,
    },
    /// The database file is open in another store, of this process or another.
    #[error(
        "{} is in use by another store{}: two caches over one file would drift apart, \
         unless each store shares the file as a member of a cluster",
        path.display(), holder(*process)
    )]
    InUse {
        /// The database file.
        path: PathBuf,
        /// The process that holds it, if known.
        process: Option<u32>,
    },
    /// Another node uses the database, and the two do not form a cluster.
    #[error("{database} is in use by {by}: two caches over one database would drift apart")]
    DatabaseInUse {
        /// Host, port and name, without user or password.
        database: String,
        /// The other node, or nodes.
        by: Holder,
    },
    /// A store cannot work with this database server.
    #[error("{database} cannot be used: {reason}")]
    Unfit {
        /// Host, port and name, without user or password.
        database: String,
        /// Why not, and what would be right.
        reason: String,
    },
    /// The database file cannot be opened.
    #[error("cannot open {}: {reason}", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// The error of the system or the database.
        source: Option<BoxError>,
    },
    /// The file exists, but is not a database.
    #[error("{} is not a database: file is not a database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The schemas are faulty.
    #[error(transparent)]
    Schemas(#[from] SchemaFaults),
    /// Tables in the database do not fit the schemas, and a node cannot make them fit at its start
    /// without touching existing data. A migration may be able to.
    #[error(
        "the database does not fit the schemas: {}; `tidings migrate plan` shows whether `tidings \
         migrate apply` can fix this (in your own program: `Migrations`)",
        differences.join("; ")
    )]
    Incompatible {
        /// Every difference, one line each.
        differences: Vec<String>,
    },
    /// Tables in the database do not fit the schemas, and a migration cannot make them fit. Fix
    /// this in a step of your own, or change the schemas.
    #[error("a migration cannot make the database fit the schemas: {}", differences.join("; "))]
    Unmendable {
        /// Every difference that a migration cannot resolve, one line each.
        differences: Vec<String>,
    },
    /// A migration would delete values for good, and had no permission.
    #[error(
        "values would be lost: {}; `--allow-loss` (`Migrations::allow_loss`) permits it",
        listed(losses)
    )]
    WouldLose {
        /// Each column whose values would be lost, with the number of rows that have one.
        losses: Vec<Loss>,
    },
    /// A node runs on the database, and may use tables that the migration would change: stop the
    /// node first.
    #[error(
        "a node runs on the database, and may use what the migration changes: stop it first ({})",
        changes.join("; ")
    )]
    NodeRuns {
        /// The changes, one line each.
        changes: Vec<String>,
    },
    /// A step of the application's own failed in a migration; nothing was changed.
    #[error("the step {name} of the migration failed")]
    Step {
        /// The name of the step.
        name: String,
        /// The error of the step.
        source: BoxError,
    },
    /// The database refused a statement that makes or changes a table; nothing was changed.
    #[error("the database refused the statement: {sql}")]
    Statement {
        /// The statement.
        sql: String,
        /// The error of the database.
        source: DatabaseError,
    },
    /// The store has no tables: its node follows a log on a server of its own.
    #[error(
        "this store has no tables{}: give the node a database, or declare what has no table with \
         `NodeBuilder::recorded_entity`",
        of(entities)
    )]
    NoTables {
        /// The entities that need a table.
        entities: Vec<String>,
    },
    /// The store was attached before.
    #[error("the store is attached already")]
    AlreadyAttached,
    /// The store has not been attached to a node's schemas.
    #[error("the store is not attached: it has no tables before Store::attach")]
    NotAttached,
    /// No entity of that name was attached.
    #[error("there is no entity {name}; there are: {}", if declared.is_empty() { "none".to_owned() } else { declared.join(", ") })]
    UnknownEntity {
        /// What was asked for.
        name: String,
        /// The attached entities.
        declared: Vec<String>,
    },
    /// The entity was declared with `recorded_entity`: it has no table here, and so no DAO.
    #[error(
        "entity {name} is recorded and has no DAO: its rows are read and written by the application's own SQL"
    )]
    Recorded {
        /// What was asked for.
        name: String,
    },
    /// An entity of that name was attached with another schema: another struct has its name.
    #[error("entity {name} was attached with another schema than that of the struct asked for")]
    OtherSchema {
        /// The entity.
        name: String,
    },

    // The database or the process is in trouble.
    /// The commit failed, or its outcome is unknown. All rows that it may have changed were
    /// evicted. Read the row again before you repeat the write.
    #[error("the commit failed, or its outcome is unknown")]
    Commit(#[source] DatabaseError),
    /// The store's runtime shut down during the write, whose outcome is unknown. All rows that it
    /// may have changed were evicted.
    #[error("the runtime was shut down during the write, whose outcome is unknown")]
    Interrupted,
    /// The database cannot be reached, or did not answer in time. The store tries again at the next
    /// call.
    #[error("the database cannot be reached")]
    Unreachable(#[source] DatabaseError),
    /// The database is read-only.
    #[error("the database is read-only")]
    ReadOnly(#[source] DatabaseError),
    /// The disk is full.
    #[error("the database is full")]
    Full(#[source] DatabaseError),
    /// Another program holds the database for longer than the store waits: try again.
    #[error("the database is busy")]
    Busy(#[source] DatabaseError),
    /// The transaction was open for longer than the store allows, and was rolled back.
    #[error("the transaction was open for longer than {limit:?} and was rolled back")]
    TooLong {
        /// How long it may stay open; see
        /// [`OpenOptions::transaction_timeout`](crate::OpenOptions::transaction_timeout).
        limit: Duration,
    },
    /// The file was removed or replaced while it was open. Calls succeed again once it is back;
    /// another file needs the store to be opened again.
    #[error("the database file {} was removed or replaced while it was open", path.display())]
    FileGone {
        /// The path of the file.
        path: std::path::PathBuf,
    },
    /// The file is damaged: restore it.
    #[error("the database is corrupt")]
    Corrupt(#[source] DatabaseError),
    /// A stored row does not fit its struct.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The database failed (an I/O error, a trigger that refused): see the source.
    #[error("the database failed")]
    Database(#[source] DatabaseError),
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

    /// Returns whether the database failed, and not the request.
    pub(crate) fn is_of_the_database(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Unavailable | ErrorKind::InDoubt | ErrorKind::Damaged
        ) && !matches!(self, Self::Closed | Self::NotAttached)
    }

    /// Returns whether another write was in the way, so that the same write can be repeated at
    /// once.
    pub(crate) fn is_contention(&self) -> bool {
        matches!(self, Self::Busy(error) if error.contention)
    }

    /// Makes the error of a statement that makes or changes a table.
    pub(crate) fn statement(sql: &str, error: Self) -> Self {
        match error {
            Self::Database(source) => Self::Statement {
                sql: sql.to_owned(),
                source,
            },
            other => other,
        }
    }

    pub(crate) fn panicked(what: &'static str, payload: &(dyn std::any::Any + Send)) -> Self {
        Self::Panicked {
            what,
            message: panic_text(payload).to_owned(),
        }
    }
}

/// Returns the entities that an error is about, as the end of a sentence.
fn of(entities: &[String]) -> String {
    match entities {
        [] => String::new(),
        entities => format!(" for {}", entities.join(", ")),
    }
}

/// The other user of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Other nodes use the database, while this store wants it for itself.
    Nodes,
    /// A single node has the database to itself, while this store belongs to a cluster.
    Alone,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nodes => "another node, and this one is to run without a cluster",
            Self::Alone => "a node without a cluster",
        })
    }
}

fn pairs(fields: &[String], values: &[Value]) -> String {
    let pairs = fields.iter().zip(values);
    let pairs = pairs.map(|(field, value)| format!("{field} = {}", value.to_json()));
    pairs.collect::<Vec<_>>().join(", ")
}

fn listed(losses: &[Loss]) -> String {
    let losses: Vec<_> = losses.iter().map(ToString::to_string).collect();
    losses.join("; ")
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}
