//! What reaches every node without a row's change, and what goes with one.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use tidings_cluster::kit::{Form, MemoryLog, ModelStore};
use tidings_core::{
    CacheKey, Origin,
    log::{EvictionTarget, Gap, GapReason},
};

use crate::rigged::{Node, Rigged, Surroundings, write, write_all};

fn key(name: &str) -> CacheKey {
    CacheKey::new("quotas", &[name])
}

async fn two_nodes() -> (Node, Node) {
    let log = MemoryLog::new(ModelStore::new(Form::Snapshot, 1));
    let (one, other) = (Rigged::on(log.beside()), Rigged::on(log));
    (Node::start(&one, "a").await, Node::start(&other, "b").await)
}

#[tokio::test]
async fn an_eviction_reaches_every_node_and_leaves_what_was_reloaded_since() {
    let (a, b) = two_nodes().await;
    assert!(a.load(&key("x"), "t").await && b.load(&key("x"), "t").await);

    let target = EvictionTarget::Keys(vec![key("x")]);
    let appended = a.protocol.evict_everywhere("default".into(), target);
    assert!(!a.holds(&key("x")), "before anything is sent");
    assert!(a.load(&key("x"), "t").await);

    let mark = appended.await.expect("appended");
    b.until_applied(mark).await;
    assert!(!b.holds(&key("x")));
    a.until_applied(mark).await;
    assert!(
        a.holds(&key("x")),
        "its own record is known, and evicts nothing more"
    );
}

#[tokio::test]
async fn tags_and_whole_caches_reach_every_node() {
    let (a, b) = two_nodes().await;
    assert!(b.load(&key("x"), "gone").await && b.load(&key("y"), "kept").await);
    let target = EvictionTarget::Tag("gone".into());
    let mark = a.protocol.evict_everywhere("default".into(), target).await;
    b.until_applied(mark.expect("appended")).await;
    assert!(!b.holds(&key("x")) && b.holds(&key("y")));

    let target = EvictionTarget::All;
    let mark = a.protocol.evict_everywhere("default".into(), target).await;
    b.until_applied(mark.expect("appended")).await;
    assert!(!b.holds(&key("y")));
}

#[tokio::test]
async fn a_record_is_applied_once_the_children_of_its_row_are_evicted() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    let created = write(&store, 1, "alice");
    node.until_applied(created).await;

    let child = CacheKey::primary("credentials", 7_i64);
    let found = vec![child.clone()];
    *log.children.lock().unwrap_or_else(PoisonError::into_inner) = found;
    assert!(node.load(&child, "t").await);
    let updated = write(&store, 1, "bob");
    node.until_applied(updated).await;
    assert!(!node.holds(&child));
}

/// A table that is gone ends neither the node's evictions nor its events.
#[tokio::test]
async fn children_that_the_log_cannot_find_are_a_gap_and_the_node_goes_on() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    let created = write(&store, 1, "alice");
    node.until_applied(created).await;

    let child = CacheKey::primary("credentials", 7_i64);
    assert!(node.load(&child, "t").await);
    log.childless.store(true, Ordering::SeqCst);
    let updated = write(&store, 1, "bob");
    node.until_applied(updated).await;
    assert!(!node.holds(&child), "what goes with the row is unknown");
    let gaps = node.heard.gaps(1).await;
    assert_eq!(gaps, [Gap::of_all(GapReason::Malformed)]);
}

#[tokio::test]
async fn a_commit_of_an_ended_epoch_leaves_what_is_remembered_of_this_one() {
    let store = ModelStore::new(Form::Snapshot, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    let ended = write(&store, 1, "alice");
    store.begin_epoch();
    node.heard.gaps(1).await;
    node.until_open().await;

    // The tail reads nothing while the commit is acknowledged and its key loaded again.
    log.down.store(true, Ordering::SeqCst);
    let bob = CacheKey::new("consumers", &["bob"]);
    let mark = write(&store, 2, "bob");
    node.protocol
        .committed(mark, std::slice::from_ref(&bob), &[])
        .await;
    assert!(node.load(&bob, "t").await);
    node.protocol.committed(ended, &[key("x")], &[]).await;

    log.down.store(false, Ordering::SeqCst);
    node.until_applied(mark).await;
    assert!(node.holds(&bob), "its eviction was made at the commit");
}

/// A commit that is cut by pages: its rows' records are asked for only if a handler receives them.
#[tokio::test]
async fn a_large_commit_costs_a_node_without_handlers_no_reads_of_its_rows() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    let rows = |from: i64| (from..from + 2_500).map(|id| (id, format!("name {id}")));

    node.heard.deaf.store(true, Ordering::SeqCst);
    let mark = write_all(&store, rows(0));
    node.until_applied(mark).await;
    assert_eq!(log.groups.load(Ordering::SeqCst), 0);

    node.heard.deaf.store(false, Ordering::SeqCst);
    let mark = write_all(&store, rows(10_000));
    node.until_applied(mark).await;
    assert!(log.groups.load(Ordering::SeqCst) > 0, "it was cut");
    assert_eq!(node.heard.changes(), 2_500);
}

/// The same, where the log has lost some of a row's records.
#[tokio::test]
async fn a_row_of_a_large_commit_that_the_log_has_lost_is_a_gap() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    node.protocol.tell();
    node.heard.watched.store(true, Ordering::SeqCst);
    assert!(node.load(&key("x"), "t").await);

    log.forgets.store(true, Ordering::SeqCst);
    let rows = (0..2_500).map(|id| (id, format!("name {id}")));
    node.until_applied(write_all(&store, rows)).await;
    let gap = Gap::of_entity(GapReason::Trimmed, "consumers");
    assert_eq!(node.heard.gaps(1).await[0], gap);
    assert!(!node.holds(&key("x")), "its handlers may have evicted it");
    let told = node.heard.told_until(&gap.to_string()).await;
    assert!(told.iter().all(|told| *told == gap.to_string()), "{told:?}");
}

/// A node whose pages hold few records.
async fn of_small_pages(log: &Arc<Rigged>) -> Node {
    let mut around = Surroundings::ordinary();
    around.settings = around.settings.page(8);
    let node = Node::begin_in(around, log, "a");
    node.protocol.tell();
    node.heard.watched.store(true, Ordering::SeqCst);
    node.until_open().await;
    node
}

/// A row that the log cannot tell holds up neither the rows after it nor what is proven.
#[tokio::test]
async fn rows_that_the_log_does_not_tell_are_a_gap_and_the_node_goes_on() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = of_small_pages(&log).await;
    assert!(node.load(&key("x"), "t").await);

    log.at_most.store(0, Ordering::SeqCst);
    let rows = |from: i64| (from..from + 20).map(|id| (id, format!("name {id}")));
    node.until_applied(write_all(&store, rows(0))).await;
    let gap = Gap::of_entity(GapReason::Malformed, "consumers");
    assert_eq!(node.heard.gaps(1).await[0], gap);
    assert!(!node.holds(&key("x")), "its handlers may have evicted it");
    node.heard.told_until(&gap.to_string()).await;

    log.at_most.store(usize::MAX, Ordering::SeqCst);
    node.until_applied(write_all(&store, rows(100))).await;
    assert_eq!(node.heard.changes(), 20);
}

#[tokio::test]
async fn rows_that_the_log_tells_a_few_at_a_time_are_all_heard() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = of_small_pages(&log).await;
    log.at_most.store(3, Ordering::SeqCst);
    let mut rows: Vec<_> = (0..20).map(|id| (id, format!("name {id}"))).collect();
    rows.push((0, "last".to_owned()));
    node.until_applied(write_all(&store, rows)).await;
    assert_eq!(node.heard.changes(), 20);
    let told = node
        .heard
        .told_until("create [Integer(0), Text(\"last\")]")
        .await;
    assert_eq!(told.len(), 20, "{told:?}");
}

/// Every node handles the event itself, and evicts what it had when the event came.
#[tokio::test]
async fn what_a_handler_of_an_event_evicts_began_to_load_before_it_and_stays_on_its_node() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let node = Node::start(&log, "a").await;
    assert!(node.load(&key("before"), "t").await);
    let posted = node
        .protocol
        .post("test".into(), "event".into(), "1".into());
    node.until_applied(posted.await.expect("posted")).await;
    let cause = node.heard.cause().await;
    assert!(node.load(&key("after"), "t").await);

    assert_eq!(cause.origin, Origin::Remote);
    let _handler = cause.enter();
    for key in ["before", "after"].map(key) {
        drop(node.cache.invalidate(&key));
    }
    assert!(!node.holds(&key("before")) && node.holds(&key("after")));
}
