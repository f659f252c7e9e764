//! Loads, fills and the tag index.

pub(crate) mod fill;
pub(crate) mod flight;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod tags;
