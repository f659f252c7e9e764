//! Where a node of these tests runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_cluster::ClusterSettings;
use tidings_core::{
    clock::{Clock, SystemClock},
    spawn::{AbortHandle, CurrentRuntime, Spawn, Task},
};

/// Counts the tasks that it starts.
#[derive(Debug, Default)]
pub(crate) struct CountingSpawn(pub(crate) AtomicUsize);

impl Spawn for CountingSpawn {
    fn spawn(&self, task: Task) -> AbortHandle {
        self.0.fetch_add(1, Ordering::SeqCst);
        CurrentRuntime.spawn(task)
    }
}

/// Where a node runs.
pub(crate) struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawn: Arc<dyn Spawn>,
    pub(crate) settings: ClusterSettings,
}

impl Surroundings {
    pub(crate) fn ordinary() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            spawn: Arc::new(CurrentRuntime),
            settings: ClusterSettings::new().poll(Duration::from_millis(2)),
        }
    }
}
