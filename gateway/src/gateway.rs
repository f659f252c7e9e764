//! [`Gateway`]: a node with a proxy side and an admin side in front of it.

// Why a gateway could not start.
mod start_error;
// Its parts, made from the settings.
mod parts;
// The steps of a start after the node's own.
mod steps;
// The beginning of each worker.
mod workers;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tidings::{Node, NodeBuilder, PageQuery};
use tidings_admin::{Readiness, Unready};
use tokio::{sync::Semaphore, time::Instant};

pub use self::start_error::StartError;
use self::{
    parts::{admin_options, metrics, open, serve_router, serve_status, set_up},
    steps::{ended_unless, prepare},
    workers::{Shared, one_for_each},
};
use crate::{
    Consumer, Plugin, Settings,
    counts::Counts,
    front::{self, PhaseSender},
    live::Live,
    log::{Log, Sink},
    plugin::Plugins,
    plugins::{self, AllowedGroups, KeyAuth, KeyAuthConfig},
    proxy::MOST_WAITING,
    server::{Listener, Seats},
    settings::KeyNames,
};

/// The most of the drain timeout that is reserved for the node itself, after the last request.
const NODE_SHUTDOWN: Duration = Duration::from_secs(1);
/// The least time that each step of the shutdown gets, however late it is.
const LEAST: Duration = Duration::from_millis(100);

/// A running gateway. If it is dropped, it stops by itself; [`shutdown`](Self::shutdown) is the
/// orderly way.
///
/// # Examples
///
/// ```
/// use tidings_gateway::{Gateway, Settings};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings {
///     proxy_listen: ([127, 0, 0, 1], 0).into(),
///     admin_listen: ([127, 0, 0, 1], 0).into(),
///     database: "sqlite::memory:".to_owned(),
///     ..Settings::default()
/// };
/// let gateway = Gateway::start(settings).await?;
/// println!("proxy listening on {}", gateway.proxy_address());
/// gateway.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gateway {
    node: Node,
    proxy: SocketAddr,
    admin: SocketAddr,
    status: Option<SocketAddr>,
    readiness: Readiness,
    proxies: PhaseSender,
    admins: PhaseSender,
    statuses: PhaseSender,
    drain_timeout: Duration,
    live: LiveSettings,
    log: Option<Log>,
}

/// The settings that a reload replaces.
#[derive(Clone, Debug)]
struct LiveSettings {
    key_names: Live<KeyNames>,
    groups: Live<Option<AllowedGroups>>,
}

impl LiveSettings {
    fn new(settings: &Settings) -> Self {
        Self {
            key_names: Live::new(settings.key_names.clone()),
            groups: Live::new(settings.allow_groups.clone().map(AllowedGroups::new)),
        }
    }

    fn replace(&self, settings: &Settings) {
        self.key_names.replace(settings.key_names.clone());
        let groups = settings.allow_groups.clone();
        self.groups.replace(groups.map(AllowedGroups::new));
    }
}

/// Builds a [`Gateway`] with plugins of your own. Made by [`Gateway::builder`].
#[derive(Debug)]
#[must_use]
pub struct GatewayBuilder {
    settings: Settings,
    plugins: Plugins,
    live: LiveSettings,
    log: Option<Log>,
    node: NodeBuilder,
}

impl Gateway {
    /// Starts a gateway with the built-in plugins, on the current runtime. This must be a
    /// multi-threaded runtime that outlives the gateway; loads, the store and the admin side run on
    /// it. Each worker has a runtime of its own.
    ///
    /// # Errors
    ///
    /// A port is taken, the database cannot be opened or belongs to another process, or the node
    /// did not start.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops everything that was started.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::builder(settings).start().await
    }

    /// Returns a builder for a gateway with plugins or entities of your own.
    pub fn builder(settings: Settings) -> GatewayBuilder {
        let live = LiveSettings::new(&settings);
        let mut plugins = Plugins::default();
        if settings.plugins.asks_for_key() {
            plugins.add::<KeyAuth>(KeyAuthConfig {
                names: live.key_names.clone(),
                forwarding: settings.hide_credentials,
                storage: settings.hash_keys,
            });
        }

        if settings.plugins.asks_for_groups() {
            plugins.add::<plugins::Acl>(live.groups.clone());
        }

        GatewayBuilder {
            settings,
            plugins,
            live,
            log: None,
            node: Node::builder(),
        }
    }

    /// Applies the settings that can change without a restart: the log filter, the groups and the
    /// key names. Requests that begin afterwards use the new values.
    pub fn reload(&self, settings: &Settings) {
        self.live.replace(settings);
        if let Some(log) = &self.log {
            log.reload(&settings.log);
        }
    }

    /// Returns the address of the proxy side, with the real port.
    #[must_use]
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// Returns the address of the admin API, with the real port.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the address of the status side, with the real port; `None` if there is none.
    #[must_use]
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.status
    }

    /// Returns the node behind both sides.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns whether there is no consumer yet.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn is_empty(&self) -> Result<bool, tidings::store::Error> {
        let query = PageQuery::new().size(1);
        Ok(self
            .node
            .dao::<Consumer>()?
            .page(query)
            .await?
            .data
            .is_empty())
    }

    /// Stops accepting, finishes running requests, and stops the node. All of it takes at most
    /// [`drain_timeout`](crate::Limits::drain_timeout). The admin side answers until the proxy side
    /// is done.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves running requests to finish by themselves.
    pub async fn shutdown(mut self) {
        self.readiness.begin(Unready::Draining);
        let until = Instant::now() + self.drain_timeout;
        // The node and the admin side need a part of it too.
        let requests = until - (self.drain_timeout / 10).min(NODE_SHUTDOWN);
        self.proxies.drain(requests).await;
        self.admins
            .drain(requests.max(Instant::now() + LEAST))
            .await;

        let left = until.saturating_duration_since(Instant::now()).max(LEAST);
        let report = self.node.shutdown(left).await;
        if !report.is_clean() {
            tracing::warn!(?report, "the node did not end in order");
        }
        self.statuses.drain(Instant::now() + LEAST).await;
    }
}

impl GatewayBuilder {
    /// Adds a plugin after the existing ones.
    pub fn plugin<P: Plugin>(mut self, config: P::Config) -> Self {
        self.plugins.add::<P>(config);
        self
    }

    /// Uses this log for access lines and for reloads.
    pub fn log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// Configures the node further: more entities, more `init_worker` hooks.
    pub fn node(mut self, change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        self.node = change(self.node);
        self
    }

    /// Starts the gateway; see [`Gateway::start`].
    ///
    /// # Errors
    ///
    /// See [`Gateway::start`].
    pub async fn start(self) -> Result<Gateway, StartError> {
        let started = self.start_unless(std::future::pending()).await?;
        started.ok_or_else(|| StartError::new("the start was stopped", "without a request to stop"))
    }

    /// Starts the gateway unless another future resolves first, for example a signal to stop. In
    /// that case it stops everything that was started, in order and within a few seconds, and
    /// returns `None`.
    ///
    /// # Errors
    ///
    /// See [`Gateway::start`].
    pub async fn start_unless(
        self,
        ends: impl Future<Output = ()>,
    ) -> Result<Option<Gateway>, StartError> {
        let mut ends = std::pin::pin!(ends);
        let Self {
            settings,
            plugins,
            live,
            log,
            node,
        } = self;

        // Ports first: a gateway that cannot listen should not touch a database.
        let proxy = Listener::bind("proxy", settings.proxy_listen)?;
        let admin = Listener::bind("admin", settings.admin_listen)?;
        let addresses = (proxy.address(), admin.address());
        let listeners = one_for_each(&proxy, settings.workers)
            .map_err(|error| StartError::new("the proxy side cannot accept", error))?;
        drop(proxy);

        let sink = match &log {
            Some(log) => log.sink().clone(),
            None => Sink::stderr(),
        };
        let counts = Arc::new(Counts::new(settings.workers));
        let seats = Seats::new(settings.workers, settings.limits.max_connections);
        let metrics = metrics(&counts, &seats, &sink, settings.limits.max_connections);
        let readiness = Readiness::new();
        readiness.begin(Unready::Starting);

        // Before the database is opened, so that probes see a program that is starting.
        let started: Arc<OnceLock<Node>> = Arc::default();
        let (statuses, status_phases) = front::phases();
        let pages =
            tidings_admin::status_router(Arc::clone(&started), readiness.clone(), metrics.clone());
        let status = serve_status(pages, &settings, &status_phases)?;
        statuses.serve();

        let store = tokio::select! {
            store = open(&settings) => store?,
            () = &mut ends => return Ok(None),
        };

        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = settings.workers,
            database = settings.database_shown(),
            upstream = settings
                .upstream
                .as_ref()
                .map(|upstream| upstream.authority.as_str()),
            max_connections = settings.limits.max_connections,
            "starting"
        );

        let (proxies, phases) = front::phases();
        let shared = Shared {
            settings: Arc::new(settings.clone()),
            plugins,
            listeners,
            phases,
            counts,
            seats,
            sink,
            waits: Arc::new(Semaphore::new(MOST_WAITING)),
        };
        let node = set_up(node.store(store), &settings)?
            .init_worker(move |worker| shared.init_worker(worker))
            .start_unless(&mut ends)
            .await;
        let node = node.map_err(|error| StartError::new("the node did not start", error))?;
        let Some(node) = node else {
            return Ok(None);
        };

        // Set once, here.
        let _ = started.set(node.clone());

        let prepared = tokio::select! {
            prepared = prepare(&node, &settings, &readiness) => prepared.map(Some),
            () = &mut ends => Ok(None),
        };
        let Some(()) = ended_unless(&node, prepared).await? else {
            return Ok(None);
        };

        let options = admin_options(&settings)
            .readiness(readiness.clone())
            .metrics(metrics);
        let (admins, admin_phases) = front::phases();
        let router = tidings_admin::router(node.clone(), options);
        let served = serve_router("admin", admin, router, node.id(), &settings, &admin_phases);
        ended_unless(&node, served.map(Some)).await?;

        admins.serve();
        proxies.serve();
        readiness.end(Unready::Starting);

        Ok(Some(Gateway {
            node,
            proxy: addresses.0,
            admin: addresses.1,
            status,
            readiness,
            proxies,
            admins,
            statuses,
            drain_timeout: settings.limits.drain_timeout,
            live,
            log,
        }))
    }
}
