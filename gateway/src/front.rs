//! The two sides of the program as tasks: accept, serve, and drain.

use std::{cell::Cell, convert::Infallible, future::Future, net::SocketAddr, rc::Rc, sync::Arc};

use axum::{body::Body, extract::ConnectInfo};
use http::Request;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use tidings_admin::{Unending, Waits};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    counts::WorkerCounts,
    proxy::{Peer, Proxy},
    server::{Acceptor, Connections, GuardedIo, Imprint, serve},
    settings::Limits,
};

/// The phases of one side, as its tasks go through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    /// Accept no more, and finish running requests by then.
    Draining(Instant),
}

/// Announces the phases of one side; dropping it starts the drain.
#[derive(Debug)]
pub(crate) struct PhaseSender {
    phase: watch::Sender<Phase>,
    /// Never carries anything: it ends when the last task has dropped its sender.
    ended: mpsc::Receiver<Infallible>,
    /// Lets tasks join until the end begins.
    running: Option<mpsc::Sender<Infallible>>,
}

/// Makes a [`PhaseReceiver`] for each task. Holding this does not delay a drain: `init_worker`
/// hooks live as long as their node.
#[derive(Clone, Debug)]
pub(crate) struct PhaseReceivers {
    phase: watch::Receiver<Phase>,
    running: mpsc::WeakSender<Infallible>,
}

/// Receives the phases, for one task. A drain waits until all of these are dropped.
#[derive(Clone, Debug)]
pub(crate) struct PhaseReceiver {
    phase: watch::Receiver<Phase>,
    _running: mpsc::Sender<Infallible>,
}

/// Makes a sender of phases, and the source of receivers for its tasks.
pub(crate) fn phases() -> (PhaseSender, PhaseReceivers) {
    let (sender, phase) = watch::channel(Phase::Starting);
    let (running, ended) = mpsc::channel(1);
    let phases = PhaseReceivers {
        phase,
        running: running.downgrade(),
    };

    let sender = PhaseSender {
        phase: sender,
        ended,
        running: Some(running),
    };
    (sender, phases)
}

impl PhaseReceivers {
    /// Returns a receiver for a task; `None` once the drain has begun.
    pub(crate) fn receiver(&self) -> Option<PhaseReceiver> {
        Some(PhaseReceiver {
            phase: self.phase.clone(),
            _running: self.running.upgrade()?,
        })
    }
}

impl PhaseSender {
    /// Lets the tasks accept: everything has started.
    pub(crate) fn serve(&self) {
        self.phase.send_replace(Phase::Serving);
    }

    /// Orders all tasks to stop accepting and to finish their requests by then, and waits until
    /// they have.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the tasks draining on their own.
    pub(crate) async fn drain(&mut self, until: Instant) {
        self.phase.send_replace(Phase::Draining(until));
        self.running = None;
        self.ended.recv().await;
    }
}

impl PhaseReceiver {
    /// Resolves when everything has started; `false` if it never will.
    async fn started(&mut self) -> bool {
        let phase = self.phase.wait_for(|phase| *phase != Phase::Starting).await;
        phase.is_ok_and(|phase| *phase == Phase::Serving)
    }

    async fn stopped(&mut self) {
        // An error means that the sender is gone, which also ends everything.
        let _ = self
            .phase
            .wait_for(|phase| matches!(phase, Phase::Draining(_)))
            .await;
    }

    /// Returns the deadline of running requests; now if the sender is gone.
    fn deadline(&self) -> Instant {
        match *self.phase.borrow() {
            Phase::Draining(until) => until,
            Phase::Starting | Phase::Serving => Instant::now(),
        }
    }
}

/// Serves a worker's part of the proxy side, from its own thread.
pub(crate) async fn serve_proxy(
    acceptor: Acceptor,
    proxy: Rc<Proxy>,
    counts: Arc<WorkerCounts>,
    limits: Limits,
    mut phases: PhaseReceiver,
) {
    if !phases.started().await {
        return;
    }

    let connections = Connections::new(limits.clone());
    let swept = Rc::clone(&proxy);

    // The pool is swept at every eighth check, because its limits are longer than the clients'.
    let looks = Cell::new(0_u8);
    let watch = Arc::clone(&connections).watch(move || {
        looks.set(looks.get().wrapping_add(1));
        if looks.get().is_multiple_of(8) {
            swept.sweep();
        }
    });
    let watch = tokio::task::spawn_local(watch);

    let imprint = proxy.imprint();
    let take = |stream, address: SocketAddr, seat| {
        counts.accepted();
        let registered = connections.open(seat);
        let state = Arc::clone(registered.state());
        let io = GuardedIo::new(stream, Arc::clone(&state), imprint.clone());
        let (proxy, peer) = (Rc::clone(&proxy), Rc::new(Peer::new(address.ip())));
        let service = service_fn(move |request: Request<Incoming>| {
            let (proxy, peer) = (Rc::clone(&proxy), Rc::clone(&peer));
            proxy.handle(peer, Arc::clone(&state), request)
        });
        let limits = limits.clone();
        tokio::task::spawn_local(serve(io, service, limits, registered));
    };

    acceptor
        .run(phases.stopped(), take, || connections.shed_idle())
        .await;
    end(&connections, phases.deadline(), "proxy").await;
    watch.abort();
}

/// Serves the admin side, or the status side, on the runtime that this is called in.
pub(crate) fn serve_admin(
    side: &'static str,
    acceptor: Acceptor,
    router: axum::Router,
    imprint: Imprint,
    limits: Limits,
    mut phases: PhaseReceiver,
) -> impl Future<Output = ()> + Send {
    let connections = Connections::new(limits.clone());
    async move {
        if !phases.started().await {
            return;
        }

        let watch = tokio::spawn(Arc::clone(&connections).watch(|| {}));
        let take = |stream, address: SocketAddr, seat| {
            let registered = connections.open(seat);
            let state = Arc::clone(registered.state());
            let io = GuardedIo::new(stream, Arc::clone(&state), imprint.clone());
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(address));
                let waiting = Arc::clone(&state);
                let waits = Waits::new(move |wait| waiting.allow(wait));
                request.extensions_mut().insert(waits);

                let answering = state.answering();
                let answer = hyper::service::Service::call(&service, request);
                let state = Arc::clone(&state);
                async move {
                    let answer = answer.await?;
                    // The admin API's bodies are complete, and written with their heads, except for
                    // endless streams.
                    if answer.extensions().get::<Unending>().is_none() {
                        return Ok::<_, Infallible>(answer);
                    }

                    state.unending();
                    Ok(answer.map(|body| {
                        Body::new(body.map_frame(move |frame| {
                            // Owned by the body, so that the request stays open until that ends.
                            let _open = &answering;
                            frame
                        }))
                    }))
                }
            });
            tokio::spawn(serve(io, service, limits.clone(), registered));
        };
        acceptor
            .run(phases.stopped(), take, || connections.shed_idle())
            .await;
        end(&connections, phases.deadline(), side).await;
        watch.abort();
    }
}

async fn end(connections: &Connections, until: Instant, side: &str) {
    let cut = connections.drain(until).await;
    if cut > 0 {
        tracing::warn!(side, connections = cut, "closed with requests unfinished");
    }
}
