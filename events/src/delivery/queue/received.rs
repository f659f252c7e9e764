//! What comes out of a queue.

use std::{fmt, ops::Deref, sync::Arc};

use tidings_core::{Cause, Operation};

use crate::{
    delivery::envelope::Envelope,
    event::{dynamic::DynamicEvent, gap::Gap, payload::Event},
};

/// What a subscriber hears: an event, or that some are missing. There is no way to get at the one without
/// having seen the other.
#[must_use]
pub enum Heard<T: Event> {
    /// The next event.
    Event(Received<T>),
    /// Events that this subscriber did not get; it takes their place.
    Gap(Gap),
}

/// An event as a subscriber holds it; dereferences to the payload. Clones share it.
pub struct Received<T: Event> {
    envelope: Arc<Envelope<T>>,
}

impl<T: Event> Received<T> {
    #[inline]
    pub(crate) fn new(envelope: Arc<Envelope<T>>) -> Self {
        Self { envelope }
    }

    /// The source of the channel.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.envelope.info().source
    }

    /// The event of the channel.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.envelope.info().event
    }

    /// What was done to the row; none on channels that carry no changes.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.envelope.stored().meta.operation
    }

    /// The cause to handle the event under: enter it where `invalidate` is called, as the bus does around
    /// handlers.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.envelope.stored().meta.cause()
    }

    /// The poster's span.
    #[must_use]
    pub fn span(&self) -> &tracing::Span {
        self.envelope.stored().meta.span()
    }

    /// Reads the event in its dynamic form.
    pub fn read_dynamic<R>(&self, read: impl FnOnce(&DynamicEvent<'_>) -> R) -> R {
        read(&DynamicEvent {
            info: self.envelope.info(),
            operation: self.operation(),
            body: self.envelope.stored(),
        })
    }
}

impl<T: Event> Deref for Received<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.envelope.stored().payload
    }
}

impl<T: Event> Clone for Received<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.envelope))
    }
}

impl<T: Event> fmt::Debug for Received<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("source", &self.source())
            .field("event", &self.event())
            .finish_non_exhaustive()
    }
}

impl<T: Event> Heard<T> {
    /// The event, unless it is a gap.
    #[must_use]
    pub fn event(self) -> Option<Received<T>> {
        match self {
            Self::Event(event) => Some(event),
            Self::Gap(_) => None,
        }
    }
}

impl<T: Event> fmt::Debug for Heard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Gap(gap) => f.debug_tuple("Gap").field(gap).finish(),
        }
    }
}

/// Nothing to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The queue is empty.
    #[error("the queue is empty")]
    Empty,
    /// The bus was shut down and the queue is empty.
    #[error("the bus was shut down")]
    Closed,
}
