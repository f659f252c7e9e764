//! The nodes, and what happens to them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tidings::{
    clock::{Clock as _, Tick},
    core::entropy::{Entropy as _, SeededEntropy},
};
use tidings_testkit::Link;

use super::{
    engine::{Commits, Engine, Extent, UNSAFE},
    faults::Fault,
    load::{NODES, World, count},
};
use crate::{
    cluster::status,
    process::{Program, get, post},
};

/// A pause while something is awaited.
const PAUSE: Duration = Duration::from_millis(100);

/// The nodes, as long as they run.
pub(super) struct Nodes<'a> {
    engine: &'a Engine,
    world: &'a World,
    /// The bound on staleness of each.
    bound: &'a str,
    running: Vec<Option<Program>>,
}

impl<'a> Nodes<'a> {
    /// Starts them all, and makes the one consumer.
    pub(super) fn all(engine: &'a Engine, world: &'a World, bound: &'a str) -> Self {
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
        engine.save();
        nodes
    }

    fn start(&mut self, node: usize) {
        // The server may be recovering: then the program says so and ends.
        for _ in 0..200 {
            let started = catch_unwind(AssertUnwindSafe(|| self.engine.node(node, self.bound)));
            if let Ok(program) = started {
                self.world.is_at(node, Some((program.proxy, program.admin)));
                self.running[node] = Some(program);
                return;
            }
            self.world.passes(PAUSE);
        }
        panic!("node {node} does not start");
    }

    pub(super) fn get(&self, node: usize) -> &Program {
        self.running[node].as_ref().expect("it runs")
    }

    /// Injects one fault, and waits until it is over. Returns the node that it was drawn for, to
    /// which something has happened unless it happened to all.
    pub(super) fn inject(&mut self, fault: Fault, chance: &SeededEntropy) -> usize {
        let node = chance.below(NODES as u64) as usize;
        count(&self.world.counts.faults);
        match fault {
            Fault::Kill => {
                self.get(node).signal("KILL");
                self.world.is_at(node, None);
                drop(self.running[node].take());
                self.world
                    .goes_on_after(Duration::from_millis(chance.below(1_500)));
                self.start(node);
            }
            Fault::Restart => self.restart(node),
            Fault::Stop => {
                let time = Duration::from_millis(200 + chance.below(2_500));
                self.stopped(node, || {
                    self.world.goes_on_after(time);
                });
            }
            Fault::Outlive => self.outlive(node),
            Fault::Jump => {
                self.engine.walls().jump(node, chance);
            }
            Fault::Cut => self.engine.cut(),
            Fault::Crash => {
                let before = self.world.clock.now();
                if self.engine.commits() == Commits::Asynchronous {
                    self.world.history.may_lose();
                }
                let extent = match chance.below(2) {
                    0 => Extent::Server,
                    _ => Extent::Process,
                };
                self.engine.crash(extent, self.world);
                if self.engine.commits() == Commits::Asynchronous {
                    self.take_stock(before, earlier(before, UNSAFE));
                }
            }
            Fault::Bounce => self.engine.bounce(),
            Fault::Recreate => match chance.below(2) {
                0 => self.engine.recreate(),
                // What this node has not read goes with the log.
                _ => {
                    let time = Duration::from_millis(200 + chance.below(800));
                    self.stopped(node, || {
                        self.world.goes_on_after(time);
                        self.engine.recreate();
                    });
                }
            },
            Fault::PutBack => self.put_back(chance),
            Fault::Link(trouble) => {
                let (link, time) = trouble.draw(chance);
                self.engine.link(node, link);
                self.world.cuts_off(Some(node));
                self.world.goes_on_after(time);
                self.engine.link(node, Link::Open);
                self.world.cuts_off(None);
            }
            Fault::BrokerDown => {
                let time = Duration::from_millis(200 + chance.below(3_000));
                self.engine.broker_down(|| {
                    self.world.goes_on_after(time);
                });
            }
            Fault::BrokerLink(trouble) => {
                let (link, time) = trouble.draw(chance);
                self.engine.broker_link(node, link);
                self.world.goes_on_after(time);
                self.engine.broker_link(node, Link::Open);
            }
        }
        node
    }

    fn restart(&mut self, node: usize) {
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

    /// Stops a node for as long as something takes. Returns whether it was stopped to the end: the
    /// system lets it go on if the shell that has started the run ends at that moment and orphans
    /// the group of its processes.
    fn stopped(&self, node: usize, meanwhile: impl FnOnce()) -> bool {
        self.get(node).signal("STOP");
        self.world.cuts_off(Some(node));
        meanwhile();
        let still = self.get(node).is_stopped();
        self.get(node).signal("CONT");
        self.world.cuts_off(None);
        still
    }

    /// Stops a node until the log has forgotten what it had not read; it must find that out.
    fn outlive(&self, node: usize) {
        let Some(before) = self.gaps_of_a_follower(node) else {
            return; // it has yet to take a cursor, and loses none
        };
        let mut forgotten = false;
        let stayed = self.stopped(node, || forgotten = self.is_missed());
        if !stayed {
            eprintln!("n{node} was told to go on, and not by this program");
        }
        if !forgotten || !stayed {
            return;
        }

        count(&self.world.counts.outlived);
        let mut found = None;
        for _ in 0..100 {
            found = self.gaps(node);
            if found.is_some_and(|found| found > before) {
                return;
            }
            self.world.passes(PAUSE);
        }
        let own = catch_unwind(|| get(self.get(node).admin, "/metrics", "")).unwrap_or_default();
        let told = own.lines().filter(|it| it.starts_with("tidings_cluster_"));
        let told: Vec<_> = told.filter(|line| !line.ends_with(" 0")).collect();
        let text = format!(
            "n{node} does not know that the log has forgotten what it missed: \
             {before} gaps before, {found:?} now; {told:?}"
        );
        self.world.history.violated(text);
    }

    /// Waits until the log has forgotten what comes after this call, which a node that was stopped
    /// before has not read. Returns whether it has.
    fn is_missed(&self) -> bool {
        // The node may have asked for the last records, and finds the answer when it goes on.
        self.world.goes_on_after(PAUSE);
        let Some(newest) = self.engine.newest() else {
            return false; // the database is not there
        };
        for _ in 0..300 {
            if self.engine.has_forgotten(newest) {
                return true;
            }
            if !self.world.goes_on_after(PAUSE) {
                return false;
            }
        }
        false
    }

    /// Waits until a node follows the log, and returns how many gaps it has found: each time that
    /// it loses its place from then on is one more. `None` if it does not follow the log.
    fn gaps_of_a_follower(&self, node: usize) -> Option<u64> {
        let admin = self.get(node).admin;
        for _ in 0..50 {
            let before = self.gaps(node);
            let ready = catch_unwind(|| get(admin, "/readyz", ""));
            let follows = ready.is_ok_and(|answer| status(&answer) == 200);
            if follows && before.is_some() && before == self.gaps(node) {
                return before;
            }
            if !self.world.goes_on_after(PAUSE) {
                return None;
            }
        }
        None
    }

    /// How many gaps a node has found, for whatever reason: one that was stopped right after the
    /// log had begun another epoch finds that first. `None` if it does not answer.
    fn gaps(&self, node: usize) -> Option<u64> {
        let admin = self.get(node).admin;
        let metrics = catch_unwind(|| get(admin, "/metrics", "")).ok()?;
        let lines = metrics.lines();
        let counts = lines.filter_map(|line| {
            let (_, count) = line
                .strip_prefix("tidings_cluster_gaps_total{")?
                .split_once(' ')?;
            count.parse::<u64>().ok()
        });
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then(|| counts.into_iter().sum())
    }

    /// Gives the database the content of a moment that is some hundred milliseconds ago.
    fn put_back(&self, chance: &SeededEntropy) {
        let since = self.world.clock.now();
        if self.engine.back_up().is_none() {
            return;
        }
        self.world
            .goes_on_after(Duration::from_millis(200 + chance.below(1_000)));
        let held = self.world.hold_writers();
        let before = self.world.clock.now();
        self.world.history.may_lose();
        self.engine.put_back();
        self.note_stock(before, since);
        drop(held);
    }

    /// Asks the database, which may have lost what it has acknowledged since some moment, what it
    /// has now.
    fn take_stock(&self, before: Tick, since: Tick) {
        let _held = self.world.hold_writers();
        self.note_stock(before, since);
    }

    fn note_stock(&self, before: Tick, since: Tick) {
        let there = self.engine.keys(self.world);
        let now = self.world.clock.now();
        let history = &self.world.history;
        let lost = history.came_back(&there, since, (before, now));
        for _ in 0..lost {
            count(&self.world.counts.lost);
        }
    }
}

fn earlier(than: Tick, by: Duration) -> Tick {
    let nanoseconds = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Tick(than.0.saturating_sub(nanoseconds))
}
