//! The node's level.

pub(crate) mod size;
pub(crate) mod stored;
pub(crate) mod zone;
