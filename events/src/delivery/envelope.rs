//! [`Envelope`]: an event on its way, in the one allocation that a post makes.

use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;

use crate::{
    event::{
        info::ChannelInfo,
        payload::{AnyPayload, Event},
        posted::{Extra, Meta, Posted, Stored},
    },
    isolate::discard,
};

/// The channel of an envelope, as far as the envelope must know it.
pub(crate) trait EnvelopeOwner<T: Event>: Send + Sync {
    fn info(&self) -> &ChannelInfo;

    /// Runs the inline handlers, then feeds workers and queues.
    fn dispatch(&self, envelope: &Arc<Envelope<T>>);

    /// Ends an event that no listener will receive, because the bus was shut down.
    fn discard(&self, envelope: &Arc<Envelope<T>>);

    /// Reports events of the channel like this one as lost.
    fn report_lost(&self, envelope: &Arc<Envelope<T>>, missed: u64);

    /// Picks another live worker for the event.
    fn reassign(&self, envelope: &Arc<Envelope<T>>);
}

/// An event on its way: what workers and queues share.
pub(crate) struct Envelope<T: Event> {
    place: Place<T>,
    /// Filled from the start, except in a log's slots, which are filled later, emptied, and filled
    /// again.
    stored: OnceLock<Stored<T>>,
}

/// Where an envelope belongs.
enum Place<T: Event> {
    Channel(Arc<dyn EnvelopeOwner<T>>),
    /// A slot of a log. The log belongs to the channel, so this must not own the channel.
    Log(Arc<ChannelInfo>),
}

impl<T: Event> Envelope<T> {
    pub(crate) fn new(owner: Arc<dyn EnvelopeOwner<T>>, stored: Stored<T>) -> Self {
        Self {
            place: Place::Channel(owner),
            stored: OnceLock::from(stored),
        }
    }

    /// Makes a slot of a log, to be [filled](Self::fill).
    pub(crate) fn slot(info: Arc<ChannelInfo>) -> Self {
        Self {
            place: Place::Log(info),
            stored: OnceLock::new(),
        }
    }

    /// Fills a slot; does nothing to one that is full.
    #[inline]
    pub(crate) fn fill(&self, extra: Option<Box<Extra>>, payload: T) {
        // Taken apart and by reference, so that the payload is moved as rarely as possible.
        let mut payload = Some(payload);
        self.stored.get_or_init(|| Stored {
            meta: Meta::new(None, extra),
            payload: payload
                .take()
                .expect("made once, with the payload still there"),
        });
    }

    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.stored.get().is_some()
    }

    /// Empties a slot that nothing refers to any more.
    pub(crate) fn empty(&mut self) {
        if let Some(Stored { meta, payload }) = self.stored.take() {
            discard("a payload's drop", payload);
            if meta.has_extra() {
                discard("a span", meta);
            }
        }
    }

    #[inline]
    pub(crate) fn stored(&self) -> &Stored<T> {
        match self.stored.get() {
            Some(stored) => stored,
            None => {
                unreachable!(
                    "a slot is handed out once it is filled, and emptied once it came back"
                )
            }
        }
    }

    #[inline]
    pub(crate) fn meta(&self) -> &Meta {
        &self.stored().meta
    }

    pub(crate) fn info(&self) -> &ChannelInfo {
        match &self.place {
            Place::Channel(owner) => owner.info(),
            Place::Log(info) => info,
        }
    }

    /// Returns the channel; none for an event that was written right into a log, which only its
    /// readers see.
    fn owner(&self) -> Option<&Arc<dyn EnvelopeOwner<T>>> {
        match &self.place {
            Place::Channel(owner) => Some(owner),
            Place::Log(_) => None,
        }
    }

    /// Returns the payload of an event that nothing else refers to.
    pub(crate) fn into_payload(mut self) -> Option<T> {
        Some(self.stored.take()?.payload)
    }
}

/// A payload's `Drop` may panic, wherever the last reference goes: it does not get out of here.
impl<T: Event> Drop for Envelope<T> {
    fn drop(&mut self) {
        self.empty();
    }
}

impl<T: Event> Posted for Envelope<T> {
    fn info(&self) -> &ChannelInfo {
        self.info()
    }

    fn meta(&self) -> &Meta {
        &self.stored().meta
    }

    fn payload(&self) -> &AnyPayload {
        &self.stored().payload
    }

    fn json(&self) -> &Result<Json, String> {
        self.stored().json(self.info())
    }

    fn dispatch(self: Arc<Self>) {
        if let Some(owner) = self.owner() {
            owner.dispatch(&self);
        }
    }

    fn discard(self: Arc<Self>) {
        if let Some(owner) = self.owner() {
            owner.discard(&self);
        }
    }

    fn report_lost(self: Arc<Self>, missed: u64) {
        if let Some(owner) = self.owner() {
            owner.report_lost(&self, missed);
        }
    }

    fn reassign(self: Arc<Self>) {
        if let Some(owner) = self.owner() {
            owner.reassign(&self);
        }
    }
}
