//! How much audits read, how many run, and how they end.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings::{
    AuditError, AuditSettings, BoxError, CacheKey, GetOptions, Node, Store, Verdict,
    clock::ManualClock,
    store::{Call, Hook, Method},
};

use super::{SECOND, Things, by_code, end, moved, soon};
use crate::heard::{Owner, Thing, thing};

/// Counts the reads of a table that have ended.
#[derive(Default)]
struct Reads(AtomicU64);

impl Hook for Reads {
    fn after(&self, call: &Call<'_>) {
        let is_read = u64::from(call.method == Method::Select);
        self.0.fetch_add(is_read, Ordering::SeqCst);
    }
}

/// A node in memory whose cache holds rows, and what counts the reads from now on.
async fn filled(clock: &ManualClock, rows: i64, settings: AuditSettings) -> (Node, Arc<Reads>) {
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await.expect("a store"))
        .entity::<Owner>()
        .entity::<Thing>()
        .clock(Arc::new(clock.clone()))
        .audit(settings)
        .start()
        .await
        .expect("a node");
    let things = Things::of(&node);
    for id in 0..rows {
        things.dao.insert(thing(id, "one")).await.expect("inserted");
        things.note(&format!("t{id}")).await;
    }
    let reads = Arc::new(Reads::default());
    things.dao.hook(Arc::clone(&reads) as _);
    (node, reads)
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_more_rows_are_read_in_a_second_than_the_budget_has() {
    let clock = ManualClock::new();
    let settings = AuditSettings::new().reads_per_second_on_demand(4);
    let (node, reads) = filled(&clock, 50, settings).await;
    let audit = {
        let node = node.clone();
        tokio::spawn(async move { node.audit(5 * SECOND).await })
    };
    settle().await;
    let mut most = 1; // the first at once
    for step in 1..=500 {
        clock.advance(Duration::from_millis(10));
        settle().await;
        most = 1 + step / 25;
        assert!(reads.0.load(Ordering::SeqCst) <= most, "step {step}");
    }
    let found = moved(&clock, "an audit", audit).await.expect("no panic");
    let found = found.expect("an audit");
    let read = reads.0.load(Ordering::SeqCst);
    assert!((1..=most).contains(&found.checked), "{found:?}");

    // Without a budget for it nothing is read in the background.
    clock.advance(600 * SECOND);
    settle().await;
    assert_eq!(reads.0.load(Ordering::SeqCst), read);
    end(&node, &clock).await;
}

/// The hand goes through the whole cache in a minute, however many entries there are.
#[tokio::test]
async fn the_background_reads_as_its_budget_says_and_from_all_of_the_cache() {
    let clock = ManualClock::new();
    let settings = AuditSettings::new().reads_per_second(1);
    let (node, reads) = filled(&clock, 600, settings).await;
    let asked = Arc::new(Asked::default());
    let things = Things::of(&node);
    things.dao.hook(Arc::clone(&asked) as _);
    let begun = reads.0.load(Ordering::SeqCst);
    let mut seconds = 0;
    // Eight turns of 60 reads, each of which begins at a random one of ten entries.
    while reads.0.load(Ordering::SeqCst) < begun + 480 {
        clock.advance(SECOND);
        seconds += 1;
        settle().await;
        let read = reads.0.load(Ordering::SeqCst) - begun;
        assert!(read <= 1 + seconds, "{read} in {seconds} s");
    }
    let asked = asked.0.lock().expect("no panic").len();
    assert!(asked > 60, "the turns stop at other entries: {asked}");
    end(&node, &clock).await;
}

/// Notes which rows are read.
#[derive(Default)]
struct Asked(Mutex<HashSet<String>>);

impl Hook for Asked {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        if call.method == Method::Select {
            let selector = format!("{:?}", call.selector);
            self.0.lock().expect("no panic").insert(selector);
        }
        Ok(())
    }
}

#[tokio::test]
async fn one_audit_runs_at_a_time_and_a_shutdown_ends_it() {
    let clock = ManualClock::new();
    let (node, reads) = filled(&clock, 3, AuditSettings::new()).await;
    for time in [Duration::ZERO, SECOND / 2, 601 * SECOND] {
        assert_eq!(node.audit(time).await, Err(AuditError::Time(time)));
    }

    let audit = {
        let node = node.clone();
        tokio::spawn(async move { node.audit(600 * SECOND).await })
    };
    soon("a read", async {
        while reads.0.load(Ordering::SeqCst) == 0 {
            settle().await;
        }
    })
    .await;
    settle().await;
    assert_eq!(node.audit(SECOND).await, Err(AuditError::Running));
    end(&node, &clock).await;
    let found = soon("an audit", audit).await.expect("no panic");
    let found = found.expect("it was ended");
    assert!(found.checked > 0 && found.inconsistent == 0, "{found:?}");
}

#[tokio::test]
async fn what_is_no_row_is_not_audited() {
    let clock = ManualClock::new();
    let (node, reads) = filled(&clock, 0, AuditSettings::new()).await;
    let set = |key: &CacheKey| {
        let set = node.cache().set(key, Some(7_u8), GetOptions::default());
        set.expect("set");
    };
    for key in [
        CacheKey::new("quotas", &["alice"]),
        CacheKey::new("things", &["t1", "more"]),
        by_code("of another type"),
    ] {
        set(&key);
        assert_eq!(node.audit_key(&key).await, Verdict::Nothing, "{key}");
    }
    assert_eq!(reads.0.load(Ordering::SeqCst), 0);
    end(&node, &clock).await;
}
