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

/// How long a write waits for the handlers of its change unless told otherwise.
const HANDLER_DEADLINE: Duration = Duration::from_secs(2);
/// From when on a handler is reported as slow unless told otherwise.
const SLOW_HANDLER: Duration = Duration::from_secs(1);

/// How long the log keeps records unless told otherwise.
const RETENTION: Duration = Duration::from_secs(3_600);
/// The least and the most that the log may be told to keep records for.
pub const LOG_RETENTIONS: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(30 * 86_400));
/// How often rows past their time are removed unless told otherwise, and at the most.
const EXPIRED: Duration = Duration::from_secs(30);
const EXPIRED_MOST_OFTEN: Duration = Duration::from_secs(1);

/// Builds a [`Node`]. Made by [`Node::builder`].
#[must_use]
pub struct NodeBuilder {
    store: Option<Store>,
    entities: Vec<EntityType>,
    /// Those without a table.
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
    /// Starts the settings of a node.
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

    /// Sets a stream, such as `tidings_streams::Redis`, as the log of a node without a store: what
    /// one node invalidates, purges or posts to [all](Self::cluster_channel) reaches every node
    /// that was given the same stream, and they are members of one cluster.
    ///
    /// Such a node has its cache and its bus, and no tables: it refuses [entities](Self::entity)
    /// that need one. [`recorded_entity`](Self::recorded_entity) declares those whose rows are kept
    /// elsewhere, so that keys which hold their secrets leave the process as digests alone.
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

    /// Declares an entity that has no table of its own: its changes are those that the
    /// application's own SQL records with [`outbox::record`](tidings_store::outbox::record), and
    /// every node that declares it hears of them.
    ///
    /// It has a channel `("crud", name)` and evictions like any other entity, and no DAO: how its
    /// rows are read is the application's to know. Tables that [`entity`](Self::entity) declares
    /// cannot refer to it. The start fails where the store keeps no log.
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

    /// Runs a hook on each worker's thread before the node has started; the place to register
    /// handlers.
    ///
    /// Hooks run in the order in which they were given. One that fails or panics ends the start.
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

    /// Sets how long a write waits for the handlers of its change to have run on this node; 2 s by
    /// default.
    ///
    /// After it the write returns all the same: the row is committed and evicted, and what has not
    /// run yet is logged and counted.
    pub fn handler_deadline(mut self, deadline: Duration) -> Self {
        self.handler_deadline = deadline;
        self
    }

    /// Sets from when on a running handler is logged as slow, with its name; 1 s by default.
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

    /// Sets how often the store's log is read when nothing hints at a change; 100 ms by default. It
    /// is how long another program's write may stay unnoticed.
    pub fn log_poll(mut self, every: Duration) -> Self {
        self.log = self.log.poll(every);
        self
    }

    /// Sets how long the store's log keeps records, 10 s to 30 days; 1 hour by default. A node that
    /// hears nothing of its log for longer purges its cache.
    pub fn log_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how often rows past their time are removed; 30 s by default, 1 s at the most often.
    /// Reads do not return them even before that.
    pub fn remove_expired_every(mut self, every: Duration) -> Self {
        self.expired = every.max(EXPIRED_MOST_OFTEN);
        self
    }

    /// Declares a channel whose events reach the handlers of every node of the cluster: see
    /// [`ClusterChannel`](crate::ClusterChannel).
    pub fn cluster_channel<T: Event + Serialize + DeserializeOwned>(
        mut self,
        source: &str,
        event: &str,
    ) -> Self {
        self.for_all.push(ForAll::of::<T>(source, event));
        self
    }

    /// Sets what the cluster is called where people see it; `tidings` by default. The cluster
    /// itself is the database.
    pub fn cluster_name(mut self, name: impl Into<String>) -> Self {
        self.cluster_name = name.into();
        self
    }

    /// Wakes the other nodes by a broker, and is woken by it, in place of the database; needs
    /// PostgreSQL. All nodes of a cluster use the same one.
    ///
    /// The broker says that there is something to read, and the database says what: while the
    /// broker is down, nodes hear of each other's changes at their next
    /// [poll](Self::log_poll). It spares the database a listener per node, each of which it wakes
    /// for every commit.
    pub fn wake_by(mut self, carrier: impl WakeCarrier) -> Self {
        self.wakes = Some(Arc::new(carrier));
        self
    }

    /// Sets for how long the node serves what it holds without a proof that it has applied every
    /// change, where the store keeps a log; no bound by default.
    ///
    /// While the log answers there is a proof at least every third of this time, and nothing is
    /// loaded again. When it does not, or the process was stopped, an entry is served until the
    /// bound has run out since the later of the last proof and its own load; see
    /// [`stale_policy`](Self::stale_policy) for what comes then. In a cluster others wait no longer
    /// than that for a node that is silent.
    ///
    /// It is the cache's
    /// [`staleness_ceiling`](tidings_cache::CacheBuilder::staleness_ceiling): no named cache, call
    /// or policy loosens it. A bound of one of these counts from the load alone, for what the log
    /// does not tell of.
    pub fn max_staleness(mut self, bound: Option<Duration>) -> Self {
        self.log = self.log.max_staleness(bound);
        self
    }

    /// Says what becomes of a lookup for which the cache holds nothing that may be served, while
    /// nothing is proven within [`max_staleness`](Self::max_staleness): it is loaded by default.
    /// Under [`StalePolicy::Refuse`] it fails with
    /// [`GetError::Unproven`](tidings_cache::GetError::Unproven), and the database is not asked.
    pub fn stale_policy(mut self, policy: StalePolicy) -> Self {
        self.stale_policy = policy;
        self
    }

    /// Registers a handler for gaps: changes that were not received, in their place in the order of
    /// changes. The log was lost, any row of an entity may have changed, or (where the store keeps
    /// no log) one commit changed more than 10,000 rows. Everything that was derived from events
    /// must then be rebuilt.
    pub fn on_gap(mut self, handler: impl Fn(&Gap) + Send + Sync + 'static) -> Self {
        self.gaps.push(Arc::new(handler));
        self
    }

    /// Sets the source of time, for tests that drive it by hand.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the runtime for loads and the store; by default the one that [`start`](Self::start) is
    /// called in.
    ///
    /// It must outlive the node and have its timer on.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets how much [audits](crate::Node::audit) read.
    pub fn audit(mut self, settings: AuditSettings) -> Self {
        self.audit = settings;
        self
    }

    /// Checks the schemas, makes the tables, starts the workers and runs their hooks.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Workers that had already started are stopped first, and the node takes
    /// leave of the other nodes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops what was started. In a cluster others then wait for the node as
    /// for one that was killed: see [`start_unless`](Self::start_unless).
    pub async fn start(self) -> Result<Node, StartError> {
        start::start(self).await
    }

    /// Starts the node as [`start`](Self::start) does, unless something else happens first, such as
    /// a signal to stop: then stops what was started, takes leave of the other nodes, for a second
    /// at most, and returns none.
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
