//! What a call, a cache and a policy may set.

pub(crate) mod call;
pub(crate) mod lifetime;
pub(crate) mod policy;
