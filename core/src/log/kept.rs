//! [`KeptLog`]: a log that a node follows and maintains.

use std::time::Duration;

use super::{Capture, CommitName, Epoch, Log, LogError, LogFuture, Mark};

/// A log that a node follows and keeps: in the database of a store, or [apart](super::LogApart).
pub trait KeptLog: Log {
    /// Returns the epoch in which the log was read last; none before that.
    fn epoch(&self) -> Option<Epoch>;

    /// Makes the mark of a commit that the store names, in the epoch in which the log was read
    /// last, whichever it was begun in. `None` before the log was read.
    fn mark(&self, commit: CommitName) -> Option<Mark>;

    /// Returns whether every write is recorded, as of the last read.
    fn capture(&self) -> Capture;

    /// Removes the records that are older than the retention, and returns how many were removed.
    /// Call it every quarter of the retention or every minute, whichever is shorter.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. What was removed before the error stays removed.
    fn prune(&self, retention: Duration) -> LogFuture<'_, Result<u64, LogError>>;
}
