//! [`ManualClock`]: time that a test drives.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{Clock, Sleep, Tick};
use crate::timestamp::{Timestamp, TimestampMicros};

/// A clock that does not move by itself. Clones share one time.
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
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Mutex<ManualState>>,
}

/// Not zero, so that a tick which is zero by mistake shows.
const START: Tick = Tick(1_000_000_000);
/// The Unix second at which a manual clock starts.
const START_WALL: i64 = 1_700_000_000;

struct ManualState {
    now: Tick,
    next_sleeper: u64,
    sleepers: Vec<Sleeper>,
}

struct Sleeper {
    id: u64,
    deadline: Tick,
    waker: Waker,
}

impl ManualClock {
    /// Makes a clock at tick one second and at the Unix second 1,700,000,000.
    #[must_use]
    pub fn new() -> Self {
        let state = ManualState {
            now: START,
            next_sleeper: 0,
            sleepers: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(state)),
        }
    }

    /// Moves time forward and wakes every sleeper whose deadline was reached.
    ///
    /// # Panics
    ///
    /// When a waker panics, once all of them were woken.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.now = state.now.plus(by);
        let now = state.now;
        let due: Vec<_> = state
            .sleepers
            .extract_if(.., |sleeper| sleeper.deadline <= now)
            .collect();
        drop(state); // a waker may run code that asks this clock for the time

        let mut panicked = None;
        for sleeper in due {
            let woken = catch_unwind(AssertUnwindSafe(|| sleeper.waker.wake()));
            panicked = panicked.or(woken.err());
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    /// Returns how many sleeps are waiting: lets a test await that something has gone to sleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    fn state(&self) -> MutexGuard<'_, ManualState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
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
        let passed = self.now().since(START).as_secs();
        // 2^64 nanoseconds are less than 2^35 seconds.
        Timestamp::from_unix(START_WALL + passed as i64)
    }

    fn wall_micros(&self) -> TimestampMicros {
        let passed = self.now().since(START).as_micros();
        // 2^64 nanoseconds are less than 2^55 microseconds.
        TimestampMicros::from_micros(START_WALL * 1_000_000 + passed as i64)
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
        // Made before the lock is taken: cloning a waker may run foreign code, and so may dropping
        // one.
        let waker = context.waker().clone();
        let forgotten = self.forget();
        drop(forgotten);

        let clock = self.clock.clone();
        let mut state = clock.state();
        if state.now >= self.deadline {
            drop(state);
            return Poll::Ready(());
        }

        let id = state.next_sleeper;
        state.next_sleeper += 1;
        state.sleepers.push(Sleeper {
            id,
            deadline: self.deadline,
            waker,
        });
        self.id = Some(id);

        Poll::Pending
    }
}

impl ManualSleep {
    /// Takes this sleep out of the clock's list; what is returned must be dropped without the lock,
    /// since it may hold the last reference to a task whose own sleeps take the lock when they are
    /// dropped.
    fn forget(&mut self) -> Option<Sleeper> {
        let id = self.id.take()?;
        let mut state = self.clock.state();
        let at = state.sleepers.iter().position(|sleeper| sleeper.id == id)?;
        Some(state.sleepers.swap_remove(at))
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        drop(self.forget());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;
    use crate::error::panic_text;

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

    #[test]
    fn two_sleeps_of_one_task_with_one_deadline_both_end() {
        let clock = ManualClock::new();
        let mut sleeps = [(); 2].map(|()| clock.sleep(Duration::from_secs(2)));
        let mut context = Context::from_waker(Waker::noop());
        for sleep in &mut sleeps {
            assert!(sleep.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(clock.sleepers(), 2);
        let [first, mut second] = sleeps;
        drop(first);
        assert_eq!(clock.sleepers(), 1, "dropping one sleep forgot the other");
        clock.advance(Duration::from_secs(2));
        assert!(second.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn each_of_two_tasks_with_one_deadline_is_woken_once() {
        let clock = ManualClock::new();
        let woken = [(); 2].map(|()| Arc::new(Count::default()));
        let mut sleeps = [(); 2].map(|()| clock.sleep(Duration::from_secs(2)));
        for (sleep, count) in sleeps.iter_mut().zip(&woken) {
            let waker = Waker::from(Arc::clone(count));
            let mut context = Context::from_waker(&waker);
            // A second poll replaces the first one's waker instead of joining it.
            for _ in 0..2 {
                assert!(sleep.as_mut().poll(&mut context).is_pending());
            }
        }
        clock.advance(Duration::from_secs(3));
        clock.advance(Duration::from_secs(3));
        assert_eq!(woken.map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
    }

    #[test]
    fn a_waker_that_panics_leaves_no_other_asleep() {
        struct Panics;

        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }

        let clock = ManualClock::new();
        let count = Arc::new(Count::default());
        let wakers = [Arc::new(Panics).into(), Arc::clone(&count).into()];
        let mut sleeps = [(); 2].map(|()| clock.sleep(Duration::from_secs(1)));
        for (sleep, waker) in sleeps.iter_mut().zip(&wakers) {
            let mut context = Context::from_waker(waker);
            assert!(sleep.as_mut().poll(&mut context).is_pending());
        }

        let advance = || clock.advance(Duration::from_secs(1));
        let panic = catch_unwind(AssertUnwindSafe(advance)).unwrap_err();
        assert_eq!(panic_text(&*panic), "on purpose");
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_waker_that_owns_a_sleep_may_be_dropped_by_the_clock() {
        /// A task whose waker keeps its sleep alive.
        struct Task {
            #[expect(dead_code, reason = "held so that it is dropped with the task")]
            sleep: Mutex<Sleep>,
        }

        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }

        let clock = ManualClock::new();
        let mut outer = clock.sleep(Duration::from_secs(1));
        let mut inner = clock.sleep(Duration::from_secs(1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(inner.as_mut().poll(&mut context).is_pending());
        let waker = Waker::from(Arc::new(Task {
            sleep: Mutex::new(inner),
        }));
        assert!(
            outer
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        drop(outer); // drops the waker, which drops the inner sleep, which takes the lock
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn the_time_of_day_keeps_fractions_of_a_second() {
        let clock = ManualClock::new();
        let before = clock.wall().as_unix();
        for _ in 0..4 {
            clock.advance(Duration::from_millis(500));
        }
        assert_eq!(clock.wall().as_unix(), before + 2);
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
