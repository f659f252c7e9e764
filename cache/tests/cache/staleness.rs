//! The bound on staleness, and what `Policy::revocable()` promises without one.

use std::time::Duration;

use tidings_cache::{Cache, CacheBuilder, GetOptions, Loaded, ManualClock, Outcome, Policy};

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
    // A load that takes longer than the bound answers, and is not served to anybody later.
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

/// What the documentation of the policy says: told of, gone; not told of, served until a bound ends
/// it.
#[tokio::test]
async fn what_may_be_revoked_is_as_stale_as_nobody_tells_of_it() {
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
