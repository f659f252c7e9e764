//! Limits in time that a call sets for itself, and times that mean what they say.

use std::time::Duration;

use tidings_cache::{Cache, GetError, GetOptions, Loaded, Outcome, Ttl, blocking};

use crate::kit::{Failure, Gate, Source, k, key, timed};

const SECOND: Duration = Duration::from_secs(1);

/// C14
#[tokio::test]
async fn a_bound_on_staleness_bounds_the_call_that_sets_it() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let source = Source::default();
    let ask = |value: u8, options| cache.get_entry(k(), options, source.give(Some(value)));
    let bound = || GetOptions::default().max_staleness(10 * SECOND);
    assert_eq!(
        ask(1, GetOptions::default()).await.unwrap().outcome,
        Outcome::Loaded
    );
    clock.advance(10 * SECOND - Duration::from_nanos(1));
    let entry = ask(2, bound()).await.unwrap();
    assert_eq!((entry.value.as_deref(), source.loads()), (Some(&1), 1));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(
        ask(2, GetOptions::default())
            .await
            .unwrap()
            .value
            .as_deref(),
        Some(&1)
    );
    let entry = ask(2, bound()).await.unwrap();
    assert_eq!(
        (entry.value.as_deref(), entry.age()),
        (Some(&2), Duration::ZERO)
    );
    assert_eq!(source.loads(), 2);

    // Nor is it answered by a load that began too long ago, nor by an expired value.
    let gate = Gate::new();
    drop(cache.invalidate(k()));
    let slow = cache.get(
        k(),
        GetOptions::default().no_deadline(),
        source.behind(&gate, Some(3_u8)),
    );
    let (slow, fresh) = tokio::join!(slow, async {
        gate.reached().await;
        clock.advance(10 * SECOND);
        let fresh = ask(4, bound()).await.unwrap();
        gate.open();
        fresh
    });
    assert_eq!(fresh.value.as_deref(), Some(&4));
    assert_eq!(slow.unwrap().as_deref(), Some(&3));
    assert_eq!(ask(5, bound()).await.unwrap().value.as_deref(), Some(&4));
}

#[tokio::test]
async fn a_failing_load_serves_a_call_nothing_beyond_its_own_bound() {
    let (builder, clock) = timed();
    let cache = builder
        .ttl(SECOND)
        .resurrect_ttl(60 * SECOND)
        .build()
        .unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    clock.advance(10 * SECOND);
    let fails = |options| {
        let load = || async { Err::<Option<u8>, _>(Failure::other("down")) };
        cache.get_entry::<u8, _>(k(), options, load)
    };
    let bound = GetOptions::default().max_staleness(5 * SECOND);
    assert!(matches!(fails(bound.clone()).await, Err(GetError::Load(_))));
    let entry = fails(GetOptions::default()).await.unwrap();
    assert_eq!((entry.outcome, entry.age()), (Outcome::Stale, 10 * SECOND));
    assert!(fails(bound).await.is_err());
}

#[tokio::test]
async fn a_load_that_has_failed_serves_a_call_nothing_beyond_the_bound_of_its_cache() {
    let (builder, clock) = timed();
    let builder = builder.ttl(SECOND).resurrect_ttl(60 * SECOND);
    let cache = builder.max_staleness(5 * SECOND).build().unwrap();
    let boundless = GetOptions::default().no_max_staleness();
    cache.set(k(), Some(1_u8), boundless.clone()).unwrap();
    clock.advance(10 * SECOND);
    let fails = |options| {
        let load = || async { Err::<Option<u8>, _>(Failure::other("down")) };
        cache.get_entry::<u8, _>(k(), options, load)
    };
    let entry = fails(boundless).await.unwrap();
    assert_eq!((entry.outcome, entry.age()), (Outcome::Stale, 10 * SECOND));
    assert!(fails(GetOptions::default()).await.is_err());
}

#[tokio::test]
async fn a_caller_takes_the_expired_value_after_a_time_of_its_own() {
    let (builder, clock) = timed();
    let cache = builder
        .ttl(SECOND)
        .resurrect_ttl(60 * SECOND)
        .build()
        .unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    clock.advance(SECOND);
    let gate = Gate::new();
    let options = GetOptions::default().stale_after(Duration::from_millis(50));
    let load = Source::default().behind(&gate, Some(2_u8));
    let (entry, ()) = tokio::join!(cache.get_entry(k(), options, load), async {
        gate.reached().await;
        clock.advance(Duration::from_millis(50));
    });
    let entry = entry.unwrap();
    assert_eq!(
        (entry.outcome, entry.value.as_deref()),
        (Outcome::Stale, Some(&1))
    );
    assert_eq!(cache.stats().in_flight, 1, "the load goes on");
    gate.open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
        Some(&2)
    );
}

/// C13
#[tokio::test]
async fn a_value_that_expires_at_once_is_not_kept() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let expired = Loaded::new(1_u8).ttl(Duration::ZERO);
    let got = cache
        .get(k(), GetOptions::default(), Source::default().give(expired))
        .await;
    assert_eq!(got.unwrap().as_deref(), Some(&1), "the caller is answered");
    assert!(cache.probe::<u8>(k()).unwrap().is_none());
    let invalid = Loaded::new(1_u8).valid_for(Duration::ZERO);
    let got = cache
        .get(k(), GetOptions::default(), Source::default().give(invalid))
        .await;
    assert_eq!(got.unwrap().as_deref(), Some(&1), "the caller is answered");
    assert_eq!(cache.stats().entries, 0);
    for options in [
        GetOptions::default().ttl(Duration::ZERO),
        GetOptions::default().neg_ttl(Duration::ZERO),
    ] {
        cache.set(k(), Some(7_u8), GetOptions::default()).unwrap();
        for value in [Some(1_u8), None] {
            let outcome = cache.set(k(), value, options.clone());
            assert!(outcome.is_ok());
        }
    }
    clock.advance(SECOND);
    assert_eq!(cache.stats().uncached, 4);
}

#[tokio::test]
async fn an_absence_expires_by_default() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    cache.set::<u8>(k(), None, GetOptions::default()).unwrap();
    let kept = GetOptions::default().neg_ttl(Ttl::Never);
    cache.set::<u8>(&key("kept"), None, kept).unwrap();
    clock.advance(60 * SECOND);
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
    assert!(cache.cached::<u8>(&key("kept")).unwrap().is_some());
}

/// C18
#[tokio::test]
async fn a_bulk_load_that_answers_what_it_was_not_asked_is_an_error() {
    let cache = Cache::builder().build().unwrap();
    let keys = [key("a"), key("b")];
    let load = |_| async { Ok::<_, Failure>(vec![(key("A"), Some(1_u8)), (key("b"), Some(2))]) };
    let error = cache
        .get_bulk(&keys, GetOptions::default(), load)
        .await
        .unwrap_err();
    let GetError::Unasked(unasked) = &error else {
        panic!("{error}");
    };
    assert_eq!((unasked.key.as_str(), unasked.asked), ("test:A", 2));
    assert!(cache.is_empty(), "nothing of it was cached");
    let load = |_| async { Ok::<_, Failure>(vec![(key("b"), Some(2_u8))]) };
    let got = cache
        .get_bulk(&keys, GetOptions::default(), load)
        .await
        .unwrap();
    assert_eq!(
        got.iter().map(|got| got.as_deref()).collect::<Vec<_>>(),
        [None, Some(&2)]
    );
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.named("other").unwrap().len(), 0);
}

/// C15
#[test]
fn waiting_inside_a_task_is_refused_at_once_and_works_beside_one() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let cache = Cache::builder().build().unwrap();
    let ask = |cache: Cache| {
        let load = Source::default().give(Some(1_u8));
        cache.get_blocking(k(), GetOptions::default(), load)
    };
    let inside = cache.clone();
    let refused = runtime.block_on(async { tokio::spawn(async move { ask(inside) }).await });
    assert!(refused.unwrap_err().is_panic());
    let beside = cache.clone();
    let got = runtime.block_on(async { tokio::task::spawn_blocking(move || ask(beside)).await });
    assert_eq!(got.unwrap().unwrap().as_deref(), Some(&1));
    let hit = runtime.block_on(async { tokio::spawn(async move { ask(cache) }).await });
    assert_eq!(
        hit.unwrap().unwrap().as_deref(),
        Some(&1),
        "a hit does not wait"
    );
}

/// C25
#[test]
fn each_load_runs_on_the_runtime_that_is_current_where_it_starts() {
    let cache = Cache::builder().build().unwrap();
    for name in ["first", "second"] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let load = Source::default().give(Some(1_u8));
        let got = runtime
            .unwrap()
            .block_on(cache.get(&key(name), GetOptions::default(), load));
        assert_eq!(got.unwrap().as_deref(), Some(&1));
    }
}

#[tokio::test]
async fn a_reload_begins_after_its_call_where_a_renewal_joins() {
    let cache = Cache::builder().build().unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    let old = cache.get(k(), GetOptions::default(), source.behind(&gate, Some(1_u8)));
    let (old, reloaded) = tokio::join!(old, async {
        gate.reached().await;
        let load = source.give(Some(2_u8));
        let reloaded = cache.reload(k(), GetOptions::default(), load).await;
        gate.open();
        reloaded
    });
    assert_eq!(old.unwrap().as_deref(), Some(&1));
    assert_eq!(reloaded.unwrap().as_deref(), Some(&2));
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
        Some(&2)
    );
}

/// An error says what was attempted and on which key; its cause is its source and nothing else.
#[tokio::test]
async fn errors_name_the_key_and_leave_the_cause_to_the_source() {
    let cache = Cache::builder().build().unwrap();
    let load = || async { Err::<Option<u8>, _>(Failure::other("down")) };
    let error = cache
        .get(k(), GetOptions::default(), load)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the load of test:k failed");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "down"
    );
}

/// A plain function that blocks, and uses the cache itself, with one permit for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocking_load_holds_up_no_task_and_waits_for_no_permit_of_its_own() {
    let cache = Cache::builder().max_loads(1).build().unwrap();
    let inner = cache.clone();
    let load = blocking(move || {
        let load = blocking(|| Ok::<_, Failure>(Some(7_u64)));
        let got = inner.get_blocking(&key("inner"), GetOptions::default(), load)?;
        Ok::<_, GetError>(got.map(|got| *got))
    });
    let got = cache.get(k(), GetOptions::default(), load).await.unwrap();
    assert_eq!(got.as_deref(), Some(&7_u64));

    let panics = blocking(|| -> Result<Option<u64>, Failure> { panic!("boom") });
    let error = cache
        .get(&key("other"), GetOptions::default(), panics)
        .await;
    assert!(matches!(error, Err(GetError::Panicked(panicked)) if panicked.message == "boom"));
}
