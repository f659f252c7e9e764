//! The node's level: values of any type, weighed, in two zones bounded in bytes.

// Keys as L2 holds them.
pub(crate) mod key;

// What a value weighs.
pub(crate) mod size;

// Values without their type.
pub(crate) mod stored;

// The zones themselves. Must not know when something may enter.
pub(crate) mod zone;
