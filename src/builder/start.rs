//! The start of a node: its steps, in their order.
//!
//! The log is asked for before the cache is built, which asks it what may be kept; the channels are
//! declared before the log is followed, which hands changes to them; and the store is attached when
//! there is something that its commits go to.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use futures_util::future::{Either, select};
use tidings_cache::Cache;
use tidings_cluster::{Carrier, ClusterSettings, Intake, SealedWakes};
use tidings_core::{
    BoxError, OnDelete, Schema, check_all,
    clock::Clock,
    log::{ApartNeeds, Gap, KeptLog, Log, LogApart, LogError, Members},
    spawn::{Spawn, TokioSpawn},
};
use tidings_events::{MAX_WORKERS, WorkerEvents};
use tidings_store::{Attachment, ChangeSink, LogNeeds, Store};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{LOG_RETENTIONS, NodeBuilder};
use crate::{
    changes::{Changes, Channels, GAP, Gaps},
    cluster_channel::ForAllChannels,
    error::StartError,
    expiry, facts,
    feed::{Feed, Keeps},
    follow::{Following, Wiring},
    node::{Node, Shared},
    positions::Positions,
    progress::Progress,
    tally::Audits,
    worker,
};

/// How long a start waits for the log before it goes on without.
const LOG_DEADLINE: Duration = Duration::from_secs(5);
/// How often it is looked whether every write is recorded.
const LOOK: Duration = Duration::from_millis(500);

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

/// What every step of the start needs.
struct Ground {
    node_id: String,
    runtime: Handle,
    spawn: Arc<dyn Spawn>,
    clock: Arc<dyn Clock>,
    settings: ClusterSettings,
    /// The entities with a table.
    schemas: Vec<&'static Schema>,
    /// The schemas without a table.
    recorded: Vec<&'static Schema>,
}

impl Ground {
    /// Checks what can be checked without asking anything.
    fn of(builder: &mut NodeBuilder) -> Result<Self, StartError> {
        if !(1..=MAX_WORKERS).contains(&builder.workers) {
            return Err(StartError::Workers(builder.workers));
        }

        let runtime = match builder.runtime.take() {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| StartError::NoRuntime)?,
        };
        let schemas: Vec<&'static Schema> = builder.entities.iter().map(|it| it.schema).collect();
        check_all(&schemas)?;
        let recorded: Vec<_> = builder.recorded.iter().map(|it| it.schema).collect();
        check_recorded(&recorded)?;

        let node_id = builder.node_id.take();
        let settings = std::mem::take(&mut builder.log);
        let ground = Self {
            node_id: node_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            spawn: Arc::new(TokioSpawn::new(runtime.clone())),
            runtime,
            clock: Arc::clone(&builder.clock),
            settings: settings.handler_deadline(builder.handler_deadline),
            schemas,
            recorded,
        };
        check_all(&ground.heard())?;
        builder.audit.check().map_err(StartError::Audit)?;

        Ok(ground)
    }

    /// Returns all entities whose changes the node hears of.
    fn heard(&self) -> Vec<&'static Schema> {
        [self.schemas.as_slice(), &self.recorded].concat()
    }
}

/// Refuses what an entity without a table cannot do: no one finds its rows by what they refer to.
fn check_recorded(recorded: &[&'static Schema]) -> Result<(), StartError> {
    for schema in recorded {
        for field in schema.fields() {
            let Some(foreign) = field.reference() else {
                continue;
            };

            if foreign.on_delete != OnDelete::Restrict || foreign.evict_on_update {
                let (entity, field, parent) = (schema.name(), field.name(), &foreign.entity);
                return Err(refused(format!(
                    "{entity} is recorded and has no table, so its rows cannot go with those of \
                     {parent}: leave on_delete and on_update out of {field}, and record what \
                     becomes of them"
                )));
            }
        }
    }
    Ok(())
}

/// The node's side of its store's log, and of the cluster.
struct Cluster {
    members: Option<Arc<dyn Members>>,
    carrier: Option<Arc<Carrier>>,
    /// Where wake-ups name keys: they wait for the cluster's key.
    sealed: Option<Arc<SealedWakes>>,
    log: Option<Followed>,
}

/// A log that is to be followed.
struct Followed {
    log: Arc<dyn KeptLog>,
    /// The same log, for readers that come back.
    history: Arc<dyn KeptLog>,
    intake: Arc<Intake>,
}

/// The logs of the node's store, or of the stream that it has in place of one.
struct Logs {
    members: Option<Arc<dyn Members>>,
    /// The log that the node follows, and the same log for readers that come back.
    log: Option<(Arc<dyn KeptLog>, Arc<dyn KeptLog>)>,
}

impl Logs {
    fn of(builder: &mut NodeBuilder, ground: &Ground) -> Result<(Store, Self), StartError> {
        match (builder.store.take(), builder.stream.take()) {
            (Some(_), Some(_)) => Err(refused(
                "a node has a store or a stream: beside a store the stream's server can carry \
                 wake-ups (NodeBuilder::wake_by)",
            )),
            (Some(store), None) => {
                let logs = Self::of_store(&store, ground);
                Ok((store, logs))
            }
            (None, Some(stream)) => Self::of_stream(&*stream, ground),
            (None, None) => Err(StartError::NoStore),
        }
    }

    fn of_store(store: &Store, ground: &Ground) -> Self {
        let bound = ground.settings.bound();
        let needs = LogNeeds {
            node: ground.node_id.as_str().into(),
            schemas: ground.schemas.clone(),
            recorded: ground.recorded.clone(),
            look: bound.map_or(LOOK, |bound| LOOK.min(bound / 3)),
            clock: Arc::clone(&ground.clock),
            spawn: Arc::clone(&ground.spawn),
        };
        let members = store.members(&needs);
        let history = store.log(needs.clone());
        Self {
            members,
            log: store.log(needs).zip(history),
        }
    }

    fn of_stream(stream: &dyn LogApart, ground: &Ground) -> Result<(Store, Self), StartError> {
        let needs = ApartNeeds {
            node: ground.node_id.as_str().into(),
            schemas: ground.heard(),
            clock: Arc::clone(&ground.clock),
            spawn: Arc::clone(&ground.spawn),
        };
        let failed = |error: LogError| StartError::Log(error.into());
        let members = stream.members(&needs).map_err(failed)?;
        let history = stream.open(&needs).map_err(failed)?;
        let log = stream.open(&needs).map_err(failed)?;
        let store = Store::without_tables(stream.engine(), Arc::clone(&history), stream.key());
        let logs = Self {
            members: Some(members),
            log: Some((log, history)),
        };
        Ok((store, logs))
    }
}

impl Cluster {
    fn of(
        builder: &mut NodeBuilder,
        ground: &Ground,
        store: &Store,
        logs: Logs,
    ) -> Result<Self, StartError> {
        let Logs { members, log } = logs;
        let wakes = builder.wakes.take();
        if wakes.is_some() && (members.is_none() || store.engine() != "postgres") {
            return Err(refused("wake_by needs a cluster in a PostgreSQL database"));
        }
        if log.is_none() && !ground.recorded.is_empty() {
            let needed = "recorded_entity needs a store that keeps a log: open it with Logging::On";
            return Err(refused(needed));
        }

        // The wake-ups of processes on one file are a file's growth, and name nothing.
        let names_keys = members.is_some() && store.engine() == "postgres";
        let mut sealed = None;
        let log = log.map(|(log, history)| {
            let mut read = Arc::clone(&log) as Arc<dyn Log>;
            if names_keys {
                let wakes = sealed.insert(Arc::new(SealedWakes::new(read, wakes)));
                read = Arc::clone(wakes) as _;
            }

            let clock = Arc::clone(&ground.clock);
            Followed {
                log,
                history,
                intake: Intake::new(read, clock, &ground.settings),
            }
        });
        let node = || ground.node_id.as_str().into();
        Ok(Self {
            carrier: members.is_some().then(|| Carrier::new(node())),
            members,
            sealed,
            log,
        })
    }

    /// Starts to follow the log, if there is one.
    fn follow(
        &mut self,
        builder: &NodeBuilder,
        ground: &Ground,
        bus: &Bus,
        feed: &Feed,
    ) -> Result<Option<Following>, StartError> {
        let Some(logs) = self.log.take() else {
            return Ok(None);
        };
        let retention = builder.retention;
        if !(LOG_RETENTIONS.0..=LOG_RETENTIONS.1).contains(&retention) {
            let message = format!("log_retention is {retention:?}; it must be 10 s to 30 days");
            return Err(refused(message));
        }

        let heard = ground.heard();
        let following = Following::start(Wiring {
            node: ground.node_id.as_str().into(),
            log: logs.log,
            history: logs.history,
            members: self.members.take(),
            facts: facts::of(&ground.schemas, &ground.recorded, retention),
            intake: logs.intake,
            carrier: self.carrier.take(),
            channels: bus.channels.clone(),
            for_all: bus.for_all.clone(),
            schemas: heard,
            gaps: bus.gaps.clone(),
            feed: feed.clone(),
            clock: Arc::clone(&ground.clock),
            spawn: Arc::clone(&ground.spawn),
            settings: ground.settings.clone(),
        });
        let following = following.map_err(|error| StartError::Log(error.into()))?;
        Ok(Some(following))
    }
}

/// Refuses what the log was asked to do.
fn refused(message: impl Into<BoxError>) -> StartError {
    StartError::Log(message.into())
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

/// The bus, and the channels of the node on it.
struct Bus {
    events: WorkerEvents,
    channels: Channels,
    for_all: ForAllChannels,
    gaps: Gaps,
}

impl Bus {
    fn of(builder: &mut NodeBuilder, ground: &Ground, cache: &Cache) -> Result<Self, StartError> {
        let refused = |error: BoxError| StartError::Events(error);
        let events = std::mem::replace(&mut builder.events, WorkerEvents::builder())
            .workers(builder.workers)
            .clock(Arc::clone(&ground.clock))
            .runtime(ground.runtime.clone())
            .build()
            .map_err(|error| refused(error.into()))?;

        let all = builder.entities.iter().chain(&builder.recorded);
        let declared = all.map(|it| (it.schema, it.declare));
        let channels = Channels::declare(declared, &events, cache.clone())
            .map_err(|error| refused(error.into()))?;
        let for_all = ForAllChannels::declare(&builder.for_all, &events)
            .map_err(|error| refused(error.into()))?;
        let told = events.declare_opaque::<Gap>(GAP.0, GAP.1);
        let told = told.map_err(|error| refused(error.into()))?;
        let gaps = Gaps::new(std::mem::take(&mut builder.gaps), Some(told));
        Ok(Self {
            events,
            channels,
            for_all,
            gaps,
        })
    }
}
