//! The bound on staleness, and what `Policy::revocable()` promises without one.

use std::time::Duration;

use tidings_cache::{
    Cache, CacheBuilder, CacheSettings, GetOptions, Loaded, ManualClock, Outcome, Policy,
};

use crate::kit::{Failure, Gate, Source, k, key, timed};

const SECOND: Duration = Duration::from_secs(1);

fn bounded(build: impl Fn(CacheBuilder) -> CacheBuilder) -> (Cache, ManualClock) {
    let (builder, clock) = timed();
    let cache = build(builder.max_staleness(10 * SECOND)).build().unwrap();
    (cache, clock)
}

fn remaining(cache: &Cache) -> Option<Duration> {
    cache.probe::<u8>(k()).unwrap().unwrap().remaining
}

fn holds(cache: &Cache) -> bool {
    cache.cached::<u8>(k()).unwrap().is_some()
}

/// The source was read when the load began, so that is when staleness begins.
#[tokio::test]
async fn the_bound_counts_from_the_loads_start_in_both_levels() {
    for value in [Some(1_u8), None] {
        let (cache, clock) = bounded(|builder| builder);
        let _guard = cache.attach_thread("worker");
        let gate = Gate::new();
        let load = Source::default().behind(&gate, value);
        let (got, ()) = tokio::join!(cache.get(k(), GetOptions::default(), load), async {
            gate.reached().await;
            clock.advance(4 * SECOND);
            gate.open();
        });
        assert_eq!(got.unwrap().as_deref(), value.as_ref());
        assert_eq!(remaining(&cache), Some(6 * SECOND));
        clock.advance(6 * SECOND - Duration::from_nanos(1));
        let found = cache.cached::<u8>(k()).unwrap().unwrap();
        assert_eq!(found.outcome, Outcome::L1);
        clock.advance(Duration::from_nanos(1));
        assert!(!holds(&cache));
    }
}

#[tokio::test]
async fn no_ttl_goes_beyond_the_bound_and_a_shorter_one_stays() {
    let (cache, clock) = bounded(|builder| builder.ttl(60 * SECOND));
    let set = |loaded: Loaded<u8>, options: GetOptions| {
        cache.set(k(), loaded, options).unwrap();
        remaining(&cache)
    };
    let (bound, plain) = (Some(10 * SECOND), GetOptions::default);
    assert_eq!(set(Loaded::new(1), plain()), bound);
    assert_eq!(set(Loaded::new(1), plain().no_ttl()), bound);
    assert_eq!(set(Loaded::new(1).ttl(20 * SECOND), plain()), bound);
    assert_eq!(set(Loaded::absent(), plain()), bound);
    assert_eq!(
        set(Loaded::new(1).ttl(3 * SECOND), plain()),
        Some(3 * SECOND)
    );
    // Per call over per cache.
    let wider = plain().max_staleness(30 * SECOND);
    assert_eq!(set(Loaded::new(1), wider), Some(30 * SECOND));
    let none = plain().no_max_staleness();
    assert_eq!(set(Loaded::new(1), none), Some(60 * SECOND));
    // A load that takes longer than the bound answers its caller, and is not served afterwards.
    let gate = Gate::new();
    let options = plain().no_deadline();
    let load = Source::default().behind(&gate, Some(2_u8));
    cache.invalidate_local(k());
    let (got, ()) = tokio::join!(cache.get(k(), options, load), async {
        gate.reached().await;
        clock.advance(11 * SECOND);
        gate.open();
    });
    assert_eq!(got.unwrap().as_deref(), Some(&2));
    assert!(!holds(&cache));
}

/// Nor does a source that is down.
#[tokio::test]
async fn a_failing_load_serves_nothing_beyond_the_bound() {
    let (cache, clock) = bounded(|builder| {
        let builder = builder.policy(Policy::reference()).jitter(0.0);
        builder
            .ttl(4 * SECOND)
            .resurrect_ttl(5 * SECOND)
            .refresh_early(0.0)
    });
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let fails = || {
        let load = || async { Err::<Option<u8>, _>(Failure::other("down")) };
        cache.get_entry(k(), GetOptions::default(), load)
    };
    for later in [4, 4] {
        clock.advance(later * SECOND);
        assert_eq!(fails().await.unwrap().outcome, Outcome::Stale);
    }
    clock.advance(SECOND);
    fails().await.unwrap_err();
    assert_eq!(cache.stats().stale_served, 2);
}

/// As the documentation of the policy says.
#[tokio::test]
async fn a_revocable_value_lives_until_it_is_invalidated_or_its_bound_ends() {
    let year = 365 * 24 * 3600 * SECOND;
    for bound in [None, Some(10 * SECOND)] {
        let (builder, clock) = timed();
        let builder = builder.policy(Policy::revocable());
        let cache = match bound {
            None => builder.build().unwrap(),
            Some(bound) => builder.max_staleness(bound).build().unwrap(),
        };
        cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
        cache
            .set(&key("absent"), None::<u8>, GetOptions::default())
            .unwrap();
        clock.advance(5 * SECOND);
        assert!(holds(&cache));
        assert!(cache.cached::<u8>(&key("absent")).unwrap().is_none());
        clock.advance(year);
        assert_eq!(holds(&cache), bound.is_none());
        cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
        drop(cache.invalidate(k()));
        assert!(!holds(&cache));
    }
}

/// The entry is loaded again within the bound, and the new one counts from its own load.
#[tokio::test]
async fn an_early_refresh_comes_before_the_bound() {
    let (cache, clock) = bounded(|builder| builder.refresh_early(0.5));
    let source = Source::default();
    let ask = || cache.get_entry(k(), GetOptions::default(), source.give(Some(1_u8)));
    ask().await.unwrap();
    clock.advance(5 * SECOND);
    assert_eq!(ask().await.unwrap().outcome, Outcome::L2);
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(source.loads(), 2);
    clock.advance(6 * SECOND);
    assert_eq!(ask().await.unwrap().outcome, Outcome::L2);
}

/// The caches of a node with a ceiling of ten seconds, which ask for something else.
fn under_a_ceiling() -> (Vec<Cache>, ManualClock) {
    let (builder, clock) = timed();
    // Of two ceilings the shorter counts.
    let builder = builder.staleness_ceiling(10 * SECOND);
    let builder = builder.staleness_ceiling(20 * SECOND);
    let cache = builder.max_staleness(60 * SECOND).build().unwrap();
    let plain = CacheSettings::default;
    let named = [
        ("plain", plain()),
        ("none", plain().no_max_staleness()),
        (
            "longer",
            plain().max_staleness(60 * SECOND).ttl(60 * SECOND),
        ),
        ("lagging", plain().policy(Policy::reference()).jitter(0.0)),
    ];
    let named = named.map(|(name, settings)| cache.named_with(name, settings).unwrap());
    (std::iter::once(cache).chain(named).collect(), clock)
}

/// G5, G6: whatever a cache or a call sets, nothing is served for longer than the node promises.
#[tokio::test]
async fn no_cache_and_no_call_goes_beyond_the_ceiling_of_the_node() {
    let (caches, clock) = under_a_ceiling();
    let plain = GetOptions::default;
    let calls = [
        plain(),
        plain().no_max_staleness(),
        plain().max_staleness(60 * SECOND),
        plain()
            .no_ttl()
            .resurrect_ttl(60 * SECOND)
            .no_max_staleness(),
    ];
    let nearly = 10 * SECOND - Duration::from_nanos(1);
    for cache in &caches {
        let _guard = cache.attach_thread("worker");
        for (index, options) in calls.iter().enumerate() {
            let name = format!("{} {index}", cache.name());
            let view = cache.view::<u8>("views").unwrap();
            let view = view.with_options(options.clone()).unwrap();
            let (one, absent) = (key("one"), key("absent"));
            let down = || async { Err::<Option<u8>, _>(Failure::other("down")) };
            let ask = |key| cache.get(key, options.clone(), down);
            let source = Source::default();
            drop(cache.purge());

            cache
                .set(k(), Loaded::new(1_u8).no_ttl(), options.clone())
                .unwrap();
            let loads = (source.give(Some(1_u8)), source.give(None::<u8>));
            cache.get(&one, options.clone(), loads.0).await.unwrap();
            cache
                .get(&absent, options.clone().neg_ttl(60 * SECOND), loads.1)
                .await
                .unwrap();
            view.get("v", source.give(Some(1_u8))).await.unwrap();
            assert_eq!(remaining(cache), Some(10 * SECOND), "{name}");

            clock.advance(nearly);
            assert_eq!(
                cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
                Some(&1),
                "{name}"
            );
            assert_eq!(ask(&one).await.unwrap().as_deref(), Some(&1), "{name}");
            assert_eq!(ask(&absent).await.unwrap(), None, "{name}");
            assert_eq!(
                view.get("v", down).await.unwrap().as_deref(),
                Some(&1),
                "{name}"
            );

            clock.advance(Duration::from_nanos(1));
            assert!(!holds(cache), "{name}");
            ask(&one).await.expect_err(&name);
            ask(&absent).await.expect_err(&name);
            view.get("v", down).await.expect_err(&name);
            assert!(view.peek("v").is_none(), "{name}");
        }

        // A shorter bound stays as it is.
        let shorter = plain().max_staleness(3 * SECOND);
        cache.set(k(), Some(1_u8), shorter).unwrap();
        assert_eq!(remaining(cache), Some(3 * SECOND));
    }
}

/// How a caller asks for a key.
#[derive(Clone, Copy, Debug)]
enum Way {
    Alone,
    Many,
}

/// Asks in one of the ways, with a load that gives a value.
async fn ask(cache: &Cache, way: Way, options: GetOptions, value: u8) -> Option<u8> {
    let found = match way {
        Way::Alone => {
            let load = Source::default().give(Some(value));
            cache.get(k(), options, load).await.unwrap()
        }
        Way::Many => {
            let load = |keys: Vec<_>| {
                let found = keys.into_iter().map(|key| (key, Some(value))).collect();
                std::future::ready(Ok::<Vec<_>, Failure>(found))
            };
            let mut found = cache.get_bulk(&[k().clone()], options, load).await.unwrap();
            found.pop().flatten()
        }
    };
    found.as_deref().copied()
}

/// A caller that came after the bound of a load would be answered with what was read before it.
#[tokio::test]
async fn no_load_is_joined_that_began_before_the_ceiling() {
    let plain = GetOptions::default().no_deadline();
    for options in [plain.clone(), plain.no_max_staleness()] {
        for way in [Way::Alone, Way::Many] {
            let (caches, clock) = under_a_ceiling();
            for cache in &caches {
                let (gate, source) = (Gate::new(), Source::default());
                let slow = cache.get(k(), options.clone(), source.behind(&gate, Some(1_u8)));
                let others = async {
                    gate.reached().await;
                    clock.advance(9 * SECOND);
                    let joined = ask(cache, way, options.clone(), 2);
                    let late = async {
                        clock.advance(SECOND);
                        let late = ask(cache, way, options.clone(), 3);
                        // Polled in this order: it has asked when the slow load ends.
                        tokio::join!(late, async { gate.open() }).0
                    };
                    tokio::join!(joined, late)
                };
                let (slow, (joined, late)) = tokio::join!(slow, others);
                let name = cache.name();
                assert_eq!(slow.unwrap().as_deref(), Some(&1));
                assert_eq!(joined, Some(1), "{name}, {way:?}: it came in time");
                assert_eq!(late, Some(3), "{name}, {way:?}");
            }
        }
    }
}

#[test]
fn a_ceiling_of_more_than_a_hundred_years_is_refused() {
    let refused = Cache::builder().staleness_ceiling(Duration::MAX).build();
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("staleness_ceiling")
    );
}
