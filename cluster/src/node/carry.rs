//! [`Carrier`]: sends what a caller on this node invalidates by hand to all nodes, as a record.
//!
//! This node evicts before the call returns. A task then appends the record, and tries until the
//! log has it. The node recognizes its own record by the id, and applies it under the number that
//! the call took, so that values loaded since then stay. A record that is too large becomes one for
//! the whole cache.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use futures_util::future::{BoxFuture, Either, FutureExt, select};
use tidings_cache::{Confirmation, Invalidation, Propagate, Unconfirmed};
use tidings_core::{
    Chain,
    log::{Appended, Eviction, EvictionTarget, LogError, Mark, Wake},
};
use tokio::sync::oneshot;

use super::shared::{Shared, count};
use crate::outbox::Outgoing;

/// Carries a cache's invalidations to the other nodes. Give it to the cache's builder
/// ([`CacheBuilder::propagate`](tidings_cache::CacheBuilder::propagate)), and to the protocol.
///
/// Invalidations that are made before the protocol runs stay on this node.
pub struct Carrier {
    node: Arc<str>,
    /// Weak: the node's cache holds the carrier.
    to: OnceLock<Weak<Shared>>,
}

impl Carrier {
    /// Makes the carrier of a node.
    #[must_use]
    pub fn new(node: Arc<str>) -> Arc<Self> {
        let to = OnceLock::new();
        Arc::new(Self { node, to })
    }

    pub(crate) fn connect(&self, to: &Arc<Shared>) {
        // A carrier belongs to one node, so it is connected once.
        let _ = self.to.set(Arc::downgrade(to));
    }
}

impl Propagate for Carrier {
    fn propagate(&self, invalidation: Invalidation, number: u64) -> Confirmation {
        let shared = self.to.get().and_then(Weak::upgrade);
        let sent = shared.as_ref().and_then(|shared| {
            let eviction = shared.eviction(invalidation)?;
            Some(shared.send(eviction, number))
        });
        let unconfirmed = Unconfirmed {
            nodes: vec![self.node.to_string()],
        };
        Box::new(move |timeout| match (shared, sent) {
            (Some(shared), Some(sent)) => confirmed(shared, sent, unconfirmed, timeout),
            (None, _) | (_, None) => std::future::ready(Err(unconfirmed)).boxed(),
        })
    }
}

/// Waits until the log has a record, and then until every member has applied it.
fn confirmed(
    shared: Arc<Shared>,
    sent: oneshot::Receiver<Mark>,
    unconfirmed: Unconfirmed,
    timeout: Duration,
) -> BoxFuture<'static, Result<(), Unconfirmed>> {
    async move {
        let until = shared.clock.now().plus(timeout);
        let mark = match select(sent, shared.clock.sleep(timeout)).await {
            Either::Left((Ok(mark), _)) => mark,
            // The log did not get it in time, or the node has ended.
            Either::Left((Err(_), _)) | Either::Right(_) => return Err(unconfirmed),
        };
        let left = until.since(shared.clock.now());
        let confirmed = shared.confirm(mark, left).await;
        confirmed.map(drop).map_err(|error| Unconfirmed {
            nodes: error.silent.iter().map(|it| it.node.to_string()).collect(),
        })
    }
    .boxed()
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn eviction(&self, invalidation: Invalidation) -> Option<Eviction> {
        let (cache, target) = match invalidation {
            Invalidation::Keys { cache, keys } => (cache, EvictionTarget::Keys(keys)),
            Invalidation::Tag { cache, tag } => {
                (cache, EvictionTarget::Tag(tag.to_string().into()))
            }
            Invalidation::All { cache } => (cache, EvictionTarget::All),
            // This version cannot send such a kind, so the other nodes cannot confirm it.
            _ => return None,
        };
        Some(self.eviction_of(cache, target))
    }

    /// Makes a record of what this node has evicted.
    pub(crate) fn eviction_of(&self, cache: Arc<str>, target: EvictionTarget) -> Eviction {
        Eviction {
            id: self.entropy.uuid(),
            origin: Some(Arc::clone(&self.node)),
            cache,
            target,
        }
    }

    /// Queues a record for the log.
    fn send(&self, eviction: Eviction, number: u64) -> oneshot::Receiver<Mark> {
        if eviction.target == EvictionTarget::All {
            self.counters.purged_by_hand();
        }

        // Before the push: the tail may read the record at once, and would evict again if it did
        // not recognize it.
        self.own.lock().remember(eviction.id, number);
        let (sender, receiver) = oneshot::channel();
        let outgoing = Outgoing {
            eviction,
            number,
            sent: vec![sender],
        };
        let folded = self.outbox.push(outgoing, || self.entropy.uuid());
        for (id, number) in folded {
            self.own.lock().remember(id, number);
        }

        receiver
    }

    /// Appends the waiting records, one after the other, until the task is dropped.
    pub(crate) async fn send_on(self: Arc<Self>) {
        loop {
            let eviction = self.outbox.first().await;
            let id = eviction.id;
            match self.log.append(Appended::Evict(eviction)).await {
                Ok(mark) => {
                    count(&self.counters.written);
                    let outgoing = self.outbox.sent(id);
                    for sender in outgoing.into_iter().flat_map(|outgoing| outgoing.sent) {
                        let _ = sender.send(mark); // its receiver may have given up
                    }
                    self.log.wake(Wake::Look);
                    self.look.notify_one();
                }
                Err(LogError::TooLarge { .. }) => self.outbox.shorten(id),
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "an eviction did not reach the log yet");
                    self.clock.sleep(self.settings.pause()).await;
                }
            }
        }
    }

    /// Waits until the log has everything that was invalidated by hand, for at most this long.
    pub(crate) async fn flush(&self, patience: Duration) {
        let until = self.clock.now().plus(patience);
        while !self.outbox.is_empty() && self.clock.now() < until {
            self.clock.sleep(Duration::from_millis(1)).await;
        }
        if !self.outbox.is_empty() {
            tracing::error!(
                "the log does not have what was invalidated by hand: other nodes keep it"
            );
        }
    }
}
