//! What callers give and get.

pub(crate) mod form;
pub(crate) mod loaded;
pub(crate) mod receipt;
