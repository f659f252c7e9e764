//! The end of a node: it delivers accepted events, joins the workers, leaves the cluster and closes
//! the store, each with a deadline.

use std::{sync::PoisonError, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{Chain, clock::Tick};

use super::Node;

/// The result of a shutdown: what it could not finish in time.
#[derive(Clone, Debug)]
#[must_use]
pub struct ShutdownReport {
    /// The end of the events that the bus had accepted.
    pub events: tidings_events::ShutdownReport,
    /// The number of workers that were still running a task at the deadline.
    pub workers_left: usize,
    /// How the node left the cluster. If it did not, the other nodes wait for it until its bound on
    /// staleness has passed, or, without a bound, until it is removed.
    pub cluster: Ending,
    /// How the store closed. The database was released in any case.
    pub store: Ending,
}

impl ShutdownReport {
    /// Returns whether everything ended in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.events.drained
            && self.workers_left == 0
            && self.cluster == Ending::Done
            && self.store == Ending::Done
    }
}

/// How one part of a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// In order.
    Done,
    /// With an error.
    Failed(String),
    /// Not before the deadline; it was ended.
    Late,
}

/// The part of a shutdown's time that is reserved for the cluster and the store: one in this many,
/// and a second at most.
const LAST_PART: u32 = 8;

impl Node {
    /// Stops the node: delivers the events that the bus has accepted, ends the workers, leaves the
    /// cluster, and closes the store. All of this ends by the deadline; parts that have not ended
    /// by then are abandoned and reported.
    ///
    /// Later posts and writes are refused. A second call does not wait, and reports a clean end.
    /// The last eighth of the time, at most a second, is reserved for the cluster and the store.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the workers to stop by themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings::{Node, Store, events::Refusal};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).workers(2).start().await?;
    /// let numbers = node.worker_events().declare::<u64>("test", "numbers")?;
    /// let report = node.shutdown(Duration::from_secs(5)).await;
    /// assert!(report.is_clean(), "{report:?}");
    /// assert_eq!(numbers.post(7).unwrap_err().refusal, Refusal::Closed);
    /// # Ok(()) }
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let now = self.shared.clock.now();
        let kept = (deadline / LAST_PART).min(Duration::from_secs(1));
        let (handlers, until) = (now.plus(deadline - kept), now.plus(deadline));
        let events = self.shared.events.shutdown(deadline - kept).await;
        let workers_left = self.stop_workers(handlers).await;

        let cluster = match &self.shared.following {
            Some(following) => self.ended(until, following.protocol().leave()).await,
            None => Ending::Done,
        };
        let store = self.ended(until, self.shared.store.close()).await;
        self.shared.store.release();

        if cluster != Ending::Done || store != Ending::Done {
            tracing::error!(?cluster, ?store, "the node did not end in order");
        }

        ShutdownReport {
            events,
            workers_left,
            cluster,
            store,
        }
    }

    /// Waits for a part of the node to end, until a moment.
    async fn ended<E: std::error::Error + 'static>(
        &self,
        until: Tick,
        ends: impl Future<Output = Result<(), E>>,
    ) -> Ending {
        let ends = std::pin::pin!(ends);
        match select(ends, self.shared.clock.sleep_until(until)).await {
            Either::Left((Ok(()), _)) => Ending::Done,
            Either::Left((Err(error), _)) => Ending::Failed(Chain(&error).to_string()),
            Either::Right(_) => Ending::Late,
        }
    }

    /// Stops and joins the workers; those that are not done by `until` drop what they run. Returns
    /// their number.
    pub(crate) async fn stop_workers(&self, until: Tick) -> usize {
        self.shared.stop.cancel();
        let threads = std::mem::take(
            &mut *self
                .shared
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );

        let mut left = 0;
        for mut thread in threads {
            let late = self.shared.clock.sleep_until(until);
            if let Either::Right(_) = select(&mut thread.ended, late).await {
                left += 1;
                self.shared.abandon.cancel();
            } else if thread.handle.join().is_err() {
                tracing::error!(worker = thread.id, "a worker's thread ended by a panic");
            }
        }

        left
    }
}
