//! An application's code that panics inside the protocol's tasks.

use std::sync::{PoisonError, atomic::Ordering};

use tidings_cluster::{
    Standing,
    kit::{Form, MemoryLog, ModelStore},
};
use tidings_core::{
    CacheKey,
    log::{Gap, GapReason},
};

use crate::rigged::{Node, Panics, Rigged, soon, write};

fn key() -> CacheKey {
    CacheKey::new("consumers", &["alice"])
}

async fn node() -> (ModelStore, std::sync::Arc<Rigged>, Node) {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    (store, log, node)
}

fn panic_next(node: &Node, at: Panics) {
    let panics = &node.heard.panics;
    *panics.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
}

#[tokio::test]
async fn a_change_whose_code_panics_is_a_gap_and_those_after_it_are_heard() {
    for at in [Panics::Reading, Panics::Handling] {
        let (store, _log, node) = node().await;
        assert!(node.load(&CacheKey::new("quotas", &["x"]), "t").await);
        panic_next(&node, at);
        node.until_applied(write(&store, 1, "alice")).await;
        let gap = Gap::of_entity(GapReason::Malformed, "consumers");
        assert_eq!(node.heard.gaps(1).await, [gap], "{at:?}");
        assert!(!node.holds(&CacheKey::new("quotas", &["x"])), "{at:?}");
        let malformed = GapReason::ALL
            .iter()
            .position(|it| *it == GapReason::Malformed);
        let stats = node.protocol.stats();
        let index = malformed.expect("a reason");
        assert_eq!((stats.gaps[index], stats.purges[index]), (1, 1), "{at:?}");

        node.until_applied(write(&store, 2, "bob")).await;
        assert_eq!(node.heard.changes(), 1, "{at:?}");
    }
}

#[tokio::test]
async fn an_event_whose_code_panics_is_a_gap_and_those_after_it_are_heard() {
    for at in [Panics::Reading, Panics::Handling] {
        let (_store, _log, node) = node().await;
        panic_next(&node, at);
        let post = || {
            node.protocol
                .post("search".into(), "reindex".into(), "{}".into())
        };
        node.until_applied(post().await.expect("posted")).await;
        let gap = Gap::of_all(GapReason::Malformed);
        assert_eq!(node.heard.gaps(1).await, [gap], "{at:?}");

        node.until_applied(post().await.expect("posted")).await;
        assert_eq!(node.heard.changes(), 1, "{at:?}");
    }
}

#[tokio::test]
async fn a_handler_of_gaps_that_panics_leaves_the_changes_after_it_to_the_others() {
    let (store, _log, node) = node().await;
    panic_next(&node, Panics::Gap);
    store.begin_epoch();
    soon(async {
        while node.heard.purges() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.until_open().await;
    node.until_applied(write(&store, 1, "alice")).await;
    assert_eq!(node.heard.changes(), 1);
}

#[tokio::test]
async fn a_node_whose_dispatcher_or_tail_ends_serves_and_keeps_nothing_and_says_so() {
    for ends in ["dispatcher", "tail"] {
        let (store, log, node) = node().await;
        assert!(node.load(&key(), "t").await);
        match ends {
            "dispatcher" => {
                panic_next(&node, Panics::Listens);
                write(&store, 1, "bob");
            }
            _ => log.panics.store(true, Ordering::SeqCst),
        }
        soon(async {
            while node.protocol.standing() != Standing::Disconnected || node.holds(&key()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(!node.protocol.gate().is_open(), "{ends}");
        assert!(!node.load(&key(), "t").await, "{ends}");
        assert!(!node.protocol.is_fresh(), "{ends}");

        // What the other task goes on to do opens nothing.
        write(&store, 2, "carol");
        tokio::task::yield_now().await;
        assert_eq!(node.protocol.standing(), Standing::Disconnected, "{ends}");
    }
}
