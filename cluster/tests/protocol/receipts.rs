//! Receipts, and members that do not answer: on a clock that the tests drive.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use tidings_cluster::{
    ClusterSettings, Silence,
    kit::{Form, MemoryLog, ModelStore},
};
use tidings_core::{
    clock::ManualClock,
    log::{Cursor, Demand, Join, Log as _, MemberRow, Members as _, Position, StartId},
};
use uuid::Uuid;

use crate::rigged::{CountingSpawn, Node, Rigged, Surroundings, pass, soon, write, write_all};

const BOUND: Duration = Duration::from_secs(1);

/// A node beside a member that died: its row is there, and no one answers for it.
struct Beside {
    store: ModelStore,
    log: Arc<Rigged>,
    clock: ManualClock,
    tasks: Arc<CountingSpawn>,
    node: Node,
}

impl Beside {
    async fn the_dead(bound: Option<Duration>) -> Self {
        let store = ModelStore::new(Form::Counted, 1);
        let memory = MemoryLog::new(store.clone());
        let join = Join {
            node: "dead".into(),
            start: StartId(Uuid::nil()),
            before: None,
            bound,
            facts: None,
        };
        memory.join(join).await.expect("a row");

        let (clock, tasks) = (ManualClock::new(), Arc::new(CountingSpawn::default()));
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            spawn: Arc::clone(&tasks) as _,
            settings: ClusterSettings::new(),
        };
        let log = Rigged::on(memory);
        let node = Node::begin_in(around, &log, "a");
        node.until_open().await;
        Self {
            store,
            log,
            clock,
            tasks,
            node,
        }
    }

    async fn pass(&self, time: Duration) {
        pass(&self.clock, time).await;
    }

    async fn dead(&self) -> Option<MemberRow> {
        let rows = self.log.list().await.expect("rows");
        rows.into_iter().find(|row| &*row.id.node == "dead")
    }

    /// Asks for a receipt, and leaves as soon as that waits.
    fn ask_and_leave(&self) {
        let mark = write(&self.store, 1, "alice");
        let confirmed = self.node.protocol.confirm(mark, Duration::from_secs(60));
        assert!(confirmed.now_or_never().is_none(), "the dead do not answer");
    }
}

#[tokio::test]
async fn a_member_that_does_not_answer_expires_although_the_caller_has_left() {
    let beside = Beside::the_dead(Some(BOUND)).await;
    beside.ask_and_leave();
    beside.pass(BOUND / 2).await;
    assert!(!beside.dead().await.expect("a row").marked);

    beside.pass(BOUND).await;
    assert!(beside.dead().await.expect("a row").marked);
    beside.pass(BOUND).await;
    assert!(beside.dead().await.is_some(), "twice its bound is not over");
    beside.pass(2 * BOUND).await;
    assert_eq!(beside.dead().await, None);
}

#[tokio::test]
async fn any_number_of_receipts_is_watched_by_one_task() {
    let beside = Beside::the_dead(Some(60 * BOUND)).await;
    let before = beside.tasks.0.load(Ordering::SeqCst);
    for id in 1..=100 {
        let mark = write(&beside.store, id, "alice");
        let confirmed = beside.node.protocol.confirm(mark, Duration::ZERO);
        let pass = beside.pass(Duration::from_millis(20));
        let (confirmed, ()) = soon(async { tokio::join!(confirmed, pass) }).await;
        confirmed.expect_err("the dead do not answer");
    }
    assert_eq!(beside.tasks.0.load(Ordering::SeqCst), before);

    // And one look serves all of them.
    let lists = beside.log.lists.load(Ordering::SeqCst);
    beside.pass(BOUND).await;
    let looks = beside.log.lists.load(Ordering::SeqCst) - lists;
    assert!((1..=20).contains(&looks), "{looks} looks in a second");
}

#[tokio::test]
async fn a_node_that_has_left_watches_no_one() {
    let beside = Beside::the_dead(Some(BOUND)).await;
    let mark = write(&beside.store, 1, "alice");
    let confirmed = beside.node.protocol.confirm(mark, BOUND / 4);
    let (confirmed, ()) = soon(async { tokio::join!(confirmed, beside.pass(BOUND / 2)) }).await;
    confirmed.expect_err("the dead do not answer");
    let left = beside.node.protocol.leave();
    let (left, ()) = soon(async { tokio::join!(left, beside.pass(BOUND / 10)) }).await;
    left.expect("it leaves");

    let lists = beside.log.lists.load(Ordering::SeqCst);
    beside.pass(8 * BOUND).await;
    assert_eq!(beside.log.lists.load(Ordering::SeqCst), lists);
    assert!(!beside.dead().await.expect("a row").marked);
}

#[tokio::test]
async fn a_member_without_a_bound_is_named_and_never_expires() {
    let beside = Beside::the_dead(None).await;
    let mark = write(&beside.store, 1, "alice");
    let confirmed = beside.node.protocol.confirm(mark, BOUND);
    let (confirmed, ()) = soon(async { tokio::join!(confirmed, beside.pass(2 * BOUND)) }).await;
    let silent = confirmed.expect_err("the dead do not answer").silent;
    assert_eq!(silent.len(), 1, "{silent:?}");
    let named = (&*silent[0].node, silent[0].reason);
    assert_eq!(named, ("dead", Silence::Late));

    beside.pass(8 * BOUND).await;
    assert!(!beside.dead().await.expect("a row").marked);
}

/// Its handlers are slow, or the log is fast: by the time of its report, this node has read so much
/// more that it does not remember what it reports.
#[tokio::test]
async fn a_report_that_is_far_behind_this_node_counts() {
    let beside = Beside::the_dead(None).await;
    let mark = write(&beside.store, 1, "alice");
    write(&beside.store, 2, "bob");
    let applied = beside.log.head(None).await.expect("a head").cursor;
    let many = (3..10_003).map(|id| (id, format!("user {id}")));
    let last = write_all(&beside.store, many);
    beside.pass(BOUND).await;
    assert!(beside.node.protocol.has_applied(last));

    let slow = beside.dead().await.expect("a row").id;
    let report = beside.log.report(&slow, &applied, Demand(1));
    report.await.expect("reported");
    let confirmed = beside.node.protocol.confirm(mark, BOUND);
    let (confirmed, ()) = soon(async { tokio::join!(confirmed, beside.pass(2 * BOUND)) }).await;
    let confirmed = confirmed.expect("both have applied it");
    assert!(confirmed.applied.contains(&slow), "{confirmed:?}");

    // It reports a record that the log does not hold, and that this node does not remember either.
    let Position::Numbered { last, .. } = *applied.position() else {
        panic!("{applied:?}");
    };
    let lost = Cursor::numbered(applied.epoch(), last, Uuid::from_u128(7));
    let report = beside.log.report(&slow, &lost, Demand(2));
    report.await.expect("reported");
    let asides = beside.log.asides.load(Ordering::SeqCst);
    let confirmed = beside.node.protocol.confirm(mark, BOUND);
    let (confirmed, ()) = soon(async { tokio::join!(confirmed, beside.pass(2 * BOUND)) }).await;
    confirmed.expect_err("it has read another record");
    let asides = beside.log.asides.load(Ordering::SeqCst) - asides;
    assert_eq!(
        asides, 1,
        "the log is asked for it once, however long that takes"
    );
}
