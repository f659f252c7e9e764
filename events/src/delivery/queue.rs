//! The third way to listen: queues, each with its policy.
//!
//! Two structures serve them. All subscribers that drop the oldest share one [`log`]: an event is
//! written once, and a reader that is behind by more than its capacity skips ahead when it reads.
//! Where the post decides (drop the newest, refuse, wait), each subscriber has a [`bounded`] queue
//! of its own; [`blocking`] is the same for plain threads.

/// How a subscriber wants its queue.
pub(crate) mod options;

/// The counts of one subscriber.
pub(crate) mod stats;

/// A queue as its channel sees it.
pub(crate) mod outlet;

/// What comes out of a queue.
pub(crate) mod received;

/// A queue of one subscriber's own.
pub(crate) mod bounded;

/// The same for plain threads.
pub(crate) mod blocking;

/// The queue that subscribers share.
pub(crate) mod log;

/// All queues of one channel.
pub(crate) mod outlets;

/// The receiving end, for tasks.
pub(crate) mod subscriber;
