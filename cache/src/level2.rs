//! The node's level: values of any type, weighed, in two zones bounded in bytes.

// Keys as L2 holds them.
pub(crate) mod key;

// Values without their type.
pub(crate) mod stored;

// What a value weighs.
pub(crate) mod size;

// The zones themselves. Must not know when something may enter.
pub(crate) mod zone;
