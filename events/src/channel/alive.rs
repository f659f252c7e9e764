//! [`Alive`]: what the handles of a channel hold in common, so that its receivers end with the last
//! of them.

use std::sync::{Arc, Weak};

use crate::{
    channel::core::AnyChannel,
    faults::{self, Step},
    hub::Hub,
    thread::frame::{Deferred, Drain, Frame},
};

/// Held by every handle of a bus and of its channels. The last ends the feeds.
pub(crate) struct BusAlive(pub(crate) Arc<Hub>);

impl Drop for BusAlive {
    fn drop(&mut self) {
        self.0.close_feeds();
    }
}

/// Held by every handle of one channel, the bus's own among them. The last ends the channel's
/// queues.
pub(crate) struct Alive {
    channel: Weak<dyn AnyChannel>,
    bus: Arc<BusAlive>,
}

impl Alive {
    pub(crate) fn new(channel: &Arc<dyn AnyChannel>, bus: &Arc<BusAlive>) -> Arc<Self> {
        Arc::new(Self {
            channel: Arc::downgrade(channel),
            bus: Arc::clone(bus),
        })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let Some(channel) = self.channel.upgrade() else {
            return;
        };
        if faults::removed(Step::LastHandleEndsQueues) {
            return;
        }

        // A handler may have dropped the last handle after it posted: what it posted comes first.
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
    bus: Arc<BusAlive>,
}

impl Drain for CloseLater {
    fn drain(&self) {
        let _feeds = &self.bus;
        self.channel.close_queues();
    }
}
