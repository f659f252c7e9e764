//! [`NodeBuilder`]: the settings of a node, and its start.

// The steps of a start. Must not know how settings are given.
mod start;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tidings_cache::{Cache, CacheBuilder, StalePolicy};
use tidings_cluster::ClusterSettings;
use tidings_core::{
    BoxError, Entity,
    clock::{Clock, SystemClock},
    log::{Gap, LogApart, WakeCarrier},
};
use tidings_events::{Event, WorkerEvents, WorkerEventsBuilder};
use tidings_store::Store;
use tokio::runtime::Handle;

use crate::{
    changes::OnGap,
    cluster_channel::ForAll,
    error::StartError,
    node::{EntityType, Node},
    tally::AuditSettings,
    worker::{InitWorker, Worker},
};

/// How long a write waits for the handlers of its change, by default.
const HANDLER_DEADLINE: Duration = Duration::from_secs(2);
/// The running time after which a handler is reported as slow, by default.
const SLOW_HANDLER: Duration = Duration::from_secs(1);

/// How long the log keeps records, by default.
const RETENTION: Duration = Duration::from_secs(3_600);
/// The shortest and the longest retention of the log.
pub const LOG_RETENTIONS: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(30 * 86_400));
/// How often expired rows are removed, by default, and at most.
const EXPIRED: Duration = Duration::from_secs(30);
const EXPIRED_MOST_OFTEN: Duration = Duration::from_secs(1);

/// Builds a [`Node`]; see [`Node::builder`].
#[must_use]
pub struct NodeBuilder {
    store: Option<Store>,
    entities: Vec<EntityType>,
    /// The entities without a table.
    recorded: Vec<EntityType>,
    hooks: Vec<Arc<InitWorker>>,
    workers: usize,
    node_id: Option<String>,
    handler_deadline: Duration,
    slow_handler: Duration,
    cache: CacheBuilder,
    events: WorkerEventsBuilder,
    log: ClusterSettings,
    stale_policy: StalePolicy,
    retention: Duration,
    expired: Duration,
    cluster_name: String,
    wakes: Option<Arc<dyn WakeCarrier>>,
    /// A log on a server of its own, in place of a store.
    stream: Option<Arc<dyn LogApart>>,
    gaps: Vec<OnGap>,
    for_all: Vec<ForAll>,
    clock: Arc<dyn Clock>,
    runtime: Option<Handle>,
    audit: AuditSettings,
}

impl Node {
    /// Returns a builder for a node.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).node_id("a").workers(2).start().await?;
    /// assert_eq!((node.id(), node.workers()), ("a", 2));
    /// assert!(Node::builder().start().await.is_err()); // a node needs a store
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }
}

impl NodeBuilder {
    fn new() -> Self {
        Self {
            store: None,
            entities: Vec::new(),
            recorded: Vec::new(),
            hooks: Vec::new(),
            workers: 1,
            node_id: None,
            handler_deadline: HANDLER_DEADLINE,
            slow_handler: SLOW_HANDLER,
            cache: Cache::builder(),
            events: WorkerEvents::builder(),
            log: ClusterSettings::new(),
            stale_policy: StalePolicy::default(),
            retention: RETENTION,
            expired: EXPIRED,
            cluster_name: "tidings".to_owned(),
            wakes: None,
            stream: None,
            gaps: Vec::new(),
            for_all: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            runtime: None,
            audit: AuditSettings::new(),
        }
    }

    /// Sets the store whose rows the node reads and writes. Required, unless the node follows a
    /// [stream](Self::stream).
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets a stream, such as `tidings_streams::Redis`, as the log of a node without a store. All
    /// nodes with the same stream form one cluster: when one of them invalidates, purges or [posts
    /// to all](Self::cluster_channel), this reaches every other node.
    ///
    /// Such a node has a cache and a bus but no tables, so it refuses each
    /// [`entity`](Self::entity). Use [`recorded_entity`](Self::recorded_entity) to declare an
    /// entity whose rows are kept elsewhere. Then cache keys that contain its secrets leave the
    /// process only as digests.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::Node;
    /// use tidings_streams::kit::Memory; // in place of a server
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// let server = Memory::new();
    /// let one = Node::builder().stream(server.stream()).node_id("one").start().await?;
    /// let other = Node::builder().stream(server.stream()).node_id("other").start().await?;
    /// let key = tidings::CacheKey::new("greeting", &["en"]);
    /// one.cache().invalidate(&key).confirmed(std::time::Duration::from_secs(5)).await?;
    /// # for node in [one, other] {
    /// #     let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # }
    /// # Ok(()) }
    /// ```
    pub fn stream(mut self, stream: impl LogApart) -> Self {
        self.stream = Some(Arc::new(stream));
        self
    }

    /// Declares an entity: its table, its channel `("crud", name)` and its evictions.
    pub fn entity<E: Entity>(mut self) -> Self {
        self.entities.push(EntityType::of::<E>());
        self
    }

    /// Declares an entity without a table of its own. The application's own SQL records its changes
    /// with [`outbox::record`](tidings_store::outbox::record), and every node that declares the
    /// entity receives them.
    ///
    /// Like any other entity it has a channel `("crud", name)` and evictions. It has no DAO, since
    /// only the application knows how to read its rows. Tables that [`entity`](Self::entity)
    /// declares cannot refer to it. The start fails if the store keeps no log.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tidings::{Entity, Node, Store, store::Logging};
    ///
    /// /// Put together from several tables, on which no trigger sees a row of it.
    /// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// #[entity(name = "prices", cache_key("product"))]
    /// struct Price {
    ///     #[entity(primary_key)]
    ///     id: i64,
    ///     #[entity(unique)]
    ///     product: String,
    ///     cents: i64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("sqlite://{}/a.db", directory.path().display());
    /// let store = Store::options(url).logging(Logging::On).open().await?;
    /// let node = Node::builder().store(store).recorded_entity::<Price>().start().await?;
    /// assert!(node.dao::<Price>().is_err());
    ///
    /// let without_a_log = Store::open("sqlite::memory:").await?;
    /// let builder = Node::builder().store(without_a_log).recorded_entity::<Price>();
    /// assert!(builder.start().await.unwrap_err().to_string().contains("log"));
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn recorded_entity<E: Entity>(mut self) -> Self {
        self.recorded.push(EntityType::of::<E>());
        self
    }

    /// Sets how many workers run, each a thread with an event loop, an L1 and handlers of its own;
    /// 1 by default.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Runs a hook on each worker's thread before the node has started. Register handlers here.
    ///
    /// Hooks run in the order in which they were added. If a hook fails or panics, the start fails.
    pub fn init_worker<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Worker) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Sets the node's name in logs and answers; a random UUID by default.
    pub fn node_id(mut self, node_id: impl Into<String>) -> Self {
        self.node_id = Some(node_id.into());
        self
    }

    /// Sets how long a write waits until the handlers of its change have run on this node; 2 s by
    /// default.
    ///
    /// Then the write returns in any case: the row is committed and evicted. Handlers that have not
    /// run yet are logged and counted, and run later.
    pub fn handler_deadline(mut self, deadline: Duration) -> Self {
        self.handler_deadline = deadline;
        self
    }

    /// Sets the running time after which a handler is logged as slow, with its name; 1 s by
    /// default.
    pub fn slow_handler(mut self, limit: Duration) -> Self {
        self.slow_handler = limit;
        self
    }

    /// Takes the settings of the cache. The node sets its clock and its runtime.
    pub fn cache(mut self, settings: CacheBuilder) -> Self {
        self.cache = settings;
        self
    }

    /// Takes the settings of worker events. The node sets the number of workers and the clock.
    pub fn worker_events(mut self, settings: WorkerEventsBuilder) -> Self {
        self.events = settings;
        self
    }

    /// Sets how often the node reads the store's log when nothing has woken it; 100 ms by default.
    /// A write of another program may stay unnoticed for this long.
    pub fn log_poll(mut self, every: Duration) -> Self {
        self.log = self.log.poll(every);
        self
    }

    /// Sets how long the store's log keeps records, 10 s to 30 days; 1 hour by default. A node that
    /// cannot read the log for longer purges its cache.
    pub fn log_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how often the node removes expired rows; 30 s by default, and not more often than every
    /// second. Reads do not return an expired row, even before it is removed.
    pub fn remove_expired_every(mut self, every: Duration) -> Self {
        self.expired = every.max(EXPIRED_MOST_OFTEN);
        self
    }

    /// Declares a channel whose events reach the handlers of every node of the cluster; see
    /// [`ClusterChannel`](crate::ClusterChannel).
    pub fn cluster_channel<T: Event + Serialize + DeserializeOwned>(
        mut self,
        source: &str,
        event: &str,
    ) -> Self {
        self.for_all.push(ForAll::of::<T>(source, event));
        self
    }

    /// Sets the display name of the cluster; `tidings` by default. The database, not the name,
    /// identifies the cluster.
    pub fn cluster_name(mut self, name: impl Into<String>) -> Self {
        self.cluster_name = name.into();
        self
    }

    /// Sends and receives wake-ups over a broker instead of the database; needs PostgreSQL. All
    /// nodes of a cluster must use the same broker.
    ///
    /// A wake-up says that the log has something to read; the log itself stays in the database.
    /// While the broker is down, nodes read each other's changes at their next
    /// [poll](Self::log_poll). Without a broker the database keeps one listener per node and wakes
    /// all of them at every commit; a broker takes this work off it.
    pub fn wake_by(mut self, carrier: impl WakeCarrier) -> Self {
        self.wakes = Some(Arc::new(carrier));
        self
    }

    /// Sets how long the node serves cached entries without a proof that it has applied every
    /// change. There is no bound by default, and it has no effect if the store keeps no log.
    ///
    /// While the log answers, the node gets a proof at least every third of this time, and no entry
    /// has to be loaded again. If the log does not answer, or the process was suspended, the node
    /// serves an entry until the bound has passed since the last proof or since the entry's own
    /// load, whichever is later. [`stale_policy`](Self::stale_policy) decides what follows. In a
    /// cluster, the other nodes wait no longer than the bound for a silent node.
    ///
    /// The bound becomes the cache's
    /// [`staleness_ceiling`](tidings_cache::CacheBuilder::staleness_ceiling), which no named cache,
    /// call or policy can loosen. These have bounds of their own, for values whose changes are not
    /// in the log; such a bound counts from the load alone.
    pub fn max_staleness(mut self, bound: Option<Duration>) -> Self {
        self.log = self.log.max_staleness(bound);
        self
    }

    /// Sets what happens to a lookup while the last proof is older than
    /// [`max_staleness`](Self::max_staleness) and the cache holds no entry that it may serve. By
    /// default the node loads the value. With [`StalePolicy::Refuse`] the lookup fails with
    /// [`GetError::Unproven`](tidings_cache::GetError::Unproven), and the node does not ask the
    /// database.
    pub fn stale_policy(mut self, policy: StalePolicy) -> Self {
        self.stale_policy = policy;
        self
    }

    /// Registers a handler for gaps. It runs in place of changes that were not received: because
    /// the log was lost, because any row of an entity may have changed, or, if the store keeps no
    /// log, because one commit changed more than 10,000 rows. Rebuild everything that you derive
    /// from events.
    pub fn on_gap(mut self, handler: impl Fn(&Gap) + Send + Sync + 'static) -> Self {
        self.gaps.push(Arc::new(handler));
        self
    }

    /// Sets the clock, for tests that drive it by hand.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the runtime for loads and the store; by default the runtime in which you call
    /// [`start`](Self::start).
    ///
    /// It must outlive the node and have its timer enabled.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets how much [audits](crate::Node::audit) read.
    pub fn audit(mut self, settings: AuditSettings) -> Self {
        self.audit = settings;
        self
    }

    /// Checks the schemas, creates the tables, starts the workers and runs their hooks.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Before it returns the error, the node stops the workers that have
    /// started, and leaves the cluster.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops everything that was started. In a cluster the other nodes then
    /// wait for this node as for a killed one; [`start_unless`](Self::start_unless) avoids that.
    pub async fn start(self) -> Result<Node, StartError> {
        start::start(self).await
    }

    /// Starts the node like [`start`](Self::start), unless another future resolves first, for
    /// example a signal to stop. In that case it stops everything that was started, leaves the
    /// cluster (which takes a second at most), and returns `None`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let stop = std::future::pending::<()>();
    /// let Some(node) = Node::builder().store(store).start_unless(stop).await? else {
    ///     return Ok(()); // it was to stop
    /// };
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub async fn start_unless(
        self,
        ends: impl Future<Output = ()>,
    ) -> Result<Option<Node>, StartError> {
        start::start_unless(self, ends).await
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("entities", &self.entities)
            .field("workers", &self.workers)
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}
