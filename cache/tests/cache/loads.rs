//! Loads: one for all, on the node's runtime, with a deadline.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tidings_cache::{Cache, GetError, GetOptions, Loaded, Outcome};

use crate::kit::{Failure, Gate, Source, k, key, timed};

// ML26, G11
#[tokio::test]
async fn a_thousand_callers_cause_one_load() {
    let cache = Cache::builder().build().unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let (cache, load) = (cache.clone(), source.behind(&gate, Some(1_u8)));
            tokio::spawn(async move { cache.get(k(), GetOptions::default(), load).await })
        })
        .collect();
    gate.reached().await;
    while cache.stats().joined < 999 {
        tokio::task::yield_now().await;
    }
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().as_deref(), Some(&1));
    }
    assert_eq!(
        (source.loads(), cache.stats().loads, cache.stats().misses),
        (1, 1, 1_000)
    );
}

// G11: an error and a panic reach all who waited, once.
#[tokio::test]
async fn an_error_reaches_all_who_waited() {
    let cache = Cache::builder().build().unwrap();
    let loads = AtomicUsize::new(0);
    let ask = || {
        cache.get(k(), GetOptions::default(), || {
            loads.fetch_add(1, Ordering::SeqCst);
            async { Err::<Option<u8>, _>(Failure::other("down")) }
        })
    };
    let (first, second, third) = tokio::join!(ask(), ask(), ask());
    for answer in [first, second, third] {
        assert_eq!(
            answer
                .unwrap_err()
                .load_error::<Failure>()
                .unwrap()
                .to_string(),
            "down"
        );
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

// ML26: the first caller goes away at its first await point; there are no others.
#[tokio::test]
async fn a_load_outlives_the_caller_that_started_it() {
    let cache = Cache::builder().build().unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    {
        let first = cache.get(k(), GetOptions::default(), source.behind(&gate, Some(1_u8)));
        let mut first = pin!(first);
        let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    gate.reached().await;
    let second = cache.get_entry(k(), GetOptions::default(), source.give(Some(2_u8)));
    let (second, ()) = tokio::join!(second, async { gate.open() });
    let second = second.unwrap();
    assert_eq!(
        (second.outcome, second.value.as_deref()),
        (Outcome::Joined, Some(&1))
    );
    assert_eq!(source.loads(), 1);
}

// ML26: the first caller goes away after any number of polls, before and after its load has ended.
#[tokio::test]
async fn a_first_caller_that_goes_away_at_any_poll_leaves_one_load() {
    for polls in 0..4 {
        let cache = Cache::builder().build().unwrap();
        let (gate, source) = (Gate::new(), Source::default());
        let load = source.behind(&gate, Some(1_u8));
        let mut first = Box::pin(cache.get(k(), GetOptions::default(), load));
        let mut context = Context::from_waker(Waker::noop());
        for poll in 0..polls {
            if poll == 2 {
                gate.open();
                while cache.stats().in_flight > 0 {
                    tokio::task::yield_now().await;
                }
            }
            if first.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
        drop(first);

        gate.open();
        let second = cache.get(k(), GetOptions::default(), source.give(Some(1_u8)));
        assert_eq!(second.await.unwrap().as_deref(), Some(&1));
        assert_eq!(source.loads(), 1, "after {polls} polls");
    }
}

// ML28
#[tokio::test]
async fn a_caller_that_waits_is_woken_once_and_never_polls() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let cache = Cache::builder().build().unwrap();
    let gate = Gate::new();
    let load = Source::default().behind(&gate, Some(1_u8));
    let mut get = pin!(cache.get(k(), GetOptions::default(), load));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    // Polled twice, as by a select: still one wake.
    assert!(get.as_mut().poll(&mut context).is_pending());
    assert!(get.as_mut().poll(&mut context).is_pending());
    gate.reached().await;
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    gate.open();
    while cache.stats().in_flight > 0 || count.0.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(matches!(
        get.as_mut().poll(&mut context),
        Poll::Ready(Ok(Some(_)))
    ));
}

// ML12
#[tokio::test]
async fn a_load_past_its_deadline_is_an_error_and_its_late_value_still_serves() {
    let (builder, clock) = timed();
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    let ask = cache.get(k(), GetOptions::default(), source.behind(&gate, Some(1_u8)));
    let (answer, ()) = tokio::join!(ask, async {
        gate.reached().await;
        clock.advance(Duration::from_secs(2));
    });
    let error = answer.unwrap_err();
    assert!(matches!(error, GetError::Deadline(late) if late.after == Duration::from_secs(2)));
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
    gate.open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
        Some(&1)
    );
    assert_eq!((source.loads(), cache.stats().load_deadlines), (1, 1));
}

// ML12, ML26: a load that never ends holds up no one but the callers that wait for it, and no more
// than one is left over.
#[tokio::test]
async fn later_callers_do_not_join_a_load_past_its_deadline() {
    let (builder, clock) = timed();
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let source = Source::default();
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    for gate in &gates {
        let ask = cache.get(k(), GetOptions::default(), source.behind(gate, Some(1_u8)));
        let (answer, ()) = tokio::join!(ask, async {
            gate.reached().await;
            clock.advance(Duration::from_secs(2));
        });
        assert!(matches!(answer, Err(GetError::Deadline { .. })));
        while cache.stats().in_flight > 1 {
            tokio::task::yield_now().await; // until the one before was ended
        }
    }
    let load = source.give(Some(2_u8));
    let value = cache.get(k(), GetOptions::default(), load).await.unwrap();
    assert_eq!(value.as_deref(), Some(&2));
    // The late result of the overdue load is older than the cached value.
    gates[2].open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        cache.cached::<u8>(k()).unwrap().unwrap().value.as_deref(),
        Some(&2)
    );
    assert_eq!(cache.stats().refused_superseded, 1);
}

// ML12, G1: "if valid".
#[tokio::test]
async fn a_late_value_does_not_fill_after_an_invalidation() {
    let (builder, clock) = timed();
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let gate = Gate::new();
    let load = Source::default().behind(&gate, Some(1_u8));
    let ask = cache.get(k(), GetOptions::default(), load);
    let (answer, ()) = tokio::join!(ask, async {
        gate.reached().await;
        clock.advance(Duration::from_secs(2));
    });
    assert!(answer.is_err());
    drop(cache.invalidate(k()));
    gate.open();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(cache.cached::<u8>(k()).unwrap().is_none());
}

// ML7
#[tokio::test]
async fn a_bad_option_is_refused_also_when_the_call_is_a_hit() {
    let cache = Cache::builder().build().unwrap();
    let _guard = cache.attach_thread("worker");
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    assert!(cache.cached::<u8>(k()).unwrap().is_some());
    let bad = || GetOptions::default().ttl(Duration::MAX);
    let source = Source::default();
    let errors = [
        cache
            .get(k(), bad(), source.give(Some(1_u8)))
            .await
            .unwrap_err(),
        cache
            .get_entry(k(), bad(), source.give(Some(1_u8)))
            .await
            .unwrap_err(),
        cache
            .renew(k(), bad(), source.give(Some(1_u8)))
            .await
            .unwrap_err(),
        cache
            .get_blocking(k(), bad(), source.give(Some(1_u8)))
            .unwrap_err(),
    ];
    for error in errors {
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            text.starts_with("ttl must be at most 100 years, got "),
            "{text}"
        );
        assert!(error.to_string().contains("test:k"), "{error}");
    }
    assert!(cache.set(k(), Some(2_u8), bad()).is_err());
    assert_eq!(source.loads(), 0);
    let load = source.give(Loaded::new(1_u8).ttl(Duration::MAX));
    let error = cache
        .get(&key("new"), GetOptions::default(), load)
        .await
        .unwrap_err();
    assert!(
        matches!(error, GetError::Options(_)),
        "a load's own ttl is checked too"
    );
}

// ML19
#[tokio::test]
async fn the_l1_serializer_runs_once_per_worker_and_fill() {
    let cache = Cache::builder().build().unwrap();
    let runs = AtomicUsize::new(0);
    let source = Source::default();
    let ask = |text: &str| {
        let parse = |text: &String| {
            runs.fetch_add(1, Ordering::SeqCst);
            text.parse::<u32>().map_err(Into::into)
        };
        let load = source.give(Some(text.to_owned()));
        cache.get_decoded(k(), GetOptions::default(), parse, load)
    };
    for worker in 1..=2 {
        let _guard = cache.attach_thread("worker");
        for _ in 0..3 {
            assert_eq!(ask("7").await.unwrap().value.as_deref(), Some(&7));
        }
        assert_eq!(runs.load(Ordering::SeqCst), worker);
    }
    assert_eq!(source.loads(), 1);
    let _guard = cache.attach_thread("worker");
    cache.invalidate_local(k());
    for _ in 0..2 {
        let error = ask("x").await.unwrap_err();
        assert!(
            error.load_error::<std::num::ParseIntError>().is_some(),
            "{error:?}"
        );
    }
    assert_eq!(
        cache.thread_stats()[0].l1_entries,
        0,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn only_so_many_loads_run_at_once() {
    let cache = Cache::builder().max_loads(2).build().unwrap();
    let gate = Gate::new();
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (cache, gate) = (cache.clone(), gate.clone());
            let (running, most) = (running.clone(), most.clone());
            tokio::spawn(async move {
                let load = || async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    gate.pass().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Failure>(Some(1_u8))
                };
                cache
                    .get(&key(&caller.to_string()), GetOptions::default(), load)
                    .await
            })
        })
        .collect();
    for _ in &callers {
        gate.reached().await;
        gate.open();
    }
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_caller_that_waits_for_a_load_of_a_stopped_runtime_gets_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .build()
        .unwrap();
    let gate = Gate::new();
    let load = Source::default().behind(&gate, Some(1_u8));
    let mut waiting = pin!(cache.get(k(), GetOptions::default(), load));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(runtime);
    let Poll::Ready(Err(GetError::Stopped(_))) = waiting.as_mut().poll(&mut context) else {
        panic!("still waiting");
    };
    let load = Source::default().give(Some(1_u8));
    assert!(matches!(
        cache.get_blocking(k(), GetOptions::default(), load),
        Err(GetError::Stopped(_))
    ));
}

#[test]
fn plain_threads_wait_without_a_runtime_of_their_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .build()
        .unwrap();
    let (gate, source) = (Gate::new(), Source::default());
    std::thread::scope(|scope| {
        let ask =
            || cache.get_blocking(k(), GetOptions::default(), source.behind(&gate, Some(1_u8)));
        let threads = [scope.spawn(ask), scope.spawn(ask)];
        runtime.block_on(gate.reached());
        gate.open();
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap().as_deref(), Some(&1));
        }
    });
    assert_eq!(source.loads(), 1);
}

/// C25
#[test]
fn a_cache_that_is_only_set_and_looked_at_needs_no_runtime() {
    let cache = Cache::builder().build().unwrap();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    assert!(cache.cached::<u8>(k()).unwrap().is_some());
    let load = Source::default().give(Some(1_u8));
    let error = cache.get_blocking(&key("other"), GetOptions::default(), load);
    let error = error.unwrap_err();
    assert!(matches!(error, GetError::NoRuntime(_)), "{error}");
    assert!(error.to_string().contains("other"), "{error}");
}

/// The futures of the cache may move between threads.
#[tokio::test]
async fn the_futures_are_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let cache = Cache::builder().build().unwrap();
    let text = "borrowed".to_owned();
    let load = || {
        let text = text.clone();
        async move { Ok::<_, Failure>(Some(text)) }
    };
    let value = send(cache.get(k(), GetOptions::default(), load))
        .await
        .unwrap();
    assert_eq!(value.as_deref().unwrap(), "borrowed");
    send(cache.renew(k(), GetOptions::default(), load))
        .await
        .unwrap();
}
