//! The interfaces to a node's handlers and to observers of the protocol.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tidings_core::{
    CacheKey, Cause, Operation, Origin, Row, Schema,
    log::{Gap, Mark, Place, Posted, RowChange},
};

/// The change that one transaction made to one row, for the handlers.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The entity's schema.
    pub schema: &'static Schema,
    /// What was done.
    pub operation: Operation,
    /// The row after the change; for a delete, the row as it was last.
    pub row: Row,
    /// The true predecessor of `row`; for updates only.
    pub old_row: Option<Row>,
    /// The commit.
    pub mark: Mark,
    /// The cause under which the handlers run.
    pub cause: Cause,
}

impl Change {
    pub(crate) fn new(
        schema: &'static Schema,
        change: &RowChange<'_>,
        mark: Mark,
        number: u64,
    ) -> Option<Self> {
        let origin = Origin::Remote; // every node handles it itself, so nothing that handlers do is sent on
        let cause = Cause { number, origin };
        let (row, old_row) = match (change.old, change.new) {
            (None, Some(new)) => (new.to_row(schema), None),
            (Some(old), None) => (old.to_row(schema), None),
            (Some(old), Some(new)) => (new.to_row(schema), Some(old.to_row(schema))),
            (None, None) => return None,
        };
        Some(Self {
            schema,
            operation: change.operation,
            row,
            old_row,
            mark,
            cause,
        })
    }
}

/// One item of the log, for watchers.
#[derive(Clone, Debug)]
pub enum Told {
    /// A row changed.
    Change {
        /// Where to go on after it.
        place: Place,
        /// The node whose write it was; `None` if another program's.
        origin: Option<Arc<str>>,
        /// What was done.
        change: Change,
    },
    /// An event of an application's own, for every node.
    Event {
        /// Where to go on after it.
        place: Place,
        /// The commit.
        mark: Mark,
        /// The event.
        posted: Posted,
    },
    /// Records are missing here.
    Gap(Gap),
}

/// Resolves when every handler of a change has run.
pub type Handling = BoxFuture<'static, ()>;

/// Runs handlers.
pub trait Announce: fmt::Debug + Send + Sync + 'static {
    /// Passes a change to its handlers. Called in log order, one change after the other. The future
    /// resolves when all handlers of this node have run, however long that takes.
    fn announce(&self, change: Change) -> Handling;

    /// Hands an event of an application's own to its handlers, in its place in the log's order.
    /// What they do runs under the cause, so that it stays on this node.
    fn event(&self, posted: &Posted, cause: Cause) -> Handling;

    /// Reports a gap to the handlers, in the order of the changes.
    fn gap(&self, gap: &Gap);

    /// Returns whether any handler would receive a change of an entity. Only then does a write wait
    /// for its own record, and only then are changes assembled from their records and announced.
    fn listens(&self, entity: &str) -> bool;

    /// Returns whether the log is watched; [`told`](Self::told) is called only then. By default it
    /// is not watched.
    fn is_watched(&self) -> bool {
        false
    }

    /// Receives an item of the log, in the log's order: after the evictions, whatever the handlers
    /// do. The next item comes once the future has resolved, so a future that waits for watchers
    /// must have an end. Until then further items wait in bounded memory, and beyond that in the
    /// log.
    fn told(&self, told: Told) -> Handling {
        drop(told);
        Box::pin(std::future::ready(()))
    }
}

/// One thing that the protocol did.
#[derive(Clone, Debug)]
pub enum Trace<'a> {
    /// A key was evicted for a commit, under a number of its own.
    Evicted {
        /// The commit.
        mark: Mark,
        /// The key.
        key: &'a CacheKey,
    },
    /// Everything was purged.
    Purged,
}

/// Watches the protocol, for metrics and for checkers. Called without a lock.
pub trait Observe: fmt::Debug + Send + Sync + 'static {
    /// Receives one observation.
    fn trace(&self, trace: &Trace<'_>);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observe for Quiet {
    fn trace(&self, _: &Trace<'_>) {}
}

impl<O: Observe> Observe for Arc<O> {
    fn trace(&self, trace: &Trace<'_>) {
        (**self).trace(trace);
    }
}
