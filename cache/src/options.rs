//! The options of calls, caches and policies, and what results from them.

// Named policies. Must not know what they set.
pub(crate) mod policy;

// The options of each level, and what results from them.
pub(crate) mod terms;

// The options of a call.
pub(crate) mod call;

// The settings of a named cache.
pub(crate) mod settings;

// The times of an entry.
pub(crate) mod lifetime;
