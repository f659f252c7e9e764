//! Serving expired values after an error, and refreshing values before they expire.

use std::time::Duration;

use tidings_cache::{Cache, Entry, GetError, GetOptions, Loaded, ManualClock, Outcome, Policy};

use crate::kit::{Failure, Gate, Source, k, timed};

const SECOND: Duration = Duration::from_secs(1);

fn expired(policy: Policy) -> (Cache, ManualClock) {
    let (builder, clock) = timed();
    let cache = builder
        .ttl(10 * SECOND)
        .jitter(0.0)
        .policy(policy)
        .build()
        .unwrap();
    cache
        .set(k(), Loaded::new(1_u8).tag("tag"), GetOptions::default())
        .unwrap();
    clock.advance(10 * SECOND);
    (cache, clock)
}

async fn fails(cache: &Cache, options: GetOptions) -> Result<Entry<u8>, GetError> {
    let load = || async { Err::<Option<u8>, _>(Failure::other("down")) };
    cache.get_entry(k(), options, load).await
}

#[tokio::test]
async fn a_failing_load_serves_the_expired_value_for_a_while() {
    let (cache, clock) = expired(Policy::reference());
    let options = || GetOptions::default().resurrect_ttl(3 * SECOND);
    let entry = fails(&cache, options()).await.unwrap();
    assert_eq!(
        (entry.outcome, entry.value.as_deref()),
        (Outcome::Stale, Some(&1))
    );
    // No load is tried again for a while, and each answer says that it is stale.
    for _ in 0..2 {
        let entry = fails(&cache, options()).await.unwrap();
        assert_eq!((entry.outcome, entry.age()), (Outcome::Stale, 10 * SECOND));
    }
    assert_eq!((cache.stats().loads, cache.stats().stale_served), (1, 3));
    assert!(cache.probe::<u8>(k()).unwrap().is_none());
    // The bound counts from when it expired, however often the load fails.
    clock.advance(2 * SECOND);
    assert!(fails(&cache, options()).await.is_ok());
    clock.advance(SECOND);
    assert!(fails(&cache, options()).await.is_err());
    let load = Source::default().give(Some(2_u8));
    let entry = cache.get_entry(k(), options(), load).await.unwrap();
    assert_eq!(
        (entry.outcome, entry.value.as_deref()),
        (Outcome::Loaded, Some(&2))
    );
    assert_eq!(cache.stats().stale_served, 4);
}

#[tokio::test]
async fn a_late_load_serves_the_expired_value_and_fills_when_it_comes() {
    let (cache, clock) = expired(Policy::reference());
    let gate = Gate::new();
    let options = GetOptions::default().deadline(SECOND);
    let load = Source::default().behind(&gate, Some(2_u8));
    let ask = cache.get_entry(k(), options, load);
    let (entry, ()) = tokio::join!(ask, async {
        gate.reached().await;
        clock.advance(SECOND);
    });
    assert_eq!(entry.unwrap().outcome, Outcome::Stale);
    gate.open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
        Some(&2)
    );
}

#[tokio::test]
async fn a_revocable_value_is_never_served_stale() {
    let (cache, _clock) = expired(Policy::revocable());
    assert!(matches!(
        fails(&cache, GetOptions::default()).await,
        Err(GetError::Load(_))
    ));
    let asked = GetOptions::default().resurrect_ttl(SECOND);
    assert!(matches!(
        fails(&cache, asked).await,
        Err(GetError::Options(_))
    ));
}

#[tokio::test]
async fn what_was_invalidated_is_never_served_stale() {
    for take in [
        (|cache| drop(cache.invalidate(k()))) as fn(&Cache),
        |cache| drop(cache.invalidate_tag("tag")),
        |cache| drop(cache.purge()),
    ] {
        let (cache, _clock) = expired(Policy::reference());
        let gate = Gate::new();
        let waits = gate.clone();
        let load = || async move {
            waits.pass().await;
            Err::<Option<u8>, _>(Failure::other("down"))
        };
        let ask = cache.get_entry::<u8, _>(k(), GetOptions::default(), load);
        let (entry, ()) = tokio::join!(ask, async {
            gate.reached().await;
            take(&cache);
            gate.open();
        });
        assert!(matches!(entry, Err(GetError::Load(_))), "{entry:?}");
        assert!(cache.probe::<u8>(k()).unwrap().is_none());
    }
}

#[tokio::test]
async fn an_entry_is_loaded_anew_in_the_background_before_its_time() {
    let (builder, clock) = timed();
    let cache = builder.ttl(10 * SECOND).refresh_early(0.8).build().unwrap();
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    let ask = |value: u8| cache.get_entry(k(), GetOptions::default(), source.give(Some(value)));
    assert_eq!(ask(1).await.unwrap().outcome, Outcome::Loaded);
    clock.advance(8 * SECOND - Duration::from_nanos(1));
    assert_eq!(ask(2).await.unwrap().outcome, Outcome::L1);
    assert_eq!(source.loads(), 1);
    clock.advance(Duration::from_nanos(1));
    let entry = ask(3).await.unwrap();
    assert_eq!(
        (entry.outcome, entry.value.as_deref()),
        (Outcome::L2, Some(&1)),
        "no one waits"
    );
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    let entry = ask(4).await.unwrap();
    assert_eq!((entry.value.as_deref(), source.loads()), (Some(&3), 2));
    assert_eq!(cache.stats().refreshes, 1);
    assert_eq!(
        cache.probe::<u8>(k()).unwrap().unwrap().remaining,
        Some(10 * SECOND)
    );
}

#[tokio::test]
async fn a_refresh_that_fails_is_tried_again_later_and_harms_nobody() {
    let (builder, clock) = timed();
    let cache = builder.ttl(10 * SECOND).refresh_early(0.8).build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    clock.advance(8 * SECOND);
    for (after, loads) in [(Duration::ZERO, 1), (Duration::ZERO, 1), (SECOND, 2)] {
        clock.advance(after);
        assert_eq!(
            fails(&cache, GetOptions::default())
                .await
                .unwrap()
                .value
                .as_deref(),
            Some(&1)
        );
        while cache.stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(cache.stats().loads, loads);
    }
}

// G1 for background loads.
#[tokio::test]
async fn a_refresh_that_began_before_an_invalidation_does_not_fill() {
    let (builder, clock) = timed();
    let cache = builder.ttl(10 * SECOND).refresh_early(0.5).build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    clock.advance(5 * SECOND);
    let gate = Gate::new();
    let load = Source::default().behind(&gate, Some(2_u8));
    assert!(
        cache
            .get(k(), GetOptions::default(), load)
            .await
            .unwrap()
            .is_some()
    );
    gate.reached().await;
    drop(cache.invalidate(k()));
    gate.open();
    while cache.stats().refused_void == 0 {
        tokio::task::yield_now().await;
    }
    assert!(cache.probe::<u8>(k()).unwrap().is_none());
}
