//! [`Parts`]: what a node's protocol is assembled from.

use std::sync::Arc;

use tidings_cache::Cache;
use tidings_core::{
    Schema,
    clock::Clock,
    entropy::Entropy,
    log::{MemberFacts, Members},
    spawn::Spawn,
};

use super::carry::Carrier;
use crate::{
    announce::{Announce, Observe},
    intake::Intake,
    settings::ClusterSettings,
};

/// The parts of a node's protocol.
#[derive(Debug)]
pub struct Parts {
    /// The node's name, by which other members know it.
    pub node: Arc<str>,
    /// The intake that the node's cache asks; made with the log.
    pub intake: Arc<Intake>,
    /// The members; `None` if no one can ask for receipts.
    pub members: Option<Arc<dyn Members>>,
    /// The facts that this node reports to the other members, for comparison; `None` to report
    /// nothing.
    pub facts: Option<MemberFacts>,
    /// The carrier of the cache's invalidations; `None` if there are no other nodes.
    pub carrier: Option<Arc<Carrier>>,
    /// The node's cache.
    pub cache: Cache,
    /// The entities whose rows this node knows.
    pub schemas: Vec<&'static Schema>,
    /// The handlers.
    pub announce: Arc<dyn Announce>,
    /// The observer.
    pub observe: Arc<dyn Observe>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where tasks run.
    pub spawn: Arc<dyn Spawn>,
    /// The source of randomness for ids and jitter.
    pub entropy: Arc<dyn Entropy>,
    /// The settings.
    pub settings: ClusterSettings,
}
