//! Loads in progress: which of them an invalidation voids, and what they leave behind.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tidings_cache::{Attach, Cache, Cause, GetOptions, Origin, Outcome};

use crate::kit::{Failure, Gate, Source, k, key, timed};

// G14: a load that began after the change has seen it, so the change's handlers leave it alone.
#[tokio::test]
async fn a_load_that_began_since_the_change_goes_on() {
    let cache = Cache::builder().build().unwrap();
    let number = cache.apply_change(&[], &[]);
    let (source, gate) = (Source::default(), Gate::new());
    let ask = cache.get(k(), GetOptions::default(), source.behind(&gate, Some(1_u8)));
    let (answer, ()) = tokio::join!(ask, async {
        gate.reached().await;
        let cause = Cause {
            number,
            origin: Origin::Local,
        };
        {
            let _cause = cause.enter();
            drop(cache.invalidate(k()));
            drop(cache.purge());
        }
        gate.open();
    });
    assert_eq!(answer.unwrap().as_deref(), Some(&1));
    assert_eq!(cache.stats().refused_void, 0);
    assert!(cache.cached::<u8>(k()).unwrap().is_some());
}

/// Makes a load that keeps a reference as long as it exists, and waits at the gate.
fn holding(
    held: &Arc<()>,
    gate: &Gate,
) -> impl FnOnce() -> BoxFuture<'static, Result<Option<u8>, Failure>> + Send + use<> {
    let (holds, waits) = (Arc::clone(held), gate.clone());
    move || {
        Box::pin(async move {
            let _holds = holds;
            waits.pass().await;
            Ok(Some(1))
        })
    }
}

/// A load past its deadline that can no longer be of use does not go on indefinitely.
#[tokio::test]
async fn an_invalidation_ends_a_load_past_its_deadline() {
    let (builder, clock) = timed();
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let (gate, held) = (Gate::new(), Arc::new(()));
    let load = holding(&held, &gate);
    let ask = cache.get(k(), GetOptions::default(), load);
    let (answer, ()) = tokio::join!(ask, async {
        gate.reached().await;
        clock.advance(Duration::from_secs(2));
    });
    assert!(answer.is_err());
    assert_eq!(Arc::strong_count(&held), 2, "it may still be of use");
    drop(cache.invalidate(k()));
    while Arc::strong_count(&held) > 1 {
        tokio::task::yield_now().await;
    }
}

// ML12: no caller can use its result any more.
#[tokio::test]
async fn a_load_that_was_voided_before_its_deadline_ends_there() {
    let (builder, clock) = timed();
    let cache = builder.deadline(Duration::from_secs(2)).build().unwrap();
    let (gate, held) = (Gate::new(), Arc::new(()));
    let load = holding(&held, &gate);
    let ask = cache.get(k(), GetOptions::default(), load);
    let (answer, ()) = tokio::join!(ask, async {
        gate.reached().await;
        drop(cache.invalidate(k()));
        clock.advance(Duration::from_secs(2));
    });
    assert!(answer.is_err());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&held), 1, "the load was dropped");
}

struct Silent;

impl Wake for Silent {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_waker_behind() {
    let cache = Cache::builder().build().unwrap();
    let (source, gate) = (Source::default(), Gate::new());
    let silent = Arc::new(Silent);
    let waker = Waker::from(Arc::clone(&silent));
    for _ in 0..3 {
        let load = source.behind(&gate, Some(1_u8));
        let mut ask = pin!(cache.get(k(), GetOptions::default(), load));
        let polled = ask.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending));
        assert!(Arc::strong_count(&silent) > 2, "it waits");
    }
    assert_eq!(Arc::strong_count(&silent), 2, "this test's and the waker's");
    assert_eq!(source.loads(), 1);
    gate.open();
}

// G2: an L1 may hold what L2 has evicted; a renewal replaces that too, also one that joins another
// caller's load.
#[tokio::test]
async fn a_renewal_that_joins_a_load_reaches_what_l2_had_evicted() {
    let cache = Cache::builder()
        .attach(Attach::ByHand)
        .capacity(1 << 16)
        .build()
        .unwrap();
    let _guard = cache.attach_thread("worker");
    cache.set(k(), Some(0_u64), GetOptions::default()).unwrap();
    let outcome = || {
        let entry = cache.cached::<u64>(k()).unwrap().unwrap();
        (entry.value.as_deref().copied(), entry.outcome)
    };
    assert_eq!(outcome(), (Some(0), Outcome::L2));
    assert_eq!(outcome(), (Some(0), Outcome::L1));
    // Loaded and not set, which would raise slots; on a thread without an L1, whose entries they
    // would push out.
    let others = cache.clone();
    let filled = tokio::task::spawn_blocking(move || {
        for index in 0..2_000_u64 {
            // Read several times: otherwise L2 would rather keep the entry that was read.
            for _ in 0..4 {
                let load = Source::default().give(Some(index));
                let name = key(&index.to_string());
                let loaded = others.get_blocking(&name, GetOptions::default(), load);
                assert!(loaded.is_ok());
            }
        }
    });
    filled.await.unwrap();
    assert!(
        cache.probe::<u64>(k()).unwrap().is_none(),
        "evicted from L2"
    );
    assert_eq!(outcome(), (Some(0), Outcome::L1), "and still here");

    let (source, gate) = (Source::default(), Gate::new());
    let (other, load) = (cache.clone(), source.behind(&gate, Some(1_u64)));
    // A thread without an L1 misses.
    let first =
        tokio::task::spawn_blocking(move || other.get_blocking(k(), GetOptions::default(), load));
    gate.reached().await;
    // From a thread without an L1 as well, or it would put its answer into this thread's L1.
    let (other, runtime) = (cache.clone(), tokio::runtime::Handle::current());
    let renewal = tokio::task::spawn_blocking(move || {
        let load = Source::default().give(Some(2_u64));
        runtime.block_on(other.renew(k(), GetOptions::default(), load))
    });
    while cache.stats().joined == 0 {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(renewal.await.unwrap().unwrap().as_deref(), Some(&1));
    assert_eq!(first.await.unwrap().unwrap().as_deref(), Some(&1));
    assert_eq!(source.loads(), 1);
    assert_eq!(outcome(), (Some(1), Outcome::L2));
}
