//! One channel: how a post goes, and the handle that users post through.

pub(crate) mod core;
pub(crate) mod direct;
pub(crate) mod hand_out;
pub(crate) mod handle;
pub(crate) mod limit;
pub(crate) mod outlets;
pub(crate) mod post;
