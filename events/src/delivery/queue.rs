//! The third way to listen: queues with a policy of their own.
//!
//! Two structures serve them. All subscribers that drop the oldest share one [`log`]: an event is written once,
//! whoever is behind by more than the capacity skips ahead when it reads. Where the decision falls at the post
//! (drop the newest, refuse, wait), each subscriber has a [`bounded`] queue of its own; [`blocking`] is its
//! twin for plain threads.

pub(crate) mod blocking;
pub(crate) mod bounded;
pub(crate) mod log;
mod options;
mod received;
pub(crate) mod subscriber;

use std::sync::Arc;

use tidings_core::Operation;
use tokio::sync::Notify;

use crate::{delivery::envelope::Envelope, event::dynamic::Event};

pub use self::{
    blocking::BlockingSubscriber,
    options::{Overflow, SubscribeOptions},
    received::{Heard, Received, TryRecvError},
    subscriber::{Subscriber, SubscriberStats},
};

/// Where a channel hands its events to, beside inline handlers and workers.
pub(crate) trait Outlet<T: Event>: Send + Sync {
    /// Its place in the order of all registrations.
    fn serial(&self) -> u64;

    /// The operation it is for, where it is for one only.
    fn operation(&self) -> Option<Operation>;

    fn wants(&self, operation: Option<Operation>) -> bool {
        self.operation().is_none() || self.operation() == operation
    }

    /// Takes the event, or counts it as missed; called in the channel's order, so no payload may be dropped and
    /// nobody woken here. `reserved` says that [`reserve`](Self::reserve) kept a place for it.
    fn push(&self, event: &Arc<Envelope<T>>, reserved: bool);

    /// An event that this would have been given is lost to everybody: counts it as posted and missed, in its place.
    /// Called like [`push`](Self::push).
    fn miss(&self);

    /// Wakes who waits, and drops what was replaced; called with no lock held.
    fn settle(&self);

    /// Whether a full queue refuses the post.
    fn is_strict(&self) -> bool {
        false
    }

    /// Keeps a place for one event.
    fn reserve(&self) -> Result<(), Full> {
        Ok(())
    }

    /// Gives a place back.
    fn release(&self) {}

    /// No more events come; those in the queue can still be received.
    fn close(&self);

    fn stats(&self) -> Vec<SubscriberStats>;
}

/// A strict queue has no room.
pub(crate) struct Full {
    pub(crate) subscriber: String,
    /// Told when there is room; none where the post is to be refused at once.
    pub(crate) room: Option<Arc<Notify>>,
}
