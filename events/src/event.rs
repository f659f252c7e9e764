//! What an event is: its name, its forms, its way here, and the handlers that take it.

pub(crate) mod dynamic;
pub(crate) mod gap;
pub(crate) mod handler;
pub(crate) mod name;
pub(crate) mod trail;
