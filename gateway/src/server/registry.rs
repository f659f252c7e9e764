//! [`Connections`]: the open connections of one accept loop, and what ends them.

use std::{
    collections::HashMap,
    error::Error as StdError,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use parking_lot::Mutex;
use tidings::core::Chain;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{ConnectionState, GuardedIo, connection::CoarseTime, listener::Seat};
use crate::settings::Limits;

/// How long a drain gives streams that go on until their clients leave to write their last frame.
const LAST_FRAME: Duration = Duration::from_millis(250);

/// The clock of the clients' time limits, which stops while this process is paused.
///
/// A process that is paused (a debugger, a frozen container, a laptop's lid) finds every client
/// late when it resumes, with their requests waiting in its sockets. So a pause counts as two
/// checks.
#[derive(Debug)]
struct Pace {
    coarse: Duration,
    last: Instant,
    most: Duration,
}

impl Pace {
    fn new(now: Instant, period: Duration) -> Self {
        Self {
            coarse: Duration::ZERO,
            last: now,
            most: period * 2,
        }
    }

    /// Returns the milliseconds that clients have had so far.
    fn advance(&mut self, now: Instant) -> u64 {
        self.coarse += now.saturating_duration_since(self.last).min(self.most);
        self.last = now;
        u64::try_from(self.coarse.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The open connections of one accept loop.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: Limits,
    time: Arc<CoarseTime>,
    /// Locked when a connection opens or ends and by the watch, never during a request.
    open: Mutex<HashMap<u64, Arc<ConnectionState>>>,
    next: AtomicU64,
    closed: Notify,
}

/// A connection's entry; removed when dropped, even by a panic of its task.
#[derive(Debug)]
pub(crate) struct Registered {
    connections: Arc<Connections>,
    id: u64,
    state: Arc<ConnectionState>,
    _seat: Seat,
}

impl Connections {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            time: Arc::default(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            closed: Notify::new(),
        })
    }

    pub(crate) fn open(self: &Arc<Self>, seat: Seat) -> Registered {
        let id = self.next.fetch_add(1, Relaxed);
        let state = ConnectionState::new(Arc::clone(&self.time));
        self.open.lock().insert(id, Arc::clone(&state));
        Registered {
            connections: Arc::clone(self),
            id,
            state,
            _seat: seat,
        }
    }

    /// Keeps the coarse time and closes connections that are past a limit. Never ends; dropped with
    /// its task.
    pub(crate) async fn watch(self: Arc<Self>, mut each: impl FnMut()) {
        let period = self.period();
        let mut pace = Pace::new(Instant::now(), period);
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);

        loop {
            tick.tick().await;
            self.time.set(pace.advance(Instant::now()));
            for (id, state) in &*self.open.lock() {
                if let Some(limit) = state.overdue(&self.limits) {
                    tracing::debug!(connection = id, limit, "connection closed: past a limit");
                    state.kill();
                }
            }
            each();
        }
    }

    /// Tells all connections to end after the request they serve, and waits for that; the rest are
    /// closed at `deadline`. Returns how many had to be closed then.
    ///
    /// An answer that goes on until its client leaves has no end to wait for: it gets a moment for
    /// its last frame, which a client that does not read does not take, and is cut.
    pub(crate) async fn drain(&self, deadline: Instant) -> usize {
        for state in self.open.lock().values() {
            state.drain();
        }

        loop {
            let moment = deadline.min(Instant::now() + LAST_FRAME);
            let emptied = tokio::time::timeout_at(moment, self.emptied());
            if emptied.await.is_ok() {
                return 0;
            }
            if moment == deadline {
                break;
            }
            self.cut_unending();
        }

        let late: Vec<Arc<ConnectionState>> = self.open.lock().values().cloned().collect();
        for state in &late {
            state.kill();
        }
        late.len()
    }

    /// Closes the connection that has been idle for longest, to make room for a new one.
    pub(crate) fn shed_idle(&self) {
        let open = self.open.lock();
        let longest = open
            .values()
            .filter_map(|state| Some((state.idle_since()?, Arc::clone(state))))
            .min_by_key(|(since, _)| *since);
        drop(open);
        if let Some((_, state)) = longest {
            state.drain();
        }
    }

    /// Closes the connections whose answer goes on until its client leaves.
    fn cut_unending(&self) {
        let open = self.open.lock();
        let unending = open.iter().filter(|(_, state)| state.is_unending());
        let unending: Vec<_> = unending
            .map(|(id, state)| (*id, Arc::clone(state)))
            .collect();
        drop(open);

        for (id, state) in unending {
            tracing::debug!(connection = id, "connection closed: its stream is not read");
            state.kill();
        }
    }

    async fn emptied(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open.lock().is_empty() {
                return;
            }
            closed.await;
        }
    }

    /// Returns the time between checks of the marks: short enough for the shortest limit, and no
    /// shorter.
    fn period(&self) -> Duration {
        let limits = &self.limits;
        let shortest = limits
            .header_timeout
            .min(limits.idle_timeout)
            .min(limits.request_timeout)
            .min(limits.body_timeout);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

impl Registered {
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.id);
        self.connections.closed.notify_one();
    }
}

/// Serves one connection until it ends, is ordered to end, or is past a limit.
pub(crate) async fn serve<S, B>(io: GuardedIo, service: S, limits: Limits, registered: Registered)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let state = registered.state();
    let mut connection = pin!(
        http1::Builder::new()
            .max_header_size(limits.header_size)
            // Holds a head of the allowed size, and bounds what a streamed body buffers.
            .max_buf_size(limits.header_size.saturating_add(16 << 10))
            // A client that has sent its request and closes its side still waits for the answer.
            .half_close(true)
            .serve_connection(io, service)
    );

    let mut told = false;
    let ended = poll_fn(|cx| {
        state.listen(cx.waker());
        if state.is_killed() {
            return Poll::Ready(Ok(()));
        }

        let polled = connection.as_mut().poll(cx);
        if polled.is_pending() && state.is_draining() && !told {
            // Polled first, so that a request that has arrived already is still taken in.
            told = true;
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(cx);
        }

        polled
    });

    if let Err(error) = ended.await {
        tracing::debug!(error = %Chain(&error), "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, server::listener::Seats};

    #[tokio::test]
    async fn a_drain_cuts_a_stream_that_is_not_read_and_waits_for_a_request() {
        let connections = Connections::new(Settings::default().limits);
        let seats = Seats::new(1, 2);
        let mut open = Vec::new();
        for _ in 0..2 {
            let room = seats.room().unwrap();
            open.push(connections.open(seats.take(0, room)));
        }
        let (request, stream) = (open.pop().unwrap(), open.pop().unwrap());
        let _answering = [stream.state().answering(), request.state().answering()];
        stream.state().unending();

        let draining = Arc::clone(&connections);
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let drain = tokio::spawn(async move { draining.drain(deadline).await });
        let told = poll_fn(|cx| {
            stream.state().listen(cx.waker());
            if stream.state().is_killed() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        told.await;
        assert!(!request.state().is_killed());
        drop(stream);
        tokio::task::yield_now().await;
        assert!(!drain.is_finished());
        drop(request);
        assert_eq!(drain.await.unwrap(), 0);
    }

    #[test]
    fn a_pause_of_the_process_is_no_lateness_of_its_clients() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::from_secs(1));
        assert_eq!(pace.advance(start + Duration::from_secs(1)), 1_000);
        assert_eq!(pace.advance(start + Duration::from_secs(3_601)), 3_000);
        assert_eq!(pace.advance(start + Duration::from_secs(3_602)), 4_000);
    }
}
