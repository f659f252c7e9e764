//! Samples: what an entry is, and whether it is still the same one later.

use std::time::Duration;

use tidings_cache::{Cache, GetOptions, Policy, Sampled};

use crate::kit::{Failure, Source, k, timed};

const SECOND: Duration = Duration::from_secs(1);

fn sample(cache: &Cache) -> Option<Sampled<u8>> {
    cache.sample::<u8>(k()).expect("its type")
}

fn set(cache: &Cache, value: Option<u8>) {
    cache.set(k(), value, GetOptions::default()).expect("set");
}

#[test]
fn an_equal_value_that_was_put_in_its_place_is_another_entry() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    for value in [Some(1), None] {
        assert!(sample(&cache).is_none(), "nothing is cached");
        set(&cache, value);
        clock.advance(SECOND);
        let first = sample(&cache).expect("it is cached");
        assert_eq!((first.value().map(|it| **it), first.age()), (value, SECOND));
        assert!(sample(&cache).is_some_and(|again| again.is_same(&first)));

        set(&cache, value);
        assert!(sample(&cache).is_some_and(|again| !again.is_same(&first)));
        cache.invalidate_local(k());
        assert!(sample(&cache).is_none());
    }
}

#[test]
fn an_absence_is_not_the_value_whose_place_it_took() {
    let cache = timed().0.build().unwrap();
    set(&cache, Some(1));
    let value = sample(&cache).expect("it is cached");
    set(&cache, None);
    let absence = sample(&cache).expect("it is cached");
    assert!(absence.value().is_none() && !absence.is_same(&value) && !value.is_same(&absence));
}

/// A load that fails in the background puts the next attempt off: the value stays what it was.
#[tokio::test]
async fn an_entry_that_was_given_other_times_is_the_same() {
    let (builder, clock) = timed();
    let builder = builder.ttl(10 * SECOND).jitter(0.0);
    let cache = builder.policy(Policy::reference()).build().unwrap();
    let load = Source::default();
    let given = cache.get(k(), GetOptions::default(), load.give(Some(1_u8)));
    given.await.expect("it is loaded");
    let before = sample(&cache).expect("it is cached");

    clock.advance(9 * SECOND);
    let down = || async { Err::<Option<u8>, _>(Failure::other("down")) };
    let stale = cache.get(k(), GetOptions::default(), down).await;
    assert_eq!(stale.expect("it has not expired").as_deref(), Some(&1));
    while cache.stats().load_errors == 0 || cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache.stats().refreshes, 1);
    assert!(sample(&cache).is_some_and(|after| after.is_same(&before)));
}

#[test]
fn a_sample_of_an_expired_value_is_none_and_of_another_type_an_error() {
    let (builder, clock) = timed();
    let cache = builder.ttl(SECOND).build().unwrap();
    set(&cache, Some(1));
    assert!(cache.sample::<String>(k()).is_err());
    clock.advance(SECOND);
    assert!(sample(&cache).is_none(), "it has expired");
    assert_eq!((cache.stats().l2_hits, cache.stats().misses), (0, 0));
}
