//! Members as rows of the file: receipts, silence, and names that are taken.

use std::time::Duration;

use tidings_cluster::Silence;
use tidings_core::log::Incarnation;

use crate::{
    support::{File, Node, key, needs},
    watched::{PATIENCE, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_confirmed_once_every_members_handlers_have_run() {
    let file = File::new();
    let (a, b) = (
        Node::start(&file, "a", None).await,
        Node::start(&file, "b", None).await,
    );
    b.watched.hold(true);
    let mark = a.write(1, "alice").await;
    a.protocol.committed(mark, &[key("alice")], &[]).await;

    let early = a.protocol.confirm(mark, Duration::from_millis(300)).await;
    let silent = early.expect_err("the handlers of b have not run").silent;
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!((&*silent[0].node, silent[0].reason), ("b", Silence::Late));

    b.watched.hold(false);
    let confirmed = a.protocol.confirm(mark, PATIENCE).await.expect("confirmed");
    let mut names: Vec<_> = confirmed.applied.iter().map(|id| &*id.node).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(b.watched.now().changes, ["create 1 \"alice\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_died_is_waited_for_until_its_bound_has_run_out() {
    let file = File::new();
    let a = Node::start(&file, "a", None).await;
    let bound = Duration::from_millis(200);
    drop(Node::start(&file, "b", Some(bound)).await);
    drop(Node::start(&file, "c", None).await);

    let mark = a.write(1, "alice").await;
    let silent = a.protocol.confirm(mark, 5 * bound).await;
    let silent = silent.expect_err("c has no bound").silent;
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!(&*silent[0].node, "c");

    // An operator removes it; what is left are the living.
    file.sqlite3("DELETE FROM tidings_members WHERE node = 'c'");
    a.protocol.confirm(mark, PATIENCE).await.expect("confirmed");
    until(|| file.sqlite3("SELECT group_concat(node) FROM tidings_members") == "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_member_joins_again_and_serves_again() {
    let file = File::new();
    let node = Node::start(&file, "a", None).await;
    let before = node.protocol.member().expect("a member").incarnation;
    file.sqlite3("UPDATE tidings_members SET marked = 1");
    let is_back = || {
        let member = node.protocol.member();
        let is_new = member.is_some_and(|member| member.incarnation != before);
        is_new && node.protocol.gate().is_open()
    };
    until(is_back).await;
    assert_eq!(file.sqlite3("SELECT marked FROM tidings_members"), "0");
    assert_eq!(node.watched.now().gaps, [], "its cursor was still good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_belongs_to_its_last_start() {
    let file = File::new();
    let first = Node::start(&file, "a", None).await;
    let second = Node::start(&file, "a", None).await;
    until(|| !first.protocol.gate().is_open()).await;
    assert!(second.protocol.gate().is_open());
    let members = file.store().await.members(&needs("c")).expect("shared");
    let rows = members.list().await.expect("rows");
    assert_eq!(rows.len(), 1);
    assert_eq!(Some(&rows[0].id), second.protocol.member().as_ref());
    assert!(rows[0].id.incarnation > Incarnation(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_not_waited_for() {
    let file = File::new();
    let (a, b) = (
        Node::start(&file, "a", None).await,
        Node::start(&file, "b", None).await,
    );
    b.protocol.leave().await.expect("left");
    let mark = a.write(1, "alice").await;
    let confirmed = a.protocol.confirm(mark, PATIENCE).await.expect("confirmed");
    assert_eq!(confirmed.applied.len(), 1, "{confirmed:?}");
}
