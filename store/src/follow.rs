//! [`StoreLog`]: the log beside a store's tables, as a node follows it.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Schema,
    clock::Clock,
    log::{Capture, Log, LogError, LogFuture, Mark},
    spawn::Spawn,
};

/// A log in the database of a store, which records the writes of every program.
pub trait StoreLog: Log {
    /// Names a commit by what the store calls it ([`ChangeSet::commit`](crate::ChangeSet::commit));
    /// none before the log was read.
    fn mark(&self, commit: u64) -> Option<Mark>;

    /// Returns whether every write is recorded, as it was seen last.
    fn capture(&self) -> Capture;

    /// Removes the records that are older than the retention. To be called every quarter of the
    /// retention or every minute, whichever is shorter. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. What was removed before the error stays removed.
    fn prune(&self, retention: Duration) -> LogFuture<'_, Result<u64, LogError>>;
}

/// What a store's log is opened with.
#[derive(Clone, Debug)]
pub struct LogNeeds {
    /// The node's name: where the database does not know it, the store writes it to its records.
    pub node: Arc<str>,
    /// The entities whose changes are read, and whose tables must be captured.
    pub schemas: Vec<&'static Schema>,
    /// Entities whose changes are recorded by [`outbox::record`](crate::outbox::record) alone.
    pub recorded: Vec<&'static Schema>,
    /// How often it is looked whether every write is recorded: a third of the tightest bound on
    /// staleness, and at most a second.
    pub look: Duration,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Where wake-ups are sent from.
    pub spawn: Arc<dyn Spawn>,
}
