//! User code that the cache runs: wakers, and the `Drop` of values. It may call back, and it may
//! panic.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use tidings_cache::{Cache, GetOptions, Loaded};

use crate::kit::{Failure, Gate, Source, k, key, timed};

/// C8
#[tokio::test]
async fn a_waker_that_panics_leaves_no_other_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let cache = Cache::builder().build().unwrap();
    let gate = Gate::new();
    let source = Source::default();
    let ask = || cache.get(k(), GetOptions::default(), source.behind(&gate, Some(1_u8)));
    let mut first = pin!(ask());
    let panics = Waker::from(Arc::new(Panics));
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&panics))
            .is_pending()
    );
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let counts = Waker::from(Arc::clone(&count));
    let mut second = pin!(ask());
    assert!(
        second
            .as_mut()
            .poll(&mut Context::from_waker(&counts))
            .is_pending()
    );
    gate.reached().await;
    gate.open();
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(
        second.as_mut().poll(&mut context),
        Poll::Ready(Ok(Some(_)))
    ));
}

/// C16
#[tokio::test]
async fn a_waker_that_is_replaced_is_dropped_with_no_lock_held() {
    /// Polls another waiting call as it is dropped.
    struct Polls(Mutex<Option<Box<dyn FnOnce() + Send>>>);
    impl Wake for Polls {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Polls {
        fn drop(&mut self) {
            let run = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            run.into_iter().for_each(|run| run());
        }
    }

    let cache = Cache::builder().build().unwrap();
    let gate = Gate::new();
    let load = || Source::default().behind(&gate, Some(1_u8));
    let mut waits = pin!(cache.get(k(), GetOptions::default(), load()));
    let ran = Arc::new(AtomicUsize::new(0));
    let again = {
        let (cache, load, ran) = (cache.clone(), load(), Arc::clone(&ran));
        move || {
            let mut joins = pin!(cache.get(k(), GetOptions::default(), load));
            let polled = joins.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            ran.fetch_add(1, Ordering::SeqCst);
        }
    };
    let waker = Waker::from(Arc::new(Polls(Mutex::new(Some(Box::new(again))))));
    assert!(
        waits
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker); // the flight has the last one
    assert!(
        waits
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

/// A value that calls back into its cache, or panics, when its last part is dropped.
#[derive(Clone, serde::Serialize)]
struct Meddles {
    #[serde(skip)]
    _meddler: Arc<Meddler>,
}

fn meddles(meddler: Meddler) -> Meddles {
    let _meddler = Arc::new(meddler);
    Meddles { _meddler }
}

struct Meddler {
    cache: Cache,
    panics: bool,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate_local(k());
        self.cache.invalidate_tag_local("other");
        if self.panics {
            panic!("a value");
        }
    }
}

/// C9
#[tokio::test]
async fn a_set_that_loses_to_a_tag_drops_its_value_with_no_lock_held() {
    let cache = Cache::builder().build().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let value = meddles(Meddler {
        cache: cache.clone(),
        panics: false,
        dropped: Arc::clone(&dropped),
    });
    let before = cache.number();
    cache.invalidate_tag_local("tag");
    cache.invalidate_tag_local("tag");
    let loaded = Loaded::new(value).tag("tag").read_at(before);
    let refused = cache.set(k(), loaded, GetOptions::default());
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    drop(refused);
    assert!(cache.cached::<Meddles>(k()).unwrap().is_none());
}

/// C21 and its relatives: each way in which a value leaves the cache.
#[tokio::test]
async fn a_value_that_meddles_as_it_is_dropped_locks_nothing_up() {
    for panics in [false, true] {
        let (builder, clock) = timed();
        let second = Duration::from_secs(1);
        let cache = builder
            .ttl(10 * second)
            .resurrect_ttl(10 * second)
            .refresh_early(0.5)
            .build()
            .unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        let value = || {
            Some(meddles(Meddler {
                cache: cache.clone(),
                panics,
                dropped: Arc::clone(&dropped),
            }))
        };
        let set = || {
            let options = GetOptions::default().tags(["tag"]);
            cache.set(k(), Loaded::from(value()), options).unwrap();
        };
        let leaves: [&dyn Fn(); 5] = [
            &set,
            &|| drop(cache.invalidate(k())),
            &|| drop(cache.invalidate_tag("tag")),
            &|| drop(cache.purge()),
            &|| {
                clock.advance(100 * second);
                cache.sweep();
                cache.sweep_level2(Duration::ZERO);
            },
        ];
        for leave in leaves {
            set();
            drop(cache.cached::<Meddles>(k()).unwrap());
            let before = dropped.load(Ordering::SeqCst);
            leave();
            cache.sweep();
            assert!(dropped.load(Ordering::SeqCst) > before);
        }

        // A failing load changes the times of the expired value, and a refresh is put off.
        for later in [6, 6] {
            set();
            clock.advance(later * second);
            let load = || async { Err::<Option<Meddles>, _>(Failure::other("down")) };
            drop(cache.get(k(), GetOptions::default(), load).await);
            while cache.stats().in_flight > 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(cache.purge());
        cache.sweep();
        let load = Source::default().give(Some(1_u8));
        let other = cache.get(&key("other"), GetOptions::default(), load).await;
        assert_eq!(other.unwrap().as_deref(), Some(&1), "the cache goes on");
    }
}

/// A value that a thread drops at its very end, after the cache's thread-locals, may still
/// invalidate: every key is evicted.
#[test]
fn a_drop_at_the_end_of_its_thread_invalidates() {
    /// Invalidates two keys when it is dropped, and sends whether that came back.
    struct Invalidates(Cache, mpsc::Sender<bool>);

    impl Drop for Invalidates {
        fn drop(&mut self) {
            let keys = [key("a"), key("b")];
            let invalidate = AssertUnwindSafe(|| self.0.invalidate_local(&keys));
            self.1.send(catch_unwind(invalidate).is_ok()).unwrap();
        }
    }

    thread_local! {
        static LAST: RefCell<Option<Invalidates>> = const { RefCell::new(None) };
    }

    let cache = Cache::builder().build().unwrap();
    let set = |name| cache.set(&key(name), Some(1_u8), GetOptions::default());
    set("a").unwrap();
    set("b").unwrap();

    let (own, (ended, came_back)) = (cache.clone(), mpsc::channel());
    let thread = thread::spawn(move || {
        // Variables of a thread are dropped in the reverse of the order of their first use: this
        // one after those that the cache uses below.
        LAST.set(Some(Invalidates(own.clone(), ended)));
        own.invalidate_local(&key("other"));
    });
    thread.join().unwrap();

    assert_eq!(came_back.recv(), Ok(true), "no panic in the drop");
    for name in ["a", "b"] {
        assert!(cache.cached::<u8>(&key(name)).unwrap().is_none(), "{name}");
    }
}
