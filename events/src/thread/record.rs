//! [`ThreadRecord`]: which handler a thread runs, as a watchdog on another thread can see it.

use std::{
    num::NonZeroU64,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

// Not the one of `crate::sync`: a static outlives a model's run.
use parking_lot::Mutex;

/// One thread's entry, written in plain stores that cost a nanosecond.
#[derive(Debug, Default)]
pub(crate) struct ThreadRecord {
    /// The serial of the handler that runs; zero for none.
    handler: AtomicU64,
    /// How many runs of handlers this thread has begun, so that two calls of one handler can be
    /// told apart.
    turn: AtomicU64,
}

/// One call of a handler: the run that it belongs to, and the handler's serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) turn: u64,
    pub(crate) handler: u64,
}

/// The records of all threads that ever touched a bus and are still alive.
static THREADS: Mutex<Vec<Weak<ThreadRecord>>> = Mutex::new(Vec::new());

impl ThreadRecord {
    pub(crate) fn register() -> Arc<Self> {
        let record = Arc::new(Self::default());

        let mut threads = THREADS.lock();
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&record));

        record
    }

    /// Returns the records of the threads that are alive now.
    pub(crate) fn all() -> Vec<Arc<Self>> {
        THREADS.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Begins a run of handlers. Only its own thread calls this, so the turn needs no
    /// read-modify-write.
    #[inline]
    pub(crate) fn begin(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
    }

    /// Notes the next handler of the run.
    #[inline]
    pub(crate) fn runs(&self, serial: NonZeroU64) {
        self.handler.store(serial.get(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.handler.store(0, Ordering::Release);
    }

    /// Returns the call under way; its handler is zero where there is none.
    pub(crate) fn call(&self) -> Call {
        Call {
            turn: self.turn.load(Ordering::Acquire),
            handler: self.handler.load(Ordering::Acquire),
        }
    }
}
