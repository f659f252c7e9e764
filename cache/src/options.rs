//! What a call, a cache and a policy may set, and what results.

// Named policies. Must not know what they set.
pub(crate) mod policy;

// What is set at each level, and what results.
pub(crate) mod terms;

// The options of a call.
pub(crate) mod call;

// The settings of a named cache.
pub(crate) mod settings;

// The times of an entry.
pub(crate) mod lifetime;
