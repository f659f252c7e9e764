//! The state that all handles of a node share.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use tidings_cache::Cache;
use tidings_core::{
    Entity, Schema,
    clock::{Clock, Tick},
};
use tidings_events::WorkerEvents;
use tidings_store::Store;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    changes::{Counts, Declare, declare_channel},
    cluster_channel::ForAllChannels,
    compare::{Compare, compare},
    feed::Feed,
    follow::Following,
    positions::Positions,
    tally::Audits,
    warm::{Warm, warm_page},
};

/// The functions for one type of entity: how to declare its channel, to read its rows into the
/// cache, and to compare them with what is cached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntityType {
    pub(crate) schema: &'static Schema,
    pub(crate) warm: Warm,
    pub(crate) declare: Declare,
    pub(crate) compare: Compare,
}

impl EntityType {
    pub(crate) fn of<E: Entity>() -> Self {
        Self {
            schema: E::schema(),
            warm: warm_page::<E>,
            declare: declare_channel::<E>,
            compare: compare::<E>,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) node_id: String,
    pub(crate) workers: usize,
    pub(crate) cache: Cache,
    pub(crate) events: WorkerEvents,
    pub(crate) store: Store,
    /// Changes that did not end as they should have.
    pub(crate) changes: Arc<Counts>,
    /// The log that the node follows, if the store keeps one.
    pub(crate) following: Option<Following>,
    /// Delivers changes to watchers.
    pub(crate) feed: Feed,
    /// The channels whose events reach every node.
    pub(crate) for_all: ForAllChannels,
    pub(crate) cluster_name: String,
    pub(crate) positions: Positions,
    pub(crate) audits: Audits,
    pub(crate) entities: Vec<EntityType>,
    pub(crate) schemas: Vec<&'static Schema>,
    /// All schemas, including those of entities without a table.
    pub(crate) heard: Vec<&'static Schema>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Tick,
    /// Cancelled once, when the workers have to stop.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the workers have to drop their unfinished tasks.
    pub(crate) abandon: CancellationToken,
    /// Emptied by the one shutdown that joins them.
    pub(crate) threads: Mutex<Vec<WorkerThread>>,
}

/// A worker seen from the node that joins it.
pub(crate) struct WorkerThread {
    pub(crate) id: usize,
    pub(crate) handle: JoinHandle<()>,
    /// Resolves, to a value or an error, when the thread has nothing left to do.
    pub(crate) ended: oneshot::Receiver<()>,
}
