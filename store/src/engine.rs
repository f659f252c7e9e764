//! What a database has to be able to do, and what all of them share.
//!
//! An engine is one folder (`sqlite/`, `postgres/`) that implements [`Engine`] and [`Session`].
//! What a write does is decided above, with the same statements, on every engine alike. What an
//! engine decides for itself is how many may write at a time: SQLite's only writer is held by its
//! session; PostgreSQL's sessions lock rows.

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

    /// Returns the database file, where there is one.
    fn path(&self) -> Option<PathBuf>;

    /// Returns how its statements are written; none where it has no tables.
    fn dialect(&self) -> Option<&'static dyn Dialect>;

    /// Runs a statement and returns its rows, with the time that each has left where the statement
    /// tells. It sees all that was committed before the call.
    fn read<'a>(
        &'a self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>>;

    /// Asks for the time by which rows expire.
    fn time(&self) -> BoxFuture<'_, Result<Timestamp, Error>>;

    /// Returns how long a transaction may be open.
    fn longest(&self) -> Duration;

    /// Begins a transaction.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Error>>;

    /// Makes or completes the tables, all of them or none.
    fn lay_out<'a>(&'a self, schemas: &'a [&'static Schema]) -> BoxFuture<'a, Result<(), Error>>;

    /// Opens the log of the database's changes; none where the database keeps none. Asks nothing
    /// yet.
    fn log(&self, _: LogNeeds) -> Option<Arc<dyn KeptLog>> {
        None
    }

    /// Opens the table of the cluster's members beside the log; none where the store has the
    /// database for itself. Asks nothing yet.
    fn members(&self, _: &LogNeeds) -> Option<Arc<dyn Members>> {
        None
    }

    /// Counts a start of a node, and returns it with the database's key, which is made at the
    /// first. To be called once the tables are laid out.
    fn start(&self) -> BoxFuture<'_, Result<Start, Error>>;

    /// Asks the database for a sign of life.
    fn ping(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Returns whether a write would have to wait for another one of this process.
    fn is_busy(&self) -> bool;

    /// Waits for the reads and writes that run, and lets go of the database. Later calls fail.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Lets go of the database without waiting: later calls fail, and what is being written is not
    /// committed any more.
    fn release(&self);

    /// Waits until the database was let go of.
    fn released(&self) -> BoxFuture<'static, ()>;
}

/// An open transaction, and whatever is held for it.
///
/// Dropped without a commit it is rolled back before any other session can see what it did.
pub(crate) trait Session: fmt::Debug + Send {
    /// Runs a statement and returns its rows.
    fn rows<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>>;

    /// Reads rows as [`rows`](Self::rows) does, with the time that each has left where the
    /// statement tells.
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

    /// Lets the commit check references, where rows refer to each other in a circle.
    fn defer_references(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Asks that no handler hear of what the transaction changes, where a log tells them of it.
    fn silence(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns whether no other node is removing rows past their time from a table, and none can
    /// begin to before the transaction ends.
    fn removes_alone<'a>(&'a mut self, _table: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    /// Completes what the log holds of the transaction, right before it is committed, where the
    /// store writes a part of that. Told is the entity of each row that it has changed.
    fn seal<'a>(&'a mut self, _: &'a [&'static str]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns what names the transaction in the database's log, once it is [sealed](Self::seal);
    /// for one that changed nothing, what covers all that it saw. `None` where transactions have no
    /// name.
    fn mark(&self) -> Option<CommitName>;

    /// Commits the transaction. An `Ok` is certain, and so is [`CommitError::Failed`].
    ///
    /// What is held for the order of commits is held until the session is dropped.
    fn commit(&mut self) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Ends the transaction without committing it, whatever state it is in.
    fn rollback(&mut self) -> BoxFuture<'_, ()>;

    /// Waits until the database is done with a commit that was interrupted, however it ends. It may
    /// be called on another runtime than the one that the session was used on, after that one was
    /// shut down.
    fn settle(&mut self) -> BoxFuture<'_, ()>;
}

/// Why a statement changed nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another row has the same values.
    Unique(Broken),
    /// A reference names a row that is not there, or a row is still referred to.
    Reference(Broken),
    Failed(Error),
}

/// A constraint that a row broke.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) by: Constraint,
    /// What the database said, for a constraint that the schema does not know of.
    pub(crate) error: Error,
}

/// Which constraint it is.
#[derive(Debug)]
pub(crate) enum Constraint {
    /// The database did not say; the transaction goes on, and can be asked.
    Unnamed,
    /// Over these columns. The transaction can only be rolled back.
    Over(Vec<String>),
    /// One that is not known. The transaction can only be rolled back.
    Unknown,
}

/// How a commit can end otherwise than committed.
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
