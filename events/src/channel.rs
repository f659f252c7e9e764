//! [`Channel`]: a typed handle to post through, and the channel behind it.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use tidings_core::{Cause, Operation};

use crate::{
    completion::Completion,
    dispatch::{self, Inline, SAMPLED, Scene},
    envelope::{Addressee, ChannelInfo, Envelope, Meta, Posted},
    error::{PostError, Refusal},
    event::{Borrowed, DynamicEvent, Event},
    frame::{Deferred, Frame, under},
    handler::{Entry, HandlerInfo},
    hub::Hub,
    mailbox::Offer,
    name::Pattern,
    route::{Route, Shards, WorkerRoute},
    sync::Mutex,
    trail::Trail,
};

/// A channel by its type: posting through it costs no look-up by name.
///
/// Clones are handles of one channel.
pub struct Channel<T: Event> {
    pub(crate) core: Arc<ChannelCore<T>>,
}

impl<T: Event> Channel<T> {
    /// Posts to everybody who listens, without waiting: inline handlers have run when this returns, workers and
    /// queues have the event or, where they are full, a gap.
    ///
    /// Inside a handler the event is put aside and dispatched after the current one. With inline handlers alone
    /// this allocates nothing.
    ///
    /// # Errors
    ///
    /// The event comes back with the [`Refusal`]; nobody heard of it.
    #[inline]
    pub fn post(&self, event: T) -> Result<(), PostError<T>> {
        ChannelCore::post(&self.core, event)
    }

    /// The source of the channel, as in `"crud"`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.core.info.source
    }

    /// The event of the channel, as in `"consumers"`.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.core.info.event
    }
}

impl<T: Event> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

impl<T: Event> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("source", &self.source())
            .field("event", &self.event())
            .field("type", &self.core.info.type_name)
            .finish()
    }
}

pub(crate) struct ChannelCore<T: Event> {
    pub(crate) info: ChannelInfo,
    pub(crate) hub: Arc<Hub>,
    /// Reads the operation off a change; none for plain channels.
    pub(crate) operation_of: Option<fn(&T) -> Operation>,
    typed: Mutex<Vec<(Pattern, Arc<Inline<T>>)>>,
    shards: Shards<T>,
    /// Held while an event is handed to workers and queues, so that all get the events in one order. Nothing
    /// waits, and no handler runs, under it.
    order: Mutex<()>,
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
            shards,
            order: Mutex::new(()),
        }
    }

    /// Adds a typed handler; posts that begin later call it.
    pub(crate) fn add(&self, pattern: Pattern, entry: Arc<Inline<T>>) {
        self.typed.lock().push((pattern, entry));
        self.shards.invalidate();
    }

    #[inline]
    pub(crate) fn post(self: &Arc<Self>, event: T) -> Result<(), PostError<T>> {
        if self.hub.is_closed() {
            return Err(self.refuse(event, Refusal::Closed));
        }
        if let Some(limit) = self.hub.settings.max_payload
            && let Err(refusal) = crate::limit::check(&event, limit)
        {
            return Err(self.refuse(event, refusal));
        }
        Frame::with(|frame| {
            if frame.is_running() {
                return self.post_nested(frame, event);
            }
            if self.operation_of.is_some() {
                let posted =
                    self.envelope(event, Addressee::All, Trail::default(), Cause::current());
                self.enqueue_now(posted);
                return Ok(());
            }
            let (route, posted) = self.route(frame);
            if route.is_inline_only() {
                let json = OnceLock::new();
                let scene = Scene {
                    info: &self.info,
                    operation: None,
                    json: &json,
                };
                self.run_inline(frame, &route, Trail::default(), posted, &event, &scene);
            } else {
                let event = Arc::new(self.envelope(
                    event,
                    Addressee::All,
                    Trail::default(),
                    Cause::current(),
                ));
                Self::dispatch_by(frame, &route, posted, &event);
            }
            drop(route);
            frame.settle();
            Ok(())
        })
    }

    /// A post from inside a handler: it waits for the current event to be handled by all.
    #[cold]
    fn post_nested(self: &Arc<Self>, frame: &Frame, event: T) -> Result<(), PostError<T>> {
        let trail = frame.trail();
        if let Err(refusal) = self.hub.check_depth(&trail, self.info.index) {
            return Err(self.refuse(event, refusal));
        }
        if !frame.has_room() {
            let limit = crate::frame::MAX_PENDING;
            return Err(self.refuse(event, Refusal::TooManyPending { limit }));
        }
        let posted = self.envelope(event, Addressee::All, trail, Cause::current());
        if self.operation_of.is_some() {
            self.enqueue_now(posted);
        } else {
            frame.defer(Deferred::Post(Arc::new(posted)));
        }
        Ok(())
    }

    /// Puts a change in the sequencer and sees that it is drained, now or after the running handler.
    fn enqueue_now(&self, posted: Envelope<T>) {
        let posted: Arc<dyn Posted> = Arc::new(posted);
        if self.hub.sequencer.enqueue(Arc::clone(&posted)) {
            self.hub.drain_soon();
        } else {
            posted.discard();
        }
    }

    pub(crate) fn refuse(&self, event: T, refusal: Refusal) -> PostError<T> {
        self.hub.count_refusal();
        PostError::new(event, refusal)
    }

    pub(crate) fn envelope(
        self: &Arc<Self>,
        payload: T,
        route: Addressee,
        trail: Trail,
        cause: Option<Cause>,
    ) -> Envelope<T> {
        let operation = self.operation_of.map(|read| read(&payload));
        let span = if tracing::dispatcher::has_been_set() {
            tracing::Span::current()
        } else {
            tracing::Span::none()
        };
        Envelope {
            core: Arc::clone(self),
            meta: Meta {
                operation,
                cause,
                trail,
                span,
                json: OnceLock::new(),
                completion: Completion::new(),
                refusal: OnceLock::new(),
                route,
            },
            payload,
        }
    }

    #[inline]
    fn route(&self, frame: &Frame) -> (Arc<Route<T>>, u64) {
        self.shards
            .read(frame.shard, || Arc::new(self.make_route()))
    }

    #[inline]
    fn run_inline(
        &self,
        frame: &Frame,
        route: &Route<T>,
        trail: Trail,
        posted: u64,
        payload: &T,
        scene: &Scene<'_>,
    ) {
        let narrow = route.narrow(scene.operation);
        frame.run(self.info.index, trail, || {
            if posted.is_multiple_of(SAMPLED) {
                dispatch::run_timed(frame, &route.inline, payload, scene);
                dispatch::run_timed(frame, narrow, payload, scene);
            } else {
                dispatch::run(frame, &route.inline, payload, scene);
                dispatch::run(frame, narrow, payload, scene);
            }
        });
    }

    pub(crate) fn dispatch(event: &Arc<Envelope<T>>) {
        Frame::with(|frame| {
            let (route, posted) = event.core.route(frame);
            Self::dispatch_by(frame, &route, posted, event);
        });
    }

    fn dispatch_by(frame: &Frame, route: &Route<T>, posted: u64, event: &Arc<Envelope<T>>) {
        let core = &event.core;
        let meta = &event.meta;
        let scene = Scene {
            info: &core.info,
            operation: meta.operation,
            json: &meta.json,
        };
        under(meta.cause, || {
            core.run_inline(frame, route, meta.trail, posted, &event.payload, &scene);
        });
        core.hand_out(route, event);
        meta.completion.dispatched();
    }

    /// Gives the event to workers and queues, all of them in one order.
    fn hand_out(&self, route: &Route<T>, event: &Arc<Envelope<T>>) {
        if route.is_inline_only() {
            return;
        }
        let operation = event.meta.operation;
        let erased: Arc<dyn Posted> = Arc::clone(event) as _;
        {
            let _order = self.order.lock();
            for worker in route
                .workers
                .iter()
                .filter(|worker| worker.wants(operation))
            {
                // A gap or a closed mailbox is the mailbox's own account.
                let _: Offer = worker.mailbox.offer(&erased);
            }
        }
        for worker in &route.workers {
            worker.mailbox.notify();
        }
    }

    /// Nobody will hear of an accepted event: it is counted, and who waits for it is told why.
    pub(crate) fn discard_for(event: &Arc<Envelope<T>>, refusal: Refusal) {
        event.core.hub.count_dropped();
        // Set once: an event is either dispatched or discarded.
        let _: Result<(), Refusal> = event.meta.refusal.set(refusal);
        event.meta.completion.dispatched();
    }

    pub(crate) fn reassign(_event: &Arc<Envelope<T>>) {}

    fn make_route(&self) -> Route<T> {
        let listeners = self
            .hub
            .listeners(&self.info.source, &self.info.event, self.info.crud);
        let mut entries: Vec<_> = self.typed.lock().clone();
        entries.extend(
            listeners
                .dynamic
                .into_iter()
                .map(|(pattern, dynamic)| (pattern, Self::adapt(dynamic))),
        );
        entries.sort_by_key(|(pattern, entry)| (pattern.level(), entry.serial));
        let of = |operation: Option<Operation>| {
            entries
                .iter()
                .filter(|(pattern, _)| pattern.operation() == operation)
                .map(|(_, entry)| Arc::clone(entry))
                .collect()
        };
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
        }
    }

    /// A dynamic handler in the form of this channel's own.
    fn adapt(dynamic: Arc<crate::hub::Dynamic>) -> Arc<Inline<T>> {
        let info: Arc<HandlerInfo> = Arc::clone(&dynamic.info);
        Arc::new(Entry::new(info, move |payload: &T, scene: &Scene<'_>| {
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
}
