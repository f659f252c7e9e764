//! [`Gaps`]: the handlers of changes that were not received.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tidings_core::{Chain, log::Gap};
use tidings_events::Channel;

/// A handler of changes that were not received, called in their place in the order of changes.
pub(crate) type OnGap = Arc<dyn Fn(&Gap) + Send + Sync>;

/// All handlers of gaps. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Gaps {
    handlers: Arc<[OnGap]>,
    /// For workers, in the order of their other events.
    channel: Option<Channel<Gap>>,
}

/// The channel on which workers receive gaps.
pub(crate) const GAP: (&str, &str) = ("tidings", "gap");

impl Gaps {
    pub(crate) fn new(handlers: Vec<OnGap>, channel: Option<Channel<Gap>>) -> Self {
        let handlers = handlers.into();
        Self { handlers, channel }
    }

    /// Calls only the node's own handlers, for a gap that workers find by themselves. A handler
    /// that panics is logged.
    pub(crate) fn tell_node(&self, gap: &Gap) {
        for handler in self.handlers.iter() {
            let told = AssertUnwindSafe(|| handler(gap));
            if catch_unwind(told).is_err() {
                tracing::error!(%gap, "a handler of gaps panicked");
            }
        }
    }

    /// Calls the node's own handlers, and posts the gap to those of the workers.
    pub(crate) fn tell(&self, gap: &Gap) {
        self.tell_node(gap);
        if let Some(channel) = &self.channel
            && let Err(refused) = channel.post(gap.clone())
        {
            tracing::error!(%gap, error = %Chain(&refused), "workers did not receive a gap");
        }
    }
}

impl fmt::Debug for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gaps").field(&self.handlers.len()).finish()
    }
}
