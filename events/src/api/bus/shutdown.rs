//! Shutting the bus down: nothing new, the accepted handled or counted.

use std::{collections::VecDeque, time::Duration};

use futures_util::future::{Either, select};

use crate::{api::bus::WorkerEvents, delivery::feed::Lifecycle, sync::Ordering};

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
    /// the deadline is dropped and counted. Then queues and feeds end: what is in them can still be received. A second call reports on the same end.
    ///
    /// Cancel safe in the sense that the bus stays closed; what remains in mailboxes is then handled, not
    /// counted.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let hub = &self.inner.hub;
        let until = hub.clock.now().plus(deadline);
        hub.closed.store(true, Ordering::Release);
        hub.sequencer.close();
        hub.signal(Lifecycle::Closing);
        hub.drain_soon();
        // The sequencer feeds the mailboxes, so it has to be empty before they close.
        let in_time = {
            let drained = async {
                hub.quiet_when(|hub| hub.sequencer.is_idle()).await;
                for mailbox in &hub.mailboxes {
                    mailbox.close_intake();
                }
                hub.quiet_when(|hub| {
                    hub.mailboxes
                        .iter()
                        .all(|mailbox| mailbox.is_idle() || !mailbox.stats().attached)
                        && hub.tasks.load(Ordering::Acquire) == 0
                })
                .await;
            };
            let sleep = hub.clock.sleep_until(until);
            matches!(
                select(Box::pin(drained), sleep).await,
                Either::Left(((), _))
            )
        };
        let late: Vec<_> = hub
            .mailboxes
            .iter()
            .filter(|mailbox| mailbox.stats().attached && !mailbox.is_idle())
            .map(|mailbox| mailbox.index)
            .collect();
        for posted in hub.sequencer.take_rest() {
            posted.discard();
        }
        for mailbox in &hub.mailboxes {
            for posted in mailbox.close(VecDeque::new()) {
                if let Some(completion) = posted.meta().completion() {
                    completion.worker_done(mailbox.index);
                }
            }
        }
        let channels = self.inner.channels.lock().list.clone();
        for channel in channels {
            channel.close_queues();
        }
        hub.feed.close();
        hub.signal(Lifecycle::Closed);
        hub.lifecycle.close();
        let dropped = hub.counts.dropped.load(Ordering::Relaxed)
            + hub
                .mailboxes
                .iter()
                .map(|mailbox| mailbox.stats().dropped)
                .sum::<u64>();
        ShutdownReport {
            drained: in_time && dropped == 0,
            dropped,
            late,
        }
    }
}
