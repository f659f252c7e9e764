//! How changes reach the nodes of one file.

use crate::support::{File, Node, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_another_program_reaches_every_node() {
    let file = File::new();
    let nodes = [
        Node::start(&file, "a", None).await,
        Node::start(&file, "b", None).await,
    ];
    file.sqlite3("INSERT INTO consumers VALUES (1, 'alice')");
    for node in &nodes {
        node.watched
            .until(|seen| seen.changes == ["create 1 \"alice\""])
            .await;
        node.fill("alice", "as she was").await;
        assert!(node.holds("alice"));
    }

    file.sqlite3("UPDATE consumers SET name = 'carol'");
    for node in &nodes {
        node.watched
            .until(|seen| {
                seen.changes
                    .last()
                    .is_some_and(|last| last == "update 1 \"carol\"")
            })
            .await;
        assert!(!node.holds("alice"), "its row has another name");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_write_is_evicted_once_and_reaches_the_other_node() {
    let file = File::new();
    let (a, b) = (
        Node::start(&file, "a", None).await,
        Node::start(&file, "b", None).await,
    );
    b.fill("alice", "no one").await;

    let mark = a.write(1, "alice").await;
    a.protocol
        .committed(mark, &[key("alice")], &["consumers"])
        .await;
    assert_eq!(a.watched.now().changes, ["create 1 \"alice\""]);
    b.protocol.until_applied(mark).await;
    assert!(!b.holds("alice"));
    let of_key = |seen: &[String]| seen.iter().filter(|key| *key == "consumers:alice").count();
    assert_eq!(of_key(&a.watched.now().evicted), 1);
    assert_eq!(of_key(&b.watched.now().evicted), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eviction_that_one_node_asks_for_reaches_the_other() {
    let file = File::new();
    let (a, b) = (
        Node::start(&file, "a", None).await,
        Node::start(&file, "b", None).await,
    );
    b.fill("alice", "as she was").await;
    let target = tidings_core::log::EvictionTarget::Keys(vec![key("alice")]);
    let asked = a.protocol.evict_everywhere(a.cache.name().into(), target);
    let mark = asked.await.expect("appended");
    b.protocol.until_applied(mark).await;
    assert!(!b.holds("alice"));
}
