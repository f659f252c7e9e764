//! The beginning of each worker's thread: its listener, its plugins, and the loop that accepts.

use std::{
    io,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use tidings::{BoxError, Worker};
use tokio::sync::Semaphore;

use crate::{
    Settings,
    counts::Counts,
    front::{self, PhaseReceivers},
    log::Sink,
    plugin::Plugins,
    proxy::{AccessLog, After, Place, Proxy},
    server::{Acceptor, Listener, Seats},
};

/// One listener for each worker, to be taken once.
pub(super) type Listeners = Mutex<Vec<Option<Listener>>>;

/// Returns one descriptor for each worker and no more: the socket has to close with the last worker
/// that accepts, and `init_worker` hooks live as long as their node.
pub(super) fn one_for_each(listener: &Listener, workers: usize) -> io::Result<Listeners> {
    let all: io::Result<_> = (0..workers).map(|_| listener.share().map(Some)).collect();
    all.map(Mutex::new)
}

/// Everything that the workers share until each has begun.
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) plugins: Plugins,
    pub(super) listeners: Listeners,
    pub(super) phases: PhaseReceivers,
    pub(super) counts: Arc<Counts>,
    pub(super) seats: Arc<Seats>,
    pub(super) sink: Sink,
    /// The places of requests that wait for a write to be applied.
    pub(super) waits: Arc<Semaphore>,
}

impl Shared {
    /// Prepares a worker: makes its plugins, and gets it ready to accept.
    pub(super) fn init_worker(&self, worker: &Worker) -> Result<(), BoxError> {
        let listener = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(worker.id())
            .and_then(Option::take)
            .ok_or("this worker has no listener")?;
        let acceptor = Acceptor::new(listener, Arc::clone(&self.seats), worker.id())?;
        let phases = self.phases.receiver().ok_or("the gateway has stopped")?;
        let counts = self
            .counts
            .worker(worker.id())
            .ok_or("this worker has no counts")?;

        let place = Place {
            node_id: worker.node().id(),
            worker: worker.id(),
            counts: Arc::clone(&counts),
            access: AccessLog::new(self.settings.access_log, self.sink.clone()),
            after: Some(After::new(
                worker.node().clone(),
                self.settings.after_timeout,
                Arc::clone(&self.waits),
            )),
        };
        let plugins = self.plugins.init_worker(worker)?;
        let proxy = Rc::new(Proxy::new(place, plugins, &self.settings));
        let limits = self.settings.limits.clone();
        worker.spawn_local(front::serve_proxy(acceptor, proxy, counts, limits, phases));

        Ok(())
    }
}
