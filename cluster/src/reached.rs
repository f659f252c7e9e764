//! [`Reached`]: how far a node has come, and the callers that wait until it is further. [`Passes`]:
//! which of its reads it has applied.
//!
//! Whatever waits is woken in the order in which it came. A watch channel wakes it in an order of
//! chance, so that a simulation would not repeat itself.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidings_core::log::Cursor;
use tokio::sync::Notify;

/// A cursor, or something else that moves; `None` at the beginning.
#[derive(Debug)]
pub(crate) struct Reached<T = Cursor> {
    cursor: Mutex<Option<T>>,
    moved: Notify,
}

impl<T> Default for Reached<T> {
    fn default() -> Self {
        Self {
            cursor: Mutex::new(None),
            moved: Notify::new(),
        }
    }
}

impl<T: Clone> Reached<T> {
    /// Moves the cursor, and wakes whatever waits for that.
    pub(crate) fn set(&self, cursor: T) {
        let before = self.cursor.lock().replace(cursor);
        drop(before);
        self.moved.notify_waiters();
    }

    /// Returns the cursor.
    pub(crate) fn get(&self) -> Option<T> {
        self.cursor.lock().clone()
    }

    /// Returns whether there is a cursor that meets the condition.
    pub(crate) fn is(&self, holds: impl FnOnce(&T) -> bool) -> bool {
        self.cursor.lock().as_ref().is_some_and(holds)
    }

    /// Waits until the cursor meets the condition, and returns it.
    pub(crate) async fn until(&self, holds: impl Fn(&T) -> bool) -> T {
        loop {
            // First, or a move between the check and the wait would be missed.
            let moved = self.moved.notified();
            if let Some(cursor) = self.get().filter(&holds) {
                return cursor;
            }
            moved.await;
        }
    }
}

/// Counts the reads of a node's tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pass(u64);

/// The reads that the tail has begun, and the last of those that the node has applied.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    begun: AtomicU64,
    applied: Reached<Pass>,
}

impl Passes {
    /// Counts a read that is about to begin.
    pub(crate) fn begin(&self) -> Pass {
        Pass(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Returns the last read that has begun.
    pub(crate) fn last(&self) -> Pass {
        Pass(self.begun.load(Ordering::SeqCst))
    }

    /// Notes that everything that there was to read at this read is applied.
    pub(crate) fn set_applied(&self, pass: Pass) {
        self.applied.set(pass);
    }

    /// Returns whether a read that has begun later is applied.
    pub(crate) fn is_later(&self, pass: Pass) -> bool {
        self.applied.is(|applied| *applied > pass)
    }

    /// Waits until a read that has begun later is applied.
    pub(crate) async fn until_later(&self, pass: Pass) {
        self.applied.until(|applied| *applied > pass).await;
    }
}
