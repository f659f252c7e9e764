//! [`Engine`] and [`Session`]: what the store needs from a database.
//!
//! An engine is one folder (`sqlite/`, `postgres/`) that implements [`Engine`] and [`Session`]. The
//! layers above decide what a write does, with the same statements on every engine. The engine
//! decides how many sessions may write at a time: on SQLite, a session holds the only writer; on
//! PostgreSQL, sessions lock rows.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The SQL of one table, in the words of a dialect. Must not know any engine.
pub(crate) mod statements;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tidings_core::{
    Row, Schema, Timestamp,
    log::{CommitName, KeptLog, Members},
};

pub(crate) use self::statements::{Dialect, Sql};
use crate::{error::Error, follow::LogNeeds, live::Live, parameter::Parameter, start::Start};

/// A database, opened for one process.
pub(crate) trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Returns its name in health reports and metrics.
    fn name(&self) -> &'static str;

    /// Returns the database file, if there is one.
    fn path(&self) -> Option<PathBuf>;

    /// Returns the dialect of its statements; `None` if it has no tables.
    fn dialect(&self) -> Option<&'static dyn Dialect>;

    /// Runs a statement and returns its rows, with the time that each has left if the statement
    /// selects it. It sees everything that was committed before the call.
    fn read<'a>(
        &'a self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>>;

    /// Returns the time by which rows expire.
    fn time(&self) -> BoxFuture<'_, Result<Timestamp, Error>>;

    /// Returns how long a transaction may be open.
    fn longest(&self) -> Duration;

    /// Begins a transaction.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Error>>;

    /// Creates or completes the tables, all of them or none.
    fn lay_out<'a>(&'a self, schemas: &'a [&'static Schema]) -> BoxFuture<'a, Result<(), Error>>;

    /// Opens the log of the database's changes; `None` if the database keeps no log. Does not
    /// connect yet.
    fn log(&self, _: LogNeeds) -> Option<Arc<dyn KeptLog>> {
        None
    }

    /// Opens the table of the cluster's members beside the log; `None` if the store has the
    /// database to itself. Does not connect yet.
    fn members(&self, _: &LogNeeds) -> Option<Arc<dyn Members>> {
        None
    }

    /// Counts a start of a node, and returns the count with the database's key, which the first
    /// start generates. Call it once the tables are laid out.
    fn start(&self) -> BoxFuture<'_, Result<Start, Error>>;

    /// Checks that the database answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Returns whether a write would have to wait for another write of this process.
    fn is_busy(&self) -> bool;

    /// Waits for running reads and writes, and releases the database. Later calls fail.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Releases the database without waiting: later calls fail, and open transactions do not
    /// commit.
    fn release(&self);

    /// Waits until the database is released.
    fn released(&self) -> BoxFuture<'static, ()>;
}

/// An open transaction, with everything that is held for it.
///
/// If it is dropped without a commit, it is rolled back before any other session can see what it
/// did.
pub(crate) trait Session: fmt::Debug + Send {
    /// Runs a statement and returns its rows.
    fn rows<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>>;

    /// Reads rows as [`rows`](Self::rows) does, with the time that each has left if the statement
    /// selects it.
    fn read<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>>;

    /// Runs a statement that changes rows, and returns their number.
    fn change<'a>(
        &'a mut self,
        sql: &'a Sql,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<u64, Refused>>;

    /// Runs a statement without parameters that every engine understands.
    fn run<'a>(&'a mut self, sql: &'static str) -> BoxFuture<'a, Result<(), Error>>;

    /// Defers the check of references to the commit, for rows that refer to each other in a circle.
    fn defer_references(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Marks the transaction so that no handler runs for its changes, if handlers run for the log's
    /// records.
    fn silence(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns whether no other node is removing expired rows from a table. If so, none can begin
    /// to until the transaction ends.
    fn removes_alone<'a>(&'a mut self, _table: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    /// Completes the transaction's records in the log, right before the commit, if the store writes
    /// a part of them. Takes the entity of each row that the transaction changed.
    fn seal<'a>(&'a mut self, _: &'a [&'static str]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns the transaction's name in the database's log, once it is [sealed](Self::seal). If it
    /// changed nothing, the name covers everything that it saw. `None` if transactions have no
    /// names.
    fn mark(&self) -> Option<CommitName>;

    /// Commits the transaction. An `Ok` is certain, and so is [`CommitError::Failed`].
    ///
    /// The session keeps its place in the order of commits until it is dropped.
    fn commit(&mut self) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Ends the transaction without committing it, whatever state it is in.
    fn rollback(&mut self) -> BoxFuture<'_, ()>;

    /// Waits until the database is done with an interrupted commit, however it ends. It may be
    /// called on another runtime, after the session's own was shut down.
    fn settle(&mut self) -> BoxFuture<'_, ()>;
}

/// Why a statement changed nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another row has the same values.
    Unique(ConstraintViolation),
    /// A reference names a row that is not there, or a row is still referred to.
    Reference(ConstraintViolation),
    Failed(Error),
}

/// A constraint that a row broke.
#[derive(Debug)]
pub(crate) struct ConstraintViolation {
    pub(crate) by: Constraint,
    /// The database's error, for a constraint that the schema does not know.
    pub(crate) error: Error,
}

/// Which constraint it is.
#[derive(Debug)]
pub(crate) enum Constraint {
    /// The database did not name it. The transaction stays open, and can run queries.
    Unnamed,
    /// A constraint over these columns. The transaction can only be rolled back.
    Over(Vec<String>),
    /// A constraint that the store does not know. The transaction can only be rolled back.
    Unknown,
}

/// Why a commit did not succeed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// Nothing was committed.
    Failed(Error),
    /// It is not known whether it was committed.
    InDoubt(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
