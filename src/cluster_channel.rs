//! [`ClusterChannel`]: events of an application that reach the handlers of every node.
//!
//! The events travel in the log, in one order with the changes and with the same gaps. If
//! [`on_gap`](crate::NodeBuilder::on_gap) reports a loss, rebuild everything that your handlers
//! derive from the events. A node receives its own events in the same way. The handlers run under a
//! cause, so that their invalidations stay on their node: every node handles the event itself. If a
//! full queue of a node refuses an event, that node gets a gap in its place in the order.

use std::{collections::HashMap, fmt, future::poll_fn, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use tidings_cluster::Protocol;
use tidings_core::{
    Cause,
    log::{LogError, Mark},
};
use tidings_events::{Channel, DeclareError, Event, Handled, WorkerEvents};

use crate::feed::Feed;

/// How long an event waits for room in queues with `Overflow::Wait`.
const ROOM: Duration = Duration::from_secs(2);

/// A channel whose events reach the handlers of every node of the cluster. Declare it with
/// [`NodeBuilder::cluster_channel`](crate::NodeBuilder::cluster_channel), and get it from
/// [`Node::cluster_channel`](crate::Node::cluster_channel).
///
/// Register handlers as on any channel, by source and event.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings::{Node, Store};
///
/// #[derive(Serialize, Deserialize)]
/// struct Reindex { shop: u64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings::BoxError> {
/// # let store = Store::open("sqlite::memory:").await?;
/// let node = Node::builder()
///     .store(store)
///     .cluster_channel::<Reindex>("search", "reindex")
///     .start()
///     .await?;
/// let hear = |event: &Reindex| println!("shop {} is to be indexed again", event.shop);
/// node.worker_events().register(hear, "search", "reindex")?.keep();
///
/// node.cluster_channel::<Reindex>("search", "reindex")?.post(&Reindex { shop: 7 }).await?;
/// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
/// # Ok(()) }
/// ```
pub struct ClusterChannel<T: Event> {
    pub(crate) local: Channel<T>,
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    /// `None` on a node without a log, which is alone.
    pub(crate) protocol: Option<Protocol>,
    /// Delivers the events to watchers, on a node without a log.
    pub(crate) feed: Feed,
}

impl<T: Event + Serialize + DeserializeOwned> ClusterChannel<T> {
    /// Posts an event to the handlers of every node. Returns its mark once the log has it; `None`
    /// on a node without a log, where only the node's own handlers run.
    ///
    /// # Errors
    ///
    /// See [`PostToAllError`].
    ///
    /// # Cancel safety
    ///
    /// An event that has been sent to the log stays posted.
    pub async fn post(&self, event: &T) -> Result<Option<Mark>, PostToAllError> {
        let payload = serde_json::to_string(event).map_err(PostToAllError::Payload)?;
        match &self.protocol {
            Some(protocol) => {
                let (source, event) = (Arc::clone(&self.source), Arc::clone(&self.event));
                let posted = protocol.post(source, event, payload.into());
                Ok(Some(posted.await?))
            }
            None => {
                let copy = serde_json::from_str(&payload).map_err(PostToAllError::Payload)?;
                let posted = self.local.post(copy);
                posted.map_err(|refused| PostToAllError::Refused(refused.to_string()))?;
                self.feed.posted(&self.source, &self.event, &payload);
                Ok(None)
            }
        }
    }
}

impl<T: Event> fmt::Debug for ClusterChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterChannel")
            .field("source", &self.source)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// Why an event was not posted to all nodes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostToAllError {
    /// The event has no JSON form that can be read again.
    #[error("the event has no JSON form that can be read again")]
    Payload(#[source] serde_json::Error),
    /// The log does not have it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The bus of a node without a log has refused it.
    #[error("the bus refused the event: {0}")]
    Refused(String),
}

/// Declares a channel; kept as a function, because its type is known only where it is named.
pub(crate) type DeclareForAll =
    Arc<dyn Fn(&WorkerEvents) -> Result<Arc<dyn Deliver>, DeclareError> + Send + Sync>;

/// A channel that was declared for the cluster, and how to declare it.
#[derive(Clone)]
pub(crate) struct ForAll {
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    pub(crate) declare: DeclareForAll,
}

impl ForAll {
    pub(crate) fn of<T: Event + Serialize + DeserializeOwned>(source: &str, event: &str) -> Self {
        let (named, of) = (source.to_owned(), event.to_owned());
        let declare = move |bus: &WorkerEvents| {
            let channel = bus.declare::<T>(&named, &of)?;
            Ok(Arc::new(channel) as Arc<dyn Deliver>)
        };
        Self {
            source: source.into(),
            event: event.into(),
            declare: Arc::new(declare),
        }
    }
}

/// A channel of the bus without its type.
pub(crate) trait Deliver: Send + Sync {
    /// Hands an event to this node's handlers under a cause; the future resolves to the outcome. An
    /// event that the bus refuses is a gap for the workers and queues of its channel. An error says
    /// that the payload is of another type.
    fn deliver(
        &self,
        payload: &str,
        cause: Cause,
    ) -> Result<BoxFuture<'static, Handled>, serde_json::Error>;
}

impl<T: Event + Serialize + DeserializeOwned> Deliver for Channel<T> {
    fn deliver(
        &self,
        payload: &str,
        cause: Cause,
    ) -> Result<BoxFuture<'static, Handled>, serde_json::Error> {
        let (channel, event) = (self.clone(), serde_json::from_str::<T>(payload)?);
        let handled = async move {
            let mut posting = std::pin::pin!(channel.post_async(event, ROOM));
            // The bus notes the cause of the thread that posts.
            let posted = poll_fn(|context| {
                let _cause = cause.enter();
                posting.as_mut().poll(context)
            });

            match posted.await {
                Ok(delivery) => delivery.handled(Duration::MAX).await,
                Err(refused) => {
                    // Its poster is on another node, or gone: no one else would report the loss.
                    channel.miss();
                    Handled::Refused(refused.refusal)
                }
            }
        };
        Ok(handled.boxed())
    }
}

/// The channels of the cluster, by source and event. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct ForAllChannels(Arc<HashMap<Name, Arc<dyn Deliver>>>);

/// Source and event.
type Name = (Arc<str>, Arc<str>);

impl ForAllChannels {
    pub(crate) fn declare(all: &[ForAll], bus: &WorkerEvents) -> Result<Self, DeclareError> {
        let declared = all.iter().map(|it| {
            let name = (Arc::clone(&it.source), Arc::clone(&it.event));
            Ok((name, (it.declare)(bus)?))
        });
        Ok(Self(Arc::new(
            declared.collect::<Result<_, DeclareError>>()?,
        )))
    }

    pub(crate) fn find(&self, source: &Arc<str>, event: &Arc<str>) -> Option<&Arc<dyn Deliver>> {
        self.0.get(&(Arc::clone(source), Arc::clone(event)))
    }
}
