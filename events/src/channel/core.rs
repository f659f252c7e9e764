//! [`ChannelCore`]: who listens to a channel, and the route made of it.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use crossbeam_utils::CachePadded;
use tidings_core::Operation;

use crate::{
    channel::outlets::Outlets,
    delivery::{
        envelope::ChannelInfo,
        queue::{Outlet, SubscriberStats, log::Log},
    },
    event::{
        dynamic::{DynamicEvent, Event},
        handler::{Entry, HandlerInfo},
        name::Pattern,
    },
    hub::{Dynamic, Hub},
    route::{
        run::{Inline, InlineFn, Scene},
        shards::{Route, Shards, Tally, WorkerRoute},
    },
    sync::{AtomicU64, Mutex, Ordering},
    thread::frame::Frame,
};

pub(crate) struct ChannelCore<T: Event> {
    pub(crate) info: Arc<ChannelInfo>,
    pub(crate) hub: Arc<Hub>,
    /// Reads the operation off a change; none for plain channels.
    pub(crate) operation_of: Option<fn(&T) -> Operation>,
    typed: Mutex<Vec<(Pattern, Arc<Inline<T>>)>>,
    pub(super) outlets: Mutex<Outlets<T>>,
    shards: Shards<T>,
    /// The log of the subscribers that drop the oldest and hear everything, once there was one.
    pub(super) log: OnceLock<Arc<Log<T>>>,
    /// How often registrations changed.
    registrations: AtomicU64,
    /// Held while an event is handed to workers and queues, so that all get the events in one order. Nothing
    /// waits, and no handler runs, under it.
    pub(super) order: CachePadded<Mutex<()>>,
}

/// A channel without its type, as the bus keeps it.
pub(crate) trait AnyChannel: Send + Sync {
    fn info(&self) -> &ChannelInfo;
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Registrations changed.
    fn invalidate(&self);
    /// Removes a typed handler.
    fn remove(&self, serial: u64);
    fn posted(&self) -> u64;
    fn subscribers(&self) -> Vec<SubscriberStats>;
    /// No more events come: who receives learns of it once its queue is empty.
    fn close_queues(&self);
}

impl<T: Event> AnyChannel for ChannelCore<T> {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn invalidate(&self) {
        self.registrations.fetch_add(1, Ordering::SeqCst);
        if let Some(log) = self.log.get() {
            log.not_alone();
        }
        self.shards.invalidate();
    }

    fn remove(&self, serial: u64) {
        let removed: Vec<_> = self
            .typed
            .lock()
            .extract_if(.., |(_, entry)| entry.info.serial == serial)
            .collect();
        self.invalidate();
        drop(removed); // outside the locks: closures run their captures' drops
    }

    fn posted(&self) -> u64 {
        let alone = self.log.get().map_or(0, |log| log.posted_alone());
        self.shards.posted() + alone
    }

    fn subscribers(&self) -> Vec<SubscriberStats> {
        self.outlets()
            .iter()
            .flat_map(|outlet| outlet.stats())
            .collect()
    }

    fn close_queues(&self) {
        for outlet in self.outlets() {
            outlet.close();
        }
    }
}

impl<T: Event> ChannelCore<T> {
    pub(crate) fn new(
        info: ChannelInfo,
        hub: Arc<Hub>,
        operation_of: Option<fn(&T) -> Operation>,
    ) -> Self {
        let shards = Shards::new(hub.settings.shards);
        Self {
            info: Arc::new(info),
            hub,
            operation_of,
            typed: Mutex::new(Vec::new()),
            outlets: Mutex::default(),
            shards,
            log: OnceLock::new(),
            registrations: AtomicU64::new(0),
            order: CachePadded::new(Mutex::new(())),
        }
    }

    /// Adds a typed handler; posts that begin later call it.
    pub(crate) fn add(&self, pattern: Pattern, entry: Arc<Inline<T>>) {
        self.typed.lock().push((pattern, entry));
        self.invalidate();
    }

    pub(super) fn outlets(&self) -> Vec<Arc<dyn Outlet<T>>> {
        self.outlets.lock().all.clone()
    }

    /// Runs `body` with the route of this thread.
    #[inline]
    pub(super) fn enter<R>(
        &self,
        frame: &Frame,
        body: impl FnOnce(&Arc<Route<T>>, &Tally<'_>) -> R,
    ) -> R {
        self.shards
            .enter(frame.shard, || Arc::new(self.make_route()), body)
    }

    /// The log that posts may write right into, because nobody else listens.
    #[inline]
    pub(super) fn lone_log(&self) -> Option<&Arc<Log<T>>> {
        self.log.get().filter(|log| log.is_alone())
    }

    /// Posts may write right into the log from now on, if registrations are still those of the route.
    #[cold]
    pub(super) fn log_is_alone(&self, registrations: u64) {
        if let Some(log) = self.log.get() {
            log.set_alone(|| {
                #[cfg(shuttle)]
                if crate::faults::is(crate::faults::Fault::CompanyForgotten) {
                    return true;
                }
                self.registrations.load(Ordering::SeqCst) == registrations
            });
        }
    }

    fn make_route(&self) -> Route<T> {
        // Before anything is read: what changes later raises it.
        let registrations = self.registrations.load(Ordering::SeqCst);
        let listeners = self
            .hub
            .listeners(&self.info.source, &self.info.event, self.info.crud);
        let has_dynamic = !listeners.dynamic.is_empty();
        let mut entries: Vec<_> = self.typed.lock().clone();
        entries.extend(
            listeners
                .dynamic
                .into_iter()
                .map(|(pattern, dynamic)| (pattern, adapt(dynamic))),
        );
        entries.sort_by_key(|(pattern, entry)| (pattern.level(), entry.info.serial));
        let of = |operation: Option<Operation>| {
            entries
                .iter()
                .filter(|(pattern, _)| pattern.operation() == operation)
                .map(|(_, entry)| Arc::clone(entry))
                .collect()
        };
        let outlets: Box<[_]> = self.outlets().into();
        let workers: Box<[_]> = listeners
            .workers
            .into_iter()
            .map(|(index, interest)| WorkerRoute {
                mailbox: Arc::clone(&self.hub.mailboxes[index]),
                interest,
            })
            .collect();
        let feed = self.hub.feed.current();
        let has_inline = !entries.is_empty();
        let log = self.log.get().map(|log| log.serial());
        let is_log = |outlet: &Arc<dyn Outlet<T>>| Some(outlet.serial()) == log;
        let others = has_inline || !workers.is_empty() || feed.is_some();
        let lone_log = !self.info.crud && !others && matches!(&*outlets, [one] if is_log(one));
        Route {
            inline: of(None),
            by_operation: Operation::ALL.map(|operation| of(Some(operation))),
            has_inline,
            inline_only: workers.is_empty() && outlets.is_empty() && feed.is_none(),
            has_dynamic,
            strict: outlets.iter().any(|outlet| outlet.is_strict()),
            lone_log: lone_log.then_some(registrations),
            workers,
            outlets,
            feed,
        }
    }
}

/// A dynamic handler in the form of the channel's own.
fn adapt<T: Event>(dynamic: Arc<Dynamic>) -> Arc<Inline<T>> {
    let info: Arc<HandlerInfo> = Arc::clone(&dynamic.info);
    let call = move |_: &T, scene: &Scene<'_>| {
        // The entry made here does not die with the handler; this one does.
        if dynamic.live().is_none() {
            return Ok(());
        }
        (dynamic.call)(&DynamicEvent {
            info: scene.info,
            operation: scene.operation,
            body: scene.body,
        })
    };
    Arc::new(Entry::new(info, Box::new(call) as InlineFn<T>))
}
