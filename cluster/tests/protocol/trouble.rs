//! A log that is out of reach, or does not record.

use std::{sync::atomic::Ordering, time::Duration};

use tidings_cluster::kit::{Form, MemoryLog, ModelStore};
use tidings_core::{
    CacheKey,
    log::{Demand, Gap, GapReason, Join, Mark, MemberRow, Members as _, StartId},
};
use uuid::Uuid;

use crate::rigged::{Node, Rigged, Surroundings, soon, write};

fn key() -> CacheKey {
    CacheKey::new("consumers", &["alice"])
}

#[tokio::test]
async fn a_node_that_starts_without_its_log_answers_and_keeps_nothing_until_it_has_one() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Counted, 1)));
    log.down.store(true, Ordering::SeqCst);
    let node = Node::begin(&log, "a");
    tokio::task::yield_now().await;
    assert!(!node.load(&key(), "t").await);

    log.down.store(false, Ordering::SeqCst);
    node.until_open().await;
    assert!(node.load(&key(), "t").await);
}

#[tokio::test]
async fn a_node_that_has_left_holds_nothing() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let node = Node::start(&log, "a").await;
    assert!(node.load(&key(), "t").await);
    node.protocol.leave().await.expect("it leaves");
    assert!(!node.holds(&key()));
}

/// Others may have confirmed writes without it.
#[tokio::test]
async fn a_node_that_was_given_up_or_replaced_holds_nothing() {
    for replaced in [false, true] {
        let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
        let node = Node::start(&log, "a").await;
        assert!(node.load(&key(), "t").await);
        if replaced {
            let join = Join {
                node: "a".into(),
                start: StartId(Uuid::nil()),
                before: None,
                bound: None,
                facts: None,
            };
            log.join(join).await.expect("its last start has the name");
        } else {
            let rows = log.list().await.expect("rows");
            assert!(log.mark(&rows[0].id).await.expect("its row"));
        }
        soon(async {
            while node.holds(&key()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// From its join on no receipt waits for what it holds; it has yet to purge that at the gap.
#[tokio::test]
async fn a_node_that_has_joined_again_serves_nothing_at_a_gap_that_follows() {
    let log = Rigged::on(MemoryLog::new(ModelStore::new(Form::Snapshot, 1)));
    let mut around = Surroundings::ordinary();
    let minute = Duration::from_secs(60);
    around.settings = around.settings.max_staleness(Some(minute));
    let node = Node::begin_in(around, &log, "a");
    node.until_open().await;
    assert!(node.load(&key(), "t").await);

    log.loses.store(true, Ordering::SeqCst);
    let (rows, heads) = (log.list().await, log.heads.load(Ordering::SeqCst));
    assert!(log.mark(&rows.expect("rows")[0].id).await.expect("its row"));
    soon(async {
        while log.heads.load(Ordering::SeqCst) == heads {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(log.lost.load(Ordering::SeqCst), "it has joined");
    assert!(!node.holds(&key()));

    log.lost.store(false, Ordering::SeqCst);
    node.until_open().await;
    assert!(!node.holds(&key()), "it was purged");
    assert!(node.load(&key(), "t").await);
}

/// An earlier demand is not addressed to the row that the node has now.
#[tokio::test]
async fn a_node_that_has_joined_again_reports_what_it_is_asked_for_from_then_on() {
    let store = ModelStore::new(Form::Snapshot, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    node.heard.held.send_replace(true);
    for _ in 0..5 {
        log.demand().await.expect("asked");
    }
    write(&store, 1, "alice");
    soon(async {
        while node.heard.held.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    // It is given up while its handlers run, and joins again.
    let before = log.list().await.expect("rows").remove(0).id;
    assert!(log.mark(&before).await.expect("its row"));
    soon(async {
        while log.list().await.expect("rows")[0].id == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.heard.held.send_replace(false);

    let last = write(&store, 2, "bob");
    log.demand().await.expect("asked");
    soon(async {
        let covers = |row: &MemberRow| {
            let reported = row.reported.as_ref();
            reported.is_some_and(|cursor| cursor.covers(last))
        };
        while !covers(&log.list().await.expect("rows")[0]) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(log.list().await.expect("rows")[0].answered, Demand(1));
}

#[tokio::test]
async fn a_log_that_comes_back_goes_on_from_the_cursor() {
    let store = ModelStore::new(Form::Snapshot, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    assert!(node.load(&key(), "t").await);

    log.down.store(true, Ordering::SeqCst);
    let mark = write(&store, 1, "alice");
    soon(async {
        while node.protocol.stats().failed_reads == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        node.holds(&key()),
        "it knows nothing of the change, and has no bound"
    );
    let purges = node.heard.purges();
    log.down.store(false, Ordering::SeqCst);
    node.until_applied(mark).await;
    assert!(!node.holds(&key()));
    assert_eq!(node.heard.purges(), purges, "nothing was lost");
}

#[tokio::test]
async fn capture_that_is_missing_is_a_gap_and_nothing_is_kept_until_it_is_back() {
    let store = ModelStore::new(Form::Snapshot, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::start(&log, "a").await;
    assert!(node.load(&key(), "t").await);

    log.uncaptured.store(true, Ordering::SeqCst);
    let gap = Gap::of_all(GapReason::Capture);
    assert_eq!(node.heard.gaps(1).await, std::slice::from_ref(&gap));
    assert!(!node.holds(&key()));
    assert!(!node.load(&key(), "t").await);
    // What is read in the meantime proves nothing.
    let proof = node.protocol.gate().proof();
    for id in 1..=2 {
        node.until_applied(write(&store, id, "alice")).await;
    }
    assert_eq!(node.protocol.gate().proof(), proof);

    log.uncaptured.store(false, Ordering::SeqCst);
    assert_eq!(node.heard.gaps(2).await, [gap.clone(), gap]);
    node.until_open().await;
    assert!(node.load(&key(), "t").await);
}

/// A commit that its node has named by an epoch that had ended: no one can tell where in the next
/// epoch it is, but everything that was committed before the question covers it.
#[tokio::test]
async fn a_commit_named_by_an_ended_epoch_is_reached_once_what_is_there_is_applied() {
    for form in [Form::Counted, Form::Snapshot] {
        let store = ModelStore::new(form, 1);
        let log = Rigged::on(MemoryLog::new(store.clone()));
        let node = Node::start(&log, "a").await;
        let ended = write(&store, 1, "bob");
        node.until_applied(ended).await;
        store.begin_epoch();
        node.heard.gaps(1).await;
        node.until_open().await;

        // The node learns nothing while another, which has not noticed, writes.
        assert!(node.load(&key(), "t").await);
        log.down.store(true, Ordering::SeqCst);
        let mark = write(&store, 2, "alice");
        let named = Mark::new(ended.epoch(), mark.number());
        let mut reached = std::pin::pin!(node.protocol.until_reached(named));
        for _ in 0..100 {
            tokio::task::yield_now().await;
            let early = futures_util::FutureExt::now_or_never(reached.as_mut());
            assert!(early.is_none(), "{form:?}: alice is served as she was");
        }

        log.down.store(false, Ordering::SeqCst);
        soon(reached).await;
        assert!(
            node.protocol.has_applied(mark) && !node.holds(&key()),
            "{form:?}"
        );
        // One that is long gone is reached too.
        soon(node.protocol.until_reached(ended)).await;
    }
}

/// What its handlers would have evicted is unknown.
#[tokio::test]
async fn changes_that_the_log_forgets_before_handlers_hear_of_them_are_a_gap() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let mut around = Surroundings::ordinary();
    around.settings = around.settings.queue(1);
    let node = Node::begin_in(around, &log, "a");
    node.until_open().await;

    node.heard.held.send_replace(true);
    let mut last = None;
    for id in 1..=3 {
        last = Some(write(&store, id, "alice"));
        soon(async {
            while node.protocol.stats().records < id as u64 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    soon(async {
        while node.protocol.stats().read_again == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let of_handlers = CacheKey::new("quotas", &["x"]);
    assert!(node.load(&of_handlers, "t").await);

    store.prune();
    node.heard.held.send_replace(false);
    node.until_applied(last.expect("a commit")).await;
    assert_eq!(node.heard.gaps(1).await, [Gap::of_all(GapReason::Trimmed)]);
    assert!(!node.holds(&of_handlers));
}
