//! L1: threads attach by themselves, and what each holds is bounded in bytes.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tidings_cache::{Attach, Cache, CacheKey, CacheSettings, GetOptions, Outcome};

use crate::kit::{Source, k, key, timed};

fn outcome(cache: &Cache) -> Outcome {
    cache.cached::<u8>(k()).unwrap().unwrap().outcome
}

/// C32
#[test]
fn a_thread_attaches_at_its_first_use_under_its_own_name() {
    let cache = Cache::builder().build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let by_hand = Cache::builder().attach(Attach::ByHand).build().unwrap();
    by_hand.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let reads = || {
            assert_eq!(
                [outcome(&cache), outcome(&cache)],
                [Outcome::L2, Outcome::L1]
            );
            assert_eq!(cache.thread_stats()[0].label, "reader");
            assert_eq!(
                [outcome(&by_hand), outcome(&by_hand)],
                [Outcome::L2, Outcome::L2]
            );
        };
        let reader = std::thread::Builder::new().name("reader".into());
        reader.spawn_scoped(scope, reads).unwrap().join().unwrap();
    });
    assert!(cache.thread_stats().is_empty(), "it went with its thread");
    assert_eq!(cache.stats().l1_hits, 1);
}

/// C32: the README's recipe attaches no thread, since they start before the cache is there.
#[test]
fn threads_that_started_before_the_cache_have_an_l1_too() {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(|| {
            if let Some(cache) = CACHE.get() {
                cache.attach_thread("worker").keep();
            }
        })
        .build()
        .unwrap();
    let cache = CACHE.get_or_init(|| Cache::builder().build().unwrap());
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let outcomes = runtime.block_on(async {
        tokio::spawn(async { [outcome(cache), outcome(cache)] })
            .await
            .unwrap()
    });
    assert_eq!(outcomes, [Outcome::L2, Outcome::L1]);
}

/// A thread that outlives a cache frees what it held of it when it first uses another.
#[test]
fn a_thread_drops_its_level_of_a_dropped_cache_when_it_uses_the_next_one() {
    #[derive(Clone, serde::Serialize)]
    struct Held {
        #[serde(skip)]
        _held: Arc<()>,
    }
    let held = Arc::new(());
    let cache = Cache::builder().build().unwrap();
    let _held = Arc::clone(&held);
    cache
        .set(k(), Some(Held { _held }), GetOptions::default())
        .unwrap();
    drop(cache.cached::<Held>(k()).unwrap());
    drop(cache);
    assert_eq!(Arc::strong_count(&held), 2, "this thread's own");
    let next = Cache::builder().build().unwrap();
    next.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    outcome(&next);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// C20
#[test]
fn an_l1_stays_within_its_bytes() {
    let cache = Cache::builder().l1_bytes(64 << 10).build().unwrap();
    let _l1 = cache.attach_thread("worker");
    for index in 0..2_000_u64 {
        let name = key(&index.to_string());
        let value = vec![0_u8; (index % 64) as usize * 16];
        cache
            .set(&name, Some(value), GetOptions::default())
            .unwrap();
        drop(cache.cached::<Vec<u8>>(&name).unwrap());
        assert!(cache.thread_stats()[0].l1_bytes <= 64 << 10);
        assert_eq!(cache.stats().l1_bytes, cache.thread_stats()[0].l1_bytes);
    }
    assert!(cache.stats().l1_bytes > 32 << 10, "and makes use of them");
    drop(cache.purge());
    cache.sweep();
    assert_eq!(cache.stats().l1_bytes, 0);
}

#[test]
fn a_guard_that_is_kept_leaves_the_thread_its_level() {
    let cache = Cache::builder().attach(Attach::ByHand).build().unwrap();
    cache.attach_thread("kept").keep();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    assert_eq!(
        [outcome(&cache), outcome(&cache)],
        [Outcome::L2, Outcome::L1]
    );
    assert_eq!(&*cache.thread_stats()[0].label, "kept");
}

#[test]
fn an_entry_may_take_a_sixteenth_of_an_l1_and_no_more() {
    let kept = |bytes| {
        let cache = Cache::builder().l1_bytes(bytes).build().unwrap();
        let _l1 = cache.attach_thread("worker");
        cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
        drop(cache.cached::<u8>(k()).unwrap());
        cache.stats().l1_bytes
    };
    let weight = kept(64 << 10);
    // An eighth is for absences.
    let sixteenth = |bytes: u64| (bytes - bytes / 8) / 16;
    let least = (0..).find(|&bytes| sixteenth(bytes) == weight).unwrap();
    assert_eq!((kept(least), kept(least - 1)), (weight, 0));
}

// G12: neither by their number nor by their length.
#[tokio::test]
async fn junk_pushes_no_hit_out_of_an_l1() {
    let cache = Cache::builder().l1_bytes(256 << 10).build().unwrap();
    let _l1 = cache.attach_thread("worker");
    // Loaded and not set, which would raise slots, and keys that share one would look into L2.
    let load = |name: CacheKey, value: Option<u8>| {
        let cache = cache.clone();
        async move {
            let load = Source::default().give(value);
            let loaded = cache.get(&name, GetOptions::default(), load).await;
            assert!(loaded.is_ok());
        }
    };
    let good: Vec<_> = (0..100).map(|index| key(&index.to_string())).collect();
    for name in &good {
        load(name.clone(), Some(1)).await;
    }
    for index in 0..3_000 {
        load(key(&format!("junk {index}")), None).await;
        load(key(&format!("{index}{}", "x".repeat(16 << 10))), Some(1)).await;
    }
    for name in &good {
        let entry = cache.cached::<u8>(name).unwrap().unwrap();
        assert_eq!(entry.outcome, Outcome::L1);
    }
}

#[tokio::test]
async fn a_value_takes_the_place_of_an_absence_and_the_other_way_round() {
    let cache = Cache::builder().build().unwrap();
    let takes_its_place = |value: Option<u8>| {
        cache.set(k(), value, GetOptions::default()).unwrap();
        for outcome in [Outcome::L2, Outcome::L1] {
            let entry = cache.cached::<u8>(k()).unwrap().unwrap();
            assert_eq!(
                (entry.value.as_deref(), entry.outcome),
                (value.as_ref(), outcome)
            );
        }
    };
    [Some(1), None, Some(2), None]
        .into_iter()
        .for_each(takes_its_place);
    assert_eq!(cache.thread_stats()[0].l1_entries, 1);
}

#[test]
fn the_bytes_of_an_l1_are_those_of_its_entries_whatever_was_there_before() {
    let values = [Some(vec![0_u8; 100]), Some(Vec::new()), None];
    let put = |cache: &Cache, value: &Option<Vec<u8>>| {
        cache
            .set(k(), value.clone(), GetOptions::default())
            .unwrap();
        drop(cache.cached::<Vec<u8>>(k()).unwrap());
        cache.stats().l1_bytes
    };
    let alone = values
        .each_ref()
        .map(|value| put(&Cache::builder().build().unwrap(), value));
    assert!(alone[0] > alone[1] && alone.iter().all(|bytes| *bytes > 0));

    let cache = Cache::builder().build().unwrap();
    for (now, bytes) in [0, 1, 0, 2, 1, 2, 0].map(|index| (&values[index], alone[index])) {
        assert_eq!(put(&cache, now), bytes);
    }
}

/// C12
#[test]
fn a_named_cache_refuses_what_the_builder_refuses() {
    let cache = Cache::builder().build().unwrap();
    for (option, settings) in [
        (
            "l1_entries",
            CacheSettings::default().l1_entries(usize::MAX),
        ),
        ("l1_bytes", CacheSettings::default().l1_bytes(u64::MAX)),
        ("ttl", CacheSettings::default().ttl(Duration::MAX)),
    ] {
        let error = cache.named_with("other", settings).unwrap_err();
        assert!(error.to_string().starts_with(option), "{error}");
    }
}

/// C28: the touch of L2 falls on every key that requests look up, however many lookups each makes.
#[test]
fn no_key_of_a_request_misses_its_touch_of_l2() {
    for (lookups, value) in [(2_u64, Some(1_u8)), (4, Some(1)), (8, Some(1)), (4, None)] {
        let cache = Cache::builder().build().unwrap();
        let _l1 = cache.attach_thread("worker");
        let names: Vec<_> = (0..lookups).map(|index| key(&index.to_string())).collect();
        for name in &names {
            cache.set(name, value, GetOptions::default()).unwrap();
        }
        for _ in 0..4_000 {
            for name in &names {
                drop(cache.cached::<u8>(name).unwrap());
            }
        }
        // Each touch records an age: by the fixed period all of them fell on one key.
        let touches = cache.stats().age_at_hit.count();
        let expected = 4_000 * lookups / 64;
        assert!(
            touches > expected / 2 && touches < expected * 2,
            "{touches}"
        );
    }
}

#[tokio::test]
async fn an_entry_tells_its_age_in_each_level() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let second = Duration::from_secs(1);
    clock.advance(100 * second);
    let load = Source::default().give(Some(1_u8));
    let entry = cache.get_entry(k(), GetOptions::default(), load).await;
    assert_eq!(entry.unwrap().age(), Duration::ZERO);
    drop(cache.named("other"));
    for age in [second, 2 * second] {
        clock.advance(second);
        let entry = cache.cached::<u8>(k()).unwrap().unwrap();
        assert_eq!((entry.outcome, entry.age()), (Outcome::L1, age));
    }
    let elsewhere = cache.clone();
    let other = std::thread::spawn(move || elsewhere.cached::<u8>(k()).unwrap().unwrap());
    let entry = other.join().unwrap();
    assert_eq!((entry.outcome, entry.age()), (Outcome::L2, 2 * second));
}
