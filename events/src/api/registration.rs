//! [`Registration`]: the guard of registered handlers.

use std::fmt;

use crate::isolate::isolated;

/// A registered handler, whatever its kind, as far as its guard must know it.
pub(crate) trait Remove: Send + Sync {
    /// Ends the handler: no call begins once this returned.
    fn remove(self: Box<Self>);

    /// Returns the handler's name.
    fn name(&self) -> &str;
}

/// Unregisters its handlers when dropped.
///
/// When the drop returns, no call of the handler *begins* any more, on any thread. A call that is
/// running on another thread may continue, because the drop does not wait for it. So you can drop a
/// guard anywhere without a deadlock, even inside its own handler.
#[must_use = "dropping the registration unregisters the handler; keep() leaves it registered"]
pub struct Registration {
    parts: Vec<Box<dyn Remove>>,
}

impl Registration {
    pub(crate) fn new(handler: impl Remove + 'static) -> Self {
        Self {
            parts: vec![Box::new(handler)],
        }
    }

    /// Keeps the handlers registered as long as the bus lives.
    pub fn keep(mut self) {
        self.parts.clear();
    }

    /// Combines two guards into one.
    pub fn and(mut self, mut other: Self) -> Self {
        self.parts.append(&mut other.parts);
        self
    }

    /// Unregisters the handlers, like dropping the guard.
    pub fn unregister(self) {}
}

impl Drop for Registration {
    fn drop(&mut self) {
        for part in self.parts.drain(..) {
            isolated("a handler's capture", || part.remove());
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.parts.iter().map(|part| part.name()))
            .finish()
    }
}
