//! One channel: how a post goes, and the handle that users post through. Knows no bus, only what
//! its channels share.

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

/// What the handles of a channel hold in common.
pub(crate) mod alive;

/// The handle.
pub(crate) mod handle;
