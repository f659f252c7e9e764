//! A node's own commits, if the store keeps a log, and records of that log that no handler can
//! receive.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tidings::{
    Cache, CacheKey, CrudEvent, Entity, GetOptions, Node, Operation, Row,
    core::{
        Cause, Origin,
        log::{CommitName, Epoch, Mark},
    },
    store::{ChangeSet, ChangeSink, Logging, RowChange},
};
use uuid::Uuid;

use crate::{cluster::until, other_programs::sqlite::File};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "flags")]
struct Flag {
    #[entity(primary_key)]
    id: i64,
    level: u32,
}

/// A node that follows a log, and a handler that receives changes of its entity.
struct Follows {
    node: Node,
    _file: File,
}

impl Follows {
    async fn start() -> Self {
        let file = File::new();
        let node = Node::builder()
            .store(file.store(Logging::On).await)
            .entity::<Flag>()
            .start()
            .await
            .expect("a node");
        let hears = node
            .worker_events()
            .register(|_: &CrudEvent<Flag>| {}, "crud", "flags");
        hears.expect("registered").keep();
        // From here on the log was read: what is cached is kept, and a commit can be named.
        let flags = node.dao::<Flag>().expect("declared");
        let first = flags.insert(Flag { id: 1, level: 1 });
        first.await.expect("inserted");
        Self { node, _file: file }
    }

    fn sink(&self) -> Arc<dyn ChangeSink> {
        let flags = self.node.dao::<Flag>().expect("declared");
        Arc::clone(flags.table().sink())
    }

    /// A commit of one row that the log does not have yet.
    fn set(&self) -> ChangeSet {
        let change = RowChange {
            schema: Flag::schema(),
            operation: Operation::Create,
            row: Row(Vec::new()),
            old_row: None,
        };
        ChangeSet {
            changes: vec![change],
            evict: Vec::new(),
            touched: Vec::new(),
            no_event: false,
            cause: None,
            commit: None,
            mark: self.sink().mark(CommitName::numbered(1_000, Uuid::nil())),
        }
    }

    /// A cache that only handlers know.
    fn other(&self) -> Cache {
        let other = self.node.cache().named("other");
        let other = other.expect("a name");
        keep(&other);
        other
    }

    async fn stop(self) {
        let _ = self.node.shutdown(Duration::from_secs(5)).await;
    }
}

fn key() -> CacheKey {
    CacheKey::new("flags", &["1"])
}

fn keep(cache: &Cache) {
    let kept = cache.set(&key(), Some(1_u8), GetOptions::default());
    kept.expect("a byte");
    assert!(is_kept(cache));
}

fn is_kept(cache: &Cache) -> bool {
    cache.cached::<u8>(&key()).expect("a byte").is_some()
}

#[tokio::test]
async fn a_commit_that_cannot_be_named_evicts_and_is_not_waited_for() {
    let follows = Follows::start().await;
    let cache = follows.node.cache();
    let of_another_epoch = Mark::new(Epoch::new(7, Uuid::new_v4()), 1_000);
    for mark in [None, Some(of_another_epoch)] {
        keep(cache);
        let evict = vec![key()];
        let set = ChangeSet {
            evict,
            mark,
            ..follows.set()
        };
        let applied = follows.sink().committed(set).now_or_never();
        assert!(applied.is_some() && !is_kept(cache), "{mark:?}");
    }
    follows.stop().await;
}

#[tokio::test]
async fn a_commit_in_doubt_evicts() {
    let follows = Follows::start().await;
    let cache = follows.node.cache();
    keep(cache);
    let evict = vec![key()];
    let set = ChangeSet {
        evict,
        ..follows.set()
    };
    follows.sink().in_doubt(&set);
    assert!(!is_kept(cache));
    assert_eq!(follows.node.change_stats().in_doubt, 1);
    follows.stop().await;
}

#[tokio::test]
async fn a_commit_waits_for_its_handlers_unless_they_are_not_told_or_come_later() {
    let follows = Follows::start().await;
    let waits = |set| follows.sink().committed(set).now_or_never().is_none();
    assert!(waits(follows.set()));
    let silent = ChangeSet {
        no_event: true,
        ..follows.set()
    };
    assert!(!waits(silent));
    let of_a_handler = Cause {
        number: 1,
        origin: Origin::Local,
    };
    let within = ChangeSet {
        cause: Some(of_a_handler),
        ..follows.set()
    };
    assert!(!waits(within));
    follows.stop().await;
}

#[tokio::test]
async fn a_commit_of_more_rows_than_are_told_purges_also_if_it_is_in_doubt() {
    let follows = Follows::start().await;
    let touched = || ChangeSet {
        changes: Vec::new(),
        touched: vec![Flag::schema()],
        ..follows.set()
    };
    let other = follows.other();
    drop(follows.sink().committed(touched()));
    assert!(!is_kept(&other));

    keep(&other);
    follows.sink().in_doubt(&touched());
    assert!(!is_kept(&other));
    assert_eq!(follows.node.change_stats().untold, 2);
    follows.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_handler_can_be_told_is_a_gap_and_purges() {
    let file = File::new();
    let gaps: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = Arc::clone(&gaps);
    let node = Node::builder()
        .store(file.shared().await)
        .node_id("a")
        .entity::<Flag>()
        .cluster_channel::<u64>("search", "reindex")
        .log_poll(Duration::from_millis(20))
        .on_gap(move |gap| hook.lock().expect("a list").push(gap.to_string()))
        .start()
        .await
        .expect("a node");
    let hears = node
        .worker_events()
        .register(|_: &CrudEvent<Flag>| {}, "crud", "flags");
    hears.expect("registered").keep();
    let other = node.cache().named("other").expect("a name");
    let told = |count| {
        let gaps = &gaps;
        move || gaps.lock().expect("a list").len() == count
    };

    // Of a program that means something else by it.
    let sends = Node::builder()
        .store(file.shared().await)
        .node_id("b")
        .cluster_channel::<String>("search", "reindex")
        .start()
        .await
        .expect("a node");
    keep(&other);
    let channel = sends.cluster_channel::<String>("search", "reindex");
    let posted = channel.expect("declared").post(&"all".to_owned()).await;
    posted.expect("the log has it");
    until("a gap", told(1)).await;
    assert!(!is_kept(&other));

    // More than the field holds.
    keep(&other);
    file.sqlite3("insert into flags values (2, 5000000000)");
    until("another", told(2)).await;
    assert!(!is_kept(&other));
    assert_eq!(node.change_stats().unannounced, 1);
    let expected = [
        "a gap in the log (malformed)",
        "a gap in the log of flags (malformed)",
    ];
    assert_eq!(*gaps.lock().expect("a list"), expected);
    for node in [sends, node] {
        let _ = node.shutdown(Duration::from_secs(5)).await;
    }
}
