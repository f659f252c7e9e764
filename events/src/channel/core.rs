//! [`ChannelCore`]: the listeners of a channel, and the route made of them.

use std::{
    any::Any,
    sync::{Arc, OnceLock, Weak},
};

use crossbeam_utils::CachePadded;
use tidings_core::Operation;

use crate::{
    delivery::{
        queue::{log::Log, outlet::Outlet, outlets::Outlets, stats::SubscriberStats},
        sequencer::Open,
    },
    event::{
        dynamic::DynamicEvent,
        handler::{Entry, HandlerInfo},
        info::ChannelInfo,
        name::Pattern,
        payload::Event,
    },
    faults::{self, Step},
    hub::Hub,
    route::{
        registry::Dynamic,
        run::{HandlerContext, Inline, InlineFn},
        shards::{Registrations, Route, Shape, Shards, Tally, WorkerRoute},
    },
    sync::{AtomicU64, Mutex, Ordering},
    thread::frame::Frame,
};

pub(crate) struct ChannelCore<T: Event> {
    pub(super) info: Arc<ChannelInfo>,
    pub(super) hub: Arc<Hub>,
    /// Reads the operation off a change; none for plain channels.
    pub(super) operation_of: Option<fn(&T) -> Operation>,
    typed: Mutex<Vec<(Pattern, Arc<Inline<T>>)>>,
    pub(super) outlets: Mutex<Outlets<T>>,
    shards: Shards<T>,
    /// The log of the subscribers that drop the oldest and receive everything; set by the first.
    pub(super) log: OnceLock<Arc<Log<T>>>,
    /// How often registrations changed.
    registrations: AtomicU64,
    /// What keeps the channel open, once it is declared.
    open: OnceLock<Weak<dyn Send + Sync>>,
    /// Held while an event is handed to workers and queues, so that all get the events in one
    /// order. Nothing waits, and no handler runs, under it.
    pub(super) order: CachePadded<Mutex<()>>,
}

/// A channel without its type, as the bus keeps it.
pub(crate) trait AnyChannel: Send + Sync {
    fn info(&self) -> &ChannelInfo;

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Makes later posts compute the route again, because registrations changed.
    fn invalidate(&self);

    /// Removes a typed handler.
    fn remove(&self, serial: u64);

    /// Returns how many events were dispatched so far.
    fn posted(&self) -> u64;

    fn subscribers(&self) -> Vec<SubscriberStats>;

    /// Ends the queues: no more events come, those in them can still be received.
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
        let shards = Shards::new(hub.settings().shards);
        Self {
            info: Arc::new(info),
            hub,
            operation_of,
            typed: Mutex::new(Vec::new()),
            outlets: Mutex::default(),
            shards,
            log: OnceLock::new(),
            registrations: AtomicU64::new(0),
            open: OnceLock::new(),
            order: CachePadded::new(Mutex::new(())),
        }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn info(&self) -> &Arc<ChannelInfo> {
        &self.info
    }

    /// Notes what its handles hold.
    pub(crate) fn opened(&self, open: Weak<dyn Send + Sync>) {
        let _declared_once: Result<(), _> = self.open.set(open);
    }

    /// Keeps the channel open while a change of it is queued.
    pub(crate) fn stay_open(&self) -> Open {
        self.open.get().and_then(Weak::upgrade)
    }

    /// Adds a typed handler; posts that begin later call it.
    pub(crate) fn add(&self, pattern: Pattern, entry: Arc<Inline<T>>) {
        self.typed.lock().push((pattern, entry));
        self.invalidate();
    }

    pub(super) fn outlets(&self) -> Vec<Arc<dyn Outlet<T>>> {
        self.outlets.lock().all()
    }

    /// Returns how many listeners a post made now would reach.
    pub(crate) fn receivers(&self) -> usize {
        let route = self.make_route();
        let narrow = route.by_operation.iter().map(|handlers| handlers.len());
        let queues = route.outlets.iter().map(|outlet| outlet.receivers());
        route.inline.len()
            + narrow.sum::<usize>()
            + route.workers.len()
            + queues.sum::<usize>()
            + route.feed.map_or(0, |feed| feed.receivers())
    }

    /// Runs `body` with the route of this thread.
    #[inline]
    pub(super) fn enter<R>(
        &self,
        frame: &Frame,
        body: impl FnOnce(&Arc<Route<T>>, &Tally<'_>) -> R,
    ) -> R {
        self.shards
            .enter(frame.shard(), || Arc::new(self.make_route()), body)
    }

    /// Returns the log that posts may write right into, because no one else listens.
    #[inline]
    pub(super) fn lone_log(&self) -> Option<&Arc<Log<T>>> {
        self.log.get().filter(|log| log.is_alone())
    }

    /// Lets posts write right into the log from now on, if registrations are still those of the
    /// route.
    #[cold]
    pub(super) fn log_is_alone(&self, of_route: Registrations) {
        if let Some(log) = self.log.get() {
            log.set_alone(|| {
                self.registrations() == of_route || faults::removed(Step::LogAsksForCompany)
            });
        }
    }

    fn registrations(&self) -> Registrations {
        Registrations(self.registrations.load(Ordering::SeqCst))
    }

    fn make_route(&self) -> Route<T> {
        // Read before anything else: what changes later raises it.
        let registrations = self.registrations();

        let listeners = self.hub.registry().listeners(&self.info);
        let dynamic = !listeners.dynamic.is_empty();
        let entries = self.entries(listeners.dynamic);
        let inline = !entries.is_empty();
        let of = |operation: Option<Operation>| {
            entries
                .iter()
                .filter(|(pattern, _)| pattern.operation() == operation)
                .map(|(_, entry)| Arc::clone(entry))
                .collect()
        };

        let outlets: Box<[_]> = self.outlets().into();
        let feed = self.hub.current_feed();
        let workers: Box<[_]> = listeners
            .workers
            .into_iter()
            .map(|(index, operations)| WorkerRoute {
                mailbox: Arc::clone(&self.hub.mailboxes()[index]),
                operations,
            })
            .collect();

        let others = inline || !workers.is_empty() || feed.is_some();
        let lone_log = !others && !self.info.crud && self.is_lone_log(&outlets);
        let shape = if workers.is_empty() && outlets.is_empty() && feed.is_none() {
            Shape::Inline { dynamic }
        } else {
            let strict = outlets.iter().any(|outlet| outlet.overflow().is_strict());
            Shape::Mixed { inline, strict }
        };

        Route {
            inline: of(None),
            by_operation: Operation::ALL.map(|operation| of(Some(operation))),
            workers,
            outlets,
            feed,
            shape,
            lone_log: lone_log.then_some(registrations),
        }
    }

    /// Returns the inline handlers in the order in which they run, each with its pattern.
    fn entries(&self, dynamic: Vec<(Pattern, Arc<Dynamic>)>) -> Vec<(Pattern, Arc<Inline<T>>)> {
        let mut entries = self.typed.lock().clone();
        let dynamic = dynamic.into_iter();
        entries.extend(dynamic.map(|(pattern, dynamic)| (pattern, adapt(dynamic))));
        entries.sort_by_key(|(pattern, entry)| (pattern.level(), entry.info.serial));
        entries
    }

    /// Returns whether the log of all operations is the only queue.
    fn is_lone_log(&self, outlets: &[Arc<dyn Outlet<T>>]) -> bool {
        match (outlets, self.log.get()) {
            ([one], Some(log)) => one.serial() == log.serial(),
            _ => false,
        }
    }
}

/// Makes a dynamic handler one of the channel's own form.
fn adapt<T: Event>(dynamic: Arc<Dynamic>) -> Arc<Inline<T>> {
    let info: Arc<HandlerInfo> = Arc::clone(&dynamic.info);
    let call = move |_: &T, context: &HandlerContext<'_>| {
        // The entry made here does not die with the handler; this one does.
        if dynamic.live().is_none() {
            return Ok(());
        }
        (dynamic.call)(&DynamicEvent {
            info: context.info,
            operation: context.operation,
            body: context.body,
        })
    };
    Arc::new(Entry::new(info, Box::new(call) as InlineFn<T>))
}
