//! What users of a bus hold: thin faces over hub and channels. Nothing below names any of it.

/// The counts of a bus.
pub(crate) mod stats;

/// Guards of registered handlers.
pub(crate) mod registration;

/// The channel of one entity's changes.
pub(crate) mod crud;

/// The bus.
pub(crate) mod bus;

/// The settings of a bus.
pub(crate) mod builder;

/// Registrations on the node.
pub(crate) mod listen;

/// A worker's own face of the bus.
pub(crate) mod worker;

/// The counts through the `metrics` facade.
pub(crate) mod metered;

/// Finds handlers that run for too long.
pub(crate) mod watchdog;
