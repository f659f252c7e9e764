//! Arguments and results of calls: tags, loads, entries and receipts.

// Names of groups. Knows nothing.
pub(crate) mod tag;

// Durations that may have no end. Knows nothing.
pub(crate) mod ttl;

// A value and how it was obtained.
pub(crate) mod entry;

// The result of a load.
pub(crate) mod loaded;

// Loads themselves.
pub(crate) mod load;

// The form in which a worker holds a value.
pub(crate) mod form;

// The result of an invalidation, and the seam to other nodes.
pub(crate) mod receipt;

// Whether the cache may keep what it reads.
pub(crate) mod fills;

// The parts of a view's keys.
pub(crate) mod parts;
