//! [`ConnectionState`]: what one connection is doing, as its time limits see it.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use crate::settings::Limits;

/// Between requests: nothing of the next one has arrived.
const IDLE: u8 = 0;
/// A head is awaited: the first one of the connection, or one that has begun to arrive.
const HEAD: u8 = 1;
/// A request is with the service, or its answer is not written out yet.
const SERVING: u8 = 2;
/// The answer is out, and the client gets a moment to read it before the rest of what it sends is
/// met with a reset.
const LINGERING: u8 = 3;

/// How long a connection that is closed with something unread goes on reading.
const LINGER: Duration = Duration::from_secs(2);

const DRAIN: u8 = 1;
const KILL: u8 = 2;

/// Time in milliseconds, as of the last reading of the clock.
#[derive(Debug, Default)]
pub(crate) struct CoarseTime(AtomicU64);

impl CoarseTime {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now, Relaxed);
    }
}

/// What a connection is doing, and the orders it was given.
///
/// All but `orders` is written by the connection's own task, and read periodically by the watch.
/// The watch may see it late, so the loads and stores are relaxed.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    time: Arc<CoarseTime>,
    phase: AtomicU8,
    /// Requests whose answer was not yet handed to the connection in full.
    answering: AtomicU32,
    /// When the request that is being served began.
    began: AtomicU64,
    /// How much longer it may take than other requests, because it asks to wait.
    allowed: AtomicU64,
    /// When the phase began; while serving, when the client last did its part.
    mark: AtomicU64,
    /// The socket takes no more: the client does not read.
    write_stalled: AtomicBool,
    /// The client has announced a body that is being read, and has not sent the rest of it.
    awaiting_body: AtomicBool,
    /// The answer goes on until its client leaves.
    unending: AtomicBool,
    /// The client may still be sending when the connection is closed.
    unread: AtomicBool,
    orders: AtomicU8,
    task: AtomicWaker,
}

impl ConnectionState {
    pub(crate) fn new(time: Arc<CoarseTime>) -> Arc<Self> {
        let mark = AtomicU64::new(time.now());
        Arc::new(Self {
            time,
            phase: AtomicU8::new(HEAD),
            answering: AtomicU32::new(0),
            began: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            mark,
            write_stalled: AtomicBool::new(false),
            awaiting_body: AtomicBool::new(false),
            unending: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            orders: AtomicU8::new(0),
            task: AtomicWaker::new(),
        })
    }

    /// Notes that a request is with the service, until the guard is dropped.
    pub(crate) fn answering(self: &Arc<Self>) -> Answering {
        self.phase.store(SERVING, Relaxed);
        if self.unread.load(Relaxed) {
            self.unread.store(false, Relaxed);
        }
        if self.unending.load(Relaxed) {
            self.unending.store(false, Relaxed);
        }

        if self.allowed.load(Relaxed) > 0 {
            self.allowed.store(0, Relaxed);
        }
        self.touch();
        self.began.store(self.time.now(), Relaxed);
        self.answering
            .store(self.answering.load(Relaxed) + 1, Relaxed);
        Answering(Arc::clone(self))
    }

    /// Returns whether what is written now answers no request that reached the service: hyper
    /// itself refuses one.
    pub(super) fn is_unasked(&self) -> bool {
        self.phase.load(Relaxed) != SERVING
    }

    pub(super) fn received(&self) {
        match self.phase.load(Relaxed) {
            IDLE => {
                self.phase.store(HEAD, Relaxed);
                self.touch();
            }
            SERVING => self.touch(),
            // The limit of a head counts from its first byte, and lingering has an end.
            _ => {}
        }
    }

    /// Notes that all output has been written.
    pub(super) fn flushed(&self) {
        if self.phase.load(Relaxed) == SERVING && self.answering.load(Relaxed) == 0 {
            self.phase.store(IDLE, Relaxed);
            self.touch();
        }
    }

    pub(super) fn set_write_stalled(&self, stalled: bool) {
        if self.write_stalled.load(Relaxed) != stalled {
            self.write_stalled.store(stalled, Relaxed);
            self.touch();
        }
    }

    /// Notes whether the client owes a part of its body.
    pub(crate) fn set_awaiting_body(&self, awaiting: bool) {
        if self.awaiting_body.load(Relaxed) != awaiting {
            self.awaiting_body.store(awaiting, Relaxed);
            self.touch();
        }
    }

    /// Notes that the request asks to wait for this long, so it may take that much longer.
    pub(crate) fn allow(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let allowed = self.allowed.load(Relaxed).saturating_add(wait);
        self.allowed.store(allowed, Relaxed);
    }

    /// Notes that the answer goes on until its client leaves: it is held to no limit as a whole.
    pub(crate) fn unending(&self) {
        self.unending.store(true, Relaxed);
    }

    /// Returns whether an answer that goes on until its client leaves is being written.
    pub(super) fn is_unending(&self) -> bool {
        self.phase.load(Relaxed) == SERVING && self.unending.load(Relaxed)
    }

    /// Returns whether the client owes a part of its body, which is no fault of the upstream's.
    pub(crate) fn is_awaiting_body(&self) -> bool {
        self.awaiting_body.load(Relaxed)
    }

    /// Notes that the client may still be sending when the connection is closed.
    pub(crate) fn linger(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Begins to linger, or goes on. Returns `false` if there is nothing to linger for.
    pub(super) fn begin_lingering(&self) -> bool {
        let lingers = self.unread.load(Relaxed);
        if lingers && self.phase.swap(LINGERING, Relaxed) != LINGERING {
            self.touch();
        }
        lingers
    }

    fn touch(&self) {
        self.mark.store(self.time.now(), Relaxed);
    }

    /// Returns the limit that this connection has passed, if any.
    pub(super) fn overdue(&self, limits: &Limits) -> Option<&'static str> {
        let now = self.time.now();
        let since =
            |mark: &AtomicU64| Duration::from_millis(now.saturating_sub(mark.load(Relaxed)));
        let stalled = self.write_stalled.load(Relaxed) || self.awaiting_body.load(Relaxed);

        let (limit, name) = match self.phase.load(Relaxed) {
            IDLE => (limits.idle_timeout, "idle-timeout"),
            HEAD => (limits.header_timeout, "header-timeout"),
            LINGERING => (LINGER, "linger"),
            _ if !self.unending.load(Relaxed) && since(&self.began) > self.longest(limits) => {
                return Some("request-timeout");
            }
            _ if stalled => (limits.body_timeout, "body-timeout"),
            _ => return None,
        };
        (since(&self.mark) > limit).then_some(name)
    }

    /// Returns how long the request that is served may take as a whole.
    pub(crate) fn longest(&self, limits: &Limits) -> Duration {
        let allowed = Duration::from_millis(self.allowed.load(Relaxed));
        limits.request_timeout.saturating_add(allowed)
    }

    /// Returns since when the connection has been idle; `None` while it is not.
    pub(super) fn idle_since(&self) -> Option<u64> {
        (self.phase.load(Relaxed) == IDLE).then(|| self.mark.load(Relaxed))
    }

    /// Tells the connection to end after the request that it serves.
    pub(super) fn drain(&self) {
        self.order(DRAIN);
    }

    /// Tells the connection to end at once.
    pub(super) fn kill(&self) {
        self.order(KILL);
    }

    fn order(&self, order: u8) {
        self.orders.fetch_max(order, Release);
        self.task.wake();
    }

    /// Registers the connection's task, to be woken by an order.
    pub(super) fn listen(&self, waker: &std::task::Waker) {
        self.task.register(waker);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.orders.load(Acquire) >= DRAIN
    }

    pub(super) fn is_killed(&self) -> bool {
        self.orders.load(Acquire) >= KILL
    }
}

/// A request is being answered for as long as this lives.
#[derive(Debug)]
pub(crate) struct Answering(Arc<ConnectionState>);

impl Drop for Answering {
    fn drop(&mut self) {
        let left = self.0.answering.load(Relaxed).saturating_sub(1);
        self.0.answering.store(left, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> (Arc<CoarseTime>, Arc<ConnectionState>, Limits) {
        let time: Arc<CoarseTime> = Arc::default();
        let state = ConnectionState::new(Arc::clone(&time));
        let limits = crate::Settings::default().limits;
        let request_timeout = Duration::from_secs(1);
        (
            time,
            state,
            Limits {
                request_timeout,
                ..limits
            },
        )
    }

    #[test]
    fn a_request_may_take_as_much_longer_as_it_asks_to_wait_and_the_next_one_may_not() {
        let (time, state, limits) = serving();
        let first = state.answering();
        state.allow(Duration::from_millis(500));
        time.set(1_500);
        assert_eq!(state.overdue(&limits), None);
        time.set(1_501);
        assert_eq!(state.overdue(&limits), Some("request-timeout"));
        drop(first);
        state.flushed();

        let _second = state.answering();
        time.set(1_501 + 1_001);
        assert_eq!(state.overdue(&limits), Some("request-timeout"));
    }

    #[test]
    fn an_answer_that_goes_on_ends_when_its_client_does_not_read() {
        let (time, state, limits) = serving();
        let _stream = state.answering();
        state.unending();
        time.set(1_000_000);
        assert_eq!(state.overdue(&limits), None);
        state.set_write_stalled(true);
        time.set(1_000_000 + 60_001);
        assert_eq!(state.overdue(&limits), Some("body-timeout"));
    }
}
