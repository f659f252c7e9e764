//! The start of a node: its steps, in their order.
//!
//! The log is asked for before the cache is built, which asks it what may be kept; the channels are
//! declared before the log is followed, which hands changes to them; and the store is attached when
//! there is something that its commits go to.

// What every step needs, and what can be checked before the first. Must not know the steps.
mod ground;

// The bus and the channels of the node. Must not know the log.
mod bus;

// The logs that the node follows.
mod cluster;

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use futures_util::future::{Either, select};
use tidings_cache::Cache;
use tidings_core::clock::Clock;
use tidings_store::{Attachment, ChangeSink};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::{
    bus::Bus,
    cluster::{Cluster, Logs},
    ground::Ground,
};
use super::NodeBuilder;
use crate::{
    changes::Changes,
    error::StartError,
    expiry,
    feed::{Feed, Keeps},
    follow::Following,
    node::{Node, Shared},
    positions::Positions,
    progress::Progress,
    tally::Audits,
    worker,
};

/// How long a start waits for the log before it goes on without.
const LOG_DEADLINE: Duration = Duration::from_secs(5);

/// How long a start that did not succeed takes at most to take leave of the other nodes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The log that a start has joined by now: other nodes wait for a member that does not take its
/// leave.
#[derive(Default)]
struct Joined(OnceLock<(Following, Arc<dyn Clock>)>);

impl Joined {
    /// Takes leave, where the node has joined.
    async fn leave(self) {
        if let Some((following, clock)) = self.0.into_inner() {
            let leaving = std::pin::pin!(following.protocol().leave());
            match select(leaving, clock.sleep(LAST_WORDS)).await {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(_), _)) | Either::Right(_) => tracing::warn!(
                    "the node did not take leave: others wait for it until its bound has run out"
                ),
            }
        }
    }
}

/// Starts a node.
pub(super) async fn start(builder: NodeBuilder) -> Result<Node, StartError> {
    let joined = Joined::default();
    let started = begin(builder, &joined).await;
    if started.is_err() {
        joined.leave().await;
    }
    started
}

/// Starts a node, unless something else is first.
pub(super) async fn start_unless(
    builder: NodeBuilder,
    ends: impl Future<Output = ()>,
) -> Result<Option<Node>, StartError> {
    let joined = Joined::default();
    let failed = {
        let starting = std::pin::pin!(begin(builder, &joined));
        match select(starting, std::pin::pin!(ends)).await {
            Either::Left((Ok(node), _)) => return Ok(Some(node)),
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(((), _)) => Ok(None),
        }
    };
    joined.leave().await;

    failed
}

async fn begin(mut builder: NodeBuilder, joined: &Joined) -> Result<Node, StartError> {
    let ground = Ground::of(&mut builder)?;
    let (store, logs) = Logs::of(&mut builder, &ground)?;
    let mut cluster = Cluster::of(&mut builder, &ground, &store, logs)?;
    let cache = cache(&mut builder, &ground, &cluster)?;
    let bus = Bus::of(&mut builder, &ground, &cache)?;

    let keeps = match cluster.log {
        Some(_) => Keeps::WhileWatched,
        None => Keeps::OnceWatched,
    };
    let feed = Feed::new(&ground.node_id, keeps, Arc::clone(&ground.clock));
    let bound = ground.settings.bound().filter(|_| cluster.log.is_some());
    let following = cluster.follow(&builder, &ground, &bus, &feed)?;
    if let Some(following) = &following {
        // Set once, here.
        let _ = joined.0.set((following.clone(), Arc::clone(&ground.clock)));
    }

    let progress = Progress::new();
    let sink: Arc<dyn ChangeSink> = match &following {
        Some(following) => Arc::new(following.clone()),
        None => Arc::new(Changes::new(
            bus.channels.clone(),
            builder.handler_deadline,
            bus.gaps.clone(),
            Arc::clone(&progress),
            feed.clone(),
            Arc::clone(&ground.spawn),
        )),
    };
    let attachment = Attachment {
        schemas: ground.schemas.clone(),
        sink,
        clock: Arc::clone(&ground.clock),
        runtime: ground.runtime.clone(),
    };
    store.attach(attachment).await.map_err(StartError::Store)?;

    let started = store.start().await.map_err(StartError::Store)?;
    if let Some(sealed) = &cluster.sealed {
        sealed.key(started.key.expose());
    }

    if let Some(following) = &following {
        // Before a handler can be registered: it hears of everything that is written from then on.
        let followed = std::pin::pin!(following.protocol().until_following());
        if let Either::Right(_) = select(followed, ground.clock.sleep(LOG_DEADLINE)).await {
            tracing::warn!("the log does not answer: nothing is cached until it does");
        }
    }

    let heard = ground.heard();
    let node = Node::starting(Arc::new(Shared {
        node_id: ground.node_id,
        workers: builder.workers,
        cache,
        events: bus.events,
        store,
        changes: bus.channels.counts(),
        following,
        feed,
        for_all: bus.for_all,
        cluster_name: std::mem::take(&mut builder.cluster_name),
        positions: Positions::new(&started, progress),
        audits: Audits::new(builder.audit, bound),
        entities: std::mem::take(&mut builder.entities),
        heard,
        schemas: ground.schemas,
        started: ground.clock.now(),
        clock: ground.clock,
        stop: CancellationToken::new(),
        abandon: CancellationToken::new(),
        threads: Mutex::default(),
    }));
    run(&node, &builder, &ground.runtime).await?;

    Ok(node)
}

/// Starts what runs as long as the node does: its tasks, and its workers.
async fn run(node: &Node, builder: &NodeBuilder, runtime: &Handle) -> Result<(), StartError> {
    let (clock, stop) = (Arc::clone(node.clock()), node.shared().stop.clone());
    if let Some(following) = node.shared().following.clone() {
        let (clock, stop) = (Arc::clone(&clock), stop.clone());
        runtime.spawn(following.prune(builder.retention, clock, stop));
    }

    let (store, schemas) = (node.store().clone(), node.schemas().to_vec());
    runtime.spawn(expiry::remove_expired(
        store,
        schemas,
        builder.expired,
        clock,
        stop,
    ));
    runtime.spawn(node.for_worker().audit_in_background());
    worker::start_all(node, &builder.hooks).await?;
    runtime.spawn(node.worker_events().watchdog(builder.slow_handler).watch());

    Ok(())
}

/// Builds the cache, which asks the log what it may keep.
fn cache(
    builder: &mut NodeBuilder,
    ground: &Ground,
    cluster: &Cluster,
) -> Result<Cache, StartError> {
    let mut cache = std::mem::replace(&mut builder.cache, Cache::builder())
        .clock(Arc::clone(&ground.clock))
        .runtime(ground.runtime.clone());
    if let Some(logs) = &cluster.log {
        cache = cache.fills(Arc::clone(&logs.intake) as _);
        if let Some(bound) = ground.settings.bound() {
            cache = cache
                .staleness_ceiling(bound)
                .stale_policy(builder.stale_policy);
        }
    }

    if let Some(carrier) = &cluster.carrier {
        cache = cache.propagate(Arc::clone(carrier) as _);
    }
    cache
        .build()
        .map_err(|error| StartError::Cache(error.into()))
}
