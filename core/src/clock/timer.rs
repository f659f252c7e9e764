//! Sleeps of the machine's clock on threads that are in no runtime: one thread for the whole
//! process, started by the first of them.
//!
//! It sleeps until the earliest deadline, and wakes its callers with no lock held; a waker that
//! panics leaves no other asleep.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Condvar, Mutex, MutexGuard, Once, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

static TIMER: Timer = Timer {
    sleepers: Mutex::new(Sleepers {
        waiting: BTreeMap::new(),
        next: 0,
    }),
    changed: Condvar::new(),
    started: Once::new(),
};

struct Timer {
    sleepers: Mutex<Sleepers>,
    /// Notified of each new deadline, which may be the earliest.
    changed: Condvar,
    started: Once,
}

struct Sleepers {
    /// By deadline, and by a number that differs between sleeps of one deadline.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        // Nothing under this lock can panic half-way.
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&'static self) {
        // Once, but for attempts that failed: the system may have room for a thread later.
        self.started.call_once_force(|_| {
            let thread = std::thread::Builder::new().name("tidings-timer".into());
            thread
                .spawn(|| self.run())
                .expect("the system has room for one more thread");
        });
    }

    fn run(&self) {
        let mut sleepers = self.lock();
        loop {
            let now = Instant::now();
            let later = sleepers.waiting.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut sleepers.waiting, later);
            if !due.is_empty() {
                drop(sleepers); // a waker may run code that sleeps again
                for waker in due.into_values() {
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                sleepers = self.lock();
                continue;
            }

            sleepers = match sleepers.waiting.first_key_value() {
                None => self
                    .changed
                    .wait(sleepers)
                    .unwrap_or_else(PoisonError::into_inner),
                Some((&(deadline, _), _)) => {
                    let left = deadline.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(sleepers, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A sleep that the timer's thread ends.
pub(super) struct TimerSleep {
    deadline: Instant,
    place: Option<u64>,
}

impl TimerSleep {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            place: None,
        }
    }
}

impl Future for TimerSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= Instant::now() {
            return Poll::Ready(());
        }
        TIMER.start();
        let waker = context.waker().clone(); // with no lock held

        let mut sleepers = TIMER.lock();
        let place = self.place.unwrap_or_else(|| {
            sleepers.next += 1;
            sleepers.next
        });
        let old = sleepers.waiting.insert((self.deadline, place), waker);
        drop(sleepers);

        self.place = Some(place);
        TIMER.changed.notify_one();
        drop(old); // a waker's drop may run code of its executor
        Poll::Pending
    }
}

impl Drop for TimerSleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = TIMER.lock().waiting.remove(&(self.deadline, place));
            drop(waker);
        }
    }
}
