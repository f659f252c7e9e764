//! Time as a value that is passed in, so that tests drive it by hand.
//!
//! [`SystemClock`] is the real one; [`ManualClock`] moves only when it is told to, and wakes the sleepers
//! whose time has come. Durations inside the workspace are measured on [`Clock::now`], a monotonic tick; only
//! what people see (`created_at`) comes from [`Clock::wall`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::Timestamp;

/// Nanoseconds on a clock of its own; only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick that lies `after` later; saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A sleep on a [`Clock`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The monotonic time.
    fn now(&self) -> Tick;

    /// The time of day.
    fn wall(&self) -> Timestamp;

    /// Resolves once [`now`](Self::now) has reached `deadline`.
    ///
    /// Cancel safe: dropping the future forgets the sleep.
    fn sleep_until(&self, deadline: Tick) -> Sleep;

    /// Resolves once `duration` has passed.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().plus(duration))
    }
}

/// The clock of the machine. Its sleeps must be polled inside a tokio runtime with the timer on.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts counting now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Tick {
        Tick::default().plus(self.start.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        let left = deadline.since(self.now());
        // The timer is looked up when polled, so that making a sleep needs no runtime.
        Box::pin(async move { tokio::time::sleep(left).await })
    }
}

/// A clock that stands still until it is moved. Clones share one time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_core::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().since(before), Duration::from_secs(5));
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    shared: Arc<Mutex<ManualState>>,
}

#[derive(Default)]
struct ManualState {
    now: Tick,
    wall: i64,
    next_sleeper: u64,
    sleepers: Vec<Sleeper>,
}

struct Sleeper {
    id: u64,
    deadline: Tick,
    waker: Waker,
}

impl ManualClock {
    /// A clock at tick one second and at the Unix second 1,700,000,000.
    #[must_use]
    pub fn new() -> Self {
        let state = ManualState {
            now: Tick(1_000_000_000),
            wall: 1_700_000_000,
            next_sleeper: 0,
            sleepers: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// Moves time forward and wakes every sleeper whose deadline was reached.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.now = state.now.plus(by);
        state.wall = state
            .wall
            .saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
        let now = state.now;
        let due: Vec<_> = state
            .sleepers
            .extract_if(.., |sleeper| sleeper.deadline <= now)
            .collect();
        drop(state); // a waker may run code that asks this clock for the time
        for sleeper in due {
            sleeper.waker.wake();
        }
    }

    /// How many sleeps are waiting: lets a test await that something has gone to sleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    fn state(&self) -> MutexGuard<'_, ManualState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        self.state().now
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_unix(self.state().wall)
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        Box::pin(ManualSleep {
            clock: self.clone(),
            deadline,
            id: None,
        })
    }
}

struct ManualSleep {
    clock: ManualClock,
    deadline: Tick,
    /// The entry in the clock's list of sleepers, while there is one.
    id: Option<u64>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.clock.shared);
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.id.take();
        state.sleepers.retain(|sleeper| Some(sleeper.id) != id);
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        let id = state.next_sleeper;
        state.next_sleeper += 1;
        let waker = context.waker().clone();
        state.sleepers.push(Sleeper {
            id,
            deadline: self.deadline,
            waker,
        });
        self.id = Some(id);
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        let id = self.id.take();
        self.clock
            .state()
            .sleepers
            .retain(|sleeper| Some(sleeper.id) != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::new();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::new();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        assert!(
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(clock.sleepers(), 1);
        drop(sleep);
        assert_eq!(clock.sleepers(), 0);
    }
}
