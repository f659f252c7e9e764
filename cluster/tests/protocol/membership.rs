//! What a node does about being counted: while its log is away, when others have given it up, at a
//! gap, and as it leaves.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use tidings_cluster::{
    ClusterSettings,
    kit::{Form, MemoryLog, ModelStore},
};
use tidings_core::{
    CacheKey,
    clock::ManualClock,
    log::{Join, Members as _, StartId},
    spawn::CurrentRuntime,
};
use uuid::Uuid;

use crate::rigged::{Node, Rigged, Surroundings, pass, soon, write};

const BOUND: Duration = Duration::from_secs(1);

fn key(name: &str) -> CacheKey {
    CacheKey::new("quotas", &[name])
}

/// A node with a bound, on a clock that is driven.
async fn bounded(log: &Arc<Rigged>) -> (Node, ManualClock) {
    let clock = ManualClock::new();
    let around = Surroundings {
        clock: Arc::new(clock.clone()),
        spawn: Arc::new(CurrentRuntime),
        settings: ClusterSettings::new().max_staleness(Some(BOUND)),
    };
    let node = Node::begin_in(around, log, "a");
    node.until_open().await;
    (node, clock)
}

/// Marks the row of the only member, as a node that has waited for it does.
async fn give_up(log: &Rigged) {
    let rows = log.list().await.expect("rows");
    assert!(log.mark(&rows[0].id).await.expect("its row"));
}

/// The log proves nothing, and so the table of members is asked by itself.
#[tokio::test]
async fn a_node_whose_log_is_away_keeps_what_it_loads_for_as_long_as_it_is_counted() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let (node, clock) = bounded(&log).await;
    log.down.store(true, Ordering::SeqCst);
    pass(&clock, 4 * BOUND).await;
    assert!(node.load(&key("a"), "t").await, "it is counted");
    pass(&clock, BOUND / 2).await;
    assert!(node.holds(&key("a")), "for as long as its bound");
    pass(&clock, BOUND).await;
    assert!(!node.holds(&key("a")));

    give_up(&log).await;
    pass(&clock, BOUND + BOUND / 2).await;
    assert!(
        !node.load(&key("b"), "t").await,
        "others may have given it up"
    );
}

/// A thread's own level does not ask what is proven.
#[tokio::test]
async fn a_bounded_node_that_was_given_up_serves_from_no_level_until_it_is_back() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let mut around = Surroundings::ordinary();
    around.settings = around.settings.max_staleness(Some(60 * BOUND));
    let node = Node::begin_in(around, &log, "a");
    node.until_open().await;
    let _level = node.cache.attach_thread("a worker");
    assert!(node.load(&key("a"), "t").await && node.holds(&key("a")));
    let purges = node.heard.purges();

    log.full.store(true, Ordering::SeqCst);
    give_up(&log).await;
    soon(async {
        while node.protocol.gate().is_open() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A moment later: it learns of that in the next step.
    tokio::task::yield_now().await;
    assert!(!node.holds(&key("a")));

    log.full.store(false, Ordering::SeqCst);
    node.until_open().await;
    assert!(node.holds(&key("a")), "its cursor was valid");
    assert_eq!(node.heard.purges(), purges);
}

/// What is read over an earlier connection may come from a server that is gone.
#[tokio::test]
async fn at_a_gap_connections_are_closed_after_the_cursor_is_taken_and_before_the_purge() {
    let store = ModelStore::new(Form::Snapshot, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    assert!(node.load(&key("a"), "t").await);
    assert_eq!(log.steps(), ["head", "close"]);
    let purges = node.heard.purges();

    log.closes.send_replace(false);
    store.begin_epoch();
    let mut steps = Vec::new();
    soon(async {
        while !steps.contains(&"close") && node.heard.purges() == purges {
            tokio::task::yield_now().await;
            steps.extend(log.steps());
        }
    })
    .await;
    assert_eq!(steps, ["head", "close"]);
    assert_eq!(node.heard.purges(), purges, "not before they are closed");
    assert!(!node.protocol.gate().is_open(), "nothing is kept meanwhile");

    log.closes.send_replace(true);
    node.until_open().await;
    assert_eq!(node.heard.purges(), purges + 1);
    assert!(!node.holds(&key("a")));
}

#[tokio::test]
async fn a_node_that_leaves_waits_until_others_can_hear_what_it_has_invalidated() {
    let log = MemoryLog::new(ModelStore::new(Form::Snapshot, 1));
    let (one, other) = (Rigged::on(log.beside()), Rigged::on(log));
    let (a, b) = (Node::start(&one, "a").await, Node::start(&other, "b").await);
    assert!(b.load(&key("x"), "t").await && b.load(&key("y"), "t").await);

    one.takes.send_replace(false);
    drop(a.cache.invalidate(&key("x")));
    drop(a.cache.invalidate(&key("y")));
    let mut leaving = std::pin::pin!(a.protocol.leave());
    assert!(leaving.as_mut().now_or_never().is_none(), "it waits");
    one.takes.send_replace(true);
    soon(leaving).await.expect("it leaves");
    soon(async {
        while b.holds(&key("x")) || b.holds(&key("y")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A log that does not answer is not waited for without end.
#[tokio::test]
async fn a_node_whose_log_takes_nothing_leaves_all_the_same() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let (node, clock) = bounded(&log).await;
    log.takes.send_replace(false);
    drop(node.cache.invalidate(&key("x")));
    let mut leaving = std::pin::pin!(node.protocol.leave());
    assert!(leaving.as_mut().now_or_never().is_none(), "it waits");
    for _ in 0..50 {
        clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
        if leaving.as_mut().now_or_never().is_some() {
            assert!(!node.holds(&key("x")));
            return;
        }
    }
    clock.advance(Duration::from_millis(10));
    soon(leaving).await.expect("it leaves after half a second");
}

/// A node whose join was sent, and is not done before `log.joins` says so.
async fn joining(log: &Arc<Rigged>) -> Node {
    log.joins.send_replace(false);
    let node = Node::begin(log, "a");
    soon(async {
        while log.joining.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node
}

/// Receipts of the others would wait for it.
#[tokio::test]
async fn a_node_that_leaves_while_it_joins_leaves_no_row() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let node = joining(&log).await;
    let mut leaving = std::pin::pin!(node.protocol.leave());
    for _ in 0..100 {
        tokio::task::yield_now().await;
        let left = leaving.as_mut().now_or_never();
        assert!(left.is_none(), "its row may be written yet");
    }
    log.joins.send_replace(true);
    soon(leaving).await.expect("it leaves");
    assert_eq!(log.joined.load(Ordering::SeqCst), 1);
    assert_eq!(log.list().await.expect("rows"), []);
}

#[tokio::test]
async fn a_leave_that_is_cut_short_takes_back_a_join_that_is_done_afterwards() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let node = joining(&log).await;
    {
        let mut leaving = std::pin::pin!(node.protocol.leave());
        assert!(leaving.as_mut().now_or_never().is_none(), "it waits");
    }
    drop(node);
    log.joins.send_replace(true);
    soon(async {
        while log.joined.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        while !log.list().await.expect("rows").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A node that is removed while it lives, and does not know of it yet, serves from its cache.
#[tokio::test]
async fn a_member_that_is_removed_counts_until_it_has_stopped_serving() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    log.deaf.store(true, Ordering::SeqCst);
    let (here, there) = (ManualClock::new(), ManualClock::new());
    let node = async |clock: &ManualClock, name| {
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            spawn: Arc::new(CurrentRuntime),
            settings: ClusterSettings::new(),
        };
        let node = Node::begin_in(around, &log, name);
        node.until_open().await;
        node
    };
    let (a, b) = (node(&here, "a").await, node(&there, "b").await);
    let alice = CacheKey::new("consumers", &["alice"]);
    assert!(b.load(&alice, "t").await);

    let mark = write(&store, 1, "alice");
    let removed_and_confirmed = async {
        let removed = a
            .protocol
            .remove_member("b")
            .await
            .expect("the table answers");
        assert!(removed, "it was there");
        a.protocol.confirm(mark, Duration::from_secs(60)).await
    };
    let mut receipt = std::pin::pin!(removed_and_confirmed);
    // No time passes there: it has not looked at the log.
    tokio::select! {
        biased;
        confirmed = &mut receipt => panic!("{confirmed:?}, and it is served: {}", b.holds(&alice)),
        () = pass(&here, BOUND / 2) => assert!(b.holds(&alice)),
    }
    let both = async {
        for _ in 0..20 {
            pass(&there, BOUND / 10).await;
            pass(&here, BOUND / 10).await;
        }
    };
    let (confirmed, ()) = soon(async { tokio::join!(receipt, both) }).await;
    confirmed.expect("both have applied it");
    assert!(!b.holds(&alice));
    let rows = log.list().await.expect("rows");
    assert_eq!(rows.len(), 2, "it has joined again");
}

#[tokio::test]
async fn a_member_that_is_dead_goes_when_it_is_removed() {
    for bound in [None, Some(BOUND)] {
        let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Counted, 1)));
        let join = Join {
            node: "dead".into(),
            start: StartId(Uuid::nil()),
            before: None,
            bound,
            facts: None,
        };
        log.join(join).await.expect("a row");
        let (node, clock) = bounded(&log).await;
        let removing = node.protocol.remove_member("dead");
        let (removed, ()) = soon(async { tokio::join!(removing, pass(&clock, 4 * BOUND)) }).await;
        assert!(removed.expect("the table answers"), "it was there");
        let rows = log.list().await.expect("rows");
        let left: Vec<_> = rows.iter().map(|row| &*row.id.node).collect();
        assert_eq!(left, ["a"], "{bound:?}");
    }
}
