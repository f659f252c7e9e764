//! What comes out of a queue.

use std::{fmt, ops::Deref, sync::Arc};

use tidings_core::{Cause, Operation};

use super::log::Segment;
use crate::{
    envelope::{ChannelInfo, Envelope, Stored},
    event::{DynamicEvent, Event},
    gap::Gap,
};

/// What a subscriber hears: an event, or that some are missing. There is no way to get at the one without
/// having seen the other.
#[must_use]
pub enum Heard<T: Event> {
    /// The next event.
    Event(Received<T>),
    /// Events that this subscriber did not get; it stands in their place.
    Gap(Gap),
}

/// An event as a subscriber holds it; dereferences to the payload. Clones share it.
///
/// It keeps the event alive, and with it up to 31 others that were posted about the same time: whoever stores
/// events for long clones the payload instead.
pub struct Received<T: Event> {
    place: Place<T>,
}

/// Where the event lies.
enum Place<T: Event> {
    Shared(Arc<Envelope<T>>),
    /// In a slot that holds an event of its own.
    InLog(Arc<Segment<T>>, usize),
}

impl<T: Event> Received<T> {
    pub(crate) fn shared(envelope: Arc<Envelope<T>>) -> Self {
        Self {
            place: Place::Shared(envelope),
        }
    }

    #[inline]
    pub(crate) fn in_log(segment: Arc<Segment<T>>, slot: usize) -> Self {
        Self {
            place: Place::InLog(segment, slot),
        }
    }

    fn info(&self) -> &ChannelInfo {
        match &self.place {
            Place::Shared(envelope) => &envelope.core.info,
            Place::InLog(segment, _) => segment.info(),
        }
    }

    #[inline]
    fn stored(&self) -> &Stored<T> {
        match &self.place {
            Place::Shared(envelope) => &envelope.stored,
            Place::InLog(segment, slot) => segment.stored(*slot),
        }
    }

    /// The source of the channel.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.info().source
    }

    /// The event of the channel.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.info().event
    }

    /// What was done to the row; none on channels that carry no changes.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.stored().meta.operation
    }

    /// The cause to handle the event under: enter it where `invalidate` is called, as the bus does around
    /// handlers.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.stored().meta.cause()
    }

    /// The poster's span.
    #[must_use]
    pub fn span(&self) -> &tracing::Span {
        self.stored().meta.span()
    }

    /// Reads the event in its dynamic form.
    pub fn read_dynamic<R>(&self, read: impl FnOnce(&DynamicEvent<'_>) -> R) -> R {
        read(&DynamicEvent {
            info: self.info(),
            operation: self.operation(),
            body: self.stored(),
        })
    }
}

impl<T: Event> Deref for Received<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.stored().payload
    }
}

impl<T: Event> Clone for Received<T> {
    fn clone(&self) -> Self {
        let place = match &self.place {
            Place::Shared(envelope) => Place::Shared(Arc::clone(envelope)),
            Place::InLog(segment, slot) => Place::InLog(Arc::clone(segment), *slot),
        };
        Self { place }
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
