//! [`Registry`]: the listeners of each pattern, as far as they do not depend on a payload's type.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tidings_core::{BoxError, Operation};

use crate::{
    event::{
        dynamic::DynamicEvent,
        handler::{Entry, HandlerInfo, HandlerStats},
        info::ChannelInfo,
        name::Pattern,
    },
    sync::Mutex,
};

/// A handler that takes any event.
pub(crate) type Dynamic = Entry<DynamicFn>;

pub(crate) type DynamicFn = Box<dyn Fn(&DynamicEvent<'_>) -> Result<(), BoxError> + Send + Sync>;

#[derive(Default)]
pub(crate) struct Registry {
    patterns: Mutex<Patterns>,
    /// All handlers by serial, for statistics and the watchdog.
    handlers: Mutex<BTreeMap<u64, RegisteredHandler>>,
}

#[derive(Default)]
struct Patterns {
    dynamic: HashMap<Pattern, Vec<Arc<Dynamic>>>,
    /// How many handlers each worker has for a pattern.
    interest: HashMap<Pattern, HashMap<usize, usize>>,
}

/// A registered handler, and where it runs.
#[derive(Clone)]
pub(crate) struct RegisteredHandler {
    pub(crate) info: Arc<HandlerInfo>,
    pub(crate) worker: Option<usize>,
}

/// Whether a worker has one handler more, or one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Listens,
    Stops,
}

/// Whether that changed what the worker listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Interest {
    Changed,
    Same,
}

/// Which operations a worker listens to: one bit for "all operations" and one for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operations(u8);

impl Operations {
    const fn bit(operation: Option<Operation>) -> u8 {
        match operation {
            None => 1,
            Some(Operation::Create) => 2,
            Some(Operation::Update) => 4,
            Some(Operation::Delete) => 8,
        }
    }

    fn add(&mut self, operation: Option<Operation>) {
        self.0 |= Self::bit(operation);
    }

    pub(crate) fn cover(self, operation: Option<Operation>) -> bool {
        self.0 & (Self::bit(None) | Self::bit(operation)) != 0
    }
}

/// See [`Registry::listeners`].
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) dynamic: Vec<(Pattern, Arc<Dynamic>)>,
    pub(crate) workers: BTreeMap<usize, Operations>,
}

impl Registry {
    pub(crate) fn describe(&self, info: Arc<HandlerInfo>, worker: Option<usize>) {
        let serial = info.serial;
        self.handlers
            .lock()
            .insert(serial, RegisteredHandler { info, worker });
    }

    pub(crate) fn forget(&self, serial: u64) {
        let forgotten = self.handlers.lock().remove(&serial);
        drop(forgotten);
    }

    pub(crate) fn described(&self, serial: u64) -> Option<RegisteredHandler> {
        self.handlers.lock().get(&serial).cloned()
    }

    /// Returns the counts of all handlers, in the order of their registration.
    pub(crate) fn handler_stats(&self) -> Vec<HandlerStats> {
        let handlers = self.handlers.lock();
        let stats = |handler: &RegisteredHandler| handler.info.stats(handler.worker);
        handlers.values().map(stats).collect()
    }

    pub(crate) fn add_dynamic(&self, pattern: &Pattern, entry: Arc<Dynamic>) {
        let mut patterns = self.patterns.lock();
        let entries = patterns.dynamic.entry(pattern.clone()).or_default();
        entries.push(entry);
    }

    /// Removes a dynamic handler from one pattern; the caller drops it where no lock is held.
    pub(crate) fn remove_dynamic(&self, pattern: &Pattern, serial: u64) -> Vec<Arc<Dynamic>> {
        let mut patterns = self.patterns.lock();
        let Some(entries) = patterns.dynamic.get_mut(pattern) else {
            return Vec::new();
        };

        let removed = entries
            .extract_if(.., |entry| entry.info.serial == serial)
            .collect();
        if entries.is_empty() {
            patterns.dynamic.remove(pattern);
        }
        removed
    }

    /// Counts one handler more or less that a worker has for a pattern.
    pub(crate) fn change_interest(
        &self,
        pattern: &Pattern,
        worker: usize,
        change: Change,
    ) -> Interest {
        let mut patterns = self.patterns.lock();
        let workers = patterns.interest.entry(pattern.clone()).or_default();
        let count = workers.entry(worker).or_default();

        let before = *count;
        *count = match change {
            Change::Listens => before + 1,
            Change::Stops => before.saturating_sub(1),
        };
        let after = *count;

        if after == 0 {
            workers.remove(&worker);
            if workers.is_empty() {
                patterns.interest.remove(pattern);
            }
        }

        if (before == 0) == (after == 0) {
            Interest::Same
        } else {
            Interest::Changed
        }
    }

    /// Returns the dynamic handlers of a channel, each with its pattern, and the workers that
    /// listen, each with its operations.
    pub(crate) fn listeners(&self, channel: &ChannelInfo) -> Listeners {
        let patterns = self.patterns.lock();
        let mut found = Listeners::default();

        for pattern in covering(channel) {
            if let Some(entries) = patterns.dynamic.get(&pattern) {
                let entries = entries
                    .iter()
                    .map(|entry| (pattern.clone(), Arc::clone(entry)));
                found.dynamic.extend(entries);
            }

            if let Some(workers) = patterns.interest.get(&pattern) {
                for &worker in workers.keys() {
                    let operations = found.workers.entry(worker).or_default();
                    operations.add(pattern.operation());
                }
            }
        }

        found
    }
}

/// Returns the patterns that cover a channel, the wider first.
fn covering(channel: &ChannelInfo) -> impl Iterator<Item = Pattern> {
    let name = || (Arc::clone(&channel.source), Arc::clone(&channel.event));
    let (source, event) = name();
    let operations = Operation::ALL
        .into_iter()
        .filter(move |_| channel.crud)
        .map(move |operation| {
            let (source, event) = name();
            Pattern::Operation(source, event, operation)
        });

    [
        Pattern::Everything,
        Pattern::Source(Arc::clone(&source)),
        Pattern::Event(source, event),
    ]
    .into_iter()
    .chain(operations)
}
