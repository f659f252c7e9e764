//! What callers give and get: tags, loads, results and receipts.

// Names of groups. Knows nothing.
pub(crate) mod tag;

// Durations that may be without end. Knows nothing.
pub(crate) mod ttl;

// A value and how it was obtained.
pub(crate) mod entry;

// What a load gives.
pub(crate) mod loaded;

// Loads themselves.
pub(crate) mod load;

// The form in which a worker holds a value.
pub(crate) mod form;

// What an invalidation gives back, and the seam to other nodes.
pub(crate) mod receipt;

// Whether what is read may be kept.
pub(crate) mod fills;

// What a view is asked with.
pub(crate) mod parts;
