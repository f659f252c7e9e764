//! What an event is: its name, its forms, its trail, and the handlers that take it. Imports nothing
//! above it.

/// Names of channels, and patterns over them.
pub(crate) mod name;

/// Measures payloads where a limit is set.
pub(crate) mod limit;

/// What a channel can carry.
pub(crate) mod payload;

/// What every event knows of its channel.
pub(crate) mod info;

/// The report of missed events.
pub(crate) mod gap;

/// An event, or a gap in its place.
pub(crate) mod heard;

/// Which events led to this one.
pub(crate) mod trail;

/// Which handlers are not done with an event yet.
pub(crate) mod completion;

/// An event on its way, whatever its type.
pub(crate) mod posted;

/// The form in which wildcard handlers see an event.
pub(crate) mod dynamic;

/// Default names of handlers and subscribers.
pub(crate) mod label;

/// What is known of a handler: name, state, counts.
pub(crate) mod handler;
