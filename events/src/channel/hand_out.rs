//! An event's way through a channel: inline handlers, then workers and queues.

use std::sync::Arc;

use tidings_core::Cause;

use crate::{
    channel::core::ChannelCore,
    delivery::{
        envelope::{Envelope, Extra, Meta, Posted, Stored},
        mailbox::Offer,
        queue::Full,
    },
    error::Refusal,
    event::{dynamic::Event, trail::Trail},
    route::{
        run::{self, SAMPLED, Scene},
        shards::Route,
    },
    thread::frame::{Frame, under},
};

impl Extra {
    /// What the post of this thread, outside of handlers, says of itself.
    pub(crate) fn of_poster() -> Self {
        // Asked first: without a subscriber to tracing the current span is not worth looking for.
        let span = tracing::dispatcher::has_been_set()
            .then(tracing::Span::current)
            .filter(|span| !span.is_none());
        Self {
            cause: Cause::current(),
            span,
            ..Self::default()
        }
    }

    /// The same, where there is anything to say.
    #[inline]
    pub(crate) fn of_poster_if_any() -> Option<Box<Self>> {
        if Cause::current().is_none() && !tracing::dispatcher::has_been_set() {
            return None;
        }
        Self::boxed_if_any()
    }

    #[cold]
    fn boxed_if_any() -> Option<Box<Self>> {
        let extra = Self::of_poster();
        (extra.cause.is_some() || extra.span.is_some()).then(|| Box::new(extra))
    }
}

impl<T: Event> ChannelCore<T> {
    pub(crate) fn envelope(
        self: &Arc<Self>,
        payload: T,
        extra: Option<Box<Extra>>,
    ) -> Arc<Envelope<T>> {
        let operation = self.operation_of.map(|read| read(&payload));
        let meta = Meta::new(operation, extra);
        Arc::new(Envelope::new(Arc::clone(self), Stored { meta, payload }))
    }

    #[inline]
    pub(super) fn run_inline(
        &self,
        frame: &Frame,
        route: &Route<T>,
        trail: Option<&Trail>,
        posted: u64,
        payload: &T,
        scene: &Scene<'_>,
    ) {
        frame.run(self.info.index, trail, || {
            // The clock and the spans of single handlers are for one dispatch in many, or for whoever asks.
            let timed = posted.is_multiple_of(SAMPLED);
            if timed || run::spans_are_on() {
                run::run_watched(frame, &route.inline, payload, scene, timed);
                run::run_watched(frame, route.narrow(scene.operation), payload, scene, timed);
                return;
            }
            run::run(frame, &route.inline, payload, scene);
            if scene.operation.is_some() {
                let narrow = route.narrow(scene.operation);
                run::run_more(frame, narrow, payload, scene);
            }
        });
    }

    pub(crate) fn dispatch(event: &Arc<Envelope<T>>) {
        if let Some(refusal) = event.meta().lost() {
            return Self::lose(event, refusal.clone());
        }
        Frame::with(|frame| {
            event.core().enter(frame, |route, tally| {
                let reserved = event.meta().reserved_until();
                Self::dispatch_by(frame, route, tally.count(), event, reserved);
            });
        });
    }

    /// Queues up to the serial `reserved` kept a place for the event.
    pub(super) fn dispatch_by(
        frame: &Frame,
        route: &Route<T>,
        posted: u64,
        event: &Arc<Envelope<T>>,
        reserved: u64,
    ) {
        Self::run_and_hand_out(frame, route, posted, event, reserved);
        event.core().wake(route);
    }

    /// Without waking anybody yet: a batch does that once.
    pub(super) fn run_and_hand_out(
        frame: &Frame,
        route: &Route<T>,
        posted: u64,
        event: &Arc<Envelope<T>>,
        reserved: u64,
    ) {
        let core = event.core();
        let meta = event.meta();
        if route.has_inline {
            let scene = Scene {
                info: &core.info,
                operation: meta.operation,
                body: event.stored(),
            };
            // The thread that dispatches a change need not be the one that posted it.
            let _span = meta.span().enter();
            under(meta.cause(), || {
                let payload = &event.stored().payload;
                core.run_inline(frame, route, meta.trail(), posted, payload, &scene);
            });
        }
        if !route.inline_only {
            core.hand_out(route, event, reserved);
        }
        if let Some(completion) = meta.completion() {
            completion.dispatched();
        }
    }

    /// Gives the event to workers and queues, all of them in one order.
    fn hand_out(&self, route: &Route<T>, event: &Arc<Envelope<T>>, reserved: u64) {
        let meta = event.meta();
        let operation = meta.operation;
        let erased: Arc<dyn Posted> = Arc::clone(event) as _;
        let replaced = {
            #[cfg(shuttle)]
            let _order = crate::faults::unless(crate::faults::Fault::NoOrder, || self.order.lock());
            #[cfg(not(shuttle))]
            let _order = self.order.lock();
            for worker in route
                .workers
                .iter()
                .filter(|worker| worker.wants(operation))
            {
                match worker.mailbox.offer(&erased) {
                    Offer::Closed => self.hub.count_if_closing(),
                    // The gap is the mailbox's own account; who waits for the event hears of it too.
                    Offer::Missed => {
                        if let Some(completion) = meta.completion() {
                            completion.worker_missed();
                        }
                    }
                    Offer::Accepted => {}
                }
            }
            for outlet in route
                .outlets
                .iter()
                .filter(|outlet| outlet.wants(operation))
            {
                outlet.push(event, outlet.is_strict() && outlet.serial() <= reserved);
            }
            route.feed.as_ref().and_then(|feed| feed.push(&erased))
        };
        drop(replaced); // outside the lock: a payload may have a drop of its own
    }

    /// Wakes who got something.
    pub(super) fn wake(&self, route: &Route<T>) {
        for worker in &route.workers {
            worker.mailbox.notify();
        }
        for outlet in &route.outlets {
            outlet.settle();
        }
    }

    /// Keeps a place in every queue that would refuse the event; gives the last serial that has one. Not for changes of
    /// rows, which cannot be refused.
    pub(super) fn reserve(&self, route: &Route<T>) -> Result<u64, Full> {
        if !route.strict {
            return Ok(0);
        }
        let mut last = 0;
        for (index, outlet) in route.outlets.iter().enumerate() {
            if !outlet.is_strict() {
                continue;
            }
            if let Err(full) = outlet.reserve() {
                for earlier in route.outlets[..index]
                    .iter()
                    .filter(|other| other.is_strict())
                {
                    earlier.release();
                }
                return Err(full);
            }
            last = last.max(outlet.serial());
        }
        Ok(last)
    }

    /// Nobody will hear of an accepted event, which is too deep in a cycle: workers and queues find a gap in its place.
    #[cold]
    fn lose(event: &Arc<Envelope<T>>, refusal: Refusal) {
        let core = event.core();
        let operation = event.meta().operation;
        let route = Frame::with(|frame| core.enter(frame, |route, _| Arc::clone(route)));
        let replaced = {
            let _order = core.order.lock();
            for worker in route.workers.iter().filter(|one| one.wants(operation)) {
                worker.mailbox.miss(core.info.index);
            }
            for outlet in route.outlets.iter().filter(|one| one.wants(operation)) {
                outlet.miss();
            }
            route.feed.as_ref().and_then(|feed| feed.miss(&core.info))
        };
        drop(replaced); // outside the lock, like what is pushed out by a post
        core.wake(&route);
        Self::discard_for(event, refusal);
    }

    /// Nobody will hear of an accepted event: it is counted, and who waits for it is told why.
    pub(crate) fn discard_for(event: &Arc<Envelope<T>>, refusal: Refusal) {
        event.core().hub.count_dropped();
        if let Some(completion) = event.meta().completion() {
            completion.refused(refusal);
        }
    }
}
