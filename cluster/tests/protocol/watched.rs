//! What watchers of the log receive, beside the handlers.

use std::sync::{Arc, atomic::Ordering};

use tidings_cluster::kit::{Durability, Form, MemoryLog, ModelStore, Writing};
use tidings_core::{Row, Value};

use crate::rigged::{Node, Rigged, schemas, write, write_all};

/// A node whose log is watched.
async fn watched() -> (ModelStore, Arc<Rigged>, Node) {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    node.protocol.tell();
    node.heard.watched.store(true, Ordering::SeqCst);
    (store, log, node)
}

impl Node {
    /// Everything that watchers receive, up to an event that is posted now.
    async fn told(&self) -> Vec<String> {
        self.told_to("1").await
    }

    /// The same, with the payload of that event.
    async fn told_to(&self, end: &str) -> Vec<String> {
        let (source, event) = ("test".into(), "end".into());
        let posted = self.protocol.post(source, event, end.into()).await;
        posted.expect("posted");
        self.heard.told_until(&format!("end {end}")).await
    }
}

fn told_of(id: i64, name: &str) -> String {
    let row: [Value; 2] = [id.into(), name.into()];
    format!("create {row:?}")
}

/// The records of a row may be far apart, on pages of their own.
#[tokio::test]
async fn each_row_of_a_commit_is_told_once_as_it_was_left() {
    let (store, _log, node) = watched().await;
    let rows = (0..2_500).map(|id| (id, "first".to_owned()));
    let again = [0, 2_499, 2_499].map(|id| (id, "last".to_owned()));
    write_all(&store, rows.chain(again));

    let told = node.told().await;
    assert_eq!(told.len(), 2_501);
    for id in [0, 2_499] {
        let of_this = told.iter().filter(|told| **told == told_of(id, "last"));
        assert_eq!(of_this.count(), 1, "{id}");
    }
    assert!(told.contains(&told_of(1, "first")));
}

/// The same on one page.
#[tokio::test]
async fn a_row_that_one_commit_writes_twice_is_told_once() {
    let (store, _log, node) = watched().await;
    let rows = [(1, "first"), (2, "other"), (1, "last")];
    write_all(&store, rows.map(|(id, name)| (id, name.to_owned())));
    let (other, last) = (told_of(2, "other"), told_of(1, "last"));
    assert_eq!(node.told().await, [&*other, &*last, "end 1"]);
}

fn write_credential(store: &ModelStore, id: i64) {
    let transaction = store.begin();
    let row = Row(vec![id.into(), Value::Null]);
    let put = store.put(transaction, schemas()[1], row, &Writing::default());
    put.expect("no one else writes");
    let committed = store.commit(transaction, Durability::Synchronous);
    committed.expect("a commit");
}

#[tokio::test]
async fn what_is_missing_is_told_in_its_place() {
    let (store, log, node) = watched().await;
    write(&store, 1, "alice");
    let transaction = store.begin();
    store
        .truncate(transaction, schemas()[0])
        .expect("no one else writes");
    let truncated = store.commit(transaction, Durability::Synchronous);
    truncated.expect("a commit");
    let gap = "a gap in the log of consumers (capture)";
    let alice = told_of(1, "alice");
    assert_eq!(node.told().await, [&*alice, gap, "end 1"]);

    log.unreadable.store(true, Ordering::SeqCst);
    write(&store, 2, "bob");
    write_credential(&store, 3);
    let malformed = [
        "a gap in the log (malformed)",
        "a gap in the log of credentials (malformed)",
    ];
    let told = node.told_to("2").await;
    assert_eq!(told[3..], [malformed[0], malformed[1], "end 2"]);
    log.unreadable.store(false, Ordering::SeqCst);

    log.uncaptured.store(true, Ordering::SeqCst);
    let capture = "a gap in the log (capture)";
    node.heard.told_until(capture).await;
    log.uncaptured.store(false, Ordering::SeqCst);
    node.until_open().await;
    store.begin_epoch();
    let epoch = "a gap in the log (epoch)";
    let told = node.heard.told_until(epoch).await;
    // Once as it ends, and once as it is back.
    assert_eq!(told[6..], [capture, capture, epoch]);
}
