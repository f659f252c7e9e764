//! What the logs of both engines share. Must not know any engine.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Which fields the keys of an entity are made of.
pub(crate) mod keys;

// Entities that a log is read for.
pub(crate) mod known;

// How long one call may take.
pub(crate) mod limit;

// Evictions that no row names.
pub(crate) mod evictions;

// What an installation did, and what capture would miss.
pub(crate) mod status;

// Capture, as one look has found it.
pub(crate) mod prints;

// Which reader was told of what about capture.
pub(crate) mod sights;

// What a reader is told of itself.
pub(crate) mod members;
