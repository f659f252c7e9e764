//! Loads, fills, invalidations and the tag index: all that the fence orders. It knows no handle of a user's.

// Loads in progress. Must not know what a load gives.
pub(crate) mod flight;

// The tag index. Must not know flights.
pub(crate) mod tags;

// What is shared, and the engine of one named cache.
pub(crate) mod node;

// What a load or a set gave, and the entry that is made of it.
pub(crate) mod cargo;

// Whether it may enter.
pub(crate) mod fill;

// Values that callers know to be current.
pub(crate) mod set;

// Loads that fail or are late.
pub(crate) mod stale;

// Invalidations.
pub(crate) mod invalidate;

// Lookups and promotion.
pub(crate) mod lookup;

// A load's task.
pub(crate) mod task;

// Callers that join a load or start one.
pub(crate) mod load;
