//! The ways to post to all listeners.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

use crate::{
    channel::{core::ChannelCore, hand_out::Reserved},
    delivery::{
        envelope::Envelope,
        handled::Delivery,
        queue::{
            log::Log,
            outlet::{Full, Outlet},
        },
        sequencer::{EnqueueError, MAX_CHANGES},
    },
    error::{PostError, Refusal},
    event::{
        completion::Completion,
        dynamic::{Borrowed, NoBody},
        payload::Event,
        posted::{Extra, LazyJson, Posted},
        trail::Trail,
    },
    faults::{self, Step},
    route::{
        run::{HandlerContext, Timing},
        shards::{Route, Shape, Tally},
    },
    thread::frame::{Deferred, Frame, MAX_PENDING, in_handler},
};

/// A refused post, and the notice of room if the post may wait for room.
type RefusedPost<T> = (PostError<T>, Option<Arc<Notify>>);

/// Whether a caller may ask when the handlers of an event have run.
#[derive(Clone, Copy)]
enum Track {
    No,
    Completion,
}

impl Track {
    fn completion(self) -> Option<Completion> {
        match self {
            Self::No => None,
            Self::Completion => Some(Completion::new()),
        }
    }
}

impl<T: Event> ChannelCore<T> {
    #[inline]
    pub(crate) fn post(self: &Arc<Self>, event: T) -> Result<(), PostError<T>> {
        if let Err(refusal) = self.admit(&event) {
            return Err(self.refuse(event, refusal));
        }
        if let Some(log) = self.lone_log() {
            return self.post_to_log(log, event);
        }

        // The event stays where the caller put it: each move of a payload costs as much as a
        // handler.
        if Frame::with(|frame| self.post_inline(frame, &event)) {
            return Ok(());
        }
        self.post_on(event)
    }

    /// Writes the event right into the log, whose readers are the only listeners.
    #[inline(never)]
    fn post_to_log(self: &Arc<Self>, log: &Log<T>, event: T) -> Result<(), PostError<T>> {
        // Inside a handler a post comes after the current event.
        if in_handler() {
            return self.post_on(event);
        }

        match log.write(Extra::of_poster_if_any(), event) {
            Ok(()) => {
                log.wake();
                Ok(())
            }
            Err(event) => self.post_on(event),
        }
    }

    /// Runs the inline handlers if there is no other listener; returns whether that was so.
    #[inline]
    fn post_inline(&self, frame: &Frame, event: &T) -> bool {
        if frame.is_running() || self.operation_of.is_some() {
            return false;
        }

        let posted = self.enter(frame, |route, tally| {
            match route.shape {
                Shape::Mixed { .. } => return false,
                Shape::Inline { dynamic: true } => {
                    self.run_with_dynamic(frame, route, tally.count(), event);
                }
                Shape::Inline { dynamic: false } => {
                    let context = HandlerContext {
                        info: &self.info,
                        operation: None,
                        body: &NoBody,
                    };
                    self.run_inline(frame, route, None, tally.count(), event, &context);
                }
            }

            true
        });
        frame.run_deferred();

        posted
    }

    /// Runs inline handlers of which some may ask for the dynamic form.
    #[cold]
    fn run_with_dynamic(&self, frame: &Frame, route: &Route<T>, timing: Timing, event: &T) {
        let json = LazyJson::new();
        let context = HandlerContext {
            info: &self.info,
            operation: None,
            body: &Borrowed {
                channel: &self.info,
                json: &json,
                payload: event,
            },
        };
        self.run_inline(frame, route, None, timing, event, &context);
    }

    /// Posts to more than inline handlers, or from inside one.
    #[inline(never)]
    fn post_on(self: &Arc<Self>, event: T) -> Result<(), PostError<T>> {
        Frame::with(|frame| {
            if frame.is_running() {
                return self.post_nested(frame, event, Track::No).map(drop);
            }
            if self.operation_of.is_some() {
                return self.enqueue(event, Trail::default(), Track::No).map(drop);
            }
            let posted = self.post_by_route(frame, event, Extra::of_poster_if_any());
            frame.run_deferred();

            match posted {
                Ok(_) => Ok(()),
                Err((error, _)) => Err(self.refused(error)),
            }
        })
    }

    /// Posts outside of handlers to all listeners on the route, unless a queue is full.
    fn post_by_route(
        self: &Arc<Self>,
        frame: &Frame,
        event: T,
        extra: Option<Box<Extra>>,
    ) -> Result<Arc<Envelope<T>>, RefusedPost<T>> {
        let mut alone = None;
        let posted = self.enter(frame, |route, tally| {
            alone = route.lone_log;
            let reserved = match self.reserve(route) {
                Ok(reserved) => reserved,
                Err(Full { subscriber, room }) => {
                    return Err((self.error(event, Refusal::Full { subscriber }), room));
                }
            };
            let event = self.envelope(event, extra);
            self.dispatch_by(frame, route, tally.count(), &event, reserved);

            Ok(event)
        });

        if let Some(registrations) = alone {
            self.log_is_alone(registrations);
        }

        posted
    }

    /// Posts several events; workers and queues are woken once.
    pub(crate) fn post_batch(self: &Arc<Self>, events: Vec<T>) -> Result<(), PostError<Vec<T>>> {
        let admitted = events.iter().try_for_each(|event| self.admit(event));
        if let Err(refusal) = admitted {
            self.hub.count_refusal();
            return Err(self.error(events, refusal));
        }

        let mut events = events.into_iter();
        if let Some(log) = self.lone_log()
            && !in_handler()
        {
            let result = self.post_each_to_log(log, &mut events);
            log.wake();
            return result.map_err(|error| give_back(error, events));
        }

        Frame::with(|frame| {
            if frame.is_running() || self.operation_of.is_some() {
                while let Some(event) = events.next() {
                    if let Err(error) = self.post(event) {
                        return Err(give_back(error, events));
                    }
                }
                return Ok(());
            }

            let result = self.enter(frame, |route, tally| {
                let result = self.post_each(frame, route, tally, &mut events);
                self.wake(route);
                result
            });
            frame.run_deferred();
            result.map_err(|error| give_back(self.refused(error), events))
        })
    }

    fn post_each_to_log(
        self: &Arc<Self>,
        log: &Log<T>,
        events: &mut impl Iterator<Item = T>,
    ) -> Result<(), PostError<T>> {
        for event in events {
            if let Err(event) = log.write(Extra::of_poster_if_any(), event) {
                self.post_on(event)?;
            }
        }
        Ok(())
    }

    /// Posts all by one route: a handler registered while a batch is being posted may miss all of
    /// it.
    fn post_each(
        self: &Arc<Self>,
        frame: &Frame,
        route: &Route<T>,
        tally: &Tally<'_>,
        events: &mut impl Iterator<Item = T>,
    ) -> Result<(), PostError<T>> {
        for event in events {
            let reserved = match self.reserve(route) {
                Ok(reserved) => reserved,
                Err(full) => return Err(self.error(event, full.into())),
            };
            let event = self.envelope(event, Extra::of_poster_if_any());
            self.run_and_hand_out(frame, route, tally.count(), &event, reserved);
        }
        Ok(())
    }

    /// Posts, and tracks when the handlers have run. An error has the notice of room of a full
    /// queue, if there is one to wait for.
    pub(crate) fn post_tracked(self: &Arc<Self>, event: T) -> Result<Delivery, RefusedPost<T>> {
        if let Err(refusal) = self.admit(&event) {
            return Err((self.refuse(event, refusal), None));
        }

        Frame::with(|frame| {
            if frame.is_running() {
                let posted = self
                    .post_nested(frame, event, Track::Completion)
                    .map_err(|error| (error, None))?;
                return Ok(self.delivery(posted));
            }
            if self.operation_of.is_some() {
                let posted = self.enqueue(event, Trail::default(), Track::Completion);
                return posted
                    .map(|posted| self.delivery(posted))
                    .map_err(|error| (error, None));
            }

            let extra = Extra {
                completion: Some(Completion::new()),
                ..Extra::of_poster()
            };
            // A post that did not happen is not counted as refused yet: it may wait.
            let posted = self.post_by_route(frame, event, Some(Box::new(extra)));
            frame.run_deferred();
            Ok(self.delivery(posted?))
        })
    }

    /// Waits for room until `deadline`.
    pub(crate) async fn post_async(
        self: &Arc<Self>,
        mut event: T,
        deadline: Duration,
    ) -> Result<Delivery, PostError<T>> {
        let until = self.hub.clock().now().plus(deadline);
        loop {
            let (error, room) = match self.post_tracked(event) {
                Ok(delivery) => return Ok(delivery),
                Err(full) => full,
            };
            let Some(room) = room else {
                self.hub.count_refusal();
                return Err(error);
            };

            event = error.payload;
            let mut noticed = Box::pin(room.notified());
            noticed.as_mut().enable();

            // Room made between the refusal above and `enable` would go unnoticed, so try again.
            if !faults::removed(Step::RoomIsCheckedAgain) {
                match self.post_tracked(event) {
                    Ok(delivery) => return Ok(delivery),
                    Err((error, Some(_))) => event = error.payload,
                    Err((error, None)) => {
                        self.hub.count_refusal();
                        return Err(error);
                    }
                }
            }

            let sleep = self.hub.clock().sleep_until(until);
            if let Either::Right(_) = select(noticed, sleep).await {
                // Once more, since room and deadline may have come together.
                return self.post_tracked(event).map_err(|(error, _)| {
                    self.hub.count_refusal();
                    error
                });
            }
        }
    }

    #[inline]
    pub(super) fn admit(&self, event: &T) -> Result<(), Refusal> {
        if self.hub.is_closed() {
            return Err(Refusal::Closed);
        }
        match self.hub.settings().max_payload {
            Some(limit) => self.info.form.check(event, limit),
            None => Ok(()),
        }
    }

    /// Puts a post from inside a handler aside until the current event has been handled by all.
    #[cold]
    fn post_nested(
        self: &Arc<Self>,
        frame: &Frame,
        event: T,
        track: Track,
    ) -> Result<Arc<dyn Posted>, PostError<T>> {
        let trail = frame.trail();
        if let Err(refusal) = self.hub.check_depth(&trail, &self.info) {
            return Err(self.refuse(event, refusal));
        }
        if !frame.has_room() {
            return Err(self.refuse(event, Refusal::TooManyPending { limit: MAX_PENDING }));
        }

        if self.operation_of.is_some() {
            return self.enqueue(event, trail, track);
        }

        let reserved_until = match self.enter(frame, |route, _| self.reserve(route)) {
            Ok(Reserved(serial)) => serial,
            Err(full) => return Err(self.refuse(event, full.into())),
        };

        let extra = Extra {
            trail,
            reserved_until,
            completion: track.completion(),
            ..Extra::of_poster()
        };
        let posted: Arc<dyn Posted> = self.envelope(event, Some(Box::new(extra)));
        frame.defer(Deferred::Post(Arc::clone(&posted)));

        Ok(posted)
    }

    /// Puts a change into the sequencer and has it drained, now or after the running handler.
    fn enqueue(
        self: &Arc<Self>,
        event: T,
        trail: Trail,
        track: Track,
    ) -> Result<Arc<dyn Posted>, PostError<T>> {
        let extra = Extra {
            trail,
            completion: track.completion(),
            ..Extra::of_poster()
        };
        let envelope = self.envelope(event, Some(Box::new(extra)));
        let posted: Arc<dyn Posted> = Arc::clone(&envelope) as _;

        match self.hub.enqueue(&posted, self.stay_open()) {
            Ok(()) => self.hub.drain_soon(),
            Err(EnqueueError::Closed) => Arc::clone(&posted).discard(),
            Err(EnqueueError::Full) => {
                drop(posted);
                return Err(
                    self.take_back(envelope, Refusal::TooManyPending { limit: MAX_CHANGES })
                );
            }
        }

        Ok(posted)
    }

    fn delivery(&self, posted: Arc<dyn Posted>) -> Delivery {
        Delivery::new(posted, self.hub.clock())
    }

    #[cold]
    pub(crate) fn refuse(&self, event: T, refusal: Refusal) -> PostError<T> {
        self.hub.count_refusal();
        self.error(event, refusal)
    }

    fn error<E>(&self, payload: E, refusal: Refusal) -> PostError<E> {
        PostError::new(payload, refusal, &self.info.source, &self.info.event)
    }

    fn refused(&self, error: PostError<T>) -> PostError<T> {
        self.hub.count_refusal();
        error
    }
}

/// Collects the events of a batch that were not posted.
fn give_back<T>(error: PostError<T>, rest: impl Iterator<Item = T>) -> PostError<Vec<T>> {
    error.with(|payload| {
        let mut payloads = vec![payload];
        payloads.extend(rest);
        payloads
    })
}
