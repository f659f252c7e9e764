//! [`Watchdog`]: finds handlers that run for too long, while they run.
//!
//! Each thread publishes which handler it runs, in plain stores that cost a nanosecond. The watchdog looks at
//! them from time to time: a call that it has seen at two looks has run at least as long as lies between them.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::clock::Tick;

use crate::{api::bus::WorkerEvents, hub::Hub};

/// One thread's entry.
#[derive(Debug, Default)]
pub(crate) struct ThreadRecord {
    /// The serial of the handler that runs; zero for none.
    handler: AtomicU64,
    /// How many runs of handlers this thread has begun, so that two calls of one handler can be told apart.
    turn: AtomicU64,
}

/// The records of all threads that ever touched a bus and still live.
static THREADS: Mutex<Vec<Weak<ThreadRecord>>> = Mutex::new(Vec::new());

impl ThreadRecord {
    pub(crate) fn register() -> Arc<Self> {
        let record = Arc::new(Self::default());
        let mut threads = THREADS.lock();
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&record));
        record
    }

    /// A run of handlers begins. Only its own thread calls this, so the turn needs no read-modify-write.
    #[inline]
    pub(crate) fn begin(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
    }

    /// The next handler of the run.
    #[inline]
    pub(crate) fn runs(&self, serial: NonZeroU64) {
        self.handler.store(serial.get(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.handler.store(0, Ordering::Release);
    }
}

/// A handler that has been running for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowHandler {
    /// The handler's name.
    pub handler: String,
    /// What it listens to.
    pub listens_to: Vec<String>,
    /// The worker that it runs on; none for one that runs inline.
    pub worker: Option<usize>,
    /// For how long at least this call has been running.
    pub running_for: Duration,
}

/// Looks for handlers of one bus that run for too long; see [`WorkerEvents::watchdog`].
#[derive(Debug)]
pub struct Watchdog {
    hub: Weak<Hub>,
    limit: Duration,
    seen: HashMap<usize, Sighting>,
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    /// Which call: the run, and the handler in it.
    call: (u64, u64),
    since: Tick,
    reported: bool,
}

impl WorkerEvents {
    /// A watchdog for handlers that run longer than `limit`. Nothing watches until it is asked to: run
    /// [`Watchdog::watch`] as a task, or call [`Watchdog::look`] from a loop of your own. Async handlers are not
    /// watched, since they hold nobody up.
    #[must_use]
    pub fn watchdog(&self, limit: Duration) -> Watchdog {
        Watchdog {
            hub: Arc::downgrade(&self.inner.hub),
            limit,
            seen: HashMap::new(),
        }
    }
}

impl Watchdog {
    /// Looks four times within the limit, until the bus is gone or shut down. Slow handlers are logged, each
    /// call once.
    pub async fn watch(mut self) {
        loop {
            let sleep = {
                let Some(hub) = self.hub.upgrade() else {
                    return;
                };
                if hub.is_closed() {
                    return;
                }
                hub.clock.sleep(self.limit / 4)
            };
            sleep.await;
            self.look();
        }
    }

    /// The handlers whose running call was first seen at least the limit ago and not reported before.
    pub fn look(&mut self) -> Vec<SlowHandler> {
        let Some(hub) = self.hub.upgrade() else {
            return Vec::new();
        };
        let now = hub.clock.now();
        let threads: Vec<_> = THREADS.lock().iter().filter_map(Weak::upgrade).collect();
        let mut slow = Vec::new();
        let mut running = HashMap::new();
        for thread in threads {
            let turn = thread.turn.load(Ordering::Acquire);
            let serial = thread.handler.load(Ordering::Acquire);
            let handlers = hub.handlers.lock();
            let Some(handler) = handlers.get(&serial) else {
                continue; // idle, or another bus's
            };
            let place = Arc::as_ptr(&thread).addr();
            let mut sighting = match self.seen.get(&place) {
                Some(known) if known.call == (turn, serial) => *known,
                _ => Sighting {
                    call: (turn, serial),
                    since: now,
                    reported: false,
                },
            };
            let running_for = now.since(sighting.since);
            if running_for >= self.limit && !sighting.reported {
                sighting.reported = true;
                slow.push(SlowHandler {
                    handler: handler.info.name.to_string(),
                    listens_to: handler
                        .info
                        .patterns
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                    worker: handler.worker,
                    running_for,
                });
            }
            running.insert(place, sighting);
        }
        self.seen = running;
        for handler in &slow {
            tracing::warn!(
                handler = handler.handler,
                listens_to = handler.listens_to.join(", "),
                worker = handler.worker,
                running_for = ?handler.running_for,
                "a handler runs for too long"
            );
        }
        slow
    }
}
