//! Many keys with one load.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tidings_cache::{Cache, CacheKey, GetError, GetOptions};

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
