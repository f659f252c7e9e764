//! [`KeepAlive`]: what all handles of a channel hold, so that its receivers end with the last one.

use std::sync::{Arc, Weak};

use crate::{
    channel::core::AnyChannel,
    faults::{self, Step},
    hub::Hub,
    thread::frame::{Deferred, Drain, Frame},
};

/// Held by every handle of a bus and of its channels. Dropping the last one ends the feeds.
pub(crate) struct BusKeepAlive(pub(crate) Arc<Hub>);

impl Drop for BusKeepAlive {
    fn drop(&mut self) {
        self.0.close_feeds();
    }
}

/// Held by every handle of one channel, including the bus's own. Dropping the last one ends the
/// channel's queues.
pub(crate) struct KeepAlive {
    channel: Weak<dyn AnyChannel>,
    bus: Arc<BusKeepAlive>,
}

impl KeepAlive {
    pub(crate) fn new(channel: &Arc<dyn AnyChannel>, bus: &Arc<BusKeepAlive>) -> Arc<Self> {
        Arc::new(Self {
            channel: Arc::downgrade(channel),
            bus: Arc::clone(bus),
        })
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        let Some(channel) = self.channel.upgrade() else {
            return;
        };
        if faults::removed(Step::LastHandleEndsQueues) {
            return;
        }

        // A handler may have dropped the last handle after it posted: its posts come first.
        Frame::with(|frame| {
            if frame.is_busy() {
                let bus = Arc::clone(&self.bus);
                frame.defer(Deferred::Drain(Arc::new(CloseLater { channel, bus })));
            } else {
                channel.close_queues();
            }
        });
    }
}

/// Ends the queues once what a handler posted has been handed out.
struct CloseLater {
    channel: Arc<dyn AnyChannel>,
    /// The feeds stay open until then, too.
    bus: Arc<BusKeepAlive>,
}

impl Drain for CloseLater {
    fn drain(&self) {
        let _feeds = &self.bus;
        self.channel.close_queues();
    }
}
