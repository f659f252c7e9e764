//! [`Clock`]: time that is passed in as a value, so that tests can drive it by hand.
//!
//! [`SystemClock`] is the real clock. [`ManualClock`] moves only when the test moves it, and wakes
//! the sleepers whose time has come. The workspace measures durations on [`Clock::now`], a
//! monotonic tick; only times for people (`created_at`) come from [`Clock::wall`].

mod manual;
mod timer;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::timestamp::{Timestamp, TimestampMicros};

pub use self::manual::ManualClock;

/// Nanoseconds on a monotonic clock; only differences have a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Returns the tick that lies `after` later; saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// Returns how long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A sleep on a [`Clock`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the monotonic time.
    fn now(&self) -> Tick;

    /// Returns the time of day.
    fn wall(&self) -> Timestamp;

    /// Returns the time of day, at the clock's own resolution.
    fn wall_micros(&self) -> TimestampMicros {
        self.wall().into()
    }

    /// Resolves once [`now`](Self::now) has reached `deadline`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the sleep.
    fn sleep_until(&self, deadline: Tick) -> Sleep;

    /// Resolves once `duration` has passed.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().plus(duration))
    }
}

/// The clock of the machine.
///
/// Inside a tokio runtime, its sleeps use the runtime's timer, which must be enabled. Elsewhere,
/// one thread for the whole process wakes them, so plain threads can wait too.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Makes a clock that starts counting now.
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

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    fn wall_micros(&self) -> TimestampMicros {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        TimestampMicros::from_micros(micros)
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        // The deadline is fixed here, not at the first poll; the timer is looked up when polled, so
        // that making a sleep needs no runtime.
        let deadline = self.start.checked_add(Duration::from_nanos(deadline.0));
        Box::pin(async move {
            match deadline {
                // Asked at the first poll only: a task stays in its runtime.
                Some(deadline) if tokio::runtime::Handle::try_current().is_ok() => {
                    tokio::time::sleep_until(deadline.into()).await;
                }
                Some(deadline) => timer::TimerSleep::new(deadline).await,
                None => std::future::pending().await, // later than the machine's clock can count
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_saturate() {
        let last = Tick::default().plus(Duration::MAX);
        assert_eq!(last, Tick(u64::MAX));
        assert_eq!(last.plus(Duration::from_secs(1)), last);
        assert_eq!(Tick(1).since(Tick(2)), Duration::ZERO);
    }

    #[test]
    fn a_sleep_of_the_machines_clock_can_be_made_without_a_runtime() {
        let clock = SystemClock::new();
        drop(clock.sleep_until(Tick(u64::MAX)));
        drop(clock.sleep(Duration::MAX));
    }

    #[test]
    fn a_sleep_ends_on_a_thread_without_a_runtime() {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);

        let clock = SystemClock::new();
        let after = Duration::from_millis(2);
        let deadline = clock.now().plus(after);
        let mut sleep = clock.sleep_until(deadline);
        let dropped = clock
            .sleep(Duration::from_secs(3_600))
            .as_mut()
            .poll(&mut context);
        assert!(dropped.is_pending());
        while sleep.as_mut().poll(&mut context).is_pending() {
            std::thread::park();
        }
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn a_sleep_whose_deadline_passed_before_it_was_polled_ends_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let clock = SystemClock::new();
        let passed = clock.sleep_until(clock.now());
        runtime.block_on(async {
            // The timer does not move, so a sleep that lies ahead would be pending at its first
            // poll.
            let first_poll = std::future::poll_fn(|context| {
                std::task::Poll::Ready(clock.sleep(Duration::from_secs(60)).as_mut().poll(context))
            });
            assert!(first_poll.await.is_pending());
            passed.await;
        });
    }
}
