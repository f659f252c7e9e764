//! [`Envelope`]: an event on its way, in the one allocation that a post makes.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use serde_json::Value as Json;
use tidings_core::{Cause, Operation};

use crate::{
    channel::ChannelCore, completion::Completion, error::Refusal, event::Event, hub::Hub,
    sync::AtomicU32, trail::Trail,
};

/// Which channel an event came by.
#[derive(Debug)]
pub(crate) struct ChannelInfo {
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    /// The place in the bus's list of channels.
    pub(crate) index: u32,
    pub(crate) crud: bool,
    pub(crate) type_name: &'static str,
}

/// The payload as JSON, made by whoever asks first; an error where the payload does not serialize.
pub(crate) type LazyJson = OnceLock<Result<Json, String>>;

/// What travels with a payload.
pub(crate) struct Meta {
    pub(crate) operation: Option<Operation>,
    pub(crate) cause: Option<Cause>,
    pub(crate) trail: Trail,
    /// The poster's span, for handlers on other threads.
    pub(crate) span: tracing::Span,
    pub(crate) json: LazyJson,
    pub(crate) completion: Completion,
    /// How many workers will never handle it, because their mailbox was full. Written before the completion can
    /// reach zero.
    pub(crate) missed: AtomicU32,
    /// Why nobody heard of it, where that is so.
    pub(crate) refusal: OnceLock<Refusal>,
    pub(crate) route: Addressee,
    /// Strict queues up to this serial kept a place for the event.
    pub(crate) reserved_until: u64,
}

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// Everybody who listens.
    All,
    /// The worker that posted it.
    Worker,
    /// One worker that a key chose; another takes over if it dies.
    Unique(u64),
}

pub(crate) struct Envelope<T: Event> {
    pub(crate) core: Arc<ChannelCore<T>>,
    pub(crate) meta: Meta,
    pub(crate) payload: T,
}

/// An [`Envelope`] of any type.
pub(crate) trait Posted: Send + Sync {
    fn info(&self) -> &ChannelInfo;
    fn hub(&self) -> &Arc<Hub>;
    fn meta(&self) -> &Meta;
    fn payload(&self) -> &(dyn Any + Send + Sync);
    /// The payload as JSON; made once.
    fn json(&self) -> &Result<Json, String>;
    /// Runs the inline handlers, then feeds workers and queues.
    fn dispatch(self: Arc<Self>);
    /// Nobody will hear of it, because the bus was shut down.
    fn discard(self: Arc<Self>);
    /// Chooses a living worker for it once more; used when the one it was given to died.
    fn reassign(self: Arc<Self>);
}

impl<T: Event> Posted for Envelope<T> {
    fn info(&self) -> &ChannelInfo {
        &self.core.info
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.core.hub
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn payload(&self) -> &(dyn Any + Send + Sync) {
        &self.payload
    }

    fn json(&self) -> &Result<Json, String> {
        to_json(&self.meta.json, &self.payload)
    }

    fn dispatch(self: Arc<Self>) {
        ChannelCore::dispatch(&self);
    }

    fn discard(self: Arc<Self>) {
        ChannelCore::discard_for(&self, Refusal::Closed);
    }

    fn reassign(self: Arc<Self>) {
        ChannelCore::reassign(&self);
    }
}

pub(crate) fn to_json<'a, T: Event>(slot: &'a LazyJson, payload: &T) -> &'a Result<Json, String> {
    slot.get_or_init(|| serde_json::to_value(payload).map_err(|error| error.to_string()))
}
