//! Several nodes in one process.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{join_all, select},
};
use tidings_core::{
    CacheKey, Cause, Origin,
    clock::{Clock, ManualClock},
};

use super::wire::{Message, Outbox, Wire};
use crate::{
    answer::{
        receipt::{Confirmation, Invalidation, Propagate, Unconfirmed},
        tag::Tag,
    },
    api::{builder::CacheBuilder, cache::Cache},
    error::ConfigError,
};

/// Nodes that send each other their invalidations, over wires that a test drives. They share one
/// clock, which the test moves by hand.
///
/// See [the module](super) for an example.
pub struct Nodes {
    clock: ManualClock,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    cache: Cache,
    outboxes: Vec<Arc<Outbox>>,
    /// The wires from the other nodes to this one, each with its sender's name.
    wires: Vec<(String, Wire)>,
}

impl Nodes {
    /// Makes two nodes, `a` and `b`. `build` configures both.
    ///
    /// # Errors
    ///
    /// When a setting is refused, or the caller is not in a tokio runtime.
    pub fn two(build: impl Fn(CacheBuilder) -> CacheBuilder) -> Result<Self, ConfigError> {
        Self::named(&["a", "b"], build)
    }

    /// Makes nodes with these names. `build` configures all of them; this function sets their clock
    /// and their carrier.
    ///
    /// # Errors
    ///
    /// When a setting is refused, or the caller is not in a tokio runtime.
    pub fn named(
        names: &[&str],
        build: impl Fn(CacheBuilder) -> CacheBuilder,
    ) -> Result<Self, ConfigError> {
        let clock = ManualClock::new();
        let mut nodes = Vec::new();
        for name in names {
            let others = names.iter().filter(|other| *other != name);
            let outboxes: Vec<_> = others.map(|other| Outbox::new(other)).collect();
            let sender = Sender {
                clock: clock.clone(),
                outboxes: outboxes.clone(),
            };
            let cache = build(Cache::builder())
                .clock(Arc::new(clock.clone()))
                .propagate(Arc::new(sender))
                .build()?;
            nodes.push(Node {
                name: (*name).into(),
                cache,
                outboxes,
                wires: Vec::new(),
            });
        }

        for receiver in 0..nodes.len() {
            let (name, cache) = (nodes[receiver].name.clone(), nodes[receiver].cache.clone());
            let wire = |sender: &Node| {
                let outbox = sender.outboxes.iter().find(|outbox| outbox.to == name)?;
                let wire = Wire::new(Arc::clone(outbox), cache.clone());
                Some((sender.name.clone(), wire))
            };
            nodes[receiver].wires = nodes.iter().filter_map(wire).collect();
        }

        Ok(Self { clock, nodes })
    }

    /// Returns the clock of all nodes.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Returns a node's cache.
    ///
    /// # Panics
    ///
    /// When there is no such node.
    #[must_use]
    pub fn cache(&self, name: &str) -> &Cache {
        &self.node(name).cache
    }

    /// Returns the wire from one node to another.
    ///
    /// # Panics
    ///
    /// When there is no such node, or both are the same.
    #[must_use]
    pub fn wire(&self, from: &str, to: &str) -> &Wire {
        let mut wires = self.node(to).wires.iter();
        match wires.find(|(sender, _)| sender == from) {
            Some((_, wire)) => wire,
            None => panic!("no wire from {from:?} to {to:?}"),
        }
    }

    /// Applies a change that a node has committed, as a node does before its handlers run, and
    /// sends it to the other nodes. The source must have changed already.
    ///
    /// Since there is no bus here, the test runs the handlers: on this node under the returned
    /// cause, on the others under the cause of the [`Delivery`](super::Delivery).
    ///
    /// # Panics
    ///
    /// When there is no such node.
    pub fn change(&self, from: &str, keys: &[CacheKey], tags: &[Tag]) -> Cause {
        let node = self.node(from);
        let number = node.cache.apply_change(keys, tags);
        for outbox in &node.outboxes {
            outbox.send(Message::Change {
                keys: keys.to_vec(),
                tags: tags.to_vec(),
            });
        }

        Cause {
            number,
            origin: Origin::Local,
        }
    }

    /// Delivers every message that waits on any wire.
    pub fn deliver_all(&self) {
        for (_, wire) in self.nodes.iter().flat_map(|node| &node.wires) {
            wire.deliver_all();
        }
    }

    fn node(&self, name: &str) -> &Node {
        match self.nodes.iter().find(|node| node.name == name) {
            Some(node) => node,
            None => panic!("no node {name:?}"),
        }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wires = self.nodes.iter().flat_map(|node| &node.wires);
        f.debug_map()
            .entries(wires.map(|(from, wire)| (from, wire)))
            .finish()
    }
}

/// Sends a node's invalidations over its wires. It knows no cache, so that nodes do not keep each
/// other alive.
#[derive(Debug)]
struct Sender {
    clock: ManualClock,
    outboxes: Vec<Arc<Outbox>>,
}

impl Propagate for Sender {
    fn propagate(&self, invalidation: Invalidation, _: u64) -> Confirmation {
        let sent: Vec<_> = self
            .outboxes
            .iter()
            .map(|outbox| {
                let position = outbox.send(Message::Invalidation(invalidation.clone()));
                (Arc::clone(outbox), position)
            })
            .collect();
        let clock = self.clock.clone();
        Box::new(move |timeout| confirmed(clock, sent, timeout).boxed())
    }
}

async fn confirmed(
    clock: ManualClock,
    sent: Vec<(Arc<Outbox>, u64)>,
    timeout: Duration,
) -> Result<(), Unconfirmed> {
    let all = join_all(
        sent.iter()
            .map(|(outbox, position)| Arc::clone(outbox).received(*position)),
    );
    select(std::pin::pin!(all), clock.sleep(timeout)).await;

    let missing = sent
        .iter()
        .filter(|(outbox, position)| !outbox.has_received(*position));
    let nodes: Vec<_> = missing.map(|(outbox, _)| outbox.to.clone()).collect();

    if nodes.is_empty() {
        Ok(())
    } else {
        Err(Unconfirmed { nodes })
    }
}
