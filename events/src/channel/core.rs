//! [`ChannelCore`]: who listens to a channel, and the route made of it.

use std::{any::Any, sync::Arc};

use tidings_core::Operation;

use crate::{
    dispatch::{Inline, Scene},
    envelope::ChannelInfo,
    event::{Borrowed, DynamicEvent, Event},
    frame::Frame,
    handler::{Entry, HandlerInfo},
    hub::{Dynamic, Hub},
    name::Pattern,
    queue::{Outlet, SubscriberStats},
    route::{Route, Shards, WorkerRoute},
    sync::Mutex,
};

pub(crate) struct ChannelCore<T: Event> {
    pub(crate) info: ChannelInfo,
    pub(crate) hub: Arc<Hub>,
    /// Reads the operation off a change; none for plain channels.
    pub(crate) operation_of: Option<fn(&T) -> Operation>,
    typed: Mutex<Vec<(Pattern, Arc<Inline<T>>)>>,
    pub(super) outlets: Mutex<super::outlets::Outlets<T>>,
    shards: Shards<T>,
    /// Held while an event is handed to workers and queues, so that all get the events in one order. Nothing
    /// waits, and no handler runs, under it.
    pub(super) order: Mutex<()>,
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
        self.shards.invalidate();
    }

    fn remove(&self, serial: u64) {
        let removed: Vec<_> = self
            .typed
            .lock()
            .extract_if(.., |(_, entry)| entry.serial == serial)
            .collect();
        self.shards.invalidate();
        drop(removed); // outside the locks: closures run their captures' drops
    }

    fn posted(&self) -> u64 {
        self.shards.posted()
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
            info,
            hub,
            operation_of,
            typed: Mutex::new(Vec::new()),
            outlets: Mutex::default(),
            shards,
            order: Mutex::new(()),
        }
    }

    /// Adds a typed handler; posts that begin later call it.
    pub(crate) fn add(&self, pattern: Pattern, entry: Arc<Inline<T>>) {
        self.typed.lock().push((pattern, entry));
        self.shards.invalidate();
    }

    fn outlets(&self) -> Vec<Arc<dyn Outlet<T>>> {
        self.outlets.lock().all.clone()
    }

    #[inline]
    pub(super) fn route(&self, frame: &Frame) -> (Arc<Route<T>>, u64) {
        self.shards
            .read(frame.shard, || Arc::new(self.make_route()))
    }

    pub(super) fn route_uncounted(&self, frame: &Frame) -> Arc<Route<T>> {
        self.shards
            .peek(frame.shard, || Arc::new(self.make_route()))
    }

    pub(super) fn uncount(&self, frame: &Frame) {
        self.shards.uncount(frame.shard);
    }

    fn make_route(&self) -> Route<T> {
        let listeners = self
            .hub
            .listeners(&self.info.source, &self.info.event, self.info.crud);
        let mut entries: Vec<_> = self.typed.lock().clone();
        entries.extend(
            listeners
                .dynamic
                .into_iter()
                .map(|(pattern, dynamic)| (pattern, adapt(dynamic))),
        );
        entries.sort_by_key(|(pattern, entry)| (pattern.level(), entry.serial));
        let of = |operation: Option<Operation>| {
            entries
                .iter()
                .filter(|(pattern, _)| pattern.operation() == operation)
                .map(|(_, entry)| Arc::clone(entry))
                .collect()
        };
        let outlets: Box<[_]> = self.outlets().into();
        Route {
            inline: of(None),
            by_operation: Operation::ALL.map(|operation| of(Some(operation))),
            workers: listeners
                .workers
                .into_iter()
                .map(|(index, interest)| WorkerRoute {
                    mailbox: Arc::clone(&self.hub.mailboxes[index]),
                    interest,
                })
                .collect(),
            strict: outlets.iter().any(|outlet| outlet.is_strict()),
            outlets,
            feed: self.hub.feed.current(),
        }
    }
}

/// A dynamic handler in the form of the channel's own.
fn adapt<T: Event>(dynamic: Arc<Dynamic>) -> Arc<Inline<T>> {
    let info: Arc<HandlerInfo> = Arc::clone(&dynamic.info);
    Arc::new(Entry::new(info, move |payload: &T, scene: &Scene<'_>| {
        // The entry made here does not die with the handler; this one does.
        if !dynamic.is_alive() {
            return Ok(());
        }
        let body = Borrowed {
            json: scene.json,
            payload,
        };
        DynamicEvent::with_borrowed(scene.info, scene.operation, &body, |event| {
            (dynamic.call)(event)
        })
    }))
}
