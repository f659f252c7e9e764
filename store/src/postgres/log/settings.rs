//! [`PgLogSettings`]: the settings with which a log is opened.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::postgres::PgConnectOptions;
use tidings_core::{Schema, clock::Clock, spawn::Spawn};

/// The settings with which a log is opened.
#[derive(Clone, Debug)]
pub struct PgLogSettings {
    /// How to connect to the primary, directly or through a pooler that keeps sessions.
    pub options: PgConnectOptions,
    /// The entities whose changes are read, and whose tables must be captured.
    pub schemas: Vec<&'static Schema>,
    /// Entities whose changes are recorded by [`outbox::record`](crate::outbox::record) alone: read
    /// like the others, but without a table whose capture is checked.
    pub recorded: Vec<&'static Schema>,
    /// How often to check whether capture is in place; if zero, every read does so. A third of the
    /// tightest bound on staleness, and at most a second.
    pub check_capture_every: Duration,
    /// The source of time for limits.
    pub clock: Arc<dyn Clock>,
    /// Runs the task that sends wake-ups.
    pub spawn: Arc<dyn Spawn>,
    /// Closes the connections that a store has opened before a gap; `None` without a store.
    pub retire: Option<Retire>,
}

/// Closes connections that were opened before a gap.
#[derive(Clone)]
pub struct Retire(Arc<dyn Fn() + Send + Sync>);

impl Retire {
    /// Wraps a function. It must not wait.
    pub fn new(retire: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(retire))
    }

    pub(super) fn run(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Retire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retire").finish_non_exhaustive()
    }
}
