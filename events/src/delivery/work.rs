//! [`Work`]: counts the work in progress on a bus, so that a shutdown knows when all has ended.

use std::pin::pin;

use tokio::sync::Notify;

use crate::{
    isolate,
    sync::{AtomicBool, AtomicU64, Ordering, fence},
};

/// A shutdown sets `closed` and then looks for work; what ends some work notes that first and then
/// looks at `closed`. One of the two must see the other, or the shutdown waits until its deadline:
/// so both sides are sequentially consistent, or under one lock.
#[derive(Default)]
pub(crate) struct Work {
    /// Whether new events are refused.
    closed: AtomicBool,
    /// Events that async handlers have accepted and not finished.
    tasks: AtomicU64,
    /// Accepted events that not all of their listeners will get: the bus was shut down, handlers
    /// post in a cycle, or a runtime ended under its handlers.
    lost: AtomicU64,
    /// Notified when the bus may have become idle; only a shutdown listens.
    idle: Notify,
}

impl Work {
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) // as cheap as an acquiring load
    }

    pub(crate) fn begin_task(&self) {
        self.tasks.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_task(&self) {
        self.tasks.fetch_sub(1, Ordering::SeqCst);
        self.ended();
    }

    pub(crate) fn has_tasks(&self) -> bool {
        self.tasks.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Reports that some work has ended. A shutdown then checks whether it was the last.
    pub(crate) fn ended(&self) {
        if self.is_closed() {
            isolate::notify(&self.idle);
        }
    }

    /// Does the same after work whose end is noted by a plain store, outside of any lock.
    pub(crate) fn ended_unlocked(&self) {
        fence(Ordering::SeqCst);
        self.ended();
    }

    /// Waits until `done` returns true. It is called again whenever work has ended.
    pub(crate) async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.idle.notified());
            // Listens before it checks, so that it misses no end in between.
            changed.as_mut().enable();
            fence(Ordering::SeqCst);
            if done() {
                return;
            }
            changed.await;
        }
    }
}
