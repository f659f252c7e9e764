//! Which handler each thread runs, for those who look from outside.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use std::sync::atomic::{AtomicU64, Ordering};

/// One thread's entry. The thread writes plain stores, so that a dispatch pays a nanosecond for being watched.
#[derive(Debug, Default)]
pub(crate) struct ThreadRecord {
    /// The serial of the handler that runs; zero for none.
    handler: AtomicU64,
    /// How many handlers this thread has begun, so that two calls of one handler can be told apart.
    turn: AtomicU64,
}

static THREADS: Mutex<Vec<Weak<ThreadRecord>>> = Mutex::new(Vec::new());

impl ThreadRecord {
    pub(crate) fn register() -> Arc<Self> {
        let record = Arc::new(Self::default());
        let mut threads = THREADS.lock();
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&record));
        record
    }

    /// Only its own thread calls this, so the turn needs no read-modify-write.
    #[inline]
    pub(crate) fn begin(&self, serial: u64) {
        self.turn
            .store(self.turn.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.handler.store(serial, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.handler.store(0, Ordering::Relaxed);
    }
}
