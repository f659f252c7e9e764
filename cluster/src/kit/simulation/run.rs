//! [`run`]: carries a plan out, and reports what in its history must not happen.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::Entity;

use super::{
    entity::{Item, Key, row_of, rows},
    history::{History, Verbosity, Violation},
    net::Net,
    node::{Process, Surroundings},
    plan::{LENGTH, Plan, RowWrite, Step, Then, Write},
    world::{Moment, World},
};
use crate::kit::{
    memory::MemoryLog,
    model::{ModelStore, Writing},
};

/// How long nodes have, once everything is mended, to come to rest.
const SETTLING: Duration = Duration::from_millis(1_400);

/// How long it takes at most until it is noticed that the store was put back.
const NOTICED: Duration = Duration::from_millis(60);

/// The outcome of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must not have happened; empty for a clean run.
    pub violations: Vec<Violation>,
    /// The history, if it was written down.
    pub lines: Vec<String>,
    /// How many reads were checked.
    pub reads: usize,
    /// How many times a task was polled.
    pub polls: u64,
}

/// Carries a plan out. The same plan has the same outcome.
///
/// # Errors
///
/// The secret of cache keys was drawn before, so run simulations in a process of their own; or a
/// part cannot be made.
pub fn run(
    plan: &Plan,
    verbosity: Verbosity,
) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    tidings_core::set_key_secret(SECRET)?;

    let world = World::new(plan.profile.seed);
    let store = ModelStore::new(plan.profile.form, plan.profile.seed);
    let net = Net::new(
        Arc::clone(&world),
        MemoryLog::new(store),
        plan.profile.clone(),
    );
    let history = History::new(Arc::clone(&world), verbosity);
    let cluster = Arc::new(Cluster {
        around: Surroundings {
            net,
            history: Arc::clone(&history),
            profile: plan.profile.clone(),
        },
        processes: Mutex::default(),
        lives: Mutex::new(0),
        version: Mutex::new(0),
    });

    for node in 0..plan.profile.bounds.len() {
        cluster.start(node)?;
    }

    let mut driver = Driver::new(Arc::clone(&world));
    for (at, step) in &plan.steps {
        driver.until(Moment(0).plus(*at), &history);
        if history.has_failed() {
            break;
        }
        cluster.step(step)?;
    }

    driver.until(Moment(0).plus(LENGTH), &history);
    if !history.has_failed() {
        cluster.settle(&mut driver);
    }

    world.clear();
    let (violations, lines, reads) = history.take();
    Ok(Outcome {
        violations,
        lines,
        reads,
        polls: driver.polls,
    })
}

/// The secret of cache keys in a simulation.
pub(super) const SECRET: u64 = 0x74_69_64_69_6e_67_73;

/// Moves the world on.
pub(super) struct Driver {
    world: Arc<World>,
    polls: u64,
}

impl Driver {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world, polls: 0 }
    }

    pub(super) fn until(&mut self, end: Moment, history: &History) {
        while self.world.step(end) {
            self.polls += 1;
            if self.polls.is_multiple_of(64) && history.has_failed() {
                return;
            }
        }
    }
}

struct Cluster {
    around: Surroundings,
    /// The living process of each node.
    processes: Mutex<Vec<Option<Arc<Process>>>>,
    lives: Mutex<u64>,
    version: Mutex<i64>,
}

impl Cluster {
    fn start(
        self: &Arc<Self>,
        node: usize,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // It may have been killed twice before it came back once.
        if self.process(node).is_some() {
            return Ok(());
        }

        let life = {
            let mut lives = self.lives.lock();
            *lives += 1;
            *lives
        };
        let process = Process::start(&self.around, node, life)?;
        let reads = self.around.profile.reads;
        process.run(Arc::clone(&process).read_on(reads));
        process.run(Arc::clone(&process).read_after_purges());

        let mut processes = self.processes.lock();
        if processes.len() <= node {
            processes.resize(node + 1, None);
        }
        processes[node] = Some(process);
        Ok(())
    }

    fn process(&self, node: usize) -> Option<Arc<Process>> {
        self.processes.lock().get(node).cloned().flatten()
    }

    fn living(&self) -> Vec<Arc<Process>> {
        self.processes.lock().iter().flatten().cloned().collect()
    }

    fn new_versions(&self, count: usize) -> Vec<i64> {
        let mut version = self.version.lock();
        let first = *version + 1;
        *version += count as i64;
        (first..=*version).collect()
    }

    fn step(self: &Arc<Self>, step: &Step) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (net, history) = (&self.around.net, &self.around.history);
        let world = &net.world;
        history.say(|| format!("-- {step:?}"));

        match step {
            Step::Write(write) => self.write(write),
            Step::Pause(node, time) => {
                if let Some(process) = self.process(*node) {
                    world.pause(process.lane, world.now().plus(*time));
                }
            }
            Step::Cut(node, wire, time) => {
                if let Some(process) = self.process(*node) {
                    net.cut(process.lane, *wire, world.now().plus(*time));
                }
            }
            Step::SlowHandlers(node, time) => {
                if let Some(process) = self.process(*node) {
                    process.slow_handlers(world.now().plus(*time));
                }
            }
            Step::Kill(node, back) => {
                self.kill(*node);
                let (cluster, node, back) = (Arc::clone(self), *node, *back);
                let world = Arc::clone(world);
                net.outside(async move {
                    world.sleep(back).await;
                    if let Err(error) = cluster.start(node) {
                        cluster.around.history.stuck(error.to_string());
                    }
                });
            }
            Step::Crash => {
                net.crash();
                history.store_is(&rows(net.memory.store()));
            }
            Step::PutBack => self.put_back(),
            Step::Promote => net.memory.store().begin_epoch(),
            Step::Prune => net.memory.store().prune(),
        }

        Ok(())
    }

    /// Puts the store back. Nodes that have not read what was lost cannot find out: another reader
    /// has, and does.
    fn put_back(&self) {
        let (net, history) = (&self.around.net, &self.around.history);
        let Some(over) = net.memory.store().put_back() else {
            return;
        };

        let (world, after) = (Arc::clone(&net.world), Arc::clone(net));
        let noticed = world.now().plus(NOTICED);
        history.store_is_since(&rows(net.memory.store()), noticed);
        net.outside(async move {
            world.sleep_until(noticed).await;
            after.memory.store().notice(over);
        });
    }

    /// Cuts a process off, then ends it: nothing that it does on its way out reaches anyone.
    fn kill(&self, node: usize) {
        let process = self.processes.lock().get_mut(node).and_then(Option::take);
        if let Some(process) = process {
            self.around.net.kill(process.lane);
            self.around.net.world.kill(process.lane);
        }
    }

    fn write(self: &Arc<Self>, write: &Write) {
        let versions = self.new_versions(write.rows.len());
        let write = write.clone();
        let Some(node) = write.node else {
            let cluster = Arc::clone(self);
            self.around
                .net
                .outside(async move { cluster.write_elsewhere(write, versions).await });
            return;
        };
        let Some(process) = self.process(node) else {
            return;
        };

        let then = write.then;
        let others = match then {
            Then::Token(other) => self.process(other).into_iter().collect(),
            Then::Confirm => self.living(),
            Then::Nothing => Vec::new(),
        };

        let writer = Arc::clone(&process);
        process.run(async move {
            if let Some((mark, made)) = Arc::clone(&writer).write(write, versions).await {
                writer.follow(mark, made, then, others).await;
            }
        });
    }

    /// Writes as another program does, beside the store.
    async fn write_elsewhere(self: Arc<Self>, write: Write, versions: Vec<i64>) {
        let net = &self.around.net;
        let store = net.memory.store();
        let id = store.begin();
        let writing = Writing {
            lacking: if write.lacking {
                vec!["name"]
            } else {
                Vec::new()
            },
            ..Writing::default()
        };

        for (row, version) in write.rows.iter().zip(versions) {
            let written = match row {
                RowWrite::Put(row, name) => {
                    let row = row_of(*row, *name, version);
                    store.put(id, Item::schema(), row, &writing).map(drop)
                }
                RowWrite::Delete(row) => {
                    let row = row_of(*row, 0, 0);
                    store.delete(id, Item::schema(), row, &writing).map(drop)
                }
                RowWrite::Truncate => store.truncate(id, Item::schema()),
            };
            if written.is_err() {
                store.roll_back(id);
                return;
            }
        }

        net.world.sleep(write.open).await;
        self.around.history.commit(store, id, write.durability);
    }

    /// Mends everything, waits, and checks that every node has come to rest with what the store
    /// has.
    fn settle(self: &Arc<Self>, driver: &mut Driver) {
        let (net, history) = (&self.around.net, &self.around.history);
        history.say(|| "-- everything is mended".into());
        net.calm();
        net.world.resume_all();
        driver.until(net.world.now().plus(SETTLING), history);

        // A node that was given up late may just be coming back.
        let mut left = 8;
        while left > 0 && !self.living().iter().all(|it| it.protocol.gate().is_open()) {
            driver.until(net.world.now().plus(SETTLING / 4), history);
            left -= 1;
        }

        let processes = self.living();
        let rows = rows(net.memory.store());
        for process in &processes {
            if !process.protocol.gate().is_open() {
                history.stuck(format!("{} does not serve", process.name()));
            }
            history.check_chains(process.life, &rows);
            for key in Key::ALL {
                process.run(Arc::clone(process).read_last(key));
            }
        }

        driver.until(net.world.now().plus(SETTLING / 4), history);
    }
}
