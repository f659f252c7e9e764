//! The public handle and its methods, each a thin layer over the engine. No module below imports
//! them.

// The future of a `get`.
pub(crate) mod get;

// The handle.
pub(crate) mod cache;

// The builder.
pub(crate) mod builder;

// `get` for plain threads.
pub(crate) mod blocking;

// Many keys at once.
pub(crate) mod bulk;

// `set` and `renew`.
pub(crate) mod set;

// Probes.
pub(crate) mod probe;

// An entry, and whether it is still there later.
pub(crate) mod sample;

// The recent history of a key.
pub(crate) mod explain;

// What is cached, entry by entry.
pub(crate) mod walk;

// Invalidation.
pub(crate) mod invalidate;

// Values in another form.
pub(crate) mod decoded;

// Values of one type under one name, by parts.
pub(crate) mod view;

// What arrives from other nodes.
pub(crate) mod remote;

// Threads, sweeping, statistics.
pub(crate) mod upkeep;

// The `metrics` facade.
pub(crate) mod publish;
