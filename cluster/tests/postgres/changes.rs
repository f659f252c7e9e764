//! How changes reach the nodes of one database, and that nothing is lost unnoticed.

use std::process::Command;

use tidings_core::log::GapReason;
use tidings_testkit::Server;

use crate::support::{Node, captured, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_another_program_reaches_every_node() {
    let database = captured(Server::shared()).await;
    let nodes = [
        Node::start(&database, "a", None).await,
        Node::start(&database, "b", None).await,
    ];
    database.psql("insert into consumers values (1, 'alice')");
    for node in &nodes {
        node.watched
            .until(|seen| seen.changes == ["create 1 \"alice\""])
            .await;
        node.fill("alice", "as she was").await;
        assert!(node.holds("alice"));
    }

    database.psql(
        "begin; update consumers set name = 'bob'; update consumers set name = 'carol'; commit",
    );
    for node in &nodes {
        // Two updates of one transaction are one event.
        node.watched
            .until(|seen| {
                seen.changes
                    .last()
                    .is_some_and(|last| last == "update 1 \"carol\"")
            })
            .await;
        assert_eq!(node.watched.now().changes.len(), 2);
        assert!(!node.holds("alice"), "its row has another name");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_write_is_evicted_once_and_reaches_the_other_node() {
    let database = captured(Server::shared()).await;
    let (a, b) = (
        Node::start(&database, "a", None).await,
        Node::start(&database, "b", None).await,
    );
    b.fill("alice", "no one").await;

    let mark = a.write(&database, 1, "alice").await;
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
async fn a_crash_of_the_server_is_a_gap_on_every_node() {
    let server = Server::start();
    let database = captured(&server).await;
    let nodes = [
        Node::start(&database, "a", None).await,
        Node::start(&database, "b", None).await,
    ];
    for node in &nodes {
        node.fill("alice", "as she was").await;
    }

    let victim = database.psql("select pid from pg_stat_activity where backend_type = 'walwriter'");
    let killed = Command::new("kill").args(["-9", victim.trim()]).status();
    assert!(killed.expect("kill runs").success());
    for node in &nodes {
        let is_epoch = |gap: &tidings_core::log::Gap| gap.reason == GapReason::Epoch;
        node.watched
            .until(|seen| seen.gaps.iter().any(is_epoch))
            .await;
        assert!(!node.holds("alice"));
    }

    database.psql("insert into consumers values (1, 'alice')");
    for node in &nodes {
        node.watched
            .until(|seen| seen.changes == ["create 1 \"alice\""])
            .await;
    }
}
