//! Named caches, threads, and what is given back when they end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tidings_cache::{Attach, Cache, CacheSettings, GetOptions, Outcome};

use crate::kit::{k, key};

// ML20
#[tokio::test]
async fn caches_of_different_names_share_nothing_and_handles_of_one_name_all() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let (a, b) = (cache.named("a").unwrap(), cache.named("b").unwrap());
    a.set(k(), Some(1_u8), GetOptions::default().tags(["tag"]))
        .unwrap();
    assert!(b.cached::<u8>(k()).unwrap().is_none());
    // Not even the type.
    b.set(
        k(),
        Some("text".to_owned()),
        GetOptions::default().tags(["tag"]),
    )
    .unwrap();
    let again = cache.named("a").unwrap();
    assert_eq!(
        again.cached::<u8>(k()).unwrap().unwrap().outcome,
        Outcome::L2
    );
    assert_eq!(a.cached::<u8>(k()).unwrap().unwrap().outcome, Outcome::L1);
    drop(again.invalidate_tag("tag"));
    assert!(a.cached::<u8>(k()).unwrap().is_none());
    assert!(b.cached::<String>(k()).unwrap().is_some());
    assert_eq!(
        (a.stats().tag_invalidations, b.stats().tag_invalidations),
        (1, 0)
    );
    assert_eq!(a.name(), "a");
}

// ML17, ML27
#[tokio::test]
async fn purge_empties_one_cache_and_leaves_the_others() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let other = cache.named("other").unwrap();
    for (name, value) in [("value", Some(1_u8)), ("absence", None)] {
        for cache in [&cache, &other] {
            cache.set(&key(name), value, GetOptions::default()).unwrap();
            cache.cached::<u8>(&key(name)).unwrap().unwrap();
        }
    }
    drop(cache.purge());
    for name in ["value", "absence"] {
        assert!(cache.cached::<u8>(&key(name)).unwrap().is_none());
        assert!(cache.probe::<u8>(&key(name)).unwrap().is_none());
        assert_eq!(
            other.cached::<u8>(&key(name)).unwrap().unwrap().outcome,
            Outcome::L1
        );
        assert!(other.probe::<u8>(&key(name)).unwrap().is_some());
    }
    assert_eq!(cache.stats().purges, 1);
}

/// A thread's tables change places with each other when two caches are asked in turn.
#[tokio::test]
async fn a_thread_that_asks_several_caches_in_turn_hits_each() {
    let first = Cache::builder().build().unwrap();
    let _guard = first.attach_thread("worker");
    let caches = [first.named("a").unwrap(), first.named("b").unwrap(), first];
    for (value, cache) in caches.iter().enumerate() {
        cache.set(k(), Some(value), GetOptions::default()).unwrap();
        cache.cached::<usize>(k()).unwrap().unwrap();
    }
    for (value, cache) in caches.iter().enumerate().cycle().take(300) {
        let entry = cache.cached::<usize>(k()).unwrap().unwrap();
        assert_eq!(
            (entry.value.as_deref(), entry.outcome),
            (Some(&value), Outcome::L1)
        );
    }
    assert!(caches.iter().all(|cache| cache.stats().l1_hits == 100));
}

#[tokio::test]
async fn a_name_keeps_its_settings() {
    let cache = Cache::builder().build().unwrap();
    let settings = CacheSettings::default().l1_entries(7);
    cache.named_with("a", settings.clone()).unwrap();
    cache.named_with("a", settings).unwrap();
    assert!(cache.named("a").unwrap_err().to_string().contains("\"a\""));
    assert!(
        cache
            .named_with("b", CacheSettings::default().jitter(2.0))
            .is_err()
    );
}

/// A value that counts its drops.
#[derive(Clone, Debug)]
struct Tracked(Arc<AtomicUsize>);

impl Tracked {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

#[derive(Debug)]
struct Value(Tracked);

impl Clone for Value {
    fn clone(&self) -> Self {
        Self(Tracked::new(&self.0.0))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[tokio::test]
async fn memory_is_given_back_when_the_thread_or_the_cache_ends() {
    let alive = Arc::new(AtomicUsize::new(0));
    let cache = Cache::builder().build().unwrap();
    let value = Value(Tracked::new(&alive));
    cache.set(k(), Some(value), GetOptions::default()).unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    let warm = |cache: &Cache| drop(cache.cached::<Value>(k()).unwrap().unwrap());
    {
        let _guard = cache.attach_thread("worker");
        warm(&cache);
        assert_eq!(alive.load(Ordering::SeqCst), 2, "L1 holds its own");
    }
    assert_eq!(alive.load(Ordering::SeqCst), 1, "the guard has gone");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cache.attach_thread("kept").keep();
            warm(&cache);
            assert_eq!(alive.load(Ordering::SeqCst), 2);
        });
        // Joined by hand: the scope itself does not wait for thread-locals to be dropped.
        thread.join().unwrap();
    });
    assert_eq!(alive.load(Ordering::SeqCst), 1, "the thread has gone");
    assert!(cache.thread_stats().is_empty());
    let guard = cache.attach_thread("worker");
    warm(&cache);
    drop(cache);
    drop(guard);
    assert_eq!(alive.load(Ordering::SeqCst), 0, "the cache has gone");
}

/// What a kept guard has left of an ended cache is freed when the thread is attached to the next
/// one.
#[tokio::test]
async fn a_thread_that_outlives_its_cache_gives_back_its_memory() {
    let alive = Arc::new(AtomicUsize::new(0));
    let cache = Cache::builder().build().unwrap();
    cache.attach_thread("kept").keep();
    cache
        .set(
            k(),
            Some(Value(Tracked::new(&alive))),
            GetOptions::default(),
        )
        .unwrap();
    drop(cache.cached::<Value>(k()).unwrap());
    drop(cache);
    let next = Cache::builder().build().unwrap();
    let _guard = next.attach_thread("worker");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// A value whose clone and drop use the cache.
#[derive(Debug)]
struct Meddling(Cache);

impl Meddling {
    fn meddle(&self) {
        let _ = self.0.cached::<u8>(&key("other"));
        self.0.invalidate_local(&key("other"));
        let _ = self.0.stats();
    }
}

impl Clone for Meddling {
    fn clone(&self) -> Self {
        self.meddle();
        Self(self.0.clone())
    }
}

impl Drop for Meddling {
    fn drop(&mut self) {
        self.meddle();
    }
}

impl serde::Serialize for Meddling {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.meddle();
        serializer.serialize_unit()
    }
}

#[tokio::test]
async fn a_value_may_use_the_cache_while_it_is_cloned_or_dropped() {
    let cache = Cache::builder().l1_entries(2).build().unwrap();
    let guard = cache.attach_thread("worker");
    for round in 0..5 {
        let key = key(&(round % 3).to_string());
        let value = || Some(Meddling(cache.clone()));
        cache
            .set(&key, value(), GetOptions::default().tags(["tag"]))
            .unwrap();
        drop(cache.cached::<Meddling>(&key).unwrap());
        cache
            .set(&key, value(), GetOptions::default().tags(["tag"]))
            .unwrap();
        drop(cache.invalidate(&key));
        cache
            .set(&key, value(), GetOptions::default().tags(["tag"]))
            .unwrap();
        drop(cache.cached::<Meddling>(&key).unwrap());
        cache.sweep();
    }
    drop(cache.invalidate_tag("tag"));
    drop(cache.purge());
    cache.sweep_level2(std::time::Duration::ZERO);
    drop(guard);
}

#[tokio::test]
async fn each_thread_counts_for_itself_and_the_cache_for_all() {
    let cache = Cache::builder().attach(Attach::ByHand).build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    cache
        .set::<u8>(&key("absence"), None, GetOptions::default())
        .unwrap();
    drop(cache.cached::<u8>(k()).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = cache.attach_thread("first");
            drop(cache.attach_thread("ignored"));
            for _ in 0..3 {
                drop(cache.cached::<u8>(k()).unwrap());
                drop(cache.cached::<u8>(&key("absence")).unwrap());
            }
            let stats = cache.thread_stats();
            assert_eq!(stats.len(), 1);
            assert_eq!(stats[0].label, "first");
            assert_eq!((stats[0].l1_hits, stats[0].l2_hits), (4, 2));
            assert_eq!((stats[0].absence_hits, stats[0].l1_entries), (3, 2));
        });
    });
    let stats = cache.stats();
    assert_eq!(
        (stats.l1_hits, stats.l2_hits, stats.absence_hits),
        (4, 3, 3)
    );
}

#[tokio::test]
async fn a_thread_has_an_l1_of_each_node_for_as_long_as_any_of_its_guards() {
    let (one, other) = (
        Cache::builder().attach(Attach::ByHand).build().unwrap(),
        Cache::builder().attach(Attach::ByHand).build().unwrap(),
    );
    let outcome = |cache: &Cache| cache.cached::<u8>(k()).unwrap().unwrap().outcome;
    let first = one.attach_thread("worker");
    let _other = other.attach_thread("worker");
    let second = one.attach_thread("worker");
    for cache in [&one, &other] {
        cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
        assert_eq!([outcome(cache), outcome(cache)], [Outcome::L2, Outcome::L1]);
    }
    drop(first);
    assert_eq!(outcome(&one), Outcome::L1, "the second guard is left");
    drop(second);
    assert_eq!([outcome(&one), outcome(&one)], [Outcome::L2, Outcome::L2]);
    assert_eq!(outcome(&other), Outcome::L1);
}
