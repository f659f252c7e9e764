//! [`Process`]: one life of one node: cache, bus, protocol and clients, as a real node has them.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidings_cache::{Cache, GetError, GetOptions, Loaded, Outcome, Proof, StalePolicy};
use tidings_core::{
    CacheKey, CrudEvent, Entity,
    clock::{Clock, Tick},
    entropy::{Entropy, SeededEntropy},
    log::{Announce as Announced, Mark},
    spawn::Spawn,
};
use tidings_events::WorkerEvents;

use super::{
    clock::{CacheClock, LaneClock},
    entity::{Item, Key, row_of, rows},
    history::{Floors, History, LifeId, Made},
    net::{Link, Lost, Net},
    plan::{CommitFate, Profile, RowWrite, Then, Waits, Wire, Write},
    slow::SlowHandlers,
    world::{Lane, LaneSpawn, Moment},
};
use crate::{
    bus::BusAnnouncer,
    faults::{Rule, removed},
    intake::Intake,
    kit::model::Writing,
    node::{parts::Parts, protocol::Protocol},
    settings::ClusterSettings,
};

/// How long an own write waits for handlers, and a client for a token's commit.
const PATIENCE: Duration = Duration::from_millis(120);

/// The value of a cache entry: a version or none, when its load began (by which the gate judges),
/// and whether the node followed the log then.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stamped {
    version: Option<i64>,
    began: u64,
    followed: bool,
}

/// One life of one node.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) lane: Lane,
    pub(super) life: LifeId,
    net: Arc<Net>,
    history: Arc<History>,
    spawn: Arc<LaneSpawn>,
    clock: LaneClock,
    cache: Cache,
    pub(super) protocol: Protocol,
    handlers: Arc<SlowHandlers>,
    bound: Option<Duration>,
    policy: StalePolicy,
    /// Whether writes made here wait for their handlers.
    waits: Waits,
    name: Arc<str>,
}

/// What is the same for all processes of a run.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) net: Arc<Net>,
    pub(super) history: Arc<History>,
    pub(super) profile: Profile,
}

impl Process {
    /// Starts a node. What it is made of follows from the seed and the number of its life.
    pub(super) fn start(
        around: &Surroundings,
        node: usize,
        life_number: u64,
    ) -> Result<Arc<Self>, Box<dyn std::error::Error + Send + Sync>> {
        let Surroundings {
            net,
            history,
            profile,
        } = around;
        let world = &net.world;
        let lane = world.new_lane();
        net.connect(lane);

        let dice = SeededEntropy::new(profile.seed ^ (life_number << 20) ^ 0x6e6f_6465);
        let rate = dice.below(801) as i64 - 400;
        let clock = LaneClock::new(Arc::clone(world), dice.below(1 << 40), rate);
        let spawn = Arc::new(world.spawner(lane));

        let bound = profile.bounds.get(node).copied().flatten();
        let in_world = bound.map(|bound| clock.in_world(bound) + Duration::from_micros(1));
        let name: Arc<str> = format!("node {node}").into();
        let life = history.begin_life(format!("{name}.{life_number}"), in_world);

        let link = Link {
            net: Arc::clone(net),
            lane,
        };
        let settings = ClusterSettings::new()
            .poll(profile.poll)
            .page(profile.page)
            .queue(profile.queue)
            .max_staleness(bound)
            .handler_deadline(PATIENCE)
            .retry(Duration::from_millis(40));
        let (log, own_clock) = (Arc::new(link.clone()), Arc::new(clock.clone()));
        let intake = Intake::new(log, own_clock, &settings);

        let policy = match (node as u64 + profile.seed) % 4 {
            0 => StalePolicy::Refuse,
            _ => StalePolicy::Load,
        };
        let mut builder = Cache::builder();
        if !removed(Rule::RefusalAsksProof) {
            builder = builder.stale_policy(policy);
        }

        if let Some(bound) = bound.filter(|_| !removed(Rule::ProofBeforeValue)) {
            builder = builder.staleness_ceiling(bound);
        }

        let cache = builder
            .fills(Arc::clone(&intake) as _)
            .capacity(64 << 10)
            .no_deadline()
            .clock(Arc::new(CacheClock(clock.clone())))
            .spawn(Arc::clone(&spawn) as _)
            .entropy(Arc::new(SeededEntropy::new(dice.number())))
            .build()?;
        let bus = WorkerEvents::builder()
            .workers(0)
            .clock(Arc::new(clock.clone()))
            .build()?;
        let announcer = Self::handlers(&bus, history, life, &cache)?;
        let handlers = Arc::new(SlowHandlers {
            inner: Arc::new(announcer),
            spawn: Arc::clone(&spawn),
            clock: clock.clone(),
            slow_until: Mutex::new(Moment(0)),
            net: Arc::clone(net),
            longest: Duration::from_millis(5 + dice.below(200)),
        });

        let protocol = Protocol::assemble(Parts {
            node: Arc::clone(&name),
            intake,
            members: Some(Arc::new(link)),
            facts: None,
            carrier: None,
            cache: cache.clone(),
            schemas: vec![Item::schema()],
            announce: Arc::clone(&handlers) as _,
            observe: history.observer(life),
            clock: Arc::new(clock.clone()),
            spawn: Arc::clone(&spawn) as _,
            entropy: Arc::new(SeededEntropy::new(dice.number())),
            settings,
        })?;
        Ok(Arc::new(Self {
            lane,
            life,
            net: Arc::clone(net),
            history: Arc::clone(history),
            spawn,
            clock,
            cache,
            protocol,
            handlers,
            bound,
            policy,
            waits: profile
                .waits
                .get(node)
                .copied()
                .unwrap_or(Waits::ForHandlers),
            name,
        }))
    }

    /// Registers a handler that receives every change and evicts its key once more, which must cost
    /// nothing.
    fn handlers(
        bus: &WorkerEvents,
        history: &Arc<History>,
        life: LifeId,
        cache: &Cache,
    ) -> Result<BusAnnouncer, Box<dyn std::error::Error + Send + Sync>> {
        let announcer = BusAnnouncer::new().entity::<Item>(bus)?;
        let (heard, cache) = (Arc::clone(history), cache.clone());
        let handler = move |change: &CrudEvent<Item>| {
            let (item, old) = (&change.entity, change.old_entity.as_ref());
            heard.heard(life, change.operation, item, old);
            cache.invalidate_local(&CacheKey::primary("items", item.id));
        };
        bus.register(handler, "crud", "items")?.keep();

        let history = Arc::clone(history);
        Ok(announcer.on_gap(move |gap| history.heard_gap(life, gap)))
    }

    /// Returns the world's time, which is on no process's clock.
    pub(super) fn moment(&self) -> Moment {
        self.net.world.now()
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Runs a client's task, which ends with the process.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.spawn.spawn(task.boxed()));
    }

    pub(super) fn slow_handlers(&self, until: Moment) {
        let mut slow = self.handlers.slow_until.lock();
        *slow = (*slow).max(until);
    }

    /// Reads keys until the process ends, or everything is mended.
    pub(super) async fn read_on(self: Arc<Self>, every: Duration) {
        while !self.net.is_calm() {
            let entropy = self.net.world.entropy();
            let pause = entropy.below(2 * every.as_nanos() as u64);
            let key = Key::ALL[entropy.below(Key::ALL.len() as u64) as usize];
            self.clock.sleep(Duration::from_nanos(pause)).await;
            self.history.joined(self.life, self.protocol.member());
            let floors = self.history.begin_read(self.life);
            self.read(key, &floors).await;
        }
    }

    /// Reads every key after each purge, as the clients do whose entries have gone.
    pub(super) async fn read_after_purges(self: Arc<Self>) {
        loop {
            self.history.purged_again(self.life).await;
            let all = Key::ALL.map(|key| (key, 0));
            Arc::clone(&self).read_all(all.into()).await;
        }
    }

    /// Reads a key and checks what it got.
    pub(super) async fn read(self: &Arc<Self>, key: Key, floors: &Floors) {
        if let Ok((version, how)) = self.get(key).await {
            self.history.end_read(self.life, key, floors, version, how);
        }
    }

    /// Reads some keys now.
    async fn read_all(self: Arc<Self>, made: Made) {
        for (key, _) in made {
            let floors = self.history.begin_read(self.life);
            self.read(key, &floors).await;
        }
    }

    /// Reads a key for the end of the run.
    pub(super) async fn read_last(self: Arc<Self>, key: Key) {
        if let Ok((version, _)) = self.get(key).await {
            self.history.check_end(self.life, key, version);
        }
    }

    async fn get(self: &Arc<Self>, key: Key) -> Result<(Option<i64>, &'static str), Lost> {
        let cache_key = key.cache_key();
        let get = self
            .cache
            .get_entry(&cache_key, GetOptions::default(), || self.load(key));
        let entry = match get.await {
            Ok(entry) => entry,
            Err(GetError::Unproven(_)) => {
                self.history
                    .say(|| format!("{} refuses {key:?}", self.name));
                return Err(Lost);
            }
            Err(_) => return Err(Lost),
        };
        let (outcome, stamped) = (entry.outcome, entry.value.ok_or(Lost)?);
        let cached = matches!(outcome, Outcome::L1 | Outcome::L2);
        if cached && !stamped.followed {
            self.history.kept_unheard(self.life, key);
        }

        if removed(Rule::ProofBeforeValue) {
            // The cache has no bound then: what is proven is asked after the value was read.
            self.clock.sleep(Duration::from_millis(2)).await;
            if !self.serves(Tick(stamped.began)) {
                return Ok((self.query(key).await?, "asked"));
            }
        }

        Ok((stamped.version, if cached { "cached" } else { "loaded" }))
    }

    /// Returns whether what is proven now allows serving a value that was loaded at a moment.
    fn serves(&self, loaded: Tick) -> bool {
        let since = match self.protocol.gate().proof() {
            Proof::None => loaded,
            Proof::At(proven) => proven.max(loaded),
            Proof::Withheld => return false,
        };
        let now = self.clock.now();
        self.bound.is_none_or(|bound| now < since.plus(bound))
    }

    /// Loads a key as the cache does, in a task of this process.
    fn load(
        self: &Arc<Self>,
        key: Key,
    ) -> impl Future<Output = Result<Loaded<Stamped>, Lost>> + Send + 'static + use<> {
        let began = self.clock.now().0;
        let followed = self.protocol.gate().is_open();

        // A load that counts from the beginning of time is served if anything that is held is.
        if self.policy == StalePolicy::Refuse
            && self.bound.is_some()
            && !removed(Rule::ProofBeforeValue)
            && !self.serves(Tick(0))
        {
            self.history.loaded_unproven(self.life, key);
        }

        let process = Arc::clone(self);
        async move {
            let version = process.query(key).await?;
            Ok(Loaded::new(Stamped {
                version,
                began,
                followed,
            }))
        }
    }

    async fn query(&self, key: Key) -> Result<Option<i64>, Lost> {
        let answer = self.net.ask(self.lane, Wire::Pool, |memory| {
            key.version_in(&rows(memory.store()))
        });
        answer.await
    }

    /// Writes as a DAO does: evicts at once when the commit is acknowledged, and waits for the own
    /// handlers.
    pub(super) async fn write(
        self: Arc<Self>,
        write: Write,
        versions: Vec<i64>,
    ) -> Option<(Mark, Made)> {
        let (net, lane) = (Arc::clone(&self.net), self.lane);
        let id = net
            .ask(lane, Wire::Pool, move |memory| memory.store().begin())
            .await
            .ok()?;
        net.opened(lane, id);

        let writing = Writing {
            origin: Some(Arc::clone(&self.name)),
            announce: Announced::Event,
            lacking: if write.lacking {
                vec!["name"]
            } else {
                Vec::new()
            },
        };
        let mut keys = Vec::new();
        for (row, version) in write.rows.iter().zip(&versions) {
            let (row, version, writing) = (*row, *version, writing.clone());
            let written = net.ask(lane, Wire::Pool, move |memory| {
                let store = memory.store();
                match row {
                    RowWrite::Put(row, name) => {
                        store.put(id, Item::schema(), row_of(row, name, version), &writing)
                    }
                    RowWrite::Delete(row) => {
                        store.delete(id, Item::schema(), row_of(row, 0, 0), &writing)
                    }
                    RowWrite::Truncate => Ok(Vec::new()),
                }
            });

            match written.await {
                Ok(Ok(more)) => keys.extend(more),
                Ok(Err(_)) | Err(Lost) => {
                    net.memory.store().roll_back(id);
                    net.closed(lane, id);
                    return None;
                }
            }
        }

        self.clock.sleep(write.open).await;
        keys.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        keys.dedup();

        let mark = net.memory.store().mark_of(id);
        let late = match write.commit {
            CommitFate::Ordinary => Duration::ZERO,
            CommitFate::Late(late) => late,
        };
        let history = Arc::clone(&self.history);
        let durability = write.durability;
        let answer = net.send(lane, late, move |memory| {
            history.commit(memory.store(), id, durability)
        });

        match answer.await {
            Ok(Some((mark, made))) => {
                net.closed(lane, id);
                let handled = self.protocol.committed(mark, &keys, &["items"]);
                match self.waits {
                    Waits::ForHandlers => handled.await,
                    Waits::ForNothing => drop(handled),
                }
                self.history.raise(Some(self.life), &made);

                // A client reads what it has written, at once.
                self.run(Arc::clone(&self).read_all(made.clone()));
                let (name, number) = (&self.name, mark.number());
                self.history
                    .say(|| format!("{name} has committed {number}"));
                Some((mark, made))
            }
            Ok(None) => None,
            Err(Lost) => {
                self.history.say(|| format!("{} is in doubt", self.name));
                self.protocol.in_doubt(mark, &keys);
                None
            }
        }
    }

    /// Does what follows a write in the plan.
    pub(super) async fn follow(
        self: Arc<Self>,
        mark: Mark,
        made: Made,
        then: Then,
        others: Vec<Arc<Self>>,
    ) {
        match then {
            Then::Nothing => {}
            Then::Confirm => {
                let confirmed = self.protocol.confirm(mark, Duration::from_secs(2)).await;
                if let Ok(confirmed) = confirmed {
                    let number = mark.number();
                    self.history
                        .say(|| format!("{number} is confirmed: {confirmed:?}"));
                    self.history.raise(None, &made);
                    self.history.confirmed(mark, &confirmed);

                    // The promise is kept or broken right after it.
                    for reader in others {
                        let made = made.clone();
                        reader.run(Arc::clone(&reader).read_all(made));
                    }
                }
            }
            Then::Token(_) => {
                let Some(reader) = others.into_iter().next() else {
                    return;
                };

                let process = Arc::clone(&reader);
                process.run(async move {
                    let applied = std::pin::pin!(reader.protocol.until_reached(mark));
                    let patience = reader.clock.sleep(PATIENCE * 4);
                    if let Either::Right(_) = select(applied, patience).await {
                        return;
                    }

                    let mut floors = reader.history.begin_read(reader.life);
                    for (key, index) in &made {
                        let floor = &mut floors[key.index()];
                        *floor = (*floor).max(*index);
                    }

                    for (key, _) in made {
                        reader.read(key, &floors).await;
                    }
                });
            }
        }
    }
}
