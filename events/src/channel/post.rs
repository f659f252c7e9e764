//! The ways to post to everybody.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::{Either, select};
use tidings_core::Cause;
use tokio::sync::Notify;

use super::ChannelCore;
use crate::{
    delivery::Delivery,
    dispatch::Scene,
    envelope::{Addressee, Envelope, Posted},
    error::{PostError, Refusal},
    event::Event,
    frame::{Deferred, Frame, MAX_PENDING},
    queue::Full,
    trail::Trail,
};

impl<T: Event> ChannelCore<T> {
    #[inline]
    pub(crate) fn post(self: &Arc<Self>, event: T) -> Result<(), PostError<T>> {
        if let Err(refusal) = self.admit(&event) {
            return Err(self.refuse(event, refusal));
        }
        Frame::with(|frame| {
            if frame.is_running() {
                return self.post_nested(frame, event).map(drop);
            }
            if self.operation_of.is_some() {
                self.enqueue(event, Trail::default());
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
                let reserved = match self.reserve(&route) {
                    Ok(reserved) => reserved,
                    Err(full) => {
                        self.uncount(frame);
                        return Err(self.refuse(event, full.into()));
                    }
                };
                let event = self.for_all(event, Trail::default(), reserved);
                Self::dispatch_by(frame, &route, posted, &event);
            }
            drop(route);
            frame.settle();
            Ok(())
        })
    }

    /// Posts several events; workers and queues are woken once.
    pub(crate) fn post_batch(self: &Arc<Self>, events: Vec<T>) -> Result<(), PostError<Vec<T>>> {
        let admitted = events.iter().try_for_each(|event| self.admit(event));
        if let Err(refusal) = admitted {
            return Err(self.refuse_all(events, refusal));
        }
        let mut events = events.into_iter();
        Frame::with(|frame| {
            if frame.is_running() || self.operation_of.is_some() {
                while let Some(event) = events.next() {
                    if let Err(error) = self.post(event) {
                        return Err(give_back(error, events));
                    }
                }
                return Ok(());
            }
            let mut result = Ok(());
            let mut last = None;
            while let Some(event) = events.next() {
                let (route, posted) = self.route(frame);
                let reserved = match self.reserve(&route) {
                    Ok(reserved) => reserved,
                    Err(full) => {
                        self.uncount(frame);
                        let error = self.refuse(event, full.into());
                        result = Err(give_back(error, events));
                        break;
                    }
                };
                let event = self.for_all(event, Trail::default(), reserved);
                Self::run_and_hand_out(frame, &route, posted, &event);
                last = Some(route);
            }
            // Whoever left a route while the batch ran was woken by leaving it.
            if let Some(route) = last {
                self.wake(&route);
            }
            frame.settle();
            result
        })
    }

    /// Posts and tells when the handlers have run; gives a full queue's notice where there is one to wait for.
    pub(crate) fn post_tracked(
        self: &Arc<Self>,
        event: T,
    ) -> Result<Delivery, (PostError<T>, Option<Arc<Notify>>)> {
        if let Err(refusal) = self.admit(&event) {
            return Err((self.refuse(event, refusal), None));
        }
        Frame::with(|frame| {
            if frame.is_running() {
                let posted = self
                    .post_nested(frame, event)
                    .map_err(|error| (error, None))?;
                return Ok(Delivery::new(posted));
            }
            if self.operation_of.is_some() {
                return Ok(Delivery::new(self.enqueue(event, Trail::default())));
            }
            let (route, posted) = self.route(frame);
            let reserved = match self.reserve(&route) {
                Ok(reserved) => reserved,
                Err(Full { subscriber, room }) => {
                    self.uncount(frame);
                    // The post that did not happen is not to be counted as refused yet: it may wait.
                    let refusal = Refusal::Full { subscriber };
                    return Err((PostError::new(event, refusal), room));
                }
            };
            let event = self.for_all(event, Trail::default(), reserved);
            Self::dispatch_by(frame, &route, posted, &event);
            drop(route);
            frame.settle();
            Ok(Delivery::new(event))
        })
    }

    /// Waits for room until `deadline`.
    pub(crate) async fn post_async(
        self: &Arc<Self>,
        mut event: T,
        deadline: Duration,
    ) -> Result<Delivery, PostError<T>> {
        let until = self.hub.clock.now().plus(deadline);
        loop {
            let (error, room) = match self.post_tracked(event) {
                Ok(delivery) => return Ok(delivery),
                Err(full) => full,
            };
            let Some(room) = room else {
                self.hub.count_refusal();
                return Err(error);
            };
            event = error.event;
            let mut noticed = Box::pin(room.notified());
            noticed.as_mut().enable();
            // Room made between the refusal above and `enable` would go unnoticed, so look again.
            #[cfg(shuttle)]
            let looks = !crate::faults::is(crate::faults::Fault::RoomUnseen);
            #[cfg(not(shuttle))]
            let looks = true;
            if looks {
                match self.post_tracked(event) {
                    Ok(delivery) => return Ok(delivery),
                    Err((error, Some(_))) => event = error.event,
                    Err((error, None)) => {
                        self.hub.count_refusal();
                        return Err(error);
                    }
                }
            }
            let sleep = self.hub.clock.sleep_until(until);
            if let Either::Right(_) = select(noticed, sleep).await {
                // Once more, since room and deadline may have come together.
                return self.post_tracked(event).map_err(|(error, _)| {
                    self.hub.count_refusal();
                    error
                });
            }
        }
    }

    pub(super) fn admit(&self, event: &T) -> Result<(), Refusal> {
        if self.hub.is_closed() {
            return Err(Refusal::Closed);
        }
        match self.hub.settings.max_payload {
            Some(limit) => crate::limit::check(event, limit),
            None => Ok(()),
        }
    }

    /// A post from inside a handler: it waits for the current event to be handled by all.
    #[cold]
    fn post_nested(
        self: &Arc<Self>,
        frame: &Frame,
        event: T,
    ) -> Result<Arc<dyn Posted>, PostError<T>> {
        let trail = frame.trail();
        if let Err(refusal) = self.hub.check_depth(&trail, self.info.index) {
            return Err(self.refuse(event, refusal));
        }
        if !frame.has_room() {
            return Err(self.refuse(event, Refusal::TooManyPending { limit: MAX_PENDING }));
        }
        if self.operation_of.is_some() {
            return Ok(self.enqueue(event, trail));
        }
        let route = self.route_uncounted(frame);
        let reserved = match self.reserve(&route) {
            Ok(reserved) => reserved,
            Err(full) => return Err(self.refuse(event, full.into())),
        };
        let posted: Arc<dyn Posted> = self.for_all(event, trail, reserved);
        frame.defer(Deferred::Post(Arc::clone(&posted)));
        Ok(posted)
    }

    /// Puts a change in the sequencer and sees that it is drained, now or after the running handler.
    fn enqueue(self: &Arc<Self>, event: T, trail: Trail) -> Arc<dyn Posted> {
        let posted: Arc<dyn Posted> = self.for_all(event, trail, 0);
        if self.hub.sequencer.enqueue(Arc::clone(&posted)) {
            self.hub.drain_soon();
        } else {
            Arc::clone(&posted).discard();
        }
        posted
    }

    fn for_all(self: &Arc<Self>, event: T, trail: Trail, reserved_until: u64) -> Arc<Envelope<T>> {
        let mut envelope = self.envelope(event, Addressee::All, trail, Cause::current());
        envelope.meta.reserved_until = reserved_until;
        Arc::new(envelope)
    }

    #[cold]
    pub(crate) fn refuse(&self, event: T, refusal: Refusal) -> PostError<T> {
        self.hub.count_refusal();
        PostError::new(event, refusal)
    }

    fn refuse_all(&self, events: Vec<T>, refusal: Refusal) -> PostError<Vec<T>> {
        self.hub.count_refusal();
        PostError::new(events, refusal)
    }
}

/// The events of a batch that were not posted.
fn give_back<T>(error: PostError<T>, rest: impl Iterator<Item = T>) -> PostError<Vec<T>> {
    let mut events = vec![error.event];
    events.extend(rest);
    PostError::new(events, error.refusal)
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Self::Full {
            subscriber: full.subscriber,
        }
    }
}
