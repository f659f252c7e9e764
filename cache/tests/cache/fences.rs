//! ML25, G1: a load that began before an invalidation never fills, and later callers do not join
//! it.

use std::sync::Arc;

use tidings_cache::{Cache, Cause, GetOptions, Loaded, Origin, Outcome};

use crate::kit::{Gate, Source, k, key};

/// Runs a load up to its middle, then `between`, and ends it. Whatever a later caller gets must be
/// the new value.
async fn overtaken(between: impl Fn(&Cache)) {
    for attached in [false, true] {
        let cache = Cache::builder().build().unwrap();
        let _guard = attached.then(|| cache.attach_thread("worker"));
        let (gate, key) = (Gate::new(), key("k"));
        let old = {
            let (cache, key) = (cache.clone(), key.clone());
            let load = Source::default().behind(&gate, Loaded::new("old".to_owned()).tag("tag"));
            tokio::task::spawn_local(
                async move { cache.get(&key, GetOptions::default(), load).await },
            )
        };
        gate.reached().await;
        between(&cache);
        let set = cache.cached::<String>(&key).unwrap();
        let source = Source::default();
        if set.is_none() {
            // Another gate: this caller must not wait for the old load, which is still at its own.
            let load = source.give(Loaded::new("new".to_owned()).tag("tag"));
            let late = cache
                .get_entry(&key, GetOptions::default(), load)
                .await
                .unwrap();
            assert_eq!(late.outcome, Outcome::Loaded);
            assert_eq!(late.value.as_deref().unwrap(), "new");
        }
        gate.open();
        assert_eq!(
            old.await.unwrap().unwrap().as_deref().unwrap(),
            "old",
            "who waited is answered"
        );
        assert_eq!(cache.stats().refused_void + cache.stats().refused_tag, 1);
        assert_eq!(cache.stats().in_flight, 0);
        for _ in 0..2 {
            let found = cache.cached::<String>(&key).unwrap().unwrap();
            assert_eq!(found.value.as_deref().unwrap(), "new");
        }
        assert_eq!(
            cache
                .probe::<String>(&key)
                .unwrap()
                .unwrap()
                .value
                .as_deref()
                .unwrap(),
            "new"
        );
    }
}

async fn local(run: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(run).await;
}

// ML25 (a)
#[tokio::test]
async fn invalidate_overtakes_a_load() {
    local(overtaken(|cache| drop(cache.invalidate(k())))).await;
    local(overtaken(|cache| {
        cache.invalidate_local(&[key("other"), key("k")])
    }))
    .await;
}

// ML25 (b)
#[tokio::test]
async fn purge_overtakes_a_load() {
    local(overtaken(|cache| drop(cache.purge()))).await;
    local(overtaken(Cache::purge_local)).await;
}

// ML25 (c)
#[tokio::test]
async fn set_overtakes_a_load() {
    local(overtaken(|cache| {
        let value = Loaded::new("new".to_owned());
        cache.set(k(), value, GetOptions::default()).unwrap();
    }))
    .await;
}

// ML25 (d)
#[tokio::test]
async fn a_remote_invalidation_overtakes_a_load() {
    local(overtaken(|cache| {
        cache.apply_change(&[key("k")], &[]);
    }))
    .await;
    local(overtaken(|cache| {
        // A handler of a remote change of something else.
        let number = cache.apply_change(&[], &[]);
        let _cause = Cause {
            number,
            origin: Origin::Remote,
        }
        .enter();
        drop(cache.invalidate(k()));
    }))
    .await;
}

#[tokio::test]
async fn a_tag_overtakes_a_load_whose_tags_are_not_known_yet() {
    local(async {
        let cache = Cache::builder().build().unwrap();
        let (gate, key) = (Gate::new(), key("k"));
        let ask = |value: &str, gate: &Gate| {
            let (cache, key) = (cache.clone(), key.clone());
            let load = Source::default().behind(gate, Loaded::new(value.to_owned()).tag("tag"));
            tokio::task::spawn_local(async move {
                cache
                    .get_entry(&key, GetOptions::default(), load)
                    .await
                    .unwrap()
            })
        };
        let old = ask("old", &gate);
        gate.reached().await;
        drop(cache.invalidate_tag("tag"));
        // This caller comes after the invalidation: it may wait for the old load, but must not take
        // its result.
        let late = ask("new", &gate);
        while cache.stats().joined == 0 {
            tokio::task::yield_now().await;
        }
        gate.open();
        assert_eq!(old.await.unwrap().value.as_deref().unwrap(), "old");
        gate.reached().await;
        gate.open();
        let late = late.await.unwrap();
        assert_eq!(
            (late.outcome, late.value.as_deref().unwrap().as_str()),
            (Outcome::Loaded, "new")
        );
        assert_eq!(cache.stats().refused_tag, 1);
    })
    .await;
}

// G1: the load that fails has no tags at all.
#[tokio::test]
async fn a_call_after_an_invalidated_tag_does_not_get_the_error_of_an_earlier_load() {
    local(async {
        let cache = Cache::builder().build().unwrap();
        let (gate, key) = (Gate::new(), key("k"));
        let source = Source::default();
        let old = {
            let (cache, key, gate) = (cache.clone(), key.clone(), gate.clone());
            let read = source.behind(&gate, Loaded::new("old".to_owned()));
            tokio::task::spawn_local(async move {
                let fails = || async move {
                    drop(read().await);
                    Err::<Option<String>, _>("the source is down")
                };
                cache.get(&key, GetOptions::default(), fails).await
            })
        };
        gate.reached().await;
        drop(cache.invalidate_tag("tag"));
        let late = {
            let (cache, key) = (cache.clone(), key.clone());
            tokio::task::spawn_local(async move {
                let load = || async { Ok::<_, &str>(Some("new".to_owned())) };
                cache.get(&key, GetOptions::default(), load).await
            })
        };
        while cache.stats().joined == 0 {
            tokio::task::yield_now().await;
        }
        gate.open();
        old.await.unwrap().expect_err("it asked before");
        let late = late.await.unwrap().expect("its own load");
        assert_eq!(late.as_deref().map(String::as_str), Some("new"));
    })
    .await;
}

// G2: the invalidation of a tag takes its entries from every worker's L1, even those that L2 has
// evicted, and no others.
#[tokio::test]
async fn a_tag_takes_its_entries_and_no_others() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let set = |name: &str, value: Option<u8>, tags: &[&str]| {
        let options = GetOptions::default().tags(tags.iter().copied());
        cache.set(&key(name), value, options).unwrap();
        cache.cached::<u8>(&key(name)).unwrap().unwrap();
    };
    set("a", Some(1), &["x", "y"]);
    set("b", Some(2), &["y"]);
    set("c", Some(3), &[]);
    set("absent", None, &["x"]);
    drop(cache.invalidate_tag("x"));
    let has = |name: &str| cache.cached::<u8>(&key(name)).unwrap().is_some();
    assert!(!has("a") && !has("absent"));
    assert!(has("b") && has("c"));
    set("b", Some(4), &[]); // loses its tag
    drop(cache.invalidate_tag("y"));
    assert!(has("b"));
    assert_eq!(cache.stats().evicted_by_invalidation, 2);
}

// ML16: every worker, and L2, value or absence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidate_empties_l1_of_every_worker_and_l2() {
    for value in [Some(1_u8), None] {
        let cache = Cache::builder().build().unwrap();
        cache.set(k(), value, GetOptions::default()).unwrap();
        let (warm, gone) = (std::sync::Barrier::new(3), std::sync::Barrier::new(3));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let _guard = cache.attach_thread("worker");
                    for outcome in [Outcome::L2, Outcome::L1] {
                        assert_eq!(cache.cached::<u8>(k()).unwrap().unwrap().outcome, outcome);
                    }
                    warm.wait();
                    gone.wait();
                    assert!(cache.cached::<u8>(k()).unwrap().is_none());
                });
            }
            warm.wait();
            drop(cache.invalidate(k()));
            gone.wait();
        });
        assert!(cache.probe::<u8>(k()).unwrap().is_none());
    }
}

// G2: a `get` begins when it is awaited, not when its future is made.
#[tokio::test]
async fn a_get_that_was_made_before_an_invalidation_and_is_awaited_after_it_loads() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    cache
        .set(k(), Some(1_u8), GetOptions::default().tags(["tag"]))
        .unwrap();
    for outcome in [Outcome::L2, Outcome::L1] {
        assert_eq!(cache.cached::<u8>(k()).unwrap().unwrap().outcome, outcome);
    }
    let get = cache.get(k(), GetOptions::default(), source.give(Some(2_u8)));
    drop(cache.invalidate(k()));
    assert_eq!(get.await.unwrap().as_deref(), Some(&2));
    assert_eq!(source.loads(), 1);
}

/// A create evicts a cached absence.
#[tokio::test]
async fn apply_change_evicts_a_cached_absence() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    cache.set::<u8>(k(), None, GetOptions::default()).unwrap();
    assert!(cache.cached::<u8>(k()).unwrap().is_some());
    cache.apply_change(&[key("k")], &["tag".into()]);
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
}

/// A lagging replica's value is answered and not kept.
#[tokio::test]
async fn a_load_that_read_before_the_last_invalidation_does_not_fill() {
    let cache = Cache::builder().build().unwrap();
    let before = cache.number();
    drop(cache.invalidate(k()));
    let load = Source::default().give(Loaded::new(1_u8).read_at(before));
    let value = cache.get(k(), GetOptions::default(), load).await.unwrap();
    assert_eq!(value.as_deref(), Some(&1));
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
    assert_eq!(cache.stats().refused_position, 1);
    let load = Source::default().give(Loaded::new(2_u8).read_at(cache.number()));
    cache.get(k(), GetOptions::default(), load).await.unwrap();
    assert!(cache.cached::<u8>(k()).unwrap().is_some());
}

// ML23
#[tokio::test]
async fn renew_and_get_at_once_cause_one_load_and_renew_replaces() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    let ask = |value: u8| cache.get(k(), GetOptions::default(), source.give(Some(value)));
    let renew = |value: u8| cache.renew(k(), GetOptions::default(), source.give(Some(value)));
    let (renewed, got) = tokio::join!(renew(1), ask(2));
    assert_eq!(
        (renewed.unwrap().as_deref(), got.unwrap().as_deref()),
        (Some(&1), Some(&1))
    );
    assert_eq!(source.loads(), 1);
    assert_eq!(renew(3).await.unwrap().as_deref(), Some(&3));
    assert_eq!(source.loads(), 2, "always loads");
    assert_eq!(ask(4).await.unwrap().as_deref(), Some(&3));
    cache.invalidate_local(k());
    let (got, renewed) = tokio::join!(ask(5), renew(6));
    assert_eq!((got.unwrap(), source.loads()), (renewed.unwrap(), 3));
    // A renewal that cannot be kept takes the old value with it.
    let uncached = source.give(Loaded::new(7_u8).uncached());
    let renewed = cache
        .renew(k(), GetOptions::default(), uncached)
        .await
        .unwrap();
    assert_eq!(renewed.as_deref(), Some(&7));
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_what_is_cached() {
    let cache = Cache::builder().build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let failing = || async { Err::<Option<u8>, _>(std::io::Error::other("down")) };
    cache
        .renew(k(), GetOptions::default(), failing)
        .await
        .unwrap_err();
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value,
        Some(Arc::new(1))
    );
}
