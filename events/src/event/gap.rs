//! [`Gap`]: the report of events that somebody did not get.

use std::sync::Arc;

/// So many events were posted and did not reach the one who finds this, because its queue was full.
///
/// It stands in the place of what is missing: everything received before it was posted before, everything
/// after it later. Whoever keeps a view of what the events announce must treat the view as unproven.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The source of the channel; `"*"` on a feed of all events.
    pub source: Arc<str>,
    /// The event of the channel; `"*"` on a feed of all events.
    pub event: Arc<str>,
    /// How many events are missing.
    pub missed: u64,
}
