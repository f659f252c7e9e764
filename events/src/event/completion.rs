//! [`Completion`]: which handlers are not done with an event yet. Events that no one can ask about
//! have none.

use std::{sync::OnceLock, task::Waker};

use crate::{
    error::Refusal,
    faults::{self, Step},
    isolate::{discard, wake},
    sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering},
};

/// The most workers that a bus can have: one bit each in every event.
pub const MAX_WORKERS: usize = 128;

/// Counts down from the moment an event is accepted until all its handlers have run.
///
/// `left` starts at one for the dispatch itself, which adds one per worker and async handler
/// *before* the event is handed over and takes its own away last; so it reaches zero once, when no
/// handler is left.
#[derive(Debug)]
pub(crate) struct Completion {
    left: AtomicU32,
    dispatched: AtomicBool,
    workers: [AtomicU64; MAX_WORKERS / 64],
    /// How many workers and async handlers will never handle it, because their queue was full or
    /// their runtime ended. Written before `left` can reach zero.
    missed: AtomicU32,
    /// Why no listener received it, if none did.
    refusal: OnceLock<Refusal>,
    waker: Mutex<Option<Waker>>,
}

impl Completion {
    pub(crate) fn new() -> Self {
        Self {
            left: AtomicU32::new(1),
            dispatched: AtomicBool::new(false),
            workers: [const { AtomicU64::new(0) }; MAX_WORKERS / 64],
            missed: AtomicU32::new(0),
            refusal: OnceLock::new(),
            waker: Mutex::new(None),
        }
    }

    /// Counts worker `index`, before the event goes into its mailbox.
    pub(crate) fn expect_worker(&self, index: usize) {
        self.workers[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn worker_done(&self, index: usize) {
        self.workers[index / 64].fetch_and(!(1 << (index % 64)), Ordering::Release);
        self.one_done();
    }

    /// Notes that a worker or an async handler will never handle it.
    pub(crate) fn missed_by_one(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many workers and async handlers missed it.
    pub(crate) fn missed(&self) -> u32 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Notes that no listener will receive it.
    pub(crate) fn refused(&self, refusal: Refusal) {
        // Set once: an event is either dispatched or discarded.
        let _: Result<(), Refusal> = self.refusal.set(refusal);
        self.dispatched();
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.get()
    }

    /// Counts an async handler, before the event goes into its queue.
    pub(crate) fn expect_task(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn task_done(&self) {
        self.one_done();
    }

    /// Notes that the inline handlers have run, and that workers and queues have the event.
    pub(crate) fn dispatched(&self) {
        self.dispatched.store(true, Ordering::Release);
        self.one_done();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Keeps a waker for the end; returns whether everything is done already.
    pub(crate) fn wake_when_done(&self, waker: &Waker) -> bool {
        let new = waker.clone(); // with no lock held, as is the drop of the one that it replaces
        let slot = self.waker.lock();
        // Read under the lock: the handler that counts to zero takes the lock afterwards, and finds
        // the waker.
        if self.is_done() {
            return true;
        }

        let mut slot = faults::window(Step::SleepHoldsLock, slot, &self.waker);
        let old = slot.replace(new);
        drop(slot);
        discard("a waker", old);
        false
    }

    pub(crate) fn was_dispatched(&self) -> bool {
        self.dispatched.load(Ordering::Acquire)
    }

    /// Returns the workers that have not handled it, and the number of async handlers that have
    /// not.
    pub(crate) fn missing(&self) -> (Vec<usize>, usize) {
        let workers: Vec<_> = (0..MAX_WORKERS)
            .filter(|index| {
                let mask = self.workers[index / 64].load(Ordering::Acquire);
                mask & (1 << (index % 64)) != 0
            })
            .collect();
        let left = self.left.load(Ordering::Acquire) as usize;
        let known = workers.len() + usize::from(!self.was_dispatched());
        (workers, left.saturating_sub(known))
    }

    fn one_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Taken out first: no lock is held while a waker runs.
            let waker = self.waker.lock().take();
            if let Some(waker) = waker {
                wake(waker);
            }
        }
    }
}
