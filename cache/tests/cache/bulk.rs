//! Many keys with one load.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_cache::{Cache, CacheKey, GetError, GetOptions, ManualClock};
use tokio::task::JoinHandle;

use crate::kit::{Failure, Gate, Source, key, timed};

#[tokio::test]
async fn a_bulk_call_loads_what_misses_at_once_and_fences_each_key() {
    let cache = Cache::builder().build().unwrap();
    let keys = ["a", "b", "c", "d"].map(key);
    cache
        .set(&keys[0], Some(1_u8), GetOptions::default())
        .unwrap();
    let calls = AtomicUsize::new(0);
    let load = |asked: Vec<CacheKey>| {
        calls.fetch_add(1, Ordering::SeqCst);
        assert_eq!(asked, [key("b"), key("c"), key("d")]);
        let cache = cache.clone();
        async move {
            drop(cache.invalidate(&asked[1]));
            Ok::<_, Failure>(vec![
                (asked[1].clone(), Some(3_u8)),
                (asked[0].clone(), Some(2)),
            ])
        }
    };
    let values = cache
        .get_bulk(&keys, GetOptions::default(), load)
        .await
        .unwrap();
    let values: Vec<_> = values
        .iter()
        .map(|value| value.as_deref().copied())
        .collect();
    assert_eq!(values, [Some(1), Some(2), Some(3), None]);
    let cached = |name| cache.cached::<u8>(&key(name)).unwrap();
    assert!(cached("b").is_some() && cached("c").is_none());
    assert_eq!(cached("d").unwrap().value, None, "left out is absent");
    assert_eq!(
        (calls.load(Ordering::SeqCst), cache.stats().refused_void),
        (1, 1)
    );
}

#[tokio::test]
async fn a_late_bulk_load_fills_each_key_with_its_own_value() {
    let (builder, clock) = timed();
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let gate = Gate::new();
    let keys = ["a", "b", "c"].map(key);
    let bulk = cache.get_bulk(&keys, GetOptions::default(), |asked| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            let value = |key: CacheKey| {
                let value = key.as_str().to_owned();
                (key, Some(value))
            };
            Ok::<_, Failure>(asked.into_iter().map(value).collect())
        }
    });
    let (answer, ()) = tokio::join!(bulk, async {
        gate.reached().await;
        drop(cache.invalidate(&keys[0]));
        clock.advance(Duration::from_secs(2));
    });
    assert!(matches!(answer, Err(GetError::Deadline { .. })));
    gate.open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert!(cache.probe::<String>(&keys[0]).unwrap().is_none());
    for key in &keys[1..] {
        let value = cache.probe::<String>(key).unwrap().unwrap().value.unwrap();
        assert_eq!(*value, key.as_str());
    }
}

#[tokio::test]
async fn a_bulk_call_that_panics_leaves_no_flight_behind() {
    #[derive(Debug, serde::Serialize)]
    struct Uncloneable;
    impl Clone for Uncloneable {
        fn clone(&self) -> Self {
            panic!("not today")
        }
    }
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let keys = ["missing", "cached"].map(key);
    let options = GetOptions::default;
    cache.set(&keys[1], Some(Uncloneable), options()).unwrap();
    let bulk = cache.get_bulk(&keys, options(), |_| async {
        Ok::<_, Failure>(Vec::<(CacheKey, Option<Uncloneable>)>::new())
    });
    let panicked = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(bulk)).await;
    assert!(panicked.is_err());
    assert_eq!(cache.stats().in_flight, 0);
}

#[tokio::test]
async fn a_bulk_call_and_a_get_share_their_loads() {
    let cache = Cache::builder().build().unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    let first = key("a");
    let single = cache.get(
        &first,
        GetOptions::default(),
        source.behind(&gate, Some(1_u8)),
    );
    let keys = ["a", "b", "b"].map(key);
    let bulk = cache.get_bulk(&keys, GetOptions::default(), |asked| async move {
        assert_eq!(asked, [key("b")]);
        Ok::<_, Failure>(vec![(key("b"), Some(2_u8))])
    });
    let (single, bulk, ()) = tokio::join!(single, bulk, async { gate.open() });
    assert_eq!(single.unwrap().as_deref(), Some(&1));
    let bulk: Vec<_> = bulk
        .unwrap()
        .iter()
        .map(|value| **value.as_ref().unwrap())
        .collect();
    assert_eq!(bulk, [1, 2, 2]);
}

const SECOND: Duration = Duration::from_secs(1);

type Got = Result<Option<Arc<u8>>, GetError>;

/// A load of the keys `a` and `b` that waits at the gate. The time of its own call is over; a
/// caller of `a` alone has joined it and has a second left, or more.
struct LateBulk {
    cache: Cache,
    clock: ManualClock,
    gate: Gate,
    /// Held by the load until it ends.
    alive: Weak<()>,
    joined: JoinHandle<Got>,
}

async fn late_bulk(options: GetOptions) -> LateBulk {
    let (builder, clock) = timed();
    let cache = builder.deadline(2 * SECOND).build().unwrap();
    let (gate, token) = (Gate::new(), Arc::new(()));
    let alive = Arc::downgrade(&token);
    let (loading, own) = (gate.clone(), cache.clone());
    let bulk = tokio::spawn(async move {
        let load = |asked: Vec<CacheKey>| {
            let (gate, token) = (loading.clone(), Arc::clone(&token));
            async move {
                gate.pass().await;
                drop(token);
                let found = asked.into_iter().map(|key| (key, Some(7_u8)));
                Ok::<_, Failure>(found.collect::<Vec<_>>())
            }
        };
        let keys = ["a", "b"].map(key);
        own.get_bulk(&keys, GetOptions::default(), load).await
    });
    gate.reached().await;

    clock.advance(SECOND);
    let (own, load) = (cache.clone(), Source::default().give(Some(0_u8)));
    let joined = tokio::spawn(async move { own.get(&key("a"), options, load).await });
    while cache.stats().joined == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(SECOND);
    assert!(matches!(bulk.await.unwrap(), Err(GetError::Deadline(_))));
    LateBulk {
        cache,
        clock,
        gate,
        alive,
        joined,
    }
}

impl LateBulk {
    /// Waits until the load itself is overdue.
    async fn overdue(self) -> Self {
        while self.cache.stats().load_deadlines == 0 {
            tokio::task::yield_now().await;
        }
        self
    }

    /// Makes a load of `b` that is late at once, in place of the bulk's, which is late too.
    async fn displace(&self) {
        let slow = Gate::new();
        let (own, load) = (
            self.cache.clone(),
            Source::default().behind(&slow, Some(1_u8)),
        );
        let brief = GetOptions::default().deadline(SECOND / 4);
        let caller = tokio::spawn(async move { own.get(&key("b"), brief, load).await });
        slow.reached().await;
        self.clock.advance(SECOND / 4);
        assert!(matches!(caller.await.unwrap(), Err(GetError::Deadline(_))));
    }

    /// Lets the bulk load go on, and returns what the caller of `a` got and what is cached of it.
    async fn ends(self) -> (Option<u8>, Option<u8>) {
        self.gate.open();
        let got = self.joined.await.unwrap().expect("a value");
        let cached = self.cache.cached::<u8>(&key("a")).unwrap();
        let cached = cached.and_then(|cached| cached.value.as_deref().copied());
        (got.as_deref().copied(), cached)
    }
}

#[tokio::test]
async fn a_late_bulk_load_goes_on_for_the_others_when_one_key_is_invalidated() {
    let late = late_bulk(GetOptions::default()).await.overdue().await;
    late.cache.invalidate_local(&key("b"));
    assert_eq!(late.ends().await, (Some(7), Some(7)));
}

#[tokio::test]
async fn a_late_bulk_load_goes_on_for_the_others_when_one_key_is_displaced() {
    let late = late_bulk(GetOptions::default()).await.overdue().await;
    late.displace().await;
    assert_eq!(late.ends().await, (Some(7), Some(7)));
}

/// The load is not overdue: a caller of one of its keys has more time.
#[tokio::test]
async fn a_bulk_load_in_time_goes_on_when_one_key_is_displaced() {
    let patient = GetOptions::default().deadline(100 * SECOND);
    let late = late_bulk(patient).await;
    for _ in 0..2 {
        late.displace().await;
    }
    assert_eq!(late.ends().await, (Some(7), Some(7)));
}

/// Waits until a load has ended; it is to end soon.
async fn ended(alive: &Weak<()>) {
    for _ in 0..1_000 {
        if alive.strong_count() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the load goes on");
}

#[tokio::test]
async fn a_late_bulk_load_ends_once_no_key_wants_it() {
    let late = late_bulk(GetOptions::default()).await.overdue().await;
    late.cache.invalidate_local(&key("b"));
    late.cache.invalidate_local(&key("a"));
    ended(&late.alive).await;
    // Its caller asks again, and loads by itself.
    let got = late.joined.await.unwrap().expect("a value");
    assert_eq!(got.as_deref(), Some(&0));
}

#[tokio::test]
async fn a_key_that_was_voided_in_time_keeps_no_late_bulk_load_alive() {
    let patient = GetOptions::default().deadline(10 * SECOND);
    let late = late_bulk(patient).await;
    late.cache.invalidate_local(&key("b"));
    late.clock.advance(8 * SECOND);
    let late = late.overdue().await;
    late.cache.invalidate_local(&key("a"));
    ended(&late.alive).await;
    assert!(late.joined.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_bulk_load_ends_with_its_cache_although_a_key_was_voided() {
    let patient = GetOptions::default().deadline(100 * SECOND);
    let late = late_bulk(patient).await;
    late.cache.invalidate_local(&key("b"));
    late.joined.abort();
    assert!(
        late.joined.await.is_err(),
        "the last handle but one is dropped"
    );
    drop(late.cache);
    ended(&late.alive).await;
}
