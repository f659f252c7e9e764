//! Guards of registered handlers.

use std::{
    fmt, mem,
    rc::{self, Rc},
    sync::{Arc, Weak},
};

use crate::{
    api::{bus::Bus, worker::LocalInner},
    channel::core::AnyChannel,
    event::handler::Mortal,
};

/// Unregisters its handlers when dropped.
///
/// When the drop returns, no call of the handler *begins* any more, on any thread. A call that was under way on
/// another thread may still be running: the drop does not wait for it, so a guard can be dropped anywhere, from
/// inside its own handler too, without locking up.
#[must_use = "dropping the registration unregisters the handler; keep() leaves it for ever"]
pub struct Registration {
    parts: Vec<Part>,
}

struct Part {
    handler: Arc<dyn Mortal + Send + Sync>,
    /// Where a typed handler stands; none for a dynamic one.
    channels: Vec<Arc<dyn AnyChannel>>,
    bus: Weak<Bus>,
}

impl Registration {
    pub(crate) fn new(
        handler: Arc<dyn Mortal + Send + Sync>,
        channels: Vec<Arc<dyn AnyChannel>>,
        bus: Weak<Bus>,
    ) -> Self {
        Self {
            parts: vec![Part {
                handler,
                channels,
                bus,
            }],
        }
    }

    /// Leaves the handlers registered as long as the bus lives.
    pub fn keep(mut self) {
        self.parts.clear();
    }

    /// One guard for both.
    pub fn and(mut self, mut other: Self) -> Self {
        self.parts.append(&mut other.parts);
        self
    }

    /// Unregisters; the same as dropping it.
    pub fn unregister(self) {}
}

impl Part {
    fn remove(self) {
        self.handler.kill();
        let info = Arc::clone(self.handler.info());
        for channel in &self.channels {
            channel.remove(info.serial);
        }
        if let Some(bus) = self.bus.upgrade() {
            bus.forget(&info, self.channels.is_empty());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for part in mem::take(&mut self.parts) {
            part.remove();
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.parts.iter().map(|part| &part.handler.info().name))
            .finish()
    }
}

/// Unregisters a worker's own handler when dropped. It stays on the worker's thread, so when the drop returns
/// the handler is not called again.
#[must_use = "dropping the registration unregisters the handler; keep() leaves it for ever"]
pub struct LocalRegistration {
    serials: Vec<u64>,
    worker: rc::Weak<LocalInner>,
}

impl LocalRegistration {
    pub(crate) fn new(serial: u64, worker: &Rc<LocalInner>) -> Self {
        Self {
            serials: vec![serial],
            worker: Rc::downgrade(worker),
        }
    }

    /// Leaves the handler registered as long as the worker lives.
    pub fn keep(mut self) {
        self.serials.clear();
    }

    /// One guard for both.
    pub fn and(mut self, mut other: Self) -> Self {
        self.serials.append(&mut other.serials);
        self
    }

    /// Unregisters; the same as dropping it.
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
