//! [`Live`]: a value that a reload replaces while requests read it.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Acquire, Ordering::Release},
    },
};

use parking_lot::Mutex;

/// A value that can be replaced. Clones share it.
#[derive(Debug)]
pub(crate) struct Live<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    /// How many times the value was replaced.
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

/// One thread's view of a [`Live`] value. As long as the value is not replaced, reading it costs
/// one atomic load.
#[derive(Debug)]
pub(crate) struct View<T> {
    live: Live<T>,
    seen: Cell<u64>,
    value: RefCell<Arc<T>>,
}

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            version: AtomicU64::new(0),
            value: Mutex::new(Arc::new(value)),
        }))
    }

    /// Replaces the value: every read that begins afterwards finds the new one.
    pub(crate) fn replace(&self, value: T) {
        let value = Arc::new(value);
        // The version is raised under the lock, so that a view pairs a version with its value or an
        // older version with a newer value, which it then reads once more.
        let mut current = self.0.value.lock();
        let old = std::mem::replace(&mut *current, value);
        self.0.version.fetch_add(1, Release);
        drop(current);
        drop(old);
    }

    pub(crate) fn view(&self) -> View<T> {
        let seen = self.0.version.load(Acquire);
        let value = Arc::clone(&self.0.value.lock());
        View {
            live: self.clone(),
            seen: Cell::new(seen),
            value: RefCell::new(value),
        }
    }
}

impl<T> View<T> {
    /// Reads the value as it is now. The function must not read it again.
    pub(crate) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let version = self.live.0.version.load(Acquire);
        if version != self.seen.get() {
            let value = Arc::clone(&self.live.0.value.lock());
            self.seen.set(version);
            let old = self.value.replace(value);
            drop(old);
        }
        read(&self.value.borrow())
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_follows_what_is_replaced() {
        let live = Live::new(1);
        let view = live.view();
        assert_eq!(view.with(|value| *value), 1);
        live.replace(2);
        live.replace(3);
        assert_eq!(view.with(|value| *value), 3);
        assert_eq!(live.view().with(|value| *value), 3);
    }
}
