//! What the logs of both engines share. Must not know any engine.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The fields that the cache keys of an entity consist of.
pub(crate) mod keys;

// The entities whose changes are read.
pub(crate) mod entities;

// The time limit of a call.
pub(crate) mod limit;

// Stored evictions and application events.
pub(crate) mod evictions;

// What an installation did, and which writes are not captured.
pub(crate) mod status;

// The state of capture, as one check found it.
pub(crate) mod capture;

// Changes of capture, and which of them the evicting reader has received.
pub(crate) mod tracker;

// The row of a member.
pub(crate) mod members;
