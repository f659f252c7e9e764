//! Three processes of the program on one database, under load, to which something happens all the
//! time: they are killed, stopped, and cut off, and their database crashes. No answer may be one
//! that the [history](history) rules out, and at the end every node agrees with the database.
//!
//! `scripts/faults` runs it for minutes; what happens follows from its seed, what comes of it does
//! not. Among the other tests it runs for a few seconds.

mod engine;
mod history;
mod load;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tidings::{
    clock::Clock as _,
    core::entropy::{Entropy as _, SeededEntropy},
};
use tidings_testkit::Server;

use self::{
    engine::{Deed, Engine},
    history::State,
    load::{NODES, World},
};
use crate::{
    cluster::{members, status, until},
    process::{Program, get, post},
};

/// How long a node serves what it has not proven.
const BOUND: Duration = Duration::from_secs(1);
/// How long a run takes unless it is told otherwise.
const SECONDS: u64 = 4;
const WRITERS: usize = 3;
const READERS: usize = 3;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// The nodes, as long as they run.
struct Nodes<'a> {
    engine: &'a Engine,
    world: &'a World,
    running: Vec<Option<Program>>,
}

impl Nodes<'_> {
    fn start(&mut self, node: usize) {
        // The server may be recovering: then the program says so and ends.
        for _ in 0..100 {
            let started = catch_unwind(AssertUnwindSafe(|| self.engine.node(node)));
            if let Ok(program) = started {
                self.world.is_at(node, Some((program.proxy, program.admin)));
                self.running[node] = Some(program);
                return;
            }
            self.world.goes_on_after(Duration::from_millis(100));
        }
        panic!("node {node} does not start");
    }

    fn get(&self, node: usize) -> &Program {
        self.running[node].as_ref().expect("it runs")
    }

    /// Does one deed, and waits as long as it takes.
    fn suffer(&mut self, deed: Deed, chance: &SeededEntropy) {
        let node = chance.below(NODES as u64) as usize;
        match deed {
            Deed::Kill => {
                self.get(node).signal("KILL");
                self.world.is_at(node, None);
                drop(self.running[node].take());
                self.world
                    .goes_on_after(Duration::from_millis(chance.below(1_500)));
                self.start(node);
            }
            Deed::Stop => {
                self.get(node).signal("STOP");
                let time = Duration::from_millis(200 + chance.below(2_500));
                self.world.goes_on_after(time);
                self.get(node).signal("CONT");
            }
            Deed::Cut => self.engine.cut(),
            Deed::Crash => self.engine.crash(),
        }
    }
}

/// Runs the load and the deeds, then checks that everything came to rest.
async fn run(engine: Engine, name: &str) {
    let seed = number("TIDINGS_FAULTS_SEED", 1);
    let time = Duration::from_secs(number("TIDINGS_FAULTS_SECONDS", SECONDS));
    let world = World::new(BOUND);
    let mut nodes = Nodes {
        engine: &engine,
        world: &world,
        running: (0..NODES).map(|_| None).collect(),
    };
    for node in 0..NODES {
        nodes.start(node);
    }
    let made = post(nodes.get(0).admin, "/consumers", "username=bob");
    assert_eq!(status(&made), 201, "{made}");

    let mut deeds: BTreeMap<Deed, u32> = BTreeMap::new();
    std::thread::scope(|scope| {
        let world = &world;
        for writer in 0..WRITERS {
            let seed = seed.wrapping_mul(1_000).wrapping_add(writer as u64);
            scope.spawn(move || world.write_on(writer, seed));
        }
        for reader in 0..READERS {
            let seed = seed.wrapping_mul(1_000).wrapping_add(500 + reader as u64);
            scope.spawn(move || world.read_on(WRITERS, seed));
        }

        // A deed that fails must end the load, too.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let chance = SeededEntropy::new(seed);
            let until = world.clock.now().plus(time);
            while world.clock.now() < until
                && world.goes_on_after(Duration::from_millis(300 + chance.below(1_200)))
            {
                let deed = engine.deed(chance.below(8));
                *deeds.entry(deed).or_default() += 1;
                nodes.suffer(deed, &chance);
            }
        }));
        world.end();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });

    settle(&engine, &nodes, &world).await;
    let (count, violations) = world.history.violations();
    let counts = &world.counts;
    println!(
        "{name}, seed {seed}, {time:?}: {:?} writes ({:?} confirmed by all, {:?} without an answer), \
         {:?} reads checked ({:?} without an answer), deeds {deeds:?}, {count} violations",
        counts.writes, counts.confirmed, counts.lost, counts.reads, counts.unanswered
    );
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let written = counts.writes.load(std::sync::atomic::Ordering::Relaxed);
    assert!(written > 0, "something was written");
}

/// Waits until every node is there and answers as the database says, for every key.
async fn settle(engine: &Engine, nodes: &Nodes<'_>, world: &World) {
    for node in 0..NODES {
        let admin = nodes.get(node).admin;
        let ready =
            || catch_unwind(|| get(admin, "/readyz", "")).is_ok_and(|it| status(&it) == 200);
        until("a node is ready", ready).await;
    }
    until("all are live", || {
        let all = members(nodes.get(0));
        all.len() == NODES && all.iter().all(|(_, state)| state == "live")
    })
    .await;

    let there = engine.keys();
    for key in world.history.keys() {
        let state = match there.contains(&key) {
            true => State::Present,
            false => State::Absent,
        };
        for node in 0..NODES {
            until(
                &format!("n{node} agrees with the database on {key}"),
                || {
                    world
                        .state_on(node, &key)
                        .is_some_and(|read| read.state == state)
                },
            )
            .await;
            let again = world.state_on(node, &key).map(|read| read.state);
            if again != Some(state) {
                let text = format!("n{node} said {again:?} of {key}, which is {state:?}");
                world.history.violated(text);
            }
        }
    }
}

// CL2 to CL5, CL7 and CL8, by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let server = Server::start();
    let database = server.database().await;
    run(Engine::Postgres(database), "postgres").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    let folder = tempfile::tempdir().expect("a directory");
    run(Engine::Sqlite(folder), "sqlite").await;
}
