//! How one listener gets an event: envelopes, mailboxes, queues, feeds. Knows no channel and no
//! bus.

/// An event in the one allocation that a post makes.
pub(crate) mod envelope;

/// What became of an event that was offered to a listener.
pub(crate) mod offer;

/// Counts the work in progress, so that a shutdown knows when it has ended.
pub(crate) mod work;

/// The queue in front of a worker.
pub(crate) mod mailbox;

/// The queues of subscribers.
pub(crate) mod queue;

/// The live feed of all events, and the lifecycle events of the bus.
pub(crate) mod feed;

/// One order for the changes of all CRUD channels.
pub(crate) mod sequencer;

/// Waits until all handlers of an event have run.
pub(crate) mod handled;
