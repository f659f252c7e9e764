//! Loads on a node that may miss changes: they answer, and nothing is kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_cache::{Cache, CacheKey, Fills, GetOptions, ManualClock, Outcome, Pass};

use crate::kit::{Gate, Source, k, timed};

const SECOND: Duration = Duration::from_secs(1);

/// Even while it lets loads fill, odd while it does not.
#[derive(Debug, Default)]
struct Switch(AtomicU64);

impl Switch {
    fn turn(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Fills for Switch {
    fn begin(&self, _: &CacheKey) -> Option<Pass> {
        let now = self.0.load(Ordering::SeqCst);
        now.is_multiple_of(2).then_some(Pass(now))
    }

    fn holds(&self, pass: Pass) -> bool {
        self.0.load(Ordering::SeqCst) == pass.0
    }
}

fn cache() -> (Cache, Arc<Switch>) {
    let switch = Arc::new(Switch::default());
    let cache = Cache::builder().fills(Arc::clone(&switch) as _).build();
    (cache.unwrap(), switch)
}

#[tokio::test]
async fn a_load_that_begins_while_fills_are_stopped_answers_and_enters_neither_level() {
    let (cache, switch) = cache();
    let source = Source::default();
    switch.turn();
    for loads in 1..=2 {
        let entry = cache.get_entry(k(), GetOptions::default(), source.give(Some(1_u8)));
        let entry = entry.await.unwrap();
        assert_eq!(
            (entry.value.as_deref(), entry.outcome),
            (Some(&1), Outcome::Loaded)
        );
        assert_eq!(source.loads(), loads);
    }
    assert_eq!(
        (cache.stats().entries, cache.stats().refused_unheard),
        (0, 2)
    );

    switch.turn();
    for _ in 0..2 {
        cache
            .get(k(), GetOptions::default(), source.give(Some(1_u8)))
            .await
            .unwrap();
    }
    assert_eq!(source.loads(), 3);
}

#[tokio::test]
async fn an_absence_and_a_bulk_load_are_not_kept_either() {
    let (cache, switch) = cache();
    switch.turn();
    let source = Source::default();
    let absent = cache
        .get(k(), GetOptions::default(), source.give(None::<u8>))
        .await;
    assert_eq!(absent.unwrap(), None);
    let load = |keys: Vec<CacheKey>| async move {
        Ok::<_, std::io::Error>(
            keys.into_iter()
                .map(|key| (key, Some(7_u8)))
                .collect::<Vec<_>>(),
        )
    };
    let keys = [CacheKey::new("k", &["a"]), CacheKey::new("k", &["b"])];
    let many = cache
        .get_bulk(&keys, GetOptions::default(), load)
        .await
        .unwrap();
    assert_eq!(many.iter().flatten().count(), 2);
    assert_eq!((cache.stats().entries, cache.stats().absences), (0, 0));
}

#[tokio::test]
async fn a_load_during_which_fills_were_stopped_does_not_fill_although_they_go_on_again() {
    let (cache, switch) = cache();
    let (gate, source) = (Gate::new(), Source::default());
    let (own, load) = (cache.clone(), source.behind(&gate, Some(1_u8)));
    let caller = tokio::spawn(async move { own.get(k(), GetOptions::default(), load).await });
    gate.reached().await;
    switch.turn();
    switch.turn();
    gate.open();
    assert_eq!(caller.await.unwrap().unwrap().as_deref(), Some(&1));
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
}

#[tokio::test]
async fn a_renewal_or_a_set_while_fills_are_stopped_evicts_the_cached_value() {
    let (cache, switch) = cache();
    let source = Source::default();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    switch.turn();
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
        Some(&1)
    );
    let renewed = cache
        .renew(k(), GetOptions::default(), source.give(Some(2_u8)))
        .await;
    assert_eq!(renewed.unwrap().as_deref(), Some(&2));
    assert!(
        cache.cached::<u8>(k()).unwrap().is_none(),
        "the caller has seen something newer"
    );

    switch.turn();
    cache.set(k(), Some(3_u8), GetOptions::default()).unwrap();
    switch.turn();
    cache.set(k(), Some(4_u8), GetOptions::default()).unwrap();
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
}

#[tokio::test]
async fn fills_that_panic_refuse() {
    #[derive(Debug)]
    enum Faulty {
        Begins,
        Holds,
    }
    impl Fills for Faulty {
        fn begin(&self, _: &CacheKey) -> Option<Pass> {
            match self {
                Self::Begins => panic!("asked at all"),
                Self::Holds => Some(Pass(1)),
            }
        }
        fn holds(&self, _: Pass) -> bool {
            panic!("asked twice")
        }
    }
    for faulty in [Faulty::Begins, Faulty::Holds] {
        let cache = Cache::builder().fills(Arc::new(faulty)).build().unwrap();
        let source = Source::default();
        let answer = cache
            .get(k(), GetOptions::default(), source.give(Some(1_u8)))
            .await;
        assert_eq!(answer.unwrap().as_deref(), Some(&1));
        assert_eq!(cache.stats().entries, 0);
    }
}

/// What it read may be as old as that, however long the answer took.
#[tokio::test]
async fn a_load_counts_from_before_it_was_allowed() {
    #[derive(Debug)]
    struct Slow(ManualClock);
    impl Fills for Slow {
        fn begin(&self, _: &CacheKey) -> Option<Pass> {
            self.0.advance(SECOND);
            Some(Pass(1))
        }
        fn holds(&self, _: Pass) -> bool {
            true
        }
    }
    let (builder, clock) = timed();
    let cache = builder.fills(Arc::new(Slow(clock))).build().unwrap();
    let source = Source::default();
    let entry = cache.get_entry(k(), GetOptions::default(), source.give(Some(1_u8)));
    assert_eq!(entry.await.unwrap().age(), SECOND);
}

/// The log was lost, and a purge done, between the answer and the value's being in its place.
#[tokio::test]
async fn a_set_that_a_purge_has_passed_by_is_taken_out_again() {
    #[derive(Debug)]
    struct Loses(AtomicU64);
    impl Fills for Loses {
        fn begin(&self, _: &CacheKey) -> Option<Pass> {
            Some(Pass(0))
        }

        fn holds(&self, _: Pass) -> bool {
            self.0.fetch_add(1, Ordering::SeqCst) == 0
        }
    }

    let loses = Arc::new(Loses(AtomicU64::new(0)));
    let cache = Cache::builder().fills(loses as _).build().unwrap();
    let _guard = cache.attach_thread("worker");
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
    assert_eq!(cache.stats().refused_unheard, 1);
}
