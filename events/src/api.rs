//! What users of a bus hold: the bus itself, a worker's face of it, registrations, counts. Nothing below names any of it.

pub(crate) mod builder;
pub(crate) mod bus;
pub(crate) mod crud;
pub(crate) mod listen;
pub(crate) mod metered;
pub(crate) mod registration;
pub(crate) mod stats;
pub(crate) mod watchdog;
pub(crate) mod worker;
