//! One channel: the path of a post, and the handle that users post through. Knows no bus, only what
//! the channels of a bus share.

/// The listeners of a channel, and the route made of them.
pub(crate) mod core;

/// Subscribing and unsubscribing.
pub(crate) mod outlets;

/// An event's way to its listeners.
pub(crate) mod hand_out;

/// Posts to one worker.
pub(crate) mod direct;

/// Posts to all listeners.
pub(crate) mod post;

/// What all handles of a channel hold, and what ends with the last of them.
pub(crate) mod keep_alive;

/// The handle.
pub(crate) mod handle;
