//! Shuts the bus down: nothing new is accepted, and everything accepted is handled or counted.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::clock::{Clock, Tick};

use crate::{api::bus::WorkerEvents, delivery::feed::Lifecycle, thread::park::block_on};

/// How a shutdown ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Whether all accepted events were handled before the deadline.
    pub drained: bool,
    /// Accepted deliveries to workers that were dropped and counted instead.
    pub dropped: u64,
    /// The workers that had not finished by the deadline.
    pub late: Vec<usize>,
}

impl WorkerEvents {
    /// Closes the bus. From now on it refuses posts and registrations. Accepted events are still
    /// handled, and each worker's [`run`](crate::LocalWorkerEvents::run) returns when its mailbox
    /// is empty. Events that are not handled before the deadline are dropped and counted. Then
    /// queues and feeds end; you can still receive what is in them. A second call reports on the
    /// same end.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the bus stays closed, and queues and feeds end at once. Events
    /// that remain in mailboxes are then handled, not counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::{Refusal, WorkerEvents};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let report = bus.shutdown(Duration::from_secs(1)).await;
    /// assert!(report.drained);
    /// assert_eq!(numbers.post(7).unwrap_err().refusal, Refusal::Closed);
    /// # Ok(()) }
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let hub = self.hub();
        let until = hub.clock().now().plus(deadline);
        hub.refuse_new();
        let end = End(self);

        let in_time = within(hub.clock(), until, hub.drained()).await;
        let late = hub.late_workers();

        hub.discard_rest();
        drop(end);

        let dropped = hub.dropped();
        ShutdownReport {
            drained: in_time && dropped == 0,
            dropped,
            late,
        }
    }

    /// Closes the bus like [`shutdown`](Self::shutdown), but blocks a plain thread, with or without
    /// a runtime. Do not call it on a worker's own thread, which has to handle its accepted events.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = WorkerEvents::builder().workers(1).build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// let worker = bus.attach_worker(0)?;
    /// worker.register(|_: &u64| {}, "test", "numbers")?.keep();
    /// numbers.post(7)?; // accepted, and not handled by the deadline
    ///
    /// let closing = bus.clone();
    /// let closed = std::thread::spawn(move || closing.shutdown_blocking(Duration::ZERO));
    /// let report = closed.join().unwrap();
    /// assert_eq!((report.drained, report.dropped), (false, 1));
    /// # Ok(()) }
    /// ```
    pub fn shutdown_blocking(&self, deadline: Duration) -> ShutdownReport {
        block_on(self.shutdown(deadline))
    }
}

/// Ends mailboxes, queues and feeds, even if the future of the shutdown is dropped: a bus that
/// refuses posts leaves no receiver waiting.
struct End<'a>(&'a WorkerEvents);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let hub = self.0.hub();
        hub.close_mailboxes();
        for channel in self.0.bus().all_channels() {
            channel.close_queues();
        }
        hub.signal(Lifecycle::Closed);
        hub.close_feeds();
    }
}

/// Waits for `work`, but not past `until`; returns whether it ended.
async fn within(clock: &Arc<dyn Clock>, until: Tick, work: impl Future<Output = ()>) -> bool {
    let ended = select(Box::pin(work), clock.sleep_until(until)).await;
    matches!(ended, Either::Left(((), _)))
}
