//! Times to live, of values and absences, in both levels.

use std::time::Duration;

use tidings_cache::{Cache, CacheKey, GetOptions, Loaded, ManualClock, Outcome, Ttl};

use crate::kit::{Failure, Gate, Source, k, key, timed};

const SECOND: Duration = Duration::from_secs(1);

// ML5, PL6
#[tokio::test]
async fn times_to_live_are_honoured_in_both_levels() {
    for attached in [false, true] {
        for value in [Some(1_u8), None] {
            let (builder, clock) = timed();
            let cache = builder
                .ttl(10 * SECOND)
                .neg_ttl(4 * SECOND)
                .build()
                .unwrap();
            let _guard = attached.then(|| cache.attach_thread("worker"));
            let left = if value.is_some() { 10 } else { 4 };
            lives_for(&cache, &clock, GetOptions::default(), value, left * SECOND).await;
            // Per call beats per cache, and the load beats both.
            let call = GetOptions::default().ttl(3 * SECOND).neg_ttl(2 * SECOND);
            let left = if value.is_some() { 3 } else { 2 };
            lives_for(&cache, &clock, call, value, left * SECOND).await;
            let own = Loaded::from(value).ttl(SECOND);
            lives_for(&cache, &clock, GetOptions::default(), own, SECOND).await;
        }
    }
}

/// CL20
#[tokio::test]
async fn a_value_is_served_no_longer_than_it_is_valid() {
    let (builder, clock) = timed();
    let cache = builder.ttl(10 * SECOND).build().unwrap();
    let loaded = |valid: Duration| Loaded::from(Some(1_u8)).valid_for(valid);
    let options = GetOptions::default;
    lives_for(&cache, &clock, options(), loaded(4 * SECOND), 4 * SECOND).await;
    lives_for(&cache, &clock, options(), loaded(40 * SECOND), 10 * SECOND).await;
    lives_for(&cache, &clock, options(), loaded(SECOND).no_ttl(), SECOND).await;

    // Neither is it served because a load fails.
    let stale = options().resurrect_ttl(30 * SECOND);
    cache.invalidate_local(k());
    let load = Source::default().give(loaded(SECOND));
    cache.get(k(), stale.clone(), load).await.unwrap();
    clock.advance(SECOND);
    let failing = || async { Err::<Option<u8>, _>(std::io::Error::other("down")) };
    assert!(cache.get(k(), stale, failing).await.is_err());

    // What has no time left answers its caller, and is not kept.
    let load = Source::default().give(loaded(Duration::ZERO));
    let entry = cache.get(k(), options(), load).await.unwrap();
    assert_eq!(entry.as_deref(), Some(&1));
    assert!(cache.probe::<u8>(k()).unwrap().is_none());

    // The time counts from before the load was called, not from when it ended.
    let during = clock.clone();
    let slow = move || async move {
        during.advance(3 * SECOND);
        Ok::<_, std::convert::Infallible>(Loaded::from(Some(1_u8)).valid_for(4 * SECOND))
    };
    cache.get(k(), options(), slow).await.unwrap();
    let left = cache.probe::<u8>(k()).unwrap().unwrap().remaining;
    assert_eq!(left, Some(SECOND));
}

/// CL20
#[tokio::test]
async fn no_caller_joins_a_load_beyond_the_end_of_its_value() {
    for way in [Way::Alone, Way::Many, Way::View] {
        for join_after in [SECOND, 5 * SECOND] {
            let (builder, clock) = timed();
            let cache = builder.no_deadline().build().unwrap();
            let (gate, source) = (Gate::new(), Source::default());
            let value = Loaded::new(1_u8).valid_for(4 * SECOND);
            let slow = cache.view::<u8>("k").unwrap();
            let slow = slow.get("1", source.behind(&gate, value));
            let others = async {
                gate.reached().await;
                clock.advance(join_after);
                let late = ask(&cache, way, 2);
                // Polled in this order: it has joined when the load ends.
                let ends = async {
                    clock.advance(6 * SECOND - join_after);
                    gate.open();
                };
                tokio::join!(late, ends).0
            };
            let (slow, late) = tokio::join!(slow, others);
            assert_eq!(slow.unwrap().as_deref(), Some(&1), "its own caller has it");
            assert_eq!(late, Some(2), "{way:?}, joined after {join_after:?}");
        }
    }
}

/// How a caller asks for a key.
#[derive(Clone, Copy, Debug)]
enum Way {
    Alone,
    Many,
    View,
}

/// Asks in one of the ways, with a load that gives a value.
async fn ask(cache: &Cache, way: Way, value: u8) -> Option<u8> {
    let (key, options) = (CacheKey::new("k", &["1"]), GetOptions::default());
    let source = Source::default();
    let found = match way {
        Way::Alone => {
            let load = source.give(Some(value));
            cache.get(&key, options, load).await.unwrap()
        }
        Way::Many => {
            let load = |keys: Vec<_>| {
                let found = keys.into_iter().map(|key| (key, Some(value))).collect();
                std::future::ready(Ok::<Vec<_>, Failure>(found))
            };
            let mut found = cache.get_bulk(&[key], options, load).await.unwrap();
            found.pop().flatten()
        }
        Way::View => {
            let view = cache.view::<u8>("k").unwrap();
            view.get("1", source.give(Some(value))).await.unwrap()
        }
    };
    found.as_deref().copied()
}

async fn lives_for(
    cache: &Cache,
    clock: &ManualClock,
    options: GetOptions,
    value: impl Into<Loaded<u8>>,
    time: Duration,
) {
    cache.invalidate_local(k());
    let load = Source::default().give(value.into());
    cache.get(k(), options, load).await.unwrap();
    assert_eq!(
        cache.probe::<u8>(k()).unwrap().unwrap().remaining,
        Some(time)
    );
    let json = cache.probe_json(k()).unwrap();
    assert_eq!(json.remaining, Some(time));
    clock.advance(time - Duration::from_nanos(1));
    for _ in 0..2 {
        assert!(
            cache.cached::<u8>(k()).unwrap().is_some(),
            "promotion keeps the time that is left"
        );
    }
    clock.advance(Duration::from_nanos(1));
    for _ in 0..2 {
        assert!(cache.cached::<u8>(k()).unwrap().is_none());
    }
    assert!(cache.probe::<u8>(k()).unwrap().is_none());
    assert!(cache.probe_json(k()).is_none());
}

// ML6
#[tokio::test]
async fn what_never_expires_says_so_also_for_absence() {
    for options in [
        GetOptions::default().neg_ttl(Ttl::Never),
        GetOptions::default().no_ttl().neg_ttl(Ttl::Never),
    ] {
        let (builder, clock) = timed();
        let cache = builder.build().unwrap();
        let _guard = cache.attach_thread("worker");
        for (name, value) in [("value", Some(1_u8)), ("absence", None)] {
            let load = Source::default().give(value);
            cache.get(&key(name), options.clone(), load).await.unwrap();
            clock.advance(Duration::from_secs(1 << 30));
            assert!(cache.cached::<u8>(&key(name)).unwrap().is_some());
            assert_eq!(
                cache.probe::<u8>(&key(name)).unwrap().unwrap().remaining,
                None
            );
        }
    }
}

// ML15, PL6
#[tokio::test]
async fn probe_tells_what_is_cached_and_touches_nothing() {
    let (builder, _clock) = timed();
    let cache = builder.build().unwrap();
    let _guard = cache.attach_thread("worker");
    assert_eq!(cache.probe::<String>(&key("never")).unwrap(), None);
    assert_eq!(cache.probe_json(&key("never")), None);
    let options = || GetOptions::default().ttl(SECOND).neg_ttl(2 * SECOND);
    cache
        .set(&key("value"), Some("text".to_owned()), options())
        .unwrap();
    cache
        .set::<String>(&key("absence"), None, options())
        .unwrap();
    let value = cache.probe::<String>(&key("value")).unwrap().unwrap();
    assert_eq!(
        (value.value.as_deref().unwrap().as_str(), value.remaining),
        ("text", Some(SECOND))
    );
    let absence = cache.probe::<String>(&key("absence")).unwrap().unwrap();
    assert_eq!((absence.value, absence.remaining), (None, Some(2 * SECOND)));
    let json = cache.probe_json(&key("value")).unwrap();
    assert_eq!(json.value, Some("text".into()));
    assert_eq!(json.type_name, Some("alloc::string::String"));
    assert_eq!(cache.probe_json(&key("absence")).unwrap().value, None);
    // Neither promoted nor counted.
    assert_eq!(cache.thread_stats()[0].l1_entries, 0);
    assert_eq!(cache.stats().l2_hits, 0);
    assert_eq!(
        cache
            .cached::<String>(&key("value"))
            .unwrap()
            .unwrap()
            .outcome,
        Outcome::L2
    );
}

#[tokio::test]
async fn jitter_shortens_each_time_by_another_share() {
    let (builder, _clock) = timed();
    let cache = builder.ttl(100 * SECOND).jitter(0.5).build().unwrap();
    let times: std::collections::BTreeSet<_> = (0..100)
        .map(|index| {
            let key = key(&index.to_string());
            cache.set(&key, Some(index), GetOptions::default()).unwrap();
            cache
                .probe::<i32>(&key)
                .unwrap()
                .unwrap()
                .remaining
                .unwrap()
        })
        .collect();
    assert!(times.len() > 90);
    assert!(*times.first().unwrap() >= 50 * SECOND && *times.last().unwrap() <= 100 * SECOND);
    assert!(*times.first().unwrap() < 60 * SECOND && *times.last().unwrap() > 90 * SECOND);
}

/// What was revoked or has expired does not linger in the memory of an idle worker.
#[tokio::test]
async fn sweep_drops_what_is_no_longer_valid() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let _guard = cache.attach_thread("worker");
    for (name, ttl) in [
        ("short", Ttl::After(SECOND)),
        ("revoked", Ttl::Never),
        ("good", Ttl::Never),
    ] {
        cache
            .set(&key(name), Some(1_u8), GetOptions::default().ttl(ttl))
            .unwrap();
        cache.cached::<u8>(&key(name)).unwrap().unwrap();
    }
    assert_eq!(cache.thread_stats()[0].l1_entries, 3);
    drop(cache.invalidate(&key("revoked")));
    clock.advance(SECOND);
    let other = cache.named("other").unwrap();
    other.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    other.cached::<u8>(k()).unwrap().unwrap();
    drop(other.purge());
    cache.sweep();
    assert_eq!(cache.thread_stats()[0].l1_entries, 1);
    let good = cache.cached::<u8>(&key("good")).unwrap().unwrap();
    assert_eq!(good.outcome, Outcome::L1, "that one");
    assert_eq!(other.thread_stats()[0].l1_entries, 0, "of every name");
    assert_eq!(cache.stats().entries, 2);
    assert_eq!(
        cache.sweep_level2(SECOND),
        0,
        "spared for who may serve it stale"
    );
    assert_eq!(cache.sweep_level2(Duration::ZERO), 1);
    assert_eq!(
        (cache.stats().entries, cache.stats().evicted_by_expiry),
        (1, 1)
    );
}
