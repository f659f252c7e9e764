//! [`Offer`]: what became of an event that was offered to a listener.

/// The answer of a mailbox or a queue. The caller that offered the event counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Offer {
    Accepted,
    /// There was no room: the listener will find a gap.
    Missed,
    /// The listener is gone, or the bus closes.
    Closed,
}
