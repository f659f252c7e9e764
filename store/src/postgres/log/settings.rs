//! [`PgLogSettings`]: what a log is opened with.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::postgres::PgConnectOptions;
use tidings_core::{Schema, clock::Clock, spawn::Spawn};

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct PgLogSettings {
    /// How to connect to the primary, directly or through a pooler that keeps sessions.
    pub options: PgConnectOptions,
    /// The entities whose changes are read, and whose tables must be captured.
    pub schemas: Vec<&'static Schema>,
    /// Entities whose changes are recorded by [`outbox::record`](crate::outbox::record) alone: read
    /// like the others, and without a table to look after.
    pub recorded: Vec<&'static Schema>,
    /// How often it is looked whether capture is in place; every read does so if this is zero. A
    /// third of the tightest bound on staleness, and at most a second.
    pub look: Duration,
    /// The source of time for limits.
    pub clock: Arc<dyn Clock>,
    /// Where wake-ups are sent from.
    pub spawn: Arc<dyn Spawn>,
    /// What closes the connections that a store has opened before a gap; none without a store.
    pub retire: Option<Retire>,
}

/// Closes connections that were opened before a gap.
#[derive(Clone)]
pub struct Retire(Arc<dyn Fn() + Send + Sync>);

impl Retire {
    /// Makes one of a function that waits for nothing.
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
