//! Loads, fills, invalidations and the tag index: everything that the fence orders. It knows no
//! handle of a user.

// One load in progress. Must not know the result of a load.
pub(crate) mod flight;

// The table of loads in progress. Must not know when a load fills.
pub(crate) mod flights;

// The bound on loads that run at once. Must not know what they load.
pub(crate) mod permits;

// The tag index. Must not know flights.
pub(crate) mod tags;

// Which views there are. Must not know what they hold.
pub(crate) mod views;

// What the caches of a node share, and the engine of one named cache.
pub(crate) mod node;

// Until when the node's bound lets entries be served. Must not know levels.
pub(crate) mod horizon;

// The result of a load or a set, without its type, and the entry made of it.
pub(crate) mod erased;

// Whether that entry may enter L2.
pub(crate) mod fill;

// Values that callers know to be current.
pub(crate) mod set;

// Loads that fail or are late.
pub(crate) mod stale;

// Invalidations.
pub(crate) mod invalidate;

// Lookups and promotion.
pub(crate) mod lookup;

// How long one caller waits.
pub(crate) mod deadlines;

// A load's task.
pub(crate) mod task;

// Callers that join a load or start one.
pub(crate) mod load;
