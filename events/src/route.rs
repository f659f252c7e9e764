//! Which listeners receive which events, and how handlers are run. Knows no channel.

/// Runs a list of inline handlers over one event.
pub(crate) mod run;

/// The listeners of each pattern, as far as they do not depend on a payload's type.
pub(crate) mod registry;

/// The listeners of a channel's events, computed once per change of registrations.
pub(crate) mod shards;
