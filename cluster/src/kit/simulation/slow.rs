//! [`SlowHandlers`]: the handlers of a node that are slow for a while.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tidings_core::{
    Cause,
    clock::Clock,
    log::{Gap, Posted},
    spawn::Spawn,
};

use super::{
    clock::LaneClock,
    net::Net,
    world::{LaneSpawn, Moment},
};
use crate::{
    announce::{Announce, Change, Handling},
    bus::BusAnnouncer,
};

/// Handlers that are slow for a while: each change then waits before it is handed to the bus.
#[derive(Debug)]
pub(super) struct SlowHandlers {
    pub(super) inner: Arc<BusAnnouncer>,
    pub(super) spawn: Arc<LaneSpawn>,
    pub(super) clock: LaneClock,
    pub(super) net: Arc<Net>,
    pub(super) slow_until: Mutex<Moment>,
    pub(super) longest: Duration,
}

impl Announce for SlowHandlers {
    fn announce(&self, change: Change) -> Handling {
        if *self.slow_until.lock() <= self.net.world.now() {
            return self.inner.announce(change);
        }

        let (done, finished) = tokio::sync::oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let pause: BoxFuture<'_, ()> = self.clock.sleep(self.longest);
        drop(self.spawn.spawn(Box::pin(async move {
            pause.await;
            inner.announce(change).await;
            done.send(()).unwrap_or_default(); // the waiter may have gone
        })));

        async move { finished.await.unwrap_or_default() }.boxed()
    }

    fn event(&self, posted: &Posted, cause: Cause) -> Handling {
        self.inner.event(posted, cause)
    }

    fn gap(&self, gap: &Gap) {
        self.inner.gap(gap);
    }

    fn listens(&self, entity: &str) -> bool {
        self.inner.listens(entity)
    }
}
