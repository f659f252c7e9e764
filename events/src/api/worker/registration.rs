//! [`LocalRegistration`]: the guard of a worker's own handlers.

use std::{
    fmt, mem,
    rc::{Rc, Weak},
};

use crate::api::worker::state::LocalState;

/// Unregisters a worker's own handler when dropped. It stays on the worker's thread, so when the
/// drop returns the handler is not called again.
#[must_use = "dropping the registration unregisters the handler; keep() leaves it registered"]
pub struct LocalRegistration {
    serials: Vec<u64>,
    worker: Weak<LocalState>,
}

impl LocalRegistration {
    pub(crate) fn new(serial: u64, worker: &Rc<LocalState>) -> Self {
        Self {
            serials: vec![serial],
            worker: Rc::downgrade(worker),
        }
    }

    /// Keeps the handler registered as long as the worker lives.
    pub fn keep(mut self) {
        self.serials.clear();
    }

    /// Combines two guards into one.
    pub fn and(mut self, mut other: Self) -> Self {
        self.serials.append(&mut other.serials);
        self
    }

    /// Unregisters the handler, like dropping the guard.
    pub fn unregister(self) {}
}

impl Drop for LocalRegistration {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.upgrade() {
            for serial in mem::take(&mut self.serials) {
                worker.remove(serial);
            }
        }
    }
}

impl fmt::Debug for LocalRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRegistration")
            .field("handlers", &self.serials.len())
            .finish_non_exhaustive()
    }
}
