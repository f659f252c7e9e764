//! What one thread knows: whether it runs a handler, and what was put aside meanwhile.

pub(crate) mod frame;
pub(crate) mod park;
