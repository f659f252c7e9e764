//! Which listeners hear of what, and how handlers are run. Knows no channel.

/// Runs a list of inline handlers over one event.
pub(crate) mod run;

/// The listeners of each pattern, as far as it does not depend on a payload's type.
pub(crate) mod registry;

/// The listeners that hear of a channel's events, worked out once per change of registrations.
pub(crate) mod shards;
