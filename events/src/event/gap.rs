//! [`Gap`]: the report of events that a listener missed.

use std::{error::Error, fmt, sync::Arc};

use crate::event::{info::ChannelInfo, name::ANY};

/// This many events were posted but never reached this subscriber, because its queue was full.
///
/// The gap takes the place of the missing events: events received before it were posted before
/// them, events received after it were posted later. Anything derived from the events must be
/// rebuilt or rechecked.
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

impl Gap {
    /// Makes the report of `missed` events on a feed of all events.
    pub(crate) fn anywhere(missed: u64) -> Self {
        Self {
            source: ANY.into(),
            event: ANY.into(),
            missed,
        }
    }

    /// Makes the report of `missed` events of a channel.
    pub(crate) fn on(channel: &ChannelInfo, missed: u64) -> Self {
        Self {
            source: Arc::clone(&channel.source),
            event: Arc::clone(&channel.event),
            missed,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            event,
            missed,
        } = self;
        write!(f, "{missed} events of ({source:?}, {event:?}) were missed")
    }
}

impl Error for Gap {}
