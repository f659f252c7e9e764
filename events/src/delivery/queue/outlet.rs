//! [`Outlet`]: a queue as its channel sees it; [`OutletOwner`]: a channel as its queues see it.

use std::sync::Arc;

use tidings_core::Operation;
use tokio::sync::Notify;

use crate::{
    delivery::{
        envelope::Envelope,
        offer::Offer,
        queue::{options::Overflow, stats::SubscriberStats},
    },
    error::Refusal,
    event::payload::Event,
};

/// A queue to which a channel hands its events, besides inline handlers and workers.
pub(crate) trait Outlet<T: Event>: Send + Sync {
    /// Returns its place in the order of all registrations.
    fn serial(&self) -> u64;

    /// Returns the operation that it is for, if it is for one only.
    fn operation(&self) -> Option<Operation>;

    /// Returns what happens when it is full.
    fn overflow(&self) -> Overflow;

    /// Returns whether callers that wait for an event wait for this queue's handler, too.
    fn is_awaited(&self) -> bool {
        false
    }

    fn wants(&self, operation: Option<Operation>) -> bool {
        self.operation().is_none() || self.operation() == operation
    }

    /// Takes the event, or counts it as missed. Called in the channel's order, so no payload may be
    /// dropped and no waker run here.
    fn push(&self, event: &Arc<Envelope<T>>, slot: Slot) -> Offer;

    /// Counts events that are lost to all listeners as posted and missed, in their place. Called
    /// like [`push`](Self::push).
    fn miss(&self, missed: u64);

    /// Wakes receivers that wait, and drops what was replaced. Called with no lock held.
    fn wake(&self);

    /// Reserves a slot for one event.
    fn reserve(&self) -> Result<(), Full> {
        Ok(())
    }

    /// Releases a reserved slot.
    fn release(&self) {}

    /// Ends the queue: no more events come, those in it can still be received.
    fn close(&self);

    fn stats(&self) -> Vec<SubscriberStats>;

    /// Returns how many receivers it has.
    fn receivers(&self) -> usize {
        1
    }
}

/// Whether a post reserved room in a queue beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Reserved,
    Free,
}

/// Why a strict queue refused: it is full.
pub(crate) struct Full {
    pub(crate) subscriber: String,
    /// Notified when there is room; none where the post is to be refused at once.
    pub(crate) room: Option<Arc<Notify>>,
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Self::Full {
            subscriber: full.subscriber,
        }
    }
}

/// A channel, as far as its queues must know it in order to leave.
pub(crate) trait OutletOwner: Send + Sync {
    /// Hands no more events to this queue.
    fn remove_outlet(&self, serial: u64);

    /// Hands no more events to a log that its last reader left, unless another reader has come.
    fn remove_idle_log(&self, serial: u64);
}
