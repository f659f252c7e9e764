//! [`Outlets`]: all queues of one channel, in the order in which they were made.

use std::sync::Arc;

use tidings_core::Operation;

use crate::{
    delivery::queue::{log::Log, outlet::Outlet},
    event::payload::Event,
};

pub(crate) struct Outlets<T: Event> {
    all: Vec<Arc<dyn Outlet<T>>>,
    /// The logs for one operation of a change, each shared by all its subscribers; the one for all
    /// operations belongs to the channel. They stay when their last reader leaves, and are then not
    /// in `all`.
    narrow: Vec<Arc<Log<T>>>,
}

impl<T: Event> Default for Outlets<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            narrow: Vec::new(),
        }
    }
}

impl<T: Event> Outlets<T> {
    pub(crate) fn all(&self) -> Vec<Arc<dyn Outlet<T>>> {
        self.all.clone()
    }

    pub(crate) fn add(&mut self, outlet: Arc<dyn Outlet<T>>) {
        self.all.push(outlet);
    }

    /// Adds a log unless it is there: its last reader may have left just now, and not taken it off
    /// the list yet.
    pub(crate) fn add_once(&mut self, log: Arc<Log<T>>) {
        let serial = log.serial();
        if !self.all.iter().any(|outlet| outlet.serial() == serial) {
            self.all.push(log);
        }
    }

    /// Takes a queue off the list; the caller drops it where no lock is held.
    pub(crate) fn remove(&mut self, serial: u64) -> Vec<Arc<dyn Outlet<T>>> {
        self.all
            .extract_if(.., |outlet| outlet.serial() == serial)
            .collect()
    }

    /// Returns the log for one operation; `make` makes the first.
    pub(crate) fn narrow_log(
        &mut self,
        operation: Operation,
        make: impl FnOnce() -> Arc<Log<T>>,
    ) -> Arc<Log<T>> {
        let known = self
            .narrow
            .iter()
            .find(|log| log.operation() == Some(operation));
        if let Some(log) = known {
            return Arc::clone(log);
        }

        let log = make();
        self.narrow.push(Arc::clone(&log));
        log
    }

    /// Returns the log for one operation that has this serial.
    pub(crate) fn find_narrow(&self, serial: u64) -> Option<&Arc<Log<T>>> {
        self.narrow.iter().find(|log| log.serial() == serial)
    }
}
