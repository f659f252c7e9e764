//! [`WorkerEventsBuilder`]: the settings of a bus, checked when it is built.

use std::{fmt, sync::Arc};

use tidings_core::{
    clock::{Clock, SystemClock},
    spawn::{Spawn, TokioSpawn},
};
use tokio::runtime::Handle;

use crate::{
    api::bus::WorkerEvents, error::BuildError, event::completion::MAX_WORKERS, hub::Hub,
    settings::Settings, sync,
};

/// Builds a [`WorkerEvents`].
///
/// # Examples
///
/// ```
/// use tidings_events::WorkerEvents;
///
/// let bus = WorkerEvents::builder().workers(2).mailbox_capacity(1024).build()?;
/// # Ok::<_, tidings_events::BuildError>(())
/// ```
#[must_use]
pub struct WorkerEventsBuilder {
    workers: usize,
    mailbox_capacity: usize,
    max_payload: Option<usize>,
    max_depth: usize,
    clock: Option<Arc<dyn Clock>>,
    executor: Option<Arc<dyn Spawn>>,
}

impl WorkerEvents {
    /// Returns a builder for a bus.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = WorkerEvents::builder().workers(2).max_depth(8).build()?;
    /// assert_eq!(bus.workers(), 2);
    ///
    /// let refused = WorkerEvents::builder().workers(1_000).build().unwrap_err();
    /// assert!(refused.to_string().contains("a bus has at most"));
    /// # Ok(()) }
    /// ```
    pub fn builder() -> WorkerEventsBuilder {
        WorkerEventsBuilder::new()
    }
}

impl WorkerEventsBuilder {
    fn new() -> Self {
        Self {
            workers: 0,
            mailbox_capacity: 8192,
            max_payload: None,
            max_depth: 16,
            clock: None,
            executor: None,
        }
    }

    /// Sets the number of workers that will be attached; none by default, at most 128.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets how many events a worker's mailbox holds; 8192 by default.
    ///
    /// A worker that falls further behind misses the newest events, and receives a
    /// [`Gap`](crate::Gap) in their place.
    pub fn mailbox_capacity(mut self, events: usize) -> Self {
        self.mailbox_capacity = events;
        self
    }

    /// Sets the largest payload that may be posted, in bytes of JSON; no limit by default.
    ///
    /// With a limit, every post serializes its payload once to measure it (into a counter, so
    /// nothing is allocated). That costs more than the post itself. Without a limit, payloads are
    /// not measured. [`CrudChannel::enqueue`](crate::CrudChannel::enqueue) does not measure,
    /// because the change has already happened: call
    /// [`CrudChannel::check`](crate::CrudChannel::check) before.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Sets how deep posts made by handlers may nest; 16 by default. A deeper post is refused with
    /// an error that names the cycle.
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// Sets the clock for deadlines and windows; the system's by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the tokio runtime that runs async handlers; by default the one in which each is
    /// registered.
    pub fn runtime(self, runtime: Handle) -> Self {
        self.executor(Arc::new(TokioSpawn::new(runtime)))
    }

    /// Sets the executor that runs async handlers, tokio or not.
    pub fn executor(mut self, executor: Arc<dyn Spawn>) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Builds the bus.
    ///
    /// # Errors
    ///
    /// A setting is out of range.
    pub fn build(self) -> Result<WorkerEvents, BuildError> {
        if self.workers > MAX_WORKERS {
            return Err(BuildError::TooManyWorkers {
                asked: self.workers,
                limit: MAX_WORKERS,
            });
        }

        in_range("mailbox_capacity", self.mailbox_capacity, 1, 1 << 24)?;
        in_range("max_depth", self.max_depth, 1, 1 << 16)?;
        if let Some(bytes) = self.max_payload {
            in_range("max_payload", bytes, 1, usize::MAX)?;
        }

        let settings = Settings {
            workers: self.workers,
            mailbox_capacity: self.mailbox_capacity,
            max_payload: self.max_payload,
            max_depth: u32::try_from(self.max_depth).unwrap_or(u32::MAX),
            executor: self.executor,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            shards: sync::shards(),
        };
        Ok(WorkerEvents::new(Hub::new(settings)))
    }
}

fn in_range(
    setting: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), BuildError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(BuildError::OutOfRange {
        setting,
        value,
        least,
        most,
    })
}

impl fmt::Debug for WorkerEventsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerEventsBuilder")
            .field("workers", &self.workers)
            .field("mailbox_capacity", &self.mailbox_capacity)
            .field("max_payload", &self.max_payload)
            .field("max_depth", &self.max_depth)
            .finish_non_exhaustive()
    }
}
