//! [`Gateway`]: a node with a proxy side and an admin side in front of it.

use std::{
    error::Error as StdError,
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings::{
    BoxError, Cache, Entity, Node, NodeBuilder, PageQuery, Store, Worker,
    cache::{CacheBuilder, Policy, Ttl},
};
use tidings_admin::{AdminOptions, Readiness, Unready};

use crate::{
    Acl, Consumer, KeyAuthCredential, Plugin, Settings,
    front::{self, Cues, Director},
    plugin::Plugins,
    plugins::{self, AllowedGroups, KeyAuth},
    proxy::Proxy,
    server::{Acceptor, BindError, Imprint, Listener, Seats},
    warm,
};

/// How long the node may take to end once no request runs any more.
const NODE_SHUTDOWN: Duration = Duration::from_secs(5);

/// A running gateway. Dropped, it stops on its own; [`shutdown`](Self::shutdown) is the orderly way.
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
    director: Director,
    readiness: Readiness,
}

/// Builds a [`Gateway`] with plugins of its user's. Made by [`Gateway::builder`].
#[derive(Debug)]
#[must_use]
pub struct GatewayBuilder {
    settings: Settings,
    plugins: Plugins,
    node: NodeBuilder,
}

/// A gateway did not start. What had started has been stopped.
#[derive(Debug)]
pub struct StartError {
    what: &'static str,
    source: BoxError,
}

impl StartError {
    fn new(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: source.into(),
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::new("a port is missing", error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl StdError for StartError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl Gateway {
    /// Starts a gateway with the built-in plugins, on the runtime that this is called in: a multi-threaded one
    /// that outlives it, where loads, the store and the admin side run. The workers bring their own.
    ///
    /// # Errors
    ///
    /// A port is taken, the database cannot be opened or belongs to another process, or the node did not start.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops what was started.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::builder(settings).start().await
    }

    /// A gateway that will have more than the built-in plugins.
    pub fn builder(settings: Settings) -> GatewayBuilder {
        let mut plugins = Plugins::default();
        if settings.plugins.asks_for_key() {
            plugins.add::<KeyAuth>(());
        }
        if let Some(groups) = settings
            .allow_groups
            .clone()
            .filter(|_| settings.plugins.asks_for_groups())
        {
            plugins.add::<plugins::Acl>(AllowedGroups::new(groups));
        }
        GatewayBuilder {
            settings,
            plugins,
            node: Node::builder(),
        }
    }

    /// Where clients come in, with the real port.
    #[must_use]
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// Where the admin API listens, with the real port.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The node behind both.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether no consumer is known yet.
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

    /// Stops accepting, finishes the requests that run (for at most [`drain_timeout`](crate::Limits::drain_timeout))
    /// and ends the node.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the requests finishing on their own.
    pub async fn shutdown(mut self) {
        self.readiness.begin(Unready::Draining);
        self.director.drain().await;
        let report = self.node.shutdown(NODE_SHUTDOWN).await;
        if !report.is_clean() {
            tracing::warn!(?report, "the node did not end in order");
        }
    }
}

impl GatewayBuilder {
    /// Adds a plugin behind those that are there already.
    pub fn plugin<P: Plugin>(mut self, config: P::Config) -> Self {
        self.plugins.add::<P>(config);
        self
    }

    /// Sets up the node further: more entities, more `init_worker` hooks.
    pub fn node(mut self, change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        self.node = change(self.node);
        self
    }

    /// Starts it; see [`Gateway::start`].
    ///
    /// # Errors
    ///
    /// See [`Gateway::start`].
    pub async fn start(self) -> Result<Gateway, StartError> {
        let Self {
            settings,
            plugins,
            node,
        } = self;
        // Ports first: a gateway that cannot listen should not touch a database.
        let proxy = Listener::bind("proxy", settings.proxy_listen)?;
        let admin = Listener::bind("admin", settings.admin_listen)?;
        let store = Store::open(&settings.database).await.map_err(|error| {
            StartError::new("the database (--database) cannot be opened", error)
        })?;

        let addresses = (proxy.address(), admin.address());
        let (director, cues) = front::direction();
        let listeners = one_for_each(&proxy, settings.workers)
            .map_err(|error| StartError::new("the proxy side cannot accept", error))?;
        drop(proxy);
        let init = init_worker(Arc::new(settings.clone()), plugins, listeners, cues.clone());
        let mut node = node
            .store(store)
            .workers(settings.workers)
            .cache(cache(&settings))
            .entity::<Consumer>()
            .entity::<KeyAuthCredential>()
            .entity::<Acl>()
            .init_worker(init);
        if let Some(node_id) = &settings.node_id {
            node = node.node_id(node_id);
        }
        let node = node
            .start()
            .await
            .map_err(|error| StartError::new("the node did not start", error))?;

        let readiness = Readiness::new();
        readiness.begin(Unready::WarmingUp);
        warm::up(&node, &settings.warm_up).await;
        readiness.end(Unready::WarmingUp);

        // Rows that were copied from gateways of the same model hold it.
        let mut options = AdminOptions::new()
            .accept_null(KeyAuthCredential::NAME, "ttl")
            .readiness(readiness.clone());
        if let Some(token) = &settings.admin_token {
            options = options.token(token.expose());
        }
        let router = tidings_admin::router(node.clone(), options);
        let acceptor = Acceptor::new(admin, Seats::new(1), 0)
            .map_err(|error| StartError::new("the admin side cannot accept", error))?;
        let imprint = admin_imprint(node.id());
        // The director has not begun to drain, so there is a cue.
        if let Some(cue) = cues.cue() {
            tokio::spawn(front::serve_admin(
                acceptor,
                router,
                imprint,
                settings.limits,
                cue,
            ));
        }
        director.serve();
        Ok(Gateway {
            node,
            proxy: addresses.0,
            admin: addresses.1,
            director,
            readiness,
        })
    }
}

/// What workers take their listeners from, each once.
type Listeners = Mutex<Vec<Option<Listener>>>;

/// A descriptor for each worker and none besides: the socket is to close with the last worker that accepts, and
/// `init_worker` hooks live as long as their node.
fn one_for_each(listener: &Listener, workers: usize) -> io::Result<Listeners> {
    let all: io::Result<_> = (0..workers).map(|_| listener.share().map(Some)).collect();
    all.map(Mutex::new)
}

/// What each worker does first: makes its plugins, and prepares to accept.
fn init_worker(
    settings: Arc<Settings>,
    plugins: Plugins,
    listeners: Listeners,
    cues: Cues,
) -> impl Fn(&Worker) -> Result<(), BoxError> + Send + Sync + 'static {
    let seats = Seats::new(settings.workers);
    move |worker: &Worker| {
        let listener = listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(worker.id())
            .and_then(Option::take)
            .ok_or("this worker has no listener")?;
        let acceptor = Acceptor::new(listener, Arc::clone(&seats), worker.id())?;
        let cue = cues.cue().ok_or("the gateway has stopped")?;
        let plugins = plugins.init_worker(worker)?;
        let proxy = Rc::new(Proxy::new(
            worker.node().id(),
            worker.id(),
            plugins,
            &settings,
        ));
        worker.spawn_local(front::serve_proxy(
            acceptor,
            proxy,
            settings.limits.clone(),
            cue,
        ));
        Ok(())
    }
}

/// Rows that may be revoked: nothing is served after its time, whatever fails.
fn cache(settings: &Settings) -> CacheBuilder {
    Cache::builder()
        .capacity(settings.cache_size)
        .policy(Policy::revocable())
        .ttl(settings.ttl.map_or(Ttl::Never, Ttl::After))
        .neg_ttl(settings.neg_ttl.map_or(Ttl::Never, Ttl::After))
}

/// What hyper's own refusals are made to look like on the admin side.
fn admin_imprint(node_id: &str) -> Imprint {
    Imprint {
        lines: format!("x-tidings-node: {node_id}\r\n").into(),
        body: tidings_admin::malformed,
    }
}
