//! [`ChangeSink`]: receives every commit. The node's sink evicts from the cache and announces to
//! handlers.

use std::{any::Any, fmt};

use futures_util::future::BoxFuture;
use tidings_core::{
    CacheKey, Cause, Operation, Row, Schema,
    log::{Bookmark, Mark},
};

pub use tidings_core::log::{Begun, CommitName};

/// Receives every commit of a store.
///
/// # Order
///
/// The store calls [`committed`](Self::committed) once for each commit, while the write still holds
/// its place in the order. So the calls come one after the other, in the order of the commits.
/// Therefore the method must not wait, and must not write to the store. (The future that it returns
/// runs the handlers, which may do both.)
///
/// # Failure
///
/// Neither method should panic. A panic is caught and logged, but rows that the call would have
/// evicted may then stay in a cache.
pub trait ChangeSink: Any + Send + Sync {
    /// Evicts the rows of the changes and queues the changes for their handlers. Called right after
    /// the commit, while the write still holds its place in the order.
    ///
    /// The returned future runs the handlers. The store awaits it after it has released the writer,
    /// and before the write's caller gets the result.
    fn committed(&self, changes: ChangeSet) -> BoxFuture<'static, ()>;

    /// Evicts the rows that the changes may have touched. It is not known whether the changes were
    /// committed.
    ///
    /// Called instead of [`committed`](Self::committed). If a write is interrupted in the middle of
    /// its commit (because its runtime is shut down), this is called twice: at once, and again when
    /// the database is done.
    fn in_doubt(&self, changes: &ChangeSet);

    /// Returns the full name of a commit: the database's own name for it ([`ChangeSet::commit`]),
    /// with the epoch of the log that the sink knows now. `None` before the log was read, and by
    /// default.
    ///
    /// Called right before a commit, and again after it was acknowledged: a crash in between begins
    /// another epoch, and may have lost the commit.
    fn mark(&self, _commit: CommitName) -> Option<Mark> {
        None
    }

    /// Returns whether, by its name, all of a commit was already read from the log. Called right
    /// before the commit. `true` means that the log has lost numbers and assigns them again, and
    /// that the sink does not know this yet. `false` by default.
    fn has_seen(&self, _mark: Mark) -> bool {
        false
    }

    /// Returns a name for the last commit that the sink received, if the database has no names for
    /// commits. `None` by default.
    ///
    /// Called while a write holds its place in the order: right after
    /// [`committed`](Self::committed), or before a write that has changed nothing ends.
    fn last(&self) -> Option<Bookmark> {
        None
    }
}

/// The changes of one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    /// One change for each row, in the order for the handlers: rows whose reference was cleared,
    /// then deleted rows, children before their parents.
    pub changes: Vec<RowChange>,
    /// Every cache key that may hold one of the rows, with its old or its new values, and the cache
    /// keys of children that a changed parent evicts (`OnUpdate::Evict`). Each key appears once.
    pub evict: Vec<CacheKey>,
    /// The entities of which any row may have changed, because the commit changed more than 10,000
    /// rows or more than 32 MiB of rows. Then `changes` and `evict` are empty, and a cache must
    /// drop all rows of these entities. A log of the database still reports each row.
    pub touched: Vec<&'static Schema>,
    /// Whether the write asked to run no handlers. Its rows are evicted in any case.
    pub no_event: bool,
    /// The cause under which the write was made: that of a handler, or none.
    pub cause: Option<Cause>,
    /// The name of the commit in the database's log: PostgreSQL's transaction id, or SQLite's last
    /// record. `None` if the database keeps no log.
    pub commit: Option<CommitName>,
    /// The same name with its epoch, as the sink [returned](ChangeSink::mark) it right before the
    /// commit.
    pub mark: Option<Mark>,
}

impl ChangeSet {
    /// Returns the entity of each change, and then each touched entity.
    pub(crate) fn entities(&self) -> Vec<&'static str> {
        let changed = self.changes.iter().map(|change| change.schema.name());
        let touched = self.touched.iter().map(|schema| schema.name());
        changed.chain(touched).collect()
    }
}

/// The change of one row.
#[derive(Clone, PartialEq)]
pub struct RowChange {
    /// The schema of the row.
    pub schema: &'static Schema,
    /// The operation on the row.
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
