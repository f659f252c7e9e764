//! [`Watchdog`]: finds handlers that run for too long, while they run.
//!
//! Each thread publishes which handler it runs, in plain stores that cost a nanosecond. The
//! watchdog reads them from time to time. A call that it has seen twice has been running at least
//! for the time between the two.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use tidings_core::clock::Tick;

use crate::{
    api::bus::WorkerEvents,
    channel::keep_alive::BusKeepAlive,
    isolate::quietly,
    route::registry::RegisteredHandler,
    thread::record::{Call, ThreadRecord},
};

/// The least time between two checks of [`Watchdog::watch`].
const SHORTEST: Duration = Duration::from_millis(1);

/// A handler that has been running for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowHandler {
    /// The handler's name.
    pub handler: String,
    /// The channels that it listens to.
    pub listens_to: Vec<String>,
    /// The worker that it runs on; `None` if it runs inline.
    pub worker: Option<usize>,
    /// The time for which this call has been running, at least.
    pub running_for: Duration,
}

/// Finds handlers of one bus that run for too long; see [`WorkerEvents::watchdog`].
pub struct Watchdog {
    alive: Weak<BusKeepAlive>,
    limit: Duration,
    /// By thread: the address of its record.
    seen: HashMap<usize, Observation>,
}

#[derive(Clone, Copy, Debug)]
struct Observation {
    call: Call,
    since: Tick,
    reported: bool,
}

impl WorkerEvents {
    /// Makes a watchdog for handlers that run longer than `limit`. It watches only when you ask it
    /// to: run [`Watchdog::watch`] as a task, or call [`Watchdog::look`] from a loop of your own.
    /// It does not watch async handlers, since they block no thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_events::WorkerEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let watchdog = bus.watchdog(Duration::from_millis(200));
    /// tokio::spawn(watchdog.watch()); // logs each slow call once, until the bus is shut down
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn watchdog(&self, limit: Duration) -> Watchdog {
        Watchdog {
            alive: self.bus().alive(),
            limit,
            seen: HashMap::new(),
        }
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Watchdog {
    /// Checks four times within the limit, and at most once per millisecond, until the last handle
    /// of the bus is dropped or the bus is shut down. Logs each slow call once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the watch, and nothing else.
    pub async fn watch(mut self) {
        loop {
            let sleep = {
                let Some(alive) = self.alive.upgrade() else {
                    return;
                };
                let hub = &alive.0;
                if hub.is_closed() {
                    return;
                }
                hub.clock().sleep((self.limit / 4).max(SHORTEST))
            };
            sleep.await;
            self.look();
        }
    }

    /// Returns the handlers whose running call was first seen at least the limit ago and was not
    /// reported before.
    pub fn look(&mut self) -> Vec<SlowHandler> {
        let Some(alive) = self.alive.upgrade() else {
            return Vec::new();
        };
        let hub = &alive.0;
        let now = hub.clock().now();

        let mut slow = Vec::new();
        let mut running = HashMap::new();
        for thread in ThreadRecord::all() {
            let call = thread.call();
            let Some(handler) = hub.registry().described(call.handler) else {
                continue; // idle, or another bus's
            };
            let place = Arc::as_ptr(&thread).addr();
            let mut observation = self.observation(place, call, now);

            let running_for = now.since(observation.since);
            if running_for >= self.limit && !observation.reported {
                observation.reported = true;
                slow.push(SlowHandler::new(&handler, running_for));
            }
            running.insert(place, observation);
        }
        self.seen = running;

        for handler in &slow {
            handler.log();
        }
        slow
    }

    /// Returns the record of a call, which may be seen for the first time.
    fn observation(&self, place: usize, call: Call, now: Tick) -> Observation {
        match self.seen.get(&place) {
            Some(known) if known.call == call => *known,
            _ => Observation {
                call,
                since: now,
                reported: false,
            },
        }
    }
}

impl SlowHandler {
    fn new(handler: &RegisteredHandler, running_for: Duration) -> Self {
        let patterns = handler.info.patterns.iter();
        Self {
            handler: handler.info.name.to_string(),
            listens_to: patterns.map(ToString::to_string).collect(),
            worker: handler.worker,
            running_for,
        }
    }

    fn log(&self) {
        quietly(|| {
            tracing::warn!(
                handler = self.handler,
                listens_to = self.listens_to.join(", "),
                worker = self.worker,
                running_for = ?self.running_for,
                "a handler runs for too long"
            );
        });
    }
}
