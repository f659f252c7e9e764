//! Who hears of what, and how handlers are run.

pub(crate) mod run;
pub(crate) mod shards;
