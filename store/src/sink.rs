//! [`ChangeSink`]: hears of every commit. The node's sink evicts from the cache and announces to
//! handlers.

use std::{any::Any, fmt};

use futures_util::future::BoxFuture;
use tidings_core::{
    CacheKey, Cause, Operation, Row, Schema,
    log::{Bookmark, Mark},
};

pub use tidings_core::log::{Begun, CommitName};

/// Hears of every commit.
///
/// # Order
///
/// [`committed`](Self::committed) is called once for each commit, one commit after the other in the
/// order they were made, because it is called while the write still holds its place in the order.
/// So it must not wait, and must not write to the store itself (handlers that do are run by the
/// future that it returns).
///
/// # Failure
///
/// Neither method should panic: a panic is caught and logged, but what the call would have evicted
/// may then stay in a cache.
pub trait ChangeSink: Any + Send + Sync {
    /// Evicts what the changes touch and puts them in line for their handlers; called right after
    /// the commit, while the write still holds its place in the order.
    ///
    /// The future that it returns is awaited once the writer was released and before the write's
    /// caller hears of its end: it runs the handlers.
    fn committed(&self, changes: ChangeSet) -> BoxFuture<'static, ()>;

    /// Evicts what the changes may have touched: whether they were committed is not known.
    ///
    /// Called in place of [`committed`](Self::committed), not beside it. Where a write is torn off
    /// in the middle of its commit (its runtime is shut down) it is called twice, at once and when
    /// the database is done.
    fn in_doubt(&self, changes: &ChangeSet);

    /// Names a commit by what the database calls it ([`ChangeSet::commit`]), in the epoch of the
    /// log that the sink knows of now. None before the log was read, and by default.
    ///
    /// Asked right before a commit and again once it was acknowledged: a crash in between begins
    /// another epoch, and may have taken the commit along.
    fn mark(&self, _commit: CommitName) -> Option<Mark> {
        None
    }

    /// Returns whether all of a commit was seen in the log, as far as its name says. Asked right
    /// before a commit is made: if it was, the log hands out numbers again that it has lost, and
    /// the sink has not heard of it yet. False by default.
    fn has_seen(&self, _mark: Mark) -> bool {
        false
    }

    /// Names the last commit that it was told of, where the database has no names for commits. None
    /// by default.
    ///
    /// Asked while a write holds its place in the order: right after
    /// [`committed`](Self::committed), or before a write that has changed nothing ends.
    fn last(&self) -> Option<Bookmark> {
        None
    }
}

/// The rows that one commit changed.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    /// One for each row, in the order in which its handlers should hear of it: rows whose reference
    /// was cleared, then deleted rows, children before their parents.
    pub changes: Vec<RowChange>,
    /// Every cache key that may hold one of the rows, as it was or as it is, and those of the
    /// children that a changed parent takes along (`evict_on_update`); each once.
    pub evict: Vec<CacheKey>,
    /// The entities of which any row may have changed, because the commit changed more than 10,000
    /// rows, or more than 32 MiB of them: `changes` and `evict` are empty then. Whatever holds rows
    /// of these entities is to be given up. A log of the database tells each row all the same.
    pub touched: Vec<&'static Schema>,
    /// The write asked that no handler hear of it. What is cached is evicted all the same.
    pub no_event: bool,
    /// The cause under which the write was asked for: a handler's, or none.
    pub cause: Option<Cause>,
    /// What names the commit in the database's log: PostgreSQL's transaction id, SQLite's last
    /// record. `None` where the database keeps no log.
    pub commit: Option<CommitName>,
    /// The same with its epoch, as the sink has [named](ChangeSink::mark) it right before it was
    /// committed.
    pub mark: Option<Mark>,
}

impl ChangeSet {
    /// Returns the entity of each row that is known to have changed, at least one for each that was
    /// touched.
    pub(crate) fn entities(&self) -> Vec<&'static str> {
        let changed = self.changes.iter().map(|change| change.schema.name());
        let touched = self.touched.iter().map(|schema| schema.name());
        changed.chain(touched).collect()
    }
}

/// What happened to one row.
#[derive(Clone, PartialEq)]
pub struct RowChange {
    /// The schema of the row.
    pub schema: &'static Schema,
    /// What was done.
    pub operation: Operation,
    /// The row after the change; for a delete, the row as it was last.
    pub row: Row,
    /// The true predecessor of `row`, read in the same transaction; for updates only.
    pub old_row: Option<Row>,
}

/// With secrets masked.
impl fmt::Debug for RowChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |row: &Row| {
            let fields = self.schema.fields().iter().zip(&row.0);
            Row(fields.map(|(field, value)| field.shown(value)).collect())
        };
        f.debug_struct("RowChange")
            .field("entity", &self.schema.name())
            .field("operation", &self.operation)
            .field("row", &shown(&self.row))
            .field("old_row", &self.old_row.as_ref().map(shown))
            .finish()
    }
}
