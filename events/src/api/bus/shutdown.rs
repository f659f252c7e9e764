//! Shutting the bus down: nothing new, the accepted handled or counted.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::clock::{Clock, Tick};

use crate::api::bus::WorkerEvents;

/// How a shutdown ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Whether everything that was accepted had been handled by the deadline.
    pub drained: bool,
    /// Accepted deliveries to workers that were dropped and counted instead.
    pub dropped: u64,
    /// The workers that had not finished by the deadline.
    pub late: Vec<usize>,
}

impl WorkerEvents {
    /// Closes the bus: posts and registrations are refused from now on, what was accepted is handled, and each
    /// worker's [`run`](crate::LocalWorkerEvents::run) returns when its mailbox is empty. What is not handled by
    /// the deadline is dropped and counted. Then queues and feeds end: what is in them can still be received. A second
    /// call reports on the same end.
    ///
    /// If cancelled, the bus stays closed; what remains in mailboxes is then handled, not counted.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let hub = self.hub();
        let until = hub.clock().now().plus(deadline);
        hub.refuse_new();

        let in_time = within(hub.clock(), until, hub.drained()).await;
        let late = hub.late_workers();

        hub.discard_rest();
        self.end_queues();

        let dropped = hub.dropped();
        ShutdownReport {
            drained: in_time && dropped == 0,
            dropped,
            late,
        }
    }

    /// Ends queues and feeds.
    fn end_queues(&self) {
        let channels = self.inner.channels.lock().list.clone();
        for channel in channels {
            channel.close_queues();
        }
        self.hub().close_feeds();
    }
}

/// Waits for `work`, but not past `until`; returns whether it ended.
async fn within(clock: &Arc<dyn Clock>, until: Tick, work: impl Future<Output = ()>) -> bool {
    let ended = select(Box::pin(work), clock.sleep_until(until)).await;
    matches!(ended, Either::Left(((), _)))
}
