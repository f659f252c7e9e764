//! Wake-ups, which anything may send: what a flood of them costs, and what a receipt costs nodes
//! that do not wait for one. On a clock that the tests drive.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_cluster::{
    ClusterSettings, Confirmed,
    kit::{Form, MemoryLog, ModelStore},
};
use tidings_core::{
    CacheKey,
    clock::ManualClock,
    log::{Log as _, Mark, Wake},
    spawn::CurrentRuntime,
};

use crate::rigged::{Node, Rigged, Surroundings, soon, write};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Some nodes on one log, and something else that may send wake-ups.
struct Hinted {
    store: ModelStore,
    clock: ManualClock,
    stranger: MemoryLog,
    logs: Vec<Arc<Rigged>>,
    nodes: Vec<Node>,
}

impl Hinted {
    async fn nodes(count: usize) -> Self {
        Self::begin(count, Duration::from_secs(60), |_| {}).await
    }

    async fn begin(count: usize, poll: Duration, rig: impl Fn(&Rigged)) -> Self {
        let store = ModelStore::new(Form::Counted, 1);
        let stranger = MemoryLog::new(store.clone());
        let clock = ManualClock::new();
        let (mut logs, mut nodes) = (Vec::new(), Vec::new());
        for number in 0..count {
            let around = Surroundings {
                clock: Arc::new(clock.clone()),
                spawn: Arc::new(CurrentRuntime),
                // By itself, a node would look only once in a minute.
                settings: ClusterSettings::new().poll(poll),
            };
            let log = Rigged::on(stranger.beside());
            rig(&log);
            let node = Node::begin_in(around, &log, &format!("node {number}"));
            node.until_open().await;
            logs.push(log);
            nodes.push(node);
        }
        settle().await;
        Self {
            store,
            clock,
            stranger,
            logs,
            nodes,
        }
    }

    /// Sends a wake-up in each of some milliseconds.
    async fn flood(&self, millis: usize, wake: &Wake) {
        for _ in 0..millis {
            self.stranger.wake(wake.clone());
            settle().await;
            self.clock.advance(MILLISECOND);
            settle().await;
        }
    }

    /// Waits for a receipt of the first node, which looks for reports as time passes.
    async fn confirmed(&self, mark: Mark) -> Confirmed {
        let confirmed = self.nodes[0].protocol.confirm(mark, 30 * SECOND);
        let mut confirmed = std::pin::pin!(confirmed);
        for _ in 0..30 {
            tokio::select! {
                biased;
                confirmed = &mut confirmed => return confirmed.expect("all have applied it"),
                () = settle() => self.clock.advance(MILLISECOND),
            }
        }
        panic!("it is not confirmed within the pauses of 30 ms");
    }

    /// How many wake-ups the nodes have received.
    fn woken(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| node.protocol.stats().wakes)
            .sum()
    }

    fn reads(&self) -> Vec<usize> {
        let reads = self.logs.iter().map(|log| log.reads.load(Ordering::SeqCst));
        reads.collect()
    }
}

/// Lets every task go on until it waits for time or for a wake-up.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flood_of_wake_ups_makes_few_reads() {
    let hinted = Hinted::nodes(1).await;
    let before = hinted.reads()[0];
    hinted.flood(1_000, &Wake::Look).await;
    let reads = hinted.reads()[0] - before;
    assert!((40..=60).contains(&reads), "{reads} reads in a second");
}

#[tokio::test]
async fn a_wake_up_counts_at_once_after_a_pause_and_while_it_leads_to_something() {
    let hinted = Hinted::nodes(1).await;
    let key = CacheKey::new("consumers", &["alice"]);
    hinted.flood(200, &Wake::Look).await;
    // One that waits for the floor, one that came after it, and a pause.
    for _ in 0..3 {
        hinted.clock.advance(20 * MILLISECOND);
        settle().await;
    }

    // By the wake-up of another program, without a tick of the clock.
    for id in 1..=5 {
        hinted.nodes[0].load(&key, "tag").await;
        let mark = write(&hinted.store, id, "alice");
        hinted.stranger.wake(Wake::Look);
        settle().await;
        assert!(hinted.nodes[0].protocol.has_applied(mark), "write {id}");
        assert!(!hinted.nodes[0].holds(&key));
    }
}

#[tokio::test]
async fn wake_ups_of_entities_that_the_node_does_not_declare_do_not_slow_its_own() {
    let hinted = Hinted::nodes(1).await;
    let (before, log) = (hinted.reads()[0], &hinted.logs[0]);
    log.undeclared.store(true, Ordering::SeqCst);
    for id in 1..=5 {
        write(&hinted.store, id, "alice");
        hinted.stranger.wake(Wake::Look);
        settle().await;
    }
    log.undeclared.store(false, Ordering::SeqCst);
    assert_eq!(hinted.reads()[0] - before, 5, "each met a record");

    let mark = write(&hinted.store, 6, "alice");
    hinted.stranger.wake(Wake::Look);
    settle().await;
    assert!(hinted.nodes[0].protocol.has_applied(mark));
}

#[tokio::test]
async fn a_caller_of_the_node_is_not_slowed_by_a_flood() {
    let hinted = Hinted::nodes(1).await;
    hinted.flood(200, &Wake::Look).await;
    let mark = write(&hinted.store, 1, "alice");
    soon(hinted.nodes[0].protocol.until_applied(mark)).await;
    let confirmed = hinted.nodes[0].protocol.confirm(mark, MILLISECOND);
    soon(confirmed).await.expect("it has applied it itself");
}

#[tokio::test]
async fn a_flood_makes_few_looks_at_the_members_while_a_caller_waits() {
    let hinted = Hinted::nodes(2).await;
    // One that does not answer.
    hinted.logs[1].down.store(true, Ordering::SeqCst);
    let mark = write(&hinted.store, 1, "alice");
    let confirmed = hinted.nodes[0]
        .protocol
        .confirm(mark, Duration::from_secs(30));
    let flood = async {
        hinted.flood(100, &Wake::Look).await;
        let before = hinted.logs[0].lists.load(Ordering::SeqCst);
        for wake in [Wake::Look, Wake::Reported] {
            hinted.flood(500, &wake).await;
        }
        hinted.logs[0].lists.load(Ordering::SeqCst) - before
    };
    let looks = tokio::select! {
        _ = confirmed => unreachable!("one is silent"),
        looks = flood => looks,
    };
    assert!((40..=60).contains(&looks), "{looks} looks in a second");
}

#[tokio::test]
async fn a_report_makes_no_node_read_the_log_and_none_but_those_that_ask_look() {
    let hinted = Hinted::nodes(8).await;
    let (before, woken) = (hinted.reads(), hinted.woken());
    let mark = write(&hinted.store, 1, "alice");
    let confirmed = hinted.confirmed(mark).await;
    assert_eq!(confirmed.applied.len(), 8);
    settle().await;

    // Only the question: if reports woke nodes, receipts would cost the square of their number.
    assert_eq!(hinted.woken() - woken, 7);

    // One read each, for the question; a second one if it came while the first was in progress.
    let after = hinted.reads();
    let reads: Vec<_> = before
        .iter()
        .zip(after)
        .map(|(one, other)| other - one)
        .collect();
    assert!(reads.iter().all(|it| (1..=2).contains(it)), "{reads:?}");
    let lists = |log: &Arc<Rigged>| log.lists.load(Ordering::SeqCst);
    let others: usize = hinted.logs[1..].iter().map(lists).sum();
    assert_eq!(others, 0, "no caller of theirs waits");
}

#[tokio::test]
async fn a_link_that_never_lasts_is_tried_later_and_later() {
    let poll = 100 * MILLISECOND;
    let deaf = |log: &Rigged| log.deaf.store(true, Ordering::SeqCst);
    let hinted = Hinted::begin(1, poll, deaf).await;
    let listened = || hinted.logs[0].listened.load(Ordering::SeqCst);
    let before = listened();
    for _ in 0..500 {
        hinted.clock.advance(10 * MILLISECOND);
        settle().await;
    }
    let attempts = listened() - before;
    assert!((5..=9).contains(&attempts), "{attempts} attempts in 5 s");
}
