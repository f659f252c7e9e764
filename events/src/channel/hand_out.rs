//! The path of an event through a channel: inline handlers, then workers and queues.

use std::sync::Arc;

use crate::{
    channel::core::ChannelCore,
    delivery::{
        envelope::{Envelope, EnvelopeOwner},
        offer::Offer,
        queue::outlet::{Full, Outlet, Slot},
    },
    error::Refusal,
    event::{
        dynamic::Shared,
        info::ChannelInfo,
        payload::Event,
        posted::{Extra, Meta, Posted, Stored},
        trail::Trail,
    },
    faults::{self, Step},
    route::{
        run::{self, HandlerContext, Timing},
        shards::{Route, Shape, WorkerRoute},
    },
    thread::frame::{Frame, under},
};

/// Strict queues up to this serial reserved a slot for the event.
#[derive(Clone, Copy)]
pub(super) struct Reserved(pub(super) u64);

impl Reserved {
    fn slot<T: Event>(self, outlet: &dyn Outlet<T>) -> Slot {
        if outlet.overflow().is_strict() && outlet.serial() <= self.0 {
            Slot::Reserved
        } else {
            Slot::Free
        }
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
        Arc::new(Envelope::new(
            Arc::clone(self) as _,
            Stored { meta, payload },
        ))
    }

    /// Runs the inline handlers.
    #[inline]
    pub(super) fn run_inline(
        &self,
        frame: &Frame,
        route: &Route<T>,
        trail: Option<&Trail>,
        timing: Timing,
        payload: &T,
        context: &HandlerContext<'_>,
    ) {
        frame.run(self.info.id, trail, || {
            // Reading the clock and opening spans costs more than most handlers do, so only a
            // sample of dispatches does, and those for which spans were asked.
            if timing.is_on() || run::spans_are_on() {
                run::run_watched(frame, &route.inline, payload, context, timing);
                run::run_watched(
                    frame,
                    route.narrow(context.operation),
                    payload,
                    context,
                    timing,
                );
                return;
            }

            run::run(frame, &route.inline, payload, context);
            if context.operation.is_some() {
                let narrow = route.narrow(context.operation);
                run::run_more(frame, narrow, payload, context);
            }
        });
    }

    /// Dispatches an event by a route, and wakes the listeners that got it.
    pub(super) fn dispatch_by(
        &self,
        frame: &Frame,
        route: &Route<T>,
        timing: Timing,
        event: &Arc<Envelope<T>>,
        reserved: Reserved,
    ) {
        self.run_and_hand_out(frame, route, timing, event, reserved);
        self.wake(route);
    }

    /// Dispatches an event without waking anyone: a batch wakes its listeners once, at its end.
    pub(super) fn run_and_hand_out(
        &self,
        frame: &Frame,
        route: &Route<T>,
        timing: Timing,
        event: &Arc<Envelope<T>>,
        reserved: Reserved,
    ) {
        let meta = event.meta();

        if let Shape::Inline { .. } | Shape::Mixed { inline: true, .. } = route.shape {
            let context = HandlerContext {
                info: &self.info,
                operation: meta.operation,
                body: &Shared(&**event),
            };

            // The thread that dispatches a change need not be the one that posted it.
            run::inside(meta.span(), || {
                under(meta.cause(), || {
                    let payload = &event.stored().payload;
                    self.run_inline(frame, route, meta.trail(), timing, payload, &context);
                });
            });
        }

        if let Shape::Mixed { .. } = route.shape {
            self.hand_out(route, event, reserved);
        }
        if let Some(completion) = meta.completion() {
            completion.dispatched();
        }
    }

    /// Hands the event to workers and queues, all of them in one order.
    fn hand_out(&self, route: &Route<T>, event: &Arc<Envelope<T>>, reserved: Reserved) {
        let meta = event.meta();
        let erased: Arc<dyn Posted> = Arc::clone(event) as _;

        // One lock around all listeners, so that all of them get the events of two posters in the
        // same order.
        let order = (!faults::removed(Step::PostsAreOrdered)).then(|| self.order.lock());

        for worker in workers(route, meta) {
            match worker.mailbox.offer(&erased) {
                Offer::Closed => self.hub.count_if_closing(),
                // The mailbox reports the gap to its worker; a caller that waits for the event is
                // to know of it too.
                Offer::Missed => {
                    if let Some(completion) = meta.completion() {
                        completion.missed_by_one();
                    }
                }
                Offer::Accepted => {}
            }
        }

        for outlet in outlets(route, meta) {
            match outlet.push(event, reserved.slot(&**outlet)) {
                Offer::Closed => self.hub.count_if_closing(),
                Offer::Missed if outlet.is_awaited() => {
                    if let Some(completion) = meta.completion() {
                        completion.missed_by_one();
                    }
                }
                Offer::Missed | Offer::Accepted => {}
            }
        }

        if let Some(feed) = &route.feed {
            feed.push(&erased);
        }
        drop(order);
    }

    /// Wakes the listeners that got something.
    pub(super) fn wake(&self, route: &Route<T>) {
        for worker in &route.workers {
            worker.mailbox.notify();
        }
        for outlet in &route.outlets {
            outlet.wake();
        }
        if let Some(feed) = &route.feed {
            feed.send();
        }
    }

    /// Reserves a slot in every queue that may refuse the event. Not for changes of rows, which
    /// cannot be refused.
    ///
    /// If one queue is full, those already reserved are released: an event reaches every strict
    /// queue or none.
    pub(super) fn reserve(&self, route: &Route<T>) -> Result<Reserved, Full> {
        match route.shape {
            Shape::Inline { .. } | Shape::Mixed { strict: false, .. } => return Ok(Reserved(0)),
            Shape::Mixed { strict: true, .. } => {}
        }

        let strict = || {
            let all = route.outlets.iter();
            all.filter(|outlet| outlet.overflow().is_strict())
        };
        let mut last = Reserved(0);
        for (index, outlet) in strict().enumerate() {
            if let Err(full) = outlet.reserve() {
                for earlier in strict().take(index) {
                    earlier.release();
                }
                return Err(full);
            }
            last = Reserved(last.0.max(outlet.serial()));
        }

        Ok(last)
    }

    /// Drops an accepted event that is too deep in a cycle. Workers and queues find a gap in its
    /// place.
    #[cold]
    fn lose(&self, event: &Arc<Envelope<T>>, refusal: Refusal) {
        self.report_gap(event.meta(), 1);
        self.discard_for(event, refusal);
    }

    /// Puts a gap in the place of an event that was never posted.
    pub(super) fn miss(&self) {
        self.report_gap(&Meta::new(None, None), 1);
    }

    /// Puts a gap in the place of events that are lost to all listeners.
    #[cold]
    fn report_gap(&self, meta: &Meta, missed: u64) {
        let route = Frame::with(|frame| self.enter(frame, |route, _| Arc::clone(route)));

        // Under the same lock as an event that is handed out: the gap has a place in the order,
        // too.
        let order = self.order.lock();
        for worker in workers(&route, meta) {
            worker.mailbox.miss(self.info.id, missed);
        }

        for outlet in outlets(&route, meta) {
            outlet.miss(missed);
        }
        if let Some(feed) = &route.feed {
            feed.miss(&self.info, missed);
        }
        drop(order);

        self.wake(&route);
    }

    /// Drops an accepted event that no listener will receive: counts it, and gives the reason to
    /// the callers that wait for it.
    pub(crate) fn discard_for(&self, event: &Arc<Envelope<T>>, refusal: Refusal) {
        self.hub.count_dropped();
        if let Some(completion) = event.meta().completion() {
            completion.refused(refusal);
        }
    }
}

fn workers<'a, T: Event>(
    route: &'a Route<T>,
    meta: &'a Meta,
) -> impl Iterator<Item = &'a WorkerRoute> {
    let all = route.workers.iter();
    all.filter(|worker| worker.wants(meta.operation))
}

fn outlets<'a, T: Event>(
    route: &'a Route<T>,
    meta: &'a Meta,
) -> impl Iterator<Item = &'a Arc<dyn Outlet<T>>> {
    let all = route.outlets.iter();
    all.filter(|outlet| outlet.wants(meta.operation))
}

impl<T: Event> EnvelopeOwner<T> for ChannelCore<T> {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn dispatch(&self, event: &Arc<Envelope<T>>) {
        if let Some(refusal) = event.meta().lost() {
            return self.lose(event, refusal.clone());
        }

        Frame::with(|frame| {
            self.enter(frame, |route, tally| {
                let reserved = Reserved(event.meta().reserved_until());
                self.dispatch_by(frame, route, tally.count(), event, reserved);
            });
        });
    }

    fn discard(&self, event: &Arc<Envelope<T>>) {
        self.discard_for(event, Refusal::Closed);
    }

    fn report_lost(&self, event: &Arc<Envelope<T>>, missed: u64) {
        self.report_gap(event.meta(), missed);
    }

    fn reassign(&self, event: &Arc<Envelope<T>>) {
        self.give_to_another(event);
    }
}
