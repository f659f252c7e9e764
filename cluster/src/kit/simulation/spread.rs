//! [`spread`]: what a change costs a cluster of many nodes, and how soon all of them have it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{
    history::{History, Verbosity},
    net::Net,
    node::{Process, Surroundings},
    plan::{CommitFate, Profile, RowWrite, Then, Waits, Write},
    run::{Driver, SECRET},
    traffic::Passed,
    world::{Moment, World},
};
use crate::kit::{
    memory::MemoryLog,
    model::{Durability, Form, ModelStore},
};

/// How long a message takes.
pub const DELAY: Duration = Duration::from_micros(500);

/// How long the nodes have before the first change.
const START: Duration = Duration::from_secs(1);

/// How far changes are apart: a whole number of polls.
const APART: Duration = Duration::from_millis(500);

/// What a change costs, and how soon all have it: averages for one change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many wake-ups are sent to nodes.
    pub wakes: u64,
    /// How many questions to the log and answers there are beyond those of nodes at rest.
    pub reads: u64,
    /// How many questions to the table of members and answers.
    pub of_members: u64,
    /// How many bytes all of these carry.
    pub bytes: u64,
    /// From the acknowledgement to the writer until the last node has applied it.
    pub all_have_it: Duration,
    /// From the acknowledgement to the writer until its receipt is confirmed, if it was asked for.
    pub confirmed: Option<Duration>,
    /// How many questions and answers nodes at rest exchange with the log in a second.
    pub at_rest: u64,
}

/// Whether writes ask for their receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipts {
    /// They do.
    Awaited,
    /// They do not.
    None,
}

/// Times of one change in the world, since its acknowledgement.
#[derive(Debug, Default)]
struct Times {
    applied: Vec<Duration>,
    confirmed: Option<Duration>,
}

/// Lets the first of some nodes make changes, one after the other, while nothing fails.
///
/// # Errors
///
/// As [`run`](super::run).
pub fn spread(
    nodes: usize,
    changes: u32,
    receipts: Receipts,
) -> Result<Spread, Box<dyn std::error::Error + Send + Sync>> {
    tidings_core::set_key_secret(SECRET)?;
    let profile = Profile {
        seed: 1,
        form: Form::Snapshot,
        bounds: vec![None; nodes],
        waits: vec![Waits::ForNothing; nodes],
        page: 50,
        queue: 50,
        loss: 0,
        wake_loss: 0,
        delay: DELAY,
        reads: APART,
        poll: Duration::from_millis(100),
    };
    let world = World::new(profile.seed);
    let memory = MemoryLog::new(ModelStore::new(profile.form, profile.seed));
    let around = Surroundings {
        net: Net::new(Arc::clone(&world), memory, profile.clone()),
        history: History::new(Arc::clone(&world), Verbosity::Violations),
        profile,
    };
    around.net.be_even();

    let mut driver = Driver::new(Arc::clone(&world));
    let mut processes = Vec::new();
    for node in 0..nodes {
        processes.push(Process::start(&around, node, node as u64 + 1)?);
    }

    // At rest: what the polls ask.
    let mut now = Moment(0).plus(START);
    driver.until(now, &around.history);
    around.net.traffic.take();
    now = now.plus(START);
    driver.until(now, &around.history);
    let at_rest = around.net.traffic.take();

    let mut passed = Passed::default();
    let mut spread = Spread {
        at_rest: at_rest.reads,
        ..Spread::default()
    };
    for change in 0..changes {
        let times = Arc::new(Mutex::new(Times::default()));
        write(&processes, i64::from(change) + 1, receipts, &times);
        now = now.plus(APART);
        driver.until(now, &around.history);

        let one = around.net.traffic.take();
        passed.wakes += one.wakes;
        passed.reads += one.reads;
        passed.of_members += one.of_members;
        passed.bytes += one.bytes;

        let times = times.lock();
        if times.applied.len() < nodes {
            return Err(format!("{} of {nodes} nodes have the change", times.applied.len()).into());
        }
        spread.all_have_it += times.applied.iter().copied().max().unwrap_or_default() / changes;
        if let Some(confirmed) = times.confirmed {
            *spread.confirmed.get_or_insert_default() += confirmed / changes;
        }
    }
    world.clear();

    // Half a second of polls goes on beside each change.
    let count = u64::from(changes);
    let beside = |of_a_second: u64| of_a_second / 2;
    spread.wakes = passed.wakes / count;
    spread.reads = (passed.reads / count).saturating_sub(beside(at_rest.reads));
    spread.of_members = (passed.of_members / count).saturating_sub(beside(at_rest.of_members));
    spread.bytes = (passed.bytes / count).saturating_sub(beside(at_rest.bytes));
    Ok(spread)
}

/// Makes a change on the first node, and notes when each has applied it.
fn write(processes: &[Arc<Process>], version: i64, receipts: Receipts, times: &Arc<Mutex<Times>>) {
    let Some(writer) = processes.first() else {
        return;
    };

    let (all, times) = (processes.to_vec(), Arc::clone(times));
    let own = Arc::clone(writer);
    writer.run(async move {
        let write = Write {
            node: Some(0),
            rows: vec![RowWrite::Put(0, 0)],
            durability: Durability::Synchronous,
            open: Duration::ZERO,
            commit: CommitFate::Ordinary,
            lacking: false,
            then: Then::Nothing,
        };
        let Some((mark, _)) = Arc::clone(&own).write(write, vec![version]).await else {
            return;
        };

        let begun = own.moment();
        for process in all {
            let (reader, times) = (Arc::clone(&process), Arc::clone(&times));
            process.run(async move {
                reader.protocol.until_applied(mark).await;
                let took = reader.moment().since(begun);
                times.lock().applied.push(took);
            });
        }

        if receipts == Receipts::Awaited && own.protocol.confirm(mark, APART).await.is_ok() {
            times.lock().confirmed = Some(own.moment().since(begun));
        }
    });
}
