//! The handles that users hold.

pub(crate) mod dao;
pub(crate) mod shared;
pub(crate) mod store;
pub(crate) mod table;
