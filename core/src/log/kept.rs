//! [`KeptLog`]: a log as the node keeps it that follows it.

use std::time::Duration;

use super::{Capture, Log, LogError, LogFuture, Mark};

/// A log that a node follows and keeps: in the database of a store, or [apart](super::LogApart).
pub trait KeptLog: Log {
    /// Names a commit by what the store calls it, or by the number of its record; none before the
    /// log was read.
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
