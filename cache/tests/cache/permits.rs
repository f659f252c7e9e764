//! The bound on loads, and what a load holds while it waits, runs, and is late.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use tidings_cache::{Cache, CacheBuilder, GetError, GetOptions, ManualClock};

use crate::kit::{Failure, Gate, Source, k, key, timed};

const DEADLINE: Duration = Duration::from_millis(20);

async fn turns() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn bounded(loads: usize) -> (CacheBuilder, ManualClock) {
    let (builder, clock) = timed();
    (builder.max_loads(loads).deadline(DEADLINE), clock)
}

/// Starts a load that never ends, and waits until its caller has given up.
async fn hang(cache: &Cache, clock: &ManualClock, name: &str) -> Gate {
    let gate = Gate::new();
    let name = key(name);
    let load = Source::default().behind(&gate, Some(1_u8));
    let (answer, ()) = tokio::join!(cache.get(&name, GetOptions::default(), load), async {
        gate.reached().await;
        clock.advance(DEADLINE);
    });
    assert!(answer.is_err());
    turns().await;
    gate
}

/// C1
#[tokio::test]
async fn loads_that_hang_keep_no_permit_beyond_their_deadline() {
    let (builder, clock) = bounded(2);
    let cache = builder.build().unwrap();
    for name in ["hangs", "hangs too", "and one more"] {
        hang(&cache, &clock, name).await;
    }
    let load = Source::default().give(Some(2_u8));
    let got = cache.get(&key("well"), GetOptions::default(), load).await;
    assert_eq!(got.unwrap().as_deref(), Some(&2));
}

/// C1: as many loads as there are permits may be overdue besides, and the oldest is ended for the
/// next.
#[tokio::test]
async fn the_oldest_of_too_many_overdue_loads_is_ended() {
    let (builder, clock) = bounded(2);
    let cache = builder.build().unwrap();
    let mut gates = Vec::new();
    for name in ["first", "second", "third"] {
        gates.push(hang(&cache, &clock, name).await);
    }
    assert_eq!(cache.stats().in_flight, 2);
    for gate in &gates {
        gate.open();
    }
    turns().await;
    let cached = |name| cache.cached::<u8>(&key(name)).unwrap().is_some();
    assert_eq!(
        ["first", "second", "third"].map(cached),
        [false, true, true]
    );
}

/// C1: an overdue load that has ended does not count any more.
#[tokio::test]
async fn an_overdue_load_that_has_ended_leaves_its_place_to_another() {
    let (builder, clock) = bounded(2);
    let cache = builder.build().unwrap();
    let first = hang(&cache, &clock, "first").await;
    for name in ["second", "third"] {
        hang(&cache, &clock, name).await.open();
        turns().await;
    }
    first.open();
    turns().await;
    let cached = |name| cache.cached::<u8>(&key(name)).unwrap().is_some();
    assert_eq!(["first", "second", "third"].map(cached), [true; 3]);
}

/// C1
#[tokio::test]
async fn a_load_that_hangs_is_ended_at_last() {
    let (builder, clock) = bounded(2);
    let cache = builder
        .abandon_after(Duration::from_secs(1))
        .build()
        .unwrap();
    hang(&cache, &clock, "hangs").await;
    assert_eq!(cache.stats().in_flight, 1);
    clock.advance(Duration::from_secs(1));
    turns().await;
    assert_eq!((cache.stats().in_flight, cache.stats().abandoned), (0, 1));
}

/// C2
#[tokio::test]
async fn a_load_that_nobody_waits_for_any_more_never_runs() {
    let (builder, clock) = bounded(1);
    let cache = builder.build().unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    let slow = {
        let (cache, load) = (cache.clone(), source.behind(&gate, Some(1_u8)));
        tokio::spawn(async move {
            let options = GetOptions::default().deadline(Duration::from_secs(60));
            cache.get(&key("slow"), options, load).await
        })
    };
    gate.reached().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..1_000)
        .map(|index| {
            let (cache, ran) = (cache.clone(), Arc::clone(&ran));
            tokio::spawn(async move {
                let load = || async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Failure>(Some(1_u8))
                };
                let name = key(&index.to_string());
                cache.get(&name, GetOptions::default(), load).await
            })
        })
        .collect();
    turns().await;
    clock.advance(DEADLINE);
    for caller in callers {
        assert!(caller.await.unwrap().is_err());
    }
    turns().await;
    assert_eq!(cache.stats().in_flight, 1, "the slow one alone");
    gate.open();
    slow.await.unwrap().unwrap();
    turns().await;
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// C3
#[tokio::test]
async fn loads_that_use_the_cache_do_not_starve_each_other() {
    let (builder, clock) = bounded(4);
    let cache = builder.build().unwrap();
    let gate = Gate::new();
    let outer: Vec<_> = (0..4)
        .map(|index| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let inner = cache.clone();
                let load = move || async move {
                    gate.pass().await;
                    let load = Source::default().give(Some(7_u64));
                    inner.get(&key("inner"), GetOptions::default(), load).await
                };
                let load = || async move { load().await.map(|got| got.map(|got| *got)) };
                let name = key(&format!("outer {index}"));
                cache.get(&name, GetOptions::default(), load).await
            })
        })
        .collect();
    for _ in 0..4 {
        gate.reached().await; // all four hold a permit
    }
    for _ in 0..4 {
        gate.open();
    }
    turns().await;
    clock.advance(DEADLINE);
    for caller in outer {
        assert_eq!(caller.await.unwrap().unwrap().as_deref(), Some(&7));
    }
}

/// C3: the load that it waits for was started by a plain caller, and still waits for a permit.
#[tokio::test]
async fn a_load_that_a_nested_call_joins_goes_ahead() {
    let (builder, clock) = bounded(1);
    let cache = builder.build().unwrap();
    let gate = Gate::new();
    let outer = {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let inner = cache.clone();
            let load = || async move {
                gate.pass().await;
                let load = Source::default().give(Some(8_u64));
                let got = inner
                    .get(&key("inner"), GetOptions::default(), load)
                    .await?;
                Ok::<_, GetError>(got.map(|got| *got))
            };
            cache.get(&key("outer"), GetOptions::default(), load).await
        })
    };
    gate.reached().await;
    let plain = {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = Source::default().give(Some(7_u64));
            cache.get(&key("inner"), GetOptions::default(), load).await
        })
    };
    turns().await;
    gate.open();
    turns().await;
    clock.advance(DEADLINE);
    assert_eq!(outer.await.unwrap().unwrap().as_deref(), Some(&7));
    assert_eq!(plain.await.unwrap().unwrap().as_deref(), Some(&7));
}

/// C4
#[tokio::test]
async fn a_caller_that_joins_a_load_has_its_own_deadline() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let gate = Gate::new();
    let first = Source::default().behind(&gate, Some(1_u8));
    let patient = GetOptions::default().deadline(Duration::from_secs(3_600));
    let mut first = pin!(cache.get(k(), patient, first));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    gate.reached().await;

    let joins = Source::default().give(Some(2_u8));
    let second = cache.get(k(), GetOptions::default().deadline(DEADLINE), joins);
    let mut second = pin!(second);
    assert!(second.as_mut().poll(&mut context).is_pending());
    clock.advance(DEADLINE);
    let late = second.as_mut().poll(&mut context);
    assert!(late.is_ready(), "its own deadline has passed");
    assert!(first.as_mut().poll(&mut context).is_pending());
    gate.open();
    assert_eq!(first.await.unwrap().as_deref(), Some(&1));
}

/// C4: the load has as long as the longest deadline of its callers.
#[tokio::test]
async fn a_caller_that_joins_a_load_outlasts_the_one_that_started_it() {
    let (builder, clock) = timed();
    let cache = builder.build().unwrap();
    let gate = Gate::new();
    let load = Source::default().behind(&gate, Some(1_u8));
    let short = cache.get(k(), GetOptions::default().deadline(DEADLINE), load);
    let long = async {
        gate.reached().await;
        let load = Source::default().give(Some(2_u8));
        let options = GetOptions::default().deadline(10 * DEADLINE);
        cache.get(k(), options, load).await
    };
    let (short, long, ()) = tokio::join!(short, long, async {
        turns().await;
        clock.advance(DEADLINE);
        turns().await;
        gate.open();
    });
    assert!(short.is_err());
    assert_eq!(long.unwrap().as_deref(), Some(&1));
}

/// C17
#[tokio::test]
async fn a_refresh_that_is_late_is_put_off_like_one_that_failed() {
    let (builder, clock) = bounded(1_024);
    let second = Duration::from_secs(1);
    let cache = builder
        .ttl(100 * second)
        .refresh_early(0.5)
        .build()
        .unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    clock.advance(50 * second);
    let source = Source::default();
    for _ in 0..20 {
        let load = source.behind(&Gate::new(), Some(2_u8));
        assert!(cache.get(k(), GetOptions::default(), load).await.is_ok());
        turns().await;
        clock.advance(DEADLINE);
        turns().await;
    }
    assert_eq!(source.loads(), 1, "the next attempt comes later");
}

/// C31
#[tokio::test]
async fn a_load_that_hangs_keeps_nothing_alive() {
    #[derive(Clone, serde::Serialize)]
    struct Held {
        #[serde(skip)]
        _held: Arc<()>,
    }

    let cache = Cache::builder().build().unwrap();
    let held = Arc::new(());
    cache
        .set(
            &key("held"),
            Some(Held {
                _held: Arc::clone(&held),
            }),
            GetOptions::default(),
        )
        .unwrap();
    let (gate, task) = (Gate::new(), Arc::new(()));
    let load = {
        let (gate, task) = (gate.clone(), Arc::clone(&task));
        || async move {
            let _task = task;
            gate.pass().await;
            Ok::<_, Failure>(Some(1_u8))
        }
    };
    {
        let mut asks = pin!(cache.get(k(), GetOptions::default(), load));
        let polled = asks.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    gate.reached().await;
    drop(cache);
    assert_eq!(Arc::strong_count(&held), 1, "the values are freed at once");
    turns().await;
    assert_eq!(Arc::strong_count(&task), 1, "and the load is ended");
}

/// A nested load goes ahead without a permit, but takes one if it can: the bound counts it then.
#[tokio::test]
async fn a_nested_load_takes_the_permit_that_is_free() {
    let (builder, _clock) = bounded(2);
    let cache = builder.build().unwrap();
    let (inner, other) = (Gate::new(), Source::default());
    let nested = {
        let (own, load) = (cache.clone(), Source::default().behind(&inner, Some(1_u8)));
        let outer = || async move {
            let got = own.get(&key("inner"), GetOptions::default(), load).await;
            got.map(|got| got.as_deref().copied())
        };
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(k(), GetOptions::default(), outer).await })
    };
    inner.reached().await;

    let waiting = {
        let (cache, load) = (cache.clone(), other.give(Some(2_u8)));
        tokio::spawn(async move { cache.get(&key("other"), GetOptions::default(), load).await })
    };
    turns().await;
    assert_eq!((cache.stats().waiting, cache.stats().in_flight), (1, 3));
    inner.open();
    assert_eq!(nested.await.unwrap().unwrap().as_deref(), Some(&1));
    assert_eq!(waiting.await.unwrap().unwrap().as_deref(), Some(&2));
    assert_eq!(cache.stats().waiting, 0);
}
