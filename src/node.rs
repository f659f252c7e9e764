//! [`Node`]: one process's workers, cache, bus and store.

// Layers, the lowest first: a module imports only from those above it in this list.

// The state that all handles of a node share. Must not know how it is run.
mod shared;

// Reading chosen entities into the cache.
mod warm_up;

// Publishes counters to the `metrics` facade.
mod publish;

// The end of a node.
mod shutdown;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tidings_cache::Cache;
use tidings_core::{BoxError, Entity, Schema, clock::Clock};
use tidings_events::{Event, WorkerEvents};
use tidings_store::{Dao, Store, Table};
use tokio_util::sync::DropGuard;

pub(crate) use self::shared::{EntityType, Shared, WorkerThread};
pub use self::shutdown::{Ending, ShutdownReport};
use crate::changes::ChangeStats;
use crate::cluster_channel::ClusterChannel;
use crate::follow::{Following, Hearing};

/// A running node: workers, one cache, one bus, one store. Clones are cheap handles of the same
/// node.
///
/// When the last handle outside the workers is dropped, the workers stop by themselves.
/// [`shutdown`](Self::shutdown) is the orderly way: it delivers accepted events and waits.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    /// Stops the workers with the last handle. A worker's own handle has none, or nothing would
    /// ever stop.
    _last: Option<Arc<DropGuard>>,
}

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

    /// Returns the number of workers.
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

    /// Returns the counts of changes that did not end normally.
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

    /// Returns the counts of what the node has read from its store's log; `None` if the store keeps
    /// no log.
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

    /// Returns the node's view of the cluster: the members, and the positions in the log that the
    /// node has read and applied. `None` if the store keeps no log.
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
    /// The channel was not declared with
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
                "the channel ({source:?}, {event:?}) belongs to this node alone: declare it with NodeBuilder::cluster_channel"
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

    /// Returns the display name of the cluster.
    #[must_use]
    pub fn cluster_name(&self) -> &str {
        &self.shared.cluster_name
    }

    /// Returns whether the node sees every change in its store. If not, its cache may hold old
    /// values.
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

    /// Returns the schema of a declared entity, with a table or
    /// [without](crate::NodeBuilder::recorded_entity).
    pub fn schema(&self, entity: &str) -> Option<&'static Schema> {
        let mut heard = self.shared.heard.iter();
        heard.find(|schema| schema.name() == entity).copied()
    }

    /// Returns the node's clock.
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
        self.not_recorded(E::NAME)?;
        self.shared.store.dao()
    }

    /// Returns untyped access to the rows of an entity, by its name.
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
        self.not_recorded(entity)?;
        self.shared.store.table(entity)
    }

    /// Refuses an entity that has no table here.
    fn not_recorded(&self, entity: &str) -> Result<(), tidings_store::Error> {
        let is_here = self.schemas().iter().any(|schema| schema.name() == entity);
        if !is_here && self.schema(entity).is_some() {
            let name = entity.to_owned();
            return Err(tidings_store::Error::Recorded { name });
        }
        Ok(())
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
