//! A thread's own level.

pub(crate) mod table;
