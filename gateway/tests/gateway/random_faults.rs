//! Three processes of the program on one database, under load, to which something happens all the
//! time: they are killed, stopped, restarted, and cut off, their clocks jump, and their database
//! crashes. No answer may be one that the [history](history) rules out, and at the end every node
//! agrees with the database, and that with the history.
//!
//! `scripts/faults` runs it for minutes; what happens follows from its seed, and the outcome does
//! not. Among the other tests it runs for a few seconds.

// The faults. Must not know how they are injected.
mod faults;

// What was written and read, and what was impossible. Must not know how it came about.
mod history;

// Clients.
mod load;

// A second publisher.
mod again;

// Where the nodes meet.
mod engine;

// The nodes, and how each fault is injected.
mod nodes;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Duration,
};

use tidings::{
    clock::Clock as _,
    core::entropy::{Entropy as _, SeededEntropy},
};
use tidings_testkit::Link;
#[cfg(all(feature = "nats", feature = "redis"))]
use tidings_testkit::Protocol;

use self::{
    engine::{Commits, Engine},
    faults::Fault,
    history::{Reach, State},
    load::{NODES, World},
    nodes::Nodes,
};
use crate::{
    cluster::{members, status, until},
    process::{Program, get},
};

/// How long a node may serve what it has not proven.
const BOUND: Duration = Duration::from_secs(1);
/// The same, for the nodes.
const NODE_BOUND: &str = "1s";
/// How long a run takes unless it is told otherwise.
const SECONDS: u64 = 4;
/// From how long on a run has time for what takes long.
const LONG: Duration = Duration::from_secs(60);
/// How often a node is asked that must agree with the database, and the pause in between.
const ATTEMPTS: usize = 150;
const PAUSE: Duration = Duration::from_millis(100);
const WRITERS: usize = 3;
const READERS: usize = 3;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// Runs the load and the faults, then checks that everything came to rest. Nodes that leave out a
/// rule must be noticed instead.
async fn run(engine: Engine, name: &str) {
    let seed = number("TIDINGS_FAULTS_SEED", 1);
    let time = Duration::from_secs(number("TIDINGS_FAULTS_SECONDS", SECONDS));
    let world = World::new(BOUND);
    let bound = std::env::var("TIDINGS_FAULTS_NODE_BOUND").unwrap_or(NODE_BOUND.to_owned());
    let mut nodes = Nodes::all(&engine, &world, &bound);
    let mut all = engine.faults();
    if time >= LONG {
        all.extend_from_slice(faults::LONG);
    }

    let mut faults: BTreeMap<Fault, u32> = BTreeMap::new();
    let begun = world.clock.now();
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

        // An injection that fails must end the load, too.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let chance = SeededEntropy::new(seed);
            let until = begun.plus(time);
            let noticed = || engine.without.is_some() && world.history.violations().0 > 0;
            while world.clock.now() < until
                && !noticed()
                && world.goes_on_after(Duration::from_millis(300 + chance.below(1_200)))
            {
                let fault = all[chance.below(all.len() as u64) as usize];
                *faults.entry(fault).or_default() += 1;
                let from = world.clock.now();
                let node = nodes.inject(fault, &chance);
                println!("{fault:?} n{node} from {from:?} to {:?}", world.clock.now());
            }
        }));
        world.end();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });

    if engine.without.is_none() {
        settle(&engine, &nodes, &world).await;
    }
    let (took, (count, violations)) = (world.clock.now().since(begun), world.history.violations());
    let counts = &world.counts;
    println!(
        "{name}, seed {seed}, {took:?}: {:?} writes ({:?} confirmed by all, {:?} without an answer, \
         {:?} lost in crashes), {:?} reads checked ({:?} without an answer), faults {faults:?} \
         ({:?} outlived the log), {count} violations",
        counts.writes,
        counts.confirmed,
        counts.unanswered_writes,
        counts.lost,
        counts.reads,
        counts.unanswered,
        counts.outlived,
    );
    if let Some(rule) = &engine.without {
        let noticed = violations.first();
        let noticed = noticed.unwrap_or_else(|| panic!("{name} without {rule}: not noticed"));
        println!("{name} without {rule}: noticed after {took:?}: {noticed}");
        return;
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let written = counts.writes.load(Ordering::Relaxed);
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

    let mut there = engine.keys(world);
    for key in world.history.keys() {
        for node in 0..NODES {
            agrees(engine, (node, nodes.get(node)), world, &key, &mut there);
        }
    }
    world
        .history
        .is_whole(&engine.keys(world), world.clock.now());
}

/// Waits until a node answers for a key as the database does, twice. What was sent on a connection
/// that broke may have been committed since it was asked.
fn agrees(
    engine: &Engine,
    (node, program): (usize, &Program),
    world: &World,
    key: &str,
    there: &mut BTreeSet<String>,
) {
    let mut read = None;
    for _ in 0..ATTEMPTS {
        let state = State::of(key, there);
        let both = [0; 2].map(|_| world.state_on(node, key).map(|read| read.state));
        if both == [Some(state); 2] {
            return;
        }
        read = Some((both, state));
        world.passes(PAUSE);
        *there = engine.keys(world);
    }

    let held = ["keyauth_credentials", "consumers"].map(|entity| {
        let path = format!("/cache?entity={entity}");
        catch_unwind(|| get(program.admin, &path, "")).unwrap_or_default()
    });
    let text = format!(
        "n{node} does not agree with the database on {key}: {read:?}; {:?}; it holds {held:?}",
        world.history.known(key)
    );
    world.history.violated(text);
}

// CL2 to CL5, CL7 and CL8, by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let engine = Engine::postgres(Commits::Synchronous, None).await;
    run(engine, "postgres").await;
}

// CL2 where the server has lost what it had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_that_does_not_wait_for_the_disk() {
    let engine = Engine::postgres(Commits::Asynchronous, None).await;
    run(engine, "postgres, asynchronous commits").await;
}

#[cfg(all(feature = "nats", feature = "redis"))] // as scripts/faults builds it
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_and_nats() {
    let engine = Engine::postgres(Commits::Synchronous, Some(Protocol::Nats)).await;
    run(engine, "nats").await;
}

#[cfg(all(feature = "nats", feature = "redis"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_and_redis() {
    let engine = Engine::postgres(Commits::Synchronous, Some(Protocol::Redis)).await;
    run(engine, "redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    run(Engine::sqlite(), "sqlite").await;
}

/// Whether the checker notices nodes of a bound that are cut off for longer than its own.
async fn is_noticed(bound: &str) -> bool {
    let engine = Engine::postgres(Commits::Synchronous, None).await;
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
