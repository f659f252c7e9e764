//! What users hold: the handle and its verbs. Nothing below imports it.

pub(crate) mod blocking;
pub(crate) mod builder;
pub(crate) mod bulk;
pub(crate) mod cache;
pub(crate) mod decoded;
pub(crate) mod get;
pub(crate) mod invalidate;
pub(crate) mod probe;
pub(crate) mod publish;
pub(crate) mod remote;
pub(crate) mod set;
pub(crate) mod upkeep;
