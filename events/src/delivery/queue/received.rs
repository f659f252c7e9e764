//! [`Received`]: an event as a subscriber gets it from its queue.

use std::{fmt, ops::Deref, sync::Arc};

use tidings_core::{Cause, Operation};

use crate::{
    delivery::envelope::Envelope,
    event::{dynamic::DynamicEvent, payload::Event},
};

/// A received event; dereferences to the payload. Clones share it.
pub struct Received<T: Event> {
    envelope: Arc<Envelope<T>>,
}

impl<T: Event> Received<T> {
    #[inline]
    pub(crate) fn new(envelope: Arc<Envelope<T>>) -> Self {
        Self { envelope }
    }

    /// Returns the source of the channel.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.envelope.info().source
    }

    /// Returns the event of the channel.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.envelope.info().event
    }

    /// Returns the operation on the row; `None` on channels that carry no changes.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.envelope.stored().meta.operation
    }

    /// Returns the cause of the event. Enter it before you call `invalidate`, as the bus does
    /// around handlers.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.envelope.stored().meta.cause()
    }

    /// Returns the poster's span.
    #[must_use]
    pub fn span(&self) -> &tracing::Span {
        self.envelope.stored().meta.span()
    }

    /// Reads the event in its dynamic form.
    pub fn read_dynamic<R>(&self, read: impl FnOnce(&DynamicEvent<'_>) -> R) -> R {
        DynamicEvent::with_posted(&*self.envelope, read)
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
