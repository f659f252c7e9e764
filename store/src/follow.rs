//! [`LogNeeds`]: the settings of the log beside a store's tables.

use std::{sync::Arc, time::Duration};

use tidings_core::{Schema, clock::Clock, spawn::Spawn};

/// The settings with which a store's log is opened.
#[derive(Clone, Debug)]
pub struct LogNeeds {
    /// The node's name. If the database does not know it, the store writes it to its records.
    pub node: Arc<str>,
    /// The entities whose changes are read, and whose tables must be captured.
    pub schemas: Vec<&'static Schema>,
    /// Entities whose changes are recorded by [`outbox::record`](crate::outbox::record) alone.
    pub recorded: Vec<&'static Schema>,
    /// How often to check that every write is recorded: a third of the tightest bound on staleness,
    /// and at most a second.
    pub check_capture_every: Duration,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Runs the task that sends wake-ups.
    pub spawn: Arc<dyn Spawn>,
}
