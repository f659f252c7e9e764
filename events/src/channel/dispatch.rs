//! An event's way through a channel: inline handlers, then workers and queues.

use std::sync::{Arc, OnceLock};

use tidings_core::Cause;

use super::ChannelCore;
use crate::{
    completion::Completion,
    dispatch::{self, SAMPLED, Scene},
    envelope::{Addressee, Envelope, Meta, Posted},
    error::Refusal,
    event::Event,
    frame::{Frame, under},
    mailbox::Offer,
    queue::Full,
    route::Route,
    sync::{AtomicU32, Ordering},
    trail::Trail,
};

impl<T: Event> ChannelCore<T> {
    pub(crate) fn envelope(
        self: &Arc<Self>,
        payload: T,
        route: Addressee,
        trail: Trail,
        cause: Option<Cause>,
    ) -> Envelope<T> {
        let operation = self.operation_of.map(|read| read(&payload));
        // Asked first: without a subscriber to tracing the current span is not worth looking for.
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
                missed: AtomicU32::new(0),
                reserved_until: 0,
            },
            payload,
        }
    }

    #[inline]
    pub(super) fn run_inline(
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
            // The clock and the spans of single handlers are for one dispatch in many, or for whoever asks.
            if posted.is_multiple_of(SAMPLED) || dispatch::spans_are_on() {
                let timed = posted.is_multiple_of(SAMPLED);
                dispatch::run_watched(frame, &route.inline, payload, scene, timed);
                dispatch::run_watched(frame, narrow, payload, scene, timed);
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

    pub(super) fn dispatch_by(
        frame: &Frame,
        route: &Route<T>,
        posted: u64,
        event: &Arc<Envelope<T>>,
    ) {
        Self::run_and_hand_out(frame, route, posted, event);
        event.core.wake(route);
    }

    /// Without waking anybody yet: a batch does that once.
    pub(super) fn run_and_hand_out(
        frame: &Frame,
        route: &Route<T>,
        posted: u64,
        event: &Arc<Envelope<T>>,
    ) {
        let core = &event.core;
        let meta = &event.meta;
        let scene = Scene {
            info: &core.info,
            operation: meta.operation,
            json: &meta.json,
        };
        {
            // The thread that dispatches a change need not be the one that posted it.
            let _span = meta.span.enter();
            under(meta.cause, || {
                core.run_inline(frame, route, meta.trail, posted, &event.payload, &scene);
            });
        }
        if !route.is_inline_only() {
            core.hand_out(route, event);
        }
        meta.completion.dispatched();
    }

    /// Gives the event to workers and queues, all of them in one order.
    fn hand_out(&self, route: &Route<T>, event: &Arc<Envelope<T>>) {
        let operation = event.meta.operation;
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
                        event.meta.missed.fetch_add(1, Ordering::Relaxed);
                    }
                    Offer::Accepted => {}
                }
            }
            for outlet in route
                .outlets
                .iter()
                .filter(|outlet| outlet.wants(operation))
            {
                let reserved = outlet.is_strict() && outlet.serial() <= event.meta.reserved_until;
                outlet.push(event, reserved);
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

    /// Keeps a place in every queue that would refuse the event; gives the last serial that has one.
    pub(super) fn reserve(&self, route: &Route<T>) -> Result<u64, Full> {
        if !route.strict || self.info.crud {
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

    /// Nobody will hear of an accepted event: it is counted, and who waits for it is told why.
    pub(crate) fn discard_for(event: &Arc<Envelope<T>>, refusal: Refusal) {
        event.core.hub.count_dropped();
        // Set once: an event is either dispatched or discarded.
        let _: Result<(), Refusal> = event.meta.refusal.set(refusal);
        event.meta.completion.dispatched();
    }
}
