//! Who hears of what, and how handlers are run. Knows no channel.

/// Runs a list of inline handlers over one event.
pub(crate) mod run;

/// Who listens to what, as far as it does not depend on a payload's type.
pub(crate) mod registry;

/// Who hears of a channel's events, worked out once per change of registrations.
pub(crate) mod shards;
