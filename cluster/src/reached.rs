//! [`Reached`]: how far a node has got, and the callers that wait until it is further.
//!
//! Whatever waits is woken in the order in which it came. A watch channel wakes it in an order of
//! chance, so that a simulation would not repeat itself.

use parking_lot::Mutex;
use tidings_core::log::Cursor;
use tokio::sync::Notify;

/// A cursor that moves; none at the beginning.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    cursor: Mutex<Option<Cursor>>,
    moved: Notify,
}

impl Reached {
    /// Moves the cursor, and wakes whatever waits for that.
    pub(crate) fn set(&self, cursor: Cursor) {
        let before = self.cursor.lock().replace(cursor);
        drop(before);
        self.moved.notify_waiters();
    }

    /// Returns the cursor.
    pub(crate) fn get(&self) -> Option<Cursor> {
        self.cursor.lock().clone()
    }

    /// Returns whether the cursor is there and holds.
    pub(crate) fn is(&self, holds: impl FnOnce(&Cursor) -> bool) -> bool {
        self.cursor.lock().as_ref().is_some_and(holds)
    }

    /// Waits until the cursor holds, and returns it.
    pub(crate) async fn until(&self, holds: impl Fn(&Cursor) -> bool) -> Cursor {
        loop {
            // First, or a move between the look and the wait would be missed.
            let moved = self.moved.notified();
            if let Some(cursor) = self.get().filter(&holds) {
                return cursor;
            }
            moved.await;
        }
    }
}
