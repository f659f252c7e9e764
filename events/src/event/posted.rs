//! [`Posted`]: an event on its way, whatever its type; and [`Meta`], what travels with its payload.

use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;
use tidings_core::{Cause, Operation};

use crate::{
    error::Refusal,
    event::{
        completion::Completion,
        info::ChannelInfo,
        payload::{AnyPayload, Event},
        trail::Trail,
    },
};

/// The payload as JSON, made at the first request; an error where the payload does not serialize.
pub(crate) type LazyJson = OnceLock<Result<Json, String>>;

/// An event on its way, whatever its type.
pub(crate) trait Posted: Send + Sync {
    fn info(&self) -> &ChannelInfo;

    fn meta(&self) -> &Meta;

    fn payload(&self) -> &AnyPayload;

    /// Returns the payload as JSON; made once.
    fn json(&self) -> &Result<Json, String>;

    /// Runs the inline handlers, then feeds workers and queues.
    fn dispatch(self: Arc<Self>);

    /// Ends an event that no listener will receive, because the bus was shut down.
    fn discard(self: Arc<Self>);

    /// Reports this many changes of its channel and operation as lost, of which this is one.
    fn report_lost(self: Arc<Self>, missed: u64);

    /// Picks another live worker for it; called when the one it was given to died.
    fn reassign(self: Arc<Self>);
}

/// A payload and what travels with it: in an envelope of its own, or in a slot of a queue's log.
pub(crate) struct Stored<T> {
    pub(crate) meta: Meta,
    pub(crate) payload: T,
}

/// What travels with a payload. Every event pays for its size, so what few events need is apart.
pub(crate) struct Meta {
    pub(crate) operation: Option<Operation>,
    /// Made with the event where it is known then, later where the JSON form is asked for.
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
    /// The handlers that are not done with the event yet, if a caller may ask.
    pub(crate) completion: Option<Completion>,
    /// The choice of a worker, if one worker is to handle the event: another takes over if that one
    /// dies.
    pub(crate) unique: Option<u64>,
    /// Why no listener receives a change that has been made: its dispatch is a gap.
    pub(crate) lost: Option<Refusal>,
    /// Strict queues up to this serial reserved a slot for an event that was put aside.
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

    /// Returns whether anything but the payload has a `Drop` of its own.
    #[inline]
    pub(crate) fn has_extra(&self) -> bool {
        self.extra.get().is_some()
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

    /// Returns the poster's span, or a disabled one if there was none.
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
    /// Returns the payload as JSON; made once.
    pub(crate) fn json(&self, channel: &ChannelInfo) -> &Result<Json, String> {
        let extra = self.meta.extra.get_or_init(Box::default);
        extra.json.get_or_init(|| channel.form.of(&self.payload))
    }
}

impl Extra {
    /// Describes what this thread posts outside of handlers.
    pub(crate) fn of_poster() -> Self {
        // Asked first: without a tracing subscriber there is no current span to find.
        let span = tracing::dispatcher::has_been_set()
            .then(tracing::Span::current)
            .filter(|span| !span.is_none());

        Self {
            cause: Cause::current(),
            span,
            ..Self::default()
        }
    }

    /// Makes the poster's extras, if there are any.
    #[inline]
    pub(crate) fn of_poster_if_any() -> Option<Box<Self>> {
        if Cause::current().is_none() && !tracing::dispatcher::has_been_set() {
            return None;
        }
        Self::boxed_if_any()
    }

    #[cold]
    fn boxed_if_any() -> Option<Box<Self>> {
        let extra = Self::of_poster();
        (extra.cause.is_some() || extra.span.is_some()).then(|| Box::new(extra))
    }
}
