//! The proxy side over raw sockets, on one thread and without a node.

#![expect(
    clippy::result_large_err,
    reason = "hooks answer as plugins do, and an answer is large"
)]

mod bodies;
mod clients;
mod forged;
mod framing;
mod limits;
mod raw;
mod refusals;
mod refused_bodies;
mod repeats;
mod upstreams;

use std::{fmt, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    task::LocalSet,
    time::{Instant, timeout},
};

use self::raw::Raw;
use crate::{
    Environment, ProxyRequest, Response, Settings,
    counts::WorkerCounts,
    front,
    plugin::DynPlugin,
    proxy::{Place, Proxy},
    server::{Acceptor, Listener, Seats},
};

/// Far longer than any test takes; a test that meets it hangs.
const NEVER: Duration = Duration::from_secs(20);

struct Front {
    address: SocketAddr,
    phases: front::PhaseSender,
    drain_timeout: Duration,
}

impl Front {
    /// A proxy side with these flags.
    fn start(flags: &[&str]) -> Self {
        Self::with_plugins(flags, Vec::new())
    }

    fn with_plugins(flags: &[&str], plugins: Vec<Box<dyn DynPlugin>>) -> Self {
        let flags = ["tidings", "--proxy-listen", "127.0.0.1:0"]
            .iter()
            .chain(flags);
        let settings = Settings::resolve(flags, &Environment::empty()).expect("allowed settings");
        let listener = Listener::bind("proxy", settings.proxy_listen).expect("a free port");
        let (sender, phases) = front::phases();
        let phases = phases.receiver().expect("the end has not begun");
        let address = listener.address();
        let most = settings.limits.max_connections;
        let acceptor = Acceptor::new(listener, Seats::new(1, most), 0).expect("an event loop");
        let counts: Arc<WorkerCounts> = Arc::default();
        let place = Place {
            node_id: "node-1",
            worker: 0,
            counts: Arc::clone(&counts),
            access: None,
            after: None,
        };
        let proxy = Rc::new(Proxy::new(place, plugins, &settings));
        let limits = settings.limits.clone();
        tokio::task::spawn_local(front::serve_proxy(acceptor, proxy, counts, limits, phases));
        sender.serve();
        Self {
            address,
            phases: sender,
            drain_timeout: settings.limits.drain_timeout,
        }
    }

    async fn drain(&mut self) {
        self.phases.drain(Instant::now() + self.drain_timeout).await;
    }

    async fn client(&self) -> Raw {
        Raw::connect(self.address).await
    }
}

/// Runs a test on one thread, workers and clients and upstreams alike.
fn on_one_thread<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        timeout(NEVER, test()).await.expect("the test ends");
    });
}

type Access<'a> = Pin<Box<dyn Future<Output = Result<(), Response>> + 'a>>;

/// A plugin made of a function.
struct Hook<F>(F);

impl<F> fmt::Debug for Hook<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl<F: Fn(&mut ProxyRequest) -> Result<(), Response>> DynPlugin for Hook<F> {
    fn access<'a>(&'a self, request: &'a mut ProxyRequest) -> Access<'a> {
        let outcome = (self.0)(request);
        Box::pin(async move { outcome })
    }
}
