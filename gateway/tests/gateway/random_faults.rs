//! Three processes of the program on one database, under load, to which something happens all the
//! time: they are killed, stopped, restarted, and cut off, and their database crashes. No answer
//! may be one that the [history](history) rules out, and at the end every node agrees with the
//! database.
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
use tidings_testkit::{Link, Server};

use self::{
    engine::{DEEDS, Deed, Engine},
    history::{Reach, State},
    load::{NODES, World},
};
use crate::{
    cluster::{members, status, until},
    process::{Program, get, post},
};

/// How long a node may serve what it has not proven.
const BOUND: Duration = Duration::from_secs(1);
/// The same, for the nodes.
const NODE_BOUND: &str = "1s";
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
    /// How long each serves what it has not proven.
    bound: &'a str,
    running: Vec<Option<Program>>,
}

impl<'a> Nodes<'a> {
    /// Starts them all, and makes the one consumer.
    fn all(engine: &'a Engine, world: &'a World, bound: &'a str) -> Self {
        let mut nodes = Self {
            engine,
            world,
            bound,
            running: (0..NODES).map(|_| None).collect(),
        };
        for node in 0..NODES {
            nodes.start(node);
        }
        let made = post(nodes.get(0).admin, "/consumers", "username=bob");
        assert_eq!(status(&made), 201, "{made}");
        nodes
    }

    fn start(&mut self, node: usize) {
        // The server may be recovering: then the program says so and ends.
        for _ in 0..100 {
            let started = catch_unwind(AssertUnwindSafe(|| self.engine.node(node, self.bound)));
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
            Deed::Restart => {
                let program = self.running[node].take().expect("it runs");
                program.signal("TERM");
                let (code, _, errors) = program.ended();
                self.world.is_at(node, None);
                if code != Some(0) {
                    let text = format!("n{node} ended with {code:?}: {errors}");
                    self.world.history.violated(text);
                }
                self.start(node);
            }
            Deed::Stop => {
                self.get(node).signal("STOP");
                self.world.cuts_off(Some(node));
                let time = Duration::from_millis(200 + chance.below(2_500));
                self.world.goes_on_after(time);
                self.get(node).signal("CONT");
                self.world.cuts_off(None);
            }
            Deed::Cut => self.engine.cut(),
            Deed::Crash => self.engine.crash(),
            Deed::Refuse | Deed::Delay | Deed::HalfOpen | Deed::BlackHole => {
                let (link, time) = deed.on_link(chance).expect("it is done to a link");
                self.engine.link(node, link);
                self.world.cuts_off(Some(node));
                self.world.goes_on_after(time);
                self.engine.link(node, Link::Open);
                self.world.cuts_off(None);
            }
        }
    }
}

/// Runs the load and the deeds, then checks that everything came to rest.
async fn run(engine: Engine, name: &str) {
    let seed = number("TIDINGS_FAULTS_SEED", 1);
    let time = Duration::from_secs(number("TIDINGS_FAULTS_SECONDS", SECONDS));
    let world = World::new(BOUND);
    let bound = std::env::var("TIDINGS_FAULTS_NODE_BOUND").unwrap_or(NODE_BOUND.to_owned());
    let mut nodes = Nodes::all(&engine, &world, &bound);

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
                let deed = engine.deed(chance.below(DEEDS));
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
    run(Engine::postgres(database).await, "postgres").await;
}

/// Whether the checker notices nodes of a bound that are cut off for longer than its own.
async fn is_noticed(bound: &str) -> bool {
    let engine = Engine::postgres(Server::shared().database().await).await;
    let world = World::new(BOUND);
    let nodes = Nodes::all(&engine, &world, bound);
    let key = "k";
    assert_eq!(world.write(0, key, State::Present, ""), Ok(Reach::OneNode));
    let admin = nodes.get(1).admin;
    until("the other node has both rows in its cache", || {
        let read = world.state_on(1, key);
        let credential = get(admin, &format!("/cache/keyauth_credentials:{key}"), "");
        let consumers = get(admin, "/cache?entity=consumers", "");
        read.is_some_and(|read| read.state == State::Present)
            && credential.contains("\"consumer\"")
            && consumers.contains("\"kind\":\"value\"")
    })
    .await;

    engine.link(1, Link::Silent);
    assert_eq!(world.write(0, key, State::Absent, ""), Ok(Reach::OneNode));
    let (answered, clock) = (world.clock.now(), &world.clock);
    clock
        .sleep_until(answered.plus(BOUND + 2 * history::SLACK))
        .await;
    // One that keeps to the bound asks the database, and has no answer.
    if let Some(read) = world.state_on(1, key) {
        world.history.read(key, read);
    }
    world.history.violations().0 > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_serve_for_longer_than_the_bound_are_noticed() {
    assert!(is_noticed("9s").await);
    assert!(!is_noticed(NODE_BOUND).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    let folder = tempfile::tempdir().expect("a directory");
    run(Engine::Sqlite(folder), "sqlite").await;
}
