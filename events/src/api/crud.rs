//! [`CrudChannel`]: the channel of one entity's changes, fed in commit order.

use std::{fmt, mem, sync::Arc};

use tidings_core::{Cause, CrudEvent, Entity};

use crate::{
    channel::{core::ChannelCore, handle::Channel},
    delivery::{
        handled::Delivery,
        sequencer::{EnqueueError, MAX_CHANGES},
    },
    error::Refusal,
    event::{
        completion::Completion,
        limit,
        posted::{Extra, Posted},
    },
    hub::Hub,
    thread::frame::Frame,
};

/// The channel `("crud", E::NAME)`, and with it `"E::NAME:create"`, `":update"` and `":delete"`.
///
/// A write uses the channel in two steps, so that handlers see the changes of all entities in the
/// order in which they were made. While the store still holds its writer,
/// [`enqueue`](Self::enqueue) fixes the change's place; it never waits. After the writer is
/// released, [`Ticket::dispatch`] runs the handlers.
pub struct CrudChannel<E: Entity> {
    channel: Channel<CrudEvent<E>>,
}

impl<E: Entity> CrudChannel<E> {
    pub(crate) fn new(channel: Channel<CrudEvent<E>>) -> Self {
        Self { channel }
    }

    /// Assigns the change its place in the order of all CRUD channels of the bus. It runs no
    /// handler and never waits. It costs the event's allocation and a push under a short lock.
    ///
    /// The bus cannot refuse a change, because the change has already happened. But no listener
    /// receives it after a shutdown, inside a cycle of handlers that is deeper than the bus allows,
    /// or while 65,536 changes wait for a slow handler. The bus counts such a change, and
    /// [`Delivery::handled`] reports it. Unless the bus was shut down, workers and queues find a
    /// [`Gap`](crate::Gap) in its place.
    pub fn enqueue(&self, change: CrudEvent<E>, cause: Cause) -> Ticket {
        let core: &Arc<ChannelCore<_>> = &self.channel.core;
        let hub = core.hub();
        let trail = Frame::with(Frame::trail_of_posts);

        let extra = Extra {
            cause: Some(cause),
            trail,
            completion: Some(Completion::new()),
            lost: hub.check_depth(&trail, core.info()).err(),
            ..Extra::of_poster()
        };
        let event = core.envelope(change, Some(Box::new(extra)));

        let posted: Arc<dyn Posted> = Arc::clone(&event) as _;
        match hub.enqueue(&posted, core.stay_open()) {
            Ok(()) => {}
            Err(EnqueueError::Closed) => core.discard_for(&event, Refusal::Closed),
            Err(EnqueueError::Full) => {
                core.discard_for(&event, Refusal::TooManyPending { limit: MAX_CHANGES });
                hub.lose(posted, core.stay_open());
            }
        }

        Ticket {
            event: Some(event),
            hub: Arc::clone(hub),
        }
    }

    /// Checks a change against the bus's limit on payloads. Call it before you make the change.
    ///
    /// # Errors
    ///
    /// The change is too large, or does not serialize. Without a limit there is no error.
    pub fn check(&self, change: &CrudEvent<E>) -> Result<(), Refusal> {
        match self.channel.core.hub().settings().max_payload {
            Some(limit) => limit::check(change, limit),
            None => Ok(()),
        }
    }

    /// Returns the typed channel. A post through it is an [`enqueue`](Self::enqueue) and a
    /// [`dispatch`](Ticket::dispatch) in one, under the cause of the current thread.
    #[must_use]
    pub fn channel(&self) -> &Channel<CrudEvent<E>> {
        &self.channel
    }
}

impl<E: Entity> Clone for CrudChannel<E> {
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
        }
    }
}

impl<E: Entity> fmt::Debug for CrudChannel<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CrudChannel").field(&self.channel).finish()
    }
}

/// A change that has its place in the order and waits for its dispatch.
///
/// Dropping it dispatches too, so that a writer that fails in between leaves no change behind.
#[must_use = "the change reaches its handlers when the ticket is dispatched"]
pub struct Ticket {
    event: Option<Arc<dyn Posted>>,
    hub: Arc<Hub>,
}

impl Ticket {
    /// Dispatches every change up to this one, in order: inline handlers on this thread, then
    /// mailboxes and queues. If another thread is already dispatching, that thread also dispatches
    /// this change, and this call returns at once. Inside a handler the dispatch happens after that
    /// handler's event. No lock is held while handlers run.
    ///
    /// A dispatching thread continues until the sequencer is empty, so it may also handle changes
    /// that other writers enqueue in the meantime.
    pub fn dispatch(mut self) -> Delivery {
        let event = self
            .event
            .take()
            .expect("only `dispatch` and `drop` take the event, and both end the ticket");
        self.hub.drain_soon();
        Delivery::new(event, self.hub.clock())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Handlers do not run on a thread that unwinds: the next dispatch takes the change.
        if mem::take(&mut self.event).is_some() && !std::thread::panicking() {
            self.hub.drain_soon();
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("channel", &self.event.as_ref().map(|event| event.info()))
            .finish()
    }
}
