//! What watchers of the log receive of commits that exceed the items that wait in memory.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use tidings_cluster::{
    Replayed, Told,
    kit::{Form, MemoryLog, ModelStore},
};
use tidings_core::log::{Log as _, Place};

use crate::rigged::{Node, Rigged, Surroundings, soon, write, write_all};

/// More than wait in memory, and more pages than one.
const ROWS: i64 = 700;

/// A node whose log is watched, and that no handler listens on.
async fn watched(log: &Arc<Rigged>) -> Node {
    let mut around = Surroundings::ordinary();
    around.settings = around.settings.page(100).queue(300);
    let node = Node::begin_in(around, log, "a");
    node.until_open().await;
    node.heard.deaf.store(true, Ordering::SeqCst);
    node.heard.watched.store(true, Ordering::SeqCst);
    node.protocol.tell();
    node
}

/// Waits until watchers have received this much; returns the keys of the rows, in order, and the
/// gaps.
async fn told(node: &Node, count: usize) -> (Vec<i64>, Vec<String>) {
    let all = || {
        node.heard
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    };
    soon(async {
        while all().len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut rows, mut gaps) = (Vec::new(), Vec::new());
    for told in &*all() {
        match told {
            Told::Change { change, .. } => {
                let id = change.row.0[0].to_text();
                rows.push(id.parse().expect("a number"));
            }
            other => gaps.push(format!("{other:?}")),
        }
    }
    (rows, gaps)
}

fn rows(from: i64) -> impl Iterator<Item = (i64, String)> {
    (from..from + ROWS).map(|id| (id, format!("name {id}")))
}

#[tokio::test]
async fn a_commit_larger_than_memory_is_told_whole_although_the_log_answers_late() {
    for form in [Form::Counted, Form::Snapshot] {
        let store = ModelStore::new(form, 1);
        let log = Rigged::on(MemoryLog::new(store.clone()));
        let node = watched(&log).await;

        // The tail has read all of it before the first page of it is passed on.
        log.answers.send_replace(false);
        let mark = write_all(&store, rows(0));
        node.until_applied(mark).await;
        log.answers.send_replace(true);
        let after = write(&store, ROWS, "the last");
        node.until_applied(after).await;

        let (ids, gaps) = told(&node, ROWS as usize + 1).await;
        assert_eq!(gaps, [""; 0], "{form:?}");
        assert!(
            ids.into_iter().eq(0..=ROWS),
            "{form:?}: each once, in order"
        );
        let asked = log.groups.load(Ordering::SeqCst);
        assert!(
            asked <= 20,
            "{form:?}: {asked} questions for the rows of a commit"
        );
    }
}

#[tokio::test]
async fn those_that_take_their_time_are_told_all_and_the_tail_does_not_wait() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = watched(&log).await;

    node.heard.holds.send_replace(true);
    for commit in 0..3 {
        let mark = write_all(&store, rows(commit * ROWS));
        node.until_applied(mark).await;
    }
    assert_eq!(told(&node, 1).await, (vec![0], Vec::new()));

    node.heard.holds.send_replace(false);
    let (ids, gaps) = told(&node, 3 * ROWS as usize).await;
    assert_eq!(gaps, [""; 0]);
    assert!(ids.into_iter().eq(0..3 * ROWS));
}

#[tokio::test]
async fn what_the_log_has_lost_before_it_was_told_is_a_gap() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = watched(&log).await;

    node.heard.holds.send_replace(true);
    for commit in 0..3 {
        let mark = write_all(&store, rows(commit * ROWS));
        node.until_applied(mark).await;
    }
    store.prune();
    node.heard.holds.send_replace(false);
    soon(async {
        let mut writes = 0;
        while told(&node, 1).await.0.last() != Some(&-1) {
            writes += 1;
            let after = write(&store, -1, &format!("after {writes}"));
            node.until_applied(after).await;
        }
    })
    .await;
    let (_, gaps) = told(&node, 1).await;
    assert!(
        !gaps.is_empty() && gaps.iter().all(|gap| gap.contains("Trimmed")),
        "{gaps:?}"
    );
}

#[tokio::test]
async fn handlers_hear_a_commit_of_many_pages_by_few_questions() {
    for form in [Form::Counted, Form::Snapshot] {
        let store = ModelStore::new(form, 1);
        let log = Rigged::on(MemoryLog::new(store.clone()));
        let mut around = Surroundings::ordinary();
        around.settings = around.settings.page(100);
        let node = Node::begin_in(around, &log, "a");
        node.until_open().await;

        let mark = write_all(&store, rows(0));
        node.until_applied(mark).await;
        soon(async {
            while node.heard.changes() < ROWS as usize {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(node.heard.changes(), ROWS as usize, "{form:?}: each once");
        let asked = log.groups.load(Ordering::SeqCst);
        assert!(
            (1..=ROWS as usize / 50).contains(&asked),
            "{form:?}: {asked} questions for the rows of a commit"
        );
    }
}

/// Not once for each page that has some of it.
#[tokio::test]
async fn a_row_that_a_commit_writes_on_many_pages_is_read_whole_once_or_twice() {
    const WRITES: usize = 700;
    for form in [Form::Counted, Form::Snapshot] {
        let store = ModelStore::new(form, 1);
        let log = Rigged::on(MemoryLog::new(store.clone()));
        let mut around = Surroundings::ordinary();
        around.settings = around.settings.page(10).queue(300);
        let node = Node::begin_in(around, &log, "a");
        node.until_open().await;
        let before = log.head(None).await.expect("a head").cursor;

        let mark = write_all(&store, (0..WRITES).map(|at| (7, format!("name {at}"))));
        node.until_applied(mark).await;
        soon(async {
            while node.heard.changes() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let heard = log.told.swap(0, Ordering::SeqCst);
        assert!(heard <= WRITES, "{form:?}: handlers took {heard} records");

        // A reader that returns, and receives the row at its last record.
        let mut replay = node.protocol.replay(Arc::clone(&log) as _, &Place(before));
        let mut told = Vec::new();
        loop {
            match soon(replay.next()).await {
                Replayed::More(more) => told.extend(more),
                Replayed::End(more) => {
                    told.extend(more);
                    break;
                }
                Replayed::Gap(gap) => panic!("{form:?}: {gap}"),
            }
        }
        assert!(
            matches!(&told[..], [Told::Change { .. }]),
            "{form:?}: {told:?}"
        );
        let read = log.told.load(Ordering::SeqCst);
        assert!(read <= 2 * WRITES, "{form:?}: a reader took {read} records");
        assert_eq!(node.heard.changes(), 1, "{form:?}");
    }
}
