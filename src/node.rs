//! [`Node`]: one process's workers, cache, bus and store.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What the handles of one node share. Must not know how it is run.
mod shared;

// Reading chosen entities into the cache.
mod warm_up;

// What is counted, for the `metrics` facade.
mod publish;

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, select};
use serde::{Serialize, de::DeserializeOwned};
use tidings_cache::Cache;
use tidings_core::{
    BoxError, Chain, Entity, Schema,
    clock::{Clock, Tick},
};
use tidings_events::{Event, WorkerEvents};
use tidings_store::{Dao, Store, Table};
use tokio_util::sync::DropGuard;

pub(crate) use self::shared::{EntityType, Shared, WorkerThread};
use crate::changes::ChangeStats;
use crate::cluster_channel::ClusterChannel;
use crate::follow::{Following, Hearing};

/// A running node: workers, one cache, one bus, one store. Clones are cheap handles of the same
/// node.
///
/// When the last handle outside its workers is dropped, the workers stop on their own;
/// [`shutdown`](Self::shutdown) is the orderly way, which delivers what was accepted and waits.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    /// Stops the workers with the last handle. A worker's own handle has none, or nothing would
    /// ever stop.
    _last: Option<Arc<DropGuard>>,
}

/// What a shutdown could not finish in time.
#[derive(Clone, Debug)]
#[must_use]
pub struct ShutdownReport {
    /// What became of the events that the bus had accepted.
    pub events: tidings_events::ShutdownReport,
    /// How many workers were still running something at the deadline.
    pub workers_left: usize,
    /// How the node took leave of the other nodes. If it did not, they wait for it until its bound
    /// on staleness has run out; without one, until it is removed.
    pub cluster: Ending,
    /// How the store closed. It was let go of in any case.
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

/// Of the time that a shutdown has, the part that is kept for the cluster and the store: one in
/// this many, and a second at most.
const LAST_PART: u32 = 8;

impl Node {
    pub(crate) fn starting(shared: Arc<Shared>) -> Self {
        let last = Arc::new(shared.stop.clone().drop_guard());
        Self {
            shared,
            _last: Some(last),
        }
    }

    /// Makes a handle that does not keep the node running.
    pub(crate) fn for_worker(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            _last: None,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Returns the node's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.node_id
    }

    /// Returns how many workers it has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers
    }

    /// Returns the node's cache.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{CacheKey, GetOptions, Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).start().await?;
    /// let key = CacheKey::new("greeting", &["en"]);
    /// let load = || async { Ok::<_, std::io::Error>(Some("hello")) };
    /// let greeting = node.cache().get(&key, GetOptions::default(), load).await?;
    /// assert_eq!(greeting.as_deref(), Some(&"hello"));
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    /// Returns the node's bus.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use tidings::{CrudEvent, Entity, Node, Store};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String, on: bool }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// let heard = Arc::new(AtomicU64::new(0));
    /// let count = Arc::clone(&heard);
    /// let handler = move |_: &CrudEvent<Flag>| { count.fetch_add(1, Ordering::Relaxed); };
    /// node.worker_events().register(handler, "crud", "flags:create")?.keep();
    ///
    /// node.dao::<Flag>()?.insert(Flag { name: "beta".into(), on: true }).await?;
    /// assert_eq!(heard.load(Ordering::Relaxed), 1); // before the write returned
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn worker_events(&self) -> &WorkerEvents {
        &self.shared.events
    }

    /// Returns the node's store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Returns how many changes did not end as they should have.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).start().await?;
    /// let stats = node.change_stats();
    /// assert_eq!((stats.late, stats.missed), (0, 0)); // every handler ran in time
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn change_stats(&self) -> ChangeStats {
        self.shared.changes.snapshot()
    }

    /// Returns what the node has read from its store's log; `None` where the store keeps none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).start().await?;
    /// assert!(node.log_stats().is_none()); // a database in memory keeps no log
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn log_stats(&self) -> Option<tidings_cluster::ClusterStats> {
        let following = self.shared.following.as_ref()?;
        Some(following.protocol().stats())
    }

    /// Returns the node's share of the cluster: its members, and what it has read and applied of
    /// the log. None where the store keeps no log.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).start().await?;
    /// assert!(node.cluster().is_none()); // a database in memory keeps no log
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cluster(&self) -> Option<&tidings_cluster::Protocol> {
        self.shared.following.as_ref().map(Following::protocol)
    }

    /// Returns a channel whose events reach the handlers of every node of the cluster.
    ///
    /// # Errors
    ///
    /// It was not declared with
    /// [`NodeBuilder::cluster_channel`](crate::NodeBuilder::cluster_channel), or carries another
    /// type.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder()
    ///     .store(store)
    ///     .cluster_channel::<u64>("search", "reindex")
    ///     .start()
    ///     .await?;
    /// node.cluster_channel::<u64>("search", "reindex")?.post(&7).await?;
    /// assert!(node.cluster_channel::<u64>("search", "other").is_err()); // it was not declared
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn cluster_channel<T: Event + Serialize + DeserializeOwned>(
        &self,
        source: &str,
        event: &str,
    ) -> Result<ClusterChannel<T>, BoxError> {
        let local = self.shared.events.declare::<T>(source, event)?;
        let (source, event): (Arc<str>, Arc<str>) = (source.into(), event.into());
        if self.shared.for_all.find(&source, &event).is_none() {
            let refused = format!(
                "the channel ({source:?}, {event:?}) is of this node alone: declare it with NodeBuilder::cluster_channel"
            );
            return Err(refused.into());
        }
        Ok(ClusterChannel {
            local,
            source,
            event,
            protocol: self.cluster().cloned(),
            feed: self.shared.feed.clone(),
        })
    }

    /// Returns what the cluster is called.
    #[must_use]
    pub fn cluster_name(&self) -> &str {
        &self.shared.cluster_name
    }

    /// Returns what the node hears of the changes in its store. Unless that is all of them, what it
    /// has cached since may be old.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Hearing, Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).start().await?;
    /// assert_eq!(node.hearing(), Hearing::All);
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn hearing(&self) -> Hearing {
        let following = self.shared.following.as_ref();
        following.map_or(Hearing::All, Following::hearing)
    }

    /// Returns the schemas of its entities, in the order of their declaration.
    #[must_use]
    pub fn schemas(&self) -> &[&'static Schema] {
        &self.shared.schemas
    }

    /// Returns the schema of an entity that the node hears of, with a table or
    /// [without](crate::NodeBuilder::recorded_entity).
    pub fn schema(&self, entity: &str) -> Option<&'static Schema> {
        let mut heard = self.shared.heard.iter();
        heard.find(|schema| schema.name() == entity).copied()
    }

    /// Returns the source of time.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Returns how long the node has been up.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.clock.now().since(self.shared.started)
    }

    /// Returns access to the rows of an entity.
    ///
    /// # Errors
    ///
    /// The entity was not declared with [`NodeBuilder::entity`](crate::NodeBuilder::entity).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Entity, Node, Store};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String, on: bool }
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "others")]
    /// # struct Other { #[entity(primary_key)] name: String }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// let flags = node.dao::<Flag>()?;
    /// flags.insert(Flag { name: "beta".into(), on: true }).await?;
    /// assert!(flags.select("beta".into()).await?.is_some_and(|flag| flag.on));
    /// assert!(node.dao::<Other>().is_err()); // it was not declared
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn dao<E: Entity>(&self) -> Result<Dao<E>, tidings_store::Error> {
        self.shared.store.dao()
    }

    /// Returns access to the rows of an entity that is known by name.
    ///
    /// # Errors
    ///
    /// No entity of that name was declared.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Entity, Node, Store};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// assert_eq!(node.table("flags")?.schema().name(), "flags");
    /// assert!(node.table("flag").is_err());
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn table(&self, entity: &str) -> Result<Table, tidings_store::Error> {
        self.shared.store.table(entity)
    }

    /// Stops the node: delivers what the bus accepted, ends the workers, leaves the cluster, closes
    /// the store. All of it by the deadline; what has not ended by then is let go of, and reported.
    ///
    /// Later posts and writes are refused. A second call waits for nothing and reports a clean end.
    /// The last eighth of the time, at most a second, is kept for the cluster and the store.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the workers stopping on their own.
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

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
