//! [`Envelope`]: an event on its way, in the one allocation that a post makes.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use serde_json::Value as Json;
use tidings_core::{Cause, Operation};

use crate::{
    channel::core::ChannelCore,
    delivery::completion::Completion,
    error::Refusal,
    event::{dynamic::Event, trail::Trail},
    hub::Hub,
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

/// A payload and what travels with it: in an [`Envelope`] of its own, or in a slot of a queue's log.
pub(crate) struct Stored<T> {
    pub(crate) meta: Meta,
    pub(crate) payload: T,
}

/// What travels with a payload. Every event pays for its size, so what few events need is apart.
pub(crate) struct Meta {
    pub(crate) operation: Option<Operation>,
    /// Made with the event where it is known then, later where somebody asks for the JSON form.
    extra: OnceLock<Box<Extra>>,
}

/// What few events need.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) cause: Option<Cause>,
    /// How the event came about, where a handler posted it.
    pub(crate) trail: Trail,
    /// The poster's span, for handlers on other threads.
    pub(crate) span: Option<tracing::Span>,
    /// Who still has to handle the event, where somebody may ask.
    pub(crate) completion: Option<Completion>,
    /// The choice of a worker, where one worker is to handle it: another takes over if that one dies.
    pub(crate) unique: Option<u64>,
    /// Why nobody is to hear of a change that has been made: its dispatch is a gap.
    pub(crate) lost: Option<Refusal>,
    /// Strict queues up to this serial kept a place for an event that was put aside.
    pub(crate) reserved_until: u64,
    pub(crate) json: LazyJson,
}

static NOT_TRACED: tracing::Span = tracing::Span::none();

impl Meta {
    #[inline]
    pub(crate) fn new(operation: Option<Operation>, extra: Option<Box<Extra>>) -> Self {
        let extra = match extra {
            Some(extra) => OnceLock::from(extra),
            None => OnceLock::new(),
        };
        Self { operation, extra }
    }

    #[inline]
    fn extra(&self) -> Option<&Extra> {
        self.extra.get().map(|extra| &**extra)
    }

    #[inline]
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.extra()?.cause
    }

    #[inline]
    pub(crate) fn trail(&self) -> Option<&Trail> {
        self.extra()?.trail.if_any()
    }

    /// The poster's span; one that does nothing where there was none.
    #[inline]
    pub(crate) fn span(&self) -> &tracing::Span {
        let span = self.extra().and_then(|extra| extra.span.as_ref());
        span.unwrap_or(&NOT_TRACED)
    }

    #[inline]
    pub(crate) fn completion(&self) -> Option<&Completion> {
        self.extra()?.completion.as_ref()
    }

    pub(crate) fn unique(&self) -> Option<u64> {
        self.extra()?.unique
    }

    pub(crate) fn lost(&self) -> Option<&Refusal> {
        self.extra()?.lost.as_ref()
    }

    pub(crate) fn reserved_until(&self) -> u64 {
        self.extra().map_or(0, |extra| extra.reserved_until)
    }
}

impl<T: Event> Stored<T> {
    /// The payload as JSON; made once.
    pub(crate) fn json(&self) -> &Result<Json, String> {
        let extra = self.meta.extra.get_or_init(Box::default);
        to_json(&extra.json, &self.payload)
    }
}

/// An event on its way: what workers and queues share.
pub(crate) struct Envelope<T: Event> {
    home: Home<T>,
    /// Filled from the start, but for the places of a log, which are filled later, and emptied and filled again.
    stored: OnceLock<Stored<T>>,
}

/// What an envelope belongs to.
enum Home<T: Event> {
    Channel(Arc<ChannelCore<T>>),
    /// A log's place: the log belongs to the channel, so this must not own the channel.
    Log(Arc<ChannelInfo>),
}

impl<T: Event> Envelope<T> {
    pub(crate) fn new(core: Arc<ChannelCore<T>>, stored: Stored<T>) -> Self {
        Self {
            home: Home::Channel(core),
            stored: OnceLock::from(stored),
        }
    }

    /// A place in a log, to be [filled](Self::fill).
    pub(crate) fn place(info: Arc<ChannelInfo>) -> Self {
        Self {
            home: Home::Log(info),
            stored: OnceLock::new(),
        }
    }

    /// A place of the same log.
    pub(crate) fn another(&self) -> Self {
        match &self.home {
            Home::Log(info) => Self::place(Arc::clone(info)),
            Home::Channel(core) => Self::place(Arc::clone(&core.info)),
        }
    }

    /// Fills a place; nothing happens to one that is full.
    #[inline]
    pub(crate) fn fill(&self, extra: Option<Box<Extra>>, payload: T) {
        // Taken apart and by reference, so that the payload is moved as seldom as can be.
        let mut event = Some(payload);
        self.stored.get_or_init(|| Stored {
            meta: Meta::new(None, extra),
            payload: event.take().expect("made once, with the event still there"),
        });
    }

    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.stored.get().is_some()
    }

    /// Empties a place that nobody refers to any more.
    pub(crate) fn empty(&mut self) {
        self.stored.take();
    }

    #[inline]
    pub(crate) fn stored(&self) -> &Stored<T> {
        match self.stored.get() {
            Some(stored) => stored,
            None => unreachable!(
                "a place is handed out once it is filled, and emptied once it came back"
            ),
        }
    }

    #[inline]
    pub(crate) fn meta(&self) -> &Meta {
        &self.stored().meta
    }

    pub(crate) fn info(&self) -> &ChannelInfo {
        match &self.home {
            Home::Channel(core) => &core.info,
            Home::Log(info) => info,
        }
    }

    /// The channel of an event that did not go right into a log.
    pub(crate) fn core(&self) -> &Arc<ChannelCore<T>> {
        match &self.home {
            Home::Channel(core) => core,
            Home::Log(_) => unreachable!("only readers see what lies in a log"),
        }
    }

    /// The payload of an event that nobody else holds.
    pub(crate) fn into_payload(self) -> Option<T> {
        Some(self.stored.into_inner()?.payload)
    }
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
        self.info()
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.core().hub
    }

    fn meta(&self) -> &Meta {
        &self.stored().meta
    }

    fn payload(&self) -> &(dyn Any + Send + Sync) {
        &self.stored().payload
    }

    fn json(&self) -> &Result<Json, String> {
        self.stored().json()
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
